/** What keys and tags are called in Redis. The braces keep all of an API key in one slot of a cluster. */

import type { Id } from "./errors.js";

/** Bytes of an id, as the module has it. */
const MAX_ID_BYTES = 256;

/** For errors. */
export const WHAT_AN_ID_IS = `a string of 1 to ${MAX_ID_BYTES} bytes or an integer`;

/** Whether it can be the id of a key or a user. An integer that a number can't hold may have been another's already. */
export function isId(value: unknown): value is Id {
    if (typeof value === "string") {
        const bytes = Buffer.byteLength(value);
        return bytes >= 1 && bytes <= MAX_ID_BYTES && value.isWellFormed();
    }
    return typeof value === "bigint" ? String(value).length <= MAX_ID_BYTES : Number.isSafeInteger(value);
}

/**
 * An id as its text.
 *
 * @param name of the argument, for the error.
 * @throws {TypeError} where it is none.
 */
export function idText(name: string, value: Id): string {
    if (!isId(value)) {
        throw new TypeError(`${name} must be ${WHAT_AN_ID_IS}, beyond 2^53 - 1 a bigint`);
    }
    return String(value);
}

export class Names {
    readonly #ns: string;

    /** `ns` separates tenants: it stands before every name. */
    constructor(ns: string) {
        this.#ns = ns;
    }

    /** What the names of all records, decisions and counters begin with. */
    get front(): string {
        return `${this.#ns}apikey:{`;
    }

    record(prefix: string): string {
        return `${this.front}${prefix}}`;
    }

    decisions(prefix: string): string {
        return `${this.record(prefix)}:scopes`;
    }

    counter(prefix: string): string {
        return `${this.record(prefix)}:usage`;
    }

    /** The prefix of the API key whose counter this is; `null` where it is none of this library's. */
    prefixOfCounter(key: string): string | null {
        const back = "}:usage";
        const isOurs = key.startsWith(this.front) && key.endsWith(back);
        return isOurs ? key.slice(this.front.length, key.length - back.length) : null;
    }

    list(user: Id): string {
        return `${this.#ns}apikey:list:{${idText("user", user)}}`;
    }

    tag(kind: "id" | "user", id: Id): string {
        return `${this.#ns}apikey:${kind}:${idText(kind, id)}`;
    }

    /** For fills. */
    ns(): { ns?: string } {
        return this.#ns === "" ? {} : { ns: this.#ns };
    }
}
