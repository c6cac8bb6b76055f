"""A cluster: whoever owns the key is asked, and all are told."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.crc

from database import Database
from redis_apikey import L1, ApiKeys, AsyncApiKeys, Change, ChangeNotTold, Refused, Valid
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


def test_an_l1_keeps_nothing_of_a_primary_that_it_does_not_follow(
    new: Callable[..., Any], cluster: Cluster, db: Database
) -> None:
    keys = new([cluster.nodes[0].url], db.load, l1=L1(max_age=600.0))
    first = ("127.0.0.1", cluster.nodes[0].port)

    async def later() -> Any:
        return [first]

    # As before it has heard of the others.
    is_async = inspect.iscoroutinefunction(keys._follower._addresses)
    keys._follower._addresses = later if is_async else lambda: [first]
    made = [db.add() for _ in range(30)]
    for key in made:
        assert isinstance(keys.verify(key.presented), Valid)
    servers, names = keys._protocol.servers, keys._protocol.names
    followed = [key for key in made if servers.owner(names.record(key.prefix)) == first]
    assert 0 < len(followed) < 30
    for key in followed:
        eventually(lambda key=key: keys.verify(key.presented).source == "l1")
    for key in made:
        sources = {keys.verify(key.presented).source for _ in range(3)}
        assert sources == ({"l1"} if key in followed else {"cache"})


def test_a_change_is_told_while_its_slot_moves(new: Callable[..., Any], cluster: Cluster, db: Database) -> None:
    keys, key = new([cluster.nodes[0].url], db.load, timeout=5.0), db.add()
    name = keys._protocol.names.record(key.prefix)
    assert isinstance(keys.verify(key.presented), Valid)
    slot = redis.crc.key_slot(name.encode())
    owner = keys._protocol.servers.owner(name)
    source = next(node.client() for node in cluster.nodes if ("127.0.0.1", node.port) == owner)
    target = next(node.client() for node in cluster.nodes if ("127.0.0.1", node.port) != owner)
    ids = [client.execute_command("CLUSTER MYID").decode() for client in (source, target)]
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
    try:
        # Of the two keys that a change names, one is at either node, or at none.
        source.delete(name)
        assert keys.verify(key.presented).source == "database"
        assert keys.verify(key.presented).source == "cache"
        keys.changed(id=db.revoke(key), prefix=key.prefix, user=42)
        assert keys.verify(key.presented) == Refused("DISABLED")
    finally:
        for client in (source, target):
            client.execute_command("CLUSTER SETSLOT", slot, "STABLE")
            client.flushall()


def test_a_part_of_a_change_that_fails_keeps_no_other_from_being_tried(
    new: Callable[..., Any], cluster: Cluster, db: Database
) -> None:
    keys = new([cluster.nodes[0].url], db.load, timeout=5.0)
    made = [db.add() for _ in range(30)]
    for key in made:
        assert isinstance(keys.verify(key.presented), Valid)
    frozen = cluster.nodes[1]
    owner = keys._protocol.servers.owner
    theirs = [owner(keys._protocol.names.record(key.prefix)) == ("127.0.0.1", frozen.port) for key in made]
    assert any(theirs)
    # Those of the node that does not answer come first.
    made = [key for _, key in sorted(zip(theirs, made, strict=True), key=lambda pair: not pair[0])]
    for key in made:
        db.revoke(key)
    frozen.freeze()
    try:
        with pytest.raises(ChangeNotTold) as raised:
            keys.tell(Change("changed", None, None, tuple(key.prefix for key in made)))
        others = new([cluster.nodes[0].url], db.load, timeout=0.5, breaker_failures=1, breaker_pause=60.0)
        told = [others.verify(key.presented) for key in made]
        assert told == [Refused("DISABLED")] * len(made)
    finally:
        frozen.thaw()
    # Where it was frozen for long the others had given it up.
    cluster.settled()
    keys.tell(raised.value.change)
    assert all(keys.verify(key.presented) == Refused("DISABLED") for key in made)


def test_two_that_send_on_to_each_other_are_asked_until_one_takes_over(new: Callable[..., Any]) -> None:
    one, other = Hop(), Hop()
    one.to, other.to = other.port, one.port
    threading.Timer(0.7, lambda: setattr(other, "to", 0)).start()
    keys = new([f"redis://127.0.0.1:{one.port}?protocol=2"], cluster=True, change_timeout=20.0)
    keys.changed(prefix="ak_test_1")
    assert other.done
    one.close()
    other.close()


def test_a_frozen_node_costs_the_others_nothing(new: Callable[..., Any], cluster: Cluster, db: Database) -> None:
    keys = new([node.url for node in cluster.nodes], db.load, timeout=0.5, breaker_failures=1, breaker_pause=60.0)
    made = [db.add() for _ in range(30)]
    for key in made:
        keys.verify(key.presented)
    sources = {key.prefix: keys.verify(key.presented).source for key in made}
    assert set(sources.values()) == {"cache"}
    frozen = cluster.nodes[1]
    frozen.freeze()
    try:
        for _ in range(2):
            sources = {key.prefix: keys.verify(key.presented).source for key in made}
        served = sum(source == "cache" for source in sources.values())
        # About two thirds of the slots are those of the other two.
        assert 10 <= served < 30
    finally:
        frozen.thaw()
    eventually(lambda: all(node.client().ping() for node in cluster.nodes))


class Hop:
    """A node of a cluster that sends on whatever it is asked for, while `to` is a port."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.to = 0
        self.done = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            if b"CLUSTER" in data:
                connection.sendall(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % self.port)
            elif self.to:
                connection.sendall(b"-MOVED 1 127.0.0.1:%d\r\n" % self.to)
            else:
                self.done += 1
                connection.sendall(b":1\r\n")

    def close(self) -> None:
        self._listener.close()
