// Entries: what a leaf of the ledger is. An unknown type or version fails closed.
import { MalformedError } from "./errors.ts";
import { parseNotice, type Notice } from "./notice.ts";
import { parsePledge, type Pledge } from "./pledge.ts";
import { parseRevision, type Revision } from "./revision.ts";
import { parseSeal, type Seal } from "./seal.ts";

export type Entry = Pledge | Seal | Revision | Notice;

export const MAX_ENTRY_BYTES = 65535;
export const ENTRY_TYPE = "application/vnd.headcount.entry";

const PARSERS: Readonly<Record<number, (data: Uint8Array) => Entry>> = {
  1: parsePledge,
  2: parseSeal,
  3: parseRevision,
  4: parseNotice,
};

export function parseEntry(data: Uint8Array): Entry {
  if (data.length > MAX_ENTRY_BYTES) throw new MalformedError(`entry longer than ${MAX_ENTRY_BYTES} bytes`);
  const parser = data[1] === 1 ? PARSERS[data[0]!] : undefined;
  if (!parser) throw new MalformedError("unknown entry type or version");
  return parser(data);
}
