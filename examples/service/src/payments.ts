/** Credits that were paid for: written to the database, and given to the key in Redis, which takes them with each use. */

import type { ApiKeys } from "redis-apikey";
import type { Database } from "./database.js";

/** The name that plans give to their limit of credits. */
const CREDITS = "credits";

/** Of a payment. */
export interface Payment {
    /** The payment service's own: the same payment may be told more than once. */
    readonly payment: string;
    readonly credits: number;
}

export class Payments {
    readonly #database: Database;
    readonly #keys: ApiKeys;

    constructor(database: Database, keys: ApiKeys) {
        this.#database = database;
        this.#keys = keys;
    }

    /**
     * Gives the credits of a payment to a key, once however often it is told. Redis is asked within the transaction: no payment
     * is written whose credits it has not. Where the process dies between the two, who tells the payment again within a minute
     * gives it once, since Redis knows its id for so long; later it would be given twice.
     *
     * @returns the balance; `undefined` where there is no such key.
     */
    async receive(id: string, { payment, credits }: Payment): Promise<{ balance: number } | undefined> {
        return this.#database.transaction(async (client) => {
            const found = await client.query<{ key_prefix: string }>("SELECT key_prefix FROM api_key WHERE id = $1", [
                id,
            ]);
            const prefix = found.rows[0]?.key_prefix;
            if (prefix === undefined) {
                return undefined;
            }
            const sql = "INSERT INTO payment (id, key_prefix, credits) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            const { rowCount } = await client.query(sql, [payment, prefix, credits]);
            const isNew = rowCount === 1;
            const asWhat = isNew ? { requestId: payment } : {};
            return { balance: await this.#keys.credit(prefix, CREDITS, { by: isNew ? credits : 0 }, asWhat) };
        });
    }
}
