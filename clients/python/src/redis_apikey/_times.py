"""When something ends: `expires_at`, and the `until` of a digest. Epoch milliseconds throughout."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Literal, TypeAlias

from redis_apikey._errors import BadRecord

EARLIEST = 631_152_000_000
LATEST = 253_402_300_799_999
ALWAYS_OVER = -(2**63)
"""Of `-infinity`: it has ended, whenever that is asked."""

NaiveTimes: TypeAlias = Literal["refuse", "utc"]

_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d(?::?\d\d)?)?", re.ASCII)
YEAR_1 = -62_135_596_800_000
"""The first millisecond of the years that a time may be of, in UTC as in its zone."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def read_end(name: str, value: object, naive: NaiveTimes) -> int | None:
    """Epoch milliseconds; None for never. Raises BadRecord."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return _of_datetime(name, value, naive)
    if isinstance(value, int) and not isinstance(value, bool):
        return _in_bounds(name, value)
    if isinstance(value, str):
        if _NUMBER.fullmatch(value):
            return _in_bounds(name, int(value) if len(value) < 32 else LATEST + 1)
        if value == "infinity":
            return None
        if value == "-infinity":
            return ALWAYS_OVER
        at = _of_text(name, value, naive)
        if at is not None:
            return at
    raise BadRecord(f'{name} must be null, an RFC 3339 time, "infinity", or epoch milliseconds of 1990 to 9999')


def _in_bounds(name: str, number: int) -> int:
    if EARLIEST <= number <= LATEST:
        return number
    unit = ""
    if EARLIEST <= number * 1000 <= LATEST:
        unit = "; it looks like seconds"
    elif EARLIEST <= number // 1000 <= LATEST:
        unit = "; it looks like microseconds"
    elif EARLIEST <= number // 1_000_000 <= LATEST:
        unit = "; it looks like nanoseconds"
    raise BadRecord(f"{name} must be in milliseconds, of 1990 to 9999{unit}; null is never")


def _of_datetime(name: str, value: datetime, naive: NaiveTimes) -> int:
    if value.tzinfo is None or value.utcoffset() is None:
        if naive != "utc":
            raise _no_zone(name)
        value = value.replace(tzinfo=timezone.utc)
    return (value - _EPOCH) // timedelta(milliseconds=1)


def _no_zone(name: str) -> BadRecord:
    return BadRecord(f'{name} has no zone: give one, or set naive_times to "utc" if all are in UTC')


def _of_text(name: str, text: str, naive: NaiveTimes) -> int | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[n]) for n in range(1, 7))
    if not (1 <= month <= 12 and 1 <= day <= _days_of(year, month)):
        return None
    # 60 is a leap second.
    if hour > 23 or minute > 59 or second > 60:
        return None
    offset = _offset(found[8])
    if offset is None:
        if found[8] is not None:
            return None
        if naive != "utc":
            raise _no_zone(name)
        offset = 0
    ms = int(found[7][:3].ljust(3, "0")) if found[7] else 0
    seconds = _days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
    at = seconds * 1000 + ms
    return at if year > 0 and YEAR_1 <= at <= LATEST else None


def _offset(zone: str | None) -> int | None:
    """Seconds east of UTC."""
    if zone is None:
        return None
    if zone in ("Z", "z"):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        return None
    return (hours * 3600 + minutes * 60) * (-1 if zone[0] == "-" else 1)


def _days_of(year: int, month: int) -> int:
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _MONTH_DAYS[month - 1] + leap


def _days(year: int, month: int, day: int) -> int:
    """Since 1970-01-01, in the proleptic Gregorian calendar: datetime has no year 0."""
    year -= month <= 2
    era, month = year // 400, (month + 9) % 12
    of_era = year - era * 400
    of_year = (153 * month + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
