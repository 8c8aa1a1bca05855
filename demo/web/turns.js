// The worker takes one job at a time, and the newest wins: a job that waits is dropped for a newer one, and a running one
// looks between its sequences whether it is still wanted.

import { told } from "./told.js";

class Stale extends Error {}

let waiting = null, busy = false;

/** `perform(job, say)` does the page's jobs; `say` tells the page of what there is so far. */
export function serve(perform) {
  onmessage = ({ data }) => {
    if (waiting) postMessage({ id: waiting.id, stale: true });
    waiting = data;
    if (!busy) work(perform);
  };
}

async function work(perform) {
  busy = true;
  while (waiting) {
    const job = waiting;
    waiting = null;
    try {
      const result = await perform(job, (part) => postMessage({ id: job.id, part }));
      postMessage({ id: job.id, result });
    } catch (error) {
      postMessage(error instanceof Stale ? { id: job.id, stale: true } : { id: job.id, error: told(error) });
    }
  }
  busy = false;
}

/** Let messages in; raises where a newer job waits. */
export async function breathe() {
  await new Promise((done) => setTimeout(done));
  if (waiting) throw new Stale();
}
