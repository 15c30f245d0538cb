from __future__ import annotations

import json
from pathlib import Path

import segno

import nodejs

# Bytes that fill a version exactly: what a maker puts into the room that is left is its own affair.
FULL = {1: 17, 2: 32, 5: 106, 6: 134, 7: 154, 9: 230, 10: 271, 14: 458, 21: 929, 32: 1952, 40: 2953}
SCRIPT = """
import { build } from "vite";
const [entry, out, lengths] = process.argv.slice(1);
await build({root: out, configFile: false, logLevel: "error",
  build: {outDir: out, target: ["es2022"], lib: {entry, formats: ["es"], fileName: () => "qr.mjs"}}});
const { qr } = await import(`${out}/qr.mjs`);
const data = (length) => Uint8Array.from({length}, (_, i) => 33 + ((i * 7) % 90));
const row = (modules) => modules.map(Number).join("");
console.log(JSON.stringify(JSON.parse(lengths).map(([length, mask]) => qr(data(length), mask).map(row))));
"""


def test_every_module_is_that_of_another_implementation(tmp_path: Path) -> None:
    nodejs.require()
    cases = [(length, (version + i) % 8) for version, length in FULL.items() for i in range(2)]
    entry = nodejs.WEB / "src" / "pages" / "signing" / "qr.ts"
    done = nodejs.run(["--input-type=module", "-e", SCRIPT, entry, tmp_path, json.dumps(cases)])
    assert done.returncode == 0, done.stderr
    for (length, mask), drawn in zip(cases, json.loads(done.stdout), strict=True):
        data = bytes(33 + i * 7 % 90 for i in range(length))
        code = segno.make(data, error="l", mode="byte", boost_error=False, mask=mask, micro=False)
        assert drawn == ["".join(map(str, row)) for row in code.matrix], (length, mask)
