/**
 * Answers of VALIDATE kept in this process (`docs/local-caches.md`). What is kept: VALID alone, under the digest of what
 * was presented with all that was asked, and no longer than VALIDATE said that it holds, nor than `maxAgeMs`. It goes when
 * its key or one of its tags is said to have changed; all of it goes where a message may have been missed.
 */

import { hash } from "node:crypto";
import { checkCount, checkMs } from "./bounds.js";
import { Follower } from "./follower.js";
import type { Router } from "./router.js";
import type { KeyRecord } from "./row.js";
import type { Driver } from "./session.js";

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
export interface Kept {
    readonly prefix: string;
    readonly record: KeyRecord;
    /** By this process' clock (`performance.now`), when it ends. */
    readonly endsAt: number;
    /** Of the key: its own name and its tags. */
    readonly names: readonly string[];
}

/** An answer that is on its way, and what was said to have changed meanwhile. */
export interface Underway {
    readonly key: string;
    /** Whether everything has. */
    isLost: boolean;
    readonly changed: Set<string>;
}

export class L1 {
    readonly maxAgeMs: number;
    /** Whether the tags of an answer have to be asked for. */
    readonly wantsTags: boolean;
    readonly #maxEntries: number;
    readonly #keepsStale: boolean;
    readonly #follower: Follower;
    readonly #underway = new Set<Underway>();
    #kept = new Map<string, Kept>();
    #questions = new Map<string, Set<string>>();
    /** What was kept as the connection was lost; it answers where Redis doesn't, if that was asked for. */
    #stale = new Map<string, Kept>();

    constructor(options: L1Options, driver: Driver, router: Router, ns: string, keepsStale: boolean) {
        const { follow } = options;
        if (follow !== "tracking" && (typeof follow?.channel !== "string" || follow.channel === "")) {
            throw new TypeError('l1.follow must be "tracking" or { channel }, with its name');
        }
        this.maxAgeMs = checkMs("l1.maxAgeMs", options.maxAgeMs);
        this.wantsTags = options.follow !== "tracking";
        this.#maxEntries = checkCount("l1.maxEntries", options.maxEntries);
        this.#keepsStale = keepsStale;
        this.#follower = new Follower(driver, router, options.follow, ns, {
            changed: (names) => this.changed(names),
            lost: () => this.lost(),
            allChanged: () => this.allChanged(),
            following: () => {
                this.#stale = new Map();
            },
        });
    }

    /** What is kept for a question, if it holds. */
    get(question: string, now: number): Kept | undefined {
        const kept = this.#kept.get(question);
        if (kept === undefined || now < kept.endsAt) {
            return kept;
        }
        this.#remove(question, kept);
        return undefined;
    }

    /** What was kept as the connection was lost. */
    getStale(question: string, now: number): Kept | undefined {
        const kept = this.get(question, now) ?? this.#stale.get(question);
        return kept !== undefined && now < kept.endsAt ? kept : undefined;
    }

    /** Before Redis is asked; {@link keep} or {@link forget} end it. */
    begin(key: string): Underway {
        const underway = { key, isLost: false, changed: new Set<string>() };
        this.#underway.add(underway);
        return underway;
    }

    forget(underway: Underway): void {
        this.#underway.delete(underway);
    }

    /** Keeps an answer, unless it may have changed since {@link begin}, or its changes are not followed. */
    async keep(underway: Underway, question: string, kept: Kept): Promise<void> {
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

    #remove(question: string, kept: Kept): void {
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

/** All that an answer is to, with a digest of what was presented: that itself is kept nowhere. */
export function questionOf(presented: string, scopes: readonly string[], address: string | undefined): string {
    const digest = hash("sha256", presented, "base64");
    if (address === undefined && scopes.length <= 1) {
        return scopes.length === 0 ? digest : `${digest}:${scopes[0]}`;
    }
    return `${digest}[${JSON.stringify([address ?? null, ...scopes])}`;
}
