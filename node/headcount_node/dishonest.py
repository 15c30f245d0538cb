"""Ten dishonest things, each really tried: the demo shows by whom and by which name each is caught."""

from __future__ import annotations

import dataclasses
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384

from headcount import PledgeStore, find_scope, notice, pledge
from headcount_node import campaign
from headcount_node.demo import Demo
from headcount_node.forgery import StolenLedger
from headcount_spec import signature
from headcount_spec.blind_rsa import SALT_BYTES
from headcount_spec.checkpoint import parse_checkpoint
from headcount_spec.errors import ProtocolError
from headcount_spec.notice import sign_statement
from headcount_spec.pledge import Pledge
from headcount_spec.promise import Promise
from headcount_spec.statement import Statement
from headcount_spec.tlog_witness import ADD_CHECKPOINT, AddCheckpoint


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt."""

    name: str
    caught: bool
    by: str  # who noticed
    code: str  # of the error or fault
    detail: str


class Cheater:
    """Tries everything once, with signer 0's pledge and copies of the published files."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._content = PledgeStore(demo.pledge_file(0)).load()

    def attempts(self) -> list[tuple[str, Callable[[str], Outcome]]]:
        """Name and function of each, in the order in which they are shown."""
        return [
            ("second token", self._second_token),
            ("replay", self._replay),
            ("altered choice", self._altered_choice),
            ("foreign key", self._foreign_key),
            ("edited tile", self._edited_tile),
            ("edited count", self._edited_count),
            ("forked checkpoint", self._forked_checkpoint),
            ("swapped terms", self._swapped_terms),
            ("forged seal", self._forged_seal),
            ("unsigned mailing", self._unsigned_mailing),
        ]

    def _second_token(self, name: str) -> Outcome:
        """The same person proves again, from another file, for another pledge."""
        with tempfile.TemporaryDirectory() as folder:
            return _refused(name, "issuer", lambda: self._demo.prove(0, Path(folder) / "second.pledge"))

    def _replay(self, name: str) -> Outcome:
        """The same pledge is sent again: the same promise, and the count stays."""
        before = self._demo.view().size
        promise = self._send(self._content.pledge())
        self._demo.sleep_to_tick()
        same = promise == self._content.promise and self._demo.view().size == before
        return Outcome(name, same, "ledger", "counted-once", "the same promise as before, and no new entry")

    def _altered_choice(self, name: str) -> Outcome:
        """Another option under the same signature."""
        altered = dataclasses.replace(self._content.pledge(), choice=campaign.MOVE_AND_HELP)
        return _refused(name, "verifier", lambda: self._send(altered))

    def _foreign_key(self, name: str) -> Outcome:
        """A token that no issuer has signed."""
        mine = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        forged = dataclasses.replace(
            self._content.pledge(), revision_key=signature.public_key(secrets.token_bytes(32))
        )
        pss = padding.PSS(padding.MGF1(SHA384()), SALT_BYTES)
        signed = tuple(
            mine.sign(token_input, pss, SHA384())
            for token_input in self._content.manifest.token_inputs(forged.nullifier)
        )
        forged = dataclasses.replace(forged, authenticators=signed)
        return _refused(name, "verifier", lambda: self._send(forged))

    def _edited_tile(self, name: str) -> Outcome:
        return self._audited(name, "broken-tile", StolenLedger.edit_tile)

    def _edited_count(self, name: str) -> Outcome:
        return self._audited(name, "edited-count", StolenLedger.edit_count)

    def _forked_checkpoint(self, name: str) -> Outcome:
        """A second history, shown to the witnesses, and to somebody who remembers the first."""
        refused: list[bool] = []

        def attack(stolen: StolenLedger) -> None:
            stolen.fork(self._demo.ledger_key())
            refused.extend(self._witness_refuses(stolen, number) for number in (1, 2))

        outcome = self._audited(name, "forked-ledger", attack)
        if refused != [True, True]:
            return dataclasses.replace(outcome, caught=False)
        detail = f"{outcome.detail}; both witnesses refused it and kept the evidence"
        return dataclasses.replace(outcome, detail=detail)

    def _witness_refuses(self, stolen: StolenLedger, number: int) -> bool:
        raw = (stolen.public / "checkpoint").read_bytes()
        request = AddCheckpoint(parse_checkpoint(raw).checkpoint.size, (), raw)
        url = f"{self._demo.witness_urls[number - 1]}/{ADD_CHECKPOINT}"
        answer = self._demo.transport("POST", url, body=request.to_bytes())
        kept = (self._demo.witness_folder(number) / "evidence").glob("fork-*.json")
        return answer.status == 422 and any(kept)

    def _swapped_terms(self, name: str) -> Outcome:
        return self._audited(name, "swapped-terms", lambda stolen: stolen.swap_terms(self._demo.ledger_key()))

    def _forged_seal(self, name: str) -> Outcome:
        return self._audited(name, "broken-seal", lambda stolen: stolen.forge_seal(self._demo.ledger_key()))

    def _unsigned_mailing(self, name: str) -> Outcome:
        """Somebody who is not the organiser announces a mailing."""
        scope = find_scope(self._demo.view(), self._content.manifest.scope_id)
        said = [item for item in scope.notices if item.author == "organiser"]
        statement = Statement(
            "organiser",
            scope.manifest.scope_id,
            len(said),
            said[-1].leaf_hash,
            "mailing",
            {"template": "00" * 32, "number": 1, "purpose": "sell something"},
        )
        forged = sign_statement(statement, [secrets.token_bytes(32)])
        return _refused(
            name, "ledger", lambda: notice.post(forged, self._demo.ledger_url, self._demo.transport)
        )

    def _send(self, entry: Pledge) -> Promise:
        return pledge.send(entry, self._demo.verifier_url, self._content.manifest, self._demo.transport)

    def _audited(self, name: str, code: str, attack: Callable[[StolenLedger], None]) -> Outcome:
        """Attack a copy of the published files, and recount it with a memory of the honest ones."""
        with tempfile.TemporaryDirectory() as folder:
            copy, state = Path(folder) / "public", Path(folder) / "state"
            shutil.copytree(self._demo.public, copy)
            honest = self._demo.audit(copy, "--resume", state, "--json")
            attack(StolenLedger(copy))
            done = self._demo.audit(copy, "--resume", state, "--json")
        faults = json.loads(done.stdout)["faults"]
        named = [fault["detail"] for fault in faults if fault["code"] == code]
        caught = honest.returncode == 0 and done.returncode == 1 and bool(named)
        return Outcome(name, caught, "audit", code if named else "none", named[0] if named else "not named")


def _refused(name: str, by: str, attempt: Callable[[], object]) -> Outcome:
    try:
        attempt()
    except ProtocolError as error:
        words = str(error).partition(" says: ")[2] or str(error)
        return Outcome(name, True, by, error.code, words)
    return Outcome(name, False, by, "none", "nobody objected")
