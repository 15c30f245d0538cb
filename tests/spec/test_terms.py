from __future__ import annotations

import pytest

from headcount_spec import terms


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example",
        "http://localhost:8001",
        "http://127.0.0.1:1",
        "https://a-b.example:65535/issuer/v1.0_~",
    ],
)
def test_good_urls(url: str) -> None:
    assert terms.URL.match(url)


@pytest.mark.parametrize(
    "url",
    [
        "issuer.example",
        "HTTPS://issuer.example",
        "https://Issuer.example",
        "https://issuer.example/",
        "https://issuer.example//a",
        "https://issuer.example/.",
        "https://issuer.example/%41",
        "https://issuer.example?q",
        "https://issuer.example#f",
        "https://u:p@issuer.example",
        "https://issuer.example:0",
        "https://issuer.example:65536",
        "https://issuer.example:",
        "https://-issuer.example",
        "https://issuer..example",
        "https://issuer.example.",
        "https://[::1]",
        "https://issuer.example\n",
        "https://éxample",
        "javascript:alert(1)",
    ],
)
def test_bad_urls(url: str) -> None:
    assert not terms.URL.match(url)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Etc/GMT+1"])
def test_good_time_zones(zone: str) -> None:
    assert terms.TIME_ZONE.match(zone)


@pytest.mark.parametrize("zone", ["", "utc", "CET", "Europe/", "Europe/paris", "+01:00", "A/B/C/D", "UTC\n"])
def test_bad_time_zones(zone: str) -> None:
    assert not terms.TIME_ZONE.match(zone)
