"""The mail with a code: plain text, no link, nothing that reports back."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from importlib.resources import files

from headcount_issuer.address import Address
from headcount_issuer.attester import Asking
from headcount_issuer.typed_code import LIFETIME_S
from headcount_spec.scope import Manifest


def compose(
    sender: str, address: Address, code: str, asking: Asking, language: str | None = None
) -> EmailMessage:
    """The mail; language chooses its words."""
    words = _words(asking.manifest, language)
    title = asking.manifest.title.get(words["language"], asking.manifest.title_text)
    site = asking.site.split("://", 1)[-1]
    local, domain = address.deliver_to.rsplit("@", 1)
    message = EmailMessage(SMTP if address.deliver_to.isascii() else SMTPUTF8)
    message["From"] = sender
    message["To"] = HeaderAddress(username=local, domain=domain)
    message["Subject"] = words["subject"]
    message["Date"] = datetime.fromtimestamp(asking.now, UTC)
    message["Message-ID"] = f"<{secrets.token_hex(16)}@{sender.rsplit('@', 1)[1]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office reply, please
    body = words["body"].format(title=" ".join(title.split()), site=site, code=code, minutes=LIFETIME_S // 60)
    message.set_content(body, cte="quoted-printable")
    message["Content-Language"] = words["language"]
    return message


def _words(manifest: Manifest, language: str | None) -> Mapping[str, str]:
    catalogue = _catalogue()
    for wanted in (language, manifest.language, "en"):
        if wanted is not None and wanted.split("-")[0] in catalogue:
            return catalogue[wanted.split("-")[0]]
    return catalogue["en"]


@functools.cache
def _catalogue() -> dict[str, dict[str, str]]:
    texts: dict[str, dict[str, str]] = json.loads(
        files("headcount_issuer").joinpath("letter.json").read_text("utf-8")
    )
    return {
        language: {"language": language, "subject": text["subject"], "body": "\n".join(text["body"]) + "\n"}
        for language, text in texts.items()
    }
