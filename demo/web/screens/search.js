// A search over notes by what they mean. The notes stay in this page: nothing is kept and nothing is sent.

import { beginning, field, h } from "../dom.js";
import { footnote, helpers } from "./live.js";

export function search(ctx) {
  const { say, memory } = ctx, foot = footnote(ctx), list = h("ol", { class: "notes", "aria-live": "polite" });
  const lead = h("p", { class: "headline empty" }, say("no_notes"));
  const written = () => [...new Set(notes.input.value.split("\n").map((one) => one.trim()).filter(Boolean))];
  let turn = 0;
  const ask = async () => {
    const mine = ++turn, all = written();
    Object.assign(memory, { notes: notes.input.value, query: query.input.value });
    lead.hidden = all.length > 0 && Boolean(memory.query.trim());
    if (!all.length || !memory.query.trim()) return draw(null);
    try {
      const found = await ctx.engine.call("search", { query: memory.query, notes: all }, ({ done, total }) => {
        if (mine === turn) foot.line.textContent = say("running", { done, total });
      });
      if (found && mine === turn) draw(found);
    } catch (error) {
      if (mine === turn) ctx.tell(error);
    }
  };
  const draw = (found) => {
    foot.set(found?.ms ?? null);
    list.replaceChildren(...(found?.found ?? []).slice(0, 50).map(({ note, cosine }) =>
      h("li", {}, h("span", { class: "note" }, beginning(note)), h("span", { class: "near", title: say("similar") }, cosine.toFixed(2)))));
  };
  const notes = field(say("notes"), { rows: 4, hint: say("paste"), value: memory.notes ?? "", oninput: ask });
  const query = field(say("search"), { hint: say("search_hint"), value: memory.query ?? "", oninput: ask, onenter: () => query.input.blur() });
  const fill = (row) => {
    if (row) notes.input.value += (notes.input.value && !notes.input.value.endsWith("\n") ? "\n" : "") + [row.text, row.text_pair].filter(Boolean).join("\n");
    else notes.input.value = query.input.value = "";
    ask();
  };
  ask();
  return { body: [lead, list, foot.line], dock: [helpers(ctx, fill), notes.box, query.box] };
}
