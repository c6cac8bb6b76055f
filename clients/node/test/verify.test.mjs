import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { inspect } from "node:util";
import { Cluster, Redis } from "ioredis";
import { ApiKeys, BadRecord, digestOf, NotTold } from "../dist/esm/index.js";
import { CLIENTS, clientFor, eventually, Server } from "./servers.mjs";

/** A database: rows by their prefix, and who asks for them. */
class Database {
    rows = new Map();
    loads = [];
    hold = undefined;

    load = async (prefix) => {
        this.loads.push(prefix);
        const row = this.rows.get(prefix) ?? null;
        await this.hold?.promise;
        return row;
    };
}

const later = () => {
    const made = {};
    made.promise = new Promise((resolve) => {
        made.open = resolve;
    });
    return made;
};

for (const [kind, protocol] of CLIENTS) {
    describe(`verify, with ${kind} in RESP${protocol}`, () => {
        let server;
        let client;
        let database;
        let keys;
        let number = 0;

        before(async () => {
            server = await Server.start();
            client = await clientFor(kind, protocol, [server.port]);
            database = new Database();
            // A busy machine is not what is tested here.
            keys = new ApiKeys(client.client, { load: database.load, timeoutMs: 5000 });
        });

        after(async () => {
            keys?.close();
            client?.end();
            await server?.stop();
        });

        /** A key in the database. */
        const issue = (fields = {}) => {
            const key = keys.generate("ak_test");
            number += 1;
            const row = {
                id: `k-${number}`,
                user_id: 42,
                scopes: ["orders:*"],
                is_active: true,
                expires_at: null,
                key_hash: key.digest,
                ...fields,
            };
            database.rows.set(key.prefix, row);
            database.loads.length = 0;
            return { ...key, row };
        };

        it("answers from the database once, and then from the cache", async () => {
            const key = issue();
            const first = await keys.verify(key.presented, { scopes: ["orders:refund"] });
            assert.deepEqual([first.kind, first.source, first.record.id], ["valid", "database", key.row.id]);
            const second = await keys.verify(key.presented, { scopes: ["orders:refund"] });
            assert.deepEqual([second.kind, second.source], ["valid", "cache"]);
            assert.deepEqual(second.record, first.record);
            assert.equal(second.record.key_hash, undefined);
            assert.ok(second.endsInMs > 0);
            assert.deepEqual(database.loads, [key.prefix]);
        });

        it("names keys and tags behind its namespace, as the other libraries do", async () => {
            const key = issue();
            const own = new ApiKeys(client.client, { load: database.load, timeoutMs: 5000, ns: "acme:" });
            assert.equal((await own.verify(key.presented)).source, "database");
            const redis = new Redis({ port: server.port });
            const tags = await redis.call("APIKEY.TAGS", `acme:apikey:{${key.prefix}}`);
            await redis.quit();
            assert.ok(tags.includes(`acme:apikey:id:${key.row.id}`));
            await own.changed({ prefix: key.prefix });
            assert.equal((await own.verify(key.presented)).source, "database");
            own.close();
        });

        it("refuses with the server's codes, whoever answers", async () => {
            const key = issue({ allowed_ips: ["10.0.0.0/8"] });
            const wrong = keys.generate("ak_test");
            database.rows.set(wrong.prefix, { ...key.row, id: "w" });
            const disabled = issue({ is_active: false });
            const expired = issue({ expires_at: Date.now() - 1 });
            const none = keys.generate("ak_test");
            const cases = [
                [key, { address: "10.1.2.3" }, "valid", undefined, undefined],
                [key, { address: "11.1.2.3" }, "refused", "FORBIDDEN_IP", null],
                [key, {}, "refused", "FORBIDDEN_IP", null],
                [
                    key,
                    { address: "10.1.2.3", scopes: ["orders:x", "users:read"] },
                    "refused",
                    "FORBIDDEN",
                    "users:read",
                ],
                [wrong, {}, "refused", "MISMATCH", null],
                [disabled, {}, "refused", "DISABLED", null],
                [expired, {}, "refused", "EXPIRED", null],
                [none, {}, "refused", "ABSENT", null],
            ];
            for (const source of ["database", "cache"]) {
                for (const [{ presented, prefix }, options, kind, code, scope] of cases) {
                    if (source === "database") {
                        await keys.changed({ prefix });
                    }
                    const result = await keys.verify(presented, options);
                    assert.deepEqual([result.kind, result.code, result.scope], [kind, code, scope]);
                    assert.equal(result.source, source);
                }
            }
        });

        it("asks nobody of what is no key", async () => {
            const { presented } = issue();
            const last = presented.at(-1) === "0" ? "1" : "0";
            for (const text of ["", "x", presented.slice(0, -1), presented.slice(0, -1) + last, `${presented}0`]) {
                assert.equal((await keys.verify(text)).code, "MALFORMED");
            }
            assert.deepEqual(database.loads, []);
        });

        it("revokes at once", async () => {
            for (const say of [
                ({ row }) => keys.changed({ id: row.id }),
                ({ prefix }) => keys.changed({ prefix }),
                ({ row }) => keys.changed({ user: row.user_id }),
                ({ row, prefix }) => keys.changed({ id: row.id, prefix, user: row.user_id }),
                ({ row, prefix }) => keys.userDeleted(row.user_id, [prefix]),
            ]) {
                const key = issue();
                await keys.verify(key.presented);
                assert.equal((await keys.verify(key.presented)).source, "cache");
                database.rows.set(key.prefix, { ...key.row, is_active: false });
                await say(key);
                assert.equal((await keys.verify(key.presented)).code, "DISABLED");
            }
        });

        it("says that a key was created", async () => {
            const key = issue();
            database.rows.delete(key.prefix);
            assert.equal((await keys.verify(key.presented)).code, "ABSENT");
            database.rows.set(key.prefix, key.row);
            assert.equal((await keys.verify(key.presented)).code, "ABSENT");
            await keys.created(key.prefix, 42);
            assert.equal((await keys.verify(key.presented)).kind, "valid");
        });

        it("loads a key once for all that ask together, and never for who came after a change", async () => {
            const key = issue();
            database.hold = later();
            const early = Array.from({ length: 64 }, () => keys.verify(key.presented));
            await eventually(() => database.loads.length === 1);
            // The load has read the row. It is revoked now, and said so; who comes then may not get what was read.
            database.rows.set(key.prefix, { ...key.row, is_active: false });
            await keys.changed({ id: key.row.id, prefix: key.prefix });
            const late = Array.from({ length: 8 }, () => keys.verify(key.presented));
            database.hold.open();
            database.hold = undefined;
            const kinds = new Set((await Promise.all(early)).map(({ kind }) => kind));
            assert.deepEqual([...kinds], ["valid"]);
            const codes = new Set((await Promise.all(late)).map(({ code }) => code));
            assert.deepEqual([...codes], ["DISABLED"]);
            assert.equal(database.loads.length, 2);
            assert.equal((await keys.verify(key.presented)).code, "DISABLED");
        });

        it("remembers no failure of the loader", async () => {
            const key = issue();
            const failing = new ApiKeys(client.client, {
                timeoutMs: 5000,
                load: async (prefix) => {
                    if (database.loads.push(prefix) === 1) {
                        throw new Error("the database is away");
                    }
                    return database.rows.get(prefix);
                },
            });
            try {
                const first = await failing.verify(key.presented);
                assert.equal(first.kind, "unavailable");
                assert.match(first.cause.message, /the database is away/);
                assert.equal((await failing.verify(key.presented)).source, "database");
                assert.equal((await failing.verify(key.presented)).source, "cache");
            } finally {
                failing.close();
            }
        });

        it("keeps integers that a number can't hold", async () => {
            const text = (id) => `{"id":${id},"user_id":9007199254740993,"is_active":true,"key_hash":"HASH"}`;
            for (const row of [
                (digest) => text("9007199254740995").replace("HASH", digest),
                (digest) => ({ id: 9007199254740995n, user_id: 9007199254740993n, is_active: true, key_hash: digest }),
            ]) {
                const key = issue();
                database.rows.set(key.prefix, row(key.digest));
                for (const source of ["database", "cache"]) {
                    const result = await keys.verify(key.presented);
                    assert.equal(result.source, source);
                    assert.equal(result.record.id, 9007199254740995n);
                    assert.equal(result.record.user_id, 9007199254740993n);
                }
                await keys.changed({ id: 9007199254740995n });
                assert.equal((await keys.verify(key.presented)).source, "database");
                await keys.changed({ user: 9007199254740993n });
                assert.equal((await keys.verify(key.presented)).source, "database");
            }
        });

        it("throws for a row that nobody may judge, and caches nothing of it", async () => {
            for (const fields of [{ status: "suspended" }, { expires_at: 1_700_000_000 }, { metadata: { ttl: 1 } }]) {
                const key = issue(fields);
                await assert.rejects(keys.verify(key.presented), BadRecord);
                database.rows.set(key.prefix, { ...key.row, status: undefined, expires_at: null, metadata: undefined });
                assert.equal((await keys.verify(key.presented)).source, "database");
            }
            // What the module alone refuses is refused as well.
            const key = issue({ scopes: Array.from({ length: 65 }, (_, at) => `a:${at}`) });
            await assert.rejects(keys.verify(key.presented), BadRecord);
        });

        it("takes no end for never that is none", async () => {
            const nothing = [Number.NaN, new Date(Number.NaN), Symbol("x"), () => 0, { toJSON: () => null }];
            for (const end of nothing) {
                for (const field of ["expires_at", "revoked_at"]) {
                    await assert.rejects(keys.verify(issue({ [field]: end }).presented), BadRecord);
                }
                const key = issue();
                key.row.key_hash = [{ digest: key.digest, until: end }];
                await assert.rejects(keys.verify(key.presented), BadRecord);
            }
            for (const [end, code] of [
                [Number.NEGATIVE_INFINITY, "EXPIRED"],
                [Number.POSITIVE_INFINITY, undefined],
            ]) {
                const key = issue({ expires_at: end });
                for (const source of ["database", "cache"]) {
                    const result = await keys.verify(key.presented);
                    assert.deepEqual([result.code, result.source], [code, source]);
                }
                const { presented } = issue({ revoked_at: end });
                assert.equal((await keys.verify(presented)).code, "DISABLED");
            }
        });

        it("takes keys of the pepper before while it is rotated, and two digests with an end", async () => {
            const old = new ApiKeys(client.client, { load: database.load, pepper: "old", timeoutMs: 5000 });
            const rotated = new ApiKeys(client.client, {
                load: database.load,
                pepper: ["new", "old"],
                timeoutMs: 5000,
            });
            const over = new ApiKeys(client.client, { load: database.load, pepper: "new", timeoutMs: 5000 });
            try {
                const key = old.generate("ak_test");
                database.rows.set(key.prefix, { id: "p", is_active: true, key_hash: key.digest });
                assert.equal((await rotated.verify(key.presented)).source, "database");
                assert.equal((await rotated.verify(key.presented)).source, "cache");
                assert.equal((await over.verify(key.presented)).code, "MISMATCH");
                const made = rotated.generate("ak_test");
                assert.equal(digestOf(made.secret, "new").toString("hex"), made.digest);
            } finally {
                for (const one of [old, rotated, over]) {
                    one.close();
                }
            }
            const next = keys.generate("ak_test");
            const key = issue();
            const until = new Date(Date.now() + 60_000).toISOString();
            database.rows.set(key.prefix, { ...key.row, key_hash: [{ digest: key.digest, until }, next.digest] });
            for (const source of ["database", "cache"]) {
                const result = await keys.verify(key.presented);
                assert.deepEqual([result.kind, result.source], ["valid", source]);
                assert.ok(result.endsInMs > 0 && result.endsInMs <= 60_000);
            }
        });

        it("gives nobody a record that another may change", async () => {
            const key = issue();
            const ask = () => keys.verify(key.presented);
            const [one, other] = await Promise.all([ask(), ask()]);
            assert.deepEqual([one.source, other.source], ["database", "database"]);
            assert.throws(() => one.record.scopes.push("users:*"), TypeError);
            assert.deepEqual(other.record.scopes, ["orders:*"]);
        });

        it("takes what is no text for no key", async () => {
            for (const none of [undefined, null, 7, Buffer.from("x")]) {
                assert.equal((await keys.verify(none)).code, "MALFORMED");
            }
        });

        it("refuses a pepper that is none", () => {
            for (const pepper of ["", [], ["new", ""], Buffer.alloc(0)]) {
                assert.throws(() => new ApiKeys(client.client, { load: database.load, pepper }), TypeError);
            }
        });

        it("refuses what can't be asked", async () => {
            const { presented } = issue();
            await assert.rejects(keys.verify(presented, { scopes: [""] }), RangeError);
            await assert.rejects(keys.verify(presented, { scopes: ["x".repeat(1025)] }), RangeError);
            await assert.rejects(keys.verify(presented, { scopes: Array(65).fill("a") }), RangeError);
            await assert.rejects(keys.verify(presented, { address: "10.0.0.256" }), RangeError);
            for (const scopes of [
                "orders:refund",
                new Set(["orders:refund"]),
                ["users:read"].values(),
                null,
                [["a"]],
            ]) {
                await assert.rejects(keys.verify(presented, { scopes }), TypeError);
            }
            await assert.rejects(keys.changed({}), TypeError);
        });

        it("lists a user's keys", async () => {
            const rows = [1, 2, 3].map((id) => ({ id, user_id: 7, is_active: true, key_hash: "ab".repeat(32) }));
            let loads = 0;
            const load = async () => {
                loads += 1;
                return rows;
            };
            await keys.created("ak_test_none", 7);
            for (const options of [
                { offset: 1, limit: 1 },
                { offset: 1, limit: 1 },
            ]) {
                const page = await keys.list(7, { load, ...options });
                assert.deepEqual([page.total, page.items.map(({ id }) => id)], [3, [2]]);
                assert.equal(page.items[0].key_hash, undefined);
            }
            assert.equal(loads, 1);
            rows.push({ id: 4, user_id: 7, is_active: true });
            await keys.created("ak_test_none", 7);
            assert.equal((await keys.list(7, { load })).total, 4);
        });

        it("keeps decisions with their key", async () => {
            const key = issue();
            let says = true;
            let loads = 0;
            const load = async () => {
                loads += 1;
                return says;
            };
            const ask = () => keys.decide(key.prefix, "users", "read", { load });
            assert.deepEqual([await ask(), await ask(), loads], [true, true, 1]);
            says = false;
            await keys.changed({ id: key.row.id });
            assert.deepEqual([await ask(), await ask(), loads], [false, false, 2]);
            database.rows.delete(key.prefix);
            await keys.changed({ prefix: key.prefix });
            says = true;
            assert.equal(await ask(), false);
        });

        it("hands counts over until they are acknowledged", async () => {
            const key = issue();
            await keys.count(key.prefix, 41);
            await keys.count(key.prefix);
            const take = async (body) => {
                const lines = [];
                for await (const batch of keys.usage.batches({ leaseMs: 60_000 })) {
                    lines.push(...batch.lines);
                    await body?.(batch);
                }
                return lines;
            };
            const fail = async () => {
                throw new Error("the database is away");
            };
            await assert.rejects(take(fail), /the database is away/);
            const [line, ...others] = await take();
            assert.deepEqual([line.prefix, line.count, others], [key.prefix, 42, []]);
            assert.deepEqual(await take(), []);
            assert.deepEqual(await keys.commands.usageGet(line.key), {
                pending: 0,
                leased: 0,
                total: 42,
                firstUsedAtMs: (await keys.commands.usageGet(line.key)).firstUsedAtMs,
                lastUsedAtMs: line.lastUsedAtMs,
            });
            // Behind a break what was not acknowledged comes again, and nothing else.
            await keys.count(key.prefix, 2n ** 60n + 1n);
            for await (const batch of keys.usage.batches({ leaseMs: 60_000 })) {
                assert.equal(batch.lines[0].count, 2n ** 60n + 1n);
                break;
            }
            for await (const batch of keys.usage.batches({ leaseMs: 60_000 })) {
                assert.equal(batch.lines[0].count, 2n ** 60n + 1n);
                await batch.ack();
                break;
            }
            assert.deepEqual(await take(), []);
        });

        it("reads maps alike in both protocols", async () => {
            assert.ok(["healthy", "degraded"].includes((await keys.commands.health()).get("status")));
            assert.equal(await keys.commands.describe("apikey:{none}"), null);
        });

        it("refuses ids that are none, and keeps nothing of them", async () => {
            const kept = [];
            const options = { load: database.load, outbox: (change) => kept.push(change), timeoutMs: 5000 };
            const telling = new ApiKeys(client.client, options);
            const none = [Number.POSITIVE_INFINITY, Number.NaN, 1.5, 2 ** 53, "", "x".repeat(257), {}, true];
            const wrong = (name) => ({
                name: "TypeError",
                message: new RegExp(`^${name} must be a string of 1 to 256`),
            });
            const token = "0";
            for (const id of none) {
                await assert.rejects(telling.changed({ id }), wrong("id"));
                await assert.rejects(telling.changed({ id: "k", user: id }), wrong("user"));
                await assert.rejects(telling.tell({ kind: "changed", id }), wrong("id"));
                await assert.rejects(telling.created("p", id), wrong("user"));
                await assert.rejects(telling.userDeleted(id), wrong("user"));
                await assert.rejects(telling.list(id, { load: async () => [] }), wrong("user"));
                await assert.rejects(telling.commands.setlist("l", id, "[]", token), wrong("userId"));
                const decision = { id, userId: 1, resource: "r", action: "a", isAllowed: true, token };
                await assert.rejects(telling.commands.setscope("s", decision), wrong("id"));
            }
            // As a row has it that is nobody's.
            await telling.changed({ id: -(2 ** 53) + 1, prefix: "p", user: null });
            await telling.changed({ id: 2n ** 64n });
            telling.close();
            assert.deepEqual(kept, []);
        });

        it("raises where a change was not told, and keeps it in the outbox", async () => {
            const lost = await Server.start();
            const other = await clientFor(kind, protocol, [lost.port]);
            const kept = [];
            const outbox = (change) => kept.push(change);
            const telling = new ApiKeys(other.client, { load: database.load, outbox, changeTimeoutMs: 200 });
            try {
                await telling.changed({ id: "k-1" });
                await lost.kill();
                const change = { kind: "changed", id: "k-1", prefix: "p" };
                await assert.rejects(telling.changed({ id: "k-1", prefix: "p" }), (error) => {
                    assert.ok(error instanceof NotTold);
                    assert.deepEqual([error.change, error.kept], [change, true]);
                    return true;
                });
                assert.deepEqual(kept, [change]);
                await assert.rejects(telling.tell(change), NotTold);
                await lost.run();
                await eventually(() =>
                    telling.tell(change).then(
                        () => true,
                        () => false,
                    ),
                );
                assert.equal(kept.length, 1);
            } finally {
                telling.close();
                other.end();
                await lost.stop();
            }
        });
    });
}

it("says no password in its errors", async () => {
    const server = await Server.start();
    const password = "an-open-sesame";
    for (const protocol of [2, 3]) {
        const client = new Redis({ port: server.port, username: "nobody", password, protocol, lazyConnect: true });
        const met = [];
        const onError = (error) => met.push(error);
        const keys = new ApiKeys(client, { load: async () => null, whenDown: "deny", timeoutMs: 5000, onError });
        const result = await keys.verify(keys.generate("ak_test").presented);
        keys.close();
        assert.equal(result.kind, "unavailable");
        assert.equal(met.length, 1);
        assert.ok(!inspect([result, met], { depth: 20, showHidden: true }).includes(password));
    }
    await server.stop();
});

it("waits no longer than it may for a client of a cluster that knows no node", async () => {
    const client = new Cluster([{ host: "localhost", port: 1 }], { lazyConnect: true, dnsLookup: () => {} });
    client.on("error", () => {});
    const keys = new ApiKeys(client, { load: async () => null, timeoutMs: 50 });
    const asked = performance.now();
    assert.equal((await keys.verify(keys.generate("ak_test").presented)).code, "ABSENT");
    const took = performance.now() - asked;
    keys.close();
    client.disconnect();
    assert.ok(took < 600, `it took ${took} ms`);
});
