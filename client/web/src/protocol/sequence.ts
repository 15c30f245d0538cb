// All notices of one scope in their places: who has said what, in which batch, and in which order.
import type { Bytes } from "./bytes.ts";
import { ProofError } from "./errors.ts";
import type { Json } from "./jcs.ts";
import { leafHash } from "./merkle.ts";
import { author, verifyNotice, type Notice, type Previous } from "./notice.ts";
import type { Manifest } from "./scope.ts";

/** A notice, its entry and its place in the log. */
export interface PlacedNotice {
  readonly index: number; // of the leaf
  readonly entry: Bytes;
  readonly notice: Notice;
}

/** A notice whose author and place in the author's sequence are verified. */
export interface Said {
  readonly author: string; // "organiser", "issuer:<name>", "trustee:<name>" or "ledger"
  readonly seq: number;
  readonly type: string;
  readonly body: { readonly [name: string]: Json };
  readonly index: number;
  readonly batch: number;
}

/** The name of the issuer that says it; empty if another role does. */
export function issuerOf(said: Said): string {
  return said.author.startsWith("issuer:") ? said.author.slice("issuer:".length) : "";
}

/** The manifest of a scope (hex) among notices, with the index of its leaf. */
export function manifestAmong(notices: readonly PlacedNotice[], scope: string): [number, Manifest] {
  for (const { index, notice: { statement } } of notices) {
    if (statement.manifest && statement.scope === scope) return [index, statement.manifest];
  }
  throw new ProofError("the manifest of the scope is missing");
}

/**
 * Verifies notices of one scope; seals are by ascending leaf index. The result is in the order of each author's sequence,
 * which begins with the author's first notice.
 */
export async function readNotices(
  manifest: Manifest, notices: readonly PlacedNotice[], seals: readonly { index: number; batch: number }[],
): Promise<Said[]> {
  const previous = new Map<string, Previous>();
  const said: Said[] = [];
  // Inside a batch notices stand by leaf hash, so the order of leaves is not that of the sequence.
  const inOrder = [...notices].sort((a, b) => a.notice.statement.seq - b.notice.statement.seq || a.index - b.index);
  for (const { index, entry, notice } of inOrder) {
    const who = author(notice, manifest);
    const { seq, type, body } = await verifyNotice(notice, manifest, previous.get(who));
    previous.set(who, [seq, leafHash(entry)]);
    const end = seals.find((seal) => seal.index > index);
    if (!end) throw new ProofError("no seal follows a notice");
    said.push({ author: who, seq, type, body, index, batch: end.batch });
  }
  return said;
}
