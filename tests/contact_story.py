"""A campaign with contacts and trustees in the world of the client's tests."""

from __future__ import annotations

import functools
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import contacts
import manifests
from headcount import contact_audit
from headcount import notice as notices
from headcount import trustee as trustees
from headcount.contact_audit import Checked
from headcount.contact_scope import ContactScope, find_contacts
from headcount.scope_view import find_scope
from headcount.trustee_keys import TrusteeFolder
from headcount_ledger.reader.fetch import open_fetch
from headcount_ledger.reader.view import LedgerView, open_ledger
from headcount_spec.notice import sign_statement
from headcount_spec.policy import Policy
from headcount_spec.promise import Promise
from headcount_spec.revision import Revision
from headcount_spec.scope import PLAIN
from headcount_spec.statement import Statement

PASSPHRASE = "correct horse battery staple"
DATA = Path(__file__).parent / "data" / "trustees.json"  # as data/README.md says


@functools.cache
def _prepared() -> list[dict[str, Any]]:
    """Five trustees with keys, from a file: proofs of possession take a while to make."""
    found: list[dict[str, Any]] = json.loads(DATA.read_text())
    return found


def _settle(i: int, path: Path) -> TrusteeFolder:
    """The folder of trustee i, from 1."""
    path.mkdir(mode=0o700)
    for name, data in _prepared()[i - 1]["files"].items():
        (path / name).write_bytes(b64decode(data))
        (path / name).chmod(0o600)
    return TrusteeFolder(path)


class Story:
    """Everything is published and the trustees have signed, unless enrolled is fewer."""

    def __init__(
        self,
        world: Any,
        ledger: str,
        *,
        t: int = 3,
        n: int = 5,
        threshold: int = 5,
        enrolled: int | None = None,
        **terms: Any,
    ) -> None:
        self.world = world
        self.ledger = ledger
        self.policy = Policy.from_bytes(world.policy)
        self.campaign = world.publish("campaign", threshold=threshold, min_batch=1, **terms)
        self.trustees = [_settle(i, world.folder / f"trustee{i}") for i in range(1, n + 1)]
        keys = {"t": t, "members": [item["member"] for item in _prepared()[:n]]}
        self.scope = world.publish("contacts", **contacts.changes(self.campaign, t, n, trustees=keys))
        self.name_child()
        for folder in self.trustees[:enrolled]:
            self.enrol(folder)
        world.seal()

    def name_child(self) -> None:
        found = find_scope(self.view(), self.campaign.scope_id)
        body = {"scope": self.scope.scope_id.hex()}
        notice = notices.next_notice(found, "child", body, manifests.ORGANISER_SEEDS[:1])
        notices.post(notice, self.ledger, self.world.http)
        self.world.seal()

    def enrol(self, folder: TrusteeFolder) -> None:
        notice = trustees.enrolment(folder, self.scope, self.view())
        if notice is not None:
            trustees.post(notice, self.ledger, self.world.http)

    def view(self) -> LedgerView:
        return open_ledger(open_fetch(self.ledger, self.world.http), self.policy)

    def contacts(self) -> ContactScope:
        return find_contacts(self.view(), self.scope.scope_id)

    def check(self, folder: TrusteeFolder, ledger: str | Path | None = None) -> Checked:
        return contact_audit.check(
            folder.path / "state.json",
            str(ledger or self.ledger),
            self.scope.scope_id,
            policy=self.policy,
            transport=self.world.http,
        )

    def release(self, folder: TrusteeFolder) -> None:
        notice = trustees.release(folder, self.check(folder), self.world.clock.day)
        if notice is not None:
            trustees.post(notice, self.ledger, self.world.http)
        self.world.seal()

    def pledge(self, *numbers: int, choice: int = PLAIN) -> None:
        for number in numbers:
            entry = manifests.pledge(self.campaign, number, choice)
            self.world.ledger.accept(entry.to_bytes(), self.world.clock.day)
        self.world.seal()

    def issuance(self, issued: int = 16) -> None:
        """The issuer's number, by its own key: the pledges here were not made by way of it."""
        for manifest in (self.campaign, self.scope):
            last = find_scope(self.view(), manifest.scope_id).last("issuer:issuer0.example")
            assert last is not None
            body = {"day": self.world.clock.day, "issued": issued}
            statement = Statement(
                "issuer", manifest.scope_id, last.statement.seq + 1, last.leaf_hash, "issuance", body
            )
            notice = sign_statement(statement, manifests.ISSUER_SEEDS[:1])
            notices.post(notice, self.ledger, self.world.http)
        self.world.seal()

    def withdraw(self, *numbers: int, choice: int = PLAIN) -> None:
        for number in numbers:
            entry: Revision = manifests.revision(manifests.pledge(self.campaign, number, choice), number)
            self.world.ledger.accept(entry.to_bytes(), self.world.clock.day)
        self.world.seal()

    def deposit(self, number: int) -> Promise:
        """The entry of a contact, by a person whose blob is contacts.blob."""
        entry = contacts.pledge(self.scope, number).to_bytes()
        found = self.world.ledger.accept(entry, self.world.clock.day)
        assert isinstance(found, Promise)
        return found
