/**
 * The fields by which a response tells how limits stand, in the form of draft-ietf-httpapi-ratelimit-headers-11:
 * RateLimit-Policy and RateLimit, as structured fields (RFC 9651), and Retry-After.
 */

import type { LimitState } from "./admission.js";
import type { Limited, Valid } from "./results.js";

/** The highest integer of a structured field. */
const MOST = 999_999_999_999_999;

/**
 * The fields of a response to a request that was admitted, or was not; none of one that was not judged by limits. A limit that
 * is tried out is not told, and of credits that they are left, since they have no most.
 */
export function rateLimitFields(result: Valid | Limited): Readonly<Record<string, string>> {
    const states = (result.limits ?? []).filter(({ isShadow }) => !isShadow);
    const policies = states.filter(({ limit }) => limit !== null).map(policyOf);
    return {
        ...(policies.length === 0 ? {} : { "ratelimit-policy": policies.join(", ") }),
        ...(states.length === 0 ? {} : { ratelimit: states.map(standingOf).join(", ") }),
        ...(result.kind === "limited" && result.retryAfterMs !== null
            ? { "retry-after": String(seconds(result.retryAfterMs)) }
            : {}),
    };
}

function policyOf({ name, limit, windowMs }: LimitState): string {
    return item(name, { q: limit, w: windowMs === null ? null : Math.max(seconds(windowMs), 1) });
}

/** `t`: until there is what was asked for, where there is not; else until all is there. */
function standingOf({ name, remaining, resetAfterMs, retryAfterMs }: LimitState): string {
    const after = retryAfterMs === 0 ? resetAfterMs : retryAfterMs;
    return item(name, { r: remaining, t: after === null ? null : seconds(after) });
}

/** A name has no character that a string of a structured field had to escape. */
function item(name: string, parameters: Readonly<Record<string, number | null>>): string {
    const said = Object.entries(parameters).filter(([, value]) => value !== null);
    return [`"${name}"`, ...said.map(([key, value]) => `${key}=${Math.min(value ?? 0, MOST)}`)].join(";");
}

/** Whole seconds, and none too early. */
function seconds(ms: number): number {
    return Math.ceil(ms / 1000);
}
