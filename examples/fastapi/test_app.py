"""The application as it is, under uvicorn, asked over HTTP; its Redis is real, and stops and refuses at times."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import servers
from servers import TOP, Server, free_port

HERE = Path(__file__).parent

# Three processes and a disk, on a machine that may be loaded.
eventually = partial(servers.eventually, within=60)


class Application:
    def __init__(self, redis: Server, folder: Path) -> None:
        self.redis = redis
        self.folder = folder
        self.database = folder / "keys.db"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.port = free_port()
        # What a loaded machine takes is not what is tested.
        settings = {"ADMIN_TOKEN": "of-the-test", "USAGE_LEASE_MS": "1000", "REDIS_TIMEOUT": "5"}
        places = {
            "REDIS_URL": self.redis.url,
            "DATABASE": str(self.database),
            "PYTHONPATH": str(TOP / "clients/python/src"),
        }
        uvicorn = [sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(HERE), "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(uvicorn, env={**os.environ, **settings, **places}, stdout=log, stderr=log)
        eventually(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return self.ask("GET", "/health/cache")[0] in (200, 503)
        except urllib.error.URLError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(30)
            finally:
                self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, method: str, path: str, key: str | None = None, body: object = None) -> tuple[int, Any, str | None]:
        """The status, the body, and whether a cache answered."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response), response.headers["X-Cache-Status"]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), error.headers["X-Cache-Status"]

    def admin(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        return self.ask(method, path, "of-the-test", body)[:2]

    def issue(self, user: str = "u-1", **fields: object) -> dict[str, Any]:
        body = {"name": "of a test", "scopes": ["orders:*"], **fields}
        status, made = self.admin("POST", f"/users/{user}/keys", body)
        assert status == 201, made
        return dict(made)

    def orders(self, key: str) -> tuple[int, str | None]:
        status, _, cache = self.ask("GET", "/orders", key)
        return status, cache

    def headers(self, key: str) -> tuple[int, Any]:
        """Of what it is used for: the status and the fields."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/orders", headers={"Authorization": f"Bearer {key}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.headers
        except urllib.error.HTTPError as error:
            return error.code, error.headers

    def uses(self, id: int) -> int:
        return int(self.admin("GET", f"/keys/{id}/usage")[1]["uses"])

    def untold(self) -> int:
        with closing(sqlite3.connect(self.database)) as connection:
            return int(connection.execute("SELECT count(*) FROM outbox").fetchone()[0])


@pytest.fixture
def redis() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def app(redis: Server, tmp_path: Path) -> Iterator[Application]:
    application = Application(redis, tmp_path)
    try:
        application.start()
        yield application
    finally:
        application.kill()


def test_a_key_is_good_from_its_issue_to_its_revocation(app: Application) -> None:
    made = app.issue()
    assert app.orders(made["key"]) == (200, "MISS")
    assert app.orders(made["key"]) == (200, "HIT")
    assert app.ask("GET", "/orders", made["key"])[1] == {"user": "u-1", "orders": []}
    # Mistyped: nobody is asked.
    assert app.orders(made["key"][:-1] + "?") == (401, "BYPASS")
    assert app.ask("GET", "/orders")[0] == 401
    assert app.orders(app.issue(scopes=["users:read"])["key"]) == (403, "MISS")
    assert app.orders(app.issue(expires_at="2020-01-01T00:00:00Z")["key"]) == (401, "MISS")
    assert app.admin("DELETE", f"/keys/{made['id']}") == (200, None)
    assert app.orders(made["key"])[0] == 401
    assert app.admin("DELETE", f"/keys/{made['id']}")[0] == 404
    assert app.untold() == 0


def test_of_a_rotation_both_secrets_are_good_for_its_grace(app: Application) -> None:
    made = app.issue()
    assert app.orders(made["key"])[0] == 200
    status, rotated = app.admin("POST", f"/keys/{made['id']}/rotate", {"grace_seconds": 600})
    assert status == 200
    # Both of one record, which is loaded once.
    assert app.orders(rotated["key"]) == (200, "MISS")
    assert app.orders(made["key"]) == (200, "HIT")
    again = app.admin("POST", f"/keys/{made['id']}/rotate", {"grace_seconds": 2})[1]
    assert app.orders(again["key"])[0] == 200
    assert app.orders(made["key"])[0] == 401
    # It ends by itself, in the cache.
    eventually(lambda: app.orders(rotated["key"]) == (401, "HIT"))
    assert app.orders(again["key"]) == (200, "HIT")
    assert app.admin("POST", "/keys/999/rotate", {})[0] == 404
    assert app.admin("GET", "/keys/999/usage")[0] == 404


def test_keys_of_a_user_are_listed_and_go_with_them(app: Application) -> None:
    made = [app.issue("u-2", name=f"key {number}") for number in range(3)]
    other = app.issue("u-3")
    for source in ("database", "cache"):
        status, page = app.admin("GET", "/users/u-2/keys?offset=1&limit=1")
        assert (status, page["total"], page["source"]) == (200, 3, source)
        assert [item["name"] for item in page["items"]] == ["key 1"]
    assert all("key_hash" not in item for item in page["items"])
    assert all(app.orders(key["key"])[0] == 200 for key in (*made, other))
    assert app.admin("DELETE", "/users/u-2") == (200, None)
    assert all(app.orders(key["key"])[0] == 401 for key in made)
    assert app.orders(other["key"])[0] == 200
    assert app.admin("GET", "/users/u-2/keys")[1]["total"] == 0


def test_only_the_administrator_manages_keys(app: Application) -> None:
    made = app.issue()
    for method, path in [
        ("POST", "/users/u-1/keys"),
        ("GET", "/users/u-1/keys"),
        ("DELETE", "/users/u-1"),
        ("GET", f"/keys/{made['id']}/usage"),
        ("POST", f"/keys/{made['id']}/rotate"),
        ("DELETE", f"/keys/{made['id']}"),
    ]:
        for token in (None, "of-the-tesT", made["key"]):
            assert app.ask(method, path, token, {})[0] == 401
    assert app.orders(made["key"])[0] == 200
    for wrong in ({"scopes": ["-orders:read"]}, {"scopes": "*"}, {"name": ""}, {"expires_at": "2030-01-01T00:00:00"}):
        assert app.admin("POST", "/users/u-1/keys", {"name": "x", "scopes": [], **wrong})[0] == 422


def test_what_is_no_text_or_no_number_is_refused(app: Application) -> None:
    for name in ("\ud800", "a\udfff", "a\0"):
        status, said = app.admin("POST", "/users/u-1/keys", {"name": name, "scopes": []})
        assert (status, [one["loc"] for one in said["detail"]]) == (422, [["body", "name"]])
    assert app.admin("POST", "/users/u-1/keys", {"name": "x", "scopes": ["\ud800:read"]})[0] == 422
    made = app.issue(name="\U0001f511")
    # As json writes them: NaN, Infinity.
    for grace in (float("nan"), float("inf"), -float("inf"), -1, 31 * 86_400):
        status, said = app.admin("POST", f"/keys/{made['id']}/rotate", {"grace_seconds": grace})
        assert (status, [one["loc"] for one in said["detail"]]) == (422, [["body", "grace_seconds"]])
    assert app.orders(made["key"])[0] == 200


def test_a_use_is_counted_once_however_often_its_batch_comes(app: Application) -> None:
    made, client = app.issue(), app.redis.client()
    counter = f"apikey:{{{made['key'].rsplit('_', 1)[0]}}}:usage"
    # Each batch is written, can't be acknowledged, and comes again when its lease is over.
    client.execute_command("ACL", "SETUSER", "default", "-apikey.usage.ack")
    for _ in range(5):
        assert app.orders(made["key"])[0] == 200
    eventually(lambda: app.uses(made["id"]) == 5)

    def refused() -> int:
        return int(client.info("commandstats").get("cmdstat_apikey.usage.ack", {}).get("rejected_calls", 0))

    before = refused()
    eventually(lambda: refused() >= before + 2)
    assert app.uses(made["id"]) == 5
    client.execute_command("ACL", "SETUSER", "default", "+apikey.usage.ack")

    def left() -> tuple[int, int]:
        reply = client.execute_command("APIKEY.USAGE.GET", counter)
        counted = dict(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else reply
        return counted[b"pending"], counted[b"leased"]

    eventually(lambda: left() == (0, 0))
    assert app.orders(made["key"])[0] == 200
    eventually(lambda: app.uses(made["id"]) == 6)


def test_a_key_with_a_limit_is_told_how_long_to_wait_and_counted_once(app: Application) -> None:
    made = app.issue(per_minute=2)
    for cache in ("MISS", "HIT"):
        assert app.orders(made["key"]) == (200, cache)
    status, headers = app.headers(made["key"])
    assert (status, headers["RateLimit-Policy"]) == (429, '"minute";q=2;w=60')
    assert 1 <= int(headers["Retry-After"]) <= 30
    assert headers["RateLimit"] == f'"minute";r=0;t={headers["Retry-After"]}'
    eventually(lambda: app.uses(made["id"]) == 2)
    # Nobody judges it while Redis is away; what is used then is counted all the same.
    app.redis.kill()
    assert app.orders(made["key"]) == (200, "BYPASS")
    eventually(lambda: app.uses(made["id"]) == 3)
    assert app.admin("POST", "/users/u-1/keys", {"name": "x", "scopes": [], "per_minute": 0})[0] == 422


def test_a_change_that_could_not_be_told_is_told_later(app: Application) -> None:
    made, other, client = app.issue(), app.issue(), app.redis.client()
    for key in (made, other):
        assert app.orders(key["key"])[0] == 200
    client.execute_command("ACL", "SETUSER", "default", "-apikey.taginval")
    status, _ = app.admin("DELETE", f"/keys/{made['id']}")
    assert (status, app.untold()) == (202, 1)
    client.execute_command("ACL", "SETUSER", "default", "+apikey.taginval")
    eventually(lambda: app.untold() == 0)
    assert app.orders(made["key"])[0] == 401
    # The application dies between its commit and the telling.
    client.execute_command("ACL", "SETUSER", "default", "-apikey.taginval")
    assert app.admin("DELETE", f"/keys/{other['id']}")[0] == 202
    app.kill()
    client.execute_command("ACL", "SETUSER", "default", "+apikey.taginval")
    app.start()
    eventually(lambda: app.untold() == 0)
    assert app.orders(other["key"])[0] == 401


@pytest.mark.parametrize("is_hopeless", [True, False])
def test_notes_that_cannot_be_told_hold_up_no_other(app: Application, is_hopeless: bool) -> None:
    made, client = app.issue(), app.redis.client()
    assert app.orders(made["key"])[0] == 200
    # An id that is none; or the name of a record that is none, which the module leaves alone.
    client.set("apikey:{ak_live_x}", "a text")
    user = "\u00e9" * 200 if is_hopeless else None
    poison = json.dumps({"kind": "created", "id": None, "user": user, "prefixes": ["ak_live_x"]})
    with closing(sqlite3.connect(app.database)) as connection, connection:
        connection.executemany("INSERT INTO outbox (change) VALUES (?)", [[poison]] * 101)
    client.execute_command("ACL", "SETUSER", "default", "-apikey.inval", "-apikey.taginval")
    assert app.admin("DELETE", f"/keys/{made['id']}")[0] == 202
    client.execute_command("ACL", "SETUSER", "default", "+apikey.inval", "+apikey.taginval")
    eventually(lambda: app.orders(made["key"])[0] == 401)
    counts = {"untold": 0, "set_aside": 101} if is_hopeless else {"untold": 101, "set_aside": 0}
    eventually(lambda: app.ask("GET", "/health")[1] == counts)
    client.delete("apikey:{ak_live_x}")
    eventually(lambda: app.ask("GET", "/health")[1]["untold"] == 0)


def test_redis_may_be_away(app: Application) -> None:
    made, revoked = app.issue(), app.issue()
    assert app.ask("GET", "/health/cache")[:2] == (200, {"status": "healthy", "reasons": []})
    assert app.orders(made["key"])[0] == 200
    app.redis.kill()
    assert app.ask("GET", "/health/cache")[0] == 503
    assert app.orders(made["key"]) == (200, "BYPASS")
    # Its use was counted where it could be.
    eventually(lambda: app.uses(made["id"]) == 1)
    assert app.admin("DELETE", f"/keys/{revoked['id']}")[0] == 202
    assert app.orders(revoked["key"]) == (401, "BYPASS")
    app.redis.start()
    eventually(lambda: app.untold() == 0)
    eventually(lambda: app.orders(made["key"]) == (200, "HIT"))
    assert app.orders(revoked["key"])[0] == 401


def test_it_starts_warm_and_stores_no_secret(app: Application) -> None:
    made = [app.issue() for _ in range(20)]
    app.admin("DELETE", f"/keys/{made[0]['id']}")
    app.stop()
    app.redis.kill()
    app.redis.start()
    app.start()
    assert [app.orders(key["key"]) for key in made] == [(401, "MISS")] + [(200, "HIT")] * 19
    stored = b"".join(file.read_bytes() for file in app.folder.iterdir())
    for key in made:
        prefix, secret = key["key"].rsplit("_", 1)
        assert prefix.encode() in stored
        assert secret[:-6].encode() not in stored
    app.stop()
    assert "Traceback" not in (app.folder / "log").read_text()
