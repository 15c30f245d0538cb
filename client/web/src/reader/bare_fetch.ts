// The Fetch of the counter, which has to be small: a status, no problem documents.
import { concat } from "../protocol/bytes.ts";
import { MalformedError, NotFoundError, UnavailableError } from "../protocol/errors.ts";
import type { Fetch } from "../protocol/tile.ts";

const MAX_BYTES = 2 ** 24; // an entry bundle
const TIMEOUT_MS = 20_000;

/** Reads below an http(s) address: no cookies, no referrer, no redirects. */
export function bareFetch(base: string): Fetch {
  const folder = new URL(base.endsWith("/") ? base : `${base}/`);
  if (!/^https?:$/.test(folder.protocol)) throw new MalformedError("not an http or https URL");
  return async (path) => {
    let response: Response;
    const chunks: Uint8Array[] = [];
    try {
      response = await fetch(new URL(path, folder), {
        credentials: "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
        cache: path.startsWith("tile/") ? "default" : "no-store",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      let size = 0;
      for (const reader = response.body!.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        size += value.length;
        if (size > MAX_BYTES) throw new RangeError();
        chunks.push(value);
      }
    } catch {
      throw new UnavailableError("the ledger cannot be reached");
    }
    if (response.ok) return concat(...chunks);
    throw response.status === 404 ? new NotFoundError(`no ${path}`) : new UnavailableError(`HTTP status ${response.status}`);
  };
}
