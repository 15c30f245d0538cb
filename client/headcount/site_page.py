"""What a page of a site makes a browser run, read from its HTML and headers.

A page of ours runs nothing but files of the bundle, each named with its integrity, and its
Content-Security-Policy leaves a browser no other choice. The words of a page are not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from urllib.parse import urlsplit

from headcount_ledger.reader.transport import Answer
from headcount_spec import jcs
from headcount_spec.bundle import PREFIX
from headcount_spec.errors import MalformedError

MAX_PAGE_BYTES = 2**21

# Two parsers may read the same HTML differently. So every start tag is also sought without a parser, and what
# our pages do not use is refused: nothing hides in a comment or behind a broken attribute.
_TAG = re.compile(rb"<([A-Za-z][^\s/>]*)")
_UNUSED = (b"<!--", b"<![", b"<?", b"\0")
_FORBIDDEN = frozenset(
    {"applet", "audio", "base", "embed", "form", "frame", "frameset", "iframe", "math", "object", "portal"}
    | {"source", "style", "template", "track", "video"}
)
_LOADED = frozenset({"src", "srcset", "data", "poster", "background", "manifest", "ping", "imagesrcset"})
_THEME = "/theme.css"
_HERE = re.compile(r"/(?!/)[A-Za-z0-9._~/-]*\Z")  # a path of this site
_GUARDS = {
    "default-src": {"'none'"},
    "script-src": {"'self'"},
    "style-src": {"'self'"},
    "base-uri": {"'none'"},
    "form-action": {"'none'"},
    "frame-ancestors": {"'none'"},
}

_OVERRIDES = ("script-src-", "style-src-", "object-src", "frame-src", "child-src")
_INLINE = ("style", "srcdoc", "formaction", "action")


def problems(answer: Answer, files: Mapping[str, str], ledger: str, scope: str | None) -> Iterator[str]:
    """What in a page is not ours, in words.

    files: name → integrity of the bundle; ledger: where links may lead besides this site; scope: hex of
    what a signing page must be about.
    """
    data = answer.body
    if answer.headers.get("content-type", "").lower().replace(" ", "") != "text/html;charset=utf-8":
        yield "it is not HTML in UTF-8"
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        yield "it is not HTML in UTF-8"
        return
    if any(mark in data for mark in _UNUSED):
        yield "it has a comment or an instruction, in which a browser may find what a reader does not"
    reader = _Reader(files, ledger)
    reader.feed(text)
    reader.close()
    if reader.tags != [match[1].decode("latin-1").lower() for match in _TAG.finditer(data)]:
        yield "its elements cannot be told apart without doubt"
    yield from reader.found
    if scope is not None and reader.scope != scope:
        yield "it is not about this campaign"


def unguarded(answer: Answer) -> Iterator[str]:
    """What the headers of a page leave open."""
    # Each of several policies binds: one that closes everything is enough.
    policies = answer.headers.get("content-security-policy", "").split(",")
    if not any(_closes(_directives(policy)) for policy in policies):
        yield "its Content-Security-Policy does not keep other scripts out"
    if answer.headers.get("referrer-policy", "").strip().lower() != "no-referrer":
        yield "it lets a browser tell where somebody came from"


def is_theme(answer: Answer) -> bool:
    """Whether a style sheet only chooses a hue: another could hide the page's words or put its own there."""
    return re.fullmatch(rb"(:root:root\{--hue:[0-9]{1,3}\}\n)?", answer.body) is not None


def _directives(policy: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for part in policy.split(";"):
        words = part.split()
        if words:
            found.setdefault(words[0].lower(), set(words[1:]))  # CSP 3: the first of two counts
    return found


def _closes(policy: Mapping[str, set[str]]) -> bool:
    looser = [name for name in policy if name.startswith(_OVERRIDES)]
    workers = policy.get("worker-src", {"'self'"})
    is_closed = all(policy.get(name) == sources for name, sources in _GUARDS.items())
    return is_closed and not looser and workers == {"'self'"}


class _Reader(HTMLParser):
    """Notes what does not belong into a page."""

    def __init__(self, files: Mapping[str, str], ledger: str) -> None:
        super().__init__(convert_charrefs=True)
        self.files = files
        self.ledger = ledger
        self.tags: list[str] = []
        self.found: list[str] = []
        self.scope: str | None = None
        self._island: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Judge one element."""
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        if len(values) != len(attrs):
            self.found.append(f"<{tag}> has an attribute twice")
        if tag in _FORBIDDEN:
            self.found.append(f"it has <{tag}>")
        if tag == "script":
            self._script(values)
        elif tag == "link":
            self._link(values)
        elif tag == "meta" and "http-equiv" in values:
            self.found.append("it has <meta http-equiv>")
        else:
            self._others(tag, values)
        if any(name.startswith("on") or name in _INLINE for name in values):
            self.found.append(f"<{tag}> runs or styles something inline")

    def handle_data(self, data: str) -> None:
        """Read the page's data for its scripts."""
        if self._island == "page":
            try:
                value = jcs.parse_json(data.encode(), MAX_PAGE_BYTES)
            except MalformedError:
                return
            if isinstance(value, dict) and isinstance(value.get("scope"), str):
                self.scope = str(value["scope"])

    def handle_endtag(self, tag: str) -> None:
        """Leave the page's data."""
        self._island = None

    def _script(self, values: Mapping[str, str]) -> None:
        if values.get("type") == "application/json" and "src" not in values:
            self._island = values.get("id")
            return
        if "src" not in values:
            self.found.append("it has a script of its own, which no hash covers")
            return
        self._hashed("script", values["src"], values)

    def _link(self, values: Mapping[str, str]) -> None:
        rel, href = values.get("rel", ""), values.get("href", "")
        if rel in ("stylesheet", "modulepreload") and href != _THEME:
            self._hashed(rel, href, values)
        elif rel not in ("stylesheet", "icon") or _HERE.match(href) is None:
            self.found.append(f"it has <link rel={rel[:20]!r}> to {href[:60]!r}")

    def _hashed(self, what: str, path: str, values: Mapping[str, str]) -> None:
        name = path.removeprefix(PREFIX)
        if not path.startswith(PREFIX) or name not in self.files:
            self.found.append(f"it loads a {what} that is not in the bundle: {path[:60]!r}")
        elif values.get("integrity") != self.files[name]:
            self.found.append(f"the integrity of {name} is not that of the stated file")

    def _others(self, tag: str, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            is_link = name in ("href", "xlink:href")
            if name in _LOADED and _HERE.match(value) is None:
                self.found.append(f"<{tag}> loads {value[:60]!r}")
            elif is_link and not (value.startswith("#") or _HERE.match(value) or self._is_ledger(value)):
                self.found.append(f"a link leads to {value[:60]!r}")

    def _is_ledger(self, url: str) -> bool:
        ours, parts = urlsplit(self.ledger), urlsplit(url)
        return bool(ours.netloc) and (ours.scheme, ours.netloc) == (parts.scheme, parts.netloc)
