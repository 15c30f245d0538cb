from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

import manifests
from headcount import campaign_link, cli, organiser
from headcount_spec.errors import ConfigurationError, LinkEndedError
from headcount_spec.link import Link, sign_link
from headcount_spec.problem import from_problem
from headcount_spec.text import encode_base64, format_day
from headcount_verifier import LinkPages, Links, Redeemer, VerifierConfig, create_app, verifier_blueprint
from headcount_verifier.links import find_link

OPENS, CLOSES = manifests.OPENS, manifests.CLOSES
SEED = manifests.ORGANISER_SEEDS[0]


class Clock:
    def __init__(self) -> None:
        self.day = OPENS

    def __call__(self) -> int:
        return self.day


class Desk:
    def __init__(self, folder: Path, site: str | None = None) -> None:
        self.manifest = manifests.manifest()
        self.clock = Clock()
        self.file = folder / "links.sqlite"
        self.links = Links(self.file, self.clock)
        self.redeemer = Redeemer({self.manifest.scope_id: self.manifest}, NoLedger(), lambda: OPENS)
        self.app = Flask(__name__)
        pages = LinkPages(site=site)
        self.app.register_blueprint(verifier_blueprint(self.redeemer, links=self.links, pages=pages))
        self.client = self.app.test_client()

    def link(self, number: int = 1, cap: int = 0, last_day: int = CLOSES) -> Link:
        return sign_link(self.manifest.scope_id, 0, SEED, number.to_bytes(8, "big"), cap, last_day)

    def get(self, link: Link, path: str = "", **headers: str) -> Any:
        return self.client.get(f"/link/{link.to_token()}{path}", headers=headers)

    def opened(self, link: Link) -> dict[str, Any]:
        return dict(self.get(link, "/opened").json)


class NoLedger:
    def submit(self, data: bytes) -> bytes:
        raise AssertionError


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_who_opens_a_link_is_sent_on_without_it(desk: Desk):
    answer = desk.get(desk.link())
    assert answer.status_code == 303
    scope = desk.manifest.scope_id.hex()
    assert answer.headers["Location"] == f"{desk.manifest.origins[0]}/sign/{scope}"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in answer.headers
    assert answer.data == b""
    tracked = desk.client.get(f"/link/{desk.link().to_token()}?utm_source=x&bucket=y")
    assert tracked.headers["Location"] == answer.headers["Location"]


def test_a_node_leads_to_its_own_pages(tmp_path: Path):
    desk = Desk(tmp_path, site="")
    assert desk.get(desk.link()).headers["Location"] == f"/sign/{desk.manifest.scope_id.hex()}"


def test_a_link_is_opened_as_often_as_it_may_be_and_no_more(desk: Desk):
    link = desk.link(cap=20)
    assert [desk.get(link).status_code for _ in range(22)] == [303] * 20 + [410] * 2
    refused = desk.get(link)
    error = from_problem(410, refused.data)
    assert isinstance(error, LinkEndedError)
    assert "as often as it may be" in str(error)
    assert desk.get(desk.link(2, cap=20)).status_code == 303
    desk.clock.day += 1
    assert desk.opened(link)["ended"] is True


def test_a_cap_holds_whoever_comes_at_once(desk: Desk, tmp_path: Path):
    link = desk.link(cap=50)
    others = [Links(tmp_path / "links.sqlite", desk.clock) for _ in range(4)]  # as processes have

    def visit(number: int) -> bool:
        try:
            others[number % 4].open(desk.manifest, link)
        except LinkEndedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(visit, range(120))) == 50


def test_a_link_ends_with_its_last_day(desk: Desk):
    link = desk.link(last_day=OPENS + 1)
    for day, status in ((OPENS, 303), (OPENS + 1, 303), (OPENS + 2, 410)):
        desk.clock.day = day
        assert desk.get(link).status_code == status
    assert "last day" in str(from_problem(410, desk.get(link).data))


def test_looking_ahead_is_not_opening(desk: Desk):
    link = desk.link(cap=1)
    assert desk.get(link, **{"Sec-Purpose": "prefetch;prerender"}).status_code == 303
    assert desk.get(link, Purpose="prefetch").status_code == 303
    assert desk.client.head(f"/link/{link.to_token()}").status_code == 303
    assert desk.get(link).status_code == 303
    assert desk.get(link, Purpose="prefetch").status_code == 410


def test_only_links_of_organisers_are_counted(desk: Desk):
    forged = sign_link(desk.manifest.scope_id, 0, manifests.ORGANISER_SEEDS[1], bytes(8), 0, CLOSES)
    elsewhere = sign_link(manifests.manifest(threshold=99).scope_id, 0, SEED, bytes(8), 0, CLOSES)
    for link, status in ((forged, 401), (elsewhere, 404)):
        assert desk.get(link).status_code == status
        assert desk.get(link, "/opened").status_code == status
    assert desk.client.get("/link/x").status_code == 400
    assert sqlite3.connect(desk.file).execute("SELECT count(*) FROM links").fetchone() == (0,)


def test_a_site_without_links_says_so(desk: Desk, tmp_path: Path):
    app = create_app(VerifierConfig("http://localhost:9"), desk.redeemer)
    for path in ("", "/opened"):
        assert app.test_client().get(f"/link/{desk.link().to_token()}{path}").status_code == 404
    with_links = create_app(VerifierConfig("http://localhost:9", links=tmp_path / "l"), desk.redeemer)
    # The manifests of the tests are of the past.
    assert with_links.test_client().get(f"/link/{desk.link().to_token()}").status_code == 410
    with pytest.raises(ConfigurationError):
        Links(tmp_path / "no" / "links.sqlite")


# What is shown and kept


def test_the_number_moves_at_midnight_and_by_tens(desk: Desk):
    link = desk.link(cap=500)
    for _ in range(27):
        desk.get(link)
        assert desk.opened(link)["opened"] == 0  # whoever polls sees nobody come
    desk.clock.day += 1
    last_day = format_day(CLOSES)
    assert desk.opened(link) == {"opened": 20, "cap": 500, "last_day": last_day, "ended": False}
    for _ in range(5):
        desk.get(link)
    assert desk.opened(link)["opened"] == 20
    desk.clock.day += 1
    assert desk.opened(link)["opened"] == 30
    few = desk.link(2)
    desk.get(few)
    desk.clock.day += 1
    assert desk.opened(few)["opened"] == 0


def test_one_link_does_not_show_when_another_is_opened(desk: Desk):
    first, second = desk.link(1), desk.link(2)
    for _ in range(10):
        desk.get(first)
    desk.clock.day += 1
    before = desk.opened(first)
    desk.get(second)
    assert desk.opened(first) == before
    assert before["opened"] == 10


def test_the_file_has_numbers_and_nothing_of_who_came(desk: Desk):
    for number in (3, 1, 2):
        for _ in range(number):
            desk.get(
                desk.link(number), **{"User-Agent": "SomebodysBrowser", "Referer": "https://canteen.example"}
            )
    scope = desk.manifest.scope_id
    with sqlite3.connect(desk.file) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        rows = db.execute("SELECT link, opened, shown FROM links").fetchall()
        today = db.execute("SELECT * FROM today").fetchall()
    assert names == {"links", "today"}
    assert rows == [(scope + n.to_bytes(8, "big"), n, 0) for n in (1, 2, 3)]
    assert today == [(1, OPENS)]
    raw = desk.file.read_bytes()
    for said in (b"Somebody", b"canteen", b"127.0.0.1"):
        assert said not in raw
    assert sorted(path.name for path in desk.file.parent.iterdir()) == ["links.sqlite"]  # and no journal
    assert desk.file.stat().st_mode & 0o777 == 0o600


def test_the_same_numbers_give_the_same_rows_whoever_came_first(tmp_path: Path):
    kept = []
    for name, order in (("a", (1, 2, 2, 3)), ("b", (3, 2, 1, 2))):
        (tmp_path / name).mkdir()
        desk = Desk(tmp_path / name)
        for number in order:
            desk.get(desk.link(number))
        with sqlite3.connect(desk.file) as db:
            kept.append(db.execute("SELECT * FROM links").fetchall())
    assert kept[0] == kept[1]


def test_a_pledge_cannot_carry_a_link(desk: Desk):
    # There is no place for it: a pledge with a byte more is refused, and the pages get an address without it.
    link = desk.link()
    location = desk.get(link).headers["Location"]
    assert link.to_token() not in location
    assert link.id.hex() not in location
    pledge = manifests.pledge(desk.manifest, 1).to_bytes()
    answer = desk.client.post(
        "/pledges", data=pledge + link.id, content_type="application/vnd.headcount.entry"
    )
    assert answer.status_code == 400


# The organiser's side


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Desk, str]]:
    """A site whose own address is in the terms."""
    server = make_server("127.0.0.1", 0, lambda *a: app[0](*a), threaded=True)  # type: ignore[no-untyped-call]
    url = f"http://localhost:{server.server_port}"
    manifest = manifests.manifest(origins=[url])
    desk = Desk(tmp_path)
    desk.manifest = manifest
    redeemer = Redeemer({manifest.scope_id: manifest}, NoLedger(), lambda: OPENS)
    app = [Flask(__name__)]
    app[0].register_blueprint(verifier_blueprint(redeemer, links=desk.links))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield desk, url
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_organiser_makes_links_and_asks_for_their_numbers(
    served: tuple[Desk, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    desk, url = served
    terms, key, place = tmp_path / "scope.json", tmp_path / "org.key", tmp_path / "links.json"
    terms.write_bytes(desk.manifest.raw)
    key.write_text(f"headcount-organiser-key-1 {encode_base64(SEED)}\n")
    assert organiser.read_key(key) == SEED
    common = ["organiser", "link", str(terms), "--key", str(key), "--list", str(place)]
    code = ["--out", str(tmp_path / "canteen.svg"), "--cap", "40", "--expires", "2026-02-20"]
    assert cli.run([*common, "--channel", "Canteen, 3rd floor", *code]) == 0
    address = capsys.readouterr().out.strip()
    manifest, link = find_link({desk.manifest.scope_id: desk.manifest}, address.rpartition("/")[2])
    assert (manifest, link.cap) == (desk.manifest, 40)
    assert address.startswith(f"{url}/link/")
    assert "anteen" not in address
    assert b"<svg" in (tmp_path / "canteen.svg").read_bytes()
    assert place.stat().st_mode & 0o777 == 0o600
    assert cli.run([*common, "--channel", "Newsletter", "--out", str(tmp_path / "n.png")]) == 0
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")
    for _ in range(12):
        desk.links.open(desk.manifest, link)
    desk.clock.day += 1
    capsys.readouterr()
    assert cli.run(["organiser", "links", "--list", str(place)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Canteen, 3rd floor: opened 10 or more of 40, until 2026-02-20"
    assert lines[1].startswith("Newsletter: opened fewer than 10, until ")
    # The same channel twice, another's key, a day after the end, a picture that is none.
    assert cli.run([*common, "--channel", "Newsletter"]) == 2
    assert cli.run([*common, "--channel", "A", "--expires", "2999-01-01"]) == 2
    assert cli.run([*common, "--channel", "A", "--site", "http://elsewhere.example"]) == 2
    assert cli.run([*common, "--channel", "A", "--mount", "pledge"]) == 2
    assert cli.run([*common, "--channel", "A", "--out", str(tmp_path / "a.gif")]) == 2
    key.write_text(f"headcount-organiser-key-1 {encode_base64(manifests.ORGANISER_SEEDS[1])}\n")
    assert cli.run([*common, "--channel", "A"]) == 2
    assert len(campaign_link.read_list(place)) == 2
    below = campaign_link.make(desk.manifest, SEED, mount="/pledge")
    assert below.startswith(f"{url}/pledge/link/")


def test_the_code_is_read_as_the_link(served: tuple[Desk, str], tmp_path: Path):
    zxingcpp = pytest.importorskip("zxingcpp")
    import io

    from PIL import Image

    desk, _ = served
    url = campaign_link.make(desk.manifest, SEED, cap=9)
    image = Image.open(io.BytesIO(campaign_link.code(url, ".png")))
    assert zxingcpp.read_barcode(image).text == url


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"headcount_links":1,"links":[{"channel":"a","url":"http://x/link/y"}]}']
)
def test_a_damaged_list_is_said(tmp_path: Path, data: bytes):
    path = tmp_path / "links.json"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError):
        campaign_link.read_list(path)
