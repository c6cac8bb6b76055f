"""Writes that the database gets later: in their order, each at least once, and what the cache has meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from redis_apikey import Answer, AsyncCache, Cache, Compression, Encryption
from servers import Cluster, Server, eventually
from source import Source

MISSING = object()


class Table:
    """A database, whose rows have the id of the write that made them."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.applied: list[tuple[str, Any, str]] = []
        self.failing: set[str] = set()

    def apply(self, key: str, value: Any, id: str) -> None:
        if key in self.failing:
            raise ConnectionError("the database is down")
        self.applied.append((key, value, id))
        self.rows[key] = value


def pending(server: Server, region: str = "p", ns: str = "") -> tuple[int, int]:
    """Entries of the stream, and how many of them somebody has read."""
    stream = f"{ns}cache:writes:{{{region}}}"
    client = server.client()
    return client.xlen(stream), client.xpending(stream, "writers")["pending"]


def test_a_write_is_in_the_cache_at_once_and_in_the_database_later(
    new_cache: Callable[..., Any], server: Server
) -> None:
    table = Table()
    region = new_cache(server.url).region(
        "p", ns="t:", encrypt=Encryption({"3": bytes(32)}, "3"), compress=Compression(10)
    )
    ids = [region.write_behind("a", {"n": number, "text": "x" * 100}, tags=["t"]) for number in range(3)]
    assert region.get("a")["n"] == 2
    assert b"xxx" not in server.client().xrange("t:cache:writes:{p}")[0][1][b"value"]
    assert region.worker(table.apply).drain() == 3
    assert [(key, value["n"], said) for key, value, said in table.applied] == [("a", n, ids[n]) for n in range(3)]
    assert pending(server, ns="t:") == (0, 0)
    # What was written is there still.
    assert region.get("a")["n"] == 2
    assert region.invalidate_tags("t") == 1
    assert region.worker(table.apply).drain() == 0


def test_the_fields_are_those_that_are_agreed(new_cache: Callable[..., Any], server: Server) -> None:
    new_cache(server.url).region("p").write_behind("a", [1])
    [(_, fields)] = server.client().xrange("cache:writes:{p}")
    assert fields == {b"key": b"a", b"label": b"json", b"value": b"[1]"}


def test_a_write_that_fails_holds_up_its_own_key_alone(new_cache: Callable[..., Any], server: Server) -> None:
    table = Table()
    region = new_cache(server.url).region("p")
    for number in range(3):
        for key in "ab":
            region.write_behind(key, number)
    table.failing = {"a"}
    worker = region.worker(table.apply, batch=2)
    assert worker.drain() == 3
    assert table.rows == {"b": 2}
    assert pending(server)[0] == 3
    table.failing = set()
    assert region.worker(table.apply).drain() == 3
    assert [(key, value) for key, value, _ in table.applied if key == "a"] == [("a", 0), ("a", 1), ("a", 2)]
    assert pending(server) == (0, 0)


def test_no_later_write_of_a_key_overtakes_one_that_failed(new_cache: Callable[..., Any], server: Server) -> None:
    table = Table()
    region = new_cache(server.url).region("p")
    for number in range(4):
        region.write_behind("a", number)
    failures: list[int] = []

    def apply(key: str, value: int, id: str) -> None:
        if value == 1 and not failures:
            failures.append(value)
            raise ConnectionError("the database is down for a moment")
        table.apply(key, value, id)

    assert region.worker(apply, batch=2).drain() == 1
    assert region.worker(apply, batch=2).drain() == 3
    assert [value for _, value, _ in table.applied] == [0, 1, 2, 3]


def test_a_write_can_be_given_up(new_cache: Callable[..., Any], server: Server) -> None:
    table = Table()
    region = new_cache(server.url).region("p")
    region.write_behind("a", 1)
    table.failing = {"a"}
    given_up: list[tuple[str, Any, str]] = []

    def on_error(key: str, value: Any, id: str, error: Exception) -> bool:
        given_up.append((key, value, str(error)))
        return True

    region.worker(table.apply, on_error=on_error).drain()
    assert given_up == [("a", 1, "the database is down")]
    assert pending(server) == (0, 0)


def test_it_is_tried_again_with_pauses_until_it_holds(server: Server) -> None:
    table = Table()
    with Cache(server.url, timeout=5.0) as cache:
        region = cache.region("p")
        worker = region.worker(table.apply, poll=0.01)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            table.failing = {"a"}
            for number in range(5):
                region.write_behind("a", number)
                region.write_behind("b", number)
            eventually(lambda: len(table.applied) == 5)
            table.failing = set()
            eventually(lambda: len(table.applied) == 10)
            assert [value for key, value, _ in table.applied if key == "a"] == [0, 1, 2, 3, 4]
        finally:
            worker.stop()
            thread.join(10)
        assert not thread.is_alive()
        # It has let go.
        assert server.client().exists("cache:writes:{p}:worker") == 0


def test_one_worker_at_a_time_has_a_stream(server: Server) -> None:
    table = Table()
    with Cache(server.url, timeout=5.0) as cache, ThreadPoolExecutor(8) as pool:
        region = cache.region("p")
        workers = [region.worker(table.apply, poll=0.005, batch=7) for _ in range(4)]
        running = [pool.submit(worker.run) for worker in workers]
        for number in range(300):
            region.write_behind(f"k{number % 5}", number)
            if number % 100 == 50:
                # Another takes over.
                workers[number // 100].stop()
        eventually(lambda: len(table.applied) >= 300)
        for worker in workers:
            worker.stop()
        for one in running:
            one.result(10)
    assert len(table.applied) == 300
    for key in range(5):
        values = [value for name, value, _ in table.applied if name == f"k{key}"]
        assert values == list(range(key, 300, 5))


def test_a_task_works_too(server: Server) -> None:
    table = Table()

    async def apply(key: str, value: Any, id: str) -> None:
        await asyncio.sleep(0)
        table.apply(key, value, id)

    async def run() -> None:
        async with AsyncCache(server.url, timeout=5.0) as cache:
            region = cache.region("p")
            worker = region.worker(apply, poll=0.01)
            task = asyncio.create_task(worker.run())
            for number in range(20):
                await region.write_behind("a", number)
            while len(table.applied) < 20:
                await asyncio.sleep(0.01)
            worker.stop()
            await asyncio.wait_for(task, 10)
            again = asyncio.create_task(region.worker(apply).run())
            await asyncio.sleep(0.1)
            again.cancel()
            with pytest.raises(asyncio.CancelledError):
                await again

    asyncio.run(asyncio.wait_for(run(), 60))
    assert [value for _, value, _ in table.applied] == list(range(20))
    assert pending(server) == (0, 0)
    assert server.client().exists("cache:writes:{p}:worker") == 0


WORKER = """
import sys
from redis_apikey import Cache
with open(sys.argv[2], "a", buffering=1) as log:
    Cache(sys.argv[1], timeout=5.0).region("p").worker(
        lambda key, value, id: log.write(f"{key} {value} {id}\\n"), lock=1.0, poll=0.005, batch=10
    ).run()
"""


def test_workers_that_are_killed_cost_no_write_and_no_order(server: Server, tmp_path: Any) -> None:
    log = tmp_path / "log"
    log.touch()
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        command = [sys.executable, "-c", WORKER, server.url, str(log)]
        running.append(subprocess.Popen(command, env={**os.environ}))

    chance = random.Random(7)
    writes = 400
    try:
        start()
        with Cache(server.url, timeout=5.0) as cache:
            region = cache.region("p")
            for number in range(writes):
                region.write_behind(f"k{number % 7}", number)
                if number % 100 == 50:
                    eventually(lambda least=number / 2: log.read_text().count("\n") > least, within=60)
                    running[-1].send_signal(signal.SIGKILL)
                    running[-1].wait()
                    start()
                if chance.random() < 0.05:
                    time.sleep(0.01)

            def values() -> dict[str, list[int]]:
                found: dict[str, list[int]] = {}
                for line in log.read_text().splitlines():
                    if line.count(" ") == 2:
                        key, value, _ = line.split(" ")
                        found.setdefault(key, []).append(int(value))
                return found

            eventually(lambda: sum(len(set(of_key)) for of_key in values().values()) == writes, within=60)
            for key, of_key in values().items():
                # What is applied again is applied in its order again.
                once = list(dict.fromkeys(of_key))
                assert once == sorted(once), key
                assert of_key[-1] == max(of_key), key
            eventually(lambda: pending(server) == (0, 0))
    finally:
        for one in running:
            one.kill()
            one.wait()


def test_what_a_reader_loaded_while_a_write_was_under_way_does_not_stay(
    new_cache: Callable[..., Any], server: Server
) -> None:
    table = Table()
    region = new_cache(server.url).region("p")
    table.rows = {"a": "old", "b": "old", "c": "old"}
    for key in "abc":
        region.write_behind(key, "new")
    # Evicted, and loaded from the database, which has not got it yet.
    server.client().delete(region.name_of("a"))
    assert region.look_up("a", table.rows.get) == Answer("old", "loaded")
    server.client().delete(region.name_of("b"))
    token = server.client().execute_command("CACHE.GET", region.name_of("b"), "p")[1]
    assert region.worker(table.apply).drain() == 3
    # A reader that read before the write comes to store behind it.
    stored = server.client().execute_command(
        "CACHE.SET", region.name_of("b"), "p", '"old"', "TOKEN", token, "LABEL", "json"
    )
    assert stored is None
    assert [region.get_or_set(key, table.rows.get) for key in "abc"] == ["new", "new", "new"]
    # What was there all the time is there still.
    assert region.get("c") == "new"


def test_what_the_cache_can_not_keep_is_written_all_the_same(new_cache: Callable[..., Any], server: Server) -> None:
    table = Table()
    region = new_cache(server.url).region("p", serializer="bytes")
    region.set("a", b"1")
    large = b"x" * (9 * 1024 * 1024)
    assert region.write_behind("a", large)
    assert region.get("a", MISSING) is MISSING
    region.worker(table.apply).drain()
    assert table.rows == {"a": large}


def test_a_write_that_can_not_be_read_stays(new_cache: Callable[..., Any], server: Server) -> None:
    table = Table()
    cache = new_cache(server.url)
    old = cache.region("p", encrypt=Encryption({"1": bytes(32)}, "1"))
    new = cache.region("p", encrypt=Encryption({"2": b"x" * 32}, "2"))
    old.write_behind("a", 1)
    new.write_behind("b", 2)
    assert new.worker(table.apply).drain() == 1
    assert pending(server)[0] == 1
    both = cache.region("p", encrypt=Encryption({"1": bytes(32), "2": b"x" * 32}, "2"))
    assert both.worker(table.apply).drain() == 1
    assert table.rows == {"a": 1, "b": 2}


def test_a_worker_goes_on_when_redis_is_back(own: Callable[..., Server]) -> None:
    server, table = own("appendonly yes"), Table()
    with Cache(server.url, timeout=5.0, change_timeout=1.0) as cache:
        region = cache.region("p")
        worker = region.worker(table.apply, poll=0.01, lock=1.0)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            region.write_behind("a", 1)
            eventually(lambda: table.rows == {"a": 1})
            server.kill()
            time.sleep(0.2)
            server.start()
            eventually(lambda: region.get_or_set("x", lambda _: 1) == 1)
            region.write_behind("a", 2)
            eventually(lambda: table.rows == {"a": 2})
        finally:
            worker.stop()
            thread.join(10)


def test_in_a_cluster_a_region_is_in_one_slot(new_cache: Callable[..., Any], cluster: Cluster) -> None:
    table = Table()
    cache = new_cache([node.url for node in cluster.nodes], cluster=True)
    with pytest.raises(ValueError, match="one_slot"):
        cache.region("w").write_behind("a", 1)
    region = cache.region("w", one_slot=True)
    for number in range(10):
        region.write_behind(f"k{number % 3}", number)
    assert region.get_many(["k0", "k1", "k2"]) == {"k0": 9, "k1": 7, "k2": 8}
    assert region.worker(table.apply).drain() == 10
    assert table.rows == {"k0": 9, "k1": 7, "k2": 8}


def test_regions_in_a_cluster(new_cache: Callable[..., Any], cluster: Cluster) -> None:
    source = Source(**{f"k{number}": number for number in range(50)})
    keys = list(source.values)
    cache = new_cache([node.url for node in cluster.nodes], cluster=True)
    for number, region in enumerate((cache.region("c"), cache.region("c", ns="t:"), cache.region("d", one_slot=True))):
        assert region.get_or_set_many(keys, source.load_many, tags=["t"]) == source.values
        assert region.get_or_set_many(keys, source.load_many) == source.values
        assert len(source.batches) == number + 1
        assert region.get_many([*keys, "none"]) == source.values
        assert region.invalidate_pattern("k1*") == 11
        assert len(region.get_many(keys)) == 39
        assert region.clear() == 39
        assert region.get_many(keys) == {}
        assert region.get_or_set("k1", source.load, tags=["t"]) == 1
        assert region.invalidate_tags("t") == 1
        region.set("k1", 5)
        assert region.get("k1") == 5
        region.invalidate("k1", "k2", "k3")
        assert region.get_many(keys) == {}
