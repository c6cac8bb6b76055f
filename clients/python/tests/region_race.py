"""Readers and a writer of a region, in processes of their own: what is read is at least what was told before."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from redis_apikey import AsyncCache, Cache

KEYS = 8

database: Any
"""What the database has of each key: shared by all processes."""
told: Any
"""What of it has been told."""
_all_here: Any


def share(database_: Any, told_: Any, all_here: Any) -> None:
    """Of each process, at first."""
    global database, told, _all_here
    database, told, _all_here = database_, told_, all_here


def _begin(seconds: float) -> float:
    """Until when, once all are there."""
    _all_here.wait(60)
    return time.monotonic() + seconds


def read(url: str, seconds: float, seed: int) -> int:
    """By threads; how many were read. Raises AssertionError for one that is older than it may be."""
    with Cache(url, timeout=5.0) as cache, ThreadPoolExecutor(4) as pool:
        region = cache.region("race", grace=60.0, backoff=0.001)
        until = _begin(seconds)

        def load(key: str) -> int:
            value = int(database[int(key)])
            time.sleep(0.01)
            return value

        def run(number: int) -> int:
            chance, count = random.Random(seed + number), 0
            while time.monotonic() < until:
                some = chance.sample(range(KEYS), 3)
                least = [told[key] for key in some]
                if chance.random() < 0.5:
                    values = [region.get_or_set(str(some[0]), load, tags=["t", f"k:{some[0]}"])]
                else:
                    found = region.get_or_set_many(
                        [str(key) for key in some], lambda keys: {key: load(key) for key in keys}, tags=["t"]
                    )
                    values = list(found.values())
                for value, lower in zip(values, least, strict=False):
                    assert value is not None
                    assert value >= lower, (value, lower)
                count += 1
            return count

        return sum(pool.map(run, range(4)))


def read_async(url: str, seconds: float, seed: int) -> int:
    """The same by tasks."""

    async def run_all() -> int:
        async with AsyncCache(url, timeout=5.0) as cache:
            region = cache.region("race", grace=60.0, backoff=0.001)
            until = _begin(seconds)

            async def load(key: str) -> int:
                value = int(database[int(key)])
                await asyncio.sleep(0.01)
                return value

            async def run(number: int) -> int:
                chance, count = random.Random(seed + number), 0
                while time.monotonic() < until:
                    key = chance.randrange(KEYS)
                    least = told[key]
                    value = await region.get_or_set(str(key), load, tags=["t", f"k:{key}"])
                    assert value is not None
                    assert value >= least, (value, least)
                    count += 1
                return count

            return sum(await asyncio.gather(*(run(number) for number in range(8))))

    return asyncio.run(run_all())


def write(url: str, seconds: float, seed: int) -> int:
    """The only one who writes. How many writes there were."""
    chance, count = random.Random(seed), 0
    with Cache(url, timeout=5.0) as cache:
        region = cache.region("race", grace=60.0)
        until = _begin(seconds)
        while time.monotonic() < until:
            key = chance.randrange(KEYS)
            value = database[key] + 1

            def commit(key: int = key, value: int = value) -> None:
                database[key] = value

            way = chance.randrange(4)
            if way == 0:
                region.write_through(str(key), value, commit, tags=["t", f"k:{key}"])
            else:
                commit()
                if way == 1:
                    region.invalidate(str(key))
                elif way == 2:
                    region.invalidate_tags("t")
                else:
                    region.clear()
            told[key] = value
            count += 1
            time.sleep(chance.random() * 0.005)
    return count
