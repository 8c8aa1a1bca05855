// A text that the model goes on with: piece by piece, stopped at any time, and the likely next words to tap.

import { field, h } from "../dom.js";
import { footnote } from "./live.js";

const CHIPS = 5, MOST = 64;

export function write(ctx) {
  const { say, memory, engine } = ctx, foot = footnote(ctx);
  const before = []; // texts to go back to
  let writing = false;
  const chips = h("div", { class: "chips", role: "group", "aria-label": say("next") });
  const page = field(say("begin"), { rows: 9, hint: say("type_here"), value: memory.text ?? "", oninput: () => typed() });
  page.input.classList.add("page");
  const button = h("button", { type: "button", class: "main", onclick: () => (writing ? stop() : go()) }, say("write"));
  const undo = h("button", { type: "button", class: "chip", disabled: true, onclick: () => back() }, say("undo"));
  const daring = h("input", { type: "range", min: 0, max: 1.5, step: 0.1, id: "daring", "aria-label": say("temperature") });
  daring.value = memory.temperature ?? 0;

  const set = (text) => (memory.text = page.input.value = text);
  const typed = () => {
    memory.text = page.input.value;
    if (writing) stop();
    else suggest();
  };
  const keep = () => {
    before.push(page.input.value);
    undo.disabled = false;
  };
  const back = () => {
    set(before.pop() ?? "");
    undo.disabled = !before.length;
    suggest();
  };
  async function suggest() {
    try {
      const found = await engine.call("next", { text: page.input.value, count: CHIPS });
      if (!found || writing) return;
      foot.set(found.ms);
      chips.replaceChildren(...found.found.map(([words]) => h("button", { type: "button", class: "chip", onclick: () => (keep(), set(page.input.value + words), suggest()) }, words.trim())));
    } catch (error) {
      chips.replaceChildren();
      if (error.code !== "empty") ctx.tell(error);
    }
  }
  const stop = () => engine.call("stop");
  async function go() {
    const start = page.input.value;
    let shown = start; // another text is the person's own, who writes on
    keep();
    writing = true;
    button.textContent = say("stop");
    memory.temperature = Number(daring.value);
    try {
      const words = { text: start, most: MOST, temperature: memory.temperature };
      const found = await engine.call("write", words, ({ text }) => {
        if (page.input.value !== shown) return;
        shown = set(start + text);
        page.input.scrollTop = page.input.scrollHeight;
      });
      if (found) foot.line.textContent = [say("took", { ms: `${(found.ms / Math.max(1, found.pieces.length)).toFixed(1)} ms` }), found.truncated ? say("cut_left") : ""].filter(Boolean).join(" · ");
    } catch (error) {
      ctx.tell(error);
    }
    writing = false;
    button.textContent = say("write");
    suggest();
  }
  memory.text = page.input.value;
  suggest();
  return {
    body: [page.box, foot.line],
    dock: [
      chips,
      h("div", { class: "row" }, h("span", { class: "muted", "aria-hidden": "true" }, say("careful")), daring, h("span", { class: "muted", "aria-hidden": "true" }, say("daring"))),
      h("div", { class: "row" }, undo, button),
    ],
  };
}
