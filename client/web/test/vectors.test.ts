import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { ProtocolError } from "../src/protocol/errors.ts";
import { CHECKS, NotHere, type Case } from "./vectors.ts";

const folder = process.env.HEADCOUNT_VECTORS ?? join(import.meta.dirname, "../../../../spec/vectors");

const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".json"))
  .map((name) => name.replaceAll("\\", "/"));

test("every file of vectors has a check, and every check a file", () => {
  assert.deepEqual([...files].sort(), Object.keys(CHECKS).sort());
});

for (const file of files) {
  const { cases } = JSON.parse(readFileSync(join(folder, file), "utf8")) as { cases: Case[] };
  test(file, async (t) => {
    for (const item of cases) {
      await t.test(item.name, async () => {
        if (item.expect === "ok") {
          await CHECKS[file]!(item);
          return;
        }
        await assert.rejects(
          async () => CHECKS[file]!(item),
          (error: unknown) => {
            if (!(error instanceof ProtocolError) && !(error instanceof NotHere)) throw error;
            assert.equal(error.code, item.expect, error.message);
            return true;
          },
        );
      });
    }
  });
}
