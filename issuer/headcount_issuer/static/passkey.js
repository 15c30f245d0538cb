// Makes or shows a passkey when its form is sent, and sends the answer along. Nothing else, and nowhere else.
"use strict";

const form = document.querySelector("form[data-ceremony]");
const button = form.querySelector("button");
const trouble = document.querySelector("[data-trouble]");

function decode(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}

function encode(buffer) {
  const text = btoa(String.fromCharCode(...new Uint8Array(buffer)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

async function make(publicKey) {
  publicKey.user.id = decode(publicKey.user.id);
  const { response } = await navigator.credentials.create({ publicKey });
  return { client_data: response.clientDataJSON, attestation: response.attestationObject };
}

async function show(publicKey) {
  const { rawId, response } = await navigator.credentials.get({ publicKey });
  return {
    credential_id: rawId,
    user_handle: response.userHandle,
    client_data: response.clientDataJSON,
    authenticator_data: response.authenticatorData,
    signature: response.signature,
  };
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  trouble.hidden = true;
  try {
    const publicKey = JSON.parse(form.dataset.options);
    publicKey.challenge = decode(publicKey.challenge);
    const fields = await (form.dataset.ceremony === "create" ? make(publicKey) : show(publicKey));
    for (const [name, value] of Object.entries(fields)) {
      const input = document.createElement("input");
      Object.assign(input, { type: "hidden", name, value: encode(value) });
      form.append(input);
    }
    form.submit(); // without another submit event
  } catch {
    trouble.hidden = false;
    button.disabled = false;
  }
});
button.disabled = false;
