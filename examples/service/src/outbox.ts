/**
 * Changes of keys, and what Redis has to be told of them. A change and its note are written by one transaction. Who has
 * committed tells Redis and deletes the note; a note that is left, since Redis did not answer or the process died, is told
 * by whichever process finds it. Telling twice does no harm.
 */

import type { PoolClient } from "pg";
import type { ApiKeys, Change } from "redis-apikey";
import type { Database } from "./database.js";

/** Notes that are told together. */
const MOST_NOTES = 100;

interface Note {
    readonly id: string;
    readonly change: Change;
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
        const { told, failed } = await this.#tell(made.notes);
        for (const error of failed) {
            this.#onError(error);
        }
        await this.#database.pool.query("DELETE FROM outbox WHERE id = ANY ($1)", [told]).catch(this.#onError);
        return { value: made.value, isTold: told.length > 0 };
    }

    /**
     * Tells the oldest notes that are left. While this process has them, no other takes them.
     *
     * @returns whether there may be more.
     * @throws where some of them could not be told, and stay.
     */
    async tellWaiting(): Promise<boolean> {
        const { found, failed } = await this.#database.transaction(async (client) => {
            const sql = "SELECT id, change FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED";
            const { rows } = await client.query<Note>(sql, [MOST_NOTES]);
            const { told, failed } = await this.#tell(rows);
            await client.query("DELETE FROM outbox WHERE id = ANY ($1)", [told]);
            return { found: rows.length, failed };
        });
        if (failed.length > 0) {
            throw new Error(`${failed.length} of ${found} changes could not be told`, { cause: failed[0] });
        }
        return found === MOST_NOTES;
    }

    /** How many notes wait, and for how many seconds the oldest has. */
    async waiting(): Promise<{ untold: number; oldest_s: number }> {
        const sql = `
            SELECT count(*)::int AS untold, coalesce(extract(epoch FROM now() - min(written_at)), 0)::float AS oldest_s
            FROM outbox`;
        const { rows } = await this.#database.pool.query<{ untold: number; oldest_s: number }>(sql);
        return rows[0] ?? { untold: 0, oldest_s: 0 };
    }

    /** Tells notes side by side: the ids of those that were told, and why the others were not. */
    async #tell(notes: readonly Note[]): Promise<{ told: string[]; failed: Error[] }> {
        const told: string[] = [];
        const failed: Error[] = [];
        const telling = notes.map(async ({ id, change }) => {
            try {
                await this.#keys.tell(change);
                told.push(id);
            } catch (thrown) {
                failed.push(thrown as Error);
            }
        });
        await Promise.all(telling);
        return { told, failed };
    }
}
