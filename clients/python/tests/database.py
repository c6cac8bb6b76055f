"""The application's database: rows by their prefixes, and how often they were read."""

from __future__ import annotations

from typing import Any

import redis_apikey
from redis_apikey._keys import generate

PREFIX = "ak_test_000000000001"


class Database:
    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.reads = 0

    def load(self, prefix: str) -> dict[str, Any] | None:
        self.reads += 1
        row = self.rows.get(prefix)
        return None if row is None else dict(row)

    def add(self, **fields: Any) -> redis_apikey.GeneratedKey:
        key = generate("ak_test", ())
        number = len(self.rows) + 1
        self.rows[key.prefix] = {
            "id": f"k-{number}",
            "user_id": 42,
            "key_prefix": key.prefix,
            "key_hash": key.digest,
            "scopes": ["users:read", "orders:*"],
            "is_active": True,
            "expires_at": None,
            **fields,
        }
        return key

    def revoke(self, key: redis_apikey.GeneratedKey) -> str:
        self.rows[key.prefix]["is_active"] = False
        return str(self.rows[key.prefix]["id"])
