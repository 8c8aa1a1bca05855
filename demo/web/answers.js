// From words to sequences and from logits to an answer, by the head of the model: `export/answers/` in JavaScript.
// - `pose(card, asked, encoder)` gives `{features, truncated, answer(logits)}`; the logits of each sequence are
//   `{data, dims}`, dims (outputs) or (pieces, outputs).
// - Whoever asks wrongly is told by a code that the page has words for (`Told`).

import { Told } from "./told.js";
import * as windows from "./windows.js";

const SIGNS = '.,;:!?"()[]';
const RUN = /[^ \t\r\n]+/g;
// Python's \w: letters, digits and numbers, and the underscore; marks are none.
const WORD = /[\p{L}\p{N}_]+|[^\p{L}\p{N}_\p{White_Space}\x1c-\x1f]/gu;
const SHOWN = 5;

export const FORMS = { sequence: text, tokens: slots, span, choice, embedding };

export function softmax(values) {
  const top = Math.max(...values), powers = Array.from(values, (value) => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** The place of the largest; the first of equal ones. */
export function argmax(values) {
  let best = 0;
  for (let place = 1; place < values.length; place++) if (values[place] > values[best]) best = place;
  return best;
}

/** `[name, probability]`, the most probable first. */
export function ranked(names, logits) {
  const found = softmax(logits).map((share, place) => [names[place], share]);
  return found.sort((a, b) => b[1] - a[1]);
}

const anyTruncated = (features) => features.some((one) => one.truncated);

function text(card, asked, encoder) {
  const { text, text_pair: pair = null } = asked;
  const features = [encoder.encode(text, card.pair ? pair ?? "" : null)];
  if (card.both_orders) features.push(encoder.encode(pair ?? "", text));
  return {
    features,
    truncated: anyTruncated(features),
    answer(logits) {
      const total = logits[0].data.map((value, place) => logits.reduce((sum, one, n) => (n ? Math.fround(sum + one.data[place]) : value), value));
      if (card.kind === "regression") return { value: total[0] };
      const probabilities = ranked(card.labels, total);
      return { label: probabilities[0][0], probabilities };
    },
  };
}

/** Where the words of a text begin and end. */
export function cut(text, rule) {
  return Array.from(text.matchAll(rule === "signs" ? WORD : RUN), (found) => [found.index, found.index + found[0].length]);
}

/** The spans that conlleval counts: `[kind, first word, word behind the last]`; a stray `I-` starts one. */
export function spans(labels) {
  const found = [];
  let start = 0, kind = "";
  for (const [place, label] of [...labels, "O"].entries()) {
    if (label.startsWith("I-") && label.slice(2) === kind) continue;
    if (kind) found.push([kind, start, place]);
    [start, kind] = [place, label.slice(2)];
  }
  return found;
}

function slots(card, asked, encoder) {
  const { slots: names, intents, cut: rule } = card.tokens;
  const places = cut(asked.text, rule);
  const { features, firsts } = encoder.align(places.map(([start, end]) => asked.text.slice(start, end)));
  return {
    features: [features],
    truncated: features.truncated,
    answer([{ data, dims: [, width] }]) {
      const row = (place, from, to) => data.subarray(place * width + from, place * width + to);
      const labels = firsts.map((place) => (place < 0 ? "O" : names[argmax(row(place, 0, names.length))]));
      const found = spans(labels).map(([kind, first, end]) => slot(asked.text, rule, kind, places[first][0], places[end - 1][1]));
      const shares = intents.length ? ranked(intents, row(0, names.length, width)) : [];
      return { slots: found, labels, intent: shares[0]?.[0] ?? null, intents: shares };
    },
  };
}

/** A slot's characters, without the signs of the sentence around them. */
function slot(text, rule, kind, start, end) {
  if (rule === "blanks") {
    let [left, right] = [start, end];
    while (left < right && SIGNS.includes(text[left])) left++;
    while (right > left && SIGNS.includes(text[right - 1])) right--;
    if (left < right) [start, end] = [left, right];
  }
  return { slot: kind, start, end, text: text.slice(start, end) };
}

function choice(card, asked, encoder) {
  const candidates = (asked.candidates ?? []).map((one) => one.trim());
  if (candidates.length < 2 || candidates.some((one) => !one) || !asked.text.trim()) throw new Told("candidates");
  const features = candidates.map((candidate) => encoder.encode(asked.text.trim(), candidate));
  return {
    features,
    truncated: anyTruncated(features),
    answer(logits) {
      const scores = logits.map((one) => one.data[0]), best = argmax(scores);
      return { choice: best, answer: candidates[best], probabilities: softmax(scores) };
    },
  };
}

export function cosine(first, second) {
  let product = 0, left = 0, right = 0;
  for (let place = 0; place < first.length; place++) {
    product += first[place] * second[place];
    left += first[place] ** 2;
    right += second[place] ** 2;
  }
  return left && right ? product / Math.sqrt(left) / Math.sqrt(right) : 0;
}

function embedding(card, asked, encoder) {
  const texts = [asked.text, ...(asked.text_pair == null ? [] : [asked.text_pair])];
  const features = texts.map((one) => encoder.encode(one));
  return {
    features,
    truncated: anyTruncated(features),
    answer: ([first, second]) => (second ? { cosine: cosine(first.data, second.data) } : { embedding: Array.from(first.data) }),
  };
}

function span(card, asked, encoder) {
  if (asked.ask) return option(card, asked, encoder);
  const { text: question, text_pair: context = "" } = asked;
  const found = windows.encode(question, context, encoder, card.span);
  return {
    features: found.map((one) => one.features),
    truncated: anyTruncated(found.map((one) => one.features)),
    answer(logits) {
      const { spans: best, none } = windows.best(found, logits, context, card.span);
      const limit = card.span.no_answer_threshold ?? null;
      const margin = best.length ? none - best[0].score : Infinity;
      const answered = best.length > 0 && (limit === null || margin <= limit);
      return { answer: answered ? best[0] : null, no_answer: best.length ? margin : null, no_answer_threshold: limit, spans: best.slice(0, SHOWN) };
    },
  };
}

/** A classification that the model was taught as a question: only the words of its labels are compared. */
function option(card, asked, encoder) {
  const ask = card.span.asks[asked.ask];
  if (!ask) throw new Told("unsupported");
  const question = fill(ask.question, asked, ask).text, { text: context, options } = fill(ask.context, asked, ask);
  const found = windows.encode(question, context, encoder, card.span);
  return {
    features: found.map((one) => one.features),
    truncated: anyTruncated(found.map((one) => one.features)),
    answer(logits) {
      const scores = options.map((one) => Math.max(...found.map((window, number) => windows.scoreOf(window, logits[number].data, context, one.start, one.end))));
      if (!scores.every(Number.isFinite)) throw new Told("too_long");
      const probabilities = ranked(options.map((one) => one.label), scores);
      return { label: probabilities[0][0], probabilities };
    },
  };
}

/** A pattern of Python's `str.format` with its texts, and where each option stands in it. */
function fill(pattern, asked, ask) {
  let text = "";
  const options = [];
  for (const [part, name] of pattern.matchAll(/\{\{|\}\}|\{(text|text_pair|options)\}|[^{}]+/g)) {
    if (name === "options")
      for (const [label, words] of Object.entries(ask.options)) {
        text += options.length ? ", " : "";
        options.push({ label, start: text.length, end: text.length + words.length });
        text += words;
      }
    else if (name) text += asked[name] ?? "";
    else text += part === "{{" || part === "}}" ? part[0] : part;
  }
  return { text, options };
}

