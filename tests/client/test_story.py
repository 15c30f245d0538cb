from __future__ import annotations

from pathlib import Path
from typing import Any

from headcount import pledge, receipt, revise


def test_a_pledge_is_proved_sent_published_and_withdrawn(world: Any, tmp_path: Path) -> None:
    manifest = world.publish()
    paths = [world.pledge(manifest, i) for i in range(3)]
    (before,) = receipt.fetch(paths[0], transport=world.http)
    assert (before.state, before.proof) == ("accepted", None)
    world.seal()
    (after,) = receipt.fetch(paths[0], transport=world.http)
    assert after.state == "included"
    assert after.path == tmp_path / "0.tlog-proof"
    content = revise.withdraw(paths[0], transport=world.http, day=world.clock.day)
    assert content.changes[-1].promise is not None
    world.seal()
    first, second = receipt.fetch(paths[0], transport=world.http)
    assert (first.serial, second.serial) == (0, 1)
    assert second.path == tmp_path / "0.1.tlog-proof"
    assert pledge.submit(paths[1], transport=world.http).promise is not None
