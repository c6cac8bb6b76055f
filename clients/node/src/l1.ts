/**
 * Answers of Redis kept in this process (`docs/local-caches.md`), under the question that they are to, and no longer than
 * Redis said that they hold, nor than `maxAgeMs`. An answer goes when its key or one of its tags is said to have changed;
 * all go where a message may have been missed.
 */

import { checkCount, checkMs } from "./bounds.js";
import { Refusal } from "./errors.js";
import { Follower } from "./follower.js";
import type { Router, Sending } from "./router.js";
import type { Command, Driver, Reply } from "./session.js";

/** A cache in this process. A change is seen here when its message comes: soon, and not at once. */
export interface L1Options {
    /** The most answers that are kept; of more the oldest goes. */
    readonly maxEntries: number;
    /** Milliseconds for which an answer is kept at most: as long as a change may go unseen whose message was lost. A few seconds. */
    readonly maxAgeMs: number;
    /**
     * How changes are heard of: by CLIENT TRACKING of the server, or by the channel that its `apikey.invalidation-channel`
     * names. Where uses are counted, the channel: tracking tells of each count too.
     */
    readonly follow: "tracking" | { readonly channel: string };
}

/** An answer that is kept. */
export interface Kept<V> {
    readonly value: V;
    /** By this process' clock (`performance.now`), when it ends. */
    readonly endsAt: number;
    /** Of the key: its own name and its tags. */
    readonly names: readonly string[];
}

/** What of an answer is to be kept. */
export interface Keeping<V> {
    readonly value: V;
    /** Milliseconds that it holds, from when it was asked for; below 0: it does not end by itself. */
    readonly leftMs: number;
    /** Names by which it goes, beside its tags as the server has them. */
    readonly names: readonly string[];
}

/** A question to Redis whose answer may be kept. */
export interface Asked<R, V> {
    /** What the answer is kept under. */
    readonly question: string;
    readonly key: string;
    readonly command: Command;
    /** Reads the reply. */
    readonly read: (reply: Reply) => R;
    /** What of it is kept, if anything. */
    readonly keep: (said: R) => Keeping<V> | undefined;
}

/** An answer that is on its way, and what was said to have changed meanwhile. */
interface Underway {
    readonly key: string;
    /** Whether everything has. */
    isLost: boolean;
    readonly changed: Set<string>;
}

/** Whose answers are kept. */
export interface Whose {
    /** What their keys' names begin with. */
    readonly prefix: string;
    /** Whether something is kept for when Redis does not answer. */
    readonly keepsStale: boolean;
    /** Whether the names that are given with each answer are all that a change of this process may be about. */
    readonly knowsTags: boolean;
}

export class L1<V> {
    /** Whether the tags of an answer have to be asked for. */
    readonly #wantsTags: boolean;
    readonly #maxAgeMs: number;
    readonly #router: Router;
    readonly #maxEntries: number;
    readonly #keepsStale: boolean;
    readonly #follower: Follower;
    readonly #underway = new Set<Underway>();
    #kept = new Map<string, Kept<V>>();
    #questions = new Map<string, Set<string>>();
    /** What was kept as the connection was lost; it answers where Redis doesn't, if that was asked for. */
    #stale = new Map<string, Kept<V>>();

    constructor(options: L1Options, driver: Driver, router: Router, whose: Whose) {
        const { follow } = options;
        if (follow !== "tracking" && (typeof follow?.channel !== "string" || follow.channel === "")) {
            throw new TypeError('l1.follow must be "tracking" or { channel }, with its name');
        }
        this.#maxAgeMs = checkMs("l1.maxAgeMs", options.maxAgeMs);
        this.#wantsTags = options.follow !== "tracking" || !whose.knowsTags;
        this.#maxEntries = checkCount("l1.maxEntries", options.maxEntries);
        this.#keepsStale = whose.keepsStale;
        this.#router = router;
        this.#follower = new Follower(driver, router, options.follow, whose.prefix, {
            changed: (names) => this.changed(names),
            lost: () => this.lost(),
            allChanged: () => this.allChanged(),
            following: () => {
                this.#stale = new Map();
            },
        });
    }

    /** What is kept for a question, if it holds. */
    get(question: string, now: number): Kept<V> | undefined {
        const kept = this.#kept.get(question);
        if (kept === undefined || now < kept.endsAt) {
            return kept;
        }
        this.#remove(question, kept);
        return undefined;
    }

    /** What was kept as the connection was lost. */
    getStale(question: string, now: number): Kept<V> | undefined {
        const kept = this.get(question, now) ?? this.#stale.get(question);
        return kept !== undefined && now < kept.endsAt ? kept : undefined;
    }

    /** Asks Redis, and keeps the answer where it may be kept. */
    async ask<R>(sending: Sending, { question, key, command, read, keep }: Asked<R, V>): Promise<R> {
        const underway = { key, isLost: false, changed: new Set<string>() };
        this.#underway.add(underway);
        const asked = performance.now();
        try {
            const { said, tags } = this.#wantsTags
                ? await this.#askWithTags(sending, key, command, read)
                : { said: read(await this.#router.send(sending, key, command)), tags: [] };
            const keeping = tags && keep(said);
            if (keeping === undefined || tags === undefined) {
                this.#underway.delete(underway);
                return said;
            }
            const { value, leftMs } = keeping;
            const left = leftMs < 0 ? this.#maxAgeMs : Math.min(leftMs, this.#maxAgeMs);
            const names = [...new Set([...keeping.names, ...tags])];
            this.#keep(underway, question, { value, endsAt: asked + left, names }).catch(() =>
                this.#underway.delete(underway),
            );
            return said;
        } catch (thrown) {
            this.#underway.delete(underway);
            throw thrown;
        }
    }

    /** Both in one transaction, so that the tags are those of the answer; `undefined` where the server has none now. */
    async #askWithTags<R>(
        sending: Sending,
        key: string,
        command: Command,
        read: (reply: Reply) => R,
    ): Promise<{ said: R; tags: readonly string[] | undefined }> {
        const { ms } = sending;
        const asked = performance.now();
        try {
            const node = await this.#router.nodeOf(key, ms);
            const link = node.lanes[sending.lane];
            const before = [["MULTI"], command, ["APIKEY.TAGS", key]];
            const reply = await link.send(ms, ["EXEC"], { ...sending, before });
            const [said, tags] = reply as readonly Reply[];
            if (said !== undefined && !(said instanceof Refusal) && Array.isArray(tags)) {
                return { said: read(said), tags: tags.map(String) };
            }
        } catch (thrown) {
            // Redirected; or before Redis 8, while memory is full.
            if (!(thrown instanceof Refusal)) {
                throw thrown;
            }
        }
        const left = Math.max(ms - (performance.now() - asked), 1);
        const alone = await this.#router.send({ ...sending, ms: left }, key, command);
        return { said: read(alone), tags: undefined };
    }

    /** Keeps an answer, unless it may have changed since it was asked for, or its changes are not followed. */
    async #keep(underway: Underway, question: string, kept: Kept<V>): Promise<void> {
        // Behind this nothing waits, so that no message is missed between it and the entry.
        const isFollowed = await this.#follower.follows(underway.key);
        this.#underway.delete(underway);
        if (!isFollowed || underway.isLost || kept.names.some((name) => underway.changed.has(name))) {
            return;
        }
        this.#drop(question);
        this.#kept.set(question, kept);
        for (const name of kept.names) {
            const questions = this.#questions.get(name);
            if (questions === undefined) {
                this.#questions.set(name, new Set([question]));
            } else {
                questions.add(question);
            }
        }
        if (this.#kept.size > this.#maxEntries) {
            const [oldest] = this.#kept.keys();
            this.#drop(oldest ?? question);
        }
    }

    /** Drops what has one of these names: of keys and of tags. */
    changed(names: readonly string[]): void {
        for (const underway of this.#underway) {
            for (const name of names) {
                underway.changed.add(name);
            }
        }
        for (const name of names) {
            for (const question of this.#questions.get(name) ?? []) {
                this.#drop(question);
            }
        }
        if (this.#stale.size > 0) {
            for (const [question, kept] of this.#stale) {
                if (kept.names.some((name) => names.includes(name))) {
                    this.#stale.delete(question);
                }
            }
        }
    }

    /** The connection was lost, and a change may be missed: all goes, but for what answers while Redis doesn't. */
    lost(): void {
        const kept = this.#kept;
        this.#forgetKept();
        if (this.#keepsStale && kept.size > 0) {
            this.#stale = kept;
        }
    }

    /** All is said to have changed, or something that was not heard: all goes, and answers nothing any more. */
    allChanged(): void {
        this.#forgetKept();
        this.#stale = new Map();
    }

    /** Redis has not answered: who knows whether it still tells. */
    doubt(): void {
        this.#follower.restart();
    }

    end(): void {
        this.#follower.end();
        this.allChanged();
    }

    #forgetKept(): void {
        for (const underway of this.#underway) {
            underway.isLost = true;
        }
        this.#kept = new Map();
        this.#questions = new Map();
    }

    #drop(question: string): void {
        const kept = this.#kept.get(question);
        if (kept !== undefined) {
            this.#remove(question, kept);
        }
    }

    #remove(question: string, kept: Kept<V>): void {
        this.#kept.delete(question);
        for (const name of kept.names) {
            const questions = this.#questions.get(name);
            questions?.delete(question);
            if (questions?.size === 0) {
                this.#questions.delete(name);
            }
        }
    }
}
