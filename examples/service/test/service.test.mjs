// What the service does, as its callers see it: over HTTP, with PostgreSQL and Redis.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { eventually } from "../../../clients/node/test/servers.mjs";
import { Service } from "../dist/service.js";
import { settingsOf } from "../dist/settings.js";
import { Relay } from "./relay.mjs";
import { Stage } from "./stage.mjs";

describe("the service", () => {
    let stage;
    let service;

    before(async () => {
        stage = await Stage.start();
        service = await stage.run();
    });

    after(() => stage?.stop());

    it("answers the first request from the database and the second from the cache", async () => {
        const { key, prefix, told } = await service.issue({ name: "Lotte's gateway" });
        assert.equal(told, true);
        const first = await service.ask("GET", "/me", { key });
        assert.deepEqual([first.status, first.cache], [200, "MISS"]);
        const second = await service.ask("GET", "/me", { key });
        assert.deepEqual([second.status, second.cache], [200, "HIT"]);
        assert.deepEqual(second.body, first.body);
        assert.deepEqual([second.body.name, second.body.key_prefix], ["Lotte's gateway", prefix]);
        assert.equal(second.body.key_hash, undefined);
    });

    it("refuses what is no key, what is unknown, has no scope, or has expired", async () => {
        const { key } = await service.issue({ scopes: [] });
        const { key: old } = await service.issue({ expires_at: new Date(Date.now() - 1).toISOString() });
        const other = await service.issue();
        await stage.postgres.sql("DELETE FROM api_key WHERE id = $1", [other.id]);
        for (const [presented, path, status, code] of [
            [null, "/me", 401, "MISSING"],
            ["guess", "/me", 401, "INVALID"],
            [`${key}0`, "/me", 401, "INVALID"],
            [other.key, "/me", 401, "INVALID"],
            [old, "/me", 401, "EXPIRED"],
            [key, "/me/usage", 403, "FORBIDDEN"],
            [key, "/users/42/keys", 403, "FORBIDDEN"],
            [key, "/me", 200, "HIT"],
        ]) {
            assert.deepEqual(await service.me(presented, path), [status, code], `${presented} ${path}`);
        }
    });

    it("shows a change at once, in every process", async () => {
        const other = await stage.run();
        const { id, key } = await service.issue({ user_id: "changes" });
        for (const one of [service, other, service, other]) {
            assert.equal((await one.me(key))[0], 200);
        }
        const { status, body } = await service.ask("DELETE", `/keys/${id}`);
        assert.deepEqual([status, body], [200, { id, told: true }]);
        for (const one of [service, other]) {
            assert.deepEqual(await one.me(key), [401, "DISABLED"]);
        }
        const listed = await other.ask("GET", "/users/changes/keys");
        assert.deepEqual(
            listed.body.items.map((item) => [item.id, item.is_active]),
            [[id, false]],
        );
        assert.equal(await other.end(), 0);
    });

    it("accepts both secrets of a key that is rotated, until the grace is over", async () => {
        const { id, prefix, key } = await service.issue();
        assert.equal((await service.me(key))[0], 200);
        const long = await service.ask("POST", `/keys/${id}/rotate`, { body: { grace_ms: 60_000 } });
        assert.deepEqual([long.status, long.body.prefix, long.body.told], [200, prefix, true]);
        assert.notEqual(long.body.key, key);
        for (const [presented, cache] of [
            [key, "MISS"],
            [key, "HIT"],
            [long.body.key, "HIT"],
        ]) {
            assert.deepEqual(await service.me(presented), [200, cache]);
        }
        // Again, and the first secret ends; the second has so long.
        const short = await service.ask("POST", `/keys/${id}/rotate`, { body: { grace_ms: 1000 } });
        const until = Date.parse(short.body.old_until);
        assert.deepEqual(await service.me(key), [401, "INVALID"]);
        assert.equal((await service.me(short.body.key))[0], 200);
        const verdicts = [];
        await eventually(async () => {
            const asked = Date.now();
            const [status] = await service.me(long.body.key);
            verdicts.push({ asked, answered: Date.now(), status });
            return status === 401;
        }, "the end of the grace");
        for (const { asked, answered, status } of verdicts) {
            assert.ok(status === 200 ? asked < until : answered >= until);
        }
        assert.deepEqual(await service.me(short.body.key), [200, "HIT"]);
    });

    it("lists a user's keys in pages, and deletes the user", async () => {
        const issued = [];
        for (let number = 0; number < 5; number += 1) {
            issued.unshift(await service.issue({ user_id: "77" }));
        }
        const page = async (query) => (await service.ask("GET", `/users/77/keys?${query}`)).body;
        const ids = issued.map(({ id }) => id);
        for (const [query, from, to] of [
            ["", 0, 5],
            ["offset=1&limit=2", 1, 3],
        ]) {
            const { total, items } = await page(query);
            assert.deepEqual([total, items.map(({ id }) => id)], [5, ids.slice(from, to)]);
        }
        const text = JSON.stringify(await page(""));
        for (const { key_hash: hash } of await stage.postgres.sql(
            "SELECT key_hash FROM api_key WHERE user_id = '77'",
        )) {
            assert.ok(!text.includes(hash));
        }
        const added = await service.issue({ user_id: "77" });
        assert.equal((await page("")).total, 6);
        assert.equal((await service.me(added.key))[0], 200);
        const { status, body } = await service.ask("DELETE", "/users/77");
        assert.deepEqual([status, body], [200, { keys: 6, told: true }]);
        assert.deepEqual(await service.me(added.key), [401, "INVALID"]);
        assert.deepEqual(await page(""), { total: 0, items: [] });
    });

    it("says 404 of what is not there and 400 of what is wrong, and changes nothing", async () => {
        const none = "00000000-0000-4000-8000-000000000000";
        const { rows } = await stage.postgres.pool.query("SELECT count(*) FROM api_key");
        for (const [method, path, body, status] of [
            ["DELETE", `/keys/${none}`, undefined, 404],
            ["POST", `/keys/${none}/rotate`, {}, 404],
            ["DELETE", "/users/nobody", undefined, 404],
            ["DELETE", "/keys/1", undefined, 400],
            ["POST", `/keys/${none}/rotate`, { grace_ms: -1 }, 400],
            ["POST", "/keys", { user_id: "42" }, 400],
            ["POST", "/keys", { user_id: "", scopes: [] }, 400],
            ["POST", "/keys", { user_id: "42", scopes: [], expires_at: "soon" }, 400],
            ["POST", "/keys", { user_id: "42", scopes: [], plan: "none" }, 400],
            ["POST", `/keys/${none}/credits`, { payment: "p", credits: 1 }, 404],
            ["POST", `/keys/${none}/credits`, { payment: "p", credits: 0 }, 400],
            ["POST", `/keys/${none}/credits`, { payment: "p".repeat(65), credits: 1 }, 400],
            ["GET", "/users/42/keys?limit=0", undefined, 400],
            ["GET", "/users/42/keys?limit=101", undefined, 400],
            ["GET", "/users/42/keys?offset=-1", undefined, 400],
            ["GET", "/users/42/keys?offset=1e3", undefined, 400],
        ]) {
            assert.equal((await service.ask(method, path, { body })).status, status, `${method} ${path}`);
        }
        assert.deepEqual((await stage.postgres.pool.query("SELECT count(*) FROM api_key")).rows, rows);
        assert.equal((await stage.postgres.sql("SELECT FROM outbox")).length, 0);
    });

    it("says which field of a body is wrong, and bends and drops none", async () => {
        const { id } = await service.issue();
        const good = { user_id: "strict", scopes: [] };
        for (const [path, body, field] of [
            ["/keys", { ...good, user_id: "é".repeat(200) }, "user_id"],
            ["/keys", '{"user_id": 9007199254740993, "scopes": []}', "user_id"],
            ["/keys", { ...good, user_id: false }, "user_id"],
            ["/keys", { ...good, scopes: "a:b" }, "scopes"],
            ["/keys", { ...good, scopes: [7] }, "scopes/0"],
            ["/keys", { ...good, name: 7 }, "name"],
            ["/keys", { ...good, expiresAt: "2030-01-01T00:00:00Z" }, "expiresAt"],
            ["/keys", { ...good, is_active: false }, "is_active"],
            [`/keys/${id}/rotate`, { grace_ms: null }, "grace_ms"],
            [`/keys/${id}/rotate`, { grace_ms: "5" }, "grace_ms"],
            [`/keys/${id}/rotate`, { grace: 5 }, "grace"],
        ]) {
            const { status, body: said } = await service.ask("POST", path, { body });
            assert.equal(status, 400, JSON.stringify(body));
            assert.ok(said.message.startsWith("body") && said.message.includes(field), said.message);
        }
        const [{ keys }] = await stage.postgres.sql(
            "SELECT count(*)::int AS keys FROM api_key WHERE user_id = 'strict'",
        );
        assert.deepEqual([keys, (await stage.postgres.sql("SELECT FROM outbox")).length], [0, 0]);
    });

    it("issues no key that could not be judged or kept, and says why", async () => {
        const good = { user_id: "unfit", scopes: [] };
        for (const [fields, field] of [
            [{ scopes: ["a:b", "!a:c"] }, "scopes"],
            [{ scopes: ["-a:c"] }, "scopes"],
            [{ scopes: ["a\0"] }, "scopes"],
            [{ scopes: ["\ud800"] }, "scopes"],
            [{ user_id: "un\0fit" }, "user_id"],
            [{ user_id: "\udfff" }, "user_id"],
            [{ name: "\0" }, "name"],
            [{ name: "a\ud800" }, "name"],
            [{ expires_at: "0000-01-01T00:00:00Z" }, "expires_at"],
            [{ expires_at: "1989-12-31T23:59:59Z" }, "expires_at"],
            [{ expires_at: "2030-01-01T00:00:00-23:59" }, "expires_at"],
            [{ expires_at: "2030-02-30T00:00:00Z" }, "expires_at"],
            // Of the year 10000 where the cache counts.
            [{ expires_at: "9999-12-31T23:59:59-14:00" }, "expires_at"],
        ]) {
            const { status, body } = await service.ask("POST", "/keys", { body: { ...good, ...fields } });
            assert.equal(status, 400, JSON.stringify(fields));
            assert.ok(body.message.includes(field), body.message);
        }
        for (const path of ["/users/%00", "/users/a%00b"]) {
            assert.equal((await service.ask("GET", `${path}/keys`)).status, 400);
            assert.equal((await service.ask("DELETE", path)).status, 400);
        }
        assert.equal((await service.ask("GET", "/users/%ED%A0%80/keys")).status, 400);
        const [{ keys }] = await stage.postgres.sql(
            "SELECT count(*)::int AS keys FROM api_key WHERE user_id = 'unfit'",
        );
        assert.deepEqual([keys, (await stage.postgres.sql("SELECT FROM outbox")).length], [0, 0]);
        for (const end of ["2030-01-01T00:00:00+14:00", "2030-12-31T23:59:60Z", "9999-12-31T23:59:59Z"]) {
            const { key } = await service.issue({ user_id: "fit", name: "\u{1f511}", expires_at: end });
            assert.deepEqual(await service.me(key), [200, "MISS"], end);
            assert.deepEqual(await service.me(key), [200, "HIT"], end);
        }
        assert.equal((await service.ask("GET", "/users/fit/keys")).body.total, 3);
    });

    it("takes ids of users of 256 bytes everywhere, and longer ones nowhere", async () => {
        const user = "é".repeat(128);
        assert.equal((await service.issue({ user_id: user })).told, true);
        for (const [id, listed, deleted] of [
            [`${user}x`, 400, 400],
            [user, 200, 200],
        ]) {
            const path = `/users/${encodeURIComponent(id)}`;
            assert.equal((await service.ask("GET", `${path}/keys`)).status, listed);
            assert.equal((await service.ask("DELETE", path)).status, deleted);
        }
    });

    it("has a warm cache when it starts, without keys that may not be used", async () => {
        const { key } = await service.issue();
        const { id, key: revoked } = await service.issue();
        await service.ask("DELETE", `/keys/${id}`);
        await stage.redis.admin.call("FLUSHALL");
        const other = await stage.run();
        const [{ count }] = await stage.postgres.sql(
            "SELECT count(*)::int FROM api_key WHERE is_active AND coalesce(expires_at > now(), true)",
        );
        const warm = other.log.map((line) => JSON.parse(line)).find(({ msg }) => msg === "the cache is warm");
        assert.deepEqual([warm.stored, warm.refused, warm.bad], [count, 0, 0]);
        assert.deepEqual(await other.me(key), [200, "HIT"]);
        assert.deepEqual(await other.me(revoked), [401, "DISABLED"]);
        await other.kill();
    });

    it("says how it fares", async () => {
        const outbox = await service.ask("GET", "/health", { key: null });
        assert.deepEqual(outbox.body, { untold: 0, oldest_s: 0, set_aside: 0 });
        const { status, body } = await service.ask("GET", "/health/cache", { key: null });
        assert.equal(status, 200);
        assert.equal(body.status, "healthy", JSON.stringify(body));
    });

    it("keeps no secret in Redis, and shows nobody a digest", async () => {
        const { id, key } = await service.issue({ user_id: "secrecy" });
        const rotated = await service.ask("POST", `/keys/${id}/rotate`, { body: { grace_ms: 60_000 } });
        await service.me(key);
        await service.ask("GET", "/users/secrecy/keys");
        const rows = await stage.postgres.sql("SELECT key_hash, old_hash FROM api_key");
        const hashes = rows.flatMap((row) => [row.key_hash, row.old_hash]).filter((hash) => hash !== null);
        const secrets = [key, rotated.body.key, stage.admin].map((presented) =>
            presented.split("_").at(-1).slice(0, 33),
        );
        const redis = stage.redis.admin;
        const types = new Map();
        let cursor = "0";
        do {
            const [next, found] = await redis.scan(cursor, "COUNT", 1000);
            cursor = next;
            for (const name of found) {
                const type = await redis.type(name);
                types.set(type, (types.get(type) ?? 0) + 1);
                const told = [name];
                for (const command of ["GET", "STRLEN", "HGETALL", "SMEMBERS", "ZCARD", "LLEN", "XLEN", "PFCOUNT"]) {
                    await assert.rejects(redis.call(command, name), /WRONGTYPE/, `${command} ${name}`);
                }
                const own = {
                    apikeyrec: ["APIKEY.VALIDATE", "APIKEY.TAGS", "APIKEY.DESCRIBE"],
                    apikeylst: ["APIKEY.GETLIST", "APIKEY.TAGS", "APIKEY.DESCRIBE"],
                    apikeyuse: ["APIKEY.USAGE.GET", "APIKEY.DESCRIBE"],
                }[type];
                assert.ok(own !== undefined, `${name} is a ${type}`);
                for (const command of own) {
                    told.push(JSON.stringify(await redis.call(command, name)));
                }
                const dumped = (await redis.dumpBuffer(name)).toString("latin1");
                for (const secret of secrets) {
                    assert.ok(!dumped.includes(secret) && !told.join("\n").includes(secret), name);
                }
                for (const hash of hashes) {
                    assert.ok(!told.join("\n").includes(hash), name);
                }
            }
        } while (cursor !== "0");
        assert.deepEqual([...types.keys()].sort(), ["apikeylst", "apikeyrec", "apikeyuse"]);
    });

    it("verifies a thousand at once: the database is asked once, and Redis side by side", async () => {
        const relay = await Relay.start(stage.redis.port);
        const settings = (redisUrl) =>
            settingsOf({ ...stage.environment(), REDIS_URL: redisUrl, REDIS_TIMEOUT_MS: "15000" });
        const near = new Service(settings(stage.redisUrl), () => {});
        const far = new Service(settings(relay.url), () => {});
        try {
            const { key } = await service.issue();
            let loads = 0;
            const keyRow = near.database.keyRow.bind(near.database);
            near.database.keyRow = (prefix) => {
                loads += 1;
                return keyRow(prefix);
            };
            const verify = async ({ keys }) => {
                const began = performance.now();
                const asked = Array.from({ length: 1000 }, () => keys.verify(key, { scopes: ["usage:read"] }));
                const all = await Promise.all(asked);
                const ms = Math.round(performance.now() - began);
                assert.ok(all.every(({ kind }) => kind === "valid"));
                return { ms, sources: [...new Set(all.map(({ source }) => source))] };
            };
            const cold = await verify(near);
            assert.equal(loads, 1);
            const warm = [];
            for (let time = 0; time < 5; time += 1) {
                const { ms, sources } = await verify(near);
                assert.deepEqual(sources, ["cache"]);
                warm.push(ms);
            }
            assert.equal(loads, 1);
            console.log(`1,000 verifications: ${cold.ms} ms cold, ${warm.join(", ")} ms from the cache`);
            // No reply comes before all are asked: one after the other they would wait in vain, and ask the database.
            relay.gather("APIKEY.VALIDATE", 1000);
            assert.deepEqual((await verify(far)).sources, ["cache"]);
        } finally {
            await near.stop();
            await far.stop();
            relay.stop();
        }
    });
});
