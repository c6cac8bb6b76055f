"""Which server is asked: the only one, or the owner of a key's slot; and which are spared since they don't answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from redis.crc import key_slot

from redis_apikey._effects import Address

SLOTS = 16_384


class Breaker:
    """After so many failures in a row nobody asks for `pause` seconds, then one does."""

    def __init__(self, failures: int, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = failures
        self._pause = pause
        self._clock = clock
        self.failures = 0
        self._failed_at = float("-inf")
        self._closed_at: float | None = None

    def allows(self) -> bool:
        """Whether the server may be asked. Who is told so while it is spared is the one who tries."""
        if self._closed_at is None:
            return True
        now = self._clock()
        if now < self._closed_at:
            return False
        self._closed_at = now + self._pause
        return True

    @property
    def is_open(self) -> bool:
        return self._closed_at is not None

    def failed(self, began: float) -> None:
        """Of a call that began then. Those that were under way together failed of the same, and are one failure."""
        if began < self._failed_at:
            return
        self._failed_at = self._clock()
        self.failures += 1
        if self.failures >= self._most:
            self._closed_at = self._failed_at + self._pause

    def succeeded(self) -> None:
        self.failures = 0
        self._closed_at = None


class Servers:
    """The servers that are known."""

    def __init__(self, seeds: Sequence[Address], cluster: bool, new_breaker: Callable[[], Breaker]) -> None:
        self.seeds = tuple(seeds)
        self.cluster = cluster
        self.in_doubt = cluster
        """Whether the owners of slots are to be asked for again."""
        self._new_breaker = new_breaker
        self._breakers: dict[Address, Breaker] = {}
        self._owners: list[Address] = []
        self._turn = 0
        self._moved_to: Address = None

    def breaker(self, address: Address) -> Breaker:
        found = self._breakers.get(address)
        if found is None:
            found = self._breakers.setdefault(address, self._new_breaker())
        return found

    @property
    def is_known(self) -> bool:
        return not self.cluster or bool(self._owners)

    def owner(self, key: str) -> Address:
        """Of a key's slot; None where nobody is known to own it."""
        return self._owners[slot_of(key)] if self.cluster else self.seeds[0]

    def as_now(self) -> Servers:
        """A copy in which nothing moves later."""
        now = Servers(self.seeds, self.cluster, self._new_breaker)
        now._owners = list(self._owners)
        return now

    def primaries(self) -> list[Address]:
        """Each once."""
        if not self.cluster:
            return [self.seeds[0]]
        return [address for address in dict.fromkeys(self._owners) if address is not None]

    def any_primary(self) -> Address:
        """Another one each time, of those that answer as far as they do."""
        primaries = self.primaries()
        answering = [address for address in primaries if not self.breaker(address).is_open] or primaries
        self._turn += 1
        return answering[self._turn % len(answering)] if answering else None

    def whom_to_ask(self) -> list[Address]:
        """Who may know the owners of slots, those first that answer."""
        # First whom a slot has moved to: others may not have heard of it.
        first = [] if self._moved_to is None else [self._moved_to]
        known = list(dict.fromkeys([*first, *self.primaries(), *self.seeds]))
        return sorted(known, key=lambda address: self.breaker(address).failures)

    def move(self, slot: int, address: Address) -> None:
        """As a server said."""
        self.in_doubt = True
        self._moved_to = address
        if self._owners and 0 <= slot < SLOTS:
            self._owners[slot] = address

    def learn(self, reply: object, asked: Address) -> bool:
        """The reply of CLUSTER SLOTS; whether it says anything."""
        owners: list[Address] = [None] * SLOTS
        if not isinstance(reply, list) or not reply:
            return False
        for entry in reply:
            first, last, primary = entry[0], entry[1], entry[2]
            host = primary[0].decode() if isinstance(primary[0], bytes) else ""
            if host in ("", "?"):
                # The one that was asked, by whatever name.
                host = asked[0] if asked else ""
            owners[first : last + 1] = [(host, int(primary[1]))] * (last + 1 - first)
        self._owners = owners
        return True


def slot_of(key: str) -> int:
    """Whatever the text holds."""
    return key_slot(key.encode("utf-8", "surrogatepass"))


def address_in(text: str, asked: Address) -> Address:
    """Of `host:port` in a redirection; without a host it is the one that was asked."""
    host, _, port = text.rpartition(":")
    return host or (asked[0] if asked else ""), int(port)
