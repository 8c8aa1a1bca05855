// Long contexts in overlapping windows, and the best span of them: `tasks/windows.py` and `tasks/spans.py`.

import { isBlank } from "./unicode.js";

const MARK = /^\p{M}/u;
const MOST = 64; // windows that are read of a context: a megabyte would keep a phone busy for minutes

/** Windows `{features, first, offsets}` of a question and its context. */
export function encode(question, context, encoder, { stride, max_question: most }) {
  const space = encoder.most - encoder.frame.size(true);
  const asked = encoder.pieces(question).ids, head = asked.slice(0, Math.min(most, Math.floor(space / 2)));
  const room = space - head.length, step = room - Math.min(stride, Math.floor(room / 2));
  const { ids, offsets } = encoder.pieces(context, MOST * step + room);
  const first = encoder.frame.second(head.length);
  const cutHead = head.length < asked.length;
  const found = [];
  for (let begin = 0; found.length < MOST; begin += step) {
    const last = begin + room >= ids.length, end = last ? ids.length : begin + room;
    const features = { ...encoder.frame.fill(head, ids.slice(begin, end)), truncated: cutHead };
    found.push({ features, first, offsets: offsets.slice(begin, end) });
    if (last) return found;
  }
  found.at(-1).features.truncated = true;
  return found;
}

/** The characters of the pieces `first` to `last`: without blanks at the ends, with the marks that follow. */
function characters(window, context, first, last) {
  let start = window.offsets[first - window.first][0], end = window.offsets[last - window.first][1];
  while (start < end && isBlank(context[start])) start++;
  while (end > start && isBlank(context[end - 1])) end--;
  while (start < end && end < context.length) {
    const next = String.fromCodePoint(context.codePointAt(end));
    if (!MARK.test(next)) break;
    end += next.length;
  }
  return [start, end];
}

/** The best spans of all windows, the best first, and the null score. */
export function best(windows, logits, context, { n_best: count, max_answer: longest }) {
  const found = new Map();
  let none = Infinity;
  for (const [number, window] of windows.entries()) {
    const { data } = logits[number];
    none = Math.min(none, data[0] + data[1]);
    for (const [first, last, score] of top(window, data, count, longest)) {
      const [start, end] = characters(window, context, first, last);
      const key = `${start} ${end}`;
      if (start < end && !(found.get(key)?.score >= score)) found.set(key, { text: context.slice(start, end), start, end, score });
    }
  }
  const spans = [...found.values()].sort((a, b) => b.score - a.score || a.start - b.start || a.end - b.end);
  return { spans: spans.slice(0, count), none };
}

/** `[first piece, last piece, score]` of a window's best spans. */
function top(window, data, count, longest) {
  const { first, offsets } = window, found = [];
  for (let begin = first; begin < first + offsets.length; begin++)
    for (let last = begin; last < Math.min(begin + longest, first + offsets.length); last++)
      found.push([begin, last, data[2 * begin] + data[2 * last + 1]]);
  return found.sort((a, b) => b[2] - a[2]).slice(0, count);
}

/** Start and end logit of the characters `start` to `end`; -Infinity where the window does not hold them all. */
export function scoreOf(window, data, context, start, end) {
  while (start < end && isBlank(context[start])) start++;
  while (end > start && isBlank(context[end - 1])) end--;
  const inside = window.offsets.flatMap(([left, right], place) => (left < right && right > start && left < end ? [window.first + place] : []));
  if (start >= end || !inside.length) return -Infinity;
  const [first, last] = [inside[0], inside.at(-1)], [begin, stop] = characters(window, context, first, last);
  return begin <= start && stop >= end ? Math.fround(data[2 * first] + data[2 * last + 1]) : -Infinity;
}
