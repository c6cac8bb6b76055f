// Compiled and never run: what an application writes has the types that its client and its framework have.

import { Zstd } from "@hpcc-js/wasm-zstd";
import { metrics, trace } from "@opentelemetry/api";
import express from "express";
import fastify from "fastify";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import {
    ApiKeys,
    bytes,
    Cache,
    type KeyRecord,
    type Limit,
    type LimitState,
    type Region,
    type Result,
    rateLimitFields,
} from "redis-apikey";
import { cacheHealth, apiKey as expressKey } from "redis-apikey/express";
import { apiKeys, apiKey as fastifyKey, type WithApiKey } from "redis-apikey/fastify";

declare module "fastify" {
    interface FastifyRequest extends WithApiKey {}
}

const load = async (prefix: string) => ({ id: prefix, is_active: true, expires_at: new Date(), user_id: 1n });
const clients = [
    new ApiKeys(new Redis(), { load }),
    new ApiKeys(new Cluster([]), {
        load,
        telemetry: { tracer: trace.getTracer("redis-apikey"), meter: metrics.getMeter("redis-apikey") },
    }),
    new ApiKeys(createClient(), { load }),
    new ApiKeys(createClient({ RESP: 3 }), { load: async () => null }),
    new ApiKeys(createCluster({ rootNodes: [] }), { load: async () => "{}" }),
];

const [keys] = clients;

export function said(result: Result): KeyRecord | string {
    switch (result.kind) {
        case "valid":
            return result.record;
        case "refused":
            return `${result.code} ${result.scope ?? ""}`;
        case "limited":
            return `${result.code} ${result.limit} ${result.retryAfterMs ?? "never"}`;
        case "unavailable":
            return result.cause.message;
    }
}

/** As the README has it. */
export async function answer(presented: string, response: express.Response): Promise<number | undefined> {
    const own = new ApiKeys(new Redis(), { load, limitsWhenUnavailable: "refuse" });
    const limits: Limit[] = [
        { name: "second", units: 10, per: 1000, burst: 20 },
        { name: "month", quota: 100_000, period: "month", day: 15 },
        { name: "credits", credits: true, cost: 5, shadow: true },
    ];
    const result = await own.verify(presented, { cost: 4000, requestId: "r", limits, counters: ["tenant:{7}"] });
    if (result.kind === "limited") {
        response.status(429).set(rateLimitFields(result)).send(result.code);
        return undefined;
    }
    if (result.kind === "valid") {
        const remaining: number | undefined = result.limits?.find(({ kind }) => kind === "credits")?.remaining;
        const settled = await own.settle(result.prefix, "r", 17, { counters: ["tenant:{7}"] });
        const states: readonly LimitState[] = await own.limits(result.prefix);
        const rates = result.record.limits?.map(({ name }) => name) ?? [];
        console.log(remaining, settled?.before, states[0]?.resetAfterMs, rates, result.record.key_prefix?.length);
    }
    return own.credit("ak_live_0123456789ab", "credits", { by: 100 }, { requestId: "payment" });
}

export async function start(): Promise<void> {
    if (keys === undefined) {
        return;
    }
    const app = express();
    app.use("/orders", expressKey({ keys, scopes: (request: express.Request) => [`orders:${request.method}`] }));
    app.get("/health/cache", cacheHealth(keys));
    const other = fastify();
    await other.register(apiKeys, { keys, healthPath: "/health/cache" });
    other.get("/", { preHandler: fastifyKey({ keys }) }, (request) => ({ user: request.apiKey?.user_id }));
    const { stored, refused, bad }: Record<string, number> = { ...(await keys.warm(() => [{ id: 1 }, "{}"])) };
    console.log(stored, refused, bad, keys.regenerate("ak_live_0123456789ab").presented);
    await keys.warm(async () => [{ id: 1 }], { ttlMs: 60_000, batch: 100 });
    for await (const batch of keys.usage.batches({ leaseMs: 30_000 })) {
        const counts: (number | bigint)[] = batch.lines.map(({ count }) => count);
        console.log(counts);
    }
}

interface Product {
    readonly name: string;
    readonly price: number;
}

export async function regions(db: { product(id: string): Promise<Product | undefined> }): Promise<string> {
    const cache = new Cache(new Redis(), { zstd: await Zstd.load(), outbox: (change) => console.log(change.kind) });
    const products: Region<Product> = cache.region<Product>("products", { compression: true, graceMs: 1000 });
    const product = await products.getOrSet("42", (id) => db.product(id), {
        tags: (found) => (found === null ? [] : [`price:${found.price}`]),
    });
    const many: Map<string, Product | null> = await products.getOrSetMany(["1"], async () => new Map());
    const find = products.cached((shop: number, id: string) => db.product(`${shop}-${id}`), {
        key: (a, b) => `${a}-${b}`,
    });
    const found: Product | null = await find(7, "42");
    const written: number = await products.writeThrough("42", { name: "x", price: 1 }, async () => 7);
    await products.worker(async ({ key, value, id }) => console.log(key, value.price, id), {
        signal: AbortSignal.timeout(1000),
    });
    const image: Uint8Array | null | undefined = await cache.region("images", { serialiser: bytes }).get("1");
    return [product?.name, many.size, found?.name, written, image?.length].join();
}
