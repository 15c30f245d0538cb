// A scope as the ledger publishes it: its manifest and every notice about it, each proven and verified.
//
// The ledger's hint scopes/<hex> says where a scope's notices stand. Nothing vouches for it, so each entry is proven to
// be in the tree, and where the hint does not lead to a complete scope all bundles are read.
import { fromAscii, type Bytes } from "../protocol/bytes.ts";
import {
  MalformedError, NotFoundError, NoticeConflictError, UnknownKeyError, VerificationError,
} from "../protocol/errors.ts";
import { leafHash } from "../protocol/merkle.ts";
import { author, parseNotice, verifyNotice, type Notice } from "../protocol/notice.ts";
import type { Manifest } from "../protocol/scope.ts";
import type { Statement } from "../protocol/statement.ts";
import { parseDecimal } from "../protocol/text.ts";
import type { LedgerView, Progress } from "./view.ts";

const MAX_NOTICES = 20_000;

/** A verified notice at its place in the ledger. */
export interface PublishedNotice {
  readonly index: number;
  readonly leafHash: Bytes;
  readonly author: string; // "organiser", "issuer:<name>", "trustee:<name>" or "ledger"
  readonly statement: Statement;
}

/** A scope's terms and notices under one checkpoint. */
export class ScopeView {
  readonly manifest: Manifest;
  readonly notices: readonly PublishedNotice[]; // by author, each author's in order

  constructor(manifest: Manifest, notices: readonly PublishedNotice[]) {
    this.manifest = manifest;
    this.notices = notices;
  }

  /** The full texts that are published, by language. */
  get texts(): Readonly<Record<string, string>> {
    const found = this.notices.filter((item) => item.statement.type === "text");
    return Object.fromEntries(found.map(({ statement: { body } }) => [body.language as string, body.text as string]));
  }

  /** The names of listed issuers that have not opened the scope with the manifest's key. */
  get missingOpenings(): string[] {
    const opened = new Set(this.notices.filter((n) => n.statement.type === "opening").map((n) => n.author));
    return this.manifest.issuers.map((issuer) => issuer.name).filter((name) => !opened.has(`issuer:${name}`));
  }

  /** Whether the ledger has closed the scope. */
  get isClosed(): boolean {
    return this.notices.some((item) => item.statement.type === "closing");
  }
}

/** The scope with this id (hex), opened by every listed issuer; every notice in it is verified. */
export async function findScope(view: LedgerView, scope: string, progress?: Progress): Promise<ScopeView> {
  const found = (await fromHint(view, scope)) ?? (await fromAll(view, scope, progress));
  if (!found) throw new NotFoundError("the ledger has no scope with this id");
  await view.checkTerms(found.manifest);
  const [missing] = found.missingOpenings;
  if (missing) throw new UnknownKeyError(`the issuer ${missing} has not opened this scope in the ledger`);
  return found;
}

async function fromHint(view: LedgerView, scope: string): Promise<ScopeView | undefined> {
  try {
    const lines = fromAscii(await view.fetch(`scopes/${scope}`)).split("\n");
    const indices = new Set(lines.filter(Boolean).slice(0, MAX_NOTICES).map((line) => parseDecimal(line)));
    const entries: [number, Uint8Array][] = [];
    for (const index of [...indices].sort((a, b) => a - b)) {
      if (index < view.size) entries.push([index, await view.entry(index)]);
    }
    const found = await assemble(scope, entries);
    return found?.missingOpenings.length ? undefined : found;
  } catch (error) {
    const leadsNowhere =
      error instanceof MalformedError || error instanceof NotFoundError || error instanceof VerificationError ||
      error instanceof NoticeConflictError;
    if (leadsNowhere) return undefined; // costs time, no safety
    throw error;
  }
}

async function fromAll(view: LedgerView, scope: string, progress?: Progress): Promise<ScopeView | undefined> {
  const notices: [number, Uint8Array][] = [];
  for await (const [index, data] of view.entries(progress)) if (data[0] === 4) notices.push([index, data]);
  return assemble(scope, notices);
}

type Found = { index: number; hash: Bytes; notice: Notice };

async function assemble(
  scope: string, entries: readonly (readonly [number, Uint8Array])[],
): Promise<ScopeView | undefined> {
  const found: Found[] = [];
  for (const [index, data] of entries) {
    try {
      const notice = parseNotice(data);
      if (notice.statement.scope === scope) found.push({ index, hash: leafHash(data), notice });
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error; // a fault that the audit names
    }
  }
  const manifest = found.find((item) => item.notice.statement.manifest)?.notice.statement.manifest;
  if (!manifest) return undefined;
  const byAuthor = new Map<string, Found[]>();
  for (const item of found) {
    try {
      const name = author(item.notice, manifest);
      byAuthor.set(name, [...(byAuthor.get(name) ?? []), item]);
    } catch (error) {
      if (!(error instanceof UnknownKeyError)) throw error;
    }
  }
  const published: PublishedNotice[] = [];
  for (const name of [...byAuthor.keys()].sort()) published.push(...(await chained(name, byAuthor.get(name)!, manifest)));
  const hasTerms = published.some((item) => item.statement.type === "manifest");
  return hasTerms ? new ScopeView(manifest, published) : undefined;
}

async function chained(name: string, items: readonly Found[], manifest: Manifest): Promise<PublishedNotice[]> {
  const chain: PublishedNotice[] = [];
  // Inside a batch notices stand by leaf hash, so the order of leaves is not that of the sequence.
  const inOrder = [...items].sort((a, b) => a.notice.statement.seq - b.notice.statement.seq || a.index - b.index);
  for (const { index, hash, notice } of inOrder) {
    const last = chain.at(-1);
    try {
      const statement = await verifyNotice(notice, manifest, last && [last.statement.seq, last.leafHash]);
      chain.push({ index, leafHash: hash, author: name, statement });
    } catch (error) {
      // Not said by its author: a fault that the audit names. A conflict is not passed over.
      if (!(error instanceof VerificationError) && !(error instanceof MalformedError)) throw error;
    }
  }
  return chain;
}
