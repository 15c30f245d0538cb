// X25519 (RFC 7748) with secret keys, by WebCrypto; where a browser lacks it, by what setAgreement has named.
import { decodeBase64url } from "./text.ts";
import type { Bytes } from "./bytes.ts";
import { OpeningError } from "./errors.ts";

/** What stands in for WebCrypto's X25519; refuses a shared secret of zeros. */
export interface X25519 {
  publicKey(privateKey: Uint8Array): Uint8Array;
  agree(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array;
}

let load: (() => Promise<X25519>) | undefined;
let hasNative: Promise<boolean> | undefined;

/** Names the fallback, a chunk of its own that is fetched only where it is needed. */
export function setAgreement(loader: () => Promise<X25519>): void {
  load = loader;
}

function isNative(): Promise<boolean> {
  // The secret of RFC 7748, Section 6.1: some engines know the name and refuse the use.
  hasNative ??= (async () => {
    try {
      const [mine, theirs, secret] = [
        "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
        "Sl2dW6TOLeFyjjv0gDUPJeB+IclH0Z4zdvCbPB4WF0I=",
      ].map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
      const found = await nativeAgree(mine!, theirs!);
      return found.every((byte, i) => byte === secret![i]);
    } catch {
      return false;
    }
  })();
  return hasNative;
}

async function fallback(): Promise<X25519> {
  if (!load) throw new OpeningError("this browser has no X25519");
  return load();
}

// RFC 8410, Section 7: PKCS #8 around a key of 32 bytes.
const PKCS8_HEAD = [0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 34, 4, 32];

function importPrivate(key: Bytes, extractable = false): Promise<CryptoKey> {
  const encoded = Uint8Array.from([...PKCS8_HEAD, ...key]);
  return crypto.subtle.importKey("pkcs8", encoded, "X25519", extractable, ["deriveBits"]);
}

async function nativeAgree(privateKey: Bytes, publicKey: Bytes): Promise<Bytes> {
  const [mine, theirs] = await Promise.all([
    importPrivate(privateKey),
    crypto.subtle.importKey("raw", publicKey, "X25519", false, []),
  ]);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "X25519", public: theirs }, mine, 256));
}

/** The 32-byte public half of a private key. */
export async function agreementKey(privateKey: Bytes): Promise<Bytes> {
  if (!(await isNative())) return Uint8Array.from((await fallback()).publicKey(privateKey));
  const { x } = await crypto.subtle.exportKey("jwk", await importPrivate(privateKey, true));
  return decodeBase64url(`${x!}=`, 32);
}

/** The 32-byte shared secret; throws OpeningError where it would be zeros. */
export async function agree(privateKey: Bytes, publicKey: Bytes): Promise<Bytes> {
  const native = await isNative();
  try {
    if (native) return await nativeAgree(privateKey, publicKey);
    return Uint8Array.from((await fallback()).agree(privateKey, publicKey));
  } catch (error) {
    if (error instanceof OpeningError) throw error;
    throw new OpeningError("no secret can be agreed with this key");
  }
}
