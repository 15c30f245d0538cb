// The published files as an auditor reads them: what cannot be read is a fault with a name.
import type { Bytes } from "../protocol/bytes.ts";
import { NotFoundError, ProtocolError, UnavailableError } from "../protocol/errors.ts";
import type { Fetch } from "../protocol/tile.ts";
import type { FaultList } from "./fault.ts";

const MAX_STALLS = 4; // after so many failures in a row the host is gone, and no verdict is fair

export class Files {
  readonly #fetch: Fetch;
  readonly #faults: FaultList;
  #stalls = 0;

  constructor(fetch: Fetch, faults: FaultList) {
    this.#fetch = fetch;
    this.#faults = faults;
  }

  /** The bytes, undefined if there is no such file. */
  async find(path: string): Promise<Bytes | undefined> {
    try {
      const data = await this.#fetch(path);
      this.#stalls = 0;
      return data;
    } catch (error) {
      if (error instanceof NotFoundError) return undefined;
      if (!(error instanceof ProtocolError)) throw error;
      if (error instanceof UnavailableError && ++this.#stalls >= MAX_STALLS) throw error;
      this.#faults.add("unreadable-file", `${path}: ${error.message}`);
      return undefined;
    }
  }

  /** The bytes; that there is no such file is a fault. */
  async read(path: string, batch?: number): Promise<Bytes | undefined> {
    const known = this.#faults.list.length;
    const data = await this.find(path);
    if (!data && this.#faults.list.length === known) {
      this.#faults.add("unreadable-file", `${path} is missing`, { batch });
    }
    return data;
  }
}

/** Starts reading what will be asked for soon. */
export class Ahead {
  readonly #fetch: Fetch;
  readonly #started = new Map<string, Promise<Bytes>>();

  constructor(fetch: Fetch) {
    this.#fetch = fetch;
  }

  /** How many were started and not asked for. */
  get waiting(): number {
    return this.#started.size;
  }

  start(path: string): Promise<Bytes> {
    let data = this.#started.get(path);
    if (!data) {
      data = this.#fetch(path);
      data.catch(() => undefined); // told to whoever asks
      this.#started.set(path, data);
    }
    return data;
  }

  readonly fetch: Fetch = (path) => {
    const started = this.#started.get(path);
    this.#started.delete(path);
    return started ?? this.#fetch(path);
  };
}
