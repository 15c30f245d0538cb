// Assurance levels: "email" is one evidence, "email+device" all of these, "2-of:email,oidc,device" two, whichever.
import { MalformedError } from "./errors.ts";

const MAX_CHARS = 100;
export const MAX_PARTS = 8; // attesters of an issuer
const NAME = "[a-z0-9]+(?:-[a-z0-9]+)*";
export const NAME_FORM = new RegExp(`^${NAME}$`);
const LEVEL = new RegExp(`^(?:${NAME}(?:\\+${NAME})*|[2-7]-of:${NAME}(?:,${NAME})+)$`);

/** Which evidence a person gives, and how many of them are enough. */
export interface Level {
  readonly parts: readonly string[]; // names of attesters, distinct
  readonly needed: number; // of the parts; below their number it is the person's choice
}

/** Reads a level as manifests have it; throws MalformedError. */
export function parseLevel(text: string): Level {
  if (text.length > MAX_CHARS || !LEVEL.test(text)) throw new MalformedError("not of the form that is demanded");
  const cut = text.lastIndexOf(":");
  const isChoice = cut >= 0;
  const parts = isChoice ? text.slice(cut + 1).split(",") : text.split("+");
  const needed = isChoice ? Number(text[0]) : parts.length;
  if (parts.length > MAX_PARTS) throw new MalformedError(`${parts.length} parts where 1 to ${MAX_PARTS} may be`);
  if (new Set(parts).size !== parts.length) throw new MalformedError("the same part twice");
  if (isChoice && !(needed < parts.length && parts.length < 2 * needed)) {
    throw new MalformedError("k of n demands more than half of n, and fewer than all");
  }
  return { parts, needed };
}

/** Whether a person chooses among the parts. */
export function isChoice(level: Level): boolean {
  return level.needed < level.parts.length;
}

/** Whether the issuers, asking these each, prove exactly this level. Protocol, Section 2.5. */
export function namesAll(level: Level, asked: readonly (readonly string[])[]): boolean {
  const wanted = level.parts.join();
  if (isChoice(level)) return asked.every((names) => names.join() === wanted);
  return [...new Set(asked.flat())].join() === wanted;
}

/** How many proofs an issuer that lists so many attesters asks of a person. */
export function neededOf(level: Level, attesters: number): number {
  return isChoice(level) ? level.needed : attesters;
}
