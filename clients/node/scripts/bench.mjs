// Verifications a second through the library, beside the bare client's GET of a string as long as the record, and its
// VALIDATE, in the same process; and answers from L1, beside the floor, which is the least that one from memory takes:
// `node scripts/bench.mjs`, after `npm run build`. A second is one of the process' own CPU time, which other programs
// don't take: it is the process that has to do most. All take turns; the ratio is taken round by round, and medians and
// ranges are printed.

import { hash } from "node:crypto";
import { ApiKeys } from "../dist/esm/index.js";
import { clientFor, eventually, Server } from "../test/servers.mjs";

const CALLERS = 64;
const SECONDS = 0.5;
const ROUNDS = 9;

async function rate(call) {
    let calls = 0;
    const before = process.cpuUsage();
    const until = performance.now() + SECONDS * 1000;
    const caller = async () => {
        while (performance.now() < until) {
            await call();
            calls += 1;
        }
    };
    await Promise.all(Array.from({ length: CALLERS }, caller));
    const { user, system } = process.cpuUsage(before);
    return calls / ((user + system) / 1e6);
}

/** The median, and the range behind it. */
function spread(values, digits) {
    const sorted = [...values].sort((a, b) => a - b);
    const [low, middle, high] = [0, (sorted.length - 1) / 2, sorted.length - 1].map((at) => sorted[at].toFixed(digits));
    return `${middle} (${low} to ${high})`;
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
    const command = ["APIKEY.VALIDATE", `apikey:{${key.prefix}}`, "DIGEST", digest, "SCOPE", "orders:refund"];
    const bare = (...args) => (kind === "ioredis" ? client.call(...args) : client.sendCommand(args));
    // What was presented is digested, looked up in a Map, and found to hold by the clock.
    const question = () => `${hash("sha256", key.presented, "base64")}:orders:refund`;
    const held = new Map([[question(), { endsAt: Number.POSITIVE_INFINITY }]]);
    const floor = async () => {
        const kept = held.get(question());
        return performance.now() < kept.endsAt ? { code: "VALID", source: "l1" } : undefined;
    };
    const rates = { get: [], validate: [], verify: [], l1: [], floor: [] };
    for (let round = 0; round < ROUNDS; round += 1) {
        rates.get.push(await rate(() => client.get("a-record")));
        rates.validate.push(await rate(() => bare(...command)));
        rates.verify.push(await rate(ask(plain)));
        rates.l1.push(await rate(ask(cached)));
        rates.floor.push(await rate(floor));
    }
    const ratio = (ours, others) =>
        spread(
            ours.map((rate, round) => rate / others[round]),
            2,
        );
    const beside = (others) => ratio(rates.verify, others);
    const [get, validate, verify, local, floorRate] = Object.values(rates).map((values) => spread(values, 0));
    console.log(`${kind}: verify ${verify}/s`);
    console.log(`${kind}: beside GET ${beside(rates.get)}, which is ${get}/s`);
    console.log(`${kind}: beside VALIDATE ${beside(rates.validate)}, which is ${validate}/s`);
    console.log(`${kind}: from L1 ${local}/s`);
    console.log(`${kind}: beside the floor ${ratio(rates.l1, rates.floor)}, which is ${floorRate}/s`);
    plain.close();
    cached.close();
    end();
    if (client.isOpen) {
        client.destroy();
    }
}
await server.stop();
