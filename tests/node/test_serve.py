from __future__ import annotations

import socket
from pathlib import Path

import pytest

from headcount_node.serve import serve
from headcount_spec.errors import ConfigurationError
from ports import free_ports


@pytest.mark.parametrize(("taken", "table"), [(0, "[ledger]"), (1, "[issuer]")])
def test_a_node_does_not_start_beside_another(tmp_path: Path, taken: int, table: str) -> None:
    ports = free_ports(0, 1)
    tables = {
        "[ledger]": '[ledger]\ndirectory = "."\n',
        "[issuer]": '[issuer]\nname = "a.example"\nurl = "https://a.example"\ndirectory = "issuer"\n'
        'ledger = "https://b.example/ledger"\n[issuer.attesters.in-person]\n',
    }
    path = tmp_path / "headcount.toml"
    path.write_text(
        f'[node]\npublic = "127.0.0.1:{ports[0]}"\npersonhood = "127.0.0.1:{ports[1]}"\n{tables[table]}'
    )
    with socket.socket() as other:
        # As Granian does: whoever asks likewise gets every other connection, and no error.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", ports[taken]))
        other.listen()
        with pytest.raises(ConfigurationError, match=f"port {ports[taken]} is in use"):
            serve(path)
