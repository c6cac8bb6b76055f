import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Cache, NotTold, Unanswered } from "../dist/esm/index.js";
import { clientFor, eventually, pause, Server, startCluster, startProxy } from "./servers.mjs";

for (const kind of ["ioredis", "node-redis"]) {
    describe(`regions while Redis does not answer, with ${kind}`, () => {
        const play = async (options, run) => {
            const server = await Server.start();
            const { client, end } = await clientFor(kind, 2, [server.port]);
            const cache = new Cache(client, {
                timeoutMs: 150,
                changeTimeoutMs: 300,
                breaker: { failures: 2, ms: 100 },
                ...options,
            });
            try {
                await run(server, cache.region("down"), cache);
            } finally {
                cache.close();
                end();
                await server.stop();
            }
        };

        it("the source answers within the timeout, once for all who ask at once, and then without a wait", async () => {
            await play({}, async (server, region) => {
                await region.set("one", "old");
                server.freeze();
                let loads = 0;
                const load = async () => {
                    loads += 1;
                    await pause(20);
                    return "new";
                };
                for (let turn = 0; turn < 2; turn += 1) {
                    const from = performance.now();
                    const values = await Promise.all(Array.from({ length: 20 }, () => region.getOrSet("one", load)));
                    assert.deepEqual(new Set(values), new Set(["new"]));
                    assert.ok(performance.now() - from < 1000);
                }
                assert.ok(loads <= 4, `${loads} loads`);
                assert.equal(await region.get("one"), undefined);
                const from = performance.now();
                const many = await region.getOrSetMany(["one", "two"], async () => new Map([["one", 1]]));
                assert.deepEqual([...many.values()], [1, null]);
                assert.ok(performance.now() - from < 1000);
                server.thaw();
                await eventually(async () => (await region.ask("one", load)).source === "cache", "its return");
            });
        });

        it("a change that is not told is the caller's to know, and is kept to be told", async () => {
            const kept = [];
            await play({ outbox: (change) => kept.push(change) }, async (server, region, cache) => {
                await region.set("one", "old", { tags: ["tag"] });
                server.freeze();
                let committed = 0;
                const commit = async () => {
                    committed += 1;
                };
                for (const change of [
                    () => region.writeThrough("one", "new", commit),
                    () => region.invalidateTags(["tag"], { soft: true }),
                    () => region.clear(),
                ]) {
                    await assert.rejects(change(), (error) => error instanceof NotTold && error.kept);
                }
                assert.equal(committed, 1);
                assert.deepEqual(kept, [
                    { kind: "invalidated", keys: ["cache:down:{one}"] },
                    { kind: "invalidated", tags: ["tag"], soft: true },
                    { kind: "invalidated", tags: ["cache:region:down"] },
                ]);
                await assert.rejects(region.writeBehind("one", "new"), (error) => error instanceof Unanswered);
                server.thaw();
                for (const change of JSON.parse(JSON.stringify(kept))) {
                    await eventually(() =>
                        cache.tell(change).then(
                            () => true,
                            () => false,
                        ),
                    );
                }
                assert.equal(await server.admin.exists("cache:down:{one}"), 0);
                await assert.rejects(cache.tell({ kind: "invalidated" }), TypeError);
                await assert.rejects(cache.tell({ kind: "invalidated", keys: "one" }), TypeError);
            });
        });
    });

    it(`a write whose reply is lost leaves nothing older, and is sent once, with ${kind}`, async () => {
        const server = await Server.start();
        const proxy = await startProxy(server.port);
        const { client, end } = await clientFor(kind, 2, [proxy.port]);
        const cache = new Cache(client, { timeoutMs: 5000 });
        try {
            const region = cache.region("lost");
            for (const write of [
                () => region.set("one", "new"),
                () => region.writeThrough("one", "new", async () => {}),
            ]) {
                await region.set("one", "old");
                const sent = proxy.count("CACHE.SET");
                proxy.cutsNext = true;
                await write();
                assert.equal(proxy.count("CACHE.SET"), sent + 1);
                assert.equal(await server.admin.exists("cache:lost:{one}"), 0);
            }
            proxy.cutsNext = true;
            await assert.rejects(
                region.writeBehind("one", "newest"),
                (error) => error instanceof Unanswered && error.maybeDone,
            );
            await region.writeBehind("two", "x");
            assert.equal(proxy.count("XADD"), 2);
            assert.equal(await region.get("one"), "newest");
            assert.equal(await server.admin.xlen(region.stream), 2);
        } finally {
            cache.close();
            end();
            proxy.end();
            await server.stop();
        }
    });

    it(`regions in a cluster, with ${kind}`, async () => {
        const nodes = await startCluster();
        const made = await clientFor(
            kind,
            3,
            nodes.map(({ port }) => port),
            true,
        );
        const cache = new Cache(made.client, { timeoutMs: 5000, changeTimeoutMs: 20_000 });
        try {
            const region = cache.region("spread");
            await region.configure({ leaseMs: 10_000 });
            for (const { admin } of nodes) {
                const settings = await admin.call("CACHE.REGION", ["GET", "spread"]);
                assert.ok(settings.map(String).includes("10000"));
            }
            const keys = Array.from({ length: 30 }, (_, number) => `k${number}`);
            let loads = 0;
            const load = async (some) => {
                loads += 1;
                return new Map(some.map((key) => [key, key]));
            };
            for (let turn = 0; turn < 2; turn += 1) {
                const values = await region.getOrSetMany(keys, load, { tags: ["spread"] });
                assert.deepEqual(
                    [...values],
                    keys.map((key) => [key, key]),
                );
            }
            assert.equal(loads, 1);
            assert.equal((await region.getMany(keys)).size, 30);
            for (const kill of [
                () => region.invalidateTags(["spread"]),
                () => region.clear(),
                () => region.invalidatePattern("k*"),
                () => region.invalidate(...keys),
            ]) {
                assert.equal(await kill(), 30, String(kill));
                assert.equal((await region.getMany(keys)).size, 0);
                await region.getOrSetMany(keys, load, { tags: ["spread"] });
            }
            await assert.rejects(region.writeBehind("k1", 1), /oneSlot/);
            const together = cache.region("together", { oneSlot: true });
            await together.writeBehind("k1", 1);
            await together.writeBehind("k2", 2);
            assert.equal((await together.getMany(["k1", "k2"])).size, 2);
            const end = new AbortController();
            const written = [];
            const worker = together.worker(async ({ key, value }) => written.push([key, value]), {
                signal: end.signal,
                pollMs: 10,
            });
            await eventually(() => written.length === 2, "the writes");
            end.abort();
            await worker;
            assert.ok((await cache.stats()).some(({ region: name, entries }) => name === "spread" && entries > 0));
        } finally {
            cache.close();
            made.end();
            await Promise.all(nodes.map((node) => node.stop()));
        }
    });
}
