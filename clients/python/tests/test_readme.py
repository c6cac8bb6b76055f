"""The README's first lines, as they stand there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from database import Database
from redis_apikey import ApiKeys, Limited
from servers import TOP, Server

README = (TOP / "clients/python/README.md").read_text()


def test_the_lines_on_regions_work(server: Server) -> None:
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[2]
    calls: list[str] = []
    stored: dict[str, int] = {}

    def fetch_product(key: str) -> int:
        calls.append(key)
        return int(key)

    names = {
        "fetch_product": fetch_product,
        "fetch_products": lambda keys: {key: fetch_product(key) for key in keys},
        "store_product": stored.__setitem__,
        "new": 7,
    }
    text = code.replace("redis://localhost:6379", server.url).replace("Cache(", "Cache(timeout=2.0, redis=")
    exec(text, names)
    products: Any = names["products"]
    assert (names["product"], names["several"]) == (42, {"42": 42, "43": 43})
    assert (calls, stored, products.get("42")) == (["42", "43"], {"42": 7}, 7)


def test_the_lines_on_limits_work(server: Server) -> None:
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[1]
    db = Database()
    key = db.add()
    with ApiKeys(server.url, db.load, timeout=2.0) as keys:
        names: dict[str, Any] = {"row": db.rows[key.prefix], "keys": keys, "presented": key.presented, "my_id": "r-1"}
        exec(code, names)
        assert names["result"] == Limited("USAGE_EXCEEDED", "credits", None, names["result"].limits)
        keys.credit(key.prefix, "credits", by=500)
        exec(code, names)
        assert [state.remaining for state in names["result"].limits] == [17, 99_997, 497]


def test_the_ten_lines_work(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    db = Database()
    text = code[1].replace("redis://localhost:6379", server.url)
    used_up = [{"name": "credits", "credits": True}]
    for key in (db.add(limits=used_up), db.add(scopes=["orders:*"]), db.add()):
        exec(text, {"fetch_row": db.load, "presented": key.presented})
    db.rows[key.prefix]["scopes"] = []
    exec(text, {"fetch_row": db.load, "presented": "x"})
    assert capsys.readouterr().out.splitlines() == [
        "too much: credits None",
        "good: k-2",
        "good: k-3",
        "not good: MALFORMED None",
    ]
