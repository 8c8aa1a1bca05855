// A model file in ONNX Runtime, one sequence at a time as on any device: dynamic int8 takes its scale from a whole batch.

import { Told } from "./told.js";
import * as ort from "./vendor/ort.js";

const FUSED = new Set(["fp32", "int4", "mixed"]);

/** Set the runtime up, once: its binary has been fetched and checked with everything else. */
export function prepare(binary) {
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.numThreads = threads();
  ort.env.wasm.proxy = false; // this is a worker already
  ort.env.logLevel = "fatal"; // what goes wrong comes as an exception
}

/** More than one only where the page is cross-origin isolated; half of the cores leaves the page its own. */
export function threads() {
  return globalThis.crossOriginIsolated ? Math.max(1, Math.min(4, Math.floor((navigator.hardwareConcurrency || 1) / 2))) : 1;
}

export async function open(bytes, artefact) {
  try {
    // attar's files come fused: looking for more would only delay the start. Of int8 products the runtime makes quicker ones.
    const graphOptimizationLevel = FUSED.has(artefact.precision) ? "disabled" : "all";
    const options = { executionProviders: ["wasm"], intraOpNumThreads: threads(), interOpNumThreads: 1, graphOptimizationLevel };
    return await ort.InferenceSession.create(bytes, options);
  } catch (error) {
    throw new Told(/memory|alloc/i.test(`${error}`) ? "memory" : "model", `${artefact.file}: ${error?.message ?? error}`);
  }
}

export const integers = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
export const floats = (data, dims) => new ort.Tensor("float32", data, dims);

/** The logits of one sequence, `{data, dims}` without the batch. */
export async function run(session, artefact, { input_ids: ids, token_type_ids: types }) {
  const all = { input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: types };
  const feed = Object.fromEntries(artefact.inputs.map(({ name }) => [name, integers(all[name])]));
  const found = await session.run(feed), { data, dims } = found[session.outputNames[0]];
  return { data, dims: dims.slice(1) };
}
