#!/usr/bin/env python3
"""Writes examples/records.ndjson: API keys as a table's export to JSON has them, one row a line.

    python3 examples/make-records.py > examples/records.ndjson

The same bytes each time. The secret of the key with prefix P is "P.demo-secret"; the row has its SHA-256
as key_hash, as the table would (the one key that is being rotated has two, the second that of "P.old-secret").
Rows have columns that the module must drop, and what real columns hold: names in many scripts, escapes,
null, past and future expiry in both forms, disabled keys, scopes of both forms, ids beyond 2^53.
"""

import hashlib
import json
import random
import string
import uuid
from datetime import datetime, timedelta, timezone

ROWS = 300
USER_42_ROWS = 60
# Everything is relative to this day and far enough from it to keep its meaning for years.
TODAY = datetime(2026, 1, 15, 9, 30, tzinfo=timezone.utc)

random.seed(20260115)

NAMES = [
    "Production gateway", "CI deploy", "Mobile app (iOS)", "Grafana read-only", "Nightly export",
    "Zahlungsabwicklung – Größe XL", "Clé de l'équipe « Été »", "Señal de alarma ¡ya!", "Łódź magazyn",
    "Ключ для склада", "Αποθήκη Πειραιά", "支付网关", "決済ゲートウェイ", "결제 게이트웨이", "คีย์ทดสอบระบบ",
    "مفتاح المتجر", "מפתח ראשי", "भुगतान सेवा", "বাংলা পরীক্ষা", "Đơn hàng số 7", "İstanbul şubesi",
    "🔑 rotate me", "👩🏽‍💻 Zoë's laptop", "🇹🇭 Bangkok 🛒", "A\u0301 combining, Å precomposed",
    'quoted "partner" key', "back\\slash \\n not a newline", "line one\nline two\ttabbed", "50% off; DROP TABLE keys; --",
    "<script>alert(1)</script>", "C:\\keys\\new", "trailing space ", "%s %n {braces} [x] *",
]
# Longer than max-name-length in bytes; the second is cut in the middle of a character unless care is taken.
LONG_NAMES = [
    "Integration key of the regional logistics platform, created by the onboarding wizard for the third-party warehouse",
    "กุญแจสำหรับระบบขนส่งสินค้าระหว่างประเทศและคลังสินค้าหลัก",
    "🚚" * 40,
]

STRING_SCOPES = [
    ["users:read"], ["users:read", "users:write"], ["orders:*"], ["*"], ["read"], ["read", "write"], ["*:read"],
    ["users:read", "orders:*", "invoices:read"], ["reports:export", "*:list"], ["admin"], [], ["日本:読む"],
]
OBJECT_SCOPES = [
    [{"resource": "users", "actions": ["read", "write"]}],
    [{"resource": "orders", "actions": ["*"]}],
    [{"resource": "*", "actions": ["read"]}],
    [{"resource": "invoices", "actions": ["read"]},
     {"resource": "reports", "actions": ["read", "export"]}],
]
MIXED_SCOPES = [
    ["users:read", {"resource": "orders", "actions": ["create", "read"]}],
    [{"resource": "files", "actions": ["upload"]}, "read"],
]


def sha256(secret):
    return hashlib.sha256(secret.encode()).hexdigest()


def a_uuid():
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def timestamp(moment, form):
    """RFC 3339 as different databases write it."""
    if form == "offset":
        return moment.astimezone(timezone(timedelta(hours=7))).isoformat(timespec="seconds")
    if form == "micros":
        return moment.isoformat(timespec="microseconds")
    return moment.isoformat(timespec="milliseconds" if form == "millis" else "seconds").replace("+00:00", "Z")


def a_timestamp(moment):
    return timestamp(moment, random.choice(["seconds", "millis", "micros", "offset"]))


def prefixes():
    seen = {"7Qm2"}
    yield "ak_live_7Qm2"
    while True:
        four = "".join(random.choices(string.ascii_letters + string.digits, k=4))
        if four.lower() not in seen:
            seen.add(four.lower())
            yield random.choice(["ak_live_", "ak_live_", "ak_live_", "ak_test_"]) + four


def expiry():
    kind = random.choices(["never", "future", "past"], [60, 28, 12])[0]
    if kind == "never":
        return None
    days = random.randint(3650, 7300) if kind == "future" else -random.randint(30, 1500)
    moment = TODAY + timedelta(days=days, seconds=random.randrange(86400))
    if random.random() < 0.25:
        return int(moment.timestamp() * 1000)
    return a_timestamp(moment)


def row(prefix, number, user_id):
    created = TODAY - timedelta(days=random.randint(2, 1600), seconds=random.randrange(86400))
    updated = created + timedelta(days=random.random() * 2)
    uses = random.choice([0, 0, random.randint(1, 900), random.randint(1000, 4_000_000)])
    name = random.choice(NAMES)
    return {
        "id": a_uuid(),
        "user_id": user_id,
        "name": name if random.random() < 0.5 else f"{name} #{number}",
        "key_prefix": prefix,
        "key_hash": sha256(f"{prefix}.demo-secret"),
        "scopes": random.choices([random.choice(STRING_SCOPES), random.choice(OBJECT_SCOPES),
                                  random.choice(MIXED_SCOPES)], [70, 20, 10])[0],
        "is_active": random.random() > 0.08,
        "expires_at": expiry(),
        "created_at": a_timestamp(created),
        "updated_at": a_timestamp(updated),
        "last_used_at": a_timestamp(updated + timedelta(hours=3)) if uses else None,
        "usage_count": uses,
        "metadata": random.choice([
            None, {}, {"source": "dashboard", "ip": "203.0.113.7"},
            {"created_by": "onboarding", "labels": ["partner", "eu-west"], "note": "Größe ändern, 確認済み"},
        ]),
    }


def main():
    users = [a_uuid() for _ in range(35)] + [7, 1001, 31337, 9223372036854775807, "auth0|5f7c8ec7c33c6c004bbafe82"]
    owners = [42] * (USER_42_ROWS - 1) + random.choices(users, k=ROWS - USER_42_ROWS)
    random.shuffle(owners)
    fresh = prefixes()
    rows = [row(prefix, number, owner) for number, (prefix, owner) in enumerate(zip(fresh, [42] + owners), 1)]

    # The two that documentation and scripts/run use.
    rows[0].update(name="Lotte’s gateway 🔑 東京", scopes=["users:read", "orders:*"], is_active=True, expires_at=None)
    rows[1].update(user_id=7, key_prefix="ak_live_Tk9x", key_hash=sha256("ak_live_Tk9x.demo-secret"), name="Dépôt de Genève",
                   scopes=[{"resource": "users", "actions": ["read", "write"]}, "read"], is_active=True,
                   expires_at="2038-06-30T23:59:59+02:00")
    # One of each that chance need not bring.
    rows[10].update(id=9007199254740993, is_active=True, expires_at=None)  # 2^53 + 1
    for place, number in zip((11, 12, 13, 14), (1, 58211, 58212, 58213)):
        rows[place].update(id=number)
    for place, name in zip((20, 21, 22), LONG_NAMES):
        rows[place].update(name=name)
    rotated = next(each for each in rows[30:] if each["user_id"] != 42)
    rotated.update(key_hash=[sha256(f"{rotated['key_prefix']}.{kind}-secret") for kind in ("demo", "old")],
                   is_active=True, expires_at=None)
    rows[40].update(is_active=False, expires_at="2023-03-31T00:00:00Z")
    rows[41].update(is_active=True, expires_at="2023-03-31T00:00:00Z")
    rows[42].update(is_active=True, expires_at=1680220800000)
    rows[43].update(is_active=False, expires_at=None)
    rows[44].update(is_active=True, expires_at=2145916800000)

    for number, each in enumerate(rows):
        # Some exporters escape what is not ASCII, most do not.
        print(json.dumps(each, ensure_ascii=number % 7 == 3, separators=(",", ":")))


if __name__ == "__main__":
    main()
