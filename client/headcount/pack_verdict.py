"""The page that ``headcount pack verify`` prints: what a pack shows, under whose keys, and what not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from headcount.audit_verdict import count_words
from headcount.quota_words import standing
from headcount_spec.archived import Witnessed
from headcount_spec.growth import CountAt
from headcount_spec.pack import VerifiedPack
from headcount_spec.text import day_of, format_day

MAX_ROWS = 12  # of the growth; the file has all of it
NOT_SHOWN = (
    "that each pledge is valid, signed by the issuers, and stands there once: headcount audit recounts them",
    "that the totals under the seals are true: they are the operator's signed claim, which each audit checks",
    "that the issuers signed tokens for people only: nobody but them can know",
    "that there is no later checkpoint, and no notice later than those in the file",
)


class Keys(StrEnum):
    """Where the keys came from under which a pack was verified."""

    POLICY = "those of your policy"
    SCOPE = "those that the terms name; the terms are those of the scope id that you gave"
    FILE = "ONLY THOSE IN THE FILE: compare the scope with the id that the campaign has published"


def lines(found: VerifiedPack, keys: Keys) -> Iterator[str]:
    """The lines of the page."""
    manifest, count = found.manifest, found.count
    yield manifest.title_text
    yield f"  scope      {manifest.scope_id.hex()}"
    yield f"  count      {count_words(count.live, manifest.level)}"
    if count.gross != count.live:
        yield f"             {count.gross} pledged, {count.gross - count.live} withdrawn"
    yield f"  sealed     at batch {count.batch}, {format_day(count.day)}"
    yield f"  threshold  {manifest.threshold}: {_reached(found.reached)}"
    if manifest.quotas is not None:
        yield f"  quotas     {standing(manifest.quotas, count.options)}"
    yield f"  open       {_open(found)}"
    yield f"  ledger     {found.checkpoint.origin}, {found.checkpoint.size} entries"
    yield f"  root       {found.checkpoint.root.hex()}"
    yield f"  witnesses  {_witnesses(found.cosigners)}"
    for issuer in manifest.issuers:
        yield f"  issuer     {issuer.name}, {_issuer(found, issuer.name)}"
    texts = sorted(manifest.texts)
    held = ", ".join(tag if tag in found.texts else f"{tag} (only its hash)" for tag in texts)
    yield f"  terms      the manifest, and the full text in {held}"
    yield "growth:"
    yield from _growth(found.growth)
    yield "shown, without the ledger:"
    yield "  these terms, notices and seals stand under the checkpoint; no seal since the terms is left out;"
    yield "  each seal carries the count that is listed"
    yield f"keys: {keys}"
    yield "not shown:"
    for sentence in NOT_SHOWN:
        yield f"  - {sentence}"
    proven = "proven, if these are the right terms" if keys is Keys.FILE else "proven"
    yield f"{proven}: at batch {count.batch} the ledger had sealed {count.live} for this scope"


def _reached(reached: Witnessed | None) -> str:
    if reached is None:
        return "not reached"
    count = reached.count
    text = f"reached at batch {count.batch}, {format_day(count.day)}, with {count.live}"
    return f"{text}, seen then by {_witnesses(reached.cosignatures)}" if reached.cosignatures else text


def _open(found: VerifiedPack) -> str:
    manifest = found.manifest
    text = f"{format_day(manifest.opens)} to {format_day(manifest.closes)}"
    if found.closed is None:
        return f"{text}, no closing in the file"
    return f"{text}, closed by batch {found.closed.count.batch}: this count is final"


def _witnesses(cosigners: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} on {format_day(day_of(time))}" for name, time in cosigners) or "none"


def _issuer(found: VerifiedPack, name: str) -> str:
    if name not in found.opened:
        return "has not opened the scope"
    said = found.issued.get(name)
    if said is None:
        return f"opened it in batch {found.opened[name]} and has published no number of tokens"
    judged = next((c for c in reversed(found.growth) if c.batch < said.batch), None)
    after = found.count.gross - (judged.gross if judged is not None else 0)
    text = f"says {said.body['issued']} tokens on {format_day(said.body['day'])}"
    return f"{text}; pledged since then: {after}" if after else text


def _growth(growth: Sequence[CountAt]) -> Iterator[str]:
    days = {count.day: count for count in growth}  # the last of each day
    rows = list(days.values())
    if len(rows) > MAX_ROWS:
        # Evenly spread, the first and the last among them.
        picked = sorted({i * (len(rows) - 1) // (MAX_ROWS - 1) for i in range(MAX_ROWS)})
        rows = [rows[i] for i in picked]
    width = len(str(max(count.live for count in rows)))
    top = max(1, *(count.live for count in rows), 1)
    for count in rows:
        bar = "█" * round(30 * count.live / top)
        yield f"  {format_day(count.day)}  {count.live:>{width}}  {bar}".rstrip()
