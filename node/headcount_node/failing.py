"""The demo's second campaign, which ended yesterday and had too few: its keys die, and its contacts.

A small node of its own in this process, whose clock is a day behind until midnight has passed there.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server

from headcount import contact, find_scope, notice, open_ledger, organiser, pledge, prove, scope
from headcount_issuer.app import create_app as issuer_app
from headcount_issuer.attesters.email import EmailConfig
from headcount_issuer.config import IssuerConfig
from headcount_issuer.enrolment import Draft
from headcount_issuer.issuer import Issuer
from headcount_issuer.mail import SmtpConfig
from headcount_ledger import ledger as ledgers
from headcount_ledger.app import create_app as ledger_app
from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger
from headcount_ledger.reader.fetch import directory_fetch
from headcount_ledger.reader.view import LedgerView
from headcount_node import campaign
from headcount_node.demo import Done
from headcount_node.sealing import Sealing
from headcount_spec import jcs
from headcount_spec.contact import Contact
from headcount_spec.scope import Manifest
from headcount_spec.text import day_of, format_day
from headcount_verifier import Contacts, LedgerClient, Redeemer, VerifierConfig
from headcount_verifier import create_app as verifier_app
from headcount_verifier.contacts import ReachedWatch

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

SIGNERS = 3
TRUSTEES = (1, 2, 3)  # those of the first campaign who are left
T = 2
_DAY_S = 86_400


class Failing:
    """A ledger, a store and an issuer for one campaign that nobody will remember."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing
        self._demo = sealing.demo
        self.folder = self._demo.folder / "failed"
        self.policy = self.folder / "policy"
        self._behind_s = _DAY_S
        public, personhood = self._demo.ports.failing
        self.site = f"http://localhost:{public}"
        self.ledger_url = f"{self.site}/ledger"
        self._issuer_name = f"localhost:{personhood}"
        self._closing = contextlib.ExitStack()
        self._scopes: dict[Any, Manifest] = {}
        self.manifest: Manifest  # of the contact scope

    def __enter__(self) -> Failing:
        try:
            self._start()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    # The steps, in order.

    def tell(self) -> None:
        """Three people pledge on its last day, and each leaves a way to be reached."""
        smaller = self._publish("campaign", **campaign.smaller())
        self.manifest = self._publish_contacts(smaller)
        for number in range(SIGNERS):
            for manifest, changes in ((smaller, {}), (self.manifest, self._left(number))):
                file = self.folder / f"{manifest.kind}{number}.pledge"
                address = f"reader{number}@group.example"
                prove.prove(
                    file,
                    self.ledger_url,
                    manifest.scope_id,
                    policy=self.policy.read_bytes(),
                    transport=self._demo.transport,
                    ask=self._demo.answers(address),
                    day=day_of(self.clock()),
                    **{"choice": campaign.MOVE, **changes},
                )
                if manifest is smaller:
                    pledge.submit(file, transport=self._demo.transport)
                else:
                    contact.deposit(file, transport=self._demo.transport, now=1)
        self.seal()

    def midnight(self) -> None:
        """The next day begins, and the closing batch is sealed."""
        self._behind_s = 0
        self.seal()

    def destroy(self, i: int) -> Done:
        """Trustee i audits this ledger and destroys the key, or is told why not."""
        done = self._demo.call(
            "trustee", "destroy", *self._target, "--dir", self._sealing.trustee(i), "--yes"
        )
        self.seal()
        return done

    def stored(self) -> int:
        """How many sealed contacts lie in the store, for ever closed."""
        return sum(1 for _ in self._store.export(self.manifest.scope_id)) - 1

    def clock(self) -> int:
        """Seconds since 1970, here."""
        return int(time.time()) - self._behind_s

    def seal(self) -> None:
        """A batch, if anything waits."""
        self._ledger.seal(day_of(self.clock()))

    # What they need.

    @property
    def _target(self) -> list[str | Path]:
        return [self.ledger_url, self.manifest.scope_id.hex(), "--policy", self.policy]

    def _start(self) -> None:
        config = LedgerConfig(self.folder / "ledger")
        config.directory.mkdir(parents=True)
        origin = self.ledger_url.removeprefix("http://")
        ledgers.create(config, origin, secrets.token_bytes(32))
        self._ledger = self._closing.enter_context(Ledger.open(config))
        self.policy.write_bytes(self._ledger.policy().to_bytes())
        watch = ReachedWatch(lambda manifest: self._view())
        self._store = Contacts(self._scopes, self.folder / "store", watch, lambda: day_of(self.clock()))
        self._closing.callback(self._store.close)
        client = self._closing.enter_context(LedgerClient(self.ledger_url))
        redeemer = Redeemer(self._scopes, client, lambda: day_of(self.clock()))
        verifier = verifier_app(VerifierConfig(self.ledger_url), redeemer, self._store)
        public = DispatcherMiddleware(verifier, {"/ledger": ledger_app(self._ledger, self.clock, prefix="")})
        self._issuer = self._closing.enter_context(self._open_issuer())
        apps: list[WSGIApplication] = [public, issuer_app(self._issuer)]
        for port, app in zip(self._demo.ports.failing, apps, strict=True):
            self._closing.callback(_serve(port, app))

    def _open_issuer(self) -> Issuer:
        sender = "codes@headcount.example"
        email = EmailConfig(sender, SmtpConfig("127.0.0.1", self._demo.ports.smtp), work=1000)
        config = IssuerConfig(
            name=self._issuer_name,
            url=f"http://{self._issuer_name}",
            directory=self.folder / "issuer",
            ledger=self.ledger_url,
            attesters={"email": email},
        )
        Issuer.create(config)
        return Issuer.open(config, self.clock)

    def _publish(self, name: str, **changes: Any) -> Manifest:
        demo, today = self._demo, format_day(day_of(self.clock()))
        key = self._ledger.policy().logs[0].key
        demo.write_draft(
            f"failed/{name}",
            opens=today,
            freezes=today,
            closes=today,
            min_batch=2,
            ledger={"origin": key.name, "key": key.to_text()},
            witnesses="quorum none\n",
            origins=[self.site],
            issuers=[{"name": self._issuer_name}],
            **changes,
        )
        folder = self.folder / name
        if changes.get("trustees") is not None:
            for i in TRUSTEES:
                own = ("--dir", self._sealing.trustee(i), "--passphrase-file", self._passphrase)
                demo.call("trustee", "enrol", folder, *own, show=i == TRUSTEES[0]).check()
        draft = folder / "manifest.json"
        answer = self._issuer.enrol(draft.read_bytes())
        if not isinstance(answer, Draft):
            raise TypeError("the issuer does not answer a draft with a draft")
        draft.write_bytes(jcs.canonicalise(answer.value))
        seeds = [organiser.read_key(demo.folder / "organiser.key")]
        day = day_of(self.clock())
        found = scope.publish(folder, seeds, self.ledger_url, transport=demo.transport, day=day).manifest
        self.seal()
        self._issuer.enrol(found.raw)
        self.seal()
        self._scopes[found.scope_id] = found
        return found

    @property
    def _passphrase(self) -> Path:
        return self._demo.folder / "trustees" / "passphrase"

    def _publish_contacts(self, parent: Manifest) -> Manifest:
        demo = self._demo
        terms = json.loads((self._sealing.folder / "manifest.json").read_text("utf-8"))
        changes = campaign.contacts(parent.scope_id.hex(), terms["contacts"]["key"], T)
        found = self._publish("contacts", **changes, options=None, tiers=None, action=None)
        seeds = [organiser.read_key(demo.folder / "organiser.key")]
        view = find_scope(self._view(), parent.scope_id)
        named = notice.next_notice(view, "child", {"scope": found.scope_id.hex()}, seeds)
        notice.post(named, self.ledger_url, demo.transport)
        self.seal()
        for i in TRUSTEES:
            options = ("--ledger", self.ledger_url, "--policy", self.policy)
            own = ("--dir", self._sealing.trustee(i))
            demo.call(
                "trustee", "enrol", self.folder / "contacts", *own, *options, show=i == TRUSTEES[0]
            ).check()
        self.seal()
        return found

    def _left(self, number: int) -> dict[str, Any]:
        left = Contact.of("email", f"group{number}@post.example")
        return {"choice": 0, "contact": left, "after": 0}

    def _view(self) -> LedgerView:
        return open_ledger(directory_fetch(self._ledger.config.public), self._ledger.policy())


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing: no request leaves a line."""


def _serve(port: int, app: WSGIApplication) -> Callable[[], None]:
    """Serve on loopback; what stops it."""
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    return stop
