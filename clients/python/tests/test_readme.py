"""The README's first lines, as they stand there."""

from __future__ import annotations

import re

import pytest

from database import Database
from servers import TOP, Server


def test_the_ten_lines_work(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", (TOP / "clients/python/README.md").read_text(), re.DOTALL)
    assert code is not None
    db = Database()
    text = code[1].replace("redis://localhost:6379", server.url)
    for key in (db.add(scopes=["orders:*"]), db.add()):
        exec(text, {"fetch_row": db.load, "presented": key.presented})
    db.rows[key.prefix]["scopes"] = []
    exec(text, {"fetch_row": db.load, "presented": "x"})
    assert capsys.readouterr().out.splitlines() == ["good: k-1", "good: k-2", "not good: MALFORMED None"]
