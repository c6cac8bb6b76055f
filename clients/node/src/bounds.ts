/** Checks what options say, as they are given: a bound that is none would be met as a wait without end, or as no answer. */

/** The most milliseconds that a timer of Node can wait. */
const MOST_MS = 2 ** 31 - 1;

/**
 * Milliseconds that something may take.
 *
 * @throws {TypeError | RangeError} where it is no number, or out of its bounds.
 */
export function checkMs(name: string, value: number, least = 1): number {
    return checkNumber(name, value, least, MOST_MS);
}

/**
 * How many there may be: an integer, or `Infinity`.
 *
 * @throws {TypeError | RangeError} where it is no number, or out of its bounds.
 */
export function checkCount(name: string, value: number): number {
    checkNumber(name, value, 1, Number.POSITIVE_INFINITY);
    if (Number.isFinite(value) && !Number.isInteger(value)) {
        throw new RangeError(`${name} must be an integer of at least 1, or Infinity`);
    }
    return value;
}

/** @throws {TypeError} where it is none of them. */
export function checkOneOf<T>(name: string, value: T, all: readonly T[]): T {
    if (!all.includes(value)) {
        throw new TypeError(`${name} must be one of ${all.join(", ")}`);
    }
    return value;
}

/** @throws {TypeError} where it is given and no function. */
export function checkFunctions(options: Readonly<Record<string, unknown>>): void {
    for (const [name, value] of Object.entries(options)) {
        if (value !== undefined && typeof value !== "function") {
            throw new TypeError(`${name} must be a function`);
        }
    }
}

/** @throws {TypeError | RangeError} where it is no number, or out of its bounds. */
export function checkNumber(name: string, value: number, least: number, most: number): number {
    if (typeof value !== "number") {
        throw new TypeError(`${name} must be a number`);
    }
    // NaN is within no bounds.
    if (!(value >= least && value <= most)) {
        throw new RangeError(`${name} must be a number between ${least} and ${most}`);
    }
    return value;
}
