import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Cache } from "../dist/esm/index.js";
import { clientFor, eventually, pause, Server } from "./servers.mjs";

const CHANNEL = "apikey-invalidations";

for (const follow of ["tracking", { channel: CHANNEL }]) {
    for (const kind of ["ioredis", "node-redis"]) {
        describe(`values of regions in the process, which follows ${follow.channel ?? follow}, with ${kind}`, () => {
            let server;
            const ends = [];

            const open = async (more = {}, port = server.port) => {
                const { client, end } = await clientFor(kind, 3, [port]);
                const l1 = { maxEntries: 100, maxAgeMs: 60_000, follow };
                const cache = new Cache(client, { timeoutMs: 5000, l1, ...more });
                ends.push(end, () => cache.close());
                return cache;
            };

            /** Until the process answers by itself. */
            const warm = (region, key, value, options) =>
                eventually(
                    async () => (await region.ask(key, async () => value, options)).source === "l1",
                    "an answer of L1",
                );

            before(async () => {
                server = await Server.start({ settings: ["invalidation-channel", CHANNEL] });
            });

            after(async () => {
                for (const end of ends) {
                    end();
                }
                await server?.stop();
            });

            it("are nobody's to change", async () => {
                const region = (await open()).region("own");
                await warm(region, "one", { list: [1] });
                const value = await region.getOrSet("one");
                value.list.push(2);
                assert.deepEqual(await region.getOrSet("one"), { list: [1] });
                assert.deepEqual(await region.get("one"), { list: [1] });
                assert.deepEqual([...(await region.getOrSetMany(["one"])).values()], [{ list: [1] }]);
            });

            it("go at once with what the process itself changes, and soon with what others do", async () => {
                const regions = [(await open()).region("changed"), (await open({ l1: undefined })).region("changed")];
                const [region] = regions;
                for (const [who, by] of regions.entries()) {
                    for (const change of [
                        () => by.invalidate("one"),
                        () => by.invalidateTags(["tag"]),
                        () => by.invalidateTags(["tag"], { soft: true }),
                        () => by.clear(),
                        () => by.invalidatePattern("o*"),
                        () => by.set("one", "new"),
                        () => by.writeBehind("one", "new"),
                        () => by.writeThrough("one", "new", async () => {}),
                    ]) {
                        await warm(region, "one", "old", { tags: ["tag"], graceMs: 0 });
                        await change();
                        const ask = async () => (await region.ask("one", async () => "new")).value;
                        if (who === 0) {
                            assert.equal(await ask(), "new", String(change));
                        } else {
                            await eventually(async () => (await ask()) === "new", String(change));
                        }
                        await region.invalidate("one");
                    }
                }
            });

            it("are kept no longer than they are fresh, nor than their age", async () => {
                const region = (await open()).region("fresh", { graceMs: 60_000 });
                await warm(region, "one", "old", { ttlMs: 400 });
                await pause(410);
                assert.equal((await region.ask("one", async () => "new")).source, "loaded");
                const short = (await open({ l1: { maxEntries: 10, maxAgeMs: 300, follow } })).region("fresh");
                await warm(short, "two", "old");
                await pause(310);
                assert.equal((await short.ask("two")).source, "cache");
            });

            it("answer while Redis is down only where that is wanted", async () => {
                const own = await Server.start({ settings: ["invalidation-channel", CHANNEL] });
                try {
                    const more = { timeoutMs: 200, breaker: { failures: 1, ms: 50 } };
                    const load = (await open(more, own.port)).region("down");
                    const stale = (await open({ ...more, whenDown: "stale" }, own.port)).region("down");
                    const deny = (await open({ ...more, whenDown: "deny" }, own.port)).region("down");
                    for (const region of [load, stale, deny]) {
                        await warm(region, "one", "old");
                    }
                    await own.kill();
                    const ask = (region) => region.ask("one", async () => "new");
                    await eventually(async () => (await ask(load)).value === "new", "the source");
                    await eventually(
                        () =>
                            ask(deny).then(
                                () => false,
                                ({ name }) => name === "UnavailableError",
                            ),
                        "a denial",
                    );
                    await eventually(async () => (await ask(stale)).source === "stale", "a stale answer");
                    assert.equal(await stale.get("one"), "old");
                    await assert.rejects(
                        stale.getOrSet("two", async () => "new"),
                        { name: "UnavailableError" },
                    );
                    await own.run();
                    for (const region of [load, stale, deny]) {
                        await eventually(
                            () =>
                                ask(region).then(
                                    ({ value }) => value === "new",
                                    () => false,
                                ),
                            "its return",
                        );
                    }
                } finally {
                    await own.stop();
                }
            });
        });
    }
}
