// What all pages do beyond what the server has written: copying, times that
// keep up, and parts that are fetched again when something happens.

const zh = document.documentElement.lang.startsWith("zh");

for (const button of document.querySelectorAll("[data-copy]")) prepareCopy(button);

function prepareCopy(button) {
  if (!navigator.clipboard) return;
  button.hidden = false;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = button.dataset.done;
    announce(button.dataset.done);
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

// announce has screen readers say a text.
export function announce(text) {
  const box = document.getElementById("announce");
  box.textContent = "";
  setTimeout(() => { box.textContent = text; }, 50);
}

function ago(date) {
  const s = Math.max(0, Math.floor((Date.now() - date) / 1000));
  const say = (n, zhUnit, enUnit) => zh ? `${n} ${zhUnit}前` : `${n} ${enUnit} ago`;
  if (s >= 2 * 86400) return say(Math.floor(s / 86400), "天", "days");
  if (s >= 2 * 3600) return say(Math.floor(s / 3600), "小时", "hours");
  if (s >= 120) return say(Math.floor(s / 60), "分钟", "minutes");
  return say(s, "秒", "s");
}

setInterval(() => {
  for (const t of document.querySelectorAll("time[data-time]")) t.textContent = ago(new Date(t.dateTime));
}, 1000);

// A search around where the visitor is: the place goes into the address, and
// nowhere else.
for (const button of document.querySelectorAll("[data-near]")) {
  if (!navigator.geolocation) continue;
  button.hidden = false;
  button.addEventListener("click", () => navigator.geolocation.getCurrentPosition((at) => {
    const here = new URL(location.href);
    here.searchParams.set("near", at.coords.latitude.toFixed(5) + "," + at.coords.longitude.toFixed(5));
    here.searchParams.delete("after");
    location.assign(here.href);
  }, () => { document.getElementById("near-error").textContent = button.dataset.near; }));
}

const summary = document.getElementById("error-summary");
if (summary) summary.focus();

// Forms are sent once: a second press while the first is under way does nothing.
document.addEventListener("submit", (e) => {
  const form = e.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { e.preventDefault(); return; }
  form.dataset.sent = "1";
  setTimeout(() => { delete form.dataset.sent; }, 8000);
});

// touches reports whether an event concerns a topic.
function touches(event, topic) {
  const at = topic.indexOf(":");
  const kind = at < 0 ? topic : topic.slice(0, at), what = topic.slice(at + 1);
  if (kind === "block") return true;
  const txs = event.transactions || [];
  if (kind === "transaction") return txs.length > 0;
  if (kind === "proposal") return txs.some((t) => (t.proposals || []).some((n) => what === "*" || String(n) === what));
  const below = (c) => c === what || c.startsWith(what + ".") || c.startsWith(what + "/");
  return kind === "code" && (event.changed_more > 0 || (event.changed || []).some(below) || txs.some((t) => (t.codes || []).some(below)));
}

let refreshing = false;
const wanted = new Set();

// refresh fetches this page anew and replaces the parts with the ids given, also by
// what a page says that has nothing to show. What fails leaves the page as it is.
async function refresh(ids) {
  for (const id of ids) wanted.add(id);
  if (refreshing) return;
  refreshing = true;
  try {
    while (wanted.size) {
      const now = [...wanted];
      wanted.clear();
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      replace(now, new DOMParser().parseFromString(await answer.text(), "text/html"));
      document.dispatchEvent(new CustomEvent("cityid:refreshed", { detail: now }));
    }
  } catch {
    wanted.clear();
  } finally {
    refreshing = false;
  }
}

function replace(ids, fresh) {
  for (const id of ids) {
    const old = document.getElementById(id), next = fresh.getElementById(id);
    if (!old || !next || old.outerHTML === next.outerHTML || old.contains(document.activeElement)) continue;
    for (const d of old.querySelectorAll("details[open]")) {
      const same = next.querySelectorAll("details")[[...old.querySelectorAll("details")].indexOf(d)];
      if (same) same.open = true;
    }
    old.replaceWith(document.adoptNode(next));
    next.querySelectorAll("[data-copy]").forEach(prepareCopy);
    if (next.dataset.announce) announce(next.dataset.announce);
  }
}

function showBlock(event) {
  const status = document.getElementById("node-status");
  if (!status) return;
  const time = status.querySelector("time"), pulse = status.querySelector(".pulse"), height = status.querySelector("[data-height]");
  if (time) { time.dateTime = event.time; time.textContent = ago(new Date(event.time)); }
  if (height) height.textContent = event.height.toLocaleString("en");
  if (pulse) { pulse.classList.remove("beat"); void pulse.offsetWidth; pulse.classList.add("beat"); }
}

// listen follows the chain while the page is in view.
function listen() {
  const source = new EventSource("/v1/events");
  source.addEventListener("block", (e) => {
    const event = JSON.parse(e.data);
    showBlock(event);
    const ids = [];
    for (const part of document.querySelectorAll("[data-live][id]")) {
      if (part.id !== "node-status" && part.dataset.live.split(" ").some((t) => touches(event, t))) ids.push(part.id);
    }
    if (ids.length) refresh(ids);
  });
  source.addEventListener("reset", () => refresh([...document.querySelectorAll("[data-live][id]")].map((p) => p.id)));
  return source;
}

// What changes by itself, and not with the chain, is fetched again every so many
// seconds while the page is in view.
const rhythms = new Map();
for (const part of document.querySelectorAll("[data-live^='every:'][id]")) {
  const seconds = Number(part.dataset.live.slice(6));
  rhythms.set(seconds, [...(rhythms.get(seconds) ?? []), part.id]);
}
for (const [seconds, ids] of rhythms) {
  setInterval(() => { if (document.visibilityState === "visible") refresh(ids); }, 1000 * seconds);
}

let source = document.visibilityState === "visible" ? listen() : null;
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") { source?.close(); source = null; } else if (!source) source = listen();
});
