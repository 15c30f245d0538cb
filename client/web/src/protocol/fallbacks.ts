// What a page names before anything else: chunks for browsers without Ed25519, and for witnesses with ML-DSA-44.
import { setMldsa } from "./cosignature.ts";
import { setFallback } from "./ed25519.ts";

setFallback(async () => (await import("./strict.ts")).noble);
setMldsa(async () => (await import("./mldsa.ts")).verifyMldsa44);
