"""FastAPI: a dependency that verifies the key of a request, and a route for `/health/cache`.

    require = RequireKey(keys)

    @app.get("/orders")
    async def orders(key: Annotated[Valid, Depends(require("orders:read"))]): ...

A key is taken from `Authorization: Bearer ..` or `X-API-Key`. Without one, or with one that is not good, a request gets
401; 403 where the key lacks a scope or may not be used from its address; 429 where one of its limits is reached; 503
where nobody can say. What has limits has the fields RateLimit-Policy and RateLimit, and 429 has Retry-After.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from redis_apikey._aclient import AsyncApiKeys
from redis_apikey._errors import BadRecord
from redis_apikey._http import (
    CANT_JUDGE,
    NO_KEY,
    Refusal,
    headers_of,
    health_status,
    key_in,
    known_address,
    refusal_of,
)
from redis_apikey._results import Valid

__all__ = ["RequireKey", "address_of_peer", "health_router"]

log = logging.getLogger("redis_apikey")


def address_of_peer(request: Request) -> str | None:
    """The address that the connection comes from; behind a proxy that is the proxy's."""
    return request.client.host if request.client else None


class RequireKey:
    """Makes dependencies. `address` says where a request comes from, for keys with `allowed_ips`."""

    def __init__(self, keys: AsyncApiKeys, *, address: Callable[[Request], str | None] = address_of_peer) -> None:
        self._keys = keys
        self._address = address

    def __call__(
        self,
        *scopes: str,
        cost: int | None = None,
        limits: Sequence[Mapping[str, object]] = (),
        request_id: Callable[[Request], str | None] | None = None,
    ) -> Callable[[Request, Response], Awaitable[Valid]]:
        """A dependency that wants all of these scopes; it gives the route the Valid.

        `cost`, `limits`: as in `verify`. `request_id(request)` names the request: not by what a caller chooses.
        """

        async def verified(request: Request, response: Response) -> Valid:
            presented = key_in(request.headers.get("authorization"), request.headers.get("x-api-key"))
            if presented is None:
                raise _refused(NO_KEY)
            address = known_address(self._address(request))
            try:
                result = await self._keys.verify(
                    presented,
                    scopes=scopes,
                    address=address,
                    cost=cost,
                    limits=limits,
                    request_id=request_id(request) if request_id else None,
                )
            except BadRecord:
                log.exception("the row of a key can't be judged")
                raise _refused(CANT_JUDGE) from None
            response.headers.update(headers_of(result))
            if isinstance(result, Valid):
                return result
            raise _refused(refusal_of(result) or CANT_JUDGE)

        return verified


def _refused(refusal: Refusal) -> HTTPException:
    return HTTPException(refusal.status, refusal.detail, dict(refusal.headers))


def health_router(keys: AsyncApiKeys, path: str = "/health/cache") -> APIRouter:
    """A route that says how the cache fares."""
    router = APIRouter()

    @router.get(path)
    async def health_cache() -> JSONResponse:
        health = await keys.health()
        return JSONResponse(health, health_status(health))

    return router
