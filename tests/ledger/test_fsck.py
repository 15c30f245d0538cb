from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import damage
import fakes
import manifests
from damage import SCOPE, TODAY
from headcount_ledger import fsck as package
from headcount_ledger.cli import ledger as command
from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck import fsck
from headcount_ledger.fsck.finding import NOTES, SENTENCES
from headcount_ledger.ledger import Ledger
from headcount_spec.errors import ConfigurationError, ProtocolError, UnavailableError
from headcount_spec.tile import decode_bundle, encode_bundle

# What the next batch does not read again. fsck finds it.
READ_BY_FSCK_ALONE = {"spent", "notices", "scopes.is_open", "scopes.closed_in", "head.id"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("prepared") / "ledger"
    damage.everything(directory)
    return directory


@pytest.fixture
def config(prepared: Path, tmp_path: Path) -> LedgerConfig:
    return LedgerConfig(Path(shutil.copytree(prepared, tmp_path / "ledger")))


@pytest.fixture
def unfinished(config: LedgerConfig) -> LedgerConfig:
    """Its last batch is committed and not published."""
    with Ledger.open(config) as ledger, ledger.sequencer() as sequencer:
        head = sequencer.recover()
        selection = sequencer.select(head, TODAY)
        assert selection is not None
        batch = sequencer.build(head, selection)
        sequencer.check(head, batch)
        sequencer.persist(batch)
        sequencer.commit(head, batch)
    return config


def errors(config: LedgerConfig) -> list[str]:
    return [finding.code for finding in fsck(config, TODAY).findings if finding.is_error]


def notes(config: LedgerConfig) -> list[tuple[str, str]]:
    report = fsck(config, TODAY)
    assert report.ok
    return [(finding.code, finding.place) for finding in report.findings if finding.code in NOTES]


def test_a_sound_ledger_has_no_finding(config: LedgerConfig) -> None:
    report = fsck(config, TODAY)
    assert [finding.line for finding in report.findings] == []
    assert (report.batches, report.entries, report.waiting) == (5, 275, 8)
    with Ledger.open(config) as ledger:
        ledger.seal(TODAY)
        ledger.seal(SCOPE.closes + 1)
    assert errors(config) == []


def test_an_empty_ledger_is_sound(tmp_path: Path) -> None:
    with fakes.new_ledger(tmp_path / "ledger") as ledger:
        assert fsck(ledger.config, TODAY).findings == ()


def test_there_must_be_a_ledger_and_no_sequencer(config: LedgerConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        fsck(LedgerConfig(tmp_path / "nothing"), TODAY)
    with Ledger.open(config) as ledger, ledger.sequencer(), pytest.raises(UnavailableError):
        fsck(config, TODAY)


def test_it_changes_nothing(config: LedgerConfig) -> None:
    with Ledger.open(config) as ledger:
        before = fakes.published(ledger), fakes.tables(ledger)
        fsck(config, TODAY)
        assert (fakes.published(ledger), fakes.tables(ledger)) == before


def test_entries_may_be_accepted_meanwhile(config: LedgerConfig) -> None:
    with Ledger.open(config) as ledger:
        ledger.accept(manifests.pledge(SCOPE, 400, choice=1).to_bytes(), TODAY)
        assert fsck(config, TODAY).waiting == 9


def public_files() -> list[str]:
    return [
        "checkpoint",
        "checkpoints/0",
        "checkpoints/4",
        "scopes/SCOPE",
        "tile/0/000",
        "tile/0/001.p/19",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/19",
        "totals/1",
        "totals/4",
    ]


@pytest.mark.parametrize("name", public_files())
def test_a_bit_of_a_published_file(config: LedgerConfig, name: str) -> None:
    path = config.public / name.replace("SCOPE", SCOPE.scope_id.hex())
    size = path.stat().st_size
    good = path.read_bytes()
    for offset in sorted({0, size // 3, size // 2, size - 2, size - 1}):
        damage.flip_byte(path, offset)
        assert errors(config) != [], (name, offset)
        path.write_bytes(good)
    path.write_bytes(good[:-1])
    assert errors(config) != []
    path.unlink()
    assert errors(config) != []


@pytest.mark.parametrize(
    "name", ["tile/0/001.p/19", "tile/entries/001.p/19", "checkpoints/4", "totals/4", "checkpoint"]
)
def test_a_bit_of_what_the_next_batch_stands_on_is_never_signed(config: LedgerConfig, name: str) -> None:
    path = config.public / name
    size = path.stat().st_size
    for offset in (0, size // 2, size - 2):
        damage.flip_byte(path, offset)
        check_never_signed(config)
        damage.flip_byte(path, offset)


def check_never_signed(config: LedgerConfig, *, is_harmless: bool = False) -> None:
    """The next batch is refused, and what is there stays; or else, what was damaged does not matter."""
    before = (config.public / "checkpoint").read_bytes()
    refusal = ""
    try:
        with Ledger.open(config) as ledger:
            ledger.seal(TODAY)
    except ProtocolError as exc:
        refusal = exc.code
    if refusal:
        assert refusal in ("corruption", "unavailable")
        assert (config.public / "checkpoint").read_bytes() == before
        return
    assert is_harmless
    assert errors(config) == []


@pytest.mark.parametrize(("table", "column"), damage.columns())
def test_a_bit_of_each_column(config: LedgerConfig, tmp_path: Path, table: str, column: str) -> None:
    for place in (0, 1000):
        copy = LedgerConfig(Path(shutil.copytree(config.directory, tmp_path / f"copy-{place}")))
        assert damage.flip_column(copy, table, column, place, 1 << 4 if column == "seq" else 1)
        assert errors(copy) != [], place
        if table not in READ_BY_FSCK_ALONE and f"{table}.{column}" not in READ_BY_FSCK_ALONE:
            # The marks of a batch are made again for each attempt.
            marks = ("batch", "joins", "is_late")
            check_never_signed(copy, is_harmless=column in (*marks, "checkpoint"))


@pytest.mark.parametrize("step", [12_007, pytest.param(499, marks=pytest.mark.long)], ids=["some", "many"])
def test_bits_of_the_database_file(config: LedgerConfig, step: int) -> None:
    with Ledger.open(config) as ledger:
        expected = fakes.tables(ledger)
    good = config.database.read_bytes()
    found = 0
    for offset in range(17, len(good), step):
        damage.flip_byte(config.database, offset, offset % 8)
        if errors(config):
            found += 1
        else:
            # A byte that means nothing: free space, or a counter.
            with Ledger.open(config) as ledger:
                assert fakes.tables(ledger) == expected, offset
        for name in ("-wal", "-shm"):
            config.database.with_name(config.database.name + name).unlink(missing_ok=True)
        config.database.write_bytes(good)
    assert found


def test_a_database_that_is_none(config: LedgerConfig) -> None:
    config.database.write_bytes(b"garbage " * 1000)
    assert errors(config) == ["damaged-database"]


def test_another_key(config: LedgerConfig) -> None:
    damage.flip_byte(config.key, 60)
    assert errors(config) == ["damaged-key"]
    with pytest.raises(ProtocolError):
        Ledger.open(config)


def test_a_missing_row_of_the_spent_set_could_count_twice(config: LedgerConfig) -> None:
    with Ledger.open(config) as ledger, ledger._store.write() as tx:
        tx.exec_driver_sql("DELETE FROM spent WHERE nullifier = ?", (damage.PLEDGES[3].nullifier,))
    assert set(errors(config)) == {"wrong-spent"}


def test_an_additional_row_of_the_spent_set(config: LedgerConfig) -> None:
    with Ledger.open(config) as ledger, ledger._store.write() as tx:
        tx.exec_driver_sql(
            "INSERT INTO spent SELECT zeroblob(32), scope, leaf_hash, revision_key, choice, serial,"
            " revision_hash FROM spent WHERE nullifier = ?",
            (damage.PLEDGES[3].nullifier,),
        )
    assert errors(config) == ["wrong-spent"]


def test_a_batch_that_waits_for_its_publication(unfinished: LedgerConfig) -> None:
    assert notes(unfinished) == [("unfinished-batch", "pending")]
    with Ledger.open(unfinished) as ledger:
        ledger.seal(TODAY)
    assert notes(unfinished) == []


@pytest.mark.parametrize("file", ["plan", "objects"])
def test_a_bit_of_a_batch_that_waits_for_its_publication(unfinished: LedgerConfig, file: str) -> None:
    path = unfinished.pending / file
    size = path.stat().st_size
    for offset in (0, size // 2, size - 1):
        damage.flip_byte(path, offset)
        assert "damaged-pending" in errors(unfinished)
        damage.flip_byte(path, offset)
    path.unlink()
    assert "damaged-pending" in errors(unfinished)


def test_what_crashes_leave_is_named_and_no_error(config: LedgerConfig) -> None:
    (config.public / "tile/0/.000.new").write_bytes(b"half")
    (config.pending / ".plan.new").write_bytes(b"{")
    for name in ("plan", "objects"):
        (config.pending / name).write_bytes(b"")
    for path in (*config.pending.iterdir(), config.public / "tile/0/.000.new"):
        path.chmod(0o600)
    assert notes(config) == [
        ("left-over-batch", "pending"),
        ("temporary-file", "pending/.plan.new"),
        ("temporary-file", "public/tile/0/.000.new"),
    ]


def test_strangers_among_the_files(config: LedgerConfig) -> None:
    for name in ("totals/5", "checkpoints/17", "tile/0/000.p/77", "tile/0/001", "tile/entries/7", "scopes/x"):
        path = config.public / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"?")
        assert errors(config) == ["stray-file"], name
        path.unlink()
    (config.public / "index.html").write_bytes(b"")
    (config.directory / "README").write_bytes(b"")
    (config.directory / "README").chmod(0o600)
    assert notes(config) == [("unknown-file", "README"), ("unknown-file", "public/index.html")]


def test_a_partial_file_beside_its_full_one(config: LedgerConfig) -> None:
    path = config.public / "tile/entries/000.p/9"
    path.parent.mkdir()
    entries = decode_bundle((config.public / "tile/entries/000").read_bytes(), 256)
    path.write_bytes(encode_bundle(entries[:9]))
    assert notes(config) == [("superseded-partial", "public/tile/entries/000.p/9")]
    damage.flip_byte(path, 700)
    assert errors(config) == ["broken-tile"]


def test_files_that_others_may_open(config: LedgerConfig) -> None:
    for path, mode in (
        (config.key, 0o644),
        (config.database, 0o640),
        (config.public / "checkpoint", 0o664),
        (config.public, 0o777),
        (config.directory, 0o775),
    ):
        before = path.stat().st_mode
        path.chmod(mode)
        assert errors(config) == ["open-file"], path
        path.chmod(before)
    assert errors(config) == []


def run(config: LedgerConfig, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, ["fsck", str(config.directory), *options])
    return result.exit_code, result.output


def test_the_command_prints_one_line_a_finding(config: LedgerConfig) -> None:
    code, output = run(config)
    assert code == 0
    assert output == "sound: 275 entries in 5 batches, 8 waiting, 27 files\n"
    damage.flip_byte(config.public / "totals/4", 40)
    code, output = run(config)
    assert code == 5
    assert output.splitlines()[0].startswith("error: edited-count: batch 4")
    assert output.splitlines()[-1].startswith("NOT SOUND: ")


def test_the_command_prints_json(config: LedgerConfig) -> None:
    (config.directory / "README").write_bytes(b"")
    (config.directory / "README").chmod(0o600)
    code, output = run(config, "--json")
    report = json.loads(output)
    assert code == 0
    assert report["ok"]
    assert report["findings"] == [
        {"severity": "note", "code": "unknown-file", "place": "README", "detail": ""}
    ]


def test_no_finding_names_a_pledge(config: LedgerConfig) -> None:
    for table in ("spent", "staged_pledges", "staged_revisions", "notices"):
        damage.flip_column(config, table, "leaf_hash")
    text = json.dumps(fsck(config, TODAY).to_json())
    for pledge in (*damage.PLEDGES, *damage.WAITING):
        assert pledge.nullifier.hex()[:16] not in text


def test_every_code_has_a_sentence() -> None:
    assert package.SENTENCES is SENTENCES
    assert all(code == code.lower() and sentence for code, sentence in SENTENCES.items())
