// The hints of a ledger: where the notices of each scope stand. Clients verify what they find there.
import { fromAscii } from "../protocol/bytes.ts";
import { MalformedError } from "../protocol/errors.ts";
import { parseDecimal } from "../protocol/text.ts";
import type { FaultList } from "./fault.ts";
import type { Files } from "./files.ts";
import type { ScopeRecount } from "./scopes.ts";

/** scopes/<id> lists the places of the scope's notices, so that clients need not search. */
export async function checkHints(
  files: Files, scopes: ReadonlyMap<string, ScopeRecount>, size: number, faults: FaultList,
): Promise<void> {
  for (const [id, scope] of scopes) {
    const path = `scopes/${id}`;
    const data = await files.read(path);
    if (!data) continue;
    let indices: number[];
    try {
      const lines = fromAscii(data).split("\n");
      if (lines.pop()) throw new MalformedError("no newline at its end");
      indices = lines.map((line) => parseDecimal(line));
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      faults.add("wrong-hint", `${path}: ${error.message}`);
      continue;
    }
    // A newer one than the checkpoint may have been written meanwhile.
    const known = indices.filter((index) => index < size);
    const { notices } = scope.tally;
    const ascends = indices.every((index, i) => i === 0 || indices[i - 1]! < index);
    if (known.join() !== notices.join() || !ascends) {
      faults.add("wrong-hint", `${path} lists ${known.length} of ${notices.length} notices`);
    }
  }
}
