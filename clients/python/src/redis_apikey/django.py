"""Django: middleware that verifies the key of each request, and a view for `/health/cache`.

    MIDDLEWARE = [.., "redis_apikey.django.ApiKeyMiddleware"]
    REDIS_APIKEY = "shop.keys.keys"          # where the ApiKeys is, or the ApiKeys itself

    @require_scopes("orders:read")
    def orders(request): request.api_key.record ..

    @without_key
    def front_page(request): ..

A key is taken from `Authorization: Bearer ..` or `X-API-Key`. Without one, or with one that is not good, a request gets
401; 403 where the key lacks a scope or may not be used from its address; 429 where one of its limits is reached; 503
where nobody can say. What has limits has the fields RateLimit-Policy and RateLimit, and 429 has Retry-After.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.module_loading import import_string

from redis_apikey._client import ApiKeys
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

__all__ = ["ApiKeyMiddleware", "health_cache", "require_scopes", "without_key"]

log = logging.getLogger("redis_apikey")

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def require_scopes(
    *scopes: str, cost: int | None = None, limits: Sequence[Mapping[str, object]] = ()
) -> Callable[[View], View]:
    """A view that wants all of these scopes. `cost`, `limits`: as in `verify`."""

    def mark(view: View) -> View:
        view.api_key_scopes = scopes  # type: ignore[attr-defined]
        view.api_key_admission = {"cost": cost, "limits": limits}  # type: ignore[attr-defined]
        return view

    return mark


def without_key(view: View) -> View:
    """A view that needs no key."""
    view.api_key_exempt = True  # type: ignore[attr-defined]
    return view


class ApiKeyMiddleware:
    """Verifies before the view is called, which finds the Valid in `request.api_key`.

    An address is that of the connection (`REMOTE_ADDR`); behind a proxy, override `address`.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._keys = _configured()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        result = getattr(request, "api_key", None)
        if result is not None:
            for name, value in headers_of(result).items():
                response.headers[name] = value
        return response

    def address(self, request: HttpRequest) -> str | None:
        """Where a request comes from, IPv4 or IPv6; None where that is not known."""
        address = request.META.get("REMOTE_ADDR")
        return address if isinstance(address, str) and address else None

    def request_id(self, _request: HttpRequest) -> str | None:
        """Your own name of a request, as in `verify`: override it. It must not be what a caller chooses."""
        return None

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], _args: Sequence[Any], _options: Mapping[str, Any]
    ) -> HttpResponse | None:
        """Called by Django; a response ends the request here."""
        if getattr(view, "api_key_exempt", False):
            return None
        presented = key_in(request.headers.get("Authorization"), request.headers.get("X-API-Key"))
        if presented is None:
            return _refused(NO_KEY)
        scopes, address = getattr(view, "api_key_scopes", ()), known_address(self.address(request))
        try:
            result = self._keys.verify(
                presented,
                scopes=scopes,
                address=address,
                request_id=self.request_id(request),
                **getattr(view, "api_key_admission", {}),
            )
        except BadRecord:
            log.exception("the row of a key can't be judged")
            return _refused(CANT_JUDGE)
        refusal = refusal_of(result)
        if refusal is not None:
            return _refused(refusal)
        request.api_key = result  # type: ignore[attr-defined]
        return None


def _configured() -> ApiKeys:
    keys = getattr(settings, "REDIS_APIKEY", None)
    if isinstance(keys, str):
        keys = import_string(keys)
    if not isinstance(keys, ApiKeys):
        raise ImproperlyConfigured("REDIS_APIKEY must be an ApiKeys, or say where one is")
    return keys


def _refused(refusal: Refusal) -> JsonResponse:
    return JsonResponse({"detail": refusal.detail}, status=refusal.status, headers=dict(refusal.headers))


@without_key
def health_cache(_request: HttpRequest) -> HttpResponse:
    """A view that says how the cache fares."""
    health = _configured().health()
    return JsonResponse(health, status=health_status(health))
