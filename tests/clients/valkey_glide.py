"""GLIDE for Python: valkey_glide.py HOW PORT .."""

import asyncio
import sys
from importlib.metadata import version

from glide import (
    AdvancedGlideClientConfiguration,
    AdvancedGlideClusterClientConfiguration,
    AllPrimaries,
    GlideClient,
    GlideClientConfiguration,
    GlideClusterClient,
    GlideClusterClientConfiguration,
    Logger,
    LogLevel,
    NodeAddress,
    ReadFrom,
)

from lines import say, serve

how, *ports = sys.argv[1:]
# It would log to stdout.
Logger.set_logger_config(LogLevel.OFF)


async def main():
    nodes = [NodeAddress("127.0.0.1", int(port)) for port in ports]
    # The machine may be busy.
    options = {"request_timeout": 60_000}
    if how == "replicas":
        options["read_from"] = ReadFrom.PREFER_REPLICA
    if how == "hasty":
        del options["request_timeout"]
    if how.startswith("single"):
        advanced = AdvancedGlideClientConfiguration(connection_timeout=60_000)
        options["advanced_config"] = advanced
        client = await GlideClient.create(GlideClientConfiguration(nodes, **options))
    else:
        advanced = AdvancedGlideClusterClientConfiguration(connection_timeout=60_000)
        options["advanced_config"] = advanced
        client = await GlideClusterClient.create(GlideClusterClientConfiguration(nodes, **options))

    async def call(way, args):
        if way == "each":
            return await client.custom_command(args, AllPrimaries())
        return await client.custom_command(args)

    say({"reply": version("valkey-glide")})
    await serve(call)
    await client.close()


asyncio.run(main())
