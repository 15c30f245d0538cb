"""The issuer directory, RFC 9578, Section 4: which token keys this issuer has, and where to ask."""

from __future__ import annotations

from collections.abc import Iterable

from headcount_issuer.enrolment import own_terms
from headcount_spec.jcs import JSON, canonicalise
from headcount_spec.scope import Manifest
from headcount_spec.text import encode_base64url
from headcount_spec.token import TOKEN_TYPE

PATH = "/.well-known/private-token-issuer-directory"
MEDIA_TYPE = "application/private-token-issuer-directory"
REQUEST_PATH = "/token-request"
_DAY_S = 86400


def directory(name: str, url: str, manifests: Iterable[Manifest]) -> bytes:
    """The directory's JSON: a key for each scope, usable from the scope's first day.

    Clients take the key from the manifest and only check that it stands here; a key that stands
    here and in no manifest is nobody's.
    """
    token_keys: list[JSON] = []
    for manifest in manifests:
        terms = own_terms(manifest, name)
        token_keys.append(
            {
                "token-type": TOKEN_TYPE,
                "token-key": encode_base64url(terms.token_key),
                "not-before": manifest.opens * _DAY_S,
            }
        )
    return canonicalise({"issuer-request-uri": url + REQUEST_PATH, "token-keys": token_keys})
