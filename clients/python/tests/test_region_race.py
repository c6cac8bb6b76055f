"""Once a change was told, no reader of any process is given what was before."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

import region_race
from servers import Server


@pytest.mark.parametrize("lease", [0, 200])
def test_no_reader_is_given_what_was_before_a_change_that_was_told(server: Server, lease: int) -> None:
    server.client().execute_command("CACHE.REGION", "SET", "race", "LEASE", lease, "EAGER", 50, "TTL", 200)
    spawn = multiprocessing.get_context("spawn")
    kinds = (region_race.write, region_race.read, region_race.read, region_race.read_async)
    shared = (spawn.Array("q", region_race.KEYS), spawn.Array("q", region_race.KEYS), spawn.Barrier(len(kinds)))
    with ProcessPoolExecutor(len(kinds), spawn, region_race.share, shared) as pool:
        running = [pool.submit(kind, server.url, 2.0, seed) for seed, kind in enumerate(kinds)]
        counts = [one.result(100) for one in running]
    assert all(count > 20 for count in counts), counts
