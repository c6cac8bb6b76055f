/**
 * {@link Region}: values of one kind, which are loaded from their source when they are missing.
 *
 * **What always holds.** What is loaded is stored with a token that Redis gave before, so that an invalidation in between is
 * not undone. Of the readers of this process that want the same key at once one loads it, of all processes too, where the
 * region has leases. A call shares a load only if that began after the call.
 */

import { type Asking, asError } from "./asking.js";
import { checkMs } from "./bounds.js";
import {
    type CacheCommands,
    type Fields,
    getCommand,
    type Lookup,
    patinvalCommand,
    type RegionSettings,
    readLookup,
    regionSetCommand,
    type Storing,
    setCommand,
} from "./cache-commands.js";
import type { Changes } from "./changes.js";
import { Refusal, Unanswered } from "./errors.js";
import type { L1 } from "./l1.js";
import type { Loads, Moment } from "./loads.js";
import { type Payload, type PayloadOptions, Payloads, Unreadable } from "./payload.js";
import { RegionNames } from "./region-names.js";
import { pause } from "./router.js";
import type { Command, Reply } from "./session.js";
import { slotOf } from "./slots.js";
import { WriteBehind, type WriteBehindOptions } from "./write-behind.js";
import type { Zstd } from "./zstd.js";

/** How a {@link Region} works. Times are milliseconds. */
export interface RegionOptions<T> extends PayloadOptions<T> {
    /** Separates tenants; as {@link CacheOptions} where it is not said. */
    readonly ns?: string;
    /** How long a value is fresh; as the region has it at the server where it is not said. */
    readonly ttlMs?: number;
    /** How long a value may be served behind that; as the region has it at the server where it is not said. */
    readonly graceMs?: number;
    /** How long it is cached that the source has no such thing; as the region has it at the server where it is not said. */
    readonly absentTtlMs?: number;
    /** How long a reader waits for another's load, before it loads by itself and stores nothing. 5,000 where it is not said. */
    readonly patienceMs?: number;
    /** How long nobody tries again after a load that failed, where the region has leases. 500 where it is not said. */
    readonly backoffMs?: number;
    /** Whether a stale value is served where its load fails. Yes, where it is not said. */
    readonly staleOnError?: boolean;
    /** Whether a reader whom Redis asks to refreshes in the background what is near its end. Yes, where it is not said. */
    readonly refreshAhead?: boolean;
    /** Whether all entries are in one slot of a cluster, which {@link Region.writeBehind} needs there. No, where it is not said. */
    readonly oneSlot?: boolean;
    /** Whether values are kept in this process, where {@link CacheOptions} has an L1. Yes, where it is not said. */
    readonly l1?: boolean;
}

/** How a value is stored. Times are milliseconds. */
export interface StoreOptions<T> {
    /** By which it is invalidated; of the value, or of `null`, which the source has none of. */
    readonly tags?: readonly string[] | ((value: T | null) => readonly string[]);
    /** As {@link RegionOptions} where it is not said. */
    readonly ttlMs?: number;
    /** As {@link RegionOptions} where it is not said. */
    readonly graceMs?: number;
}

/** How a value is loaded and stored. */
export interface LoadOptions<T> extends StoreOptions<T> {
    /** As {@link RegionOptions} where it is not said. */
    readonly staleOnError?: boolean;
}

/** A value, and who said so. */
export interface Answer<T> {
    /** `null`: the source has none. */
    readonly value: T | null;
    /** What this process kept, Redis, Redis though its time is over, or the source. */
    readonly source: "l1" | "cache" | "stale" | "loaded";
}

/** Says what the source has: the value, committed, from where it is written; `null` or `undefined` where there is none. */
export type LoadValue<T> = (key: string) => Promise<T | null | undefined>;

/** The same for many keys, which are asked for once. What is missing in the map the source has none of. */
export type LoadValues<T> = (keys: readonly string[]) => Promise<ReadonlyMap<string, T | null | undefined>>;

/** What a load brought. */
export interface Loaded {
    readonly value: unknown;
    /** Whether it had a token, so that what it brought is stored and the lease is over. */
    readonly hadToken: boolean;
}

/** What all regions of a {@link Cache} have together. @internal */
export interface Shared {
    readonly asking: Asking;
    readonly commands: CacheCommands;
    readonly changes: Changes;
    readonly loads: Loads<Loaded>;
    readonly l1Of: (ns: string) => L1<Buffer> | undefined;
    readonly zstd: Zstd | undefined;
}

/** What Redis has of a key, read. */
type Found<T> =
    | { readonly code: "HIT" | "STALE"; readonly value: T; readonly token: string | null }
    | { readonly code: "ABSENT" }
    | { readonly code: "MISS"; readonly token: string }
    | { readonly code: "WAIT"; readonly retryMs: number };

/** Keys of one MGET, at most. */
const MOST_KEYS = 1000;

/** Of a node that stores no fills. */
const NO_TOKEN = "0";

/** Milliseconds that PATINVAL may take: it walks over all keys. */
const PATTERN_MS = 60_000;

export class Region<T> {
    /** The name of the region. */
    readonly name: string;
    readonly #shared: Shared;
    readonly #options: RegionOptions<T>;
    readonly #names: RegionNames;
    readonly #payloads: Payloads<T>;
    readonly #l1: L1<Buffer> | undefined;
    readonly #behind: WriteBehind;
    readonly #patienceMs: number;
    readonly #backoffMs: number;
    /** Who writes a key, one behind the other. */
    readonly #turns = new Map<string, Promise<void>>();

    /** @internal */
    constructor(shared: Shared, name: string, options: RegionOptions<T>) {
        const { ns = "", oneSlot = false, l1 = true } = options;
        checkTimes(options);
        this.name = name;
        this.#shared = shared;
        this.#options = options;
        this.#names = new RegionNames(ns, name, oneSlot);
        this.#payloads = new Payloads(ns, name, options, shared.zstd);
        this.#l1 = l1 ? shared.l1Of(ns) : undefined;
        this.#behind = new WriteBehind(shared.asking, this.#names.stream);
        this.#patienceMs = checkMs("patienceMs", options.patienceMs ?? 5000, 0);
        this.#backoffMs = checkMs("backoffMs", options.backoffMs ?? 500, 0);
    }

    /**
     * The value of a key; where the cache has none it is loaded and stored. While Redis does not answer it is loaded, in
     * so many loads at once as `loadLimit` says.
     *
     * @returns `null` where the source has none, which is cached as well.
     * @throws what `load` throws, unless there is a stale value that may be served; what the serialiser throws.
     * @throws {UnavailableError} where Redis does not answer, and `whenDown` says that the source is not to be asked.
     */
    async getOrSet(key: string, load: LoadValue<T>, options: LoadOptions<T> = {}): Promise<T | null> {
        return (await this.ask(key, load, options)).value;
    }

    /** What {@link getOrSet} does, and who said so. */
    async ask(key: string, load: LoadValue<T>, options: LoadOptions<T> = {}): Promise<Answer<T>> {
        const name = this.#names.entry(key);
        const kept = this.#kept(name);
        if (kept !== undefined) {
            return this.#answer(kept, "l1");
        }
        const { asking, loads } = this.#shared;
        const until = performance.now() + this.#patienceMs;
        for (;;) {
            // What is loaded for this call has to be read after this, and after the token.
            const since = loads.moment();
            let found: Found<T> | undefined;
            try {
                found = await asking.ask(() => this.#look(key, name));
            } catch (thrown) {
                return this.#answer(this.#stale(name, thrown), "stale");
            }
            switch (found?.code) {
                case "HIT":
                    if (found.token !== null && !this.#refreshesAhead) {
                        this.#giveBack(name, found.token);
                    } else if (found.token !== null) {
                        this.#refresh(key, name, since, found.token, load, options);
                    }
                    return this.#answer(found.value, "cache");
                case "ABSENT":
                    return this.#answer(null, "cache");
                case "STALE": {
                    const { value, token } = found;
                    if (token === null) {
                        return this.#answer(value, "stale");
                    }
                    try {
                        return this.#answer(await this.#load(key, name, since, token, load, options), "loaded");
                    } catch (thrown) {
                        if (!this.#servesStale(options)) {
                            throw thrown;
                        }
                        asking.report(asError(thrown));
                        return this.#answer(value, "stale");
                    }
                }
                case "MISS":
                    return this.#answer(await this.#load(key, name, since, found.token, load, options), "loaded");
                case "WAIT": {
                    // A load of this process is waited for, and not asked after.
                    const underway = loads.underway(name, since);
                    if (underway !== undefined) {
                        return this.#answer((await underway).value as T | null, "loaded");
                    }
                    const left = until - performance.now();
                    if (left > 0) {
                        await pause(Math.min(found.retryMs, left));
                        continue;
                    }
                }
            }
            // Redis does not answer, or another reader takes too long.
            return this.#answer(await this.#load(key, name, since, null, load, options), "loaded");
        }
    }

    /**
     * What the cache has of a key.
     *
     * @returns `undefined`: nothing, or Redis does not answer; `null`: that the source has none.
     * @throws {UnavailableError} where Redis does not answer, and `whenDown` is not `"load"`.
     */
    async get(key: string): Promise<T | null | undefined> {
        return (await this.getMany([key])).get(key);
    }

    /**
     * {@link get} of many keys, of which what the cache has is in the map. It asks for them together, and what comes so is
     * not kept in this process.
     */
    async getMany(keys: readonly string[]): Promise<Map<string, T | null>> {
        const values = new Map<string, T | null>();
        let found: Map<string, Found<T>> | undefined;
        try {
            found = await this.#lookMany(keys, values);
        } catch (thrown) {
            this.#staleMany(keys, values, thrown);
        }
        for (const [key, said] of found ?? []) {
            if (said.code === "HIT" || said.code === "STALE") {
                values.set(key, said.value);
            } else if (said.code === "ABSENT") {
                values.set(key, null);
            }
            // Who does not load keeps nobody waiting.
            const token = "token" in said ? said.token : null;
            if (token !== null) {
                this.#giveBack(this.#names.entry(key), token);
            }
        }
        return values;
    }

    /**
     * The values of many keys: what the cache has, and what it has not from one call of `loadMany`, which is stored.
     *
     * @returns of each key its value, or `null` where the source has none.
     * @throws as {@link getOrSet}.
     */
    async getOrSetMany(
        keys: readonly string[],
        loadMany: LoadValues<T>,
        options: LoadOptions<T> = {},
    ): Promise<Map<string, T | null>> {
        const { asking, loads } = this.#shared;
        const values = new Map<string, T | null>();
        const until = performance.now() + this.#patienceMs;
        const eager = new Map<string, string>();
        for (let rest = [...new Set(keys)]; rest.length > 0; ) {
            const since = loads.moment();
            let found: Map<string, Found<T>> | undefined;
            try {
                found = await this.#lookMany(rest, values);
            } catch (thrown) {
                this.#staleMany(rest, values, thrown);
                break;
            }
            const tokens = new Map<string, string | null>();
            const stale = new Map<string, T>();
            let retryMs = 0;
            const left = until - performance.now();
            for (const key of rest.filter((one) => !values.has(one))) {
                const said = found?.get(key);
                if (said === undefined || (said.code === "WAIT" && left <= 0)) {
                    tokens.set(key, null);
                } else if (said.code === "MISS") {
                    tokens.set(key, said.token);
                } else if (said.code === "WAIT") {
                    retryMs = retryMs === 0 ? said.retryMs : Math.min(retryMs, said.retryMs);
                } else if (said.code === "ABSENT") {
                    values.set(key, null);
                } else if (said.code === "STALE" && said.token !== null) {
                    tokens.set(key, said.token);
                    stale.set(key, said.value);
                } else {
                    values.set(key, said.value);
                    if (said.token !== null && !this.#refreshesAhead) {
                        this.#giveBack(this.#names.entry(key), said.token);
                    } else if (said.token !== null) {
                        eager.set(key, said.token);
                    }
                }
            }
            if (eager.size > 0) {
                this.#loadMany(new Map(eager), new Map(), since, loadMany, options, new Map()).catch(
                    (thrown: unknown) => asking.report(asError(thrown)),
                );
                eager.clear();
            }
            await this.#loadMany(tokens, stale, since, loadMany, options, values);
            rest = rest.filter((key) => !values.has(key));
            // Others load what is left, which they may have done meanwhile.
            if (rest.length > 0 && tokens.size === 0) {
                await pause(Math.max(Math.min(retryMs, left), 1));
            }
        }
        return new Map(keys.map((key) => [key, values.get(key) ?? null]));
    }

    /**
     * Stores a value as the word of who writes it, behind the commit: no reader stores what was there before. Of `null` or
     * `undefined` it is invalidated. Where it can't be stored it is invalidated too.
     *
     * @throws {NotTold} where that can't be either: **the cache may have what was there before.**
     * @throws what the serialiser throws: nothing was done.
     */
    async set(key: string, value: T | null | undefined, options: StoreOptions<T> = {}): Promise<void> {
        await this.writeThrough(key, value, async () => {}, options);
    }

    /**
     * Commits, and then stores what was committed, as {@link set} does. Writers of one key take turns in this process.
     * Writers of other processes do not: where there are some, {@link invalidate} instead, or let `commit` take a lock.
     *
     * @param commit writes to the database. Where it throws, the key is invalidated, since it may be committed all the same.
     * @returns what `commit` returns.
     * @throws what `commit` throws; what the serialiser throws, and then nothing was committed.
     * @throws {NotTold} where it was committed, and the cache may have what was there before.
     */
    async writeThrough<R>(
        key: string,
        value: T | null | undefined,
        commit: () => Promise<R>,
        options: StoreOptions<T> = {},
    ): Promise<R> {
        const name = this.#names.entry(key);
        const { asking, changes } = this.#shared;
        const command = value === null || value === undefined ? undefined : this.#setCommand(key, name, value, options);
        return this.#inTurn(name, async () => {
            let result: R;
            try {
                result = await commit();
            } catch (thrown) {
                await this.invalidate(key).catch((error: unknown) => asking.report(asError(error)));
                throw thrown;
            }
            if (command === undefined) {
                await this.invalidate(key);
            } else {
                await changes.store(name, command, [name], (error) => asking.report(error));
            }
            return result;
        });
    }

    /**
     * Stores a value and notes it in a stream, in one transaction; {@link worker} writes it to the database. **Until that
     * has written it, it is in Redis alone**: a Redis that loses its data, or a failover, loses it.
     *
     * @returns the id of the write in the stream.
     * @throws {Unanswered} where Redis has not answered; `maybeDone` says whether it may be stored. It is never sent twice.
     * @throws {Refusal} where Redis has refused it; what the serialiser throws.
     */
    async writeBehind(key: string, value: T, options: StoreOptions<T> = {}): Promise<string> {
        const name = this.#names.entry(key);
        const payload = this.#payloads.write(key, value);
        const command = this.#setCommand(key, name, value, options, payload);
        const { asking } = this.#shared;
        return this.#inTurn(name, async () => {
            this.#l1?.changed([name]);
            try {
                const { id, refused } = await this.#behind.note(name, command, key, payload);
                if (refused !== undefined) {
                    // It will be written, and what was there before is to go.
                    asking.report(refused);
                    await this.invalidate(key);
                }
                return id;
            } finally {
                this.#l1?.changed([name]);
            }
        });
    }

    /**
     * Writes to the database what {@link writeBehind} has noted: of each key in order, until `signal` is aborted. Run one in
     * any number of processes: one of them works, another takes over when it is gone.
     *
     * @param apply writes one value; it is written when this returns. Where it throws, it is called again, and what was
     * written of its key later waits. **It may be called twice for one value**, and by a worker that was held up behind
     * another: `id` grows, so that a row that keeps it is written only with a greater one.
     * @throws {TypeError | RangeError} where an option is out of its bounds.
     */
    async worker(
        apply: (write: { readonly key: string; readonly value: T; readonly id: string }) => Promise<void>,
        options: WriteBehindOptions = {},
    ): Promise<void> {
        await this.#behind.work(async ({ id, key, label, payload }) => {
            await apply({ key, value: this.#payloads.value(this.#payloads.open(key, payload, label)), id });
        }, options);
    }

    /**
     * Invalidates a key, **after the commit**. When it returns, no reader gets a value of before, but from
     * [another process' L1](README.md#a-cache-in-the-process).
     *
     * @returns how many there were.
     * @throws {NotTold} where Redis has not answered: the value may be there. Say it again.
     */
    async invalidate(...keys: readonly string[]): Promise<number> {
        const names = keys.map((key) => this.#names.entry(key));
        return this.#shared.changes.tellOrKeep({ kind: "invalidated", keys: names });
    }

    /**
     * Invalidates all that carries one of the tags, whatever its region. With `soft` it may be served as stale, where it has
     * a grace, until it is loaded anew.
     *
     * @returns how many entries Redis says there were.
     * @throws {NotTold} as {@link invalidate}.
     */
    async invalidateTags(tags: readonly string[], options: { readonly soft?: boolean } = {}): Promise<number> {
        return this.#shared.changes.tellOrKeep({
            kind: "invalidated",
            tags,
            ...(options.soft ? { soft: true } : {}),
        });
    }

    /**
     * Invalidates the whole region, in constant time.
     *
     * @returns how many entries Redis says there were.
     * @throws {NotTold} as {@link invalidate}.
     */
    async clear(): Promise<number> {
        return this.#shared.changes.tellOrKeep({ kind: "invalidated", tags: [this.#names.tag] });
    }

    /**
     * Invalidates the keys that a glob matches, as `SCAN MATCH` has it. Each primary walks over its keys, which takes its time
     * with many of them; prefer a tag.
     *
     * @returns how many entries there were.
     * @throws {Refusal | Unanswered} where a primary has refused it or did not answer within `timeoutMs` (60,000): say it again.
     */
    async invalidatePattern(pattern: string, options: { readonly timeoutMs?: number } = {}): Promise<number> {
        const ms = checkMs("timeoutMs", options.timeoutMs ?? PATTERN_MS);
        const { ns, region } = this.#names;
        const command = patinvalCommand(this.#names.pattern(pattern), region, ns);
        this.#l1?.allChanged();
        try {
            return (await this.#atAll(ms, command)).map(Number).reduce((sum, count) => sum + count, 0);
        } finally {
            // In between an answer of before may have been kept.
            this.#l1?.allChanged();
        }
    }

    /**
     * A function whose results are cached: of two calls with the same key one asks `fn`.
     *
     * @param fn asks the source; `null` or `undefined` where it has none.
     */
    cached<A extends readonly unknown[]>(
        fn: (...args: A) => Promise<T | null | undefined>,
        options: LoadOptions<T> & {
            /** The key of a call, which has to tell all that its result depends on. */
            readonly key: (...args: A) => string;
        },
    ): (...args: A) => Promise<T | null> {
        const { key, ...how } = options;
        return (...args) => this.getOrSet(key(...args), () => fn(...args), how);
    }

    /** What a key is called in Redis. */
    entryName(key: string): string {
        return this.#names.entry(key);
    }

    /** What the stream of {@link writeBehind} is called in Redis. */
    get stream(): string {
        return this.#names.stream;
    }

    /** CACHE.REGION SET: settings at the server, of all who use the region; of a cluster at each primary. */
    async configure(settings: RegionSettings): Promise<void> {
        const { ns, region } = this.#names;
        await this.#atAll(this.#shared.asking.change.ms, regionSetCommand(region, settings, ns));
    }

    /** CACHE.STATS of the region; of a cluster of one node. */
    stats(): Promise<Fields> {
        return this.#shared.commands.stats(this.#names.region, this.#names.ns);
    }

    /** Sends a command to each primary. */
    async #atAll(ms: number, command: Command): Promise<readonly Reply[]> {
        const { router, change } = this.#shared.asking;
        const nodes = await router.primaries(change.ms);
        return Promise.all(nodes.map((node) => node.lanes.changes.send(ms, command)));
    }

    #answer(value: T | null, source: Answer<T>["source"]): Answer<T> {
        this.#shared.asking.telemetry?.read(this.name, source);
        return { value, source };
    }

    /** What this process has kept. */
    #kept(name: string): T | undefined {
        const kept = this.#l1?.get(name, performance.now());
        return kept === undefined ? undefined : this.#payloads.value(kept.value);
    }

    /** What is kept of before, where that is wanted while Redis does not answer. */
    #stale(name: string, thrown: unknown): T {
        const kept = this.#shared.asking.whenDown === "stale" ? this.#l1?.getStale(name, performance.now()) : undefined;
        if (kept === undefined) {
            throw thrown;
        }
        return this.#payloads.value(kept.value);
    }

    #staleMany(keys: readonly string[], values: Map<string, T | null>, thrown: unknown): void {
        for (const key of keys.filter((one) => !values.has(one))) {
            values.set(key, this.#stale(this.#names.entry(key), thrown));
        }
    }

    get #refreshesAhead(): boolean {
        return this.#options.refreshAhead ?? true;
    }

    #servesStale({ staleOnError = this.#options.staleOnError ?? true }: LoadOptions<T>): boolean {
        return staleOnError;
    }

    /** CACHE.GET. */
    async #look(key: string, name: string): Promise<Found<T>> {
        const { asking } = this.#shared;
        const { ns, region } = this.#names;
        const sending = { ...asking.read, wantsBytes: true };
        const command = getCommand(name, region, ns);
        let opened: Opened | undefined;
        const read = (lookup: Lookup): Lookup => {
            opened = this.#open(key, lookup);
            return lookup;
        };
        const lookup =
            this.#l1 === undefined
                ? read(readLookup(await asking.router.send(sending, name, command)))
                : await this.#l1.ask(sending, {
                      question: name,
                      key: name,
                      command,
                      read: (reply) => read(readLookup(reply)),
                      keep: (said) =>
                          said.code === "HIT" && opened !== undefined && !(opened instanceof Unreadable)
                              ? // What the client has read is a part of a larger piece.
                                { value: Buffer.from(opened), leftMs: said.leftMs, names: [name, this.#names.tag] }
                              : undefined,
                  });
        return this.#found(name, lookup, opened);
    }

    /** What was serialised, of a value. */
    #open(key: string, lookup: Lookup): Opened | undefined {
        if (lookup.code !== "HIT" && lookup.code !== "STALE") {
            return undefined;
        }
        try {
            return this.#payloads.open(key, lookup.value, lookup.label);
        } catch (thrown) {
            if (thrown instanceof Unreadable) {
                return thrown;
            }
            throw thrown;
        }
    }

    /** A value that can't be read is none, and has no token: that is asked for. */
    async #found(name: string, lookup: Lookup, opened: Opened | undefined): Promise<Found<T>> {
        if (lookup.code !== "HIT" && lookup.code !== "STALE") {
            return lookup;
        }
        try {
            if (opened instanceof Unreadable) {
                throw opened;
            }
            return { code: lookup.code, value: this.#payloads.value(opened ?? Buffer.alloc(0)), token: lookup.token };
        } catch (thrown) {
            if (!(thrown instanceof Unreadable)) {
                throw thrown;
            }
            const { asking } = this.#shared;
            asking.report(thrown);
            const token = lookup.token ?? (await asking.router.send(asking.read, name, ["APIKEY.TOKEN", name]));
            return { code: "MISS", token: String(token) };
        }
    }

    /** What Redis has of keys, by key; what this process has goes to `values`. `undefined`: Redis does not answer. */
    async #lookMany(
        keys: readonly string[],
        values: Map<string, T | null>,
    ): Promise<Map<string, Found<T>> | undefined> {
        const asked: string[] = [];
        for (const key of new Set(keys)) {
            const kept = this.#kept(this.#names.entry(key));
            if (kept === undefined) {
                asked.push(key);
            } else {
                values.set(key, kept);
            }
        }
        return this.#shared.asking.ask(async () => {
            const found = await Promise.all(this.#bySlot(asked).map((some) => this.#lookTogether(some)));
            return new Map(found.flat());
        });
    }

    /** Of keys of one slot: MGET, which has no namespace, or GETs behind each other. */
    async #lookTogether(keys: readonly string[]): Promise<[key: string, found: Found<T>][]> {
        const { commands } = this.#shared;
        const { ns, region } = this.#names;
        const names = keys.map((key) => this.#names.entry(key));
        if (ns !== "" || names.length === 1) {
            return Promise.all(keys.map(async (key, at) => [key, await this.#look(key, names[at] ?? "")]));
        }
        const lookups = await commands.mget(region, names);
        return Promise.all(
            lookups.map(async (lookup, at): Promise<[string, Found<T>]> => {
                const key = keys[at] ?? "";
                return [key, await this.#found(names[at] ?? "", lookup, this.#open(key, lookup))];
            }),
        );
    }

    /** Keys that one command may name: of one slot, and not too many. */
    #bySlot(keys: readonly string[]): string[][] {
        const slots = new Map<number, string[]>();
        for (const key of keys) {
            const slot = this.#shared.asking.router.isSingle ? 0 : slotOf(this.#names.entry(key));
            const same = slots.get(slot);
            if (same === undefined) {
                slots.set(slot, [key]);
            } else {
                same.push(key);
            }
        }
        return [...slots.values()].flatMap((same) =>
            Array.from({ length: Math.ceil(same.length / MOST_KEYS) }, (_, at) =>
                same.slice(at * MOST_KEYS, (at + 1) * MOST_KEYS),
            ),
        );
    }

    /**
     * Loads a key, or shares a load that begins after `since`, and stores what it brought where there is a token, which was
     * had before.
     */
    async #load(
        key: string,
        name: string,
        since: Moment,
        token: string | null,
        load: LoadValue<T>,
        options: LoadOptions<T>,
    ): Promise<T | null> {
        let isOwn = false;
        const run = (): Promise<Loaded> => {
            isOwn = true;
            return this.#loadAndStore(key, name, token, load, options);
        };
        let loaded: { readonly value: Loaded } | undefined;
        try {
            // With its token a call goes on until it has a load that it may share.
            while (loaded === undefined) {
                loaded = await this.#shared.loads.share(name, since, run);
            }
        } finally {
            // Another call's load has ended the lease, if it had one.
            if (!isOwn && !loaded?.value.hadToken) {
                this.#giveBack(name, token);
            }
        }
        return loaded.value.value as T | null;
    }

    /** Loads in the background what is still good. */
    #refresh(
        key: string,
        name: string,
        since: Moment,
        token: string,
        load: LoadValue<T>,
        options: LoadOptions<T>,
    ): void {
        this.#load(key, name, since, token, load, options).catch((thrown: unknown) =>
            this.#shared.asking.report(asError(thrown)),
        );
    }

    async #loadAndStore(
        key: string,
        name: string,
        token: string | null,
        load: LoadValue<T>,
        options: LoadOptions<T>,
    ): Promise<Loaded> {
        let value: T | null;
        let store: () => Promise<unknown>;
        try {
            value = (await load(key)) ?? null;
            store = this.#storing(key, name, value, token ?? NO_TOKEN, options);
        } catch (thrown) {
            await this.#fail(name, token);
            throw thrown;
        }
        await this.#fill(name, token, store);
        return { value, hadToken: token !== null };
    }

    /** Loads what of several is missing by one call, and stores it; stale values are for those that can't be loaded. */
    async #loadMany(
        tokens: ReadonlyMap<string, string | null>,
        stale: ReadonlyMap<string, T>,
        since: Moment,
        loadMany: LoadValues<T>,
        options: LoadOptions<T>,
        values: Map<string, T | null>,
    ): Promise<void> {
        const keys = [...tokens.keys()];
        const byName = new Map(keys.map((key) => [this.#names.entry(key), key]));
        const own = new Set<string>();
        const run = async (names: readonly string[]): Promise<Loaded[]> => {
            const wanted = names.map((name) => byName.get(name) ?? "");
            const mine = wanted.map((key) => tokens.get(key) ?? null);
            for (const name of names) {
                own.add(name);
            }
            try {
                const brought = await loadMany(wanted);
                const loaded = wanted.map((key): [string, T | null] => [key, brought.get(key) ?? null]);
                await this.#storeMany(loaded, mine, options);
                return loaded.map(([, value], at) => ({ value, hadToken: (mine[at] ?? null) !== null }));
            } catch (thrown) {
                await Promise.all(names.map((name, at) => this.#fail(name, mine[at] ?? null)));
                throw thrown;
            }
        };
        const shared = this.#shared.loads.shareAll([...byName.keys()], since, run);
        const ended = await Promise.allSettled(shared);
        let failed: unknown;
        for (const [at, one] of ended.entries()) {
            const key = keys[at] ?? "";
            if (one.status === "rejected") {
                const before = stale.get(key);
                if (before !== undefined && this.#servesStale(options)) {
                    this.#shared.asking.report(asError(one.reason));
                    values.set(key, before);
                } else {
                    failed ??= one.reason;
                }
            } else if (one.value !== undefined) {
                values.set(key, one.value.value.value as T | null);
            }
            const name = this.#names.entry(key);
            const hadToken = one.status === "fulfilled" && one.value?.value.hadToken === true;
            if (!own.has(name) && !hadToken) {
                this.#giveBack(name, tokens.get(key) ?? null);
            }
        }
        if (failed !== undefined) {
            throw failed;
        }
    }

    /** Stores what was loaded together: what is alike by MSET, of each slot by itself. */
    async #storeMany(
        loaded: readonly (readonly [key: string, value: T | null])[],
        tokens: readonly (string | null)[],
        options: LoadOptions<T>,
    ): Promise<void> {
        interface Batch {
            readonly token: string;
            readonly storing: Storing;
            readonly values: [name: string, bytes: Uint8Array][];
        }
        const batches = new Map<string, Batch>();
        const fills: Promise<void>[] = [];
        const { commands, asking } = this.#shared;
        const { region, ns } = this.#names;
        for (const [at, [key, value]] of loaded.entries()) {
            const token = tokens[at] ?? NO_TOKEN;
            const name = this.#names.entry(key);
            if (token === NO_TOKEN) {
                continue;
            }
            if (value === null) {
                fills.push(this.#fill(name, token, this.#storing(key, name, value, token, options)));
                continue;
            }
            const { bytes, label, tags } = this.#payloads.write(key, value);
            const storing = this.#storingOf(value, { label, tags }, options);
            const slot = asking.router.isSingle ? 0 : slotOf(name);
            const like = JSON.stringify([slot, storing.label, storing.tags]);
            const batch = batches.get(like);
            // Tokens of one look-up are taken at once, or the first is the oldest.
            if (batch === undefined) {
                batches.set(like, { token, storing, values: [[name, bytes]] });
            } else {
                batch.values.push([name, bytes]);
            }
        }
        for (const { token, storing, values } of batches.values()) {
            const [[name, bytes] = ["", Buffer.alloc(0)]] = values;
            fills.push(
                this.#fill(name, token, () =>
                    values.length === 1
                        ? commands.set(name, region, bytes, { ...storing, ...named(ns), token })
                        : commands.mset(region, values, token, { ...storing, ...named(ns) }),
                ),
            );
        }
        await Promise.all(fills);
    }

    /** How a value is stored under a token. What it can't be made bytes of is said now. */
    #storing(
        key: string,
        name: string,
        value: T | null,
        token: string,
        options: LoadOptions<T>,
    ): () => Promise<unknown> {
        const { commands } = this.#shared;
        const { region, ns } = this.#names;
        if (value === null) {
            const { tags } = this.#storingOf(null, { tags: [] }, options);
            const ttlMs = this.#options.absentTtlMs;
            const absent = { ...named(ns), ...(tags && { tags }), ...(ttlMs === undefined ? {} : { ttlMs }) };
            return () => commands.setabsent(name, region, token, absent);
        }
        const { bytes, label, tags } = this.#payloads.write(key, value);
        const storing = this.#storingOf(value, { label, tags }, options);
        return () => commands.set(name, region, bytes, { ...storing, ...named(ns), token });
    }

    #setCommand(
        key: string,
        name: string,
        value: T,
        options: StoreOptions<T>,
        payload: Payload = this.#payloads.write(key, value),
    ): ReturnType<typeof setCommand> {
        const { bytes, ...how } = payload;
        const { region, ns } = this.#names;
        return setCommand(name, region, bytes, { ...this.#storingOf(value, how, options), ...named(ns) });
    }

    #storingOf(
        value: T | null,
        { label, tags: more }: { readonly label?: string; readonly tags: readonly string[] },
        options: StoreOptions<T>,
    ): Storing {
        const { ttlMs = this.#options.ttlMs, graceMs = this.#options.graceMs, tags = [] } = options;
        const said = typeof tags === "function" ? tags(value) : tags;
        if (!Array.isArray(said)) {
            throw new TypeError("tags must be an array");
        }
        checkTimes({ ttlMs, graceMs });
        const all = [...(said as readonly string[]), ...more];
        return {
            ...(label === undefined ? {} : { label }),
            ...(ttlMs === undefined ? {} : { ttlMs }),
            ...(graceMs === undefined ? {} : { graceMs }),
            ...(all.length === 0 ? {} : { tags: all }),
        };
    }

    /** Stores under a token. Whether it is stored is not the caller's matter, who has what was loaded. */
    async #fill(name: string, token: string | null, store: () => Promise<unknown>): Promise<void> {
        if (token === null || token === NO_TOKEN) {
            return;
        }
        try {
            await store();
        } catch (thrown) {
            this.#shared.asking.report(asError(thrown));
            // Who waits is not to wait for what can't be stored.
            if (thrown instanceof Refusal) {
                this.#giveBack(name, token);
            }
        }
    }

    /** The load has failed: others may try, after a while. */
    async #fail(name: string, token: string | null): Promise<void> {
        await this.#release(name, token, this.#backoffMs);
    }

    /** Nothing is loaded for a token: others may try at once. Nobody waits for it. */
    #giveBack(name: string, token: string | null): void {
        this.#release(name, token, undefined).catch(() => {});
    }

    async #release(name: string, token: string | null, backoffMs: number | undefined): Promise<void> {
        if (token === null || token === NO_TOKEN) {
            return;
        }
        const { region, ns } = this.#names;
        try {
            const backoff = backoffMs === undefined ? {} : { backoffMs };
            await this.#shared.commands.fail(name, region, token, { ...named(ns), ...backoff });
        } catch (thrown) {
            // The lease ends by its time.
            if (!(thrown instanceof Refusal) && !(thrown instanceof Unanswered)) {
                throw thrown;
            }
        }
    }

    /** Runs what writes a key behind all that do already. */
    async #inTurn<R>(name: string, run: () => Promise<R>): Promise<R> {
        const before = this.#turns.get(name);
        const mine = (before ?? Promise.resolve()).then(run);
        const over = mine.then(
            () => {},
            () => {},
        );
        this.#turns.set(name, over);
        try {
            return await mine;
        } finally {
            if (this.#turns.get(name) === over) {
                this.#turns.delete(name);
            }
        }
    }
}

/** What was serialised, or why it can't be read. */
type Opened = Buffer | Unreadable;

/** @throws {TypeError | RangeError} where one is out of its bounds. */
function checkTimes(times: {
    readonly ttlMs?: number | undefined;
    readonly graceMs?: number | undefined;
    readonly absentTtlMs?: number | undefined;
}): void {
    for (const name of ["ttlMs", "graceMs", "absentTtlMs"] as const) {
        const value = times[name];
        if (value !== undefined) {
            checkMs(name, value, name === "graceMs" ? 0 : 1);
        }
    }
}

function named(ns: string): { ns?: string } {
    return ns === "" ? {} : { ns };
}
