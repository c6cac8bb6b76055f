/** The routes that customers call, with keys of their own. */

import type { FastifyInstance } from "fastify";
import type { Authorize } from "./app.js";
import type { Service } from "./service.js";

export function addRoutes(app: FastifyInstance, service: Service, authorize: Authorize): void {
    app.get("/me", { preHandler: authorize([]) }, async ({ apiKey }) => apiKey);

    // Also when they are used up. Null where Redis could not say.
    app.get("/me/limits", { preHandler: authorize([], 0) }, async ({ apiKeyLimits }) => ({
        limits:
            apiKeyLimits?.map(({ name, kind, limit, remaining, resetAfterMs }) => ({
                name,
                kind,
                limit,
                remaining,
                reset_after_ms: resetAfterMs,
            })) ?? null,
    }));

    app.get("/me/usage", { preHandler: authorize(["usage:read"]) }, async ({ apiKey }) => ({
        keys: await service.usage.ofUser(String(apiKey?.user_id)),
    }));
}
