from __future__ import annotations

import pytest

from headcount_node import campaign
from headcount_spec.text import is_plain


def test_every_language_has_a_text_and_every_label() -> None:
    draft = campaign.draft(threshold=40, min_batch=10, today=20_000)
    assert set(campaign.texts()) == set(campaign.LANGUAGES)
    for labels in (draft["title"], draft["addressee"], draft["data_use"], draft["end_of_life"]):
        assert set(labels) == set(campaign.LANGUAGES)


@pytest.mark.parametrize("language", campaign.LANGUAGES)
def test_a_text_makes_the_five_requests_and_is_plain(language: str) -> None:
    text = campaign.texts()[language]
    assert is_plain(text)
    assert [line[0] for line in text.splitlines() if line[1:2] == "."] == ["1", "2", "3", "4", "5"]


def test_few_signers_still_make_valid_tiers() -> None:
    counts = [tier["count"] for tier in campaign.draft(threshold=1, min_batch=1, today=20_000)["tiers"]]
    assert counts == [1]
