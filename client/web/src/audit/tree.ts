// The hash tiles of every level and every published size, against the entries' own hashes.
import { concat, equal, type Bytes } from "../protocol/bytes.ts";
import { CompactRange, HASH_BYTES, cutHashes, root } from "../protocol/merkle.ts";
import { TILE_WIDTH, tilePath, type Tile } from "../protocol/tile.ts";
import type { FaultList } from "./fault.ts";
import type { Files } from "./files.ts";

export interface TreeState {
  readonly size: number;
  readonly range: readonly Uint8Array[];
  readonly levels: readonly (readonly Uint8Array[])[];
  readonly stale: readonly string[];
}

/** Builds the tree again from leaf hashes and compares each tile as it is completed. */
export class TreeRecount {
  readonly finalSize: number; // of the checkpoint
  readonly #files: Files;
  readonly #faults: FaultList;
  readonly #range: CompactRange;
  readonly #levels: Uint8Array[][]; // the unfinished tile of each level
  readonly #stale: Set<string>; // places whose older partial files are faulted
  #parents: { index: number; data: Uint8Array } = { index: -1, data: new Uint8Array(0) };

  constructor(files: Files, finalSize: number, faults: FaultList, state?: TreeState) {
    this.#files = files;
    this.finalSize = finalSize;
    this.#faults = faults;
    this.#range = state ? CompactRange.from(state.size, state.range) : new CompactRange();
    this.#levels = (state?.levels ?? []).map((level) => [...level]);
    this.#stale = new Set(state?.stale);
  }

  state(): TreeState {
    return { size: this.size, range: this.#range.hashes, levels: this.#levels.map((l) => [...l]), stale: [...this.#stale] };
  }

  get size(): number {
    return this.#range.size;
  }

  root(): Uint8Array {
    return this.#range.root();
  }

  /** The root hash if these came next. */
  rootWith(hashes: readonly Uint8Array[]): Uint8Array {
    const ahead = this.#range.copy();
    for (const hash of hashes) ahead.append(hash);
    return ahead.root();
  }

  /** The leaf hashes that a tile of level 0 says; a tile that is none is a fault. */
  async servedHashes(index: number, width: number): Promise<Uint8Array[] | undefined> {
    const data = await this.#readTile({ level: 0, index, width });
    return data && cutHashes(data);
  }

  /** What the tile of level 1 says about a full tile of level 0. */
  async parent(index: number): Promise<Uint8Array | undefined> {
    const [tile, place] = [Math.floor(index / TILE_WIDTH), index % TILE_WIDTH];
    if (this.#parents.index !== tile) {
      const width = Math.min(TILE_WIDTH, Math.floor(this.finalSize / TILE_WIDTH) - tile * TILE_WIDTH);
      // Its own faults are found when it is completed.
      const data = width > 0 ? await this.#files.find(tilePath({ level: 1, index: tile, width })) : undefined;
      this.#parents = { index: tile, data: data ?? new Uint8Array(0) };
    }
    const found = this.#parents.data.subarray(place * HASH_BYTES, (place + 1) * HASH_BYTES);
    return found.length === HASH_BYTES ? found : undefined;
  }

  /** Adds leaf hashes; full tiles above level 0 are compared. */
  async extend(hashes: readonly Uint8Array[]): Promise<void> {
    for (const leaf of hashes) {
      this.#range.append(leaf);
      let node = leaf;
      for (let level = 0; ; level++) {
        const waiting = (this.#levels[level] ??= []);
        waiting.push(node);
        if (waiting.length < TILE_WIDTH) break;
        this.#levels[level] = [];
        if (level) {
          const index = Math.floor(this.size / 2 ** (8 * (level + 1))) - 1;
          await this.#compare({ level, index, width: TILE_WIDTH }, concat(...waiting));
        }
        node = root(waiting);
      }
    }
  }

  #partials(): [Tile, Bytes][] {
    return this.#levels.flatMap((hashes, level): [Tile, Bytes][] => {
      const index = Math.floor(this.size / 2 ** (8 * (level + 1)));
      return hashes.length ? [[{ level, index, width: hashes.length }, concat(...hashes)]] : [];
    });
  }

  /**
   * Compares the partial tiles of a size that a checkpoint was published for; bundle is what the partial entry bundle of
   * this size must be. Partial tiles may be deleted once the full tile exists (C2SP tlog-tiles).
   */
  async checkPartials(bundle: Bytes | undefined): Promise<void> {
    for (const [tile, data] of this.#partials()) await this.#comparePartial(tile, data);
    const width = this.size % TILE_WIDTH;
    if (width && bundle) {
      await this.#comparePartial({ level: "entries", index: Math.floor(this.size / TILE_WIDTH), width }, bundle);
    }
  }

  /** Compares the partial tiles above level 0 of the whole tree. */
  async finish(): Promise<void> {
    for (const [tile, data] of this.#partials()) if (tile.level) await this.#compare(tile, data);
  }

  async #readTile(tile: Tile): Promise<Uint8Array | undefined> {
    const size = tile.width * HASH_BYTES;
    let data: Uint8Array | undefined;
    if (tile.width !== TILE_WIDTH) data = await this.#files.find(tilePath(tile));
    if (!data) {
      data = await this.#files.find(tilePath({ ...tile, width: TILE_WIDTH }));
      if (tile.width !== TILE_WIDTH) data = data?.subarray(0, size);
    }
    if (!data) this.#faults.add("unreadable-file", `${tilePath(tile)} is missing`);
    else if (data.length !== size) {
      this.#faults.add("broken-tile", `${tilePath(tile)} has ${data.length} bytes instead of ${size}`, {
        offset: Math.min(data.length, size),
      });
      return undefined;
    }
    return data;
  }

  async #compare(tile: Tile, expected: Bytes): Promise<void> {
    const data = await this.#readTile(tile);
    if (data && !equal(data, expected)) this.#differs(tilePath(tile), data, expected);
  }

  async #comparePartial(tile: Tile, expected: Bytes): Promise<void> {
    const path = tilePath(tile);
    const place = `${tile.level} ${tile.index}`;
    const data = await this.#files.find(path);
    if ((data && equal(data, expected)) || this.#stale.has(place)) return;
    const level = tile.level === "entries" ? 0 : tile.level;
    if (data) {
      this.#stale.add(place);
      this.#differs(path, data, expected);
    } else if (Math.floor(this.finalSize / 2 ** (8 * level) / TILE_WIDTH) <= tile.index) {
      // The full tile does not exist yet.
      this.#stale.add(place);
      this.#faults.add("unreadable-file", `${path} is missing`);
    }
  }

  #differs(path: string, data: Uint8Array, expected: Uint8Array): void {
    let at = 0;
    while (at < data.length && at < expected.length && data[at] === expected[at]) at++;
    this.#faults.add("broken-tile", `${path} is not what the entries give from byte ${at} on`, { offset: at });
  }
}
