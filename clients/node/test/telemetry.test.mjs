import assert from "node:assert/strict";
import { it } from "node:test";
import { ApiKeys, Cache } from "../dist/esm/index.js";

it("tells spans and counters what was said, and of no key", async () => {
    const told = [];
    const tracer = {
        startSpan: (name) => {
            const span = { name, attributes: {} };
            told.push(span);
            return {
                setAttribute: (attribute, value) => {
                    span.attributes[attribute] = value;
                },
                setStatus: ({ code }) => {
                    span.status = code;
                },
                end: () => {
                    span.hasEnded = true;
                },
            };
        },
    };
    const counts = [];
    const meter = { createCounter: (name) => ({ add: (value, attributes) => counts.push([name, value, attributes]) }) };
    const driver = {
        seeds: async () => undefined,
        connect: async () => {
            throw new Error("nobody is there");
        },
    };
    const rows = new Map();
    const load = async (prefix) => {
        const row = rows.get(prefix);
        if (row === undefined) {
            throw new Error("the database is away");
        }
        return row;
    };
    const keys = new ApiKeys(driver, { load, telemetry: { tracer, meter } });
    const key = keys.generate("ak_test");
    rows.set(key.prefix, { id: "k", is_active: true, key_hash: key.digest });
    const other = keys.generate("ak_test");
    rows.set(other.prefix, { id: "k", is_active: true, key_hash: key.digest });
    for (const presented of [key.presented, other.presented, "none", keys.generate("ak_test").presented]) {
        await keys.verify(presented);
    }
    const said = (code, source) => ({ "apikey.code": code, "apikey.source": source });
    const expected = [said("VALID", "database"), said("MISMATCH", "database"), said("MALFORMED", "none")];
    expected.push(said("UNAVAILABLE", "none"));
    assert.deepEqual(
        told.map(({ attributes }) => attributes),
        expected,
    );
    assert.deepEqual(
        told.map(({ name, status, hasEnded }) => [name, status, hasEnded]),
        [undefined, undefined, undefined, 2].map((status) => ["apikey.verify", status, true]),
    );
    const verifications = counts.filter(([name]) => name === "apikey.verifications");
    assert.deepEqual(
        verifications,
        expected.map((attributes) => ["apikey.verifications", 1, attributes]),
    );
    const errors = counts.filter(([name]) => name === "apikey.errors");
    assert.deepEqual(errors[0], ["apikey.errors", 1, { "error.type": "Unanswered" }]);
    const all = JSON.stringify([told, counts]);
    for (const { prefix, secret } of [key, other]) {
        assert.ok(!all.includes(prefix) && !all.includes(secret));
    }
    keys.close();
});

it("counts what of a region was read, and from where", async () => {
    const counts = [];
    const meter = { createCounter: (name) => ({ add: (value, attributes) => counts.push([name, value, attributes]) }) };
    const driver = {
        seeds: async () => undefined,
        connect: async () => {
            throw new Error("nobody is there");
        },
    };
    const cache = new Cache(driver, { telemetry: { meter } });
    assert.equal(await cache.region("products").getOrSet("k-42", async () => "v"), "v");
    const read = { "apikey.region": "products", "apikey.source": "loaded" };
    assert.deepEqual(counts, [
        ["apikey.errors", 1, { "error.type": "Unanswered" }],
        ["apikey.cache.reads", 1, read],
    ]);
    cache.close();
});
