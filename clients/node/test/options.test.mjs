// Options that contradict themselves or are out of their bounds: refused as they are given, not met as a wrong answer.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RowReader } from "../dist/esm/index.js";

describe("how a table differs from a record", () => {
    const many = Array.from({ length: 33 }, (_, number) => `field-${number}`);
    for (const [option, error] of [
        [{ fieldNames: { is_active: "disabled" } }, /is_active to disabled/],
        [
            { fieldNames: { is_active: "disabled" }, inactiveFields: [] },
            /is_active to disabled, which says the opposite/,
        ],
        [{ fieldNames: { is_active: "is_revoked" } }, /says the opposite/],
        [{ fieldNames: { is_active: "accountLocked" } }, /says the opposite/],
        [{ fieldNames: { name: "valid_until" } }, /looks as if it restricted/],
        [{ fieldNames: { user_id: "allowed_ips_list" } }, /looks as if it restricted/],
        [{ fieldNames: { created_at: "status" } }, /looks as if it restricted/],
        [{ fieldNames: { name: "revoked_at" } }, /inactiveFields/],
        [{ fieldNames: { is_active: "live" }, inactiveFields: ["live"] }, /inactiveFields/],
        [{ fieldNames: { expires_at: "ts", created_at: "ts" } }, /created_at to ts as well/],
        [{ fieldNames: { expires_at: "created_at" } }, /expires_at to created_at/],
        [{ fieldNames: { expires: "end" } }, /expires to end/],
        [{ fieldNames: { expires_at: "" } }, /1 to 128 bytes/],
        [{ fieldNames: { expires_at: 7 } }, /1 to 128 bytes/],
        [{ fieldNames: { expires_at: "key_hash" } }, /digestField/],
        [{ fieldNames: "expires_at=end" }, /fieldNames must be an object/],
        [{ inactiveFields: ["expires_at"] }, /inactiveFields must not have expires_at/],
        [{ inactiveFields: ["key_hash"] }, /inactiveFields must not have key_hash/],
        [{ inactiveFields: "blocked" }, /inactiveFields must be an array/],
        [{ inactiveFields: [7] }, /inactiveFields must be an array/],
        [{ droppedFields: "status" }, /droppedFields must be an array/],
        [{ droppedFields: many }, /at most 32/],
        [{ scopeFields: ["a".repeat(129)] }, /128 bytes/],
        [{ extraFields: ["key_hash"] }, /extraFields must not have key_hash/],
        [{ extraFields: ["digest"], digestField: "digest" }, /extraFields must not have digest/],
        [{ digestField: "is_active" }, /digestField/],
        [{ digestField: "" }, /digestField/],
    ]) {
        it(`is not ${JSON.stringify(option).slice(0, 100)}`, () => {
            assert.throws(
                () => new RowReader(option),
                (thrown) => thrown instanceof TypeError && error.test(thrown.message),
            );
        });
    }

    it("may be what the module's settings may be", () => {
        const reader = new RowReader({
            fieldNames: { is_active: "enabled", expires_at: "valid_until", allowed_ips: "ip_whitelist", id: "uuid" },
            inactiveFields: ["blocked"],
            droppedFields: ["status"],
            digestField: "digest",
        });
        const row = {
            uuid: "k",
            enabled: true,
            valid_until: 1_600_000_000_000,
            ip_whitelist: ["10.0.0.0/8"],
            status: "x",
        };
        const { expiresAt, isActive } = reader.read({ ...row, blocked: true });
        assert.deepEqual([expiresAt, isActive], [1_600_000_000_000, false]);
    });
});
