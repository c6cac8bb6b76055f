/** What this process or Redis has of the keys of a region. */

import { getCommand, type Lookup, readLookup } from "./cache-commands.js";
import type { L1 } from "./l1.js";
import { type Payloads, Unreadable } from "./payload.js";
import type { RegionNames } from "./region-names.js";
import type { Parts, Shared } from "./region-options.js";
import { slotOf } from "./slots.js";

/** What Redis has of a key, read. */
export type Found<T> =
    | { readonly code: "HIT" | "STALE"; readonly value: T; readonly token: string | null }
    | { readonly code: "ABSENT" }
    | { readonly code: "MISS"; readonly token: string }
    | { readonly code: "WAIT"; readonly retryMs: number };

/** What was serialised, or why it can't be read. */
type Opened = Buffer | Unreadable;

/** Keys of one MGET, at most. */
const MOST_KEYS = 1000;

export class Lookups<T> {
    readonly #shared: Shared;
    readonly #names: RegionNames;
    readonly #payloads: Payloads<T>;
    readonly #l1: L1<Buffer> | undefined;

    constructor({ shared, names, payloads, l1 }: Parts<T>) {
        this.#shared = shared;
        this.#names = names;
        this.#payloads = payloads;
        this.#l1 = l1;
    }

    /** What this process has kept. */
    kept(name: string): T | undefined {
        const kept = this.#l1?.get(name, performance.now());
        return kept === undefined ? undefined : this.#payloads.value(kept.value);
    }

    /** What is kept of before, where that is wanted while Redis does not answer. */
    stale(name: string, thrown: unknown): T {
        const kept = this.#shared.asking.whenDown === "stale" ? this.#l1?.getStale(name, performance.now()) : undefined;
        if (kept === undefined) {
            throw thrown;
        }
        return this.#payloads.value(kept.value);
    }

    staleMany(keys: readonly string[], values: Map<string, T | null>, thrown: unknown): void {
        for (const key of keys.filter((one) => !values.has(one))) {
            values.set(key, this.stale(this.#names.entry(key), thrown));
        }
    }

    /** CACHE.GET. */
    async look(key: string, name: string): Promise<Found<T>> {
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
    async lookMany(keys: readonly string[], values: Map<string, T | null>): Promise<Map<string, Found<T>> | undefined> {
        const asked: string[] = [];
        for (const key of new Set(keys)) {
            const kept = this.kept(this.#names.entry(key));
            if (kept === undefined) {
                asked.push(key);
            } else {
                values.set(key, kept);
            }
        }
        const [first] = asked;
        if (first === undefined) {
            return new Map();
        }
        const { asking } = this.#shared;
        return asking.ask(async () => {
            if (!asking.router.isSingle) {
                // It has to be known whether there are slots.
                await asking.router.nodeOf(this.#names.entry(first), asking.read.ms);
            }
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
            return Promise.all(keys.map(async (key, at) => [key, await this.look(key, names[at] ?? "")]));
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
}
