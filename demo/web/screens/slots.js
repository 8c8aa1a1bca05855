// The words of a text in the colours of their slots, and its intent.

import { bar, field, h, headline, readable } from "../dom.js";
import { footnote, helpers, live } from "./live.js";

export function slots(ctx) {
  const { say, memory } = ctx, { intents, slots: names } = ctx.model.task.tokens;
  const kinds = [...new Set(names.filter((name) => name !== "O").map((name) => name.slice(2)))];
  const title = headline(), marked = h("p", { class: "marked" });
  const bars = intents.slice(0, 3).map(bar), foot = footnote(ctx);
  const list = bars.length ? h("ul", { class: "bars" }, bars.map((one) => one.box)) : null;
  const draw = (found) => {
    foot.set(found?.ms ?? null, found?.truncated);
    title.set(!found ? say("empty") : found.answer.intent ? readable(found.answer.intent) : "\u00a0", !found);
    list?.classList.toggle("bare", !found);
    for (const [place, one] of bars.entries()) {
      const [name, share] = found?.answer.intents[place] ?? ["\u2013", null];
      one.set(readable(name), share);
    }
    if (!found) return marked.replaceChildren();
    marked.replaceChildren(...coloured(memory.text, found.answer.slots, kinds));
    if (!found.answer.slots.length) marked.append(h("span", { class: "muted" }, ` ${say("no_slots")}`));
  };
  const ask = live(ctx, () => ((memory.text = input.input.value).trim() ? { text: memory.text } : null), draw);
  const input = field(say("text"), { rows: 2, hint: say("type_here"), value: memory.text ?? "", oninput: ask });
  const fill = (row) => {
    input.input.value = row?.text ?? "";
    ask();
    input.input.focus();
  };
  ask();
  return {
    body: [h("div", { class: "card" }, h("div", { class: "answer" }, title.box), list), marked, foot.line],
    dock: [helpers(ctx, fill), input.box],
  };
}

/** The text with each slot marked; a long text is shown as far as its slots go. */
function coloured(text, found, kinds) {
  const parts = [], shown = Math.max(2000, found.at(-1)?.end ?? 0);
  let at = 0;
  for (const { slot, start, end, text: words } of found) {
    const colour = `tone-${kinds.indexOf(slot) % 8}`;
    parts.push(text.slice(at, start), h("mark", { class: colour }, words, h("small", {}, readable(slot))));
    at = end;
  }
  return [...parts, text.slice(at, shown), text.length > shown ? "…" : ""];
}
