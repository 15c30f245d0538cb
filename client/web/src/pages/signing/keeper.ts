/** What the signing page keeps of one scope: the pledge file, and notes of its own on the way to an issuer and on sending. */
import { fromUtf8, utf8, type Bytes } from "../../protocol/bytes.ts";
import { passedBefore, whatPassed } from "../../protocol/passed.ts";
import { encodeBase64url } from "../../protocol/text.ts";
import type { PledgeFile } from "../../signing/pledge_file.ts";
import { forgetAudits } from "../../audit/keep.ts";
import { Memory, MemoryStorage, PledgeStore, openStorage, type Storage } from "../../signing/storage.ts";

export interface Notes {
  state?: string; // goes to an issuer's page and has to come back
  sendAt?: number | undefined; // milliseconds since 1970
  later?: boolean; // the person sends it some other time
  erased?: boolean; // a contact was left and taken back
  passed?: string[]; // the keys of the terms whose arithmetic was checked here, as protocol/passed.ts says them
}

export class Keeper {
  readonly store: PledgeStore;
  readonly memory: Memory;
  readonly isDurable: boolean;
  private readonly scope: string;
  private readonly storage: Storage;
  private readonly channel: BroadcastChannel | null;

  private constructor(storage: Storage, scope: string) {
    this.storage = storage;
    this.scope = scope;
    this.store = new PledgeStore(storage, scope);
    this.memory = new Memory(storage);
    this.isDurable = storage.isDurable;
    this.channel = openChannel(`headcount/${scope}`);
  }

  /** The keeper of a scope, in memory where the browser keeps nothing. */
  static async open(scope: string): Promise<Keeper> {
    const keeper = new Keeper(await openStorage(), scope);
    try {
      passedBefore((await keeper.notes()).passed); // a database that opens may still refuse
      return keeper;
    } catch {
      return new Keeper(new MemoryStorage(), scope);
    }
  }

  load(): Promise<PledgeFile | undefined> {
    return this.store.load();
  }

  async notes(): Promise<Notes> {
    const data = await this.storage.get(this.name);
    try {
      return data === undefined ? {} : (JSON.parse(fromUtf8(data)) as Notes);
    } catch {
      return {}; // damaged: nothing in it is worth more than the pledge
    }
  }

  async note(notes: Notes): Promise<void> {
    await this.write({ ...(await this.notes()), ...notes });
  }

  private write(notes: Notes): Promise<void> {
    return this.storage.put(this.name, utf8(JSON.stringify(notes)));
  }

  /** The nonce that a session must come back with; drawn once a pledge, when its terms have been checked. */
  async state(): Promise<string> {
    const notes = await this.notes();
    if (notes.state !== undefined) return notes.state;
    const state = encodeBase64url(crypto.getRandomValues(new Uint8Array(16)) as Bytes);
    await this.write({ ...notes, state, passed: whatPassed() });
    return state;
  }

  /** Remove everything that this browser keeps of this scope, and what tells where one has been: checkpoints, recounts. */
  async forget(): Promise<void> {
    if (this.isDurable) forgetAudits();
    for (const name of await this.storage.names()) {
      if (name.endsWith(`/${this.scope}`) || name.startsWith("checkpoint/")) await this.storage.delete(name);
    }
    this.tell({ changed: true });
  }

  /** Do something that no other tab of this scope does at the same time. */
  alone<T>(act: () => Promise<T>): Promise<T> {
    const locks = (navigator as { locks?: LockManager }).locks;
    if (locks === undefined || !this.isDurable) return act();
    return locks.request(`headcount/${this.scope}`, act) as Promise<T>;
  }

  /** Tell the other tabs of this scope. */
  tell(message: Message): void {
    this.channel?.postMessage(message);
  }

  /** Hear the other tabs. */
  listen(heard: (message: Message) => void): void {
    this.channel?.addEventListener("message", (event: MessageEvent<Message>) => heard(event.data));
  }

  private get name(): string {
    return `notes/${this.scope}`;
  }
}

/** Between the tabs of one origin: something has changed, a session has come, it was taken. */
export interface Message {
  changed?: true;
  session?: Record<string, string>;
  taken?: true;
}

function openChannel(name: string): BroadcastChannel | null {
  try {
    return new BroadcastChannel(name);
  } catch {
    return null; // some browsers block it together with storage
  }
}
