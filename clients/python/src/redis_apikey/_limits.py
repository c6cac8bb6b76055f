"""What a limit is, as a record's field `limits` has it: `engine/src/record/limits.rs`. A call gives its own in the same
form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from redis_apikey._effects import Argument
from redis_apikey._errors import BadRecord
from redis_apikey._results import LimitKind

MAX_LIMITS = 16
MAX_COUNTERS = 16
MAX_UNITS = 10**15
MAX_PER_MS = 31_622_400_000
MAX_UNIT_COST = 1_000_000
MOST_OFFSET = 1440
_MAX_INTEGER = 2**63 - 1

PERIODS = {"hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 31 * 86_400, "year": 366 * 86_400}
"""Seconds that each takes at most."""

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_NUMBERS = frozenset(("units", "per", "burst", "quota", "day", "offset", "cost", "counter"))
_TEXTS = frozenset(("name", "period"))
_FLAGS = frozenset(("credits", "shadow"))


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit. `per` is in milliseconds."""

    name: str
    kind: LimitKind
    units: int = 0
    per: int = 0
    burst: int = 0
    period: str = ""
    day: int | None = None
    offset: int | None = None
    cost: int = 1
    counter: int = 1
    shadow: bool = False

    @property
    def window(self) -> int | None:
        """Whole seconds: of a rate until a whole burst is there again, of a quota the longest that its period has."""
        if self.kind == "rate":
            return max(-(-self.burst * self.per // (self.units * 1000)), 1)
        return PERIODS[self.period] if self.kind == "quota" else None

    def option(self) -> tuple[Argument, ...]:
        """As ADMIT takes it."""
        rule: tuple[Argument, ...] = ("CREDITS",)
        if self.kind == "rate":
            rule = ("RATE", self.units, self.per, "BURST", self.burst)
        elif self.kind == "quota":
            day = () if self.day is None else ("DAY", self.day)
            offset = () if self.offset is None else ("OFFSET", self.offset)
            rule = ("QUOTA", self.units, self.period.upper(), *day, *offset)
        shadow = ("SHADOW",) if self.shadow else ()
        return ("LIMIT", self.counter, self.name, *rule, "WEIGHT", self.cost, *shadow)


def read_limits(value: object) -> tuple[Limit, ...]:
    """Of a record's `limits`. Raises BadRecord."""
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise BadRecord("limits must be null or an array of objects")
    if len(value) > MAX_LIMITS:
        raise BadRecord(f"limits must have at most {MAX_LIMITS} elements")
    limits: dict[str, Limit] = {}
    for number, fields in enumerate(value, 1):
        try:
            limit = _read_limit(fields)
            if limit.name in limits:
                raise ValueError("must have a name of its own")
        except ValueError as error:
            raise BadRecord(f"limits: limit {number} {error}") from None
        limits[limit.name] = limit
    return tuple(limits.values())


def _read_limit(value: object) -> Limit:
    if not isinstance(value, Mapping):
        raise ValueError("must be an object")
    numbers, texts, flags = _typed(value)
    is_rate = not numbers.keys().isdisjoint(("units", "per", "burst"))
    is_quota = not numbers.keys().isdisjoint(("quota", "day", "offset")) or "period" in texts
    kinds = (is_rate, is_quota, flags.get("credits"))
    if kinds not in ((True, False, None), (False, True, None), (False, False, True)):
        raise ValueError("must be one of a rate (units, per), a quota (quota, period) or credits (true)")
    rule: Limit
    if is_rate:
        rule = _read_rate(numbers)
    elif is_quota:
        rule = _read_quota(numbers, texts)
    else:
        rule = Limit("", "credits")
    if "name" not in texts:
        raise ValueError("must have a name")
    name = texts["name"]
    if not _NAME.fullmatch(name):
        raise ValueError("name must be 1 to 64 letters, digits or any of _ - . :")
    return Limit(
        name,
        rule.kind,
        rule.units,
        rule.per,
        rule.burst,
        rule.period,
        rule.day,
        rule.offset,
        _within("cost", numbers.get("cost", 1), 0, MAX_UNIT_COST),
        _within("counter", numbers.get("counter", 1), 1, MAX_COUNTERS),
        flags.get("shadow", False),
    )


def _typed(fields: Mapping[object, object]) -> tuple[dict[str, int], dict[str, str], dict[str, bool]]:
    numbers: dict[str, int] = {}
    texts: dict[str, str] = {}
    flags: dict[str, bool] = {}
    for place, (name, value) in enumerate(fields.items(), start=1):
        if value is None:
            continue
        if name in _NUMBERS:
            if type(value) is not int or not -_MAX_INTEGER <= value <= _MAX_INTEGER:
                raise ValueError(f"{name} must be a whole number")
            numbers[str(name)] = value
        elif name in _TEXTS:
            if not isinstance(value, str):
                raise ValueError(f"{name} must be a string")
            texts[str(name)] = value
        elif name in _FLAGS:
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be true or false")
            flags[str(name)] = value
        else:
            # Not its name: what stands in a record is not quoted.
            raise ValueError(f"has a field that no limit has (number {place})")
    return numbers, texts, flags


def _read_rate(numbers: Mapping[str, int]) -> Limit:
    for name in ("units", "per"):
        if name not in numbers:
            raise ValueError(f"is a rate, and must have {name}")
    units = _within("units", numbers["units"], 1, MAX_UNITS)
    per = _within("per", numbers["per"], 1, MAX_PER_MS)
    burst = _within("burst", numbers.get("burst", units), 1, MAX_UNITS)
    if burst * per > _MAX_INTEGER:
        raise ValueError(f"burst must be at most {_MAX_INTEGER // per} with this per")
    return Limit("", "rate", units, per, burst)


def _read_quota(numbers: Mapping[str, int], texts: Mapping[str, str]) -> Limit:
    for name, said in (("quota", numbers), ("period", texts)):
        if name not in said:
            raise ValueError(f"is a quota, and must have {name}")
    period, day, offset = texts["period"].lower(), numbers.get("day"), numbers.get("offset")
    if period not in PERIODS or not texts["period"].isascii():
        raise ValueError(f"period must be one of {', '.join(PERIODS)}")
    if day is not None and period != "month":
        raise ValueError("day is for a period of months alone")
    units = _within("quota", numbers["quota"], 0, MAX_UNITS)
    if offset is not None:
        _within("offset", offset, -MOST_OFFSET, MOST_OFFSET)
    if day is not None:
        _within("day", day, 1, 31)
    return Limit("", "quota", units, period=period, day=day, offset=offset)


def _within(name: str, number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise ValueError(f"{name} must be between {least} and {most}")
    return number
