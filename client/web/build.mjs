// Builds the pages and the counter, and lists every file with its hash in bundle.json.
import { createHash } from "node:crypto";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.env.HEADCOUNT_WEB_OUT ?? resolve(here, "../headcount/web");
const configFile = join(here, "vite.config.ts");
for (const mode of ["sign", "check", "audit", "counter"]) {
  await build({ root: here, configFile, mode, logLevel: "warn" });
}

const names = (await readdir(out, { recursive: true, withFileTypes: true }))
  .filter((entry) => entry.isFile())
  .map((entry) => relative(out, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
  .filter((name) => name !== "bundle.json")
  .sort();
const files = {};
for (const name of names) {
  const data = await readFile(join(out, name));
  files[name] = {
    bytes: data.length,
    integrity: `sha384-${createHash("sha384").update(data).digest("base64")}`,
    sha256: createHash("sha256").update(data).digest("hex"),
  };
}
// One hash for all: over the lines "<sha256>  <name>", as sha256sum prints them.
const lines = names.map((name) => `${files[name].sha256}  ${name}\n`).join("");
const bundle = createHash("sha256").update(lines).digest("hex");
await writeFile(join(out, "bundle.json"), `${JSON.stringify({ bundle, files }, null, 1)}\n`);
