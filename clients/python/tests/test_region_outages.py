"""What regions answer while Redis is away, slow, or says that it can't."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from redis_apikey import L1, Answer, AsyncCache, Change, ChangeNotTold, CommandRefused, RedisUnavailable
from servers import Server, eventually
from source import Source
from test_outages import NOWHERE, Fake, fake

MISSING = object()

__all__ = ["fake"]


def test_the_source_answers_while_redis_refuses(new_cache: Callable[..., Any]) -> None:
    source = Source(a=1)
    region = new_cache(NOWHERE).region("p")
    assert region.look_up("a", source.load) == Answer(1, "loaded")
    assert region.get_or_set_many(["a", "b"], source.load_many) == {"a": 1, "b": None}
    assert region.get("a", MISSING) is MISSING
    assert region.get_many(["a"]) == {}
    source.fails = True
    with pytest.raises(ConnectionError):
        region.get_or_set("a", source.load)


@pytest.mark.parametrize(
    "answer",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-MOVED 1 127.0.0.1:1\r\n",
        b"-ERR unknown command 'CACHE.GET'\r\n",
        b"*5\r\n$3\r\nHIT\r\n$1\r\n",
    ],
)
def test_what_is_no_answer_is_no_value(
    new_cache: Callable[..., Any], fake: Callable[[bytes | None], Fake], answer: bytes
) -> None:
    source = Source(a=1)
    region = new_cache(fake(answer).url, timeout=0.2, change_timeout=0.2).region("p")
    assert region.look_up("a", source.load) == Answer(1, "loaded")
    assert region.get_or_set_many(["a"], source.load_many) == {"a": 1}
    assert region.get_many(["a"]) == {}
    for change in (
        lambda: region.invalidate("a"),
        lambda: region.invalidate_tags("t"),
        region.clear,
        lambda: region.set("a", 1),
    ):
        with pytest.raises(ChangeNotTold):
            change()
    with pytest.raises((RedisUnavailable, CommandRefused)):
        region.write_behind("a", 1)


def test_a_frozen_server_costs_the_timeout_then_nothing_and_is_asked_again(
    new_cache: Callable[..., Any], own: Callable[..., Server]
) -> None:
    server, source = own(), Source(a=1)
    region = new_cache(server.url, timeout=0.1, breaker_failures=2, breaker_pause=0.3).region("p")
    assert region.look_up("a", source.load) == Answer(1, "loaded")
    server.freeze()
    began = time.monotonic()
    for _ in range(20):
        assert region.look_up("a", source.load) == Answer(1, "loaded")
    assert time.monotonic() - began < 5
    server.thaw()
    eventually(lambda: region.look_up("a", source.load) == Answer(1, "cache"))


def test_nobody_answers_where_that_is_asked_for(new_cache: Callable[..., Any]) -> None:
    source = Source(a=1)
    region = new_cache(NOWHERE, when_down="deny").region("p")
    with pytest.raises(RedisUnavailable):
        region.get_or_set("a", source.load)
    with pytest.raises(RedisUnavailable):
        region.get_or_set_many(["a"], source.load_many)
    assert (source.loads, source.batches) == ([], [])
    with pytest.raises(ValueError, match="l1"):
        new_cache(NOWHERE, when_down="stale").region("p")


def test_what_could_not_be_told_is_kept_and_told_later(
    new_cache: Callable[..., Any], own: Callable[..., Server]
) -> None:
    kept: list[Change] = []
    server = own()
    cache = new_cache(server.url, timeout=0.1, change_timeout=0.3, outbox=kept.append)
    region = cache.region("p", ns="t:")
    region.set("a", 1, tags=["t"])
    server.freeze()
    committed: list[int] = []
    for change in (
        lambda: region.write_through("a", 2, lambda: committed.append(2)),
        lambda: region.invalidate("a", "b"),
        lambda: region.invalidate_tags("t", soft=True),
        region.clear,
    ):
        with pytest.raises(ChangeNotTold) as raised:
            change()
        assert raised.value.kept
    assert committed == [2]
    assert kept == [
        Change("invalidated", keys=("t:cache:p:{a}",)),
        Change("invalidated", keys=("t:cache:p:{a}", "t:cache:p:{b}")),
        Change("invalidated", tags=("t",), soft=True),
        Change("invalidated", tags=("t:cache:region:p",)),
    ]
    server.thaw()
    eventually(lambda: server.client().ping())
    for change in kept:
        cache.tell(Change.from_json(change.to_json()))
    assert region.get("a", MISSING) is MISSING


def test_a_write_whose_caller_is_cancelled_is_kept(fake: Callable[[bytes | None], Fake]) -> None:
    kept: list[Change] = []

    async def run(url: str) -> None:
        async with AsyncCache(url, outbox=kept.append, timeout=10.0) as cache:
            region = cache.region("p")
            # While it is committed, and while it is told.
            for commit in (lambda: asyncio.sleep(10), lambda: None):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(region.write_through("a", 1, commit), 0.2)

    asyncio.run(run(fake(None).url))
    assert kept == [Change("invalidated", keys=("cache:p:{a}",))] * 2


def test_a_write_behind_is_not_sent_twice(new_cache: Callable[..., Any], fake: Callable[[bytes | None], Fake]) -> None:
    server = fake(None)
    region = new_cache(server.url, timeout=0.2).region("p")
    with pytest.raises(RedisUnavailable) as raised:
        region.write_behind("a", 1)
    assert raised.value.maybe_done
    assert sum(command == b"XADD" for command in server.commands) <= 1
    with pytest.raises(RedisUnavailable) as raised:
        new_cache(NOWHERE).region("p").write_behind("a", 1)
    assert not raised.value.maybe_done


def test_a_stale_answer_is_one_of_the_l1_up_to_its_age(
    new_cache: Callable[..., Any], own: Callable[..., Server]
) -> None:
    server, source = own(), Source(a=1, b=1)
    cache = new_cache(server.url, when_down="stale", timeout=0.3, change_timeout=0.3)
    region = cache.region("p", l1=L1(max_age=3.0))
    eventually(lambda: region.look_up("a", source.load).source == "l1")
    kept_at = time.monotonic()
    server.kill()
    # Nothing is asked of the source, and nothing that was invalidated is given.
    seen = region.look_up("a", source.load)
    assert (seen.value, seen.source) == (1, "l1")
    loads = len(source.loads)
    with pytest.raises(RedisUnavailable):
        region.get_or_set("b", source.load)

    def is_over() -> bool:
        try:
            region.get_or_set("a", source.load)
        except RedisUnavailable:
            return True
        return False

    eventually(is_over)
    assert time.monotonic() - kept_at < 10
    assert len(source.loads) == loads
