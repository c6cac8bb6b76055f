#!/usr/bin/env python3
"""Verifications a second through the library, beside the bare client's GET of a string as long as the record, and its
VALIDATE, in the same process; and answers from L1, beside the floor, which is the least that one from memory takes:
`python scripts/bench.py`.

A second is one of the process' own CPU time, which other programs don't take: it is the process that has to do most.
Both take turns; the ratio is taken round by round, and medians and ranges are printed. Servers are those of the tests.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / name) for name in ("src", "tests")]

import redis  # noqa: E402
from redis import asyncio as redis_asyncio  # noqa: E402

from database import Database  # noqa: E402
from redis_apikey import L1, ApiKeys, AsyncApiKeys, GeneratedKey, Valid  # noqa: E402
from servers import Server  # noqa: E402

ROUNDS, SECONDS = 9, 0.5
CALLERS = 64
"""Calls that are under way at once, of asyncio."""

THREADS = 4


def rate_of_threads(call: Callable[[], object], threads: int = THREADS) -> float:
    """Calls a second of several threads."""
    counts = [0] * threads
    began = time.process_time()
    until = time.perf_counter() + SECONDS

    def repeat(number: int) -> None:
        while time.perf_counter() < until:
            call()
            counts[number] += 1

    running = [threading.Thread(target=repeat, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(counts) / (time.process_time() - began)


async def rate_of_tasks(call: Callable[[], Awaitable[object]]) -> float:
    """Calls a second of as many tasks as `CALLERS`."""
    began = time.process_time()
    until = time.perf_counter() + SECONDS

    async def repeat() -> int:
        count = 0
        while time.perf_counter() < until:
            await call()
            count += 1
        return count

    return sum(await asyncio.gather(*(repeat() for _ in range(CALLERS)))) / (time.process_time() - began)


def spread(values: list[float], digits: int) -> str:
    """The median, and the range behind it."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})"


def tell(name: str, rates: list[tuple[float, ...]]) -> None:
    ours, get, validate = (list(column) for column in zip(*rates, strict=True))
    print(f"{name}: verify {spread(ours, 0)}/s")
    for other, bare in (("GET", get), ("VALIDATE", validate)):
        ratios = [one / beside for one, beside in zip(ours, bare, strict=True)]
        print(f"{name}: beside {other} {spread(ratios, 2)}, which is {spread(bare, 0)}/s")


def command(key: GeneratedKey) -> tuple[str, ...]:
    return ("APIKEY.VALIDATE", f"apikey:{{{key.prefix}}}", "DIGEST", key.digest, "SCOPE", "orders:refund")


def floor_of(key: GeneratedKey) -> Callable[[], object]:
    """What was presented is digested, looked up, and found to hold by the clock."""

    def question() -> str:
        return f"{hashlib.sha256(key.presented.encode()).hexdigest()}:orders:refund"

    held = {question(): (time.monotonic() + 3600.0, "VALID")}

    def answer() -> str | None:
        ends_at, code = held[question()]
        return code if time.monotonic() < ends_at else None

    return answer


def threads(server: Server, db: Database, key: GeneratedKey) -> None:
    client: Any = redis.Redis.from_url(server.url)

    def verify(keys: ApiKeys) -> Callable[[], object]:
        return lambda: keys.verify(key.presented, scopes=["orders:refund"])

    with ApiKeys(server.url, load=db.load, timeout=5.0) as keys:
        verify(keys)()
        rates: list[tuple[float, ...]] = []
        for _ in range(ROUNDS):
            calls = (verify(keys), lambda: client.get("a-record"), lambda: client.execute_command(*command(key)))
            rates.append(tuple(rate_of_threads(call) for call in calls))
        tell(f"{THREADS} threads", rates)
    with ApiKeys(server.url, load=db.load, timeout=5.0, l1=L1(max_age=3600.0)) as keys:
        until = time.monotonic() + 5.0
        while getattr(keys.verify(key.presented, scopes=["orders:refund"]), "source", None) != "l1":
            assert time.monotonic() < until
        floor = floor_of(key)
        l1 = [(rate_of_threads(verify(keys), 1), rate_of_threads(floor, 1)) for _ in range(ROUNDS)]
        ours, least = (list(column) for column in zip(*l1, strict=True))
        ratios = [one / beside for one, beside in l1]
        print(f"L1, one thread: {spread(ours, 0)}/s")
        print(f"L1, one thread: beside the floor {spread(ratios, 2)}, which is {spread(least, 0)}/s")


async def tasks(server: Server, db: Database, key: GeneratedKey) -> None:
    # As many connections as there are calls at once, as the library has.
    client: Any = redis_asyncio.Redis.from_url(server.url)
    async with AsyncApiKeys(server.url, load=db.load, timeout=5.0) as keys:
        result = await keys.verify(key.presented, scopes=["orders:refund"])
        assert isinstance(result, Valid)
        rates: list[tuple[float, ...]] = []
        for _ in range(ROUNDS):
            ours = await rate_of_tasks(lambda: keys.verify(key.presented, scopes=["orders:refund"]))
            get = await rate_of_tasks(lambda: client.get("a-record"))
            rates.append((ours, get, await rate_of_tasks(lambda: client.execute_command(*command(key)))))
        tell(f"asyncio, {CALLERS} at once", rates)
    await client.aclose()


def main() -> None:
    server = Server()
    try:
        db = Database()
        key = db.add(scopes=["orders:*"], name="x" * 100)
        server.client().set("a-record", "x" * 290)
        threads(server, db, key)
        asyncio.run(tasks(server, db, key))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
