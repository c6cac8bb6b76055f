/** Tells Redis what was changed in the database, until all who have to hear of it have answered. */

import { type Change, NotTold, Refusal } from "./errors.js";
import type { L1 } from "./l1.js";
import type { Names } from "./names.js";
import { pause, type Router, type Sending } from "./router.js";

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
}

export class Changes {
    readonly #router: Router;
    readonly #sending: Sending;
    readonly #names: Names;
    readonly #l1: L1 | undefined;
    readonly #outbox: ((change: Change) => void | Promise<void>) | undefined;

    constructor(
        router: Router,
        sending: Sending,
        names: Names,
        l1: L1 | undefined,
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
     * @throws {NotTold} where it was not told, whether it was kept or not.
     * @throws {TypeError} where it is no change; then there is nothing to keep.
     */
    async tellOrKeep(change: Change): Promise<void> {
        // What is no change is nothing to keep.
        const affected = this.#affected(change);
        try {
            await this.#tell(affected);
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

    /** @throws {NotTold} where it was not told, {@link TypeError} where it is no change. */
    async tell(change: Change): Promise<void> {
        const affected = this.#affected(change);
        try {
            await this.#tell(affected);
        } catch (cause) {
            throw new NotTold(change, false, { cause });
        }
    }

    async #tell({ keys, tags }: Affected): Promise<void> {
        // Here at once, and again when it was answered: in between an answer of before may have been kept.
        this.#l1?.changed(tags);
        const until = performance.now() + this.#sending.ms;
        const calls = this.#calls(keys, tags);
        const work = async (): Promise<void> => {
            // One that throws ends `calls` for all: what is not sent is told again with the rest.
            for (const [names, key, command] of calls) {
                this.#l1?.changed(names);
                try {
                    await this.#insist(until, key, command);
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
    }

    /** What is said, each with the names that it is about and the key by which its node is found. */
    *#calls(
        keys: readonly string[],
        tags: readonly string[],
    ): Generator<readonly [readonly string[], string | undefined, readonly string[]]> {
        if (tags.length > 0) {
            yield [tags, undefined, ["APIKEY.TAGINVAL", ...tags]];
        }
        // One key each: of two a slot that is on its way may say TRYAGAIN for as long as it is.
        for (const key of keys) {
            yield [[key], key, ["APIKEY.INVAL", key]];
        }
    }

    /** @throws {TypeError} where it is no change that can be told. */
    #affected(change: Change): Affected {
        checkChange(change);
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
    async #insist(until: number, key: string | undefined, command: readonly string[]): Promise<void> {
        for (;;) {
            const left = until - performance.now();
            try {
                const ms = Math.max(Math.min(left, ATTEMPT_MS), 1);
                const reply = await this.#router.send({ ...this.#sending, ms }, key, command);
                if (typeof reply !== "string" || !/^\d+$/.test(reply)) {
                    throw new TypeError(`${command[0]} was answered by no number`);
                }
                return;
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
    const prefixes = kind === "userDeleted" ? named.prefixes : [];
    if (!Array.isArray(prefixes)) {
        throw new TypeError("prefixes must be an array");
    }
    for (const prefix of [named.prefix ?? "-", ...(prefixes as readonly unknown[])]) {
        if (typeof prefix !== "string" || prefix === "") {
            throw new TypeError("a prefix must be a text, and not empty");
        }
    }
}
