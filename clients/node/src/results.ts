/** What {@link ApiKeys.verify} says, and how it is made of what Redis, the database or L1 said. */

import type { Validation } from "./commands.js";
import { UnavailableError } from "./errors.js";
import { parse } from "./json.js";
import type { Kept } from "./l1.js";
import type { KeyRecord, ReadRow } from "./row.js";
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

/** Neither Redis nor the database could say. Not the key's fault: answer 503. */
export interface Unavailable {
    readonly kind: "unavailable";
    readonly cause: Error;
}

/** What {@link ApiKeys.verify} says. */
export type Result = Valid | Refused | Unavailable;

/** Codes of VALIDATE that refuse. */
const CODES = new Set(["ABSENT", "MISMATCH", "DISABLED", "EXPIRED", "FORBIDDEN_IP", "FORBIDDEN"]);

/** A key that is kept in this process. */
export interface KeptKey {
    readonly prefix: string;
    readonly record: KeyRecord;
}

export function fromL1({ value, endsAt }: Kept<KeptKey>, isStale: boolean, now: number): Valid {
    const { prefix, record } = value;
    return { kind: "valid", prefix, record, source: "l1", isStale, endsInMs: endsAt - now };
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
        };
    }
    if (!CODES.has(said.code)) {
        throw new UnavailableError(`VALIDATE replied ${said.code}, which this version does not know`);
    }
    return { kind: "refused", code: said.code as RefusedCode, scope: said.scope, source: "cache" };
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
        };
    }
    // Only a row is VALID.
    return { kind: "refused", code: code as RefusedCode, scope, source: "database" };
}
