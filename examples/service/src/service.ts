/** What the service is made of, without HTTP: the database, the cache, and what is done with both. */

import { Redis } from "ioredis";
import { ApiKeys, type Warmed } from "redis-apikey";
import { Database } from "./database.js";
import { KeyChanges } from "./key-changes.js";
import { Loop } from "./loop.js";
import { Outbox } from "./outbox.js";
import { Payments } from "./payments.js";
import type { Settings } from "./settings.js";
import { UsageCounts } from "./usage.js";

/** Is told of what went wrong and was answered, or is done again, all the same. */
export type OnError = (what: string, error: Error) => void;

export class Service {
    readonly database: Database;
    readonly keys: ApiKeys;
    readonly outbox: Outbox;
    readonly changes: KeyChanges;
    readonly usage: UsageCounts;
    readonly payments: Payments;
    readonly #settings: Settings;
    readonly #onError: OnError;
    readonly #loops: Loop[] = [];

    constructor(settings: Settings, onError: OnError) {
        const telling = (what: string) => (error: Error) => onError(what, error);
        this.#settings = settings;
        this.#onError = onError;
        this.database = new Database(settings.databaseUrl, telling("a connection to the database"));
        this.keys = new ApiKeys(new Redis(settings.redisUrl, { lazyConnect: true }), {
            load: (prefix) => this.database.keyRow(prefix),
            timeoutMs: settings.redisTimeoutMs,
            changeTimeoutMs: settings.changeTimeoutMs,
            onError: telling("the cache"),
        });
        this.outbox = new Outbox(this.database, this.keys, telling("a change"));
        this.changes = new KeyChanges(this.keys, this.outbox);
        this.usage = new UsageCounts(this.database, this.keys, settings.leaseMs, telling("a use"));
        this.payments = new Payments(this.database, this.keys);
    }

    /** Fills the cache with the keys that were used last. */
    warm(): Promise<Warmed> {
        return this.keys.warm(() => this.database.rowsUsedLast(this.#settings.warmKeys));
    }

    /** Begins to tell what is left in the outbox, and to write what is counted. */
    start(): void {
        const { tellEveryMs, drainEveryMs } = this.#settings;
        const drain = async (): Promise<boolean> => {
            await this.usage.drain();
            return false;
        };
        this.#loops.push(
            new Loop(
                tellEveryMs,
                () => this.outbox.tellWaiting(),
                (error) => this.#onError("the outbox", error),
            ),
            new Loop(drainEveryMs, drain, (error) => this.#onError("the usage", error)),
        );
    }

    /** Ends what {@link start} began, writes what is counted by now, and closes all connections. */
    async stop(): Promise<void> {
        await Promise.all(this.#loops.map((loop) => loop.stop()));
        if (this.#loops.length > 0) {
            // What can't be written now comes again, to whoever drains next.
            await this.usage.drain().catch((error: Error) => this.#onError("the usage", error));
        }
        this.keys.close();
        await this.database.pool.end();
    }
}
