// Signing an import batch by batch: the portal says which batch is next, the
// passkey (or in a demonstration a test key) signs its digest, and so on to the
// last. The portal goes on from where it is when this page is opened again.

import { announce } from "./site.mjs";
import { call, fromHex, run, signWithPasskey, signWithTestKey } from "./sign.mjs";

const root = document.getElementById("import-run");
if (root) prepare(root);

function prepare(root) {
  const d = root.dataset;
  const start = document.getElementById("import-start"), sign = document.getElementById("import-sign"), stop = document.getElementById("import-stop");
  const progress = document.getElementById("import-progress"), bar = progress.querySelector("[role=progressbar]"), text = document.getElementById("import-text");
  const batch = document.getElementById("import-batch");
  let busy = false;

  start.dataset.cancelled = sign.dataset.cancelled = d.cancelled;
  start.hidden = "running" in d;
  start.addEventListener("click", () => run(start, begin));
  sign.addEventListener("click", () => run(sign, follow));
  window.addEventListener("beforeunload", (e) => { if (busy) e.preventDefault(); });
  stop.addEventListener("submit", () => { busy = false; });
  if ("running" in d) run(start, follow);

  async function begin() {
    await call(d.start, { plan: d.plan });
    await follow();
  }

  // follow asks for the next batch and signs it until the import ends. When a
  // signature fails it leaves a button to try again with.
  async function follow() {
    start.hidden = true;
    sign.hidden = true;
    stop.hidden = false;
    progress.hidden = false;
    busy = true;
    try {
      for (;;) {
        const next = await call(d.next);
        show(next);
        if (next.state === "done") { busy = false; location.assign(next.next); return; }
        if (next.state === "stopped") { start.hidden = false; stop.hidden = true; return; }
        if (next.state === "sign") await answer(next);
      }
    } catch (e) {
      sign.hidden = false;
      throw e;
    } finally {
      busy = false;
    }
  }

  async function answer(next) {
    const digest = fromHex(next.digest);
    const signed = d.test ? await signWithTestKey(digest, d.test) : await signWithPasskey(digest, d.key);
    try {
      await call(d.signature, { ...signed, digest: next.digest });
    } catch (e) {
      // Another tab was quicker, or the batch was made anew: ask again.
      if (!(await call(d.next)).digest) throw e;
    }
  }

  let said = 0;
  function show(next) {
    bar.setAttribute("aria-valuenow", next.done);
    bar.setAttribute("aria-valuemax", next.rows);
    const p = bar.querySelector("progress");
    p.max = Math.max(1, next.rows);
    p.value = next.done;
    if (next.text && text.textContent !== next.text && (next.state !== "work" || Date.now() - said > 1500)) {
      text.textContent = next.text;
      said = Date.now();
    }
    batch.hidden = !next.digest;
    if (next.digest) {
      batch.querySelector("[data-words]").textContent = next.words;
      batch.querySelector("[data-id]").textContent = next.id;
      batch.querySelector("[data-digest]").textContent = next.digest;
    }
    if (next.state === "stopped") announce(next.text);
  }
}
