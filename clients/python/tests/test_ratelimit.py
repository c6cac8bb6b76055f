"""The fields of a response that say how limits stand."""

from __future__ import annotations

from typing import Any

import pytest

from redis_apikey import LimitState
from redis_apikey._limits import read_limits
from redis_apikey._ratelimit import rate_limit_fields, retry_after_field


def state(**fields: Any) -> LimitState:
    return LimitState(**{"name": "a", "limit": 10, "remaining": 7, "reset_after": 0.3, "retry_after": 0.0, **fields})


def test_where_nothing_is_limited_nothing_is_said() -> None:
    assert rate_limit_fields(None) == {}
    assert rate_limit_fields(()) == {}
    assert rate_limit_fields([state(shadow=True)]) == {}


def test_each_limit_is_an_item_of_both() -> None:
    assert rate_limit_fields([state(window=1), state(name="b", retry_after=1.2, reset_after=9.0)]) == {
        "RateLimit-Policy": '"a";q=10;w=1, "b";q=10',
        "RateLimit": '"a";r=7;t=1, "b";r=7;t=2',
    }


def test_what_does_not_come_by_itself_has_no_time() -> None:
    balance = state(limit=None, reset_after=None, retry_after=None)
    assert rate_limit_fields([balance]) == {"RateLimit": '"a";r=7'}


def test_no_integer_is_larger_than_a_field_takes() -> None:
    assert rate_limit_fields([state(limit=10**15, remaining=10**15)]) == {
        "RateLimit-Policy": '"a";q=999999999999999',
        "RateLimit": '"a";r=999999999999999;t=1',
    }


@pytest.mark.parametrize(("seconds", "said"), [(0.001, "1"), (1.0, "1"), (1.001, "2"), (3600.0, "3600"), (0.0, "1")])
def test_who_waits_as_long_as_told_is_not_too_early(seconds: float, said: str) -> None:
    assert retry_after_field(seconds) == {"Retry-After": said}


def test_who_waits_in_vain_is_not_told_to() -> None:
    assert retry_after_field(None) == {}


@pytest.mark.parametrize(
    ("limit", "window"),
    [
        ({"units": 10, "per": 1000}, 1),
        ({"units": 10, "per": 1000, "burst": 25}, 3),
        ({"units": 1, "per": 1}, 1),
        ({"units": 3, "per": 60_000}, 60),
        ({"quota": 1, "period": "hour"}, 3600),
        ({"quota": 1, "period": "day"}, 86_400),
        ({"quota": 1, "period": "Week"}, 604_800),
        ({"quota": 1, "period": "month"}, 2_678_400),
        ({"quota": 1, "period": "year"}, 31_622_400),
        ({"credits": True}, None),
    ],
)
def test_a_window_is_in_whole_seconds(limit: dict[str, object], window: int | None) -> None:
    assert read_limits([{"name": "a", **limit}])[0].window == window
