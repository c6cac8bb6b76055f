/**
 * What a row says of a presented key: the checks in the order in which the module decides them, so that someone who
 * presents a wrong secret learns nothing of the key's state.
 */

import { cover, readAddress } from "./addresses.js";
import { acceptedUntil } from "./digest.js";
import type { ReadRow } from "./row.js";
import { grant } from "./scopes.js";

/** The codes with which a key is refused. */
export type RefusedCode =
    /** What was presented is no key: it has not the format, or its checksum is wrong. Nothing was asked. */
    | "MALFORMED"
    /** There is no such key. */
    | "ABSENT"
    /** The secret is wrong, or its time is over. */
    | "MISMATCH"
    /** The key is not active. */
    | "DISABLED"
    /** `expires_at` has come. */
    | "EXPIRED"
    /** The record has `allowed_ips`, and they do not cover the address, or none was given. */
    | "FORBIDDEN_IP"
    /** The record does not grant a scope. */
    | "FORBIDDEN"
    /** All of that holds, but the row has no digest that the secret could be compared with. */
    | "UNVERIFIED";

/** What {@link judge} says. */
export interface Verdict {
    readonly code: "VALID" | Exclude<RefusedCode, "MALFORMED">;
    /** The first scope that is not granted. */
    readonly scope: string | null;
    /** Epoch milliseconds at which VALID ends by itself; `null` where it does not. */
    readonly endsAt: number | null;
}

/** What is asked of a row. */
export interface Question {
    /** The digests that what was presented has: one for each pepper. */
    readonly digests: readonly Buffer[];
    readonly scopes: readonly string[];
    /** Checked by {@link checkAddress}; `undefined`: not known. */
    readonly address: string | undefined;
}

/**
 * Checks an address.
 *
 * @throws {RangeError} where it is neither IPv4 nor IPv6.
 */
export function checkAddress(address: string | undefined): void {
    if (address !== undefined && readAddress(address) === undefined) {
        throw new RangeError("address must be an IPv4 or IPv6 address");
    }
}

/** Judges a row at `now`, in epoch milliseconds; `null`: the database has none. */
export function judge(row: ReadRow | null, question: Question, now: number): Verdict {
    const say = (code: Verdict["code"], scope: string | null = null): Verdict => ({ code, scope, endsAt: null });
    if (row === null) {
        return say("ABSENT");
    }
    const isCompared = row.digests.length > 0;
    const until = isCompared ? acceptedUntil(row.digests, question.digests) : Number.POSITIVE_INFINITY;
    if (until === undefined || now >= until) {
        return say("MISMATCH");
    }
    if (!row.isActive) {
        return say("DISABLED");
    }
    if (row.expiresAt !== null && now >= row.expiresAt) {
        return say("EXPIRED");
    }
    if (row.allowedIps !== null) {
        const address = question.address === undefined ? undefined : readAddress(question.address);
        if (address === undefined || !cover(row.allowedIps, address)) {
            return say("FORBIDDEN_IP");
        }
    }
    const lacking = question.scopes.find((scope) => !grant(row.scopes, scope));
    if (lacking !== undefined) {
        return say("FORBIDDEN", lacking);
    }
    const end = Math.min(row.expiresAt ?? Number.POSITIVE_INFINITY, until);
    return { code: isCompared ? "VALID" : "UNVERIFIED", scope: null, endsAt: Number.isFinite(end) ? end : null };
}
