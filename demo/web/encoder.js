// From texts to pieces, as `tasks/encoding.py` and the tokenizers library do it in Python.
// - The library's own pieces, but BERT's normalizer is written here: the library's lowers a final sigma otherwise, keeps
//   rare ideographs together, and tells no offsets. Each character keeps its place in the text through every step.
// - Byte-level pieces are the library's too; each of their characters is a byte of the text, which gives their places.
// - Special pieces, truncation and segments are put on here, so that a pair with an empty text stays a pair.
// - All places count UTF-16 units, as JavaScript's strings do.

import { isBlank, isIdeograph, isMark, isOther, isSign } from "./unicode.js";
import { Tokenizer } from "./vendor/tokenizers.js";

/** What a character becomes: "" for one that is dropped, " " for a blank. */
function normalized(char, rules) {
  if (rules.clean_text) {
    if (char === "\t" || char === "\n" || char === "\r") return " ";
    if (char === "\0" || char === "\ufffd" || isOther(char)) return "";
    if (isBlank(char)) return " ";
  }
  let found = char;
  if (rules.strip_accents ?? rules.lowercase) found = [...char.normalize("NFD")].filter((one) => !isMark(one)).join("");
  return rules.lowercase ? [...found].map((one) => one.toLowerCase()).join("") : found;
}

export class Encoder {
  /** @param json tokenizer.json  @param most pieces of a sequence, special ones included */
  constructor(json, most) {
    this.most = most;
    this.library = new Tokenizer(json, {});
    const { normalizer, pre_tokenizer: splitter, model, added_tokens: added = [] } = json;
    const plain = !added.some((one) => one.normalized && !one.special);
    this.bert = normalizer?.type === "BertNormalizer" && splitter?.type === "BertPreTokenizer" && model.type === "WordPiece" && plain
      ? normalizer : null;
    this.bytes = !normalizer && splitter?.type === "ByteLevel" && model.type === "BPE";
    if (splitter?.type === "ByteLevel") // Rust's \s: the next line is a blank, the byte order mark is none
      this.library.pre_tokenizer.pattern =
        /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
    this.frame = frame(json.post_processor, (piece) => this.id(piece));
    this.kept = new Map(); // normalized characters: few are met, each often
  }

  id(piece) {
    return this.library.token_to_id(piece) ?? this.library.model.unk_token_id;
  }

  /** Pieces of a text alone, `{ids, offsets}`; offsets are null where the tokenizer is neither BERT's nor byte-level. */
  pieces(text, limit = Infinity) {
    if (this.bytes) {
      const { ids, tokens } = this.library.encode(text, { add_special_tokens: false });
      return { ids, offsets: bytePlaces(text, tokens, this.library.added_tokens_map) };
    }
    if (!this.bert) return { ids: this.library.encode(text, { add_special_tokens: false }).ids, offsets: null };
    const ids = [], offsets = [];
    let at = 0;
    for (const section of this.library.splitter_unnormalized.split(text)) {
      if (this.library.added_tokens_map.has(section)) {
        ids.push(this.id(section));
        offsets.push([at, at + section.length]);
      } else this.#words(section, at, ids, offsets, limit);
      at += section.length;
      if (ids.length > limit) break;
    }
    return { ids, offsets };
  }

  #words(text, base, ids, offsets, limit) {
    let word = [], at = base; // of the word: [character, start, end] each
    const flush = () => {
      if (word.length) this.#wordpieces(word, ids, offsets);
      word = [];
    };
    for (const char of text) {
      const end = at + char.length;
      const found = this.#normalized(char);
      const alone = this.bert.handle_chinese_chars && isIdeograph(char);
      if (alone) flush();
      for (const one of found) {
        if (isBlank(one)) flush();
        else if (isSign(one)) {
          flush();
          word.push([one, at, end]);
          flush();
        } else word.push([one, at, end]);
      }
      if (alone) flush();
      at = end;
      if (ids.length > limit) return;
    }
    flush();
  }

  #normalized(char) {
    let found = this.kept.get(char);
    if (found === undefined) this.kept.set(char, (found = normalized(char, this.bert)));
    return found;
  }

  #wordpieces(word, ids, offsets) {
    const prefix = this.library.model.config.continuing_subword_prefix;
    const tokens = this.library.model.encode([word.map(([char]) => char).join("")]);
    let first = 0;
    for (const [number, token] of tokens.entries()) {
      const unknown = tokens.length === 1 && token === this.library.model.unk_token;
      const size = unknown ? word.length : [...token].length - (number ? prefix.length : 0);
      ids.push(this.id(token));
      offsets.push([word[first][1], word[first + size - 1][2]]);
      first += size;
    }
  }

  /** One sequence as the model reads it, cut to `most` pieces with the longest part first. */
  encode(text, pair = null) {
    const parts = pair === null ? [this.pieces(text, this.most).ids] : [this.pieces(text).ids, this.pieces(pair).ids];
    return this.fill(...parts);
  }

  fill(first, second = null) {
    const room = Math.max(0, this.most - this.frame.size(second !== null));
    const [left, right] = shares(first.length, second?.length ?? null, room);
    const truncated = left < first.length || (second !== null && right < second.length);
    return { ...this.frame.fill(first.slice(0, left), second && second.slice(0, right)), truncated };
  }

  /** Words with blanks between, and the place of each one's first piece: -1 where it has none. */
  align(words) {
    const ids = [], firsts = [];
    for (const [number, word] of words.entries()) {
      const found = ids.length > this.most ? [] : this.pieces(number ? ` ${word}` : word).ids;
      firsts.push(found.length ? ids.length : -1);
      ids.push(...found);
    }
    const before = this.frame.before.length, features = this.fill(ids);
    const end = features.input_ids.length - this.frame.after.length;
    return { features, firsts: firsts.map((place) => (place < 0 || place + before >= end ? -1 : place + before)) };
  }

  decode(ids) {
    return ids.length ? this.library.decode(ids, { clean_up_tokenization_spaces: false }) : "";
  }
}

/** How many bytes a character takes in UTF-8. */
function bytes(char) {
  const point = char.codePointAt(0);
  return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

/** Where byte-level pieces stand in their text, without the blanks at their ends. */
function bytePlaces(text, tokens, added) {
  const starts = [], ends = []; // of the character that a byte is part of
  let at = 0;
  for (const char of text) {
    for (let count = bytes(char); count; count--) {
      starts.push(at);
      ends.push(at + char.length);
    }
    at += char.length;
  }
  const sizes = tokens.map((token) => (added.has(token) ? [...token].reduce((sum, char) => sum + bytes(char), 0) : token.length));
  let byte = starts.length - sizes.reduce((a, b) => a + b, 0); // -1 where the tokenizer put a blank before the text
  return sizes.map((size) => {
    let start = starts[Math.max(0, byte)] ?? 0, end = ends[(byte += size) - 1] ?? 0;
    while (start < end && isBlank(text[start])) start++;
    while (end > start && isBlank(text[end - 1])) end--;
    return [start, end];
  });
}

/** How many pieces of one text, or of each of two, stay (the library's `longest_first`). */
function shares(left, right, room) {
  if (right === null) return [Math.min(left, room), null];
  if (left + right <= room) return [left, right];
  const turned = left > right;
  let few = turned ? right : left;
  let many = few > room ? few : Math.max(few, room - few);
  if (few + many > room) [few, many] = [Math.floor(room / 2), Math.floor(room / 2) + (room % 2)];
  return turned ? [many, few] : [few, many];
}

/** The special pieces around one text and around two, from the tokenizer's post-processor. */
function frame(processor, id) {
  const all = processor?.type === "Sequence" ? processor.processors : [processor];
  const own = all.find((one) => one && one.type !== "ByteLevel");
  const special = (piece, type) => ({ id: id(piece), type });
  const text = (part, type) => ({ part, type });
  let single = [text(0, 0)], pair = [text(0, 0), text(1, 0)];
  if (own?.type === "TemplateProcessing") {
    const read = (items) => items.flatMap((item) => {
      if (item.Sequence) return [text(item.Sequence.id === "A" ? 0 : 1, item.Sequence.type_id)];
      const { id: name, type_id: type } = item.SpecialToken;
      return (own.special_tokens[name]?.ids ?? [id(name)]).map((number) => ({ id: number, type }));
    });
    [single, pair] = [read(own.single), read(own.pair)];
  } else if (own?.type === "BertProcessing" || own?.type === "RobertaProcessing") {
    const cls = (type) => special(own.cls[0], type), sep = (type) => special(own.sep[0], type);
    const second = own.type === "BertProcessing" ? 1 : 0;
    single = [cls(0), text(0, 0), sep(0)];
    pair = [cls(0), text(0, 0), sep(0), ...(second ? [] : [sep(0)]), text(1, second), sep(second)];
  }
  const specials = (items) => items.filter((item) => item.part === undefined).map((item) => item.id);
  const first = single.findIndex((item) => item.part === 0);
  return {
    before: specials(single.slice(0, first)),
    after: specials(single.slice(first + 1)),
    size: (two) => specials(two ? pair : single).length,
    fill(first, second) {
      const input_ids = [], token_type_ids = [];
      for (const item of second === null ? single : pair)
        for (const piece of item.part === undefined ? [item.id] : [first, second][item.part]) {
          input_ids.push(piece);
          token_type_ids.push(item.type);
        }
      return { input_ids, token_type_ids };
    },
    /** Where the second text begins behind a first one of so many pieces. */
    second(pieces) {
      let at = 0;
      for (const item of pair) {
        if (item.part === 1) return at;
        at += item.part === 0 ? pieces : 1;
      }
      return at;
    },
  };
}
