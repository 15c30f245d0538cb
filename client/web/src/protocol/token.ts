// Privacy Pass tokens of type 0x0002: the four messages of RFC 9577 and RFC 9578, Section 6.
import { concat, utf8, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { sha256 } from "./sha256.ts";
import { MODULUS_BYTES } from "./spki.ts";
import { Reader, opaque16, opaque8, u16, u8 } from "./wire.ts";

export const TOKEN_TYPE = 0x0002;
const MAX_CHALLENGE_BYTES = 4096;

/** What a token answers. RFC 9577, Section 2.1. */
export interface TokenChallenge {
  readonly tokenType: number; // any; whoever uses the challenge decides which types it knows
  readonly issuerName: string;
  readonly redemptionContext: Bytes; // empty or 32 bytes
  readonly originInfo: string;
}

function checkChallenge(challenge: TokenChallenge): TokenChallenge {
  if (!challenge.issuerName) throw new MalformedError("the token challenge names no issuer");
  if (/[^\x20-\x7e]/.test(challenge.issuerName + challenge.originInfo)) {
    throw new MalformedError("a name in the token challenge is not printable ASCII");
  }
  if (![0, 32].includes(challenge.redemptionContext.length)) {
    throw new MalformedError("the redemption context is neither empty nor 32 bytes");
  }
  return challenge;
}

export function encodeChallenge(challenge: TokenChallenge): Bytes {
  checkChallenge(challenge);
  return concat(
    u16(challenge.tokenType),
    opaque16(utf8(challenge.issuerName)),
    opaque8(challenge.redemptionContext),
    opaque16(utf8(challenge.originInfo)),
  );
}

export function parseChallenge(data: Uint8Array): TokenChallenge {
  if (data.length > MAX_CHALLENGE_BYTES) throw new MalformedError("the token challenge is too long");
  const reader = new Reader(data);
  const latin = (name: Bytes): string => String.fromCharCode(...name);
  const challenge = {
    tokenType: reader.u16(),
    issuerName: latin(reader.opaque16()),
    redemptionContext: reader.opaque8(),
    originInfo: latin(reader.opaque16()),
  };
  reader.finish();
  return checkChallenge(challenge);
}

export function challengeDigest(challenge: TokenChallenge): Bytes {
  return sha256(encodeChallenge(challenge));
}

/** RFC 9578, Section 6.1: type, last byte of the token key id, blinded message. */
export interface TokenRequest {
  readonly truncatedTokenKeyId: number;
  readonly blindedMsg: Bytes; // 256 bytes
}

export function encodeRequest(request: TokenRequest): Bytes {
  return concat(u16(TOKEN_TYPE), u8(request.truncatedTokenKeyId), request.blindedMsg);
}

export function parseRequest(data: Uint8Array): TokenRequest {
  const reader = new Reader(data);
  reader.expect(u16(TOKEN_TYPE), "token type");
  const request = { truncatedTokenKeyId: reader.u8(), blindedMsg: reader.take(MODULUS_BYTES) };
  reader.finish();
  return request;
}

/** RFC 9578, Section 6.2: the blind signature, exactly 256 bytes. */
export function parseResponse(data: Uint8Array): Bytes {
  const reader = new Reader(data);
  const blindSig = reader.take(MODULUS_BYTES);
  reader.finish();
  return blindSig;
}

/** A token as it is redeemed. RFC 9577, Section 2.2. */
export interface Token {
  readonly nonce: Bytes;
  readonly challengeDigest: Bytes;
  readonly tokenKeyId: Bytes;
  readonly authenticator: Bytes; // 256 bytes
}

export function encodeToken(token: Token): Bytes {
  return concat(tokenInput(token.nonce, token.challengeDigest, token.tokenKeyId), token.authenticator);
}

export function parseToken(data: Uint8Array): Token {
  const reader = new Reader(data);
  reader.expect(u16(TOKEN_TYPE), "token type");
  const token = {
    nonce: reader.take(32),
    challengeDigest: reader.take(32),
    tokenKeyId: reader.take(32),
    authenticator: reader.take(MODULUS_BYTES),
  };
  reader.finish();
  return token;
}

/** The message that is blind-signed, 98 bytes. RFC 9578, Section 6.1. */
export function tokenInput(nonce: Uint8Array, digest: Uint8Array, tokenKeyId: Uint8Array): Bytes {
  return concat(u16(TOKEN_TYPE), nonce, digest, tokenKeyId);
}
