"""A page on the trustee's own machine, for trustees who do not use terminals: check, release, destroy.

It calls what the commands call. It listens on loopback only, and answers nobody without the secret that the
program draws at its start and hands over in the address: the first page keeps it in a cookie, which the
browser sends to this address only, not to other programs on other ports. Other sites cannot send its forms
(SameSite, a token in each, Origin), nor reach it by a name of their own (Host). It has no script, and loads
nothing.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any, Protocol

from flask import Flask, Response, abort, redirect, render_template_string, request

from headcount import trustee as trustees
from headcount.contact_audit import Checked
from headcount.trustee_words import Words, words_for
from headcount_spec.errors import ProtocolError
from headcount_spec.quotas import enough_at
from headcount_spec.text import format_day

COOKIE = "headcount-trustee"
MAX_FORM_BYTES = 4096

Line = tuple[str, dict[str, object]]  # one of the words, and what its braces stand for


class Desk(Protocol):
    """What the page can have done; each audits the whole ledger first."""

    @property
    def name(self) -> str:
        """The trustee's."""
        ...

    def check(self) -> Checked:
        """How the campaign stands."""
        ...

    def release(self) -> Checked:
        """Publish the key."""
        ...

    def destroy(self) -> Checked:
        """Destroy the key."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """What an audit has shown, as the page tells it."""

    title: str
    verdict: Line
    lines: tuple[Line, ...]
    actions: tuple[str, ...]  # release, destroy: what may be done now
    t: int

    @classmethod
    def of(cls, checked: Checked, name: str) -> Finding:
        """Of the trustee with this name."""
        scope, report = checked.scope, checked.report
        campaign = scope.campaign.manifest
        count: dict[str, object] = {"live": checked.live, "threshold": campaign.threshold}
        last = format_day(campaign.deadline_day)
        own = next((i for i, member in enumerate(scope.trustees.members, 1) if member.name == name), 0)
        may = ""
        if scope.reached is not None:
            found = scope.reached.reached
            verdict = (
                "reached",
                {
                    **count,
                    "live": found.live,
                    "batch": found.batch,
                    "day": format_day(found.day),
                },
            )
            may = "release" if own not in scope.those_who("release") else ""
        else:
            verdict = ("failed" if checked.is_over else "open"), {**count, "day": last}
            may = "destroy" if checked.is_over and own not in scope.those_who("destruction") else ""
        lines: list[Line] = [
            ("audited", {"size": report.size, "origin": report.origin, "root": report.root.hex()}),
            ("witnessed", {"names": list(report.cosigners)}),
        ]
        if campaign.quotas is not None:
            quotas = campaign.quotas
            asked = {"each": quotas.each, "options": quotas.options, "total": len(campaign.options)}
            lines.insert(0, ("quotas", {**asked, "n": enough_at(quotas, checked.options)}))
        if not checked.is_witnessed:
            lines.append(("unwitnessed", {}))
        lines.append(("needed", {"t": scope.trustees.t, "n": len(scope.trustees.members)}))
        for type, word in (("enrolment", "signed"), ("release", "released"), ("destruction", "destroyed")):
            lines.append((word, {"names": [scope.name(i) for i in scope.those_who(type)]}))
        for who in trustees.misfits(checked):
            lines.append(("misfit", {"name": who}))
        if not may:
            lines.append(("nothing", {}))
        return cls(campaign.title_text, verdict, tuple(lines), (may,) if may else (), scope.trustees.t)


class Page:
    """The page of one trustee and one scope, at one address."""

    def __init__(
        self, desk: Desk, host: str, stop: Callable[[], None], draw: Callable[[], str] | None = None
    ) -> None:
        """host is what a browser sends as Host; stop ends the server."""
        draw = draw or (lambda: secrets.token_urlsafe(32))
        self._desk = desk
        self._host = host
        self._stop = stop
        self._root = f"/{draw()}/"  # cookies know no ports, but paths
        self._secret = draw()  # in the address and the cookie
        self._token = draw()  # in the forms
        self._template = resources.files("headcount").joinpath("trustee_page.html").read_text("utf-8")
        self._lock = threading.Lock()  # one audit at a time
        self._finding: Finding | None = None

    @property
    def address(self) -> str:
        """What the trustee opens."""
        return f"http://{self._host}{self._root}open/{self._secret}"

    def app(self) -> Flask:
        """The application behind it."""
        app = Flask(__name__, static_folder=None)
        app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
        app.before_request(self._guard)
        app.after_request(_harden)
        root = self._root
        app.get(f"{root}open/<secret>")(self._open)
        app.get(root)(self._show)
        app.post(f"{root}check")(self._check)
        for name, action in (("release", self._desk.release), ("destroy", self._desk.destroy)):
            app.get(f"{root}{name}", endpoint=f"ask-{name}")(partial(self._ask, name))
            app.post(f"{root}{name}", endpoint=name)(partial(self._do, name, action))
        app.post(f"{root}stop")(self._end)
        return app

    def _guard(self) -> None:
        if request.host != self._host:
            abort(421)  # by another name: a page of somebody else that has this address
        if request.endpoint is not None and request.path.startswith(f"{self._root}open/"):
            return
        if not _same(request.cookies.get(COOKIE, ""), self._secret):
            abort(403)
        if request.method == "POST":
            own = request.headers.get("Origin", f"http://{self._host}") == f"http://{self._host}"
            if not own or not _same(request.form.get("token", ""), self._token):
                abort(403)

    def _open(self, secret: str) -> Response:
        if not _same(secret, self._secret):
            abort(403)
        answer = self._back()
        answer.set_cookie(COOKIE, self._secret, path=self._root, httponly=True, samesite="Strict")
        return answer

    def _show(self) -> Response:
        return self._render()

    def _check(self) -> Response:
        return self._act(self._desk.check)

    def _ask(self, what: str) -> Response:
        if self._finding is None or what not in self._finding.actions:
            return self._back()
        return self._render(question=what)

    def _do(self, what: str, action: Callable[[], Checked]) -> Response:
        if self._finding is None or what not in self._finding.actions:
            return self._back()
        if request.form.get("confirm") != "yes":
            return self._render(error=_words()[1]["unconfirmed"], status=400)
        return self._act(action, f"{what}-done")

    def _act(self, action: Callable[[], Checked], done: str = "") -> Response:
        with self._lock:
            try:
                self._finding = Finding.of(action(), self._desk.name)
            except ProtocolError as exc:
                self._finding = None
                return self._render(error=str(exc), status=409)
        if done:
            self._finding = None  # the ledger shows it after its next batch
            return self._render(done=_words()[1][done])
        return self._back()

    def _end(self) -> Response:
        threading.Thread(target=self._stop, daemon=True).start()
        return self._render(done=_words()[1]["stopped"], is_stopped=True)

    def _back(self) -> Response:
        answer = redirect(self._root, 303)
        assert isinstance(answer, Response)  # noqa: S101 that of Flask
        return answer

    def _render(self, *, status: int = 200, question: str = "", **more: Any) -> Response:
        language, words = _words()
        found, nonce = self._finding, secrets.token_urlsafe(16)
        lines = [_say(words, line) for line in found.lines] if found is not None else [words["not-checked"]]
        text = render_template_string(
            self._template,
            language=language,
            words=words,
            nonce=nonce,
            token=self._token,
            you=words["you"].format(name=self._desk.name),
            what="" if found is None else words["what"].format(title=found.title),
            verdict=None if found is None else _say(words, found.verdict),
            lines=[] if "done" in more else lines,
            actions=() if found is None else found.actions,
            question=question,
            consequence=words[f"{question}-what"].format(t=found.t) if question and found else "",
            **more,
        )
        policy = f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'"
        policy += "; frame-ancestors 'none'; base-uri 'none'"
        headers = {"Content-Security-Policy": policy}
        return Response(text, status, headers, content_type="text/html; charset=utf-8")


def _words() -> tuple[str, Words]:
    return words_for([tag for tag, _ in request.accept_languages])


def _say(words: Words, line: Line) -> str:
    name, values = line
    names = values.get("names")
    if isinstance(names, list):
        values = {**values, "names": ", ".join(names) or words["nobody"]}
    return words[name].format(**values)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _harden(answer: Response) -> Response:
    answer.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    answer.headers["Referrer-Policy"] = "same-origin"  # no-referrer makes the Origin of forms null
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    answer.headers["Cache-Control"] = "no-store"
    return answer
