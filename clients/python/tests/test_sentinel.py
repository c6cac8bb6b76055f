"""A client that asks Sentinels: what they take is within the time of a call."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.sentinel import Sentinel

from database import Database
from redis_apikey import ApiKeys, Refused
from servers import SERVER, Server, eventually, free_port


class Watching:
    """A Sentinel that knows of one primary, `shop`."""

    def __init__(self, folder: Path, primary: int) -> None:
        self.port = free_port()
        conf = folder / "sentinel.conf"
        conf.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {folder}\nlogfile {folder}/log\n"
            f"sentinel monitor shop 127.0.0.1 {primary} 1\n"
        )
        self.process = subprocess.Popen([SERVER, str(conf), "--sentinel"], stdout=subprocess.DEVNULL)
        eventually(self._knows)

    def _knows(self) -> bool:
        with Sentinel([("127.0.0.1", self.port)], socket_timeout=2.0) as sentinel:
            try:
                return bool(sentinel.discover_master("shop"))
            except Exception:
                assert self.process.poll() is None
                return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def watching(tmp_path: Path, server: Server) -> Iterator[Watching]:
    sentinel = Watching(tmp_path, server.port)
    yield sentinel
    sentinel.stop()


def sources(ports: list[int], db: Database, count: int, timeout: float) -> list[str] | None:
    """Of so many verifications; None if they are not over long after their time."""
    key = db.add()
    client = Sentinel([("127.0.0.1", port) for port in ports]).master_for("shop")
    found: list[str] = []

    def verify() -> None:
        with ApiKeys(client, db.load, timeout=timeout, breaker_failures=100) as keys:
            for _ in range(count):
                found.append(keys.verify(key.presented).source)

    thread = threading.Thread(target=verify, daemon=True)
    thread.start()
    thread.join(count * timeout + 2.0)
    return None if thread.is_alive() else found


def test_sentinels_that_do_not_answer_cost_no_more_than_the_time_of_a_call(watching: Watching) -> None:
    db = Database()
    assert sources([1], db, 3, 0.1) == ["database"] * 3
    watching.process.send_signal(signal.SIGSTOP)
    try:
        assert sources([watching.port], db, 3, 0.1) == ["database"] * 3
    finally:
        watching.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("frozen", [False, True])
def test_one_that_answers_is_enough(watching: Watching, tmp_path: Path, server: Server, frozen: bool) -> None:
    other = Watching((folder := tmp_path / "other").mkdir() or folder, server.port)
    try:
        if frozen:
            other.process.send_signal(signal.SIGSTOP)
        else:
            other.stop()
        assert sources([other.port, watching.port], Database(), 3, 4.0) == ["database", "cache", "cache"]
    finally:
        other.stop()


def test_changes_are_told_by_the_way_of_sentinels(watching: Watching, server: Server) -> None:
    db = Database()
    key = db.add()
    client = Sentinel([("127.0.0.1", watching.port)]).master_for("shop")
    with ApiKeys(client, db.load, timeout=2.0) as keys, ApiKeys(server.url, db.load, timeout=2.0) as others:
        assert keys.verify(key.presented).source == "database"
        assert others.verify(key.presented).source == "cache"
        keys.changed(id=db.revoke(key), prefix=key.prefix)
        assert others.verify(key.presented) == Refused("DISABLED")
