// A question and its candidates: a bar for each while one types.

import { bar, field, h, headline, percent } from "../dom.js";
import { footnote, helpers, live } from "./live.js";

const MOST = 8;

export function choice(ctx) {
  const { say, memory } = ctx;
  const title = headline(), share = h("p", { class: "sub" });
  const bars = Array.from({ length: MOST }, bar), foot = footnote(ctx);
  const written = () => lines.input.value.split("\n").map((one) => one.trim()).filter(Boolean).slice(0, MOST);
  const read = () => {
    Object.assign(memory, { text: input.input.value, lines: lines.input.value });
    return memory.text.trim() && written().length > 1 ? { text: memory.text, candidates: written() } : null;
  };
  const draw = (found) => {
    foot.set(found?.ms ?? null, found?.truncated);
    title.set(found ? found.answer.answer : say("error_candidates"), !found);
    share.textContent = found ? percent(found.answer.probabilities[found.answer.choice]) : "\u00a0";
    const candidates = written();
    for (const [place, one] of bars.entries()) {
      one.box.hidden = place >= candidates.length;
      one.set(candidates[place] ?? "", found?.answer.probabilities[place] ?? null);
    }
  };
  const ask = live(ctx, read, draw);
  const lines = field(say("candidates"), { rows: 4, hint: say("candidates_hint"), value: memory.lines ?? "", oninput: ask });
  const input = field(say("question"), { rows: 2, hint: say("type_here"), value: memory.text ?? "", oninput: ask });
  const fill = (row) => {
    input.input.value = row?.text ?? "";
    lines.input.value = (row?.candidates ?? []).join("\n");
    ask();
  };
  ask();
  return {
    body: [h("div", { class: "card" }, h("div", { class: "answer" }, title.box, share), h("ul", { class: "bars" }, bars.map((one) => one.box))), foot.line],
    dock: [helpers(ctx, fill), lines.box, input.box],
  };
}
