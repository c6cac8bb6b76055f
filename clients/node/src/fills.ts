/** Storing what was loaded, under the token that was had before; or giving the token back. */

import { asError } from "./asking.js";
import { type Storing, setCommand } from "./cache-commands.js";
import { Refusal, Unanswered } from "./errors.js";
import type { Payload, Payloads } from "./payload.js";
import type { RegionNames } from "./region-names.js";
import {
    checkTimes,
    type LoadOptions,
    type Parts,
    type RegionOptions,
    type Shared,
    type StoreOptions,
} from "./region-options.js";
import type { Command } from "./session.js";
import { slotOf } from "./slots.js";

/** Of a node that stores no fills. */
const NO_TOKEN = "0";

export class Fills<T> {
    readonly #shared: Shared;
    readonly #options: RegionOptions<T>;
    readonly #names: RegionNames;
    readonly #payloads: Payloads<T>;
    readonly #backoffMs: number;

    constructor({ shared, options, names, payloads }: Parts<T>, backoffMs: number) {
        this.#shared = shared;
        this.#options = options;
        this.#names = names;
        this.#payloads = payloads;
        this.#backoffMs = backoffMs;
    }

    /** Stores what was loaded together: what is alike by MSET, of each slot by itself. */
    async storeMany(
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
                fills.push(this.fill(name, token, this.storing(key, name, value, token, options)));
                continue;
            }
            const { bytes, label, tags } = this.#payloads.write(key, value);
            const storing = this.#storingOf(value, { label, tags }, options);
            const slot = asking.router.isSingle ? 0 : slotOf(name);
            const like = JSON.stringify([slot, storing.label, storing.tags]);
            const batch = batches.get(like);
            // All of them were given before the load began, so that any will do.
            if (batch === undefined) {
                batches.set(like, { token, storing, values: [[name, bytes]] });
            } else {
                batch.values.push([name, bytes]);
            }
        }
        for (const { token, storing, values } of batches.values()) {
            const [[name, bytes] = ["", Buffer.alloc(0)]] = values;
            fills.push(
                this.fill(name, token, () =>
                    values.length === 1
                        ? commands.set(name, region, bytes, { ...storing, ...named(ns), token })
                        : commands.mset(region, values, token, { ...storing, ...named(ns) }),
                ),
            );
        }
        await Promise.all(fills);
    }

    /** How a value is stored under a token. What it can't be made bytes of is said now. */
    storing(
        key: string,
        name: string,
        value: T | null,
        token: string | null,
        options: LoadOptions<T>,
    ): () => Promise<unknown> {
        const { commands } = this.#shared;
        const under = token ?? NO_TOKEN;
        const { region, ns } = this.#names;
        if (value === null) {
            const { tags } = this.#storingOf(null, { tags: [] }, options);
            const ttlMs = this.#options.absentTtlMs;
            const absent = { ...named(ns), ...(tags && { tags }), ...(ttlMs === undefined ? {} : { ttlMs }) };
            return () => commands.setabsent(name, region, under, absent);
        }
        const { bytes, label, tags } = this.#payloads.write(key, value);
        const storing = this.#storingOf(value, { label, tags }, options);
        return () => commands.set(name, region, bytes, { ...storing, ...named(ns), token: under });
    }

    /** SET as the word of who writes the value. */
    setCommand(
        key: string,
        name: string,
        value: T,
        options: StoreOptions<T>,
        payload: Payload = this.#payloads.write(key, value),
    ): Command {
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
    async fill(name: string, token: string | null, store: () => Promise<unknown>): Promise<void> {
        if (token === null || token === NO_TOKEN) {
            return;
        }
        try {
            await store();
        } catch (thrown) {
            this.#shared.asking.report(asError(thrown));
            // Who waits is not to wait for what can't be stored.
            if (thrown instanceof Refusal) {
                this.giveBack(name, token);
            }
        }
    }

    /** The load has failed: others may try, after a while. */
    async fail(name: string, token: string | null): Promise<void> {
        await this.#release(name, token, this.#backoffMs);
    }

    /** Nothing is loaded for a token: others may try at once. Nobody waits for it. */
    giveBack(name: string, token: string | null): void {
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
}

function named(ns: string): { ns?: string } {
    return ns === "" ? {} : { ns };
}
