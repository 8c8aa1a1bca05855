// Everything that takes time is done here; the page only draws. The files come while the modules that use them do.

import { described, everything } from "./store.js";
import { Told } from "./told.js";
import { serve } from "./turns.js";

const jobs = import("./jobs.js").catch(() => { throw new Told("offline", "jobs.js"); });
jobs.catch(() => {}); // told with the first job

async function load(say) {
  if (!WebAssembly.validate(SIMD)) throw new Told("no_simd");
  const site = await described();
  say({ site });
  const { files, kept } = await everything(site, say);
  return { kept, ...(await (await jobs).open(site, files)) };
}

serve(async (job, say) => (job.kind === "load" ? load(say) : (await jobs).JOBS[job.kind](job, say)));

// The smallest module with a SIMD instruction (wasm-feature-detect's).
const SIMD = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]);
