import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Breaker } from "../dist/esm/breaker.js";
import { ApiKeys, Unanswered } from "../dist/esm/index.js";
import { clientFor, eventually, Server, startProxy } from "./servers.mjs";

for (const kind of ["ioredis", "node-redis"]) {
    describe(`while Redis does not answer, with ${kind}`, () => {
        /** Runs with a server, a library behind a proxy, and a key that is cached as valid and is revoked in the database. */
        const play = async ({ isDirect = false, ...options }, run) => {
            const server = await Server.start();
            const proxy = await startProxy(server.port);
            const { client, end } = await clientFor(kind, 2, [isDirect ? server.port : proxy.port]);
            let revoked = false;
            const loads = [];
            let row;
            const load = async (prefix) => {
                loads.push(prefix);
                return { ...row, is_active: !revoked };
            };
            const keys = new ApiKeys(client, { load, timeoutMs: 5000, changeTimeoutMs: 20_000, ...options });
            const key = keys.generate("ak_test");
            row = { id: "k", key_hash: key.digest };
            const verify = () => keys.verify(key.presented);
            const revoke = () => {
                revoked = true;
            };
            try {
                await eventually(async () => (await verify()).source === "cache", "the cache");
                loads.length = 0;
                await run({ server, proxy, keys, key, verify, revoke, loads });
            } finally {
                keys.close();
                end();
                proxy.end();
                await server.stop();
            }
        };

        const quick = { timeoutMs: 150, breaker: { failures: 2, ms: 100 } };

        it("the database answers, the breaker spares the wait, and all is as before when Redis is back", async () => {
            await play(quick, async ({ server, verify, revoke, keys, loads }) => {
                server.freeze();
                revoke();
                for (let number = 0; number < 2; number += 1) {
                    const { code, source } = await verify();
                    assert.deepEqual([code, source], ["DISABLED", "database"]);
                }
                const started = performance.now();
                for (let number = 0; number < 20; number += 1) {
                    await verify();
                }
                const took = performance.now() - started;
                assert.ok(took < 15 * quick.timeoutMs, `20 verifications took ${took} ms`);
                assert.ok(loads.length >= 22);
                server.thaw();
                // What was cached before is as it was: the change was not told yet.
                await eventually(async () => (await verify()).source === "cache", "the cache");
                await keys.changed({ id: "k" });
                assert.equal((await verify()).code, "DISABLED");
            });
        });

        it("what can't be known is denied, where that is wanted", async () => {
            await play({ ...quick, whenDown: "deny" }, async ({ server, verify }) => {
                await server.kill();
                for (let number = 0; number < 4; number += 1) {
                    assert.equal((await verify()).kind, "unavailable");
                }
                await server.run();
                await eventually(async () => (await verify()).kind === "valid", "its return");
            });
        });

        it("a connection that hangs is given up for another", async () => {
            await play(quick, async ({ proxy, verify, revoke }) => {
                proxy.hang();
                revoke();
                await eventually(async () => (await verify()).source === "database", "the database");
                proxy.hangs = false;
                await eventually(async () => (await verify()).source === "cache", "the cache");
            });
        });

        it("a read whose reply is lost is repeated, a count is not", async () => {
            await play({}, async ({ proxy, verify, keys, key }) => {
                const asked = proxy.count("APIKEY.VALIDATE");
                proxy.cutsNext = true;
                assert.equal((await verify()).source, "cache");
                assert.equal(proxy.count("APIKEY.VALIDATE"), asked + 2);
                proxy.cutsNext = true;
                await assert.rejects(keys.count(key.prefix), (error) => error instanceof Unanswered && error.maybeDone);
                await keys.count(key.prefix);
                assert.equal(proxy.count("APIKEY.USAGE.INCR"), 2);
                assert.equal((await keys.commands.usageGet(`apikey:{${key.prefix}}:usage`)).total, 2);
            });
        });

        for (const isWritten of [false, true]) {
            const when = isWritten ? "behind" : "in front of";
            it(`the process' own hold-up ${when} what it writes is not a failure of Redis`, async () => {
                // The proxy is of this process, and held up as well.
                const options = { isDirect: true, timeoutMs: 1000, breaker: { failures: 1 } };
                await play(options, async ({ server, verify, loads }) => {
                    if (!isWritten) {
                        // It needs some of its time.
                        await server.admin.call("CLIENT", ["PAUSE", "1500", "ALL"]);
                    }
                    const under = Array.from({ length: 8 }, verify);
                    for (let turn = 0; isWritten && turn < 3; turn += 1) {
                        await new Promise((resolve) => setImmediate(resolve));
                    }
                    const until = performance.now() + 1200;
                    while (performance.now() < until) {
                        // Nothing else can be done meanwhile.
                    }
                    for (const { source } of await Promise.all(under)) {
                        assert.equal(source, "cache");
                    }
                    assert.deepEqual(loads, []);
                });
            });
        }
    });
}

describe("the breaker", () => {
    it("takes what fails at once for one failure", async () => {
        const breaker = new Breaker({ failures: 3, ms: 60_000 });
        for (let moment = 0; moment < 3; moment += 1) {
            assert.ok(!breaker.isOpen);
            for (let call = 0; call < 10; call += 1) {
                breaker.failed();
            }
            await new Promise((resolve) => setImmediate(resolve));
        }
        assert.ok(breaker.isOpen);
    });
});
