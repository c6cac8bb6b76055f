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

/** Lets requests by whose key has these scopes, and counts them. */
export type Authorize = (...scopes: string[]) => preHandlerAsyncHookHandler;

/** Starts the service, and returns when it listens. `app.close()` ends it, when the requests that it has are answered. */
export async function startApp(settings: Settings): Promise<FastifyInstance> {
    const app = fastify({ logger: { level: settings.logLevel }, ...strict });
    const service = new Service(settings, (what, error) => app.log.warn({ err: error }, what));
    const { keys, outbox, usage } = service;
    const authorize: Authorize = (...scopes) =>
        apiKey({ keys, scopes, countUses: true, onUncounted: (prefix, error) => usage.addUncounted(prefix, error) });

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
