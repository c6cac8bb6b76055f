// Verifications a second through the library, beside the bare client's GET in the same process: `node scripts/bench.mjs`,
// after `npm run build`. The machine should have nothing else to do.

import { ApiKeys } from "../dist/esm/index.js";
import { clientFor, eventually, Server } from "../test/servers.mjs";

const CALLERS = 64;
const SECONDS = 3;
const ROUNDS = 3;

async function rate(call) {
    const run = async (seconds) => {
        let calls = 0;
        const until = performance.now() + seconds * 1000;
        const caller = async () => {
            while (performance.now() < until) {
                await call();
                calls += 1;
            }
        };
        await Promise.all(Array.from({ length: CALLERS }, caller));
        return Math.round(calls / seconds);
    };
    await run(1);
    return run(SECONDS);
}

const server = await Server.start({ settings: ["invalidation-channel", "changes"] });
for (const [kind, protocol] of [
    ["ioredis", 2],
    ["node-redis", 2],
]) {
    const { client, end } = await clientFor(kind, protocol, [server.port]);
    await client.connect();
    let digest;
    const row = (prefix) => ({ id: prefix, user_id: 42, scopes: ["orders:*"], is_active: true, key_hash: digest });
    const load = async (prefix) => row(prefix);
    const plain = new ApiKeys(client, { load, timeoutMs: 1000 });
    const l1 = { maxEntries: 1000, maxAgeMs: 3_600_000, follow: { channel: "changes" } };
    const cached = new ApiKeys(client, { load, timeoutMs: 1000, l1 });
    const key = plain.generate("ak_live");
    digest = key.digest;
    await client.set("a-record", JSON.stringify({ ...row(key.prefix), name: "x".repeat(150) }));
    const ask = (keys) => () => keys.verify(key.presented, { scopes: ["orders:refund"] });
    await ask(plain)();
    await eventually(async () => (await ask(cached)()).source === "l1");
    for (let round = 0; round < ROUNDS; round += 1) {
        const get = await rate(() => client.get("a-record"));
        const verify = await rate(ask(plain));
        const local = await rate(ask(cached));
        console.log(`${kind}: GET ${get}/s, verify ${verify}/s (${(verify / get).toFixed(2)}), from L1 ${local}/s`);
    }
    plain.close();
    cached.close();
    end();
    if (client.isOpen) {
        client.destroy();
    }
}
await server.stop();
