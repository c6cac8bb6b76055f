/**
 * What a limit is, in the form of a record's field `limits`; a call gives its own in the same. The rules are the module's
 * (`engine/src/record/limits.rs`).
 */

/** A limit. Where one has the same name, that of a call stands for that of the record. */
export type Limit = Rate | Quota | Credits;

/** What every limit may say. A field that is null is as one that is missing. */
export type LimitFields = {
    /** 1 to 64 letters, digits or any of `_ - . :`. What was taken is kept by it. */
    readonly name: string;
    /** Units that it takes for each of a request's cost. 1 where it is not said. */
    readonly cost?: number | null;
    /** The number of its counter: 1, where it is not said, is the key's own. */
    readonly counter?: number | null;
    /** Whether it is only tried out: judged and shown, and denying nothing. */
    readonly shadow?: boolean | null;
};

/** At most `burst` at once (`units` where it is not said), and `units` in each `per` milliseconds, continuously. */
export type Rate = LimitFields & {
    readonly units: number;
    readonly per: number;
    readonly burst?: number | null;
};

/** So many units in each calendar period. */
export type Quota = LimitFields & {
    readonly quota: number;
    readonly period: "hour" | "day" | "week" | "month" | "year";
    /** The day with which a month's period begins. */
    readonly day?: number | null;
    /** Minutes that are added to UTC. */
    readonly offset?: number | null;
};

/** A balance, which {@link ApiKeys.credit} alone raises. */
export type Credits = LimitFields & { readonly credits: true };

/** What a limit bounds: how fast a key is used, how much of it in a period, or what was paid for. */
export type LimitKind = "rate" | "quota" | "credits";

const MAX_LIMITS = 16;
/** The most counters that one call names. */
export const MAX_COUNTERS = 16;
const MAX_UNITS = 1e15;
const MAX_PER_MS = 31_622_400_000;
const MAX_INTEGER = 2n ** 63n - 1n;
const NAME = /^[A-Za-z0-9_.:-]{1,64}$/;

const DAY_MS = 86_400_000;
/** How long each takes at most. */
const PERIODS: ReadonlyMap<string, number> = new Map([
    ["hour", DAY_MS / 24],
    ["day", DAY_MS],
    ["week", 7 * DAY_MS],
    ["month", 31 * DAY_MS],
    ["year", 366 * DAY_MS],
]);

/** Each number of a limit, with its bounds. */
const NUMBERS: Readonly<Record<string, readonly [least: number, most: number]>> = {
    units: [1, MAX_UNITS],
    per: [1, MAX_PER_MS],
    burst: [1, MAX_UNITS],
    quota: [0, MAX_UNITS],
    day: [1, 31],
    offset: [-1440, 1440],
    cost: [0, 1_000_000],
    counter: [1, MAX_COUNTERS],
};
const TYPES: Readonly<Record<string, readonly [type: string, what: string]>> = {
    name: ["string", "a string"],
    period: ["string", "a string"],
    credits: ["boolean", "true or false"],
    shadow: ["boolean", "true or false"],
};

/** What is wrong with limits; `undefined`: nothing. */
export function faultIn(value: unknown): string | undefined {
    if (value === undefined || value === null) {
        return undefined;
    }
    if (!Array.isArray(value)) {
        return "limits must be null or an array of objects";
    }
    if (value.length > MAX_LIMITS) {
        return `limits must have at most ${MAX_LIMITS} elements`;
    }
    const names = new Set<unknown>();
    for (const [at, one] of value.entries()) {
        const fault = faultOf(one) ?? (names.has(one.name) ? "must have a name of its own" : undefined);
        if (fault !== undefined) {
            return `limits: limit ${at + 1} ${fault}`;
        }
        names.add(one.name);
    }
    return undefined;
}

function faultOf(limit: unknown): string | undefined {
    if (limit === null || typeof limit !== "object" || Array.isArray(limit)) {
        return "must be an object";
    }
    const said = new Map<string, unknown>();
    for (const [place, [name, value]] of Object.entries(limit).entries()) {
        if (value === null || value === undefined) {
            continue;
        }
        said.set(name, value);
        const [type, what] = TYPES[name] ?? ["number", "a whole number"];
        if (!Object.hasOwn(TYPES, name) && !Object.hasOwn(NUMBERS, name)) {
            // Not its name: what stands in a record is not quoted.
            return `has a field that no limit has (number ${place + 1})`;
        }
        const isWhole = typeof value === "bigint" || Number.isInteger(value);
        if (type === "number" ? !isWhole : typeof value !== type) {
            return `${name} must be ${what}`;
        }
    }
    const isRate = said.has("units") || said.has("per") || said.has("burst");
    const isQuota = said.has("quota") || said.has("period") || said.has("day") || said.has("offset");
    const credits = said.get("credits");
    if ([isRate, isQuota, credits === true].filter(Boolean).length !== 1 || credits === false) {
        return "must be one of a rate (units, per), a quota (quota, period) or credits (true)";
    }
    const lacks = (names: string[]) => names.find((name) => !said.has(name));
    const ofRate = isRate ? lacks(["units", "per"]) : undefined;
    if (ofRate !== undefined) {
        return `is a rate, and must have ${ofRate}`;
    }
    const ofQuota = isQuota ? lacks(["quota", "period"]) : undefined;
    if (ofQuota !== undefined) {
        return `is a quota, and must have ${ofQuota}`;
    }
    const period = String(said.get("period") ?? "month").toLowerCase();
    if (!PERIODS.has(period)) {
        return `period must be one of ${[...PERIODS.keys()].join(", ")}`;
    }
    if (said.has("day") && period !== "month") {
        return "day is for a period of months alone";
    }
    if (!said.has("name")) {
        return "must have a name";
    }
    if (!NAME.test(String(said.get("name")))) {
        return "name must be 1 to 64 letters, digits or any of _ - . :";
    }
    return faultOfNumbers(said);
}

function faultOfNumbers(said: ReadonlyMap<string, unknown>): string | undefined {
    for (const [name, [least, most]] of Object.entries(NUMBERS)) {
        const value = said.get(name);
        if (value !== undefined && !(Number(value) >= least && Number(value) <= most)) {
            return `${name} must be between ${least} and ${most}`;
        }
    }
    const per = BigInt(Number(said.get("per") ?? 1));
    const burst = BigInt(Number(said.get("burst") ?? said.get("units") ?? 1));
    return burst * per > MAX_INTEGER ? `burst must be at most ${MAX_INTEGER / per} with this per` : undefined;
}

/** The limits of a record; none where it has none. */
export function limitsOf(record: { readonly limits?: unknown }): readonly Limit[] {
    return Array.isArray(record.limits) ? (record.limits as readonly Limit[]) : [];
}

/** The same of a record's JSON, which as a rule has none and is not parsed for that. */
export function mayHaveLimits(json: string): boolean {
    return json.includes('"limits"');
}

export function kindOf(limit: Limit): LimitKind {
    return isRate(limit) ? "rate" : isQuota(limit) ? "quota" : "credits";
}

function isRate(limit: Limit): limit is Rate {
    return ((limit as Partial<Rate>).units ?? null) !== null;
}

function isQuota(limit: Limit): limit is Quota {
    return ((limit as Partial<Quota>).quota ?? null) !== null;
}

/** Milliseconds that a rate's burst, or a quota's units, are for: a rate is full again after them, and no period takes more. */
export function windowOf(limit: Limit): number | null {
    if (isRate(limit)) {
        return Math.ceil(((limit.burst ?? limit.units) / limit.units) * limit.per);
    }
    return isQuota(limit) ? (PERIODS.get(limit.period.toLowerCase()) ?? null) : null;
}

/** As ADMIT takes them. */
export function limitWords(limits: readonly Limit[]): string[] {
    return limits.flatMap((limit) => [
        "LIMIT",
        String(limit.counter ?? 1),
        limit.name,
        ...ruleWords(limit),
        ...option("WEIGHT", limit.cost),
        ...(limit.shadow === true ? ["SHADOW"] : []),
    ]);
}

function ruleWords(limit: Limit): string[] {
    if (isRate(limit)) {
        return ["RATE", String(limit.units), String(limit.per), ...option("BURST", limit.burst)];
    }
    if (isQuota(limit)) {
        return [
            "QUOTA",
            String(limit.quota),
            limit.period,
            ...option("DAY", limit.day),
            ...option("OFFSET", limit.offset),
        ];
    }
    return ["CREDITS"];
}

function option(word: string, value: number | null | undefined): string[] {
    return value === undefined || value === null ? [] : [word, String(value)];
}
