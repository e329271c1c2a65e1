// Signing in the browser, by a passkey of this host, or in a demonstration by one
// of its test keys.

import { announce } from "./site.mjs";

const decode = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const encode = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
export const fromHex = (text) => Uint8Array.from(text.match(/../g), (x) => parseInt(x, 16));

const lang = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
const page = (path) => "/" + lang + path;

// call posts JSON, or gets it, and throws what the server says of a refusal.
export async function call(path, body) {
  const answer = await fetch(path, body === undefined ? { headers: { Accept: "application/json" } } : {
    method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify(body),
  });
  const value = (answer.headers.get("Content-Type") || "").includes("json") ? await answer.json() : {};
  if (!answer.ok) throw new Error(value.detail || value.title || String(answer.status));
  return value;
}

// signWithPasskey has a passkey of this host sign a digest. With a key, only
// that passkey is asked.
export async function signWithPasskey(digest, key) {
  const options = { challenge: digest, userVerification: "required" };
  if (key) {
    const known = await call(page("/passkeys/credential?key=" + encodeURIComponent(key)));
    options.rpId = known.rpId;
    if (known.credential) options.allowCredentials = [{ type: "public-key", id: decode(known.credential) }];
  }
  const c = await navigator.credentials.get({ publicKey: options });
  return {
    credential: encode(c.rawId), authenticatorData: encode(c.response.authenticatorData),
    clientData: encode(c.response.clientDataJSON), signature: encode(c.response.signature),
  };
}

// signWithTestKey has the demonstration sign a digest with one of its test keys.
export async function signWithTestKey(digest, name) {
  const hex = Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("");
  return call(page("/demo/keys/" + encodeURIComponent(name)), { digest: hex });
}

// makePasskey has the browser make a passkey, and the portal keep its public
// key.
async function makePasskey(name) {
  const o = await call(page("/passkeys/begin"), {});
  const c = await navigator.credentials.create({ publicKey: {
    challenge: decode(o.challenge), rp: { id: o.rpId, name: o.rpName },
    user: { id: decode(o.user), name, displayName: name },
    pubKeyCredParams: [{ type: "public-key", alg: -7 }],
    authenticatorSelection: { residentKey: "required", userVerification: "required" }, attestation: "none",
  } });
  return call(page("/passkeys"), {
    credential: encode(c.rawId), clientData: encode(c.response.clientDataJSON), publicKey: encode(c.response.getPublicKey()), name,
  });
}

// run does what a button asks for, and shows what went wrong beside it.
export async function run(button, work) {
  const box = document.getElementById(button.dataset.errors || "sign-error");
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  if (box) box.hidden = true;
  try {
    await work();
  } catch (e) {
    const text = e.name === "NotAllowedError" ? button.dataset.cancelled || e.message : e.message;
    if (box) { box.querySelector("p").textContent = text; box.hidden = false; }
    announce(text);
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

// Each control says with data-sign what it does; data-digest is in hexadecimal.
for (const button of document.querySelectorAll("[data-sign]")) {
  button.hidden = false;
  button.addEventListener("click", () => run(button, () => act(button)));
}

async function act(button) {
  const d = button.dataset;
  switch (d.sign) {
    case "passkey": return finish(d.post, await signWithPasskey(fromHex(d.digest), d.key));
    case "test": return finish(d.post, await signWithTestKey(fromHex(d.digest), d.name));
    case "sign-in": {
      const digest = await signInDigest(d.challenge);
      const select = d.from && document.getElementById(d.from);
      const reply = select ? await signWithTestKey(digest, select.value) : await signWithPasskey(digest);
      return finish(d.post, { ...reply, challenge: d.challenge, next: d.next });
    }
    case "make": {
      const made = await makePasskey(document.getElementById(d.from)?.value.trim() || d.name);
      if (d.into) {
        const field = document.getElementById(d.into);
        field.value = made.key;
        field.dispatchEvent(new Event("change", { bubbles: true }));
        if (d.submit) field.form.requestSubmit();
        return;
      }
      location.reload();
    }
  }
}

async function finish(post, body) {
  const answer = await call(post, body);
  location.assign(answer.next);
}

// signInDigest is SHA-256("cityid/sign-in/1" || CBOR [origin, challenge]).
async function signInDigest(challenge) {
  const text = new TextEncoder();
  const origin = text.encode(location.origin);
  const head = (major, n) => n < 24 ? [major | n] : n < 256 ? [major | 24, n] : [major | 25, n >> 8, n & 255];
  const bytes = [...text.encode("cityid/sign-in/1"), 0x82, ...head(0x60, origin.length), ...origin, ...head(0x40, 32), ...decode(challenge)];
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(bytes)));
}
