// The pledges that count, by nullifier: 84 bytes each in flat arrays, so that a telephone holds a million.
import type { Bytes } from "../protocol/bytes.ts";

/** A pledge that counts, and what became of it. */
export interface CountedPledge {
  readonly index: number;
  readonly batch: number;
  readonly scope: number; // its place among the scopes
  readonly revisionKey: Bytes;
  choice: number;
  serial: number;
  revisedIn: number; // batch of the last revision, -1 without any
}

export interface TableState {
  readonly size: number;
  readonly names: Bytes;
  readonly keys: Bytes;
  readonly numbers: Float64Array<ArrayBuffer>;
}

const NUMBERS = 6;

export class PledgeTable {
  #size = 0;
  #names = new Uint8Array(32 * 64); // nullifiers, compared in all 32 bytes
  #keys = new Uint8Array(32 * 64);
  #numbers = new Float64Array(NUMBERS * 64); // index, batch, scope, choice, serial, revisedIn
  #slots = new Int32Array(128).fill(-1); // open addressing by the first bytes of the nullifier

  get size(): number {
    return this.#size;
  }

  #slotOf(name: Uint8Array): number {
    const mask = this.#slots.length - 1;
    let slot = (name[0]! | (name[1]! << 8) | (name[2]! << 16) | (name[3]! << 24)) & mask;
    for (; ; slot = (slot + 1) & mask) {
      const row = this.#slots[slot]!;
      if (row < 0 || this.#isAt(row, name)) return slot;
    }
  }

  #isAt(row: number, name: Uint8Array): boolean {
    for (let i = 0, at = 32 * row; i < 32; i++, at++) if (this.#names[at] !== name[i]) return false;
    return true;
  }

  /** The row of a nullifier, undefined if it has not counted. */
  find(nullifier: Uint8Array): number | undefined {
    const row = this.#slots[this.#slotOf(nullifier)]!;
    return row < 0 ? undefined : row;
  }

  read(row: number): CountedPledge {
    const [index, batch, scope, choice, serial, revisedIn] = this.#numbers.subarray(NUMBERS * row, NUMBERS * (row + 1));
    const revisionKey = this.#keys.slice(32 * row, 32 * (row + 1));
    return {
      index: index!, batch: batch!, scope: scope!, choice: choice!, serial: serial!, revisedIn: revisedIn!, revisionKey,
    };
  }

  write(row: number, pledge: CountedPledge): void {
    const { index, batch, scope, choice, serial, revisedIn } = pledge;
    this.#numbers.set([index, batch, scope, choice, serial, revisedIn], NUMBERS * row);
  }

  add(nullifier: Uint8Array, pledge: CountedPledge): void {
    if (this.#size * 2 >= this.#slots.length) this.#grow();
    const row = this.#size++;
    this.#slots[this.#slotOf(nullifier)] = row;
    this.#names.set(nullifier, 32 * row);
    this.#keys.set(pledge.revisionKey, 32 * row);
    this.write(row, pledge);
  }

  #grow(): void {
    const rows = this.#slots.length; // twice as many as before
    this.#names = enlarged(this.#names, new Uint8Array(32 * rows));
    this.#keys = enlarged(this.#keys, new Uint8Array(32 * rows));
    this.#numbers = enlarged(this.#numbers, new Float64Array(NUMBERS * rows));
    this.#index(2 * rows);
  }

  #index(slots: number): void {
    this.#slots = new Int32Array(slots).fill(-1);
    for (let row = 0; row < this.#size; row++) {
      this.#slots[this.#slotOf(this.#names.subarray(32 * row, 32 * (row + 1)))] = row;
    }
  }

  state(): TableState {
    return {
      size: this.#size,
      names: this.#names.slice(0, 32 * this.#size),
      keys: this.#keys.slice(0, 32 * this.#size),
      numbers: this.#numbers.slice(0, NUMBERS * this.#size),
    };
  }

  static from(state: TableState): PledgeTable {
    const table = new PledgeTable();
    let rows = 64;
    while (rows <= state.size) rows *= 2;
    table.#size = state.size;
    table.#names = enlarged(state.names, new Uint8Array(32 * rows));
    table.#keys = enlarged(state.keys, new Uint8Array(32 * rows));
    table.#numbers = enlarged(state.numbers, new Float64Array(NUMBERS * rows));
    table.#index(2 * rows);
    return table;
  }
}

function enlarged<T extends Bytes | Float64Array<ArrayBuffer>>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
