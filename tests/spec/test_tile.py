from __future__ import annotations

import contextlib
import doctest

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import reference_merkle as reference
from headcount_spec import merkle, tile, wire
from headcount_spec.errors import MalformedError, NotFoundError
from headcount_spec.tile import Bundle, Tile, TileBuilder, TileReader

# 65,793 = 65,536 + 256 + 1: a partial tile on three levels.
BOUNDARIES = [1, 2, 255, 256, 257, 511, 512, 513, 1000, 65535, 65536, 65537, 65793]
ENTRIES = [b"entry %d" % i for i in range(65793)]
LEAVES = [merkle.leaf_hash(e) for e in ENTRIES]
INDEX_LIMIT = merkle.MAX_SIZE // 256


class Files:
    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = dict(files)
        self.asked: list[str] = []

    def __call__(self, path: str) -> bytes:
        self.asked.append(path)
        try:
            return self.files[path]
        except KeyError:
            raise NotFoundError(path) from None


@pytest.mark.parametrize(
    ("index", "path"),
    [(5, "005"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067"), (390624, "x390/624")],
)
def test_index_paths(index: int, path: str) -> None:
    assert Tile(0, index).path == f"tile/0/{path}"
    assert Tile(7, index, 17).path == f"tile/7/{path}.p/17"
    assert Bundle(index, 112).path == f"tile/entries/{path}.p/112"
    assert Bundle(index).path == f"tile/entries/{path}"


places = st.tuples(
    st.integers(0, 63),
    st.one_of(st.integers(0, 2000), st.integers(0, INDEX_LIMIT)),
    st.integers(1, 256),
)


@given(places)
@example((63, INDEX_LIMIT, 256))
def test_paths_are_parsed_back(place: tuple[int, int, int]) -> None:
    for resource in (Tile(*place), Bundle(*place[1:])):
        assert tile.parse_path(resource.path) == resource


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint",
        "tile/0/5",
        "tile/0/0005",
        "tile/00/005",
        "tile/64/005",
        "tile/100/005",
        "tile/-1/005",
        "tile/0/x000/005",
        "tile/0/x001",
        "tile/0/001/005",
        "tile/0/x001/x005",
        "tile/0/005.p/0",
        "tile/0/005.p/07",
        "tile/0/005.p/256",
        "tile/0/005.p/999",
        "tile/0/005.p/",
        "tile/0/005.p",
        "tile/0/005/",
        "tile/0/005\n",
        "/tile/0/005",
        "tile/8/0/005",
        "tile/data/005",
        "tile/0/٠٠٥",
        "tile/0/../0/005",
        "tile/0/x036/x028/x797/x018/x963/968",  # one more than 2^63 entries have
        "tile/0/x001/x036/x028/x797/x018/x963/968",
    ],
)
def test_other_spellings_of_a_path_are_refused(path: str) -> None:
    with pytest.raises(MalformedError):
        tile.parse_path(path)


@given(st.text(alphabet="tile/0123456789xp.ns", max_size=40))
def test_any_path_is_parsed_or_refused(path: str) -> None:
    with contextlib.suppress(MalformedError):
        assert tile.parse_path(path).path == path


def test_the_last_index_of_the_largest_tree_has_a_path() -> None:
    path = "tile/0/x036/x028/x797/x018/x963/967"
    assert tile.parse_path(path) == Tile(0, INDEX_LIMIT)


@pytest.mark.parametrize(
    "place", [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, INDEX_LIMIT + 1, 1), (0, 0, 0), (0, 0, 257)]
)
def test_no_tile_out_of_range(place: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"no such|wide"):
        Tile(*place)


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        (0, []),
        (1, [(0, 1)]),
        (255, [(0, 255)]),
        (256, [(1, 0), (0, 1)]),
        (257, [(1, 1), (0, 1)]),
        (70000, [(273, 112), (1, 17), (0, 1)]),
        (100_000_000, [(390625, 0), (1525, 225), (5, 245), (0, 5)]),
    ],
)
def test_tiles_of_a_size(size: int, counts: list[tuple[int, int]]) -> None:
    tiles = tile.tiles_for(size)
    for level, (full, partial) in enumerate(counts):
        here = [t for t in tiles if t.level == level]
        assert sum(t.is_full for t in here) == full
        assert [t.width for t in here if not t.is_full] == ([partial] if partial else [])
    assert {t.level for t in tiles} == set(range(len(counts)))
    bundles = tile.bundles_for(size)
    assert [b.width for b in bundles] == [t.width for t in tiles if t.level == 0]


@given(st.integers(0, 70000), st.integers(0, 70000))
@example(255, 256)
@example(256, 257)
@example(65535, 65536)
@example(65536, 65536)
def test_new_tiles_are_the_difference(a: int, b: int) -> None:
    old, new = sorted((a, b))
    before = set(tile.tiles_for(old))
    assert tile.new_tiles(old, new) == [t for t in tile.tiles_for(new) if t not in before]
    had = set(tile.bundles_for(old))
    assert tile.new_bundles(old, new) == [x for x in tile.bundles_for(new) if x not in had]


def test_a_tree_only_grows() -> None:
    for function in (tile.new_tiles, tile.new_bundles):
        for old, new in ((2, 1), (-1, 1), (0, 2**63)):
            with pytest.raises(ValueError, match="only grows"):
                function(old, new)


def test_the_bundle_of_the_specification_text() -> None:
    entries = [b"pledge-%d" % i for i in range(5)]
    data = tile.encode_bundle(entries)
    assert data.hex().startswith("0008706c656467652d30" + "0008706c656467652d31")
    assert tile.decode_bundle(data, 5) == entries


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
@example([b"", bytes(65535)])
def test_bundles_are_decoded_back(entries: list[bytes]) -> None:
    data = tile.encode_bundle(entries)
    assert tile.decode_bundle(data, len(entries)) == entries
    for changed, width in (
        (data[:-1], len(entries)),
        (data + b"\0", len(entries)),
        (data + b"\0\0", len(entries)),
        (data, len(entries) + 1),
        (data, len(entries) - 1),
        (b"", len(entries)),
    ):
        with pytest.raises(MalformedError):
            tile.decode_bundle(changed, width)


@given(st.integers(0, 600), st.integers(1, 256), st.data())
def test_bundles_of_entries_of_one_length_are_read_like_all_others(
    length: int, width: int, data: st.DataObject
) -> None:
    entries = [bytes([i]) * length for i in range(width)]
    packed = bytearray(tile.encode_bundle(entries))
    assert packed == b"".join(map(wire.opaque16, entries))
    assert tile.decode_bundle(bytes(packed), width) == entries
    # One length changed: the rest falls elsewhere, or past the end.
    place = data.draw(st.integers(0, width - 1)) * (length + 2) + data.draw(st.integers(0, 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(MalformedError):
        read = tile.decode_bundle(bytes(packed), width)
        assert b"".join(map(wire.opaque16, read)) == packed


@given(st.binary(max_size=60), st.integers(1, 256))
def test_any_bundle_is_decoded_or_refused(data: bytes, width: int) -> None:
    with contextlib.suppress(MalformedError):
        assert tile.encode_bundle(tile.decode_bundle(data, width)) == data


@pytest.mark.parametrize("entries", [[], [b""] * 257])
def test_a_bundle_is_1_to_256_wide(entries: list[bytes]) -> None:
    with pytest.raises(ValueError, match="wide"):
        tile.encode_bundle(entries)


def test_an_entry_too_long_for_a_bundle_is_a_bug() -> None:
    with pytest.raises(OverflowError):
        tile.encode_bundle([bytes(65536)])


@pytest.mark.parametrize("size", BOUNDARIES)
def test_a_reader_serves_the_tree_from_its_tiles(size: int) -> None:
    leaves = LEAVES[:size]
    reader = TileReader(Files(reference.published(ENTRIES[:size])), size)
    root = merkle.root(leaves)
    assert reader.root() == root
    for place in {0, size // 3, size - 2, size - 1} - {-1}:
        assert reader.entry(place) == ENTRIES[place]
        assert reader.leaf_hash(place) == leaves[place]
        merkle.verify_inclusion(reader.inclusion_proof(place), place, size, leaves[place], root)
        old_root = reader.root_at(place + 1)
        assert old_root == merkle.root(leaves[: place + 1])
        merkle.verify_consistency(reader.consistency_proof(place + 1), place + 1, size, old_root, root)
        path = reader.inclusion_proof(place, place + 1)
        merkle.verify_inclusion(path, place, place + 1, leaves[place], old_root)
    assert reader.root_at(0) == merkle.EMPTY_ROOT


def test_a_reader_of_the_empty_tree_reads_nothing() -> None:
    files = Files({})
    reader = TileReader(files, 0)
    assert reader.root() == merkle.EMPTY_ROOT
    assert reader.consistency_proof(0) == []
    assert files.asked == []


def test_proofs_at_every_place_of_600_entries() -> None:
    size = 600
    files = Files(reference.published(ENTRIES[:size]))
    reader = TileReader(files, size)
    for place in range(0, size, 7):
        assert reader.inclusion_proof(place) == merkle.inclusion_path(LEAVES[:size], place)
        assert reader.consistency_proof(place) == merkle.consistency_path(LEAVES[:size], place)
    assert len(files.asked) == len(set(files.asked)) == 4  # each tile once: 3 of level 0, 1 of level 1


def test_a_reader_falls_back_to_the_full_tile() -> None:
    whole = reference.published(ENTRIES[:65793])
    files = Files({p: d for p, d in whole.items() if ".p/" not in p})
    reader = TileReader(files, 300)
    assert reader.entry(299) == ENTRIES[299]
    assert "tile/entries/001.p/44" in files.asked
    assert reader.leaf_hash(299) == LEAVES[299]
    with pytest.raises(NotFoundError):  # level 1 is partial in both
        TileReader(Files({}), 300).root()
    with pytest.raises(NotFoundError):
        TileReader(Files({}), 300).entry(299)


@pytest.mark.parametrize("full", [False, True])
def test_a_tile_of_another_length_is_refused(full: bool) -> None:
    size = 256 if full else 200
    for change in (
        lambda d: d[:-1],
        lambda d: d + b"\0",
        lambda d: d[:-32],
        lambda d: d + bytes(32),
        lambda _: b"",
    ):
        files = {p: change(d) for p, d in reference.published(ENTRIES[:size]).items()}
        with pytest.raises(MalformedError, match="tile/0/000"):
            TileReader(Files(files), size).leaf_hash(0)
        with pytest.raises(MalformedError, match="tile/entries/000"):
            TileReader(Files(files), size).entry(0)


def test_a_full_tile_of_another_length_is_refused_as_fallback() -> None:
    short = {"tile/0/000": bytes(200 * 32), "tile/entries/000": tile.encode_bundle(ENTRIES[:200])}
    with pytest.raises(MalformedError):
        TileReader(Files(short), 200).leaf_hash(0)
    with pytest.raises(MalformedError):
        TileReader(Files(short), 200).entry(0)


@given(st.data(), st.integers(1, 600))
def test_a_reader_survives_any_files(data: st.DataObject, size: int) -> None:
    files = reference.published(ENTRIES[:size])
    for path in data.draw(st.sets(st.sampled_from(sorted(files)))):
        files[path] = data.draw(st.binary(max_size=40))
    index = data.draw(st.integers(0, size - 1))
    reader = TileReader(Files(files), size)
    for call in (reader.root, lambda: reader.entry(index), lambda: reader.inclusion_proof(index)):
        with contextlib.suppress(MalformedError, NotFoundError):
            call()


def test_a_reader_keeps_few_tiles() -> None:
    size = 1030 * 256
    row = bytes(8192)

    def fetch(path: str) -> bytes:
        place = tile.parse_path(path)
        return (
            tile.encode_bundle([b""] * place.width) if isinstance(place, Bundle) else row[: 32 * place.width]
        )

    reader = TileReader(fetch, size)
    for index in (*range(1030), 1029):
        reader.tile(0, index)
    for index in (*range(6), 5):
        reader.bundle(index)
    assert len(reader._tiles) == 1024
    assert (0, 0) not in reader._tiles
    assert list(reader._bundles) == [2, 3, 4, 5]


def test_a_reader_has_no_place_outside_its_tree() -> None:
    reader = TileReader(Files({}), 300)
    for call in (
        lambda: TileReader(Files({}), -1),
        lambda: TileReader(Files({}), 2**63),
        lambda: reader.entry(300),
        lambda: reader.entry(-1),
        lambda: reader.leaf_hash(300),
        lambda: reader.leaf_hash(-1),
        lambda: reader.hash(9, 0),
        lambda: reader.tile(0, 2),
        lambda: reader.tile(0, -1),
        lambda: reader.tile(1, 1),
        lambda: reader.bundle(2),
        lambda: reader.root_at(301),
        lambda: reader.root_at(-1),
    ):
        with pytest.raises(ValueError, match="no such"):
            call()


@given(st.lists(st.integers(1, 700), max_size=5))
@example([255, 1, 1, 255, 1])
def test_a_builder_makes_the_tiles_of_every_size(steps: list[int]) -> None:
    builder, files, size = TileBuilder(), {}, 0
    for step in steps:
        files.update({t.path: d for t, d in builder.extend(LEAVES[size : size + step])})
        size += step
        assert builder.size == size
        partial = {t.path: d for t, d in builder.partial_tiles()}
        expected = reference.published(ENTRIES[:size])
        assert files | partial == {p: d for p, d in expected.items() if "entries" not in p}
        builder = TileBuilder(size, Files(expected))


def test_a_builder_makes_three_levels() -> None:
    builder = TileBuilder()
    made = dict(builder.extend(LEAVES))
    made |= dict(builder.partial_tiles())
    assert sorted(made) == tile.tiles_for(len(LEAVES))
    expected = reference.published(ENTRIES)
    assert all(expected[t.path] == data for t, data in made.items())


@pytest.mark.parametrize("size", [255, 256, 65535, 65536])
def test_a_builder_goes_on_where_a_published_tree_ends(size: int) -> None:
    before = reference.published(ENTRIES[:size])
    builder = TileBuilder(size, Files(before))
    made = dict(builder.extend(LEAVES[size : size + 1])) | dict(builder.partial_tiles())
    assert set(made) >= set(tile.new_tiles(size, size + 1))
    after = reference.published(ENTRIES[: size + 1])
    assert all(after[t.path] == data for t, data in made.items())


def test_a_builder_cannot_go_on_from_nothing() -> None:
    with pytest.raises(ValueError, match="fetch"):
        TileBuilder(1)


def test_the_examples_of_the_module_run() -> None:
    assert doctest.testmod(tile).failed == 0
    assert doctest.testmod(tile).attempted > 0
