"""Regions of a cache, for asyncio."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

import redis.asyncio as redis_py

from redis_apikey import _behind, _forks
from redis_apikey._asyncio import Driver, Follower
from redis_apikey._cached import Bound, Naming
from redis_apikey._effects import Address, Steps
from redis_apikey._names import RegionNames
from redis_apikey._regions import Fill, Kept, RegionProtocol, RegionSettings, Tags
from redis_apikey._results import Answer, Change
from redis_apikey._settings import L1, Outages, WhenDown
from redis_apikey._shared import Shared
from redis_apikey._values import Codec, Compression, Encryption, Serializing, serializer_of

V = TypeVar("V")
T = TypeVar("T")
P = ParamSpec("P")

Redis: TypeAlias = "redis_py.Redis | redis_py.RedisCluster | str | Sequence[str]"
"""A client of redis-py, whose connection settings are taken; a URL; or URLs of a cluster."""


class AsyncCache:
    """`Cache` for asyncio: its arguments and what they do are the same.

    Functions that are given may return what they return, or an awaitable of it; so may those of its regions. It belongs
    to the event loop in which it is first used.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        cluster: bool = False,
        timeout: float = 0.05,
        change_timeout: float = 5.0,
        breaker_failures: int = 5,
        breaker_pause: float = 0.5,
        when_down: WhenDown = "load",
        load_limit: int = 32,
        outbox: Callable[[Change], object] | None = None,
    ) -> None:
        outages = Outages(timeout, change_timeout, breaker_failures, breaker_pause, when_down, load_limit)
        self._outbox = outbox
        self._driver = Driver(redis, cluster, load_limit)
        endpoint = self._driver.endpoint
        self._shared = Shared(outages, endpoint.seeds, endpoint.cluster, Driver.new_event)
        self._followers: list[Follower] = []
        _forks.watch(self._shared, self._driver)

    async def __aenter__(self) -> AsyncCache:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections, and ends what is being refreshed."""
        for follower in self._followers:
            await follower.close()
        await self._driver.close()

    def region(
        self,
        name: str,
        *,
        ns: str = "",
        ttl: float | None = None,
        grace: float | None = None,
        serializer: Serializing = "json",
        compress: Compression | None = None,
        encrypt: Encryption | None = None,
        l1: L1 | None = None,
        patience: float = 5.0,
        backoff: float = 0.5,
        refresh_ahead: bool = True,
        one_slot: bool = False,
    ) -> AsyncRegion:
        """A region, as `Cache.region` makes it; what is refreshed in the background is so by a task."""
        names = RegionNames(name, ns, one_slot)
        codec = Codec(ns, name, serializer_of(serializer), compress, encrypt)
        settings = RegionSettings(patience, backoff, refresh_ahead, one_slot, l1)
        defaults = Fill((), ttl, grace)
        protocol = RegionProtocol(self._shared, names, codec, settings)
        follower: Follower | None = None
        if l1 is not None and protocol.l1 is not None:
            follower = Follower(
                self._driver,
                protocol.l1,
                l1,
                names.prefix,
                names.probe,
                self._primaries_to_follow,
                lambda: self._driver.run(self._shared.probe(names.probe)),
            )
            self._followers.append(follower)
        return AsyncRegion(protocol, self._driver, follower, defaults, self._outbox)

    async def _primaries_to_follow(self) -> list[Address]:
        await self._driver.run(self._shared.know_primaries())
        return self._shared.servers.primaries()

    async def invalidate_tags(self, *tags: str, soft: bool = False) -> int:
        """`AsyncRegion.invalidate_tags`: tags are of all regions."""
        return await self._driver.run(self._shared.invalidate_tags(tags, soft, self._outbox))

    async def tell(self, change: Change) -> None:
        """Tells what an outbox has kept. Raises ChangeNotTold, and ValueError for a change of API keys."""
        await self._driver.run(self._shared.tell(change))


class AsyncRegion:
    """`Region` for asyncio: what each method does and raises is said there. `AsyncCache.region` makes it."""

    def __init__(
        self,
        protocol: RegionProtocol,
        driver: Driver,
        follower: Follower | None,
        defaults: Fill,
        outbox: Callable[[Change], object] | None,
    ) -> None:
        self._protocol = protocol
        self._driver = driver
        self._follower = follower
        self._defaults = defaults
        self._outbox = outbox

    def _fill(self, tags: Tags, ttl: float | None, grace: float | None) -> Fill:
        return self._defaults.with_own(tags, ttl, grace)

    async def _run(self, steps: Steps[T]) -> T:
        if self._follower is not None:
            self._follower.start()
        return await self._driver.run(steps)

    async def get_or_set(
        self,
        key: str,
        load: Callable[[str], Awaitable[V | None] | V | None],
        *,
        tags: Tags = (),
        ttl: float | None = None,
        grace: float | None = None,
        allow_stale: bool = True,
    ) -> V | None:
        """The value: of the cache, or what `load(key)` returns, which is stored."""
        return (await self.look_up(key, load, tags=tags, ttl=ttl, grace=grace, allow_stale=allow_stale)).value

    async def look_up(
        self,
        key: str,
        load: Callable[[str], Awaitable[V | None] | V | None],
        *,
        tags: Tags = (),
        ttl: float | None = None,
        grace: float | None = None,
        allow_stale: bool = True,
    ) -> Answer[V]:
        """`get_or_set`, with who knew."""
        kept = self._protocol.from_l1(key)
        if kept is None:
            fill = self._fill(tags, ttl, grace)
            kept = await self._run(self._protocol.get_or_set(key, load, fill, allow_stale))
        return Answer(self._protocol.value(kept), kept.source)

    async def get_or_set_many(
        self,
        keys: Sequence[str],
        load: Callable[[list[str]], Awaitable[Mapping[str, V | None]] | Mapping[str, V | None]],
        *,
        tags: Tags = (),
        ttl: float | None = None,
        grace: float | None = None,
        allow_stale: bool = True,
    ) -> dict[str, V | None]:
        """The value of each key; `load(missing)` is called once for all that miss."""
        fill = self._fill(tags, ttl, grace)
        found = await self._run(self._protocol.get_or_set_many(keys, load, fill, allow_stale))
        return self._values(found)

    async def get(self, key: str, default: Any = None) -> Any:
        """The value, stale ones too; None where the source has none; `default` where the cache can't say."""
        kept = self._protocol.from_l1(key) or await self._run(self._protocol.get(key))
        return default if kept is None else self._protocol.value(kept)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Those of which the cache can say something: as `get`."""
        return self._values(await self._run(self._protocol.get_many(keys)))

    def _values(self, found: Mapping[str, Kept]) -> dict[str, Any]:
        return {key: self._protocol.value(kept) for key, kept in found.items()}

    async def set(
        self, key: str, value: object, *, tags: Tags = (), ttl: float | None = None, grace: float | None = None
    ) -> None:
        """The word of a writer, which no load that began before undoes. None invalidates."""
        await self._run(self._protocol.write(key, value, self._fill(tags, ttl, grace), None, self._outbox))

    async def write_through(
        self,
        key: str,
        value: object,
        commit: Callable[[], Awaitable[T] | T],
        *,
        tags: Tags = (),
        ttl: float | None = None,
        grace: float | None = None,
    ) -> T:
        """`commit()`, which writes to the database, then `set`; returns what it returns.

        Await it: a task that is cancelled before its first step writes nothing.
        """
        fill = self._fill(tags, ttl, grace)
        returned: Any = await self._run(self._protocol.write(key, value, fill, commit, self._outbox))
        return returned  # type: ignore[no-any-return]

    async def write_behind(
        self, key: str, value: object, *, tags: Tags = (), ttl: float | None = None, grace: float | None = None
    ) -> str:
        """Sets the value, and puts it on the region's stream for a `worker`; returns the write's id."""
        fill = self._fill(tags, ttl, grace)
        return await self._run(_behind.write(self._protocol, key, value, fill, self._outbox))

    def worker(
        self,
        apply: Callable[[str, Any, str], object],
        *,
        consumer: str | None = None,
        batch: int = 100,
        lock: float = 10.0,
        poll: float = 0.1,
        on_error: Callable[[str, Any, str, Exception], object] | None = None,
    ) -> AsyncWorker:
        """What brings the writes of `write_behind` to the database, by `apply(key, value, id)`."""
        name = consumer or f"{socket.gethostname()}:{os.getpid()}:{os.urandom(6).hex()}"
        protocol = _behind.WorkerProtocol(self._protocol, apply, name, batch, lock, on_error)
        return AsyncWorker(protocol, self._driver, poll)

    async def invalidate(self, *keys: str) -> None:
        """Once it has returned, nobody is given what was before, but an L1 of another process for a moment."""
        await self._run(self._protocol.invalidate(keys, self._outbox))

    async def invalidate_tags(self, *tags: str, soft: bool = False) -> int:
        """All that carries one of these, of any region; returns how many entries that were."""
        return await self._run(self._protocol.shared.invalidate_tags(tags, soft, self._outbox))

    async def clear(self) -> int:
        """All of the region, at once; returns how many entries there were."""
        return await self._run(self._protocol.clear(self._outbox))

    async def invalidate_pattern(self, pattern: str, *, timeout: float = 60.0) -> int:
        """All whose key matches a glob (`42:*`); returns how many entries that were."""
        return await self._run(self._protocol.invalidate_pattern(pattern, timeout))

    async def stats(self) -> dict[str, object]:
        """CACHE.STATS, of one primary. Raises RedisUnavailable, CommandRefused."""
        return await self._run(self._protocol.stats())

    def name_of(self, key: str) -> str:
        """The key's name in Redis."""
        return self._protocol.names.entry(key)

    def cached(
        self,
        key: str | Callable[..., str],
        *,
        tags: Tags = (),
        ttl: float | None = None,
        grace: float | None = None,
        allow_stale: bool = True,
    ) -> Callable[[Callable[P, Awaitable[V]]], AsyncCachedFunction[P, V]]:
        """Makes a coroutine function one whose values are cached; `key` and `tags` name its arguments in braces."""

        def decorate(function: Callable[P, Awaitable[V]]) -> AsyncCachedFunction[P, V]:
            return AsyncCachedFunction(self, function, Naming(function, key, tags), ttl, grace, allow_stale)

        return decorate


class AsyncCachedFunction(Generic[P, V]):
    """What `AsyncRegion.cached` makes of a function; `__wrapped__` is the function itself."""

    def __init__(
        self,
        region: AsyncRegion,
        function: Callable[P, Awaitable[V]],
        naming: Naming,
        ttl: float | None,
        grace: float | None,
        allow_stale: bool,
    ) -> None:
        functools.update_wrapper(self, function)
        self._region = region
        self._function = function
        self._naming = naming
        self._ttl = ttl
        self._grace = grace
        self._allow_stale = allow_stale

    async def __call__(self, *arguments: P.args, **options: P.kwargs) -> V:
        """As `get_or_set`."""
        value: Any = await self._region.get_or_set(
            self._naming.key(arguments, options),
            lambda _: self._function(*arguments, **options),
            tags=self._naming.tags(arguments, options),
            ttl=self._ttl,
            grace=self._grace,
            allow_stale=self._allow_stale,
        )
        return value  # type: ignore[no-any-return]

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Of a method."""
        return self if instance is None else Bound(self, instance)

    def key(self, *arguments: P.args, **options: P.kwargs) -> str:
        """The key that these arguments have."""
        return self._naming.key(arguments, options)

    async def invalidate(self, *arguments: P.args, **options: P.kwargs) -> None:
        """As `AsyncRegion.invalidate`."""
        await self._region.invalidate(self._naming.key(arguments, options))


class AsyncWorker:
    """What brings writes to the database. `AsyncRegion.worker` makes it."""

    def __init__(self, protocol: _behind.WorkerProtocol, driver: Driver, poll: float) -> None:
        self._protocol = protocol
        self._driver = driver
        self._poll = poll
        self._stopped = False

    async def run(self) -> None:
        """Until `stop`. While another worker has the stream, it waits. What goes wrong is logged, and tried again."""
        await self._driver.run(_behind.run(self._protocol, self._poll, lambda: self._stopped))

    def stop(self) -> None:
        """Lets `run` end once what is being applied has been. Within `poll`, or half a second."""
        self._stopped = True

    async def drain(self) -> int:
        """Applies what there is, but what fails; returns how many writes that were.

        Waits for another worker that has the stream. Raises RedisUnavailable, CommandRefused.
        """
        return await self._driver.run(_behind.drain(self._protocol))
