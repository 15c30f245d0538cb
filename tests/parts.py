from __future__ import annotations

import os

import pytest


def require(condition: object, missing: str) -> None:
    """Skip the test where a part is missing, by name; under HEADCOUNT_NO_SKIP=1 fail instead.

    tests/parts.sh installs every part.
    """
    if condition:
        return
    if os.environ.get("HEADCOUNT_NO_SKIP") == "1":
        pytest.fail(f"missing: {missing}", pytrace=False)
    pytest.skip(f"missing: {missing} (tests/parts.sh installs it)")
