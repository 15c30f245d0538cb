"""The linter of manifests: what a campaigner must mend before opening, and what to think about.

Errors stop publication: ledgers refuse such a manifest. Warnings are facts that every reader of
the campaign will see as well. A draft is first checked for completeness, languages and
characters; what its terms mean is judged once it reads as a manifest.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from headcount_spec import jcs
from headcount_spec.errors import MalformedError
from headcount_spec.jcs import JSON
from headcount_spec.level import Level
from headcount_spec.policy import NO_QUORUM, Policy
from headcount_spec.scope import Manifest
from headcount_spec.terms import IssuerTerms, Quotas
from headcount_spec.text import format_day, is_plain

ERROR: Literal["error"] = "error"
WARNING: Literal["warning"] = "warning"

SMALL_BATCH = 10  # pledges; below, a batch hides its members badly
LONG_CAMPAIGN_DAYS = 366  # after a year a count says little about today

# Members without which nothing opens, with the sentence if one is missing.
_REQUIRED: dict[str, tuple[str, str]] = {
    "headcount": ("incomplete", "The version of the format is missing; it is 1."),
    "kind": ("incomplete", "Say what this is: a campaign, a round, a checkin or a contact."),
    "eligible": ("incomplete", "Say who may take part: anyone, or parent-token-holders."),
    "language": ("incomplete", "Say in which language the others are checked."),
    "title": ("no-title", "The campaign has no title."),
    "texts": ("no-text", "There is no full text that people would sign."),
    "addressee": ("no-addressee", "Say to whom this is addressed."),
    "opens": ("no-opening-day", "Say on which day pledges are first accepted."),
    "freezes": ("no-freeze-day", "Say until which day people may change or withdraw their pledge."),
    "closes": ("no-closing-day", "Say on which day it ends; a count without an end cannot be reached."),
    "threshold": ("no-threshold", "Say how many are enough."),
    "level": ("incomplete", "Say how people are checked, for example email."),
    "issuers": ("no-issuer", "Nobody checks that the signers are people: name at least one issuer."),
    "organisers": ("no-organiser", "Say whose keys speak for the campaign."),
    "ledger": ("no-ledger", "Say in which ledger the pledges count."),
    "witnesses": ("incomplete", "Say which witnesses watch the ledger, or quorum none."),
    "origins": ("no-origin", "Say on which sites people may pledge."),
    "min_batch": ("incomplete", "Say how many pledges at least are published together."),
    "max_hold": ("incomplete", "Say how many days after the end the last pledges may be published."),
    "data_use": ("no-data-use", "Say what is done with people's data."),
    "end_of_life": ("no-end-of-life", "Say what happens with everything when the campaign is over."),
}
_REQUIRED_INSIDE: dict[str, tuple[str, ...]] = {
    "options": ("number", "label"),
    "quotas": ("each", "options"),
    "tiers": ("count", "effect"),
    "action": ("date", "time_zone", "what"),
    "issuers": ("name", "url", "token_key", "notice_key", "attesters"),
    "organisers": ("keys", "quorum"),
    "trustees": ("t", "members"),
    "contacts": ("key", "channels", "purposes"),
    "ledger": ("origin", "key"),
}
_IN_LANGUAGES = ("title", "texts", "addressee", "data_use", "end_of_life")
_IN_LANGUAGES_INSIDE = {"options": "label", "tiers": "effect", "action": "what"}
_NEW_EACH_TIME = frozenset({"in-person"})  # evidence that is not the same person's in the next scope
# Explicit directional embeddings, overrides and isolates: what is read is not what stands there.
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the linter found."""

    severity: Literal["error", "warning"]
    code: str  # stable
    path: str  # JSON path, "$" for the whole
    message: str  # for a campaigner


def lint(data: JSON, siblings: Iterable[Manifest] = (), today: int | None = None) -> tuple[Finding, ...]:
    """Everything that is wrong or doubtful with a manifest or a draft of one, errors first.

    siblings are the other scopes in sight: of the same ledger, or of the same parent. today is a
    UTC day number; without it nothing is said about the past.
    """
    if not isinstance(data, dict):
        return (Finding(ERROR, "malformed", "$", "A manifest is a JSON object."),)
    found = [*_completeness(data), *_languages(data), *_characters(data, "$")]
    try:
        manifest = Manifest.from_bytes(jcs.canonicalise(data))
    except MalformedError as exc:
        if not any(finding.severity == ERROR for finding in found):
            found.append(_malformed(exc))
    else:
        siblings = tuple(siblings)
        found += [*_contradictions(manifest), *_neighbours(manifest, siblings)]
        found += _condition(manifest, siblings)
        found += [*_time(manifest, today), *_trust(manifest), *_places(manifest)]
    return tuple(sorted(found, key=lambda finding: finding.severity))


def _completeness(data: dict[str, Any]) -> Iterator[Finding]:
    for name, (code, message) in _REQUIRED.items():
        if name not in data or _is_empty(data[name]):
            yield Finding(ERROR, code, f"$.{name}", message)
    for name, inner in _REQUIRED_INSIDE.items():
        for path, item in _objects(data, name):
            for member in inner:
                if member not in item:
                    yield Finding(ERROR, "incomplete", f"{path}.{member}", f"The {member} is missing.")


def _is_empty(value: JSON) -> bool:
    """Nothing, or what a new draft has in its place: the same in each language."""
    return value in ("", {}, []) or (isinstance(value, dict) and all(map(_is_empty, value.values())))


def _languages(data: dict[str, Any]) -> Iterator[Finding]:
    title = data.get("title")
    if not isinstance(title, dict):
        return
    maps = [(f"$.{name}", data.get(name)) for name in _IN_LANGUAGES]
    for name, inner in _IN_LANGUAGES_INSIDE.items():
        maps += [(f"{path}.{inner}", item.get(inner)) for path, item in _objects(data, name)]
    for path, labels in maps:
        if isinstance(labels, dict) and labels:
            for tag in sorted(title.keys() - labels.keys()):
                yield Finding(
                    ERROR, "language-missing", path, f"The language {tag} of the title is missing here."
                )
            for tag in sorted(labels.keys() - title.keys()):
                yield Finding(ERROR, "language-extra", path, f"The title has no {tag}, but this has.")
    language = data.get("language")
    if isinstance(language, str) and language and language not in title:
        yield Finding(
            ERROR, "language-missing", "$.title", f"The title is missing in {language}, the main language."
        )


def _characters(value: JSON, path: str) -> Iterator[Finding]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _characters(item, f"{path}.{name}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _characters(item, f"{path}[{i}]")
    elif isinstance(value, str):
        if not unicodedata.is_normalized("NFC", value):
            message = "This text looks the same in two spellings; save it in Unicode form NFC."
            yield Finding(ERROR, "not-nfc", path, message)
        elif not is_plain(value):
            message = "A character here is a control character or is unknown to older devices (Unicode 14)."
            yield Finding(ERROR, "unassigned-character", path, message)
        if not _DIRECTION.isdisjoint(value):
            message = "A hidden character changes the direction of writing: it may read otherwise than it is."
            yield Finding(WARNING, "direction-control", path, message)


def _malformed(exc: MalformedError) -> Finding:
    place, _, message = str(exc).partition(": ")
    if not place.startswith("manifest") or not message:
        place, message = "manifest", str(exc)
    return Finding(
        ERROR, "malformed", f"${place.removeprefix('manifest')}", f"This cannot be read: {message}."
    )


def _contradictions(manifest: Manifest) -> Iterator[Finding]:
    level = Level.from_text(manifest.level)
    if not level.names(issuer.attesters for issuer in manifest.issuers):
        message = (
            "The level must name exactly the checks that the issuers make, in their order: "
            "levels are never mixed."
        )
        yield Finding(ERROR, "level-mixed", "$.level", message)
    if level.is_choice:
        n, k = len(level.parts), level.needed
        message = f"People who share what they have get {n} tokens for every {k} of them, as each may choose."
        yield Finding(WARNING, "level-choice", "$.level", message)
    for i, issuer in enumerate(manifest.issuers):
        yield from _slips(f"$.issuers[{i}].slips", issuer)
        if issuer.returning:
            yield _returning(f"$.issuers[{i}].returning", issuer)
    if manifest.action is not None and manifest.action.date <= manifest.closes:
        message = "People act before the count is final."
        yield Finding(WARNING, "action-before-close", "$.action.date", message)
    for i, tier in enumerate(manifest.tiers):
        if tier.count > manifest.threshold:
            message = "This tier lies above the threshold."
            yield Finding(WARNING, "tier-above-threshold", f"$.tiers[{i}].count", message)
    if manifest.quotas is not None:
        yield from _quotas(manifest, manifest.quotas)


def _quotas(manifest: Manifest, quotas: Quotas) -> Iterator[Finding]:
    message = "People name their option themselves and nobody checks it: who likes can fill a quota."
    yield Finding(WARNING, "quotas-unchecked", "$.quotas", message)
    least = quotas.each * quotas.options
    if least >= manifest.threshold:
        message = f"The quotas alone ask for {least}: the threshold says nothing beside them."
        yield Finding(WARNING, "quotas-above-threshold", "$.quotas", message)
    # So many over so few options that one of them has enough, however they choose.
    if quotas.options == 1 and manifest.threshold > len(manifest.options) * (quotas.each - 1):
        message = "Whoever reaches the threshold has met this quota as well: it says nothing."
        yield Finding(WARNING, "quotas-say-nothing", "$.quotas", message)
    if quotas.each < SMALL_BATCH:
        message = f"Each batch shows how many stand at each option: groups below {SMALL_BATCH} hide nobody."
        yield Finding(WARNING, "small-quota", "$.quotas.each", message)


def _slips(path: str, issuer: IssuerTerms) -> Iterator[Finding]:
    has_sheets = "in-person" in issuer.attesters
    if has_sheets and issuer.slips is None:
        message = "Nothing says how many slips there may be: more could be printed for nobody."
        yield Finding(WARNING, "slips-without-cap", path, message)
    elif issuer.slips is not None and not has_sheets:
        yield Finding(
            ERROR, "slips-without-sheet", path, "The issuer hands out no slips that could be counted."
        )


def _returning(path: str, issuer: IssuerTerms) -> Finding:
    if set(issuer.attesters) <= _NEW_EACH_TIME:
        message = "A slip is another one in each scope: who comes back with an old one would count twice."
        return Finding(ERROR, "returning-without-check", path, message)
    message = (
        "Who likes can open an account there; its key joins what that person takes part in at this issuer."
    )
    return Finding(WARNING, "accounts", path, message)


def _neighbours(manifest: Manifest, siblings: Iterable[Manifest]) -> Iterator[Finding]:
    titles = {_folded(title) for title in manifest.title.values()}
    keys = {issuer.token_key for issuer in manifest.issuers}
    for sibling in siblings:
        if sibling.scope_id == manifest.scope_id:
            continue
        # A key signs blindly, so it cannot tell for which of two scopes it signs.
        if keys & {issuer.token_key for issuer in sibling.issuers}:
            message = "An issuer's token key already serves another scope; each scope needs its own."
            yield Finding(ERROR, "token-key-reused", "$.issuers", message)
        same_place = sibling.kind == manifest.kind and sibling.parent == manifest.parent
        if manifest.continues is not None and manifest.continues.scope == sibling.scope_id:
            yield from _succession(manifest, sibling, same_place)
        elif (
            manifest.continues is not None
            and sibling.continues is not None
            and (manifest.continues.scope == sibling.continues.scope)
        ):
            message = "Another one continues the same scope already: it would be counted twice."
            yield Finding(ERROR, "successor-twice", "$.continues", message)
        elif same_place and titles & {_folded(title) for title in sibling.title.values()}:
            message = "Another one of the same kind has this title; people would mistake one for the other."
            yield Finding(ERROR, "same-title", "$.title", message)


def _succession(manifest: Manifest, sibling: Manifest, same_place: bool) -> Iterator[Finding]:
    if not same_place or manifest.level != sibling.level:
        message = "What it continues has another kind, parent or level: the two numbers cannot be added."
        yield Finding(ERROR, "successor-differs", "$.continues", message)
    if sibling.quotas is not None:
        message = "What it continues has quotas; what is left of them cannot be said here."
        yield Finding(ERROR, "successor-of-quotas", "$.continues", message)
    before = {issuer.notice_key: issuer for issuer in sibling.issuers}
    kept = [(issuer, before[issuer.notice_key]) for issuer in manifest.issuers if issuer.notice_key in before]
    # Then the parent's slips are shown, in both.
    again = manifest.eligible == sibling.eligible == "parent-token-holders"
    level = Level.from_text(manifest.level)
    if not kept:
        message = "No issuer of what it continues is left: nobody knows who has pledged already."
        yield Finding(ERROR, "successor-forgets", "$.continues", message)
    elif manifest.level == sibling.level and not any(
        _recognises(level, issuer, old, again=again) for issuer, old in kept
    ):
        message = "Who has pledged in what it continues can come with other evidence, such as a new slip."
        yield Finding(ERROR, "successor-forgets", "$.continues", message)


def _recognises(level: Level, issuer: IssuerTerms, old: IssuerTerms, *, again: bool) -> bool:
    """Whether any proof to an issuer shares lasting evidence with any that it has taken before."""
    asked = [name for name in issuer.attesters if name in old.attesters]
    lasting = asked if again else [name for name in asked if name not in _NEW_EACH_TIME]
    least = level.needed_of(asked) - (len(asked) - len(lasting))
    return 2 * least > len(lasting)


def _condition(manifest: Manifest, others: Iterable[Manifest]) -> Iterator[Finding]:
    """A contact scope opens when its parent is reached: its own threshold only repeats that condition."""
    parent = next((other for other in others if other.scope_id == manifest.parent), None)
    if manifest.kind != "contact" or parent is None:
        return
    if parent.kind not in ("campaign", "round"):
        message = "Contacts open when a campaign or a round is reached; the parent is neither."
        yield Finding(ERROR, "contact-parent", "$.parent", message)
    if manifest.threshold != parent.threshold:
        message = f"The contacts open when the parent reaches {parent.threshold}; say the same number here."
        yield Finding(ERROR, "contact-threshold", "$.threshold", message)
    if manifest.ledger != parent.ledger:
        message = "The parent is in another ledger: nobody could say in one audit when it is reached."
        yield Finding(ERROR, "contact-ledger", "$.ledger", message)
    if manifest.closes > parent.closes:
        message = "Contacts are taken longer than the campaign counts."
        yield Finding(WARNING, "contact-late", "$.closes", message)


def _time(manifest: Manifest, today: int | None) -> Iterator[Finding]:
    if today is not None and manifest.closes < today:
        yield Finding(
            ERROR, "already-closed", "$.closes", f"It ended on {format_day(manifest.closes)} already."
        )
    elif today is not None and manifest.opens < today:
        yield Finding(
            WARNING, "already-open", "$.opens", f"It opened on {format_day(manifest.opens)} already."
        )
    if manifest.closes - manifest.opens > LONG_CAMPAIGN_DAYS:
        message = "It runs for more than a year: ask people again in between, or the count grows stale."
        yield Finding(WARNING, "long-campaign", "$.closes", message)


def _trust(manifest: Manifest) -> Iterator[Finding]:
    if len(manifest.issuers) == 1:
        message = "A sole issuer is trusted for the count: it could pledge for people who do not exist."
        yield Finding(WARNING, "sole-issuer", "$.issuers", message)
    if manifest.organisers.quorum == 1:
        message = "One key is enough to speak for the campaign."
        yield Finding(WARNING, "sole-organiser", "$.organisers.quorum", message)
    if Policy.from_bytes(manifest.witnesses.encode()).quorum == NO_QUORUM:
        message = "No witness is demanded: the ledger could show different people different counts."
        yield Finding(WARNING, "no-witnesses", "$.witnesses", message)
    if manifest.min_batch < SMALL_BATCH:
        message = f"Batches below {SMALL_BATCH} hide badly who pledged when."
        yield Finding(WARNING, "small-batch", "$.min_batch", message)
    if manifest.trustees is not None:
        t, n = manifest.trustees.t, len(manifest.trustees.members)
        if 2 * t <= n:
            message = f"{t} of {n} trustees can open the contacts: no majority is needed."
            yield Finding(WARNING, "trustees-few", "$.trustees.t", message)
        if t == n:
            message = "If one trustee is lost nothing can ever be opened."
            yield Finding(WARNING, "trustees-all", "$.trustees.t", message)
    yield from _same_party(manifest)


def _same_party(manifest: Manifest) -> Iterator[Finding]:
    seen = dict.fromkeys(manifest.organisers.keys, "the organisers")
    parties = [(f"$.issuers[{i}].notice_key", issuer.notice_key) for i, issuer in enumerate(manifest.issuers)]
    parties.append(("$.ledger.key", manifest.ledger.key.public_key))
    if manifest.contacts is not None and manifest.trustees is not None:
        for i, trustee in enumerate(manifest.trustees.members):
            if trustee.scope_key == manifest.contacts.key:
                message = "This trustee's key is the organiser's own: the two layers are one."
                yield Finding(ERROR, "trustee-is-organiser", f"$.trustees.members[{i}].scope_key", message)
    if manifest.trustees is not None:
        parties += [
            (f"$.trustees.members[{i}].identity_key", trustee.identity_key)
            for i, trustee in enumerate(manifest.trustees.members)
        ]
    for path, key in parties:
        if key in seen:
            yield Finding(WARNING, "same-party", path, f"The key is the same as that of {seen[key]}.")
        seen[key] = "another role"
    hosts = {urlsplit(origin).hostname for origin in manifest.origins}
    for i, issuer in enumerate(manifest.issuers):
        if urlsplit(issuer.url).hostname in hosts:
            message = "The issuer runs on the host where people pledge: whoever runs both can compare times."
            yield Finding(WARNING, "same-host", f"$.issuers[{i}].url", message)


def _places(manifest: Manifest) -> Iterator[Finding]:
    places = [(f"$.issuers[{i}].url", issuer.url) for i, issuer in enumerate(manifest.issuers)]
    places += [(f"$.origins[{i}]", origin) for i, origin in enumerate(manifest.origins)]
    for path, url in places:
        host = urlsplit(url).hostname or ""
        if host in ("localhost", "127.0.0.1"):
            yield Finding(WARNING, "local-only", path, "Only this machine can reach this place.")
        elif url.startswith("http:") and not host.endswith(".onion"):
            yield Finding(ERROR, "not-encrypted", path, "People would come here unencrypted: use https.")


def _objects(data: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The object, or the objects of the list, of this name."""
    value = data.get(name)
    items = [(f"$.{name}", value)]
    if isinstance(value, list):
        items = [(f"$.{name}[{i}]", item) for i, item in enumerate(value)]
    yield from ((path, item) for path, item in items if isinstance(item, dict))


def _folded(title: str) -> str:
    """What the eye takes for the same: without case, width and spacing."""
    return " ".join(unicodedata.normalize("NFKC", title).casefold().split())
