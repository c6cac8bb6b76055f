// A change that Redis could not be told is told later, whatever dies meanwhile.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { eventually } from "../../../clients/node/test/servers.mjs";
import { Relay } from "./relay.mjs";
import { Stage } from "./stage.mjs";

const NEVER = "86400000";

describe("the outbox", () => {
    let stage;
    /** Reaches Redis, and tells nothing that others have left. */
    let other;
    let relay;

    before(async () => {
        stage = await Stage.start();
        other = await stage.run({ TELL_EVERY_MS: NEVER });
    });

    after(() => stage?.stop());

    beforeEach(async () => {
        relay = await Relay.start(stage.redis.port);
    });

    afterEach(() => relay.stop());

    const untold = async () => (await other.ask("GET", "/health", { key: null })).body.untold;

    /** A key that is cached. */
    const cached = async () => {
        const shown = await other.issue();
        await other.me(shown.key);
        assert.deepEqual(await other.me(shown.key), [200, "HIT"]);
        return shown;
    };

    it("keeps what could not be told while Redis was away, and tells it when it is back", async () => {
        const service = await stage.run({ REDIS_URL: relay.url, CHANGE_TIMEOUT_MS: "300" });
        const { id, key } = await cached();
        relay.refuse();
        const revoked = await service.ask("DELETE", `/keys/${id}`);
        assert.deepEqual([revoked.status, revoked.body], [202, { id, told: false }]);
        // It was said: until then who has it cached answers from that.
        assert.deepEqual(await other.me(key), [200, "HIT"]);
        assert.deepEqual(await service.me(key), [401, "DISABLED"]);
        const issued = await service.ask("POST", "/keys", { body: { user_id: "42", scopes: [] } });
        assert.deepEqual([issued.status, issued.body.told], [202, false]);
        assert.deepEqual(await service.me(issued.body.key), [200, "MISS"]);
        assert.equal(await untold(), 2);
        relay.mend();
        await eventually(async () => (await untold()) === 0, "an empty outbox");
        for (const cache of ["MISS", "HIT"]) {
            const { status, body, cache: said } = await other.ask("GET", "/me", { key });
            assert.deepEqual([status, body.error.code, said], [401, "DISABLED", cache]);
        }
        await service.kill();
    });

    it("tells what a process had committed that died before it could tell", async () => {
        const settings = { REDIS_URL: relay.url, REDIS_TIMEOUT_MS: "200", CHANGE_TIMEOUT_MS: "60000" };
        const service = await stage.run(settings);
        const { id, key } = await cached();
        relay.hold();
        const answer = service.ask("DELETE", `/keys/${id}`).catch(() => "none");
        await eventually(async () => (await untold()) === 1, "a note");
        await service.kill();
        assert.equal(await answer, "none");
        relay.mend();
        assert.deepEqual(await other.me(key), [200, "HIT"]);
        const again = await stage.run(settings);
        await eventually(async () => (await untold()) === 0, "an empty outbox");
        assert.deepEqual(await other.me(key), [401, "DISABLED"]);
        await again.kill();
    });

    it("notes nothing of a change that was not made", async () => {
        const { id, key } = await cached();
        // What fails behind the change takes it back.
        await stage.postgres.sql("ALTER TABLE outbox RENAME TO away");
        assert.equal((await other.ask("DELETE", `/keys/${id}`)).status, 500);
        await stage.postgres.sql("ALTER TABLE away RENAME TO outbox");
        assert.equal((await other.me(key))[0], 200);
        const [{ is_active: isActive }] = await stage.postgres.sql("SELECT is_active FROM api_key WHERE id = $1", [id]);
        assert.deepEqual([isActive, await untold()], [true, 0]);
    });

    it("passes over notes that another process has, and tells more than it takes at once", async () => {
        const changes = Array.from({ length: 250 }, (_, number) => ({ kind: "created", prefix: `ak_live_${number}` }));
        const insert = "INSERT INTO outbox (change) SELECT * FROM unnest($1::jsonb[])";
        await stage.postgres.sql(insert, [changes.map((change) => JSON.stringify(change))]);
        const client = await stage.postgres.pool.connect();
        try {
            await client.query("BEGIN");
            await client.query("SELECT FROM outbox ORDER BY id LIMIT 10 FOR UPDATE");
            const service = await stage.run();
            await eventually(async () => (await untold()) === 10, "ten notes");
            await client.query("ROLLBACK");
            await eventually(async () => (await untold()) === 0, "an empty outbox");
            await service.kill();
        } finally {
            client.release(true);
        }
    });

    describe("with notes that can't be told", () => {
        const insert = "INSERT INTO outbox (change) SELECT * FROM unnest($1::jsonb[])";
        const insertAll = (changes) => stage.postgres.sql(insert, [changes.map((change) => JSON.stringify(change))]);
        const allow = (sign) =>
            stage.redis.admin.call("ACL", ["SETUSER", "default", `${sign}apikey.inval`, `${sign}apikey.taginval`]);

        /** A key is revoked while Redis refuses to hear of it, and is refused once it does. */
        const revokeLater = async (service) => {
            const { id, key } = await cached();
            await allow("-");
            try {
                const revoked = await service.ask("DELETE", `/keys/${id}`);
                assert.deepEqual([revoked.status, revoked.body.told], [202, false]);
                assert.deepEqual(await other.me(key), [200, "HIT"]);
            } finally {
                await allow("+");
            }
            await eventually(async () => (await other.me(key))[0] === 401, "the end of a revoked key");
        };

        it("sets aside what is no change, and tells those behind it", async () => {
            const poison = { kind: "created", prefix: "ak_live_x", user: "é".repeat(200) };
            await insertAll(Array(101).fill(poison));
            const service = await stage.run();
            await revokeLater(service);
            await eventually(async () => (await untold()) === 0, "an empty outbox");
            assert.equal((await other.ask("GET", "/health", { key: null })).body.set_aside, 101);
            const [{ error }] = await stage.postgres.sql("SELECT error FROM outbox LIMIT 1");
            assert.match(error, /user must be a string of 1 to 256 bytes/);
            await service.kill();
            await stage.postgres.sql("DELETE FROM outbox");
        });

        it("steps over those that fail again and again, and tells them when they can be", async () => {
            // The module leaves alone what is none of its records.
            await stage.redis.admin.call("SET", ["apikey:{ak_live_x}", "a text"]);
            await insertAll(Array(101).fill({ kind: "created", prefix: "ak_live_x" }));
            const service = await stage.run();
            await revokeLater(service);
            await eventually(async () => (await untold()) === 101, "the note of the revocation gone");
            const [{ least }] = await stage.postgres.sql("SELECT min(failures) AS least FROM outbox");
            assert.ok(least >= 1);
            await stage.redis.admin.call("DEL", ["apikey:{ak_live_x}"]);
            await eventually(async () => (await untold()) === 0, "an empty outbox");
            await service.kill();
        });
    });
});
