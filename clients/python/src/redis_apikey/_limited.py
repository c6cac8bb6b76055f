"""Which keys have limits, as their records last said: these are asked for by ADMIT at once.

What is forgotten costs a round trip: VALIDATE shows the record, and its limits.
"""

from __future__ import annotations

import threading

from redis_apikey._limits import Limit

MOST = 10_000


class LimitedKeys:
    """By their prefixes; the one that was learnt first goes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: dict[str, tuple[Limit, ...]] = {}

    def of(self, prefix: str) -> tuple[Limit, ...]:
        """Its limits; none where it has none, or is not known."""
        return self._limits.get(prefix, ())

    def learn(self, prefix: str, limits: tuple[Limit, ...]) -> None:
        """What its record says."""
        if self._limits.get(prefix, ()) == limits:
            return
        with self._lock:
            self._limits.pop(prefix, None)
            if limits:
                self._limits[prefix] = limits
            if len(self._limits) > MOST:
                del self._limits[next(iter(self._limits))]

    def forked(self) -> None:
        """In a child that was forked: the lock may be another's for ever."""
        self._lock = threading.Lock()
