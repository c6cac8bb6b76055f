/** How values of a region become bytes, and again values. The name stands in the entry's label, so that any reader knows. */

import { parse, stringify } from "./json.js";

/** Makes bytes of values, and values of bytes. */
export interface Serialiser<T> {
    /** Stands in the label: letters, digits, `-`, `_` and `.`, at most 16. */
    readonly name: string;
    /** @throws {TypeError} where it can't. */
    serialise(value: T): Uint8Array;
    /**
     * Makes a value that has nothing to do with the bytes any more, which may be kept for others.
     *
     * @throws {Error} where the bytes are none of its own.
     */
    deserialise(bytes: Buffer): T;
}

/**
 * JSON, as {@link stringify} and {@link parse} have it: an integer beyond 2^53 - 1 is a `bigint`. A `Date` comes back as the
 * text that it was written as.
 *
 * @typeParam T is believed: what comes back is not checked against it.
 */
export function json<T>(): Serialiser<T> {
    return {
        name: "json",
        serialise: (value) => Buffer.from(stringify(value)),
        deserialise: (bytes) => parse(bytes.toString()) as T,
    };
}

/** Bytes as they are. */
export const bytes: Serialiser<Uint8Array> = {
    name: "bytes",
    serialise: (value) => {
        if (!(value instanceof Uint8Array)) {
            throw new TypeError("a value must be bytes: a Buffer or another Uint8Array");
        }
        return value;
    },
    deserialise: (value) => Buffer.from(value),
};

const NAME = /^[A-Za-z0-9_.-]{1,16}$/;

/** @throws {TypeError} where it is none. */
export function checkSerialiser<T>(given: Serialiser<T>): Serialiser<T> {
    if (typeof given?.serialise !== "function" || typeof given.deserialise !== "function") {
        throw new TypeError("serialiser must have serialise and deserialise");
    }
    if (typeof given.name !== "string" || !NAME.test(given.name)) {
        throw new TypeError("serialiser.name must be 1 to 16 letters, digits, -, _ or .");
    }
    return given;
}
