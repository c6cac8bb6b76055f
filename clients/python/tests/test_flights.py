"""One load for one key at a time, and none that is older than the call that takes it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from database import Database
from redis_apikey import ApiKeys, AsyncApiKeys, Refused, Unavailable, Valid, parse
from redis_apikey._effects import Steps
from redis_apikey._flights import LANDED, Flight, Flights
from servers import Server, eventually


def test_64_threads_load_a_cold_key_once(server: Server) -> None:
    db = Database()
    key = db.add()

    def load(prefix: str) -> Any:
        time.sleep(0.1)
        return db.load(prefix)

    begun: list[str] = []

    def counting(presented: str) -> tuple[str, str] | None:
        begun.append(presented)
        return parse(presented)

    with ApiKeys(server.url, load, timeout=10.0, parse=counting) as keys, ThreadPoolExecutor(64) as pool:
        # Who begins behind a load shares it not: so all begin before there is an answer.
        server.freeze()
        verified = [pool.submit(keys.verify, key.presented) for _ in range(64)]
        eventually(lambda: len(begun) == 64)
        server.thaw()
        results = [one.result() for one in verified]
    assert all(isinstance(result, Valid) for result in results)
    assert db.reads == 1


def test_64_tasks_load_a_cold_key_once_also_while_redis_is_away(server: Server) -> None:
    db = Database()
    key = db.add()

    async def load(prefix: str) -> Any:
        await asyncio.sleep(0.1)
        return db.load(prefix)

    async def verify_all(url: str) -> None:
        async with AsyncApiKeys(url, load, timeout=10.0) as keys:
            results = await asyncio.gather(*(keys.verify(key.presented) for _ in range(64)))
            assert all(isinstance(result, Valid) for result in results)

    asyncio.run(verify_all(server.url))
    assert db.reads == 1
    asyncio.run(verify_all("redis://127.0.0.1:1"))
    assert db.reads == 2


def test_a_load_that_began_before_a_change_is_not_shared_behind_it(server: Server) -> None:
    db = Database()
    key = db.add()
    read, go_on = threading.Event(), threading.Event()

    def load(prefix: str) -> Any:
        row = db.load(prefix)
        if db.reads == 1:
            read.set()
            go_on.wait()
        return row

    with ApiKeys(server.url, load, timeout=10.0) as keys, ThreadPoolExecutor(2) as pool:
        first = pool.submit(keys.verify, key.presented)
        read.wait()
        keys.changed(id=db.revoke(key), prefix=key.prefix)
        # It begins behind the change, and meets a load whose row is older.
        second = pool.submit(keys.verify, key.presented)
        eventually(lambda: len(keys._protocol._rows._flights) == 1 and second.running())
        time.sleep(0.1)
        go_on.set()
        assert isinstance(first.result(), Valid)
        assert second.result() == Refused("DISABLED")


def test_who_missed_before_a_load_has_landed_takes_its_row_behind_that() -> None:
    """A reader that is held up between its miss and the load of another, which began after it did."""
    flights: Flights[str] = Flights(itertools.count(10), threading.Event)
    loads = []

    def load(flight: Flight[str]) -> Steps[str]:
        flights._start(flight)
        loads.append(flight)
        yield from ()
        return f"row {len(loads)}"

    def run(began: int) -> str:
        with pytest.raises(StopIteration) as stopped:
            next(flights.run("key", began, True, load))
        return str(stopped.value.value)

    assert run(began=1) == "row 1"
    assert run(began=2) == "row 1"
    # The row was read before this one began.
    assert run(began=10) == "row 2"
    assert run(began=9) == "row 2"
    for number in range(2 * LANDED):
        with pytest.raises(StopIteration):
            next(flights.run(str(number), 1, True, load))
    assert len(flights._landed) == LANDED


def test_a_load_that_was_cancelled_leaves_nobody_waiting(server: Server) -> None:
    db = Database()
    key = db.add()
    loading: list[str] = []

    async def load(prefix: str) -> Any:
        loading.append(prefix)
        if len(loading) == 1:
            await asyncio.sleep(3600)
        return db.load(prefix)

    async def run() -> None:
        async with AsyncApiKeys(server.url, load, timeout=10.0) as keys:
            first = asyncio.create_task(keys.verify(key.presented))
            others = [asyncio.create_task(keys.verify(key.presented)) for _ in range(8)]
            while not loading:
                await asyncio.sleep(0.01)
            first.cancel()
            assert all(isinstance(result, Valid) for result in await asyncio.gather(*others))

    asyncio.run(run())
    assert len(loading) == 2


def test_no_more_loads_at_once_than_there_is_room_for() -> None:
    db = Database()
    made = [db.add() for _ in range(30)]
    running, most = 0, 0
    lock = threading.Lock()

    def load(prefix: str) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return db.load(prefix)

    with ApiKeys("redis://127.0.0.1:1", load, load_limit=4) as keys, ThreadPoolExecutor(30) as pool:
        results = list(pool.map(lambda key: keys.verify(key.presented), made))
    assert all(isinstance(result, Valid) for result in results)
    assert most == 4


def test_a_cancelled_call_leaves_its_reply_to_nobody(server: Server) -> None:
    """The reply of a call that was given up is never that of another."""
    db = Database()
    good, bad = db.add(), db.add(is_active=False)

    async def run() -> None:
        async with AsyncApiKeys(server.url, db.load, timeout=10.0) as keys:
            for key in (good, bad):
                await keys.verify(key.presented)
            for number in range(200):
                task = asyncio.create_task(keys.verify(good.presented))
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                task.cancel()
                assert await keys.verify(bad.presented) == Refused("DISABLED")
                assert not isinstance(await keys.verify(good.presented), (Refused, Unavailable))

    asyncio.run(run())
