"""The cache in the process: what it answers, and what makes it forget."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from database import Database
from redis_apikey import L1, ApiKeys, AsyncApiKeys, Refused, Valid
from redis_apikey._l1 import Cache, question
from servers import Server, eventually

ASKED = question("ak_test_1", ("a",), None)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def kept(cache: Cache, left_ms: int = -1, asked: Any = ASKED, tags: tuple[bytes, ...] = (b"t",)) -> bytes | None:
    asking = cache.asking("apikey:{1}")
    if asking is not None:
        cache.answered(asking, asked, b'{"id":7,"user_id":"u"}', left_ms, tags)
    return cache.get(asked)


def following(clock: Clock, **limits: Any) -> Cache:
    cache = Cache(L1(max_age=5.0, **limits), False, clock)
    cache.follow()
    return cache


def test_an_answer_is_to_what_was_asked_and_ends() -> None:
    clock = Clock()
    cache = following(clock)
    assert kept(cache)
    assert cache.get(question("ak_test_2", ("a",), None)) is None
    assert cache.get(question("ak_test_1", ("a", "b"), None)) is None
    assert cache.get(question("ak_test_1", ("a",), "10.0.0.1")) is None
    clock.now += 4.9
    assert cache.get(ASKED)
    clock.now += 0.2
    assert cache.get(ASKED) is None
    assert kept(cache, left_ms=1500)
    clock.now += 1.4
    assert cache.get(ASKED)
    clock.now += 0.2
    assert cache.get(ASKED) is None
    assert kept(cache, left_ms=0) is None


def test_nothing_is_kept_while_nobody_is_heard() -> None:
    cache = Cache(L1(), False, Clock())
    assert kept(cache) is None
    cache.follow()
    assert kept(cache)
    cache.lose()
    assert cache.get(ASKED) is None
    assert kept(cache) is None


def test_an_answer_that_was_overtaken_is_not_kept() -> None:
    for overtake in (
        lambda cache: cache.drop([b"apikey:{1}"]),
        lambda cache: cache.drop([], [b"t"]),
        lambda cache: cache.clear(),
        lambda cache: (cache.lose(), cache.follow()),
        lambda cache: cache.drop_told([], [], lambda record: b"7" in record),
        lambda cache: cache.heed(b'{"run":"r","number":1,"database":null,"flushed":true}'),
        lambda cache: cache.heed_tracking(None),
        lambda cache: cache.heed_tracking([b"apikey:{1}"]),
    ):
        cache = following(Clock())
        asking = cache.asking("apikey:{1}")
        assert asking is not None
        overtake(cache)
        cache.answered(asking, ASKED, b"{}", -1, (b"t",))
        assert cache.get(ASKED) is None
        assert kept(cache)


def test_messages_of_the_channel() -> None:
    cache = following(Clock(), follow="channel")

    def heed(text: str) -> bytes | None:
        kept(cache)
        cache.heed(text.encode())
        return cache.get(ASKED)

    assert heed('{"run":"r","number":7,"database":0,"tags":["x"]}') is None, "a run that was not known"
    assert heed('{"run":"r","number":8,"database":0,"tags":["x"]}')
    assert heed('{"run":"r","number":9,"database":0,"tags":["t"]}') is None
    assert heed('{"run":"r","number":10,"database":0,"keys":["apikey:{1}"]}') is None
    assert heed('{"run":"r","number":11,"database":0,"keys":["apikey:{2}",{"hex":"ff00"}]}')
    assert heed('{"run":"r","number":13,"database":0,"tags":["x"]}') is None, "a number left out"
    assert heed('{"run":"r","number":14,"database":0,"tags":["x"]}')
    assert heed('{"run":"r","number":15,"database":0,"flushed":true,"unnamed":9}') is None
    assert heed('{"run":"s","number":1,"database":0,"tags":["x"]}') is None
    assert heed('{"run":"r","number":16,"database":0,"tags":["x"]}')
    assert heed("not of the module") is None


def test_no_more_than_so_many() -> None:
    cache = following(Clock(), max_entries=3)
    for number in range(10):
        assert kept(cache, asked=question(f"ak_{number}", (), None))
    assert len(cache._entries) == 3
    assert sum(len(there) for there in cache._by_name.values()) == 6
    cache.drop([b"apikey:{1}"])
    assert not cache._entries
    assert not cache._by_name


@pytest.mark.parametrize("follow", ["tracking", "channel"])
def test_it_hears_of_what_others_change(new: Callable[..., Any], server: Server, follow: Any) -> None:
    db = Database()
    writer = new(server.url)
    for protocol in (2, 3):
        keys = new(f"{server.url}?protocol={protocol}", db.load, l1=L1(max_age=600.0, follow=follow))
        changes: list[Callable[[Any, str], None]] = [
            lambda key, name: writer.changed(id=name),
            lambda key, name: writer.changed(prefix=key.prefix),
            lambda key, name: writer.changed(user=42),
            lambda key, name: server.client().flushall(),
        ]
        for change in changes:
            key = db.add()
            eventually(lambda keys=keys, key=key: keys.verify(key.presented, scopes=["users:read"]).source == "l1")
            assert isinstance(keys.verify(key.presented), Valid)
            assert keys.verify(key.presented, scopes=["users:write"]) == Refused("FORBIDDEN", "users:write")
            change(key, db.revoke(key))
            eventually(
                lambda keys=keys, key=key: keys.verify(key.presented, scopes=["users:read"]) == Refused("DISABLED")
            )


@pytest.mark.parametrize("follow", ["tracking", "channel"])
def test_its_own_changes_are_seen_at_once(new: Callable[..., Any], server: Server, follow: Any) -> None:
    db = Database()
    keys = new(server.url, db.load, l1=L1(max_age=600.0, follow=follow))
    for _ in range(10):
        key = db.add()
        eventually(lambda key=key: keys.verify(key.presented).source == "l1")
        keys.changed(id=db.revoke(key))
        assert keys.verify(key.presented) == Refused("DISABLED")


def test_nothing_is_kept_where_the_channel_is_not_the_servers(
    new: Callable[..., Any], own: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server, db = own(), Database()
    key = db.add()
    keys = new(server.url, db.load, l1=L1(max_age=600.0, follow="channel"))

    def said() -> bool:
        assert isinstance(keys.verify(key.presented), Valid)
        return "is apikey.invalidation-channel" in caplog.text

    eventually(said)
    assert keys.verify(key.presented).source == "cache"
    # 6.2 takes it at its start alone.
    server.kill()
    server.settings = ["invalidation-channel", "apikey-invalidations"]
    server.start()
    eventually(lambda: keys.verify(key.presented).source == "l1")


def test_it_forgets_all_when_it_was_not_there(new: Callable[..., Any], own: Callable[..., Server]) -> None:
    server, db = own(), Database()
    key = db.add()
    keys = new(server.url, db.load, l1=L1(max_age=600.0))
    eventually(lambda: keys.verify(key.presented).source == "l1")
    server.client().execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
    eventually(lambda: keys.verify(key.presented).source == "cache")
    eventually(lambda: keys.verify(key.presented).source == "l1")
    db.revoke(key)
    server.kill()
    eventually(lambda: keys.verify(key.presented) == Refused("DISABLED"))


def test_a_record_is_the_callers_own(new: Callable[..., Any], server: Server) -> None:
    db = Database()
    key = db.add()
    keys = new(server.url, db.load, l1=L1(max_age=600.0))
    eventually(lambda: keys.verify(key.presented).source == "l1")
    keys.verify(key.presented).record["scopes"].append("*")
    assert keys.verify(key.presented).record["scopes"] == ["users:read", "orders:*"]
    assert keys.verify(key.presented, scopes=["x"]) == Refused("FORBIDDEN", "x")


def test_an_answer_ends_with_its_record(new: Callable[..., Any], server: Server) -> None:
    db = Database()
    key = db.add(expires_at=int(time.time() * 1000) + 1500)
    keys = new(server.url, db.load, l1=L1(max_age=600.0))
    eventually(lambda: keys.verify(key.presented).source == "l1", within=1.2)
    time.sleep(1.6)
    assert keys.verify(key.presented) == Refused("EXPIRED")


def test_closing_ends_the_thread_soon(server: Server) -> None:
    db = Database()
    key = db.add()
    keys = ApiKeys(server.url, db.load, timeout=2.0, l1=L1(max_age=600.0))
    eventually(lambda: keys.verify(key.presented).source == "l1")  # type: ignore[union-attr]
    assert keys._follower is not None
    thread = keys._follower._thread
    began = time.monotonic()
    keys.close()
    assert time.monotonic() - began < 0.5
    assert thread is not None
    assert not thread.is_alive()
    keys.close()


def test_a_child_that_was_forked_hears_for_itself(server: Server) -> None:
    db = Database()
    key, cold = db.add(), db.add()
    loading, go_on = threading.Event(), threading.Event()

    def load(prefix: str) -> Any:
        if prefix == cold.prefix and os.getpid() == parent:
            loading.set()
            go_on.wait()
        return db.load(prefix)

    parent = os.getpid()
    with ApiKeys(server.url, load, timeout=10.0, l1=L1(max_age=600.0), load_limit=1) as keys:
        eventually(lambda: keys.verify(key.presented).source == "l1")
        thread = threading.Thread(target=keys.verify, args=(cold.presented,))
        thread.start()
        loading.wait()
        child = os.fork()
        if child == 0:
            # What the parent has kept, its connections and its loads under way are not the child's.
            first = keys.verify(key.presented).source
            second = keys.verify(cold.presented).source
            eventually(lambda: keys.verify(key.presented).source == "l1")
            os._exit(0 if (first, second) == ("cache", "database") else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        go_on.set()
        thread.join()
        assert keys.verify(key.presented).source == "l1"


def test_a_task_that_follows_ends_whenever_it_is_cancelled() -> None:
    async def left_over(turns: int) -> int:
        keys = AsyncApiKeys("redis://127.0.0.1:1", l1=L1())
        keys._follower.start()  # type: ignore[union-attr]
        for _ in range(turns):
            await asyncio.sleep(0)
        # As when a loop ends whose client nobody has closed.
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        _, running = await asyncio.wait(tasks, timeout=1.0)
        await keys.aclose()
        return len(running)

    assert [turns for turns in range(40) if asyncio.run(left_over(turns))] == []
