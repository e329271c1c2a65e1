// What the pages of applicants do beyond what the server has written.

import { fromHex, run, signWithPasskey, signWithTestKey } from "./sign.mjs";

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

// A key proves that it is held: the signature goes with the form.
for (const button of document.querySelectorAll("[data-prove]")) {
  button.hidden = false;
  button.addEventListener("click", () => run(button, async () => {
    const d = button.dataset, digest = fromHex(d.digest);
    const reply = d.prove === "test" ? await signWithTestKey(digest, d.name) : await signWithPasskey(digest, d.key);
    button.form.elements.reply.value = JSON.stringify(reply);
    button.form.requestSubmit();
  }));
}
