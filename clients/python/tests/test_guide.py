"""The code of docs/clients.md, from the first block to the last: it prints what stands there."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any

import pytest

from servers import TOP, Server

TABLE = "CREATE TABLE api_keys (id, user_id, key_prefix, key_hash, scopes JSON, limits JSON, is_active)"


class Db:
    """The application's own."""

    def __init__(self) -> None:
        sqlite3.register_converter("JSON", json.loads)
        self.connection = sqlite3.connect(":memory:", detect_types=sqlite3.PARSE_DECLTYPES, check_same_thread=False)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute(TABLE)

    def run(self, sql: str, *values: Any) -> None:
        assert self.connection.execute(sql, values).rowcount == 1

    def one(self, sql: str, *values: Any) -> dict[str, Any] | None:
        row = self.connection.execute(sql, values).fetchone()
        return None if row is None else dict(row)


def test_the_guide_prints_what_it_says(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    guide = (TOP / "docs/clients.md").read_text()
    blocks = re.findall(r"^(?:```(\w+)\n(.*?)^```|## )", guide, re.DOTALL | re.MULTILINE)
    code: list[str] = []
    expected: list[str] = []
    # What is printed belongs to the languages that have a block before it, under the same heading.
    is_ours = False
    for language, text in blocks:
        if language == "python":
            code.append(text.replace("redis://localhost:6379", server.url))
            is_ours = True
        elif language != "js":
            expected += text.splitlines() if is_ours else []
            is_ours = False
    assert len(code) > 3
    assert len(expected) > 3
    exec("\n".join(code), {"db": Db()})
    assert capsys.readouterr().out.splitlines() == expected
