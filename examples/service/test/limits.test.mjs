// Plans: how fast a key may be used, how much in a month, and for which credits.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { eventually } from "../../../clients/node/test/servers.mjs";
import { Relay } from "./relay.mjs";
import { Stage } from "./stage.mjs";

const PLANS = {
    prepaid: undefined,
    slow: [{ name: "hour", units: 2, per: 3_600_000 }],
    small: [
        { name: "month", quota: 3, period: "month" },
        { name: "second", units: 1000, per: 1000 },
    ],
};

describe("a plan", () => {
    let stage;
    let service;

    before(async () => {
        stage = await Stage.start();
        for (const [name, limits] of Object.entries(PLANS).filter(([, given]) => given !== undefined)) {
            await stage.postgres.sql("INSERT INTO plan VALUES ($1, $2)", [name, JSON.stringify(limits)]);
        }
        service = await stage.run();
    });

    after(() => stage?.stop());

    const me = async (key, path = "/me", one = service) => {
        const response = await fetch(`${one.url}${path}`, { headers: { authorization: `Bearer ${key}` } });
        const field = (name) => response.headers.get(name);
        return { status: response.status, body: await response.json(), field };
    };

    /** What is left, as the page says. */
    const left = async (key) => {
        const { status, body } = await me(key, "/me/limits");
        assert.equal(status, 200);
        return Object.fromEntries(body.limits.map(({ name, remaining }) => [name, remaining]));
    };

    it("lets by as many as its rate has, and tells the next when to come", async () => {
        const { key } = await service.issue({ plan: "slow" });
        for (const remaining of [1, 0]) {
            const { status, field } = await me(key);
            assert.equal(status, 200);
            assert.equal(field("ratelimit-policy"), '"hour";q=2;w=3600');
            assert.match(field("ratelimit"), new RegExp(`^"hour";r=${remaining};t=\\d+$`));
        }
        const { status, body, field } = await me(key);
        assert.deepEqual([status, body], [429, { error: { code: "RATE_LIMITED", limit: "hour" } }]);
        assert.match(field("retry-after"), /^1(7\d\d|800)$/);
        // In every process, since one place decides.
        const other = await stage.run();
        assert.equal((await me(key, "/me", other)).status, 429);
        await other.kill();
    });

    it("has so much of a month, and the page of the account says what is left, also of nothing", async () => {
        const { key, prefix } = await service.issue({ plan: "small" });
        for (const month of [3, 2, 1, 0]) {
            assert.equal((await left(key)).month, month);
            assert.equal((await me(key)).status, month > 0 ? 200 : 429);
        }
        const { body } = await me(key, "/me/limits");
        const [{ reset_after_ms: reset, ...month }] = body.limits;
        assert.deepEqual(month, { name: "month", kind: "quota", limit: 3, remaining: 0 });
        assert.ok(reset > 0 && reset <= 31 * 86_400_000);
        assert.equal((await me(key)).body.error.code, "USAGE_EXCEEDED");
        // What was let by is billed, once, and nothing else.
        const total = async () => {
            const rows = await stage.postgres.sql("SELECT total::int FROM usage_total WHERE key_prefix = $1", [prefix]);
            return rows[0]?.total;
        };
        await eventually(async () => (await total()) === 3, "three uses");
        assert.equal((await me(key)).status, 429);
        const counter = await stage.redis.admin.call("APIKEY.USAGE.GET", [`apikey:{${prefix}}:usage`]);
        assert.equal(counter[counter.indexOf("total") + 1], 3);
    });

    it("that is prepaid wants credits, and gives those of each payment once", async () => {
        const { id, key, prefix } = await service.issue({ plan: "prepaid" });
        const unpaid = await me(key);
        assert.deepEqual(unpaid.body, { error: { code: "USAGE_EXCEEDED", limit: "credits" } });
        assert.deepEqual([unpaid.status, unpaid.field("retry-after")], [429, null]);
        const pay = (payment, credits, presented) =>
            service.ask("POST", `/keys/${id}/credits`, { body: { payment, credits }, key: presented });
        assert.equal((await pay("p-0", 5, key)).status, 403);
        const once = await Promise.all([1, 2, 3].map(() => pay("p-1", 5)));
        assert.deepEqual(
            once.map(({ status, body }) => [status, body]),
            once.map(() => [200, { payment: "p-1", credits: 5, balance: 5 }]),
        );
        assert.equal((await me(key)).status, 200);
        assert.equal((await pay("p-1", 5)).body.balance, 4);
        assert.equal((await pay("p-2", 1)).body.balance, 5);
        // A process that died before its commit has left this.
        const counter = `apikey:{${prefix}}:usage`;
        await stage.redis.admin.call("APIKEY.CREDIT", [counter, "credits", "BY", "7", "ID", "p-3"]);
        assert.equal((await pay("p-3", 7)).body.balance, 12);
        const { second, ...others } = await left(key);
        assert.deepEqual(others, { month: 99_999, credits: 12 });
        // The use was a moment ago, or longer.
        assert.ok(second === 19 || second === 20, String(second));
    });

    it("that is changed holds for the next request, and what was used stays used", async () => {
        await stage.postgres.sql("INSERT INTO plan VALUES ('grown', $1)", [
            JSON.stringify([{ name: "month", quota: 10, period: "month" }]),
        ]);
        const { id, key } = await service.issue({ plan: "small" });
        for (const status of [200, 200, 200, 429]) {
            assert.equal((await me(key)).status, status);
        }
        // As whoever runs this would: the row, and that it was changed.
        await stage.postgres.sql("UPDATE api_key SET plan = 'grown' WHERE id = $1", [id]);
        await stage.postgres.sql("INSERT INTO outbox (change) VALUES ($1)", [JSON.stringify({ kind: "changed", id })]);
        await eventually(async () => (await left(key)).month === 7, "the plan");
        assert.equal((await me(key)).status, 200);
    });

    it("lets all by while Redis is away, and takes no payment that it can't give", async () => {
        const relay = await Relay.start(stage.redis.port);
        try {
            const away = await stage.run({ REDIS_URL: relay.url, CHANGE_TIMEOUT_MS: "300" });
            const { id, key, prefix } = await away.issue({ plan: "slow" });
            relay.refuse();
            for (let use = 0; use < 4; use += 1) {
                assert.equal((await me(key, "/me", away)).status, 200);
            }
            assert.deepEqual((await me(key, "/me/limits", away)).body, { limits: null });
            const body = { payment: "p-away", credits: 5 };
            assert.equal((await away.ask("POST", `/keys/${id}/credits`, { body })).status, 503);
            assert.deepEqual(await stage.postgres.sql("SELECT FROM payment WHERE id = 'p-away'"), []);
            const total = "SELECT total::int FROM usage_total WHERE key_prefix = $1";
            await eventually(
                async () => (await stage.postgres.sql(total, [prefix]))[0]?.total === 4,
                "four uses, which the database counts",
            );
            relay.mend();
            await eventually(async () => (await me(key, "/me", away)).status === 429, "its limits");
            assert.equal((await away.ask("POST", `/keys/${id}/credits`, { body })).body.balance, 5);
            await away.kill();
        } finally {
            relay.stop();
        }
    });
});
