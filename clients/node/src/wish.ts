/** What a call of {@link ApiKeys.verify} wants of limits. */

import { checkNumber } from "./bounds.js";
import { faultIn, type Limit, MAX_COUNTERS } from "./limits.js";

/** Where one of them is given, the key is admitted, whether its record has limits or not. */
export interface LimitOptions {
    /** What the request costs: an integer up to 1,000,000,000. 1 where it is not said; of 0 nothing is taken and counted. */
    readonly cost?: number;
    /**
     * Names the request, by 1 to 64 bytes: within `apikey.request-id-window-ms` (a minute) it counts once, however often it
     * is asked, and {@link ApiKeys.settle} corrects its cost. Choose it yourself: of one that who calls you chooses, all
     * but the first would be free.
     */
    readonly requestId?: string;
    /** Limits beside those of the record; one of the same name stands for that. */
    readonly limits?: readonly Limit[];
    /**
     * Keys in Redis of further usage counters, as of a user or a tenant: those that limits name as `counter` 2 and so on. In a
     * cluster they have to be in the slot of the key.
     */
    readonly counters?: readonly string[];
    /** Whether it is judged alone: nothing is taken and counted. */
    readonly peek?: boolean;
}

const MAX_COST = 1e9;
const MAX_ID_BYTES = 64;

/** Whether anything is wanted. */
export function wants({ cost, requestId, limits, counters, peek }: LimitOptions): boolean {
    return (
        cost !== undefined ||
        requestId !== undefined ||
        limits !== undefined ||
        counters !== undefined ||
        peek !== undefined
    );
}

/** Whether limits are among it. */
export function hasLimits({ limits = [] }: LimitOptions = {}): boolean {
    return limits.length > 0;
}

/** @throws {TypeError | RangeError} where something is wanted that can't be had. */
export function checkWish({ cost, requestId, limits, counters = [], peek }: LimitOptions): void {
    if (cost !== undefined) {
        checkCost(cost);
    }
    if (requestId !== undefined) {
        checkRequestId(requestId);
    }
    checkCounters(counters);
    if (peek !== undefined && typeof peek !== "boolean") {
        throw new TypeError("peek must be true or false");
    }
    const fault = faultIn(limits);
    if (fault !== undefined) {
        throw new RangeError(fault);
    }
    const most = Math.max(...(limits ?? []).map(({ counter }) => counter ?? 1), 1);
    if (most > counters.length + 1) {
        throw new RangeError(`counters must have at least ${most - 1}, since a limit is of counter ${most}`);
    }
}

/** @throws {TypeError | RangeError} where it is none. */
export function checkCost(cost: number): void {
    checkNumber("cost", cost, 0, MAX_COST);
    if (!Number.isInteger(cost)) {
        throw new RangeError("cost must be an integer");
    }
}

/** @throws {TypeError | RangeError} where it is none. */
export function checkRequestId(id: string): void {
    if (typeof id !== "string" || !id.isWellFormed()) {
        throw new TypeError("requestId must be a text");
    }
    if (id === "" || Buffer.byteLength(id) > MAX_ID_BYTES) {
        throw new RangeError(`requestId must have 1 to ${MAX_ID_BYTES} bytes`);
    }
}

/** @throws {TypeError | RangeError} where they are none. */
export function checkCounters(counters: readonly string[]): void {
    if (!Array.isArray(counters) || counters.some((one) => typeof one !== "string" || one === "")) {
        throw new TypeError("counters must be an array of keys in Redis");
    }
    if (counters.length >= MAX_COUNTERS || new Set(counters).size < counters.length) {
        throw new RangeError(`counters must have at most ${MAX_COUNTERS - 1} elements, each once`);
    }
}
