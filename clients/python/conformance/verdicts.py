"""Judges the cases of `verdict.json`, which are made of the engine's own decisions."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from redis_apikey._addresses import read_address
from redis_apikey._errors import BadRecord
from redis_apikey._records import Accepted, Fields, Judged, read_row
from redis_apikey._scopes import check_requests
from redis_apikey._verdict import judge

FIELDS = Fields()


def run(file: str) -> dict[str, Any]:
    """How many cases there are, and the first 20 that are judged otherwise than the engine does."""
    with open(file, encoding="utf-8") as text:
        cases = json.load(text)["cases"]
    wrong = []
    for number, case in enumerate(cases):
        expected = case["expected"]
        got = _row(case)
        if got == expected and case["record"] is not None:
            got = _record(case)
        if got != expected:
            wrong.append({"case": number, "expected": expected, "got": got})
    return {"cases": len(cases), "wrong": wrong[:20]}


def _row(case: dict[str, Any]) -> dict[str, Any]:
    """Of the row as the database has it."""
    return _judged(case, lambda: None if case["row"] is None else read_row(json.loads(case["row"]), FIELDS))


def _record(case: dict[str, Any]) -> dict[str, Any]:
    """Of the record as VALIDATE replies it, with its digests beside it."""

    def read() -> Judged:
        digests: tuple[Accepted, ...] = tuple(
            (bytes.fromhex(digest["hex"]), digest["until"]) for digest in case["digests"]
        )
        return dataclasses.replace(read_row(json.loads(case["record"]), FIELDS), digests=digests)

    return _judged(case, read)


def _judged(case: dict[str, Any], read: Any) -> dict[str, Any]:
    try:
        scopes = check_requests(case["scopes"])
        address = None if case["address"] is None else read_address(case["address"])
        row = read()
        verdict = judge(row, [bytes.fromhex(case["presented_digest"])], scopes, address, case["now"])
    except (BadRecord, ValueError):
        return {"error": True}
    said: dict[str, Any] = {"code": verdict.code, "scope": verdict.scope}
    if verdict.code in ("VALID", "UNVERIFIED"):
        said["ends_at"] = verdict.ends_at
    return said
