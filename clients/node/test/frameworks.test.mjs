import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import { after, before, describe, it } from "node:test";
import express from "express";
import fastify from "fastify";
import { Redis } from "ioredis";
import { cacheHealth, apiKey as expressKey } from "../dist/esm/express.js";
import { apiKeys, apiKey as fastifyKey } from "../dist/esm/fastify.js";
import { verifyRequest } from "../dist/esm/http.js";
import { ApiKeys, ApiKeysError, BadRecord, NotTold, Unanswered } from "../dist/esm/index.js";
import { eventually, freePort, Server } from "./servers.mjs";

/** A route whose requests say what they cost, for whom, and who they are. */
const priced = {
    cost: ({ headers }) => headers["x-cost"] && Number(headers["x-cost"]),
    requestIdOf: ({ headers }) => headers["x-request"],
    countersOf: ({ headers }) => headers["x-tenant"] && [`tenant:{${headers["x-tenant"]}}`],
    limits: ({ headers }) => headers["x-tenant"] && [{ name: "tenant", quota: 5, period: "year", counter: 2 }],
};

const applications = {
    express: async (options) => {
        const app = express();
        app.get("/orders", expressKey(options), (_, response) =>
            response.json({ user: response.locals.apiKey.user_id }),
        );
        app.get("/health/cache", cacheHealth(options.keys));
        app.get("/priced", expressKey({ ...options, ...priced }), (_, response) =>
            response.json({ limits: response.locals.apiKeyLimits }),
        );
        const server = app.listen(0, "127.0.0.1");
        await once(server, "listening");
        return { port: server.address().port, end: () => server.close() };
    },
    fastify: async (options) => {
        const app = fastify();
        await app.register(apiKeys, { keys: options.keys, healthPath: "/health/cache" });
        app.get("/orders", { preHandler: fastifyKey(options) }, async (request) => ({ user: request.apiKey.user_id }));
        app.get("/priced", { preHandler: fastifyKey({ ...options, ...priced }) }, async (request) => ({
            limits: request.apiKeyLimits,
        }));
        await app.listen({ port: 0, host: "127.0.0.1" });
        return { port: app.server.address().port, end: () => app.close() };
    },
};

const addressOf = ({ headers, ip }) => headers["x-real-ip"] ?? ip;

for (const [name, start] of Object.entries(applications)) {
    describe(`an application of ${name}`, () => {
        const rows = new Map();
        let server;
        let keys;
        let app;
        let databaseIsAway = false;

        before(async () => {
            server = await Server.start();
            const load = async (prefix) => {
                if (databaseIsAway) {
                    throw new Error("the database is away");
                }
                return rows.get(prefix) ?? null;
            };
            const client = new Redis({ port: server.port, lazyConnect: true });
            keys = new ApiKeys(client, { load, timeoutMs: 5000, changeTimeoutMs: 1000 });
            app = await start({ keys, scopes: ["orders:read"], countUses: true, addressOf });
        });

        after(async () => {
            app?.end();
            keys?.close();
            await server?.stop();
        });

        const issue = (fields) => {
            const key = keys.generate("ak_test");
            const row = { id: key.prefix, key_prefix: key.prefix, user_id: 42, scopes: ["orders:*"], is_active: true };
            rows.set(key.prefix, { ...row, key_hash: key.digest, ...fields });
            return key;
        };

        const get = async (headers, path = "/orders", of = app) => {
            const response = await fetch(`http://127.0.0.1:${of.port}${path}`, { headers });
            return { status: response.status, headers: response.headers, body: await response.json() };
        };

        it("lets a valid key by, and counts it", async () => {
            const key = issue();
            for (const [headers, status] of [
                [{ authorization: `Bearer ${key.presented}` }, "MISS"],
                [{ "x-api-key": key.presented }, "HIT"],
            ]) {
                const response = await get(headers);
                assert.deepEqual([response.status, response.body], [200, { user: 42 }]);
                assert.equal(response.headers.get("x-cache-status"), status);
            }
            const counter = `apikey:{${key.prefix}}:usage`;
            await eventually(async () => (await keys.commands.usageGet(counter)).pending === 2, "two uses");
        });

        it("says 401 and 403, and who holds a guess not what is wrong with it", async () => {
            const key = issue();
            const other = issue({ key_hash: "ab".repeat(32) });
            for (const [presented, status, code] of [
                [undefined, 401, "MISSING"],
                ["guess", 401, "INVALID"],
                [other.presented, 401, "INVALID"],
                [keys.generate("ak_test").presented, 401, "INVALID"],
                [issue({ is_active: false }).presented, 401, "DISABLED"],
                [issue({ expires_at: Date.now() - 1 }).presented, 401, "EXPIRED"],
                [issue({ allowed_ips: ["10.0.0.0/8"] }).presented, 403, "FORBIDDEN_IP"],
                [issue({ scopes: [] }).presented, 403, "FORBIDDEN"],
                [issue({ allowed_ips: ["127.0.0.1"] }).presented, 200, undefined],
                [key.presented, 200, undefined],
            ]) {
                const response = await get(presented === undefined ? {} : { "x-api-key": presented });
                assert.deepEqual([response.status, response.body.error?.code], [status, code]);
                assert.equal(response.headers.has("www-authenticate"), status === 401);
            }
        });

        it("says 429 by the limits of a key, and how they stand whatever it says", async () => {
            const limits = [
                { name: "minute", units: 2, per: 90_500 },
                { name: "month", quota: 1000, period: "month" },
                { name: "tried", units: 1, per: 1000, shadow: true },
                { name: "credits", credits: true },
            ];
            const key = issue({ limits });
            const counter = `apikey:{${key.prefix}}:usage`;
            const ask = () => get({ "x-api-key": key.presented });
            const policy = '"minute";q=2;w=91, "month";q=1000;w=2678400';
            const fields = (response) =>
                ["ratelimit-policy", "ratelimit", "retry-after"].map((field) => response.headers.get(field));
            const bare = await ask();
            assert.deepEqual([bare.status, bare.body.error], [429, { code: "USAGE_EXCEEDED", limit: "credits" }]);
            assert.equal(bare.headers.get("x-cache-status"), "MISS");
            assert.equal(bare.headers.get("retry-after"), null);
            assert.match(bare.headers.get("ratelimit"), /^"minute";r=2;t=0, "month";r=1000;t=\d+, "credits";r=0$/);
            await keys.credit(key.prefix, "credits", { by: 10 });
            for (const left of [1, 0]) {
                const response = await ask();
                assert.deepEqual([response.status, response.headers.get("x-cache-status")], [200, "HIT"]);
                const [told, standing, retry] = fields(response);
                assert.deepEqual([told, retry], [policy, null]);
                // Until the next one is there; of one that is taken that is when all are.
                const rest = `"month";r=${998 + left};t=\\d+, "credits";r=${8 + left}`;
                assert.match(standing, new RegExp(`^"minute";r=${left};t=4[56], ${rest}$`));
            }
            const response = await ask();
            assert.deepEqual([response.status, response.body.error], [429, { code: "RATE_LIMITED", limit: "minute" }]);
            const [told, standing, retry] = fields(response);
            assert.equal(told, policy);
            assert.match(retry, /^4[56]$/);
            assert.match(standing, new RegExp(`^"minute";r=0;t=${retry}, "month";r=998;t=`));
            // Once each, though uses are counted.
            assert.equal((await keys.commands.usageGet(counter)).total, 2);
        });

        it("takes what a request costs, who it is and for whom from the request", async () => {
            const key = issue();
            const counter = `apikey:{${key.prefix}}:usage`;
            const ask = (headers) => get({ "x-api-key": key.presented, ...headers }, "/priced");
            for (let time = 0; time < 2; time += 1) {
                const sent = { "x-cost": "4", "x-request": "r-1", "x-tenant": key.prefix };
                const { status, headers, body } = await ask(sent);
                assert.equal(status, 200);
                assert.deepEqual([body.limits.length, body.limits[0].remaining], [1, 1]);
                assert.match(headers.get("ratelimit"), /^"tenant";r=1;t=\d+$/);
            }
            assert.equal((await ask({ "x-cost": "2", "x-tenant": key.prefix })).status, 429);
            assert.equal((await keys.commands.usageGet(counter)).total, 4);
            // Nothing of it is said: as any other key.
            const { headers, body } = await ask({});
            assert.deepEqual([headers.get("ratelimit"), body.limits], [null, null]);
            await eventually(async () => (await keys.commands.usageGet(counter)).total === 5, "its use");
        });

        it("takes an address that is none for unknown", async () => {
            for (const address of ["unknown", "testclient", "10.0.0.256"]) {
                const ask = ({ presented }) => get({ "x-api-key": presented, "x-real-ip": address });
                assert.equal((await ask(issue())).status, 200);
                assert.equal((await ask(issue({ allowed_ips: ["127.0.0.1"] }))).body.error.code, "FORBIDDEN_IP");
            }
        });

        it("says what is answered from before, while Redis does not answer", async () => {
            const lost = await Server.start();
            const client = new Redis({ port: lost.port, lazyConnect: true });
            const stale = new ApiKeys(client, {
                load: async (prefix) => rows.get(prefix) ?? null,
                timeoutMs: 2000,
                whenDown: "stale",
                l1: { maxEntries: 10, maxAgeMs: 600_000, follow: "tracking" },
            });
            const other = await start({ keys: stale, addressOf });
            try {
                const [key, unknown] = [issue(), issue()];
                const verify = () => get({ "x-api-key": key.presented }, "/orders", other);
                const kept = () => stale.verify(key.presented, { address: "127.0.0.1" });
                await eventually(async () => (await kept()).source === "l1", "an answer of L1");
                assert.equal((await verify()).headers.get("x-cache-status"), "HIT");
                await lost.kill();
                const status = async () => (await verify()).headers.get("x-cache-status");
                await eventually(async () => (await status()) === "STALE", "an answer of before");
                assert.deepEqual((await verify()).body, { user: 42 });
                const response = await get({ "x-api-key": unknown.presented }, "/orders", other);
                assert.deepEqual([response.status, response.headers.get("x-cache-status")], [503, "BYPASS"]);
            } finally {
                other.end();
                stale.close();
                await lost.stop();
            }
        });

        it("says how the cache fares, and 503 where nobody could say", async () => {
            assert.equal((await get({}, "/health/cache")).status, 200);
            databaseIsAway = true;
            const response = await get({ "x-api-key": issue().presented });
            databaseIsAway = false;
            assert.deepEqual([response.status, response.body.error.code], [503, "UNAVAILABLE"]);
            assert.equal(response.headers.get("retry-after"), "1");
            // A row that can't be judged is nothing that the client could mend.
            assert.equal((await get({ "x-api-key": issue({ status: "x" }).presented })).status, 503);
            await server.kill();
            assert.equal((await get({}, "/health/cache")).status, 503);
        });
    });
}

it("tells of a use that could not be counted, whatever the framework", async () => {
    const met = [];
    const row = { id: 1, is_active: true };
    const keys = new ApiKeys(new Redis({ port: await freePort(), lazyConnect: true }), {
        load: async () => row,
        onError: (error) => met.push(error),
    });
    const key = keys.generate("ak_test");
    row.key_hash = key.digest;
    const request = { headers: { "x-api-key": key.presented } };
    const told = [];
    const onUncounted = (prefix, error) => told.push({ prefix, error });
    const { result } = await verifyRequest(request, { keys, countUses: true, onUncounted });
    assert.equal(result.source, "database");
    const [{ prefix, error }] = await eventually(() => told.length > 0 && told, "a use that is told");
    assert.equal(prefix, key.prefix);
    assert.ok(error instanceof Unanswered && !error.maybeDone);
    // Where nobody asks for it, it is an error as others are.
    const before = met.length;
    await verifyRequest(request, { keys, countUses: true });
    await eventually(() => met.length === before + 2, "the errors of the reading and of the count");
    assert.equal(told.length, 1);
    keys.close();
});

describe("the two builds in one process", () => {
    const require = createRequire(import.meta.url);
    const builds = {
        esm: { BadRecord, ApiKeys, ApiKeysError, NotTold, expressKey, fastifyKey },
        cjs: {
            ...require("../dist/cjs/index.js"),
            expressKey: require("../dist/cjs/express.js").apiKey,
            fastifyKey: require("../dist/cjs/fastify.js").apiKey,
        },
    };

    for (const [of, by] of [
        ["esm", "cjs"],
        ["cjs", "esm"],
        ["esm", "esm"],
    ]) {
        it(`say 503 of a row that can't be judged, and tell onError: keys of ${of}, a middleware of ${by}`, async () => {
            const server = await Server.start();
            const client = new Redis({ port: server.port, lazyConnect: true });
            const told = [];
            const options = { load: async () => ({ id: 1 }), timeoutMs: 5000, onError: (error) => told.push(error) };
            const keys = new builds[of].ApiKeys(client, options);
            const headers = { "x-api-key": keys.generate("ak_test").presented };
            let status;
            const response = { locals: {}, set: () => response, headers: () => response, json: () => response };
            response.send = () => response;
            response.code = (code) => {
                status = code;
                return response;
            };
            response.status = response.code;
            try {
                for (const middleware of ["expressKey", "fastifyKey"]) {
                    status = undefined;
                    await builds[by][middleware]({ keys })({ headers }, response, (error) => assert.ifError(error));
                    assert.equal(status, 503);
                    const error = told.shift();
                    for (const { BadRecord: Bad, ApiKeysError: Any, NotTold: Other } of Object.values(builds)) {
                        assert.ok(error instanceof Bad && error instanceof Any && error instanceof Error);
                        assert.ok(
                            !(error instanceof Other) && !(new Error("x") instanceof Bad) && !(null instanceof Any),
                        );
                    }
                }
            } finally {
                keys.close();
                await server.stop();
            }
        });
    }
});
