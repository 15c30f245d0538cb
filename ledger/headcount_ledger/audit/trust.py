"""Whom a number still trusts after an audit found nothing wrong: said in sentences, never hidden."""

from __future__ import annotations

from collections.abc import Iterable

from headcount_ledger.audit.scopes import ScopeRecount
from headcount_spec.policy import NO_QUORUM, Policy

# Of the auditor, not of the ledger.
NOTHING_REMEMBERED = (
    "Nothing was remembered from an earlier audit: a history rewritten before today would not show."
)
RECOUNTED_BEFORE = "entries were recounted by an earlier audit, whose state is believed."


def sentences(
    scopes: Iterable[ScopeRecount],
    policy: Policy,
    cosigners: Iterable[str],
    *,
    remembered: bool,
    resumed_at: int = 0,
) -> tuple[str, ...]:
    """What must be believed, the gravest first."""
    said: list[str] = []
    known = {scope.manifest.scope_id.hex(): scope for scope in scopes}
    for scope in known.values():
        said += _about(scope, known)
    witnesses = sorted(set(cosigners))
    if policy.quorum == NO_QUORUM:
        said.append(
            "No witness is asked for: the operator of the ledger could show others another history, which "
            "only a remembered checkpoint or a receipt would reveal."
        )
    else:
        said.append(f"The witnesses {', '.join(witnesses)} saw no other history, if they are honest.")
    if not remembered:
        said.append(NOTHING_REMEMBERED)
    if resumed_at:
        said.append(f"The first {resumed_at} {RECOUNTED_BEFORE}")
    return tuple(dict.fromkeys(said))


def _about(scope: ScopeRecount, known: dict[str, ScopeRecount]) -> list[str]:
    manifest = scope.manifest
    title = manifest.title_text
    names = scope.issuer_names()
    said = []
    if len(names) == 1:
        said.append(
            f"{title}: {names[0]} is the sole issuer and is trusted for the count: "
            "it could sign pledges of nobody."
        )
    else:
        said.append(
            f"{title}: the issuers {', '.join(names)} would all have to collude to sign pledges of nobody."
        )
    gone = sorted(name for name, keys in scope.destroyed.items() if "tag" in keys)
    if gone:
        said.append(
            f"{title}: that the key which tells who took part is destroyed is only the word of "
            f"{', '.join(gone)}."
        )
    if set(manifest.organisers.keys) & {issuer.notice_key for issuer in manifest.issuers}:
        said.append(f"{title}: the organiser is an issuer too.")
    absent = sorted(set(manifest.texts) - scope.texts)
    if absent and scope.gross:
        said.append(f"{title}: of the text in {', '.join(absent)} the ledger holds only the hash.")
    if manifest.quotas is not None:
        said.append(
            f"{title}: to which option somebody belongs is only what they say themselves; "
            "nobody has checked it."
        )
    parent = known.get(manifest.parent.hex()) if manifest.parent else None
    if parent is not None and manifest.scope_id.hex() not in parent.children:
        said.append(f"{title}: {parent.manifest.title_text} does not name it among its scopes.")
    return said
