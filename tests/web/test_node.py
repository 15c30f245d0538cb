from __future__ import annotations

import pytest

import nodejs
import vectors
from headcount_spec import unicode14

TESTS = ["crypto.test.js", "parsers.test.js", "vectors.test.js"]


@pytest.mark.parametrize("name", TESTS)
def test_the_tests_of_the_browser_modules(name: str) -> None:
    nodejs.require()
    done = nodejs.run(
        ["--test", "--test-reporter=dot", nodejs.COMPILED / "test" / name],
        env={"HEADCOUNT_VECTORS": str(vectors.FOLDER)},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_no_test_of_the_browser_modules_is_forgotten() -> None:
    names = sorted(path.name.replace(".ts", ".js") for path in (nodejs.WEB / "test").glob("*.test.ts"))
    assert names == sorted(TESTS)


def test_both_implementations_know_the_same_characters() -> None:
    text = (nodejs.WEB / "src" / "protocol" / "unicode14.ts").read_text()
    runs = text.partition("const RUNS = `")[2].partition("`")[0].split()
    assert runs == unicode14._RUNS.split()


def test_every_module_of_the_protocol_compiles() -> None:
    nodejs.require()
    done = nodejs.run(["node_modules/typescript/bin/tsc", "-p", "."])
    assert done.returncode == 0, done.stdout
