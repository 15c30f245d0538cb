// Whether a pledge or a revision is valid under its scope's manifest (headcount_engine/acceptance.py), and the name of
// what is wrong with it.
import { diagnose, importKey, isSignature } from "../protocol/blind_rsa.ts";
import { equal, type Bytes } from "../protocol/bytes.ts";
import { chunk } from "../protocol/chunk.ts";
import { MalformedError, RevisionConflictError } from "../protocol/errors.ts";
import { NO_SEALED_HASH, WITHDRAWN, type Pledge } from "../protocol/pledge.ts";
import { revisionMessage, type Revision } from "../protocol/revision.ts";
import { isChoice, isSealedHash, tokenInputs, type Manifest } from "../protocol/scope.ts";
import { decodeTokenKey } from "../protocol/spki.ts";
import type { Code } from "./fault.ts";

/** What is wrong with an entry; no code if nothing is. */
export interface Verdict {
  readonly code: Code | "";
  readonly detail: string;
}

const NONCE_AT = 2; // in a token input, behind its type

export const VALID: Verdict = { code: "", detail: "" };

export class ScopeJudge {
  readonly manifest: Manifest;
  readonly #keys: Promise<CryptoKey[]>;
  readonly #inputs: readonly Bytes[]; // a token input for each issuer, in which the nonce is put: engines take a copy

  constructor(manifest: Manifest) {
    this.manifest = manifest;
    this.#keys = Promise.all(manifest.issuers.map((issuer) => importKey(decodeTokenKey(issuer.tokenKey))));
    this.#keys.catch(() => undefined); // told to whoever judges
    this.#inputs = tokenInputs(manifest, new Uint8Array(32));
  }

  /** Verifies all fields and authenticators. */
  async judge(pledge: Pledge): Promise<Verdict> {
    const { manifest } = this;
    if (pledge.authenticators.length !== manifest.issuers.length) {
      const [n, m] = [pledge.authenticators.length, manifest.issuers.length];
      return this.#name(pledge, `${n} authenticators where ${m} issuers sign`, false);
    }
    const wrong = wrongChoice(manifest, pledge.choice, pledge.sealedHash);
    if (wrong) return this.#name(pledge, wrong, false);
    const keys = await this.#keys;
    const sound = await Promise.all(
      pledge.authenticators.map((value, i) => {
        const input = this.#inputs[i]!;
        input.set(pledge.nullifier, NONCE_AT);
        return isSignature(keys[i]!, input, value);
      }),
    );
    return sound.every(Boolean) ? VALID : this.#name(pledge, "the signature does not verify", true);
  }

  async #name(pledge: Pledge, detail: string, isSignatureWrong: boolean): Promise<Verdict> {
    // A signature that an issuer made, over something else, tells a changed pledge from one that somebody made up.
    const found = new Map<string, string>();
    const inputs = tokenInputs(this.manifest, pledge.nullifier);
    for (const [i, issuer] of this.manifest.issuers.entries()) {
      const authenticator = pledge.authenticators[i];
      if (!authenticator) break;
      const diagnosis = await diagnose(decodeTokenKey(issuer.tokenKey), inputs[i]!, authenticator);
      if (!found.has(diagnosis)) found.set(diagnosis, issuer.name);
    }
    const foreign = found.get("foreign");
    if (isSignatureWrong && foreign !== undefined) {
      return { code: "foreign-key", detail: `an authenticator is not made by ${foreign}'s token key` };
    }
    const other = found.get("other-message");
    if (other !== undefined) return { code: "changed-entry", detail: `${other} has signed another pledge than this` };
    return { code: "malformed-entry", detail };
  }
}

function wrongChoice(manifest: Manifest, choice: number, sealedHash: Bytes): string | undefined {
  if (!isChoice(manifest, choice)) return "the choice is none of this scope's";
  return isSealedHash(manifest, sealedHash) ? undefined : "the sealed hash is none that this scope takes";
}

/** Checks a revision of the pledge with this revision key, whose last serial is serialNow; throws ProtocolErrors. */
export async function verifyRevision(
  manifest: Manifest, revision: Revision, revisionKey: Bytes, serialNow: number,
): Promise<void> {
  if (revision.choice !== WITHDRAWN) {
    const wrong = wrongChoice(manifest, revision.choice, revision.sealedHash);
    if (wrong) throw new MalformedError(wrong);
  } else if (!equal(revision.sealedHash, NO_SEALED_HASH)) {
    throw new MalformedError("a withdrawal carries a sealed hash");
  }
  const { verifyStrict } = await chunk(import("../protocol/strict.ts"));
  await verifyStrict(revisionKey, revisionMessage(revision), revision.signature);
  if (revision.serial !== serialNow + 1) {
    throw new RevisionConflictError(`the next serial is ${serialNow + 1}`, serialNow);
  }
}

