/** The routes that customers call, with keys of their own. */

import type { FastifyInstance } from "fastify";
import type { Authorize } from "./app.js";
import type { Service } from "./service.js";

export function addRoutes(app: FastifyInstance, service: Service, authorize: Authorize): void {
    app.get("/me", { preHandler: authorize() }, async ({ apiKey }) => apiKey);

    app.get("/me/usage", { preHandler: authorize("usage:read") }, async ({ apiKey }) => ({
        keys: await service.usage.ofUser(String(apiKey?.user_id)),
    }));
}
