// What a person is told when something is wrong: a code that `words.js` has a sentence for in each language.

export class Told extends Error {
  constructor(code, detail = "") {
    super(detail || code);
    this.code = code;
    this.detail = detail;
  }
}

/** Any error as `{code, detail}`, which can be sent from the worker to the page. */
export function told(error) {
  if (error instanceof Told) return { code: error.code, detail: error.detail };
  const detail = `${error?.message ?? error}`;
  if (/memory|allocation|out of bounds/i.test(detail)) return { code: "memory", detail };
  return { code: "unexpected", detail };
}
