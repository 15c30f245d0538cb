/** A finished pledge small enough for a QR code: choice, seed and signatures; the terms follow from the scope id. */
import { concat, type Bytes } from "../../protocol/bytes.ts";
import { verify } from "../../protocol/blind_rsa.ts";
import { MalformedError } from "../../protocol/errors.ts";
import { AUTHENTICATOR_BYTES } from "../../protocol/pledge.ts";
import { tokenInputs } from "../../protocol/scope.ts";
import { SEED_BYTES } from "../../protocol/seed.ts";
import { decodeTokenKey } from "../../protocol/spki.ts";
import { decodeBase64url, encodeBase64url } from "../../protocol/text.ts";
import type { OpenedScope } from "../../signing/open.ts";
import { nullifierOf, type PledgeFile } from "../../signing/pledge_file.ts";

/** Text of a finished pledge, base64url. */
export function toText(file: PledgeFile): string {
  const signatures = file.steps.map((step) => step.authenticator ?? new Uint8Array(0));
  return encodeBase64url(concat(Uint8Array.of(file.choice >> 8, file.choice & 255), file.seed, ...signatures));
}

/** The pledge file of such a text; throws MalformedError or SignatureError. */
export async function fromText(text: string, opened: OpenedScope): Promise<PledgeFile> {
  const { manifest, ledger, policy, view } = opened;
  const size = 2 + SEED_BYTES + manifest.issuers.length * AUTHENTICATOR_BYTES;
  const data = decodeBase64url(text);
  if (data.length !== size) throw new MalformedError("not a pledge of this scope");
  const choice = (data[0]! << 8) | data[1]!;
  const steps = manifest.issuers.map((_, i) => {
    const at = 2 + SEED_BYTES + i * AUTHENTICATOR_BYTES;
    return { authenticator: data.slice(at, at + AUTHENTICATOR_BYTES) as Bytes };
  });
  const seed = data.slice(2, 2 + SEED_BYTES) as Bytes;
  const file: PledgeFile = {
    ledger, policy, manifest, choice, seed, checkpoint: view.raw, steps, standing: 0, changes: [],
  };
  const inputs = tokenInputs(manifest, await nullifierOf(file));
  for (const [i, issuer] of manifest.issuers.entries()) {
    await verify(decodeTokenKey(issuer.tokenKey), inputs[i]!, steps[i]!.authenticator);
  }
  return file;
}
