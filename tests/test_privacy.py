from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import itertools
import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

import fakes
import keys
import linker
import manifests
import ports
import story
from headcount import PledgeFile, receipt, revise
from headcount_issuer.address import parse_address
from headcount_issuer.config import IssuerConfig
from headcount_issuer.issuer import Issuer
from headcount_issuer.keys import make_tag
from headcount_ledger import arrivals
from headcount_ledger import ledger as ledgers
from headcount_ledger.config import LedgerConfig
from headcount_spec.merkle import leaf_hash
from headcount_spec.scope import Manifest
from headcount_spec.token import TokenRequest, TokenResponse

BATCHES = 20
BATCH_SIZE = 10
GRAM = 12  # bytes; by chance two strings of random bytes share none


@dataclass(slots=True)
class Person:
    """Everything that is hers, as only the test knows it."""

    name: str
    content: PledgeFile
    exchanges: list[story.Exchange]

    def sent(self, ending: str) -> story.Exchange:
        return next(item for item in self.exchanges if item.url.endswith(ending))

    @property
    def code(self) -> bytes:
        return str(json.loads(self.sent("/sessions/evidence").request)["code"]).encode()

    @property
    def session(self) -> bytes:
        return str(json.loads(self.sent("/sessions").answer)["session"]).encode()

    @property
    def blinded_msg(self) -> bytes:
        return TokenRequest.from_bytes(self.sent("/token-request").request).blinded_msg

    @property
    def blind_sig(self) -> bytes:
        return TokenResponse.from_bytes(self.sent("/token-request").answer).blind_sig

    @property
    def at_the_issuer(self) -> dict[str, bytes]:
        """What the verifier and the ledger must never see."""
        address = story.address_of(self.name)
        return {
            "address": address.encode(),
            "canonical address": parse_address(address).canonical.encode(),
            "local part": address.partition("@")[0].encode(),
            "code": self.code,
            "session": self.session,
            "blinded message": self.blinded_msg,
            "its hash": hashlib.sha256(self.blinded_msg).digest(),
            "blind signature": self.blind_sig,
            "tag": make_tag(keys.seed("tags 0"), b"email\0" + parse_address(address).canonical.encode()),
        }

    @property
    def at_the_verifier(self) -> dict[str, bytes]:
        """What the issuer must never see; the token and the entry are these and public constants."""
        pledge = self.content.pledge()
        promise = self.content.promise
        assert promise is not None
        return {
            "nullifier": pledge.nullifier,  # the token's nonce
            "revision key": pledge.revision_key,
            "authenticator": pledge.authenticators[0],
            "leaf hash": leaf_hash(pledge.to_bytes()),
            "promise": promise.signature,
        }

    @property
    def her_own(self) -> dict[str, bytes]:
        """What nobody else must ever see."""
        return {"seed": self.content.seed, "private key": self.content.private_seed}


@dataclass(slots=True)
class Campaign:
    """A town after 200 pledges in 20 batches, and what could be copied from it just after each seal."""

    town: story.Town
    manifest: Manifest
    batches: list[list[Person]] = field(default_factory=list)
    snapshots: list[dict[str, bytes]] = field(default_factory=list)

    @property
    def people(self) -> list[Person]:
        return [person for batch in self.batches for person in batch]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    folder = tmp_path_factory.mktemp("town")
    with story.Town(folder, email={"domain_quota": 1000}) as town:
        made = Campaign(town, town.publish(min_batch=BATCH_SIZE))
        for b in range(BATCHES):
            batch = []
            for i in range(BATCH_SIZE):
                before = len(town.exchanges)
                name = f"p{b:02d}{i}"
                content = town.pledge(made.manifest, name)
                mine = [item for item in town.exchanges[before:] if item.person == name]
                batch.append(Person(name, content, mine))
            town.seal()
            made.batches.append(batch)
            made.snapshots.append(town.left_behind())
        yield made


# The linker


def test_the_bound_is_that_of_random_permutations() -> None:
    for size in (3, 4, 5):
        counts = [
            sum(i == j for i, j in enumerate(p)) + sum(i == j for i, j in enumerate(q))
            for p, q in itertools.product(itertools.permutations(range(size)), repeat=2)
        ]
        for confidence in (0.5, 0.9, 0.99):
            bound = linker.chance_bound(2, size, confidence)
            assert sum(count > bound for count in counts) <= (1 - confidence) * len(counts)
            assert sum(count >= bound for count in counts) > (1 - confidence) * len(counts)
    assert linker.chance_bound(BATCHES, BATCH_SIZE) == 35  # of 200; 20 on average


def strings_of(batches: Sequence[Sequence[Person]], side: str) -> dict[str, linker.Strings]:
    """Name → [batch][person] → the string's first bytes, which are enough to find it."""
    rows = [[getattr(person, side) for person in batch] for batch in batches]
    return {name: [[row[name][:32] for row in batch] for batch in rows] for name in rows[0][0]}


def rankings(
    strings: Mapping[str, linker.Strings], snapshots: Sequence[Mapping[str, bytes]]
) -> dict[str, linker.Ranking]:
    """Every order of the strings: by value, by place in every file of every snapshot, and by place in the
    file as it was just after the batch."""
    found: dict[str, linker.Ranking] = {}
    newest: dict[str, list[tuple[int, ...] | None]] = {}
    known: set[tuple[str, bytes]] = set()
    for name, whole in strings.items():
        found[f"{name}, value"] = linker.by_value(whole)
    for b, snapshot in enumerate(snapshots):
        for path, data in snapshot.items():
            if (path, data) in known or not data:
                continue
            known.add((path, data))
            for name, whole in strings.items():
                for spelling, spelt in linker.spellings(whole[: b + 1]):
                    for how, ranking in linker.by_place(spelt, data).items():
                        padded = ranking + (None,) * (len(whole) - len(ranking))
                        found[f"{name} as {spelling} in {path} of day {b}, {how}"] = padded
                        key = f"{name} as {spelling} in the newest {path}, {how}"
                        newest.setdefault(key, [None] * len(whole))[b] = ranking[b]
    return found | {key: tuple(value) for key, value in newest.items()}


@pytest.fixture(scope="module")
def pledge_rankings(campaign: Campaign) -> dict[str, linker.Ranking]:
    return rankings(strings_of(campaign.batches, "at_the_verifier"), campaign.snapshots)


def test_the_linker_names_no_more_people_than_chance(
    campaign: Campaign, pledge_rankings: dict[str, linker.Ranking]
) -> None:
    # It has looked where there is something to find.
    assert {name.partition(",")[0] for name in pledge_rankings} >= {
        f"{string} as raw in the newest ledger/ledger.sqlite" for string in ("nullifier", "leaf hash")
    }
    assert any("tile/entries" in name for name in pledge_rankings)
    people = {"true time": linker.by_time(BATCHES, BATCH_SIZE)}
    made = linker.guesses(people, pledge_rankings)
    assert max(guess.batches for guess in made) == BATCHES
    assert [guess for guess in made if guess.links] == []


def test_nor_does_it_with_all_that_the_issuer_has_stored(
    campaign: Campaign, pledge_rankings: dict[str, linker.Ranking]
) -> None:
    known = strings_of(campaign.batches, "at_the_issuer")
    kept = {
        name: known[name] for name in ("address", "tag", "blinded message", "its hash", "blind signature")
    }
    people = rankings(kept, campaign.snapshots)
    assert any("issuer0/issuer.sqlite" in name for name in people)
    made = linker.guesses(people, pledge_rankings)
    assert [guess for guess in made if guess.links] == []


def test_a_sealed_batch_is_in_a_file_as_a_whole_or_not_at_all(campaign: Campaign) -> None:
    # A part of it would be an order too: those who came last, or first.
    for name, strings in strings_of(campaign.batches, "at_the_verifier").items():
        for b, snapshot in enumerate(campaign.snapshots):
            for path, data in snapshot.items():
                assert sum(needle in data for needle in strings[b]) in (0, BATCH_SIZE), (name, path)


class Naive:
    """The control: the ledger as one would write it, a row and a log line for each pledge as it comes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA secure_delete=ON")
        self.database.execute("CREATE TABLE spent (nullifier BLOB PRIMARY KEY) WITHOUT ROWID")

    def accept(self, nullifier: bytes) -> None:
        self.database.execute("INSERT INTO spent VALUES (?)", (nullifier,))
        with (self.folder / "ledger.log").open("a") as log:
            log.write(f"INFO accepted {nullifier.hex()}\n")

    def seal(self) -> dict[str, bytes]:
        files = {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}
        self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return files | {"table alone": (self.folder / "ledger.sqlite").read_bytes()}


def test_the_same_linker_names_nearly_everybody_where_the_order_of_arrival_is_kept(
    campaign: Campaign, tmp_path: Path
) -> None:
    naive = Naive(tmp_path)
    snapshots = []
    for batch in campaign.batches:
        for person in batch:
            naive.accept(person.content.nullifier)
        snapshots.append(naive.seal())
    naive.database.close()
    strings = {
        "nullifier": [[person.content.nullifier for person in batch] for batch in campaign.batches],
    }
    people = {"true time": linker.by_time(BATCHES, BATCH_SIZE)}
    best: dict[str, linker.Guess] = {}
    for path in snapshots[0]:
        seen = [{path: snapshot[path]} for snapshot in snapshots]
        (best[path], *_) = linker.guesses(people, rankings(strings, seen))
    everybody = BATCHES * BATCH_SIZE
    assert best["ledger.log"].right == everybody
    assert best["ledger.sqlite-wal"].right >= 0.9 * everybody
    # Without any log, the places of the cells are enough for most, where pages did not split meanwhile.
    assert best["table alone"].batches == BATCHES
    assert best["table alone"].right >= 0.5 * everybody > 2 * best["table alone"].bound


# What each role sees


def spelt(data: bytes) -> dict[str, bytes]:
    """The ways in which a program writes bytes."""
    encoded = base64.b64encode(data[: len(data) // 3 * 3])
    return {
        "raw": data,
        "hex": data.hex().encode(),
        "capital hex": data.hex().upper().encode(),
        "base64": encoded,
        "base64url": encoded.translate(bytes.maketrans(b"+/", b"-_")),
        "quoted": json.dumps(data.decode("latin-1"))[1:-1].encode(),
        "capital": data.upper(),
    }


def found_in(haystacks: Mapping[str, bytes], needles: Mapping[str, bytes]) -> set[str]:
    """Which needles are where: by the first or last GRAM bytes of any spelling (all, if it is shorter)."""
    wanted: dict[int, dict[bytes, str]] = {}
    for name, data in needles.items():
        for spelling, text in spelt(data).items():
            for end in (text[:GRAM], text[-GRAM:]):
                wanted.setdefault(len(end), {})[end] = f"{name} as {spelling}"
    found = set()
    for where, hay in haystacks.items():
        for length, names in wanted.items():
            for i in range(len(hay) - length + 1):
                if hay[i : i + length] in names:
                    found.add(f"{names[hay[i : i + length]]} in {where}")
    return found


def strings_in(exchange: story.Exchange) -> Iterator[bytes]:
    """Every part of a request and its answer by itself, as it is and decoded."""
    yield exchange.url.encode()
    for name, value in (*exchange.request_headers, *exchange.headers):
        yield name
        yield value
        yield from decoded(value)
    for body in (exchange.request, exchange.answer):
        yield body
        yield from decoded(body)


def decoded(data: bytes) -> Iterator[bytes]:
    """What stands in hex or base64 inside it."""
    for run in re.findall(rb"[0-9a-fA-F]{24,}", data):
        yield binascii.unhexlify(run[: len(run) // 2 * 2])
    for run in re.findall(rb"[0-9A-Za-z+/_-]{16,}", data):
        run = run[:-1] if len(run) % 4 == 1 else run + b"=" * (-len(run) % 4)
        yield base64.urlsafe_b64decode(run.translate(bytes.maketrans(b"+/", b"-_")))


def grams(strings: Iterable[bytes]) -> set[bytes]:
    return {string[i : i + GRAM] for string in set(strings) for i in range(len(string) - GRAM + 1)}


def seen_by(exchanges: Iterable[story.Exchange], *roles: str) -> dict[str, bytes]:
    """What these roles have heard and said, each string once, by where it came first."""
    found: dict[bytes, str] = {}
    for item in exchanges:
        if item.role.startswith(roles):
            for string in strings_in(item):
                found.setdefault(string, f"{item.method} {item.url}: {string[:GRAM]!r}")
    parts: dict[str, list[bytes]] = {}
    for string, where in found.items():
        parts.setdefault(where, []).append(string)
    return {where: b"\n".join(strings) for where, strings in parts.items()}


def test_the_address_and_the_code_reach_neither_verifier_nor_ledger(campaign: Campaign) -> None:
    town = campaign.town
    seen = seen_by(town.exchanges, "verifier", "ledger")
    assert len(seen) > len(campaign.people)
    for role in ("verifier", "ledger"):
        seen |= town.left_behind(role)
    needles = {}
    for person in campaign.people:
        needles |= {f"{person.name}: {name}": data for name, data in person.at_the_issuer.items()}
        needles |= {f"{person.name}: {name}": data for name, data in person.her_own.items()}
    assert found_in(seen, needles) == set()


def test_the_pledge_does_not_reach_the_issuer(campaign: Campaign) -> None:
    town = campaign.town
    seen = seen_by(town.exchanges, "issuer") | town.left_behind("issuer")
    assert len(seen) > 4 * len(campaign.people)
    needles = {}
    for person in campaign.people:
        needles |= {f"{person.name}: {name}": data for name, data in person.at_the_verifier.items()}
        needles |= {f"{person.name}: {name}": data for name, data in person.her_own.items()}
    assert found_in(seen, needles) == set()


def test_the_issuer_keeps_no_address_no_code_and_no_blinded_message(campaign: Campaign) -> None:
    kept = campaign.town.left_behind("issuer")
    forbidden = (
        "address",
        "canonical address",
        "local part",
        "code",
        "session",
        "blinded message",
        "blind signature",
    )
    needles = {
        f"{person.name}: {name}": person.at_the_issuer[name]
        for person in campaign.people
        for name in forbidden
    }
    assert found_in(kept, needles) == set()
    # The search finds what is there.
    one = campaign.people[0]
    assert found_in(kept, {"tag": one.at_the_issuer["tag"], "hash": one.at_the_issuer["its hash"]})


def linkable(people: Mapping[str, tuple[set[bytes], set[bytes]]]) -> dict[str, set[bytes]]:
    """Name → what both sides know of her and not of everybody.

    A public constant (scope id, manifest, keys, media types …) is what both sides know of everybody.
    """
    shared = {name: issuer & verifier for name, (issuer, verifier) in people.items()}
    constants = set.intersection(*shared.values())
    return {name: own - constants for name, own in shared.items() if own - constants}


def test_the_transcripts_of_issuer_and_verifier_share_public_constants_only(campaign: Campaign) -> None:
    sides: dict[str, tuple[set[bytes], set[bytes]]] = {}
    for person in campaign.people:
        issuer, verifier = (
            grams(
                string
                for item in person.exchanges
                if item.role.startswith(roles)
                for string in strings_in(item)
            )
            for roles in (("issuer",), ("verifier", "ledger"))
        )
        sides[person.name] = issuer, verifier
    assert linkable(sides) == {}
    constants = set.intersection(*(issuer & verifier for issuer, verifier in sides.values()))
    # Those are there, so the comparison does compare: the scope, the key, and not much else.
    assert campaign.manifest.scope_id[:GRAM] in constants
    assert campaign.manifest.issuers[0].token_key[-GRAM:] in constants
    # Nor do they across people: nothing that any issuer heard from one is known of another.
    at_issuers, elsewhere = (set.union(*side) for side in zip(*sides.values(), strict=True))
    assert at_issuers & elsewhere == constants
    # And it would see an identifier of twelve bytes.
    names = list(sides)[:3]
    leaking = {
        name: tuple(side | {f"id of {name}, ok".encode()[:GRAM]} for side in sides[name]) for name in names
    }
    assert set(linkable(leaking)) == set(names)


def test_what_the_verifier_hands_on_shares_nothing_with_what_the_issuer_hands_on(campaign: Campaign) -> None:
    edges = [item for item in campaign.town.exchanges if item.role == "ledger" and item.asker != "client"]
    assert {item.asker for item in edges} == {"verifier", "issuer0"}
    pledges = {item.request for item in edges if item.asker == "verifier"}
    assert pledges == {person.content.pledge().to_bytes() for person in campaign.people}
    for item in edges:
        sent = b"\n".join(name + b": " + value for name, value in item.request_headers)
        assert not any(canary.encode() in sent for canary in story.CANARIES.values())


def test_no_cookie_is_set_anywhere(campaign: Campaign) -> None:
    provoke(campaign)
    for item in campaign.town.exchanges:
        names = {name.lower() for name, _ in (*item.request_headers, *item.headers)}
        assert not names & {b"cookie", b"cookie2", b"set-cookie", b"set-cookie2", b"etag", b"last-modified"}


def test_urls_carry_no_identifier(campaign: Campaign) -> None:
    town = campaign.town
    asked: dict[str, set[str]] = {}
    for person in campaign.people:
        secret = {**person.at_the_issuer, **person.at_the_verifier}
        urls = {item.url for item in person.exchanges}
        assert found_in({url: url.encode() for url in urls}, secret) == set()
        asked[person.name] = {url for url in urls if not url.startswith(f"{town.ledger_url}/")}
        public = town.folder / "ledger" / "public"
        for url in urls - asked[person.name]:
            path = url.removeprefix(f"{town.ledger_url}/")
            # A published file, the same for everybody who asks at that size of the ledger.
            assert path == "checkpoint" or (public / path).is_file()
    assert all(urls == asked[campaign.people[0].name] for urls in asked.values())
    assert not any("?" in item.url or "#" in item.url for item in town.exchanges)


def provoke(campaign: Campaign) -> None:
    """Everything that goes wrong, from a client that can be recognised."""
    town = campaign.town
    http = town.http("provoker")
    entry = {"Content-Type": "application/vnd.headcount.entry"}
    pledge = campaign.people[0].content.pledge().to_bytes()
    issuer = town.issuer_urls[0]
    for method, url, body, headers in (
        ("POST", f"{town.origin}/pledges", pledge[:-1] + b"\0", entry),
        ("POST", f"{town.origin}/pledges", pledge[:50], entry),
        ("POST", f"{town.origin}/pledges", bytes(100_000), entry),
        ("POST", f"{town.origin}/pledges", pledge, {"Content-Type": "text/plain"}),
        ("GET", f"{town.origin}/pledges", b"", {}),
        ("GET", f"{town.origin}/nowhere", b"", {}),
        ("POST", f"{town.ledger_url}/entries", pledge[:-1] + b"\0", entry),
        ("POST", f"{town.ledger_url}/entries", b"", entry),
        ("DELETE", f"{town.ledger_url}/checkpoint", b"", {}),
        ("GET", f"{town.ledger_url}/tile/0/999", b"", {}),
        ("POST", f"{issuer}/sessions", b"{}", {"Content-Type": "application/json"}),
        ("POST", f"{issuer}/sessions/evidence", b'{"code":"1"}', {"Content-Type": "application/json"}),
        ("POST", f"{issuer}/token-request", bytes(259), {"Authorization": "Bearer nobody"}),
        ("GET", f"{issuer}/nowhere", b"", {}),
    ):
        assert http(method, url, body=body, headers=headers).status >= 400


def test_no_address_and_no_user_agent_is_in_any_file_or_log(campaign: Campaign) -> None:
    provoke(campaign)
    kept = campaign.town.left_behind()
    assert {f"logs/{role}.log" for role in story.ROLES} <= set(kept)
    assert kept["logs/ledger.log"]
    canaries = {name: value.encode() for name, value in story.CANARIES.items()}
    canaries["agent"] = story.CANARY_AGENT.partition("/")[0].encode()
    canaries["address"] = story.CANARY_ADDRESS.encode()
    canaries["packed address"] = ipaddress.ip_address(story.CANARY_ADDRESS).packed
    canaries["packed forwarded"] = ipaddress.ip_address(story.CANARY_FORWARDED).packed
    assert found_in(kept, canaries) == set()
    sent = [item for item in campaign.town.exchanges if item.asker == "client"]
    assert all((b"User-Agent", story.CANARY_AGENT.encode()) in item.request_headers for item in sent)


def cells(database: Path) -> Iterator[tuple[str, object]]:
    """Every value of every table."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608
            names = [f"{table}.{column[0]}" for column in rows.description]
            for row in rows:
                yield from zip(names, row, strict=True)
    finally:
        connection.close()


def test_no_time_of_a_request_is_in_any_table_file_or_log(campaign: Campaign) -> None:
    town = campaign.town
    wall = int(time.time())
    ranges = [(town.clock.began, town.clock.now), (wall - 3600, wall + 1)]
    databases = [town.folder / "ledger" / "ledger.sqlite", town.folder / "issuer0" / "issuer.sqlite"]
    values = [item for database in databases for item in cells(database)]
    assert len(values) > 7 * len(campaign.people)
    for name, value in values:
        assert not isinstance(value, float), name
        if isinstance(value, int):
            for unit in (1, 10**3, 10**6, 10**9):
                assert not any(low <= value / unit <= high for low, high in ranges), name
    times = {item.at for item in town.exchanges}
    assert len(times) > 5 * len(campaign.people)
    for path, data in town.left_behind().items():
        assert not {int(text) for text in re.findall(rb"(?=(1[0-9]{9}))", data)} & times, path
        for at in (*sorted(times)[::10], town.clock.began):
            assert at.to_bytes(8, "big") not in data, path
            assert at.to_bytes(8, "little") not in data, path
        if path.startswith("logs/"):
            assert not re.search(rb"[0-9]:[0-9]{2}|[0-9]{4}-[0-9]{2}|[0-9]{6}", data), path


def test_refused_requests_leave_no_trace(campaign: Campaign) -> None:
    before = campaign.snapshots[-1]
    provoke(campaign)
    after = campaign.town.left_behind()
    # The index of an empty log has no frames to speak of.
    assert {path for path in before if before[path] != after[path]} <= {
        "ledger/ledger.sqlite-shm",
        "issuer0/issuer.sqlite-shm",
    }
    assert set(before) == set(after)


def test_receipts_and_changes_say_no_more(campaign: Campaign) -> None:
    # Last, because it changes the town.
    town = campaign.town
    for person in campaign.people[::50]:
        path = town.folder / "people" / f"{person.name}.pledge"
        before = len(town.exchanges)
        http = town.http(person.name)
        (found,) = receipt.fetch(path, transport=http)
        assert found.state == "included"
        revise.withdraw(path, transport=http, day=town.clock.day)
        mine = town.exchanges[before:]
        assert not seen_by(mine, "issuer")
        assert [item.url for item in mine if item.method == "POST" and item.asker == "client"] == [
            f"{town.origin}/revisions"
        ]
        assert (
            found_in(seen_by(mine, "verifier", "ledger"), {**person.at_the_issuer, **person.her_own}) == set()
        )
        # Of the ledger it reads whole bundles: no path that is hers alone.
        asked = {item.url for item in mine if item.method == "GET"}
        assert found_in({url: url.encode() for url in asked}, person.at_the_verifier) == set()
    town.seal()
    report = fakes.whole_audit(town.ledger).scopes[campaign.manifest.scope_id]
    assert (report.gross, report.live) == (200, 196)


# The files beside the tables


@pytest.mark.parametrize("waiting", [1, 12, 1000])
def test_the_index_of_the_write_ahead_log_does_not_tell_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    # It lists the page of each frame in the order of the commits; with more pledges than fit a page,
    # that is who came before whom, where each is sorted in as it comes.
    monkeypatch.setattr(arrivals, "MAX_WAITING", waiting)
    monkeypatch.setattr(arrivals, "MIN_SLICE", 3)
    scope = manifests.manifest(min_batch=1)
    pledges = [manifests.pledge(scope, i).to_bytes() for i in range(40)]
    found: dict[str, list[bytes]] = {"before": [], "after": []}
    for order in (pledges, pledges[::-1]):
        with fakes.new_ledger(tmp_path / str(len(found["after"]))) as ledger:
            fakes.open_scopes(ledger, scope)
            for pledge in order:
                ledger.accept(pledge, fakes.DAY)
            index = ledger.config.database.with_name("ledger.sqlite-shm")
            found["before"].append(index.read_bytes()[136:])  # after the header
            ledger.seal(fakes.DAY)
            found["after"].append(index.read_bytes()[136:])
    assert (found["before"][0] == found["before"][1]) == (waiting > len(pledges))
    assert found["after"][0] == found["after"][1]


# The servers themselves


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[list[int], subprocess.Popen[bytes], Path]]:
    first, second = ports.free_ports(0, 1)
    url = f"http://localhost:{second}"
    config = LedgerConfig(tmp_path / "ledger")
    config.directory.mkdir()
    ledgers.create(config, manifests.ORIGIN, manifests.LEDGER_SEED)
    Issuer.create(
        IssuerConfig(
            "issuer0.example", url, tmp_path / "issuer", f"http://localhost:{first}/ledger", ("in-person",)
        )
    )
    (tmp_path / "scopes").mkdir()
    (tmp_path / "node.toml").write_text(
        f"""
[node]
public = "127.0.0.1:{first}"
personhood = "127.0.0.1:{second}"
[ledger]
directory = "ledger"
tick_s = 1
[verifier]
ledger = "http://localhost:{first}/ledger"
scopes = "scopes"
[issuer]
name = "issuer0.example"
url = "{url}"
directory = "issuer"
ledger = "http://localhost:{first}/ledger"
[issuer.attesters.in-person]
"""
    )
    log = tmp_path / "node.log"
    code = "from headcount_node.cli import serve; serve()"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "node.toml")],
            stdout=output,
            stderr=output,
            env={"PYTHONPATH": ":".join(path for path in sys.path if path), "PATH": "/usr/bin:/bin"},
        )
    try:
        yield [first, second], process, tmp_path
    finally:
        process.terminate()
        process.wait(20)


def test_the_servers_of_a_node_log_no_request(node: tuple[list[int], subprocess.Popen[bytes], Path]) -> None:
    listening, process, folder = node
    for port, path in zip(
        listening, ("/ledger/checkpoint", "/.well-known/private-token-issuer-directory"), strict=True
    ):
        wait_for(f"http://localhost:{port}{path}", process)
        for method in ("GET", "POST", "DELETE"):
            for path_ in (path, "/pledges", "/sessions", "/nowhere"):
                httpx.request(method, f"http://localhost:{port}{path_}", headers=story.CANARIES, timeout=10)
        with socket.create_connection(("localhost", port)) as raw:
            raw.sendall(f"NONSENSE {story.CANARY_AGENT}\r\n\r\n".encode())
            raw.recv(1000)
    process.terminate()
    assert process.wait(20) == 0
    kept = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    log = kept[str(folder / "node.log")]
    needles = {name: value.encode() for name, value in story.CANARIES.items()} | {"agent": b"Quagga"}
    assert found_in(kept, needles) == set()
    assert not re.search(
        rb"127\.0\.0\.1|::1\b|nowhere|/pledges|[0-9]:[0-9]{2}:[0-9]{2}|[0-9]{4}-[0-9]{2}-", log
    ), log


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError("the node does not answer")
