#!/usr/bin/env python3
"""Plays the library for the conformance runner: a JSON object a line on stdin, one a line on stdout.

Times are milliseconds here, and seconds in the library.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import platform
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "src"), str(Path(__file__).resolve().parent)]

import verdicts  # noqa: E402
from redis.asyncio.sentinel import Sentinel as AsyncSentinel  # noqa: E402
from redis.sentinel import Sentinel  # noqa: E402

from redis_apikey import (  # noqa: E402
    L1,
    Answer,
    ApiKeys,
    AsyncApiKeys,
    AsyncCache,
    AsyncRegion,
    Cache,
    Change,
    Compression,
    Encryption,
    Limited,
    LimitState,
    RedisUnavailable,
    Refused,
    Region,
    Result,
    Settled,
    Valid,
    parse,
    parse_dotted,
)

JSON = dict[str, Any]

_output = threading.Lock()
_asks = itertools.count(1)
_answers: dict[int, Callable[[JSON], None]] = {}
_clients: dict[str, ApiKeys | AsyncApiKeys] = {}
_opened: dict[str, JSON] = {}
_caches: dict[str, Cache | AsyncCache] = {}
_regions: dict[tuple[str, str], Named] = {}
_loop = asyncio.new_event_loop()


@dataclass(frozen=True)
class Named:
    """A region; `raw`: its values are bytes, which are texts in base64 here."""

    region: Region | AsyncRegion
    raw: bool

    def told(self, value: Any) -> Any:
        return base64.b64encode(value).decode() if self.raw and value is not None else value

    def meant(self, value: Any) -> Any:
        return base64.b64decode(value) if self.raw and value is not None else value

    def answer(self, answer: Answer[Any]) -> JSON:
        return {"value": self.told(answer.value), "source": answer.source}

    def values(self, values: JSON) -> JSON:
        return {"values": {key: self.told(value) for key, value in values.items()}}


class Body(Exception):
    """What the body of a loop over batches raises, if it shall."""


def write(message: JSON) -> None:
    with _output:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def value_of(answer: JSON) -> Any:
    """What the runner's database says."""
    if "fail" in answer:
        raise RuntimeError(answer["fail"])
    return json.loads(answer["json"]) if "json" in answer else answer.get("value")


def ask_blocking(question: JSON) -> Any:
    number, answered, answers = next(_asks), threading.Event(), []

    def take(answer: JSON) -> None:
        answers.append(answer)
        answered.set()

    _answers[number] = take
    write({"ask": number, **question})
    answered.wait()
    return value_of(answers[0])


def void(_: object) -> None: ...


async def ask_async(question: JSON) -> Any:
    number = next(_asks)
    answered: asyncio.Future[JSON] = _loop.create_future()

    def put(answer: JSON) -> None:
        if not answered.done():
            answered.set_result(answer)

    _answers[number] = lambda answer: void(_loop.call_soon_threadsafe(put, answer))
    write({"ask": number, **question})
    return value_of(await answered)


def decision(prefix: str, resource: str, action: str) -> JSON:
    return {"decide": {"prefix": prefix, "resource": resource, "action": action}}


def arguments_of(call: JSON) -> tuple[Any, JSON]:
    """Of `open`: where to, and the library's options."""
    options = call.get("options") or {}
    user = ""
    if call.get("username"):
        user = f"{quote(call['username'], safe='')}:{quote(call.get('password') or '', safe='')}@"
    urls = [f"redis://{user}{node}?protocol={call.get('protocol') or 2}" for node in call["nodes"]]
    arguments: JSON = {"cluster": bool(call.get("cluster"))}
    seconds = {
        "timeout": "timeout",
        "change_timeout": "change_timeout",
        "ttl": "ttl",
        "absent_ttl": "absent_ttl",
    }
    for name, own in seconds.items():
        if options.get(name) is not None:
            arguments[own] = options[name] / 1000
    for name in ("when_down", "load_limit", "ns", "limits_when_unavailable"):
        if options.get(name) is not None:
            arguments[name] = options[name]
    if options.get("breaker"):
        arguments["breaker_failures"] = options["breaker"]["failures"]
        arguments["breaker_pause"] = options["breaker"]["ms"] / 1000
    if options.get("pepper"):
        arguments["pepper"] = [bytes.fromhex(pepper) for pepper in options["pepper"]]
    if options.get("l1"):
        arguments["l1"] = l1_of(options["l1"], options.get("channel"))
    arguments["parse"] = parse_dotted if options.get("parse") == "plain" else parse
    if options.get("outbox"):
        arguments["outbox"] = keep
    if call.get("sentinel"):
        nodes = [(host, int(port)) for host, port in (node.rsplit(":", 1) for node in call["nodes"])]
        sentinel = Sentinel if call["client"] == "redis-py" else AsyncSentinel
        return sentinel(nodes, protocol=call.get("protocol") or 2).master_for(call["sentinel"]), arguments
    return (urls if len(urls) > 1 or call.get("cluster") else urls[0]), arguments


def keep(change: Change) -> None:
    write({"outbox": json.loads(change.to_json())})


def said(result: Result) -> JSON:
    if isinstance(result, Valid):
        limits = None if result.limits is None else standing(result.limits)
        return {"kind": "valid", "record": result.record, "source": result.source, "limits": limits}
    if isinstance(result, Refused):
        return {"kind": "refused", "code": result.code, "scope": result.scope}
    if isinstance(result, Limited):
        retry, limits = milliseconds_of(result.retry_after), standing(result.limits)
        return {"kind": "limited", "code": result.code, "limit": result.limit, "retry": retry, "limits": limits}
    return {"kind": "unavailable", "cause": result.cause}


def milliseconds_of(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def standing(states: Sequence[LimitState]) -> list[JSON]:
    return [
        {
            "name": state.name,
            "kind": state.kind,
            "limit": state.limit,
            "remaining": state.remaining,
            "reset": milliseconds_of(state.reset_after),
            "retry": milliseconds_of(state.retry_after),
            "window": milliseconds_of(state.window),
            "shadow": state.shadow,
        }
        for state in states
    ]


def settled(now: Settled | None) -> JSON:
    return {"before": now and now.before, "now": now and now.now}


def batch_of(batch: Any) -> JSON:
    lines = [{"id": line.id, "key": line.key, "count": line.count} for line in batch.lines]
    return {"id": batch.id, "lines": lines}


def admission_of(call: JSON) -> JSON:
    return {name: call[name] for name in ("cost", "request_id", "limits", "counters") if call.get(name) is not None}


def credit_of(call: JSON) -> JSON:
    return {name: call[name] for name in ("by", "set", "request_id", "counter") if call.get(name) is not None}


def batches(keys: ApiKeys, call: JSON) -> list[JSON]:
    found: list[JSON] = []
    while True:
        try:
            for batch in keys.usage.batches(**batch_options(call, len(found))):
                found.append(batch_of(batch))
                if call.get("write"):
                    ask_blocking({"write": found[-1]["lines"]})
                if call.get("fail"):
                    raise Body
            return found
        except Body:
            if len(found) >= (call.get("most") or 1):
                return found


async def batches_async(keys: AsyncApiKeys, call: JSON) -> list[JSON]:
    found: list[JSON] = []
    while True:
        try:
            async with contextlib.aclosing(keys.usage.batches(**batch_options(call, len(found)))) as batches:
                async for batch in batches:
                    found.append(batch_of(batch))
                    if call.get("write"):
                        await ask_async({"write": found[-1]["lines"]})
                    if call.get("fail"):
                        raise Body
            return found
        except Body:
            if len(found) >= (call.get("most") or 1):
                return found


MISSING = object()

OF_A_CACHE = frozenset(
    (
        "breaker_failures",
        "breaker_pause",
        "change_timeout",
        "cluster",
        "load_limit",
        "outbox",
        "timeout",
        "when_down",
    )
)


def seconds_of(options: JSON, *names: str) -> JSON:
    return {name: options[name] / 1000 for name in names if options.get(name) is not None}


def l1_of(l1: JSON, channel: str | None) -> L1:
    return L1(
        l1.get("max_entries", 10_000),
        l1.get("max_age", 5000) / 1000,
        l1.get("follow", "tracking"),
        l1.get("channel") or channel or "apikey-invalidations",
    )


def open_region(call: JSON) -> None:
    """Beside the client of that name, and to where that goes."""
    name, options = call["name"], call.get("options") or {}
    if name not in _caches:
        where, arguments = arguments_of(_opened[name])
        of_both = (
            "cluster",
            "timeout",
            "change_timeout",
            "breaker_failures",
            "breaker_pause",
            "when_down",
            "load_limit",
        )
        shared = {option: arguments[option] for option in (*of_both, "outbox") if option in arguments}
        _caches[name] = (Cache if _opened[name]["client"] == "redis-py" else AsyncCache)(where, **shared)
    arguments = seconds_of(options, "ttl", "grace", "patience", "backoff")
    for option in ("refresh_ahead", "one_slot", "serializer"):
        if options.get(option) is not None:
            arguments[option] = options[option]
    if options.get("l1"):
        arguments["l1"] = l1_of(options["l1"], options.get("channel"))
    if options.get("compress"):
        arguments["compress"] = Compression(options["compress"].get("threshold", 1024))
    if options.get("encrypt"):
        keys = {id_: bytes.fromhex(key) for id_, key in options["encrypt"]["keys"].items()}
        arguments["encrypt"] = Encryption(keys, options["encrypt"]["use"])
    region = _caches[name].region(call["region"], ns=call.get("ns") or "", **arguments)
    _regions[name, call["as"]] = Named(region, options.get("serializer") == "bytes")


def fill_of(call: JSON) -> JSON:
    return {"tags": call.get("tags") or [], **seconds_of(call, "ttl", "grace")}


def read_of(call: JSON) -> JSON:
    return {**fill_of(call), "allow_stale": call.get("allow_stale", True)}


def written(key: str) -> JSON:
    return {"write": [{"id": key, "key": key, "count": 1}]}


def do_region(named: Named, region: Region, call: JSON) -> Any:
    key = call.get("key", "")
    match call["do"]:
        case "region_get_or_set":
            return named.answer(
                region.look_up(key, lambda key: named.meant(ask_blocking({"load": key})), **read_of(call))
            )
        case "region_get":
            value = region.get(key, MISSING)
            return {} if value is MISSING else {"value": named.told(value)}
        case "region_get_many":
            return named.values(region.get_many(call["keys"]))
        case "region_get_or_set_many":

            def load(keys: list[str]) -> JSON:
                return {key: named.meant(ask_blocking({"load": key})) for key in keys}

            return named.values(region.get_or_set_many(call["keys"], load, **read_of(call)))
        case "region_set":
            region.set(key, named.meant(call["value"]), **fill_of(call))
        case "region_write_through":
            region.write_through(key, named.meant(call["value"]), lambda: ask_blocking(written(key)), **fill_of(call))
        case "region_write_behind":
            return region.write_behind(key, named.meant(call["value"]), **fill_of(call))
        case "region_work":
            applied: list[JSON] = []
            region.worker(applying(named, call, applied)).drain()
            return applied
        case "region_invalidate":
            region.invalidate(key)
        case "region_invalidate_tags":
            return region.invalidate_tags(*call["tags"], soft=bool(call.get("soft")))
        case "region_clear":
            return region.clear()
        case "region_invalidate_pattern":
            return region.invalidate_pattern(call["pattern"])
        case "region_name":
            return region.name_of(key)
    return None


async def do_region_async(named: Named, region: AsyncRegion, call: JSON) -> Any:
    key = call.get("key", "")
    match call["do"]:
        case "region_get_or_set":

            async def load(key: str) -> Any:
                return named.meant(await ask_async({"load": key}))

            return named.answer(await region.look_up(key, load, **read_of(call)))
        case "region_get":
            value = await region.get(key, MISSING)
            return {} if value is MISSING else {"value": named.told(value)}
        case "region_get_many":
            return named.values(await region.get_many(call["keys"]))
        case "region_get_or_set_many":

            async def load_many(keys: list[str]) -> JSON:
                return {key: named.meant(await ask_async({"load": key})) for key in keys}

            return named.values(await region.get_or_set_many(call["keys"], load_many, **read_of(call)))
        case "region_set":
            await region.set(key, named.meant(call["value"]), **fill_of(call))
        case "region_write_through":
            await region.write_through(
                key, named.meant(call["value"]), lambda: ask_async(written(key)), **fill_of(call)
            )
        case "region_write_behind":
            return await region.write_behind(key, named.meant(call["value"]), **fill_of(call))
        case "region_work":
            applied: list[JSON] = []
            await region.worker(applying(named, call, applied)).drain()
            return applied
        case "region_invalidate":
            await region.invalidate(key)
        case "region_invalidate_tags":
            return await region.invalidate_tags(*call["tags"], soft=bool(call.get("soft")))
        case "region_clear":
            return await region.clear()
        case "region_invalidate_pattern":
            return await region.invalidate_pattern(call["pattern"])
        case "region_name":
            return region.name_of(key)
    return None


def applying(named: Named, call: JSON, applied: list[JSON]) -> Callable[[str, Any, str], None]:
    failing = call.get("fail") or []

    def apply(key: str, value: Any, id_: str) -> None:
        if key in failing:
            raise RuntimeError("the database is down")
        applied.append({"key": key, "value": named.told(value), "id": id_})

    return apply


def batch_options(call: JSON, found: int) -> JSON:
    most = call.get("most")
    return {
        "lease_ms": call.get("lease") or 30_000,
        "count": call.get("count") or 1000,
        "most": None if most is None else most - found,
    }


def do_blocking(keys: ApiKeys, call: JSON) -> Any:
    match call["do"]:
        case "verify":
            scopes, address = call.get("scopes") or [], call.get("address")
            return said(keys.verify(call["presented"], scopes=scopes, address=address, **admission_of(call)))
        case "changed":
            keys.changed(id=call.get("key_id"), prefix=call.get("prefix"), user=call.get("user"))
        case "created":
            keys.created(call["prefix"], call.get("user"))
        case "user_deleted":
            keys.user_deleted(call["user"], call.get("prefixes") or [])
        case "list":
            page = keys.list(
                call["user"],
                load=lambda user: ask_blocking({"list": user}),
                offset=call.get("offset") or 0,
                limit=call.get("limit"),
            )
            return {"items": page.items, "total": page.total}
        case "decide":
            return keys.decide(
                call["prefix"], call["resource"], call["action"], load=lambda *asked: ask_blocking(decision(*asked))
            )
        case "count":
            keys.usage.count(call["prefix"], call.get("by") or 1, request_id=call.get("request_id"))
        case "settle":
            counters = call.get("counters") or ()
            return settled(keys.settle(call["prefix"], call["request_id"], call["cost"], counters=counters))
        case "credit":
            return keys.credit(call["prefix"], call["limit"], **credit_of(call))
        case "limits":
            return standing(keys.limits(call["prefix"], counter=call.get("counter")))
        case "batches":
            return batches(keys, call)
        case "close":
            cache = _caches.pop(call["name"], None)
            if isinstance(cache, Cache):
                cache.close()
            keys.close()
    return None


async def do_async(keys: AsyncApiKeys, call: JSON) -> Any:
    match call["do"]:
        case "verify":
            scopes, address = call.get("scopes") or [], call.get("address")
            return said(await keys.verify(call["presented"], scopes=scopes, address=address, **admission_of(call)))
        case "changed":
            await keys.changed(id=call.get("key_id"), prefix=call.get("prefix"), user=call.get("user"))
        case "created":
            await keys.created(call["prefix"], call.get("user"))
        case "user_deleted":
            await keys.user_deleted(call["user"], call.get("prefixes") or [])
        case "list":
            page = await keys.list(
                call["user"],
                load=lambda user: ask_async({"list": user}),
                offset=call.get("offset") or 0,
                limit=call.get("limit"),
            )
            return {"items": page.items, "total": page.total}
        case "decide":
            return await keys.decide(
                call["prefix"], call["resource"], call["action"], load=lambda *asked: ask_async(decision(*asked))
            )
        case "count":
            await keys.usage.count(call["prefix"], call.get("by") or 1, request_id=call.get("request_id"))
        case "settle":
            counters = call.get("counters") or ()
            return settled(await keys.settle(call["prefix"], call["request_id"], call["cost"], counters=counters))
        case "credit":
            return await keys.credit(call["prefix"], call["limit"], **credit_of(call))
        case "limits":
            return standing(await keys.limits(call["prefix"], counter=call.get("counter")))
        case "batches":
            return await batches_async(keys, call)
        case "close":
            cache = _caches.pop(call["name"], None)
            if isinstance(cache, AsyncCache):
                await cache.aclose()
            await keys.aclose()
    return None


def describe() -> JSON:
    return {
        "language": "python",
        "version": platform.python_version(),
        "clients": ["redis-py", "redis-py-asyncio"],
        "protocols": [2, 3],
        "l1": True,
        "regions": True,
        "limits": True,
        "sentinel": ["redis-py", "redis-py-asyncio"],
    }


def open_client(call: JSON) -> None:
    _opened[call["name"]] = call
    where, arguments = arguments_of(call)
    if call["client"] == "redis-py":
        _clients[call["name"]] = ApiKeys(where, lambda prefix: ask_blocking({"load": prefix}), **arguments)
    else:
        _clients[call["name"]] = AsyncApiKeys(where, lambda prefix: ask_async({"load": prefix}), **arguments)


def generated(call: JSON) -> JSON:
    key = _clients[call["name"]].generate(call["key_name"])
    return {"presented": key.presented, "prefix": key.prefix, "digest": key.digest}


def error_of(error: Exception) -> JSON:
    said: JSON = {"class": type(error).__name__, "message": str(error)}
    return {**said, "maybe_done": error.maybe_done} if isinstance(error, RedisUnavailable) else said


def answer(call: JSON, outcome: Callable[[], Any]) -> None:
    try:
        write({"id": call["id"], "ok": outcome()})
    except Exception as error:
        write({"id": call["id"], "error": error_of(error)})


async def answer_async(call: JSON, steps: Coroutine[Any, Any, Any]) -> None:
    try:
        write({"id": call["id"], "ok": await steps})
    except Exception as error:
        write({"id": call["id"], "error": error_of(error)})


def take(call: JSON) -> None:
    if "answer" in call:
        _answers.pop(call["answer"])(call)
        return
    at_once: dict[str, Callable[[], Any]] = {
        "describe": describe,
        "open": lambda: open_client(call),
        "generate": lambda: generated(call),
        "verdicts": lambda: verdicts.run(call["file"]),
        "region_open": lambda: open_region(call),
    }
    if call["do"] in at_once:
        answer(call, at_once[call["do"]])
        return
    named = _regions.get((call["name"], call.get("as", "")))
    if named is not None and call["do"].startswith("region_"):
        region = named.region
        if isinstance(region, AsyncRegion):
            asyncio.run_coroutine_threadsafe(answer_async(call, do_region_async(named, region, call)), _loop)
        else:
            threading.Thread(target=answer, args=(call, lambda: do_region(named, region, call)), daemon=True).start()
        return
    keys = _clients.get(call["name"])
    if keys is None:
        write({"id": call["id"], "error": {"class": "KeyError", "message": f"no client {call['name']}"}})
    elif isinstance(keys, AsyncApiKeys):
        asyncio.run_coroutine_threadsafe(answer_async(call, do_async(keys, call)), _loop)
    else:
        threading.Thread(target=answer, args=(call, lambda: do_blocking(keys, call)), daemon=True).start()


def main() -> None:
    threading.Thread(target=_loop.run_forever, daemon=True).start()
    for line in sys.stdin:
        if line.strip():
            take(json.loads(line))
    # Threads may wait for answers that won't come.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
