// The page: it draws, and everything that takes time is in the worker.
// - Which screen it shows is the model's task; two more are for every model.
// - A new version of the app is offered and never forced: the old one goes on until the person says so.

import { h, megabytes } from "./dom.js";
import { about } from "./screens/about.js";
import { choice } from "./screens/choice.js";
import { classify } from "./screens/classify.js";
import { measure } from "./screens/measure.js";
import { question } from "./screens/question.js";
import { search } from "./screens/search.js";
import { slots } from "./screens/slots.js";
import { write } from "./screens/write.js";
import { engine, opening } from "./start.js";
import { base, packaged } from "./store.js";
import { Told, told } from "./told.js";
import { speaker } from "./words.js";

const SCREENS = { sequence: classify, tokens: slots, span: question, choice, embedding: search, lm: write };
const TABS = { try: null, measure, about };
const find = (id) => document.getElementById(id);

let language = settled("language") ?? (navigator.language?.startsWith("ko") ? "ko" : "en");
let tab = "try", prompt = null, broken = false;
const notices = new Map(); // what stands above the screen, by its key
const ctx = {
  engine, memory: {}, say: speaker(language), tell: (error) => tell(error),
  installing: () => Boolean(prompt), install: () => prompt?.prompt(),
};

/** A setting of the last visit; storage may be denied. */
function settled(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(`${base.pathname} ${name}`, value);
    return localStorage.getItem(`${base.pathname} ${name}`);
  } catch {
    return null;
  }
}

function notice(key, words, ...buttons) {
  if (words) notices.set(key, () => h("div", { class: `notice ${key}` }, h("p", {}, words()), buttons.map(([name, onclick]) => h("button", { type: "button", class: "chip", onclick }, ctx.say(name)))));
  else notices.delete(key);
  find("notices").replaceChildren(...[...notices.values()].map((draw) => draw()));
}

/** Say in a sentence what went wrong and what to do; null takes the sentence away. Nothing follows a fatal one. */
function tell(error, fatal = false) {
  if (broken) return;
  broken = fatal;
  if (!error) return notices.has("error") && notice("error");
  const { code, detail } = told(error);
  const words = () => ctx.say(`error_${code}`, { detail });
  notice("error", words, fatal ? ["reload", () => location.reload()] : ["dismiss", () => notice("error")]);
  if (fatal) find("status").textContent = "\u00a0";
}

function status() {
  if (ctx.loaded) find("status").textContent = ctx.say("ready", { size: megabytes(ctx.model.artefact.bytes) });
}

function frame() {
  document.documentElement.lang = language;
  find("language").textContent = language === "ko" ? "English" : "한국어";
  find("language").lang = language === "ko" ? "en" : "ko";
  find("tabs").replaceChildren(...Object.keys(TABS).map((name) =>
    h("button", { type: "button", "aria-current": tab === name ? "page" : null, disabled: !ctx.loaded, onclick: () => open(name) }, ctx.say(name))));
  find("notices").replaceChildren(...[...notices.values()].map((draw) => draw()));
  status();
}

function open(name) {
  tab = name;
  frame();
  const { body, dock } = (TABS[name] ?? SCREENS[ctx.model.task.head])(ctx);
  find("screen").replaceChildren(h("div", { class: `scroll ${name}` }, body), h("div", { class: "dock", hidden: !dock.length }, dock));
  if (name !== "try") find("screen").focus({ preventScroll: true });
}

/** In place of the screen: what is on its way. Gives what sets it. */
function waiting() {
  const bar = h("progress", { max: 1, value: 0, "aria-label": ctx.say("progress") }), line = h("p", { class: "footnote" });
  find("screen").replaceChildren(h("div", { class: "scroll waiting" }, h("img", { src: "icon.svg", alt: "", width: 96, height: 96 }), bar, line));
  return (share, words) => {
    bar.value = share;
    line.textContent = words;
  };
}

/** A first visit waits for the files; later ones show the screen at once, and what is typed waits for the model. */
async function load() {
  frame();
  const kept = packaged || Boolean(navigator.serviceWorker?.controller);
  const show = kept ? (_, words) => (find("status").textContent = words) : waiting();
  opening.moved = ({ done, total }) =>
    show(done / total, done < total ? ctx.say("loading", { done: megabytes(done), total: megabytes(total) }) : ctx.say("starting"));
  ctx.site = await Promise.race([opening.site, opening.loaded]);
  ctx.model = ctx.site.models[0];
  if (!SCREENS[ctx.model.task.head]) throw new Told("unsupported");
  if (kept) open("try");
  ctx.loaded = await opening.loaded;
  ctx.loaded.ready_ms = performance.now();
  if (!globalThis.isSecureContext) notice("insecure", () => ctx.say("insecure"), ["dismiss", () => notice("insecure")]);
  else if (!ctx.loaded.kept) notice("not-kept", () => ctx.say("not_kept"), ["dismiss", () => notice("not-kept")]);
  if (kept) frame();
  else open("try");
  document.documentElement.dataset.ready = Math.round(ctx.loaded.ready_ms);
}

async function keep() {
  if (packaged || !navigator.serviceWorker) return;
  let first = !navigator.serviceWorker.controller; // the first worker takes over a page that is already its own
  const registration = await navigator.serviceWorker.register(new URL("sw.js", base), { updateViaCache: "none" });
  const offer = () => {
    if (registration.waiting && navigator.serviceWorker.controller)
      notice("update", () => ctx.say("update"), ["update_now", () => registration.waiting?.postMessage("take over")], ["dismiss", () => notice("update")]);
  };
  registration.addEventListener("updatefound", () => registration.installing?.addEventListener("statechange", offer));
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (!first) location.reload();
    first = false;
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) registration.update().catch(() => {}); });
  offer();
}

find("language").addEventListener("click", () => {
  language = language === "ko" ? "en" : "ko";
  settled("language", language);
  ctx.say = speaker(language);
  frame();
  if (find("screen").querySelector(".dock")) open(tab);
});
addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  prompt = event;
});
load().catch((error) => tell(error, true)).finally(() => keep().catch(() => {}));
