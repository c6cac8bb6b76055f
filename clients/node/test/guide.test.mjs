// The code of docs/clients.md, from the first block to the last: it prints what stands there.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { it } from "node:test";
import { fileURLToPath } from "node:url";
import { Server } from "./servers.mjs";

// The application's own: one table, and the statements of the guide.
const DB = `
const table = new Map();
const db = {
    async one(_, prefix) {
        return table.get(prefix) ?? null;
    },
    async run(sql, ...values) {
        if (sql.startsWith("INSERT")) {
            const columns = /\\((.*?)\\)/.exec(sql)[1].split(", ");
            const row = Object.fromEntries(columns.map((column, at) => [column, values[at]]));
            table.set(row.key_prefix, { ...row, scopes: JSON.parse(row.scopes) });
        } else {
            const row = [...table.values()].find(({ id }) => id === values[1]);
            row[/SET (\\w+)/.exec(sql)[1]] = values[0];
        }
    },
};
`;

it("prints what the guide says", async () => {
    const guide = readFileSync(new URL("../../../docs/clients.md", import.meta.url), "utf8");
    const server = await Server.start();
    // In this folder, so that the package is found by its name.
    const file = fileURLToPath(new URL(`.guide-${process.pid}.mjs`, import.meta.url));
    try {
        let code = DB;
        let expected = "";
        // What is printed belongs to the languages that have a block before it, under the same heading.
        let isOurs = false;
        for (const [, language, text] of guide.matchAll(/^(?:```(\w+)\n(.*?)^```|## )/gms)) {
            if (language === "js") {
                code += text.replaceAll("redis://localhost:6379", `redis://127.0.0.1:${server.port}`);
                isOurs = true;
            } else if (language !== "python") {
                expected += isOurs ? (text ?? "") : "";
                isOurs = false;
            }
        }
        assert.ok(expected.split("\n").length > 4);
        writeFileSync(file, code);
        const said = execFileSync(process.execPath, [file], { encoding: "utf8", timeout: 20_000 });
        assert.equal(said, expected);
    } finally {
        rmSync(file, { force: true });
        await server.stop();
    }
});

it("runs what the README shows of regions", async () => {
    const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
    const [, section] = readme.split("\n## Regions\n");
    const lines = section
        .split("\n### ")[0]
        .split("\n")
        .filter((line) => line.startsWith("    "));
    const [imports, rest] = [lines.slice(0, 2), lines.slice(2)];
    assert.match(rest.join("\n"), /writeThrough/);
    const server = await Server.start();
    const file = fileURLToPath(new URL(`.readme-${process.pid}.mjs`, import.meta.url));
    try {
        const program = [
            ...imports,
            "const table = new Map([['42', { name: 'before' }]]);",
            "const changed = { name: 'after' };",
            "const db = { product: async (id) => table.get(id), update: async (row) => table.set('42', row) };",
            ...rest.slice(0, -1),
            "console.log(product.name, (await products.getOrSet('42', (id) => db.product(id))).name);",
            ...rest.slice(-1),
        ].join("\n");
        writeFileSync(file, program.replace("new Redis()", `new Redis(${server.port}, { lazyConnect: true })`));
        const said = execFileSync(process.execPath, [file], { encoding: "utf8", timeout: 20_000 });
        assert.equal(said, "before after\n");
    } finally {
        rmSync(file, { force: true });
        await server.stop();
    }
});
