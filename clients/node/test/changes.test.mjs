// Changes that are told: large ones, and notes of an outbox that are none.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ApiKeys } from "../dist/esm/index.js";
import { clientFor, Server } from "./servers.mjs";

for (const kind of ["ioredis", "node-redis"]) {
    describe(`a change, with ${kind}`, () => {
        let server;
        let client;
        let keys;

        before(async () => {
            server = await Server.start();
            client = await clientFor(kind, 3, [server.port]);
            keys = new ApiKeys(client.client, { load: async () => null, timeoutMs: 5000, changeTimeoutMs: 50_000 });
        });

        after(async () => {
            keys?.close();
            client?.end();
            await server?.stop();
        });

        for (const note of [
            undefined,
            null,
            "changed",
            {},
            { id: 1 },
            { kind: "changed" },
            { kind: "changed", id: null, prefix: null, user: null },
            { kind: "changed", prefix: "" },
            { kind: "changed", prefix: 7 },
            { kind: "changed", id: 1.5 },
            // As other libraries have it: all of it would not be told.
            { kind: "changed", id: 1, user: null, prefixes: ["a"] },
            { kind: "user_deleted", id: null, user: 1, prefixes: ["a"] },
            { kind: "toString", id: 1 },
            { kind: "created" },
            { kind: "created", user: 1 },
            { kind: "created", prefix: null, user: 1 },
            { kind: "userDeleted", user: 1 },
            { kind: "userDeleted", prefixes: ["a"] },
            { kind: "userDeleted", user: 1, prefixes: "ab" },
            { kind: "userDeleted", user: 1, prefixes: ["a", null] },
        ]) {
            it(`is not ${JSON.stringify(note)}`, async () => {
                await assert.rejects(keys.tell(note), TypeError);
            });
        }

        it("is told as its kinds say, null for what is not known", async () => {
            await keys.tell({ kind: "changed", id: null, prefix: "a", user: 1n });
            await keys.tell({ kind: "created", prefix: "a", user: null });
            await keys.tell({ kind: "userDeleted", user: "u", prefixes: [] });
            await keys.changed({ id: 1, prefix: "a", user: 2, name: "of a whole row" });
        });

        it("of many keys leaves room for other calls in between", async () => {
            const prefixes = Array.from({ length: 5000 }, (_, number) => `p-${number}`);
            const { presented } = keys.generate("ak_test");
            await server.admin.call("CONFIG", ["RESETSTAT"]);
            assert.equal((await keys.verify(presented)).code, "ABSENT");
            let isOver = false;
            const told = keys.userDeleted(1, prefixes).finally(() => {
                isOver = true;
            });
            let verified = 0;
            while (!isOver) {
                await keys.verify(presented);
                verified += 1;
            }
            await told;
            assert.ok(verified >= 15, `${verified} calls were answered meanwhile`);
            const stats = await server.admin.call("INFO", ["commandstats"]);
            const [, calls] = /cmdstat_APIKEY\.INVAL:calls=(\d+)/i.exec(stats);
            assert.equal(Number(calls), 2 * prefixes.length + 1, stats);
        });
    });
}
