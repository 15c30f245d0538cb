// Where a page keeps the state of an audit, to go on after a reload or on another day: IndexedDB, one state a ledger.
import type { Snapshot } from "./audit.ts";

const DATABASE = "headcount-audit";
const TABLE = "states";

/** Reads and writes states by the ledger's address or name; without storage nothing is kept. */
export interface Keeper {
  load(ledger: string): Promise<Snapshot | undefined>;
  save(ledger: string, snapshot: Snapshot): Promise<void>;
  forget(ledger: string): Promise<void>;
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error ?? new Error("blocked"));
  });
}

/** Remove the states of all ledgers; a tab that is recounting keeps nothing more. */
export function forgetAudits(): void {
  indexedDB.deleteDatabase(DATABASE);
}

export async function openKeeper(): Promise<Keeper> {
  let database: IDBDatabase;
  try {
    database = await open();
    database.onversionchange = () => database.close(); // everything is to be forgotten
  } catch {
    return { load: async () => undefined, save: async () => undefined, forget: async () => undefined };
  }
  const run = (mode: IDBTransactionMode, ask: (table: IDBObjectStore) => IDBRequest): Promise<unknown> =>
    new Promise((resolve, reject) => {
      let transaction: IDBTransaction;
      try {
        transaction = database.transaction(TABLE, mode);
      } catch {
        return resolve(undefined); // it was closed
      }
      const request = ask(transaction.objectStore(TABLE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => reject(request.error ?? transaction.error);
    });
  return {
    async load(ledger) {
      const found = (await run("readonly", (table) => table.get(ledger))) as Snapshot | undefined;
      return found?.version === 2 ? found : undefined; // of an older page: recounted from the beginning
    },
    async save(ledger, snapshot) {
      // A full disk only costs the next visit its head start.
      await run("readwrite", (table) => table.put(snapshot, ledger)).catch(() => undefined);
    },
    async forget(ledger) {
      await run("readwrite", (table) => table.delete(ledger));
    },
  };
}
