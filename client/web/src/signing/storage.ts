// Where a page keeps what it must not lose: pledge files by scope, and the last checkpoint of each ledger.
//
// IndexedDB; where the browser refuses it (a private window, blocked storage) memory, and isDurable says so: then a page
// offers the file before it asks anybody for anything.
import { equal, type Bytes } from "../protocol/bytes.ts";
import { ConfigurationError } from "../protocol/errors.ts";
import { encodePledgeFile, parsePledgeFile, type PledgeFile } from "./pledge_file.ts";

/** Byte strings by name; every write is done when its promise is. */
export interface Storage {
  readonly isDurable: boolean;
  get(name: string): Promise<Bytes | undefined>;
  /** Throws ConfigurationError if the name is taken and isNew is set, or nothing can be written. */
  put(name: string, data: Bytes, isNew?: boolean): Promise<void>;
  delete(name: string): Promise<void>;
  names(): Promise<string[]>;
}

export class MemoryStorage implements Storage {
  readonly isDurable = false;
  readonly #kept = new Map<string, Bytes>();

  async get(name: string): Promise<Bytes | undefined> {
    return this.#kept.get(name);
  }

  async put(name: string, data: Bytes, isNew = false): Promise<void> {
    if (isNew && this.#kept.has(name)) throw new ConfigurationError("there is a pledge of this scope already");
    this.#kept.set(name, data);
  }

  async delete(name: string): Promise<void> {
    this.#kept.delete(name);
  }

  async names(): Promise<string[]> {
    return [...this.#kept.keys()].sort();
  }
}

const DATABASE = "headcount";
const TABLE = "files";

class DatabaseStorage implements Storage {
  readonly isDurable = true;
  readonly #database: IDBDatabase;

  constructor(database: IDBDatabase) {
    this.#database = database;
  }

  async get(name: string): Promise<Bytes | undefined> {
    return this.#run("readonly", (table) => table.get(name)) as Promise<Bytes | undefined>;
  }

  async put(name: string, data: Bytes, isNew = false): Promise<void> {
    // add() refuses a key that is there: two tabs cannot both begin.
    await this.#run("readwrite", (table) => (isNew ? table.add(data, name) : table.put(data, name)));
  }

  async delete(name: string): Promise<void> {
    await this.#run("readwrite", (table) => table.delete(name));
  }

  async names(): Promise<string[]> {
    return (await this.#run("readonly", (table) => table.getAllKeys())) as string[];
  }

  #run(mode: IDBTransactionMode, ask: (table: IDBObjectStore) => IDBRequest): Promise<unknown> {
    return new Promise((resolve, reject) => {
      // strict: on the disk before the promise is done, since the next step may be a request.
      const transaction = this.#database.transaction(TABLE, mode, { durability: "strict" });
      const request = ask(transaction.objectStore(TABLE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => {
        const isTaken = request.error?.name === "ConstraintError";
        const text = isTaken ? "there is a pledge of this scope already" : "this browser cannot keep the pledge";
        reject(new ConfigurationError(text));
      };
    });
  }
}

/** This browser's storage, memory where it has none. */
export async function openStorage(): Promise<Storage> {
  try {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
      request.onsuccess = () => resolve(request.result);
      request.onerror = request.onblocked = () => reject(request.error ?? new Error("blocked"));
    });
    return new DatabaseStorage(database);
  } catch {
    return new MemoryStorage();
  }
}

/** The pledge file of one scope. */
export class PledgeStore {
  readonly storage: Storage;
  readonly name: string;
  #last: { readonly data: Bytes; readonly file: PledgeFile } | undefined; // so that the same bytes are parsed once

  constructor(storage: Storage, scope: string) {
    this.storage = storage;
    this.name = `pledge/${scope}`;
  }

  /** The file, undefined if there is none; throws ConfigurationError if it is not one. */
  async load(): Promise<PledgeFile | undefined> {
    const data = await this.storage.get(this.name);
    if (!data) return (this.#last = undefined);
    if (!this.#last || !equal(this.#last.data, data)) this.#last = { data, file: parsePledgeFile(data) };
    return this.#last.file;
  }

  async create(file: PledgeFile): Promise<PledgeFile> {
    const data = encodePledgeFile(file);
    const last = { data, file: parsePledgeFile(data) }; // a file that cannot be read again would lose the pledge
    await this.storage.put(this.name, data, true);
    this.#last = last;
    return file;
  }

  async save(file: PledgeFile): Promise<PledgeFile> {
    const data = encodePledgeFile(file);
    await this.storage.put(this.name, data);
    this.#last = { data, file };
    return file;
  }

  /** "Forget everything here": the pledge can then never be changed from this device. */
  forget(): Promise<void> {
    return this.storage.delete(this.name);
  }
}

/** The signed checkpoints that this client has accepted, to compare the next ones with. */
export class Memory {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async checkpoints(): Promise<Bytes[]> {
    const names = (await this.#storage.names()).filter((name) => name.startsWith("checkpoint/"));
    const found = await Promise.all(names.map((name) => this.#storage.get(name)));
    return found.filter((raw) => raw !== undefined);
  }

  remember(origin: string, checkpoint: Bytes): Promise<void> {
    return this.#storage.put(`checkpoint/${origin}`, checkpoint);
  }
}
