"""Sending a finished pledge: what the verifier relays, and what the ledger promises for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from headcount.pledge_file import PledgeFile, PledgeStore
from headcount_ledger.reader.fetch import open_fetch
from headcount_ledger.reader.transport import Transport, check, join, origin_of
from headcount_ledger.reader.view import open_ledger
from headcount_spec import promise as promises
from headcount_spec.checkpoint import parse_checkpoint
from headcount_spec.entry import MEDIA_TYPE
from headcount_spec.errors import NotEligibleError, SignatureError
from headcount_spec.merkle import leaf_hash
from headcount_spec.pledge import Pledge
from headcount_spec.promise import KIND_PLEDGE, KIND_REVISION, Promise, verify_promise
from headcount_spec.revision import Revision
from headcount_spec.scope import Manifest


def submit(
    place: Path | PledgeStore,
    *,
    transport: Transport,
    verifier: str | None = None,
    remembered: Iterable[bytes] = (),
    look: bool = True,
) -> PledgeFile:
    """Send the pledge of the file and keep the ledger's promise in it.

    Sending it again is harmless: the same pledge gets the same promise. verifier is an
    address on one of the manifest's origins, the first unless given. The ledger is looked at
    first (unless look is False): one that was rolled back meanwhile gets no pledge, and the
    receipt is sought from here on.

    Raises:
        ConfigurationError: the pledge is not finished, or the file cannot be read or written.
        NotEligibleError: the verifier is not an origin of the manifest.
        SignatureError: the answer is not the ledger's promise for this pledge.
        MisbehaviourError: the ledger contradicts itself; carries the evidence.
        RefusedError, UnavailableError: what the verifier answers, or nothing.
    """
    store = PledgeStore.at(place)
    content = store.load()
    entry = content.pledge()
    verifier = choose_verifier(content, verifier)
    if content.promise is not None and content.verifier == verifier:
        return content
    if look:
        fetch = open_fetch(content.ledger, transport)
        view = open_ledger(fetch, content.trust(), (*remembered, content.checkpoint))
        content = replace(content, checkpoint=view.raw)
        size = view.size
    else:
        size = parse_checkpoint(content.checkpoint).checkpoint.size
    # Never moved forward: the first attempt may have arrived although no answer came.
    since = size if content.since is None else content.since
    content = store.save(replace(content, since=since, verifier=verifier))
    promise = send(entry, verifier, content.manifest, transport)
    return store.save(replace(content, promise=promise))


def choose_verifier(content: PledgeFile, verifier: str | None) -> str:
    """The address to send to: the one given, the one used before, or the manifest's first origin.

    A partner may have mounted its verifier below a path of its origin.

    Raises:
        NotEligibleError: the manifest does not list it.
    """
    if verifier is None:
        return content.verifier or content.manifest.origins[0]
    if origin_of(verifier) not in content.manifest.origins:
        raise NotEligibleError("the terms do not list this verifier")
    return verifier.rstrip("/")


def send(entry: Pledge | Revision, verifier: str, manifest: Manifest, transport: Transport) -> Promise:
    """The promise for an entry, verified to be the ledger's and to be for this entry.

    Raises:
        SignatureError: it is not.
        RefusedError, UnavailableError: what the verifier answers, or nothing.
    """
    url = join(verifier, "pledges" if isinstance(entry, Pledge) else "revisions")
    data = entry.to_bytes()
    answer = transport(
        "POST", url, body=data, headers={"Content-Type": MEDIA_TYPE, "Accept": promises.MEDIA_TYPE}
    )
    promise = Promise.from_bytes(check(answer, origin_of(verifier), media_type=promises.MEDIA_TYPE))
    verify_promise(promise, manifest.ledger.key)
    kind, serial = (KIND_PLEDGE, 0) if isinstance(entry, Pledge) else (KIND_REVISION, entry.serial)
    # A pledge stands once under its nullifier, and another valid authenticator may have come first
    # (whoever has an issuer's key can make one); it says the same, so the promise is as good.
    stands = isinstance(entry, Pledge) or promise.leaf_hash == leaf_hash(data)
    if (promise.kind, promise.nullifier, promise.serial) != (kind, entry.nullifier, serial) or not stands:
        raise SignatureError("the answer is the ledger's promise for another entry")
    if promise.deadline > manifest.deadline_day:
        raise SignatureError("the ledger promises a later day than the terms allow")
    return promise
