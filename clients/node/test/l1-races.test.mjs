// A driver of the test's own, so that each message comes when the test says.

import assert from "node:assert/strict";
import { it } from "node:test";
import { ApiKeys, Unanswered } from "../dist/esm/index.js";
import { eventually } from "./servers.mjs";

const VALID = ["VALID", '{"id":"k","user_id":"u","is_active":true}', "-1"];

async function open(follow, more = {}) {
    const fake = { asked: 0, hold: undefined, heed: undefined };
    const never = new Promise(() => {});
    const tags = ["apikey:id:k", "apikey:user:u", "apikey:org:o"];
    const send = async ([command]) => {
        if (command !== "APIKEY.VALIDATE" && command !== "EXEC") {
            return "OK";
        }
        fake.asked += 1;
        await fake.hold;
        if (fake.isDown) {
            throw new Unanswered("it hangs", true);
        }
        return command === "EXEC" ? [VALID, tags] : VALID;
    };
    const driver = {
        seeds: async () => undefined,
        connect: async () => ({ send, ended: never, end: () => {} }),
        follow: async (_, __, following) => {
            if (fake.isDown) {
                throw new Unanswered("it hangs", true);
            }
            fake.heed = following.heed;
            const ended = new Promise((resolve) => {
                fake.lose = resolve;
            });
            return { send: async () => "PONG", ended, end: () => fake.lose() };
        },
    };
    fake.keys = new ApiKeys(driver, {
        load: async () => null,
        timeoutMs: 20_000,
        l1: { maxEntries: 10, maxAgeMs: 60_000, follow },
        ...more,
    });
    const { presented, prefix } = fake.keys.generate("ak");
    fake.key = `apikey:{${prefix}}`;
    fake.ask = () => fake.keys.verify(presented);
    fake.verify = async () => (await fake.ask()).source;
    fake.warm = () => eventually(async () => (await fake.verify()) === "l1", "an answer of L1");
    await fake.warm();
    return fake;
}

/** Holds the next answers until what is returned is called. */
function hold(fake) {
    let open;
    fake.hold = new Promise((resolve) => {
        open = resolve;
    });
    return () => {
        fake.hold = undefined;
        open();
    };
}

/** Asks while nothing is kept, has `happen` come in between, and says who answers the next call. */
async function during(fake, happen) {
    fake.heed(fake.isChannel ? message({ keys: [fake.key] }) : [fake.key]);
    const release = hold(fake);
    const { asked } = fake;
    const first = fake.verify();
    await eventually(() => fake.asked > asked, "the question");
    await happen();
    release();
    assert.equal(await first, "cache");
    return fake.verify();
}

let number = 0;
function message(what, run = "a") {
    number += 1;
    return JSON.stringify({ run, number, database: 0, ...what });
}

it("keeps no answer whose key was said to have changed while it was under way", async () => {
    const fake = await open("tracking");
    assert.equal(await during(fake, () => {}), "l1");
    assert.equal(await during(fake, () => fake.heed(["apikey:{another}"])), "l1");
    assert.equal(await during(fake, () => fake.heed([fake.key])), "cache");
    assert.equal(await during(fake, () => fake.heed(null)), "cache");
    assert.equal(await during(fake, () => fake.lose()), "cache");
    await fake.warm();
    // Before it is followed again.
    fake.lose();
    await Promise.resolve();
    await new Promise(setImmediate);
    assert.equal(await fake.verify(), "cache");
    await fake.warm();
    assert.equal(await during(fake, () => fake.keys.changed({ id: "k" }).catch(() => {})), "cache");
    fake.keys.close();
});

it("drops what a message of the channel names, and all where one was left out", async () => {
    const fake = await open({ channel: "changes" });
    fake.isChannel = true;
    fake.heed(message({ keys: ["first"] }));
    await fake.warm();
    fake.heed(message({ keys: ["apikey:{another}"], tags: undefined }));
    assert.equal(await fake.verify(), "l1");
    for (const what of [
        { keys: [fake.key] },
        { tags: ["apikey:id:k"] },
        { tags: ["apikey:org:o"] },
        { flushed: true },
        { flushed: true, unnamed: 7 },
    ]) {
        await fake.warm();
        fake.heed(message(what));
        assert.equal(await fake.verify(), "cache", JSON.stringify(what));
    }
    for (const odd of [
        () => {
            number += 1;
            return message({ keys: ["x"] });
        },
        () => message({ keys: ["x"] }, "another-run"),
        () => "no message of the module",
    ]) {
        await fake.warm();
        fake.heed(odd());
        assert.equal(await fake.verify(), "cache");
        fake.heed(message({ keys: ["x"] }));
    }
    await fake.warm();
    assert.equal(await during(fake, () => fake.heed(message({ tags: ["apikey:org:o"] }))), "cache");
    fake.keys.close();
});

it("answers nothing stale that was said to have changed", async () => {
    const next = () => message({ keys: ["x"] });
    for (const [follow, happen, isStale] of [
        ["tracking", () => {}, true],
        ["tracking", (fake) => fake.heed(["apikey:{another}"]), true],
        ["tracking", (fake) => fake.heed([fake.key]), undefined],
        ["tracking", (fake) => fake.heed(null), undefined],
        [{ channel: "changes" }, () => {}, true],
        [{ channel: "changes" }, (fake) => fake.heed(next()), true],
        [{ channel: "changes" }, (fake) => fake.heed(message({ flushed: true })), undefined],
        [{ channel: "changes" }, (fake) => fake.heed(next() && next()), undefined],
        [{ channel: "changes" }, (fake) => fake.heed("no message of the module"), undefined],
    ]) {
        const fake = await open(follow, { whenDown: "stale", breaker: { failures: 1, ms: 60_000 } });
        if (follow.channel) {
            fake.heed(next());
            await fake.warm();
        }
        happen(fake);
        fake.isDown = true;
        fake.lose();
        await new Promise(setImmediate);
        const said = await fake.ask();
        fake.keys.close();
        assert.equal(said.isStale, isStale, `${happen}`);
    }
});
