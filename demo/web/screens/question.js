// A text, a question about it, and the words that answer it lit up in the text.

import { bar, field, h, headline, readable } from "../dom.js";
import { footnote, helpers, live } from "./live.js";

export function question(ctx) {
  const { say, memory } = ctx, asks = Object.keys(ctx.model.task.span.asks);
  const title = headline(), foot = footnote(ctx);
  const lit = h("p", { class: "marked reading" }), bars = asks.length ? Array.from({ length: 3 }, bar) : [];
  const list = h("ul", { class: "bars", hidden: true }, bars.map((one) => one.box));
  const read = () => {
    Object.assign(memory, { context: context.input.value, question: asked.input.value, ask: kind?.value ?? "" });
    asked.box.hidden = Boolean(memory.ask) && !needsPair();
    if (memory.ask) return memory.context.trim() ? { text: memory.context, text_pair: needsPair() ? memory.question : null, ask: memory.ask } : null;
    return memory.question.trim() && memory.context.trim() ? { text: memory.question, text_pair: memory.context } : null;
  };
  const needsPair = () => /\{text_pair\}/.test(ctx.model.task.span.asks[memory.ask].question + ctx.model.task.span.asks[memory.ask].context);
  const draw = (found) => {
    foot.set(found?.ms ?? null, found?.truncated);
    list.hidden = !found?.answer.probabilities;
    lit.replaceChildren();
    if (!found) return title.set(say("ask"), true);
    if (found.answer.probabilities) {
      title.set(readable(found.answer.label));
      return bars.forEach((one, place) => one.set(...(found.answer.probabilities[place] ?? ["", null])));
    }
    const span = found.answer.answer;
    title.set(span ? span.text : say("no_answer"), !span);
    if (span) show(span);
  };
  const show = ({ start, end, text }) => {
    const left = Math.max(0, start - 300), right = Math.min(memory.context.length, end + 300);
    const mark = h("mark", { class: "tone-0" }, text);
    lit.replaceChildren(left ? "…" : "", memory.context.slice(left, start), mark, memory.context.slice(end, right), right < memory.context.length ? "…" : "");
    mark.scrollIntoView({ block: "nearest" });
  };
  const ask = live(ctx, read, draw);
  const context = field(say("context"), { rows: 4, hint: say("paste"), value: memory.context ?? "", oninput: ask });
  const asked = field(say("question"), { hint: say("ask"), value: memory.question ?? "", oninput: ask, onenter: () => asked.input.blur() });
  const kind = asks.length ? h("select", { "aria-label": say("ask_as"), onchange: ask },
    h("option", { value: "" }, say("open_question")), asks.map((name) => h("option", { value: name }, readable(name)))) : null;
  if (kind) kind.value = memory.ask ?? "";
  const fill = (row) => {
    if (kind) kind.value = "";
    asked.input.value = row?.text ?? "";
    context.input.value = row?.text_pair ?? "";
    ask();
  };
  ask();
  return {
    body: [h("div", { class: "card" }, h("div", { class: "answer" }, title.box), list), lit, foot.line],
    dock: [helpers(ctx, fill), kind, context.box, asked.box],
  };
}
