from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

import vectors
from headcount_spec import jcs
from headcount_spec.errors import MalformedError

SCHEMA = json.loads((vectors.FOLDER.parent / "manifest.schema.json").read_bytes())
VALIDATOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)

# What a JSON Schema cannot say; the parser refuses these.
BEYOND = {
    "language-not-of-the-title",
    "language-missing-in-addressee",
    "language-added-in-data-use",
    "title-not-nfc",
    "title-with-tab",
    "title-with-private-use-character",
    "title-with-unassigned-character",
    "title-with-character-of-unicode-15",
    "level-part-twice",
    "level-two-of-four",
    "level-two-of-two",
    "opens-after-freezes",
    "freezes-after-closes",
    "quotas-of-more-options-than-there-are",
    "issuer-url-with-newline",  # Python's $ matches before a newline at the end, ECMA-262's does not
    "notice-key-of-small-order",
    "contacts-key-of-small-order",
    "contacts-purpose-twice",
    "notice-key-not-canonical",
    "quorum-above-keys",
    "origin-line-not-the-name-of-the-key",
    "witnesses-without-quorum",
    "witnesses-with-log",
    "two-issuers-of-one-name",
    "two-issuers-with-one-token-key",
    "two-issuers-with-one-notice-key",
    "options-with-gap",
    "options-out-of-order",
    "tiers-equal",
    "tiers-descending",
    "trustees-more-needed-than-there-are",
    "two-trustees-of-one-name",
    "two-trustees-with-one-identity",
    "two-trustees-with-one-scope-key",
    "two-trustees-with-one-bls-key",
    "trustee-key-of-small-order",
}


def cases() -> list[Any]:
    """The vectors that are JSON at all, whatever its spelling."""
    found = []
    for case in vectors.load("manifests.json")["cases"]:
        try:
            value = jcs.parse_canonical(case.get("manifest", "").encode())
        except MalformedError:
            continue
        found.append(pytest.param(case, value, id=case["name"]))
    return found


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("case", "value"), cases())
def test_schema_and_parser_agree(case: dict[str, Any], value: Any) -> None:
    accepts = VALIDATOR.is_valid(value)
    assert accepts == (case["expect"] == "ok" or case["name"] in BEYOND)
