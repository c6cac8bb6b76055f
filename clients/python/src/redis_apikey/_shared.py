"""What the regions of one client share: servers, loads under way, turns of writers, and whose L1 has to forget."""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from redis_apikey._effects import Address, Command, ErrorReply, Event, Steps, Wait
from redis_apikey._errors import RedisUnavailable
from redis_apikey._exchange import COMMANDS_AT_ONCE, Exchange, Told
from redis_apikey._flights import Flights
from redis_apikey._l1 import Cache as L1Cache
from redis_apikey._results import Change
from redis_apikey._settings import L1, Outages


class Turns:
    """One at a time does something to a name; the others wait."""

    def __init__(self, new_event: Callable[[], Event]) -> None:
        self._new_event = new_event
        self._lock = threading.Lock()
        self._held: dict[str, Event] = {}

    def take(self, name: str) -> Steps[None]:
        while True:
            with self._lock:
                event = self._held.get(name)
                if event is None:
                    self._held[name] = self._new_event()
                    return
            yield Wait(event)

    def end(self, name: str) -> None:
        with self._lock:
            event = self._held.pop(name, None)
        if event is not None:
            event.set()

    def forked(self) -> None:
        """In a child that was forked: who held them is not there."""
        self._lock = threading.Lock()
        self._held = {}


class Shared(Exchange):
    """What the regions of one client share."""

    def __init__(
        self,
        outages: Outages,
        seeds: Sequence[Address],
        cluster: bool,
        new_event: Callable[[], Event],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(outages, seeds, cluster, clock)
        self.outages = outages
        self.clock = clock
        self.count = itertools.count(1)
        self.values: Flights[bytes | None] = Flights(self.count, new_event)
        self.batches: Flights[dict[str, bytes | None]] = Flights(self.count, new_event)
        self.turns = Turns(new_event)
        self._l1s: weakref.WeakSet[L1Cache[str, bytes]] = weakref.WeakSet()

    def new_l1(self, limits: L1) -> L1Cache[str, bytes]:
        l1: L1Cache[str, bytes] = L1Cache(limits, self.outages.when_down == "stale", self.clock)
        self._l1s.add(l1)
        return l1

    def forked(self) -> None:
        """In a child that was forked, before anything else."""
        self.values.forked()
        self.batches.forked()
        self.turns.forked()
        for l1 in list(self._l1s):
            l1.forked()

    def _told(self, change: Change) -> Told:
        if change.kind != "invalidated":
            raise ValueError(f"what was {change.kind} of API keys is told by ApiKeys")
        return Told(list(change.keys), list(change.tags), change.soft)

    def _drop(self, change: Change, told: Told) -> None:
        for l1 in list(self._l1s):
            # Nobody knows which tags a value has that was read while CLIENT TRACKING is followed.
            l1.drop_told(told.keys, told.tags, (lambda _: True) if told.tags else None)

    def invalidate_tags(self, tags: Sequence[str], soft: bool, outbox: Callable[[Change], object] | None) -> Steps[int]:
        """How many entries had one. Raises ChangeNotTold."""
        if isinstance(tags, (str, bytes)):
            raise TypeError("tags must be several texts")
        if not tags:
            return 0
        return (yield from self.change(Change("invalidated", tags=tuple(tags), soft=soft), outbox))

    def drop_all(self) -> None:
        for l1 in list(self._l1s):
            l1.clear()

    @contextmanager
    def dropping(self, name: str) -> Generator[None, None, None]:
        """What this process writes itself is in none of its L1s afterwards, whatever was asked for meanwhile."""
        for l1 in list(self._l1s):
            l1.drop([name.encode("utf-8", "surrogatepass")])
        try:
            yield
        finally:
            for l1 in list(self._l1s):
                l1.drop([name.encode("utf-8", "surrogatepass")])

    def ask_each(self, commands: Sequence[tuple[str, Command]]) -> Steps[list[object]]:
        """The replies to reads and fills of many keys, in one round trip for each server, each by its own key.

        Among them are ErrorReply, and RedisUnavailable where no reply came.
        """
        if not commands:
            return []
        servers = self.servers
        if servers.cluster:
            try:
                yield from self.know_primaries()
            except RedisUnavailable as error:
                return [error] * len(commands)
        of: dict[Address, list[int]] = {}
        for number, (key, _) in enumerate(commands):
            of.setdefault(servers.owner(key), []).append(number)
        replies: list[object] = [None] * len(commands)
        for address, numbers in of.items():
            if servers.cluster and address is None:
                some: list[object] = [ErrorReply("MOVED")] * len(numbers)
            else:
                some = yield from self._ask_some(address, [commands[number][1] for number in numbers])
            for number, reply in zip(numbers, some, strict=True):
                if servers.cluster and isinstance(reply, ErrorReply) and reply.code in ("ASK", "MOVED", "TRYAGAIN"):
                    key, command = commands[number]
                    try:
                        reply = (yield from self.ask(key, (command,), repeat=True))[0]
                    except RedisUnavailable as error:
                        reply = error
                replies[number] = reply
        return replies

    def _ask_some(self, address: Address, commands: Sequence[Command]) -> Steps[list[object]]:
        replies: list[object] = []
        at: Any = address if self.servers.cluster else "owner"
        for first in range(0, len(commands), COMMANDS_AT_ONCE):
            some = commands[first : first + COMMANDS_AT_ONCE]
            try:
                replies += yield from self.ask(None, some, repeat=True, at=at)
            except RedisUnavailable as error:
                replies += [error] * len(some)
        return replies
