from __future__ import annotations

import threading
from pathlib import Path

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec import webhook
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    ProtocolError,
    SignatureError,
    TooLargeError,
)
from headcount_verifier import Event, WebhookReceiver
from receivers import SECRET

NOW = 1_700_000_000
KEY = webhook.parse_signer(SECRET)
assert isinstance(KEY, webhook.Secret)
BODY = b'{"type":"scope.counted","timestamp":"2026-01-02T00:00:00Z","data":{"live":7}}'


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver(tmp_path: Path, clock: Clock) -> WebhookReceiver:
    return WebhookReceiver([KEY], tmp_path / "seen.sqlite", clock)


def headers(id: str = "msg_1", time: int = NOW, body: bytes = BODY) -> dict[str, str]:
    return webhook.sign([KEY], id, time, body).to_headers()


def test_an_event_is_taken_once_however_often_it_is_sent(
    receiver: WebhookReceiver, tmp_path: Path, clock: Clock
):
    taken: list[Event] = []
    assert receiver.take(headers(), BODY, taken.append)
    assert not receiver.take(headers(time=NOW + 60), BODY, taken.append)
    again = WebhookReceiver([KEY], tmp_path / "seen.sqlite", clock)  # another process, or a restart
    assert not again.take(headers(), BODY, taken.append)
    assert taken == [Event("msg_1", "scope.counted", "2026-01-02T00:00:00Z", {"live": 7})]


def test_an_action_that_fails_is_done_again(receiver: WebhookReceiver):
    taken: list[Event] = []

    def fail(event: Event) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        receiver.take(headers(), BODY, fail)
    assert receiver.take(headers(), BODY, taken.append)


def test_of_two_at_once_one_acts(receiver: WebhookReceiver):
    entered, go = threading.Event(), threading.Event()
    taken: list[str] = []
    results: list[bool] = []

    def slowly(event: Event) -> None:
        entered.set()
        go.wait(5)
        taken.append(event.id)

    first = threading.Thread(target=lambda: results.append(receiver.take(headers(), BODY, slowly)))
    first.start()
    assert entered.wait(5)
    second = threading.Thread(target=lambda: results.append(receiver.take(headers(), BODY, slowly)))
    second.start()
    go.set()
    first.join()
    second.join()
    assert taken == ["msg_1"]
    assert sorted(results) == [False, True]


def test_a_replay_is_refused_by_its_time(receiver: WebhookReceiver, clock: Clock):
    taken: list[Event] = []
    clock.now = NOW + 301
    with pytest.raises(SignatureError):
        receiver.take(headers(), BODY, taken.append)
    assert taken == []


def test_ids_are_forgotten_after_a_month(receiver: WebhookReceiver, clock: Clock):
    taken: list[Event] = []
    receiver.take(headers(), BODY, taken.append)
    clock.now = NOW + 29 * 86_400
    assert not receiver.take(headers(time=clock.now), BODY, taken.append)
    clock.now = NOW + 31 * 86_400
    assert receiver.take(headers("msg_2", clock.now), BODY, taken.append)
    assert receiver.take(headers(time=clock.now), BODY, taken.append)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"type":1,"timestamp":"","data":{}}', b"\xff"])
def test_signed_bodies_that_are_no_events_are_malformed(receiver: WebhookReceiver, body: bytes):
    with pytest.raises(MalformedError):
        receiver.take(headers(body=body), body, print)


def test_a_body_that_is_too_long_is_refused_before_it_is_hashed(receiver: WebhookReceiver):
    with pytest.raises(TooLargeError):
        receiver.check({}, bytes(65_537))


@given(st.dictionaries(st.sampled_from(["webhook-id", "Webhook-Timestamp", "webhook-signature"]), st.text()))
def test_any_headers_are_an_error_of_ours(found: dict[str, str]):
    receiver = WebhookReceiver([KEY], Path(":memory:"), lambda: NOW)
    with pytest.raises(ProtocolError):
        receiver.check(found, BODY)


def test_what_others_sign_is_taken(receiver: WebhookReceiver):
    import datetime

    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    signed = standardwebhooks.Webhook(SECRET).sign("other_7", moment, BODY.decode())
    found = {"Webhook-Id": "other_7", "Webhook-Timestamp": str(NOW), "Webhook-Signature": signed}
    assert receiver.check(found, BODY).id == "other_7"


def test_keys_come_from_a_file(tmp_path: Path):
    seed = webhook.Seed(bytes(32))
    path = tmp_path / "keys"
    path.write_text(f"{SECRET}\n{seed.public.to_text()}\n")
    receiver = WebhookReceiver.from_files(path, tmp_path / "seen.sqlite")
    import time

    receiver.check(webhook.sign([seed], "msg_1", int(time.time()), BODY).to_headers(), BODY)
    for wrong in ("", seed.to_text(), "é"):
        path.write_text(wrong)
        with pytest.raises(ConfigurationError):
            WebhookReceiver.from_files(path, tmp_path / "seen.sqlite")
    with pytest.raises(ConfigurationError):
        WebhookReceiver.from_files(tmp_path / "none", tmp_path / "seen.sqlite")
    path.write_text(SECRET)
    with pytest.raises(ConfigurationError):
        WebhookReceiver.from_files(path, tmp_path / "no" / "seen.sqlite")
