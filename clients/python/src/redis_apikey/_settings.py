"""What the two clients have in common to be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, Protocol, TypeAlias

from redis_apikey._keys import parse
from redis_apikey._records import Fields
from redis_apikey._results import Parse, Result, Row

WhenDown: TypeAlias = Literal["load", "stale", "deny"]
LimitsWhenUnavailable: TypeAlias = Literal["allow", "refuse"]


def check_seconds(name: str, seconds: object) -> None:
    """Raises TypeError for what is no number, and ValueError for what is no time."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {type(seconds).__name__}")
    if not (isfinite(seconds) and seconds > 0):
        raise ValueError(f"{name} must be above 0 seconds")


@dataclass(frozen=True, slots=True)
class L1:
    """A cache of VALID answers in this process, which follows what is invalidated. Raises ValueError."""

    max_entries: int = 10_000
    """Answers, at least 1; the oldest goes first."""
    max_age: float = 5.0
    """Seconds, above 0, for which one is given at most."""
    follow: Literal["tracking", "channel"] = "tracking"
    """How it hears of invalidations: `tracking` is CLIENT TRACKING (one more connection to each primary, in RESP3),
    `channel` the server's `apikey.invalidation-channel`."""
    channel: str = "apikey-invalidations"
    """The name of that channel."""

    def __post_init__(self) -> None:
        if self.max_entries < 1:
            raise ValueError("max_entries must be at least 1")
        check_seconds("max_age", self.max_age)
        if self.follow not in ("tracking", "channel"):
            raise ValueError('follow must be "tracking" or "channel"')


class Observer(Protocol):
    """Is told of each verification: `redis_apikey.opentelemetry` has one."""

    def verified(self, result: Result, began: int, ended: int) -> None:
        """`began` and `ended` are nanoseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Outages:
    """How long Redis is waited for, and what is done while it does not answer. Times are in seconds."""

    timeout: float = 0.05
    change_timeout: float = 5.0
    breaker_failures: int = 5
    breaker_pause: float = 0.5
    when_down: WhenDown = "load"
    load_limit: int = 32

    def __post_init__(self) -> None:
        for name in ("timeout", "change_timeout", "breaker_pause"):
            check_seconds(name, getattr(self, name))
        for name in ("breaker_failures", "load_limit"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.when_down not in ("load", "stale", "deny"):
            raise ValueError('when_down must be "load", "stale" or "deny"')


@dataclass(frozen=True, slots=True)
class Settings(Outages):
    """All times are in seconds. `ApiKeys` says what each is."""

    parse: Parse = parse
    peppers: tuple[bytes, ...] = field(default=(), repr=False)
    fields: Fields = field(default_factory=Fields)
    ns: str = ""
    ttl: float | None = None
    absent_ttl: float | None = None
    tags: Callable[[Row], Sequence[str]] | None = None
    l1: L1 | None = None
    observer: Observer | None = None
    limits_when_unavailable: LimitsWhenUnavailable = "allow"

    def __post_init__(self) -> None:
        # Not super(): a class with slots is another one than the one that was written.
        Outages.__post_init__(self)
        for name in ("ttl", "absent_ttl"):
            seconds = getattr(self, name)
            if seconds is not None:
                check_seconds(name, seconds)
        if self.l1 is not None and not isinstance(self.l1, L1):
            raise TypeError(f"l1 must be an L1 or None, not {type(self.l1).__name__}")
        if self.limits_when_unavailable not in ("allow", "refuse"):
            raise ValueError('limits_when_unavailable must be "allow" or "refuse"')
        if self.when_down == "stale" and self.l1 is None:
            raise ValueError('when_down="stale" needs an l1')
