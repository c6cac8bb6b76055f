"""The verdict: what the engine decides, and what a server says of rows."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redis_apikey import BadRecord, Fields
from redis_apikey._records import read_row
from servers import TOP, Server

sys.path.append(str(TOP / "clients/python/conformance"))

ROW: dict[str, Any] = {"id": 1, "user_id": "u", "is_active": True, "scopes": ["a:b"], "key_hash": None}

ROWS: list[dict[str, Any]] = [
    {},
    *({"id": value} for value in (None, "", "x" * 256, "x" * 257, "é" * 129, 1.5, True, [], 10**255, 10**256, -1)),
    *({"user_id": value} for value in (None, "", 7, False, {})),
    *({"is_active": value} for value in (1, 0, "t", "f", "true", "false", "1", 2, None, "yes", "True")),
    *(
        {"expires_at": value}
        for value in (
            None,
            "infinity",
            "-infinity",
            "2026-01-01T00:00:00Z",
            "2026-01-01t00:00:00.123456789+01:30",
            "2026-01-01 00:00:00+00",
            "2026-01-01 00:00:00.5-0330",
            "2026-01-01 00:00:00",
            "2026-01-01",
            "2026-02-29T00:00:00Z",
            "2024-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T23:59:60Z",
            "2026-01-01T00:00:00+24:00",
            "1700000000000",
            "1700000000",
            "+1700000000000",
            1_700_000_000_000,
            1_700_000_000,
            1_700_000_000_000_000,
            631_152_000_000,
            631_151_999_999,
            253_402_300_799_999,
            253_402_300_800_000,
            1.5,
            True,
            [],
            "",
        )
    ),
    *(
        {"scopes": value}
        for value in (
            None,
            [],
            ["*"],
            "a",
            {},
            [1],
            [None],
            ["!a"],
            ["-a"],
            ["x" * 1024],
            ["x" * 1025],
            [{"resource": "a", "actions": ["b"]}],
            [{"resource": "a", "actions": []}],
            [{"resource": "a"}],
            [{"resource": "a", "actions": ["-b"]}],
            [{"resource": "a", "actions": ["b"], "until": 1}],
        )
    ),
    *(
        {"allowed_ips": value}
        for value in (
            None,
            [],
            ["10.0.0.1"],
            ["10.0.0.0/8"],
            ["10.0.0.1/8"],
            ["::1"],
            ["::/0"],
            ["::ffff:10.0.0.0/104"],
            ["fe80::1%eth0"],
            ["10.0.0.0/33"],
            ["10.0.0.0/"],
            ["10.0.0.0/+8"],
            ["010.0.0.1"],
            [""],
            "10.0.0.1",
            ["10.0.0.1"] * 65,
        )
    ),
    *(
        {"limits": value}
        for value in (
            None,
            [],
            {},
            "[]",
            [1],
            [None],
            [{}],
            [{"name": "a"}],
            [{"name": "a", "credits": True}] * 2,
            [{"name": f"a{number}", "credits": True} for number in range(16)],
            [{"name": f"a{number}", "credits": True} for number in range(17)],
        )
    ),
    *(
        {"limits": [{"name": "a", **fields}]}
        for fields in (
            *(
                {"name": name, "credits": True}
                for name in ("", "A9_-.:", "a b", "é", "a" * 64, "a" * 65, 1, None, "a\n")
            ),
            *({"credits": value} for value in (True, False, None, 1)),
            *({"credits": True, name: 1} for name in ("limit", "units", "quota", "cost", "counter")),
            *({"credits": True, "cost": value} for value in (0, 1_000_000, 1_000_001, -1, 1.0, True, "1", None)),
            *({"credits": True, "counter": value} for value in (0, 1, 16, 17, 257, 2**64)),
            *({"credits": True, "shadow": value} for value in (True, False, None, 1)),
            *({"units": value, "per": 1} for value in (0, 1, 10**15, 10**15 + 1, 1.5, None)),
            *({"units": 1, "per": value} for value in (0, 1, 31_622_400_000, 31_622_400_001)),
            *({"units": 1, "per": 31_622_400_000, "burst": value} for value in (0, 291_672_107, 291_672_108, None)),
            *({"quota": value, "period": "day"} for value in (0, -1, 10**15, 10**15 + 1, None)),
            *(
                {"quota": 1, "period": value}
                for value in ("Hour", "WEEK", "year", "wee\u212a", "fortnight", "", None, 1)
            ),
            *({"quota": 1, "period": "month", "day": value} for value in (0, 1, 31, 32, 257, None)),
            *({"quota": 1, "period": "day", "offset": value} for value in (-1440, 1440, 1441, -1441, 65_536, None)),
            {"quota": 1, "period": "day", "day": 1},
            {"quota": 1},
            {"per": 1},
        )
    ),
    *({"name": value} for value in (None, "x", "é" * 60, 1, [])),
    *({"created_at": value} for value in (None, 1, "x", {"a": 1}, {"expires": 1}, '{"revoked":true}', [[1]])),
    *({name: None} for name in ("expiresAt", "status", "ttl", "metadata", "org_id", "ip", "enabled", "validator")),
    *({name: value} for name in ("revoked", "deleted_at") for value in (None, False, 0, "", True, 1, "x", 0.5)),
    *({"metadata": value} for value in ({"a": 1}, {"limits": {"allowed_ips": []}}, '{"ttl":1}', "{ttl}", [1, 2])),
    *(
        {"key_hash": value}
        for value in (
            "00" * 32,
            "\\x" + "AB" * 32,
            "00" * 31,
            "+/v7" * 10 + "+/s",
            "-_v7" * 10 + "-_s=",
            "+/v7" * 10 + "+/t",
            [],
            [None],
            ["00" * 32, "11" * 32],
            ["00" * 32] * 3,
            [{"digest": "00" * 32, "until": "2026-12-01T00:00:00Z"}],
            [{"digest": "00" * 32, "until": 1}],
            [{"digest": "00" * 32, "end": 1}],
            [{"until": 1}],
            [{"digest": None, "until": 1}],
            {"digest": "00" * 32},
            1,
        )
    ),
]


def test_rows_are_read_as_the_server_reads_them(own: Callable[..., Server]) -> None:
    client = own(settings=["digest-field", "key_hash"]).client()
    for changes in ROWS:
        row = {**ROW, **changes}
        text = json.dumps(row)
        try:
            client.execute_command("APIKEY.SETVAL", "apikey:{x}", text)
            theirs: Any = "stored"
        except Exception as error:
            theirs = str(error).split(" ")[0]
        try:
            # What the database driver has made of the same.
            ours = read_row(json.loads(text), Fields())
        except BadRecord:
            assert theirs == "BADRECORD", row
            continue
        assert theirs == "stored", row
        reply = client.execute_command("APIKEY.VALIDATE", "apikey:{x}")
        if reply[0] == b"UNVERIFIED":
            assert json.loads(ours.json) == json.loads(reply[1]), row


def test_the_cases_of_the_engine() -> None:
    file = os.environ.get("APIKEY_VERDICTS")
    if not file or not Path(file).exists():
        pytest.skip("APIKEY_VERDICTS does not say where verdict.json is")
    import verdicts

    said = verdicts.run(file)
    assert said["wrong"] == []
    assert said["cases"] >= 5000
