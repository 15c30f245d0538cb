"""Whether a site serves the pages that a campaign's organisers have stated in the ledger.

Everybody with the sources builds the same files, so the hash in a ``pages`` notice says which sources run
where people sign. A site can still show others to somebody whom it recognises: so look from elsewhere too.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from headcount.catalogue import LANGUAGES
from headcount.scope_view import PublishedNotice, ScopeView
from headcount.site_page import MAX_PAGE_BYTES, is_theme, problems, unguarded
from headcount_ledger.reader.transport import Answer, Transport
from headcount_spec.bundle import LIST, MAX_FILE_BYTES, MAX_LIST_BYTES, PREFIX, Bundle, BundledFile
from headcount_spec.errors import MalformedError, UnavailableError
from headcount_spec.scope import ScopeId

# A site that means to deceive shows readers something else than those who look after it: look like a reader.
_HEADERS = {
    "User-Agent": "Mozilla/5.0 (Windows NT 10.0; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
}
_MISSING = (404, 410)


@dataclass(frozen=True, slots=True)
class Served:
    """An answer, as evidence; nobody has signed it."""

    url: str
    answer: Answer

    @property
    def digest(self) -> str:
        """Names what was served."""
        return hashlib.sha256(self.answer.body).hexdigest()

    def to_json(self) -> dict[str, object]:
        """All of it."""
        return {
            "url": self.url,
            "status": self.answer.status,
            "headers": dict(self.answer.headers),
            "sha256": self.digest,
            "body": b64encode(self.answer.body).decode(),
        }


@dataclass(frozen=True, slots=True)
class Deviation:
    """One thing that a site does not serve as stated."""

    code: str  # of finding.PAGE_SENTENCES
    site: str
    detail: str
    served: Served | None = None
    stated: PublishedNotice | None = None

    @property
    def mark(self) -> str:
        """The same for as long as the same is served."""
        served = self.served.url + self.served.digest if self.served is not None else ""
        return f"{self.site} {self.detail} {served}"

    def evidence(self, checkpoint: bytes) -> bytes:
        """A file with what was served, and where in the ledger it was stated otherwise."""
        value: dict[str, object] = {
            "headcount_served": 1,
            "code": self.code,
            "site": self.site,
            "detail": self.detail,
            "checkpoint": checkpoint.decode(),
        }
        if self.stated is not None:
            value["notice"] = {"index": self.stated.index, "leaf_hash": self.stated.leaf_hash.hex()}
            value["bundles"] = list(self.stated.statement.body["bundles"])
        if self.served is not None:
            value["served"] = self.served.to_json()
        return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def stated(scope: ScopeView) -> dict[str, PublishedNotice]:
    """What organisers have stated last, by site."""
    found = (item for item in scope.notices if item.statement.type == "pages")
    return {item.statement.body["site"]: item for item in found}


@dataclass(slots=True)
class SiteReader:
    """Reads the sites of some campaigns once: every file is fetched a single time, whoever runs it."""

    transport: Transport
    _answers: dict[str, Answer] = field(default_factory=dict)

    def get(self, url: str, max_bytes: int) -> Served:
        """An answer of 200, 404 or 410.

        Raises:
            UnavailableError: another one, or none.
        """
        if url not in self._answers:
            answer = self.transport("GET", url, headers=_HEADERS, max_bytes=max_bytes)
            if answer.status not in (200, *_MISSING):
                raise UnavailableError(f"{url} answers {answer.status}")
            self._answers[url] = answer
        return Served(url, self._answers[url])

    def check(self, scope: ScopeView, ledger: str) -> Iterator[Deviation]:
        """What is not as stated at all sites of a campaign; ledger is where it is read."""
        said = stated(scope)
        for site in scope.manifest.origins:
            try:
                if site in said:
                    yield from self._check_site(site, scope.manifest.scope_id, said[site], ledger)
                elif self._signs(site, scope.manifest.scope_id):
                    yield Deviation("unstated-pages", site, "people sign there")
            except UnavailableError as exc:
                if site in said:
                    yield Deviation("unreachable-pages", site, str(exc))

    def _signs(self, site: str, scope_id: ScopeId) -> bool:
        return self.get(f"{site}/sign/{scope_id.hex()}", MAX_PAGE_BYTES).answer.status == 200

    def _check_site(
        self, site: str, scope_id: ScopeId, notice: PublishedNotice, ledger: str
    ) -> Iterator[Deviation]:
        listed = self.get(f"{site}{PREFIX}{LIST}", MAX_LIST_BYTES)
        try:
            bundle = Bundle.from_bytes(listed.answer.body)
        except MalformedError as exc:
            yield Deviation("changed-pages", site, f"no list of files: {exc}", listed, notice)
            return
        if bundle.hash.hex() not in notice.statement.body["bundles"]:
            detail = f"files with the hash {bundle.hash.hex()}, which is not stated"
            yield Deviation("changed-pages", site, detail, listed, notice)
        yield from self._check_files(site, bundle, notice)
        hashes = {name: item.integrity for name, item in bundle.files.items()}
        for path, scope in _pages(scope_id):
            yield from self._check_page(site, path, hashes, ledger, scope, notice)
        theme = self.get(f"{site}/theme.css", MAX_PAGE_BYTES)
        if theme.answer.status == 200 and not is_theme(theme.answer):
            yield Deviation("foreign-script", site, "theme.css does more than choose a hue", theme, notice)

    def _check_files(self, site: str, bundle: Bundle, notice: PublishedNotice) -> Iterator[Deviation]:
        for name, expected in bundle.files.items():
            served = self.get(f"{site}{PREFIX}{name}", MAX_FILE_BYTES)
            if served.answer.status != 200 or BundledFile.of(served.answer.body) != expected:
                detail = f"{name} is not what its list says"
                yield Deviation("changed-pages", site, detail, served, notice)

    def _check_page(
        self,
        site: str,
        path: str,
        hashes: Mapping[str, str],
        ledger: str,
        scope: str | None,
        notice: PublishedNotice,
    ) -> Iterator[Deviation]:
        served = self.get(site + path, MAX_PAGE_BYTES)
        if served.answer.status != 200:
            yield Deviation("changed-pages", site, f"{path} is not there", served, notice)
            return
        for problem in problems(served.answer, hashes, ledger, scope):
            yield Deviation("foreign-script", site, f"{path}: {problem}", served, notice)
        for problem in unguarded(served.answer):
            yield Deviation("unguarded-pages", site, f"{path}: {problem}", served, notice)


def _pages(scope_id: ScopeId) -> Iterator[tuple[str, str | None]]:
    """Each page with the scope that it must be about."""
    for language in ("", *(f"/{tag}" for tag in LANGUAGES)):
        yield f"/sign/{scope_id.hex()}{language}", scope_id.hex()
        if language:
            yield f"/sign/{scope_id.hex()}{language}/back", scope_id.hex()
        yield f"/audit{language}", None
