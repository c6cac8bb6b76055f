"""Regions of a cache, for threads."""

from __future__ import annotations

import functools
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

import redis as redis_py

from redis_apikey import _behind, _forks
from redis_apikey._cached import Bound, Naming
from redis_apikey._effects import Address, Steps
from redis_apikey._names import RegionNames
from redis_apikey._regions import Fill, Kept, RegionProtocol, RegionSettings, Tags
from redis_apikey._results import Answer, Change
from redis_apikey._settings import L1, Outages, WhenDown
from redis_apikey._shared import Shared
from redis_apikey._sync import Driver, Follower
from redis_apikey._values import Codec, Compression, Encryption, Serializing, serializer_of

V = TypeVar("V")
T = TypeVar("T")
P = ParamSpec("P")

Redis: TypeAlias = "redis_py.Redis | redis_py.RedisCluster | str | Sequence[str]"
"""A client of redis-py, whose connection settings are taken; a URL; or URLs of a cluster."""


class Cache:
    """Values of any kind, in regions, which are invalidated by key, tag, pattern or as a whole.

    `redis` is only looked at for where it goes and how, as with `ApiKeys`; `timeout`, `change_timeout`,
    `breaker_failures`, `breaker_pause`, `when_down`, `load_limit` and `outbox` are what they are there: while Redis
    does not answer, values are loaded from their source, unless `when_down` is `"deny"` or `"stale"`.

    All times are in seconds. Make one for each process and keep it. Raises TypeError, ValueError.
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

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections, and waits a second for what is being refreshed."""
        for follower in self._followers:
            follower.close()
        self._driver.close()

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
    ) -> Region:
        """A region, of 1 to 64 bytes. Make it once and keep it: an L1 is its own. Times are in seconds.

        - `ns`: what stands before all names, to separate tenants; a region of another `ns` is another region.
        - `ttl`, `grace`: how long a value is fresh, and stale behind that; else as the region's settings on the server
          say.
        - `serializer`: `"json"`, `"bytes"`, or one of your own.
        - `compress`, `encrypt`: what else becomes of a value, on this side.
        - `l1`: a cache of values in this process, with the rules of that of `ApiKeys`.
        - `patience`: how long a call waits for a value that another reader loads, before it loads it itself.
        - `backoff`: how long nobody tries again after a load that raised.
        - `refresh_ahead`: a value of a region with EAGER is refreshed in the background before it ends, by a thread of
          the library's.
        - `one_slot`: all of the region lies in one slot of a cluster, as `write_behind` needs there.

        Raises TypeError, ValueError.
        """
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
        return Region(protocol, self._driver, follower, defaults, self._outbox)

    def _primaries_to_follow(self) -> list[Address]:
        self._driver.run(self._shared.know_primaries())
        return self._shared.servers.primaries()

    def invalidate_tags(self, *tags: str, soft: bool = False) -> int:
        """`Region.invalidate_tags`: tags are of all regions."""
        return self._driver.run(self._shared.invalidate_tags(tags, soft, self._outbox))

    def tell(self, change: Change) -> None:
        """Tells what an outbox has kept. Raises ChangeNotTold, and ValueError for a change of API keys."""
        self._driver.run(self._shared.tell(change))


class Region:
    """A part of the cache. `Cache.region` makes it.

    `tags` are texts, or a function of the value that returns them; `ttl` and `grace` are seconds. A value of None is
    "the source has no such thing", which is kept too, for the region's ABSENTTTL. What is handed out is the caller's
    own.

    Keys are texts; `42` of the region `products` is `cache:products:{42}` in Redis.
    """

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

    def _run(self, steps: Steps[T]) -> T:
        if self._follower is not None:
            self._follower.start()
        return self._driver.run(steps)

    def get_or_set(
        self,
        key: str,
        load: Callable[[str], V | None],
        *,
        tags: Tags = (),
        ttl: float | None = None,
        grace: float | None = None,
        allow_stale: bool = True,
    ) -> V | None:
        """The value: of the cache, or what `load(key)` returns, which is stored.

        One load of a key is under way in this process, and with the region's LEASE in the whole fleet. Whoever is
        given a stale value to refresh loads; where that raises, it gets the stale one. With `allow_stale=False` stale
        values are none.

        Raises what `load` raises, what the serializer raises for its value, and RedisUnavailable where `when_down` does
        not let the source be asked. That a value can't be stored is logged.
        """
        return self.look_up(key, load, tags=tags, ttl=ttl, grace=grace, allow_stale=allow_stale).value

    def look_up(
        self,
        key: str,
        load: Callable[[str], V | None],
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
            kept = self._run(self._protocol.get_or_set(key, load, fill, allow_stale))
        return Answer(self._protocol.value(kept), kept.source)

    def get_or_set_many(
        self,
        keys: Sequence[str],
        load: Callable[[list[str]], Mapping[str, V | None]],
        *,
        tags: Tags = (),
        ttl: float | None = None,
        grace: float | None = None,
        allow_stale: bool = True,
    ) -> dict[str, V | None]:
        """The value of each key, in one round trip for each server; `load(missing)` is called once for all that miss.

        What it returns has no value for what the source has not. Raises as `get_or_set` does.
        """
        fill = self._fill(tags, ttl, grace)
        found = self._run(self._protocol.get_or_set_many(keys, load, fill, allow_stale))
        return self._values(found)

    def get(self, key: str, default: Any = None) -> Any:
        """The value, stale ones too; None where the source has none; `default` where the cache can't say."""
        kept = self._protocol.from_l1(key) or self._run(self._protocol.get(key))
        return default if kept is None else self._protocol.value(kept)

    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Those of which the cache can say something: as `get`."""
        return self._values(self._run(self._protocol.get_many(keys)))

    def _values(self, found: Mapping[str, Kept]) -> dict[str, Any]:
        return {key: self._protocol.value(kept) for key, kept in found.items()}

    def set(
        self, key: str, value: object, *, tags: Tags = (), ttl: float | None = None, grace: float | None = None
    ) -> None:
        """The word of a writer, which no load that began before undoes. None invalidates.

        Where Redis does not take it, the key is invalidated. Raises ChangeNotTold where that can't be told either: the
        cache may have what was before.
        """
        self._run(self._protocol.write(key, value, self._fill(tags, ttl, grace), None, self._outbox))

    def write_through(
        self,
        key: str,
        value: object,
        commit: Callable[[], T],
        *,
        tags: Tags = (),
        ttl: float | None = None,
        grace: float | None = None,
    ) -> T:
        """`commit()`, which writes to the database, then `set`; returns what it returns.

        Writers of one key in this process take turns. Of two in different processes the one that is slower to tell may
        have committed first: then call `invalidate` in the place of this, or lock.

        Raises what `commit` raises, with the key invalidated, since it may have been committed; and ChangeNotTold.
        """
        fill = self._fill(tags, ttl, grace)
        returned: Any = self._run(self._protocol.write(key, value, fill, commit, self._outbox))
        return returned  # type: ignore[no-any-return]

    def write_behind(
        self, key: str, value: object, *, tags: Tags = (), ttl: float | None = None, grace: float | None = None
    ) -> str:
        """Sets the value, and puts it on the region's stream, in one transaction: a `worker` writes it to the database.

        Returns the write's id, which grows. It is kept as well as Redis keeps what it is told: a crash of the server
        costs what was not on disk yet, a failover what the replica had not heard.

        It is not sent twice. Raises RedisUnavailable, which says whether it may have been taken (`maybe_done`);
        CommandRefused where it was not; ValueError for None, and in a cluster for a region without `one_slot`.
        """
        fill = self._fill(tags, ttl, grace)
        return self._run(_behind.write(self._protocol, key, value, fill, self._outbox))

    def worker(
        self,
        apply: Callable[[str, Any, str], object],
        *,
        consumer: str | None = None,
        batch: int = 100,
        lock: float = 10.0,
        poll: float = 0.1,
        on_error: Callable[[str, Any, str, Exception], object] | None = None,
    ) -> Worker:
        """What brings the writes of `write_behind` to the database, by `apply(key, value, id)`.

        Writes of a key come in their order, each at least once: after a crash up to `batch` of them once more. Ids
        grow, so that a table which keeps the last one can refuse what is older.

        - `consumer`: its name in the group, which no other has; else of the host, the process and chance.
        - `batch`: writes that are read, and acknowledged, at once.
        - `lock`: seconds after which another takes over from one that died. No `apply` may take longer.
        - `poll`: seconds between two looks at a stream that is empty.
        - `on_error(key, value, id, error)`: whether to give a write up that `apply` raised for; else it is tried again,
          with growing pauses, and later ones of its key wait; where 10,000 do, nothing new is read.
        """
        name = consumer or f"{socket.gethostname()}:{os.getpid()}:{os.urandom(6).hex()}"
        protocol = _behind.WorkerProtocol(self._protocol, apply, name, batch, lock, on_error)
        return Worker(protocol, self._driver, poll)

    def invalidate(self, *keys: str) -> None:
        """Once it has returned, nobody is given what was before, but an L1 of another process for a moment.

        Call it after the commit. Raises ChangeNotTold where not all have answered within `change_timeout`: then it has
        to be told again.
        """
        self._run(self._protocol.invalidate(keys, self._outbox))

    def invalidate_tags(self, *tags: str, soft: bool = False) -> int:
        """All that carries one of these, of any region; returns how many entries that were.

        `soft`: they are stale from now on, where they have a grace, and are refreshed as they are asked for. The key of
        an encryption is retired by its tag: `kid:3`, behind the region's `ns`. Raises as `invalidate` does.
        """
        return self._run(self._protocol.shared.invalidate_tags(tags, soft, self._outbox))

    def clear(self) -> int:
        """All of the region, at once; returns how many entries there were. Raises as `invalidate` does."""
        return self._run(self._protocol.clear(self._outbox))

    def invalidate_pattern(self, pattern: str, *, timeout: float = 60.0) -> int:
        """All whose key matches a glob (`42:*`); returns how many entries that were.

        The server walks through all names, for `timeout` seconds at most. Prefer tags: nothing is kept in an outbox.
        Raises RedisUnavailable, CommandRefused; then some may be gone, and it has to be said again.
        """
        return self._run(self._protocol.invalidate_pattern(pattern, timeout))

    def stats(self) -> dict[str, object]:
        """CACHE.STATS, of one primary. Raises RedisUnavailable, CommandRefused."""
        return self._run(self._protocol.stats())

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
    ) -> Callable[[Callable[P, V]], CachedFunction[P, V]]:
        """Makes a function one whose values are cached.

        `key` and `tags` name arguments in braces (`"{id}"`), or `key` is a function of them. Values that arguments
        become should not have what stands between them, lest two keys be one. Raises ValueError for a name that is no
        argument.
        """

        def decorate(function: Callable[P, V]) -> CachedFunction[P, V]:
            return CachedFunction(self, function, Naming(function, key, tags), ttl, grace, allow_stale)

        return decorate


class CachedFunction(Generic[P, V]):
    """What `Region.cached` makes of a function; `__wrapped__` is the function itself."""

    def __init__(
        self,
        region: Region,
        function: Callable[P, V],
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

    def __call__(self, *arguments: P.args, **options: P.kwargs) -> V:
        """As `get_or_set`."""
        value: Any = self._region.get_or_set(
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

    def invalidate(self, *arguments: P.args, **options: P.kwargs) -> None:
        """As `Region.invalidate`."""
        self._region.invalidate(self._naming.key(arguments, options))


class Worker:
    """What brings writes to the database. `Region.worker` makes it."""

    def __init__(self, protocol: _behind.WorkerProtocol, driver: Driver, poll: float) -> None:
        self._protocol = protocol
        self._driver = driver
        self._poll = poll
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until `stop`. While another worker has the stream, it waits. What goes wrong is logged, and tried again."""
        self._driver.run(_behind.run(self._protocol, self._poll, self._stopped.is_set))

    def stop(self) -> None:
        """Lets `run` end, in another thread, once what is being applied has been. Within `poll`, or half a second."""
        self._stopped.set()

    def drain(self) -> int:
        """Applies what there is, but what fails; returns how many writes that were.

        Waits for another worker that has the stream. Raises RedisUnavailable, CommandRefused.
        """
        return self._driver.run(_behind.drain(self._protocol))
