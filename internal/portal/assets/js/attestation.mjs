// Compares a file that the visitor chooses with the digest on the page. The file
// does not leave the browser.

import { digestOf } from "./digest.mjs";

const given = JSON.parse(document.getElementById("attestation-data").textContent);
const tools = document.getElementById("file-tools");
const result = document.getElementById("file-result");

function say(tone, key, ...args) {
  const panel = document.createElement("div");
  panel.className = "panel " + tone;
  panel.textContent = args.reduce((s, a, i) => s.replaceAll(`{${i}}`, a), given.texts[key]);
  result.replaceChildren(panel);
}

if (tools) {
  tools.hidden = false;
  document.getElementById("file").addEventListener("change", async (e) => {
    const file = e.target.files[0];
    if (!file) return;
    try {
      say("", "reading", file.name);
      const digest = await digestOf(file);
      say(digest === given.digest ? "good" : "bad", digest === given.digest ? "same" : "other", file.name, digest);
    } catch (error) { say("warn", "failed", file.name, error.message); }
  });
}
