"""Warming: rows come under tokens that were taken before they were read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from database import Database
from redis_apikey import ApiKeys, AsyncApiKeys, CommandRefused, Fields, RedisUnavailable, Refused, Valid, Warmed
from servers import Cluster, Server


@pytest.fixture
def db() -> Database:
    return Database()


@pytest.fixture(params=["single", "cluster"])
def urls(request: pytest.FixtureRequest) -> Any:
    """Of one server, and of a cluster, as a client takes them."""
    if request.param == "single":
        return request.getfixturevalue("server").url
    cluster: Cluster = request.getfixturevalue("cluster")
    for node in cluster.nodes:
        node.client().flushall()
    return [cluster.nodes[0].url]


def test_what_was_warmed_needs_no_database(new: Callable[..., Any], urls: Any, db: Database) -> None:
    keys, made = new(urls, db.load), [db.add() for _ in range(60)]
    off = db.add(is_active=False)
    assert keys.warm(lambda: list(db.rows.values()), batch=7) == Warmed(stored=61, refused=0, bad=0)
    for key in made:
        assert keys.verify(key.presented).source == "cache"
    assert keys.verify(off.presented) == Refused("DISABLED")
    assert db.reads == 0


def test_what_is_revoked_before_its_row_comes_is_not_stored(new: Callable[..., Any], urls: Any, db: Database) -> None:
    keys, made = new(urls, db.load), [db.add() for _ in range(60)]
    revoked = made[::2]
    read = list(map(dict, db.rows.values()))

    def rows() -> Iterator[Any]:
        # They were read, and are on their way.
        with ApiKeys(urls) as writer:
            for key in revoked:
                writer.changed(id=db.revoke(key), prefix=key.prefix, user=42)
        yield from read

    warmed = keys.warm(rows, batch=10)
    for key in revoked:
        assert keys.verify(key.presented) == Refused("DISABLED")
    assert db.reads == 30
    # Names may share a slot of the server's fence: then one more is refused.
    assert warmed.refused >= 30
    assert warmed == Warmed(stored=60 - warmed.refused, refused=warmed.refused, bad=0)
    assert all(isinstance(keys.verify(key.presented), Valid) for key in made[1::2])


def test_what_is_revoked_while_others_are_stored_is_not_stored(
    new: Callable[..., Any], urls: Any, db: Database
) -> None:
    keys, made = new(urls, db.load), [db.add() for _ in range(20)]
    read = list(map(dict, db.rows.values()))

    def rows() -> Iterator[Any]:
        yield from read[:10]
        with ApiKeys(urls) as writer:
            # One that was stored, by its key alone, and one that was not.
            writer.changed(prefix=made[0].prefix)
            writer.changed(id=db.revoke(made[15]))
            db.revoke(made[0])
        yield from read[10:]

    warmed = keys.warm(rows, batch=5)
    assert keys.verify(made[0].presented) == Refused("DISABLED")
    assert keys.verify(made[15].presented) == Refused("DISABLED")
    assert warmed.refused >= 1
    assert warmed == Warmed(stored=20 - warmed.refused, refused=warmed.refused, bad=0)
    assert keys.verify(made[1].presented).source == "cache"


def test_rows_that_are_bad_are_told_and_stop_nothing(
    new: Callable[..., Any], urls: Any, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[Any, Exception]] = []
    good = db.add()
    rows = [
        {"id": "k-1", "key_prefix": "ak_1"},
        {"id": "k-2", "is_active": True},
        {"id": "k-3", "is_active": True, "key_prefix": 7},
        {"id": "k-4", "is_active": True, "key_prefix": ""},
        {"id": "k-5", "is_active": True, "key_prefix": "ak_5", "tag": "half \ud800"},
        # Good for the library; the server has a bound.
        {"id": "k-6", "is_active": True, "key_prefix": "ak_6", "created_at": "x" * 20_000},
        {"id": "k-7", "is_active": True, "key_prefix": "ak_7"},
        {"id": "k-8", "is_active": True, "key_prefix": "ak_8", "tag": 8},
        "k-9",
        next(iter(db.rows.values())),
    ]

    def tags(row: Any) -> list[str]:
        return [f"of:{row['tag']}"] if row.get("tag") != 8 else row["no such"]

    def on_bad(row: Any, error: Exception) -> None:
        told.append((row, error))
        raise LookupError("of the callback")

    keys = new(urls, db.load, tags=lambda row: tags(row) if "tag" in row else [])
    with ApiKeys(urls) as other:
        other.commands.usage_incr("apikey:{ak_7}")
    assert keys.warm(lambda: rows, on_bad=on_bad) == Warmed(stored=1, refused=0, bad=9)
    assert sorted(row["id"] if isinstance(row, dict) else row for row, _ in told) == [f"k-{n}" for n in range(1, 10)]
    texts = {row["id"]: str(error) for row, error in told if isinstance(row, dict)}
    assert texts["k-1"] == "is_active is missing"
    assert texts["k-2"].startswith("key_prefix is missing: say by prefix=")
    assert texts["k-3"] == texts["k-4"] == "the public prefix must be a string of 1 to 256 bytes"
    assert "can't be sent" in texts["k-5"]
    assert texts["k-6"].startswith("BADRECORD ")
    assert texts["k-7"].startswith("WRONGTYPE ")
    assert keys.verify(good.presented).source == "cache"
    caplog.clear()
    assert keys.warm(lambda: rows[:1] * 30) == Warmed(stored=0, refused=0, bad=30)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == ["a row of the warm-up is bad: is_active is missing"] * 10 + ["30 rows of the warm-up were bad"]


def test_names_of_the_table_and_a_prefix_that_is_made(new: Callable[..., Any], urls: Any, db: Database) -> None:
    key = db.add()
    row = next(iter(db.rows.values()))
    given = {
        "id": "k-1",
        "user_id": 42,
        "prefix": key.prefix,
        "number": key.prefix.removeprefix("ak_test_"),
        "enabled": "t",
        "digest": [{"digest": row["key_hash"], "until": "2999-01-01T00:00:00Z"}, None],
    }
    fields = Fields(digest="digest", names={"is_active": "enabled", "key_prefix": "prefix"})
    for options in ({}, {"prefix": "prefix"}, {"prefix": lambda row: f"ak_test_{row['number']}"}):
        keys = new(urls, lambda _: None, fields=fields, ns="acme:", tags=lambda _: ["mine"])
        assert keys.warm(lambda: [given], ttl=7.5, **options) == Warmed(1, 0, 0)
        found = keys.verify(key.presented)
        assert (found.source, found.record["key_prefix"]) == ("cache", key.prefix)
        name = f"acme:apikey:{{{key.prefix}}}"
        assert 0 < keys.commands.describe(name)["ttl"] <= 7500
        assert keys.commands.tags(name)[-1] == "mine"
        keys.changed(prefix=key.prefix)


def test_rows_are_asked_for_once_there_are_tokens(new: Callable[..., Any], own: Callable[..., Server]) -> None:
    asked: list[bool] = []
    for url in ("redis://127.0.0.1:1", ["redis://127.0.0.1:1"]):
        with pytest.raises(RedisUnavailable):
            new(url, change_timeout=0.2).warm(lambda: asked.append(True))
    server = own()
    server.client().execute_command("ACL", "SETUSER", "reader", "on", ">x", "~*", "+@all", "-apikey.token")
    with pytest.raises(CommandRefused, match="NOPERM"):
        new(server.url.replace("//", "//reader:x@")).warm(lambda: asked.append(True))
    with pytest.raises(RedisUnavailable, match=r"apikey\.enabled"):
        new(own(settings=["enabled", "no"]).url).warm(lambda: asked.append(True))
    with pytest.raises(TypeError, match="must be a function"):
        new(server.url).warm([])
    for wrong in ({"batch": 0}, {"batch": 10_001}, {"ttl": 0}):
        with pytest.raises(ValueError, match="must be"):
            new(server.url).warm(lambda: asked.append(True), **wrong)
    assert asked == []
    with pytest.raises(TypeError, match="iterable, not int"):
        new(server.url).warm(lambda: 7)


def test_a_server_that_is_lost_meanwhile_ends_it(
    new: Callable[..., Any], own: Callable[..., Server], db: Database
) -> None:
    server, closed = own(), []
    for _ in range(4):
        db.add()

    def rows() -> Iterator[Any]:
        try:
            for number, row in enumerate(db.rows.values()):
                if number == 2:
                    server.kill()
                yield row
        finally:
            closed.append(True)

    keys = new(server.url, db.load)
    with pytest.raises(RedisUnavailable):
        keys.warm(rows, batch=1)
    assert closed == [True]
    server.start()
    # What no row is stored for is no matter of one row.
    server.client().config_set("maxmemory", "1")
    with pytest.raises(CommandRefused) as raised:
        keys.warm(db.rows.values)
    assert raised.value.code == "OOM"


def test_a_row_that_comes_later_than_its_token_is_good_for_is_refused(
    new: Callable[..., Any], own: Callable[..., Server], db: Database
) -> None:
    server = own(settings=["token-ttl-ms", "1"])
    db.add()

    def rows() -> list[Any]:
        began = server.client().time()
        while server.client().time() == began:
            pass
        deadline = time.monotonic() + 0.05
        while time.monotonic() < deadline:
            pass
        return list(db.rows.values())

    assert new(server.url).warm(rows) == Warmed(stored=0, refused=1, bad=0)


def test_rows_of_asyncio(urls: Any, db: Database) -> None:
    keys_made = [db.add() for _ in range(25)]
    ended: list[str] = []

    async def rows() -> AsyncIterator[Any]:
        try:
            for row in list(db.rows.values()):
                await asyncio.sleep(0)
                yield row
        finally:
            await asyncio.sleep(0)
            ended.append("rows")

    async def fetched() -> list[Any]:
        return list(db.rows.values())

    async def failing() -> AsyncIterator[Any]:
        async with contextlib.aclosing(rows()) as source:
            async for row in source:
                yield row
                raise OSError("of the database")

    async def run() -> None:
        async with AsyncApiKeys(urls, db.load, timeout=5.0) as keys:
            assert await keys.warm(rows, batch=10) == Warmed(25, 0, 0)
            assert isinstance(await keys.verify(keys_made[3].presented), Valid)
            assert await keys.warm(fetched, batch=10) == Warmed(25, 0, 0)
            with pytest.raises(OSError, match="of the database"):
                await keys.warm(failing)
            assert ended == ["rows", "rows"]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(keys.warm(hanging), 0.2)
        assert ended == ["rows", "rows", "hanging"]

    async def hanging() -> AsyncIterator[Any]:
        try:
            await asyncio.Event().wait()
            yield {}
        finally:
            ended.append("hanging")

    asyncio.run(run())
    with ApiKeys(urls) as keys, pytest.raises(TypeError, match="AsyncApiKeys is for"):
        keys.warm(rows)  # type: ignore[arg-type]
    assert db.reads == 0


def test_a_row_whose_slot_has_moved_is_refused(new: Callable[..., Any], cluster: Cluster, db: Database) -> None:
    for node in cluster.nodes:
        node.client().flushall()
    keys, made = new([cluster.nodes[0].url], db.load), [db.add() for _ in range(30)]
    first = ("127.0.0.1", cluster.nodes[0].port)
    servers = keys._protocol.servers
    as_now = servers.as_now

    def before() -> Any:
        # As if the first had owned all slots when tokens were taken.
        now = as_now()
        now._owners = [first] * 16384
        return now

    servers.as_now = before
    warmed = keys.warm(db.rows.values, batch=10)
    names = [keys._protocol.names.record(key.prefix) for key in made]
    stayed = sum(servers.owner(name) == first for name in names)
    assert 0 < stayed < 30
    assert warmed == Warmed(stored=stayed, refused=30 - stayed, bad=0)
    assert all(isinstance(keys.verify(key.presented), Valid) for key in made)
    assert db.reads == 30 - stayed
