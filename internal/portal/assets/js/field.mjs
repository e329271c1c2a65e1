// The field app: scans a label, notes what was done to it, and keeps what can
// not be sent yet in the browser until it can.

import { jpeg, offerCamera } from "./camera.mjs";
import { announce } from "./site.mjs";

const given = JSON.parse(document.getElementById("field-data").textContent);
const byID = (id) => document.getElementById(id);
const say = (key, ...args) => args.reduce((s, a, i) => s.replaceAll(`{${i}}`, a), given.texts[key] ?? key);
const form = byID("entry");

if (navigator.serviceWorker) navigator.serviceWorker.register(given.worker, { scope: given.scope }).catch(() => {});

function state(text, tone) {
  const box = byID("field-state");
  box.hidden = !text;
  box.className = "panel " + (tone || "");
  box.firstElementChild.textContent = text;
}

// The queue: entries that wait in the browser, by their id.
const database = new Promise((done, fail) => {
  const open = indexedDB.open("cityid-field", 1);
  open.onupgradeneeded = () => open.result.createObjectStore("entries", { keyPath: "id" });
  open.onsuccess = () => done(open.result);
  open.onerror = () => fail(open.error);
});

async function entries(mode, work) {
  const db = await database;
  return new Promise((done, fail) => {
    const tx = db.transaction("entries", mode);
    const request = work(tx.objectStore("entries"));
    tx.oncomplete = () => done(request.result);
    tx.onerror = tx.onabort = () => fail(tx.error);
  });
}

const waiting = async () => (await entries("readonly", (s) => s.getAll())).sort((a, b) => a.noted < b.noted ? -1 : 1);

async function showQueue() {
  const list = await waiting();
  byID("queue-part").hidden = list.length === 0;
  byID("queue").replaceChildren(...list.map((e) => {
    const item = document.createElement("li"), text = document.createElement("div"), code = document.createElement("code");
    code.textContent = e.code || say("photo");
    text.append(code, ` · ${say("event." + e.event)} · ${new Date(e.noted).toLocaleString(given.lang === "zh" ? "zh-CN" : "en-GB")}`);
    const why = e.who !== given.key ? say("other", e.who) : e.error;
    if (why) {
      const p = document.createElement("p");
      p.className = "field-error";
      p.textContent = why;
      text.append(p);
    }
    item.append(text);
    if (why) {
      const drop = document.createElement("button");
      drop.type = "button";
      drop.className = "button quiet";
      drop.textContent = say("drop");
      drop.addEventListener("click", async () => {
        if (!confirm(say("drop.sure"))) return;
        await entries("readwrite", (s) => s.delete(e.id));
        await showQueue();
      });
      item.append(drop);
    }
    return item;
  }));
  return list;
}

// deliver sends one entry: true if the server has it, false if it has to wait.
async function deliver(e) {
  const body = new FormData();
  for (const name of ["id", "code", "event", "noted", "lat", "lon", "accuracy", "note"]) body.append(name, e[name]);
  if (e.photo) body.append("photo", e.photo, "photo.jpg");
  if (e.scan) body.append("scan", e.scan, "label.jpg");
  const answer = await fetch(given.entries, { method: "POST", body, headers: { Accept: "application/json" }, redirect: "manual" });
  if (answer.type === "opaqueredirect") throw new Error("sign-in");
  if (answer.ok) return true;
  const said = (answer.headers.get("Content-Type") || "").includes("json") ? (await answer.json()).detail : "";
  if (answer.status >= 500 || answer.status === 429 || answer.status === 408) throw new Error(said || String(answer.status));
  e.error = said || String(answer.status);
  await entries("readwrite", (s) => s.put(e));
  return false;
}

let sending = false;

// sendAll sends what waits. Two pages at once do no harm: the server stores each
// entry once.
async function sendAll() {
  if (sending) return;
  sending = true;
  let sent = 0;
  try {
    for (const e of await waiting()) {
      if (e.who !== given.key) continue;
      if (await deliver(e)) {
        await entries("readwrite", (s) => s.delete(e.id));
        sent++;
      }
    }
    if (sent) state(say("sent", sent), "good");
  } catch (error) {
    if (error.message === "sign-in") {
      state(say("signin"), "warn");
      const link = document.createElement("a");
      link.href = given.signIn;
      link.textContent = say("signin.go");
      byID("field-state").firstElementChild.append(" ", link);
    } else {
      state(say("offline", (await waiting()).length), "warn");
    }
  } finally {
    sending = false;
    const left = await showQueue();
    if (left.some((e) => e.error)) state(say("refused"), "bad");
    announce(byID("field-state").textContent);
  }
}

byID("send")?.addEventListener("click", sendAll);
addEventListener("online", sendAll);
addEventListener("offline", () => state(say("nonet"), "warn"));

// smaller encodes a photograph anew, with no side longer than the given one.
async function smaller(file, most) {
  const picture = await createImageBitmap(file);
  return jpeg(picture, picture.width, picture.height, most / Math.max(picture.width, picture.height));
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  event.stopPropagation();
  const f = form.elements;
  const photo = f.photo.files[0], scan = f.scan.files[0];
  if (!f.code.value.trim() && !scan) {
    state(say("nocode"), "bad");
    f.code.focus();
    return;
  }
  const random = crypto.getRandomValues(new Uint8Array(16));
  const e = {
    id: Array.from(random, (b) => b.toString(16).padStart(2, "0")).join(""), who: given.key, code: f.code.value.trim(), event: f.event.value,
    noted: new Date().toISOString().replace(/\.\d+Z/, "Z"), lat: f.lat.value.trim(), lon: f.lon.value.trim(), accuracy: f.accuracy.value, note: f.note.value.trim(), error: "",
  };
  try {
    if (photo) e.photo = await smaller(photo, 1600);
    if (scan) e.scan = await smaller(scan, 2400);
  } catch {
    state(say("nophoto"), "bad");
    return;
  }
  await entries("readwrite", (s) => s.put(e));
  form.reset();
  byID("place-state").textContent = say("place");
  await showQueue();
  await sendAll();
  scrollTo(0, 0);
});

// The position.
if (navigator.geolocation) byID("locate").hidden = false;
byID("locate")?.addEventListener("click", () => {
  byID("place-state").textContent = say("locating");
  navigator.geolocation.getCurrentPosition(({ coords }) => {
    form.elements.lat.value = coords.latitude.toFixed(7);
    form.elements.lon.value = coords.longitude.toFixed(7);
    form.elements.accuracy.value = String(Math.min(100000, Math.round(coords.accuracy)));
    byID("place-state").textContent = say("located", coords.latitude.toFixed(5), coords.longitude.toFixed(5), Math.round(coords.accuracy));
  }, (error) => { byID("place-state").textContent = say("nolocation", error.message); }, { enableHighAccuracy: true, timeout: 15000, maximumAge: 30000 });
});
for (const name of ["lat", "lon"]) form?.elements[name].addEventListener("input", () => { form.elements.accuracy.value = ""; });

offerCamera(given.frames, {
  found: (text) => {
    form.elements.code.value = text;
    form.elements.code.dispatchEvent(new Event("input", { bubbles: true }));
    state(say("read", text), "good");
    announce(say("read", text));
  },
  denied: (error) => state(say("nocamera", error.message), "warn"),
  failed: () => state(say("noread"), "warn"),
});

if (form) {
  if (!navigator.onLine) state(say("nonet"), "warn");
  if ((await showQueue()).length) await sendAll();
}
