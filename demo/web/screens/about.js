// What the app holds, and that it keeps everything to itself.

import { h, megabytes } from "../dom.js";

export function about(ctx) {
  const { say, site, model } = ctx, { artefact } = model;
  const scores = Object.entries(artefact.scores.test ?? artefact.scores.dev ?? {}).map(([name, value]) => `${name} ${value.toFixed(3)}`);
  const facts = [
    [say("model"), model.name], [say("task"), say(`kind_${model.task.kind}`)], [say("file"), `${artefact.file} (${artefact.precision})`],
    [say("size"), megabytes(artefact.bytes)], scores.length ? [say("scores"), scores.join(", ")] : null,
    [say("made"), `attar ${site.attar}`], [say("version"), site.version],
  ].filter(Boolean);
  const install = ctx.installing() ? h("button", { type: "button", class: "main", onclick: ctx.install }, say("install")) : null;
  return {
    body: [
      h("p", { class: "lead" }, say("private")), h("p", { class: "muted" }, say(ctx.loaded.kept ? "offline_ready" : "install_hint")),
      h("dl", {}, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      ctx.loaded.kept ? h("p", { class: "muted" }, say("home_hint")) : null,
    ],
    dock: install ? [install] : [],
  };
}
