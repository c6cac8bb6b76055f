// The conformance suite's way to this library: one JSON object a line in, one a line out. `clients/conformance` says what
// they are. Times are milliseconds.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Zstd } from "@hpcc-js/wasm-zstd";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import {
    ApiKeys,
    bytes,
    Cache,
    checkAddress,
    checkScopes,
    judge,
    parse,
    RowReader,
    stringify,
} from "../dist/esm/index.js";

const version = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version;
const opened = new Map();
const asked = new Map();
let asks = 0;

function write(message) {
    process.stdout.write(
        `${JSON.stringify(message, (_, value) => (typeof value === "bigint" ? Number(value) : value))}\n`,
    );
}

/** Writes a line whose record has its integers as they are. */
function writeWith(message, record) {
    const mark = "@record@";
    const text = JSON.stringify(message).replace(`"${mark}"`, () => record);
    process.stdout.write(`${text}\n`);
}

/** Asks the runner what the database says. */
function ask(question, read = (json) => json) {
    asks += 1;
    const number = asks;
    return new Promise((resolve, reject) => {
        asked.set(number, { resolve, reject, read });
        write({ ask: number, ...question });
    });
}

function answered({ answer, value, json, fail }) {
    const waiting = asked.get(answer);
    asked.delete(answer);
    if (fail !== undefined) {
        waiting?.reject(new Error(fail));
    } else {
        waiting?.resolve(json === undefined ? value : waiting.read(json));
    }
}

async function clientOf({ client, protocol, nodes, cluster, sentinel, username, password }) {
    const addresses = nodes.map((node) => {
        const at = node.lastIndexOf(":");
        return { host: node.slice(0, at), port: Number(node.slice(at + 1)) };
    });
    const who = { ...(username && { username }), ...(password && { password }) };
    const silent = (made) => made.on("error", (error) => console.error(String(error)));
    if (client === "ioredis") {
        const options = { ...who, protocol, lazyConnect: true };
        if (sentinel) {
            return silent(new Redis({ sentinels: addresses, name: sentinel, ...options }));
        }
        return silent(
            cluster
                ? new Cluster(addresses, { lazyConnect: true, redisOptions: options })
                : new Redis({ ...addresses[0], ...options }),
        );
    }
    if (cluster) {
        const rootNodes = addresses.map((socket) => ({ socket }));
        const made = silent(createCluster({ rootNodes, defaults: who, RESP: protocol }));
        await made.connect();
        return made;
    }
    return silent(createClient({ ...who, RESP: protocol, socket: addresses[0] }));
}

const plain = (presented) => {
    const dot = presented.indexOf(".");
    return dot > 0 ? { prefix: presented.slice(0, dot), secret: presented.slice(dot + 1) } : undefined;
};

function optionsOf({ options = {}, ...top }) {
    const given = { ...top, ...options };
    const all = {
        load: (prefix) => ask({ load: prefix }),
        parse: given.parse === "plain" ? plain : undefined,
        timeoutMs: given.timeout,
        changeTimeoutMs: given.change_timeout,
        breaker: given.breaker,
        whenDown: given.when_down,
        loadLimit: given.load_limit,
        pepper: given.pepper?.map((hex) => Buffer.from(hex, "hex")),
        ns: given.ns,
        ttlMs: given.ttl,
        absentTtlMs: given.absent_ttl,
        limitsWhenUnavailable: given.limits_when_unavailable,
        outbox: given.outbox ? (change) => write({ outbox: change }) : undefined,
        onError: (error) => console.error(String(error)),
    };
    if (given.l1) {
        all.l1 = l1Of(given.l1, given.channel);
    }
    return said(all);
}

function l1Of({ max_entries: maxEntries = 10_000, max_age: maxAgeMs, follow, channel }, given) {
    return { maxEntries, maxAgeMs, follow: follow === "channel" ? { channel: channel ?? given } : "tracking" };
}

/** What is given of options. */
function said(all) {
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined && value !== null));
}

/** Of a region whose values are bytes they are texts in base64 here. */
const codecs = {
    json: { serialiser: undefined, read: (value) => value, write: (value) => value },
    bytes: {
        serialiser: bytes,
        read: (value) => (value === null || value === undefined ? value : Buffer.from(value, "base64")),
        write: (value) => (value === null || value === undefined ? value : Buffer.from(value).toString("base64")),
    },
};

async function openRegion({ as, region, ns, options = {}, name }) {
    const { client, options: own, regions } = opened.get(name);
    const { timeoutMs, changeTimeoutMs, breaker, whenDown, loadLimit, outbox, onError } = own;
    const l1 = options.l1 && l1Of(options.l1, own.l1?.follow.channel);
    const shared = { timeoutMs, changeTimeoutMs, breaker, whenDown, loadLimit, outbox, onError, l1 };
    const cache = new Cache(client, { ...said(shared), zstd: await Zstd.load() });
    const codec = codecs[options.serializer ?? "json"];
    const { keys, use } = options.encrypt ?? {};
    const sealed = keys && {
        keyId: use,
        keys: Object.fromEntries(Object.entries(keys).map(([id, hex]) => [id, Buffer.from(hex, "hex")])),
    };
    const opts = said({
        ns: ns ?? options.ns,
        serialiser: codec.serialiser,
        ttlMs: options.ttl,
        graceMs: options.grace,
        patienceMs: options.patience,
        backoffMs: options.backoff,
        refreshAhead: options.refresh_ahead,
        compression: options.compress,
        encryption: sealed,
        oneSlot: options.one_slot,
    });
    regions.set(as, { cache, region: cache.region(region, opts), codec });
    return null;
}

function storing({ tags, ttl, grace, allow_stale }) {
    return said({ tags, ttlMs: ttl, graceMs: grace, staleOnError: allow_stale });
}

function valuesOf(map, codec) {
    return { values: Object.fromEntries([...map].map(([key, value]) => [key, codec.write(value)])) };
}

/** Applies what is written behind until nothing is left but writes of keys that fail. */
async function work({ fail = [] }, { cache, region, codec }) {
    const applied = [];
    const end = new AbortController();
    const worker = region.worker(
        async ({ key, value, id }) => {
            if (fail.includes(key)) {
                throw new Error(`${key} is not applied`);
            }
            applied.push({ key, value: codec.write(value), id });
        },
        { signal: end.signal, pollMs: 10, lockMs: 1000 },
    );
    for (;;) {
        const left = await cache.commands.call(region.stream, "XRANGE", region.stream, "-", "+");
        if (left.every(([, fields]) => fail.includes(fields[fields.indexOf("key") + 1]))) {
            break;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    end.abort();
    await worker;
    return applied;
}

/** Each call with the region that it names. */
const regionCalls = {
    region_open: openRegion,
    ...Object.fromEntries(
        Object.entries({
            region_get_or_set: async (call, { region, codec }) => {
                const load = async (key) => codec.read(await ask({ load: key }, parse));
                const { value, source } = await region.ask(call.key, load, storing(call));
                return { value: codec.write(value), source };
            },
            region_get: async ({ key }, { region, codec }) => {
                const value = await region.get(key);
                return value === undefined ? {} : { value: codec.write(value) };
            },
            region_get_many: async ({ keys }, { region, codec }) => valuesOf(await region.getMany(keys), codec),
            region_get_or_set_many: async (call, { region, codec }) => {
                const load = async (key) => [key, codec.read(await ask({ load: key }, parse))];
                const loadMany = async (keys) => new Map(await Promise.all(keys.map(load)));
                return valuesOf(await region.getOrSetMany(call.keys, loadMany, storing(call)), codec);
            },
            region_set: async (call, { region, codec }) => region.set(call.key, codec.read(call.value), storing(call)),
            region_write_through: async (call, { region, codec }) => {
                const commit = async () => {
                    await ask({ write: [{ id: call.key, key: call.key, count: 1 }] });
                };
                await region.writeThrough(call.key, codec.read(call.value), commit, storing(call));
            },
            region_write_behind: async (call, { region, codec }) =>
                region.writeBehind(call.key, codec.read(call.value), storing(call)),
            region_work: work,
            region_invalidate: async ({ key }, { region }) => {
                await region.invalidate(key);
            },
            region_invalidate_tags: async ({ tags, soft }, { region }) =>
                region.invalidateTags(tags, { soft: soft === true }),
            region_clear: async (_, { region }) => region.clear(),
            region_invalidate_pattern: async ({ pattern }, { region }) => region.invalidatePattern(pattern),
            region_name: async ({ key }, { region }) => region.entryName(key),
        }).map(([name, run]) => [name, (call) => run(call, opened.get(call.name).regions.get(call.as))]),
    ),
};

function verdicts(file) {
    const { cases } = JSON.parse(readFileSync(file, "utf8"));
    const reader = new RowReader();
    const wrong = [];
    for (const [
        number,
        { row, record, digests, presented_digest, scopes, address, now, expected },
    ] of cases.entries()) {
        const question = { digests: [Buffer.from(presented_digest, "hex")], scopes, address: address ?? undefined };
        const stored = digests.map(({ hex, until }) => ({ digest: Buffer.from(hex, "hex"), until }));
        const ways = [() => (row === null ? null : reader.read(row))];
        if (record !== null) {
            ways.push(() => ({ ...reader.read(record), digests: stored }));
        }
        for (const read of ways) {
            let got;
            try {
                checkScopes(scopes);
                checkAddress(question.address);
                const { code, scope, endsAt } = judge(read(), question, now);
                got = { code, scope, ends_at: endsAt };
            } catch (error) {
                got = { error: true, why: String(error) };
            }
            const isSame = expected.error
                ? got.error === true
                : got.code === expected.code &&
                  got.scope === expected.scope &&
                  got.ends_at === (expected.ends_at ?? null);
            if (!isSame) {
                wrong.push({ case: number, expected, got });
            }
        }
    }
    return { cases: cases.length, wrong: wrong.slice(0, 20) };
}

const calls = {
    describe: async () => ({
        language: "typescript",
        version,
        clients: ["ioredis", "node-redis"],
        protocols: [2, 3],
        l1: L1,
        regions: true,
        limits: true,
        peek: true,
        sentinel: ["ioredis"],
    }),
    open: async (call) => {
        opened.set(call.name, { client: await clientOf(call), keys: undefined });
        const one = opened.get(call.name);
        one.options = optionsOf(call);
        one.keys = new ApiKeys(one.client, one.options);
        one.regions = new Map();
        return null;
    },
    ...regionCalls,
    created: async ({ prefix, user }, keys) => keys.created(prefix, user ?? undefined),
    // `id` is the message's own number.
    changed: async ({ key_id: id, prefix, user }, keys) => {
        const what = Object.entries({ id, prefix, user }).filter(([, value]) => value !== undefined && value !== null);
        await keys.changed(Object.fromEntries(what));
        return null;
    },
    user_deleted: async ({ user, prefixes }, keys) => keys.userDeleted(user, prefixes),
    list: async ({ user, offset, limit }, keys) => {
        const load = (of) => ask({ list: of });
        const page = { load, ...(offset != null && { offset }), ...(limit != null && { limit }) };
        return keys.list(user, page);
    },
    decide: async ({ prefix, resource, action }, keys) =>
        keys.decide(prefix, resource, action, { load: (decide) => ask({ decide }) }),
    generate: async ({ key_name }, keys) => {
        const { presented, prefix, digest } = keys.generate(key_name);
        return { presented, prefix, digest };
    },
    count: async ({ prefix, by, request_id }, keys) => keys.count(prefix, by ?? 1, request_id ?? undefined),
    settle: async ({ prefix, request_id, cost, counters }, keys) => {
        const { before, now } = (await keys.settle(prefix, request_id, cost, said({ counters }))) ?? {};
        return { before: before ?? null, now: now ?? null };
    },
    credit: async ({ prefix, limit, by, set, request_id: requestId, counter }, keys) =>
        keys.credit(prefix, limit, said({ by, set }), said({ requestId, counter })),
    limits: async ({ prefix, counter }, keys) => standing(await keys.limits(prefix, said({ counter }))),
    batches: async ({ lease, count, fail, most, write: writes }, keys) => {
        const got = [];
        const take = async () => {
            for await (const batch of keys.usage.batches({ leaseMs: lease, ...(count != null && { count }) })) {
                const lines = batch.lines.map(({ id, key, count: n }) => ({ id, key, count: n }));
                got.push({ id: batch.id, lines });
                if (writes) {
                    await ask({ write: lines });
                }
                if (fail) {
                    throw new FailedBody();
                }
                if (most != null && got.length >= most) {
                    await batch.ack();
                    break;
                }
            }
        };
        for (;;) {
            try {
                await take();
                return got;
            } catch (error) {
                if (!(error instanceof FailedBody)) {
                    throw error;
                }
                if (most == null || got.length >= most) {
                    return got;
                }
            }
        }
    },
    verdicts: async ({ file }) => verdicts(file),
    close: async ({ name }, keys) => {
        keys.close();
        const { client, regions } = opened.get(name);
        for (const { cache } of regions.values()) {
            cache.close();
        }
        opened.delete(name);
        if ("isCluster" in client) {
            client.disconnect();
        } else if (client.isOpen) {
            client.destroy();
        }
        return null;
    },
};

class FailedBody extends Error {}

const L1 = true;

/** How limits stand. */
function standing(limits) {
    return limits.map(({ name, kind, limit, remaining, resetAfterMs, retryAfterMs, windowMs, isShadow }) => ({
        name,
        kind,
        limit,
        remaining,
        reset: resetAfterMs,
        retry: retryAfterMs,
        window: windowMs,
        shadow: isShadow,
    }));
}

/** A result, with the record in it as the library wrote it. */
async function verify({ id, presented, scopes, ...asked }, keys) {
    const { address, cost, request_id: requestId, limits: own, counters, peek } = asked;
    const options = { scopes: scopes ?? [], ...said({ address, cost, requestId, limits: own, counters, peek }) };
    const result = await keys.verify(presented, options);
    if (result.kind === "valid") {
        const { source } = result;
        const limits = result.limits && standing(result.limits);
        writeWith({ id, ok: { kind: "valid", record: "@record@", source, limits } }, stringify(result.record));
    } else if (result.kind === "refused") {
        write({ id, ok: { kind: "refused", code: result.code, scope: result.scope } });
    } else if (result.kind === "limited") {
        const { code, limit, retryAfterMs: retry } = result;
        write({ id, ok: { kind: "limited", code, limit, retry, limits: standing(result.limits) } });
    } else {
        write({ id, ok: { kind: "unavailable", cause: result.cause.message } });
    }
}

async function serve(call) {
    try {
        const keys = opened.get(call.name)?.keys;
        if (call.do === "verify") {
            await verify(call, keys);
            return;
        }
        const ok = await calls[call.do](call, keys);
        process.stdout.write(`${stringify({ id: call.id, ok: ok ?? null })}\n`);
    } catch (error) {
        const { message, maybeDone } = error;
        const said = { class: error.constructor.name, message: String(message), maybe_done: maybeDone };
        write({ id: call.id, error: said });
    }
}

for await (const line of createInterface({ input: process.stdin })) {
    const message = JSON.parse(line);
    if (message.answer !== undefined) {
        answered(message);
    } else {
        serve(message);
    }
}
process.exit(0);
