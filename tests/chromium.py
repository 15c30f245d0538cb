"""Debian's Chromium under Playwright, with a virtual authenticator."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import parts

PATH = "/usr/bin/chromium"
TIMEOUT_MS = 15_000


def require() -> None:
    found = importlib.util.find_spec("playwright") is not None and os.access(PATH, os.X_OK)
    parts.require(found, "playwright from pip, or /usr/bin/chromium from Debian")


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; its pages are opened with new_page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # Without its own sandbox it also runs as root, and in containers with little shared memory.
        opened = driver.chromium.launch(
            executable_path=PATH, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=60_000
        )
        try:
            yield opened
        finally:
            opened.close()


class Device:
    """The virtual authenticator of one page; it holds three passkeys."""

    def __init__(self, page: Any, user_verified: bool = True) -> None:
        self.page = page
        page.set_default_timeout(TIMEOUT_MS)
        self.protocol = page.context.new_cdp_session(page)
        self.protocol.send("WebAuthn.enable")  # once a page: without it calls hang
        self.id = self.protocol.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2",
                    "transport": "internal",
                    "hasResidentKey": True,
                    "hasUserVerification": True,
                    "isUserVerified": user_verified,
                    "automaticPresenceSimulation": True,
                }
            },
        )["authenticatorId"]

    def verify_user(self, verified: bool) -> None:
        self.protocol.send(
            "WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": verified}
        )

    def credentials(self) -> list[dict[str, Any]]:
        found = self.protocol.send("WebAuthn.getCredentials", {"authenticatorId": self.id})
        credentials: list[dict[str, Any]] = found["credentials"]
        return credentials

    def replace(self, credential: dict[str, Any]) -> None:
        """Put a credential back as it was, such as with an older counter."""
        self.protocol.send("WebAuthn.clearCredentials", {"authenticatorId": self.id})
        self.protocol.send("WebAuthn.addCredential", {"authenticatorId": self.id, "credential": credential})
