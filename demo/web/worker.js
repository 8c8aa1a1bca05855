// Everything that takes time: files, pieces, inference. The page only draws.
// - One job at a time, and the newest wins: a job that waits is dropped for a newer one, and a running one looks between
//   its sequences whether it is still wanted.

import { FORMS, cosine } from "./answers.js";
import { Encoder } from "./encoder.js";
import { checked } from "./golden.js";
import { measured } from "./measuring.js";
import * as model from "./model.js";
import { load } from "./store.js";
import { Told, told } from "./told.js";
import { Writer } from "./writing.js";

class Stale extends Error {}

let waiting = null, busy = false, examples = 0;
const models = []; // as in site.json, each with its session, its encoder and what it cost to load
const vectors = new Map(); // of the notes that were searched before

onmessage = ({ data }) => {
  if (waiting) postMessage({ id: waiting.id, stale: true });
  waiting = data;
  if (!busy) work();
};

async function work() {
  busy = true;
  while (waiting) {
    const job = waiting;
    waiting = null;
    try {
      const result = await JOBS[job.kind](job, (part) => postMessage({ id: job.id, part }));
      postMessage({ id: job.id, result });
    } catch (error) {
      postMessage(error instanceof Stale ? { id: job.id, stale: true } : { id: job.id, error: told(error) });
    }
  }
  busy = false;
}

/** Let messages in; raises where a newer job waits. */
async function breathe() {
  await new Promise((done) => setTimeout(done));
  if (waiting) throw new Stale();
}

async function opened(one, files) {
  const start = performance.now(), read = (path) => JSON.parse(new TextDecoder().decode(files.get(path)));
  const opening = model.open(files.get(one.artefact.path), one.artefact); // the runtime compiles beside what follows
  opening.catch(() => {});
  const card = one.task, encoder = new Encoder(read(one.tokenizer.path), card.language?.positions ?? one.tokenizer.max_length);
  const session = await opening, writer = card.language ? new Writer(session, card.language, encoder) : null;
  return { ...one, card, session, encoder, writer, golden: read(one.golden), load_ms: performance.now() - start };
}

/** A row's answer by a model, and how long the inferences took. */
async function answered(one, asked, between = breathe) {
  const posed = FORMS[one.card.head](one.card, asked, one.encoder), logits = [];
  let ms = 0;
  for (const features of posed.features) {
    if (logits.length) await between();
    const start = performance.now();
    logits.push(await model.run(one.session, one.artefact, features));
    ms += performance.now() - start;
  }
  return { answer: posed.answer(logits), truncated: posed.truncated, features: posed.features, logits, ms };
}

const JOBS = {
  async load({ site }, say) {
    if (!WebAssembly.validate(SIMD)) throw new Told("no_simd");
    const files = new Map(), sums = new Map();
    const wanted = [...new Map(site.files.filter((one) => one.data).map((one) => [one.path, one])).values()];
    const total = wanted.reduce((sum, one) => sum + one.bytes, 0);
    const moved = (path) => (bytes) => {
      sums.set(path, bytes);
      say({ done: [...sums.values()].reduce((a, b) => a + b, 0), total });
    };
    let kept = true;
    await Promise.all(wanted.map(async (one) => {
      const found = await load(one, moved(one.path));
      files.set(one.path, found.bytes);
      kept &&= found.kept;
    }));
    model.prepare(files.get(site.runtime));
    for (const one of site.models) models.push(await opened(one, files));
    // The first run is not the person's: kernels are chosen and memory is taken.
    const start = performance.now();
    const { writer, card, golden } = models[0];
    if (writer) await writer.next(golden[0].text, 1);
    else await answered(models[0], { ...golden[0], ask: "" });
    return { kept, threads: model.threads(), first_ms: performance.now() - start, task: card.kind };
  },

  async answer({ asked }) {
    await breathe();
    const { answer, truncated, ms } = await answered(models[0], asked);
    return { answer, truncated, ms };
  },

  async search({ query, notes }, say) {
    const one = models[0];
    const vector = async (text) => {
      if (!vectors.has(text)) {
        await breathe();
        vectors.set(text, (await answered(one, { text })).answer.embedding);
      }
      return vectors.get(text);
    };
    for (const [number, note] of notes.entries()) {
      if (!vectors.has(note)) say({ done: number, total: notes.length });
      await vector(note);
    }
    const start = performance.now(), asked = await vector(query), ms = performance.now() - start;
    const found = notes.map((note, place) => ({ note, place, cosine: cosine(asked, vectors.get(note)) }));
    return { found: found.sort((a, b) => b.cosine - a.cosine || a.place - b.place), ms };
  },

  async write({ text, most, temperature }, say) {
    const { writer, encoder } = models[0], room = Math.min(most, writer.card.positions - 1);
    const { ids, cut } = writer.kept(text, room), pieces = [];
    const start = performance.now();
    for await (const piece of writer.continued(ids, room, temperature)) {
      pieces.push(piece);
      say({ text: encoder.decode(pieces).replace(/\ufffd+$/, "") });
      await breathe();
    }
    return { text: encoder.decode(pieces), pieces, truncated: cut, ms: performance.now() - start };
  },

  async next({ text, count }) {
    await breathe();
    const start = performance.now(), found = await models[0].writer.next(text, count);
    return { found, ms: performance.now() - start };
  },

  /** The words of a golden example, another one each time. */
  async example() {
    const { golden } = models[0], { text, text_pair, candidates } = golden[examples++ % golden.length];
    return { text, text_pair, candidates };
  },

  /** Nothing: what runs is not wanted any more. */
  async stop() {},

  golden: (job, say) => checked(models[0], answered, breathe, say),
  measure: ({ queries, warmup }, say) => measured(models, { queries, warmup }, breathe, say),

  /** What the app reads, for whoever compares it with another implementation. */
  async pieces({ texts }) {
    const { encoder, writer } = models[0];
    return texts.map(([text, pair]) => (writer ? { input_ids: encoder.pieces(text).ids } : encoder.encode(text, pair ?? null)));
  },

  async logits({ asked }) {
    const { features, logits, answer } = await answered(models[0], asked);
    return { features, logits: logits.map((one) => Array.from(one.data)), answer };
  },
};

// The smallest module with a SIMD instruction (wasm-feature-detect's).
const SIMD = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]);
