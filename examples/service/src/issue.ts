/**
 * Issues a key from the command line, and prints it: the first one, which issues the others over HTTP.
 *
 *     node dist/issue.js USER SCOPE ..
 */

import { Service } from "./service.js";
import { settingsOf } from "./settings.js";

const [user, ...scopes] = process.argv.slice(2);
if (user === undefined || user === "") {
    console.error("usage: node dist/issue.js USER SCOPE ..");
    process.exit(2);
}
const service = new Service(settingsOf(process.env), (what, error) => console.error(`${what}: ${error.message}`));
try {
    const { value } = await service.changes.issue({ user_id: user, scopes });
    console.log(value.key);
} finally {
    await service.stop();
}
