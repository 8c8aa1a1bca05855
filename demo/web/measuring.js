// Latency on this device, by the rules of `benchmarks/latency.py` in short: sequences filled to a length without
// padding, a warm-up, single inferences, and where there are two models they take turns on the same text.

import * as model from "./model.js";

const LENGTHS = [16, 64]; // pieces; a model that reads fewer is filled

/** Real sequences, joined until they fill the length, cut before the last piece, which is a special one. */
function filled(sequences, length, count) {
  return Array.from({ length: count }, (_, start) => {
    const ids = [], types = [];
    for (let step = 0; ids.length < length; step++) {
      const more = sequences[(start + step) % sequences.length];
      ids.push(...more.input_ids);
      types.push(...(more.token_type_ids ?? more.input_ids.map(() => 0)));
    }
    const cut = (all) => [...all.slice(0, length - 1), all.at(-1)];
    return { input_ids: cut(ids), token_type_ids: cut(types) };
  });
}

/** A quantile as numpy takes it, between the neighbours. */
export function quantile(values, share) {
  const order = values.slice().sort((a, b) => a - b), place = (order.length - 1) * share, low = Math.floor(place);
  return order[low] + (place - low) * ((order[low + 1] ?? order[low]) - order[low]);
}

async function once(one, features) {
  if (one.writer) return one.writer.step(features.input_ids, one.writer.start());
  return model.run(one.session, one.artefact, features);
}

/** Milliseconds between two values of the clock: browsers make it coarse where a page is not isolated. */
export function step() {
  let least = Infinity;
  for (let seen = 0, last = performance.now(), start = last; seen < 20 && last - start < 200; ) {
    const now = performance.now();
    if (now > last) { least = Math.min(least, now - last); last = now; seen++; }
  }
  return least;
}

const STEPS = 20; // a timed query lasts so many steps of the clock, so that one is 5 % of it at most

export async function measured(models, { queries, warmup }, breathe, say) {
  const longest = Math.min(...models.map((one) => one.encoder.most));
  const lengths = [...new Set(LENGTHS.map((length) => Math.min(length, longest)))];
  const rounds = lengths.length * (warmup + queries), times = models.map(() => lengths.map(() => []));
  const clock = step(), repeats = models.map(() => lengths.map(() => 1));
  let round = 0;
  for (const [place, length] of lengths.entries()) {
    const inputs = models.map((one) => filled(one.golden.flatMap((row) => row.sequences ?? [row]), length, 32));
    for (let query = 0; query < warmup + queries; query++) {
      await breathe();
      say({ done: round++, total: rounds });
      for (let turn = 0; turn < models.length; turn++) {
        const number = (turn + query) % models.length, count = repeats[number][place], start = performance.now();
        for (let again = 0; again < count; again++) await once(models[number], inputs[number][query % 32]);
        const spent = (performance.now() - start) / count;
        if (query >= warmup) times[number][place].push(spent);
        else if (query === warmup - 1) repeats[number][place] = Math.ceil((STEPS * clock) / Math.max(spent, clock / 4));
      }
    }
  }
  return models.map((one, number) => ({
    name: one.name,
    file: one.artefact.file,
    bytes: one.artefact.bytes,
    load_ms: one.load_ms,
    latencies: lengths.map((length, place) => summary(length, times[number][place], number ? times[0][place] : null, repeats[number][place])),
  }));
}

/** `ratio` is the median over rounds of the first model's time over this one's. */
function summary(length, times, first, repeats) {
  const sum = times.reduce((a, b) => a + b, 0);
  return {
    length,
    threads: model.threads(),
    queries: times.length,
    repeats,
    p50_ms: quantile(times, 0.5),
    p90_ms: quantile(times, 0.9),
    mean_ms: sum / times.length,
    min_ms: Math.min(...times),
    ratio: first && quantile(times.map((ms, place) => first[place] / ms), 0.5),
  };
}
