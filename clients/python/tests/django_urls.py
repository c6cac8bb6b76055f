"""Views of the Django application that is tested."""

from __future__ import annotations

from typing import Any

from django.http import JsonResponse
from django.urls import path

from redis_apikey.django import ApiKeyMiddleware, health_cache, require_scopes


@require_scopes("orders:read")
def orders(request: Any) -> JsonResponse:
    return JsonResponse({"id": request.api_key.record["id"]})


@require_scopes(cost=3)
def report(request: Any) -> JsonResponse:
    return JsonResponse({"id": request.api_key.record["id"]})


class Middleware(ApiKeyMiddleware):
    def request_id(self, request: Any) -> str | None:
        return request.headers.get("X-Trusted-Id")


urlpatterns = [path("orders", orders), path("report", report), path("health/cache", health_cache)]
