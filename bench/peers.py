"""Others' programs beside the audit, on the same machine in the same minutes, one core each.

Belenios hides the choice of a voter whom it knows, Headcount hides the person whose choice it shows: the
ballots and the pledges do different work, and the ratio says only what a recount costs.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import factory
import published

from foreign import Node
from headcount_ledger.audit import audit
from headcount_ledger.reader.fetch import Folder
from headcount_spec.pledge import Pledge
from headcount_spec.token import TOKEN_TYPE, Token

ROUNDS = 3
PLEDGES = 20_000
TOKENS = 2_000
BALLOTS = 200


def peers(folder: Path) -> dict[str, float]:
    """``audit.vs_*``: how many times cheaper a pledge of a whole audit is than a peer's unit of work."""
    target = folder / "published"
    published.publish(target, islice(factory.read_pledges(PLEDGES), PLEDGES))
    figures: dict[str, float] = {}
    theirs: dict[str, list[float]] = {}
    ours: list[float] = []
    election = _election(folder / "election") if shutil.which("belenios-tool") else None
    foreign = Node() if _has_npm() else None
    tokens = [_token(entry) for entry in factory.read_pledges(TOKENS)] if foreign else []
    try:
        for _ in range(ROUNDS):
            ours.append(_audit(target))
            if election is not None:
                theirs.setdefault("belenios", []).append(_verify_election(*election))
            if foreign is not None:
                theirs.setdefault("privacypass_ts", []).append(_verify_tokens(foreign, tokens))
    finally:
        if foreign is not None:
            foreign.close()
    figures["audit.us_per_pledge_one_core"] = statistics.median(ours) * 1e6
    for name, seconds in theirs.items():
        figures[f"peer.{name}_us"] = statistics.median(seconds) * 1e6
        figures[f"audit.vs_{name}"] = statistics.median(b / a for a, b in zip(ours, seconds, strict=True))
    for name in {"belenios", "privacypass_ts"} - theirs.keys():
        print(f"{name} is not installed: audit.vs_{name} is left out", file=sys.stderr)
    return figures


def _audit(target: Path) -> float:
    """Seconds a pledge, everything included, in this process."""
    began = time.process_time()
    report = audit(Folder(target), published.policy())
    took = time.process_time() - began
    if not report.ok:
        raise SystemExit(f"bench: the audited ledger is not sound: {report.faults[:3]}")
    return took / PLEDGES


def _token(entry: bytes) -> str:
    pledge, scope = Pledge.from_bytes(entry), factory.manifest()
    message = scope.token_inputs(pledge.nullifier)[0]
    digest, key_id = message[34:66], message[66:98]
    return Token(TOKEN_TYPE, pledge.nullifier, digest, key_id, pledge.authenticators[0]).to_bytes().hex()


def _verify_tokens(foreign: Node, tokens: list[str]) -> float:
    key = factory.manifest().issuers[0].token_key
    answer = foreign("time_tokens", token_key=key, tokens=tokens)
    if answer["verified"] != len(tokens):
        raise SystemExit("bench: privacypass-ts refuses our tokens")
    return float(answer["seconds"]) / len(tokens)


def _has_npm() -> bool:
    installed = factory.ROOT / "tests" / "conformance" / "npm" / "node_modules"
    return bool(shutil.which("node")) and installed.is_dir()


def _election(folder: Path) -> tuple[Path, Path]:
    """An election with one question and as many ballots, and the same with half of them."""
    folder.mkdir()
    uuid = _belenios(folder, "setup", "generate-token").strip()
    group = ("--group", "BELENIOS-2048")
    _belenios(folder, "setup", "generate-credentials", "--uuid", uuid, *group, "--count", str(BALLOTS))
    _belenios(folder, "setup", "generate-trustee-key", *group)
    (folder / "public_keys.jsons").write_bytes(next(folder.glob("*.pubkey")).read_bytes())
    _belenios(folder, "setup", "make-trustees")
    question = {"answers": ["I pledge"], "min": 0, "max": 1, "question": "Do you pledge?"}
    template = {"description": "", "name": "Bench", "questions": [question]}
    template |= {"administrator": "bench", "credential_authority": "bench"}
    (folder / "template.json").write_text(json.dumps(template))
    _belenios(folder, "setup", "make-election", "--uuid", uuid, *group, "--template", "template.json")
    next(folder.glob("*.pubcreds")).rename(folder / "public_creds.json")
    credentials = [line.split()[-1] for line in next(folder.glob("*.privcreds")).read_text().splitlines()]
    _belenios(folder, "archive", "init")
    for name in ("election.json", "trustees.json", "public_creds.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "choice.json").write_text("[[1]]")
    half = folder.with_name("half")
    for number, credential in enumerate(credentials):
        if number == BALLOTS // 2:
            shutil.copytree(folder, half)
        (folder / "credential").write_text(credential + "\n")
        options = ("--privcred", "credential", "--ballot", "choice.json")
        ballot = _belenios(folder, "election", "generate-ballot", *options)
        _belenios(folder, "archive", "add-event", "--type=Ballot", given=ballot)
    return folder, half


def _verify_election(whole: Path, half: Path) -> float:
    """Seconds a ballot: what the second half of them adds, without the start of the program."""
    took = []
    for folder in (whole, half):
        before = os.times()
        _belenios(folder, "election", "verify")
        after = os.times()
        took.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )
    return (took[0] - took[1]) / (BALLOTS - BALLOTS // 2)


def _belenios(folder: Path, *arguments: str, given: str = "") -> str:
    environment = {**os.environ, "BELENIOS_USE_URANDOM": "1"}
    done = subprocess.run(
        ["belenios-tool", *arguments],
        cwd=folder,
        input=given,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bench: belenios-tool {arguments[0]} {arguments[1]}: {done.stderr[-500:]}")
    return done.stdout
