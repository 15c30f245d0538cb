"""The rules of what an issuer may hold: each kind of file, each table, and what is in memory only.

A test compares them with what an issuer really leaves behind, and docs/data-inventory.md with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BEGINNING = """\
# What an issuer holds

Made by `make inventory` from the rules of `headcount_issuer/holding.py`; edit those. `headcount issuer
inventory` prints the same of an issuer, from its real files and tables, with numbers and days, and fails if
it finds anything that is not on this page.
"""
_END = """
Beside the folder lies the passphrase of the keys, or the PIN of the security module, where
`[issuer.custody]` says. No log has an address, a time or a request. Addresses, codes, slips, account names,
credential ids, blinded messages and network addresses are on no disk of the issuer's, which
`tests/issuer/test_storage.py` looks for in the raw bytes; mail servers on the way keep what they keep.

Disks are to be encrypted: a destroyed file is overwritten and removed, but a file system that copies on
write, a flash disk or a backup may keep what was there before. Backups of `keys/` are to be destroyed with
the keys.
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of thing that an issuer keeps."""

    what: str
    why: str
    until: str
    tells: str  # what it tells about a person, to whoever has it


# Table → rule. A table without one is a failure of a test.
TABLES: dict[str, Rule] = {
    "scopes": Rule(
        "terms of the scopes and the number of tokens in each",
        "to sign under these terms and no others; the terms are public, and the number, rounded up to 16",
        "the issuer ends",
        "nothing",
    ),
    "buckets": Rule(
        "(tag, SHA-256 of the blinded message), for each token",
        "one person gets one token; the same request gets the same answer",
        "the scope and all that depend on it have closed, then headcount issuer close",
        "with the scope's tag key, whether a given address, slip or account took part; never what was "
        "pledged, nor when",
    ),
    "codes": Rule(
        "tags of the codes on printed sheets",
        "only codes of a sheet are accepted",
        "the scope and all that depend on it have closed, then headcount issuer close",
        "with the scope's tag key and a slip, that the slip is genuine",
    ),
    "accounts": Rule(
        "accounts that their holders opened: what was proved and the pseudonym, sealed under the passkey",
        "to come back by passkey without a new check",
        "its holder ends it, or the issuer ends",
        "nothing without the passkey's credential id, which is kept nowhere; where authenticators count, two "
        "copies of the file tell which accounts were used in between",
    ),
    "notices": Rule(
        "what this issuer has said in the ledger",
        "to say it again until the ledger has taken it",
        "the issuer ends; all of it is public",
        "nothing",
    ),
}

# Pattern of a path below the issuer's folder → rule.
FILES: dict[str, Rule] = {
    r"issuer\.sqlite(?:-wal|-shm)?": Rule(
        "the database with its log: the tables below",
        "they are kept here",
        "the issuer ends",
        "as the tables",
    ),
    r"keys/notice\.pem": Rule(
        "Ed25519 key of the issuer's notices",
        "to sign openings, numbers of tokens, code sheets, destructions",
        "the issuer ends",
        "nothing",
    ),
    r"keys/account\.key": Rule(
        "key of the pseudonyms from which all tags are made",
        "a person has the same tag by every way of proving themselves",
        "the issuer ends",
        "with the tag keys of several scopes, in which of them a given address or account took part; "
        "alone, nothing",
    ),
    r"keys/[0-9a-f]{64}\.pem": Rule(
        "token key of one scope",
        "to sign blinded messages in that scope",
        "the scope has closed, then headcount issuer close",
        "nothing",
    ),
    r"keys/[0-9a-f]{64}\.tag": Rule(
        "key of one scope's tags",
        "to recognise a person who has a token of the scope",
        "the scope and all that depend on it have closed, then headcount issuer close",
        "with the database, whether a given address, slip or account took part",
    ),
}

# What is never on a disk of the issuer's.
MEMORY: tuple[Rule, ...] = (
    Rule(
        "sessions: the evidence that was given, codes that were sent, tags of who is proved",
        "between the question and the signature",
        "ten minutes, or the end of the program",
        "who is proving themselves at this moment",
    ),
    Rule(
        "counts of mails by keyed mailbox, under a key that is drawn anew",
        "to stop floods of a mailbox and guesses at its codes",
        "ten minutes, or the end of the program",
        "nothing without the memory of the program",
    ),
    Rule(
        "mails that wait to be handed to the mail server",
        "to send codes",
        "seconds; a mail server that does not answer makes them wait, the end of the program drops them",
        "the address of somebody who is proving themselves",
    ),
)


def rule_of_file(path: str) -> Rule | None:
    """The rule of a path below the issuer's folder; None if there is none."""
    return next((rule for pattern, rule in FILES.items() if re.fullmatch(pattern, path)), None)


def page() -> str:
    """docs/data-inventory.md."""
    parts = [_BEGINNING]
    for title, rows in (
        ("Files", [(f"`{_readable(pattern)}`", rule) for pattern, rule in FILES.items()]),
        ("Tables", [(f"`{name}`", rule) for name, rule in TABLES.items()]),
    ):
        parts += [
            f"## {title}",
            "",
            "| where | what | why | until | tells about a person |",
            "|---|---|---|---|---|",
        ]
        parts += [f"| {where} | {_cells(rule)} |" for where, rule in rows]
        parts.append("")
    parts += ["## In memory only", "", "| what | why | until | tells about a person |", "|---|---|---|---|"]
    parts += [f"| {_cells(rule)} |" for rule in MEMORY]
    return "\n".join([*parts, _END])


def _readable(pattern: str) -> str:
    for written, readable in (
        (r"[0-9a-f]{64}\.pem", "<token key id>.pem"),
        (r"[0-9a-f]{64}\.tag", "<scope id>.tag"),
        (r"(?:-wal|-shm)?", "[-wal, -shm]"),
        (r"\.", "."),
    ):
        pattern = pattern.replace(written, readable)
    return pattern


def _cells(rule: Rule) -> str:
    return " | ".join((rule.what, rule.why, rule.until, rule.tells))
