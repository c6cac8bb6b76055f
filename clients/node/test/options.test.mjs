// Options that contradict themselves or are out of their bounds: refused as they are given, not met as a wrong answer.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { Redis } from "ioredis";
import { ApiKeys, Cache, RowReader } from "../dist/esm/index.js";

describe("how a table differs from a record", () => {
    const many = Array.from({ length: 33 }, (_, number) => `field-${number}`);
    for (const [option, error] of [
        [{ fieldNames: { is_active: "disabled" } }, /is_active to disabled/],
        [
            { fieldNames: { is_active: "disabled" }, inactiveFields: [] },
            /is_active to disabled, which says the opposite/,
        ],
        [{ fieldNames: { is_active: "is_revoked" } }, /says the opposite/],
        [{ fieldNames: { is_active: "accountLocked" } }, /says the opposite/],
        [{ fieldNames: { name: "valid_until" } }, /looks as if it restricted/],
        [{ fieldNames: { user_id: "allowed_ips_list" } }, /looks as if it restricted/],
        [{ fieldNames: { created_at: "status" } }, /looks as if it restricted/],
        [{ fieldNames: { name: "revoked_at" } }, /inactiveFields/],
        [{ fieldNames: { is_active: "live" }, inactiveFields: ["live"] }, /inactiveFields/],
        [{ fieldNames: { expires_at: "ts", created_at: "ts" } }, /created_at to ts as well/],
        [{ fieldNames: { expires_at: "created_at" } }, /expires_at to created_at/],
        [{ fieldNames: { expires: "end" } }, /expires to end/],
        [{ fieldNames: { expires_at: "" } }, /1 to 128 bytes/],
        [{ fieldNames: { expires_at: 7 } }, /1 to 128 bytes/],
        [{ fieldNames: { expires_at: "key_hash" } }, /digestField/],
        [{ fieldNames: "expires_at=end" }, /fieldNames must be an object/],
        [{ inactiveFields: ["expires_at"] }, /inactiveFields must not have expires_at/],
        [{ inactiveFields: ["key_hash"] }, /inactiveFields must not have key_hash/],
        [{ inactiveFields: "blocked" }, /inactiveFields must be an array/],
        [{ inactiveFields: [7] }, /inactiveFields must be an array/],
        [{ droppedFields: "status" }, /droppedFields must be an array/],
        [{ droppedFields: many }, /at most 32/],
        [{ scopeFields: ["a".repeat(129)] }, /128 bytes/],
        [{ extraFields: ["key_hash"] }, /extraFields must not have key_hash/],
        [{ extraFields: ["digest"], digestField: "digest" }, /extraFields must not have digest/],
        [{ digestField: "is_active" }, /digestField/],
        [{ digestField: "" }, /digestField/],
    ]) {
        it(`is not ${JSON.stringify(option).slice(0, 100)}`, () => {
            assert.throws(
                () => new RowReader(option),
                (thrown) => thrown instanceof TypeError && error.test(thrown.message),
            );
        });
    }

    it("may be what the module's settings may be", () => {
        const reader = new RowReader({
            fieldNames: { is_active: "enabled", expires_at: "valid_until", allowed_ips: "ip_whitelist", id: "uuid" },
            inactiveFields: ["blocked"],
            droppedFields: ["status"],
            digestField: "digest",
        });
        const row = {
            uuid: "k",
            enabled: true,
            valid_until: 1_600_000_000_000,
            ip_whitelist: ["10.0.0.0/8"],
            status: "x",
        };
        const { expiresAt, isActive } = reader.read({ ...row, blocked: true });
        assert.deepEqual([expiresAt, isActive], [1_600_000_000_000, false]);
    });
});

describe("how the library works", () => {
    const load = async () => null;
    const follow = "tracking";
    const client = () => new Redis({ port: 1, lazyConnect: true });
    const numbers = (name, make) => [0, -1, Number.NaN, "5"].map((value) => [make(value), name]);
    const times = (name, make) => [
        ...numbers(name, make),
        [make(2 ** 31), name],
        [make(Number.POSITIVE_INFINITY), name],
    ];

    for (const [options, name] of [
        ...times("timeoutMs", (timeoutMs) => ({ timeoutMs })),
        ...times("changeTimeoutMs", (changeTimeoutMs) => ({ changeTimeoutMs })),
        ...times("ttlMs", (ttlMs) => ({ ttlMs })),
        ...times("absentTtlMs", (absentTtlMs) => ({ absentTtlMs })),
        ...times("breaker.ms", (ms) => ({ breaker: { ms } })),
        ...times("l1.maxAgeMs", (maxAgeMs) => ({ l1: { maxEntries: 1, maxAgeMs, follow } })),
        ...numbers("loadLimit", (loadLimit) => ({ loadLimit })),
        ...numbers("breaker.failures", (failures) => ({ breaker: { failures } })),
        ...numbers("l1.maxEntries", (maxEntries) => ({ l1: { maxEntries, maxAgeMs: 1, follow } })),
        [{ loadLimit: 1.5 }, "loadLimit"],
        [{ l1: { maxEntries: 1, maxAgeMs: 1 } }, "l1.follow"],
        [{ l1: { maxEntries: 1, maxAgeMs: 1, follow: "channel" } }, "l1.follow"],
        [{ whenDown: "allow" }, "whenDown"],
        [{ load: undefined }, "load"],
        [{ load: "rows" }, "load"],
        [{ onError: "log" }, "onError"],
        [{ outbox: {} }, "outbox"],
        [{ ns: 7 }, "ns"],
    ]) {
        const shown = inspect(options, { breakLength: Number.POSITIVE_INFINITY });
        it(`is not ${shown}`, () => {
            assert.throws(
                () => new ApiKeys(client(), { load, ...options }),
                (thrown) =>
                    (thrown instanceof TypeError || thrown instanceof RangeError) &&
                    thrown.message.startsWith(`${name} must be`),
            );
        });
    }

    for (const [how, onError] of [
        [
            "throws",
            () => {
                throw new Error("the log is away");
            },
        ],
        ["rejects", async () => Promise.reject(new Error("the log is away"))],
    ]) {
        it(`answers as it would where onError ${how}, and warns`, async () => {
            const warned = [];
            const heed = (warning) => warned.push(warning.message);
            process.on("warning", heed);
            const rows = {};
            const keys = new ApiKeys(client(), { load: async () => rows.row, timeoutMs: 5000, onError });
            const key = keys.generate("ak_test");
            rows.row = { id: 1, is_active: true, key_hash: key.digest };
            try {
                assert.equal((await keys.verify(key.presented)).kind, "valid");
                await new Promise((resolve) => setImmediate(resolve));
                assert.ok(warned.includes("onError has thrown: the log is away"), String(warned));
            } finally {
                process.off("warning", heed);
                keys.close();
            }
        });
    }
});

describe("what a region is", () => {
    const key = Buffer.alloc(32);
    const cache = new Cache(new Redis({ lazyConnect: true }));
    const plain = { serialise: () => Buffer.alloc(0), deserialise: () => null };
    for (const [name, options, error] of [
        ["", {}, /the name of a region must have 1 to 64 bytes/],
        ["a".repeat(65), {}, /1 to 64 bytes/],
        ["a{b}", {}, /without braces/],
        ["writes", {}, /must not be writes/],
        [7, {}, /must be a text/],
        ["r", { ns: "a".repeat(101) }, /ns must have 1 to 100 bytes/],
        ["r", { ttlMs: 0 }, /ttlMs must be a number between 1/],
        ["r", { graceMs: -1 }, /graceMs/],
        ["r", { absentTtlMs: "7" }, /absentTtlMs must be a number/],
        ["r", { patienceMs: Number.NaN }, /patienceMs/],
        ["r", { backoffMs: -1 }, /backoffMs/],
        ["r", { serialiser: {} }, /serialiser must have serialise/],
        ["r", { serialiser: { name: "json+zstd", ...plain } }, /serialiser.name/],
        ["r", { compression: { level: 20 } }, /compression/],
        ["r", { encryption: { keyId: "1", keys: {} } }, /keyId must be the id of one/],
        ["r", { encryption: { keyId: "1", keys: { 1: key.subarray(1) } } }, /the key 1 must be 32 bytes/],
        ["r", { encryption: { keyId: "a;b", keys: { "a;b": key } } }, /the id a;b/],
    ]) {
        it(`is not ${JSON.stringify([name, options]).slice(0, 80)}`, () => {
            assert.throws(() => cache.region(name, options), error);
        });
    }

    it("is refused where its values and keys are none, and nothing is asked", async () => {
        const region = cache.region("r");
        const load = async () => assert.fail("it is asked");
        await assert.rejects(region.getOrSet(7, load), /a key must be a text/);
        await assert.rejects(region.set("one", 1, { tags: "tag" }), /tags must be an array/);
        await assert.rejects(region.set("one", 1, { ttlMs: 0 }), RangeError);
        await assert.rejects(region.set("one", Number.NaN), /not JSON/);
        await assert.rejects(
            region.worker(async () => {}, { lockMs: 1 }),
            /lockMs/,
        );
        await assert.rejects(region.configure({ ttl: 1 }), /no setting ttl/);
        assert.throws(() => new Cache(new Redis({ lazyConnect: true }), { whenDown: "ignore" }), /whenDown/);
    });
});
