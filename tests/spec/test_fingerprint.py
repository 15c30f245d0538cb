from __future__ import annotations

import hashlib
from pathlib import Path

from headcount_spec.fingerprint import NUMBER_OF_WORDS, fingerprint
from headcount_spec.scope import ScopeId
from headcount_spec.words import WORDS

WEB = Path(__file__).resolve().parents[2] / "client" / "web" / "src" / "fingerprint" / "words.txt"


def test_the_list_is_that_of_bip_39() -> None:
    text = "".join(f"{word}\n" for word in WORDS)
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest == "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
    assert WEB.read_text("utf-8") == text


def test_four_letters_tell_a_word() -> None:
    assert len({word[:4] for word in WORDS}) == len(WORDS) == 2048


def test_every_one_of_88_bits_changes_one_word_and_no_other_bit_does() -> None:
    whole = fingerprint(ScopeId(bytes(32)))
    for bit in range(256):
        changed = fingerprint(ScopeId((1 << 255 - bit).to_bytes(32, "big")))
        different = [i for i in range(NUMBER_OF_WORDS) if changed[i] != whole[i]]
        assert different == ([bit // 11] if bit < 88 else [])
