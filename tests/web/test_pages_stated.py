from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headcount import HttpTransport, cli, notice, organiser, site_pages
from headcount.finding import PAGE_SENTENCES
from headcount.monitor import Monitor
from headcount.monitor_evidence import EvidenceFolder
from headcount.monitor_pages import PageWatch
from headcount.monitor_state import StateFile
from headcount.scope_view import ScopeView, find_scope
from headcount_ledger.reader.fetch import http_fetch
from headcount_ledger.reader.transport import Answer, Transport
from headcount_ledger.reader.view import open_ledger
from headcount_node.site.assets import Assets
from headcount_spec.bundle import Bundle, BundledFile
from headcount_spec.errors import MalformedError, UnavailableError
from headcount_spec.policy import Policy
from headcount_spec.scope import Manifest
from stage import Stage

Change = Callable[[str, Answer], Answer]


class Altered:
    """The web as it is, but for what somebody puts in its place."""

    def __init__(self, inner: Transport, change: Change = lambda path, answer: answer) -> None:
        self.change = change
        self.inner = inner
        self.asked: list[str] = []

    def __call__(self, method: str, url: str, **options: Any) -> Answer:
        answer = self.inner(method, url, **options)
        path = "/" + url.partition("://")[2].partition("/")[2]
        self.asked.append(path)
        return self.change(path, answer)


@pytest.fixture(scope="module")
def web() -> Iterator[Transport]:
    with HttpTransport() as transport:
        yield transport


@pytest.fixture(scope="module")
def stated(stage: Stage) -> Manifest:
    """A campaign whose organisers have stated what its pages may run."""
    manifest = stage.publish(title="Stated pages")
    state(stage, manifest, Assets().hash)
    return manifest


def state(stage: Stage, manifest: Manifest, *bundles: str) -> None:
    ledger = f"{stage.url}/ledger"
    key = stage.folder / "organiser.key"
    arguments = ["pages", "publish", ledger, manifest.scope_id.hex(), "--policy", str(stage.policy)]
    arguments += ["--key", str(key), *(word for bundle in bundles for word in ("--bundle", bundle))]
    assert cli.run(arguments) == 0
    deadline = time.monotonic() + 20
    while stated_of(stage, manifest) != list(bundles):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def stated_of(stage: Stage, manifest: Manifest) -> list[str]:
    found = site_pages.stated(view(stage, manifest)).get(stage.url)
    return [] if found is None else found.statement.body["bundles"]


def view(stage: Stage, manifest: Manifest) -> ScopeView:
    with HttpTransport() as transport:
        ledger = open_ledger(
            http_fetch(f"{stage.url}/ledger", transport), Policy.from_bytes(stage.policy.read_bytes())
        )
        return find_scope(ledger, manifest.scope_id)


def check(
    web: Transport, stage: Stage, manifest: Manifest, change: Change = lambda path, answer: answer
) -> list[tuple[str, str]]:
    transport = Altered(web, change)
    found = site_pages.SiteReader(transport).check(view(stage, manifest), f"{stage.url}/ledger")
    return [(item.code, item.detail) for item in found]


def on(part: str, old: bytes, new: bytes, **headers: str) -> Change:
    """Replaces in the answers to paths with this part."""

    def change(path: str, answer: Answer) -> Answer:
        if part not in path:
            return answer
        assert old in answer.body
        return dataclasses.replace(
            answer, body=answer.body.replace(old, new, 1), headers={**answer.headers, **headers}
        )

    return change


def test_what_a_node_serves_is_what_was_stated(web: Transport, stage: Stage, stated: Manifest) -> None:
    transport = Altered(web)
    found = site_pages.SiteReader(transport).check(view(stage, stated), f"{stage.url}/ledger")
    assert [item.detail for item in found] == []
    # Everything was asked for, once: all files, and the pages in all languages.
    files = json.loads((Assets().folder / "bundle.json").read_bytes())["files"]
    assert {f"/web/{name}" for name in files} < set(transport.asked)
    assert f"/sign/{stated.scope_id.hex()}/ar" in transport.asked
    assert len(set(transport.asked)) == len(transport.asked)


SIGN = "/sign/"
WRONG: dict[str, tuple[Change, str, str]] = {
    "a byte of a script": (
        on("assets/sign-", b"\n", b" \n"),
        "changed-pages",
        "is not what its list says",
    ),
    "another list": (
        on("bundle.json", b'"bundle": "', b'"bundle": "0'),
        "changed-pages",
        "no list of files",
    ),
    "another integrity": (
        on(SIGN, b'integrity="sha384-', b'integrity="sha384-A'),
        "foreign-script",
        "is not that of the stated file",
    ),
    "an inline script": (
        on(SIGN, b"</main>", b"<script>steal()</script></main>"),
        "foreign-script",
        "a script of its own",
    ),
    "a script from elsewhere": (
        on(SIGN, b"</main>", b'<script src="https://evil.example/x.js"></script></main>'),
        "foreign-script",
        "not in the bundle",
    ),
    "a script of the site that no hash covers": (
        on(SIGN, b"</head>", b'<script type="module" src="/theme.js"></script></head>'),
        "foreign-script",
        "not in the bundle",
    ),
    "a handler": (on(SIGN, b"<h1", b'<h1 onclick="steal()"'), "foreign-script", "inline"),
    "a script in a comment that ends early": (
        on(SIGN, b"</main>", b"<!--><script>steal()</script>--></main>"),
        "foreign-script",
        "a comment",
    ),
    "a script that one parser reads as a title": (
        on(SIGN, b"</title>", b"<script>steal()</script></title>"),
        "foreign-script",
        "",
    ),
    "a script in a text area": (
        on(SIGN, b"</main>", b"<textarea><script>steal()</script></textarea></main>"),
        "foreign-script",
        "",
    ),
    "a frame": (on(SIGN, b"</main>", b'<iframe src="/x"></iframe></main>'), "foreign-script", "iframe"),
    "a redirection": (
        on(SIGN, b"</head>", b'<meta http-equiv="refresh" content="0;url=/x"></head>'),
        "foreign-script",
        "http-equiv",
    ),
    "a picture that tells of a visit": (
        on(SIGN, b"</main>", b'<img src="//evil.example/p.gif"></main>'),
        "foreign-script",
        "loads",
    ),
    "a link to somewhere else to sign": (
        on(SIGN, b'href="#content"', b'href="https://evil.example/sign"'),
        "foreign-script",
        "a link leads to",
    ),
    "a base": (on(SIGN, b"</head>", b'<base href="//evil.example"></head>'), "foreign-script", "<base>"),
    "another campaign": (
        on(SIGN, b'"scope": "', b'"scope": "0'),
        "foreign-script",
        "not about this campaign",
    ),
    "another encoding": (
        on(SIGN, b"", b"", **{"content-type": "text/html; charset=utf-7"}),
        "foreign-script",
        "not HTML in UTF-8",
    ),
    "a style sheet that changes words": (
        on("/theme.css", b"", b"h1::after{content:'Send money'}"),
        "foreign-script",
        "theme.css",
    ),
    "an open policy": (
        on("/audit", b"", b"", **{"content-security-policy": "default-src *"}),
        "unguarded-pages",
        "Content-Security-Policy",
    ),
    "a policy with an exception": (
        on(
            SIGN,
            b"",
            b"",
            **{
                "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src-elem *"
            },
        ),
        "unguarded-pages",
        "Content-Security-Policy",
    ),
    "a policy that gives referrers": (
        on(SIGN, b"", b"", **{"referrer-policy": "unsafe-url"}),
        "unguarded-pages",
        "where somebody came from",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_served_otherwise_is_named(web: Transport, stage: Stage, stated: Manifest, name: str) -> None:
    change, code, detail = WRONG[name]
    found = check(web, stage, stated, change)
    assert found
    assert {item[0] for item in found} == {code}
    assert any(detail in item[1] for item in found), found


def test_a_page_in_one_language_only_is_found(web: Transport, stage: Stage, stated: Manifest) -> None:
    path = f"/sign/{stated.scope_id.hex()}/ru/back"  # where an issuer sends people with a session
    found = check(web, stage, stated, on(path, b"</main>", b"<script>steal()</script></main>"))
    assert [item[1].startswith(path) for item in found] == [True]


def test_a_consistent_change_of_everything_is_another_hash(
    web: Transport, stage: Stage, stated: Manifest
) -> None:
    files = json.loads((Assets().folder / "bundle.json").read_bytes())
    name = next(name for name in files["files"] if "/sign-" in name)
    data = (Assets().folder / name).read_bytes() + b"steal();\n"
    before = files["files"][name]["integrity"]
    facts = BundledFile.of(data)
    listed = {
        "bytes": facts.size,
        "integrity": facts.integrity,
        "sha256": facts.sha256.hex(),
    }
    files["files"][name] = listed
    lines = "".join(f"{item['sha256']}  {name}\n" for name, item in sorted(files["files"].items()))
    files["bundle"] = hashlib.sha256(lines.encode()).hexdigest()

    def change(path: str, answer: Answer) -> Answer:
        if path == f"/web/{name}":
            return dataclasses.replace(answer, body=data)
        if path == "/web/bundle.json":
            return dataclasses.replace(answer, body=json.dumps(files).encode())
        return dataclasses.replace(
            answer, body=answer.body.replace(before.encode(), facts.integrity.encode())
        )

    found = check(web, stage, stated, change)
    assert found == [("changed-pages", f"files with the hash {files['bundle']}, which is not stated")]


class Watch:
    """A monitor of the stage's ledger that looks at its pages."""

    def __init__(self, web: Transport, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.folder = folder
        self.transport = Altered(web)
        self.watch = PageWatch(self.transport)

    def look(self, manifest: Manifest, **changes: Any) -> Any:
        target = f"{self.stage.url}/ledger"
        with HttpTransport() as transport:
            looked = Monitor(
                target=target,
                fetch=http_fetch(target, transport),
                policy=Policy.from_bytes(self.stage.policy.read_bytes()),
                state_file=StateFile(self.folder, target),
                evidence=EvidenceFolder(self.folder / "evidence"),
                silent_after_h=1e6,
                **{"pages": self.watch, **changes},
            ).look(int(time.time()))
        unstated = [item for item in looked.standing if item.code == "unstated-pages"]
        rest = [item for item in looked.standing if item.code != "unstated-pages"]
        events = [item for item in looked.events if item.finding.code != "unstated-pages"]
        return unstated, rest, events


@pytest.fixture
def watch(web: Transport, stage: Stage, tmp_path: Path) -> Watch:
    return Watch(web, stage, tmp_path)


def test_a_monitor_tells_and_keeps_what_was_served(watch: Watch, stage: Stage, stated: Manifest) -> None:
    # Other campaigns of this stage have stated nothing; without the option nobody asks.
    assert watch.look(stated, pages=None) == ([], [], [])
    _, rest, events = watch.look(stated)
    assert (rest, events) == ([], [])
    evil = b"<script>steal()</script></main>"
    watch.transport.change = on(f"{stated.scope_id.hex()}/en/back", b"</main>", evil)
    _, rest, events = watch.look(stated)
    assert [(item.code, event.status) for item, event in zip(rest, events, strict=True)] == [
        ("foreign-script", "new")
    ]
    kept = json.loads((watch.folder / "evidence" / events[0].evidence[0]).read_bytes())
    assert evil in base64.b64decode(kept["served"]["body"])
    assert kept["bundles"] == [Assets().hash]
    notice_there = site_pages.stated(view(stage, stated))[stage.url]
    assert kept["notice"]["leaf_hash"] == notice_there.leaf_hash.hex()
    # It lasts without another event, and goes when the page is right again.
    assert watch.look(stated)[1:] == (rest, [])
    watch.transport.change = lambda path, answer: answer
    _, rest, events = watch.look(stated)
    assert (rest, [event.status for event in events]) == ([], ["resolved"])


def test_a_site_that_is_gone_is_told_when_it_stays_away(watch: Watch, stated: Manifest) -> None:
    watch.watch.patience = 2

    def gone(path: str, answer: Answer) -> Answer:
        raise UnavailableError("the site cannot be reached")

    watch.transport.change = gone
    assert watch.look(stated)[1] == []
    _, rest, _ = watch.look(stated)
    assert {item.code for item in rest} == {"unreachable-pages"}


def test_a_campaign_without_a_notice_is_told(
    web: Transport, watch: Watch, stage: Stage, stated: Manifest
) -> None:
    silent = stage.publish(title="Nothing stated")
    assert watch.look(stated)[0]
    state(stage, silent, Assets().hash)
    found = site_pages.SiteReader(web).check(view(stage, silent), "")
    assert list(found) == []


def test_a_newer_build_is_stated_by_a_newer_notice(
    web: Transport, stage: Stage, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = stage.publish(title="Another build")
    other = "ab" * 32
    state(stage, manifest, other)
    assert [code for code, _ in check(web, stage, manifest)] == ["changed-pages"]
    ledger = [f"{stage.url}/ledger", manifest.scope_id.hex(), "--policy", str(stage.policy)]
    assert cli.run(["pages", "check", *ledger]) == 1
    assert "changed-pages" in capsys.readouterr().out
    # While a site is updated both are right; then the new one alone.
    for bundles in ((other, Assets().hash), (Assets().hash,)):
        state(stage, manifest, *bundles)
        assert check(web, stage, manifest) == []
    assert cli.run(["pages", "check", *ledger]) == 0
    assert cli.run(["pages", "hash"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == Assets().hash


def test_only_organisers_state_pages_and_only_of_their_sites(stage: Stage, stated: Manifest) -> None:
    seed = organiser.read_key(stage.folder / "organiser.key")
    body: dict[str, Any] = {"site": "https://elsewhere.example", "bundles": ["ab" * 32]}
    with pytest.raises(MalformedError):
        notice.next_notice(view(stage, stated), "pages", body, [seed])


def test_a_folder_that_is_not_what_its_list_says_has_no_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (Assets().folder / "bundle.json").read_bytes()
    for name in Bundle.from_bytes(data).files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((Assets().folder / name).read_bytes())
    (tmp_path / "bundle.json").write_bytes(data)
    assert cli.run(["pages", "hash", str(tmp_path)]) == 0
    (tmp_path / "headcount-counter.js").write_bytes(b"steal()")
    assert cli.run(["pages", "hash", str(tmp_path)]) != 0
    assert "headcount-counter.js" in capsys.readouterr().err


def test_every_code_has_a_sentence() -> None:
    assert {code for _, code, _ in WRONG.values()} <= set(PAGE_SENTENCES)
