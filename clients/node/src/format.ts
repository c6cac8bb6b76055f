/**
 * The format of a key: `<name>_<prefix>_<secret><checksum>`, as `ak_live_9Gq2VbX0aTzL_` and 39 characters more. What
 * has a wrong checksum is none of ours, and costs no round trip; a scanner for leaked keys finds ours, and few others.
 */

import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { digestOf } from "./digest.js";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX = 12;
/** 62^33 is more than 2^196. */
const SECRET = 33;
const CHECKSUM = 6;
const KEY = new RegExp(`^([A-Za-z0-9_]+_[0-9A-Za-z]{${PREFIX}})_([0-9A-Za-z]{${SECRET}})([0-9A-Za-z]{${CHECKSUM}})$`);
const PREFIXES = new RegExp(`^[A-Za-z0-9_]+_[0-9A-Za-z]{${PREFIX}}$`);
const MAX_NAME = 64;
/** Longer ones are not looked at. */
const MAX_KEY = MAX_NAME + PREFIX + SECRET + CHECKSUM + 2;

/** A key that was made. */
export interface GeneratedKey {
    /** Its public part, by which the row is found: for a column with a unique index. */
    readonly prefix: string;
    /** What is digested. To be shown once and stored nowhere. */
    readonly secret: string;
    /** The key as a whole, as its owner presents it. To be shown once and stored nowhere. */
    readonly presented: string;
    /** 64 hex digits, for the row: SHA-256 of the secret, or HMAC-SHA-256 with the first pepper. */
    readonly digest: string;
}

/** What a presented key consists of. */
export interface PresentedKey {
    /** By which the row is found, and which names the entry in the cache. */
    readonly prefix: string;
    readonly secret: string;
}

/** Makes a key: `name` says what for (`ak_live`), of letters, digits and `_`. The secret has 192 random bits and more. */
export function generateKey(name: string, pepper?: string | Uint8Array): GeneratedKey {
    if (!/^[A-Za-z0-9_]+$/.test(name) || name.length > MAX_NAME) {
        throw new RangeError(`the name of a key must be 1 to ${MAX_NAME} letters, digits and _`);
    }
    return withSecret(`${name}_${randomText(PREFIX)}`, pepper);
}

/** Makes another secret for a key of this format, whose prefix stays. */
export function regenerateKey(prefix: string, pepper?: string | Uint8Array): GeneratedKey {
    if (!PREFIXES.test(prefix) || prefix.length > MAX_NAME + 1 + PREFIX) {
        throw new RangeError("the prefix of a key must be one that was generated");
    }
    return withSecret(prefix, pepper);
}

function withSecret(prefix: string, pepper: string | Uint8Array | undefined): GeneratedKey {
    const secret = randomText(SECRET);
    const body = `${prefix}_${secret}`;
    return { prefix, secret, presented: body + checksum(body), digest: digestOf(secret, pepper).toString("hex") };
}

/** Takes a presented key apart; `undefined` where it has not the format, or a wrong checksum. */
export function parseKey(presented: string): PresentedKey | undefined {
    const parts = presented.length <= MAX_KEY ? KEY.exec(presented) : null;
    if (parts === null) {
        return undefined;
    }
    const [, prefix = "", secret = "", sum] = parts;
    return checksum(`${prefix}_${secret}`) === sum ? { prefix, secret } : undefined;
}

function checksum(body: string): string {
    let sum = crc32(body);
    let text = "";
    for (let at = 0; at < CHECKSUM; at += 1) {
        text = ALPHABET.charAt(sum % ALPHABET.length) + text;
        sum = Math.floor(sum / ALPHABET.length);
    }
    return text;
}

/** Characters that are all equally likely: bytes beyond the largest multiple of 62 are drawn again. */
function randomText(length: number): string {
    let text = "";
    while (text.length < length) {
        for (const byte of randomBytes(length)) {
            if (byte < 4 * ALPHABET.length && text.length < length) {
                text += ALPHABET.charAt(byte % ALPHABET.length);
            }
        }
    }
    return text;
}
