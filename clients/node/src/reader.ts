/**
 * Reading a region: what is missing is loaded and stored.
 *
 * **What always holds.** What is loaded is stored with a token that Redis gave before, so that an invalidation in between is
 * not undone. Of the readers of this process that want the same key at once one loads it, of all processes too, where the
 * region has leases. A call shares a load only if that began after the call.
 */

import { asError } from "./asking.js";
import type { Fills } from "./fills.js";
import type { Moment } from "./loads.js";
import type { Found, Lookups } from "./lookups.js";
import type { RegionNames } from "./region-names.js";
import type {
    Answer,
    Loaded,
    LoadOptions,
    LoadValue,
    LoadValues,
    Parts,
    RegionOptions,
    Shared,
} from "./region-options.js";
import { pause } from "./router.js";

export class Reader<T> {
    readonly #shared: Shared;
    readonly #options: RegionOptions<T>;
    readonly #names: RegionNames;
    readonly #lookups: Lookups<T>;
    readonly #fills: Fills<T>;
    readonly #patienceMs: number;

    constructor({ shared, options, names }: Parts<T>, lookups: Lookups<T>, fills: Fills<T>, patienceMs: number) {
        this.#shared = shared;
        this.#options = options;
        this.#names = names;
        this.#lookups = lookups;
        this.#fills = fills;
        this.#patienceMs = patienceMs;
    }

    /** What {@link Region.getOrSet} does, and who said so. */
    async ask(key: string, load: LoadValue<T>, options: LoadOptions<T>): Promise<Answer<T>> {
        const name = this.#names.entry(key);
        const kept = this.#lookups.kept(name);
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
                found = await asking.ask(() => this.#lookups.look(key, name));
            } catch (thrown) {
                return this.#answer(this.#lookups.stale(name, thrown), "stale");
            }
            switch (found?.code) {
                case "HIT":
                    if (found.token !== null && !this.#refreshesAhead) {
                        this.#fills.giveBack(name, found.token);
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

    /** {@link Region.getMany}. */
    async getMany(keys: readonly string[]): Promise<Map<string, T | null>> {
        const values = new Map<string, T | null>();
        let found: Map<string, Found<T>> | undefined;
        try {
            found = await this.#lookups.lookMany(keys, values);
        } catch (thrown) {
            this.#lookups.staleMany(keys, values, thrown);
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
                this.#fills.giveBack(this.#names.entry(key), token);
            }
        }
        return values;
    }

    /** {@link Region.getOrSetMany}. */
    async getOrSetMany(
        keys: readonly string[],
        loadMany: LoadValues<T>,
        options: LoadOptions<T>,
    ): Promise<Map<string, T | null>> {
        const { asking, loads } = this.#shared;
        const values = new Map<string, T | null>();
        const until = performance.now() + this.#patienceMs;
        const eager = new Map<string, string>();
        for (let rest = [...new Set(keys)]; rest.length > 0; ) {
            const since = loads.moment();
            let found: Map<string, Found<T>> | undefined;
            try {
                found = await this.#lookups.lookMany(rest, values);
            } catch (thrown) {
                this.#lookups.staleMany(rest, values, thrown);
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
                        this.#fills.giveBack(this.#names.entry(key), said.token);
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
                this.#fills.giveBack(name, token);
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
            store = this.#fills.storing(key, name, value, token, options);
        } catch (thrown) {
            await this.#fills.fail(name, token);
            throw thrown;
        }
        await this.#fills.fill(name, token, store);
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
                await this.#fills.storeMany(loaded, mine, options);
                return loaded.map(([, value], at) => ({ value, hadToken: (mine[at] ?? null) !== null }));
            } catch (thrown) {
                await Promise.all(names.map((name, at) => this.#fills.fail(name, mine[at] ?? null)));
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
                this.#fills.giveBack(name, tokens.get(key) ?? null);
            }
        }
        if (failed !== undefined) {
            throw failed;
        }
    }

    #answer(value: T | null, source: Answer<T>["source"]): Answer<T> {
        this.#shared.asking.telemetry?.read(this.#names.region, source);
        return { value, source };
    }

    get #refreshesAhead(): boolean {
        return this.#options.refreshAhead ?? true;
    }

    #servesStale({ staleOnError = this.#options.staleOnError ?? true }: LoadOptions<T>): boolean {
        return staleOnError;
    }
}
