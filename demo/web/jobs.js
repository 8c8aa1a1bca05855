// What the worker does for the page: pieces, inference, measuring.

import { FORMS, cosine } from "./answers.js";
import { Encoder } from "./encoder.js";
import { checked } from "./golden.js";
import { measured } from "./measuring.js";
import * as model from "./model.js";
import { breathe } from "./turns.js";
import { Writer } from "./writing.js";

let examples = 0;
const models = []; // as in site.json, each with its session, its encoder and what it cost to load
const vectors = new Map(); // of the notes that were searched before

async function opened(one, files) {
  const start = performance.now(), read = (path) => JSON.parse(new TextDecoder().decode(files.get(path)));
  const opening = model.open(files.get(one.artefact.path), one.artefact); // the runtime compiles beside what follows
  opening.catch(() => {});
  const card = one.task, encoder = new Encoder(read(one.tokenizer.path), card.language?.positions ?? one.tokenizer.max_length);
  const session = await opening, writer = card.language ? new Writer(session, card.language, encoder) : null;
  return { ...one, card, session, encoder, writer, golden: read(one.golden), load_ms: performance.now() - start };
}

/** Open the models of a site, the first one ready to answer; `files` are bytes by path. */
export async function open(site, files) {
  model.prepare(files.get(site.runtime));
  for (const one of site.models) models.push(await opened(one, files));
  // The first run is not the person's: kernels are chosen and memory is taken.
  const start = performance.now();
  const { writer, card, golden } = models[0];
  if (writer) await writer.next(golden[0].text, 1);
  else await answered(models[0], { ...golden[0], ask: "" }, () => {}); // whoever types already waits for it
  return { threads: model.threads(), first_ms: performance.now() - start, task: card.kind };
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

export const JOBS = {
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
