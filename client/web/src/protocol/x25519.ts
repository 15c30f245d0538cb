// The public key of a released X25519 key, RFC 7748, Section 5. Nothing here is secret: a trustee has published it.
import { fromBigInt, littleEndian, type Bytes } from "./bytes.ts";

const P = 2n ** 255n - 19n;

export function x25519PublicKey(privateKey: Bytes): Bytes {
  const k = Uint8Array.from(privateKey);
  k[0] = k[0]! & 248;
  k[31] = (k[31]! & 127) | 64;
  const scalar = littleEndian(k);
  let [x2, z2, x3, z3] = [1n, 0n, 9n, 1n];
  let swap = 0n;
  for (let t = 254n; t >= 0n; t--) {
    const bit = (scalar >> t) & 1n;
    if (swap ^ bit) [x2, x3, z2, z3] = [x3, x2, z3, z2];
    swap = bit;
    const a = x2 + z2;
    const aa = (a * a) % P;
    const b = x2 - z2 + P;
    const bb = (b * b) % P;
    const e = aa - bb + P;
    const da = ((x3 - z3 + P) * a) % P;
    const cb = ((x3 + z3) * b) % P;
    x3 = (da + cb) ** 2n % P;
    z3 = (9n * (da - cb) ** 2n) % P;
    x2 = (aa * bb) % P;
    z2 = (e * (aa + 121665n * e)) % P;
  }
  if (swap) [x2, z2] = [x3, z3];
  let inverse = 1n;
  for (let base = z2 % P, exponent = P - 2n; exponent; exponent >>= 1n, base = (base * base) % P) {
    if (exponent & 1n) inverse = (inverse * base) % P;
  }
  return fromBigInt((x2 * inverse) % P, 32).reverse();
}
