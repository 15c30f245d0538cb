"""Vectors of tile paths, tiles and entry bundles."""

from __future__ import annotations

from typing import Any

from headcount_spec import merkle
from headcount_spec.errors import MalformedError, NotFoundError, ProofError
from headcount_spec.tile import (
    Bundle,
    Tile,
    TileBuilder,
    TileReader,
    decode_bundle,
    encode_bundle,
    new_bundles,
    new_tiles,
    parse_path,
)

from . import Case, fails, ok

FILE = "tiles.json"

_ENTRIES = [b"pledge-%d" % i for i in range(5)]


def make() -> dict[str, Any]:
    """Paths, the tiles of a few sizes, bundles, and small published trees."""
    return {
        "about": "Tiles and entry bundles, c2sp.org/tlog-tiles: their paths and their bytes.",
        "source": "Made by makers/tiles.py; paths and counts agree with the text of tlog-tiles.",
        "cases": [*_paths(), *_growth(), *_bundles(), *_trees()],
    }


def _paths() -> list[Case]:
    places: list[tuple[str, Tile | Bundle]] = [
        ("first", Tile(0, 0)),
        ("last-of-three-digits", Tile(0, 999)),
        ("first-of-two-groups", Tile(0, 1000)),
        ("three-groups", Tile(0, 1234067)),
        ("partial", Tile(0, 1234067, 17)),
        ("partial-of-one", Tile(7, 0, 1)),
        ("partial-of-255", Tile(1, 0, 255)),
        ("highest-level", Tile(63, 0)),
        ("bundle", Bundle(390624)),
        ("partial-bundle", Bundle(273, 112)),
    ]
    cases = [ok(f"path-{name}", operation="path", path=p.path, **_place(p)) for name, p in places]
    wrong = {
        "short-index": "tile/0/5",
        "long-index": "tile/0/0005",
        "leading-zero-group": "tile/0/x000/005",
        "group-without-x": "tile/0/001/005",
        "last-group-with-x": "tile/0/x001/x005",
        "index-out-of-range": "tile/0/x036/x028/x797/x018/x963/968",
        "leading-zero-level": "tile/00/005",
        "level-64": "tile/64/005",
        "leading-zero-width": "tile/0/005.p/07",
        "width-zero": "tile/0/005.p/0",
        "width-256": "tile/0/005.p/256",
        "no-width": "tile/0/005.p",
        "trailing-slash": "tile/0/005/",
        "leading-slash": "/tile/0/005",
        "trailing-newline": "tile/0/005\n",
        "non-ascii-digits": "tile/0/\u0660\u0660\u0665",
        "height-in-the-path": "tile/8/0/005",
        "static-ct-bundle": "tile/data/005",
        "climbing": "tile/0/../005",
    }
    return [*cases, *(fails(f"path-{n}", MalformedError, operation="path", path=p) for n, p in wrong.items())]


def _place(place: Tile | Bundle) -> dict[str, Any]:
    level = place.level if isinstance(place, Tile) else "entries"
    return {"level": level, "index": place.index, "width": place.width}


def _growth() -> list[Case]:
    steps = [(0, 0), (0, 1), (0, 256), (0, 257), (5, 6), (255, 256), (256, 257), (256, 256), (300, 600)]
    steps += [(65535, 65536), (65536, 65537), (69999, 70000)]
    return [
        ok(
            f"resources-from-{old}-to-{new}",
            operation="growth",
            old_size=old,
            size=new,
            paths=_new_paths(old, new),
        )
        for old, new in steps
    ]


def _new_paths(old: int, new: int) -> list[str]:
    return [t.path for t in new_tiles(old, new)] + [b.path for b in new_bundles(old, new)]


def _bundles() -> list[Case]:
    data = encode_bundle(_ENTRIES)
    cases = [
        _bundle("of-five", _ENTRIES),
        _bundle("of-one", _ENTRIES[:1]),
        _bundle("of-an-empty-entry", [b""]),
        _bundle("of-256-empty-entries", [b""] * 256),
    ]
    wrong: dict[str, tuple[bytes, int]] = {
        "one-entry-missing": (data[:-10], 5),
        "one-entry-more": (data + encode_bundle([b""]), 5),
        "trailing-byte": (data + b"\0", 5),
        "truncated-entry": (data[:-1], 5),
        "truncated-length": (data[:-9], 5),
        "empty": (b"", 1),
        "length-too-large": (b"\xff\xff" + data[2:], 5),
        "little-endian-length": (b"\x08\x00" + data[2:10], 1),
    }
    return [
        *cases,
        *(
            fails(f"bundle-{name}", MalformedError, operation="bundle", width=width, bundle=changed.hex())
            for name, (changed, width) in wrong.items()
        ),
    ]


def _bundle(name: str, entries: list[bytes]) -> Case:
    return ok(
        f"bundle-{name}",
        operation="bundle",
        width=len(entries),
        bundle=encode_bundle(entries).hex(),
        entries=[e.hex() for e in entries],
    )


def _trees() -> list[Case]:
    files = _published(5)
    tile, bundle = "tile/0/000.p/5", "tile/entries/000.p/5"
    longer = _published(300)
    full = {
        "tile/0/000": longer["tile/0/000"],
        "tile/entries/000": longer["tile/entries/000"],
    }
    one_level_up = {name: longer[name] for name in ("tile/0/001.p/44", "tile/1/000.p/1")}
    changes: dict[str, dict[str, bytes]] = {
        "tile-trailing-byte": {tile: files[tile] + b"\0"},
        "tile-with-a-hash-more": {tile: files[tile] + bytes(32)},
        "tile-with-a-hash-less": {tile: files[tile][:-32]},
        "empty-tile": {tile: b""},
    }
    other_root = {**_tree(files, 5), "root": merkle.EMPTY_ROOT.hex()}
    return [
        ok("tree-of-5", **_tree(files, 5)),
        ok("tree-of-5-from-full-tiles", **_tree(full, 5)),
        ok("tree-of-300-without-the-first-tile", **_tree(one_level_up, 300)),
        ok("tree-of-0", **_tree({}, 0)),
        *(fails(f"tree-{n}", MalformedError, **_tree({**files, **c}, 5)) for n, c in changes.items()),
        fails("tree-partial-hashes-in-a-full-tile", MalformedError, **_tree({"tile/0/000": files[tile]}, 5)),
        fails("tree-without-its-tile", NotFoundError, **_tree({bundle: files[bundle]}, 5)),
        fails("tree-with-another-root", ProofError, **other_root),
    ]


def _published(size: int) -> dict[str, bytes]:
    entries = [b"pledge-%d" % i for i in range(size)]
    builder = TileBuilder()
    files = {t.path: data for t, data in builder.extend(map(merkle.leaf_hash, entries))}
    files |= {t.path: data for t, data in builder.partial_tiles()}
    for b in new_bundles(0, size):
        files[b.path] = encode_bundle(entries[b.index * 256 : b.index * 256 + b.width])
    return files


def _tree(files: dict[str, bytes], size: int) -> dict[str, Any]:
    root = merkle.root(merkle.leaf_hash(b"pledge-%d" % i) for i in range(size))
    return {
        "operation": "tree",
        "size": size,
        "root": root.hex(),
        "files": {path: data.hex() for path, data in files.items()},
    }


def check(case: Case) -> None:
    """Parse a path or a bundle, list new resources, or find a tree's root from its tiles."""
    operation = case["operation"]
    if operation == "path":
        place = parse_path(case["path"])
        _agree(_place(place), {name: case[name] for name in ("level", "index", "width")})
        _agree(place.path, case["path"])
    elif operation == "growth":
        _agree(_new_paths(case["old_size"], case["size"]), case["paths"])
    elif operation == "bundle":
        entries = decode_bundle(bytes.fromhex(case["bundle"]), case["width"])
        _agree([e.hex() for e in entries], case["entries"])
    else:
        files = {path: bytes.fromhex(data) for path, data in case["files"].items()}

        def fetch(path: str) -> bytes:
            if path not in files:
                raise NotFoundError(path)
            return files[path]

        _agree(TileReader(fetch, case["size"]).root().hex(), case["root"])


def _agree(found: object, expected: object) -> None:
    if found != expected:
        raise ProofError("another result")
