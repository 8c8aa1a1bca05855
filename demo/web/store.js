// The files of the app: fetched with a bar, checked by their sha256, and kept on the device.
// - Large files have their digest in their name, so a kept one is never stale. A file that is not what `site.json` says
//   is thrown away and fetched once more; one that comes damaged from the network is told.
// - Where the browser keeps nothing (private mode, no room), the app works from memory and says so.

import { Told } from "./told.js";

export const base = new URL("./", import.meta.url);
/** In an Android package the files are on the phone already, and nothing is to be kept of them. */
export const packaged = base.host === "appassets.androidplatform.net";
/** Caches are shared by all sites of an origin: the folder is part of their names. */
export const cacheName = (kind) => `attar ${base.pathname} ${kind}`;

async function open() {
  if (packaged) return null;
  try {
    return await caches.open(cacheName("data"));
  } catch {
    return null; // denied, or not a secure address
  }
}

async function digest(bytes) {
  const found = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(found), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function whole(bytes, file) {
  if (bytes.byteLength !== file.bytes) return false;
  return !globalThis.crypto?.subtle || (await digest(bytes)) === file.sha256; // an http address checks sizes alone
}

/**
 * The bytes of a file `{path, bytes, sha256}`.
 * @param moved is told how many bytes of it are there
 * @returns `{bytes, kept}`: whether it is there when the network is not
 */
async function load(file, moved = () => {}) {
  const url = new URL(file.path, base).href, cache = await open();
  const known = await cache?.match(url).catch(() => undefined);
  if (known) {
    const bytes = new Uint8Array(await known.arrayBuffer());
    if (await whole(bytes, file)) {
      moved(file.bytes);
      return { bytes, kept: true };
    }
    await cache.delete(url);
  }
  const bytes = await fetched(url, file, moved);
  if (!(await whole(bytes, file))) throw new Told("damaged", file.path);
  let kept = packaged;
  try {
    if (cache) {
      await cache.put(url, new Response(bytes, { headers: { "Content-Type": "application/octet-stream" } }));
      kept = true;
    }
  } catch {
    // no room: what is in memory is enough for now
  }
  return { bytes, kept };
}

async function fetched(url, file, moved) {
  let response;
  try {
    response = await fetch(url, { cache: "no-cache" });
  } catch {
    throw new Told("offline", file.path);
  }
  if (!response.ok || !response.body) throw new Told("missing", `${file.path}: ${response.status}`);
  const bytes = new Uint8Array(file.bytes), reader = response.body.getReader();
  let count = 0;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (count + part.value.length > file.bytes) throw new Told("damaged", file.path);
      bytes.set(part.value, count);
      moved((count += part.value.length));
    }
  } catch (error) {
    await reader.cancel().catch(() => {});
    throw error instanceof Told ? error : new Told("offline", file.path);
  }
  return count === file.bytes ? bytes : bytes.slice(0, count);
}

/** What `site.json` says of the app. */
export async function described() {
  const response = await fetch(new URL("site.json", base), { cache: "no-cache" }).catch(() => { throw new Told("offline"); });
  if (!response.ok) throw new Told("missing", "site.json");
  return response.json();
}

/** All that the models need, `{files, kept}`: bytes by path, and whether all of them are there without a network. */
export async function everything(site, say) {
  const wanted = new Map(site.files.filter((one) => one.data).map((one) => [one.path, one]));
  const total = [...wanted.values()].reduce((sum, one) => sum + one.bytes, 0), moved = new Map(), files = new Map();
  let kept = true;
  await Promise.all([...wanted.values()].map(async (one) => {
    const found = await load(one, (bytes) => {
      moved.set(one.path, bytes);
      say({ done: [...moved.values()].reduce((a, b) => a + b, 0), total });
    });
    files.set(one.path, found.bytes);
    kept &&= found.kept;
  }));
  return { files, kept };
}
