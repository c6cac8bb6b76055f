/** Asks Redis within its time, spares calls a Redis that does not answer, and decides what they get instead. */

import { checkCount, checkFunctions, checkMs, checkOneOf } from "./bounds.js";
import { Breaker, type BreakerOptions } from "./breaker.js";
import { driverOf, type RedisClient } from "./driver.js";
import { type Change, Refusal, Unanswered, UnavailableError } from "./errors.js";
import type { L1Options } from "./l1.js";
import { Router, type Sending } from "./router.js";
import type { Address, Driver } from "./session.js";
import { Telemetry, type TelemetryOptions } from "./telemetry.js";

/** What is answered while Redis does not answer. */
export type WhenDown =
    /** The database answers. */
    | "load"
    /** What this process still has of before answers, up to its age; else it is unavailable. */
    | "stale"
    /** It is unavailable. */
    | "deny";

/** How Redis is asked. Times are milliseconds. */
export interface RedisOptions {
    /** The most that Redis may take for an answer. 50 where it is not said. */
    readonly timeoutMs?: number;
    /** The most that telling a change may take, attempts that failed included. 3,000 where it is not said. */
    readonly changeTimeoutMs?: number;
    readonly breaker?: BreakerOptions;
    /** `"load"` where it is not said. */
    readonly whenDown?: WhenDown;
    /** A cache in this process as well. None where it is not said. */
    readonly l1?: L1Options;
    /** How many loads run at once, whether Redis answers or not. 32 where it is not said. */
    readonly loadLimit?: number;
    /** Keeps a change that could not be told, so that it is told later by `tell`. */
    readonly outbox?: (change: Change) => void | Promise<void>;
    /** Is told of what went wrong and was answered all the same: a Redis that is down, a fill that was refused. */
    readonly onError?: (error: Error) => void;
    /** Spans and counters. */
    readonly telemetry?: TelemetryOptions;
    /** Where a node of a cluster is, for who reaches it by another address than it has. */
    readonly mapAddress?: (address: Address) => Address;
}

/** Error replies of a server that can't answer for now, whatever it is asked. */
const DOWN = new Set(["LOADING", "CLUSTERDOWN", "MASTERDOWN", "BUSY", "MISCONF", "NOREPLICAS"]);

export class Asking {
    readonly driver: Driver;
    readonly router: Router;
    readonly telemetry: Telemetry | undefined;
    /** How what is read is asked for. */
    readonly read: Sending;
    /** How changes are told. */
    readonly change: Sending;
    readonly loadLimit: number;
    readonly whenDown: WhenDown;
    readonly #breaker: Breaker;
    readonly #onError: ((error: Error) => void) | undefined;
    readonly #doubt: () => void;

    /**
     * @param doubt is called when Redis has not answered.
     * @throws {TypeError | RangeError} where an option is out of its bounds.
     */
    constructor(client: RedisClient, options: RedisOptions, doubt: () => void) {
        checkOptions(options);
        this.driver = driverOf(client);
        this.router = new Router(this.driver, options.mapAddress ?? ((address): Address => address));
        this.telemetry = options.telemetry && new Telemetry(options.telemetry);
        this.read = { lane: "reads", ms: options.timeoutMs ?? 50, isRepeatable: true };
        this.change = { lane: "changes", ms: options.changeTimeoutMs ?? 3000, isRepeatable: true };
        this.loadLimit = options.loadLimit ?? 32;
        this.whenDown = options.whenDown ?? "load";
        this.#breaker = new Breaker(options.breaker);
        this.#onError = options.onError;
        this.#doubt = doubt;
    }

    /**
     * Asks Redis; `undefined`: it does not answer, and the database is to be asked.
     *
     * @throws {UnavailableError} where the database is not to be asked either.
     */
    async ask<T>(ask: () => Promise<T>): Promise<T | undefined> {
        let met: Error;
        if (this.router.hasEnded || this.#breaker.mayAsk()) {
            try {
                const said = await ask();
                this.#breaker.answered();
                return said;
            } catch (thrown) {
                met = asError(thrown);
                if (this.router.hasEnded) {
                    // It says nothing of Redis, and after its end nobody's database is asked.
                    throw new UnavailableError(`after close nothing is asked: ${met.message}`, { cause: met });
                }
                if (!(thrown instanceof Refusal) || DOWN.has(thrown.code)) {
                    this.#breaker.failed();
                    this.#doubt();
                } else {
                    this.#breaker.answered();
                }
                this.report(met);
            }
        } else {
            met = new Unanswered("Redis has not answered lately, and is not asked", false);
        }
        if (this.whenDown !== "load") {
            throw new UnavailableError(`Redis could not say: ${met.message}`, { cause: met });
        }
        return undefined;
    }

    /** Tells of what went wrong and was answered all the same. */
    report(error: Error): void {
        this.telemetry?.error(error);
        // What it throws, at once or later, is not the answer's matter.
        new Promise((resolve) => resolve(this.#onError?.(error))).catch((thrown: unknown) => {
            process.emitWarning(`onError has thrown: ${asError(thrown).message}`, "ApiKeysWarning");
        });
    }
}

/** @throws {TypeError | RangeError} where one is out of its bounds. */
function checkOptions(options: RedisOptions): void {
    const { outbox, onError, mapAddress } = options;
    checkFunctions({ outbox, onError, mapAddress });
    checkOneOf("whenDown", options.whenDown, [undefined, "load", "stale", "deny"]);
    for (const name of ["timeoutMs", "changeTimeoutMs"] as const) {
        const value = options[name];
        if (value !== undefined) {
            checkMs(name, value, 1);
        }
    }
    if (options.loadLimit !== undefined) {
        checkCount("loadLimit", options.loadLimit);
    }
}

export function asError(thrown: unknown): Error {
    return thrown instanceof Error ? thrown : new Error(String(thrown));
}
