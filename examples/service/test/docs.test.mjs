// The code that docs/service.md shows is the service's: each block behind "`FILE`:" stands in that file.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";

const flat = (text) => text.replaceAll(/^ +/gm, "");
const read = (path) => readFileSync(new URL(path, import.meta.url), "utf8");

it("shows code that is there", () => {
    const page = read("../../../docs/service.md");
    const blocks = [...page.matchAll(/`((?:src\/)?[\w-]+\.(?:ts|sql))`:\n\n((?: {4}.*\n)+)/g)];
    assert.ok(blocks.length >= 9, `${blocks.length} blocks`);
    for (const [, file, code] of blocks) {
        assert.ok(flat(read(`../${file}`)).includes(flat(code)), `${file} has no\n${code}`);
    }
});
