/** Filling the cache from rows of the database before anybody asks for them: {@link ApiKeys.warm}. */

import { Commands } from "./commands.js";
import { storedDigests } from "./digest.js";
import { BadRecord, Refusal, UnavailableError } from "./errors.js";
import type { Names } from "./names.js";
import type { Node, Router, Sending } from "./router.js";
import type { ReadRow, Row, RowReader } from "./row.js";

/** Rows as the database has them. Each needs its `key_prefix`. */
export type Rows = Iterable<Row> | AsyncIterable<Row>;

/** How the cache is warmed. */
export interface WarmOptions {
    /** Milliseconds for which a record is cached. As `ttlMs` of {@link ApiKeysOptions} where it is not said. */
    readonly ttlMs?: number;
    /** Rows that are sent together, 1 to 10,000. 500 where it is not said. */
    readonly batch?: number;
}

/** What became of the rows. */
export interface Warmed {
    readonly stored: number;
    /** Changed since the tokens were taken, or come later than `apikey.token-ttl-ms` behind them, or their slot has moved. */
    readonly refused: number;
    /** Rows that nobody may judge, or without `key_prefix`; `onError` is told of each. */
    readonly bad: number;
}

const MOST_ROWS = 10_000;

/** Of these error replies the row is the reason. */
const OF_THE_ROW = new Set(["BADRECORD", "WRONGTYPE"]);

/** The slot is not, or no longer, where the token was taken. It is good there alone: nobody follows. */
const ELSEWHERE = new Set(["MOVED", "ASK", "TRYAGAIN"]);

/** Keys that are tried to find one of each primary. Where one has a single slot, one in 16,384 is its own. */
const MOST_TRIES = 1_000_000;

interface Filling {
    readonly prefix: string;
    readonly row: ReadRow;
    /** For errors: the number of the row, from 1. */
    readonly number: number;
}

export class Warming {
    readonly #router: Router;
    readonly #names: Names;
    readonly #reader: RowReader;
    readonly #ms: number;
    readonly #report: (error: Error) => void;
    readonly #commands: Commands;

    constructor(router: Router, sending: Sending, names: Names, reader: RowReader, report: (error: Error) => void) {
        this.#router = router;
        this.#names = names;
        this.#reader = reader;
        this.#ms = sending.ms;
        this.#report = report;
        // To the node that has the key as far as is known, and to no other: a token is its node's.
        this.#commands = new Commands(async (key, command) => {
            const node = await router.nodeOf(key ?? "", sending.ms);
            return node.lanes[sending.lane].send(sending.ms, command);
        });
    }

    async run(rows: () => Rows | Promise<Rows>, options: WarmOptions): Promise<Warmed> {
        const { batch = 500, ttlMs } = options;
        if (!Number.isInteger(batch) || batch < 1 || batch > MOST_ROWS) {
            throw new RangeError(`batch must be an integer between 1 and ${MOST_ROWS}`);
        }
        const fill = ttlMs === undefined ? {} : { ttlMs };
        // The tokens first, then the rows: what is changed from here on is not stored as it was.
        const tokens = await this.#tokens();
        const became = { stored: 0, refused: 0, bad: 0 };
        let number = 0;
        let next: Filling[] = [];
        for await (const row of await rows()) {
            number += 1;
            const filling = this.#read(row, number);
            if (filling === undefined) {
                became.bad += 1;
                continue;
            }
            next.push(filling);
            if (next.length === batch) {
                await this.#store(next, tokens, fill, became);
                next = [];
            }
        }
        await this.#store(next, tokens, fill, became);
        return became;
    }

    /** A token of each primary. */
    async #tokens(): Promise<ReadonlyMap<Node, string>> {
        try {
            const nodes = await this.#router.primaries(this.#ms);
            const keys = new Map<Node, string>();
            for (let tried = 0; keys.size < nodes.length && tried < MOST_TRIES; tried += 1) {
                const key = this.#names.record(`warm-${tried}`);
                const node = await this.#router.nodeOf(key, this.#ms);
                if (!keys.has(node)) {
                    keys.set(node, key);
                }
            }
            const taken = [...keys].map(async ([node, key]): Promise<[Node, string]> => {
                return [node, await this.#commands.token(key)];
            });
            const tokens = new Map(await Promise.all(taken));
            if ([...tokens.values()].includes("0")) {
                throw new Refusal("it takes no fills now: apikey.enabled is no, or it refuses writes");
            }
            return tokens;
        } catch (cause) {
            const why = cause instanceof Error ? cause.message : String(cause);
            throw new UnavailableError(`Redis gave no token, and no row was asked for: ${why}`, { cause });
        }
    }

    #read(row: Row, number: number): Filling | undefined {
        try {
            const read = this.#reader.read(row);
            const prefix = read.record.key_prefix ?? "";
            if (prefix === "") {
                throw new BadRecord("key_prefix is missing");
            }
            return { prefix, row: read, number };
        } catch (thrown) {
            if (!(thrown instanceof BadRecord)) {
                throw thrown;
            }
            this.#report(new BadRecord(`row ${number}: ${thrown.message}`, { cause: thrown }));
            return undefined;
        }
    }

    /** Stores rows, each under the token of its node, and adds to `became` what has. */
    async #store(
        fillings: readonly Filling[],
        tokens: ReadonlyMap<Node, string>,
        fill: { readonly ttlMs?: number },
        became: { stored: number; refused: number; bad: number },
    ): Promise<void> {
        const stored = fillings.map(async ({ prefix, row, number }): Promise<keyof Warmed> => {
            const key = this.#names.record(prefix);
            const token = tokens.get(await this.#router.nodeOf(key, this.#ms));
            // A node that has come since the tokens were taken.
            if (token === undefined) {
                return "refused";
            }
            try {
                const digests = storedDigests(row.digests);
                const options = { ...this.#names.ns(), ...fill, token, digests };
                return (await this.#commands.setval(key, row.json, options)) ? "stored" : "refused";
            } catch (thrown) {
                if (thrown instanceof Refusal && ELSEWHERE.has(thrown.code)) {
                    return "refused";
                }
                if (thrown instanceof Refusal && OF_THE_ROW.has(thrown.code)) {
                    this.#report(new BadRecord(`row ${number}: ${thrown.message}`, { cause: thrown }));
                    return "bad";
                }
                throw thrown;
            }
        });
        // All of them end before one that failed is told, so that nothing is under way behind it.
        const ended = await Promise.allSettled(stored);
        for (const one of ended) {
            if (one.status === "fulfilled") {
                became[one.value] += 1;
            }
        }
        const failed = ended.find((one) => one.status === "rejected");
        if (failed !== undefined) {
            throw failed.reason;
        }
    }
}
