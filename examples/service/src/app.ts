/** The service over HTTP. */

import fastify, { type FastifyInstance, type preHandlerAsyncHookHandler } from "fastify";
import { apiKey, apiKeys, type WithApiKey } from "redis-apikey/fastify";
import { addKeyRoutes } from "./key-routes.js";
import { strict } from "./requests.js";
import { addRoutes } from "./routes.js";
import { Service } from "./service.js";
import type { Settings } from "./settings.js";

declare module "fastify" {
    interface FastifyRequest extends WithApiKey {}
}

/**
 * Lets requests by whose key has these scopes and is within its limits, and counts them. A request costs 1; one that costs 0
 * is let by whatever is used up.
 */
export type Authorize = (scopes: readonly string[], cost?: 0) => preHandlerAsyncHookHandler;

/** Starts the service, and returns when it listens. `app.close()` ends it, when the requests that it has are answered. */
export async function startApp(settings: Settings): Promise<FastifyInstance> {
    const app = fastify({ logger: { level: settings.logLevel }, ...strict });
    const service = new Service(settings, (what, error) => app.log.warn({ err: error }, what));
    const { keys, outbox, usage } = service;
    const onUncounted = (prefix: string, error: Error): void => usage.addUncounted(prefix, error);
    const authorize: Authorize = (scopes, cost) =>
        apiKey({ keys, scopes, cost: () => cost, countUses: cost !== 0, onUncounted });

    await app.register(apiKeys, { keys, healthPath: "/health/cache" });
    app.get("/health", async () => outbox.waiting());
    addRoutes(app, service, authorize);
    addKeyRoutes(app, service, authorize);
    app.addHook("onClose", () => service.stop());

    try {
        // Without a warm cache the first requests are slower, and that is all.
        const warmed = await service.warm();
        app.log.info(warmed, "the cache is warm");
    } catch (thrown) {
        app.log.warn({ err: thrown }, "the cache is cold");
    }
    service.start();
    await app.listen({ host: settings.host, port: settings.port });
    return app;
}
