// Where the published files of a ledger are read from: a web address, or a folder that a person has picked.
import type { Bytes } from "../protocol/bytes.ts";
import { MalformedError, NotFoundError, UnavailableError } from "../protocol/errors.ts";
import type { Fetch } from "../protocol/tile.ts";
import { errorOf, join, type Transport } from "./transport.ts";

const CAPS: readonly (readonly [RegExp, number])[] = [
  [/^(?:checkpoint|checkpoints\/[0-9]{1,19})$/, 65_536],
  [/^tile\/entries\/[x0-9/]{3,40}(?:\.p\/[0-9]{1,3})?$/, 256 * (2 + 65_535)],
  [/^tile\/[0-9]{1,2}\/[x0-9/]{3,40}(?:\.p\/[0-9]{1,3})?$/, 256 * 32],
  [/^totals\/[0-9]{1,19}$/, 64 * 2 ** 20],
  [/^scopes\/[0-9a-f]{64}$/, 2 ** 20],
];

/** The largest size that a published file of this path can have. */
export function maxBytesOf(path: string): number {
  const found = CAPS.find(([pattern]) => pattern.test(path));
  if (!found) throw new MalformedError("not a path of a ledger");
  return found[1];
}

/** Reads below a web address: NotFoundError for 404, UnavailableError for everything else but 200. */
export function httpFetch(base: string, transport: Transport): Fetch {
  return async (path) => {
    const answer = await transport("GET", join(base, path), { maxBytes: maxBytesOf(path) });
    if (answer.status === 200) return answer.body;
    if (answer.status === 404 || answer.status === 410) throw new NotFoundError(`the ledger has no ${path}`);
    const error = errorOf(answer, "the ledger");
    throw error instanceof UnavailableError ? error : new UnavailableError(error.message);
  };
}

/** Reads a folder of the File System Access API (showDirectoryPicker). */
export function directoryFetch(root: FileSystemDirectoryHandle): Fetch {
  return async (path) => {
    const cap = maxBytesOf(path);
    const parts = path.split("/");
    const name = parts.pop()!;
    try {
      let folder = root;
      for (const part of parts) folder = await folder.getDirectoryHandle(part);
      return await bytesOf(await (await folder.getFileHandle(name)).getFile(), path, cap);
    } catch (error) {
      throw fileError(error, path);
    }
  };
}

/** Reads the files of an <input type="file" webkitdirectory>: names begin with the picked folder's. */
export function filesFetch(files: Iterable<File>): Fetch {
  const byPath = new Map(Array.from(files, (file) => [file.webkitRelativePath.split("/").slice(1).join("/"), file]));
  return async (path) => {
    const cap = maxBytesOf(path);
    const file = byPath.get(path);
    if (!file) throw new NotFoundError(`the ledger has no ${path}`);
    try {
      return await bytesOf(file, path, cap);
    } catch (error) {
      throw fileError(error, path);
    }
  };
}

async function bytesOf(file: File, path: string, cap: number): Promise<Bytes> {
  if (file.size > cap) throw new UnavailableError(`${path} is longer than ${cap} bytes`);
  return new Uint8Array(await file.arrayBuffer());
}

function fileError(error: unknown, path: string): Error {
  if (error instanceof UnavailableError) return error;
  const name = error instanceof DOMException ? error.name : "";
  const isMissing = name === "NotFoundError" || name === "TypeMismatchError";
  return isMissing ? new NotFoundError(`the ledger has no ${path}`) : new UnavailableError(`cannot read ${path}`);
}

/** Keeps the tiles and bundles that were read last; they never change. */
export function cached(fetch: Fetch, maxItems = 64): Fetch {
  const kept = new Map<string, Bytes>();
  return async (path) => {
    if (!path.startsWith("tile/")) return fetch(path);
    const data = kept.get(path) ?? (await fetch(path));
    kept.delete(path);
    kept.set(path, data);
    if (kept.size > maxItems) kept.delete(kept.keys().next().value!);
    return data;
  };
}
