/** When something ends, as databases write it. The rules are the module's (`docs/commands.md`, Records). */

import { BadRecord } from "./errors.js";
import type { Json } from "./json.js";

/** The milliseconds of 1990 to 9999: what an end may be. */
const EARLIEST = 631_152_000_000;
const LATEST = 253_402_300_799_999;

/** The first millisecond of the years that a time may be of, in UTC as in its zone. */
const YEAR_1 = -62_135_596_800_000;

const DAY_MS = 86_400_000;

/**
 * Reads when something ends: epoch milliseconds, `null` for never, `-Infinity` for what has ended whenever it is asked.
 * `name` is what errors call it.
 *
 * @throws {BadRecord} where it is no such time.
 */
export function readEnd(name: string, value: Json | undefined): number | null {
    if (value === null || value === undefined) {
        return null;
    }
    const wrong = (): BadRecord =>
        new BadRecord(`${name} must be null, an RFC 3339 time, "infinity", or epoch milliseconds of 1990 to 9999`);
    if (typeof value === "number" || typeof value === "bigint") {
        if (typeof value === "number" && !Number.isInteger(value)) {
            throw wrong();
        }
        return inRange(name, Number(value));
    }
    if (typeof value !== "string") {
        throw wrong();
    }
    if (/^[+-]?\d+$/.test(value)) {
        return inRange(name, Number(value));
    }
    if (value === "infinity") {
        return null;
    }
    if (value === "-infinity") {
        return Number.NEGATIVE_INFINITY;
    }
    const time = readTime(name, value);
    if (time === undefined) {
        throw wrong();
    }
    return time;
}

function inRange(name: string, ms: number): number {
    if (ms >= EARLIEST && ms <= LATEST) {
        return ms;
    }
    throw new BadRecord(`${name} must be in milliseconds, of 1990 to 9999; null is never`);
}

const TIME = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?(?:([Zz])|([+-])(\d{2})(?::?(\d{2}))?)?$/;

function readTime(name: string, text: string): number | undefined {
    const parts = TIME.exec(text);
    if (parts === null) {
        return undefined;
    }
    const [, year, month, day, hour, minute, second, fraction = "", zulu, sign, zoneHours, zoneMinutes = "00"] = parts;
    const [y, mo, d, h, mi, s] = [year, month, day, hour, minute, second].map(Number) as [
        number,
        number,
        number,
        number,
        number,
        number,
    ];
    const date = new Date(0);
    date.setUTCFullYear(y, mo - 1, d);
    const isDate = mo >= 1 && mo <= 12 && date.getUTCMonth() === mo - 1 && date.getUTCDate() === d && d >= 1;
    // A minute has a second 60 where a leap second is; it counts as a part of the second before.
    if (!isDate || h > 23 || mi > 59 || s > 60) {
        return undefined;
    }
    if (zulu === undefined && sign === undefined) {
        throw new BadRecord(`${name} has no zone: give one`);
    }
    const offset = Number(zoneHours ?? 0) * 60 + Number(zoneMinutes);
    if (Number(zoneMinutes) > 59 || offset * 60_000 >= DAY_MS) {
        return undefined;
    }
    const ms = Number(fraction.slice(0, 3).padEnd(3, "0"));
    const local = date.getTime() + ((h * 60 + mi) * 60 + s) * 1000 + ms;
    const at = local - (sign === "-" ? -offset : offset) * 60_000;
    return y >= 1 && at >= YEAR_1 && at <= LATEST ? at : undefined;
}
