// Lets the Python tests drive the signer: a JSON request a line, a JSON answer a line. Pledge files are files.
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fromHex, hex, type Bytes } from "../src/protocol/bytes.ts";
import { ConfigurationError, ProtocolError } from "../src/protocol/errors.ts";
import "../src/protocol/fallbacks.ts";
import { encodeProof } from "../src/protocol/tlog_proof.ts";
import { encodeBase64 } from "../src/protocol/text.ts";
import { httpFetch } from "../src/reader/fetch.ts";
import { readCount } from "../src/reader/count.ts";
import { httpTransport, type Transport } from "../src/reader/transport.ts";
import { fetchTerms, openScope, policyOf } from "../src/signing/open.ts";
import { sendPledge } from "../src/signing/pledge.ts";
import { encodePledgeFile, parsePledgeFile } from "../src/signing/pledge_file.ts";
import { Proof, begin, nextIssuer } from "../src/signing/prove.ts";
import { findReceipts } from "../src/signing/receipt.ts";
import { revise } from "../src/signing/revise.ts";
import { PledgeStore, type Storage } from "../src/signing/storage.ts";

interface Asked {
  readonly operation: string;
  readonly folder: string;
  readonly ledger: string;
  readonly scope: string;
  readonly policy?: string;
  readonly verifier?: string;
  readonly choice?: number;
  readonly day?: number;
  readonly text?: string;
  readonly seed?: string;
  readonly lose?: number; // the answer of the request with this number never arrives
}

let events: string[] = [];

/** A folder; the pledge of a scope is the file of the command line. */
class Folder implements Storage {
  readonly isDurable = true;
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  #path(name: string): string {
    return join(this.#root, `${name.replace("/", "-")}.pledge`);
  }

  async get(name: string): Promise<Bytes | undefined> {
    return existsSync(this.#path(name)) ? new Uint8Array(readFileSync(this.#path(name))) : undefined;
  }

  async put(name: string, data: Bytes, isNew = false): Promise<void> {
    if (isNew && existsSync(this.#path(name))) throw new ConfigurationError("there is one already");
    events.push("put");
    writeFileSync(`${this.#path(name)}.new`, data);
    renameSync(`${this.#path(name)}.new`, this.#path(name));
  }

  async delete(name: string): Promise<void> {
    rmSync(this.#path(name));
  }

  async names(): Promise<string[]> {
    return readdirSync(this.#root);
  }
}

async function answer(asked: Asked): Promise<unknown> {
  let number = 0;
  const transport: Transport = async (method, url, request) => {
    events.push(`${method} ${url}`);
    const found = await httpTransport(method, url, request);
    if (number++ === asked.lose) throw new Error("the power goes out");
    return found;
  };
  const store = new PledgeStore(new Folder(asked.folder), asked.scope);
  const { operation, ledger, scope, day = 0, choice = 0 } = asked;
  const file = await store.load();
  if (operation === "begin") {
    const policy = asked.policy
      ? fromHex(asked.policy)
      : policyOf(await fetchTerms(asked.verifier!, scope, transport));
    const opened = await openScope({ ledger, scope, policy, transport, remembered: file ? [file.checkpoint] : [] });
    const draw = asked.seed ? () => fromHex(asked.seed!) : undefined;
    const begun = await begin(store, opened, choice, day, draw);
    return { texts: opened.scope.texts, next: nextIssuer(begun) ?? null };
  }
  if (operation === "count") {
    const found = await readCount(httpFetch(ledger, transport), scope);
    return { live: found.live, gross: found.gross, day: found.day, level: found.terms.level };
  }
  if (operation === "same") {
    const data = new Uint8Array(readFileSync(asked.text!));
    return { same: hex(encodePledgeFile(parsePledgeFile(data))) === hex(data) };
  }
  if (!file) throw new ConfigurationError("no file");
  const next = nextIssuer(file) ?? 0;
  const proof = new Proof(store, file, next, transport);
  if (operation === "open") {
    const evidence = { [proof.attester === "email" ? "address" : "code"]: asked.text! };
    return { state: (await proof.open(evidence)).state };
  }
  if (operation === "confirm") {
    await proof.confirm({ code: asked.text! });
    return {};
  }
  if (operation === "sign") return { next: nextIssuer(await proof.sign()) ?? null };
  if (operation === "send") {
    return { deadline: (await sendPledge(store, { transport })).promise!.deadline };
  }
  if (operation === "revise") return { standing: (await revise(store, choice, day, transport)).standing };
  if (operation === "receipts") {
    const found = await findReceipts(store, transport);
    return {
      receipts: found.map(({ serial, state, index, proof: shown }) => ({
        serial,
        state,
        index: index ?? null,
        proof: shown ? encodeBase64(encodeProof(shown)) : null,
      })),
    };
  }
  throw new RangeError(operation);
}

for await (const line of createInterface({ input: process.stdin })) {
  events = [];
  let found: object;
  try {
    found = { answer: await answer(JSON.parse(line) as Asked) };
  } catch (error) {
    const code = error instanceof ProtocolError ? error.code : "crash";
    found = { error: code, message: String((error as Error).message) };
  }
  process.stdout.write(`${JSON.stringify({ ...found, events })}\n`);
}
