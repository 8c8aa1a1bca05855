// The page's side of the worker: a promise for each job, and null for one that a newer job took the place of.

import { Told } from "./told.js";

export class Engine {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  #open = new Map();
  #count = 0;

  constructor() {
    this.#worker.onmessage = ({ data }) => {
      const { settle, fail, moved } = this.#open.get(data.id) ?? {};
      if (!settle) return;
      if (data.part) return moved(data.part);
      this.#open.delete(data.id);
      if (data.error) fail(new Told(data.error.code, data.error.detail));
      else settle(data.stale ? null : data.result);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      for (const { fail } of this.#open.values()) fail(new Told("unexpected", event.message));
      this.#open.clear();
    };
  }

  /** Ask for a job; `moved` is told of its progress. */
  call(kind, words = {}, moved = () => {}) {
    const id = ++this.#count;
    return new Promise((settle, fail) => {
      this.#open.set(id, { settle, fail, moved });
      this.#worker.postMessage({ ...words, id, kind });
    });
  }
}
