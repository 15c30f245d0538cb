// Keys that have passed their arithmetic, which takes a slow telephone a tenth of a second: found out once a device.
//
// What is remembered are the key's exact bytes and the version of the check, so that no other key passes by it.
import { hex } from "./bytes.ts";

const VERSION = 1; // to be raised with every check that becomes stricter: what passed the old one is looked at again
const MOST = 1024; // keys; a scope has some ten
const passed = new Set<string>();

/** Run a check, which throws, unless exactly these bytes have passed the same. */
export function checkOnce(kind: string, data: Uint8Array, check: () => void): void {
  const name = `${VERSION} ${kind} ${hex(data)}`;
  if (passed.has(name)) return;
  check();
  if (passed.size < MOST) passed.add(name);
}

/** What has passed since this program was started, to be kept where only this program writes. */
export function whatPassed(): string[] {
  return [...passed];
}

/** Takes what whatPassed has said on this device; never what somebody else says, such as a pledge file. */
export function passedBefore(names: unknown): void {
  if (!Array.isArray(names)) return;
  for (const name of names.slice(0, MOST)) if (typeof name === "string") passed.add(name);
}
