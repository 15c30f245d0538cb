// Proof of work in ALTCHA's format, version 1: what it costs to have a mail sent to anybody. headcount_spec/altcha.py.
import { hex, utf8 } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { canonicalise, type Json } from "./jcs.ts";
import { Members } from "./members.ts";
import { sha256 } from "./sha256.ts";
import { encodeBase64 } from "./text.ts";

const MAX_NUMBER = 10 ** 8; // a minute or two of a telephone
const HASH = /^[0-9a-f]{64}$/;
const SALT = /^[0-9a-f]{32}\?expires=[1-9][0-9]{0,11}&$/;
const SLICE = 5000; // hashes between two pauses

/** Tries all numbers: the solution as evidence carries it. pause lets the rest of a page go on. */
export async function solveWork(asked: Json, pause: () => Promise<void>): Promise<string> {
  const members = new Members(asked, "work");
  const algorithm = members.text("algorithm", 16, /^SHA-256$/);
  const challenge = members.text("challenge", 64, HASH);
  const salt = members.text("salt", 100, SALT);
  const most = members.integer("maxnumber", 1, MAX_NUMBER);
  const signature = members.text("signature", 64, HASH);
  members.finish();
  for (let number = 0; number <= most; number++) {
    if (hex(sha256(utf8(`${salt}${number}`))) === challenge) {
      return encodeBase64(canonicalise({ algorithm, challenge, number, salt, signature }));
    }
    if (number % SLICE === 0) await pause();
  }
  throw new MalformedError("the proof of work has no solution");
}
