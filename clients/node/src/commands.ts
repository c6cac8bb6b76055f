/** The module's commands as typed methods, for who wants the protocol. `docs/commands.md` has what each does. */

import {
    type Admission,
    type AdmissionOptions,
    admitCommand,
    isRepeatable,
    type LimitState,
    readAdmission,
    readLimits,
} from "./admission.js";
import type { Id } from "./errors.js";
import { idText } from "./names.js";
import { type Integer, integer, list, map } from "./replies.js";
import type { Command, Reply } from "./session.js";
import { readValidation, type Validation, type ValidationOptions, validateCommand } from "./validation.js";

/** How a command is sent: whether it may be written twice, whether it may wait at the server, and whether it replies bytes. */
export type Send = (
    key: string | undefined,
    command: Command,
    how: { readonly isRepeatable: boolean; readonly mayWait: boolean; readonly wantsBytes?: boolean },
) => Promise<Reply>;

/** When an entry ends; one of them. */
export interface Lifetime {
    /** Milliseconds from now. */
    readonly ttlMs?: number;
    /** Epoch milliseconds. */
    readonly untilMs?: number;
}

/** What every fill may say. */
export interface Fill extends Lifetime {
    /** Own tags beside the automatic ones. */
    readonly tags?: readonly string[];
    /** In front of the automatic tags. */
    readonly ns?: string;
}

/** A digest as SETVAL takes it. */
export interface StoredDigest {
    /** 64 hex digits. */
    readonly hex: string;
    /** Epoch milliseconds from which on it is not accepted. */
    readonly untilMs?: number;
}

/** A line of a batch: counts of one counter. */
export interface UsageLine {
    /** 32 hex digits, never given again: what guards a database against adding it twice. */
    readonly id: string;
    /** The counter's key. */
    readonly key: string;
    readonly count: Integer;
    /** Epoch milliseconds of the last use. */
    readonly lastUsedAtMs: number;
}

/** Counts that were handed over, until they are acknowledged. */
export interface UsageBatch {
    readonly id: string;
    readonly lines: readonly UsageLine[];
}

const READ = { isRepeatable: true, mayWait: false };
const CHANGE = { isRepeatable: true, mayWait: true };
const ONCE = { isRepeatable: false, mayWait: false };
const ONCE_MAY_WAIT = { isRepeatable: false, mayWait: true };

/** Each method throws {@link Refusal} for an error reply and {@link Unanswered} where there is none in time. */
export class Commands {
    readonly #send: Send;

    constructor(send: Send) {
        this.#send = send;
    }

    /** APIKEY.VALIDATE. */
    async validate(key: string, options: ValidationOptions = {}): Promise<Validation> {
        return readValidation(await this.#send(key, validateCommand(key, options), READ));
    }

    /** APIKEY.ADMIT. Without an id it is sent once, unless it takes nothing. */
    async admit(key: string, options: AdmissionOptions): Promise<Admission> {
        const how = isRepeatable(options) ? READ : ONCE;
        return readAdmission(await this.#send(key, admitCommand(key, options), how));
    }

    /** APIKEY.SETTLE: what the request was taken to cost before, and does now; `null` where the counter does not know it. */
    async settle(counter: string, id: string, cost: number): Promise<readonly [before: number, now: number] | null> {
        const reply = await this.#send(counter, ["APIKEY.SETTLE", counter, id, String(cost)], CHANGE);
        if (reply === null) {
            return null;
        }
        const [before, now] = list(reply);
        return [Number(before), Number(now)];
    }

    /** APIKEY.CREDIT: the balance. Without an id it is sent once. */
    async credit(
        counter: string,
        name: string,
        amount: { readonly by: number } | { readonly set: number },
        id?: string,
    ): Promise<number> {
        const [word, units] = "by" in amount ? ["BY", amount.by] : ["SET", amount.set];
        const command = ["APIKEY.CREDIT", counter, name, word, String(units)];
        if (id === undefined) {
            return Number(await this.#send(counter, command, ONCE_MAY_WAIT));
        }
        return Number(await this.#send(counter, [...command, "ID", id], CHANGE));
    }

    /** APIKEY.LIMITS: how what was taken stands. What is full may be missing. */
    async limits(counter: string): Promise<LimitState[]> {
        return readLimits(await this.#send(counter, ["APIKEY.LIMITS", counter], READ));
    }

    /** APIKEY.SETVAL. With a token it is a reader's fill; without one the word of a writer. False: nothing was stored. */
    async setval(
        key: string,
        record: string,
        options: Fill & {
            readonly digests?: readonly StoredDigest[];
            readonly token?: string;
            readonly only?: "NX" | "XX";
        } = {},
    ): Promise<boolean> {
        const digests = (options.digests ?? []).flatMap(({ hex, untilMs }) => [
            "DIGEST",
            hex,
            ...(untilMs === undefined ? [] : ["UNTIL", String(untilMs)]),
        ]);
        const token = options.token === undefined ? [] : ["TOKEN", options.token];
        const only = options.only === undefined ? [] : [options.only];
        const command = ["APIKEY.SETVAL", key, record, ...digests, ...token, ...fill(options), ...only];
        return (await this.#send(key, command, READ)) === "OK";
    }

    /** APIKEY.SETABSENT. False: nothing was stored. */
    async setabsent(key: string, token: string, options: Fill = {}): Promise<boolean> {
        return (await this.#send(key, ["APIKEY.SETABSENT", key, "TOKEN", token, ...fill(options)], READ)) === "OK";
    }

    /** APIKEY.MSETVAL: how many were stored. In a cluster all keys have to be in one slot. */
    async msetval(
        records: readonly (readonly [key: string, record: string])[],
        token: string,
        options: Fill & { readonly onlyNew?: boolean } = {},
    ): Promise<number> {
        const nx = options.onlyNew ? ["NX"] : [];
        const command = [
            "APIKEY.MSETVAL",
            String(records.length),
            ...records.flat(),
            "TOKEN",
            token,
            ...fill(options),
            ...nx,
        ];
        return Number(await this.#send(records[0]?.[0], command, READ));
    }

    /** APIKEY.SETSCOPE. False: nothing was stored. */
    async setscope(
        key: string,
        decision: {
            readonly id: Id;
            readonly userId: Id;
            readonly resource: string;
            readonly action: string;
            readonly isAllowed: boolean;
            readonly token: string;
        },
        options: Fill = {},
    ): Promise<boolean> {
        const { id, userId, resource, action, isAllowed, token } = decision;
        const said = isAllowed ? "ALLOW" : "DENY";
        const whose = [idText("id", id), idText("userId", userId)];
        const command = ["APIKEY.SETSCOPE", key, ...whose, resource, action, said, "TOKEN", token];
        return (await this.#send(key, [...command, ...fill(options)], READ)) === "OK";
    }

    /** APIKEY.CHECKSCOPE: what was decided, or a token for the fill. */
    async checkscope(
        key: string,
        resource: string,
        action: string,
    ): Promise<{ readonly isAllowed: boolean } | { readonly token: string }> {
        const [code, token] = list(await this.#send(key, ["APIKEY.CHECKSCOPE", key, resource, action], READ));
        return code === "MISS" ? { token: String(token) } : { isAllowed: code === "ALLOW" };
    }

    /** APIKEY.SETLIST; `records` is a JSON array. False: nothing was stored. */
    async setlist(key: string, userId: Id, records: string, token: string, options: Fill = {}): Promise<boolean> {
        const command = ["APIKEY.SETLIST", key, idText("userId", userId), records, "TOKEN", token, ...fill(options)];
        return (await this.#send(key, command, READ)) === "OK";
    }

    /** APIKEY.GETLIST: a page as JSON texts and how many records the whole list has, or a token for the fill. */
    async getlist(
        key: string,
        page: { readonly offset?: number; readonly limit?: number } = {},
    ): Promise<{ readonly total: number; readonly records: readonly string[] } | { readonly token: string }> {
        const command = ["APIKEY.GETLIST", key];
        if (page.offset !== undefined) {
            command.push("OFFSET", String(page.offset));
        }
        if (page.limit !== undefined) {
            command.push("LIMIT", String(page.limit));
        }
        const [code, found] = list(await this.#send(key, command, READ));
        if (code === "MISS") {
            return { token: String(found) };
        }
        const [total, records] = list(found);
        return { total: Number(total), records: list(records).map(String) };
    }

    /** APIKEY.TAGINVAL: how many entries it killed at most, in a cluster on all primaries. */
    async taginval(...tags: readonly string[]): Promise<Integer> {
        return integer(await this.#send(undefined, ["APIKEY.TAGINVAL", ...tags], CHANGE));
    }

    /** APIKEY.INVAL: how many live entries it killed. In a cluster all keys have to be in one slot. */
    async inval(...keys: readonly string[]): Promise<number> {
        return Number(await this.#send(keys[0], ["APIKEY.INVAL", ...keys], CHANGE));
    }

    /** APIKEY.TOKEN: take it, then read the database, then fill with it. */
    async token(key: string): Promise<string> {
        return String(await this.#send(key, ["APIKEY.TOKEN", key], READ));
    }

    /** APIKEY.TAGS. */
    async tags(key: string): Promise<string[]> {
        return list(await this.#send(key, ["APIKEY.TAGS", key], READ)).map(String);
    }

    /** APIKEY.TAGCARD. */
    async tagcard(tag: string): Promise<Integer> {
        return integer(await this.#send(undefined, ["APIKEY.TAGCARD", tag], CHANGE));
    }

    /** APIKEY.DESCRIBE: its fields by their names, integers as their digits; `null` where there is no such key. */
    async describe(key: string): Promise<ReadonlyMap<string, Reply> | null> {
        const reply = await this.#send(key, ["APIKEY.DESCRIBE", key], READ);
        return reply === null ? null : map(reply);
    }

    /** APIKEY.USAGE.INCR: the count that is pending. Without an id sent once: where it is not answered it may have counted. */
    async usageIncr(key: string, by: Integer = 1, id?: string): Promise<Integer> {
        const command = ["APIKEY.USAGE.INCR", key, "BY", String(by)];
        return id === undefined
            ? integer(await this.#send(key, command, ONCE))
            : integer(await this.#send(key, [...command, "ID", id], READ));
    }

    /** APIKEY.USAGE.GET. Times in epoch milliseconds. */
    async usageGet(key: string): Promise<{
        readonly pending: Integer;
        readonly leased: Integer;
        readonly total: Integer;
        readonly firstUsedAtMs: number | null;
        readonly lastUsedAtMs: number | null;
    }> {
        const fields = map(await this.#send(key, ["APIKEY.USAGE.GET", key], READ));
        const time = (name: string): number | null => {
            const value = fields.get(name) ?? null;
            return value === null ? null : Number(value);
        };
        return {
            pending: integer(fields.get("pending") ?? "0"),
            leased: integer(fields.get("leased") ?? "0"),
            total: integer(fields.get("total") ?? "0"),
            firstUsedAtMs: time("first_used_at"),
            lastUsedAtMs: time("last_used_at"),
        };
    }

    /** APIKEY.USAGE.TAKE: what was pending, which nobody else knows now. Sent once. */
    async usageTake(...keys: readonly string[]): Promise<Integer[]> {
        return list(await this.#send(keys[0], ["APIKEY.USAGE.TAKE", ...keys], ONCE)).map(integer);
    }

    /** APIKEY.USAGE.ACK: how many lines were settled. */
    async usageAck(...batches: readonly string[]): Promise<number> {
        return Number(await this.#send(undefined, ["APIKEY.USAGE.ACK", ...batches], CHANGE));
    }

    /** APIKEY.USAGE.NACK: how many lines were given back. */
    async usageNack(...batches: readonly string[]): Promise<number> {
        return Number(await this.#send(undefined, ["APIKEY.USAGE.NACK", ...batches], CHANGE));
    }

    /** APIKEY.HEALTH, of a cluster that of one node: its fields by their names, integers as their digits. */
    async health(): Promise<ReadonlyMap<string, Reply>> {
        return map(await this.#send(undefined, ["APIKEY.HEALTH"], READ));
    }

    /** Any other command, as it is; sent once. `key`, where it has one, says to which node of a cluster. */
    async call(key: string | undefined, ...command: readonly string[]): Promise<Reply> {
        return this.#send(key, command, ONCE_MAY_WAIT);
    }
}

/** Reads what LEASE replied. */
export function readBatches(reply: Reply): UsageBatch[] {
    return list(reply).map((batch) => {
        const [id, lines] = list(batch);
        return {
            id: String(id),
            lines: list(lines).map((line) => {
                const [lineId, key, count, lastUsedAt] = list(line);
                return {
                    id: String(lineId),
                    key: String(key),
                    count: integer(count),
                    lastUsedAtMs: Number(lastUsedAt),
                };
            }),
        };
    });
}

function fill(options: Fill): string[] {
    const words: string[] = [];
    if (options.ttlMs !== undefined) {
        words.push("PX", String(options.ttlMs));
    } else if (options.untilMs !== undefined) {
        words.push("PXAT", String(options.untilMs));
    }
    if (options.tags !== undefined && options.tags.length > 0) {
        words.push("TAGS", String(options.tags.length), ...options.tags);
    }
    if (options.ns !== undefined) {
        words.push("NS", options.ns);
    }
    return words;
}
