// The certificate that a campaign was reached: what trustees say together, and the file that carries it.
//
// Protocol, Section 9.5. BLS12-381 is a chunk of its own, which only whoever verifies a certificate fetches.
import { concat, fromHex, hex, utf8, type Bytes } from "./bytes.ts";
import { MalformedError, SignatureError, UnknownKeyError } from "./errors.ts";
import { canonicalise, parseCanonical } from "./jcs.ts";
import { Members } from "./members.ts";
import type { Manifest } from "./scope.ts";
import { BLS_SIGNATURE_BYTES, MAX_TRUSTEES } from "./terms.ts";
import { decodeHex, encodeBase64 } from "./text.ts";
import { u32, u64 } from "./wire.ts";

const VERSION = 1;
const MAX_BYTES = 2_000;
const DOMAIN = utf8("headcount/reached/v1\0");

/** That a campaign reached its threshold, and where: its first such seal. */
export interface Reached {
  readonly scope: string; // the campaign, hex
  readonly seal: Bytes; // leaf hash
  readonly batch: number;
  readonly live: number; // the count there
  readonly day: number; // of the seal
}

/** What some of a contact scope's trustees have signed together. */
export interface Certificate {
  readonly reached: Reached;
  readonly contacts: string; // the contact scope, hex, whose manifest names the trustees
  readonly signers: readonly number[]; // trustees from 1, ascending
  readonly signature: Bytes; // aggregate, 96 bytes
}

/** What trustees sign, 105 bytes. */
export function reachedMessage(reached: Reached): Bytes {
  const { scope, seal, batch, live, day } = reached;
  return concat(DOMAIN, fromHex(scope), seal, u64(batch), u64(live), u32(day));
}

/** The file, in the form of RFC 8785; signers is a bitmap, bit i - 1 is trustee i's. */
export function encodeCertificate(certificate: Certificate): Bytes {
  const { reached, contacts, signers, signature } = certificate;
  return canonicalise({
    batch: reached.batch,
    contacts,
    day: reached.day,
    headcount_reached: VERSION,
    live: reached.live,
    scope: reached.scope,
    seal: hex(reached.seal),
    signature: encodeBase64(signature),
    signers: hex(u32(signers.reduce((bitmap, i) => bitmap + 2 ** (i - 1), 0))),
  });
}

/** Reads a file; throws MalformedError. */
export function parseCertificate(data: Bytes): Certificate {
  const members = new Members(parseCanonical(data, MAX_BYTES), "certificate");
  members.integer("headcount_reached", VERSION, VERSION);
  const reached = {
    scope: hex(members.hex32("scope")),
    seal: members.hex32("seal"),
    batch: members.integer("batch", 0),
    live: members.integer("live", 1),
    day: members.integer("day", 0, 2 ** 32 - 1),
  };
  const certificate = {
    reached,
    contacts: hex(members.hex32("contacts")),
    signers: members.decoded("signers", readSigners),
    signature: members.sized("signature", BLS_SIGNATURE_BYTES),
  };
  members.finish();
  return certificate;
}

function readSigners(text: string): number[] {
  const bitmap = decodeHex(text, 4).reduce((value, byte) => value * 256 + byte, 0);
  const signers = Array.from({ length: MAX_TRUSTEES }, (_, i) => i + 1).filter((i) => Math.floor(bitmap / 2 ** (i - 1)) % 2);
  if (!signers.length) throw new MalformedError("nobody has signed");
  return signers;
}

/** Checks that t or more of the contact scope's trustees have signed; throws UnknownKeyError, SignatureError, MalformedError. */
export async function verifyCertificate(certificate: Certificate, contacts: Manifest): Promise<Reached> {
  const { reached, signers } = certificate;
  const terms = contacts.trustees;
  if (certificate.contacts !== contacts.scope) throw new UnknownKeyError("the certificate is by the trustees of another scope");
  if (contacts.kind !== "contact" || !terms || !contacts.parent || hex(contacts.parent) !== reached.scope) {
    throw new MalformedError("the trustees are not those of this campaign's contacts");
  }
  if (signers.some((i) => i > terms.members.length) || signers.length < terms.t) {
    throw new UnknownKeyError(`${signers.length} trustees have signed where ${terms.t} must`);
  }
  if (reached.live < contacts.threshold) throw new MalformedError("the count is below the threshold");
  const bls = await import("./bls.ts");
  const trustees = signers.map((i) => terms.members[i - 1]!);
  for (const { name, blsKey, blsProof } of trustees) {
    // Without it a key may be made up from those of others: a rogue key.
    if (!bls.isPossessed(blsKey, blsProof)) {
      throw new SignatureError(`${name}: a BLS key comes without a proof of possession`);
    }
  }
  if (!bls.isByAll(trustees.map(({ blsKey }) => blsKey), reachedMessage(reached), certificate.signature)) {
    throw new SignatureError("the BLS signature does not verify");
  }
  return reached;
}
