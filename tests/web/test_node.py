from __future__ import annotations

import re

import pytest

import nodejs
import vectors
from headcount_spec import unicode14

TESTS = ["crypto.test.js", "parsers.test.js", "sealed.test.js", "vectors.test.js"]


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


FLOORS = {
    "protocol": {"protocol"},
    "reader": {"protocol", "reader"},
    "signing": {"protocol", "reader", "signing"},
    "audit": {"protocol", "reader", "audit"},
}
OUTSIDE = re.compile(r"(?<![.#\w])(fetch\(|document\.|Date\.now|Math\.random|crypto\.getRandomValues)")
NOBLE = {"bls.ts", "mldsa.ts", "strict.ts"}  # chunks of their own, imported only when they are needed


def test_the_browser_modules_keep_their_floors() -> None:
    for floor, allowed in FLOORS.items():
        for path in (nodejs.WEB / "src" / floor).glob("*.ts"):
            text = path.read_text()
            found = set(re.findall(r'from "([^"]+)"', text)) | set(re.findall(r'import "([^"]+)"', text))
            for name in found:
                if name.startswith("@noble/"):
                    assert floor == "protocol", path
                    assert path.name in NOBLE, path
                else:
                    assert (path.parent / name).resolve().parent.name in allowed, f"{path.name}: {name}"
            for chunk in NOBLE:
                assert f'from "./{chunk}"' not in text, path
                assert f'from "../protocol/{chunk}"' not in text, path
            if floor == "protocol":
                assert not OUTSIDE.search(text), path
