/**
 * Scopes: what a record grants, and whether that covers a request. A scope is a text (`users:read`, `orders:*`, `*`,
 * `read`) or an object of a resource and actions, each of which stands for `resource:action`.
 */

import { BadRecord } from "./errors.js";
import type { Json, JsonObject } from "./json.js";

/** The most bytes that a scope, a resource or an action may have. */
const MAX_BYTES = 1024;

/** The most scopes that one call may ask for. */
const MAX_REQUESTS = 64;

/** A scope as it is judged: a text, or a resource and actions. */
export type Scope = string | { readonly resource: string; readonly actions: readonly string[] };

/**
 * Reads the scopes of a record.
 *
 * @throws {BadRecord} where they are none, deny something, or restrict what they grant by a field that is not in `known`.
 */
export function readScopes(value: Json | undefined, known: ReadonlySet<string>): Scope[] {
    if (value === null || value === undefined) {
        return [];
    }
    const wrong = (): BadRecord =>
        new BadRecord("scopes must be an array of strings or of objects with a resource and an array of actions");
    if (!Array.isArray(value)) {
        throw wrong();
    }
    return value.map((scope: Json) => {
        if (typeof scope === "string") {
            if (scope.startsWith("!") || scope.startsWith("-")) {
                throw new BadRecord("scopes must not begin with ! or -: they grant, and deny nothing");
            }
            return text(scope, wrong);
        }
        if (scope === null || typeof scope !== "object" || Array.isArray(scope)) {
            throw wrong();
        }
        const { resource, actions, ...others } = scope as JsonObject;
        const other = Object.keys(others).find((field) => !known.has(field));
        if (other !== undefined) {
            throw new BadRecord(
                `scopes must have no field but resource and actions in their objects, not ${other}, unless scopeFields names it`,
            );
        }
        if (typeof resource !== "string" || !Array.isArray(actions)) {
            throw wrong();
        }
        const all = [resource, ...(actions as readonly Json[])].map((part) => {
            if (typeof part !== "string" || /^[!-]/.test(part)) {
                throw wrong();
            }
            return text(part, wrong);
        });
        return { resource: all[0] ?? "", actions: all.slice(1) };
    });
}

function text(scope: string, wrong: () => BadRecord): string {
    if (!scope.isWellFormed()) {
        throw wrong();
    }
    if (Buffer.byteLength(scope) > MAX_BYTES) {
        throw new BadRecord(`a text of scopes must have at most ${MAX_BYTES} bytes`);
    }
    return scope;
}

/**
 * Checks what is asked for.
 *
 * @throws {RangeError} for more than 64 scopes, an empty one, and one of more than 1,024 bytes.
 */
export function checkScopes(requests: readonly string[]): void {
    if (requests.length > MAX_REQUESTS) {
        throw new RangeError(`scopes must be at most ${MAX_REQUESTS}`);
    }
    for (const request of requests) {
        // Of 1,024 characters none takes more than three bytes.
        const isShort = request.length * 3 <= MAX_BYTES || Buffer.byteLength(request) <= MAX_BYTES;
        if (request.length === 0 || !isShort || !request.isWellFormed()) {
            throw new RangeError(`a scope must have 1 to ${MAX_BYTES} bytes`);
        }
    }
}

/** Whether scopes grant the request: equal, or, both split at their first colon, each part equal or `*`. */
export function grant(scopes: readonly Scope[], request: string): boolean {
    const colon = request.indexOf(":");
    const asked = colon < 0 ? undefined : { resource: request.slice(0, colon), action: request.slice(colon + 1) };
    return scopes.some((scope) => {
        if (typeof scope === "string") {
            return scope === "*" || scope === request || (asked !== undefined && textGrants(scope, asked));
        }
        const covered = asked !== undefined && covers(scope.resource, asked.resource);
        return scope.actions.some(
            (action) => `${scope.resource}:${action}` === request || (covered && covers(action, asked.action)),
        );
    });
}

function textGrants(scope: string, asked: { resource: string; action: string }): boolean {
    const colon = scope.indexOf(":");
    return colon >= 0 && covers(scope.slice(0, colon), asked.resource) && covers(scope.slice(colon + 1), asked.action);
}

/** Whether a part of a scope grants that of a request. */
function covers(part: string, asked: string): boolean {
    return part === "*" || part === asked;
}
