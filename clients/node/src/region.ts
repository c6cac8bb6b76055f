/**
 * {@link Region}: values of one kind, which are loaded from their source when they are missing, and written and
 * invalidated by who changes them.
 */

import { asError } from "./asking.js";
import { checkMs } from "./bounds.js";
import { type Fields, patinvalCommand, type RegionSettings, regionSetCommand } from "./cache-commands.js";
import { Refusal } from "./errors.js";
import { Fills } from "./fills.js";
import type { L1 } from "./l1.js";
import { Lookups } from "./lookups.js";
import { Payloads } from "./payload.js";
import { Reader } from "./reader.js";
import { RegionNames } from "./region-names.js";
import {
    type Answer,
    checkTimes,
    type LoadOptions,
    type LoadValue,
    type LoadValues,
    type RegionOptions,
    type Shared,
    type StoreOptions,
} from "./region-options.js";
import type { Command, Reply } from "./session.js";
import { type Note, WriteBehind, type WriteBehindOptions } from "./write-behind.js";

/** Milliseconds that PATINVAL may take: it walks over all keys. */
const PATTERN_MS = 60_000;

/** Values of one kind; {@link Cache.region} makes it. Make one for each region, and keep it. */
export class Region<T> {
    /** The name of the region. */
    readonly name: string;
    readonly #shared: Shared;
    readonly #names: RegionNames;
    readonly #payloads: Payloads<T>;
    readonly #l1: L1<Buffer> | undefined;
    readonly #fills: Fills<T>;
    readonly #reader: Reader<T>;
    readonly #behind: WriteBehind;
    /** Who writes a key, one behind the other. */
    readonly #turns = new Map<string, Promise<void>>();

    /** @internal */
    constructor(shared: Shared, name: string, options: RegionOptions<T>) {
        const { ns = "", oneSlot = false, l1 = true } = options;
        checkTimes(options);
        this.name = name;
        this.#shared = shared;
        this.#names = new RegionNames(ns, name, oneSlot);
        this.#payloads = new Payloads(ns, name, options, shared.zstd);
        this.#l1 = l1 ? shared.l1Of(ns) : undefined;
        this.#behind = new WriteBehind(shared.asking, this.#names.stream);
        const patienceMs = checkMs("patienceMs", options.patienceMs ?? 5000, 0);
        const backoffMs = checkMs("backoffMs", options.backoffMs ?? 500, 0);
        const parts = { shared, options, names: this.#names, payloads: this.#payloads, l1: this.#l1 };
        this.#fills = new Fills(parts, backoffMs);
        this.#reader = new Reader(parts, new Lookups(parts), this.#fills, patienceMs);
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
        return this.#reader.ask(key, load, options);
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
        return this.#reader.getMany(keys);
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
        return this.#reader.getOrSetMany(keys, loadMany, options);
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
        const command =
            value === null || value === undefined ? undefined : this.#fills.setCommand(key, name, value, options);
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
     * @throws {NotTold} where it is noted and not in the cache, which may have what was there before.
     */
    async writeBehind(key: string, value: T, options: StoreOptions<T> = {}): Promise<string> {
        const name = this.#names.entry(key);
        const payload = this.#payloads.write(key, value);
        const command = this.#fills.setCommand(key, name, value, options, payload);
        const { asking } = this.#shared;
        return this.#inTurn(name, async () => {
            this.#l1?.changed([name]);
            try {
                const [stored, noted] = await this.#behind.note(name, command, key, payload);
                if (noted instanceof Refusal) {
                    // What will not be written is not to be read either.
                    await this.invalidate(key).catch((error: unknown) => asking.report(asError(error)));
                    throw noted;
                }
                if (stored instanceof Refusal) {
                    // It will be written, and what was there before is to go.
                    asking.report(stored);
                    await this.invalidate(key);
                }
                return String(noted);
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
     * another: `id` grows, so that a row that keeps it is written only with a greater one. It is `<ms>-<number>`, two integers
     * that are compared as such.
     * @throws {TypeError | RangeError} where an option is out of its bounds.
     */
    async worker(
        apply: (write: { readonly key: string; readonly value: T; readonly id: string }) => Promise<void>,
        options: WriteBehindOptions = {},
    ): Promise<void> {
        await this.#behind.work(
            async ({ id, key, label, payload }) => {
                await apply({ key, value: this.#payloads.value(this.#payloads.open(key, payload, label)), id });
            },
            (note) => this.#seeThatIsCached(note),
            options,
        );
    }

    /**
     * An entry that has gone before its write was applied may have been loaded anew, as the database was then: what is not
     * what was applied is to be loaded once more.
     */
    async #seeThatIsCached({ key, payload }: Note): Promise<void> {
        const { asking, commands } = this.#shared;
        const { ns, region } = this.#names;
        const name = this.#names.entry(key);
        const said = await commands.get(name, region, ns);
        if ("token" in said) {
            this.#fills.giveBack(name, said.token);
        }
        const isThere = (said.code === "HIT" || said.code === "STALE") && said.value.equals(payload);
        if (!isThere) {
            await this.invalidate(key).catch((error: unknown) => asking.report(asError(error)));
        }
    }

    /**
     * Invalidates keys, **after the commit**. When it returns, no reader gets a value of before, but from the L1 of another
     * process, until its message comes.
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
