// Says which of the two builds is of which kind.
import { writeFileSync } from "node:fs";

for (const [directory, type] of [
    ["esm", "module"],
    ["cjs", "commonjs"],
]) {
    writeFileSync(new URL(`../dist/${directory}/package.json`, import.meta.url), `${JSON.stringify({ type })}\n`);
}
