"""A service with API keys: FastAPI, SQLite, and redis-apikey in between. README.md says how it is run.

What is left of the cache's protocol: `load`, `keys.tell` behind each commit, and the loop that writes usage.
"""

import asyncio
import hmac
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from sqlite3 import Connection
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, Field

import sqlite
from redis_apikey import ApiKeysError, AsyncApiKeys, Change, ChangeNotTold, Page, RedisUnavailable, Valid
from redis_apikey.fastapi import RequireKey, health_router

log = logging.getLogger("uvicorn.error")
ADMIN = f"Bearer {os.environ['ADMIN_TOKEN']}".encode()
LEASE_MS = int(os.environ.get("USAGE_LEASE_MS", "30000"))
TIMEOUT = float(os.environ.get("REDIS_TIMEOUT", "0.05"))


async def load(prefix: str) -> sqlite.Row | None:
    return next(iter(await sqlite.records("key_prefix = ?", prefix)), None)


keys = AsyncApiKeys(os.environ.get("REDIS_URL", "redis://localhost:6379"), load, timeout=TIMEOUT)
require = RequireKey(keys)


async def tell(note: int, change: Change) -> bool:
    """Tells Redis what was committed, and deletes the note. False where it has to be told again, behind the others."""
    try:
        await keys.tell(change)
    except ChangeNotTold as error:
        log.warning("%s is told later: %s", change, error)
        sql = "UPDATE outbox SET failures = failures + 1, next_try_at = ? + min(10, 1 << min(failures, 4)) WHERE id = ?"
        await sqlite.write(lambda db: db.execute(sql, [time.time(), note]))
        return False
    except (TypeError, ValueError) as error:
        await set_aside(note, error)
        return False
    await sqlite.write(lambda db: db.execute("DELETE FROM outbox WHERE id = ?", [note]))
    return True


async def set_aside(note: int, error: Exception) -> None:
    """A note that can never be told holds up no other, and /health has it."""
    log.error("note %s can never be told: %s", note, error)
    await sqlite.write(lambda db: db.execute("UPDATE outbox SET error = ? WHERE id = ?", [str(error), note]))


async def tell_again(note: sqlite.Row) -> None:
    try:
        change = Change.from_json(note["change"])
    except ValueError as error:
        await set_aside(note["id"], error)
    else:
        await tell(note["id"], change)


async def tell_what_is_left() -> None:
    """Side by side, so that one that fails holds up no other; those that failed come behind new ones."""
    due = "SELECT id, change FROM outbox WHERE error IS NULL AND next_try_at <= ? ORDER BY next_try_at, id LIMIT 100"
    while notes := await sqlite.read(due, time.time()):
        await asyncio.gather(*map(tell_again, notes))


async def write_usage() -> None:
    async with aclosing(keys.usage.batches(lease_ms=LEASE_MS)) as batches:
        async for batch in batches:
            await sqlite.write(partial(sqlite.add_usage, batch=batch))


async def count(prefix: str) -> None:
    try:
        await keys.usage.count(prefix)
    except ApiKeysError as error:
        if isinstance(error, RedisUnavailable) and error.maybe_done:
            log.warning("a use of %s may not have been counted: %s", prefix, error)
        else:
            await sqlite.write(lambda db: sqlite.add_uses(db, prefix, 1, time.time()))


async def again_and_again(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:
            log.warning("%s is tried again: %r", work.__name__, error)
        await asyncio.sleep(1)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    sqlite.create()
    try:
        log.info("%s", await keys.warm(lambda: sqlite.records("is_active")))
    except ApiKeysError as error:
        log.warning("not warmed, keys are loaded as they are asked for: %s", error)
    tasks = [asyncio.create_task(again_and_again(work)) for work in (tell_what_is_left, write_usage)]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await keys.aclose()


async def is_admin(authorization: Annotated[str, Header()] = "") -> None:
    if not hmac.compare_digest(authorization.encode(), ADMIN):
        raise HTTPException(401, "the administrator's token is required", {"WWW-Authenticate": "Bearer"})


app = FastAPI(lifespan=lifespan)
app.include_router(health_router(keys))
admin = [Depends(is_admin)]
User = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,64}$")]
Id = Annotated[int, Path(ge=1, lt=2**63)]


@app.exception_handler(RequestValidationError)
async def is_wrong(_: Request, error: RequestValidationError) -> JSONResponse:
    """What is wrong, without what was sent: NaN and half a character can't be sent back."""
    wrong = [{part: one[part] for part in ("type", "loc", "msg")} for one in error.errors()]
    return JSONResponse({"detail": wrong}, 422)


class NewKey(BaseModel):
    # The pattern wants whole characters.
    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")
    scopes: list[Annotated[str, Field(pattern=r"^(\*|[a-z_]{1,64}:(\*|[a-z_]{1,64}))$")]] = Field(max_length=64)
    expires_at: AwareDatetime | None = None
    per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    def limits(self) -> list[dict[str, Any]]:
        return [] if self.per_minute is None else [{"name": "minute", "units": self.per_minute, "per": 60_000}]


class Rotation(BaseModel):
    grace_seconds: float = Field(86_400, ge=0, le=30 * 86_400, allow_inf_nan=False)


async def commit(response: Response, status: int, work: Callable[[Connection], tuple[Change, Any]]) -> Any:
    """202 where the change is committed, and Redis will hear of it later."""
    note, change, answer = await sqlite.change(work)
    response.status_code = status if await tell(note, change) else 202
    return answer


def one(db: Connection, id: int) -> tuple[sqlite.Row, Change]:
    """A key that was not revoked, and that it has changed."""
    row = db.execute(f"{sqlite.RECORDS} WHERE id = ? AND is_active", [id]).fetchone()
    if row is None:
        raise HTTPException(404, "there is no such key, or it was revoked")
    return row, Change("changed", id, row["user_id"], (row["key_prefix"],))


@app.post("/users/{user}/keys", status_code=201, dependencies=admin)
async def issue(user: User, new: NewKey, response: Response) -> Any:
    key = keys.generate("ak_live")
    hashes, scopes, limits = (json.dumps(column) for column in ([key.digest], new.scopes, new.limits()))
    end = new.expires_at and new.expires_at.isoformat()

    def work(db: Connection) -> tuple[Change, Any]:
        columns = "user_id, name, key_prefix, key_hash, scopes, limits, expires_at"
        sql = f"INSERT INTO api_key ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        row = db.execute(sql, [user, new.name, key.prefix, hashes, scopes, limits, end])
        return Change("created", None, user, (key.prefix,)), {"id": row.lastrowid, "key": key.presented}

    return await commit(response, 201, work)


@app.get("/users/{user}/keys", dependencies=admin)
async def page(user: User, offset: Annotated[int, Field(ge=0)] = 0, limit: Annotated[int, Field(ge=0)] = 50) -> Page:
    of_user = partial(sqlite.records, "user_id = ? ORDER BY id")
    return await keys.list(user, load=of_user, offset=offset, limit=limit)


@app.get("/keys/{id}/usage", dependencies=admin)
async def usage(id: Id) -> Any:
    rows = await sqlite.read("SELECT uses, last_used_at FROM api_key WHERE id = ?", id)
    if not rows:
        raise HTTPException(404, "there is no such key")
    return rows[0]


@app.post("/keys/{id}/rotate", dependencies=admin)
async def rotate(id: Id, rotation: Rotation, response: Response) -> Any:
    def work(db: Connection) -> tuple[Change, Any]:
        row, change = one(db, id)
        key, until = keys.regenerate(row["key_prefix"]), int((time.time() + rotation.grace_seconds) * 1000)
        hashes = [key.digest, {"digest": json.loads(row["key_hash"])[0], "until": until}]
        db.execute("UPDATE api_key SET key_hash = ? WHERE id = ?", [json.dumps(hashes), id])
        return change, {"key": key.presented, "until": until}

    return await commit(response, 200, work)


@app.delete("/keys/{id}", dependencies=admin)
async def revoke(id: Id, response: Response) -> None:
    def work(db: Connection) -> tuple[Change, Any]:
        change = one(db, id)[1]
        db.execute("UPDATE api_key SET is_active = 0 WHERE id = ?", [id])
        return change, None

    await commit(response, 200, work)


@app.delete("/users/{user}", dependencies=admin)
async def delete_user(user: User, response: Response) -> None:
    def work(db: Connection) -> tuple[Change, Any]:
        rows = db.execute("DELETE FROM api_key WHERE user_id = ? RETURNING key_prefix", [user]).fetchall()
        return Change("user_deleted", None, user, tuple(row["key_prefix"] for row in rows)), None

    await commit(response, 200, work)


@app.get("/health")
async def health() -> Any:
    """Changes that Redis was not told yet, and those that it can never be told."""
    return (await sqlite.read("SELECT count(*) - count(error) AS untold, count(error) AS set_aside FROM outbox"))[0]


@app.get("/orders")
async def orders(key: Annotated[Valid, Depends(require("orders:read"))], background: BackgroundTasks) -> dict[str, Any]:
    # Who was admitted by limits was counted with that.
    if key.limits is None:
        background.add_task(count, str(key.record["key_prefix"]))
    return {"user": key.record["user_id"], "orders": []}
