"""The demo's campaign: five requests to the large social networks, in five languages."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from headcount_spec.text import format_day

LANGUAGES = ("ar", "de", "en", "es", "fr")
MOVE, MOVE_AND_HELP = 1, 2  # the numbers of the options
OPEN_DAYS = 60  # from opening to closing
FREEZE_DAYS = 3  # before closing, changes end
ACTION_DAYS = 7  # after closing, everybody moves


def texts() -> dict[str, str]:
    """The full text of the terms in every language."""
    folder = resources.files(__name__) / "texts"
    return {language: (folder / f"{language}.txt").read_text("utf-8") for language in LANGUAGES}


def mails() -> dict[str, str]:
    """The confirmation to those who left a contact, in every language."""
    folder = resources.files(__name__) / "mail"
    return {language: (folder / f"{language}.txt").read_text("utf-8") for language in LANGUAGES}


def contacts(parent: str, key: str, t: int) -> dict[str, Any]:
    """What makes a draft one of a contact scope: its own title, trustees to come, and what mail is for.

    parent is the campaign's scope id in hex, key the organiser's contact key in base64.
    """
    terms = _terms()["contacts"]
    purposes = [{"name": name, "text": terms[name]} for name in ("confirmation", "moving")]
    return {
        "kind": "contact",
        "parent": parent,
        "eligible": "parent-token-holders",
        "title": terms["title"],
        "trustees": {"t": t, "members": []},
        "contacts": {"key": key, "channels": ["email", "matrix", "none", "phone"], "purposes": purposes},
    }


def smaller() -> dict[str, Any]:
    """The title of the second campaign, which fails."""
    return {"title": _terms()["smaller"]["title"]}


def _terms() -> dict[str, Any]:
    terms: dict[str, Any] = json.loads((resources.files(__name__) / "terms.json").read_text("utf-8"))
    return terms


def draft(*, threshold: int, min_batch: int, today: int) -> dict[str, Any]:
    """The terms of a draft manifest that do not depend on keys and places; days are counted from today."""
    terms = _terms()
    closes = today + OPEN_DAYS
    return {
        "kind": "campaign",
        "eligible": "anyone",
        "language": "en",
        "title": terms["title"],
        "options": [
            {"number": MOVE, "label": terms["options"]["move"]},
            {"number": MOVE_AND_HELP, "label": terms["options"]["help"]},
        ],
        "addressee": terms["addressee"],
        "opens": format_day(today),
        "freezes": format_day(closes - FREEZE_DAYS),
        "closes": format_day(closes),
        "threshold": threshold,
        "tiers": [
            {"count": count, "effect": terms["tiers"][name]}
            for count, name in ((max(1, threshold // 4), "quarter"), (threshold, "all"))
            if name == "all" or threshold > 1
        ],
        "action": {
            "date": format_day(closes + ACTION_DAYS),
            "time_zone": "Europe/Paris",
            "what": terms["action"],
        },
        "level": "email",
        "min_batch": min_batch,
        "max_hold": 3,
        "data_use": terms["data_use"],
        "end_of_life": terms["end_of_life"],
    }
