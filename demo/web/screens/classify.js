// Classes or a value, of one text or of a pair, as bars while one types.

import { bar, field, h, headline, percent, readable } from "../dom.js";
import { footnote, helpers, live } from "./live.js";

const ROWS = 6;

export function classify(ctx) {
  const { say, memory } = ctx, { task } = ctx.model, pair = task.pair;
  const title = headline(), share = h("p", { class: "sub" });
  const few = task.labels.length <= ROWS, bars = task.labels.slice(0, ROWS).map(bar), foot = footnote(ctx);
  const list = bars.length ? h("ul", { class: "bars" }, bars.map((one) => one.box)) : null;
  const read = () => {
    const words = { text: first.input.value, text_pair: pair ? second.input.value : null };
    Object.assign(memory, words);
    return words.text.trim() || words.text_pair?.trim() ? words : null;
  };
  const draw = (found) => {
    foot.set(found?.ms ?? null, found?.truncated);
    list?.classList.toggle("bare", !found);
    if (!found) {
      title.set(say("empty"), true);
      share.textContent = "\u00a0";
    } else if (task.kind === "regression") {
      title.set(found.answer.value.toFixed(2).replace("-", "\u2212"));
      share.textContent = say("value");
    } else {
      title.set(readable(found.answer.label));
      share.textContent = percent(found.answer.probabilities[0][1]);
    }
    const shares = new Map(found?.answer.probabilities ?? []);
    // Few labels keep their places and only the bars move; of many the likeliest are shown.
    const names = few ? task.labels : [...shares.keys()];
    for (const [place, one] of bars.entries()) one.set(readable(names[place] ?? "") || "\u2013", shares.get(names[place]) ?? null);
  };
  const ask = live(ctx, read, draw);
  const first = field(say(pair ? "first" : "text"), { rows: 2, hint: say("type_here"), value: memory.text ?? "", oninput: ask });
  const second = pair ? field(say("second"), { rows: 2, hint: say("type_here"), value: memory.text_pair ?? "", oninput: ask }) : null;
  const fill = (row) => {
    first.input.value = row?.text ?? "";
    if (second) second.input.value = row?.text_pair ?? "";
    ask();
    first.input.focus();
  };
  ask();
  return {
    body: [h("div", { class: "card" }, h("div", { class: "answer" }, title.box, share), list), foot.line],
    dock: [helpers(ctx, fill), first.box, second?.box],
  };
}
