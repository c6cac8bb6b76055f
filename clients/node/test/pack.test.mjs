import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
let directory;

before(() => {
    directory = mkdtempSync(join(tmpdir(), "apikey-pack-"));
    // By the npm that runs this, which need not be in the path.
    const { npm_execpath: run } = process.env;
    const [program, before] = run === undefined ? ["npm", []] : [process.execPath, [run]];
    const npm = (...args) =>
        execFileSync(program, [...before, ...args], { cwd: directory, stdio: ["ignore", "pipe", "ignore"] }).toString();
    const [packed] = JSON.parse(npm("pack", root, "--json", "--ignore-scripts"));
    writeFileSync(join(directory, "package.json"), '{"private":true}');
    npm("install", `./${packed.filename}`, "--offline", "--legacy-peer-deps", "--no-audit", "--no-fund");
    symlinkSync(join(root, "node_modules", "ioredis"), join(directory, "node_modules", "ioredis"));
});

after(() => rmSync(directory, { recursive: true, force: true }));

const USE = `
const keys = new ApiKeys(new Redis({ lazyConnect: true }), { load: async () => null });
const key = keys.generate("ak_live");
const parsed = parseKey(key.presented);
console.log(parsed.prefix === key.prefix, typeof apiKey, typeof fastify.apiKeys, [...key.presented].length);
keys.close();
`;

for (const [file, imports] of [
    [
        "esm.mjs",
        `import { ApiKeys, parseKey } from "redis-apikey"; import { apiKey } from "redis-apikey/express";
         import * as fastify from "redis-apikey/fastify"; import { Redis } from "ioredis";`,
    ],
    [
        "cjs.cjs",
        `const { ApiKeys, parseKey } = require("redis-apikey"); const { apiKey } = require("redis-apikey/express");
         const fastify = require("redis-apikey/fastify"); const { Redis } = require("ioredis");`,
    ],
]) {
    it(`installs from its package and is used by ${file}`, () => {
        writeFileSync(join(directory, file), imports + USE);
        const said = execFileSync(process.execPath, [file], { cwd: directory }).toString();
        assert.equal(said, "true function function 60\n");
    });
}
