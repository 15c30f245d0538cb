/** What travels between the two origins behind the `#` of an address, which no server sees. */

/** The members of this page's fragment. */
export function fragment(): Map<string, string> {
  return new Map(new URLSearchParams(location.hash.slice(1)));
}

/** An address with members behind the `#`. */
export function withFragment(address: string, members: Record<string, string>): string {
  return `${address}#${new URLSearchParams(members).toString()}`;
}

/** Take the fragment out of the address and the history, so that neither a bookmark nor a neighbour finds it. */
export function dropFragment(): void {
  if (location.hash) history.replaceState(history.state, "", location.pathname);
}
