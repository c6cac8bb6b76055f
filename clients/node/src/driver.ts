/** Which driver a client wants. */

import { type IoredisClient, IoredisDriver } from "./ioredis.js";
import { type NodeRedisClient, type NodeRedisCluster, NodeRedisDriver } from "./node-redis.js";
import type { Driver } from "./session.js";

/** What {@link ApiKeys} takes: a client of ioredis or of node-redis, single or cluster, or a {@link Driver} of one's own. */
export type RedisClient = IoredisClient | NodeRedisClient | NodeRedisCluster | Driver;

/** @throws {TypeError} where it is none of them. */
export function driverOf(client: RedisClient): Driver {
    if ("seeds" in client) {
        return client;
    }
    if ("isCluster" in client) {
        return new IoredisDriver(client);
    }
    if ("isOpen" in client) {
        if ("getMasterNode" in client) {
            throw new TypeError(
                "a client of Sentinels has to be one of ioredis: node-redis does not say how it connects",
            );
        }
        return new NodeRedisDriver(client);
    }
    throw new TypeError("this is no client of ioredis or node-redis, and no driver");
}
