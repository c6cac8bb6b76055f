"""The verdict: what VALIDATE says of a live record (`engine/src/record/verdict.rs`), in the same order, so that who
presents a wrong secret learns nothing of the key's state.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from redis_apikey._addresses import cover
from redis_apikey._records import Accepted, Judged
from redis_apikey._scopes import grant


@dataclass(frozen=True, slots=True)
class Verdict:
    """A code of VALIDATE's; the scope that does not hold; when VALID ends by itself, in epoch milliseconds."""

    code: str
    scope: str | None = None
    ends_at: int | None = None


def judge(
    row: Judged | None, presented: Sequence[bytes], scopes: Sequence[str], address: int | None, now: int
) -> Verdict:
    """Judges a row at `now` (epoch milliseconds).

    `presented` are the digests of what was presented, one for each pepper, and one of them has to be the row's.
    """
    if row is None:
        return Verdict("ABSENT")
    ends: list[int] = []
    if row.digests:
        match = _match(row.digests, presented)
        if match is None or (match[1] is not None and now >= match[1]):
            return Verdict("MISMATCH")
        if match[1] is not None:
            ends.append(match[1])
    if not row.is_active:
        return Verdict("DISABLED")
    if row.expires_at is not None:
        if now >= row.expires_at:
            return Verdict("EXPIRED")
        ends.append(row.expires_at)
    if row.allowed_ips is not None and (address is None or not cover(row.allowed_ips, address)):
        return Verdict("FORBIDDEN_IP")
    for scope in scopes:
        if not grant(row.scopes, scope):
            return Verdict("FORBIDDEN", scope)
    return Verdict("VALID" if row.digests else "UNVERIFIED", ends_at=min(ends, default=None))


def _match(stored: Sequence[Accepted], presented: Sequence[bytes]) -> Accepted | None:
    """The stored digest that is one of those presented, the one with the latest end; all are compared."""
    found: Accepted | None = None
    for digest in presented:
        for accepted in stored:
            if hmac.compare_digest(accepted[0], digest) and (
                found is None or accepted[1] is None or (found[1] is not None and accepted[1] > found[1])
            ):
                found = accepted
    return found
