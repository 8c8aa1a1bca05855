// A language model goes on with a text, with what it has kept of the pieces before: `export/continuation.py`.

import { argmax, softmax } from "./answers.js";
import { Told } from "./told.js";
import { floats, integers } from "./model.js";

const names = (card, side) =>
  Array.from({ length: card.layers }, (_, layer) => ["key", "value"].map((part) => `${side}.${layer}.${part}`)).flat();

export class Writer {
  constructor(session, card, encoder) {
    Object.assign(this, { session, card, encoder, past: names(card, "past_key_values"), present: names(card, "present") });
  }

  start() {
    const { heads, width } = this.card;
    return this.past.map(() => floats(new Float32Array(0), [1, heads, 0, width]));
  }

  /** Logits `{data, dims: [pieces, vocabulary]}` of the next pieces, and the new past. */
  async step(ids, past) {
    const feed = Object.fromEntries([["input_ids", integers(ids)], ...this.past.map((name, place) => [name, past[place]])]);
    const found = await this.session.run(feed);
    const { data, dims } = found.logits;
    return { logits: { data, dims: dims.slice(1) }, past: this.present.map((name) => found[name]) };
  }

  last({ data, dims: [rows, width] }) {
    return data.subarray((rows - 1) * width, rows * width);
  }

  /** A text's pieces, or end-of-text for an empty one. */
  prompt(text) {
    const { ids } = this.encoder.pieces(text);
    if (!ids.length && this.card.end_id == null) throw new Told("empty");
    return ids.length ? ids : [this.card.end_id];
  }

  /** New pieces, each as soon as it is there, up to end-of-text and without it; temperature 0 takes the likeliest. */
  async *continued(ids, most, temperature = 0) {
    let past = this.start();
    for (let count = 0; count < most; count++) {
      const found = await this.step(ids, past);
      const piece = choose(this.last(found.logits), temperature);
      if (piece === this.card.end_id) return;
      yield piece;
      [ids, past] = [[piece], found.past];
    }
  }

  /** The prompt's pieces that leave room for `most` new ones. */
  kept(text, most) {
    const ids = this.prompt(text);
    return { ids: ids.slice(-(this.card.positions - most)), cut: ids.length > this.card.positions - most };
  }

  /** The likeliest next pieces as words a person can tap, with their probabilities. */
  async next(text, count) {
    const { ids } = this.kept(text, 1);
    const { logits } = await this.step(ids, this.start());
    const shares = softmax(this.last(logits)), found = [];
    const order = shares.map((_, piece) => piece).sort((a, b) => shares[b] - shares[a]);
    for (const piece of order.slice(0, 4 * count)) {
      const said = piece === this.card.end_id ? "" : this.encoder.decode([piece]);
      if (/[\p{L}\p{N}\p{P}\p{S}]/u.test(said) && !said.includes("\ufffd")) found.push([said, shares[piece]]);
      if (found.length === count) break;
    }
    return found;
  }

  /** The negative log-likelihood of pieces behind a context. */
  async nats(context, pieces) {
    const { logits: { data, dims: [rows, width] } } = await this.step([...context, ...pieces].slice(0, -1), this.start());
    return pieces.reduce((sum, piece, place) => {
      const row = data.subarray((rows - pieces.length + place) * width, (rows - pieces.length + place + 1) * width);
      const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
      return sum + top + Math.log(row.reduce((all, value) => all + Math.exp(value - top), 0)) - row[piece];
    }, 0);
  }
}

function choose(logits, temperature) {
  if (!(temperature > 0)) return argmax(logits);
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Array.from(logits, (value) => Math.exp((value - top) / temperature));
  let rest = Math.random() * powers.reduce((a, b) => a + b, 0);
  const piece = powers.findIndex((power) => (rest -= power) <= 0);
  return piece < 0 ? argmax(logits) : piece;
}
