import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ApiKeys } from "../dist/esm/index.js";
import { clientFor, eventually, pause, Server, startCluster } from "./servers.mjs";

// How an L1 follows depends on the client, and hardly on the protocol.
const PROCESSES = [
    ["ioredis", 3],
    ["node-redis", 3],
];
const CHANNEL = "apikey-invalidations";

for (const follow of ["tracking", { channel: CHANNEL }]) {
    for (const [kind, protocol] of PROCESSES) {
        describe(`a cache in the process that follows ${follow.channel ?? follow}, with ${kind} in RESP${protocol}`, () => {
            let server;
            const ends = [];
            const rows = new Map();

            /** A process of the application. */
            const open = async (more = {}, port = server.port) => {
                const { client, end } = await clientFor(kind, protocol, [port]);
                const keys = new ApiKeys(client, {
                    load: async (prefix) => rows.get(prefix) ?? null,
                    l1: { maxEntries: 100, maxAgeMs: 60_000, follow },
                    timeoutMs: 5000,
                    ...more,
                });
                ends.push(end, () => keys.close());
                return keys;
            };

            const issue = (keys, id, fields = {}) => {
                const key = keys.generate("ak_test");
                rows.set(key.prefix, { id, user_id: `u-${id}`, is_active: true, key_hash: key.digest, ...fields });
                return key;
            };

            /** Until the process answers by itself. */
            const warm = (keys, { presented }, options) =>
                eventually(async () => (await keys.verify(presented, options)).source === "l1", "an answer of L1");

            before(async () => {
                server = await Server.start({ settings: ["invalidation-channel", CHANNEL] });
            });

            after(async () => {
                for (const end of ends) {
                    end();
                }
                await server?.stop();
            });

            it("answers by itself, to the same question alone", async () => {
                const keys = await open();
                const key = issue(keys, "same", { scopes: ["a"] });
                await warm(keys, key, { scopes: ["a"] });
                assert.equal((await keys.verify(key.presented)).source, "cache");
                assert.equal((await keys.verify(key.presented, { scopes: ["b"] })).code, "FORBIDDEN");
                const { record } = await keys.verify(key.presented, { scopes: ["a"] });
                assert.throws(() => record.scopes.push("b"), TypeError);
            });

            it("forgets at once what the process itself changed", async () => {
                const keys = await open();
                for (const what of [() => ({ id: "own" }), ({ prefix }) => ({ prefix }), () => ({ user: "u-own" })]) {
                    const key = issue(keys, "own");
                    await warm(keys, key);
                    rows.delete(key.prefix);
                    await keys.changed(what(key));
                    assert.equal((await keys.verify(key.presented)).code, "ABSENT");
                }
            });

            it("forgets what another process changed, as soon as it hears of it", async () => {
                const keys = await open();
                const other = await open({ l1: undefined });
                for (const what of [
                    () => ({ id: "other" }),
                    ({ prefix }) => ({ prefix }),
                    () => ({ user: "u-other" }),
                ]) {
                    const key = issue(keys, "other");
                    await warm(keys, key);
                    rows.delete(key.prefix);
                    await other.changed(what(key));
                    await eventually(async () => (await keys.verify(key.presented)).code === "ABSENT", "the message");
                }
            });

            it("keeps nothing longer than it holds, nor than its age, nor more than it may", async () => {
                const keys = await open({ l1: { maxEntries: 2, maxAgeMs: 300, follow } });
                const key = issue(keys, "aged");
                await warm(keys, key);
                await pause(310);
                assert.equal((await keys.verify(key.presented)).source, "cache");
                const short = issue(keys, "short", { expires_at: Date.now() + 250 });
                await keys.verify(short.presented);
                await keys.verify(short.presented);
                await pause(260);
                assert.equal((await keys.verify(short.presented)).code, "EXPIRED");
                const three = ["1", "2", "3"].map((id) => issue(keys, id));
                const long = await open({ l1: { maxEntries: 2, maxAgeMs: 60_000, follow } });
                for (const one of three) {
                    await warm(long, one);
                }
                assert.equal((await long.verify(three[0].presented)).source, "cache");
            });

            it("drops all when the connection was lost, and answers from it only where stale answers are wanted", async () => {
                const own = await Server.start({ settings: ["invalidation-channel", CHANNEL] });
                try {
                    const more = { timeoutMs: 200, breaker: { failures: 1, ms: 50 } };
                    const load = await open(more, own.port);
                    const stale = await open({ ...more, whenDown: "stale" }, own.port);
                    const deny = await open({ ...more, whenDown: "deny" }, own.port);
                    const key = issue(load, "lost");
                    for (const keys of [load, stale, deny]) {
                        await warm(keys, key);
                    }
                    await own.kill();
                    rows.delete(key.prefix);
                    await eventually(async () => (await load.verify(key.presented)).code === "ABSENT", "the database");
                    await eventually(async () => (await deny.verify(key.presented)).kind === "unavailable", "a denial");
                    await eventually(async () => (await stale.verify(key.presented)).isStale, "a stale answer");
                    assert.equal((await stale.verify(unknownOf(stale))).kind, "unavailable");
                    await own.run();
                    for (const keys of [load, stale, deny]) {
                        await eventually(
                            async () => (await keys.verify(key.presented)).code === "ABSENT",
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

const unknownOf = (keys) => keys.generate("ak_test").presented;

for (const follow of ["tracking", { channel: CHANNEL }]) {
    for (const kind of ["ioredis", "node-redis"]) {
        it(`in a cluster hears of the changes of all nodes by ${follow.channel ?? follow}, with ${kind}`, async () => {
            const nodes = await startCluster(["invalidation-channel", CHANNEL]);
            const ports = nodes.map(({ port }) => port);
            const made = await clientFor(kind, 3, ports, true);
            const rows = new Map();
            const load = async (prefix) => rows.get(prefix) ?? null;
            const l1 = { maxEntries: 100, maxAgeMs: 60_000, follow };
            const keys = new ApiKeys(made.client, { load, timeoutMs: 5000, l1 });
            const other = new ApiKeys(made.client, { load, timeoutMs: 5000, changeTimeoutMs: 20_000 });
            try {
                for (let number = 0; number < 12; number += 1) {
                    const key = keys.generate("ak_test");
                    rows.set(key.prefix, { id: number, user_id: 1, is_active: true, key_hash: key.digest });
                    const ask = () => keys.verify(key.presented);
                    await eventually(async () => (await ask()).source === "l1", "an answer of L1");
                    rows.delete(key.prefix);
                    await other.changed(number % 2 ? { id: number } : { prefix: key.prefix });
                    await eventually(async () => (await ask()).code === "ABSENT", "the message");
                }
            } finally {
                keys.close();
                other.close();
                made.end();
                await Promise.all(nodes.map((node) => node.stop()));
            }
        });
    }
}
