// The golden examples, checked on this device: the same pieces, logits within the tolerance, the same answers.

import { FORMS } from "./answers.js";

const far = (found, wanted) => wanted.reduce((most, value, place) => Math.max(most, Math.abs(value - found[place])), 0);
const same = (one, other) => one.length === other.length && one.every((value, place) => value === other[place]);
/** The answer alone: equal for two models that agree. */
const said = (answer) =>
  JSON.stringify([answer.label, answer.labels, answer.intent, answer.choice, answer.answer && [answer.answer.start, answer.answer.end]]);

export async function checked(one, answered, breathe, say) {
  const found = { rows: one.golden.length, pieces: 0, answers: 0, error: 0, tolerance: one.artefact.golden_tolerance };
  for (const [number, row] of one.golden.entries()) {
    await breathe();
    say({ done: number, total: one.golden.length });
    if (one.writer) await language(one, row, found);
    else await sequences(one, row, found, answered, breathe);
  }
  return { ...found, passed: found.pieces === found.rows && found.error <= found.tolerance };
}

async function sequences(one, row, found, answered, breathe) {
  const asked = { text: row.text, text_pair: row.text_pair, candidates: row.candidates };
  const { features, logits, answer } = await answered(one, asked, breathe);
  const right = features.length === row.sequences.length && row.sequences.every((wanted, place) =>
    same(features[place].input_ids, wanted.input_ids) && same(features[place].token_type_ids, wanted.token_type_ids));
  found.pieces += right;
  if (!right) return;
  const wanted = row.sequences.map(({ logits: values }, place) => ({ data: Float32Array.from(values.flat()), dims: logits[place].dims }));
  found.error = Math.max(found.error, ...wanted.map((values, place) => far(logits[place].data, values.data)));
  const told = FORMS[one.card.head](one.card, asked, one.encoder).answer(wanted);
  const numbers = one.card.kind === "regression" || one.card.kind === "embedding";
  found.answers += numbers ? wanted.every((values, place) => far(logits[place].data, values.data) <= found.tolerance) : said(answer) === said(told);
}

/** A language model gives the golden pieces their likelihood, and goes on with the same ones where it is exact. */
async function language({ writer, encoder }, row, found) {
  found.pieces += same(encoder.pieces(row.text).ids, row.input_ids) || (!row.text && row.input_ids.length === 1);
  found.error = Math.max(found.error, Math.abs((await writer.nats(row.input_ids, row.pieces)) - row.nats) / row.pieces.length);
  const pieces = [];
  for await (const piece of writer.continued(row.input_ids, row.pieces.length)) pieces.push(piece);
  found.answers += same(pieces, row.pieces);
}
