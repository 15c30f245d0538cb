// The identifier of a scope: the hash of its manifest's bytes. Protocol, Section 2.2.
import { concat, utf8, type Bytes } from "./bytes.ts";
import { sha256 } from "./sha256.ts";

const DOMAIN = utf8("headcount/scope/v1\0");

export function scopeHash(manifest: Uint8Array): Bytes {
  return sha256(concat(DOMAIN, manifest));
}
