"""Where an application's own client goes, and how.

The library opens connections of its own by what it finds there, so that the application's client keeps its timeouts
and its retries, and nothing of the library is sent twice behind its back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import connection as redis_connection
from redis.exceptions import DataError
from redis.maint_notifications import MaintNotificationsConfig

from redis_apikey._effects import Address, Command

_KEPT = frozenset(
    (
        "check_connection",
        "client_name",
        "connection_pool",
        "credential_provider",
        "db",
        "host",
        "password",
        "path",
        "port",
        "protocol",
        "socket_keepalive",
        "socket_keepalive_options",
        "socket_read_size",
        "socket_type",
        "username",
    )
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A way to connect: the class of connections, its arguments, and where to begin."""

    connection_class: Any
    arguments: Mapping[str, Any]
    seeds: tuple[Address, ...]
    cluster: bool

    def arguments_for(self, address: Address) -> dict[str, Any]:
        arguments = dict(self.arguments)
        if address is not None:
            arguments["host"], arguments["port"] = address
        return arguments


def pack(connection: Any, commands: Sequence[Command]) -> list[bytes]:
    """What is sent. Raises ValueError for arguments that Redis has no form for, such as half a character."""
    try:
        packed: list[bytes] = connection.pack_commands(commands)
    except (DataError, UnicodeError) as error:
        raise ValueError(f"an argument can't be sent: {error}") from None
    return packed


def endpoint_of(client: Any, plain: Any, secure: Any, cluster: bool) -> Endpoint:
    """`client` is one of redis-py's, a URL, or several URLs of a cluster. `plain` and `secure` are its connections."""
    if isinstance(client, str):
        return _of_urls([client], plain, cluster)
    if isinstance(client, Sequence):
        return _of_urls(list(client), plain, True)
    if hasattr(client, "nodes_manager"):
        arguments = client.get_connection_kwargs()
        nodes = client.nodes_manager.startup_nodes.values()
        seeds = tuple((str(node.host), int(node.port)) for node in nodes)
        connection_class = secure if arguments.get("ssl") else plain
        return Endpoint(connection_class, kept(arguments), seeds, True)
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        raise TypeError("redis must be a Redis, a RedisCluster, a URL or several of them")
    arguments = kept(pool.connection_kwargs)
    if not cluster:
        return Endpoint(pool.connection_class, arguments, (None,), False)
    seed = (str(arguments.get("host", "localhost")), int(arguments.get("port", 6379)))
    return Endpoint(pool.connection_class, arguments, (seed,), True)


def _of_urls(urls: Sequence[str], plain: Any, cluster: bool) -> Endpoint:
    if not urls:
        raise ValueError("redis must be at least one URL")
    parse_url: Any = redis_connection.parse_url
    parsed = [dict(parse_url(url)) for url in urls]
    for arguments in parsed:
        # Of the other kind of client's.
        arguments.pop("connection_class", None)
    secure = urls[0].startswith("rediss://")
    first = parsed[0]
    connection_class = plain
    if secure or "path" in first:
        module = __import__(plain.__module__, fromlist=["connection"])
        connection_class = module.SSLConnection if secure else module.UnixDomainSocketConnection
    if not cluster:
        return Endpoint(connection_class, kept(first), (None,), False)
    seeds = tuple((str(a.get("host", "localhost")), int(a.get("port", 6379))) for a in parsed)
    return Endpoint(connection_class, kept(first), seeds, True)


def kept(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Of the arguments of a connection those that say where it goes and as whom."""
    found = {
        name: value for name, value in arguments.items() if name in _KEPT or (name.startswith("ssl") and name != "ssl")
    }
    # What would cost a round trip of each new connection, or go on behind the library's back.
    return {
        **found,
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "retry": None,
        "health_check_interval": 0,
        "decode_responses": False,
    }
