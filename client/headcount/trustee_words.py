"""What the trustee's page says, by language. A language is complete or not there; a test compares them.

To translate: copy the table of a language, keep the names and what stands in braces.
"""

from __future__ import annotations

from collections.abc import Mapping

Words = Mapping[str, str]

ENGLISH: Words = {
    "page": "Trustee of sealed contacts",
    "you": "You are {name}.",
    "what": "People left sealed ways to reach them, for {title}. You hold one of the keys.",
    "not-checked": "Nothing was checked yet. "
    "Your computer counts the whole ledger itself, which takes a while.",
    "check": "Count the ledger now",
    "again": "Count it again",
    "reached": "Reached: {live} of {threshold}, in batch {batch} on {day}.",
    "open": "Not reached: {live} of {threshold}. It may be reached until {day}.",
    "failed": "Failed: {live} of {threshold}, and it has ended.",
    "quotas": "Besides, at least {each} each are needed at {options} of the {total} options; "
    "{n} have so many now.",
    "audited": "Your computer has counted {size} entries of {origin}. Root: {root}",
    "witnessed": "Witnesses who saw the same: {names}.",
    "unwitnessed": "Your policy asks for no witnesses: the ledger could show others another count than you.",
    "needed": "{t} of {n} trustees open the contacts.",
    "signed": "Have signed the terms: {names}.",
    "released": "Have published their keys: {names}.",
    "destroyed": "Have destroyed their keys: {names}.",
    "misfit": "{name} has published a key for a batch in which it was not reached: proof against them.",
    "nobody": "nobody",
    "nothing": "There is nothing for you to do.",
    "release": "Publish my key …",
    "release-title": "Publish your key?",
    "release-what": "Your key for these contacts and your signature on this count will stand in the public "
    "ledger. Once {t} trustees have done so, the organiser can read the contacts. "
    "It cannot be taken back.",
    "release-confirm": "I have seen the count, and publish my key.",
    "release-now": "Publish my key",
    "release-done": "Your key is on its way to the ledger, and will stand there after its next batch.",
    "destroy": "Destroy my key …",
    "destroy-title": "Destroy your key?",
    "destroy-what": "The campaign has failed. Your key and its backup on this computer will be "
    "destroyed, and the ledger will say so. "
    "Destroy every other copy of the backup too. It cannot be taken back.",
    "destroy-confirm": "It has failed, and I destroy my key.",
    "destroy-now": "Destroy my key",
    "destroy-done": "Your key is destroyed. Destroy every other copy of the backup too.",
    "back": "No, go back",
    "stop": "Stop this program",
    "stopped": "Stopped. You may close this page.",
    "error": "That did not work",
    "unconfirmed": "Nothing was done: the box was not ticked.",
}
LANGUAGES: Mapping[str, Words] = {"en": ENGLISH}


def words_for(wanted: list[str]) -> tuple[str, Words]:
    """The first of these languages that there is, or English; its tag and its words."""
    for tag in wanted:
        for known in (tag.lower(), tag.lower().partition("-")[0]):
            if known in LANGUAGES:
                return known, LANGUAGES[known]
    return "en", ENGLISH
