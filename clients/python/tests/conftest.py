from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import redis_apikey
from servers import Cluster, Server


@pytest.fixture(scope="session")
def shared() -> Iterator[Server]:
    server = Server(settings=["invalidation-channel", "apikey-invalidations"])
    yield server
    server.stop()


@pytest.fixture
def server(shared: Server) -> Server:
    """Empty."""
    shared.client().flushall()
    return shared


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture
def own() -> Iterator[Callable[..., Server]]:
    """Starts servers of a test's own."""
    servers: list[Server] = []

    def start(*config: str, **arguments: Any) -> Server:
        servers.append(Server(*config, **arguments))
        return servers[-1]

    yield start
    for one in servers:
        one.stop()


class Blocking:
    """Calls what is for asyncio as one calls what is for threads, so that a test says what holds for both once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: Any) -> None:
        self._loop = loop
        self._target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name in ("usage", "commands"):
            return Blocking(self._loop, found)
        if inspect.isasyncgenfunction(found):
            return lambda *arguments, **options: self._iterate(found(*arguments, **options))
        if name in ("region", "worker"):
            return lambda *arguments, **options: Blocking(self._loop, found(*arguments, **options))
        if not inspect.iscoroutinefunction(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            return self._loop.run_until_complete(found(*arguments, **options))

        return call

    def _iterate(self, generator: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._loop.run_until_complete(anext(generator))
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run_until_complete(generator.aclose())

    def close(self) -> None:
        self._loop.run_until_complete(self._target.aclose())


@pytest.fixture(params=["threads", "asyncio"])
def new(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes a client of each kind."""
    yield from clients(request.param, redis_apikey.ApiKeys, redis_apikey.AsyncApiKeys)


@pytest.fixture(params=["threads", "asyncio"])
def new_cache(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes a cache of each kind."""
    yield from clients(request.param, redis_apikey.Cache, redis_apikey.AsyncCache)


def clients(kind: str, of_threads: Any, of_asyncio: Any) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []
    loop = asyncio.new_event_loop()

    def make(*arguments: Any, **options: Any) -> Any:
        # What a loaded machine takes is not what is tested.
        options.setdefault("timeout", 2.0)
        if kind == "threads":
            made.append(of_threads(*arguments, **options))
        else:

            async def build() -> Any:
                return of_asyncio(*arguments, **options)

            made.append(Blocking(loop, loop.run_until_complete(build())))
        return made[-1]

    yield make
    for client in made:
        client.close()
    loop.close()
