/** Tells Redis what was changed in the database, until all who have to hear of it have answered. */

import { type Change, NotTold, Refusal } from "./errors.js";
import type { Names } from "./names.js";
import { pause, type Router, type Sending } from "./router.js";
import type { Command } from "./session.js";

/** Error replies that no repetition mends. */
const LASTING = new Set(["ERR", "NOPERM", "NOAUTH", "WRONGPASS", "WRONGTYPE", "BADRECORD"]);

/** Milliseconds that one attempt may take: more than `apikey.cluster-timeout-ms`. */
const ATTEMPT_MS = 1500;

/** Invalidations under way at once, of one change: other calls of the process, and at Redis, come in between. */
const MOST_AT_ONCE = 100;

/** What a change is about. */
interface Affected {
    readonly keys: readonly string[];
    readonly tags: readonly string[];
    /** What has a tag of these may be served as stale. */
    readonly isSoft?: boolean;
}

/** A cache of this process, which hears of a change first. */
export interface Heeding {
    changed(names: readonly string[]): void;
}

export class Changes {
    readonly #router: Router;
    readonly #sending: Sending;
    readonly #names: Names;
    readonly #l1: Heeding | undefined;
    readonly #outbox: ((change: Change) => void | Promise<void>) | undefined;

    constructor(
        router: Router,
        sending: Sending,
        names: Names,
        l1: Heeding | undefined,
        outbox: ((change: Change) => void | Promise<void>) | undefined,
    ) {
        this.#router = router;
        this.#sending = sending;
        this.#names = names;
        this.#l1 = l1;
        this.#outbox = outbox;
    }

    /**
     * Tells a change; if that can't be, and there is an outbox, it is kept there.
     *
     * @returns how many entries Redis says that it was about.
     * @throws {NotTold} where it was not told, whether it was kept or not.
     * @throws {TypeError} where it is no change; then there is nothing to keep.
     */
    async tellOrKeep(change: Change): Promise<number> {
        // What is no change is nothing to keep.
        const affected = this.#affected(change);
        try {
            return await this.#tell(affected);
        } catch (cause) {
            let isKept = false;
            try {
                await this.#outbox?.(change);
                isKept = this.#outbox !== undefined;
            } catch (notKept) {
                throw new NotTold(change, false, { cause: new AggregateError([cause, notKept], "nor was it kept") });
            }
            throw new NotTold(change, isKept, { cause });
        }
    }

    /**
     * Stores what a writer has committed, at once and once: where it is not stored what is there goes, as by
     * {@link tellOrKeep}. To store it later might undo what others have written meanwhile.
     *
     * @param refused is told why it was not stored.
     * @throws {NotTold} where neither is so.
     */
    async store(
        key: string,
        command: Command,
        names: readonly string[],
        refused: (error: Error) => void,
    ): Promise<void> {
        this.#l1?.changed(names);
        try {
            const ms = Math.min(this.#sending.ms, ATTEMPT_MS);
            const reply = await this.#router.send({ ...this.#sending, ms, isRepeatable: false }, key, command);
            if (reply !== "OK") {
                throw new Refusal(`ERR ${String(command[0])} was answered by ${String(reply)}`);
            }
            this.#l1?.changed(names);
        } catch (thrown) {
            refused(thrown instanceof Error ? thrown : new Error(String(thrown)));
            await this.tellOrKeep({ kind: "invalidated", keys: [key] });
        }
    }

    /** @throws {NotTold} where it was not told, {@link TypeError} where it is no change. */
    async tell(change: Change): Promise<void> {
        const affected = this.#affected(change);
        try {
            await this.#tell(affected);
        } catch (cause) {
            throw new NotTold(change, false, { cause });
        }
    }

    async #tell({ keys, tags, isSoft = false }: Affected): Promise<number> {
        // Here at once, and again when it was answered: in between an answer of before may have been kept.
        this.#l1?.changed(tags);
        const until = performance.now() + this.#sending.ms;
        const calls = this.#calls(keys, tags, isSoft);
        let count = 0;
        const work = async (): Promise<void> => {
            // One that throws ends `calls` for all: what is not sent is told again with the rest.
            for (const [names, key, command] of calls) {
                this.#l1?.changed(names);
                try {
                    const about = await this.#insist(until, key, command);
                    count += about;
                } finally {
                    this.#l1?.changed(names);
                }
            }
        };
        const told = await Promise.allSettled(Array.from({ length: MOST_AT_ONCE }, work));
        const failed = told.find((one) => one.status === "rejected");
        if (failed !== undefined) {
            throw failed.reason;
        }
        return count;
    }

    /** What is said, each with the names that it is about and the key by which its node is found. */
    *#calls(
        keys: readonly string[],
        tags: readonly string[],
        isSoft: boolean,
    ): Generator<readonly [readonly string[], string | undefined, readonly string[]]> {
        if (tags.length > 0) {
            yield [tags, undefined, isSoft ? ["CACHE.TAGINVAL", "SOFT", ...tags] : ["APIKEY.TAGINVAL", ...tags]];
        }
        // One key each: of two a slot that is on its way may say TRYAGAIN for as long as it is.
        for (const key of keys) {
            yield [[key], key, ["APIKEY.INVAL", key]];
        }
    }

    /** @throws {TypeError} where it is no change that can be told. */
    #affected(change: Change): Affected {
        checkChange(change);
        if (change.kind === "invalidated") {
            return { keys: change.keys ?? [], tags: change.tags ?? [], isSoft: change.soft ?? false };
        }
        const of = (prefix: string): string[] => [this.#names.record(prefix), this.#names.decisions(prefix)];
        // A row may have null where there is none.
        const user = change.user ?? undefined;
        const list = user === undefined ? [] : [this.#names.list(user)];
        if (change.kind === "userDeleted") {
            return { keys: [...change.prefixes.flatMap(of), ...list], tags: [this.#names.tag("user", change.user)] };
        }
        const prefix = change.prefix ?? undefined;
        const keys = [...(prefix === undefined ? [] : of(prefix)), ...list];
        if (change.kind === "created") {
            return { keys, tags: [] };
        }
        const id = change.id ?? undefined;
        if (id !== undefined) {
            return { keys, tags: [this.#names.tag("id", id)] };
        }
        // Who names a user alone means all of theirs.
        const isAllOfUser = prefix === undefined && user !== undefined;
        return { keys, tags: isAllOfUser ? [this.#names.tag("user", user)] : [] };
    }

    /** Sends an invalidation, at the latest `until`, until it is answered by a number. To repeat it does no harm. */
    async #insist(until: number, key: string | undefined, command: readonly string[]): Promise<number> {
        for (;;) {
            const left = until - performance.now();
            try {
                const ms = Math.max(Math.min(left, ATTEMPT_MS), 1);
                const reply = await this.#router.send({ ...this.#sending, ms }, key, command);
                if (typeof reply !== "string" || !/^\d+$/.test(reply)) {
                    throw new TypeError(`${command[0]} was answered by no number`);
                }
                return Number(reply);
            } catch (thrown) {
                const isLasting =
                    thrown instanceof TypeError || (thrown instanceof Refusal && LASTING.has(thrown.code));
                const wait = 10 + Math.random() * 40;
                if (isLasting || this.#router.hasEnded || until - performance.now() <= wait) {
                    throw thrown;
                }
                await pause(wait);
            }
        }
    }
}

/** What each kind may name; one of the second list has to be there. */
const NAMED: Readonly<Record<string, readonly [readonly string[], readonly string[]]>> = {
    changed: [
        ["id", "prefix", "user"],
        ["id", "prefix", "user"],
    ],
    invalidated: [
        ["keys", "tags", "soft"],
        ["keys", "tags"],
    ],
    created: [["prefix", "user"], ["prefix"]],
    userDeleted: [["user", "prefixes"], ["user"]],
};

/**
 * Checks what may come from an outbox: what names nothing, or by other names, would be told to nobody.
 *
 * @throws {TypeError} where it is no change.
 */
function checkChange(change: Change): void {
    const { kind, ...named } = (change ?? {}) as { readonly [name: string]: unknown };
    const [may, needs] = (typeof kind === "string" && Object.hasOwn(NAMED, kind) && NAMED[kind]) || [];
    if (may === undefined || needs === undefined) {
        throw new TypeError(`a change must be of the kind ${Object.keys(NAMED).join(", ")}, not ${String(kind)}`);
    }
    for (const name of Object.keys(named)) {
        if (!may.includes(name)) {
            throw new TypeError(`a change of the kind ${kind} must have no ${name}`);
        }
    }
    if (needs.every((name) => (named[name] ?? undefined) === undefined)) {
        throw new TypeError(`a change of the kind ${kind} must have ${needs.join(", or ")}`);
    }
    if (kind === "userDeleted") {
        checkTexts("prefix", named.prefixes, "prefixes");
    }
    checkTexts("prefix", [named.prefix ?? "-"]);
    checkTexts("key", named.keys ?? [], "keys");
    checkTexts("tag", named.tags ?? [], "tags");
}

function checkTexts(name: string, all: unknown, list = name): void {
    if (!Array.isArray(all)) {
        throw new TypeError(`${list} must be an array`);
    }
    for (const one of all as readonly unknown[]) {
        if (typeof one !== "string" || one === "") {
            throw new TypeError(`a ${name} must be a text, and not empty`);
        }
    }
}
