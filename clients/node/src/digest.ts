/** Digests of secrets: SHA-256, or HMAC-SHA-256 with a pepper. They are computed here, so that no secret leaves the process. */

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { StoredDigest } from "./commands.js";
import { BadRecord } from "./errors.js";
import type { Json, JsonObject } from "./json.js";
import { readEnd } from "./times.js";

/** Bytes of a digest. */
export const DIGEST_BYTES = 32;

/** The soonest end that SETVAL takes, in epoch milliseconds. */
const EARLIEST = 631_152_000_000;

/** A digest that a row accepts, and until when. */
export interface Accepted {
    /** 32 bytes. */
    readonly digest: Buffer;
    /** Epoch milliseconds from which on it is no longer accepted; `null` where it does not end. */
    readonly until: number | null;
}

/** The digest of a secret: HMAC-SHA-256 with the pepper where there is one, else SHA-256. 32 bytes. */
export function digestOf(secret: string, pepper?: string | Uint8Array): Buffer {
    return (pepper === undefined ? createHash("sha256") : createHmac("sha256", pepper)).update(secret).digest();
}

/** Reads a digest as databases write one: 64 hex digits, `\x` and those, base64 or base64url. */
export function readDigest(text: string): Buffer | undefined {
    const hex = text.startsWith("\\x") ? text.slice(2) : text;
    if (hex.length === 2 * DIGEST_BYTES || hex !== text) {
        return /^[0-9A-Fa-f]{64}$/.test(hex) ? Buffer.from(hex, "hex") : undefined;
    }
    const plain = text.endsWith("=") ? text.slice(0, -1) : text;
    // 43 characters have two bits too many: of those that decode alike the one is taken where they are 0.
    for (const encoding of ["base64", "base64url"] as const) {
        const bytes = Buffer.from(plain, encoding);
        if (plain.length === 43 && bytes.toString(encoding).replace("=", "") === plain) {
            return bytes;
        }
    }
    return undefined;
}

/**
 * Reads the digests of a row: one, an array of one or two, each perhaps as `{"digest": .., "until": ..}`; or null for none.
 *
 * @throws {BadRecord} where it holds anything else.
 */
export function readDigests(name: string, value: Json | undefined): Accepted[] {
    const wrong = (): BadRecord =>
        new BadRecord(
            `${name} must be 64 hex digits, \\x and those, or base64 of 32 bytes, null, or an array of one or two of those, ` +
                `or of {"digest": .., "until": ..}`,
        );
    const isArray = Array.isArray(value);
    const elements: readonly Json[] = isArray ? value : [value ?? null];
    if (elements.length === 0) {
        throw wrong();
    }
    const accepted: Accepted[] = [];
    for (const element of elements) {
        let text = element;
        let until: Json | undefined;
        if (isArray && element !== null && typeof element === "object" && !Array.isArray(element)) {
            const { digest, until: end, ...others } = element as JsonObject;
            if (digest === undefined || Object.keys(others).length > 0) {
                throw wrong();
            }
            text = digest;
            until = end;
        }
        if (text === null) {
            continue;
        }
        const digest = typeof text === "string" ? readDigest(text) : undefined;
        if (digest === undefined) {
            throw wrong();
        }
        accepted.push({ digest, until: readEnd(`until of ${name}`, until) });
    }
    if (accepted.length > 2) {
        throw wrong();
    }
    return accepted;
}

/**
 * Until when one of `presented` is accepted: its latest end, `Infinity` for ever; `undefined` where it is none of them.
 * All are compared, each in constant time.
 */
export function acceptedUntil(accepted: readonly Accepted[], presented: readonly Buffer[]): number | undefined {
    let latest: number | undefined;
    for (const { digest, until } of accepted) {
        for (const one of presented) {
            if (timingSafeEqual(digest, one)) {
                latest = Math.max(latest ?? Number.NEGATIVE_INFINITY, until ?? Number.POSITIVE_INFINITY);
            }
        }
    }
    return latest;
}

/** Digests as SETVAL takes them. */
export function storedDigests(accepted: readonly Accepted[]): StoredDigest[] {
    return accepted.map(({ digest, until }) => ({
        hex: digest.toString("hex"),
        ...(until === null ? {} : { untilMs: Math.max(until, EARLIEST) }),
    }));
}
