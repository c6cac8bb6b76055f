// Warming: what is stored, what is not, and that no key that was revoked meanwhile is valid.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Redis } from "ioredis";
import { ApiKeys, BadRecord, digestOf, UnavailableError } from "../dist/esm/index.js";
import { clientFor, eventually, Server, startCluster } from "./servers.mjs";

const KINDS = {
    "one server": async () => [await Server.start()],
    "a cluster": () => startCluster(),
};

for (const [where, start] of Object.entries(KINDS)) {
    for (const kind of ["ioredis", "node-redis"]) {
        describe(`warming ${where}, with ${kind}`, () => {
            let nodes = [];
            let client;
            let keys;
            const rows = new Map();
            const loads = [];
            const met = [];

            before(async () => {
                nodes = await start();
                client = await clientFor(kind, 3, [nodes[0].port], nodes.length > 1);
                keys = new ApiKeys(client.client, {
                    load: async (prefix) => {
                        loads.push(prefix);
                        return rows.get(prefix) ?? null;
                    },
                    timeoutMs: 5000,
                    changeTimeoutMs: 20_000,
                    onError: (error) => met.push(error),
                });
            });

            after(async () => {
                keys?.close();
                client?.end();
                await Promise.all(nodes.map((node) => node.stop()));
            });

            const issue = (fields) => {
                const key = keys.generate("ak_test");
                const row = { id: key.prefix, key_prefix: key.prefix, user_id: 42, is_active: true };
                rows.set(key.prefix, { ...row, key_hash: key.digest, ...fields });
                return key;
            };

            const sourceOf = async ({ presented }) => (await keys.verify(presented)).source;

            it("stores rows, of which the database is not asked then", async () => {
                const issued = Array.from({ length: 50 }, () => issue());
                const given = [...rows.values()];
                async function* oneByOne() {
                    yield* given;
                }
                for (const give of [() => given, async () => given, oneByOne]) {
                    assert.deepEqual(await keys.warm(give, { batch: 7 }), { stored: 50, refused: 0, bad: 0 });
                }
                for (const key of issued) {
                    assert.equal(await sourceOf(key), "cache");
                }
                assert.deepEqual(loads, []);
                assert.deepEqual(await keys.warm(() => []), { stored: 0, refused: 0, bad: 0 });
            });

            it("asks for rows when it has the tokens, so that none comes back that is revoked meanwhile", async () => {
                const revoked = issue();
                const stays = issue();
                const warmed = await keys.warm(async function* () {
                    yield rows.get(stays.prefix);
                    const before = rows.get(revoked.prefix);
                    rows.set(revoked.prefix, { ...before, is_active: false });
                    await keys.changed({ id: before.id, prefix: revoked.prefix });
                    // As a slow export would.
                    yield before;
                });
                assert.deepEqual(warmed, { stored: 1, refused: 1, bad: 0 });
                assert.equal((await keys.verify(revoked.presented)).code, "DISABLED");
                assert.equal(await sourceOf(stays), "cache");
            });

            it("passes over rows that nobody may judge, and says which", async () => {
                const good = issue();
                const taken = issue();
                const owner = nodes.length > 1 ? new Redis.Cluster([{ port: nodes[0].port }]) : nodes[0].admin;
                await owner.set(`apikey:{${taken.prefix}}`, "something else");
                const many = Array.from({ length: 65 }, (_, at) => `a:${at}`);
                met.length = 0;
                const warmed = await keys.warm(() => [
                    { ...rows.get(good.prefix), status: "suspended" },
                    { ...rows.get(good.prefix), key_prefix: undefined },
                    "no JSON",
                    // What the server alone refuses.
                    { ...rows.get(good.prefix), scopes: many },
                    rows.get(taken.prefix),
                    rows.get(good.prefix),
                ]);
                assert.deepEqual(warmed, { stored: 1, refused: 0, bad: 5 });
                assert.ok(met.every((error) => error instanceof BadRecord));
                const numbers = met.map(({ message }) => /^row (\d):/.exec(message)?.[1]);
                assert.deepEqual(numbers.sort(), ["1", "2", "3", "4", "5"]);
                assert.equal(await sourceOf(good), "cache");
                if (nodes.length > 1) {
                    owner.disconnect();
                }
            });

            it("keeps digests with their ends, and the time that it is given", async () => {
                const key = issue();
                const old = keys.regenerate(key.prefix);
                assert.equal(old.prefix, key.prefix);
                assert.equal(digestOf(old.secret).toString("hex"), old.digest);
                const until = new Date(Date.now() + 30_000);
                const both = { ...rows.get(key.prefix), key_hash: [key.digest, { digest: old.digest, until }] };
                await keys.warm(() => [both], { ttlMs: 60_000 });
                const ends = async ({ presented }) => {
                    const result = await keys.verify(presented);
                    assert.deepEqual([result.kind, result.source], ["valid", "cache"]);
                    return result.endsInMs;
                };
                assert.ok((await ends(old)) <= 30_000);
                const left = await ends(key);
                assert.ok(left > 30_000 && left <= 60_000);
            });

            it("tells what its rows throw, and stores none after it", async () => {
                const failing = async function* () {
                    yield rows.values().next().value;
                    throw new Error("the database is away");
                };
                await assert.rejects(keys.warm(failing), /the database is away/);
                for (const batch of [0, -1, 1.5, 10_001]) {
                    await assert.rejects(
                        keys.warm(() => [], { batch }),
                        RangeError,
                    );
                }
                assert.throws(() => keys.regenerate("ak_test"), RangeError);
            });

            it("rejects where nothing is stored now, and asks for no row", async () => {
                let asked = 0;
                const give = () => {
                    asked += 1;
                    return [...rows.values()];
                };
                const last = nodes.at(-1);
                await last.admin.call("CONFIG", ["SET", "min-replicas-to-write", "1"]);
                await assert.rejects(keys.warm(give), UnavailableError);
                await last.admin.call("CONFIG", ["SET", "min-replicas-to-write", "0"]);
                await last.kill();
                await assert.rejects(keys.warm(give), UnavailableError);
                assert.equal(asked, 0);
                await last.run();
                if (nodes.length === 1) {
                    await eventually(() => keys.warm(give).catch(() => undefined), "a warm cache");
                }
            });
        });
    }
}

it("rejects where fills are switched off", async () => {
    const server = await Server.start({ settings: ["enabled", "no"] });
    const { client, end } = await clientFor("ioredis", 3, [server.port]);
    const keys = new ApiKeys(client, { load: async () => null, timeoutMs: 5000 });
    try {
        const rows = () => assert.fail("rows are asked for");
        await assert.rejects(keys.warm(rows), /no row was asked for: it takes no fills now: apikey.enabled is no/);
    } finally {
        keys.close();
        end();
        await server.stop();
    }
});
