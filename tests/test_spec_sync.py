from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from flask import Flask
from openapi_spec_validator import validate

import fakes
import manifests
from headcount_issuer.app import MAX_JSON_BYTES
from headcount_issuer.app import create_app as issuer_app
from headcount_issuer.issuer import Issuer
from headcount_ledger.app import create_app as ledger_app
from headcount_ledger.audit import fault
from headcount_ledger.exchange import BUNDLE_TYPE, MAX_BUNDLE_BYTES
from headcount_ledger.witness.app import create_app as witness_app
from headcount_ledger.witness.server import Witness
from headcount_node.site.assets import Assets
from headcount_node.site.check import CheckSite, check_blueprint
from headcount_node.site.pages import Site, pages_blueprint
from headcount_node.site.theme import theme_blueprint
from headcount_spec import deposit, problem
from headcount_spec.entry import MAX_ENTRY_BYTES
from headcount_spec.promise import PROMISE_BYTES
from headcount_spec.scope import MAX_MANIFEST_BYTES
from headcount_spec.tlog_witness import MAX_REQUEST_BYTES
from headcount_spec.token import TokenRequest
from headcount_verifier import Redeemer, VerifierConfig
from headcount_verifier import create_app as verifier_app
from headcount_verifier.app import MAX_PLEDGE_BYTES, REVISION_BYTES

ROOT = Path(__file__).parents[1]
PROTOCOL = ROOT / "spec" / "protocol.md"
PACKAGES = ("spec", "ledger", "issuer", "verifier", "client", "node")
LEDGER = "/ledger"

Operations = Mapping[tuple[str, str], Mapping[str, Any]]


def openapi() -> dict[str, Any]:
    return cast(dict[str, Any], yaml.safe_load((ROOT / "spec" / "openapi.yaml").read_text("utf-8")))


def operations(tag: str | None = None) -> Operations:
    """(method, path) → operation."""
    return {
        (method.upper(), path): item
        for path, methods in openapi()["paths"].items()
        for method, item in methods.items()
        if method != "servers" and (tag is None or tag in item["tags"])
    }


def routes(app: Flask) -> set[tuple[str, str]]:
    return {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }


# The prose


def test_the_python_of_the_protocol_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    parser = doctest.DocTestParser()
    text = PROTOCOL.read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 10
    # One after the other in one namespace, each block found again by its line.
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    names: dict[str, Any] = {}
    output: list[str] = []
    for block in blocks:
        line = text[: text.index(block)].count("\n")
        test = parser.get_doctest(block, names, "protocol.md", str(PROTOCOL), line)
        assert test.examples, block
        runner.run(test, out=output.append, clear_globs=False)
        names = test.globs
    assert "".join(output) == ""


def sections() -> set[str]:
    return set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", PROTOCOL.read_text("utf-8"), re.MULTILINE))


def cited_sections() -> Iterator[tuple[str, str]]:
    """(file, section) of every place that cites the protocol."""
    citation = re.compile(r"[Pp]rotocol(?:\.md)?,\s+(?:#\s+)?Sections? ((?:\d+(?:\.\d+)*(?:, | and )?)+)")
    files = [path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")]
    files += [ROOT / "spec" / "openapi.yaml", *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.md")]
    for path in files:
        if "node_modules" not in path.parts:
            for found in citation.findall(path.read_text("utf-8")):
                for section in re.findall(r"\d+(?:\.\d+)*", found):
                    yield str(path.relative_to(ROOT)), section


def test_every_section_that_is_cited_exists():
    cited = list(cited_sections())
    assert len(cited) > 5
    assert [where for where in cited if where[1] not in sections()] == []


def table(heading: str) -> list[list[str]]:
    """The rows of the first table behind a heading."""
    text = PROTOCOL.read_text("utf-8")
    body = text[re.search(rf"^#+ [\d.]+ {re.escape(heading)}$", text, re.MULTILINE).end() :]  # type: ignore[union-attr]
    lines = re.search(r"(?:^\|.*\|\n)+", body, re.MULTILINE)
    assert lines is not None
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()]
    return rows[2:]


def test_the_table_of_faults_is_that_of_the_audit():
    assert {row[0].strip("`"): row[1] for row in table("Faults")} == dict(fault.SENTENCES)


def test_every_fault_that_the_code_names_is_in_the_table():
    known = {row[0].strip("`") for row in table("Faults")}
    named = set()
    for folder in ("ledger/headcount_ledger/audit", "client/headcount"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and _called(node) in ("faults.add", "Fault") and node.args:
                    named |= set(_texts(node.args[0]))
    assert named - known == set()
    assert len(named) > 20


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    if isinstance(node.func, ast.Attribute) and node.func.attr == "add":
        owner = node.func.value
        name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
        return f"{name.removeprefix('_')}.add"
    return ""


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def test_the_table_of_errors_is_the_tree():
    rows = {row[0].strip("`"): int(row[1]) for row in table("Errors")}
    assert rows == {code: cls.status for code, cls in problem.BY_CODE.items()}


def test_every_context_of_a_hash_or_signature_is_in_the_table():
    known = {row[0].strip("`").replace("\\0", "") for row in table("Hashes and signatures")}
    named = set()
    for folder in PACKAGES:
        for path in (ROOT / folder).rglob("*.py"):
            named |= set(re.findall(r'b"(headcount/\w+/v\d+/?)', path.read_text("utf-8")))
    assert len(named) > 5
    assert named <= known


def test_every_test_that_the_threat_model_cites_exists():
    text = (ROOT / "spec" / "threat-model.md").read_text("utf-8")
    cited = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(cited) > 20
    for path, name in cited:
        assert (ROOT / path).is_file(), path
        assert not name or f"def {name}(" in (ROOT / path).read_text("utf-8"), f"{path}::{name}"
    for path in re.findall(r"`(docs/[\w/.-]+)`", text):
        assert (ROOT / path).is_file(), path


# The HTTP interface


def test_the_openapi_document_is_valid():
    validate(openapi())


def test_the_verifiers_routes_are_documented():
    redeemer = Redeemer({}, cast(Any, None), lambda: 0)
    app = verifier_app(VerifierConfig("http://localhost:8000/ledger"), redeemer)
    assert routes(app) == set(operations("verifier"))


def test_the_issuers_routes_are_documented():
    assert routes(issuer_app(cast(Issuer, None))) == set(operations("issuer"))


def test_the_pages_are_documented():
    app = Flask(__name__, static_folder=None)
    for part in (
        pages_blueprint(cast(Site, None)),
        check_blueprint(cast(CheckSite, None)),
        Assets().blueprint(),
        theme_blueprint(None),
    ):
        app.register_blueprint(part)
    assert routes(app) == set(operations("pages"))


def test_the_witness_routes_are_documented():
    assert routes(witness_app(cast(Witness, None))) == set(operations("witness"))


@pytest.fixture
def ledger_client(tmp_path: Path) -> Iterator[Any]:
    with fakes.new_ledger(tmp_path) as ledger:
        scope = manifests.manifest(min_batch=1)
        fakes.open_scopes(ledger, scope)
        ledger.accept(manifests.pledge(scope, 1).to_bytes(), fakes.DAY)
        ledger.seal(fakes.DAY)
        yield ledger_app(ledger, fakes.FakeClock()).test_client(), scope, ledger


def test_the_ledgers_files_are_documented(ledger_client):
    # The ledger has one route for all files, so that each documented path is asked for.
    client, scope, ledger = ledger_client
    size = ledger.head().size
    gets = [(path, item) for (method, path), item in operations("ledger").items() if method == "GET"]
    assert len(gets) == 6
    for path, item in gets:
        example = path.format(scope=scope.scope_id.hex(), batch=0, level=0, index=f"000.p/{size}")
        answer = client.get(example)
        assert answer.status_code == 200, path
        assert answer.mimetype in item["responses"]["200"]["content"]
        assert client.post(example).status_code == 405
    # And nothing else is served: every published file is one of these.
    patterns = [
        re.compile(re.escape(path.removeprefix(LEDGER + "/")).replace(r"\{index\}", "[0-9x/.p]+"))
        for path, _ in gets
    ]
    patterns = [re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", pattern.pattern)) for pattern in patterns]
    for published in fakes.published(ledger):
        assert any(pattern.fullmatch(published) for pattern in patterns), published


def test_the_ledgers_intake_is_documented(ledger_client):
    client, scope, _ledger = ledger_client
    answers = operations("ledger")["POST", "/ledger/entries"]["responses"]["200"]["content"]
    for entry in (manifests.pledge(scope, 1), manifests.manifest_notice(scope)):
        answer = client.post(
            "/ledger/entries", data=entry.to_bytes(), content_type="application/vnd.headcount.entry"
        )
        assert answer.mimetype in answers
    assert client.get("/ledger/entries").status_code == 405
    taken = operations("ledger")["POST", "/ledger/bundles"]["responses"]["200"]["content"]
    bundle = b"\0\4junk"
    answer = client.post("/ledger/bundles", data=bundle, content_type="application/vnd.headcount.bundle")
    assert answer.mimetype in taken
    posts = {path for method, path in operations("ledger") if method == "POST"}
    assert posts == {"/ledger/entries", "/ledger/bundles"}


def test_the_codes_are_those_of_the_error_tree():
    document = openapi()
    assert document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == list(problem.BY_CODE)


def test_each_operation_documents_the_status_of_each_of_its_codes():
    for key, item in operations().items():
        statuses = {str(problem.BY_CODE[code].status) for code in item["x-problem-codes"]}
        answers = {
            status for status, answer in item["responses"].items() if status >= "400" and "$ref" in answer
        }
        assert answers == statuses, key


def test_the_sizes_are_those_of_the_code():
    def size(method: str, path: str, kind: str) -> int:
        content = operations()[method, path]["requestBody"]["content"][kind]
        return int(content.get("x-bytes") or content["x-max-bytes"])

    entry = "application/vnd.headcount.entry"
    assert size("POST", "/pledges", entry) == MAX_PLEDGE_BYTES
    assert size("POST", "/revisions", entry) == REVISION_BYTES
    assert size("POST", "/contacts", deposit.DEPOSIT_TYPE) == deposit.MAX_DEPOSIT_BYTES
    assert size("POST", "/erasures", deposit.ERASURE_TYPE) == deposit.ERASURE_BYTES
    assert size("POST", "/ledger/entries", entry) == MAX_ENTRY_BYTES
    assert size("POST", "/ledger/bundles", BUNDLE_TYPE) == MAX_BUNDLE_BYTES
    assert size("POST", "/sessions", "application/json") == MAX_JSON_BYTES
    assert size("POST", "/add-checkpoint", "text/plain") == MAX_REQUEST_BYTES
    request = TokenRequest(0, bytes(256)).to_bytes()
    assert size("POST", "/token-request", "application/private-token-request") == len(request)
    promise = openapi()["components"]["responses"]["Promise"]["content"]["application/vnd.headcount.promise"]
    assert promise["x-bytes"] == PROMISE_BYTES
    manifest = operations()["GET", "/scopes/{scope}"]["responses"]["200"]["content"]["application/json"]
    assert manifest["x-max-bytes"] == MAX_MANIFEST_BYTES
