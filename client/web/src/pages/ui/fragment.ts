/** What travels between the two origins behind the `#` of an address, which no server sees. */

/** The members of this page's fragment. */
export function fragment(): Map<string, string> {
  return new Map(new URLSearchParams(location.hash.slice(1)));
}

/** An address with members behind the `#`. */
export function withFragment(address: string, members: Record<string, string>): string {
  return `${address}#${new URLSearchParams(members).toString()}`;
}

/** Leave this address in the history for one with a fragment, so that neither a bookmark nor a neighbour finds that. */
export function dropFragment(address: string): void {
  if (location.hash) history.replaceState(history.state, "", address);
}
