"""The levels of personhood: what each proves, what one more fake costs, whom it excludes.

A count says no more than its level. Prices are what is published, with source and date; where nothing is,
it says what a fake takes instead. spec/threat-model.md has the same table, and a test keeps it in step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from headcount_spec.errors import NotFoundError

BEGIN, END = "<!-- begin personhood cost -->", "<!-- end personhood cost -->"

_COTSI = "Dek et al., Science, 2025-12-11: Cambridge Online Trust and Safety Index, cotsi.org"


@dataclass(frozen=True, slots=True)
class LevelCost:
    """One level."""

    level: str
    proves: str
    fake: str  # what one more takes
    source: str  # and its date
    excludes: str


LEVELS: tuple[LevelCost, ...] = (
    LevelCost(
        "email",
        "control of a mailbox",
        "nothing at many providers; $0.08 to $0.26 where one asks for a telephone number (Russia $0.08, UK "
        "$0.10, "
        "USA $0.26), $3.24 in Australia, $4.93 in Japan; with a domain of one's own, its yearly price "
        "divided "
        "by the issuer's quota for a domain (200 unless set otherwise)",
        _COTSI,
        "people without an address of their own; those whose employer or family reads their mail",
    ),
    LevelCost(
        "oidc",
        "an account at a provider that the issuer names",
        "an account there: mostly a telephone number, $0.08 at the cheapest of 500 services to some "
        "dollars, as above; "
        "the provider itself can make any number, free of cost",
        _COTSI,
        "people without such an account, or whose account was taken away; those who must not tell the "
        "provider that they "
        "take part",
    ),
    LevelCost(
        "in-person",
        "a slip of paper that somebody handed out",
        "another place in the queue, or a helper who gives two; no more fakes than slips, whose number is "
        "in the "
        "ledger before the event",
        "this protocol, Sections 3.3 and 4.2: codes notices",
        "people who cannot come: far away, ill, at work, or in danger where they are seen",
    ),
    LevelCost(
        "device",
        "a passkey, and with attestation a model of authenticator",
        "nothing: one script makes forty a second. With attestation and a list of models, the price of "
        "such a device, "
        "which holds many passkeys: none is proof of another person",
        "measured for this project with py_webauthn, 2026",
        "people with old telephones or shared computers; with attestation, nearly everybody",
    ),
    LevelCost(
        "eid",
        "a credential of a state or bank, experimental",
        "somebody's document, lent, bought or stolen; the issuing state can make any number",
        "no price is published that we would repeat, 2026",
        "people without papers or of states without such credentials; those who must not show a state that "
        "they take part",
    ),
)


def find(level: str) -> tuple[LevelCost, ...]:
    """The parts of a level as manifests write it, such as email+device or 2-of:email,oidc,device.

    Raises:
        NotFoundError: a part is unknown.
    """
    known = {one.level: one for one in LEVELS}
    parts = re.split(r"[+,]", level.rpartition(":")[2])
    for part in parts:
        if part not in known:
            raise NotFoundError(f"there is no level {part}; known are {', '.join(known)}")
    return tuple(known[part] for part in parts)


def combined(level: str) -> str | None:
    """How the costs of a level with several parts add up; None for a single one."""
    head, colon, tail = level.rpartition(":")
    if colon:
        needed = head.removesuffix("-of")
        return f"{needed} of these are asked, so a fake takes the cheapest {needed}"
    return "all of these are asked, so a fake takes the sum" if "+" in tail else None


def lines(levels: tuple[LevelCost, ...] = LEVELS) -> Iterator[str]:
    """As text."""
    for one in levels:
        yield one.level
        yield f"  proves:        {one.proves}"
        yield f"  one more fake: {one.fake}"
        yield f"  source:        {one.source}"
        yield f"  excludes:      {one.excludes}"


def to_json(levels: tuple[LevelCost, ...] = LEVELS) -> list[dict[str, str]]:
    """As JSON."""
    return [asdict(one) for one in levels]


def table() -> str:
    """As in the threat model."""
    rows = ["| level | proves | one more fake costs | source | excludes |", "|---|---|---|---|---|"]
    rows += [
        f"| `{one.level}` | {one.proves} | {one.fake} | {one.source} | {one.excludes} |" for one in LEVELS
    ]
    return "\n".join([BEGIN, *rows, END])
