"""The frameworks: a real application of each, asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from database import Database
from redis_apikey import L1, ApiKeys, AsyncApiKeys, Valid
from servers import Server, eventually, free_port

Ask = Callable[..., "tuple[int, Any, Any]"]


def asking(port: int) -> Ask:
    def ask(
        path: str, key: str | None = None, header: str = "Authorization", trusted: str | None = None
    ) -> tuple[int, Any, Any]:
        headers = {} if key is None else {header: f"Bearer {key}" if header == "Authorization" else key}
        if trusted is not None:
            headers["X-Trusted-Id"] = trusted
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, json.load(response), response.headers
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), error.headers

    return ask


def options_of(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Those of the test, if it has some."""
    mark = request.node.get_closest_marker("options")
    return {"timeout": 2.0, "breaker_pause": 0.1, **(mark.kwargs if mark else {})}


@pytest.fixture
def fastapi(own: Callable[..., Server], request: pytest.FixtureRequest) -> Iterator[tuple[Ask, Server, Database]]:
    pytest.importorskip("fastapi")
    uvicorn = pytest.importorskip("uvicorn")
    from typing import Annotated

    import fastapi

    from redis_apikey.fastapi import RequireKey, health_router

    server, db = own(), Database()
    keys = AsyncApiKeys(server.url, db.load, **options_of(request))
    require = RequireKey(keys)
    app = fastapi.FastAPI()
    app.include_router(health_router(keys))

    async def orders(key: Any) -> Any:
        return {"id": key.record["id"]}

    orders.__annotations__["key"] = Annotated[Valid, fastapi.Depends(require("orders:read"))]
    app.get("/orders")(orders)

    async def report(key: Any) -> Any:
        return {"id": key.record["id"]}

    costly = require(cost=3, request_id=lambda request: request.headers.get("x-trusted-id"))
    report.__annotations__["key"] = Annotated[Valid, fastapi.Depends(costly)]
    app.get("/report")(report)
    port = free_port()
    web = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=web.run)
    thread.start()
    eventually(lambda: web.started)
    yield asking(port), server, db
    web.should_exit = True
    thread.join()


@pytest.fixture
def django(own: Callable[..., Server], request: pytest.FixtureRequest) -> Iterator[tuple[Ask, Server, Database]]:
    pytest.importorskip("django")
    from django.conf import settings

    server, db = own(), Database()
    with ApiKeys(server.url, db.load, **options_of(request)) as keys:
        if not settings.configured:
            settings.configure(
                ALLOWED_HOSTS=["*"],
                ROOT_URLCONF="django_urls",
                MIDDLEWARE=["django_urls.Middleware"],
                SECRET_KEY="of a test",
            )
        settings.REDIS_APIKEY = keys
        from django.core.wsgi import get_wsgi_application

        class Quiet(WSGIRequestHandler):
            def log_message(self, *_: Any) -> None: ...

        web = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield asking(web.server_port), server, db
        web.shutdown()
        thread.join()
        web.server_close()


@pytest.mark.parametrize("framework", ["fastapi", "django"])
def test_an_application_over_http(framework: str, request: pytest.FixtureRequest) -> None:
    ask, server, db = request.getfixturevalue(framework)
    key, weak = db.add(), db.add(scopes=[])
    here, far = db.add(allowed_ips=["127.0.0.1"]), db.add(allowed_ips=["10.0.0.0/8"])

    status, body, headers = ask("/orders")
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "required" in body["detail"]
    assert ask("/orders", "no-key")[0] == 401

    for expected in ("MISS", "HIT"):
        status, body, headers = ask("/orders", key.presented)
        assert (status, body, headers["X-Cache-Status"]) == (200, {"id": "k-1"}, expected)
    assert ask("/orders", key.presented, header="X-API-Key")[0] == 200
    assert ask("/orders", here.presented)[0] == 200
    status, body, headers = ask("/orders", weak.presented)
    assert (status, headers["X-Cache-Status"]) == (403, "MISS")
    assert "orders:read" in body["detail"]
    assert ask("/orders", far.presented)[0] == 403
    assert ask("/health/cache")[1]["status"] in ("healthy", "degraded")

    server.kill()
    status, _, headers = ask("/orders", key.presented)
    assert (status, headers["X-Cache-Status"]) == (200, "BYPASS")
    status, body, _ = ask("/health/cache")
    assert (status, body["status"]) == (503, "down")
    db.rows[key.prefix] = None  # type: ignore[assignment]
    assert ask("/orders", key.presented)[0] == 401
    db.rows = {}

    def fail(_: str) -> None:
        raise OSError("away")

    other = db.add()
    db.rows = None  # type: ignore[assignment]
    status, _, headers = ask("/orders", other.presented)
    assert (status, headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("framework", ["fastapi", "django"])
def test_who_reaches_a_limit_is_told_how_long_to_wait(framework: str, request: pytest.FixtureRequest) -> None:
    ask, server, db = request.getfixturevalue(framework)
    minute = {"name": "minute", "units": 2, "per": 7_200_001, "burst": 4}
    tried = {"name": "tried", "units": 1, "per": 1000, "shadow": True}
    month = {"name": "month", "quota": 100, "period": "month"}
    balance = {"name": "credits", "credits": True}
    key, free = db.add(limits=[minute, tried, month, balance]), db.add()
    ApiKeys(server.url, timeout=2.0).credit(key.prefix, "credits", by=5)

    for number in range(2):
        status, _, headers = ask("/orders", key.presented)
        assert status == 200
        # Until a burst of 4 is there again: 14,400.002 s.
        assert headers["RateLimit-Policy"] == '"minute";q=4;w=14401, "month";q=100;w=2678400'
        said = re.fullmatch(
            rf'"minute";r={3 - number};t=(\d+), "month";r={99 - number};t=\d+, "credits";r={4 - number}',
            headers["RateLimit"],
        )
        assert said is not None
        assert 3_590 < int(said[1]) - 3600 * number <= 3_601
        assert headers["Retry-After"] is None
    status, body, headers = ask("/report", key.presented)
    assert (status, headers["X-Cache-Status"]) == (429, "HIT")
    assert "minute" in body["detail"]
    wait = int(headers["Retry-After"])
    assert 3_590 < wait <= 3_601
    assert headers["RateLimit"].startswith(f'"minute";r=2;t={wait}, "month";r=98;t=')
    assert headers["RateLimit-Policy"] == '"minute";q=4;w=14401, "month";q=100;w=2678400'

    # Nobody knows how long it takes until somebody pays.
    ApiKeys(server.url, timeout=2.0).credit(key.prefix, "credits", set=0)
    status, body, headers = ask("/orders", key.presented)
    assert (status, headers["Retry-After"]) == (429, None)
    assert "credits" in body["detail"]

    headers = ask("/orders", free.presented)[2]
    assert (headers["RateLimit"], headers["RateLimit-Policy"]) == (None, None)
    # What costs 3 is counted so, once for a request of this name.
    for _ in range(2):
        assert ask("/report", free.presented, header="X-API-Key", trusted="r-1")[0] == 200
    said = server.client(protocol=3).execute_command("APIKEY.USAGE.GET", f"apikey:{{{free.prefix}}}:usage")
    assert said[b"pending"] == 3


@pytest.mark.options(when_down="stale", l1=L1(max_age=600.0))
@pytest.mark.parametrize("framework", ["fastapi", "django"])
def test_what_is_answered_from_before_is_stale(framework: str, request: pytest.FixtureRequest) -> None:
    ask, server, db = request.getfixturevalue(framework)
    key, unknown = db.add(), db.add()

    def status() -> str:
        return str(ask("/orders", key.presented)[2]["X-Cache-Status"])

    def asked() -> Any:
        return server.client().info("commandstats")["cmdstat_apikey.validate"]["calls"]

    def is_kept() -> bool:
        """Whether Redis is not asked any more."""
        return status() == "HIT" and (before := asked()) > 0 and status() == "HIT" and asked() == before

    eventually(is_kept)
    server.kill()
    eventually(lambda: status() == "STALE")
    code, body, _ = ask("/orders", key.presented)
    assert (code, body) == (200, {"id": "k-1"})
    code, _, headers = ask("/orders", unknown.presented)
    assert (code, headers["X-Cache-Status"]) == (503, "BYPASS")


UNKNOWN = ["unknown", "testclient", "/run/app.sock", "127.0.0.1:8000", ""]


@pytest.mark.parametrize("host", UNKNOWN)
def test_fastapi_takes_what_is_no_address_for_unknown(host: str) -> None:
    fastapi = pytest.importorskip("fastapi")

    from redis_apikey.fastapi import RequireKey

    db = Database()
    key, here = db.add(), db.add(allowed_ips=["127.0.0.1"])

    async def run() -> None:
        async with AsyncApiKeys("redis://127.0.0.1:1", db.load) as keys:
            verified = RequireKey(keys)("orders:read")

            def ask(presented: str) -> Any:
                headers = [(b"x-api-key", presented.encode())]
                request = fastapi.Request({"type": "http", "headers": headers, "client": (host, 1)})
                return verified(request, fastapi.Response())

            assert (await ask(key.presented)).record["id"] == "k-1"
            with pytest.raises(fastapi.HTTPException) as raised:
                await ask(here.presented)
            assert raised.value.status_code == 403

    asyncio.run(run())


def test_django_takes_what_is_no_address_for_unknown(django: tuple[Ask, Server, Database]) -> None:
    from django.test import RequestFactory

    from django_urls import orders
    from redis_apikey.django import ApiKeyMiddleware

    _, _, db = django
    key, here = db.add(), db.add(allowed_ips=["127.0.0.1"])
    middleware = ApiKeyMiddleware(orders)
    for host in UNKNOWN:
        requests = RequestFactory(REMOTE_ADDR=host)
        good, bad = (requests.get("/orders", HTTP_X_API_KEY=one.presented) for one in (key, here))
        assert middleware.process_view(good, orders, (), {}) is None
        refused = middleware.process_view(bad, orders, (), {})
        assert refused is not None
        assert refused.status_code == 403
