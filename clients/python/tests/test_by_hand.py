"""What is compared in the README works: the same keys, verified by `examples/by_hand.py` and by the library."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from database import Database
from redis_apikey import ApiKeys, Refused, Valid, parse_dotted
from servers import TOP, Server

sys.path.append(str(TOP / "examples"))
from by_hand import Cache

Verify = Callable[..., tuple[str, Any]]


def of_library(keys: ApiKeys) -> Verify:
    def verify(presented: str, scopes: list[str], address: str | None = None) -> tuple[str, Any]:
        match keys.verify(presented, scopes=scopes, address=address):
            case Valid():
                return "VALID", None
            case Refused(code, scope):
                return code, scope
        raise AssertionError

    return verify


def dotted(db: Database, **fields: Any) -> str:
    key = db.add(**fields)
    return f"{key.prefix}.{key.secret}"


def play(db: Database, verify: Verify, changed: Callable[[str], None], user_changed: Callable[[], None]) -> list[str]:
    """What is said of some keys before and after they change, and how often the database was asked."""
    said: list[str] = []

    def say(presented: str, *asked: Any) -> None:
        code, scope = verify(presented, *asked)
        said.append(code if code == "VALID" else f"{code} {scope}")

    good = dotted(db, scopes=["orders:*"])
    for _ in range(3):
        say(good, ["orders:refund"])
    say(good, ["users:read"])
    say(good[:-1] + ("A" if good[-1] != "A" else "B"), [])
    say(dotted(db, expires_at=1_000_000_000_000), [])
    bound = dotted(db, allowed_ips=["192.0.2.0/24"])
    say(bound, [], "192.0.2.7")
    say(bound, [], "198.51.100.1")
    for _ in range(2):
        say("nobody.x", [])
    say("x", [])
    prefix = good.partition(".")[0]
    db.rows[prefix]["is_active"] = False
    changed(prefix)
    say(good, [])
    db.rows[prefix]["is_active"] = True
    changed(prefix)
    say(good, [])
    for row in db.rows.values():
        row["is_active"] = False
    user_changed()
    say(good, [])
    say(bound, [], "192.0.2.7")
    # A row that is on its way while its key is revoked is not kept.
    late = dotted(db)
    prefix = late.partition(".")[0]
    load = db.load

    def slow(wanted: str) -> Any:
        row = load(wanted)
        db.load = load  # type: ignore[method-assign]
        db.rows[prefix]["is_active"] = False
        changed(prefix)
        return row

    db.load = slow  # type: ignore[method-assign]
    say(late, [])
    say(late, [])
    return [*said, str(db.reads)]


def test_the_library_says_what_is_written_by_hand(server: Server) -> None:
    db = Database()
    cache = Cache(server.url, lambda prefix: db.load(prefix), timeout=5.0)
    cache.redis.ping()
    by_hand = play(db, cache.verify, cache.changed, lambda: cache.user_changed(42))
    for prefix, by in (("a", 2), ("b", 1), ("a", 3)):
        cache.count(prefix, by)
    assert [lines for _, lines in cache.batches()] == [{"a": 5, "b": 1}]
    assert list(cache.batches()) == []

    db = Database()
    with ApiKeys(server.url, load=lambda prefix: db.load(prefix), parse=parse_dotted, timeout=5.0) as keys:
        changed = [lambda prefix: keys.changed(prefix=prefix), lambda: keys.changed(user=42)]
        assert play(db, of_library(keys), *changed) == by_hand  # type: ignore[arg-type]
    assert by_hand[:3] == ["VALID"] * 3
    assert by_hand[-3:-1] == ["VALID", "DISABLED None"]


def test_the_readme_counts_its_lines() -> None:
    text = (TOP / "examples/by_hand.py").read_text().split('"""', 2)[2]
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    said = re.search(r"(\d+) lines \(\[examples/by_hand.py\]", (TOP / "README.md").read_text())
    assert said is not None
    assert int(said[1]) == len(lines)
