// The published resources of the ledger: hash tiles and entry bundles, c2sp.org/tlog-tiles.
import type { Bytes } from "./bytes.ts";
import { MalformedError, NotFoundError } from "./errors.ts";
import { HASH_BYTES, MAX_SIZE, cutHashes, inclusionPath, root, type Subtree } from "./merkle.ts";

export const TILE_WIDTH = 256;
export const TILE_BYTES = TILE_WIDTH * HASH_BYTES;
const MAX_LEVEL = 63;

/** From a path below the ledger's prefix to its bytes; throws NotFoundError. */
export type Fetch = (path: string) => Promise<Bytes>;

/** Hashes or entries [256 index, 256 index + width) of a level, or of the entries. */
export interface Tile {
  readonly level: number | "entries";
  readonly index: number;
  readonly width: number; // 1 to 256; 256 is a full tile
}

const PATH = /^tile\/(entries|0|[1-9][0-9]?)\/((?!x000)(?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/;

export function tilePath(tile: Tile): string {
  const groups = [String(tile.index % 1000).padStart(3, "0")];
  for (let rest = Math.floor(tile.index / 1000); rest; rest = Math.floor(rest / 1000)) {
    groups.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  }
  return `tile/${tile.level}/${groups.join("/")}${tile.width === TILE_WIDTH ? "" : `.p/${tile.width}`}`;
}

export function parsePath(path: string): Tile {
  const found = PATH.exec(path);
  if (!found) throw new MalformedError("not a path of a tile");
  const index = Number(found[2]!.replaceAll(/[x/]/g, ""));
  const width = found[3] ? Number(found[3]) : TILE_WIDTH;
  if (found[3] && width >= TILE_WIDTH) throw new MalformedError("a partial tile is 1 to 255 wide");
  if (index > MAX_SIZE / TILE_WIDTH) throw new MalformedError("tile index out of range");
  const level = found[1] === "entries" ? "entries" : Number(found[1]);
  if (level !== "entries" && level > MAX_LEVEL) throw new MalformedError("tile level out of range");
  return { level, index, width };
}

function* places(old: number, size: number): Generator<{ index: number; width: number }> {
  const full = Math.floor(size / TILE_WIDTH);
  for (let index = Math.floor(old / TILE_WIDTH); index < full; index++) yield { index, width: TILE_WIDTH };
  if (size % TILE_WIDTH) yield { index: full, width: size % TILE_WIDTH };
}

/** The tiles of the tree of size leaves that the tree of old leaves does not have, by level. */
export function newTiles(old: number, size: number): Tile[] {
  const tiles: Tile[] = [];
  for (let level = 0, a = old, b = size; b; level++, a = Math.floor(a / TILE_WIDTH), b = Math.floor(b / TILE_WIDTH)) {
    if (a !== b) for (const place of places(a, b)) tiles.push({ level, ...place });
  }
  return tiles;
}

/** The partial tiles and the partial bundle of the tree of size leaves. */
export function partialTiles(size: number): Tile[] {
  const tiles: Tile[] = [];
  for (let level = 0, rest = size; rest; level++, rest = Math.floor(rest / TILE_WIDTH)) {
    const place = { index: Math.floor(rest / TILE_WIDTH), width: rest % TILE_WIDTH };
    if (place.width) tiles.push({ level, ...place }, ...(level ? [] : [{ level: "entries" as const, ...place }]));
  }
  return tiles;
}

/** The bundles of the tree of size entries that the tree of old entries does not have. */
export function newBundles(old: number, size: number): Tile[] {
  return old === size ? [] : Array.from(places(old, size), (place) => ({ level: "entries", ...place }));
}

/** The entries of a bundle that must hold exactly width of them: struct { opaque entry<0..2^16-1>; } entries[width]. */
export function decodeBundle(data: Uint8Array, width: number): Uint8Array[] {
  const entries: Uint8Array[] = [];
  let start = 0;
  for (let i = 0; i < width; i++) {
    if (start + 2 > data.length) throw new MalformedError(`bundle ends after ${i} of ${width} entries`);
    const stop = start + 2 + ((data[start]! << 8) | data[start + 1]!);
    if (stop > data.length) throw new MalformedError(`truncated entry ${i} of the bundle`);
    entries.push(data.subarray(start + 2, stop));
    start = stop;
  }
  if (start !== data.length) throw new MalformedError(`${data.length - start} trailing bytes after the bundle's entries`);
  return entries;
}

/**
 * Hashes, proofs and entries of a published tree of a given size, from its tiles.
 *
 * Lengths are checked and nothing is authenticated: compare root() with a signed checkpoint, and verify the proofs.
 */
export class TileReader {
  readonly size: number;
  readonly #fetch: Fetch;
  readonly #tiles = new Map<string, Promise<Uint8Array>>();
  readonly #bundles = new Map<number, Promise<Uint8Array[]>>();

  constructor(fetch: Fetch, size: number) {
    this.size = size;
    this.#fetch = fetch;
  }

  /** The hashes of a tile: as many as the tree of this size has there. */
  tile(level: number, index: number): Promise<Uint8Array> {
    return keep(this.#tiles, `${level}/${index}`, 1024, async () => {
      const width = this.#width(Math.floor(this.size / 2 ** (8 * level)), index);
      const data = await this.#read({ level, index, width }, (tile, bytes) => {
        if (bytes.length !== tile.width * HASH_BYTES) {
          throw new MalformedError(`${tilePath(tile)} has ${bytes.length} bytes instead of ${tile.width * HASH_BYTES}`);
        }
        return bytes;
      });
      return data.subarray(0, width * HASH_BYTES);
    });
  }

  /** The entries of a bundle: as many as the tree of this size has there. */
  bundle(index: number): Promise<Uint8Array[]> {
    return keep(this.#bundles, index, 4, async () => {
      const width = this.#width(this.size, index);
      const entries = await this.#read({ level: "entries", index, width }, (tile, bytes) => {
        try {
          return decodeBundle(bytes, tile.width);
        } catch (error) {
          throw error instanceof MalformedError ? new MalformedError(`${tilePath(tile)}: ${error.message}`) : error;
        }
      });
      return entries.slice(0, width);
    });
  }

  async #read<T>(tile: Tile, read: (tile: Tile, data: Bytes) => T): Promise<T> {
    if (tile.width !== TILE_WIDTH) {
      try {
        return read(tile, await this.#fetch(tilePath(tile)));
      } catch (error) {
        if (!(error instanceof NotFoundError)) throw error; // a partial tile may go once the full one exists
      }
    }
    const full = { ...tile, width: TILE_WIDTH };
    return read(full, await this.#fetch(tilePath(full)));
  }

  #width(hashes: number, index: number): number {
    const width = Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH);
    if (index < 0 || width < 1) throw new RangeError("no such tile in this tree");
    return width;
  }

  async entry(index: number): Promise<Uint8Array> {
    if (index < 0 || index >= this.size) throw new RangeError("no such entry");
    return (await this.bundle(Math.floor(index / TILE_WIDTH)))[index % TILE_WIDTH]!;
  }

  /** The hash of the perfect subtree over leaves [index << level, (index + 1) << level). */
  readonly hash: Subtree = async (level, index) => {
    const tileLevel = Math.floor(level / 8);
    const width = 2 ** (level % 8);
    const first = index * width;
    const data = await this.tile(tileLevel, Math.floor(first / TILE_WIDTH));
    const start = (first % TILE_WIDTH) * HASH_BYTES;
    return root(cutHashes(data.subarray(start, start + width * HASH_BYTES)));
  };

  inclusionProof(index: number, size = this.size): Promise<Uint8Array[]> {
    return inclusionPath(this.hash, index, size);
  }
}

function keep<K, V>(cache: Map<K, Promise<V>>, key: K, most: number, make: () => Promise<V>): Promise<V> {
  let value = cache.get(key);
  if (!value) {
    value = make();
    value.catch(() => cache.delete(key)); // a file that was not there may come
    cache.set(key, value);
    if (cache.size > most) cache.delete(cache.keys().next().value!);
  }
  return value;
}
