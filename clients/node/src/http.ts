/** What the modules for web frameworks have in common: how a result is said over HTTP. */

import { readAddress } from "./addresses.js";
import { BadRecord } from "./errors.js";
import type { ApiKeys, VerifyOptions } from "./keys.js";
import type { Limit } from "./limits.js";
import { rateLimitFields } from "./ratelimit-fields.js";
import type { Result } from "./results.js";

/** What a middleware wants to know; `Request` is the framework's. */
export interface MiddlewareOptions<Request> {
    readonly keys: ApiKeys;
    /** All of them have to be granted; by a function, for what depends on the request. */
    readonly scopes?: readonly string[] | ((request: Request) => readonly string[]);
    /** The presented key; where it is not said, that of `Authorization: Bearer ..`, else of `X-API-Key`. */
    readonly keyOf?: (request: Request) => string | undefined;
    /**
     * The address that the key is presented from. Where it is not said, the framework's `ip`, which is the proxy's unless
     * the framework trusts that.
     */
    readonly addressOf?: (request: Request) => string | undefined;
    /**
     * What the request costs of the key's limits. 1 where it is not said, for keys that have some; where it is said, by a number
     * or a function that returns one, every key is admitted.
     */
    readonly cost?: number | ((request: Request) => number | undefined);
    /** Names the request, so that it counts once; see {@link VerifyOptions.requestId} for what must not be taken for it. */
    readonly requestIdOf?: (request: Request) => string | undefined;
    /** Limits beside those of the key's record; by a function, for what depends on the request. */
    readonly limits?: readonly Limit[] | ((request: Request) => readonly Limit[] | undefined);
    /** Keys in Redis of further usage counters that limits name, as of the tenant that the request is for. */
    readonly countersOf?: (request: Request) => readonly string[] | undefined;
    /**
     * Whether a use is counted behind each valid answer; nobody waits for it. False where it is not said. Of keys that were
     * admitted by limits it is counted in any case, and once.
     */
    readonly countUses?: boolean;
    /**
     * Is told of a use that was not counted; an `Unanswered` that is `maybeDone` may have been. Where it is not said,
     * `onError` of the {@link ApiKeys} is told.
     */
    readonly onUncounted?: (prefix: string, error: Error) => void;
}

/** What a framework's request has that is looked at. */
export interface HttpRequest {
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
    readonly ip?: string | undefined;
}

/** An answer that ends the request. */
export interface Answer {
    readonly status: 401 | 403 | 429 | 503;
    readonly body: { readonly error: { readonly code: string; readonly scope?: string; readonly limit?: string } };
}

/** How a request goes on: with the record, or with an answer. Headers are for both. */
export type Outcome = {
    readonly result: Result;
    readonly headers: Readonly<Record<string, string>>;
    readonly answer?: Answer;
};

/** Verifies the key of a request. */
export async function verifyRequest<Request extends HttpRequest>(
    request: Request,
    options: MiddlewareOptions<Request>,
): Promise<Outcome> {
    const presented = (options.keyOf ?? keyOf)(request);
    const said = options.addressOf === undefined ? request.ip : options.addressOf(request);
    // Behind some proxies it is "unknown": only keys that are bound to addresses suffer from that.
    const address = typeof said === "string" && readAddress(said) !== undefined ? said : undefined;
    const result: Result =
        presented === undefined
            ? { kind: "refused", code: "MALFORMED", scope: null, source: null }
            : await verify(options.keys, presented, askedOf(request, options, address));
    const headers = { "x-cache-status": cacheStatusOf(result), ...headersOf(result, presented !== undefined) };
    if (result.kind === "valid") {
        if (options.countUses && result.limits === null) {
            const { keys, onUncounted = (_, error): void => keys.report(error) } = options;
            keys.count(result.prefix)
                .catch((error: Error) => onUncounted(result.prefix, error))
                .catch((thrown: Error) => keys.report(thrown));
        }
        return { result, headers };
    }
    return { result, headers, answer: answerOf(result, presented !== undefined) };
}

/** What a request asks of its key. */
function askedOf<Request extends HttpRequest>(
    request: Request,
    { scopes, cost, requestIdOf, limits, countersOf }: MiddlewareOptions<Request>,
    address: string | undefined,
): VerifyOptions {
    const asked = {
        scopes: typeof scopes === "function" ? scopes(request) : scopes,
        address,
        cost: typeof cost === "function" ? cost(request) : cost,
        requestId: requestIdOf?.(request),
        limits: typeof limits === "function" ? limits(request) : limits,
        counters: countersOf?.(request),
    };
    return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
}

/** A row that can't be judged is not the client's fault: who can mend it is told. */
async function verify(keys: ApiKeys, presented: string, options: VerifyOptions): Promise<Result> {
    try {
        return await keys.verify(presented, options);
    } catch (thrown) {
        if (thrown instanceof BadRecord) {
            keys.report(thrown);
            return { kind: "unavailable", cause: thrown };
        }
        throw thrown;
    }
}

function keyOf({ headers }: HttpRequest): string | undefined {
    const authorization = headers.authorization;
    const bearer = typeof authorization === "string" ? /^Bearer +(\S+) *$/i.exec(authorization) : null;
    const key = headers["x-api-key"];
    return bearer?.[1] ?? (typeof key === "string" ? key : undefined);
}

/** HIT: from a cache; MISS: from the database; STALE: from before an outage; BYPASS: nobody was asked, or could say. */
function cacheStatusOf(result: Result): string {
    if (result.kind === "valid" && result.isStale) {
        return "STALE";
    }
    const source = result.kind === "unavailable" ? null : result.source;
    return source === null ? "BYPASS" : source === "database" ? "MISS" : "HIT";
}

function headersOf(result: Result, isPresented: boolean): Readonly<Record<string, string>> {
    switch (result.kind) {
        case "valid":
        case "limited":
            return rateLimitFields(result);
        case "unavailable":
            return { "retry-after": "1" };
        case "refused":
            return isForbidden(result.code)
                ? {}
                : { "www-authenticate": isPresented ? 'Bearer error="invalid_token"' : "Bearer" };
    }
}

function isForbidden(code: string): boolean {
    return code === "FORBIDDEN" || code === "FORBIDDEN_IP";
}

function answerOf(result: Exclude<Result, { kind: "valid" }>, isPresented: boolean): Answer {
    if (result.kind === "unavailable") {
        return { status: 503, body: { error: { code: "UNAVAILABLE" } } };
    }
    if (result.kind === "limited") {
        return { status: 429, body: { error: { code: result.code, limit: result.limit } } };
    }
    if (isForbidden(result.code)) {
        const scope = result.scope === null ? {} : { scope: result.scope };
        return { status: 403, body: { error: { code: result.code, ...scope } } };
    }
    // Whoever has the secret may know that the key is disabled or has expired; of the others nobody is told which it is.
    const code = !isPresented ? "MISSING" : ["DISABLED", "EXPIRED"].includes(result.code) ? result.code : "INVALID";
    return { status: 401, body: { error: { code } } };
}

/** What `/health/cache` says: 200 while Redis answers and is not unhealthy, else 503. */
export async function cacheHealth(keys: ApiKeys): Promise<{ status: 200 | 503; body: Record<string, unknown> }> {
    try {
        const health = await keys.commands.health();
        const status = String(health.get("status"));
        return { status: status === "unhealthy" ? 503 : 200, body: { status, reasons: health.get("reasons") ?? [] } };
    } catch (thrown) {
        return {
            status: 503,
            body: { status: "unreachable", reasons: [thrown instanceof Error ? thrown.name : "error"] },
        };
    }
}
