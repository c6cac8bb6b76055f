/** Starts the service, and ends it on SIGTERM or SIGINT. */

import { startApp } from "./app.js";
import { settingsOf } from "./settings.js";

const app = await startApp(settingsOf(process.env));
for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, async () => {
        await app.close();
        process.exit();
    });
}
