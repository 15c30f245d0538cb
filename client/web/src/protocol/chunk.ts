// Parts of the program that are fetched when they are needed.
import { UnavailableError } from "./errors.ts";

/** What an import brings; a browser says TypeError where it cannot be fetched, as it does of a bug. */
export async function chunk<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch {
    throw new UnavailableError("a part of this program cannot be fetched");
  }
}
