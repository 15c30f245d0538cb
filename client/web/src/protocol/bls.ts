// BLS12-381 signatures with proofs of possession, draft-irtf-cfrg-bls-signature-05, Section 4.2.3
// (BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_): keys are compressed points of G1, signatures of G2.
import { bls12_381 } from "@noble/curves/bls12-381.js";

const scheme = bls12_381.longSignatures;
const SIGNATURE_DST = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
const PROOF_DST = "BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/** Whether the proof shows that who named the key holds its private half. PopVerify. */
export function isPossessed(key: Uint8Array, proof: Uint8Array): boolean {
  return isValid([key], key, proof, PROOF_DST);
}

/** Whether an aggregate is of this message by all of these, of which isPossessed has passed each. FastAggregateVerify. */
export function isByAll(keys: readonly Uint8Array[], message: Uint8Array, signature: Uint8Array): boolean {
  return isValid(keys, message, signature, SIGNATURE_DST);
}

function isValid(keys: readonly Uint8Array[], message: Uint8Array, signature: Uint8Array, dst: string): boolean {
  try {
    const points = keys.map((key) => bls12_381.G1.Point.fromBytes(key));
    for (const point of points) if (point.is0() || !point.isTorsionFree()) return false; // KeyValidate
    const aggregate = scheme.aggregatePublicKeys(points);
    return scheme.verify(signature, scheme.hash(message, dst), aggregate);
  } catch {
    return false;
  }
}
