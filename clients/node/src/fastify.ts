/**
 * A plugin for Fastify 4 and 5.
 *
 *     await app.register(apiKeys, { keys, healthPath: "/health/cache" });
 *     app.get("/orders", { preHandler: apiKey({ keys, scopes: ["orders:read"] }) }, (request) => ({
 *         user: request.apiKey?.user_id,
 *     }));
 */

import type { LimitState } from "./admission.js";
import { cacheHealth, type HttpRequest, type MiddlewareOptions, verifyRequest } from "./http.js";
import type { ApiKeys } from "./keys.js";
import type { KeyRecord } from "./row.js";

export type { HttpRequest, MiddlewareOptions } from "./http.js";

/** What is used of Fastify's reply. */
export interface FastifyReply {
    /** Sets the status. */
    code(status: number): FastifyReply;
    /** Sets fields of the header. */
    headers(fields: Record<string, string>): FastifyReply;
    /** Sends the body. */
    send(body: unknown): FastifyReply;
}

/** What is used of an instance of Fastify. */
export interface FastifyInstance {
    /** Adds a property to all requests. */
    decorateRequest(...args: never[]): unknown;
    /** Adds a route. */
    get(...args: never[]): unknown;
}

/** The same, as it is called. */
interface Instance {
    decorateRequest(name: string, value: null): unknown;
    get(path: string, handler: (request: unknown, reply: FastifyReply) => Promise<unknown>): unknown;
}

/** A request that {@link apiKey} has let by. */
export interface WithApiKey {
    /** The record of the key; `null` where none was asked for. */
    apiKey: KeyRecord | null;
    /** How its limits stand; `null` where it was not admitted by any. */
    apiKeyLimits: readonly LimitState[] | null;
}

/** Adds `request.apiKey` and `request.apiKeyLimits`, and a route that says how the cache fares, where its path is given. */
async function plugin(
    app: FastifyInstance,
    options: { readonly keys: ApiKeys; readonly healthPath?: string },
): Promise<void> {
    const instance = app as unknown as Instance;
    instance.decorateRequest("apiKey", null);
    instance.decorateRequest("apiKeyLimits", null);
    if (options.healthPath !== undefined) {
        instance.get(options.healthPath, async (_, reply) => {
            const { status, body } = await cacheHealth(options.keys);
            return reply.code(status).send(body);
        });
    }
}

/** For `app.register`. What it adds is there for the whole application. */
export const apiKeys = Object.assign(plugin, {
    [Symbol.for("skip-override")]: true,
    [Symbol.for("fastify.display-name")]: "redis-apikey",
});

/**
 * A `preHandler`: lets requests with a valid key by, with its record in `request.apiKey` and how its limits stand in
 * `request.apiKeyLimits`; answers others with 401, 403, 429 or 503. Sets `X-Cache-Status` (HIT, MISS, BYPASS, STALE), and
 * where limits were judged RateLimit and RateLimit-Policy.
 */
export function apiKey<Request extends HttpRequest = HttpRequest>(
    options: MiddlewareOptions<Request>,
): (request: NoInfer<Request>, reply: FastifyReply) => Promise<FastifyReply | undefined> {
    return async (request, reply) => {
        const { result, headers, answer } = await verifyRequest(request, options);
        reply.headers({ ...headers });
        if (answer !== undefined) {
            return reply.code(answer.status).send(answer.body);
        }
        if (result.kind === "valid") {
            const { record, limits } = result;
            Object.assign(request, { apiKey: record, apiKeyLimits: limits } satisfies WithApiKey);
        }
        return undefined;
    };
}
