/** {@link Cache}: values of any kind, in regions. */

import { Asking, type RedisOptions } from "./asking.js";
import { CacheCommands, type Fields } from "./cache-commands.js";
import { Changes } from "./changes.js";
import type { RedisClient } from "./driver.js";
import type { Change } from "./errors.js";
import type { Json } from "./json.js";
import { L1 } from "./l1.js";
import { Loads } from "./loads.js";
import { Names } from "./names.js";
import { Region } from "./region.js";
import { RegionNames } from "./region-names.js";
import type { Loaded, RegionOptions, Shared } from "./region-options.js";
import { fields, list } from "./replies.js";
import { builtIn, type Zstd } from "./zstd.js";

/** How {@link Cache} works. Times are milliseconds. */
export interface CacheOptions extends RedisOptions {
    /** Separates tenants: stands in front of the names of all entries and tags of the library's own. A region may say another. */
    readonly ns?: string;
    /**
     * What compresses values where Node has no zstd of its own (before 22.15): `await Zstd.load()` of `@hpcc-js/wasm-zstd`.
     */
    readonly zstd?: Zstd;
}

/**
 * A cache of values of any kind, in regions of the redis-apikey module. Make one for a process, and keep it.
 *
 * It opens connections of its own, as the client that it is given would.
 */
export class Cache {
    /** The module's commands for regions as typed methods. */
    readonly commands: CacheCommands;

    readonly #ns: string;
    readonly #asking: Asking;
    readonly #changes: Changes;
    readonly #shared: Shared;
    /** By namespace. */
    readonly #l1s = new Map<string, L1<Buffer>>();

    /**
     * @param client a client of ioredis or node-redis, of a server or a cluster, as a pattern: it is used for nothing else.
     * @throws {TypeError | RangeError} where an option is out of its bounds.
     */
    constructor(client: RedisClient, options: CacheOptions = {}) {
        const { ns = "", l1, outbox, zstd = builtIn() } = options;
        this.#ns = ns;
        this.#asking = new Asking(client, options, () => {
            for (const one of this.#l1s.values()) {
                one.doubt();
            }
        });
        const { driver, router, read, change, whenDown } = this.#asking;
        this.commands = new CacheCommands((key, command, { mayWait, ...how }) =>
            router.send({ ...(mayWait ? change : read), ...how }, key, command),
        );
        const heeding = {
            changed: (names: readonly string[]): void => {
                for (const one of this.#l1s.values()) {
                    one.changed(names);
                }
            },
        };
        // Of what is told here nothing has the names of API keys.
        this.#changes = new Changes(router, change, new Names(ns), heeding, outbox);
        const l1Of = (of: string): L1<Buffer> | undefined => {
            let one = this.#l1s.get(of);
            if (one === undefined && l1 !== undefined) {
                const whose = {
                    prefix: RegionNames.front(of),
                    keepsStale: whenDown === "stale",
                    knowsTags: false,
                };
                one = new L1<Buffer>(l1, driver, router, whose);
                this.#l1s.set(of, one);
            }
            return one;
        };
        // What is wrong with its options is said now.
        l1Of(ns);
        this.#shared = {
            asking: this.#asking,
            commands: this.commands,
            changes: this.#changes,
            loads: new Loads<Loaded>(this.#asking.loadLimit),
            l1Of,
            zstd,
        };
    }

    /**
     * A region: values of one kind, with a bound, a lifetime and an eviction of their own. What of these is said to the
     * server ({@link Region.configure}) holds for all who use it; the options here for this object.
     *
     * @typeParam T what is cached. JSON gives it back as it was written, but for a `Date`, which is a text then.
     * @param name 1 to 64 bytes.
     * @throws {TypeError | RangeError} where the name or an option is out of its bounds.
     */
    region<T = Json>(name: string, options: RegionOptions<T> = {}): Region<T> {
        return new Region<T>(this.#shared, name, { ns: this.#ns, ...options });
    }

    /**
     * Invalidates all that carries one of the tags, in all regions, and API keys as well, **after the commit**. When it returns, no
     * reader gets a value of before. With `soft` it may be served as stale, where it has a grace, until it is loaded anew.
     *
     * @returns how many entries Redis says there were.
     * @throws {NotTold} where not all who have to hear of it have answered: say it again.
     */
    invalidateTags(tags: readonly string[], options: { readonly soft?: boolean } = {}): Promise<number> {
        return this.#changes.tellOrKeep({ kind: "invalidated", tags, ...(options.soft ? { soft: true } : {}) });
    }

    /**
     * Tells a change again that was kept by the outbox. The outbox is not called.
     *
     * @throws {NotTold} as {@link invalidateTags} does.
     * @throws {TypeError} where it is none.
     */
    tell(change: Change): Promise<void> {
        return this.#changes.tell(change);
    }

    /**
     * CACHE.STATS of all regions, in a cluster of each primary by itself.
     *
     * @throws {Refusal | Unanswered} where one does not answer.
     */
    async stats(): Promise<Fields[]> {
        const { router, change } = this.#asking;
        const nodes = await router.primaries(change.ms);
        const replies = await Promise.all(nodes.map((node) => node.lanes.changes.send(change.ms, ["CACHE.STATS"])));
        return replies.flatMap((reply) => list(reply).map(fields));
    }

    /**
     * Ends all connections, for good. What is under way fails, and from then on neither Redis nor the source is asked.
     */
    close(): void {
        for (const one of this.#l1s.values()) {
            one.end();
        }
        this.#asking.router.end();
    }
}
