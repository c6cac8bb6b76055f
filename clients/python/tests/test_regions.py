"""Regions: what is loaded, what is kept, and what ends it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from redis_apikey import Answer, AsyncCache, Cache, Change
from servers import Server, eventually
from source import Source

MISSING = object()


def set_region(server: Server, name: str, *settings: object) -> None:
    assert server.client().execute_command("CACHE.REGION", "SET", name, *settings) in (True, b"OK")


def test_a_miss_is_loaded_and_the_next_is_a_hit(new_cache: Callable[..., Any], server: Server) -> None:
    source = Source(a={"price": 3, "name": "ü"})
    region = new_cache(server.url).region("products")
    assert region.look_up("a", source.load) == Answer({"price": 3, "name": "ü"}, "loaded")
    assert region.look_up("a", source.load) == Answer({"price": 3, "name": "ü"}, "cache")
    assert region.get("a") == {"price": 3, "name": "ü"}
    assert source.loads == ["a"]
    assert server.client().execute_command("CACHE.GET", "cache:products:{a}", "products")[1:3] == [
        '{"price":3,"name":"ü"}'.encode(),
        b"json",
    ]


def test_what_is_handed_out_is_the_callers_own(new_cache: Callable[..., Any], server: Server) -> None:
    source = Source(a={"names": ["x"]})
    region = new_cache(server.url).region("products")
    for _ in range(2):
        value = region.get_or_set("a", source.load)
        assert value == {"names": ["x"]}
        value["names"].append("y")
    assert source.values["a"] == {"names": ["x"]}


def test_what_the_source_has_not_is_asked_for_once(new_cache: Callable[..., Any], server: Server) -> None:
    source = Source()
    region = new_cache(server.url).region("products")
    assert region.get("a", MISSING) is MISSING
    assert region.look_up("a", source.load) == Answer(None, "loaded")
    assert region.look_up("a", source.load) == Answer(None, "cache")
    assert region.get("a", MISSING) is None
    assert source.loads == ["a"]


def test_tags_end_what_carries_them_in_all_regions(new_cache: Callable[..., Any], server: Server) -> None:
    source = Source(a=1, b=2)
    cache = new_cache(server.url)
    products, search = cache.region("products"), cache.region("search")
    products.get_or_set("a", source.load, tags=["brand:1"])
    search.get_or_set("b", source.load, tags=lambda value: [f"brand:{value}", "brand:1"])
    products.get_or_set("c", source.load)
    assert cache.invalidate_tags("brand:1", "brand:9") == 2
    assert products.get("a", MISSING) is MISSING
    assert search.get("b", MISSING) is MISSING
    assert products.get("c", MISSING) is None


def test_regions_and_namespaces_do_not_meet(new_cache: Callable[..., Any], server: Server) -> None:
    cache = new_cache(server.url)
    regions = [cache.region("p"), cache.region("p", ns="t1:"), cache.region("q"), cache.region("q", one_slot=True)]
    for number, region in enumerate(regions):
        region.set("a", number)
    assert [region.get("a") for region in regions] == [0, 1, 2, 3]
    assert regions[1].get_many(["a", "b"]) == {"a": 1}
    assert regions[0].clear() == 1
    assert [region.get("a", None) for region in regions] == [None, 1, 2, 3]
    assert regions[1].clear() == 1
    assert [region.get("a", None) for region in regions] == [None, None, 2, 3]


def test_a_pattern_is_of_the_applications_keys(new_cache: Callable[..., Any], server: Server) -> None:
    cache = new_cache(server.url)
    region, other = cache.region("p[1]*"), cache.region("p1")
    for key in ("42:a", "42:b", "43:a"):
        region.set(key, 1)
        other.set(key, 1)
    assert region.invalidate_pattern("42:*") == 2
    assert region.get_many(["42:a", "42:b", "43:a"]) == {"43:a": 1}
    assert len(other.get_many(["42:a", "42:b", "43:a"])) == 3


def test_a_load_that_an_invalidation_overtook_is_not_kept(new_cache: Callable[..., Any], server: Server) -> None:
    client = server.client()
    for overtake in (
        lambda: client.execute_command("APIKEY.INVAL", "cache:p:{a}"),
        lambda: client.execute_command("APIKEY.TAGINVAL", "t"),
        lambda: client.execute_command("CACHE.CLEAR", "p"),
        lambda: client.execute_command("CACHE.SET", "cache:p:{a}", "p", "2", "LABEL", "json"),
    ):
        region = new_cache(server.url).region("p")

        def load(_: str, overtake: Callable[[], object] = overtake) -> int:
            overtake()
            return 1

        assert region.look_up("a", load, tags=["t"]) == Answer(1, "loaded")
        assert region.get("a", MISSING) in (MISSING, 2)
        region.clear()


def test_a_value_of_another_label_or_of_junk_is_loaded_anew(new_cache: Callable[..., Any], server: Server) -> None:
    client, source = server.client(), Source(a=1)
    region = new_cache(server.url).region("p")
    for value, label in (
        (b"1", ["LABEL", "msgpack"]),
        (b"1", []),
        (b"{", ["LABEL", "json"]),
        (b"x", ["LABEL", "json+zstd"]),
    ):
        client.execute_command("CACHE.SET", "cache:p:{a}", "p", value, *label)
        assert region.get("a", MISSING) is MISSING
        assert region.look_up("a", source.load) == Answer(1, "loaded")
        assert region.look_up("a", source.load) == Answer(1, "cache")
        client.execute_command("CACHE.SET", "cache:p:{a}", "p", value, *label)
        assert region.get_or_set_many(["a"], source.load_many) == {"a": 1}
        assert region.get_many(["a"]) == {"a": 1}


def test_many_are_one_load_and_what_is_missing_is_absent(new_cache: Callable[..., Any], server: Server) -> None:
    source = Source(a=1, b=2, c=3)
    region = new_cache(server.url).region("p")
    region.set("b", 20)
    assert region.get_or_set_many(["a", "b", "c", "d", "a"], source.load_many, tags=["t"]) == {
        "a": 1,
        "b": 20,
        "c": 3,
        "d": None,
    }
    assert source.batches == [["a", "c", "d"]]
    assert region.get_or_set_many(["d", "c"], source.load_many) == {"d": None, "c": 3}
    assert region.get_many(["a", "d", "e"]) == {"a": 1, "d": None}
    assert source.batches == [["a", "c", "d"]]
    assert region.invalidate_tags("t") == 3
    assert region.get_or_set_many([], source.load_many) == {}


def test_many_may_have_tags_of_their_own(new_cache: Callable[..., Any], server: Server) -> None:
    source = Source(**{str(number): number for number in range(20)})
    region = new_cache(server.url).region("p", ns="t:")
    region.get_or_set_many(list(source.values), source.load_many, tags=lambda value: [f"odd:{value % 2}"])
    assert region.invalidate_tags("odd:1") == 10
    assert region.get_many(list(source.values)) == {key: value for key, value in source.values.items() if not value % 2}


def test_a_stale_value_is_refreshed_by_one_and_served_while_the_source_is_down(
    new_cache: Callable[..., Any], server: Server
) -> None:
    set_region(server, "p", "LEASE", 60_000)
    source = Source(a=1)
    region = new_cache(server.url).region("p", grace=60.0, backoff=0.001)
    region.get_or_set("a", source.load, tags=["t"])
    source.values["a"] = 2
    region.invalidate_tags("t", soft=True)
    source.fails = True
    assert region.look_up("a", source.load) == Answer(1, "stale")
    source.fails = False
    # Its lease was given back.
    assert eventually(lambda: region.look_up("a", source.load) == Answer(2, "loaded"))
    assert region.look_up("a", source.load) == Answer(2, "cache")


def test_who_wants_no_stale_value_gets_none(new_cache: Callable[..., Any], server: Server) -> None:
    source = Source(a=1)
    region = new_cache(server.url).region("p", grace=60.0)
    region.get_or_set("a", source.load, tags=["t"])
    region.invalidate_tags("t", soft=True)
    source.fails = True
    with pytest.raises(ConnectionError):
        region.get_or_set("a", source.load, allow_stale=False)
    assert region.get("a") == 1
    source.fails = False
    source.values["a"] = 2
    assert region.get_or_set_many(["a"], source.load_many, allow_stale=False) == {"a": 2}


def test_a_hard_invalidation_beats_every_grace(new_cache: Callable[..., Any], server: Server) -> None:
    source = Source(a=1)
    region = new_cache(server.url).region("p", grace=60.0)
    region.get_or_set("a", source.load, tags=["t"])
    region.invalidate_tags("t", soft=True)
    region.invalidate_tags("t")
    source.fails = True
    with pytest.raises(ConnectionError):
        region.get_or_set("a", source.load)


def test_what_load_raises_is_the_callers_and_the_next_loads(new_cache: Callable[..., Any], server: Server) -> None:
    set_region(server, "p", "LEASE", 60_000)
    source = Source(a=1)
    source.fails = True
    region = new_cache(server.url).region("p", backoff=0.001)
    with pytest.raises(ConnectionError, match="the source is down"):
        region.get_or_set("a", source.load)
    with pytest.raises(ConnectionError, match="the source is down"):
        region.get_or_set_many(["a", "b"], source.load_many)
    source.fails = False
    began = time.monotonic()
    assert region.get_or_set_many(["a", "b"], source.load_many) == {"a": 1, "b": None}
    assert time.monotonic() - began < 5


def test_what_can_not_be_serialised_is_an_error_and_its_lease_is_given_back(
    new_cache: Callable[..., Any], server: Server
) -> None:
    set_region(server, "p", "LEASE", 60_000)
    region = new_cache(server.url).region("p", backoff=0.001)
    with pytest.raises(TypeError):
        region.get_or_set("a", lambda _: {1, 2})
    with pytest.raises(TypeError):
        region.set("a", {1, 2})
    began = time.monotonic()
    assert region.get_or_set("a", lambda _: 1) == 1
    assert time.monotonic() - began < 5


def test_tags_that_raise_keep_nothing_and_nobody_waiting(new_cache: Callable[..., Any], server: Server) -> None:
    set_region(server, "p", "LEASE", 60_000)
    region = new_cache(server.url).region("p")

    def tags(_: object) -> list[str]:
        raise KeyError("brand")

    for _ in range(2):
        assert region.look_up("a", lambda _: 1, tags=tags) == Answer(1, "loaded")
        assert region.get_or_set_many(["b"], lambda _: {"b": 1}, tags=tags) == {"b": 1}


def test_get_gives_the_lease_back(new_cache: Callable[..., Any], server: Server) -> None:
    set_region(server, "p", "LEASE", 60_000)
    region = new_cache(server.url).region("p")
    began = time.monotonic()
    assert region.get("a", MISSING) is MISSING
    assert region.get_many(["a", "b"]) == {}
    assert region.look_up("a", lambda _: 1) == Answer(1, "loaded")
    assert region.get_or_set_many(["b"], lambda _: {"b": 2}) == {"b": 2}
    assert time.monotonic() - began < 5


def test_who_waits_gets_what_another_process_loaded(new_cache: Callable[..., Any], server: Server) -> None:
    set_region(server, "p", "LEASE", 60_000)
    token = server.client().execute_command("CACHE.GET", "cache:p:{a}", "p")[1]
    source = Source(a=1, b=2)

    def store() -> None:
        time.sleep(0.2)
        server.client().execute_command("CACHE.SET", "cache:p:{a}", "p", "7", "TOKEN", token, "LABEL", "json")

    region = new_cache(server.url).region("p", patience=30.0)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(store)
        assert region.get_or_set_many(["a", "b"], source.load_many) == {"a": 7, "b": 2}
        assert region.look_up("a", source.load) == Answer(7, "cache")
    assert (source.loads, source.batches) == ([], [["b"]])


def test_nobody_waits_longer_than_patience_and_then_stores_nothing(
    new_cache: Callable[..., Any], server: Server
) -> None:
    set_region(server, "p", "LEASE", 60_000)
    for key in "ab":
        server.client().execute_command("CACHE.GET", f"cache:p:{{{key}}}", "p")
    source = Source(a=1, b=2)
    region = new_cache(server.url).region("p", patience=0.2)
    began = time.monotonic()
    assert region.look_up("a", source.load) == Answer(1, "loaded")
    assert 0.2 <= time.monotonic() - began < 5
    assert region.get_or_set_many(["b"], source.load_many) == {"b": 2}
    assert region.get_many(["a", "b"]) == {}


def test_eager_refreshes_in_the_background(new_cache: Callable[..., Any], server: Server) -> None:
    set_region(server, "p", "EAGER", 50, "LEASE", 50)
    source = Source(a=1, b=1)
    region = new_cache(server.url).region("p", ttl=20.0)
    region.set("a", 1, ttl=2.0)
    region.set("b", 1, ttl=2.0)
    source.values.update(a=2, b=2)
    seen = []

    def refreshed() -> bool:
        seen.append((region.look_up("a", source.load), region.get_or_set_many(["b"], source.load_many)))
        return seen[-1] == (Answer(2, "cache"), {"b": 2})

    eventually(refreshed)
    # Nobody has waited for it.
    assert {answer.source for answer, _ in seen} == {"cache"}
    assert (source.loads, source.batches) == (["a"], [["b"]])


def test_without_refresh_ahead_a_value_lives_until_it_ends(new_cache: Callable[..., Any], server: Server) -> None:
    set_region(server, "p", "EAGER", 50)
    source = Source(a=2)
    region = new_cache(server.url).region("p", refresh_ahead=False)
    region.set("a", 1, ttl=0.5)
    seen: list[Answer[int]] = []

    def loaded() -> bool:
        seen.append(region.look_up("a", source.load))
        return seen[-1] == Answer(2, "loaded")

    eventually(loaded)
    assert set(map(str, seen[:-1])) == {str(Answer(1, "cache"))}


def test_a_refresh_of_the_background_that_fails_changes_nothing(
    new_cache: Callable[..., Any], server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    set_region(server, "p", "EAGER", 50, "LEASE", 50)
    source = Source(a=1)
    region = new_cache(server.url).region("p", backoff=0.001)
    region.set("a", 1, ttl=4.0)
    source.fails = True

    def failed() -> bool:
        assert region.look_up("a", source.load) == Answer(1, "cache")
        return bool(source.loads)

    eventually(failed)
    eventually(lambda: region.get("a") == 1 and "the source is down" in caplog.text)


def test_64_threads_load_a_cold_key_once(server: Server) -> None:
    set_region(server, "p", "LEASE", 60_000)
    source = Source(a=1)

    def load(key: str) -> Any:
        time.sleep(0.2)
        return source.load(key)

    caches = [Cache(server.url, timeout=10.0) for _ in range(4)]
    regions = [cache.region("p", patience=30.0) for cache in caches]
    with ThreadPoolExecutor(64) as pool:
        values = list(pool.map(lambda number: regions[number % 4].get_or_set("a", load), range(64)))
    assert (values, source.loads) == ([1] * 64, ["a"])
    for cache in caches:
        cache.close()


def test_64_tasks_load_a_cold_key_once_also_while_redis_is_away(server: Server) -> None:
    set_region(server, "p", "LEASE", 60_000)
    source = Source(a=1)

    async def load(key: str) -> Any:
        await asyncio.sleep(0.2)
        return source.load(key)

    async def many(url: str) -> list[Any]:
        async with AsyncCache(url, timeout=10.0) as cache:
            region = cache.region("p", patience=30.0)
            return list(await asyncio.gather(*(region.get_or_set("a", load) for _ in range(64))))

    assert asyncio.run(many(server.url)) == [1] * 64
    assert source.loads == ["a"]
    assert asyncio.run(many("redis://127.0.0.1:1")) == [1] * 64
    assert source.loads == ["a", "a"]


def test_a_load_that_began_before_an_invalidation_is_not_shared_behind_it(server: Server) -> None:
    for lease in (0, 60_000):
        set_region(server, "p", "LEASE", lease)
        source = Source(a=1)
        read, go_on = threading.Event(), threading.Event()

        def load(
            key: str, source: Source = source, read: threading.Event = read, go_on: threading.Event = go_on
        ) -> Any:
            value = source.load(key)
            if len(source.loads) == 1:
                read.set()
                go_on.wait()
            return value

        with Cache(server.url, timeout=10.0) as cache, ThreadPoolExecutor(2) as pool:
            region = cache.region("p", patience=30.0)
            first = pool.submit(region.look_up, "a", load)
            read.wait()
            source.values["a"] = 2
            region.invalidate("a")
            second = pool.submit(region.look_up, "a", load)
            eventually(second.running)
            time.sleep(0.1)
            go_on.set()
            assert first.result() == Answer(1, "loaded")
            # It has the lease itself, and does not wait for that.
            assert second.result(10) == Answer(2, "loaded")
            assert region.get("a") == 2
            region.clear()


def test_who_waits_for_another_process_takes_no_older_load_of_its_own(server: Server) -> None:
    set_region(server, "p", "LEASE", 60_000)
    source = Source(a=1)
    read, go_on = threading.Event(), threading.Event()

    def load(key: str) -> Any:
        value = source.load(key)
        if len(source.loads) == 1:
            read.set()
            go_on.wait()
        return value

    with Cache(server.url, timeout=10.0) as cache, ThreadPoolExecutor(2) as pool:
        region = cache.region("p", patience=0.5)
        first = pool.submit(region.look_up, "a", load)
        read.wait()
        source.values["a"] = 2
        region.invalidate("a")
        # Another process has the lease from now on.
        assert server.client().execute_command("CACHE.GET", region.name_of("a"), "p")[0] == b"MISS"
        second = pool.submit(region.look_up, "a", load)
        eventually(second.running)
        time.sleep(0.1)
        go_on.set()
        assert first.result() == Answer(1, "loaded")
        assert second.result(10) == Answer(2, "loaded")


def test_a_load_that_was_cancelled_leaves_nobody_waiting(server: Server) -> None:
    set_region(server, "p", "LEASE", 60_000)
    loading: list[str] = []

    async def load(key: str) -> int:
        loading.append(key)
        if len(loading) == 1:
            await asyncio.sleep(3600)
        return 1

    async def run() -> None:
        async with AsyncCache(server.url, timeout=10.0) as cache, AsyncCache(server.url, timeout=10.0) as other:
            region, elsewhere = cache.region("p", patience=30.0), other.region("p", patience=30.0)
            first = asyncio.create_task(region.get_or_set("a", load))
            while not loading:
                await asyncio.sleep(0.01)
            others = [asyncio.create_task(one.get_or_set("a", load)) for one in [region, elsewhere] * 4]
            await asyncio.sleep(0.05)
            first.cancel()
            assert await asyncio.wait_for(asyncio.gather(*others), 10) == [1] * 8

    asyncio.run(run())
    assert len(loading) == 2


def test_write_through_commits_then_says_what_it_wrote(new_cache: Callable[..., Any], server: Server) -> None:
    source = Source()
    region = new_cache(server.url).region("p")
    seen: list[Any] = []

    def commit() -> str:
        seen.append(region_of_its_own.get("a", None))
        source.write("a", 1)
        return "row 7"

    with Cache(server.url, timeout=2.0) as cache:
        region_of_its_own = cache.region("p")
        assert region.write_through("a", 1, commit, tags=["t"]) == "row 7"
    assert (seen, source.values, region.get("a")) == ([None], {"a": 1}, 1)
    assert region.invalidate_tags("t") == 1
    region.set("a", 2)
    region.set("a", None)
    assert region.get("a", MISSING) is MISSING


def test_a_commit_that_raises_may_have_been_one(new_cache: Callable[..., Any], server: Server) -> None:
    region = new_cache(server.url).region("p")
    region.set("a", 1)

    def commit() -> None:
        raise ConnectionError("the reply was lost")

    with pytest.raises(ConnectionError, match="the reply was lost"):
        region.write_through("a", 2, commit)
    assert region.get("a", MISSING) is MISSING
    # Nobody holds the key.
    assert region.write_through("a", 3, lambda: None) is None
    assert region.get("a") == 3


def test_what_can_not_be_sent_is_not_committed(new_cache: Callable[..., Any], server: Server) -> None:
    region = new_cache(server.url).region("p")
    for wrong in ({1, 2}, float("nan")):
        with pytest.raises((TypeError, ValueError)):
            region.write_through("a", wrong, lambda: pytest.fail("it was committed"))


def test_a_value_that_is_refused_is_invalidated_instead(new_cache: Callable[..., Any], server: Server) -> None:
    region = new_cache(server.url).region("p", serializer="bytes")
    region.set("a", b"1")
    region.set("a", b"x" * (9 * 1024 * 1024))
    assert region.get("a", MISSING) is MISSING


def test_writers_of_a_key_take_turns(server: Server) -> None:
    committed: list[int] = []
    with Cache(server.url, timeout=10.0) as cache, ThreadPoolExecutor(16) as pool:
        region = cache.region("p")

        def write(number: int) -> None:
            region.write_through("a", number, lambda: committed.append(number))

        list(pool.map(write, range(200)))
        assert region.get("a") == committed[-1]


def test_an_invalidation_of_an_outbox_is_told_later(new_cache: Callable[..., Any], server: Server) -> None:
    cache = new_cache(server.url)
    region = cache.region("p")
    region.set("a", 1)
    region.set("b", 1, tags=["t"], grace=60)
    change = Change("invalidated", keys=(region.name_of("a"),))
    assert Change.from_json(change.to_json()) == change
    cache.tell(change)
    soft = Change("invalidated", tags=("t",), soft=True)
    assert Change.from_json(soft.to_json()) == soft
    cache.tell(soft)
    assert region.get_many(["a", "b"]) == {"b": 1}
    with pytest.raises(ValueError, match="ApiKeys"):
        cache.tell(Change("changed", id=1))


def test_a_function_is_cached_by_its_arguments(server: Server) -> None:
    calls: list[tuple[int, str]] = []
    with Cache(server.url, timeout=2.0) as cache:
        region = cache.region("p")

        @region.cached("{id}:{lang}", tags=["brand:{id}"], ttl=60)
        def product(id: int, lang: str = "en") -> str | None:
            """A product."""
            calls.append((id, lang))
            return f"{id} in {lang}" if id else None

        class Shop:
            @region.cached("shop:{id}")
            def product(self, id: int) -> int:
                calls.append((id, "shop"))
                return id

        assert [product(1), product(1, "en"), product(id=1), product(1, lang="de")] == ["1 in en"] * 3 + ["1 in de"]
        assert [product(0), product(0)] == [None, None]
        assert calls == [(1, "en"), (1, "de"), (0, "en")]
        assert (product.key(1), product.__name__, product.__doc__) == ("1:en", "product", "A product.")
        product.invalidate(1)
        product(1)
        assert region.invalidate_tags("brand:1") == 2
        assert (Shop().product(5), Shop().product(5)) == (5, 5)
        assert calls[3:] == [(1, "en"), (5, "shop")]
        Shop().product.invalidate(5)
        assert region.get("shop:5", MISSING) is MISSING
        with pytest.raises(ValueError, match="names 'name', which is no argument"):
            region.cached("{name}")(product.__wrapped__)
        with pytest.raises(TypeError):
            product(1, 2, 3)  # type: ignore[call-arg]


def test_a_coroutine_function_is_cached_too(server: Server) -> None:
    calls: list[int] = []

    async def run() -> None:
        async with AsyncCache(server.url, timeout=2.0) as cache:
            region = cache.region("p")

            @region.cached(lambda number: str(number), tags=lambda value: [f"v:{value}"])
            async def product(number: int) -> int:
                calls.append(number)
                return number

            assert [await product(1), await product(1)] == [1, 1]
            assert await region.invalidate_tags("v:1") == 1
            assert await product(1) == 1
            await product.invalidate(1)
            assert await product(1) == 1

    asyncio.run(run())
    assert calls == [1, 1, 1]


def test_times_are_seconds(new_cache: Callable[..., Any], server: Server) -> None:
    region = new_cache(server.url).region("p", ttl=100.0, grace=100.0)
    region.set("a", 1)
    region.set("b", 1, ttl=1000, grace=1000)
    region.get_or_set("c", lambda _: 1, ttl=1000)
    region.get_or_set_many(["d"], lambda _: {"d": 1}, grace=1000)
    left = [server.client().pttl(region.name_of(key)) / 1000 for key in "abcd"]
    assert [round(seconds, -1) for seconds in left] == [200, 2000, 1100, 1100]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda cache: cache.region(""), ValueError),
        (lambda cache: cache.region("x" * 65), ValueError),
        (lambda cache: cache.region("a{b"), ValueError),
        (lambda cache: cache.region("writes"), ValueError),
        (lambda cache: cache.region("p", ns="x" * 101), ValueError),
        (lambda cache: cache.region(1), TypeError),
        (lambda cache: cache.region("p", ttl=0), ValueError),
        (lambda cache: cache.region("p", patience=-1), ValueError),
        (lambda cache: cache.region("p", serializer="pickle"), ValueError),
        (lambda cache: cache.region("p", l1=5), TypeError),
        (lambda cache: cache.region("p").get(""), ValueError),
        (lambda cache: cache.region("p").get(1), TypeError),
        (lambda cache: cache.region("p").get_many("ab"), TypeError),
        (lambda cache: cache.region("p").set("a", 1, tags="t"), TypeError),
        (lambda cache: cache.region("p").set("a", 1, ttl="1"), TypeError),
        (lambda cache: cache.region("p").get_or_set_many(["a"], lambda _: [1]), TypeError),
        (lambda cache: cache.region("p").write_behind("a", None), ValueError),
        (lambda cache: cache.region("p").invalidate_pattern("*", timeout=0), ValueError),
        (lambda cache: cache.region("p").worker(print, batch=0), ValueError),
    ],
)
def test_a_wrong_call_is_an_error(
    new_cache: Callable[..., Any], server: Server, wrong: Callable[[Any], object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        wrong(new_cache(server.url))


def test_what_is_no_value_under_the_name_is_never_one(new_cache: Callable[..., Any], server: Server) -> None:
    region = new_cache(server.url).region("p")
    server.client().set(region.name_of("a"), "1")
    assert region.get("a", MISSING) is MISSING
    assert region.look_up("a", lambda _: 1) == Answer(1, "loaded")


def test_stats_are_the_servers(new_cache: Callable[..., Any], server: Server) -> None:
    region = new_cache(server.url).region("p")
    region.set("a", 1)
    assert region.stats()["entries"] == 1
