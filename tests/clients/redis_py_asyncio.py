"""redis-py's asyncio clients: redis_py_asyncio.py HOW PORT .."""

import asyncio
import sys

import redis
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from lines import say, serve

how, *ports = sys.argv[1:]


async def main():
    # The machine may be busy.
    options = {"socket_timeout": 60, "socket_connect_timeout": 60}
    if how.endswith("once"):
        options["retry"] = Retry(NoBackoff(), 0)
    if how == "replicas":
        options["load_balancing_strategy"] = redis.cluster.LoadBalancingStrategy.RANDOM_REPLICA
    if how.startswith("single"):
        rc = Redis(port=int(ports[0]), **options)
    else:
        nodes = [ClusterNode("127.0.0.1", int(port)) for port in ports]
        rc = await RedisCluster(startup_nodes=nodes, **options)

    async def call(way, args):
        if way == "any" and not how.startswith("single"):
            return await rc.execute_command(*args, target_nodes=rc.get_default_node())
        if way == "each":
            return await rc.execute_command(*args, target_nodes=rc.get_primaries())
        return await rc.execute_command(*args)

    say({"reply": redis.__version__})
    await serve(call)
    await rc.aclose()


asyncio.run(main())
