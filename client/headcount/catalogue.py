"""The words that people read: ``messages/<language>.json``, one for each language, for translators.

A message is a text with ``{names}`` in it, or one text for each plural category of the language
(Unicode CLDR, as Intl.PluralRules of browsers). English is the reference: a language that lacks one of its
messages, a category or a name does not load. The pages in the browser use the same files.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal, format_percent

from headcount_spec.errors import MalformedError

LANGUAGES = ("en", "fr", "de", "es", "it", "nl", "ru", "ar")  # as they are offered
_RIGHT_TO_LEFT = frozenset({"ar"})
_LOCALES = {"ar": "ar_EG"}  # whose digits are those of the script
_EPOCH = date(1970, 1, 1)
_NAME = re.compile(r"\{([a-z_]+)\}")

Message = str | dict[str, str]  # or by plural category


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One language."""

    language: str
    messages: Mapping[str, Message]

    @property
    def direction(self) -> str:
        """``ltr`` or ``rtl``."""
        return "rtl" if self.language in _RIGHT_TO_LEFT else "ltr"

    def text(self, key: str, number: int | None = None, **names: str) -> str:
        """A message; number chooses the plural form and stands for ``{n}``.

        Raises:
            KeyError: no such message, or a name in it was not given.
        """
        message = self.messages[key]
        if isinstance(message, dict):
            message = message[_locale(self.language).plural_form(number or 0)]
        if number is not None:
            names = {"n": self.number(number), **names}
        return _NAME.sub(lambda found: names[found[1]], message)

    def number(self, value: int) -> str:
        """A whole number as the language writes it."""
        return self._digits(str(format_decimal(value, locale=_locale(self.language))))

    def percent(self, share: float) -> str:
        """A share of 1."""
        return self._digits(str(format_percent(share, locale=_locale(self.language))))

    def day(self, day: int) -> str:
        """A day since 1970 as a date in words."""
        when = datetime.combine(_EPOCH, datetime.min.time(), UTC) + timedelta(day)
        return self._digits(str(format_date(when, "long", locale=_locale(self.language))))

    def _digits(self, text: str) -> str:
        # Babel writes Latin digits whatever the locale; browsers write those of ar-EG.
        return text.translate(_ARABIC) if self.language == "ar" else text

    def subset(self, *prefixes: str) -> dict[str, Message]:
        """The messages whose keys begin so."""
        return {key: message for key, message in self.messages.items() if key.startswith(prefixes)}


@functools.cache
def catalogue(language: str) -> Catalogue:
    """The catalogue of one of LANGUAGES.

    Raises:
        MalformedError: a message, a plural category or a name is missing or superfluous.
    """
    messages = _read(language)
    check(language, messages, _read(LANGUAGES[0]))
    return Catalogue(language, messages)


def choose(asked: str | None, header: str | None, offered: tuple[str, ...] = LANGUAGES) -> str:
    """The language asked for, else the best of an Accept-Language header (RFC 9110, Section 12.5.4)."""
    if asked in offered:
        return asked
    wishes: list[tuple[float, int, str]] = []
    for place, part in enumerate((header or "")[:500].split(",")):
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        wishes.append((-quality, place, tag.split("-")[0].lower()))
    return next((tag for quality, _, tag in sorted(wishes) if tag in offered and quality < 0), offered[0])


def check(language: str, messages: Mapping[str, Message], reference: Mapping[str, Message]) -> None:
    """Refuse a catalogue that is not complete, or says more than English does.

    Raises:
        MalformedError: names the message.
    """
    categories = {str(tag) for tag in _locale(language).plural_form.tags} | {"other"}
    different = set(messages) ^ set(reference)
    if different:
        raise MalformedError(f"messages/{language}.json: {min(different)} is missing or unknown")
    for key, message in messages.items():
        expected = reference[key]
        if isinstance(message, dict) != isinstance(expected, dict):
            raise MalformedError(f"messages/{language}.json: {key} has plural forms in one language only")
        if isinstance(message, dict) and set(message) != categories:
            raise MalformedError(f"messages/{language}.json: {key} needs {', '.join(sorted(categories))}")
        forms = list(message.values()) if isinstance(message, dict) else [message]
        if not all(form.strip() for form in forms):
            raise MalformedError(f"messages/{language}.json: {key} is empty")
        names = _names(expected)
        # A form for one or two may say the number in a word.
        if any(_names(form) - names or names - _names(form) - {"n"} for form in forms):
            raise MalformedError(f"messages/{language}.json: {key} has other names in braces")


def _names(message: Message) -> set[str]:
    forms = message.values() if isinstance(message, dict) else (message,)
    return {name for form in forms for name in _NAME.findall(form)}


def _read(language: str) -> dict[str, Message]:
    value = json.loads((files("headcount") / "messages" / f"{language}.json").read_text("utf-8"))
    assert isinstance(value, dict)  # noqa: S101 - our own file
    return value


@functools.cache
def _locale(language: str) -> Locale:
    return Locale.parse(_LOCALES.get(language, language))


_ARABIC = {ord("0") + i: chr(0x660 + i) for i in range(10)} | {ord(","): "\u066c", ord("%"): "\u066a"}
