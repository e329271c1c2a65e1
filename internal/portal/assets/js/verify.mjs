// Checks in the browser what the page would else have the server check: a code,
// a certificate, a source mark, a file. The trust root is the one pinned here, if there is one.

import { offerCamera } from "./camera.mjs";
import { digestOf } from "./digest.mjs";
import { announce } from "./site.mjs";

const given = JSON.parse(document.getElementById("verify-data").textContent);
const { checkBundle, checkCertificate, checkSource, parsePayload, parseTrust } = await import(new URL(given.module, location.href).href);
const texts = given.texts;
const store = "cityid-trust";
const byID = (id) => document.getElementById(id);
const say = (key, ...args) => args.reduce((s, a, i) => s.replaceAll(`{${i}}`, a), texts[key] ?? key);

function element(name, attributes, ...content) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...content.filter((c) => c !== undefined && c !== ""));
  return e;
}

// trust is the trust root in use, and where it comes from.
let trust, pinned = false;

async function loadTrust() {
  const kept = localStorage.getItem(store);
  if (kept) {
    try { trust = await parseTrust(kept); pinned = true; return showTrust(); } catch { localStorage.removeItem(store); }
  }
  pinned = false;
  trust = await parseTrust(await (await fetch(given.trust)).text());
  showTrust();
}

function showTrust() {
  byID("trust-tools").hidden = false;
  byID("who-trust").textContent = say(pinned ? "who.pinned" : "who.site", trust.zone, trust.version);
  byID("trust-hash").textContent = trust.pinned;
  byID("trust-pin").hidden = pinned;
  byID("trust-forget").hidden = !pinned;
}

byID("trust-pin").addEventListener("click", async () => {
  localStorage.setItem(store, await (await fetch(given.trust)).text());
  await loadTrust();
  announce(byID("who-trust").textContent);
});

byID("trust-forget").addEventListener("click", async () => {
  localStorage.removeItem(store);
  await loadTrust();
});

byID("trust-file").addEventListener("change", async (e) => {
  try {
    const text = await e.target.files[0].text();
    await parseTrust(text);
    localStorage.setItem(store, text);
    await loadTrust();
    await check();
  } catch (error) { show({ verdict: "invalid", sentence: say("trust.bad", error.message), checks: [] }); }
});

async function bundleOf(code) {
  const answer = await fetch(`/v1/bundles/${code}?from=${trust.version}`, { headers: { Accept: "application/vnd.cityid.bundle+cbor" } });
  if (!answer.ok) throw new Error(say("unreachable", answer.status));
  return new Uint8Array(await answer.arrayBuffer());
}

// judgement turns a result of the verifier into what is shown.
function judgement(r, code) {
  const out = { verdict: r.verdict, checks: r.checks.map((c) => ({ name: say("check." + c.name.replaceAll(" ", "-")), outcome: c.outcome, detail: c.detail, zone: c.zone })), asOf: r.asOf, zones: zonesOf(r) };
  if (r.verdict !== "valid") return { ...out, sentence: say("reason." + r.reason), remedy: say("remedy." + r.verdict) };
  if (r.kind === "referral") return { ...out, sentence: say("referral", r.code, r.zones.at(-1).zone) };
  if (r.kind === "entries") return { ...out, sentence: say("entries", r.entries.length) };
  if (r.kind !== "record") return { ...out, sentence: say("listing", r.code, (r.records || []).length) };
  if (r.absent) return { ...out, sentence: say("absent", r.code) };
  const names = r.record.names || r.record.content?.names || {};
  const name = names[given.lang] || Object.values(names)[0] || "";
  return { ...out, sentence: say("record", r.code, name || r.code, say("kind." + r.record.kind)), code: r.code, name: name || r.code };
}

const moment = (time) => new Date(time).toLocaleString(given.lang === "zh" ? "zh-CN" : "en-GB");

// zonesOf describes the zones that a proof leads through, if there are several.
function zonesOf(r) {
  if (r.zones.length < 2) return [];
  return r.zones.map((z) => ({
    code: z.zone,
    text: z.asOf ? say("zone.asof", z.chain, moment(z.asOf.time), z.asOf.height) : say("zone.next", z.chain),
    above: z.record && z.record.status !== "active" ? say("above." + z.record.status) : "",
  }));
}

async function checkCode(code) {
  return judgement(await checkBundle(trust, await bundleOf(code), { now: Date.now(), code, kind: "record" }));
}

async function checkSigned(text) {
  const payload = parsePayload(text);
  const evidence = [];
  let last;
  for (let code = payload.code; code; code = parentOf(code)) {
    const r = await checkBundle(trust, await bundleOf(code), { now: Date.now(), code, kind: "record" });
    if (r.verdict === "undecided" && r.reason === "outside-zone") continue;
    if (r.verdict !== "valid") return judgement(r);
    if (r.record) evidence.push(r);
    last ??= r;
  }
  const found = await checkCertificate(text, evidence, Date.now());
  const verdict = found.verdict === "valid" ? "valid" : found.undecided ? "undecided" : "invalid";
  const out = judgement(last);
  return { ...out, verdict, sentence: say("certificate." + found.verdict, found.issued, found.expires, found.holder), remedy: verdict === "valid" ? "" : say("remedy." + verdict) };
}

// digest is that of the bytes a source mark is held against; '' while there are none.
let digest = given.digest;

// checkMark judges a source mark by the keys of the policy that governs the
// source: its own record's, or that of the first above it that has one.
async function checkMark(text) {
  const evidence = [];
  for (let code = parsePayload(text).code; code;) {
    const r = await checkBundle(trust, await bundleOf(code), { now: Date.now(), code, kind: "record" });
    if (r.verdict === "undecided" && r.reason === "outside-zone") break;
    if (r.verdict !== "valid") return judgement(r);
    evidence.push(r);
    code = r.record && !r.record.policy ? r.record.parent : "";
  }
  const found = await checkSource(text, evidence, digest, Date.now());
  const verdict = found.verdict === "valid" ? "valid" : found.undecided ? "undecided" : "invalid";
  const wanted = found.verdict === "bytes-wanted";
  const name = found.verdict === "valid" && !found.digest ? "plate" : found.verdict;
  const remedy = wanted ? say("remedy.bytes") : verdict === "undecided" ? say("remedy.undecided") : "";
  const out = evidence[0]?.record ? judgement(evidence[0]) : { checks: [] };
  const outcome = verdict === "valid" || wanted ? "ok" : verdict === "invalid" ? "failed" : "undecided";
  out.checks.push({ name: say("check.mark"), outcome, detail: found.key });
  return { ...out, verdict, sentence: say("source." + name, found.holder, found.code, found.time, found.expires), remedy };
}

if (byID("mark-tools")) {
  byID("mark-tools").hidden = false;
  byID("mark-file").addEventListener("change", async (e) => {
    const file = e.target.files[0];
    if (!file) return;
    byID("mark-state").textContent = say("reading", file.name);
    try {
      digest = await digestOf(file);
      byID("mark-state").textContent = say("read", file.name, digest);
    } catch (error) {
      digest = "";
      byID("mark-state").textContent = say("unread", file.name, error.message);
    }
    await check();
  });
}

// parentOf cuts a code's last node off.
function parentOf(code) {
  const at = Math.max(code.lastIndexOf("."), code.lastIndexOf("/"));
  return at < 0 ? "" : code.slice(0, at);
}

function show(v) {
  const tone = { valid: "good", invalid: "bad", undecided: "warn" }[v.verdict];
  const panel = element("div", { class: "panel " + tone }, element("h2", {}, say("verdict." + v.verdict)), element("p", { class: "verdict-sentence" }, v.sentence));
  if (v.code) panel.append(element("p", {}, element("a", { href: `/${given.lang}/code/${v.code}` }, v.name), " · ", element("code", {}, v.code)));
  if (v.remedy) panel.append(element("p", {}, v.remedy));
  if (v.asOf?.time && v.verdict === "valid") panel.append(element("p", { class: "small" }, say("asof", moment(v.asOf.time), v.asOf.height)));
  if (v.zones?.length) {
    panel.append(element("p", { class: "small", id: "zones-head" }, say("zones")));
    panel.append(element("ol", { class: "small", "aria-labelledby": "zones-head" }, ...v.zones.map((z) =>
      element("li", {}, element("code", {}, z.code), " · " + z.text, z.above ? " " : "", z.above ? element("strong", {}, z.above) : ""))));
  }
  panel.append(element("p", { class: "small", id: "checked-here" }, say("by.browser")));
  const list = element("ul", { class: "check-list" }, ...v.checks.map((c) => {
    const row = element("li", { class: { ok: "good", failed: "bad", undecided: "warn" }[c.outcome] || "warn" }, c.zone ? c.name + " · " + c.zone : c.name);
    if (c.detail) row.append(element("details", {}, element("summary", {}, say("detail")), element("p", { class: "small mono" }, c.detail)));
    return row;
  }));
  byID("verdict").replaceChildren(panel, list);
  byID("who-judge").textContent = say("who.judge.browser");
}

// check judges what the page was asked about.
async function check() {
  if (!given.code) return;
  try {
    show(given.certificate ? await checkSigned(given.text) : given.source ? await checkMark(given.text) : await checkCode(given.code));
  } catch (error) { showUndecided(error); }
}

function showUndecided(error) {
  show({ verdict: "undecided", sentence: error.message, checks: [], remedy: say("remedy.undecided") });
}

byID("bundle-form").addEventListener("submit", async (e) => {
  e.preventDefault();
  delete e.target.dataset.sent;
  const file = byID("bundle").files[0];
  if (!file) return;
  byID("who-answer").textContent = say("who.file", file.name);
  try {
    await ready; // people are faster than slow networks
    show(judgement(await checkBundle(trust, new Uint8Array(await file.arrayBuffer()), { now: Date.now() })));
  } catch (error) { showUndecided(error); }
  byID("verdict").scrollIntoView({ block: "start" });
});

const state = byID("camera-state");
offerCamera(given.frames, {
  began: () => { state.textContent = say("camera.looking"); },
  ended: () => { state.textContent = ""; },
  found: (text) => location.assign(`/${given.lang}/verify?text=${encodeURIComponent(text)}`),
  denied: (error) => { state.textContent = say("camera.denied", error.message); },
  failed: (error) => { state.textContent = error.message; },
});

const ready = loadTrust();
try {
  await ready;
  await check();
} catch (error) { showUndecided(error); }
