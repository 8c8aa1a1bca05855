// Elements without a framework. Text is text: nothing is parsed as HTML.

/** `h("p", { class: "x", onclick }, "words", child)`; properties that are null or false are left out. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

let count = 0;

/** A field with its label; `rows` makes it a text area, `value` what stands in it at first. */
export function field(label, { rows = 0, value = "", hint = "", oninput, onenter } = {}) {
  const id = `field-${++count}`;
  const common = { id, placeholder: hint, oninput, autocomplete: "off", autocapitalize: "sentences", spellcheck: "false" };
  const input = rows ? h("textarea", { ...common, rows }) : h("input", { ...common, type: "text", enterkeyhint: "done" });
  input.value = value;
  if (onenter)
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing && !event.shiftKey) {
        event.preventDefault();
        onenter();
      }
    });
  return { input, box: h("div", { class: "field" }, h("label", { for: id }, label), input) };
}

const MOST = 300; // characters of a text that are shown again: a megabyte would take seconds to lay out
/** The beginning of a text, as far as one reads it. */
export const beginning = (words) => (words.length > MOST ? `${words.slice(0, MOST)}…` : words);
export const percent = (share) => `${(100 * share).toFixed(share > 0.0995 || share < 0.0005 ? 0 : 1)} %`;
export const megabytes = (bytes) => (bytes < 1e5 ? `${Math.ceil(bytes / 1e3)} KB` : `${(bytes / 1e6).toFixed(1)} MB`);
export const milliseconds = (ms) => `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
/** A label of the model as people read it. */
export const readable = (name) => name.replace(/[_-]+/g, " ").trim() || name;

/** The answer in large letters, or softly what to do; it keeps its height, and is said again only where it is another. */
export function headline() {
  const box = h("p", { class: "headline", "aria-live": "polite" });
  return {
    box,
    set(words, soft = false) {
      const said = beginning(words);
      if (said !== box.textContent) box.replaceChildren(h("span", {}, said));
      box.classList.toggle("empty", soft);
    },
  };
}

/** One row of bars: a name, a bar and a share; `set` changes it in place, so that nothing jumps. */
export function bar() {
  const name = h("span", { class: "bar-name" }), share = h("span", { class: "bar-share" }), fill = h("i", {});
  const box = h("li", { class: "bar" }, name, share, h("span", { class: "bar-track", "aria-hidden": "true" }, fill));
  return {
    box,
    set(words, value) {
      name.textContent = beginning(words);
      share.textContent = value === null ? "" : percent(value);
      fill.style.transform = `scaleX(${value ?? 0})`;
    },
  };
}
