/** What may be done with keys: each is a change of the database, and the note for Redis that belongs to it. */

import { type ApiKeys, type GeneratedKey, RowReader } from "redis-apikey";
import type { Made, Outbox } from "./outbox.js";

/** Of a new key. */
export interface Wanted {
    readonly user_id: string;
    readonly name?: string;
    readonly scopes: readonly string[];
    /** RFC 3339. */
    readonly expires_at?: string;
    readonly plan?: string;
}

/** There is no plan of this name. */
export class UnknownPlan extends Error {}

/** A key as it is shown once: `key` is what its owner presents. */
export interface Shown {
    readonly id: string;
    readonly prefix: string;
    readonly key: string;
    /** Of a rotation: until when the key of before is accepted. */
    readonly old_until?: Date;
}

const reader = new RowReader();

export class KeyChanges {
    readonly #keys: ApiKeys;
    readonly #outbox: Outbox;

    constructor(keys: ApiKeys, outbox: Outbox) {
        this.#keys = keys;
        this.#outbox = outbox;
    }

    /** @throws {BadRecord | UnknownPlan} where nobody could judge such a key, or it has no such plan; then it is not issued. */
    async issue({ user_id: user, name, scopes, expires_at: end, plan }: Wanted): Promise<Made<Shown>> {
        const { prefix, presented, digest } = this.#secret();
        const made = await this.#outbox.make(async (client) => {
            const plans = await client.query("SELECT FROM plan WHERE name = $1", [plan ?? null]);
            if (plan !== undefined && plans.rowCount === 0) {
                throw new UnknownPlan("body/plan must be one of the table's");
            }
            const { rows } = await client.query<{ id: string }>(
                `INSERT INTO api_key (user_id, name, key_prefix, key_hash, scopes, expires_at, plan)
                VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`,
                [user, name ?? null, prefix, digest, scopes, end ?? null, plan ?? null],
            );
            // As it will be loaded: a row that can't be read would be a key that answers 503 for ever.
            const inserted = await client.query<object>("SELECT * FROM api_key_row WHERE key_prefix = $1", [prefix]);
            reader.read(inserted.rows[0] ?? {});
            return only(rows, ({ id }) => ({
                value: { id, prefix, key: presented },
                change: { kind: "created", prefix, user },
            }));
        });
        if (made === undefined) {
            throw new Error("the key was not inserted");
        }
        return made;
    }

    /** Gives a key another secret. That of before is accepted for `graceMs`; one before that ends now. */
    async rotate(id: string, graceMs: number): Promise<Made<Shown> | undefined> {
        return this.#outbox.make(async (client) => {
            const locked = "SELECT key_prefix, user_id FROM api_key WHERE id = $1 AND is_active FOR UPDATE";
            const { rows } = await client.query<{ key_prefix: string; user_id: string }>(locked, [id]);
            const found = rows[0];
            if (found === undefined) {
                return undefined;
            }
            const { key_prefix: prefix, user_id: user } = found;
            const { presented, digest } = this.#secret(prefix);
            const rotated = await client.query<{ old_until: Date }>(
                `UPDATE api_key SET old_hash = key_hash, key_hash = $2,
                    old_until = now() + $3 * interval '1 millisecond'
                WHERE id = $1 RETURNING old_until`,
                [id, digest, graceMs],
            );
            return only(rotated.rows, ({ old_until }) => ({
                value: { id, prefix, key: presented, old_until },
                change: { kind: "changed", id, prefix, user },
            }));
        });
    }

    async revoke(id: string): Promise<Made<{ id: string }> | undefined> {
        return this.#outbox.make(async (client) => {
            const sql = "UPDATE api_key SET is_active = false WHERE id = $1 RETURNING key_prefix, user_id";
            const { rows } = await client.query<{ key_prefix: string; user_id: string }>(sql, [id]);
            return only(rows, ({ key_prefix: prefix, user_id: user }) => ({
                value: { id },
                change: { kind: "changed", id, prefix, user },
            }));
        });
    }

    /** Deletes a user's keys. Their uses stay, for the bill. */
    async deleteUser(user: string): Promise<Made<{ keys: number }> | undefined> {
        return this.#outbox.make(async (client) => {
            const sql = "DELETE FROM api_key WHERE user_id = $1 RETURNING key_prefix";
            const { rows } = await client.query<{ key_prefix: string }>(sql, [user]);
            const prefixes = rows.map(({ key_prefix }) => key_prefix);
            return rows.length === 0
                ? undefined
                : { value: { keys: rows.length }, change: { kind: "userDeleted", user, prefixes } };
        });
    }

    /** Of a new key, or another one of a key. */
    #secret(prefix?: string): GeneratedKey {
        return prefix === undefined ? this.#keys.generate("ak_live") : this.#keys.regenerate(prefix);
    }
}

/** What is made of the row that there is; `undefined` where there is none. */
function only<Row, T>(rows: readonly Row[], make: (row: Row) => T): T | undefined {
    return rows[0] === undefined ? undefined : make(rows[0]);
}
