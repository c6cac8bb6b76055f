"""Views of the Django application that is tested."""

from __future__ import annotations

from typing import Any

from django.http import JsonResponse
from django.urls import path

from redis_apikey.django import health_cache, require_scopes


@require_scopes("orders:read")
def orders(request: Any) -> JsonResponse:
    return JsonResponse({"id": request.api_key.record["id"]})


urlpatterns = [path("orders", orders), path("health/cache", health_cache)]
