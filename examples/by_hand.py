"""What an application writes that verifies API keys by GET, Lua and sets, without the module and its libraries: so that
the two can be compared. It is careful, and still pays what no code of its own can spare it: a revocation that takes
longer the more keys a tag has, and an index that is wrong once Redis evicts, or a name expires.

`clients/python/tests/test_by_hand.py` runs it. Take the library instead.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import redis

TTL, ABSENT_TTL, FENCE_TTL, LEASE = 300, 30, 3600, 60

# A fill is refused if the key, or all keys of any user, were revoked since the reader asked for the versions: whose the
# key is, nobody knows before its row is read.
FILL = """
local versions = redis.call('MGET', KEYS[2], KEYS[3])
if (versions[1] or '0') ~= ARGV[1] or (versions[2] or '0') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[4])
redis.call('SADD', KEYS[4], KEYS[1])
redis.call('EXPIRE', KEYS[4], 86400)
return 1
"""
# The versions go up first, and stay for longer than any reader takes.
REVOKE = """
redis.call('INCR', KEYS[2])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return redis.call('UNLINK', KEYS[1])
"""
REVOKE_USER = """
redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[1])
local killed, cursor = 0, '0'
repeat
  local page = redis.call('SSCAN', KEYS[2], cursor, 'COUNT', 1000)
  cursor = page[1]
  if #page[2] > 0 then killed = killed + redis.call('UNLINK', unpack(page[2])) end
until cursor == '0'
redis.call('UNLINK', KEYS[2])
return killed
"""
# Counts wait under the batch's name until they are acknowledged; whoever finds an old batch takes it over.
LEASE_COUNTS = """
local now = tonumber(ARGV[2])
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)[1]
if not old then
  if redis.call('EXISTS', KEYS[1]) == 0 then return false end
  old = ARGV[1]
  redis.call('RENAME', KEYS[1], KEYS[3] .. old)
end
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), old)
return {old, redis.call('HGETALL', KEYS[3] .. old)}
"""
ACK = """
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('UNLINK', KEYS[2] .. ARGV[1])
"""


class Cache:
    def __init__(self, url: str, load: Callable[[str], dict[str, Any] | None], timeout: float = 0.05) -> None:
        self.redis = redis.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, decode_responses=True
        )
        self.load = load
        self.fill_script = self.redis.register_script(FILL)
        self.revoke_script = self.redis.register_script(REVOKE)
        self.revoke_user_script = self.redis.register_script(REVOKE_USER)
        self.lease_script = self.redis.register_script(LEASE_COUNTS)
        self.ack_script = self.redis.register_script(ACK)
        self.flights: dict[str, threading.Event] = {}
        self.lock = threading.Lock()
        self.failures = 0
        self.closed_until = 0.0

    def verify(self, presented: str, scopes: list[str], address: str | None = None) -> tuple[str, Any]:
        prefix, dot, secret = presented.partition(".")
        if not dot:
            return "MALFORMED", None
        while True:
            found = self.ask(lambda: self.redis.mget(f"record:{prefix}", f"version:{prefix}", "version:users"))
            row, *versions = found or (None,)
            if row is not None:
                return self.judge(json.loads(row), secret, scopes, address)
            with self.lock:
                flight = self.flights.get(prefix)
                if flight is None:
                    self.flights[prefix] = threading.Event()
                    break
            # It may have been read before a change that this call comes after, so it is not shared.
            flight.wait()
        try:
            loaded = self.load(prefix)
            record = None if loaded is None else self.sanitise(loaded)
            if versions:
                self.fill(prefix, record, versions)
            return self.judge(record, secret, scopes, address)
        finally:
            with self.lock:
                self.flights.pop(prefix).set()

    def ask(self, call: Callable[[], Any]) -> Any:
        if time.monotonic() < self.closed_until:
            return None
        try:
            reply = call()
            self.failures = 0
            return reply
        except redis.RedisError:
            self.failures += 1
            if self.failures >= 5:
                self.closed_until = time.monotonic() + 0.5
            return None

    def fill(self, prefix: str, record: dict[str, Any] | None, versions: list[str | None]) -> None:
        ttl = TTL if record else ABSENT_TTL
        if record and record["expires_at"] is not None:
            ttl = min(ttl, max(int(record["expires_at"] / 1000 - time.time()), 1))
        user = record["user_id"] if record else "nobody"
        keys = [f"record:{prefix}", f"version:{prefix}", "version:users", f"tag:user:{user}"]
        self.ask(lambda: self.fill_script(keys, [*(one or "0" for one in versions), json.dumps(record), ttl]))

    def sanitise(self, row: dict[str, Any]) -> dict[str, Any]:
        fields = ("id", "user_id", "name", "scopes", "is_active", "expires_at", "allowed_ips", "key_hash")
        return {field: row.get(field) for field in fields}

    def judge(self, row: dict[str, Any] | None, secret: str, scopes: list[str], address: str | None) -> tuple[str, Any]:
        if row is None:
            return "ABSENT", None
        digest = hashlib.sha256(secret.encode()).hexdigest()
        if not hmac.compare_digest(digest, row["key_hash"]):
            return "MISMATCH", None
        if not row["is_active"]:
            return "DISABLED", None
        if row["expires_at"] is not None and row["expires_at"] <= time.time() * 1000:
            return "EXPIRED", None
        if row["allowed_ips"] is not None:
            ranges = [ipaddress.ip_network(one) for one in row["allowed_ips"]]
            if address is None or not any(ipaddress.ip_address(address) in one for one in ranges):
                return "FORBIDDEN_IP", None
        for scope in scopes:
            if not any(self.grants(granted, scope) for granted in row["scopes"] or []):
                return "FORBIDDEN", scope
        return "VALID", row

    def grants(self, granted: str, asked: str) -> bool:
        if granted in ("*", asked):
            return True
        has, wants = granted.split(":", 1), asked.split(":", 1)
        return len(has) == len(wants) == 2 and all(h in ("*", w) for h, w in zip(has, wants, strict=True))

    def changed(self, prefix: str) -> None:
        self.until_done(lambda: self.revoke_script([f"record:{prefix}", f"version:{prefix}"], [FENCE_TTL]))

    def user_changed(self, user: int) -> None:
        self.until_done(lambda: self.revoke_user_script(["version:users", f"tag:user:{user}"], [FENCE_TTL]))

    def until_done(self, call: Callable[[], Any]) -> None:
        until = time.monotonic() + 5
        while True:
            try:
                call()
                return
            except redis.RedisError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def count(self, prefix: str, by: int = 1) -> None:
        self.redis.hincrby("usage", prefix, by)

    def batches(self) -> Iterator[tuple[str, dict[str, int]]]:
        while True:
            names = ["usage", "usage:leases", "usage:batch:"]
            leased = self.lease_script(names, [uuid.uuid4().hex, time.time(), LEASE])
            if leased is None:
                return
            batch, flat = leased
            yield batch, {prefix: int(count) for prefix, count in zip(flat[::2], flat[1::2], strict=True)}
            self.until_done(partial(self.ack_script, ["usage:leases", "usage:batch:"], [batch]))
