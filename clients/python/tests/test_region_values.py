"""What becomes of a value: bytes, fewer bytes, and bytes that nobody else reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from redis_apikey import Answer, Compression, Encryption
from redis_apikey._values import MOST_BYTES, Codec, Unreadable, serializer_of
from servers import Server
from source import Source

MISSING = object()
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def codec(
    compress: Compression | None = None,
    encrypt: Encryption | None = None,
    ns: str = "",
    region: str = "p",
    serializer: Any = "json",
) -> Codec:
    return Codec(ns, region, serializer_of(serializer), compress, encrypt)


@pytest.mark.parametrize("compress", [None, Compression(0), Compression(10_000)])
@pytest.mark.parametrize("encrypt", [None, Encryption({"3": KEY}, "3")])
@pytest.mark.parametrize("plain", [b"", b"1", b"x" * 5000, os.urandom(5000)])
def test_what_was_sealed_is_opened(compress: Any, encrypt: Any, plain: bytes) -> None:
    of = codec(compress, encrypt)
    sealed = of.seal("a", plain)
    assert of.open("a", sealed.data, sealed.label.encode()) == plain
    assert sealed.label.startswith("json")
    assert sealed.tags == (("kid:3",) if encrypt else ())
    assert (";kid=3" in sealed.label) == bool(encrypt)


def test_it_is_compressed_where_that_is_smaller_and_worth_it() -> None:
    of = codec(Compression(100))
    assert of.seal("a", b"x" * 99).label == "json"
    sealed = of.seal("a", b"x" * 100)
    assert sealed.label == "json+zstd"
    assert len(sealed.data) < 100
    assert of.seal("a", os.urandom(1000)).label == "json"
    # Who does not compress reads what others have.
    assert codec().open("a", sealed.data, b"json+zstd") == b"x" * 100


def test_what_unpacks_to_more_than_it_says_or_than_anybody_stores_is_none() -> None:
    of = codec(Compression())
    without_size = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)
    bomb = zstandard.ZstdCompressor().compress(bytes(MOST_BYTES + 1))
    most = zstandard.ZstdCompressor().compress(bytes(MOST_BYTES))
    good = zstandard.ZstdCompressor().compress(b"x" * 100)
    assert len(of.open("a", most, b"json+zstd")) == MOST_BYTES
    for data in (without_size, bomb, good[:-1], good + b"x", b"", b"x" * 50):
        with pytest.raises(Unreadable):
            of.open("a", data, b"json+zstd")


def test_the_form_is_the_one_that_is_agreed() -> None:
    sealed = codec(None, Encryption({"3": KEY}, "3"), ns="t1:").seal("42", b"secret")
    associated = b"t1:\0p\0" + b"42\0json;kid=3"
    assert AESGCM(KEY).decrypt(sealed.data[:12], sealed.data[12:], associated) == b"secret"
    assert (sealed.label, sealed.tags) == ("json;kid=3", ("t1:kid:3",))
    assert len(sealed.data) == 12 + 6 + 16


def test_what_is_encrypted_is_of_use_nowhere_else() -> None:
    encryption = Encryption({"3": KEY, "4": OTHER}, "3")
    of = codec(None, encryption)
    sealed = of.seal("a", b"secret")
    label = sealed.label.encode()
    assert b"secret" not in sealed.data
    assert of.seal("a", b"secret").data != sealed.data
    for other, key, data, said in (
        (of, "b", sealed.data, label),
        (codec(None, encryption, region="q"), "a", sealed.data, label),
        (codec(None, encryption, ns="t1:"), "a", sealed.data, label),
        (codec(None, encryption, serializer="bytes"), "a", sealed.data, label),
        (of, "a", sealed.data, b"json;kid=4"),
        (of, "a", sealed.data, b"json+zstd;kid=3"),
        (of, "a", sealed.data, b"json;kid=9"),
        (of, "a", sealed.data, b"json;kid=3;kid=3"),
        (of, "a", sealed.data, b"json"),
        (of, "a", sealed.data, None),
        (of, "a", sealed.data[:-1], label),
        (of, "a", sealed.data[:27], label),
        (of, "a", b"", label),
        (of, "a", bytes([sealed.data[0] ^ 1]) + sealed.data[1:], label),
        (of, "a", b'"anybody could have put it there"', b"json"),
        (codec(), "a", sealed.data, label),
    ):
        with pytest.raises(Unreadable):
            other.open(key, data, said)
    assert "secret" not in repr(encryption)
    assert repr(KEY) not in repr(encryption)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Encryption({"3": KEY[:16]}, "3"),
        lambda: Encryption({"3": KEY}, "4"),
        lambda: Encryption({"": KEY}, ""),
        lambda: Encryption({"a;b": KEY}, "a;b"),
        lambda: Encryption({"x" * 33: KEY}, "x" * 33),
        lambda: Encryption({}, "3"),
        lambda: Compression(-1),
        lambda: Compression(level=0),
        lambda: Compression(level=20),
    ],
)
def test_what_is_no_key_and_no_threshold_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        wrong()


def test_no_label_is_longer_than_the_server_takes(new_cache: Callable[..., Any], server: Server) -> None:
    class Longest(Pairs):
        name = "x" * 16

    region = new_cache(server.url).region(
        "p", serializer=Longest(), compress=Compression(0), encrypt=Encryption({"k" * 32: KEY}, "k" * 32)
    )
    region.set("a", (b"x" * 1000, b"y"))
    assert region.get("a") == (b"x" * 1000, b"y")


def test_who_has_not_the_package_is_told_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = codec(Compression(0)).seal("a", b"x" * 100)
    for package in ("zstandard", "cryptography.hazmat.primitives.ciphers.aead"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"redis-apikey\[compression\]"):
        Compression()
    with pytest.raises(ImportError, match=r"redis-apikey\[encryption\]"):
        Encryption({"3": KEY}, "3")
    # What others have compressed is loaded.
    with pytest.raises(Unreadable, match="zstandard"):
        codec().open("a", packed.data, packed.label.encode())


class Pairs:
    """A serializer of an application's own."""

    name = "pairs.1"

    def dumps(self, value: Any) -> bytes:
        return b"=".join(value)

    def loads(self, data: bytes) -> Any:
        first, second = data.split(b"=")
        return first, second


def test_serializers(new_cache: Callable[..., Any], server: Server) -> None:
    cache = new_cache(server.url)
    pairs, raw = cache.region("pairs", serializer=Pairs()), cache.region("raw", serializer="bytes")
    assert pairs.get_or_set("a", lambda _: (b"x", b"y")) == (b"x", b"y")
    assert pairs.get("a") == (b"x", b"y")
    assert raw.get_or_set("a", lambda _: bytearray(b"\0\xff")) == b"\0\xff"
    assert raw.get("a") == b"\0\xff"
    with pytest.raises(TypeError):
        raw.set("a", "text")
    # Another version's bytes are none.
    server.client().execute_command("CACHE.SET", pairs.name_of("a"), "pairs", "junk", "LABEL", "pairs.1")
    assert pairs.look_up("a", lambda _: (b"1", b"2")) == Answer((b"1", b"2"), "loaded")


def test_a_key_is_rotated_and_retired(new_cache: Callable[..., Any], server: Server) -> None:
    source = Source(a="x" * 2000, b=None)
    cache = new_cache(server.url)
    before = cache.region("p", ns="t1:", encrypt=Encryption({"old": KEY}, "old"), compress=Compression())
    between = cache.region("p", ns="t1:", encrypt=Encryption({"old": KEY, "new": OTHER}, "new"), compress=Compression())
    after = cache.region("p", ns="t1:", encrypt=Encryption({"new": OTHER}, "new"), compress=Compression())
    before.get_or_set("a", source.load)
    before.get_or_set_many(["c"], lambda _: {"c": 1})
    assert between.look_up("a", source.load) == Answer("x" * 2000, "cache")
    between.set("b", 2)
    client = server.client()
    names = [region.name_of(key) for region, key in ((before, "a"), (before, "b"), (before, "c"))]
    kids = [client.execute_command("APIKEY.TAGS", name)[-1] for name in names]
    assert kids == [b"t1:kid:old", b"t1:kid:new", b"t1:kid:old"]
    assert b"xxxx" not in client.execute_command("CACHE.GET", names[0], "p", "NS", "t1:")[1]
    # Who has the old key no more loads, also before it is retired.
    assert after.look_up("a", source.load) == Answer("x" * 2000, "loaded")
    assert between.look_up("a", source.load) == Answer("x" * 2000, "cache")
    assert after.invalidate_tags("t1:kid:old") == 1
    assert after.get("c", MISSING) is MISSING
    assert after.get("b") == 2
    # Nothing that is not encrypted is taken for a value.
    cache.region("p", ns="t1:").set("b", 3)
    assert after.get("b", MISSING) is MISSING


def test_a_value_that_was_moved_to_another_key_is_none(new_cache: Callable[..., Any], server: Server) -> None:
    region = new_cache(server.url).region("p", encrypt=Encryption({"3": KEY}, "3"))
    region.set("mine", "my balance")
    client = server.client()
    _, data, label = client.execute_command("CACHE.GET", region.name_of("mine"), "p")[:3]
    client.execute_command("CACHE.SET", region.name_of("yours"), "p", data, "LABEL", label)
    assert region.get("mine") == "my balance"
    assert region.get("yours", MISSING) is MISSING
