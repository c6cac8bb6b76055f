import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { Zstd } from "@hpcc-js/wasm-zstd";
import { bytes, Cache, Refusal, Unreadable } from "../dist/esm/index.js";
import { CLIENTS, clientFor, eventually, pause, Server } from "./servers.mjs";

const never = async () => assert.fail("the source is asked");

/** A source whose answers wait until they are released. */
function held(value) {
    const source = { loads: 0 };
    const released = new Promise((resolve) => {
        source.release = resolve;
    });
    source.load = async () => {
        source.loads += 1;
        await released;
        return value;
    };
    return source;
}

for (const [kind, protocol] of CLIENTS) {
    describe(`regions, with ${kind} in RESP${protocol}`, () => {
        let server;
        const ends = [];
        const errors = [];

        /** A process of the application. */
        const open = async (more = {}) => {
            const { client, end } = await clientFor(kind, protocol, [server.port]);
            const cache = new Cache(client, {
                timeoutMs: 5000,
                breaker: { failures: Number.POSITIVE_INFINITY },
                onError: (error) => errors.push(error),
                ...more,
            });
            ends.push(end, () => cache.close());
            return cache;
        };

        before(async () => {
            server = await Server.start();
        });

        after(async () => {
            for (const end of ends) {
                end();
            }
            await server?.stop();
        });

        it("a value is loaded once, and comes back as it was", async () => {
            const region = (await open()).region("values");
            const value = { id: 9007199254740993n, name: "Zoë", list: [1, null, "2"] };
            let loads = 0;
            const load = async (key) => {
                loads += 1;
                assert.equal(key, "7");
                return value;
            };
            assert.deepEqual(await region.ask("7", load), { value, source: "loaded" });
            assert.deepEqual(await region.ask("7", load), { value, source: "cache" });
            assert.deepEqual(await region.get("7"), value);
            assert.equal(loads, 1);
            assert.equal(await server.admin.call("TYPE", ["cache:values:{7}"]), "cache-val");
        });

        it("that the source has none is known as well, and that nothing is known", async () => {
            const region = (await open()).region("nothing");
            assert.equal(await region.get("1"), undefined);
            assert.equal(await region.getOrSet("1", async () => undefined), null);
            assert.equal(await region.getOrSet("1", never), null);
            assert.equal(await region.get("1"), null);
        });

        it("of many readers in two processes one loads", async () => {
            const caches = [await open(), await open()];
            const regions = caches.map((cache) => cache.region("leased"));
            await regions[0].configure({ leaseMs: 10_000 });
            const source = held({ a: 1 });
            const readers = regions.flatMap((region) =>
                Array.from({ length: 32 }, () => region.getOrSet("one", source.load)),
            );
            await eventually(() => source.loads === 1);
            await pause(50);
            source.release();
            for (const value of await Promise.all(readers)) {
                assert.deepEqual(value, { a: 1 });
            }
            assert.equal(source.loads, 1);
        });

        it("who waits for too long loads, and stores nothing", async () => {
            const slow = (await open()).region("patient");
            const quick = (await open()).region("patient", { patienceMs: 100 });
            await slow.configure({ leaseMs: 10_000 });
            const source = held("slow");
            const first = slow.getOrSet("one", source.load);
            await eventually(() => source.loads === 1);
            assert.deepEqual(await quick.ask("one", async () => "quick"), { value: "quick", source: "loaded" });
            assert.equal(await server.admin.exists("cache:patient:{one}"), 0);
            source.release();
            assert.equal(await first, "slow");
            assert.equal(await quick.getOrSet("one", never), "slow");
        });

        it("who does not load keeps nobody waiting", async () => {
            const region = (await open()).region("glanced");
            await region.configure({ leaseMs: 60_000 });
            assert.equal(await region.get("one"), undefined);
            assert.equal((await region.getMany(["one", "two"])).size, 0);
            const values = await region.getOrSetMany(["one", "two"], async () => new Map([["one", 1]]));
            assert.deepEqual(
                [...values],
                [
                    ["one", 1],
                    ["two", null],
                ],
            );
        });

        it("what was loaded before an invalidation is not stored behind it", async () => {
            const region = (await open()).region("fenced");
            for (const invalidate of [
                () => region.invalidate("one"),
                () => region.invalidateTags(["color:red"]),
                () => region.clear(),
                () => region.invalidatePattern("o*"),
                () => region.set("one", "new"),
            ]) {
                await region.invalidate("one");
                const source = held("old");
                const reader = region.getOrSet("one", source.load, { tags: ["color:red"] });
                await eventually(() => source.loads === 1);
                await invalidate();
                source.release();
                assert.equal(await reader, "old");
                assert.equal(await region.getOrSet("one", async () => "new"), "new", String(invalidate));
            }
        });

        it("a call shares no load that began before it", async () => {
            const region = (await open()).region("shared");
            const old = held("old");
            const first = region.getOrSet("one", old.load);
            await eventually(() => old.loads === 1);
            await region.invalidate("one");
            const second = region.getOrSet("one", async () => "new");
            await pause(20);
            old.release();
            assert.equal(await first, "old");
            assert.equal(await second, "new");
            assert.equal(await region.getOrSet("one", never), "new");
        });

        it("a load that fails is the caller's, and the next may try after a while", async () => {
            const region = (await open()).region("failing", { backoffMs: 300 });
            await region.configure({ leaseMs: 60_000 });
            await assert.rejects(
                region.getOrSet("one", async () => {
                    throw new RangeError("no source");
                }),
                RangeError,
            );
            const from = performance.now();
            assert.equal(await region.getOrSet("one", async () => "now"), "now");
            assert.ok(performance.now() - from > 200);
            await assert.rejects(
                region.getOrSet("two", async () => () => "none of JSON"),
                TypeError,
            );
        });

        it("a stale value is refreshed by one, and is served where its load fails", async () => {
            const region = (await open()).region("stale");
            const fail = async () => {
                throw new Error("no source");
            };
            await region.configure({ leaseMs: 10_000 });
            await region.set("one", "old", { graceMs: 60_000, tags: ["soft"] });
            assert.equal(await region.invalidateTags(["soft"], { soft: true }), 1);
            assert.deepEqual(await region.ask("one", fail), { value: "old", source: "stale" });
            assert.match(errors.at(-1).message, /no source/);
            await region.set("one", "old", { graceMs: 60_000, tags: ["soft"] });
            await region.invalidateTags(["soft"], { soft: true });
            await assert.rejects(region.getOrSet("one", fail, { staleOnError: false }), /no source/);
            await region.set("one", "old", { graceMs: 60_000, tags: ["soft"] });
            await region.invalidateTags(["soft"], { soft: true });
            const source = held("new");
            const first = region.ask("one", source.load, { graceMs: 60_000 });
            await eventually(() => source.loads === 1);
            assert.deepEqual(await region.ask("one", never), { value: "old", source: "stale" });
            source.release();
            assert.deepEqual(await first, { value: "new", source: "loaded" });
            assert.deepEqual(await region.ask("one", never), { value: "new", source: "cache" });
            // What is invalidated for good is not served.
            await region.invalidate("one");
            await assert.rejects(region.getOrSet("one", fail), /no source/);
        });

        it("a value whose end is near is refreshed in the background", async () => {
            const region = (await open()).region("eager", { ttlMs: 1500, graceMs: 60_000 });
            await region.configure({ eagerPercent: 50, leaseMs: 60_000 });
            await region.set("one", "old");
            await region.set("two", "old");
            const source = held("new");
            await eventually(async () => {
                assert.deepEqual(await region.ask("one", source.load), { value: "old", source: "cache" });
                return source.loads === 1;
            });
            assert.equal((await region.ask("one", never)).value, "old");
            const both = held("new");
            await eventually(async () => {
                const many = await region.getOrSetMany(["two"], async () => new Map([["two", await both.load()]]));
                assert.deepEqual([...many], [["two", "old"]]);
                return both.loads === 1;
            });
            both.release();
            source.release();
            for (const key of ["one", "two"]) {
                await eventually(async () => (await region.get(key)) === "new");
            }
        });

        it("of many keys those that are missing are loaded together", async () => {
            for (const ns of ["", "acme:"]) {
                const region = (await open()).region("many", { ns });
                await region.set("a", 1);
                const asked = [];
                const load = async (keys) => {
                    asked.push(keys);
                    return new Map([
                        ["b", 2],
                        ["c", 3],
                        ["d", null],
                    ]);
                };
                const wanted = [
                    ["a", 1],
                    ["b", 2],
                    ["c", 3],
                    ["d", null],
                    ["e", null],
                ];
                const keys = ["a", "b", "c", "d", "e"];
                assert.deepEqual([...(await region.getOrSetMany(keys, load))], wanted);
                assert.deepEqual(asked, [["b", "c", "d", "e"]]);
                assert.deepEqual([...(await region.getOrSetMany(keys, never))], wanted);
                assert.deepEqual([...(await region.getMany([...keys, "f"]))].sort(), wanted);
                assert.equal(await server.admin.exists(`${ns}cache:many:{b}`), 1);
                await assert.rejects(
                    region.getOrSetMany(["x", "y"], async () => {
                        throw new Error("no source");
                    }),
                    /no source/,
                );
            }
            const large = (await open()).region("many");
            const keys = Array.from({ length: 1100 }, (_, number) => `k${number}`);
            let loads = 0;
            const load = async (some) => {
                loads += 1;
                return new Map(some.map((key) => [key, key]));
            };
            assert.equal((await large.getOrSetMany(keys, load)).size, 1100);
            assert.equal((await large.getOrSetMany(keys, load)).get("k1099"), "k1099");
            assert.equal(loads, 1);
        });

        it("many readers of many keys load each once, in two processes", async () => {
            const regions = [(await open()).region("overlapping"), (await open()).region("overlapping")];
            await regions[0].configure({ leaseMs: 10_000 });
            const loaded = new Map();
            const load = async (keys) => {
                await pause(20);
                for (const key of keys) {
                    loaded.set(key, (loaded.get(key) ?? 0) + 1);
                }
                return new Map(keys.map((key) => [key, key]));
            };
            const readers = Array.from({ length: 12 }, (_, number) => {
                const keys = Array.from({ length: 10 }, (__, at) => `k${(number * 3 + at) % 20}`);
                return regions[number % 2].getOrSetMany(keys, load).then((values) =>
                    assert.deepEqual(
                        [...values],
                        keys.map((key) => [key, key]),
                    ),
                );
            });
            readers.push(regions[0].getOrSet("k1", async () => (await load(["k1"])).get("k1")));
            await Promise.all(readers);
            assert.deepEqual(
                [...loaded.values()],
                Array.from({ length: loaded.size }, () => 1),
            );
        });

        it("a writer's word stands, and of one that may have been said nothing stays", async () => {
            const region = (await open()).region("written");
            await region.set("one", "old");
            assert.equal(await region.writeThrough("one", "new", async () => 7), 7);
            assert.equal(await region.get("one"), "new");
            await assert.rejects(
                region.writeThrough("one", "newer", async () => {
                    throw new RangeError("no commit");
                }),
                RangeError,
            );
            assert.equal(await region.get("one"), undefined);
            await region.set("one", "old");
            await region.set("one", null);
            assert.equal(await region.get("one"), undefined);
        });

        it("what can't be stored is not there as it was before", async () => {
            const region = (await open()).region("bounded");
            await region.configure({ maxBytes: 1000 });
            await region.set("one", "old");
            await region.set("one", "x".repeat(2000));
            assert.ok(errors.at(-1) instanceof Refusal);
            assert.equal(await region.get("one"), undefined);
        });

        it("writers of one key take turns", async () => {
            const region = (await open()).region("turns");
            const committed = [];
            await Promise.all(
                [1, 2, 3, 4].map((value) =>
                    region.writeThrough("one", value, async () => {
                        await pause(10 - 2 * value);
                        committed.push(value);
                    }),
                ),
            );
            assert.deepEqual(committed, [1, 2, 3, 4]);
            assert.equal(await region.get("one"), 4);
        });

        it("tags, the region and a pattern invalidate what they cover", async () => {
            const cache = await open();
            const region = cache.region("covered");
            const other = cache.region("another", { ns: "acme:" });
            const fill = async () => {
                await region.set("a1", 1, { tags: (value) => [`value:${value}`] });
                await region.set("a2", 2, { tags: ["even"] });
                await region.set("b[1", 3);
                await other.set("a1", 4, { tags: ["even"] });
            };
            const left = async () => {
                const values = await region.getMany(["a1", "a2", "b[1"]);
                return [...values.values(), ...(await other.getMany(["a1"])).values()].sort();
            };
            await fill();
            assert.equal(await region.invalidateTags(["value:1"]), 1);
            assert.deepEqual(await left(), [2, 3, 4]);
            assert.equal(await cache.invalidateTags(["even"]), 2);
            assert.deepEqual(await left(), [3]);
            await fill();
            assert.equal(await region.invalidatePattern("a*"), 2);
            assert.deepEqual(await left(), [3, 4]);
            assert.equal(await region.invalidatePattern("b\\[?"), 1);
            assert.deepEqual(await left(), [4]);
            await fill();
            assert.equal(await region.clear(), 3);
            assert.deepEqual(await left(), [4]);
            assert.equal(await other.clear(), 1);
            await fill();
            assert.equal(await region.invalidate("a1", "a2", "none"), 2);
        });

        it("a function's results are cached", async () => {
            const region = (await open()).region("functions");
            let calls = 0;
            const sum = region.cached(
                async (a, b) => {
                    calls += 1;
                    return a + b;
                },
                { key: (a, b) => `${a}+${b}`, tags: ["sums"] },
            );
            assert.deepEqual([await sum(1, 2), await sum(1, 2), await sum(2, 2)], [3, 3, 4]);
            assert.equal(calls, 2);
            await region.invalidateTags(["sums"]);
            assert.equal(await sum(1, 2), 3);
            assert.equal(calls, 3);
        });

        it("bytes stay what they are", async () => {
            const region = (await open()).region("bytes", { serialiser: bytes });
            const value = Buffer.from([0, 255, 13, 10, 128, 0]);
            await region.set("one", value);
            assert.deepEqual(await region.get("one"), value);
            const { value: said } = await region.ask("one", never);
            assert.deepEqual(said, value);
            assert.equal(await region.getOrSet("two", async () => new Uint8Array(0)).then((none) => none.length), 0);
            assert.equal((await region.get("two")).length, 0);
            await assert.rejects(region.set("one", "text"), TypeError);
        });

        it("large values are compressed where that helps", async () => {
            const cache = await open({ zstd: await Zstd.load() });
            const region = cache.region("compressed", { compression: { threshold: 100 } });
            const noise = cache.region("compressed", { compression: { threshold: 100 }, serialiser: bytes });
            const labels = async (key) => (await cache.commands.get(`cache:compressed:{${key}}`, "compressed")).label;
            const value = { text: "again ".repeat(200) };
            await region.set("large", value);
            assert.deepEqual(await region.get("large"), value);
            assert.equal(await labels("large"), "json+zstd");
            const { value: stored } = await cache.commands.get("cache:compressed:{large}", "compressed");
            assert.ok(stored.length < 100);
            await region.set("small", "x");
            assert.equal(await labels("small"), "json");
            const random = randomBytes(500);
            await noise.set("random", random);
            assert.equal(await labels("random"), "bytes");
            assert.deepEqual(await noise.get("random"), random);
            // Who does not compress reads it all the same.
            assert.deepEqual(await cache.region("compressed").get("large"), value);
        });

        it("what is encrypted is read by its keys, under its own name, and goes with its key", async () => {
            const cache = await open({ zstd: await Zstd.load() });
            const keys = { 1: randomBytes(32), 2: randomBytes(32) };
            const first = cache.region("sealed", { compression: true, encryption: { keyId: "1", keys } });
            const value = { card: "4111 ".repeat(300) };
            await first.set("one", value, { tags: ["cards"] });
            const entry = await cache.commands.get("cache:sealed:{one}", "sealed");
            assert.equal(entry.label, "json+zstd;kid=1");
            assert.equal(entry.value.includes("4111"), false);
            const tags = await server.admin.call("APIKEY.TAGS", ["cache:sealed:{one}"]);
            assert.deepEqual(tags.sort(), ["cache:region:sealed", "cards", "kid:1"]);
            assert.deepEqual(await first.get("one"), value);

            // A rotation: what the old key has sealed is read until it is invalidated.
            const second = cache.region("sealed", { encryption: { keyId: "2", keys } });
            assert.deepEqual(await second.getOrSet("one", never), value);
            assert.equal(await second.invalidateTags(["kid:1"]), 1);
            assert.equal(await second.getOrSet("one", async () => "new"), "new");
            assert.equal((await cache.commands.get("cache:sealed:{one}", "sealed")).label, "json;kid=2");

            // Moved to another key, or to another label, it is none; and the source answers.
            const moved = await cache.commands.get("cache:sealed:{one}", "sealed");
            const put = (name, label, payload) => cache.commands.set(name, "sealed", payload, { label });
            const plain = Buffer.from('"planted"');
            for (const [name, label, payload] of [
                ["cache:sealed:{two}", moved.label, moved.value],
                ["cache:sealed:{two}", "json;kid=1", moved.value],
                ["cache:sealed:{two}", "json;kid=3", moved.value],
                ["cache:sealed:{two}", "json", plain],
                ["cache:sealed:{two}", "pickle;kid=2", moved.value],
                ["cache:sealed:{two}", moved.label, moved.value.subarray(0, 20)],
            ]) {
                await put(name, label, payload);
                assert.equal(await second.get("two"), undefined);
                assert.ok(errors.at(-1) instanceof Unreadable);
                assert.deepEqual(await second.ask("two", async () => "own"), { value: "own", source: "loaded" });
                assert.deepEqual(await second.ask("two", never), { value: "own", source: "cache" });
            }
        });

        it("what is written behind is in the cache at once, and in the database in order", async () => {
            const cache = await open();
            const region = cache.region("behind");
            errors.length = 0;
            const written = [];
            const ids = [];
            const end = new AbortController();
            let failures = 2;
            const apply = async ({ key, value, id }) => {
                if (key === "a" && value === 2 && failures > 0) {
                    failures -= 1;
                    throw new Error("the database is busy");
                }
                await pause(Math.random() * 5);
                written.push([key, value]);
                ids.push(id);
            };
            for (const [key, value] of [
                ["a", 1],
                ["a", 2],
                ["b", 1],
                ["a", 3],
                ["b", 2],
            ]) {
                await region.writeBehind(key, value);
                assert.equal(await region.get(key), value);
            }
            const options = { signal: end.signal, pollMs: 10 };
            const workers = [region.worker(apply, options), region.worker(apply, options)];
            await eventually(() => written.length === 5, "all writes");
            const of = (key) => written.filter(([one]) => one === key).map(([, value]) => value);
            assert.deepEqual(
                [of("a"), of("b")],
                [
                    [1, 2, 3],
                    [1, 2],
                ],
            );
            await region.writeBehind("a", 4);
            await eventually(() => written.length === 6);
            await eventually(async () => (await server.admin.xlen("cache:writes:{behind}")) === 0, "an empty stream");
            end.abort();
            await Promise.all(workers);
            assert.equal(new Set(ids).size, 6);
            const met = errors.splice(0).map(({ message }) => message);
            assert.deepEqual(met, ["the database is busy", "the database is busy"]);
        });

        it("what a worker that is gone has left another applies first", async () => {
            const cache = await open();
            const gone = await open();
            const written = [];
            const region = cache.region("heirs");
            await region.writeBehind("a", 1);
            await region.writeBehind("a", 2);
            // It never ends its first, and is gone then.
            let began = 0;
            const options = { pollMs: 10, lockMs: 300 };
            gone.region("heirs").worker(() => {
                began += 1;
                return new Promise(() => {});
            }, options);
            await eventually(() => began === 1);
            gone.close();
            await region.writeBehind("a", 3);
            const end = new AbortController();
            const worker = region.worker(async ({ value }) => written.push(value), { ...options, signal: end.signal });
            await eventually(() => written.length === 3, "the writes");
            assert.deepEqual(written, [1, 2, 3]);
            end.abort();
            await worker;
        });

        it("what the cache has lost before it was written is not what was there before, once it is", async () => {
            const region = (await open()).region("evicted");
            await region.writeBehind("lost", "new");
            await region.writeBehind("kept", "new");
            await server.admin.call("DEL", ["cache:evicted:{lost}"]);
            assert.equal(await region.getOrSet("lost", async () => "old"), "old");
            const end = new AbortController();
            const worker = region.worker(async () => {}, { signal: end.signal, pollMs: 10 });
            await eventually(async () => (await region.getOrSet("lost", async () => "new")) === "new");
            assert.equal(await region.getOrSet("kept", never), "new");
            end.abort();
            await worker;
        });

        it("what can't be stored and is noted all the same is not there as it was before", async () => {
            const region = (await open()).region("noted");
            await region.configure({ maxBytes: 1000 });
            await region.set("one", "old");
            await region.writeBehind("one", "x".repeat(2000));
            assert.match(errors.at(-1).message, /^ERR/);
            assert.equal(await region.get("one"), undefined);
            await server.admin.set("cache:writes:{broken}", "no stream");
            const broken = (await open()).region("broken");
            await assert.rejects(broken.writeBehind("one", 1), (error) => error.code === "WRONGTYPE");
            assert.equal(await broken.get("one"), undefined);
        });

        it("says what its settings and figures are", async () => {
            const cache = await open();
            const region = cache.region("figures");
            await region.configure({ ttlMs: 7_200_000, evict: "LFU" });
            const settings = await cache.commands.regionGet("figures");
            assert.deepEqual([settings.ttl, settings.evict], [7_200_000, "lfu"]);
            await region.set("one", 1);
            assert.equal((await region.stats()).entries, 1);
        });
    });
}
