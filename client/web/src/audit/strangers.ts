// Entries that are served and not in the tree, and places of the tree without an entry: named.
import { hex } from "../protocol/bytes.ts";
import type { Block, Stranger } from "./block.ts";
import type { Code, FaultList } from "./fault.ts";
import type { Recount } from "./recount.ts";

type Missing = readonly [index: number, offset: number];

export interface DifferencesState {
  readonly missing: Map<string, Missing[]>; // by hash
  readonly strangers: Stranger[];
}

/** Gathers what the bundles hold otherwise than the tree, over all blocks. */
export class Differences {
  readonly #missing: Map<string, Missing[]>;
  readonly #strangers: Stranger[];

  constructor(state?: DifferencesState) {
    this.#missing = state?.missing ?? new Map<string, Missing[]>();
    this.#strangers = state?.strangers ?? [];
  }

  state(): DifferencesState {
    return structuredClone({ missing: this.#missing, strangers: this.#strangers });
  }

  /** Takes one block whose bundle could be read and whose hashes are known. */
  add(block: Block, endOffset: number): void {
    let offset = endOffset;
    const missing: Missing[] = [];
    for (let place = block.leaves.length - 1; place >= 0; place--) {
      const leaf = block.leaves[place];
      if (leaf) offset = leaf.offset;
      else missing.push([place, offset]);
    }
    for (const [place, at] of missing.reverse()) {
      const name = hex(block.hashes[place]!);
      this.#missing.set(name, [...(this.#missing.get(name) ?? []), [block.first + place, at]]);
    }
    this.#strangers.push(...block.strangers);
  }

  /** Says what was done: an entry may have moved, been replaced, taken out or put in. */
  async name(recount: Recount, faults: FaultList): Promise<void> {
    const strangers: Stranger[] = [];
    const moved: Stranger[] = [];
    for (const stranger of this.#strangers) {
      const places = this.#missing.get(hex(stranger.leaf.hash));
      if (places?.length) {
        places.shift();
        moved.push(stranger);
      } else {
        strangers.push(stranger);
      }
    }
    const missing = new Map([...this.#missing.values()].flat());
    const [first] = moved;
    if (first && !strangers.length && !missing.size) {
      const text = "the entry is served at another place than it has in the tree";
      faults.add("reordered-batch", text, { index: first.index, offset: first.leaf.offset });
    }
    for (const stranger of strangers) await nameStranger(stranger, missing.delete(stranger.index), recount, faults);
    for (const [index, offset] of [...missing].sort(([a], [b]) => a - b)) {
      faults.add("deleted-entry", "the tree has an entry here that is not served", { index, offset });
    }
  }
}

async function nameStranger(
  stranger: Stranger, replaced: boolean, recount: Recount, faults: FaultList,
): Promise<void> {
  const place = { index: stranger.index, offset: stranger.leaf.offset };
  const how = replaced
    ? "served in the place of another entry"
    : "served although the tree has no such entry";
  const code = await special(stranger, replaced, recount);
  if (code) faults.add(code, how, place);
  // A flipped bit in an authenticator looks like a foreign key too: both are said.
  if (!code || (code === "foreign-key" && replaced)) faults.add(replaced ? "changed-entry" : "added-entry", how, place);
}

/** The name for a kind of entry that has one. */
async function special({ leaf }: Stranger, replaced: boolean, recount: Recount): Promise<Code | undefined> {
  const { entry } = leaf;
  if (entry?.kind === "pledge") {
    if (recount.spent.find(entry.nullifier) !== undefined) return "replayed-token";
    const judge = recount.judge(hex(entry.scopeId)); // none for terms that are served and not in the tree
    const verdict = judge && (leaf.verdict ?? (await judge.judge(entry)));
    return verdict?.code === "foreign-key" ? "foreign-key" : undefined;
  }
  if (leaf.kind === 2) return "broken-seal";
  if (entry?.kind === "notice") {
    return ["manifest", "text"].includes(entry.statement.type) && replaced ? "swapped-terms" : undefined;
  }
  return leaf.verdict?.code === "swapped-terms" ? "swapped-terms" : undefined;
}
