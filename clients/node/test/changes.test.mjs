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

        it("of many keys leaves room for other calls in between", async () => {
            const prefixes = Array.from({ length: 5000 }, (_, number) => `p-${number}`);
            const { presented } = keys.generate("ak_test");
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
            assert.equal(Number(calls), 2 * prefixes.length + 1);
        });
    });
}
