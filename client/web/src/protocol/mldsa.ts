// ML-DSA-44 (FIPS 204) cosignatures: a chunk of its own, fetched only for a witness that signs so.
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";

export function verifyMldsa44(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return ml_dsa44.verify(signature, message, key);
  } catch {
    return false;
  }
}
