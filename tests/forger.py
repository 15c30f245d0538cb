from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flask
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

PROVIDER = "https://log-in.example/tenant"
CLIENT = "issuer-client"
NONCE = "n-0S6_WzA2Mj"
NOW = 1_800_000_000
SECRET_KEY = rsa.generate_private_key(65537, 2048)
RSA = RSAKey.import_key(SECRET_KEY, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec"}, private=True)
OLD = RSAKey.import_key(rsa.generate_private_key(65537, 2048), {"kid": "rsa"})
KEYS = {"rsa": RSA, "ec": EC}
GOOD = {"iss": PROVIDER, "sub": "s-17", "aud": CLIENT, "nonce": NONCE, "iat": NOW, "exp": NOW + 300}


def signed(claims: dict[str, Any], key: Key = RSA, algorithm: str = "RS256", **header: Any) -> str:
    return jwt.encode({"alg": algorithm, "kid": key.kid, **header}, claims, key, algorithms=[algorithm])


@dataclass
class Forger:
    """Answers as a provider does, with whatever it is told."""

    metadata: dict[str, Any] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=lambda: [RSA])
    token: str = ""
    status: int = 200
    claims: dict[str, Any] = field(default_factory=dict)
    nonce: str = ""
    asked: list[str] = field(default_factory=list)
    form: dict[str, str] = field(default_factory=dict)

    def app(self) -> flask.Flask:
        app = flask.Flask("forger")

        @app.get("/tenant/.well-known/openid-configuration")
        def discovery() -> Any:
            self.asked.append("discovery")
            return {
                "issuer": PROVIDER,
                "authorization_endpoint": f"{PROVIDER}/auth",
                "token_endpoint": f"{PROVIDER}/token",
                "jwks_uri": f"{PROVIDER}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public", "pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
            } | self.metadata

        @app.get("/tenant/keys")
        def keys() -> Any:
            self.asked.append("keys")
            return {"keys": [key.as_dict(private=False) for key in self.keys]}

        @app.post("/tenant/token")
        def token() -> Any:
            self.asked.append("token")
            self.form = flask.request.form.to_dict()
            made = self.token or signed(GOOD | {"nonce": self.nonce} | self.claims)
            answer = {"access_token": "thrown away", "token_type": "Bearer", "id_token": made}
            return flask.jsonify(answer), self.status

        return app
