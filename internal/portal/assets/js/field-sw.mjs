// The service worker of the field app: its page and files open without a
// network, as they were last fetched. The server puts the list "shell" before
// this text. Nothing else is kept, and no answer of the server's data.

const fill = async () => {
  const cache = await caches.open(shell.version);
  await cache.addAll(shell.files);
  await keepPage(cache);
};

// keepPage keeps the page as it is for whoever has signed in.
const keepPage = async (cache) => {
  const answer = await fetch(shell.page, { credentials: "same-origin" });
  if (answer.ok && !answer.redirected) await cache.put(shell.page, answer);
};

self.addEventListener("install", (event) => event.waitUntil(fill().then(() => self.skipWaiting())));

self.addEventListener("activate", (event) => event.waitUntil((async () => {
  const mine = shell.version.split("-").slice(0, 2).join("-") + "-";
  for (const name of await caches.keys()) if (name.startsWith(mine) && name !== shell.version) await caches.delete(name);
  await self.clients.claim();
})()));

// fromNetwork answers for the page: fresh where there is a network.
const fromNetwork = async (request) => {
  const cache = await caches.open(shell.version);
  try {
    const answer = await fetch(request);
    if (answer.ok && !answer.redirected && new URL(request.url).search === "") await cache.put(shell.page, answer.clone());
    return answer;
  } catch (error) {
    const kept = await cache.match(shell.page);
    if (kept) return kept;
    throw error;
  }
};

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (request.mode === "navigate" && url.pathname === shell.page) event.respondWith(fromNetwork(request));
  else if (shell.files.includes(url.pathname)) event.respondWith(caches.match(request).then((kept) => kept || fetch(request)));
});
