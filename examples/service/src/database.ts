/** PostgreSQL: the connections, and the rows of keys as the cache is told them. */

import { Pool, type PoolClient } from "pg";

export class Database {
    readonly pool: Pool;

    /** `onIdleError` is told of a connection that broke while nobody used it: the pool opens another. */
    constructor(url: string, onIdleError: (error: Error) => void) {
        this.pool = new Pool({ connectionString: url, connectionTimeoutMillis: 3000, statement_timeout: 10_000 });
        this.pool.on("error", onIdleError);
    }

    /** The row of a key as it stands, committed; `null` where there is none. */
    async keyRow(prefix: string): Promise<object | null> {
        const { rows } = await this.pool.query<object>("SELECT * FROM api_key_row WHERE key_prefix = $1", [prefix]);
        return rows[0] ?? null;
    }

    /** All keys of a user, the newest first. */
    async rowsOfUser(user: string): Promise<object[]> {
        const sql = "SELECT * FROM api_key_row WHERE user_id = $1 ORDER BY created_at DESC, id";
        return (await this.pool.query<object>(sql, [user])).rows;
    }

    /** The keys that were used last, as far as they may still be used. */
    async rowsUsedLast(most: number): Promise<object[]> {
        const sql = `
            SELECT api_key_row.* FROM api_key_row LEFT JOIN usage_total USING (key_prefix)
            WHERE is_active AND (expires_at IS NULL OR expires_at > now())
            ORDER BY last_used_at DESC NULLS LAST, created_at DESC LIMIT $1`;
        return (await this.pool.query<object>(sql, [most])).rows;
    }

    /** Runs something as one transaction. What it throws is thrown when all of it was rolled back. */
    async transaction<T>(run: (client: PoolClient) => Promise<T>): Promise<T> {
        const client = await this.pool.connect();
        let broken: Error | undefined;
        try {
            await client.query("BEGIN");
            const value = await run(client);
            await client.query("COMMIT");
            return value;
        } catch (thrown) {
            await client.query("ROLLBACK").catch((error: Error) => {
                broken = error;
            });
            throw thrown;
        } finally {
            client.release(broken);
        }
    }
}
