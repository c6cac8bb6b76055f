// What `close` leaves behind: nothing that goes on, and no change that is lost.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { ApiKeys, NotTold, Unanswered } from "../dist/esm/index.js";
import { clientFor, eventually, Server } from "./servers.mjs";

const CHANNEL = "apikey-invalidations";

/** Milliseconds that a busy machine may take for what takes none. */
const SOON = 5000;

/** A process of an application, which closes when it is told to and says how long it went on then. */
const APPLICATION = `
    import { ApiKeys } from ${JSON.stringify(new URL("../dist/esm/index.js", import.meta.url).href)};
    import { clientFor } from ${JSON.stringify(new URL("servers.mjs", import.meta.url).href)};
    const [kind, port, follow] = process.argv.slice(1);
    const { client, end } = await clientFor(kind, 3, [Number(port)]);
    const l1 = { maxEntries: 10, maxAgeMs: 60_000, follow: follow === "tracking" ? follow : { channel: follow } };
    const load = async () => ({ id: "k", is_active: true, key_hash: key.digest });
    const keys = new ApiKeys(client, { load, l1, timeoutMs: 5000, changeTimeoutMs: 60_000 });
    const key = keys.generate("ak_test");
    while ((await keys.verify(key.presented)).source !== "l1") {
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await keys.changed({ id: "k" });
    process.stdout.write("ready");
    await new Promise((resolve) => process.stdin.once("data", resolve));
    process.stdin.destroy();
    const under = keys.changed({ id: "k" }).catch(() => {});
    keys.verify(key.presented);
    keys.close();
    end();
    const closed = performance.now();
    process.on("exit", () => process.stdout.write(" " + Math.round(performance.now() - closed)));
`;

/** What it has said when it has ended. */
async function run(kind, server, follow, beforeClose) {
    const args = ["--input-type=module", "--eval", APPLICATION, kind, String(server.port), follow];
    const child = spawn(process.execPath, args, {
        cwd: fileURLToPath(new URL("..", import.meta.url)),
        stdio: ["pipe", "pipe", "inherit"],
    });
    let said = "";
    child.stdout.on("data", (data) => {
        said += data;
    });
    let isOver = false;
    const ended = new Promise((resolve) => child.once("close", resolve)).then(() => {
        isOver = true;
    });
    try {
        await eventually(() => said === "ready" || isOver, "an answer of L1");
        await beforeClose();
        child.stdin.write("close");
        await eventually(() => isOver, "its end");
        return said;
    } finally {
        child.kill("SIGKILL");
        await ended;
    }
}

for (const kind of ["ioredis", "node-redis"]) {
    describe(`close, with ${kind}`, () => {
        for (const follow of ["tracking", CHANNEL]) {
            for (const isFrozen of [false, true]) {
                it(`keeps no process running that follows ${follow}, with Redis ${isFrozen ? "frozen" : "there"}`, async () => {
                    const server = await Server.start({ settings: ["invalidation-channel", CHANNEL] });
                    try {
                        const said = await run(kind, server, follow, () => isFrozen && server.freeze());
                        const [, took] = /^ready (\d+)$/.exec(said) ?? [];
                        assert.ok(Number(took) < SOON, `it said ${said}`);
                    } finally {
                        await server.stop();
                    }
                });
            }
        }

        for (const state of ["frozen", "frozen before it was asked", "away"]) {
            it(`gives a change to the outbox that is under way while Redis is ${state}`, async () => {
                const server = await Server.start();
                const { client, end } = await clientFor(kind, 3, [server.port]);
                const kept = [];
                const outbox = (change) => kept.push(change);
                const keys = new ApiKeys(client, { load: async () => null, outbox, changeTimeoutMs: 60_000 });
                try {
                    if (state === "frozen") {
                        await keys.changed({ id: "k-1" });
                    }
                    await (state === "away" ? server.kill() : server.freeze());
                    const change = keys.changed({ id: "k-1" }).then(
                        () => "told",
                        (error) => error,
                    );
                    await new Promise((resolve) => setImmediate(resolve));
                    const began = performance.now();
                    keys.close();
                    const error = await change;
                    assert.ok(error instanceof NotTold && error.kept, String(error));
                    assert.ok(performance.now() - began < SOON);
                    assert.deepEqual(kept, [{ kind: "changed", id: "k-1" }]);
                    await assert.rejects(keys.changed({ id: "k-2" }), NotTold);
                } finally {
                    keys.close();
                    end();
                    await server.stop();
                }
            });
        }

        it("leaves no connection of what began just before or after it, and asks nobody any more", async () => {
            const server = await Server.start();
            const { client, end } = await clientFor(kind, 3, [server.port]);
            const loads = [];
            const load = async (prefix) => {
                loads.push(prefix);
                return null;
            };
            const keys = new ApiKeys(client, { load, timeoutMs: 5000, changeTimeoutMs: 60_000 });
            const { presented, prefix } = keys.generate("ak_test");
            try {
                const before = [keys.verify(presented), keys.count(prefix), keys.changed({ prefix })];
                const began = performance.now();
                keys.close();
                const after = [keys.verify(presented), keys.count(prefix), keys.changed({ prefix })];
                const [verified, counted, told, ...later] = await Promise.allSettled([...before, ...after]);
                for (const one of [verified, later[0]]) {
                    assert.equal(one.value?.kind, "unavailable", String(one.reason));
                    assert.match(one.value.cause.message, /closed/);
                }
                for (const one of [counted, later[1]]) {
                    assert.ok(one.reason instanceof Unanswered, String(one.reason));
                    assert.match(one.reason.message, /closed/);
                }
                for (const one of [told, later[2]]) {
                    assert.ok(one.reason instanceof NotTold, String(one.reason));
                }
                assert.equal((await keys.verify(presented)).kind, "unavailable");
                assert.ok(performance.now() - began < SOON);
                assert.deepEqual(loads, []);
                const connections = async () => (await server.admin.call("CLIENT", ["LIST"])).trim().split("\n").length;
                await eventually(async () => (await connections()) === 1, "no connection but the test's", SOON);
            } finally {
                keys.close();
                end();
                await server.stop();
            }
        });
    });
}
