/**
 * JSON whose integers are kept. `JSON.parse` makes 9007199254740992 of 9007199254740993, and so the key of one user
 * that of another; here an integer that a number can't hold is a `bigint`.
 */

import { randomUUID } from "node:crypto";

/** What JSON can say, with integers beyond 2^53 as `bigint`. */
export type Json = null | boolean | number | bigint | string | readonly Json[] | JsonObject;

/** An object of JSON. */
export type JsonObject = { readonly [name: string]: Json };

/** In front of an integer that is carried through `JSON.parse` as a string. It is this process' own, so that no text can begin with it. */
const MARK = `${randomUUID()}:`;

/** Shorter integers are safe; most records have none that is longer, and are parsed as they stand. */
const MAY_BE_LARGE = /\d{16}/;

/** A string, or a number as a whole: so what looks like an integer in a string, or is a part of a fraction, is not taken for one. */
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/gs;
const INTEGER = /^-?\d{16,}$/;

/**
 * Parses JSON. An integer outside of -(2^53 - 1) to 2^53 - 1 is a `bigint`, any other number a number.
 *
 * @throws {SyntaxError} where the text is no JSON.
 */
export function parse(text: string): Json {
    if (!MAY_BE_LARGE.test(text)) {
        return JSON.parse(text) as Json;
    }
    const marked = text.replace(STRING_OR_NUMBER, (token) =>
        INTEGER.test(token) && !Number.isSafeInteger(Number(token)) ? `"${MARK}${token}"` : token,
    );
    return JSON.parse(marked, (_, value: Json) =>
        typeof value === "string" && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value,
    ) as Json;
}

/**
 * Writes JSON: a `bigint` as the integer that it is, a `Date` in RFC 3339, bytes (a `Buffer` or another `Uint8Array`)
 * as hex digits behind `\x`, an infinite number as `"infinity"` or `"-infinity"`, as PostgreSQL has them. Fields that are
 * `undefined` are left out. What `JSON.stringify` would make nothing of, or null, is refused: an end that is no time
 * would be none.
 *
 * @throws {TypeError} where the value is none of JSON (NaN, a `Date` that is no time, a function, a symbol), or holds itself.
 */
export function stringify(value: unknown): string {
    const text = JSON.stringify(value, function (this: Record<string, unknown>, name, json: unknown) {
        const given = this[name];
        if (typeof given === "bigint") {
            return `${MARK}${given}`;
        }
        if (given instanceof Uint8Array) {
            return `\\x${Buffer.from(given).toString("hex")}`;
        }
        const said = json instanceof Number ? Number(json) : json;
        if (typeof said === "number" && !Number.isFinite(said) && !Number.isNaN(said)) {
            return said > 0 ? "infinity" : "-infinity";
        }
        const isNothing = (said ?? null) === null && (given ?? null) !== null;
        if (isNothing || Number.isNaN(said) || typeof said === "function" || typeof said === "symbol") {
            throw new TypeError(`${name || "this"} is not JSON`);
        }
        return json;
    });
    if (text === undefined) {
        throw new TypeError("this is not JSON");
    }
    return text.includes(MARK) ? text.replaceAll(new RegExp(`"${MARK}(-?\\d+)"`, "g"), "$1") : text;
}

/** A record that many are given is changed by none. */
export function frozen(value: Json): Json {
    if (value !== null && typeof value === "object") {
        Object.values(value).forEach(frozen);
        Object.freeze(value);
    }
    return value;
}
