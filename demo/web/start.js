// The first lines that run: the worker opens the model while the page's other modules still come.

import { Engine } from "./engine.js";

let found;
export const engine = new Engine();
/** `site` is what `site.json` says, `loaded` what the worker opened; `moved` is told of the bytes. */
export const opening = { site: new Promise((done) => (found = done)), moved: () => {} };
opening.loaded = engine.call("load", {}, (part) => (part.site ? found(part.site) : opening.moved(part)));
opening.loaded.catch(() => {}); // told when the page asks for it
