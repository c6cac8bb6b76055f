"""What is answered while Redis is away, slow, or says that it can't."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import redis_apikey
from database import Database
from redis_apikey import L1, Change, ChangeNotTold, RedisUnavailable, Refused, Unavailable, Valid
from redis_apikey._servers import Breaker
from servers import Server, eventually

NOWHERE = "redis://127.0.0.1:1"


class Fake:
    """A server that answers each command with the same bytes, and counts them; None: not at all."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.commands: list[bytes] = []
        self.connections = 0
        self.pause = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}?protocol=2"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve_quietly, args=(connection,), daemon=True).start()

    def _serve_quietly(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            for command in data.split(b"*")[1:]:
                self.commands.append(command.split(b"\r\n")[2] if b"\r\n" in command else command)
                if self.answer is not None and self.pause:
                    for byte in self.answer:
                        time.sleep(self.pause)
                        with contextlib.suppress(OSError):
                            connection.sendall(bytes([byte]))
                elif self.answer is not None:
                    connection.sendall(self.answer)
                    if not self.answer.endswith(b"\r\n"):
                        # Cut in the middle.
                        connection.close()
                        return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def fake() -> Iterator[Callable[[bytes | None], Fake]]:
    fakes: list[Fake] = []

    def make(answer: bytes | None) -> Fake:
        fakes.append(Fake(answer))
        return fakes[-1]

    yield make
    for one in fakes:
        one.close()


@pytest.fixture
def db() -> Database:
    return Database()


def test_the_database_answers_while_redis_refuses(new: Callable[..., Any], db: Database) -> None:
    keys, key, other = new(NOWHERE, db.load), db.add(), db.add(is_active=False)
    assert keys.verify(key.presented, scopes=["orders:x"]).source == "database"
    assert keys.verify(key.presented, scopes=["x"]) == Refused("FORBIDDEN", "x")
    assert keys.verify(other.presented) == Refused("DISABLED")
    assert keys.decide(key.prefix, "a", "b", load=lambda *_: True) is True
    assert keys.list(42, load=lambda _: list(db.rows.values())).total == 2
    assert keys.health()["status"] == "down"


def test_a_change_whose_caller_is_cancelled_is_kept(fake: Callable[[bytes | None], Fake]) -> None:
    kept: list[Change] = []

    async def outbox(change: Change) -> None:
        await asyncio.sleep(0)
        kept.append(change)

    async def run(url: str) -> None:
        async with redis_apikey.AsyncApiKeys(url, outbox=outbox) as keys:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(keys.changed(id="k-1"), 0.1)

    asyncio.run(run(fake(None).url))
    assert kept == [Change("changed", "k-1", None, ())]


def test_a_change_whose_task_never_began_is_nobodys(fake: Callable[[bytes | None], Fake]) -> None:
    kept: list[Change] = []

    async def run(url: str) -> None:
        async with redis_apikey.AsyncApiKeys(url, outbox=kept.append) as keys:
            task = asyncio.create_task(keys.changed(id="k-1"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    server = fake(None)
    asyncio.run(run(server.url))
    assert (kept, server.connections) == ([], 0)


def test_of_a_key_that_is_not_there_the_decision_is_no(new: Callable[..., Any], db: Database) -> None:
    keys, key, absent = new(NOWHERE, db.load), db.add(), redis_apikey._keys.generate("ak_test", ())
    assert keys.decide(key.prefix, "a", "b", load=lambda *_: True) is True
    assert keys.decide(absent.prefix, "a", "b", load=lambda *_: True) is False
    assert db.reads == 2
    # Who says whose it is knows that it is there.
    assert keys.decide(absent.prefix, "a", "b", load=lambda *_: redis_apikey.Decision(True, id="k-9")) is True
    assert keys.decide(key.prefix, "a", "b", load=lambda *_: False) is False
    assert db.reads == 2


def test_a_handshake_of_tls_has_no_more_time_than_the_call(new: Callable[..., Any], db: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        keys = new(f"rediss://127.0.0.1:{silent.getsockname()[1]}", db.load, timeout=0.2)
        key, began = db.add(), time.monotonic()
        assert keys.verify(key.presented).source == "database"
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_the_addresses_of_a_name_share_the_time(db: Database, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as others:
        address = full.getsockname()
        for _ in range(4):
            # Until one more waits for its connection.
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(address)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 8
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        with redis_apikey.ApiKeys(f"{scheme}://name:{address[1]}", db.load, timeout=0.5) as keys:
            key, began = db.add(), time.monotonic()
            assert keys.verify(key.presented).source == "database"
            assert time.monotonic() - began < 2


def test_nobody_answers_where_that_is_asked_for(new: Callable[..., Any], db: Database) -> None:
    keys, key = new(NOWHERE, db.load, when_down="deny"), db.add()
    assert isinstance(keys.verify(key.presented), Unavailable)
    with pytest.raises(RedisUnavailable):
        keys.decide(key.prefix, "a", "b", load=lambda *_: True)
    with pytest.raises(RedisUnavailable):
        keys.list(42, load=lambda _: [])
    assert db.reads == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-MOVED 1 127.0.0.1:1\r\n",
        b"-NOPERM no\r\n",
        b"*2\r\n$4\r\nMI",
        b"*2\r\n$5\r\nVALID\r\n$10\r\n{",
    ],
)
def test_what_is_no_answer_is_never_valid(
    new: Callable[..., Any], fake: Callable[[bytes | None], Fake], db: Database, answer: bytes
) -> None:
    server, key, other = fake(answer), db.add(), db.add(is_active=False)
    keys = new(server.url, db.load, change_timeout=0.2)
    assert keys.verify(key.presented).source == "database"
    assert keys.verify(other.presented) == Refused("DISABLED")
    with pytest.raises(ChangeNotTold):
        keys.changed(id=1, prefix=key.prefix)
    with pytest.raises((redis_apikey.CommandRefused, RedisUnavailable)):
        new(server.url).usage.count(key.prefix)
    # Counting is never repeated, whatever came.
    assert sum(b"INCR" in command for command in server.commands) == 1


def test_a_frozen_server_is_left_alone_for_a_while(
    new: Callable[..., Any], own: Callable[..., Server], db: Database
) -> None:
    server, key = own(), db.add()
    keys = new(server.url, db.load, timeout=0.2, breaker_failures=3, breaker_pause=0.5)
    eventually(lambda: keys.verify(key.presented).source == "cache")
    server.freeze()
    for _ in range(3):
        began = time.monotonic()
        assert keys.verify(key.presented).source == "database"
        assert time.monotonic() - began < 0.2 + 1.0
    reads, began = db.reads, time.monotonic()
    for _ in range(20):
        assert keys.verify(key.presented).source == "database"
    # 20 timeouts would be 4 s.
    assert time.monotonic() - began < 2.0
    assert db.reads == reads + 20
    # Revoked while Redis is away: not told, and not answered from what was cached.
    name = db.revoke(key)
    assert keys.verify(key.presented) == Refused("DISABLED")
    server.thaw()
    keys.changed(id=name, prefix=key.prefix)
    eventually(lambda: keys.verify(key.presented) == Refused("DISABLED"))
    reads = db.reads
    eventually(lambda: keys.verify(key.presented) == Refused("DISABLED") and db.reads == reads)


def test_replies_that_came_late_are_nobody_elses(
    new: Callable[..., Any], own: Callable[..., Server], db: Database
) -> None:
    server, key, other = own(), db.add(), db.add(is_active=False)
    keys = new(server.url, db.load, timeout=0.1, breaker_failures=1000)
    for one in (key, other):
        for _ in range(3):
            keys.verify(one.presented)
    for _ in range(5):
        server.freeze()
        keys.verify(key.presented)
        server.thaw()
        for _ in range(3):
            assert keys.verify(other.presented) == Refused("DISABLED")
            assert isinstance(keys.verify(key.presented), Valid)


def test_a_server_that_was_started_again_is_asked_at_once(
    new: Callable[..., Any], own: Callable[..., Server], db: Database
) -> None:
    server, key = own(), db.add()
    keys = new(server.url, db.load)
    assert keys.verify(key.presented).source == "database"
    server.kill()
    server.start()
    assert keys.usage.count(key.prefix) == 1
    assert keys.verify(key.presented).source == "database"
    assert keys.verify(key.presented).source == "cache"


def test_a_change_that_cant_be_told_raises_and_is_kept(
    new: Callable[..., Any], own: Callable[..., Server], db: Database
) -> None:
    server, key, kept = own(), db.add(), []
    keys = new(server.url, db.load, outbox=kept.append, change_timeout=0.3)
    assert isinstance(keys.verify(key.presented), Valid)
    server.freeze()
    with pytest.raises(ChangeNotTold) as raised:
        keys.changed(id=db.revoke(key), prefix=key.prefix, user=42)
    assert raised.value.kept
    assert [raised.value.change] == kept
    server.thaw()
    keys.tell(Change.from_json(kept[0].to_json()))
    assert keys.verify(key.presented) == Refused("DISABLED")
    assert len(kept) == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_reply_that_comes_byte_by_byte_costs_no_more_than_the_deadline(
    new: Callable[..., Any], fake: Callable[[bytes | None], Fake], db: Database, protocol: int
) -> None:
    server, key = fake(b"*3\r\n$5\r\nVALID\r\n$2\r\n{}\r\n:-1\r\n"), db.add()
    server.pause = 0.05
    keys = new(server.url.replace("=2", f"={protocol}"), db.load, timeout=0.2)
    began = time.monotonic()
    assert keys.verify(key.presented).source == "database"
    # Byte by byte it takes 1.5 s, and each byte comes in time.
    assert 0.2 <= time.monotonic() - began < 1.2


def test_counting_is_sent_once(new: Callable[..., Any], fake: Callable[[bytes | None], Fake]) -> None:
    server = fake(None)
    keys = new(server.url, timeout=0.1)
    with pytest.raises(RedisUnavailable) as raised:
        keys.usage.count("ak_1")
    assert raised.value.maybe_done
    time.sleep(0.3)
    assert len(server.commands) == 1
    with pytest.raises(RedisUnavailable) as raised:
        new(NOWHERE).usage.count("ak_1")
    assert not raised.value.maybe_done


def test_a_stale_answer_where_that_is_asked_for(
    new: Callable[..., Any], own: Callable[..., Server], db: Database
) -> None:
    server, key, other = own(), db.add(), db.add()
    keys = new(server.url, db.load, when_down="stale", l1=L1(max_age=600.0), breaker_failures=1)
    keys.verify(key.presented)
    eventually(lambda: keys.verify(key.presented).source == "l1")
    reads = db.reads
    server.kill()
    eventually(lambda: keys.verify(key.presented).stale)
    assert keys.verify(key.presented).source == "l1"
    assert isinstance(keys.verify(key.presented, scopes=["users:read"]), Unavailable)
    assert isinstance(keys.verify(other.presented), Unavailable)
    assert db.reads == reads
    db.revoke(key)
    server.start()
    eventually(lambda: keys.verify(key.presented) == Refused("DISABLED"))


def test_a_burst_is_no_outage(server: Server, db: Database) -> None:
    async def run() -> None:
        made = [db.add() for _ in range(500)]
        async with redis_apikey.AsyncApiKeys(server.url, db.load, timeout=5.0) as keys:
            for key in made:
                await keys.verify(key.presented)
        async with redis_apikey.AsyncApiKeys(server.url, db.load, timeout=0.1, breaker_pause=60.0) as keys:
            await keys.verify(made[0].presented)
            for _ in range(3):
                await asyncio.gather(*(keys.verify(key.presented) for key in made))
                # Each may want longer than its time here; it is one failure then, and the next may find it well again.
                assert not keys._protocol.servers.breaker(None).is_open
            until = time.monotonic() + 20.0
            while getattr(await keys.verify(made[1].presented), "source", None) != "cache":
                assert time.monotonic() < until

    asyncio.run(run())


@pytest.mark.parametrize("turns", range(4))
def test_a_loop_that_was_held_up_is_no_outage(server: Server, db: Database, turns: int) -> None:
    async def run() -> list[str]:
        made = [db.add() for _ in range(8)]
        # More than the machine may take away from it, and less than the loop is held up for.
        async with redis_apikey.AsyncApiKeys(server.url, db.load, timeout=0.5, breaker_failures=1) as keys:
            for key in made:
                await keys.verify(key.presented)
            await asyncio.sleep(0.05)
            under_way = [asyncio.create_task(keys.verify(key.presented)) for key in made]
            for _ in range(turns):
                await asyncio.sleep(0)
            time.sleep(0.7)
            return [getattr(result, "source", "") for result in await asyncio.gather(*under_way)]

    assert asyncio.run(run()) == ["cache"] * 8


def test_failures_of_one_moment_are_one() -> None:
    now = 0.0
    breaker = Breaker(2, 1.0, lambda: now)
    now = 5.0
    for _ in range(10):
        breaker.failed(began=4.0)
    assert not breaker.is_open
    breaker.failed(began=5.0)
    assert breaker.is_open


@pytest.mark.parametrize(
    ("setting", "login", "told"),
    [
        ("CONFIG SET requirepass right", "", "NOAUTH"),
        ("CONFIG SET requirepass right", ":wr0ng@", "WRONGPASS"),
        ("ACL SETUSER default -apikey.validate", "", "NOPERM"),
    ],
)
def test_what_is_refused_is_warned_of_once(
    new: Callable[..., Any],
    own: Callable[..., Server],
    db: Database,
    caplog: pytest.LogCaptureFixture,
    setting: str,
    login: str,
    told: str,
) -> None:
    server, key = own(), db.add()
    server.client().execute_command(*setting.split(" "))
    keys = new(server.url.replace("//", f"//{login}"), db.load)
    assert_warned_once(keys, key, caplog, told)


def test_a_server_without_the_module_is_warned_of_once(
    new: Callable[..., Any], fake: Callable[[bytes | None], Fake], db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    server = fake(b"-ERR unknown command 'APIKEY.VALIDATE', with args beginning with: 'k' 'd1gest' \r\n")
    assert_warned_once(new(server.url, db.load), db.add(), caplog, "unknown command")


def assert_warned_once(keys: Any, key: Any, caplog: pytest.LogCaptureFixture, told: str) -> None:
    with caplog.at_level("INFO", "redis_apikey"):
        for _ in range(5):
            assert keys.verify(key.presented).source == "database"
    assert [told in record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [True]
    assert all(secret not in caplog.text for secret in ("wr0ng", "d1gest", key.secret))


def test_an_error_of_a_consumer_does_not_wait_for_redis(new: Callable[..., Any], own: Callable[..., Server]) -> None:
    server = own()
    keys = new(server.url, change_timeout=20.0)
    keys.usage.count("ak_1")

    def consume() -> None:
        for _ in keys.usage.batches():
            server.freeze()
            raise OSError("the consumer's own")

    began = time.monotonic()
    with pytest.raises(OSError, match="the consumer's own"):
        consume()
    assert time.monotonic() - began < 10.0
