/** What {@link ApiKeys.verify} says, and how it is made of what Redis, the database or L1 said. */

import { type Admission, described, type LimitState } from "./admission.js";
import { UnavailableError } from "./errors.js";
import { parse } from "./json.js";
import type { Kept } from "./l1.js";
import { type Limit, limitsOf } from "./limits.js";
import type { KeyRecord, ReadRow } from "./row.js";
import type { Validation } from "./validation.js";
import { judge, type Question, type RefusedCode } from "./verdict.js";

/** The key is good. */
export interface Valid {
    readonly kind: "valid";
    /** The public part of what was presented. */
    readonly prefix: string;
    readonly record: KeyRecord;
    /** Who said so: what this process kept, Redis, or the database. */
    readonly source: "l1" | "cache" | "database";
    /** Redis did not answer, and this is of before ({@link ApiKeysOptions.whenDown}). */
    readonly isStale: boolean;
    /** Milliseconds after which it may be no longer true though nobody changed anything; `null`: it does not end by itself. */
    readonly endsInMs: number | null;
    /**
     * How the limits stand by which the request was admitted, and then **the use is counted** (unless its cost was 0, or it
     * peeked); none: there is no limit. `null`: the request was not admitted and not counted. That is so where the key has no
     * limits and the call wanted none, or where Redis did not answer ({@link ApiKeysOptions.limitsWhenUnavailable}).
     */
    readonly limits: readonly LimitState[] | null;
}

/** The key is not good, or not for this. */
export interface Refused {
    readonly kind: "refused";
    readonly code: RefusedCode;
    /** Of FORBIDDEN: the first scope that is not granted. */
    readonly scope: string | null;
    /** Who said so; `null`: nobody was asked. */
    readonly source: "cache" | "database" | null;
}

/** The key is good, and asks for more than one of its limits has. Nothing was taken from any, and nothing counted. */
export interface Limited {
    readonly kind: "limited";
    /** RATE_LIMITED: too fast. USAGE_EXCEEDED: a quota or the credits are used up. */
    readonly code: "RATE_LIMITED" | "USAGE_EXCEEDED";
    /** The public part of what was presented. */
    readonly prefix: string;
    /** The name of the limit that says so: a quota or credits before any rate, and then the one with the longest wait. */
    readonly limit: string;
    /** Milliseconds to wait; `null`: that is of no use, since the cost is above the limit, or credits have to be bought. */
    readonly retryAfterMs: number | null;
    /** How all of them stand. */
    readonly limits: readonly LimitState[];
    /** Whether the database was asked for the key. */
    readonly source: "cache" | "database";
}

/** Neither Redis nor the database could say, or not whether limits let it by. Not the key's fault: answer 503. */
export interface Unavailable {
    readonly kind: "unavailable";
    readonly cause: Error;
}

/** What {@link ApiKeys.verify} says. */
export type Result = Valid | Refused | Limited | Unavailable;

/** Codes of VALIDATE that refuse. */
const CODES = new Set(["ABSENT", "MISMATCH", "DISABLED", "EXPIRED", "FORBIDDEN_IP", "FORBIDDEN"]);

/** A key that is kept in this process. */
export interface KeptKey {
    readonly prefix: string;
    readonly record: KeyRecord;
}

export function fromL1({ value, endsAt }: Kept<KeptKey>, isStale: boolean, now: number): Valid {
    const { prefix, record } = value;
    return { kind: "valid", prefix, record, source: "l1", isStale, endsInMs: endsAt - now, limits: null };
}

export function fromCache(prefix: string, said: Validation): Result {
    if (said.code === "VALID" && said.record !== null) {
        const endsInMs = said.leftMs < 0 ? null : said.leftMs;
        return {
            kind: "valid",
            prefix,
            record: parse(said.record) as unknown as KeyRecord,
            source: "cache",
            isStale: false,
            endsInMs,
            limits: null,
        };
    }
    if (!CODES.has(said.code)) {
        throw new UnavailableError(`the module replied ${said.code}, which this version does not know`);
    }
    return { kind: "refused", code: said.code as RefusedCode, scope: said.scope, source: "cache" };
}

/**
 * What ADMIT said. `own` are limits of the call, `known` those that the record had when it was seen last: a refusal does not
 * show it.
 */
export function fromAdmission(
    prefix: string,
    said: Admission,
    own: readonly Limit[],
    known: readonly Limit[],
    source: "cache" | "database",
): Result {
    if (said.code === "RATE_LIMITED" || said.code === "USAGE_EXCEEDED") {
        const { code, retryAfterMs } = said;
        const limits = described(said.limits ?? [], [...own, ...known]);
        return { kind: "limited", code, prefix, limit: said.limit ?? "", retryAfterMs, limits, source };
    }
    const result = fromCache(prefix, said);
    if (result.kind === "valid") {
        return { ...result, source, limits: described(said.limits ?? [], [...own, ...limitsOf(result.record)]) };
    }
    return result.kind === "refused" ? { ...result, source } : result;
}

export function fromDatabase(prefix: string, row: ReadRow | null, question: Question): Result {
    const now = Date.now();
    const { code, scope, endsAt } = judge(row, question, now);
    if (code === "VALID" && row !== null) {
        return {
            kind: "valid",
            prefix,
            record: row.record,
            source: "database",
            isStale: false,
            endsInMs: endsAt === null ? null : endsAt - now,
            limits: null,
        };
    }
    // Only a row is VALID.
    return { kind: "refused", code: code as RefusedCode, scope, source: "database" };
}
