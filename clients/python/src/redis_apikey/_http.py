"""What a result is in HTTP. For frameworks, which differ in how they say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from redis_apikey._addresses import read_address
from redis_apikey._ratelimit import rate_limit_fields, retry_after_field
from redis_apikey._results import Limited, Refused, Result, Valid

CACHE_STATUS = "X-Cache-Status"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status, what is told to the client, and headers."""

    status: int
    detail: str
    headers: Mapping[str, str]


NO_KEY = Refusal(401, "an API key is required", {"WWW-Authenticate": "Bearer"})
CANT_JUDGE = Refusal(503, "API keys can't be verified now", {"Retry-After": "1", CACHE_STATUS: "BYPASS"})


def key_in(authorization: str | None, x_api_key: str | None) -> str | None:
    """The key that a request presents: `Authorization: Bearer ..`, or `X-API-Key`."""
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return x_api_key or None


def known_address(text: str | None) -> str | None:
    """None for what is no address, such as the path of a socket: a key with `allowed_ips` may not be used from it."""
    if text is None:
        return None
    try:
        read_address(text)
    except ValueError:
        return None
    return text


def headers_of(result: Result) -> dict[str, str]:
    """Of whatever response there will be."""
    of_limits = rate_limit_fields(result.limits) if isinstance(result, (Valid, Limited)) else {}
    return {CACHE_STATUS: result.cache_status, **of_limits}


def refusal_of(result: Result) -> Refusal | None:
    """None for a key that is good. Who has not the secret is told nothing of the key."""
    if isinstance(result, Valid):
        return None
    headers = headers_of(result)
    if isinstance(result, Refused):
        if result.code == "FORBIDDEN":
            return Refusal(403, f"the API key does not have the scope {result.scope}", headers)
        if result.code == "FORBIDDEN_IP":
            return Refusal(403, "the API key may not be used from here", headers)
        return Refusal(401, "the API key is not valid", {"WWW-Authenticate": "Bearer", **headers})
    if isinstance(result, Limited):
        detail = f"the limit {result.limit} of the API key is reached"
        return Refusal(429, detail, {**headers, **retry_after_field(result.retry_after)})
    return CANT_JUDGE


def health_status(health: Mapping[str, object]) -> int:
    """Of `/health/cache`: 503 where the cache is of no use, though keys are verified all the same."""
    return 200 if health["status"] in ("healthy", "degraded") else 503
