"""Limits: who is admitted, what is taken and counted, and what becomes of both while something fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import redis_apikey
from database import Database
from proxy import Proxy
from redis_apikey import L1, BadRecord, CommandRefused, Limited, RedisUnavailable, Refused, Settled, Unavailable, Valid
from servers import Cluster, Server, eventually

NOWHERE = "redis://127.0.0.1:1"
HOUR = 3_600_000


def rate(name: str, burst: int, **fields: Any) -> dict[str, Any]:
    """One that does not refill while a test runs."""
    return {"name": name, "units": 1, "per": HOUR, "burst": burst, **fields}


def quota(name: str, units: int, **fields: Any) -> dict[str, Any]:
    return {"name": name, "quota": units, "period": "year", **fields}


CREDITS = {"name": "credits", "credits": True}


def left(result: Any) -> dict[str, int]:
    return {state.name: state.remaining for state in result.limits}


def calls(server: Server, command: str) -> int:
    return int(server.client().info("commandstats").get(f"cmdstat_apikey.{command}", {"calls": 0})["calls"])


def pending(server: Server, prefix: str) -> int:
    said: dict[bytes, int] = server.client(protocol=3).execute_command("APIKEY.USAGE.GET", f"apikey:{{{prefix}}}:usage")
    return said[b"pending"]


@pytest.fixture
def db() -> Database:
    return Database()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server)
    yield proxy
    proxy.close()


def test_a_key_with_limits_is_admitted_counted_and_limited(
    new: Callable[..., Any], server: Server, db: Database
) -> None:
    keys, key = new(server.url, db.load), db.add(limits=[rate("hour", 3), quota("year", 100)])
    first = keys.verify(key.presented, scopes=["orders:x"])
    assert (first.source, first.cache_status, left(first)) == ("database", "MISS", {"hour": 2, "year": 99})
    assert first.record["limits"][0]["name"] == "hour"
    second = keys.verify(key.presented)
    assert (second.source, second.cache_status, left(second)) == ("cache", "HIT", {"hour": 1, "year": 98})
    assert [(state.kind, state.limit, state.window) for state in second.limits] == [
        ("rate", 3, 3 * 3600),
        ("quota", 100, 366 * 86_400),
    ]
    assert isinstance(keys.verify(key.presented), Valid)
    limited = keys.verify(key.presented)
    assert (limited.code, limited.limit, left(limited)) == ("RATE_LIMITED", "hour", {"hour": 0, "year": 97})
    assert 3500 < limited.retry_after <= 3600
    assert limited.limits[0].retry_after == limited.retry_after
    assert limited.limits[1].retry_after == 0
    assert (db.reads, pending(server, key.prefix)) == (1, 3)
    # What is not good is not counted, and not told of limits.
    assert keys.verify(key.presented, scopes=["x"]) == Refused("FORBIDDEN", "x")
    assert pending(server, key.prefix) == 3


def test_a_quota_and_credits_are_used_up(new: Callable[..., Any], server: Server, db: Database) -> None:
    keys, key = new(server.url, db.load), db.add(limits=[CREDITS, quota("year", 5)])
    empty = keys.verify(key.presented)
    assert (empty.code, empty.limit, empty.retry_after) == ("USAGE_EXCEEDED", "credits", None)
    assert keys.credit(key.prefix, "credits", by=10) == 10
    assert left(keys.verify(key.presented, cost=4)) == {"credits": 6, "year": 1}
    full = keys.verify(key.presented, cost=4)
    assert (full.code, full.limit, left(full)) == ("USAGE_EXCEEDED", "year", {"credits": 6, "year": 1})
    assert full.retry_after > 0
    assert keys.verify(key.presented, cost=0).limits[0].remaining == 6


def test_a_key_that_is_known_to_have_limits_costs_one_round_trip(
    new: Callable[..., Any], server: Server, db: Database
) -> None:
    keys, others = new(server.url, db.load), new(server.url, db.load)
    key = db.add(limits=[rate("hour", 100)])
    keys.verify(key.presented)
    before = calls(server, "validate"), calls(server, "admit")
    for number in range(3):
        # VALIDATE shows the record to who does not know it, and then it is admitted.
        assert left(others.verify(key.presented)) == {"hour": 98 - number}
    assert (calls(server, "validate") - before[0], calls(server, "admit") - before[1]) == (1, 3)


def test_limits_that_come_and_go_with_the_row(new: Callable[..., Any], server: Server, db: Database) -> None:
    keys, key = new(server.url, db.load), db.add()
    for _ in range(2):
        assert keys.verify(key.presented).limits is None
    for limits in ([rate("hour", 1)], None, [], [quota("year", 1)]):
        db.rows[key.prefix]["limits"] = limits
        keys.changed(id="k-1", prefix=key.prefix)
        assert isinstance(keys.verify(key.presented), Valid)
        if limits:
            assert isinstance(keys.verify(key.presented), Limited)
        else:
            # The first may have been asked for by ADMIT still.
            assert keys.verify(key.presented).limits is None


@pytest.mark.parametrize("follow", ["tracking", "channel"])
def test_an_l1_never_answers_for_a_key_with_limits(
    new: Callable[..., Any], server: Server, db: Database, follow: Any
) -> None:
    keys = new(server.url, db.load, l1=L1(max_age=600.0, follow=follow))
    free, limited = db.add(), db.add(limits=[rate("hour", 1000)])
    eventually(lambda: keys.verify(free.presented).source == "l1")
    before = pending(server, limited.prefix)
    for _ in range(10):
        assert keys.verify(limited.presented).source != "l1"
    # Also where it was forgotten that it has some.
    keys._protocol._limited.learn(limited.prefix, ())
    assert keys.verify(limited.presented).source == "cache"
    assert keys.verify(limited.presented).source == "cache"
    assert pending(server, limited.prefix) == before + 12
    # And where the caller wants it of any key.
    counted = keys.verify(free.presented, cost=2)
    assert (counted.source, counted.limits, pending(server, free.prefix)) == ("cache", (), 2)


def test_nothing_of_before_is_said_of_a_key_with_limits(
    new: Callable[..., Any], own: Callable[..., Server], db: Database
) -> None:
    server, free, limited = own(), db.add(), db.add(limits=[rate("hour", 1000)])
    keys = new(server.url, db.load, when_down="stale", l1=L1(max_age=600.0), breaker_failures=1)
    eventually(lambda: keys.verify(free.presented).source == "l1")
    assert isinstance(keys.verify(limited.presented), Valid)
    server.kill()
    eventually(lambda: keys.verify(free.presented).stale)
    assert isinstance(keys.verify(limited.presented), Unavailable)
    assert keys.verify(free.presented, cost=1).stale


def test_a_key_that_is_forgotten_is_shown_again_by_its_record(
    new: Callable[..., Any], server: Server, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_apikey._limited, "MOST", 2)
    keys, made = new(server.url, db.load), [db.add(limits=[rate("hour", 100)]) for _ in range(3)]
    for number in range(3):
        for key in made:
            assert left(keys.verify(key.presented)) == {"hour": 99 - number}
    assert len(keys._protocol._limited._limits) == 2


def test_a_call_gives_limits_of_its_own(new: Callable[..., Any], server: Server, db: Database) -> None:
    keys, key = new(server.url, db.load), db.add(limits=[rate("hour", 100), rate("day", 50, cost=3)])
    limits = [
        rate("hour", 2),
        {"name": "month", "quota": 1, "period": "month", "day": 15, "offset": 60, "shadow": True},
    ]
    first = keys.verify(key.presented, limits=limits)
    assert left(first) == {"hour": 1, "day": 47, "month": 0}
    assert [state.shadow for state in first.limits] == [False, False, True]
    assert isinstance(keys.verify(key.presented, limits=limits), Valid)
    assert keys.verify(key.presented, limits=limits).limit == "hour"
    # What was taken stays so.
    assert left(keys.verify(key.presented)) == {"hour": 97, "day": 41}


def test_a_request_with_an_id_counts_once(new: Callable[..., Any], server: Server, db: Database) -> None:
    keys, key = new(server.url, db.load), db.add(limits=[rate("hour", 2)])
    for _ in range(5):
        assert left(keys.verify(key.presented, request_id="r-1")) == {"hour": 1}
    assert pending(server, key.prefix) == 1
    for _ in range(3):
        assert keys.usage.count(key.prefix, 5, request_id="r-2") == 6


def test_a_retry_of_the_library_counts_once(
    new: Callable[..., Any], proxy: Proxy, server: Server, db: Database
) -> None:
    keys, key = new(proxy.url, db.load), db.add(limits=[rate("hour", 10)])
    keys.verify(key.presented)
    proxy.seen.clear()
    proxy.lost, proxy.losses = b"APIKEY.ADMIT", 1
    assert left(keys.verify(key.presented, request_id="r-1", cost=4)) == {"hour": 5}
    assert [b"APIKEY.ADMIT" in said and b"r-1" in said for said in proxy.seen if b"APIKEY" in said] == [True, True]
    assert pending(server, key.prefix) == 5
    # Without an id it may be counted, and is not sent again: nobody can judge its limits.
    proxy.losses = 1
    result = keys.verify(key.presented, cost=3)
    assert (result.source, result.cache_status, result.limits) == ("database", "BYPASS", None)
    assert pending(server, key.prefix) == 8
    for command, call in (
        (b"USAGE.INCR", lambda: keys.usage.count(key.prefix, 1, request_id="r-2")),
        (b"CREDIT", lambda: keys.credit(key.prefix, "credits", by=7, request_id="payment-1")),
    ):
        proxy.lost, proxy.losses = command, 1
        call()
        assert proxy.losses == 0
    assert (pending(server, key.prefix), keys.credit(key.prefix, "credits", by=0)) == (9, 7)
    proxy.losses = 1
    with pytest.raises(RedisUnavailable) as raised:
        keys.credit(key.prefix, "credits", by=1)
    assert raised.value.maybe_done
    assert keys.credit(key.prefix, "credits", set=3) == 3


def test_what_a_request_has_cost_is_settled_in_every_counter(
    new: Callable[..., Any], proxy: Proxy, server: Server, db: Database
) -> None:
    keys, key = new(proxy.url, db.load), db.add(limits=[quota("year", 100), quota("of-tenant", 1000, counter=2)])
    tenant = "apikey:{tenant-7}:usage"
    with pytest.raises(BadRecord, match="numcounters must be at least 2"):
        keys.verify(key.presented)
    asked = {"cost": 50, "request_id": "r-1", "counters": [tenant]}
    assert left(keys.verify(key.presented, **asked)) == {"year": 50, "of-tenant": 950}
    assert [(state.name, state.kind, state.remaining) for state in keys.limits(key.prefix, counter=tenant)] == [
        ("of-tenant", "quota", 950)
    ]
    proxy.lost, proxy.losses = b"APIKEY.SETTLE", 1
    # The reply to the first was lost, which has settled it.
    assert keys.settle(key.prefix, "r-1", 20, counters=[tenant]) == Settled(20, 20)
    assert keys.settle(key.prefix, "r-1", 99, counters=[tenant]) == Settled(20, 20)
    assert keys.settle(key.prefix, "r-9", 1, counters=[tenant]) is None
    assert (keys.limits(key.prefix)[0].remaining, keys.limits(key.prefix, counter=tenant)[0].remaining) == (80, 980)
    assert pending(server, key.prefix) == 20
    keys.verify(key.presented, cost=7, request_id="r-2", counters=[tenant])
    assert keys.settle(key.prefix, "r-2", 0, counters=[tenant]) == Settled(7, 0)
    assert keys.limits(key.prefix, counter=tenant)[0].remaining == 980


def test_credits_are_bought_once(new: Callable[..., Any], server: Server) -> None:
    keys = new(server.url)
    for _ in range(3):
        assert keys.credit("ak_1", "credits", by=500, request_id="payment-1") == 500
    assert keys.credit("ak_1", "credits", by=-200) == 300
    with pytest.raises(CommandRefused, match="ERR"):
        keys.credit("ak_1", "credits", by=-301)
    assert keys.credit("ak_1", "credits", set=5) == 5
    [state] = keys.limits("ak_1")
    assert (state.name, state.kind, state.limit, state.remaining, state.reset_after) == (
        "credits",
        "credits",
        None,
        5,
        None,
    )
    assert keys.limits("ak_2") == ()
    for amount in ({}, {"by": 1, "set": 1}):
        with pytest.raises(ValueError, match="either by or set"):
            keys.credit("ak_1", "credits", **amount)


@pytest.mark.parametrize(
    ("policy", "when_down", "kind"),
    [
        ("allow", "load", Valid),
        ("refuse", "load", Unavailable),
        ("allow", "deny", Unavailable),
        ("refuse", "deny", Unavailable),
    ],
)
def test_who_is_good_while_nobody_can_judge_limits(
    new: Callable[..., Any], db: Database, policy: str, when_down: str, kind: type
) -> None:
    keys = new(NOWHERE, db.load, limits_when_unavailable=policy, when_down=when_down)
    limited, free, revoked = db.add(limits=[rate("hour", 1)]), db.add(), db.add(limits=[CREDITS], is_active=False)
    for _ in range(3):
        assert isinstance(keys.verify(limited.presented), kind)
    assert getattr(keys.verify(limited.presented), "limits", None) is None
    if when_down == "load":
        assert keys.verify(free.presented, cost=5).limits is None
        assert isinstance(keys.verify(free.presented, limits=[CREDITS]), kind)
        # It is told that it is not good in any case.
        assert keys.verify(revoked.presented) == Refused("DISABLED")


@pytest.mark.parametrize("policy", ["allow", "refuse"])
def test_a_server_that_takes_no_writes_says_who_is_good(
    new: Callable[..., Any], own: Callable[..., Server], db: Database, policy: str
) -> None:
    server = own()
    keys, fresh = (new(server.url, db.load, limits_when_unavailable=policy) for _ in range(2))
    key, free = db.add(limits=[rate("hour", 100)]), db.add()
    for one in (key, free):
        assert isinstance(keys.verify(one.presented), Valid)
    server.client().config_set("maxmemory", 1)
    server.client().config_set("maxmemory-policy", "noeviction")
    reads = db.reads
    for client in (keys, fresh):
        result = client.verify(key.presented)
        if policy == "allow":
            assert (result.source, result.limits) == ("cache", None)
        else:
            assert isinstance(result, Unavailable)
            assert "OOM" in result.cause
        assert client.verify(key.presented, scopes=["x"]) == Refused("FORBIDDEN", "x")
        assert client.verify(free.presented, cost=1).source == "cache"
    assert db.reads == reads
    server.client().config_set("maxmemory", 0)
    assert left(keys.verify(key.presented)) == {"hour": 98}


@pytest.mark.parametrize("policy", ["allow", "refuse"])
def test_a_record_that_does_not_stay_is_loaded_twice_at_most(
    new: Callable[..., Any], server: Server, db: Database, policy: str
) -> None:
    # Its tags raise, and so it is not kept.
    keys = new(server.url, db.load, tags=lambda row: [row["team"]], limits_when_unavailable=policy)
    key = db.add(limits=[rate("hour", 1)])
    for number in range(1, 3):
        result = keys.verify(key.presented)
        assert isinstance(result, Valid if policy == "allow" else Unavailable)
        assert db.reads == 2 * number
    assert getattr(result, "limits", None) is None


def test_a_record_that_is_gone_when_it_is_to_be_admitted_is_loaded_again(
    new: Callable[..., Any], server: Server, db: Database
) -> None:
    keys, key = new(server.url, db.load), db.add(limits=[rate("hour", 10)])
    learn = keys._protocol._limited.learn

    def gone(prefix: str, limits: Any) -> None:
        learn(prefix, limits)
        if db.reads == 1:
            server.client().execute_command("APIKEY.INVAL", f"apikey:{{{prefix}}}")

    keys._protocol._limited.learn = gone
    result = keys.verify(key.presented)
    assert (result.source, left(result), db.reads) == ("database", {"hour": 9}, 2)


def test_each_pepper_is_tried_and_counted_once(new: Callable[..., Any], server: Server, db: Database) -> None:
    keys = new(server.url, db.load, pepper=["new", "old"])
    key = redis_apikey._keys.generate("ak_test", (b"old",))
    db.rows[key.prefix] = {
        "id": 1,
        "is_active": True,
        "key_hash": key.digest,
        "limits": [rate("hour", 10)],
    }
    for number in range(3):
        assert left(keys.verify(key.presented)) == {"hour": 9 - number}
    assert pending(server, key.prefix) == 3


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"cost": -1}, ValueError, "cost must be between"),
        ({"cost": 1_000_000_001}, ValueError, "cost must be between"),
        ({"cost": 1.0}, TypeError, "cost must be a whole number"),
        ({"cost": True}, TypeError, "cost must be a whole number"),
        ({"request_id": ""}, ValueError, "request_id must have"),
        ({"request_id": "é" * 33}, ValueError, "request_id must have"),
        ({"request_id": 7}, TypeError, "request_id must be a text"),
        ({"limits": {"name": "a"}}, TypeError, "limits must be several"),
        ({"limits": [{"name": "a"}]}, ValueError, "limit 1 must be one of"),
        ({"limits": [{**CREDITS, "counter": 2}]}, ValueError, "one of counters"),
        ({"counters": "c"}, TypeError, "counters must be several"),
        ({"counters": [""]}, TypeError, "counters must be texts"),
        ({"counters": ["a", "a"]}, ValueError, "each named once"),
        ({"counters": [str(number) for number in range(16)]}, ValueError, "at most 15"),
    ],
)
def test_what_cant_be_asked_for_is_refused_before_anything_is_sent(
    new: Callable[..., Any], db: Database, asked: Any, error: type[Exception], told: str
) -> None:
    keys, key = new(NOWHERE, db.load), db.add()
    with pytest.raises(error, match=told):
        keys.verify(key.presented, **asked)
    with pytest.raises(ValueError, match="others than the key's own"):
        keys.verify(key.presented, counters=[f"apikey:{{{key.prefix}}}:usage"])
    assert db.reads == 0


def test_the_policy_is_one_of_two(new: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match='"allow" or "refuse"'):
        new(NOWHERE, limits_when_unavailable="deny")


def test_the_commands_as_they_are(new: Callable[..., Any], server: Server) -> None:
    commands = new(server.url).commands
    commands.setval("k{1}", '{"id":1,"is_active":true}', digests={"00" * 32: None})
    limits = [rate("hour", 3)]
    said = commands.admit("k{1}", "c{1}", digest="00" * 32, cost=2, request_id="r", limits=limits)
    assert (said.code, left(said), said.record) == ("VALID", {"hour": 1}, b'{"id":1,"is_active":true}')
    assert said.ends_in is not None
    over = commands.admit("k{1}", "c{1}", digest="00" * 32, cost=2, limits=limits, peek=True)
    assert (over.code, over.limit, left(over)) == ("RATE_LIMITED", "hour", {"hour": 1})
    assert over.retry_after > 3500
    assert commands.admit("k{2}", "c{2}").code == "MISS"
    assert commands.settle("c{1}", "r", 1) == Settled(2, 1)
    assert commands.settle("c{1}", "r2", 1) is None
    assert commands.credit("c{1}", "credits", by=4) == 4
    assert {state.name: state.remaining for state in commands.limits("c{1}")} == {"hour": 2, "credits": 4}
    assert commands.usage_incr("c{1}", 1, request_id="r3") == commands.usage_incr("c{1}", 1, request_id="r3")


def test_a_cluster_admits_where_the_key_is(new: Callable[..., Any], cluster: Cluster, db: Database) -> None:
    for node in cluster.nodes:
        node.client().flushall()
    keys = new([cluster.nodes[0].url], db.load)
    made = [db.add(limits=[rate("hour", 2), rate("of-plan", 5, counter=2)]) for _ in range(12)]
    keys._protocol.servers._owners = [("127.0.0.1", cluster.nodes[0].port)] * 16384
    keys._protocol.servers.in_doubt = False
    for key in made:
        counters = [f"plan:{{{key.prefix}}}"]
        for number in range(2):
            # Where a redirection leads to.
            result = keys.verify(key.presented, counters=counters, request_id=f"r-{number}")
            assert left(result) == {"hour": 1 - number, "of-plan": 4 - number}
        assert isinstance(keys.verify(key.presented, counters=counters), Limited)
        assert keys.settle(key.prefix, "r-0", 0, counters=counters) == Settled(1, 0)
        assert keys.limits(key.prefix, counter=counters[0])[0].remaining == 4
        with pytest.raises(ValueError, match="hash tag"):
            keys.verify(key.presented, counters=["apikey:{tenant-7}:usage"])
        with pytest.raises(ValueError, match="hash tag"):
            keys.settle(key.prefix, "r-0", 0, counters=["apikey:{tenant-7}:usage"])
