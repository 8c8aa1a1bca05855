// An answer as one types: each keystroke asks, the newest answer is drawn, and older ones are forgotten.

import { h, milliseconds } from "../dom.js";

/** The line under an answer: how long it took, and whether the text was too long. It keeps its height. */
export function footnote(ctx) {
  const line = h("p", { class: "footnote", role: "status" });
  return {
    line,
    set(ms, truncated = false) {
      line.textContent = ms === null ? "" : [ctx.say("took", { ms: milliseconds(ms) }), truncated ? ctx.say("cut") : ""].filter(Boolean).join(" · ");
    },
  };
}

/**
 * @param read gives what is asked, or null where there is nothing to ask
 * @param draw draws a result of the worker, or nothing for null
 */
export function live(ctx, read, draw, job = "answer") {
  let turn = 0;
  return async () => {
    const mine = ++turn, words = read();
    if (!words) return draw(null);
    try {
      const found = await ctx.engine.call(job, job === "answer" ? { asked: words } : words);
      if (!found || mine !== turn) return;
      ctx.tell(null);
      draw(found);
    } catch (error) {
      if (mine === turn) {
        draw(null);
        ctx.tell(error);
      }
    }
  };
}

/** Buttons above a field: an example of the bundle's own, and an empty field. */
export function helpers(ctx, fill) {
  const example = async () => {
    const row = await ctx.engine.call("example");
    if (row) fill(row);
  };
  return h("div", { class: "helpers" },
    h("button", { type: "button", class: "chip", onclick: example }, ctx.say("example")),
    h("button", { type: "button", class: "chip", onclick: () => fill(null) }, ctx.say("clear")));
}
