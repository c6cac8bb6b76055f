"""Who is the primary, as the Sentinels of an application's client say, within a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.sentinel import SentinelConnectionPool

from redis_apikey._endpoints import kept
from redis_apikey._replies import as_map


class Sentinels:
    """Each is asked over a connection of its own, for redis-py would ask with the timeouts of the application's."""

    def __init__(self, pool: SentinelConnectionPool, bounded: Callable[[Any], Any]) -> None:
        self._service = pool.service_name
        self._manager = pool.sentinel_manager
        self._ways = [
            (bounded(its.connection_class), kept(its.connection_kwargs))
            for its in (sentinel.connection_pool for sentinel in self._manager.sentinels)
        ]

    def primary(self, deadline: float) -> tuple[str, int]:
        """Raises redis-py's ConnectionError where none of them knows."""
        causes = []
        for way in list(self._ways):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                # Who does not answer leaves time for others, and for the primary.
                return self._ask(way, time.monotonic() + left / 2)
            except (RedisError, OSError) as error:
                causes.append(str(error) or type(error).__name__)
                # The next call begins with another.
                self._ways = [*(other for other in self._ways if other is not way), way]
        raise RedisConnectionError(
            f"no Sentinel knows the primary of {self._service}: {'; '.join(causes) or 'no time'}"
        )

    def _ask(self, way: tuple[Any, dict[str, Any]], deadline: float) -> tuple[str, int]:
        connection_class, arguments = way
        connection = connection_class(**arguments)
        connection.wait_until(deadline)
        try:
            connection.connect()
            # What redis-py asks: a Sentinel's user may be allowed nothing else.
            connection.send_command("SENTINEL", "MASTERS", check_health=False)
            reply = connection.read_response(disable_decoding=True)
        finally:
            connection.disconnect()
        for state in map(as_map, reply):
            if state["name"] == self._service and self._is_up(state):
                forced: str | None = getattr(self._manager, "_force_master_ip", None)
                return forced or str(state["ip"]), int(str(state["port"]))
        raise RedisConnectionError("it knows of none that is up")

    def _is_up(self, state: dict[str, object]) -> bool:
        flags = str(state["flags"]).split(",")
        others = int(str(state["num-other-sentinels"]))
        return (
            "master" in flags
            and "s_down" not in flags
            and "o_down" not in flags
            and others >= self._manager.min_other_sentinels
        )
