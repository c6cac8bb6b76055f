import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ApiKeys, BadRecord, digestOf, parseKey, Refusal, RowReader } from "../dist/esm/index.js";
import { CLIENTS, clientFor, eventually, pause, Server, startProxy } from "./servers.mjs";

const HOUR = 3_600_000;
/** Two at once, and the next one in half an hour. */
const two = { name: "hour", units: 2, per: HOUR };
const credits = { name: "credits", credits: true };

/** A library for a server, with the rows that its database has. */
async function open(kind, protocol, port, options = {}) {
    const { client, end } = await clientFor(kind, protocol, [port]);
    const rows = options.rows ?? new Map();
    const errors = [];
    const keys = new ApiKeys(client, {
        load: async (prefix) => rows.get(prefix) ?? null,
        onError: (error) => errors.push(error),
        timeoutMs: 5000,
        ...options.keys,
    });
    let number = 0;
    const issue = (limits, fields = {}) => {
        const key = keys.generate("ak_test");
        number += 1;
        rows.set(key.prefix, { id: `k-${number}`, is_active: true, key_hash: key.digest, limits, ...fields });
        return { ...key, counter: `apikey:{${key.prefix}}:usage` };
    };
    const close = () => {
        keys.close();
        end();
    };
    const uses = async ({ counter }) => (await keys.commands.usageGet(counter)).total;
    return { keys, rows, issue, close, errors, uses };
}

for (const [kind, protocol] of CLIENTS) {
    describe(`limits, with ${kind} in RESP${protocol}`, () => {
        let server;
        let its;

        before(async () => {
            server = await Server.start();
            its = await open(kind, protocol, server.port);
        });

        after(async () => {
            its?.close();
            await server?.stop();
        });

        it("of a record admit as many as they have, count these, and refuse the next", async () => {
            const key = its.issue([two, { name: "month", quota: 10, period: "month" }]);
            const verify = () => its.keys.verify(key.presented);
            const first = await verify();
            assert.deepEqual([first.kind, first.source, first.record.limits[0].name], ["valid", "database", "hour"]);
            assert.deepEqual(
                first.limits.map(({ name, kind: of, limit, remaining, retryAfterMs, windowMs, isShadow }) => [
                    name,
                    of,
                    limit,
                    remaining,
                    retryAfterMs,
                    windowMs,
                    isShadow,
                ]),
                [
                    ["hour", "rate", 2, 1, 0, HOUR, false],
                    ["month", "quota", 10, 9, 0, 31 * 24 * HOUR, false],
                ],
            );
            assert.equal((await verify()).source, "cache");
            const refused = await verify();
            assert.deepEqual(
                [refused.kind, refused.code, refused.limit, refused.prefix, refused.source],
                ["limited", "RATE_LIMITED", "hour", key.prefix, "cache"],
            );
            assert.ok(refused.retryAfterMs > HOUR / 2 - 60_000 && refused.retryAfterMs <= HOUR / 2);
            // What refuses takes nothing of the others.
            assert.deepEqual(
                refused.limits.map(({ remaining, kind: of }) => [remaining, of]),
                [
                    [0, "rate"],
                    [8, "quota"],
                ],
            );
            assert.equal(await its.uses(key), 2);
        });

        it("of a call stand for the record's, and admit keys that have none", async () => {
            const key = its.issue([two]);
            const limits = [
                { ...two, units: 1 },
                { name: "day", quota: 7, period: "day", cost: 2 },
            ];
            const once = await its.keys.verify(key.presented, { limits });
            assert.deepEqual(
                once.limits.map(({ name, limit, remaining }) => [name, limit, remaining]),
                [
                    ["hour", 1, 0],
                    ["day", 7, 5],
                ],
            );
            assert.equal((await its.keys.verify(key.presented, { limits })).limit, "hour");
            const plain = its.issue(undefined);
            assert.equal((await its.keys.verify(plain.presented)).limits, null);
            assert.deepEqual((await its.keys.verify(plain.presented, { cost: 3 })).limits, []);
            assert.equal(await its.uses(plain), 3);
            assert.equal((await its.keys.verify(plain.presented, { limits: [{ ...two, units: 1 }] })).kind, "valid");
            assert.equal((await its.keys.verify(plain.presented, { limits: [{ ...two, units: 1 }] })).kind, "limited");
        });

        it("of a tenant are those of all its keys", async () => {
            const tenant = "tenant:{7}:usage";
            const keys = [0, 1, 2].map(() => its.issue([{ ...two, counter: 2 }]));
            const kinds = [];
            for (const { presented } of keys) {
                kinds.push((await its.keys.verify(presented, { counters: [tenant] })).kind);
            }
            assert.deepEqual(kinds, ["valid", "valid", "limited"]);
            assert.deepEqual(
                (await its.keys.limits(keys[0].prefix, { counter: tenant })).map(({ name, remaining, windowMs }) => [
                    name,
                    remaining,
                    windowMs,
                ]),
                [["hour", 0, HOUR]],
            );
        });

        it("count a request once by its id, and settle it in every counter", async () => {
            const tenant = `tenant:{${kind}${protocol}}:usage`;
            const counters = [tenant];
            const key = its.issue([
                { name: "tokens", quota: 1000, period: "year" },
                { name: "all", quota: 1000, period: "year", counter: 2 },
            ]);
            const ask = (requestId, cost) => its.keys.verify(key.presented, { requestId, cost, counters });
            for (let time = 0; time < 3; time += 1) {
                const { limits } = await ask("r-1", 100);
                assert.deepEqual(
                    limits.map(({ remaining }) => remaining),
                    [900, 900],
                );
            }
            assert.equal(await its.uses(key), 100);
            const settle = (id, cost) => its.keys.settle(key.prefix, id, cost, { counters });
            assert.deepEqual(await settle("r-1", 30), { before: 100, now: 30 });
            assert.deepEqual(await settle("r-1", 70), { before: 30, now: 30 });
            assert.equal(await settle("r-2", 1), null);
            const looked = await its.keys.verify(key.presented, { counters, peek: true });
            assert.deepEqual(
                looked.limits.map(({ remaining }) => remaining),
                [970, 970],
            );
            assert.equal(await its.uses(key), 30);
            await its.keys.count(key.prefix, 5, "c-1");
            await its.keys.count(key.prefix, 5, "c-1");
            assert.equal(await its.uses(key), 35);
        });

        it("of credits want them bought, each payment once", async () => {
            const key = its.issue([credits]);
            const refused = await its.keys.verify(key.presented);
            assert.deepEqual(
                [refused.code, refused.limit, refused.retryAfterMs, refused.source],
                ["USAGE_EXCEEDED", "credits", null, "database"],
            );
            assert.equal(await its.keys.credit(key.prefix, "credits", { by: 2 }, { requestId: "payment-1" }), 2);
            assert.equal(await its.keys.credit(key.prefix, "credits", { by: 2 }, { requestId: "payment-1" }), 2);
            assert.equal((await its.keys.verify(key.presented)).limits[0].remaining, 1);
            assert.deepEqual(await its.keys.limits(key.prefix), [
                {
                    name: "credits",
                    kind: "credits",
                    limit: null,
                    remaining: 1,
                    resetAfterMs: null,
                    retryAfterMs: null,
                    windowMs: null,
                    isShadow: false,
                },
            ]);
            assert.equal(await its.keys.credit(key.prefix, "credits", { set: 7 }), 7);
            await assert.rejects(its.keys.credit(key.prefix, "credits", { by: -8 }), Refusal);
        });

        it("of a key that is good for nothing take nothing", async () => {
            const key = its.issue([two], { scopes: ["a"] });
            for (const source of ["database", "cache"]) {
                const { code, source: from } = await its.keys.verify(key.presented, { scopes: ["b"] });
                assert.deepEqual([code, from], ["FORBIDDEN", source]);
            }
            assert.equal((await its.keys.verify(key.presented)).kind, "valid");
            its.rows.set(key.prefix, { ...its.rows.get(key.prefix), is_active: false });
            await its.keys.changed({ prefix: key.prefix });
            assert.equal((await its.keys.verify(key.presented)).code, "DISABLED");
            assert.equal(await its.uses(key), 1);
        });
    });
}

for (const kind of ["ioredis", "node-redis"]) {
    describe(`a key with limits, with ${kind}`, () => {
        /** Runs with a server, and a library behind a proxy. */
        const play = async (options, run) => {
            const server = await Server.start(options.server);
            const proxy = await startProxy(server.port);
            const its = await open(kind, 2, proxy.port, { keys: { changeTimeoutMs: 20_000, ...options.keys } });
            try {
                await run({ server, proxy, ...its });
            } finally {
                its.close();
                proxy.end();
                await server.stop();
            }
        };

        it("is answered from neither VALIDATE nor L1 alone, by any process", async () => {
            const channel = "changes";
            const l1 = { maxEntries: 100, maxAgeMs: 60_000, follow: { channel } };
            const server = { settings: ["invalidation-channel", channel] };
            await play({ server, keys: { l1 } }, async ({ server: { port }, rows, issue, keys, uses, proxy }) => {
                const [plain, limited] = [issue(undefined), issue([{ ...two, units: 100 }])];
                const other = await open(kind, 2, port, { rows, keys: { l1 } });
                const kept = async (one) => (await one.verify(plain.presented)).source === "l1";
                await eventually(() => kept(keys), "L1");
                await eventually(() => kept(other.keys), "L1 of the other");
                try {
                    for (let time = 1; time <= 10; time += 1) {
                        for (const one of [keys, other.keys]) {
                            const { source, limits } = await one.verify(limited.presented);
                            assert.ok(source !== "l1" && limits.length === 1, `${source} ${time}`);
                        }
                    }
                    assert.equal(await uses(limited), 20);
                    assert.equal(await uses(plain), 0);
                    // It is known to have some: one round trip. One that has none any more is as others are.
                    const asked = proxy.count("APIKEY.VALIDATE");
                    await keys.verify(limited.presented);
                    assert.equal(proxy.count("APIKEY.VALIDATE"), asked);
                    rows.set(limited.prefix, { ...rows.get(limited.prefix), limits: null });
                    await keys.changed({ prefix: limited.prefix });
                    await eventually(async () => (await keys.verify(limited.presented)).source === "l1", "L1");
                } finally {
                    other.close();
                }
            });
        });

        it("is asked again under the id of the request when the reply was lost, and counts once", async () => {
            await play({}, async ({ proxy, keys, issue, uses }) => {
                const key = issue([{ ...two, units: 100 }, credits]);
                assert.equal(await keys.credit(key.prefix, "credits", { set: 50 }), 50);
                await keys.verify(key.presented);
                const sent = proxy.count("APIKEY.ADMIT");
                proxy.cutsNext = true;
                const said = await keys.verify(key.presented, { requestId: "r-1" });
                assert.deepEqual([said.source, said.limits[0].remaining], ["cache", 98]);
                assert.equal(proxy.count("APIKEY.ADMIT"), sent + 2);
                assert.equal(await uses(key), 2);
                // Without an id it may count twice: it is sent once, and let by.
                proxy.cutsNext = true;
                const lost = await keys.verify(key.presented);
                assert.deepEqual([lost.kind, lost.source, lost.limits], ["valid", "database", null]);
                assert.equal(proxy.count("APIKEY.ADMIT"), sent + 3);
                proxy.cutsNext = true;
                await keys.settle(key.prefix, "r-1", 5);
                assert.equal(proxy.count("APIKEY.SETTLE"), 2);
                proxy.cutsNext = true;
                await keys.credit(key.prefix, "credits", { by: 10 }, { requestId: "payment" });
                // The connection of reads is lost since the verification before.
                await uses(key);
                proxy.cutsNext = true;
                await keys.count(key.prefix, 1, "c-1");
                // 1, 5, 1 that was lost; and the count.
                assert.equal(await uses(key), 8);
                const [, { remaining }] = (await keys.verify(key.presented, { cost: 0 })).limits;
                assert.equal(remaining, 50 - 7 + 10);
            });
        });

        it("is let by or not while Redis does not answer or takes no writes, as it was said", async () => {
            const quick = { timeoutMs: 300, breaker: { failures: 1, ms: 50 } };
            for (const limitsWhenUnavailable of [undefined, "allow", "refuse"]) {
                const options = limitsWhenUnavailable === undefined ? quick : { ...quick, limitsWhenUnavailable };
                await play({ keys: options }, async ({ server, keys, issue, uses }) => {
                    const [key, plain] = [issue([two]), issue(undefined)];
                    const verify = () => keys.verify(key.presented);
                    await eventually(async () => (await verify()).kind === "limited", "the limit");
                    const isWhat = async () => {
                        const { kind: is, source, limits } = await verify();
                        assert.equal(is, limitsWhenUnavailable === "refuse" ? "unavailable" : "valid");
                        if (is === "valid") {
                            assert.deepEqual([source, limits], ["database", null]);
                        }
                        assert.equal((await keys.verify(plain.presented)).kind, "valid");
                        // Whoever wants a use counted of a key without limits wants nothing that is judged.
                        assert.deepEqual((await keys.verify(plain.presented, { cost: 2 })).limits, null);
                    };
                    await server.admin.config("SET", "maxmemory", "1");
                    await isWhat();
                    await server.admin.config("SET", "maxmemory", "0");
                    await eventually(async () => (await verify()).kind === "limited", "the limit again");
                    await server.admin.call("REPLICAOF", ["127.0.0.1", "1"]);
                    await isWhat();
                    await server.admin.call("REPLICAOF", ["NO", "ONE"]);
                    await eventually(async () => (await verify()).kind === "limited", "the limit of before");
                    server.freeze();
                    await isWhat();
                    await isWhat();
                    server.thaw();
                    await eventually(async () => (await verify()).kind === "limited", "its return");
                    assert.equal(await uses(key), 2);
                });
            }
        });

        it("is admitted under each pepper, and counts once", async () => {
            await play({ keys: { pepper: ["new", "old"] } }, async ({ keys, issue, rows, uses }) => {
                const key = issue([{ ...two, units: 5 }]);
                const { secret } = parseKey(key.presented);
                rows.set(key.prefix, { ...rows.get(key.prefix), key_hash: digestOf(secret, "old").toString("hex") });
                for (let time = 1; time <= 3; time += 1) {
                    const { limits } = await keys.verify(key.presented);
                    assert.equal(limits[0].remaining, 5 - time);
                }
                assert.equal(await uses(key), 3);
            });
        });

        it("is let by or not where Redis keeps no records, which is told", async () => {
            for (const limitsWhenUnavailable of ["allow", "refuse"]) {
                const server = { settings: ["enabled", "no"] };
                await play({ server, keys: { limitsWhenUnavailable } }, async ({ keys, issue, errors, proxy }) => {
                    const key = issue([two]);
                    for (let time = 1; time <= 3; time += 1) {
                        const { kind: is, limits } = await keys.verify(key.presented);
                        const isLetBy = limitsWhenUnavailable === "allow";
                        assert.deepEqual([is, limits], isLetBy ? ["valid", null] : ["unavailable", undefined]);
                        assert.equal(errors.filter(({ message }) => /limits/.test(message)).length, isLetBy ? time : 0);
                    }
                    // Each asks once.
                    assert.equal(proxy.count("APIKEY.VALIDATE") + proxy.count("APIKEY.ADMIT"), 3);
                });
            }
        });

        it("is unavailable, and let by in no case, where the call is wrong", async () => {
            await play({}, async ({ server, keys, issue, errors }) => {
                const key = issue([{ ...two, counter: 2 }]);
                for (let time = 0; time < 2; time += 1) {
                    const { kind: is, cause } = await keys.verify(key.presented);
                    assert.equal(is, "unavailable");
                    assert.match(cause.message, /numcounters must be at least 2/);
                }
                assert.equal(errors.length, 2);
                assert.equal((await keys.verify(key.presented, { counters: ["tenant"] })).kind, "valid");
                await server.admin.set("a-string", "x");
                const { cause } = await keys.verify(key.presented, { counters: ["a-string"] });
                assert.match(cause.message, /WRONGTYPE/);
            });
        });

        it("is admitted once it has waited for as long as it was told", async () => {
            const counts = [];
            const meter = { createCounter: () => ({ add: (_, attributes) => counts.push(attributes) }) };
            await play({ keys: { telemetry: { meter } } }, async ({ keys, issue }) => {
                const key = issue([{ name: "second", units: 5, per: 1000, burst: 1 }]);
                await keys.verify(key.presented);
                const { code, retryAfterMs } = await eventually(async () => {
                    const said = await keys.verify(key.presented);
                    return said.kind === "limited" && said;
                }, "the limit");
                assert.equal(code, "RATE_LIMITED");
                assert.ok(retryAfterMs > 0 && retryAfterMs <= 200);
                assert.deepEqual(counts.at(-1), { "apikey.code": "RATE_LIMITED", "apikey.source": "cache" });
                await pause(retryAfterMs + 1);
                assert.equal((await keys.verify(key.presented)).kind, "valid");
            });
        });
    });
}

describe("what is wrong with limits", () => {
    let server;
    let its;

    before(async () => {
        server = await Server.start();
        its = await open("ioredis", 2, server.port);
    });

    after(async () => {
        its?.close();
        await server?.stop();
    });

    it("of a record the library says as the module does", async () => {
        const reader = new RowReader();
        const all = [
            {},
            1,
            "[]",
            Array.from({ length: 17 }, (_, at) => ({ ...credits, name: `c-${at}` })),
            [credits, credits],
            ...[
                1,
                null,
                { credits: true },
                { name: 1, credits: true },
                { name: "b", credits: true, limit: 1 },
                { name: "b" },
                { name: "b", credits: false },
                { name: "b", credits: true, units: 1, per: 1 },
                { name: "b", quota: 1, period: "day", units: 1 },
                { name: "b", units: 1 },
                { name: "b", burst: 1 },
                { name: "b", quota: 1 },
                { name: "b", units: 1.5, per: 1 },
                { name: "b", units: "1", per: 1 },
                { name: "b", units: 0, per: 1 },
                { name: "b", units: 1, per: 31_622_400_001 },
                { name: "b", units: 1, per: 1, burst: 1e15 + 1 },
                { name: "b", units: 1, per: 31_622_400_000, burst: 1e15 },
                { name: "b", quota: 1, period: "fortnight" },
                { name: "b", quota: 1, period: "day", day: 1 },
                { name: "b", quota: 1, period: "month", day: 32 },
                { name: "b", quota: 1, period: "day", offset: 1441 },
                { name: "b", credits: true, counter: 0 },
                { name: "b", credits: true, counter: 17 },
                { name: "b", credits: true, shadow: 1 },
                { name: "b", credits: true, cost: 1_000_001 },
                { name: "b c", credits: true },
                { name: "", credits: true },
            ].map((limit) => [limit]),
        ];
        for (const limits of all) {
            const row = { id: 1, is_active: true, limits };
            const own = (() => {
                try {
                    reader.read(row);
                    return undefined;
                } catch (thrown) {
                    assert.ok(thrown instanceof BadRecord);
                    return thrown.message;
                }
            })();
            const said = await its.keys.commands
                .setval("apikey:{x}", JSON.stringify(row))
                .catch(({ message }) => message);
            assert.equal(`BADRECORD ${own}`, said, JSON.stringify(limits));
        }
        for (const limits of [
            null,
            [],
            [{ name: "a", units: 1, per: 1, burst: null, day: null, credits: null, shadow: false }],
            [{ name: "a.b:c-d_e", quota: 0, period: "Month", day: 31, offset: -1440, cost: 0, counter: 16 }],
            [{ name: "a", units: 1, per: 31_622_400_000, burst: 291_000_000 }],
        ]) {
            const row = { id: 1, is_active: true, limits };
            const { json } = reader.read(row);
            assert.equal(await its.keys.commands.setval("apikey:{x}", json), true, JSON.stringify(limits));
        }
    });

    it("of a call is said before anything is asked", async () => {
        const { presented, prefix, counter } = its.issue([two]);
        for (const [options, error] of [
            [{ cost: -1 }, RangeError],
            [{ cost: 1.5 }, RangeError],
            [{ cost: "1" }, TypeError],
            [{ cost: 1e9 + 1 }, RangeError],
            [{ requestId: "" }, RangeError],
            [{ requestId: "ü".repeat(33) }, RangeError],
            [{ requestId: 1 }, TypeError],
            [{ counters: "x" }, TypeError],
            [{ counters: [""] }, TypeError],
            [{ counters: ["x", "x"] }, RangeError],
            [{ counters: Array.from({ length: 16 }, (_, at) => `c${at}`) }, RangeError],
            [{ limits: [{ name: "x" }] }, RangeError],
            [{ limits: [{ ...two, counter: 2 }] }, RangeError],
            [{ counters: [counter] }, RangeError],
            [{ peek: 1 }, TypeError],
        ]) {
            await assert.rejects(its.keys.verify(presented, options), error, JSON.stringify(options));
        }
        await assert.rejects(its.keys.settle(prefix, "", 1), RangeError);
        await assert.rejects(its.keys.settle(prefix, "x", -1), RangeError);
        await assert.rejects(its.keys.settle(prefix, "x", 1, { counters: [counter] }), RangeError);
        await assert.rejects(its.keys.credit(prefix, "credits", { by: 1 }, { requestId: "" }), RangeError);
        const { client } = await clientFor("ioredis", 2, [server.port]);
        const wrong = { load: async () => null, limitsWhenUnavailable: "load" };
        assert.throws(() => new ApiKeys(client, wrong), /limitsWhenUnavailable must be one of/);
    });
});
