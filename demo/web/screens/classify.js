// Classes or a value, of one text or of a pair, as bars while one types.

import { bar, field, h, percent, readable } from "../dom.js";
import { footnote, helpers, live } from "./live.js";

const ROWS = 6;

export function classify(ctx) {
  const { say, memory } = ctx, { task } = ctx.model, pair = task.pair;
  const title = h("p", { class: "headline", "aria-live": "polite" }), share = h("p", { class: "sub" });
  const few = task.labels.length <= ROWS, bars = task.labels.slice(0, ROWS).map(bar), foot = footnote(ctx);
  const read = () => {
    const words = { text: first.input.value, text_pair: pair ? second.input.value : null };
    Object.assign(memory, words);
    return words.text.trim() || words.text_pair?.trim() ? words : null;
  };
  const draw = (found) => {
    foot.set(found?.ms ?? null, found?.truncated);
    if (!found) {
      title.textContent = say("empty");
      title.classList.add("empty");
      share.textContent = "\u00a0";
    } else if (task.kind === "regression") {
      title.textContent = found.answer.value.toFixed(2);
      share.textContent = say("value");
    } else {
      title.textContent = readable(found.answer.label);
      share.textContent = percent(found.answer.probabilities[0][1]);
    }
    if (found) title.classList.remove("empty");
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
    body: [h("div", { class: "answer" }, title, share), h("ul", { class: "bars" }, bars.map((one) => one.box)), foot.line],
    dock: [helpers(ctx, fill), first.box, second?.box],
  };
}
