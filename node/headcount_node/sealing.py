"""The demo's sealed contacts: five trustees, two of whom get lost, and the mail that arrives in the end.

Commands run in this process, each as its owner would run it: starting Python and its BLS library for each of
the trustees would take a minute.
"""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path

from headcount import contact
from headcount_node import campaign
from headcount_node.demo import Demo, Done, Track
from headcount_spec.contact import Contact
from headcount_spec.scope import Manifest

TRUSTEES = ("Amal Haddad", "Bruno Keller", "Chiara Moretti", "Dolores Ruiz", "Emeka Obi")
T = 3
LOST = (4, 5)  # from 1


class Sealing:
    """What happens in the contact scope of the demo's campaign."""

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self.manifest: Manifest  # of the contact scope, once it is published
        self.folder = demo.folder / "contacts"

    @property
    def depositors(self) -> range:
        """Those who leave a way to be reached; two more than hide each other."""
        return range(min(self.demo.min_batch + 2, self.demo.threshold - 1))

    def trustee(self, i: int) -> Path:
        """The folder of trustee i, from 1."""
        return self.demo.folder / "trustees" / f"{i}"

    def reach(self, number: int) -> str:
        """Where signer number wants to be written to: another address than the one that was proved."""
        return f"reach{number}@post.example"

    def contact_file(self, number: int) -> Path:
        """Where signer number keeps the sealed contact."""
        return self.demo.folder / "signers" / f"{number:04}.contact"

    @property
    def target(self) -> list[str | Path]:
        """Ledger, scope and policy, as commands take them."""
        return [self.demo.ledger_url, self.manifest.scope_id.hex(), "--policy", self.demo.policy]

    # The steps, in order.

    def prepare(self) -> None:
        """The organiser's contact key, the trustees' keys in the draft, the terms, all signatures."""
        demo = self.demo
        key, *_ = demo.call("organiser", "contact-key", demo.folder / "contact.key").check().splitlines()
        passphrase = demo.folder / "trustees" / "passphrase"
        passphrase.parent.mkdir(mode=0o700)
        passphrase.write_text(f"{secrets.token_urlsafe()}\n")
        terms = campaign.contacts(demo.manifest.scope_id.hex(), key, T)
        demo.write_draft("contacts", **terms, options=None, tiers=None, action=None)
        for i, name in enumerate(TRUSTEES, 1):
            demo.call("trustee", "init", name, "--dir", self.trustee(i), show=i == 1).check()
            given = ("--dir", self.trustee(i), "--passphrase-file", passphrase)
            demo.call("trustee", "enrol", self.folder, *given, show=i == 1).check()
        demo.command("issuer", "--config", demo.config, "enrol", self.folder / "manifest.json")
        self.manifest = demo.publish_draft(self.folder)
        self._name_child()
        demo.wait_until(lambda: demo.is_open(self.manifest), "the contact scope stands in the ledger")
        demo.wait_until(self._is_named, "the organisers have named the contact scope")
        for i in range(1, len(TRUSTEES) + 1):
            options = ("--ledger", demo.ledger_url, "--policy", demo.policy)
            own = ("--dir", self.trustee(i))
            demo.call("trustee", "enrol", self.folder, *own, *options, show=i == 1).check()
        demo.wait_until(lambda: self._said("enrolment") == len(TRUSTEES), "all trustees have signed")

    def leave(self, track: Track) -> None:
        """Some seal a way to be reached, with a token of its own, and leave it at the store."""
        demo = self.demo
        demo.together(self._prove, self.depositors, track, "sealing a way to be reached")
        demo.sleep_to_tick()
        demo.together(self._deposit, self.depositors, track, "leaving it at the store")
        everybody = len(self.depositors)
        demo.wait_until(
            lambda: demo.counted(self.manifest.scope_id) == everybody, "the contacts' entries are sealed"
        )

    def erase(self, number: int) -> None:
        """Somebody thinks again."""
        self.demo.call("contact", "erase", self.contact_file(number)).check()

    def release(self, i: int) -> Done:
        """Trustee i audits the ledger and releases, or is told why not."""
        own = ("--dir", self.trustee(i), "--yes")
        return self.demo.call("trustee", "release", *self.target, *own, show=i == 1)

    def lose(self) -> None:
        """Two trustees' machines are gone, and nobody finds their backups."""
        for i in LOST:
            shutil.rmtree(self.trustee(i))

    def wait_for_releases(self) -> None:
        """Until T keys stand in the ledger."""
        self.demo.wait_until(lambda: self._said("release") == T, "the keys stand in the ledger")

    def certify(self) -> str:
        """The certificate that it was reached; what the command says."""
        return self._organise("certify", "--state", self._state, "--out", self._certificate)

    def verify(self) -> str:
        """The certificate, as somebody without the ledger checks it."""
        terms = self.folder / "scope.json"
        return self.demo.call("certificate", "verify", self._certificate, terms).check()

    def export(self) -> str:
        """The store's file, for the organiser."""
        command = ("contacts", "export", self.manifest.scope_id.hex(), "--config", self.demo.config)
        return self.demo.call(*command, "--out", self._blobs).check()

    def open(self) -> str:
        """Open the store's file; what the command says."""
        files = ("--key", self.demo.folder / "contact.key", "--blobs", self._blobs, "--out", self._list)
        return self._organise("open", "--state", self._state, *files)

    def mail(self) -> str:
        """The confirmation to everybody who can be reached; what the command says."""
        demo = self.demo
        template = demo.folder / "confirmation"
        template.mkdir()
        for language, text in campaign.mails().items():
            (template / f"{language}.txt").write_text(text, "utf-8")
        options = (
            *("--key", demo.folder / "contact.key", "--sign", demo.folder / "organiser.key"),
            *("--list", self._list, "--template", template, "--purpose", "confirmation"),
            *("--state", demo.folder / "mailing", "--gone", demo.folder / "gone"),
            *("--leave-url", "https://leave.example", "--smtp", f"127.0.0.1:{demo.ports.smtp}", "--no-tls"),
            *("--sender", "campaign@headcount.example", "--per-minute", "6000"),
        )
        return self._organise("mail", *options)

    def arrived(self, erased: int) -> int:
        """How many confirmations lie in the mailboxes; none in that of who had the contact erased."""
        expected = [number for number in self.depositors if number != erased]
        mails = [self.demo.mailbox.take(self.reach(number)) for number in expected]
        found = sum(text.count("https://leave.example/leave/") > 0 for text in mails)
        return found if not self.demo.mailbox.waiting(self.reach(erased)) else -1

    # What they need.

    @property
    def _list(self) -> Path:
        return self.demo.folder / "contacts.list"

    @property
    def _blobs(self) -> Path:
        return self.demo.folder / "contacts.blobs"

    @property
    def _state(self) -> Path:
        return self.demo.folder / "organiser.state"

    @property
    def _certificate(self) -> Path:
        return self.demo.folder / "reached.json"

    def _organise(self, command: str, *options: str | Path) -> str:
        return self.demo.call("organiser", command, *self.target, *options).check()

    def _name_child(self) -> None:
        demo = self.demo
        body = demo.folder / "child.json"
        body.write_text(json.dumps({"scope": self.manifest.scope_id.hex()}))
        campaign_target = (demo.ledger_url, demo.manifest.scope_id.hex(), "--policy", demo.policy)
        signed = ("--key", demo.folder / "organiser.key", "--type", "child", "--body", body)
        demo.call("scope", "notice", *campaign_target, *signed).check()

    def _is_named(self) -> bool:
        found = self.demo.scope_view(self.demo.manifest)
        return any(notice.statement.type == "child" for notice in found.notices)

    def _said(self, type: str) -> int:
        found = self.demo.scope_view(self.manifest)
        return len({n.author for n in found.notices if n.statement.type == type and "trustee:" in n.author})

    def _prove(self, number: int) -> None:
        left = Contact.of("email", self.reach(number))
        # after=0: a person's program waits one hour to two days between a token and its use.
        self.demo.prove(number, self.contact_file(number), self.manifest.scope_id, contact=left, after=0)

    def _deposit(self, number: int) -> None:
        contact.deposit(self.contact_file(number), transport=self.demo.transport, now=1)
