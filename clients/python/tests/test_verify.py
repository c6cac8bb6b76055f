"""Verifying: what is answered, by whom, and what is never answered again."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sqlite3
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

import redis_apikey
from database import Database
from redis_apikey import BadRecord, Refused, Unavailable, Valid
from servers import Server


@pytest.fixture
def db() -> Database:
    return Database()


def test_a_miss_is_loaded_and_then_cached(new: Callable[..., Any], server: Server, db: Database) -> None:
    key, keys = db.add(), new(server.url, db.load)
    first = keys.verify(key.presented, scopes=["users:read"])
    second = keys.verify(key.presented, scopes=["orders:refund"])
    assert (first.source, second.source, db.reads) == ("database", "cache", 1)
    assert first.record == second.record
    assert first.record["key_prefix"] == key.prefix
    assert "key_hash" not in first.record


def test_what_is_refused_says_why(new: Callable[..., Any], server: Server, db: Database) -> None:
    keys = new(server.url, db.load)
    key, other = db.add(), db.add(is_active=False)
    over, here = db.add(expires_at="2020-01-01T00:00:00Z"), db.add(allowed_ips=["10.0.0.0/8"])
    none = db.add(key_hash=None)
    wrong = key.prefix + other.presented[len(other.prefix) :]
    wrong = redis_apikey._keys.checksum(wrong[:-6]).join((wrong[:-6], ""))
    absent = redis_apikey._keys.generate("ak_test", ())
    for _ in ("database", "cache"):
        assert keys.verify(key.presented, scopes=["users:read", "users:write"]) == Refused("FORBIDDEN", "users:write")
        assert keys.verify(other.presented) == Refused("DISABLED")
        assert keys.verify(over.presented) == Refused("EXPIRED")
        assert keys.verify(here.presented, address="11.0.0.1") == Refused("FORBIDDEN_IP")
        assert isinstance(keys.verify(here.presented, address="::ffff:10.1.2.3"), Valid)
        assert keys.verify(wrong) == Refused("MISMATCH")
        assert keys.verify(absent.presented) == Refused("ABSENT")
        assert keys.verify(none.presented) == Refused("UNVERIFIED")


def test_what_has_not_the_form_of_a_key_costs_nothing(new: Callable[..., Any], db: Database) -> None:
    keys, key = new("redis://127.0.0.1:1", db.load), db.add()
    for presented in ["", "x", key.presented[:-1], key.presented[:-1] + "?", key.presented.swapcase(), "\ud800"]:
        assert keys.verify(presented) == Refused("MALFORMED")
    assert db.reads == 0


def test_what_is_no_text_has_not_the_form_of_a_key(new: Callable[..., Any], db: Database) -> None:
    for options in ({}, {"l1": redis_apikey.L1()}):
        keys = new("redis://127.0.0.1:1", db.load, **options)
        for presented in [None, b"ak_test_1", 7]:
            assert keys.verify(presented) == Refused("MALFORMED")


def test_scopes_may_be_an_iterator(new: Callable[..., Any], server: Server, db: Database) -> None:
    key = db.add(scopes=[])
    for options in ({}, {"l1": redis_apikey.L1()}):
        keys = new(server.url, db.load, **options)
        assert keys.verify(key.presented, scopes=iter(["users:read"])) == Refused("FORBIDDEN", "users:read")


def test_what_cant_be_sent_is_an_error_of_its_caller(new: Callable[..., Any], server: Server, db: Database) -> None:
    keys, key = new(server.url, db.load, breaker_failures=1, breaker_pause=60.0), db.add()
    for wrong in (
        lambda: keys.decide(key.prefix, "r\ud800", "a", load=lambda *_: True),
        lambda: keys.decide(key.prefix, None, "a", load=lambda *_: True),
        lambda: keys.commands.taginval(None),
    ):
        with pytest.raises(ValueError, match="can't be sent"):
            wrong()
    assert keys.verify(key.presented).cache_status == "MISS"


def test_what_cant_be_sent_is_of_no_account_to_others(server: Server) -> None:
    async def run() -> list[Any]:
        async with redis_apikey.AsyncApiKeys(server.url, timeout=2.0) as keys:
            counts = [keys.usage.count("ak_test_1") for _ in range(3)]
            return await asyncio.gather(*counts, keys.commands.taginval("r\ud800"), return_exceptions=True)

    *counts, error = asyncio.run(run())
    assert sorted(counts) == [1, 2, 3]
    assert isinstance(error, ValueError)


def test_a_pepper_is_bytes_or_text(new: Callable[..., Any], db: Database) -> None:
    for pepper in ("\u00e9", "\u00e9".encode(), bytearray("\u00e9".encode()), ["\u00e9"], ("\u00e9", b"old")):
        keys = new("redis://127.0.0.1:1", db.load, pepper=pepper)
        key = keys.generate("ak_test")
        assert hmac.digest("\u00e9".encode(), key.secret.encode(), "sha256").hex() == key.digest
        db.rows[key.prefix] = {"id": 1, "is_active": True, "key_hash": key.digest}
        assert isinstance(keys.verify(key.presented), Valid)
        assert "\\xa9" not in repr(keys._settings)
        assert "\u00e9" not in repr(keys._settings)


@pytest.mark.parametrize("pepper", ["", b"", bytearray(), [], (), [b"a", b""], [None], 7, "\ud800", {"a": 1}])
def test_what_is_no_pepper_is_not_taken_for_none(new: Callable[..., Any], pepper: Any) -> None:
    with pytest.raises(ValueError, match="pepper must be"):
        new("redis://127.0.0.1:1", pepper=pepper)


def test_what_ended_long_ago_has_ended_for_the_server_too(
    new: Callable[..., Any], server: Server, db: Database
) -> None:
    key = db.add(expires_at=datetime(1980, 1, 1, tzinfo=timezone.utc))
    for url in (server.url, "redis://127.0.0.1:1"):
        assert new(url, db.load).verify(key.presented) == Refused("EXPIRED")


def test_what_is_no_row_is_a_bad_record(new: Callable[..., Any], server: Server, db: Database) -> None:
    key = db.add()
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    for row in (connection.execute("SELECT 'k-1' AS id, 1 AS is_active").fetchone(), ["k-1"], "k-1", True):
        for url in (server.url, "redis://127.0.0.1:1"):
            with pytest.raises(BadRecord, match="must be a mapping"):
                new(url, lambda _, row=row: row).verify(key.presented)
    with pytest.raises(BadRecord, match="must return rows"):
        new(server.url).list(42, load=lambda _: 7)
    connection.close()


def test_an_async_load_is_for_the_other_client(server: Server, db: Database) -> None:
    made: list[Any] = []

    async def fetch(prefix: str) -> Any:
        return db.load(prefix)

    def load(prefix: str) -> Any:
        made.append(fetch(prefix))
        return made[-1]

    with (
        redis_apikey.ApiKeys(server.url, load, timeout=2.0) as keys,
        pytest.raises(BadRecord, match="AsyncApiKeys"),
    ):
        keys.verify(db.add().presented)
    made[0].close()


def test_a_record_without_its_tags_is_judged_and_not_kept(
    new: Callable[..., Any], server: Server, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    key = db.add()
    for tags in (lambda row: [row["team"]], lambda _: 7, lambda _: ["\ud800"], lambda _: [None]):
        caplog.clear()
        keys = new(server.url, db.load, tags=tags)
        for _ in range(2):
            assert keys.verify(key.presented, scopes=["users:read"]).cache_status == "MISS"
        assert keys.verify(key.presented, scopes=["x"]) == Refused("FORBIDDEN", "x")
        assert caplog.records


def test_a_revoked_key_is_refused_once_changed_has_returned(
    new: Callable[..., Any], server: Server, db: Database
) -> None:
    keys, others = new(server.url, db.load), new(server.url, db.load)
    for by in ({"id"}, {"prefix"}, {"user"}, {"id", "prefix", "user"}):
        key = db.add()
        assert isinstance(keys.verify(key.presented), Valid)
        assert others.verify(key.presented).source == "cache"
        names = {"id": db.revoke(key), "prefix": key.prefix, "user": 42}
        keys.changed(**{name: names[name] for name in by})
        assert others.verify(key.presented) == Refused("DISABLED")


@pytest.mark.parametrize("wrong", [1.0, float("inf"), True, b"k-1", "", "x" * 257])
def test_what_is_no_id_is_refused_before_anything_is_told(
    new: Callable[..., Any], server: Server, db: Database, wrong: object
) -> None:
    kept: list[object] = []
    keys = new(server.url, db.load, outbox=kept.append)
    for call in (
        lambda: keys.changed(id=wrong),
        lambda: keys.changed(user=wrong),
        lambda: keys.created("k", wrong),
        lambda: keys.user_deleted(wrong),
        lambda: keys.list(wrong, load=lambda _: []),
    ):
        with pytest.raises((TypeError, ValueError), match=r"^(id|user) must"):
            call()
    assert kept == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefixes": "abc"},
        {"prefixes": {"abc": 1}},
        {"prefixes": None},
        {"prefixes": [1]},
        {"prefixes": [""]},
        {"prefixes": []},
        {"id": 1.5},
        {"id": True},
        {"user": ["u"]},
        {"kind": "other"},
        {"kind": "user_deleted"},
        {"kind": "created", "id": "k-1", "prefixes": []},
    ],
)
def test_a_note_that_is_no_change_is_refused(wrong: dict[str, object]) -> None:
    note = {"kind": "changed", "id": None, "user": None, "prefixes": ["abc"]}
    assert redis_apikey.Change.from_json(json.dumps(note)) == redis_apikey.Change("changed", prefixes=("abc",))
    with pytest.raises(ValueError, match="not a change"):
        redis_apikey.Change.from_json(json.dumps(note | wrong))


def test_prefixes_are_several_texts(new: Callable[..., Any]) -> None:
    keys = new("redis://127.0.0.1:1", outbox=lambda _: pytest.fail("it is no change"))
    with pytest.raises(TypeError, match="prefixes must be"):
        keys.user_deleted(1, "abc")
    with pytest.raises(TypeError, match="prefix must be"):
        keys.changed(prefix=5)
    with pytest.raises(TypeError, match="prefix must be"):
        keys.created(None)


def test_a_uuid_is_taken_as_its_text(new: Callable[..., Any], server: Server, db: Database) -> None:
    id_ = uuid.uuid4()
    key, keys = db.add(id=id_), new(server.url, db.load)
    keys.verify(key.presented)
    assert keys.verify(key.presented).source == "cache"
    keys.changed(id=id_)
    assert keys.verify(key.presented).source == "database"
    change = redis_apikey.Change("changed", id_, id_)
    assert redis_apikey.Change.from_json(change.to_json()) == change


def test_a_fill_that_was_overtaken_is_not_stored(new: Callable[..., Any], server: Server, db: Database) -> None:
    key, writer = db.add(), new(server.url)

    def load(prefix: str) -> Any:
        row = db.load(prefix)
        if db.reads == 1:
            # Read, and only now revoked: this reader may answer by it, and must not store it.
            server.client().execute_command("APIKEY.TAGINVAL", f"apikey:id:{db.revoke(key)}")
        return row

    keys = new(server.url, load)
    assert isinstance(keys.verify(key.presented), Valid)
    assert keys.verify(key.presented) == Refused("DISABLED")
    assert keys.verify(key.presented) == Refused("DISABLED")
    assert db.reads == 2
    writer.created(key.prefix, 42)


def test_errors_of_the_loader_are_not_kept(new: Callable[..., Any], server: Server, db: Database) -> None:
    key, broken = db.add(), [True]

    def load(prefix: str) -> Any:
        if broken[0]:
            raise OSError("the database is away")
        return db.load(prefix)

    keys = new(server.url, load)
    said = keys.verify(key.presented)
    assert isinstance(said, Unavailable)
    assert "the database is away" in said.cause
    broken[0] = False
    assert isinstance(keys.verify(key.presented), Valid)


def test_a_row_that_cant_be_judged_is_an_error(new: Callable[..., Any], server: Server, db: Database) -> None:
    keys = new(server.url, db.load)
    key = db.add(ip_whitelist=["10.0.0.1"])
    with pytest.raises(BadRecord, match="ip_whitelist"):
        keys.verify(key.presented)
    # What only the server finds.
    big = db.add(created_at="x" * 20_000)
    with pytest.raises(BadRecord, match="bytes"):
        keys.verify(big.presented)
    with pytest.raises(ValueError, match="address"):
        keys.verify(key.presented, address="10.0.0")
    with pytest.raises(ValueError, match="scope"):
        keys.verify(key.presented, scopes=[""])


def test_a_rotated_secret_ends_by_itself(new: Callable[..., Any], server: Server, db: Database) -> None:
    keys = new(server.url, db.load)
    key = db.add()
    until = int(time.time() * 1000) + 1500
    fresh = keys.regenerate(key.prefix)
    db.rows[key.prefix]["key_hash"] = [fresh.digest, {"digest": key.digest, "until": until}]
    assert keys.verify(key.presented).source == "database"
    assert keys.verify(key.presented).source == "cache"
    assert keys.verify(fresh.presented).source == "cache"
    time.sleep(1.6)
    assert keys.verify(key.presented) == Refused("MISMATCH")
    assert keys.verify(fresh.presented).source == "cache"
    with pytest.raises(ValueError, match="prefix must be"):
        keys.regenerate("ak_test")
    assert db.reads == 1


def test_peppers_are_rotated(new: Callable[..., Any], server: Server, db: Database) -> None:
    old, fresh = b"old", b"new"
    before, key = new(server.url, db.load, pepper=old), db.add()
    db.rows[key.prefix]["key_hash"] = hmac.digest(old, key.secret.encode(), "sha256").hex()
    keys = new(server.url, db.load, pepper=[fresh, old])
    assert keys.verify(key.presented).source == "database"
    assert keys.verify(key.presented).source == "cache"
    assert before.verify(key.presented).source == "cache"
    made = keys.generate("ak_live")
    assert made.digest == hmac.digest(fresh, made.secret.encode(), "sha256").hex()
    assert new(server.url, db.load, pepper=fresh).verify(key.presented) == Refused("MISMATCH")


def test_keys_of_another_form(new: Callable[..., Any], server: Server, db: Database) -> None:
    key = db.add(key_hash=hashlib.sha256(b"demo-secret").digest())
    keys = new(server.url, db.load, parse=redis_apikey.parse_dotted)
    assert isinstance(keys.verify(f"{key.prefix}.demo-secret"), Valid)
    assert keys.verify(f"{key.prefix}.demo-secrex") == Refused("MISMATCH")
    assert keys.verify(key.prefix) == Refused("MALFORMED")


def test_both_protocols_and_large_integers(new: Callable[..., Any], server: Server, db: Database) -> None:
    key = db.add(id=2**63 + 1)
    for protocol in (2, 3):
        server.client().flushall()
        keys = new(f"{server.url}?protocol={protocol}", db.load)
        assert keys.verify(key.presented).record["id"] == 2**63 + 1
        cached = keys.verify(key.presented)
        assert (cached.source, cached.record["id"]) == ("cache", 2**63 + 1)


def test_a_namespace_is_its_own(new: Callable[..., Any], server: Server, db: Database) -> None:
    key = db.add()
    keys, others = new(server.url, db.load, ns="acme:"), new(server.url, db.load)
    keys.verify(key.presented)
    assert others.verify(key.presented).source == "database"
    keys.changed(id=db.revoke(key))
    assert keys.verify(key.presented) == Refused("DISABLED")
    assert others.verify(key.presented).source == "cache"


def test_decisions_and_lists(new: Callable[..., Any], server: Server, db: Database) -> None:
    keys, key, asked = new(server.url, db.load), db.add(), []

    def decide(*question: str) -> bool:
        asked.append(question)
        return question[2] == "read"

    for _ in range(2):
        assert keys.decide(key.prefix, "users", "read", load=decide) is True
        assert keys.decide(key.prefix, "users", "write", load=decide) is False
    assert len(asked) == 2
    keys.changed(id="k-1")
    assert keys.decide(key.prefix, "users", "read", load=decide) is True
    assert len(asked) == 3

    nobodys = db.add(user_id=None)
    for _ in range(2):
        assert keys.decide(nobodys.prefix, "users", "read", load=decide) is True
    assert len(asked) == 4
    assert keys.decide("ak_test_none", "users", "read", load=decide) is False

    loads = []

    def load(user: object) -> Any:
        loads.append(user)
        return list(db.rows.values())

    first = keys.list(42, load=load, limit=1)
    second = keys.list(42, load=load, offset=1, limit=5)
    assert (first.total, len(first.items), first.source) == (2, 1, "database")
    assert (second.total, len(second.items), second.source) == (2, 1, "cache")
    assert second.items[0]["id"] == "k-2"
    keys.created("ak_test_x", 42)
    assert keys.list(42, load=load).source == "database"
    keys.user_deleted(42, [key.prefix])
    assert keys.list(42, load=load).source == "database"
    with pytest.raises(OSError, match="away"):
        keys.list(7, load=lambda _: (_ for _ in ()).throw(OSError("away")))


def consume(batches: Any, seen: list[Any]) -> None:
    for batch in batches:
        seen.append(batch)
        raise OSError("the body")


def test_usage_is_handed_over_until_it_is_acknowledged(new: Callable[..., Any], server: Server) -> None:
    keys = new(server.url)
    assert keys.usage.count("ak_test_1") == 1
    assert keys.usage.count("ak_test_1", 41) == 42
    given_back = []
    with pytest.raises(OSError, match="the body"):
        consume(keys.usage.batches(), given_back)
    (batch,) = given_back
    found = list(keys.usage.batches())
    (line,) = found[0].lines
    assert (len(found), line.prefix, line.count, line.id != batch.id) == (1, "ak_test_1", 42, True)
    assert abs(line.last_used_at - time.time()) < 60
    assert batch.lines == found[0].lines
    assert list(keys.usage.batches()) == []
    usage = keys.commands.usage_get("apikey:{ak_test_1}:usage")
    assert (usage["pending"], usage["leased"], usage["total"]) == (0, 0, 42)


def test_raw_commands(new: Callable[..., Any], server: Server) -> None:
    commands = new(server.url).commands
    missed = commands.validate("apikey:{a}", digest="00" * 32)
    assert missed.code == "MISS"
    row = '{"id":1,"user_id":2,"is_active":true,"scopes":["a"]}'
    assert commands.setval("apikey:{a}", row, digests={"00" * 32: None}, token=missed.token, ttl=100.0)
    valid = commands.validate("apikey:{a}", digest="00" * 32, scopes=["a"])
    assert valid.code == "VALID"
    assert 0 < valid.ends_in <= 100
    assert commands.validate("apikey:{a}", digest="00" * 32, scopes=["a", "b"]).scope == "b"
    assert commands.tags("apikey:{a}")[:2] == ["apikey:id:1", "apikey:user:2"]
    assert commands.describe("apikey:{a}")["kind"] == "record"
    assert commands.tagcard("apikey:user:2") == 1
    assert commands.taginval("apikey:user:2") == 1
    assert commands.validate("apikey:{a}", digest="00" * 32).code == "MISS"
    assert commands.setabsent("apikey:{b}", commands.token("apikey:{b}"))
    assert commands.inval("apikey:{b}") == 1
    assert commands.usage_incr("apikey:{a}:usage") == 1
    assert commands.usage_take("apikey:{a}:usage") == [1]
    assert commands.health()["status"] in ("healthy", "degraded")
    with pytest.raises(redis_apikey.CommandRefused, match="WRONGTYPE"):
        commands.validate("apikey:{a}:usage")


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"ttl": 0}, ValueError, "ttl must be above 0"),
        ({"ttl": -1}, ValueError, "ttl must be above 0"),
        ({"ttl": float("nan")}, ValueError, "ttl must be above 0"),
        ({"absent_ttl": float("inf")}, ValueError, "absent_ttl must be above 0"),
        ({"ttl": "5"}, TypeError, "ttl must be a number"),
        ({"timeout": None}, TypeError, "timeout must be a number"),
        ({"l1": 5}, TypeError, "l1 must be an L1"),
    ],
)
def test_options_that_are_none_are_refused(
    new: Callable[..., Any], options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        new("redis://127.0.0.1:1", **options)


def test_an_l1_follows_by_what_there_is() -> None:
    with pytest.raises(ValueError, match="follow must be"):
        redis_apikey.L1(follow="x")  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", [{"scopes": [5]}, {"scopes": [None]}, {"address": 5}, {"address": b"10.0.0.1"}])
def test_scopes_and_addresses_are_texts(new: Callable[..., Any], db: Database, asked: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be a text"):
        new("redis://127.0.0.1:1", db.load).verify(db.add().presented, **asked)
