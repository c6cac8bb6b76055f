/** Uses of keys: Redis counts them, and hands them over in batches that are written here, each line once. */

import { type ApiKeys, Unanswered, type UsageBatch } from "redis-apikey";
import type { Database } from "./database.js";

/** Adds the lines that are new, by their ids: a batch that comes again adds nothing. */
const WRITE = `
    WITH given AS (
        SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[])
            AS t (line, key_prefix, count, last_used_ms)
    ), new AS (
        INSERT INTO usage_line (line, batch, key_prefix, count)
        SELECT line, $1, key_prefix, count FROM given
        ON CONFLICT DO NOTHING
        RETURNING line, key_prefix, count
    )
    INSERT INTO usage_total (key_prefix, total, last_used_at)
    -- Everyone takes the locks of the totals in the same order.
    SELECT new.key_prefix, sum(new.count), to_timestamp(max(last_used_ms) / 1000.0)
    FROM new JOIN given USING (line) GROUP BY new.key_prefix ORDER BY new.key_prefix
    ON CONFLICT (key_prefix) DO UPDATE SET
        total = usage_total.total + excluded.total,
        last_used_at = greatest(usage_total.last_used_at, excluded.last_used_at)`;

const ADD = `
    INSERT INTO usage_total (key_prefix, total, last_used_at) VALUES ($1, 1, now())
    ON CONFLICT (key_prefix) DO UPDATE SET total = usage_total.total + 1, last_used_at = now()`;

export class UsageCounts {
    readonly #database: Database;
    readonly #keys: ApiKeys;
    readonly #leaseMs: number;
    readonly #onError: (error: Error) => void;

    /** `onError` is told of a use that may not be counted. */
    constructor(database: Database, keys: ApiKeys, leaseMs: number, onError: (error: Error) => void) {
        this.#database = database;
        this.#keys = keys;
        this.#leaseMs = leaseMs;
        this.#onError = onError;
    }

    /** Writes what Redis has counted. Any number of processes may at once. */
    async drain(): Promise<void> {
        for await (const batch of this.#keys.usage.batches({ leaseMs: this.#leaseMs })) {
            await this.#write(batch);
        }
    }

    /** A use that Redis has not counted is added to the total; one that it may have is left, so as not to bill it twice. */
    addUncounted(prefix: string, error: Error): void {
        if (error instanceof Unanswered && error.maybeDone) {
            this.#onError(error);
            return;
        }
        this.#database.pool.query(ADD, [prefix]).catch(this.#onError);
    }

    /** The uses of each of a user's keys that the database knows of. */
    async ofUser(user: string): Promise<object[]> {
        const sql = `
            SELECT key_prefix, coalesce(total, 0)::float AS total, last_used_at
            FROM api_key LEFT JOIN usage_total USING (key_prefix) WHERE user_id = $1 ORDER BY created_at, id`;
        return (await this.#database.pool.query<object>(sql, [user])).rows;
    }

    /** One statement, and so one transaction. */
    async #write({ id, lines }: UsageBatch): Promise<void> {
        await this.#database.pool.query(WRITE, [
            id,
            lines.map((line) => line.id),
            lines.map(({ prefix, key }) => prefix ?? key),
            lines.map(({ count }) => String(count)),
            lines.map(({ lastUsedAtMs }) => lastUsedAtMs),
        ]);
    }
}
