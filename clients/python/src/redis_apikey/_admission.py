"""What a call wants of ADMIT beside a verdict, and what its reply says of limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from redis_apikey._effects import Argument
from redis_apikey._errors import BadRecord
from redis_apikey._limits import MAX_COUNTERS, Limit, read_limits
from redis_apikey._replies import text
from redis_apikey._results import CacheStatus, Limited, LimitState

MAX_COST = 1_000_000_000
MAX_ID_BYTES = 64

REFUSALS = ("RATE_LIMITED", "USAGE_EXCEEDED")


@dataclass(frozen=True, slots=True)
class Admission:
    """`cost`: None is 1. `counters`: those beside the key's own."""

    cost: int | None = None
    request_id: str | None = None
    limits: tuple[Limit, ...] = ()
    counters: tuple[str, ...] = ()

    @property
    def is_wanted(self) -> bool:
        """Whether the caller wants it whatever the key's record says."""
        return self is not NOTHING

    def options(self) -> tuple[Argument, ...]:
        options: list[Argument] = []
        if self.cost is not None:
            options += ("COST", self.cost)
        options += id_option(self.request_id)
        for limit in self.limits:
            options += limit.option()
        return tuple(options)


NOTHING = Admission()
"""Whatever is equal to it is it, once it was read (`read_admission`): to compare each field took half a microsecond."""


def read_admission(cost: object, request_id: object, limits: object, counters: object) -> Admission:
    """Of a call's arguments. Raises ValueError, TypeError."""
    if cost is None and request_id is None and limits == () and counters == ():
        return NOTHING
    if cost is not None:
        check_cost(cost)
    if request_id is not None:
        check_id(request_id)
    if isinstance(limits, (str, bytes, Mapping)) or not isinstance(limits, Iterable):
        raise TypeError("limits must be several limits")
    try:
        own = read_limits(tuple(limits))
    except BadRecord as error:
        raise ValueError(str(error)) from None
    others = read_counters(counters)
    if any(limit.counter > len(others) + 1 for limit in own):
        raise ValueError("limits must be of the key's own counter (1) or of one of counters (2 and on)")
    admission = Admission(cast("int | None", cost), cast("str | None", request_id), own, others)
    return NOTHING if admission == NOTHING else admission


def read_counters(counters: object) -> tuple[str, ...]:
    """Those beside the key's own. Raises ValueError, TypeError."""
    if isinstance(counters, (str, bytes, Mapping)) or not isinstance(counters, Iterable):
        raise TypeError("counters must be several names of counters")
    others = tuple(counters)
    if not all(isinstance(counter, str) and counter for counter in others):
        raise TypeError("counters must be texts, and not empty")
    if len(others) >= MAX_COUNTERS or len(set(others)) != len(others):
        raise ValueError(f"counters must be at most {MAX_COUNTERS - 1}, each named once")
    return others


def check_cost(cost: object) -> None:
    """Raises TypeError, ValueError."""
    if type(cost) is not int:
        raise TypeError(f"cost must be a whole number, not {type(cost).__name__}")
    if not 0 <= cost <= MAX_COST:
        raise ValueError(f"cost must be between 0 and {MAX_COST}")


def check_id(request_id: object) -> None:
    """Raises TypeError, ValueError."""
    if not isinstance(request_id, str):
        raise TypeError(f"request_id must be a text, not {type(request_id).__name__}")
    if not 1 <= len(request_id.encode(errors="replace")) <= MAX_ID_BYTES:
        raise ValueError(f"request_id must have 1 to {MAX_ID_BYTES} bytes")


def id_option(request_id: str | None) -> tuple[Argument, ...]:
    return () if request_id is None else ("ID", request_id)


def seconds(milliseconds: object) -> float | None:
    """None where it does not come by itself."""
    number = cast(int, milliseconds)
    return None if number < 0 else number / 1000


def states(reply: object, known: Sequence[Limit] = ()) -> tuple[LimitState, ...]:
    """Of the limits of ADMIT's reply; `known` are those that the record and the call have."""
    by_name = {limit.name: limit for limit in known}
    found = []
    for name, limit, remaining, reset, retry in cast("list[tuple[bytes, int, int, int, int]]", reply):
        said = text(name)
        own = by_name.get(said)
        found.append(
            LimitState(
                said,
                None if limit < 0 else limit,
                remaining,
                seconds(reset),
                seconds(retry),
                own.kind if own else None,
                own.window if own else None,
                own.shadow if own else False,
            )
        )
    return tuple(found)


def limited(reply: Sequence[object], known: Sequence[Limit], status: CacheStatus) -> Limited:
    """Of ADMIT's refusal by a limit."""
    code = cast(Literal["RATE_LIMITED", "USAGE_EXCEEDED"], text(reply[0]))
    return Limited(code, text(reply[1]), seconds(reply[2]), states(reply[3], known), status)
