import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ApiKeys } from "../dist/esm/index.js";
import { slotOf } from "../dist/esm/slots.js";
import { clientFor, eventually, startCluster } from "./servers.mjs";

describe("a cluster", () => {
    let nodes;

    before(async () => {
        nodes = await startCluster();
    });

    after(async () => {
        await Promise.all((nodes ?? []).map((node) => node.stop()));
    });

    it("has the slots that the library takes keys to be in", async () => {
        for (const key of ["", "a", "{a}", "{}a", "x{a}y{b}", "apikey:{ak_live_ü}:usage", "{a", "}{a}"]) {
            assert.equal(slotOf(key), await nodes[0].admin.call("CLUSTER", ["KEYSLOT", key]), key);
        }
    });

    for (const kind of ["ioredis", "node-redis"]) {
        it(`is verified, told and drained as one server is, with ${kind}`, async () => {
            const { client, end } = await clientFor(kind, 3, [nodes[1].port], true);
            const rows = new Map();
            const load = async (prefix) => rows.get(prefix) ?? null;
            const keys = new ApiKeys(client, { load, timeoutMs: 5000, changeTimeoutMs: 20_000 });
            try {
                const issued = Array.from({ length: 20 }, (_, number) => {
                    const key = keys.generate("ak_test");
                    rows.set(key.prefix, { id: number, user_id: 7, is_active: true, key_hash: key.digest });
                    return key;
                });
                const all = () => Promise.all(issued.map(({ presented }) => keys.verify(presented)));
                const said = async (source) =>
                    (await all()).every((one) => one.kind === "valid" && one.source === source);
                assert.ok(await said("database"));
                assert.ok(await said("cache"));
                await Promise.all(issued.map(({ prefix }) => keys.count(prefix, 3)));
                const counted = new Map();
                for await (const { lines } of keys.usage.batches({ leaseMs: 60_000, count: 4 })) {
                    for (const { prefix, count } of lines) {
                        counted.set(prefix, count);
                    }
                }
                assert.deepEqual(
                    issued.map(({ prefix }) => counted.get(prefix)),
                    issued.map(() => 3),
                );
                // Slots move: what was the owner says who is.
                const slot = slotOf(`apikey:{${issued[0].prefix}}`);
                const owner = Math.min(Math.floor(slot / Math.ceil(16384 / 3)), 2);
                const other = (owner + 1) % 3;
                const id = await nodes[other].admin.call("CLUSTER", ["MYID"]);
                for (const node of [nodes[other], ...nodes]) {
                    await node.admin.call("CLUSTER", ["SETSLOT", String(slot), "NODE", id]).catch(() => {});
                }
                assert.equal((await keys.verify(issued[0].presented)).kind, "valid");
                rows.clear();
                await keys.changed({ user: 7 });
                for (const { code } of await all()) {
                    assert.equal(code, "ABSENT");
                }
                await eventually(async () => (await keys.commands.tagcard("apikey:user:7")) === 0, "an empty tag");
                const back = await nodes[owner].admin.call("CLUSTER", ["MYID"]);
                for (const node of [nodes[owner], ...nodes]) {
                    await node.admin.call("CLUSTER", ["SETSLOT", String(slot), "NODE", back]).catch(() => {});
                }
            } finally {
                keys.close();
                end();
            }
        });

        it(`admits keys by limits of their own and of their tenant, with ${kind}`, async () => {
            const { client, end } = await clientFor(kind, 3, [nodes[1].port], true);
            const rows = new Map();
            const options = { load: async (prefix) => rows.get(prefix) ?? null, timeoutMs: 5000 };
            const keys = new ApiKeys(client, options);
            // All of a tenant is in one slot.
            const tenant = new ApiKeys(client, { ...options, ns: `{${kind}}:` });
            const two = { name: "hour", units: 2, per: 3_600_000 };
            const issue = (limits) => {
                const key = keys.generate("ak_test");
                rows.set(key.prefix, { id: key.prefix, is_active: true, key_hash: key.digest, limits });
                return key;
            };
            try {
                const issued = Array.from({ length: 10 }, () => issue([two]));
                for (const [round, expected] of ["valid", "valid", "limited"].entries()) {
                    const said = await Promise.all(
                        issued.map(({ presented }, at) => keys.verify(presented, { requestId: `${round}-${at}` })),
                    );
                    assert.deepEqual(new Set(said.map((one) => one.kind)), new Set([expected]));
                }
                const [{ prefix }] = issued;
                assert.deepEqual(await keys.settle(prefix, "0-0", 0), { before: 1, now: 0 });
                assert.equal(await keys.credit(prefix, "credits", { by: 5 }, { requestId: "payment" }), 5);
                const names = (await keys.limits(prefix)).map(({ name }) => name);
                assert.deepEqual(names.sort(), ["credits", "hour"]);
                const counters = [`{${kind}}:all`];
                const of = [issue([{ ...two, counter: 2 }]), issue([{ ...two, counter: 2 }])];
                const ask = ({ presented }) => tenant.verify(presented, { counters });
                const kinds = [await ask(of[0]), await ask(of[1]), await ask(of[0])].map((one) => one.kind);
                assert.deepEqual(kinds, ["valid", "valid", "limited"]);
                // A counter of another slot is the caller's error.
                const { kind: is, cause } = await keys.verify(of[0].presented, { counters });
                assert.equal(is, "unavailable");
                assert.match(cause.message, /CROSSSLOT/);
            } finally {
                tenant.close();
                keys.close();
                end();
            }
        });

        it(`tells a change of a key whose slot is on its way, with ${kind}`, async () => {
            const { client, end } = await clientFor(kind, 3, [nodes[0].port], true);
            let row;
            const options = { load: async () => row, timeoutMs: 5000, changeTimeoutMs: 10_000 };
            const keys = new ApiKeys(client, options);
            const key = keys.generate("ak_test");
            const name = `apikey:{${key.prefix}}`;
            const slot = String(slotOf(name));
            const from = Math.min(Math.floor(Number(slot) / Math.ceil(16384 / 3)), 2);
            const to = (from + 1) % 3;
            const ids = await Promise.all(nodes.map(({ admin }) => admin.call("CLUSTER", ["MYID"])));
            const set = (node, ...state) => nodes[node].admin.call("CLUSTER", ["SETSLOT", slot, ...state]);
            try {
                row = { id: 1, user_id: 7, is_active: true, key_hash: key.digest };
                await eventually(async () => (await keys.verify(key.presented)).source === "cache", "the cache");
                await set(to, "IMPORTING", ids[from]);
                await set(from, "MIGRATING", ids[to]);
                row = { ...row, is_active: false };
                await keys.changed({ id: 1, prefix: key.prefix, user: 7 });
                assert.equal((await keys.verify(key.presented)).code, "DISABLED");
                // Nothing of it is at either now.
                await keys.changed({ prefix: key.prefix });
            } finally {
                await set(from, "STABLE");
                await set(to, "STABLE");
                keys.close();
                end();
            }
        });
    }
});
