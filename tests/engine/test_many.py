from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence

import pytest

import keys
from engines import LANES
from headcount_engine import rsa, selftest
from headcount_engine.engine import Check
from headcount_engine.many import ManyEngine, Vectors, lanes
from headcount_engine.portable import Portable
from headcount_spec.blind_rsa import PublicKey
from headcount_spec.errors import ConfigurationError, CorruptionError

KEY = rsa.load_public_key(keys.token_spki(0))
DIGEST = hashlib.sha384(b"a message").digest()
SIG = keys.sign_pss(keys.token_key(0), b"a message")


class Counting:
    name = "counting"

    def __init__(self) -> None:
        self.checked = 0

    def checker(self, key: PublicKey) -> Check:
        check = Portable().load_public_key(key).checker()

        def counted(digests: Sequence[bytes], sigs: Sequence[bytes]) -> bool:
            if key == KEY.public:
                self.checked += len(sigs)
            return check(digests, sigs)

        return counted


class Lax(Counting):
    def checker(self, key: PublicKey) -> Check:
        return lambda _digests, _sigs: True


def test_the_engine_is_made_when_there_have_been_so_many() -> None:
    made: list[Counting] = []

    def make() -> ManyEngine:
        made.append(Counting())
        return made[-1]

    vectors = Vectors(make, patience=10)
    first, second = vectors.checker(KEY), vectors.checker(KEY)
    for check in (first, second):
        assert check([DIGEST] * 5, [SIG] * 5)
    assert not made
    assert first([DIGEST], [SIG])
    assert not made
    for check in (first, second, vectors.checker(KEY)):
        assert check([DIGEST] * 2, [SIG] * 2)
        assert not check([DIGEST, DIGEST], [SIG, SIG[::-1]])
    assert [engine.checked for engine in made] == [12]


@pytest.mark.parametrize(
    "failure", [ImportError("no llvmlite"), ConfigurationError("no AVX-512"), OSError("no")]
)
def test_where_there_is_none_they_are_verified_one_by_one(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[Exception] = []

    def make() -> ManyEngine:
        tried.append(failure)
        raise failure

    caplog.set_level(logging.INFO, "headcount_engine.many")
    vectors = Vectors(make, patience=-1)
    for _ in range(2):
        check = vectors.checker(KEY)
        assert check([DIGEST], [SIG])
        assert not check([DIGEST], [SIG[::-1]])
    assert tried == [failure]
    assert [record.getMessage() for record in caplog.records] == [
        f"signatures are verified one by one: {failure}"
    ]


def test_an_engine_that_gives_a_wrong_answer_is_not_used() -> None:
    vectors = Vectors(Lax, patience=-1)
    assert not vectors.checker(KEY)([DIGEST], [SIG[::-1]])
    with pytest.raises(CorruptionError):
        selftest.check_many(Lax().checker(selftest.key().public))


def test_threads_make_one_engine() -> None:
    made: list[Counting] = []
    wait = threading.Barrier(4)

    def make() -> ManyEngine:
        made.append(Counting())
        return made[-1]

    vectors = Vectors(make, patience=-1)
    answers: list[bool] = []

    def work() -> None:
        wait.wait()
        answers.append(vectors.checker(KEY)([DIGEST], [SIG]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 4
    assert len(made) == 1


def test_a_processor_without_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    binding = pytest.importorskip("llvmlite.binding")
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: {"avx512f": True})
    with pytest.raises(ConfigurationError, match="IFMA"):
        lanes()


@pytest.mark.skipif(not LANES, reason="this processor has no AVX-512 IFMA, or llvmlite is missing")
def test_the_engine_for_this_processor_passes_its_self_test() -> None:
    selftest.check_many(LANES[0].checker(selftest.key().public))
    assert LANES[0].name.startswith("AVX-512 IFMA by LLVM ")
