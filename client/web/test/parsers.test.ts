// Parsers take one spelling of one value and throw MalformedError alone, whatever they are given.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { parseAccusation } from "../src/protocol/accusation.ts";
import { fromHex, hex, utf8, type Bytes } from "../src/protocol/bytes.ts";
import { parseCertificate } from "../src/protocol/certificate.ts";
import { parseCheckpoint } from "../src/protocol/checkpoint.ts";
import { parseContact } from "../src/protocol/contact.ts";
import { parseDeposit, parseErasure } from "../src/protocol/deposit.ts";
import { parseEntry } from "../src/protocol/entry.ts";
import { MalformedError } from "../src/protocol/errors.ts";
import { canonicalise, parseCanonical, parseJson } from "../src/protocol/jcs.ts";
import { parseLevel } from "../src/protocol/level.ts";
import { parsePack } from "../src/protocol/pack.ts";
import { Policy } from "../src/protocol/policy.ts";
import { parsePromise } from "../src/protocol/promise.ts";
import { parseManifest } from "../src/protocol/scope.ts";
import { parseBlob } from "../src/protocol/sealed.ts";
import { decodeBase64, decodeBase64url, parseDay, parseDecimal } from "../src/protocol/text.ts";
import { parseProof } from "../src/protocol/tlog_proof.ts";
import { parseChallenge, parseToken } from "../src/protocol/token.ts";
import { decodeTotals } from "../src/protocol/totals.ts";
import { parsePledgeFile } from "../src/signing/pledge_file.ts";

const folder = process.env.HEADCOUNT_VECTORS ?? join(import.meta.dirname, "../../../../spec/vectors");

const PARSERS: Record<string, (data: Bytes) => unknown> = {
  parseAccusation, parseCheckpoint, parseEntry, parsePromise, parseManifest, parseProof, parseChallenge, parseToken,
  decodeTotals, parsePledgeFile, parseJson, parseCanonical, parseCertificate, parseContact, parseDeposit, parseErasure,
  parsePack,
  blob: (data) => parseBlob(data, 3, 5),
  level: (data) => parseLevel(new TextDecoder().decode(data)),
  policy: (data) => Policy.fromBytes(data),
};

/** A generator with a seed: a failure is found again. */
function* numbers(seed: number): Generator<number> {
  let state = seed;
  for (;;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state;
  }
}

test("what is bent is refused by MalformedError, or read", () => {
  const draw = numbers(20261121);
  const next = (below: number): number => draw.next().value! % below;
  const seeds: Bytes[] = [];
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
    const { cases } = JSON.parse(readFileSync(join(folder, file), "utf8")) as { cases: Record<string, unknown>[] };
    for (const item of cases.filter((one) => one.expect === "ok").slice(0, 6)) {
      for (const value of Object.values(item)) {
        if (typeof value !== "string" || value.length < 8) continue;
        seeds.push(/^(?:[0-9a-f]{2})+$/.test(value) ? fromHex(value) : utf8(value));
      }
    }
  }
  let [read, refused] = [0, 0];
  for (const seed of seeds) {
    for (let i = 0; i < 4; i++) {
      const bent = i === 0 ? seed : Uint8Array.from(seed);
      if (i === 1) bent[next(bent.length)]! ^= 1 << next(8);
      const data = i === 2 ? bent.slice(0, next(bent.length)) : i === 3 ? Uint8Array.from([...bent, next(256)]) : bent;
      for (const [name, parse] of Object.entries(PARSERS)) {
        try {
          parse(data);
          read++;
        } catch (error) {
          if (!(error instanceof MalformedError)) throw new Error(`${name} of ${hex(data).slice(0, 200)}`, { cause: error });
          refused++;
        }
      }
    }
  }
  assert.ok(read > 100 && refused > 1000, `${read} ${refused}`);
});

test("JSON has one spelling", () => {
  const is = (text: string): unknown => parseCanonical(utf8(text));
  assert.deepEqual(is('{"a":[1,true,null,"\u00e9"]}'), Object.assign(Object.create(null), { a: [1, true, null, "\u00e9"] }));
  assert.equal(Object.keys(is('{"__proto__":1}') as object).join(), "__proto__");
  for (const text of [
    '{"a":1,"a":1}', '{"a":1.0}', '{"a":1e2}', "-0", "9007199254740992", '"\\u0041"', '{"b":1,"a":1}', "[1, 2]", "[1,]",
    '"\\ud800"', "NaN", "", "nul", "[".repeat(40) + "]".repeat(40), "\ufeff1", '{"a" :1}', "01", '"\u0001"',
  ]) {
    assert.throws(() => is(text), MalformedError, text);
  }
  assert.deepEqual(parseJson(utf8(' {"b" : 1 ,\n"a": [ ] } ')), Object.assign(Object.create(null), { b: 1, a: [] }));
  assert.equal(new TextDecoder().decode(canonicalise({ b: 1, "\u00e9": "\u2028", a: [-1] })), '{"a":[-1],"b":1,"\u00e9":"\u2028"}');
  assert.throws(() => canonicalise({ a: 0.5 }), MalformedError);
});

test("values in text have one spelling", () => {
  for (const text of ["QQ=", "QQ", "QR==", "Q Q==", "QQ==\n", "QQ-=", "QQ==="]) {
    assert.throws(() => decodeBase64(text), MalformedError, text);
  }
  assert.deepEqual(decodeBase64url("-_8="), Uint8Array.of(0xfb, 0xff));
  assert.throws(() => decodeBase64url("+/8="), MalformedError);
  for (const text of ["01", "+1", "-1", " 1", "1.0", "1e3", "", "9007199254740992", "\u0661"]) {
    assert.throws(() => parseDecimal(text), MalformedError, text);
  }
  assert.equal(parseDay("2026-01-10"), 20463);
  for (const text of ["2026-02-30", "1969-12-31", "0000-01-01", "2026-1-10", "2026-01-10T00:00", "2026-13-01"]) {
    assert.throws(() => parseDay(text), MalformedError, text);
  }
});
