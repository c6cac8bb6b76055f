/** The module's commands for regions as typed methods, for who wants the protocol. `docs/commands.md` has what each does. */

import type { Send } from "./commands.js";
import { fields, type Integer, integer, list } from "./replies.js";
import type { Command, Reply } from "./session.js";

/** What GET replies of a key; MGET of each. */
export type Lookup =
    /** A value that is fresh, for `leftMs` more (-1: it is never stale by itself). With a token this reader is to refresh it. */
    | {
          readonly code: "HIT";
          readonly value: Buffer;
          readonly label: string | null;
          readonly ageMs: number;
          readonly leftMs: number;
          readonly token: string | null;
      }
    /** One whose time is over. With a token this reader is to refresh it. */
    | {
          readonly code: "STALE";
          readonly value: Buffer;
          readonly label: string | null;
          readonly ageMs: number;
          readonly token: string | null;
      }
    /** The source has no such thing. */
    | { readonly code: "ABSENT" }
    /** Nothing is there: this reader is to load it, and to store it with the token. */
    | { readonly code: "MISS"; readonly token: string }
    /** Another reader loads it: to be asked again after `retryMs`. */
    | { readonly code: "WAIT"; readonly retryMs: number };

/** How a value is stored. Times are milliseconds. */
export interface Storing {
    /** How long it is fresh. As the region has it where it is not said. */
    readonly ttlMs?: number;
    /** How long it may be served behind that. As the region has it where it is not said. */
    readonly graceMs?: number;
    readonly tags?: readonly string[];
    readonly ns?: string;
    /** How it is to be read; up to 64 bytes. */
    readonly label?: string;
    readonly only?: "NX" | "XX";
}

/** Settings of a region; what is not named stays as it is. */
export interface RegionSettings {
    /** Milliseconds for which a value is fresh, 1 hour where nobody has said. */
    readonly ttlMs?: number;
    /** Percent by which that is shorter at random, so that not all end at once. */
    readonly jitterPercent?: number;
    /** Milliseconds for which it may be served behind that. */
    readonly graceMs?: number;
    /** In the last so many percent of its time one reader is to refresh it. */
    readonly eagerPercent?: number;
    /** Milliseconds for which one reader may load while others wait; 0: nobody waits. */
    readonly leaseMs?: number;
    /** Milliseconds for which it is cached that there is no such thing. */
    readonly absentTtlMs?: number;
    /** Bytes of all entries, at most; 0: no bound. */
    readonly maxBytes?: number;
    /** Entries, at most; 0: no bound. */
    readonly maxEntries?: number;
    /** What goes first where there is no room. */
    readonly evict?: "LRU" | "LFU" | "TTL";
}

/** Fields as the server names them; integers as numbers, beyond 2^53 as `bigint`. */
export type Fields = Readonly<Record<string, string | Integer | null>>;

const READ = { isRepeatable: true, mayWait: false };
const READ_BYTES = { isRepeatable: true, mayWait: false, wantsBytes: true };
const CHANGE = { isRepeatable: true, mayWait: true };
const ONCE = { isRepeatable: false, mayWait: true };

/** Each method throws {@link Refusal} for an error reply and {@link Unanswered} where there is none in time. */
export class CacheCommands {
    readonly #send: Send;

    constructor(send: Send) {
        this.#send = send;
    }

    /** CACHE.GET. */
    async get(key: string, region: string, ns = ""): Promise<Lookup> {
        return readLookup(await this.#send(key, getCommand(key, region, ns), READ_BYTES));
    }

    /** CACHE.MGET, of a region without a namespace: at most 1,000 keys, in a cluster all in one slot. */
    async mget(region: string, keys: readonly string[]): Promise<Lookup[]> {
        return list(await this.#send(keys[0], ["CACHE.MGET", region, ...keys], READ_BYTES)).map(readLookup);
    }

    /** CACHE.SET. With a token it is a reader's fill; without one the word of a writer. False: nothing was stored. */
    async set(
        key: string,
        region: string,
        value: Uint8Array,
        options: Storing & { readonly token?: string } = {},
    ): Promise<boolean> {
        return (await this.#send(key, setCommand(key, region, value, options), READ)) === "OK";
    }

    /** CACHE.MSET: how many were stored. In a cluster all keys have to be in one slot. */
    async mset(
        region: string,
        values: readonly (readonly [key: string, value: Uint8Array])[],
        token: string,
        options: Omit<Storing, "only"> & { readonly onlyNew?: boolean } = {},
    ): Promise<number> {
        const { onlyNew, ...storing } = options;
        const command: Command = [
            "CACHE.MSET",
            region,
            String(values.length),
            ...values.flat(),
            "TOKEN",
            token,
            ...stored(storing),
            ...(onlyNew ? ["NX"] : []),
        ];
        return Number(await this.#send(values[0]?.[0], command, READ));
    }

    /** CACHE.SETABSENT: the source has no such thing. False: nothing was stored. */
    async setabsent(
        key: string,
        region: string,
        token: string,
        options: Pick<Storing, "ttlMs" | "tags" | "ns"> = {},
    ): Promise<boolean> {
        const command = ["CACHE.SETABSENT", key, region, "TOKEN", token, ...stored(options)];
        return (await this.#send(key, command, READ)) === "OK";
    }

    /** CACHE.FAIL: gives the token back; others may try after `backoffMs`. False: it was this token's no more. */
    async fail(
        key: string,
        region: string,
        token: string,
        options: { readonly backoffMs?: number; readonly ns?: string } = {},
    ): Promise<boolean> {
        const backoff = options.backoffMs === undefined ? [] : ["BACKOFF", String(options.backoffMs)];
        const command = ["CACHE.FAIL", key, region, "TOKEN", token, ...backoff, ...named(options.ns)];
        return (await this.#send(key, command, READ)) === "OK";
    }

    /** CACHE.TAGINVAL: how many entries it killed, or with `soft` made stale, in a cluster on all primaries. */
    async taginval(tags: readonly string[], options: { readonly soft?: boolean } = {}): Promise<Integer> {
        const soft = options.soft ? ["SOFT"] : [];
        return integer(await this.#send(undefined, ["CACHE.TAGINVAL", ...soft, ...tags], CHANGE));
    }

    /** CACHE.CLEAR: how many entries it killed, in a cluster on all primaries. */
    async clear(region: string, ns = ""): Promise<Integer> {
        return integer(await this.#send(undefined, ["CACHE.CLEAR", region, ...named(ns)], CHANGE));
    }

    /** CACHE.REGION SET. */
    async regionSet(region: string, settings: RegionSettings, ns = ""): Promise<void> {
        await this.#send(undefined, regionSetCommand(region, settings, ns), CHANGE);
    }

    /** CACHE.REGION GET. */
    async regionGet(region: string, ns = ""): Promise<Fields> {
        return fields(await this.#send(undefined, ["CACHE.REGION", "GET", region, ...named(ns)], CHANGE));
    }

    /** CACHE.REGION LIST: the names of regions that have settings, as the setting names them: `q ns=a:` in a namespace. */
    async regionList(): Promise<string[]> {
        return list(await this.#send(undefined, ["CACHE.REGION", "LIST"], CHANGE)).map(String);
    }

    /** CACHE.REGION DEL: whether it had settings. Its entries stay. */
    async regionDel(region: string, ns = ""): Promise<boolean> {
        return integer(await this.#send(undefined, ["CACHE.REGION", "DEL", region, ...named(ns)], CHANGE)) !== 0;
    }

    /** CACHE.STATS of one region, in a cluster as one node has it. */
    async stats(region: string, ns = ""): Promise<Fields> {
        return fields(await this.#send(undefined, ["CACHE.STATS", region, ...named(ns)], CHANGE));
    }

    /** CACHE.TOP: the names that are read most or have the most bytes, each with an estimate; in a cluster of one node. */
    async top(
        region: string,
        options: { readonly count?: number; readonly by?: "HITS" | "BYTES"; readonly ns?: string } = {},
    ): Promise<[name: string, estimate: Integer][]> {
        const count = options.count === undefined ? [] : ["COUNT", String(options.count)];
        const by = options.by === undefined ? [] : ["BY", options.by];
        const command = ["CACHE.TOP", region, ...count, ...by, ...named(options.ns)];
        return list(await this.#send(undefined, command, CHANGE)).map((one) => {
            const [name, estimate] = list(one);
            return [String(name), integer(estimate)];
        });
    }

    /** Any other command, as it is; sent once. `key`, where it has one, says to which node of a cluster. */
    async call(key: string | undefined, ...command: Command): Promise<Reply> {
        return this.#send(key, command, ONCE);
    }
}

/** The arguments of GET. */
export function getCommand(key: string, region: string, ns: string): string[] {
    return ["CACHE.GET", key, region, ...named(ns)];
}

/** The arguments of SET. */
export function setCommand(
    key: string,
    region: string,
    value: Uint8Array,
    options: Storing & { readonly token?: string },
): Command {
    const token = options.token === undefined ? [] : ["TOKEN", options.token];
    const only = options.only === undefined ? [] : [options.only];
    return ["CACHE.SET", key, region, value, ...token, ...stored(options), ...only];
}

/** The arguments of PATINVAL. */
export function patinvalCommand(pattern: string, region: string, ns: string): string[] {
    return ["CACHE.PATINVAL", pattern, "REGION", region, ...named(ns)];
}

/** The arguments of REGION SET. */
export function regionSetCommand(region: string, settings: RegionSettings, ns: string): string[] {
    return ["CACHE.REGION", "SET", region, ...named(ns), ...set(settings)];
}

/** Reads what GET replied: bytes. */
export function readLookup(reply: Reply | undefined): Lookup {
    const [code, second, label, age, fourth, fifth] = list(reply);
    const said = String(code);
    const text = (one: Reply | undefined): string | null => ((one ?? null) === null ? null : String(one));
    switch (said) {
        case "HIT":
            return {
                code: said,
                value: buffer(second),
                label: text(label),
                ageMs: Number(age),
                leftMs: Number(fourth),
                token: text(fifth),
            };
        case "STALE":
            return { code: said, value: buffer(second), label: text(label), ageMs: Number(age), token: text(fourth) };
        case "ABSENT":
            return { code: said };
        case "MISS":
            return { code: said, token: String(second) };
        case "WAIT":
            return { code: said, retryMs: Number(label) };
        default:
            throw new TypeError(`CACHE.GET replied ${said}, which this version does not know`);
    }
}

function stored({ ttlMs, graceMs, tags = [], ns, label }: Omit<Storing, "only">): string[] {
    return [
        ...(ttlMs === undefined ? [] : ["PX", String(ttlMs)]),
        ...(graceMs === undefined ? [] : ["GRACE", String(graceMs)]),
        ...(tags.length === 0 ? [] : ["TAGS", String(tags.length), ...tags]),
        ...named(ns),
        ...(label === undefined ? [] : ["LABEL", label]),
    ];
}

function named(ns: string | undefined): string[] {
    return ns === undefined || ns === "" ? [] : ["NS", ns];
}

const SETTINGS: Readonly<Record<keyof RegionSettings, string>> = {
    ttlMs: "TTL",
    jitterPercent: "JITTER",
    graceMs: "GRACE",
    eagerPercent: "EAGER",
    leaseMs: "LEASE",
    absentTtlMs: "ABSENTTTL",
    maxBytes: "MAXBYTES",
    maxEntries: "MAXENTRIES",
    evict: "EVICT",
};

function set(settings: RegionSettings): string[] {
    return Object.entries(settings).flatMap(([name, value]) => {
        const word = SETTINGS[name as keyof RegionSettings];
        if (word === undefined) {
            throw new TypeError(`a region has no setting ${name}`);
        }
        return value === undefined ? [] : [word, String(value)];
    });
}

function buffer(reply: Reply | undefined): Buffer {
    return Buffer.isBuffer(reply) ? reply : Buffer.from(String(reply));
}
