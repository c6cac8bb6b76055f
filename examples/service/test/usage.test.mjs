// Each use is in PostgreSQL once, whatever dies between the count and the commit.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { eventually } from "../../../clients/node/test/servers.mjs";
import { Relay } from "./relay.mjs";
import { Stage } from "./stage.mjs";

const NEVER = "86400000";

describe("usage", () => {
    let stage;

    before(async () => {
        stage = await Stage.start();
    });

    after(() => stage?.stop());

    const total = async (prefix) => {
        const sql = "SELECT total::int FROM usage_total WHERE key_prefix = $1";
        return (await stage.postgres.sql(sql, [prefix]))[0]?.total ?? 0;
    };

    /** What Redis has of a counter: `pending`, `leased`, `total`. */
    const counter = async (prefix) => {
        const flat = await stage.redis.admin.call("APIKEY.USAGE.GET", [`apikey:{${prefix}}:usage`]);
        return Object.fromEntries(flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1]]] : [])));
    };

    const isSettled = async (prefix, uses = 50) => {
        const { pending, leased, total: counted } = await counter(prefix);
        return counted >= uses && pending === 0 && leased === 0;
    };

    /** A new key. The use of the one that issued it is written by then, so that it is in nobody's way. */
    const issue = async (service, fields) => {
        const shown = await service.issue(fields);
        await eventually(
            () => isSettled(stage.admin.split("_").slice(0, 3).join("_"), 1),
            "the use of the admin's key",
        );
        return shown;
    };

    /** Fifty at once, all of which are let by. */
    const fiftyUses = async (service, key) => {
        const all = await Promise.all(Array.from({ length: 50 }, () => service.me(key)));
        assert.ok(all.every(([status]) => status === 200));
    };

    it("has fifty concurrent uses as fifty", async () => {
        const service = await stage.run();
        const { key, prefix } = await issue(service, { user_id: "fifty" });
        await fiftyUses(service, key);
        await eventually(() => isSettled(prefix), "all acknowledged");
        assert.equal(await total(prefix), 50);
        const { body } = await service.ask("GET", "/me/usage", { key });
        assert.deepEqual([body.keys.length, body.keys[0].key_prefix, body.keys[0].total], [1, prefix, 50]);
        await service.kill();
    });

    it("has them once when the process dies as it writes", async () => {
        const service = await stage.run({ LEASE_MS: "400" });
        const { key, prefix } = await issue(service);
        const client = await stage.postgres.pool.connect();
        try {
            await client.query("BEGIN; LOCK TABLE usage_total IN ACCESS EXCLUSIVE MODE");
            await fiftyUses(service, key);
            const waits = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'usage_total'::regclass";
            await eventually(async () => (await stage.postgres.sql(waits)).length > 0, "a batch that is written");
            await service.kill();
            await client.query("ROLLBACK");
        } finally {
            client.release();
        }
        assert.ok((await counter(prefix)).leased > 0);
        const next = await stage.run({ LEASE_MS: "400" });
        await eventually(() => isSettled(prefix), "all acknowledged");
        assert.equal(await total(prefix), 50);
        await next.kill();
    });

    it("has them once when the process dies before it has acknowledged what it wrote", async () => {
        const service = await stage.run({ LEASE_MS: "400" });
        const { key, prefix } = await issue(service);
        const redis = stage.redis.admin;
        await redis.call("ACL", ["SETUSER", "default", "-apikey.usage.ack", "-apikey.usage.nack"]);
        await fiftyUses(service, key);
        await eventually(async () => (await total(prefix)) > 0, "uses in the database");
        // The same batch again, and again.
        const refusals = () => service.log.filter((line) => line.includes("NOPERM")).length;
        const before = refusals();
        await eventually(() => refusals() > before + 1, "a batch that comes again");
        await service.kill();
        assert.equal(await total(prefix), (await counter(prefix)).leased);
        await redis.call("ACL", ["SETUSER", "default", "+apikey.usage.ack", "+apikey.usage.nack"]);
        const next = await stage.run({ LEASE_MS: "400" });
        await eventually(() => isSettled(prefix), "all acknowledged");
        assert.equal(await total(prefix), 50);
        await next.kill();
    });

    it("is written when the service is told to end", async () => {
        const service = await stage.run({ DRAIN_EVERY_MS: NEVER });
        const { key, prefix } = await service.issue();
        await fiftyUses(service, key);
        await eventually(async () => (await counter(prefix)).total === 50, "the uses in Redis");
        assert.equal(await total(prefix), 0);
        assert.equal(await service.end(), 0);
        assert.equal(await total(prefix), 50);
        assert.ok(await isSettled(prefix));
    });

    it("is added to the database while Redis is away, and the requests are answered", async () => {
        const relay = await Relay.start(stage.redis.port);
        try {
            const service = await stage.run({ REDIS_URL: relay.url });
            const { key, prefix } = await service.issue();
            relay.refuse();
            for (let use = 0; use < 5; use += 1) {
                assert.deepEqual(await service.me(key), [200, "MISS"]);
            }
            await eventually(async () => (await total(prefix)) === 5, "five uses");
            assert.equal((await service.ask("GET", "/health/cache", { key: null })).status, 503);
            relay.mend();
            await eventually(async () => (await service.me(key))[1] === "HIT", "the cache");
            await service.kill();
        } finally {
            relay.stop();
        }
    });
});
