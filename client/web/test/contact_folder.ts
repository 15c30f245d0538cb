// Asks of ledgers in folders whether a contact may be sealed: JSON jobs on stdin, for each the code of what forbids it, or "ok".
import { createInterface } from "node:readline";
import type { Channel } from "../src/protocol/contact.ts";
import { ProtocolError } from "../src/protocol/errors.ts";
import { fromHex } from "../src/protocol/bytes.ts";
import "../src/protocol/fallbacks.ts";
import { Policy } from "../src/protocol/policy.ts";
import { openLedger } from "../src/reader/view.ts";
import { checkSealable, findContacts } from "../src/signing/contact_scope.ts";
import { folderFetch } from "./audit_folder.ts";

interface Job {
  readonly folder: string;
  readonly policy: string; // hex
  readonly scope: string;
  readonly channel: Channel;
}

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line) as Job;
  let code = "ok";
  try {
    const view = await openLedger(folderFetch(job.folder), Policy.fromBytes(fromHex(job.policy)));
    checkSealable(await findContacts(view, job.scope), job.channel);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    code = error.code;
  }
  process.stdout.write(`${JSON.stringify(code)}\n`);
}
