"""A cluster: whoever owns the key is asked, and all are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio

from database import Database
from redis_apikey import L1, ApiKeys, AsyncApiKeys, Refused, Valid
from servers import Cluster, eventually


@pytest.fixture
def db(cluster: Cluster) -> Database:
    for node in cluster.nodes:
        node.client().flushall()
    return Database()


def test_keys_of_all_slots(new: Callable[..., Any], cluster: Cluster, db: Database) -> None:
    keys, others = new([cluster.nodes[0].url], db.load), new([node.url for node in cluster.nodes], db.load)
    made = [db.add() for _ in range(30)]
    for key in made:
        assert isinstance(keys.verify(key.presented), Valid)
        assert others.verify(key.presented).source == "cache"
    assert all(node.client().dbsize() for node in cluster.nodes)
    for key in made[:10]:
        keys.changed(id=db.revoke(key))
        assert others.verify(key.presented) == Refused("DISABLED")
    for key in made[10:]:
        db.revoke(key)
    keys.user_deleted(42, [key.prefix for key in made])
    assert all(others.verify(key.presented) == Refused("DISABLED") for key in made[10:])


def test_a_redirection_is_followed(new: Callable[..., Any], cluster: Cluster, db: Database) -> None:
    keys = new([cluster.nodes[0].url], db.load)
    made = [db.add() for _ in range(12)]
    # Whom it takes for the owner of all.
    first = ("127.0.0.1", cluster.nodes[0].port)
    keys._protocol.servers._owners = [first] * 16384
    keys._protocol.servers.in_doubt = False
    for key in made:
        assert isinstance(keys.verify(key.presented), Valid)
        assert keys.verify(key.presented).source == "cache"


def test_counts_come_from_every_primary(new: Callable[..., Any], cluster: Cluster, db: Database) -> None:
    keys = new([cluster.nodes[0].url])
    for number in range(30):
        assert keys.usage.count(f"ak_test_{number}", number + 1) == number + 1
    found = {line.prefix: line.count for batch in keys.usage.batches(count=5) for line in batch.lines}
    assert found == {f"ak_test_{number}": number + 1 for number in range(30)}
    assert list(keys.usage.batches()) == []
    assert keys.commands.usage_get("apikey:{ak_test_7}:usage")["leased"] == 0


def test_clients_of_redis_py(cluster: Cluster, db: Database) -> None:
    key = db.add()
    port = cluster.nodes[2].port
    with redis.RedisCluster("127.0.0.1", port) as client, ApiKeys(client, db.load, timeout=5.0) as keys:
        assert isinstance(keys.verify(key.presented), Valid)

    async def run() -> None:
        client = redis.asyncio.RedisCluster("127.0.0.1", port)
        async with AsyncApiKeys(client, db.load, timeout=5.0) as keys:
            assert isinstance(await keys.verify(key.presented), Valid)
        await client.aclose()

    asyncio.run(run())
    with redis.Redis(port=port) as plain, ApiKeys(plain, db.load, cluster=True, timeout=5.0) as keys:
        keys.changed(id=db.revoke(key))
        assert keys.verify(key.presented) == Refused("DISABLED")


@pytest.mark.parametrize("follow", ["tracking", "channel"])
def test_an_l1_follows_all_primaries(new: Callable[..., Any], cluster: Cluster, db: Database, follow: Any) -> None:
    writer = new([cluster.nodes[0].url])
    keys = new([cluster.nodes[0].url], db.load, l1=L1(max_age=600.0, follow=follow))
    made = [db.add() for _ in range(12)]
    for key in made:
        eventually(lambda key=key: keys.verify(key.presented).source == "l1")
    for key in made:
        writer.changed(id=db.revoke(key))
        eventually(lambda key=key: keys.verify(key.presented) == Refused("DISABLED"))
