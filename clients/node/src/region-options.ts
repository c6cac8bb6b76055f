/** What callers say of a region and its values, and what they are told. */

import type { Asking } from "./asking.js";
import { checkMs } from "./bounds.js";
import type { CacheCommands } from "./cache-commands.js";
import type { Changes } from "./changes.js";
import type { L1 } from "./l1.js";
import type { Loads } from "./loads.js";
import type { PayloadOptions, Payloads } from "./payload.js";
import type { RegionNames } from "./region-names.js";
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

/** What the parts of a region have together. */
export interface Parts<T> {
    readonly shared: Shared;
    readonly options: RegionOptions<T>;
    readonly names: RegionNames;
    readonly payloads: Payloads<T>;
    readonly l1: L1<Buffer> | undefined;
}

/** @throws {TypeError | RangeError} where one is out of its bounds. */
export function checkTimes(times: {
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
