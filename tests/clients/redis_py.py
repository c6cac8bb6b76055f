"""redis-py: redis_py.py HOW PORT .."""

import asyncio
import sys

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry

from lines import say, serve

how, *ports = sys.argv[1:]
# The machine may be busy.
options = {"socket_timeout": 60, "socket_connect_timeout": 60}
if how.endswith("once"):
    options["retry"] = Retry(NoBackoff(), 0)
if how == "replicas":
    options["load_balancing_strategy"] = redis.cluster.LoadBalancingStrategy.RANDOM_REPLICA
if how.startswith("single"):
    rc = redis.Redis(port=int(ports[0]), **options)
else:
    rc = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", int(port)) for port in ports], **options)


async def call(way, args):
    if how.startswith("single"):
        return rc.execute_command(*args)
    if way == "any":
        return rc.execute_command(*args, target_nodes=rc.get_default_node())
    if way == "each":
        return rc.execute_command(*args, target_nodes=rc.get_primaries())
    return rc.execute_command(*args)


say({"reply": redis.__version__})
asyncio.run(serve(call))
