"""The built files of client/web, package data of the client: found by name, served with their hashes.

``bundle.json`` lists every file with its integrity value (W3C SRI) and one hash over all of them,
which organisers state in a notice and ``headcount monitor`` compares.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from flask import Blueprint, Response, request

from headcount_spec.bundle import LIST, PREFIX

COUNTER = "headcount-counter.js"
_HASHED = re.compile(r"-[A-Za-z0-9_-]{8}\.[a-z0-9]+\Z")
_IMPORT = re.compile(r"""\b(?:from|import)\s*["']\./([A-Za-z0-9_.-]+\.js)["']""")  # as Vite writes them
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
# In modules that are fetched by others' pages, and in workers under COEP, these say: yes, here.
_OPEN = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as a page names it."""

    path: str
    integrity: str


class Assets:
    """The files of one build; none where the package was made without Node.js."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else Path(str(files("headcount") / "web"))
        try:
            bundle = json.loads((self.folder / LIST).read_text("utf-8"))
        except OSError:
            bundle = {"bundle": "", "files": {}}
        self.hash: str = bundle["bundle"]  # SHA-256 in hex; empty without a build
        self._files: dict[str, dict[str, str]] = bundle["files"]
        self._imported: dict[str, list[Asset]] = {}

    def entry(self, name: str) -> Asset | None:
        """The file of an entry, such as ``sign.js``, whatever the hash in its name."""
        stem, _, suffix = name.rpartition(".")
        pattern = re.compile(rf"(?:.*/)?{re.escape(stem)}(?:-[A-Za-z0-9_-]{{8}})?\.{suffix}")
        for path, facts in self._files.items():
            if pattern.fullmatch(path):
                return Asset(PREFIX + path, facts["integrity"])
        return None

    def imported(self, name: str) -> list[Asset]:
        """The modules that an entry imports before it runs, and theirs, to be fetched all at once."""
        entry = self.entry(name)
        if entry is None:
            return []
        if name not in self._imported:
            found, waiting = [], [entry.path.removeprefix(PREFIX)]
            while waiting:
                folder, _, _ = waiting[0].rpartition("/")
                text = (self.folder / waiting.pop(0)).read_text("utf-8")
                paths = [f"{folder}/{match}" for match in _IMPORT.findall(text)]
                new = [path for path in paths if path in self._files and path not in found]
                found += new
                waiting += new
            self._imported[name] = [Asset(PREFIX + path, self._files[path]["integrity"]) for path in found]
        return self._imported[name]

    def blueprint(self) -> Blueprint:
        """Serves the files of the bundle, and nothing else of the folder."""
        blueprint = Blueprint("assets", __name__)

        @blueprint.get(f"{PREFIX}<path:name>")
        def asset(name: str) -> Response:
            facts = self._files.get(name)
            if facts is None and name != LIST:
                return Response("no such file\n", 404, content_type="text/plain; charset=utf-8")
            data = (self.folder / name).read_bytes()
            response = Response(data, content_type=_TYPES.get(Path(name).suffix, "application/octet-stream"))
            immutable = _HASHED.search(name) is not None
            response.headers["Cache-Control"] = (
                "public, max-age=31536000, immutable" if immutable else "public, max-age=300"
            )
            response.headers.update(_OPEN)
            response.headers["X-Content-Type-Options"] = "nosniff"
            # A worker has a policy of its own: it fetches what it audits, and runs nothing else.
            response.headers["Content-Security-Policy"] = (
                "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src *"
            )
            response.set_etag(hashlib.sha256(data).hexdigest()[:32])
            response.make_conditional(request)
            return response

        return blueprint
