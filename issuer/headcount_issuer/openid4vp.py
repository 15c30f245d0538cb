"""Asking a wallet for a credential: the smallest sound part of OpenID for Verifiable Presentations 1.0.

One credential, in format ``dc+sd-jwt`` with key binding, asked for by DCQL. The request is plain: its client
id is the address that the answer is posted to (prefix ``redirect_uri``), so there is nothing to sign it with
and nothing that would name a registered verifier. KNOWN: wallets that answer only registered verifiers (those
of the EU will) refuse it. The answer is posted by the wallet (``direct_post``), which then sends its own
browser back with a response code: a stranger who passes the request on does not get the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from headcount_issuer.sd_jwt import MAX_PRESENTATION_CHARS
from headcount_spec.errors import MalformedError
from headcount_spec.jcs import JSON, parse_json

SCHEME = "openid4vp://"
QUERY_ID = "person"  # of the one credential in the query
FORMAT = "dc+sd-jwt"
_ALGORITHM = "ES256"
_MAX_TOKEN_CHARS = MAX_PRESENTATION_CHARS + 1000


def client_id(response_uri: str) -> str:
    """Who asks, and the audience of the answer. Section 5.9.3, prefix ``redirect_uri``."""
    return f"redirect_uri:{response_uri}"


def request_url(
    response_uri: str, nonce: str, state: str, types: Sequence[str], claims: Sequence[Sequence[str]]
) -> str:
    """The address that opens a wallet. Sections 5 and 8.2.

    types are those of credentials that will do (``vct``), claims the paths of what is to be disclosed.
    """
    query = {
        "credentials": [
            {
                "id": QUERY_ID,
                "format": FORMAT,
                "meta": {"vct_values": list(types)},
                "claims": [{"path": list(path)} for path in claims],
            }
        ]
    }
    formats = {FORMAT: {"sd-jwt_alg_values": [_ALGORITHM], "kb-jwt_alg_values": [_ALGORITHM]}}
    parameters = {
        "response_type": "vp_token",
        "response_mode": "direct_post",
        "client_id": client_id(response_uri),
        "response_uri": response_uri,
        "nonce": nonce,
        "state": state,
        "dcql_query": _compact(query),
        "client_metadata": _compact({"vp_formats_supported": formats}),
    }
    return f"{SCHEME}?{urlencode(parameters)}"


def read_response(form: Mapping[str, str]) -> str:
    """The one presentation of an answer. Section 8.1.

    Raises:
        MalformedError: the wallet says that it does not answer, or answers something else.
    """
    if "error" in form:
        raise MalformedError("the wallet did not answer with a credential")
    text = form.get("vp_token", "")
    if not 0 < len(text) <= _MAX_TOKEN_CHARS:
        raise MalformedError("vp_token: missing or too long")
    value: JSON = parse_json(text.encode("utf-8", "surrogatepass"), _MAX_TOKEN_CHARS)
    found = value.get(QUERY_ID) if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], str):
        raise MalformedError("vp_token: not one presentation of the credential that was asked for")
    return found[0]


def _compact(value: JSON) -> str:
    return json.dumps(value, separators=(",", ":"))
