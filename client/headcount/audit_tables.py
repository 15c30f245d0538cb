"""The tables and views of an auditor's database."""

from __future__ import annotations

_Table = tuple[dict[str, type], str | tuple[str, ...] | None, list[tuple[str, str, str]]]
_SCOPE, _BATCH = ("scope", "scopes", "id"), ("batch", "batches", "number")

TABLES: dict[str, _Table] = {
    "ledger": (
        {
            "origin": str,
            "size": int,
            "root": str,
            "batches": int,
            "ok": int,
            "cosigners": str,
            "checkpoint": str,
            "tool": str,
        },
        "origin",
        [],
    ),
    "scopes": (
        {
            "id": int,
            "scope_id": str,
            "title": str,
            "kind": str,
            "parent": int,
            "level": str,
            "live": int,
            "gross": int,
            "withdrawn": int,
            "threshold": int,
            "quota_each": int,
            "quota_options": int,
            "reached": str,
            "reached_batch": int,
            "opens": str,
            "closes": str,
            "closed_batch": int,
            "min_batch": int,
            "manifest": str,
        },
        "id",
        [("parent", "scopes", "id")],
    ),
    "batches": (
        {
            "number": int,
            "day": str,
            "first": int,
            "size": int,
            "entries": int,
            "pledges": int,
            "root": str,
        },
        "number",
        [],
    ),
    "pledges": (
        {
            "entry": int,
            "batch": int,
            "scope": int,
            "nullifier": str,
            "first_choice": int,
            "choice": int,  # after the last change; null if it is withdrawn
            "withdrawn": int,
            "fault": str,
        },
        "entry",
        [_SCOPE, _BATCH],
    ),
    "revisions": (
        {
            "entry": int,
            "batch": int,
            "scope": int,
            "pledge": int,
            "nullifier": str,
            "serial": int,
            "choice": int,
            "withdraws": int,
            "fault": str,
        },
        "entry",
        [_SCOPE, _BATCH, ("pledge", "pledges", "entry")],
    ),
    "notices": (
        {
            "entry": int,
            "batch": int,
            "scope": int,
            "author": str,
            "seq": int,
            "type": str,
            "body": str,
            "fault": str,
        },
        "entry",
        [_SCOPE, _BATCH],
    ),
    "issuances": (
        {"scope": int, "issuer": str, "day": str, "batch": int, "issued": int, "pledged": int},
        ("scope", "issuer", "batch", "issued"),
        [_SCOPE, _BATCH],
    ),
    "counts_by_batch": (
        {"scope": int, "batch": int, "pledges": int, "gross": int, "live": int},
        ("scope", "batch"),
        [_SCOPE, _BATCH],
    ),
    "counts_by_day": (
        {"scope": int, "day": str, "pledges": int, "gross": int, "live": int},
        ("scope", "day"),
        [_SCOPE],
    ),
    "faults": (
        {
            "id": int,
            "code": str,
            "meaning": str,
            "detail": str,
            "batch": int,
            "entry": int,
            "offset": int,
        },
        "id",
        [],
    ),
}

VIEWS = {
    "pledges_per_day_and_scope": (
        "SELECT b.day, s.title AS scope, count(*) AS pledges FROM pledges p"
        " JOIN batches b ON b.number = p.batch JOIN scopes s ON s.id = p.scope"
        " WHERE p.fault IS NULL GROUP BY b.day, s.id ORDER BY b.day, s.id"
    ),
    "live_choices": (
        "SELECT s.title AS scope, p.choice, count(*) AS live FROM pledges p JOIN scopes s ON s.id = p.scope"
        " WHERE p.fault IS NULL AND NOT p.withdrawn GROUP BY s.id, p.choice ORDER BY s.id, p.choice"
    ),
    "anonymity_sets": (
        "SELECT s.title AS scope, c.batch, b.day, c.pledges, s.min_batch,"
        " c.batch = s.closed_batch AS closes FROM counts_by_batch c JOIN scopes s ON s.id = c.scope"
        " JOIN batches b ON b.number = c.batch WHERE c.pledges ORDER BY c.pledges"
    ),
    "issued_against_pledged": (
        "SELECT s.title AS scope, i.issuer, i.day, i.issued, i.pledged, i.issued - i.pledged AS more"
        " FROM issuances i JOIN scopes s ON s.id = i.scope ORDER BY s.id, i.issuer, i.batch"
    ),
}
