/** Reads replies: arrays, maps, integers. */

import type { Reply } from "./session.js";

/** An integer: a `bigint` beyond 2^53. */
export type Integer = number | bigint;

export function list(reply: Reply | undefined): readonly Reply[] {
    if (!Array.isArray(reply)) {
        throw new TypeError("the reply is no array: is this the redis-apikey module?");
    }
    return reply as readonly Reply[];
}

export function map(reply: Reply): ReadonlyMap<string, Reply> {
    const flat = list(reply);
    const fields = new Map<string, Reply>();
    for (let at = 0; at < flat.length; at += 2) {
        fields.set(String(flat[at]), flat[at + 1] ?? null);
    }
    return fields;
}

export function integer(reply: Reply | undefined): Integer {
    const number = Number(reply);
    return Number.isSafeInteger(number) ? number : BigInt(String(reply));
}

/** What is a text whatever stands in it. */
const TEXTS = new Set(["region", "namespace", "evict"]);

/** A flat map of words and numbers by its fields. */
export function fields(reply: Reply | undefined): Readonly<Record<string, string | Integer | null>> {
    const all: Record<string, string | Integer | null> = {};
    for (const [name, value] of map(reply ?? null)) {
        const text = value === null ? null : String(value);
        if (text === null || TEXTS.has(name) || text === "" || Number.isNaN(Number(text))) {
            all[name] = text;
        } else {
            all[name] = /^-?\d+$/.test(text) ? integer(text) : Number(text);
        }
    }
    return all;
}
