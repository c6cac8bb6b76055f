"""SQLite, of the standard library: its calls wait, so each transaction runs in a thread, on a connection of its own.

Who reads sees what was committed when it began, and waits for no writer (WAL). A change and its note in the outbox are
one transaction: neither is there without the other.
"""

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

from redis_apikey import Batch, Change

T = TypeVar("T")
Row = dict[str, Any]
PATH = os.environ.get("DATABASE", "keys.db")
SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS api_key (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    key_prefix TEXT NOT NULL UNIQUE,
    key_hash TEXT NOT NULL,  -- JSON: [digest], in the grace of a rotation [digest, {"digest": old, "until": end}]
    scopes TEXT NOT NULL,    -- JSON
    limits TEXT NOT NULL DEFAULT '[]',  -- JSON, in the form of a record's
    is_active INTEGER NOT NULL DEFAULT 1,
    expires_at TEXT,
    uses INTEGER NOT NULL DEFAULT 0,
    last_used_at REAL
);
CREATE INDEX IF NOT EXISTS api_key_of_user ON api_key (user_id);
CREATE TABLE IF NOT EXISTS usage_line (line TEXT PRIMARY KEY, written_at TEXT DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    change TEXT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL NOT NULL DEFAULT 0,
    error TEXT  -- why it can never be told; it is set aside
);
"""
RECORDS = "SELECT id, user_id, name, key_prefix, key_hash, scopes, limits, is_active, expires_at FROM api_key"


def _transaction(begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
    with closing(sqlite3.connect(PATH, timeout=10, isolation_level=None)) as connection, connection:
        connection.row_factory = lambda cursor, row: {name: row[i] for i, (name, *_) in enumerate(cursor.description)}
        # What is committed of usage is acknowledged, and Redis forgets it.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(begin)
        return work(connection)


def create() -> None:
    """The tables, where they are not there."""
    with closing(sqlite3.connect(PATH, timeout=10)) as connection:
        connection.executescript(SCHEMA)


async def read(sql: str, *values: object) -> list[Row]:
    return await asyncio.to_thread(_transaction, "BEGIN", lambda db: db.execute(sql, values).fetchall())


async def records(where: str, *values: object) -> list[Row]:
    """Rows as the library reads them: JSON is decoded, and what Redis has not to know is left out."""
    rows = await read(f"{RECORDS} WHERE {where}", *values)
    return [{**row, **{name: json.loads(row[name]) for name in ("key_hash", "scopes", "limits")}} for row in rows]


async def write(work: Callable[[sqlite3.Connection], T]) -> T:
    return await asyncio.to_thread(_transaction, "BEGIN IMMEDIATE", work)


async def change(work: Callable[[sqlite3.Connection], tuple[Change, T]]) -> tuple[int, Change, T]:
    """Commits a change and its note, whose id comes first. `work` returns what has changed, and what is answered."""

    def noted(db: sqlite3.Connection) -> tuple[int, Change, T]:
        told, answer = work(db)
        return int(db.execute("INSERT INTO outbox (change) VALUES (?)", [told.to_json()]).lastrowid or 0), told, answer

    return await write(noted)


def add_usage(db: sqlite3.Connection, batch: Batch) -> None:
    """What is new of a batch: one that comes again adds nothing, since ids of lines never repeat."""
    for line in batch.lines:
        if db.execute("INSERT INTO usage_line (line) VALUES (?) ON CONFLICT DO NOTHING", [line.id]).rowcount:
            add_uses(db, str(line.prefix), line.count, line.last_used_at)


def add_uses(db: sqlite3.Connection, prefix: str, count: int, at: float) -> None:
    db.execute(
        "UPDATE api_key SET uses = uses + ?, last_used_at = max(coalesce(last_used_at, 0), ?) WHERE key_prefix = ?",
        [count, at, prefix],
    )
