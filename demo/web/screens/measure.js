// How quick the model is on this device and whether it answers as it should; the result can be saved as a file.

import { h, megabytes, milliseconds } from "../dom.js";
import { packaged } from "../store.js";

const QUERIES = 40, WARMUP = 5;

export function measure(ctx) {
  const { say, engine, site, memory } = ctx;
  const result = h("div", { class: "result", "aria-live": "polite" }), progress = h("p", { class: "footnote", role: "status" });
  const lead = h("div", { class: "result" }, h("p", { class: "lead" }, say("measure_lead")), h("p", { class: "muted" }, say("rest")));
  let busy = false;
  const button = h("button", { type: "button", class: "main", onclick: () => (busy ? engine.call("stop") : run()) }, say("run"));
  const save = h("button", { type: "button", class: "chip", hidden: true, onclick: () => download(memory.measured, `${site.models[0].name}-phone.json`) }, say("save"));
  const show = (found) => {
    memory.measured = found;
    save.hidden = false;
    lead.replaceChildren();
    result.replaceChildren(...drawn(found, say));
  };
  async function run() {
    busy = true;
    button.textContent = say("cancel");
    const moved = (key) => ({ done, total }) => (progress.textContent = say(key, { done, total }));
    try {
      const golden = await engine.call("golden", {}, moved("checking"));
      const models = golden && (await engine.call("measure", { queries: QUERIES, warmup: WARMUP }, moved("running")));
      if (models) show(await record(ctx, golden, models));
    } catch (error) {
      ctx.tell(error);
    }
    busy = false;
    progress.textContent = "";
    button.textContent = say("run");
  }
  if (memory.measured) show(memory.measured);
  return { body: [lead, result, progress], dock: [h("div", { class: "row" }, save, button)] };
}

/** The result as `docs/app.md` describes it. */
async function record({ site, loaded }, golden, models) {
  let memory = null;
  try {
    memory = crossOriginIsolated ? (await performance.measureUserAgentSpecificMemory()).bytes : null;
  } catch {
    // this browser does not tell
  }
  return {
    format: "attar-phone/1",
    attar: site.attar,
    version: site.version,
    created: new Date().toISOString(),
    target: "this phone",
    machine: {
      user_agent: navigator.userAgent,
      cores: navigator.hardwareConcurrency ?? null,
      memory_gb: navigator.deviceMemory ?? null,
      isolated: crossOriginIsolated,
    },
    runtime: "onnxruntime-web",
    warmup: WARMUP,
    threads: loaded.threads,
    first_ms: loaded.first_ms,
    ready_ms: loaded.ready_ms,
    page_memory: memory,
    golden,
    models,
  };
}

function drawn(found, say) {
  const { golden, models } = found;
  const facts = [
    [say("first_answer"), milliseconds(found.first_ms)],
    [say("loaded"), milliseconds(models[0].load_ms)],
    [say("threads"), found.threads],
    [say("memory"), found.page_memory ? megabytes(found.page_memory) : say("unknown")],
  ];
  const told = say("golden_good", { ...golden, error: golden.error.toPrecision(2), tolerance: golden.tolerance.toPrecision(2) });
  return [
    h("p", { class: "answer" }, h("span", { class: "headline" }, milliseconds(models[0].latencies[0].p50_ms)), h("span", { class: "sub" }, say("per", { length: models[0].latencies[0].length }))),
    h("p", { class: golden.passed ? "verdict good" : "verdict bad" }, say(golden.passed ? "passed" : "failed")),
    ...models.map((one) => table(one, say)),
    h("dl", {}, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("p", { class: "muted" }, `${say("golden")}: ${told}`),
  ];
}

function table(one, say) {
  const ratio = one.latencies.some((row) => row.ratio);
  const heads = [say("length"), say("median"), say("slow"), ...(ratio ? [say("quicker")] : [])];
  const cells = (row) => [row.length, milliseconds(row.p50_ms), milliseconds(row.p90_ms), ...(ratio ? [`${row.ratio.toFixed(2)} ×`] : [])];
  return h("table", {}, h("caption", {}, `${one.name} · ${one.file} · ${megabytes(one.bytes)}`),
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, one.latencies.map((row) => h("tr", {}, cells(row).map((cell, place) => h(place ? "td" : "th", place ? {} : { scope: "row" }, `${cell}`))))));
}

function download(value, name) {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  if (packaged) return h("a", { href: `data:application/json,${encodeURIComponent(text)}`, download: name }).click(); // shared by the phone
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = h("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
