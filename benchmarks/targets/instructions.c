/* Counts the A64 instructions that an emulated program executes, by class: a TCG plugin for qemu-user 7.2 (API 1).
 *
 * - Each translated block adds its counts when it runs, inline, so counting costs little.
 * - At the system call getppid, which does nothing, the counters are written as one line to the file `out=PATH`:
 *   whoever calls it before and after some work has that work's instructions.
 * - A class is read from the instruction word (Arm ARM, C4.1 "A64 instruction set encoding"); no disassembler.
 * - The counters are plain words: counts are exact for a program whose other threads rest.
 *
 * gcc -O2 -shared -fPIC -o instructions.so instructions.c
 */

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is used of the plugin interface, version 1. */
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*on_block)(uint64_t id, struct qemu_plugin_tb *block);
typedef void (*on_call)(uint64_t id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                        uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);
enum { ADD_U64 = 0 };
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, on_block function);
extern void qemu_plugin_register_vcpu_syscall_cb(uint64_t id, on_call function);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, int operation, void *word,
                                                     uint64_t amount);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { GETPPID = 173 }; /* on aarch64 */

/* The classes in the order in which they are written; the first counts every instruction. */
enum { ALL, MEMORY, DOT, INTEGER, FLOAT, VECTOR, BRANCH, CLASSES };

static uint64_t counts[CLASSES];
static int out = -1;

/* Integer and float multiply-adds (products that are summed or kept), vector forms and scalar float ones. */
static int vector_class(uint32_t word)
{
    uint32_t size = word >> 22 & 3, unsigned_bit = word >> 29 & 1;
    if ((word & 0x5F000000) == 0x1F000000) /* fmadd, fmsub, fnmadd, fnmsub */
        return FLOAT;
    if (word >> 31)
        return VECTOR;
    if ((word & 0x1F000000) == 0x0E000000) { /* three registers */
        if ((word & 0x0020F800) == 0x00009000 && size == 2 && word & 0x400)
            return DOT; /* sdot, udot: opcode 10010 of the extension group */
        if ((word & 0x0020FC00) == 0x00009C00 && size == 2)
            return DOT; /* usdot */
        if ((word & 0x0020F400) == 0x0000A400 && size == 2)
            return DOT; /* smmla, ummla, usmmla */
        if ((word & 0x00200400) == 0x00200400) {
            uint32_t opcode = word >> 11 & 31;
            if (opcode == 0x12 || (opcode == 0x13 && !unsigned_bit))
                return INTEGER; /* mla, mls, mul */
            if ((opcode == 0x19 && !unsigned_bit) || (opcode == 0x1B && unsigned_bit && size < 2))
                return FLOAT; /* fmla, fmls, fmul */
        }
        if ((word & 0x00200C00) == 0x00200000) {
            uint32_t opcode = word >> 12 & 15;
            if (opcode >= 8 && opcode <= 13)
                return INTEGER; /* smlal, smlsl, smull, umlal, …, sqdmlal, sqdmull */
        }
        if ((word & 0x0060C400) == 0x00400400) {
            uint32_t opcode = word >> 11 & 7;
            if ((opcode == 1 && !unsigned_bit) || (opcode == 3 && unsigned_bit))
                return FLOAT; /* half precision fmla, fmls, fmul */
        }
        return VECTOR;
    }
    if ((word & 0x1F000400) == 0x0F000000) { /* by element */
        uint32_t opcode = word >> 12 & 15;
        if ((opcode == 14 && size == 2) || (opcode == 15 && !unsigned_bit && (size == 2 || size == 0)))
            return DOT; /* sdot, udot, usdot, sudot */
        if (!unsigned_bit && (opcode == 1 || opcode == 5 || opcode == 9))
            return FLOAT; /* fmla, fmls, fmul */
        if (opcode == 2 || opcode == 6 || opcode == 10 || opcode == 3 || opcode == 7 || opcode == 11)
            return INTEGER; /* smlal, smlsl, smull and their saturating kin */
        if (opcode == (unsigned_bit ? 0 : 8) || (unsigned_bit && opcode == 4))
            return INTEGER; /* mla, mls, mul */
    }
    return VECTOR;
}

/* The class of an instruction, ALL where it is none of those that are counted apart. */
static int class_of(uint32_t word)
{
    uint32_t group = word >> 25 & 15, top = word >> 24;
    if ((group & 5) == 4)
        return MEMORY;
    if ((group & 14) == 10)
        return top == 0xD4 || top == 0xD5 ? ALL : BRANCH; /* exceptions and system instructions are no branches */
    if ((group & 7) == 7)
        return vector_class(word);
    return ALL;
}

static void translated(uint64_t id, struct qemu_plugin_tb *block)
{
    uint64_t found[CLASSES] = {0};
    size_t length = qemu_plugin_tb_n_insns(block);
    (void)id;
    for (size_t i = 0; i < length; i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
        int class = class_of(word);
        found[ALL]++;
        if (class != ALL)
            found[class]++;
    }
    for (int class = 0; class < CLASSES; class++)
        if (found[class])
            qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &counts[class], found[class]);
}

static void called(uint64_t id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                   uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    char line[CLASSES * 21 + 1];
    int length = 0;
    (void)id, (void)cpu, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != GETPPID)
        return;
    for (int class = 0; class < CLASSES; class++)
        length += snprintf(line + length, sizeof line - length, "%llu%c", (unsigned long long)counts[class],
                           class == CLASSES - 1 ? '\n' : ' ');
    if (write(out, line, length) != length)
        _exit(74);
}

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4))
            out = open(argv[i] + 4, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
