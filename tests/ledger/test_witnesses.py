from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

import fakes
import manifests
import witnessing
from fakes import DAY
from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger
from headcount_ledger.storage import DirectoryStorage
from headcount_ledger.ticker import Ticker
from headcount_ledger.witness.server import Witness
from headcount_ledger.witnesses import Witnesses, read_policy
from headcount_spec import merkle
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.cosignature import cosign, cosigned_message
from headcount_spec.errors import (
    ConfigurationError,
    CorruptionError,
    NotEligibleError,
    UnavailableError,
)
from headcount_spec.note import MLDSA44, NoteSignature, SigningKey, VerificationKey
from headcount_spec.policy import Policy
from headcount_spec.tlog_witness import AddCheckpoint, format_cosignatures, monitoring_path
from headcount_spec.wire import u64

SCOPE = manifests.manifest(min_batch=1)
KEY = manifests.LEDGER_KEY
Handler = Callable[[httpx.Request], httpx.Response]


def key_of(number: int) -> SigningKey:
    return SigningKey(f"w{number}.example", bytes([number] * 32))


def policy_of(keys: list[VerificationKey], k: int | None = None) -> Policy:
    lines = [f"witness w{i} {key.to_text()} http://w{i}.example\n" for i, key in enumerate(keys, 1)]
    names = " ".join(f"w{i}" for i in range(1, len(keys) + 1))
    lines.append(f"group g {len(keys) if k is None else k} {names}\nquorum g\n")
    return Policy.from_bytes("".join(lines).encode())


@dataclass
class Watched:
    """A ledger with witnesses on a network of their own."""

    config: LedgerConfig
    network: witnessing.Network
    witnesses: list[Witness]
    clock: fakes.FakeClock
    policy: Policy

    def asking(self, timeout_s: float = 0.5, grace_s: float = 0.3) -> Witnesses:
        read = DirectoryStorage(self.config.public).read
        key = KEY.verification_key
        return Witnesses(
            self.policy, key, read, self.clock, timeout_s=timeout_s, grace_s=grace_s, transport=self.network
        )

    def open(self, timeout_s: float = 20, grace_s: float = 0.3) -> Ledger:
        return Ledger.open(self.config, self.asking(timeout_s, grace_s))

    def sizes(self, host: str) -> list[int]:
        """The old sizes of the requests to a host."""
        seen = [body for name, path, body in self.network.seen if name == host and path == "/add-checkpoint"]
        return [AddCheckpoint.from_bytes(body).old_size for body in seen]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Two honest witnesses, both needed."""
    clock = fakes.FakeClock()
    fakes.new_ledger(tmp_path / "ledger").close()
    folders = [tmp_path / f"w{i}" for i in (1, 2)]
    witnesses = [
        witnessing.new_witness(folder, clock, KEY.verification_key, f"{folder.name}.example")
        for folder in folders
    ]
    network = witnessing.Network({f"w{i}.example": witnessing.app(w) for i, w in enumerate(witnesses, 1)})
    policy = policy_of([w.verification_key for w in witnesses])
    yield Watched(LedgerConfig(tmp_path / "ledger"), network, witnesses, clock, policy)
    for witness in witnesses:
        witness.close()


def published(ledger: Ledger) -> bytes:
    return ledger.storage.read("checkpoint")


def accept(ledger: Ledger, number: int) -> None:
    ledger.accept(manifests.pledge(SCOPE, number).to_bytes(), DAY)


def down(_request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("down")


def test_every_published_checkpoint_reaches_the_quorum(watched: Watched) -> None:
    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)
        for number in range(3):
            accept(ledger, number)
            ledger.seal(DAY)
            verified = ledger.policy().verify_checkpoint(published(ledger))
            assert verified.cosignatures == (("w1", watched.clock.seconds), ("w2", watched.clock.seconds))
        report = fakes.whole_audit(ledger)
        assert report.cosigners == ("w1", "w2")
        assert ledger.storage.read("checkpoints/3") == published(ledger)


def test_a_witness_is_asked_from_where_it_stands(watched: Watched) -> None:
    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)  # 0 before the batch, and from there to 5
        accept(ledger, 0)
        ledger.seal(DAY)
        assert watched.sizes("w1.example") == [0, 0, 5, 5]
    # After a restart it is believed to have seen all, which it has.
    with watched.open() as ledger:
        accept(ledger, 1)
        ledger.seal(DAY)
        assert watched.sizes("w1.example")[4:] == [7, 7]


def test_a_witness_that_comes_late_tells_its_size_and_is_asked_once_more(
    watched: Watched, tmp_path: Path
) -> None:
    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)
    late = witnessing.new_witness(tmp_path / "late", watched.clock, KEY.verification_key, "w3.example")
    watched.network.hosts["w3.example"] = witnessing.app(late)
    watched.witnesses.append(late)
    watched.policy = policy_of([w.verification_key for w in watched.witnesses])
    with watched.open() as ledger:
        accept(ledger, 0)
        ledger.seal(DAY)
        assert watched.sizes("w3.example") == [5, 0, 5]
        assert len(ledger.policy().verify_checkpoint(published(ledger)).cosignatures) == 3


def test_a_witness_restored_from_a_backup_is_brought_forward(watched: Watched, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "w1", tmp_path / "backup")
    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)
        with Witness.open(tmp_path / "backup", watched.clock) as restored:
            watched.network.hosts["w1.example"] = witnessing.app(restored)
            accept(ledger, 0)
            ledger.seal(DAY)
        assert watched.sizes("w1.example")[2:] == [5, 0, 5]
        fakes.whole_audit(ledger)


# Without a quorum nothing is committed or published, and nothing is lost


def test_while_too_few_witnesses_answer_entries_are_accepted_and_wait(watched: Watched) -> None:
    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)
        before = published(ledger)
        app = watched.network.hosts["w2.example"]
        watched.network.hosts["w2.example"] = down
        for number in range(3):
            accept(ledger, number)
            with pytest.raises(UnavailableError, match="1 of 2 witnesses"):
                ledger.seal(DAY)
            assert published(ledger) == before
            assert ledger.head().batches == 1
        watched.network.hosts["w2.example"] = app
        watched.clock.set_day(DAY + 3)
        ledger.seal(DAY + 3)
        report = fakes.whole_audit(ledger)
        assert report.scopes[SCOPE.scope_id].live == 3


def test_a_batch_that_lost_its_witnesses_on_the_way_is_published_when_they_are_back(
    watched: Watched,
) -> None:
    app = watched.network.hosts["w2.example"]
    answers = 0

    def fails_later(request: httpx.Request) -> httpx.Response:
        nonlocal answers
        answers += 1
        if answers == 2:
            raise httpx.ReadTimeout("gone")
        return httpx.WSGITransport(app).handle_request(request)  # type: ignore[arg-type]

    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)
        before = published(ledger)
        accept(ledger, 0)
        watched.network.hosts["w2.example"] = fails_later
        with pytest.raises(UnavailableError, match="too few"):
            ledger.seal(DAY)
        head = ledger.head()
        assert (head.batches, head.published) == (2, None)
        assert published(ledger) == before
        accept(ledger, 1)  # accepting goes on
        watched.network.hosts["w2.example"] = down
        with pytest.raises(UnavailableError):
            ledger.seal(DAY)
        assert ledger.head() == head
    watched.network.hosts["w2.example"] = app
    with watched.open() as ledger:
        assert ledger.seal(DAY) is not None
        assert fakes.whole_audit(ledger).scopes[SCOPE.scope_id].live == 2
        for batch in range(3):
            raw = ledger.storage.read(f"checkpoints/{batch}")
            assert len(ledger.policy().verify_checkpoint(raw).cosignatures) == 2


def test_the_ticker_tries_again_until_the_quorum_is_back(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headcount_ledger.witnesses.RETRY_AFTER_S", 0.05)
    reasons: list[str] = []
    app = watched.network.hosts["w2.example"]
    watched.network.hosts["w2.example"] = down
    watched.config = LedgerConfig(watched.config.directory, tick_s=1)
    with watched.open() as ledger:
        fakes.stage_terms(ledger, SCOPE)
        with Ticker(ledger, watched.clock, reasons.append):
            time.sleep(1.3)
            assert ledger.head().batches == 0
            watched.network.hosts["w2.example"] = app
            until = time.monotonic() + 10
            while not (ledger.head().batches and ledger.head().published):
                assert time.monotonic() < until
                time.sleep(0.05)
        assert ledger.policy().verify_checkpoint(published(ledger))
    assert reasons == []


# Witnesses of every kind: one of three, two are needed


def answer(status: int = 200, body: bytes = b"", kind: str = "text/plain", **headers: str) -> Handler:
    return lambda _request: httpx.Response(status, content=body, headers={"content-type": kind, **headers})


def lines(make: Callable[[Checkpoint], list[NoteSignature]]) -> Handler:
    """Answers a request with lines over its checkpoint."""

    def handle(request: httpx.Request) -> httpx.Response:
        signed = parse_checkpoint(AddCheckpoint.from_bytes(request.read()).checkpoint)
        return httpx.Response(200, content=format_cosignatures(make(signed.checkpoint)))

    return handle


NOW = fakes.FakeClock().seconds


def forged(checkpoint: Checkpoint) -> list[NoteSignature]:
    true = cosign(checkpoint, key_of(3), NOW)
    return [NoteSignature(true.name, true.key_id, true.signature[:-1] + bytes([true.signature[-1] ^ 1]))]


def of_another_tree(checkpoint: Checkpoint) -> list[NoteSignature]:
    other = Checkpoint(checkpoint.origin, checkpoint.size + 1, checkpoint.root)
    return [cosign(other, key_of(3), NOW)]


def by_another_key_of_that_name(checkpoint: Checkpoint) -> list[NoteSignature]:
    return [cosign(checkpoint, SigningKey("w3.example", b"\x99" * 32), NOW)]


def with_the_key_id_of_the_true_one(checkpoint: Checkpoint) -> list[NoteSignature]:
    (false,) = by_another_key_of_that_name(checkpoint)
    return [NoteSignature("w3.example", key_of(3).cosigner_key.key_id, false.signature)]


def hang(_request: httpx.Request) -> httpx.Response:
    time.sleep(1.5)
    return httpx.Response(200)


class Drip(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        for _ in range(30):
            time.sleep(0.05)
            yield b"x"


class Flood(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"x" * 65536


def conflict_then(second: Handler, size: bytes = b"1\n") -> Handler:
    seen: list[int] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(1)
        return answer(409, size, "text/x.tlog.size")(request) if len(seen) % 2 else second(request)

    return handle


BAD: dict[str, Handler] = {
    "down": down,
    "hangs": hang,
    "drips": lambda _request: httpx.Response(200, stream=Drip()),
    "floods": lambda _request: httpx.Response(200, stream=Flood()),
    "error": answer(500),
    "not-found": answer(404),
    "refuses": answer(403),
    "redirects": answer(302, location="http://w1.example/add-checkpoint"),
    "empty": answer(),
    "garbage": answer(body=b"\xff\xfe\0garbage"),
    "half-a-line": answer(body=b"\xe2\x80\x94 w3.example AAAA"),
    "coded": answer(body=b"x", **{"content-encoding": "gzip"}),
    "conflict-without-size": answer(409, b"0\n"),
    "conflict-with-garbage": answer(409, b"five\n", "text/x.tlog.size"),
    "conflict-for-ever": answer(409, b"0\n", "text/x.tlog.size"),
    "conflict-then-down": conflict_then(down),
    "claims-to-have-seen-more": answer(409, b"1000\n", "text/x.tlog.size"),
    "claims-another-history": answer(422),
    "forged": lines(forged),
    "of-another-tree": lines(of_another_tree),
    "same-name": lines(by_another_key_of_that_name),
    "same-name-and-key-id": lines(with_the_key_id_of_the_true_one),
    "twice": lines(lambda checkpoint: [cosign(checkpoint, key_of(3), NOW)] * 2),
    "yesterday": lines(lambda checkpoint: [cosign(checkpoint, key_of(3), NOW - 86400)]),
    "tomorrow": lines(lambda checkpoint: [cosign(checkpoint, key_of(3), NOW + 86400)]),
    "anothers": lines(lambda checkpoint: [cosign(checkpoint, key_of(1), NOW)]),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_witness_neither_stops_a_batch_nor_counts(watched: Watched, kind: str) -> None:
    watched.network.hosts["w3.example"] = BAD[kind]
    keys = [*(w.verification_key for w in watched.witnesses), key_of(3).cosigner_key]
    watched.policy = policy_of(keys, 2)
    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)
        verified = ledger.policy().verify_checkpoint(published(ledger))
        assert [name for name, _ in verified.cosignatures] == ["w1", "w2"]
        fakes.whole_audit(ledger)


@pytest.mark.parametrize("kind", sorted(set(BAD) - {"hangs", "drips", "floods"}))
def test_a_bad_witness_that_is_needed_keeps_everything_unpublished(watched: Watched, kind: str) -> None:
    watched.network.hosts["w2.example"] = BAD[kind]
    watched.policy = policy_of([watched.witnesses[0].verification_key, key_of(3).cosigner_key])
    with watched.open() as ledger:
        fakes.stage_terms(ledger, SCOPE)
        before = published(ledger)
        with pytest.raises(UnavailableError):
            ledger.seal(DAY)
        assert published(ledger) == before


def test_lines_of_unknown_keys_are_ignored(watched: Watched) -> None:
    def with_others(checkpoint: Checkpoint) -> list[NoteSignature]:
        return [
            cosign(checkpoint, key_of(9), NOW),
            NoteSignature("w2.example", b"\0\0\0\0", b"?"),
            cosign(checkpoint, key_of(2), NOW),
        ]

    watched.network.hosts["w2.example"] = lines(with_others)
    watched.policy = policy_of([watched.witnesses[0].verification_key, key_of(2).cosigner_key])
    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)
        names = [line.name for line in parse_checkpoint(published(ledger)).note.signatures]
        assert names == [manifests.ORIGIN, "w1.example", "w2.example"]


def test_a_hanging_witness_is_not_asked_again_while_it_hangs(watched: Watched) -> None:
    release = threading.Event()
    asked: list[int] = []

    def wait(_request: httpx.Request) -> httpx.Response:
        asked.append(1)
        release.wait(20)
        return httpx.Response(500)

    watched.network.hosts["w2.example"] = wait
    asking = watched.asking(timeout_s=0.2)
    raw = sign_checkpoint(Checkpoint(KEY.name, 0, merkle.EMPTY_ROOT), KEY)
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(UnavailableError):
            asking(raw)
        assert time.monotonic() - started < 5
    assert len(asked) == 1
    release.set()


def test_who_has_a_quorum_does_not_wait_for_the_slow(watched: Watched) -> None:
    watched.network.hosts["w3.example"] = hang
    keys = [*(w.verification_key for w in watched.witnesses), key_of(3).cosigner_key]
    watched.policy = policy_of(keys, 2)
    asking = watched.asking(timeout_s=60, grace_s=0.05)
    started = time.monotonic()
    asking(sign_checkpoint(Checkpoint(KEY.name, 0, merkle.EMPTY_ROOT), KEY))
    assert time.monotonic() - started < 1.4


def test_two_keys_at_one_url_are_asked_once(watched: Watched) -> None:
    pq = MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    key = VerificationKey("w2.example", MLDSA44, pq.public_key().public_bytes_raw())

    def both(checkpoint: Checkpoint) -> list[NoteSignature]:
        message = cosigned_message(checkpoint, key, NOW)
        return [
            NoteSignature(key.name, key.key_id, u64(NOW) + pq.sign(message)),
            cosign(checkpoint, key_of(2), NOW),
        ]

    watched.network.hosts["w2.example"] = lines(both)
    text = (
        f"witness pq {key.to_text()} http://w2.example\n"
        f"witness ed {key_of(2).cosigner_key.to_text()} http://w2.example\n"
        "group both all pq ed\nquorum both\n"
    )
    watched.policy = Policy.from_bytes(text.encode())
    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)
        names = [name for name, _ in ledger.policy().verify_checkpoint(published(ledger)).cosignatures]
        assert sorted(names) == ["ed", "pq"]
        assert len(watched.sizes("w2.example")) == 2  # before the batch and for it
        fakes.whole_audit(ledger)


def test_a_false_ml_dsa_cosignature_does_not_count(watched: Watched) -> None:
    pq = MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    key = VerificationKey("w2.example", MLDSA44, pq.public_key().public_bytes_raw())

    def false(checkpoint: Checkpoint) -> list[NoteSignature]:
        message = cosigned_message(checkpoint, key, NOW + 1)
        return [NoteSignature(key.name, key.key_id, u64(NOW) + pq.sign(message))]

    watched.network.hosts["w2.example"] = lines(false)
    watched.policy = policy_of([watched.witnesses[0].verification_key, key])
    with watched.open() as ledger:
        fakes.stage_terms(ledger, SCOPE)
        with pytest.raises(UnavailableError, match="1 of 2"):
            ledger.seal(DAY)


# A witness that has seen more than the database


def restore_backup(watched: Watched, tmp_path: Path) -> None:
    """A ledger put back whole, files and database, to before its last batch."""
    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)
    shutil.copytree(watched.config.directory, tmp_path / "backup")
    with watched.open() as ledger:
        accept(ledger, 0)
        ledger.seal(DAY)
    shutil.rmtree(watched.config.directory)
    shutil.copytree(tmp_path / "backup", watched.config.directory)


def test_a_restored_backup_is_refused_at_the_start(watched: Watched, tmp_path: Path) -> None:
    restore_backup(watched, tmp_path)
    reasons: list[str] = []
    with watched.open() as ledger:
        Ticker(ledger, watched.clock, reasons.append).run()
    assert len(reasons) == 1
    assert "newer than the database" in reasons[0]


def test_a_restored_backup_signs_no_second_history(watched: Watched, tmp_path: Path) -> None:
    restore_backup(watched, tmp_path)
    with watched.open() as ledger:
        before = ledger.head()
        accept(ledger, 1)
        with pytest.raises(CorruptionError, match="newer than the database"):
            ledger.seal(DAY)
        assert ledger.head() == before


@pytest.mark.parametrize("size", [3, 5])
def test_a_witness_of_another_history_is_believed_by_our_signature_alone(watched: Watched, size: int) -> None:
    other = sign_checkpoint(Checkpoint(KEY.name, size, merkle.root(witnessing.LEAVES[:size])), KEY)
    impostor = SigningKey(KEY.name, b"\x99" * 32)
    shown = sign_checkpoint(Checkpoint(KEY.name, size, merkle.RootHash(bytes(32))), impostor)

    def refuse(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/" + monitoring_path(KEY.name):
            return httpx.Response(200, content=shown)
        return httpx.Response(422)

    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)
        accept(ledger, 0)
        watched.network.hosts["w1.example"] = refuse
        with pytest.raises(UnavailableError):
            ledger.seal(DAY)
        shown = other
        with pytest.raises(CorruptionError, match="another history"):
            ledger.seal(DAY)


# Configuration


def write_policy(watched: Watched, path: Path) -> Path:
    path.write_bytes(watched.policy.to_bytes())
    return path


def test_the_file_in_the_directory_is_used_unless_another_is_named(watched: Watched, tmp_path: Path) -> None:
    with Ledger.open(watched.config) as ledger:
        assert ledger.policy().witnesses == ()
    write_policy(watched, watched.config.directory / "witnesses")
    with Ledger.open(watched.config) as ledger:
        assert ledger.policy().witnesses == watched.policy.witnesses
    named = tmp_path / "other"
    named.write_text("quorum none\n")
    with Ledger.open(
        LedgerConfig.from_table({"directory": "ledger", "witnesses": "other"}, tmp_path)
    ) as ledger:
        assert ledger.policy().witnesses == ()
    with pytest.raises(ConfigurationError, match="witnesses"):
        LedgerConfig.from_table({"directory": "ledger", "witnesses": 5}, tmp_path)


def test_whoever_had_witnesses_does_not_seal_without_them_by_mistake(watched: Watched) -> None:
    with watched.open() as ledger:
        fakes.open_scopes(ledger, SCOPE)
        accept(ledger, 0)
        before = ledger.head()
    with Ledger.open(watched.config) as ledger:
        with pytest.raises(ConfigurationError, match="name the witnesses' policy"):
            ledger.seal(DAY)
        assert ledger.head() == before
    (watched.config.directory / "witnesses").write_text("quorum none\n")  # on purpose
    with Ledger.open(watched.config) as ledger:
        assert ledger.seal(DAY) is not None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "without a quorum"),
        (f"witness w {key_of(1).cosigner_key.to_text()}\nquorum w\n", "too few"),
        (f"witness w {key_of(1).cosigner_key.to_text()} ftp://x\nquorum w\n", "not one of HTTP"),
        (f"log {key_of(1).verification_key.to_text()}\nquorum none\n", "other logs"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "policy").write_text(text)
    with pytest.raises(ConfigurationError, match=named):
        read_policy(tmp_path / "policy", KEY.verification_key)
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_policy(tmp_path / "missing", KEY.verification_key)


def test_terms_that_ask_for_other_witnesses_are_refused(watched: Watched) -> None:
    write_policy(watched, watched.config.directory / "witnesses")
    foreign = f"witness w {key_of(9).cosigner_key.to_text()}\nquorum w\n"
    ours = f"witness w {watched.witnesses[0].verification_key.to_text()}\nquorum w\n"
    with Ledger.open(watched.config) as ledger:
        with pytest.raises(NotEligibleError, match="ask for witnesses"):
            fakes.stage_terms(ledger, manifests.manifest(witnesses=foreign))
        fakes.stage_terms(ledger, manifests.manifest(witnesses=ours))
