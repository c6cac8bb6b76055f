"""The client for threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Literal, TypeAlias, cast

import redis as redis_py

from redis_apikey import _commands as raw
from redis_apikey import _forks, _keys
from redis_apikey._admission import read_admission
from redis_apikey._commands import Raw, T, Validation
from redis_apikey._effects import Address
from redis_apikey._keys import Pepper
from redis_apikey._protocol import Protocol
from redis_apikey._records import Fields
from redis_apikey._results import (
    Batch,
    Change,
    Decision,
    GeneratedKey,
    Id,
    LimitState,
    Page,
    Parse,
    Result,
    Row,
    Settled,
    Warmed,
)
from redis_apikey._settings import L1, LimitsWhenUnavailable, Observer, Settings, WhenDown
from redis_apikey._sync import Driver, Follower
from redis_apikey._warm import Warming, in_batches

Addresses: TypeAlias = "list[Address]"

Redis: TypeAlias = "redis_py.Redis | redis_py.RedisCluster | str | Sequence[str]"
"""A client of redis-py, whose connection settings are taken; a URL; or URLs of a cluster."""


class ApiKeys:
    """Verifies API keys, and tells Redis what has changed.

    `redis` is only looked at for where it goes and how: connections are the library's own. With `cluster=True` a URL
    is that of a node of a cluster. `load(prefix)` returns the row of the key as the database's primary has it now, or
    None.

    All times are in seconds.

    - `timeout`: for each call to Redis that a verification waits for. `change_timeout`: within which a change is told
      to all, or raises.
    - `breaker_failures`, `breaker_pause`: after so many calls without an answer Redis is not asked for so long.
    - `when_down`: what answers while Redis does not. `"load"`: the database. `"stale"`: an answer of the L1, up to its
      age. `"deny"`: nobody.
    - `load_limit`: how many calls of `load` are under way at once; of each key there is one.
    - `parse`: takes keys of a form of your own apart; the library's own form is that of `generate`.
    - `pepper`: digests are HMAC-SHA-256 with it, bytes or a text in UTF-8. Of several the first makes new digests, and
      all are accepted.
    - `fields`: what the table's columns are called.
    - `ns`: what stands before all names, to separate tenants.
    - `ttl`, `absent_ttl`: how long a record, and the knowledge that there is none, is kept; else as the server's
      settings say.
    - `tags(row)`: tags of your own for each record.
    - `outbox(change)`: keeps a change that could not be told, for `tell`.
    - `l1`: a cache in this process; None for none.
    - `observer`: is told of each verification, as `redis_apikey.opentelemetry` is.
    - `limits_when_unavailable`: what becomes of a good key with limits while nobody can judge them, since Redis does
      not answer or takes no writes. `"allow"`: it is good, nothing is taken from its limits and nothing is counted.
      `"refuse"`: `Unavailable`.
    """

    def __init__(
        self,
        redis: Redis,
        load: Callable[[str], Row | None] | None = None,
        *,
        cluster: bool = False,
        timeout: float = 0.05,
        change_timeout: float = 5.0,
        breaker_failures: int = 5,
        breaker_pause: float = 0.5,
        when_down: WhenDown = "load",
        load_limit: int = 32,
        parse: Parse = _keys.parse,
        pepper: Pepper | Sequence[Pepper] | None = None,
        fields: Fields | None = None,
        ns: str = "",
        ttl: float | None = None,
        absent_ttl: float | None = None,
        tags: Callable[[Row], Sequence[str]] | None = None,
        outbox: Callable[[Change], object] | None = None,
        l1: L1 | None = None,
        observer: Observer | None = None,
        limits_when_unavailable: LimitsWhenUnavailable = "allow",
    ) -> None:
        settings = Settings(
            timeout=timeout,
            change_timeout=change_timeout,
            breaker_failures=breaker_failures,
            breaker_pause=breaker_pause,
            when_down=when_down,
            load_limit=load_limit,
            parse=parse,
            peppers=_keys.read_peppers(pepper),
            fields=fields or Fields(),
            ns=ns,
            ttl=ttl,
            absent_ttl=absent_ttl,
            tags=tags,
            l1=l1,
            observer=observer,
            limits_when_unavailable=limits_when_unavailable,
        )
        self._load = load
        self._outbox = outbox
        self._settings = settings
        self._driver = Driver(redis, cluster, load_limit)
        endpoint = self._driver.endpoint
        self._protocol = Protocol(settings, endpoint.seeds, endpoint.cluster, Driver.new_event)
        _forks.watch(self._protocol, self._driver)
        self._follower: Follower | None = None
        if l1 is not None and self._protocol.l1 is not None:
            self._follower = Follower(
                self._driver,
                self._protocol.l1,
                l1,
                self._protocol.names.prefix,
                self._protocol.names.probe,
                self._primaries_to_follow,
                self._probe,
            )
        self.usage = Usage(self._protocol, self._driver)
        """Counts of uses."""
        self.commands = Commands(self._protocol, self._driver)
        """The module's commands as they are."""

    def _probe(self) -> None:
        self._driver.run(self._protocol.probe(self._protocol.names.probe))

    def _primaries_to_follow(self) -> Addresses:
        self._driver.run(self._protocol.know_primaries())
        return self._protocol.servers.primaries()

    def __enter__(self) -> ApiKeys:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. The application's own client is its own."""
        if self._follower is not None:
            self._follower.close()
        self._driver.close()

    def verify(
        self,
        presented: str,
        *,
        scopes: Sequence[str] = (),
        address: str | None = None,
        cost: int | None = None,
        request_id: str | None = None,
        limits: Sequence[Mapping[str, object]] = (),
        counters: Sequence[str] = (),
    ) -> Result:
        """Whether a presented key is good for all of `scopes`, from `address` (IPv4 or IPv6).

        A key whose record has `limits` is admitted by them in the same round trip, or `Limited`. So is any key where
        one of the other arguments is given. Whoever is admitted is counted, as by `usage.count`; of others nothing is.

        - `cost`: what is taken and counted; 1, if it is not given. 0 takes nothing.
        - `request_id`: your own name of the request, 1 to 64 bytes, the same when it is tried again: it is counted
          once, within the server's `apikey.request-id-window-ms`. It is what `settle` goes by. Only what has one is
          sent again on a lost connection. It must not be a caller's to choose, or a caller is counted once for all.
        - `limits`: further limits in the form of the record's; one of the same name stands for the record's.
        - `counters`: names in Redis of the counters that limits number from 2 on; 1 is the key's own. In a cluster they
          must have the key's hash tag, `{prefix}`.

        Raises BadRecord for a row that can't be judged, or whose limits can't be with what the call has; ValueError for
        scopes (at most 64, of 1 to 1,024 bytes), addresses and arguments that are none; and TypeError for what is no
        text and for a client without `load`. Whatever else goes wrong is an answer.
        """
        observer = self._settings.observer
        began = time.time_ns() if observer else 0
        if not isinstance(scopes, str):
            # They are read twice, and an iterator has them once.
            scopes = tuple(scopes)
        admission = read_admission(cost, request_id, limits, counters)
        result: Result | None = None
        if not admission.is_wanted:
            result = self._protocol.verify_from_l1(presented, scopes, address)
        if result is None:
            if self._load is None:
                raise TypeError("verify needs load=")
            if self._follower is not None:
                self._follower.start()
            steps = self._protocol.verify(presented, scopes, address, admission, self._load)
            result = self._driver.run(steps)
        if observer:
            observer.verified(result, began, time.time_ns())
        return result

    def generate(self, name: str) -> GeneratedKey:
        """A new key, `<name>_<id>_<secret><checksum>`, of 192 bits; `name` is such as `ak_live`. Raises ValueError."""
        return _keys.generate(name, self._settings.peppers)

    def regenerate(self, prefix: str) -> GeneratedKey:
        """Another secret for a key that `generate` made: its prefix stays, and its row may accept both for a while.

        Raises ValueError.
        """
        return _keys.regenerate(prefix, self._settings.peppers)

    def changed(
        self,
        *,
        id: Id | None = None,
        prefix: str | None = None,
        user: Id | None = None,
    ) -> None:
        """Tells that a key has changed or was revoked, after the commit; with `user` alone, that all of theirs have.

        Once it has returned, the key is nowhere verified as it was before, but by an L1 of another process, which
        hears of it a moment later. Raises ChangeNotTold where not all have answered within `change_timeout`: then it
        may be, and has to be told again; ValueError where nothing is given. Give all three: decisions and lists go by
        `prefix` and `user`.
        """
        prefixes = () if prefix is None else (prefix,)
        self._driver.run(self._protocol.change(Change("changed", id, user, prefixes), self._outbox))

    def created(self, prefix: str, user: Id | None = None) -> None:
        """Tells that a key was created, after the commit. Raises ChangeNotTold."""
        self._driver.run(self._protocol.change(Change("created", None, user, (prefix,)), self._outbox))

    def user_deleted(self, user: Id, prefixes: Sequence[str] = ()) -> None:
        """Tells that a user is gone, and with them all of their keys, after the commit. Raises ChangeNotTold."""
        change = Change("user_deleted", None, user, cast("tuple[str, ...]", prefixes))
        self._driver.run(self._protocol.change(change, self._outbox))

    def tell(self, change: Change) -> None:
        """Tells what an outbox has kept. Raises ChangeNotTold; the outbox is not called again."""
        self._driver.run(self._protocol.tell(change))

    def list(
        self,
        user: Id,
        *,
        load: Callable[[Id], Sequence[Row]],
        offset: int = 0,
        limit: int | None = None,
    ) -> Page:
        """A page of a user's keys. `load(user)` returns the rows of all of them, in the order that pages have.

        Raises what `load` raises, BadRecord, RedisUnavailable where `when_down` does not let the database be asked, and
        ValueError for an `offset` or a `limit` below 0.
        """
        return self._driver.run(self._protocol.page(user, load, offset, limit))

    def decide(
        self,
        prefix: str,
        resource: str,
        action: str,
        *,
        load: Callable[[str, str, str], bool | Decision],
    ) -> bool:
        """What the application decides beside the record's own scopes; `load(prefix, resource, action)` does.

        A decision goes with its key: whose that is, is read from its row where `load` does not say it. Of a key that
        the database has not, the answer is no.

        Raises what `load` raises, and RedisUnavailable where `when_down` does not let the database be asked.
        """
        return self._driver.run(self._protocol.decide(prefix, resource, action, load, self._load))

    def warm(
        self,
        rows: Callable[[], Iterable[Row]],
        *,
        prefix: str | Callable[[Row], str] | None = None,
        ttl: float | None = None,
        batch: int = 500,
        on_bad: Callable[[Row, Exception], object] | None = None,
    ) -> Warmed:
        """Fills the cache with rows of the database, before they are asked for; returns what became of them.

        `rows()` is called once a token of each primary was had, and returns the rows, each as `load` would. Read them
        then, from the database's primary, in a transaction that begins then: so a key that is revoked while this runs
        is refused when its row comes. The tokens are good for the server's `apikey.token-ttl-ms` (30 s): what comes
        later is refused too, so raise it for the time that this takes.

        - `prefix`: the column that has the public prefix, or a function of the row; else `key_prefix`, by the name that
          `fields` gives it.
        - `ttl`: seconds that the records are kept; else as the client's.
        - `batch`: rows in one round trip, each of which may take `change_timeout`.
        - `on_bad(row, error)`: is told of rows that can't be judged, or that the server does not take; else the first
          of them are logged. They stop nothing.

        Raises what `rows` raises, RedisUnavailable where Redis does not answer, and CommandRefused where it takes no
        row (`OOM`, `NOPERM`, `READONLY` ..). What was stored before stays.
        """
        if not callable(rows):
            raise TypeError("rows must be a function, which is called once there are tokens")
        warming = Warming(self._protocol, prefix, ttl, batch, on_bad)
        self._driver.run(warming.begin())
        with closing(in_batches(rows, batch)) as batches:
            for some in batches:
                self._driver.run(warming.fill(some))
        return warming.warmed()

    def settle(self, prefix: str, request_id: str, cost: int, *, counters: Sequence[str] = ()) -> Settled | None:
        """Says what a request has cost that was admitted under `request_id`: tokens of a model, bytes; 0 if it failed.

        The difference is given back to every limit that it was taken from, or taken as far as there is, and counted.
        `counters` are those that `verify` was given. None: the id is not known (any more: it is for the server's
        `apikey.request-id-window-ms`). A request is settled once, and saying so again changes nothing.

        Raises RedisUnavailable, CommandRefused, ValueError.
        """
        return self._driver.run(self._protocol.settle(prefix, request_id, cost, counters))

    def credit(
        self,
        prefix: str,
        name: str,
        *,
        by: int | None = None,
        set: int | None = None,
        request_id: str | None = None,
        counter: str | None = None,
    ) -> int:
        """Raises the credits of a key `by` so many, or lowers them, or `set`s them; returns the balance.

        `name` is that of the limit. `request_id`, such as a payment's, has it done once within the server's
        `apikey.request-id-window-ms`; without one it is never sent twice. `counter` is another than the key's own.

        Raises RedisUnavailable, which says whether it may be done (`maybe_done`), CommandRefused for a balance below 0,
        and ValueError.
        """
        command = raw.credit(counter or self._protocol.names.usage(prefix), name, by, set, request_id)
        return self._driver.run(command.steps(self._protocol))

    def limits(self, prefix: str, *, counter: str | None = None) -> tuple[LimitState, ...]:
        """How the limits stand that a key's counter, or another `counter`, keeps something of.

        One that is full may be missing. Raises RedisUnavailable, CommandRefused.
        """
        command = raw.limits(counter or self._protocol.names.usage(prefix))
        return self._driver.run(command.steps(self._protocol))

    def health(self) -> dict[str, object]:
        """`status` (healthy, degraded, unhealthy, or down: Redis did not answer) and `reasons`."""
        return self._driver.run(self._protocol.health())


class Usage:
    """Counts of uses."""

    def __init__(self, protocol: Protocol, driver: Driver) -> None:
        self._protocol = protocol
        self._driver = driver

    def count(self, prefix: str, by: int = 1, *, request_id: str | None = None) -> int:
        """Counts uses of a key; returns what is pending.

        With a `request_id` it is counted once, however often it is said within the server's
        `apikey.request-id-window-ms`; without one it is never sent twice. Raises RedisUnavailable, which says whether
        it may have counted (`maybe_done`), and CommandRefused.
        """
        return self._driver.run(self._protocol.count(prefix, by, request_id))

    def batches(
        self, *, lease_ms: int = 30_000, count: int = 1000, most: int | None = None
    ) -> Generator[Batch, None, None]:
        """What is pending, of all primaries, until nothing is.

        A batch is acknowledged when the body of the loop has ended, and given back when it raises, breaks or returns.
        One whose consumer dies, or that can't be given back within half a second, comes again after `lease_ms`
        milliseconds: insert each line by its id, which never repeats, and add the count of those that were new.
        `count` is of lines that are leased at once. After `most` batches it ends.

        Raises RedisUnavailable, CommandRefused.
        """
        done = 0
        for primary in self._driver.run(self._protocol.primaries()):
            while batches := self._driver.run(self._protocol.lease(primary, lease_ms, count)):
                left = [batch.id for batch in batches]
                try:
                    for batch in batches:
                        yield batch
                        # Whatever comes of it, its lines are with the consumer.
                        left.remove(batch.id)
                        self._driver.run(self._protocol.acknowledge(primary, batch.id))
                        done += 1
                        if done == most:
                            return
                finally:
                    if left:
                        self._driver.run(self._protocol.give_back(primary, left))


class Commands:
    """The module's commands as they are. Each raises RedisUnavailable and CommandRefused.

    `ttl` is in seconds; `ns` is not that of the client, and names are those of keys in Redis.
    """

    def __init__(self, protocol: Protocol, driver: Driver) -> None:
        self._protocol = protocol
        self._driver = driver

    def _run(self, command: Raw[T]) -> T:
        return self._driver.run(command.steps(self._protocol))

    def validate(
        self, key: str, *, digest: str | None = None, address: str | None = None, scopes: Sequence[str] = ()
    ) -> Validation:
        """APIKEY.VALIDATE."""
        return self._run(raw.validate(key, digest, address, scopes))

    def setval(
        self,
        key: str,
        record: str | bytes,
        *,
        digests: Mapping[str, int | None] | None = None,
        token: bytes | str | None = None,
        ttl: float | None = None,
        tags: Sequence[str] = (),
        ns: str | None = None,
        only: Literal["NX", "XX"] | None = None,
    ) -> bool:
        """APIKEY.SETVAL; whether it was stored. `digests` in hex, each with its end in epoch milliseconds or None.

        Without a token it is the word of a writer, which nobody checks.
        """
        return self._run(raw.setval(key, record, digests or {}, raw.options(token, ttl, tags, ns), only))

    def setabsent(
        self,
        key: str,
        token: bytes | str,
        *,
        ttl: float | None = None,
        tags: Sequence[str] = (),
        ns: str | None = None,
    ) -> bool:
        """APIKEY.SETABSENT; whether it was stored."""
        return self._run(raw.setabsent(key, raw.options(token, ttl, tags, ns)))

    def token(self, key: str) -> bytes:
        """APIKEY.TOKEN: take it, then read the database, then fill with it."""
        return self._run(raw.token(key))

    def checkscope(self, key: str, resource: str, action: str) -> tuple[str, bytes | None]:
        """APIKEY.CHECKSCOPE: ALLOW, DENY, or MISS with its token."""
        return self._run(raw.checkscope(key, resource, action))

    def setscope(
        self,
        key: str,
        id: str | int,
        user: str | int,
        resource: str,
        action: str,
        allow: bool,
        token: bytes | str,
        *,
        ttl: float | None = None,
        tags: Sequence[str] = (),
        ns: str | None = None,
    ) -> bool:
        """APIKEY.SETSCOPE; whether it was stored."""
        common = raw.options(token, ttl, tags, ns)
        return self._run(raw.setscope(key, id, user, resource, action, allow, common))

    def getlist(self, key: str, *, offset: int = 0, limit: int | None = None) -> tuple[int, list[bytes]] | bytes:
        """APIKEY.GETLIST: how many there are and those of the page, or the token of a MISS."""
        return self._run(raw.getlist(key, offset, limit))

    def setlist(
        self,
        key: str,
        user: str | int,
        records: str | bytes,
        token: bytes | str,
        *,
        ttl: float | None = None,
        tags: Sequence[str] = (),
        ns: str | None = None,
    ) -> bool:
        """APIKEY.SETLIST, of a JSON array; whether it was stored."""
        return self._run(raw.setlist(key, user, records, raw.options(token, ttl, tags, ns)))

    def inval(self, *keys: str) -> int:
        """APIKEY.INVAL, until it is done; in a cluster the keys have to be in one slot."""
        return self._run(raw.inval(keys))

    def taginval(self, *tags: str) -> int:
        """APIKEY.TAGINVAL, until all primaries have done it."""
        return self._run(raw.taginval(tags))

    def tagcard(self, tag: str) -> int:
        """APIKEY.TAGCARD, of all primaries."""
        return self._run(raw.tagcard(tag))

    def tags(self, key: str) -> list[str]:
        """APIKEY.TAGS."""
        return self._run(raw.tags(key))

    def describe(self, key: str) -> dict[str, object] | None:
        """APIKEY.DESCRIBE; None where there is no such key."""
        return self._run(raw.describe(key))

    def usage_incr(self, key: str, by: int = 1, *, request_id: str | None = None) -> int:
        """APIKEY.USAGE.INCR; without a `request_id` it is never sent twice."""
        return self._run(raw.usage_incr(key, by, request_id))

    def admit(
        self,
        key: str,
        *counters: str,
        digest: str | None = None,
        address: str | None = None,
        scopes: Sequence[str] = (),
        cost: int | None = None,
        request_id: str | None = None,
        limits: Sequence[Mapping[str, object]] = (),
        peek: bool = False,
    ) -> Validation:
        """APIKEY.ADMIT; `peek` takes and counts nothing. Without a `request_id` it is never sent twice."""
        admission = read_admission(cost, request_id, limits, counters[1:])
        return self._run(raw.admit(key, counters, digest, address, scopes, admission, peek))

    def settle(self, counter: str, request_id: str, cost: int) -> Settled | None:
        """APIKEY.SETTLE, of one counter; None where it does not know the id."""
        return self._run(raw.settle(counter, request_id, cost))

    def credit(
        self, counter: str, name: str, *, by: int | None = None, set: int | None = None, request_id: str | None = None
    ) -> int:
        """APIKEY.CREDIT; without a `request_id` it is never sent twice."""
        return self._run(raw.credit(counter, name, by, set, request_id))

    def limits(self, counter: str) -> tuple[LimitState, ...]:
        """APIKEY.LIMITS."""
        return self._run(raw.limits(counter))

    def usage_get(self, key: str) -> dict[str, object]:
        """APIKEY.USAGE.GET."""
        return self._run(raw.usage_get(key))

    def usage_take(self, *keys: str) -> list[int]:
        """APIKEY.USAGE.TAKE; it is never sent twice, and forgets what it has handed over."""
        return self._run(raw.usage_take(keys))

    def health(self) -> dict[str, object]:
        """APIKEY.HEALTH, of one primary."""
        return self._run(raw.health())
