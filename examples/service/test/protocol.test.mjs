// How much of the cache the service has to know: the lines of its sources that call the library, or name Redis.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { it } from "node:test";

const sources = new URL("../src/", import.meta.url);

/** The sources without comments and imports. */
const lines = readdirSync(sources).flatMap((name) => {
    const text = readFileSync(new URL(name, sources), "utf8");
    const code = text.replaceAll(/\/\*.*?\*\/|^\s*\/\/.*?$/gms, "");
    return code
        .replaceAll(/^import\b.*?;$/gms, "")
        .split("\n")
        .map((line) => `${name}: ${line.trim()}`);
});

const imported = (from) => {
    const names = readdirSync(sources).flatMap((name) => {
        const text = readFileSync(new URL(name, sources), "utf8");
        const found = text.matchAll(/^import (?!type\b)\{([^}]*)\} from "([^"]*)";$/gm);
        return [...found].filter(([, , module]) => from.test(module)).flatMap(([, list]) => list.split(","));
    });
    return new Set(names.map((name) => name.trim()).filter((name) => name !== "" && !name.startsWith("type ")));
};

it("has at most ten lines that call ApiKeys or make a client of Redis", () => {
    // Through these alone.
    const known = new Set(["ApiKeys", "Redis", "apiKey", "apiKeys", "Unanswered", "RowReader", "BadRecord"]);
    assert.deepEqual(imported(/^(redis-apikey(\/.*)?|ioredis)$/), known);
    const calls = lines.filter((line) => /\bkeys\.\w|\bnew (ApiKeys|Redis)\b|\bapiKeys?\b *[(,]/.test(line));
    console.log(calls.join("\n"));
    assert.ok(calls.length >= 8, "this counts what it should");
    assert.ok(calls.length <= 10, `${calls.length} lines`);
    // What reads rows asks nobody, and checks a new one before its commit.
    assert.equal(lines.filter((line) => /\bRowReader\(|\breader\.\w/.test(line)).length, 2);
});

it("has none of the protocol's words", () => {
    const words = /APIKEY\.|apikey:|\.commands\b|\.call\(|\b(TAGINVAL|INVAL|SETVAL|VALIDATE|LEASE|ACK|TOKEN)\b/;
    assert.deepEqual(
        lines.filter((line) => words.test(line)),
        [],
    );
});
