"""E-mail addresses: the mailbox behind an address, so that one mailbox counts once.

RFC 5321 and 6531 by email-validator, without asking the DNS. ``providers.json`` beside this module says
what large providers do with dots, tags and second domain names, and which domains are so large
that a quota would only punish strangers. Mailboxes to throw away are those of the PyPI package
disposable-email-domains, whose list is reviewed in the open and appears weekly.
"""

from __future__ import annotations

import functools
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import disposable_email_domains
from email_validator import EmailNotValidError, validate_email
from publicsuffixlist import PublicSuffixList

from headcount_spec.errors import MalformedError

MAX_CHARS = 254  # RFC 5321, Section 4.5.3.1.3, without the angle brackets


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox that somebody says is theirs."""

    deliver_to: str = field(repr=False)  # as typed, domain in ASCII
    canonical: str = field(repr=False)  # one spelling for all that lead to this mailbox
    registrable: str = field(repr=False)  # domain that somebody had to register
    is_large: bool = False  # a provider of mailboxes for everybody
    is_disposable: bool = False  # of a provider of mailboxes to throw away


def parse_address(text: str) -> Address:
    """Read an address that a person has typed.

    Raises:
        MalformedError: not one plain address with a domain that can receive mail.
    """
    if len(text) > MAX_CHARS or any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") for char in text):
        raise MalformedError("not an e-mail address")
    try:
        valid = validate_email(text, check_deliverability=False, strict=True)
    except EmailNotValidError as exc:
        raise MalformedError("not an e-mail address") from exc
    domain = valid.ascii_domain.lower()
    registrable = _suffixes().privatesuffix(domain)
    if registrable is None:
        raise MalformedError("not an e-mail address: the domain is a public suffix")
    local, mail_domain = valid.local_part, domain
    owner, _, parent = domain.partition(".")
    if parent in _providers()["subdomains"]:
        local, mail_domain = owner, parent  # any@ada.fastmail.com is ada@fastmail.com
    provider = _providers()["by_domain"].get(mail_domain, _ELSEWHERE)
    canonical = f"{_mailbox(local, provider)}@{provider.get('domain', mail_domain)}"
    return Address(
        deliver_to=f"{valid.ascii_local_part or valid.local_part}@{domain}",
        canonical=canonical,
        registrable=registrable,
        is_large=mail_domain in _providers()["large"],
        is_disposable=_is_disposable(domain, registrable),
    )


def _is_disposable(domain: str, registrable: str) -> bool:
    """Whether the domain, or one above it that somebody registered, is on the list of the package."""
    while domain not in disposable_email_domains.blocklist:
        if domain == registrable:
            return False
        domain = domain.partition(".")[2]
    return domain not in disposable_email_domains.allowlist


# KNOWN: a host where a+b and a+c are two people's mailboxes gives them one token between them. Tags
# after "+" are so common that the other mistake, a token for every tag, would be the larger one.
_ELSEWHERE: Mapping[str, Any] = {"tag": "+"}


def _mailbox(local: str, provider: Mapping[str, Any]) -> str:
    # Servers may tell A from a (RFC 5321, Section 2.4); hardly any does.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", local).casefold())
    tag = provider.get("tag")
    if tag:
        folded = folded.split(tag, 1)[0] or folded
    for char in provider.get("ignored", ""):
        folded = folded.replace(char, "") or folded
    return folded


@functools.cache
def _suffixes() -> PublicSuffixList:
    # The ICANN part alone: under a private suffix (a free host name) names cost nothing.
    return PublicSuffixList(only_icann=True)


@functools.cache
def _providers() -> dict[str, Any]:
    data = json.loads(files("headcount_issuer").joinpath("providers.json").read_text("utf-8"))
    by_domain = {domain: provider for provider in data["providers"] for domain in provider["domains"]}
    return {
        "by_domain": by_domain,
        "large": frozenset(by_domain) | frozenset(data["large"]),
        "subdomains": frozenset(
            domain for domain, provider in by_domain.items() if provider.get("subdomains")
        ),
    }
