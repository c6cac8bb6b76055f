/**
 * Changes of keys, and what Redis has to be told of them. A change and its note are written by one transaction. Who has
 * committed tells Redis and deletes the note; a note that is left, since Redis did not answer or the process died, is told
 * by whichever process finds it. Telling twice does no harm. No note holds up another: one that failed is tried again
 * later, and one that can never be told is set aside with its error.
 */

import type { Pool, PoolClient } from "pg";
import type { ApiKeys, Change } from "redis-apikey";
import type { Database } from "./database.js";

/** Notes that are told together. */
const MOST_NOTES = 100;

/** Oldest first of those whose time has come; those that failed come behind new ones. */
const DUE = `
    SELECT id, change FROM outbox WHERE error IS NULL AND next_try_at <= now()
    ORDER BY next_try_at, id LIMIT $1 FOR UPDATE SKIP LOCKED`;

/** After a second, then later and later, up to ten. The end of the attempt counts, and not the transaction's begin. */
const PUT_OFF = `
    UPDATE outbox SET failures = failures + 1,
        next_try_at = clock_timestamp() + least(10, power(2, least(failures, 4))) * interval '1 second'
    WHERE id = ANY ($1)`;

const SET_ASIDE = "UPDATE outbox SET error = $2 WHERE id = $1";

interface Note {
    readonly id: string;
    readonly change: Change;
}

/** What became of notes. */
interface Outcome {
    readonly told: string[];
    /** To be tried again, and why the last of them was not told. */
    readonly failed: string[];
    readonly cause: Error | undefined;
    /** Those that can never be told. */
    readonly hopeless: { readonly id: string; readonly error: Error }[];
}

/** How the outbox fares. */
export interface Waiting {
    /** Notes that wait, and for how many seconds the oldest has. */
    readonly untold: number;
    readonly oldest_s: number;
    /** Notes that can never be told: column `error` says why. */
    readonly set_aside: number;
}

/** A change that was made, and whether all who may have cached what was before have heard of it. */
export interface Made<T> {
    readonly value: T;
    readonly isTold: boolean;
}

export class Outbox {
    readonly #database: Database;
    readonly #keys: ApiKeys;
    readonly #onError: (error: Error) => void;

    /** `onError` is told why a change could not be told. */
    constructor(database: Database, keys: ApiKeys, onError: (error: Error) => void) {
        this.#database = database;
        this.#keys = keys;
        this.#onError = onError;
    }

    /** Makes a change, notes it in the same transaction, and tells it. `undefined`: there was nothing to change. */
    async make<T>(
        change: (client: PoolClient) => Promise<{ readonly value: T; readonly change: Change } | undefined>,
    ): Promise<Made<T> | undefined> {
        const made = await this.#database.transaction(async (client) => {
            const done = await change(client);
            if (done === undefined) {
                return undefined;
            }
            const sql = "INSERT INTO outbox (change) VALUES ($1) RETURNING id";
            const { rows } = await client.query<{ id: string }>(sql, [done.change]);
            return { ...done, notes: rows.map(({ id }) => ({ id, change: done.change })) };
        });
        if (made === undefined) {
            return undefined;
        }
        const outcome = await this.#tell(made.notes);
        // A note that can't be kept up is told once more.
        await this.#keep(this.#database.pool, outcome).catch(this.#onError);
        return { value: made.value, isTold: outcome.told.length > 0 };
    }

    /**
     * Tells notes that are left, those first that have waited longest. While this process has them, no other takes them.
     *
     * @returns whether there may be more.
     */
    async tellWaiting(): Promise<boolean> {
        return this.#database.transaction(async (client) => {
            const { rows } = await client.query<Note>(DUE, [MOST_NOTES]);
            await this.#keep(client, await this.#tell(rows));
            return rows.length === MOST_NOTES;
        });
    }

    async waiting(): Promise<Waiting> {
        const sql = `
            SELECT count(*) FILTER (WHERE error IS NULL)::int AS untold,
                coalesce(extract(epoch FROM now() - min(written_at) FILTER (WHERE error IS NULL)), 0)::float AS oldest_s,
                count(error)::int AS set_aside
            FROM outbox`;
        const { rows } = await this.#database.pool.query<Waiting>(sql);
        return rows[0] ?? { untold: 0, oldest_s: 0, set_aside: 0 };
    }

    /** Tells notes side by side. */
    async #tell(notes: readonly Note[]): Promise<Outcome> {
        const told: string[] = [];
        const failed: string[] = [];
        const hopeless: { id: string; error: Error }[] = [];
        let cause: Error | undefined;
        const telling = notes.map(async ({ id, change }) => {
            try {
                await this.#keys.tell(change);
                told.push(id);
            } catch (thrown) {
                const error = thrown as Error;
                // The library says so of what is no change, before it asks Redis.
                if (error instanceof TypeError) {
                    hopeless.push({ id, error });
                } else {
                    failed.push(id);
                    cause = error;
                }
            }
        });
        await Promise.all(telling);
        return { told, failed, cause, hopeless };
    }

    /** Writes down what became of notes. */
    async #keep(client: Pool | PoolClient, { told, failed, cause, hopeless }: Outcome): Promise<void> {
        await client.query("DELETE FROM outbox WHERE id = ANY ($1)", [told]);
        if (cause !== undefined) {
            this.#onError(new Error(`${failed.length} changes are told later`, { cause }));
            await client.query(PUT_OFF, [failed]);
        }
        for (const { id, error } of hopeless) {
            this.#onError(new Error(`the change of note ${id} can never be told`, { cause: error }));
            await client.query(SET_ASIDE, [id, error.message]);
        }
    }
}
