// What a page names before anything else: chunks for browsers without Ed25519 or X25519, and for witnesses with
// ML-DSA-44.
import { setAgreement } from "./agreement.ts";
import { chunk } from "./chunk.ts";
import { setMldsa } from "./cosignature.ts";
import { setFallback } from "./ed25519.ts";

setFallback(async () => (await chunk(import("./strict.ts"))).noble);
setAgreement(async () => (await chunk(import("./strict.ts"))).nobleAgreement);
setMldsa(async () => (await chunk(import("./mldsa.ts"))).verifyMldsa44);
