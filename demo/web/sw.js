// Offline: the page from a cache of its own version, the large files from one that versions share. VERSION and FILES
// stand above these lines, so that every change of the app is a change of this file.
// - The first time the page itself fetches the large files, with a bar. A new version fetches all it needs before it is
//   ready, while the old one goes on; it takes over when the person says so, or when the app was closed.
// - Nothing goes into a cache that is not what FILES says.

const base = new URL("./", self.location);
const name = (kind) => `attar ${base.pathname} ${kind}`;
const SHELL = name(VERSION), DATA = name("data");
const known = new Map(FILES.map((file) => [new URL(file.path, base).href, file]));

async function fetched(url, file) {
  const response = await fetch(url, { cache: "no-cache" });
  const bytes = await response.arrayBuffer();
  const hash = Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (byte) => byte.toString(16).padStart(2, "0"));
  if (!response.ok || hash.join("") !== file.sha256) throw new Error(`${file.path} is not as published`);
  const headers = new Headers(response.headers); // of the bytes alone: a response that was redirected opens no page
  for (const name of ["Content-Encoding", "Content-Length"]) headers.delete(name);
  return new Response(bytes, { headers });
}

async function fill(kind, data) {
  const cache = await caches.open(kind);
  for (const [url, file] of known)
    if (file.data === data && !(data && (await cache.match(url)))) await cache.put(url, await fetched(url, file));
}

self.addEventListener("install", (event) => {
  const update = Boolean(self.registration.active);
  event.waitUntil(fill(SHELL, false).then(() => update && fill(DATA, true)));
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const key of await caches.keys())
      if (key.startsWith(name("")) && key !== SHELL && key !== DATA) await caches.delete(key);
    const data = await caches.open(DATA);
    for (const { url } of await data.keys()) if (!known.has(url)) await data.delete(url);
    await self.clients.claim();
  })());
});

self.addEventListener("message", ({ data }) => {
  if (data === "take over") self.skipWaiting();
});

self.addEventListener("fetch", (event) => {
  const { request } = event, url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== base.origin) return;
  url.search = url.hash = "";
  const page = request.mode === "navigate" && url.pathname.startsWith(base.pathname);
  const key = page ? new URL("index.html", base).href : url.href, file = known.get(key);
  if (file && !file.data) event.respondWith(caches.open(SHELL).then(async (cache) => (await cache.match(key)) ?? fetch(request)));
});
