/** ADMIT, which verifies a key, takes from its limits, and counts a use: what it is asked, and what it replies. */

import { kindOf, type Limit, type LimitKind, limitWords, windowOf } from "./limits.js";
import { list } from "./replies.js";
import type { Reply } from "./session.js";
import { addValidation, readValidation, type Validation, type ValidationOptions } from "./validation.js";

/** How one limit stands. */
export interface LimitState {
    readonly name: string;
    /** The most that there can be: a rate's burst, a quota's units; `null` of credits. */
    readonly limit: number | null;
    /** What is left. */
    readonly remaining: number;
    /** Milliseconds until all is there again; `null`: that does not come by itself. */
    readonly resetAfterMs: number | null;
    /**
     * Milliseconds until what was asked for is there: 0 where it is now; `null` where that does not come by itself, and
     * where nothing was asked for.
     */
    readonly retryAfterMs: number | null;
    /** `null` where this process has not seen the key's record yet. */
    readonly kind: LimitKind | null;
    /** Milliseconds that `limit` is for, where that is known. */
    readonly windowMs: number | null;
    /** Whether it is only tried out, and denies nothing. */
    readonly isShadow: boolean;
}

/** What is asked of limits. */
export interface AdmissionOptions extends ValidationOptions {
    /** Usage counters by their keys: of the first the use is counted. */
    readonly counters: readonly string[];
    /** 1 where it is not said. Of 0 nothing is taken and counted. */
    readonly cost?: number | undefined;
    /** The caller's name of the request, by which it counts once. */
    readonly id?: string | undefined;
    /** Whether nothing is to be taken. */
    readonly isPeek?: boolean | undefined;
    /** Limits beside those of the record. */
    readonly limits?: readonly Limit[] | undefined;
}

/** What ADMIT replies. */
export interface Admission extends Validation {
    /** Of RATE_LIMITED and USAGE_EXCEEDED: the name of the limit that says so. */
    readonly limit: string | null;
    /** Of these: milliseconds to wait; `null`: that is of no use. */
    readonly retryAfterMs: number | null;
    /** How all limits stand; `null` where none was judged. */
    readonly limits: readonly LimitState[] | null;
}

/** The arguments of ADMIT. */
export function admitCommand(key: string, options: AdmissionOptions): string[] {
    const { counters, cost, id, isPeek, limits = [] } = options;
    const command = addValidation(["APIKEY.ADMIT", key, String(counters.length), ...counters], options);
    if (cost !== undefined) {
        command.push("COST", String(cost));
    }
    if (id !== undefined) {
        command.push("ID", id);
    }
    if (isPeek === true) {
        command.push("PEEK");
    }
    command.push(...limitWords(limits));
    return command;
}

/** Whether it may be written again when its reply was lost. */
export function isRepeatable({ cost, id, isPeek }: AdmissionOptions): boolean {
    return id !== undefined || isPeek === true || cost === 0;
}

/** Reads what ADMIT replied. */
export function readAdmission(reply: Reply): Admission {
    const validation = readValidation(reply);
    const [code, second, third, limits] = list(reply);
    if (code !== "RATE_LIMITED" && code !== "USAGE_EXCEEDED") {
        return { ...validation, limit: null, retryAfterMs: null, limits: code === "VALID" ? readStates(limits) : null };
    }
    return {
        ...validation,
        leftMs: -1,
        limit: String(second),
        retryAfterMs: msOf(third),
        limits: readStates(limits),
    };
}

function readStates(reply: Reply | undefined): LimitState[] {
    return list(reply).map((state) => {
        const [name, limit, remaining, reset, retry] = list(state);
        return stateOf(name, null, limit, remaining, reset, msOf(retry));
    });
}

/** Reads what LIMITS replied. */
export function readLimits(reply: Reply): LimitState[] {
    return list(reply).map((state) => {
        const [name, kind, limit, remaining, reset] = list(state);
        return stateOf(name, String(kind) as LimitKind, limit, remaining, reset, null);
    });
}

function stateOf(
    name: Reply | undefined,
    kind: LimitKind | null,
    limit: Reply | undefined,
    remaining: Reply | undefined,
    reset: Reply | undefined,
    retryAfterMs: number | null,
): LimitState {
    return {
        name: String(name),
        limit: msOf(limit),
        remaining: Number(remaining),
        resetAfterMs: msOf(reset),
        retryAfterMs,
        kind,
        windowMs: null,
        isShadow: false,
    };
}

/** What is below 0 is never, or none. */
function msOf(reply: Reply | undefined): number | null {
    const number = Number(reply);
    return number < 0 ? null : number;
}

/** States with what the limits themselves say. */
export function described(states: readonly LimitState[], limits: readonly Limit[]): LimitState[] {
    return states.map((state) => {
        const limit = limits.find(({ name }) => name === state.name);
        return limit === undefined
            ? state
            : { ...state, kind: kindOf(limit), windowMs: windowOf(limit), isShadow: limit.shadow === true };
    });
}
