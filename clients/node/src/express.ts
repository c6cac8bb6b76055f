/**
 * Middleware for Express 4 and 5.
 *
 *     app.use("/orders", apiKey({ keys, scopes: ["orders:read"] }), (request, response) => {
 *         response.json({ user: response.locals.apiKey.user_id });
 *     });
 *     app.get("/health/cache", cacheHealth(keys));
 */

import { type HttpRequest, cacheHealth as health, type MiddlewareOptions, verifyRequest } from "./http.js";
import type { ApiKeys } from "./keys.js";

export type { HttpRequest, MiddlewareOptions } from "./http.js";

/** What is used of Express' response. */
export interface ExpressResponse {
    readonly locals: Record<string, unknown>;
    /** Sets the status. */
    status(code: number): ExpressResponse;
    /** Sets fields of the header. */
    set(fields: Record<string, string>): ExpressResponse;
    /** Sends the body as JSON. */
    json(body: unknown): ExpressResponse;
}

/** Goes on to the next handler, or with an error to the one for errors. */
export type Next = (error?: unknown) => void;

/**
 * Lets requests with a valid key by, with its record in `response.locals.apiKey` and how its limits stand in
 * `response.locals.apiKeyLimits`; answers others with 401, 403, 429 or 503. Sets `X-Cache-Status` (HIT, MISS, BYPASS, STALE),
 * and where limits were judged RateLimit and RateLimit-Policy.
 */
export function apiKey<Request extends HttpRequest = HttpRequest>(
    options: MiddlewareOptions<Request>,
): (request: NoInfer<Request>, response: ExpressResponse, next: Next) => Promise<void> {
    return async (request, response, next) => {
        try {
            const { result, headers, answer } = await verifyRequest(request, options);
            response.set({ ...headers });
            if (answer !== undefined) {
                response.status(answer.status).json(answer.body);
                return;
            }
            if (result.kind === "valid") {
                response.locals.apiKey = result.record;
                response.locals.apiKeyLimits = result.limits;
                next();
            }
        } catch (error) {
            next(error);
        }
    };
}

/** Says how the cache fares: 200, or 503 where it is unhealthy or not reached. The user needs `+apikey.health`. */
export function cacheHealth(keys: ApiKeys): (request: unknown, response: ExpressResponse) => Promise<void> {
    return async (_, response) => {
        const { status, body } = await health(keys);
        response.status(status).json(body);
    };
}
