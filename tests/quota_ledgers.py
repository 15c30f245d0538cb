"""Ledgers of a campaign with quotas by option, and what may be wrong with them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import ledgers
import manifests
from headcount_spec.scope import WITHDRAWN, Manifest, ScopeId
from ledgers import CLOSES, OPENS, Batch, Ledger, option_row, raw

COUNTRIES = ("Austria", "Belgium", "Croatia")
Totals = dict[ScopeId, tuple[int, int]]
EditRows = Callable[[Totals], Totals]


@functools.cache
def campaign(each: int = 2, options: int = 2, threshold: int = 4) -> Manifest:
    """Four pledges are needed, and two each of two countries."""
    return manifests.manifest(
        threshold=threshold,
        min_batch=1,
        tiers=None,
        options=manifests.options(*COUNTRIES),
        quotas={"each": each, "options": options},
    )


def terms(scope: Manifest) -> Batch:
    notices = [manifests.manifest_notice(scope), *manifests.text_notices(scope), *manifests.openings(scope)]
    return Batch(OPENS - 1, raw(*notices))


def pledges(scope: Manifest, *choices: int, first: int = 0) -> list[bytes]:
    """People from the number first on, each with a choice."""
    return raw(*(manifests.pledge(scope, first + i, choice) for i, choice in enumerate(choices)))


def change(scope: Manifest, number: int, before: int, after: int, serial: int = 1) -> bytes:
    return manifests.revision(manifests.pledge(scope, number, before), number, serial, after).to_bytes()


def closing(scope: Manifest) -> Batch:
    return Batch(CLOSES + 1, raw(manifests.closing(scope)))


def batches(scope: Manifest, *steps: Sequence[bytes]) -> list[Batch]:
    """The terms, and a batch a day."""
    return [terms(scope), *(Batch(OPENS + i, list(step)) for i, step in enumerate(steps))]


def story() -> list[Batch]:
    """Above the threshold without the quotas; the quotas without the threshold; both; and below again."""
    scope = campaign()
    return batches(
        scope,
        pledges(scope, 1, 1, 1, 2),
        [change(scope, 0, 1, 2), change(scope, 1, 1, WITHDRAWN)],  # 1, 2, 0: three in all
        pledges(scope, 1, first=4),  # 2, 2, 0: reached
        [change(scope, 4, 1, 3)],  # 1, 2, 1
    )


REACHED_IN = 3  # the batch of the story


def edited(edit: EditRows, number: int = REACHED_IN) -> Ledger:
    """The story, its operator having sealed other rows of totals in one batch."""
    return ledgers.build(story(), edit_totals=lambda at, rows: edit(dict(rows)) if at == number else rows)


def without(option: int) -> EditRows:
    row = option_row(campaign().scope_id, option)
    return lambda rows: {name: counts for name, counts in rows.items() if name != row}


def with_row(option: int, gross: int, live: int) -> EditRows:
    row = option_row(campaign().scope_id, option)
    return lambda rows: {**rows, row: (gross, live)}


# What an operator may write: the recount of the same entries says otherwise.
WRONG_ROWS: dict[str, EditRows] = {
    "missing": without(2),
    "altered": with_row(2, 3, 3),
    "altered-on-one-side": with_row(2, 3, 2),
    "surplus": with_row(3, 1, 1),
    "of-no-option": with_row(4, 1, 1),
    "moved": lambda rows: with_row(1, 1, 1)(with_row(3, 1, 1)(rows)),
}


def judged() -> Iterator[tuple[str, Ledger]]:
    """Ledgers for two audits to judge."""
    scope = campaign()
    yield "quotas", ledgers.build(story())
    for name, edit in WRONG_ROWS.items():
        yield f"quotas-row-{name}", edited(edit)
    forged = [*story()]
    forged[2] = Batch(OPENS + 1, [*forged[2].entries, ledgers.forged_pledge(scope, 9, choice=1).to_bytes()])
    yield "quotas-with-an-invalid-pledge", ledgers.build(forged)
    strange = [*story()]
    strange[2] = Batch(OPENS + 1, [*strange[2].entries, change(scope, 7, 1, 2)])
    yield "quotas-with-a-strange-revision", ledgers.build(strange)
    yield "quotas-without-terms", ledgers.build(story()[1:])
    plain = ledgers.campaign()
    row = {option_row(plain.scope_id, 1): (1, 1)}
    yield (
        "row-of-a-scope-without-quotas",
        ledgers.build(ledgers.sample_batches(), edit_totals=lambda _, rows: rows | row),
    )
    yield "quotas-never-met", ledgers.build([*batches(scope, pledges(scope, 1, 1, 1, 1, 2)), closing(scope)])
    yield "successor-of-quotas", successor()


def successor() -> Ledger:
    """Terms that continue a campaign with quotas, which nothing can."""
    continues = {"scope": campaign().scope_id.hex(), "seal": 2}
    two = manifests.manifest(issuers=[manifests.issuer(0, token_key=6)], continues=continues)
    return ledgers.build([*story(), Batch(OPENS + 9, raw(manifests.manifest_notice(two)))])
