"""The L1 of a region: what it answers, and what makes it forget."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from redis_apikey import L1, Answer, Cache
from servers import Cluster, Server, eventually
from source import Source

FOLLOWS = pytest.mark.parametrize("follow", ["tracking", "channel"])


def kept(region: Any, source: Source, key: str = "a") -> bool:
    return bool(eventually(lambda: region.look_up(key, source.load).source == "l1"))


@FOLLOWS
def test_it_hears_of_what_others_change(new_cache: Callable[..., Any], server: Server, follow: Any) -> None:
    source = Source(a=1)
    region = new_cache(server.url).region("p", ns="t:", l1=L1(max_age=60.0, follow=follow))
    other = new_cache(server.url).region("p", ns="t:")
    for change in (
        lambda: other.set("a", 2, tags=["x"]),
        lambda: other.invalidate("a"),
        lambda: other.invalidate_tags("x"),
        lambda: other.clear(),
        lambda: other.invalidate_pattern("a*"),
        lambda: server.client().flushall(),
    ):
        other.set("a", 1, tags=["x"])
        eventually(lambda: region.look_up("a", source.load) == Answer(1, "l1"))
        source.values["a"] = 3
        change()
        eventually(lambda: region.look_up("a", source.load).value != 1)
        source.values["a"] = 1


@FOLLOWS
def test_what_this_process_changes_is_seen_at_once(new_cache: Callable[..., Any], server: Server, follow: Any) -> None:
    source = Source(a=1, b=1)
    cache = new_cache(server.url)
    region = cache.region("p", l1=L1(max_age=60.0, follow=follow))
    again = cache.region("p", l1=L1(max_age=60.0, follow=follow))
    for change in (
        lambda: region.set("a", 2),
        lambda: region.write_through("a", 2, lambda: None),
        lambda: region.invalidate("a"),
        lambda: cache.invalidate_tags("x"),
        lambda: region.invalidate_tags("x"),
        lambda: region.clear(),
        lambda: region.invalidate_pattern("a*"),
        lambda: region.write_behind("a", 2),
    ):
        region.clear()
        region.set("a", 1, tags=["x"])
        kept(region, source)
        kept(again, source)
        source.values["a"] = 2
        change()
        assert region.get_or_set("a", source.load) == 2
        assert again.get_or_set("a", source.load) == 2
        source.values["a"] = 1


@FOLLOWS
def test_what_was_read_while_it_was_written_is_not_kept(server: Server, follow: Any) -> None:
    source = Source(a=1)
    with Cache(server.url, timeout=2.0) as cache:
        region = cache.region("p", l1=L1(max_age=60.0, follow=follow))
        for number in range(2, 30):
            assert region.write_through("a", number, lambda: kept(region, source))
            assert region.get_or_set("a", source.load) == number


@FOLLOWS
def test_it_gives_each_caller_a_value_of_its_own_and_nothing_for_longer(
    new_cache: Callable[..., Any], server: Server, follow: Any
) -> None:
    source = Source(a=[1])
    region = new_cache(server.url).region("p", l1=L1(max_age=60.0, follow=follow))
    kept(region, source)
    region.get_or_set("a", source.load).append(2)
    assert region.look_up("a", source.load) == Answer([1], "l1")
    assert region.get("a") == [1]
    assert region.get_or_set_many(["a"], source.load_many) == {"a": [1]}
    # No longer than the value itself is fresh.
    region.set("b", [1], ttl=1.0)
    source.values["b"] = [2]
    kept(region, source, "b")
    eventually(lambda: region.look_up("b", source.load) == Answer([2], "loaded"))


@FOLLOWS
def test_what_can_not_be_read_is_asked_for_all_the_same(
    new_cache: Callable[..., Any], server: Server, follow: Any
) -> None:
    source = Source(a=1)
    region = new_cache(server.url).region("p", l1=L1(max_age=60.0, follow=follow))
    kept(region, source)
    server.client().set(region.name_of("b"), "a string of Redis'")
    assert region.get_or_set("b", source.load) is None


def test_what_is_stale_absent_or_about_to_be_refreshed_is_not_kept(
    new_cache: Callable[..., Any], server: Server
) -> None:
    server.client().execute_command("CACHE.REGION", "SET", "p", "EAGER", 50)
    source = Source(a=1)
    region = new_cache(server.url).region("p", l1=L1(max_age=60.0), refresh_ahead=False)
    region.set("a", 1)
    kept(region, source)
    region.set("stale", 1, tags=["t"], grace=60.0)
    region.invalidate_tags("t", soft=True)
    # Somebody else refreshes it.
    server.client().execute_command("CACHE.GET", region.name_of("stale"), "p")
    # So does who was given its token: nobody keeps it until then.
    region.set("ends", 1, ttl=2.0)
    source.values["ends"] = 2
    eventually(lambda: server.client().pttl(region.name_of("ends")) < 900)
    sources = []
    while not sources or sources[-1] != "loaded":
        sources.append(region.look_up("ends", source.load).source)
    assert set(sources) == {"cache", "loaded"}
    for _ in range(3):
        assert region.look_up("stale", source.load).source != "l1"
        assert region.look_up("none", source.load).source != "l1"


def test_a_cluster_is_followed_at_all_primaries(new_cache: Callable[..., Any], cluster: Cluster) -> None:
    source = Source(**{str(number): number for number in range(30)})
    urls = [node.url for node in cluster.nodes]
    region = new_cache(urls, cluster=True).region("l", l1=L1(max_age=60.0))
    other = new_cache(urls, cluster=True).region("l")
    for key in source.values:
        kept(region, source, key)
    source.values = {key: value + 100 for key, value in source.values.items()}
    other.clear()
    for key, value in source.values.items():
        eventually(lambda key=key, value=value: region.get_or_set(key, source.load) == value)


def test_the_l1_of_a_process_is_bounded(new_cache: Callable[..., Any], server: Server) -> None:
    source = Source(**{str(number): number for number in range(20)})
    region = new_cache(server.url).region("p", l1=L1(max_entries=5, max_age=60.0))
    until = time.monotonic() + 20
    while time.monotonic() < until:
        sources = [region.look_up(key, source.load).source for key in source.values]
        sources = [region.look_up(key, source.load).source for key in source.values]
        if all(region.look_up("19", source.load).source == "l1" for _ in range(2)):
            break
    assert sources.count("l1") <= 5
