"""What organisers say in the ledger after the terms: updates, mailings, child scopes."""

from __future__ import annotations

from collections.abc import Sequence

from headcount.scope_view import ScopeView
from headcount_ledger.reader.transport import Transport, check, join, origin_of
from headcount_spec.entry import MEDIA_TYPE
from headcount_spec.errors import MalformedError, MisbehaviourError
from headcount_spec.jcs import JSON, canonicalise, parse_json
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.notice import Notice, sign_statement, verify_notice
from headcount_spec.statement import Statement


def next_notice(scope: ScopeView, type: str, body: dict[str, JSON], seeds: Sequence[bytes]) -> Notice:
    """The organisers' next notice about a scope, signed by each of these seeds and verified.

    Raises:
        MalformedError: the body is not one of this type, or contradicts the manifest.
        UnknownKeyError: a key is not an organiser's of this scope, or they are too few.
    """
    last = scope.last("organiser")
    if last is None:
        raise MalformedError("the scope has no organisers' notices")
    previous = (last.statement.seq, last.leaf_hash)
    statement = Statement(
        "organiser", scope.manifest.scope_id, previous[0] + 1, previous[1], type, dict(body)
    )
    notice = sign_statement(statement, seeds)
    verify_notice(notice, scope.manifest, previous)
    return notice


def post(notice: Notice, ledger: str, transport: Transport) -> LeafHash:
    """Hand a notice to the ledger at this address; its leaf hash.

    The same notice again is harmless.

    Raises:
        NoticeConflictError: another notice stands at its place of the sequence.
        MisbehaviourError: the ledger confirms another entry than the one that was sent.
        RefusedError, UnavailableError: what the ledger answers, or nothing.
    """
    data = notice.to_bytes()
    answer = transport("POST", join(ledger, "entries"), body=data, headers={"Content-Type": MEDIA_TYPE})
    found = parse_json(check(answer, origin_of(ledger), media_type="application/json"))
    expected = leaf_hash(data)
    if not isinstance(found, dict) or found.get("leaf_hash") != expected.hex():
        raise MisbehaviourError("the ledger confirms another entry", (data, canonicalise(found)))
    return expected
