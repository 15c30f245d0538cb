// Contacts: one way to reach a person, padded so that its length and its kind do not show. Protocol, Section 9.1.
import { concat, fromUtf8, utf8, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { isPlain } from "./text.ts";

export const CONTACT_BYTES = 256;
const MAX_VALUE_BYTES = CONTACT_BYTES - 2;

/** Names in manifests, at the place of their number. */
export const CHANNELS = ["none", "email", "matrix", "phone"] as const;
export type Channel = (typeof CHANNELS)[number];

const ALNUM = "[\\p{L}\\p{N}]";
const LABEL = `${ALNUM}(?:[\\p{L}\\p{N}_-]{0,61}${ALNUM})?`;
const FORMS: Readonly<Record<Channel, RegExp>> = {
  none: /^$/,
  // RFC 5321 and 6531, without quoted local parts, comments and address literals: what stands here goes into
  // the header of a mail, where =? begins what is decoded into another text (RFC 2047).
  email: new RegExp(`^(?![^@]*=\\?)[^\\p{Z}\\p{Cc}"(),:;<>@\\[\\\\\\]]{1,64}@(?:${LABEL}\\.)+${LABEL}$`, "u"),
  // Matrix, Appendices, User Identifiers.
  matrix: /^@[a-z0-9._=/+-]+:[A-Za-z0-9.-]+(?::[0-9]{1,5})?$/,
  phone: /^\+[1-9][0-9]{6,14}$/, // E.164; Signal, or a call
};

/** How to reach one person. */
export interface Contact {
  readonly channel: Channel;
  readonly value: string;
}

/** A contact by the name of its channel; throws MalformedError, which does not name the value. */
export function makeContact(channel: string, value: string): Contact {
  const known = CHANNELS.find((name) => name === channel);
  if (known === undefined) throw new MalformedError("a contact of an unknown channel");
  if (utf8(value).length > MAX_VALUE_BYTES) throw new MalformedError(`a contact is longer than ${MAX_VALUE_BYTES} bytes`);
  if (!isPlain(value) || !FORMS[known].test(value)) throw new MalformedError("a contact is not of the form of its type");
  return { channel: known, value };
}

/** The padded form, 256 bytes. */
export function encodeContact(contact: Contact): Bytes {
  const value = utf8(contact.value);
  const padding = new Uint8Array(MAX_VALUE_BYTES - value.length);
  return concat(Uint8Array.of(CHANNELS.indexOf(contact.channel), value.length), value, padding);
}

/** Reads the padded form; throws MalformedError. */
export function parseContact(data: Bytes): Contact {
  if (data.length !== CONTACT_BYTES) throw new MalformedError(`${data.length} bytes where a contact has ${CONTACT_BYTES}`);
  const [type, length] = [data[0]!, data[1]!];
  if (length > MAX_VALUE_BYTES || data.subarray(2 + length).some((byte) => byte !== 0)) {
    throw new MalformedError("the padding of a contact is not zeros");
  }
  const channel = CHANNELS[type];
  if (channel === undefined) throw new MalformedError("a contact of an unknown type");
  return makeContact(channel, fromUtf8(data.subarray(2, 2 + length)));
}
