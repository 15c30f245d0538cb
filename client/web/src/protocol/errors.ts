// The errors of the protocol, as headcount_spec/errors.py: one tree, each with the code that a page translates.
//
// No message holds a token, nonce, nullifier, blinded message, code or address.

export class ProtocolError extends Error {
  readonly code: string = "";
}
/** The bytes are not an encoding of a value: the only error that a parser throws. */
export class MalformedError extends ProtocolError {
  override readonly code = "malformed";
}
/** The bytes are well formed, and what they claim is not proven. */
export abstract class VerificationError extends ProtocolError {}
export class SignatureError extends VerificationError {
  override readonly code = "bad-signature";
}
export class ProofError extends VerificationError {
  override readonly code = "bad-proof";
}
export class UnknownKeyError extends VerificationError {
  override readonly code = "unknown-key";
}
export class ChallengeError extends VerificationError {
  override readonly code = "wrong-challenge";
}
/** Something sealed does not open: another key or context, too few shares, or changed bytes. */
export class OpeningError extends VerificationError {
  override readonly code = "cannot-open";
}
/** The request is understood and the rules forbid it; nothing was changed. */
export class RefusedError extends ProtocolError {
  override readonly code: string;
  readonly retryAfterS: number | undefined;
  constructor(code: string, message: string, retryAfterS?: number) {
    super(message);
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}
export class NotFoundError extends RefusedError {
  constructor(message: string) {
    super("not-found", message);
  }
}
export class NotEligibleError extends RefusedError {
  constructor(message: string) {
    super("not-eligible", message);
  }
}
export class CodeRefusedError extends RefusedError {
  constructor(message: string) {
    super("code-refused", message);
  }
}
export class ScopeClosedError extends RefusedError {
  constructor(message: string) {
    super("closed-scope", message);
  }
}
export class RevisionConflictError extends RefusedError {
  readonly serial: number; // the serial that stands
  constructor(message: string, serial: number) {
    super("revision-conflict", message);
    this.serial = serial;
  }
}
export class NoticeConflictError extends RefusedError {
  readonly seq: number; // the seq that the next notice must have
  constructor(message: string, seq: number) {
    super("notice-conflict", message);
    this.seq = seq;
  }
}
/** It cannot be done now, nothing was lost, try again. */
export class UnavailableError extends ProtocolError {
  override readonly code = "unavailable";
  readonly retryAfterS: number;
  constructor(message: string, retryAfterS = 5) {
    super(message);
    this.retryAfterS = retryAfterS;
  }
}
/** A file of this person's is missing, unreadable or contradicts another. */
export class ConfigurationError extends ProtocolError {
  override readonly code = "configuration";
}
/** Another party signed what it must not have signed. */
export class MisbehaviourError extends ProtocolError {
  override readonly code = "misbehaviour";
  readonly evidence: readonly Uint8Array[]; // the signed bytes that contradict each other
  constructor(message: string, evidence: readonly Uint8Array[] = []) {
    super(message);
    this.evidence = evidence;
  }
}
