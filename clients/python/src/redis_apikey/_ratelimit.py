"""The fields RateLimit-Policy, RateLimit (draft-ietf-httpapi-ratelimit-headers-11) and Retry-After of a response.

Both are lists of RFC 9651. Limits that are only tried out are not shown: a caller can't run into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from redis_apikey._results import LimitState

MOST = 999_999_999_999_999
"""The largest integer of a structured field."""


def rate_limit_fields(limits: Sequence[LimitState] | None) -> dict[str, str]:
    """None where there are no limits. Credits have no policy: they come back by nobody's clock."""
    shown = [state for state in limits or () if not state.shadow]
    policies = [_policy(state, state.limit) for state in shown if state.limit is not None]
    fields = {}
    if policies:
        fields["RateLimit-Policy"] = ", ".join(policies)
    if shown:
        fields["RateLimit"] = ", ".join(map(_service_limit, shown))
    return fields


def _policy(state: LimitState, limit: int) -> str:
    window = "" if state.window is None else f";w={state.window}"
    return f'"{state.name}";q={min(limit, MOST)}{window}'


def _service_limit(state: LimitState) -> str:
    # While it denies: until it does not, so that Retry-After is no earlier than that.
    after = state.retry_after or state.reset_after
    window = "" if after is None else f";t={ceil(after)}"
    return f'"{state.name}";r={min(state.remaining, MOST)}{window}'


def retry_after_field(seconds: float | None) -> dict[str, str]:
    """Whole seconds, and never less than there are to wait; none where waiting is of no use."""
    return {} if seconds is None else {"Retry-After": str(max(ceil(seconds), 1))}
