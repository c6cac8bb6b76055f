/** {@link ApiKeys}: verifying keys, and telling the cache what changed. */

import { hash } from "node:crypto";
import { type Admission, admitCommand, described, isRepeatable, type LimitState, readAdmission } from "./admission.js";
import { Asking, asError, type RedisOptions } from "./asking.js";
import { checkFunctions, checkMs, checkOneOf } from "./bounds.js";
import { Changes } from "./changes.js";
import { Commands } from "./commands.js";
import { digestOf, storedDigests } from "./digest.js";
import type { RedisClient } from "./driver.js";
import { BadRecord, type Change, type Id, Refusal, UnavailableError } from "./errors.js";
import { type GeneratedKey, generateKey, type PresentedKey, parseKey, regenerateKey } from "./format.js";
import { frozen, parse } from "./json.js";
import { type Keeping, L1 } from "./l1.js";
import { LimitedKeys } from "./limited.js";
import { limitsOf, mayHaveLimits } from "./limits.js";
import { Loads } from "./loads.js";
import { Names } from "./names.js";
import { questionOf } from "./question.js";
import type { Integer } from "./replies.js";
import { fromAdmission, fromCache, fromDatabase, fromL1, type KeptKey, type Result, type Valid } from "./results.js";
import { type KeyRecord, type ReadRow, type Row, type RowOptions, RowReader } from "./row.js";
import { checkScopes } from "./scopes.js";
import { Usage } from "./usage.js";
import { readValidation, type Validation, validateCommand } from "./validation.js";
import { checkAddress } from "./verdict.js";
import { type Rows, type Warmed, Warming, type WarmOptions } from "./warm.js";
import { checkCost, checkCounters, checkRequestId, checkWish, hasLimits, type LimitOptions, wants } from "./wish.js";

/** Says what the database has of a key: the row as it stands, committed, from the primary; `null` where there is none. */
export type Load = (prefix: string) => Promise<Row | null | undefined>;

/** How {@link ApiKeys} works. Times are milliseconds. */
export interface ApiKeysOptions extends RedisOptions {
    readonly load: Load;
    /** Takes a presented key apart; `undefined` for what is none. Where it is not said, the format of {@link ApiKeys.generate}. */
    readonly parse?: (presented: string) => PresentedKey | undefined;
    /**
     * With it digests are HMAC-SHA-256 of the secret. While it is rotated a list, the new one first: keys of all of them
     * are good, those of the first in one round trip.
     */
    readonly pepper?: string | Uint8Array | readonly (string | Uint8Array)[];
    /** How the table's columns differ from a record's fields. */
    readonly row?: RowOptions;
    /** How long a record is cached. As the server has it (`apikey.validation-ttl`) where it is not said. */
    readonly ttlMs?: number;
    /** How long it is cached that there is no such key. As the server has it (`apikey.absent-ttl`) where it is not said. */
    readonly absentTtlMs?: number;
    /**
     * Separates tenants: stands in front of the names of all keys in Redis, for ACL patterns such as `~acme:*`, and of the
     * automatic tags. Not set unless it is said.
     */
    readonly ns?: string;
    /**
     * What becomes of a valid key with limits while Redis does not answer, or takes no writes: `"allow"` lets it by, with
     * `limits` as `null`, and counts nothing, so that an outage costs what is used meanwhile beyond all limits; `"refuse"`
     * makes it unavailable. `"allow"` where it is not said.
     */
    readonly limitsWhenUnavailable?: "allow" | "refuse";
}

/** What a key is asked for. */
export interface VerifyOptions extends LimitOptions {
    /** All of them have to be granted; at most 64. */
    readonly scopes?: readonly string[];
    /** The address that the key was presented from, IPv4 or IPv6. */
    readonly address?: string;
}

/** What a call of `verify` asks. */
interface Asked {
    readonly prefix: string;
    readonly digests: readonly string[];
    readonly scopes: readonly string[];
    readonly address: string | undefined;
    /** What the answer is kept under in this process. */
    readonly question: string | undefined;
    /** `undefined`: whatever the record says. */
    readonly wish: LimitOptions | undefined;
}

/** Error replies to ADMIT that say what is wrong with the call; of others something is wrong with Redis for now. */
const OF_THE_CALL = new Set(["ERR", "NOPERM", "WRONGTYPE", "CROSSSLOT"]);

/** The token of a node that can't vouch for what it has, and stores nothing. */
const KEEPS_NONE = "0";

/** How often a record is stored for a call that has to be admitted, and is not there then. */
const MOST_FILLS = 3;

/** A page of a user's keys. */
export interface Page {
    readonly items: readonly KeyRecord[];
    /** Of the whole list. */
    readonly total: number;
}

/**
 * Verifies API keys through the redis-apikey module. Make one for a process, and keep it.
 *
 * It opens connections of its own, as the client that it is given would: two to each server that is asked. What is sent
 * over them is written once.
 */
export class ApiKeys {
    /** The module's commands as typed methods. */
    readonly commands: Commands;
    /** Counts of uses, handed over in batches. */
    readonly usage: Usage;

    readonly #options: ApiKeysOptions;
    readonly #names: Names;
    readonly #asking: Asking;
    readonly #changes: Changes;
    readonly #warming: Warming;
    readonly #reader: RowReader;
    readonly #parse: (presented: string) => PresentedKey | undefined;
    /** `undefined` in it: plain SHA-256. */
    readonly #peppers: readonly (string | Uint8Array | undefined)[];
    readonly #l1: L1<KeptKey> | undefined;
    readonly #limited = new LimitedKeys();
    readonly #rows: Loads<ReadRow | null>;
    readonly #lists: Loads<readonly ReadRow[]>;
    readonly #decisions: Loads<boolean>;

    /**
     * @param client a client of ioredis or node-redis, of a server or a cluster, as a pattern: it is used for nothing else.
     * @throws {TypeError | RangeError} where an option is out of its bounds.
     */
    constructor(client: RedisClient, options: ApiKeysOptions) {
        checkOptions(options);
        this.#options = options;
        const { ns = "", l1 } = options;
        this.#names = new Names(ns);
        this.#asking = new Asking(client, options, () => this.#l1?.doubt());
        const { driver, router, read, change, whenDown } = this.#asking;
        const whose = { prefix: this.#names.front, keepsStale: whenDown === "stale", knowsTags: true };
        this.#l1 = l1 && new L1(l1, driver, router, whose);
        this.#reader = new RowReader(options.row);
        this.#parse = options.parse ?? parseKey;
        const { pepper } = options;
        this.#peppers = Array.isArray(pepper)
            ? (pepper as readonly (string | Uint8Array)[])
            : [pepper as string | Uint8Array | undefined];
        if (this.#peppers.length === 0) {
            throw new TypeError("pepper must not be an empty list");
        }
        if (this.#peppers.some((one) => one !== undefined && one.length === 0)) {
            throw new TypeError("pepper must not be empty: digests would be as good as without");
        }
        this.#rows = new Loads(this.#asking.loadLimit);
        // What these ask of the database has to find room among the rows.
        this.#lists = new Loads(Number.POSITIVE_INFINITY);
        this.#decisions = new Loads(Number.POSITIVE_INFINITY);
        this.commands = new Commands((key, command, { isRepeatable, mayWait }) =>
            router.send({ ...(mayWait ? change : read), isRepeatable }, key, command),
        );
        this.usage = new Usage(router, change, this.#names);
        this.#changes = new Changes(router, change, this.#names, this.#l1, options.outbox);
        this.#warming = new Warming(router, change, this.#names, this.#reader, (error) => this.report(error));
    }

    /**
     * Says whether a presented key may do something. A key whose record has `limits` is admitted by them, and that counts a
     * use: {@link Valid.limits} says whether it was.
     *
     * @throws {BadRecord} where the row of the key can't be judged: mend the row.
     * @throws {RangeError} where a scope or the address is none, or what is wanted of limits out of its bounds.
     * @throws {TypeError} where `scopes` is no array of texts.
     */
    verify(presented: string, options: VerifyOptions = {}): Promise<Result> {
        const verify = (): Promise<Result> => this.#verify(presented, options);
        const { telemetry } = this.#asking;
        return telemetry === undefined ? verify() : telemetry.verify(verify);
    }

    /** Makes a key; `name` says what for: `ak_live`. Store its `prefix` and `digest`, show `presented` once. */
    generate(name: string): GeneratedKey {
        return generateKey(name, this.#peppers[0]);
    }

    /**
     * Makes another secret for a key, for its rotation: the prefix stays, so that the row may accept both secrets for a
     * while. Store its `digest`, show `presented` once.
     *
     * @throws {RangeError} where the prefix is none that {@link generate} made.
     */
    regenerate(prefix: string): GeneratedKey {
        return regenerateKey(prefix, this.#peppers[0]);
    }

    /**
     * Tells that a key was changed or revoked, **after the commit**. When it returns, no key that the change revoked is
     * valid any more, wherever it is asked for. With `user` alone: that all keys of the user were changed.
     *
     * @throws {NotTold} where not all who have to hear of it have answered: say it again.
     * @throws {TypeError} where an id is none, as in what follows.
     */
    async changed(what: { readonly id?: Id; readonly prefix?: string; readonly user?: Id }): Promise<void> {
        const { id, prefix, user } = what;
        await this.#changes.tellOrKeep({
            kind: "changed",
            ...(id === undefined ? {} : { id }),
            ...(prefix === undefined ? {} : { prefix }),
            ...(user === undefined ? {} : { user }),
        });
    }

    /**
     * Tells that a key was created, after the commit: that it was not there is no longer known.
     *
     * @throws {NotTold} as {@link changed} does.
     */
    async created(prefix: string, user?: Id): Promise<void> {
        await this.#changes.tellOrKeep({ kind: "created", prefix, ...(user === undefined ? {} : { user }) });
    }

    /**
     * Tells that a user was deleted, after the commit; `prefixes` are those of the user's keys, if they are known. Of tens of
     * thousands each takes its time, and all of them together `changeTimeoutMs`: give them in parts, or more time.
     *
     * @throws {NotTold} as {@link changed} does.
     */
    async userDeleted(user: Id, prefixes: readonly string[] = []): Promise<void> {
        await this.#changes.tellOrKeep({ kind: "userDeleted", user, prefixes });
    }

    /**
     * Tells a change again that was kept by the outbox. The outbox is not called.
     *
     * @throws {NotTold} as {@link changed} does.
     * @throws {TypeError} where it is none: it has another kind, names nothing, or what its kind does not have.
     */
    async tell(change: Change): Promise<void> {
        await this.#changes.tell(change);
    }

    /**
     * A page of a user's keys.
     *
     * @throws {BadRecord} where a row can't be judged, {@link UnavailableError} where neither Redis nor the database could say.
     */
    async list(
        user: Id,
        options: {
            /** All rows of the user, in the order of the list. */
            readonly load: (user: Id) => Promise<readonly Row[]>;
            readonly offset?: number;
            readonly limit?: number;
        },
    ): Promise<Page> {
        const { load, offset = 0, limit } = options;
        const key = this.#names.list(user);
        for (;;) {
            const since = this.#lists.moment();
            const page = { offset, ...(limit === undefined ? {} : { limit }) };
            const found = await this.#asking.ask(() => this.commands.getlist(key, page));
            if (found !== undefined && "records" in found) {
                return { items: found.records.map((json) => parse(json) as unknown as KeyRecord), total: found.total };
            }
            const shared = await this.#lists.share(key, since, async () => {
                const rows = (await this.#fromDatabase(() => this.#rows.bounded(() => load(user)))).map((row) =>
                    this.#reader.read(row),
                );
                if (found !== undefined) {
                    const records = `[${rows.map(({ json }) => json).join(",")}]`;
                    await this.#fill(found.token, (token) =>
                        this.commands.setlist(key, user, records, token, this.#names.ns()),
                    );
                }
                return rows;
            });
            if (shared !== undefined) {
                const items = shared.value.map(({ record }) => record);
                return {
                    items: items.slice(offset, limit === undefined ? undefined : offset + limit),
                    total: items.length,
                };
            }
        }
    }

    /**
     * What the application decides of a key beside its scopes, cached with the key: it goes when the key is changed.
     *
     * @returns whether the key may do `action` to `resource`; no, where the database has no such key.
     * @throws {UnavailableError} where neither Redis nor the application could say.
     */
    async decide(
        prefix: string,
        resource: string,
        action: string,
        options: {
            /** Decides. It is asked on a miss, after everything that it could be told of has been told. */
            readonly load: (request: {
                readonly prefix: string;
                readonly resource: string;
                readonly action: string;
            }) => Promise<boolean>;
            /** What the decision is made of beside the key: `policy:7`, for TAGINVAL. */
            readonly tags?: readonly string[];
        },
    ): Promise<boolean> {
        const key = this.#names.decisions(prefix);
        for (;;) {
            const since = this.#decisions.moment();
            const found = await this.#asking.ask(() => this.commands.checkscope(key, resource, action));
            if (found !== undefined && "isAllowed" in found) {
                return found.isAllowed;
            }
            const name = JSON.stringify([prefix, resource, action]);
            const shared = await this.#decisions.share(name, since, async () => {
                const row = await this.#row(prefix);
                if (row === null) {
                    return false;
                }
                const request = { prefix, resource, action };
                const isAllowed = await this.#fromDatabase(() => this.#rows.bounded(() => options.load(request)));
                const { id, user_id: userId } = row.record;
                // A decision carries the tags of its key and its user; of a key that is nobody's none is kept.
                if (found !== undefined && userId !== undefined && userId !== null) {
                    const decision = { id, userId, resource, action, isAllowed, token: found.token };
                    const tags = options.tags === undefined ? {} : { tags: options.tags };
                    await this.#fill(found.token, () =>
                        this.commands.setscope(key, decision, { ...this.#names.ns(), ...tags }),
                    );
                }
                return isAllowed;
            });
            if (shared !== undefined) {
                return shared.value;
            }
        }
    }

    /**
     * Counts uses of a key; those of a request that was admitted ({@link Valid.limits}) are counted. Sent once, and never
     * again: where it throws, it may have counted. With `requestId` it counts once within a minute, and is sent again.
     *
     * @throws {Unanswered} where Redis did not answer, {@link Refusal} where it refused.
     */
    async count(prefix: string, by: Integer = 1, requestId?: string): Promise<void> {
        if (requestId !== undefined) {
            checkRequestId(requestId);
        }
        await this.commands.usageIncr(this.#names.counter(prefix), by, requestId);
    }

    /**
     * Says what a request that was admitted as `requestId` turned out to cost: the difference is given back, or taken as far
     * as there is, from every limit that it was taken from, and counted. 0 gives all back, for one that failed. `counters` are
     * those that `verify` was given. It is good once, and may be said again where it throws.
     *
     * @returns what the request was taken to cost before, and does now; `null` where it is not known (any more: a minute).
     * @throws {Unanswered} where Redis did not answer, {@link Refusal} where it refused.
     */
    async settle(
        prefix: string,
        requestId: string,
        cost: number,
        options: { readonly counters?: readonly string[] } = {},
    ): Promise<{ readonly before: number; readonly now: number } | null> {
        const { counters = [] } = options;
        checkRequestId(requestId);
        checkCost(cost);
        checkCounters(counters);
        this.#checkOthers(prefix, counters);
        const all = [this.#names.counter(prefix), ...counters];
        const [own] = await Promise.all(all.map((counter) => this.commands.settle(counter, requestId, cost)));
        return own === undefined || own === null ? null : { before: own[0], now: own[1] };
    }

    /**
     * Raises, lowers or sets the credits that a limit of the name `name` takes. With a `requestId`, as of a payment, it is done
     * once within a minute, and sent again where the reply is lost; without one it is sent once: where it throws, it may be done.
     *
     * @param options `counter`: the key in Redis of another counter than the API key's own.
     * @returns the balance.
     * @throws {Unanswered} where Redis did not answer, {@link Refusal} where it refused: a balance is not lowered below 0.
     */
    async credit(
        prefix: string,
        name: string,
        amount: { readonly by: number } | { readonly set: number },
        options: { readonly requestId?: string; readonly counter?: string } = {},
    ): Promise<number> {
        const { requestId, counter = this.#names.counter(prefix) } = options;
        if (requestId !== undefined) {
            checkRequestId(requestId);
        }
        return this.commands.credit(counter, name, amount, requestId);
    }

    /**
     * How what was taken from limits stands, without asking for anything. A limit that is full may be missing.
     *
     * @param options `counter`: the key in Redis of another counter than the API key's own.
     * @throws {Unanswered} where Redis did not answer, {@link Refusal} where it refused.
     */
    async limits(prefix: string, options: { readonly counter?: string } = {}): Promise<readonly LimitState[]> {
        const { counter = this.#names.counter(prefix) } = options;
        return described(await this.commands.limits(counter), this.#limited.of(prefix) ?? []);
    }

    /**
     * Fills the cache before anybody asks, as at the start of a process. `rows` is called when a token was had of each
     * primary, and not before: what is changed from then on is not stored as it was. It reads the database's primary, in a
     * transaction that begins then. What it gives later than `apikey.token-ttl-ms` (30 s) behind the tokens is refused.
     *
     * @throws {UnavailableError} where Redis gives no token: no row was asked for.
     * @throws {Unanswered | Refusal} where Redis stops taking rows; what was stored stays. Also whatever `rows` throws.
     * @throws {RangeError} where `batch` is out of its range.
     */
    warm(rows: () => Rows | Promise<Rows>, options: WarmOptions = {}): Promise<Warmed> {
        const { ttlMs } = this.#options;
        return this.#warming.run(rows, ttlMs === undefined ? options : { ttlMs, ...options });
    }

    /**
     * Ends all connections, for good. What is under way fails, and a change that was not told is given to the outbox. From
     * then on neither Redis nor the database is asked: `verify` says `unavailable`.
     */
    close(): void {
        this.#l1?.end();
        this.#asking.router.end();
    }

    async #verify(presented: string, options: VerifyOptions): Promise<Result> {
        const { scopes: given = [], address } = options;
        if (!Array.isArray(given)) {
            // An iterator that was read once would ask for nothing the second time.
            throw new TypeError("scopes must be an array");
        }
        const scopes: readonly string[] = [...(given as readonly string[])];
        if (typeof presented !== "string") {
            return { kind: "refused", code: "MALFORMED", scope: null, source: null };
        }
        const wish = wants(options) ? options : undefined;
        const question = this.#l1 && questionOf(presented, scopes, address);
        if (this.#l1 !== undefined && question !== undefined && wish === undefined) {
            // What is kept was checked when it was asked for, and has no limits.
            const now = performance.now();
            const kept = this.#l1.get(question, now);
            if (kept !== undefined) {
                return fromL1(kept, false, now);
            }
        }
        checkScopes(scopes);
        checkAddress(address);
        if (wish !== undefined) {
            checkWish(wish);
        }
        const key = this.#parse(presented);
        if (key === undefined) {
            return { kind: "refused", code: "MALFORMED", scope: null, source: null };
        }
        this.#checkOthers(key.prefix, wish?.counters ?? []);
        const digests = this.#peppers.map((pepper) =>
            pepper === undefined ? hash("sha256", key.secret, "hex") : digestOf(key.secret, pepper).toString("hex"),
        );
        try {
            return await this.#askBoth({ prefix: key.prefix, digests, scopes, address, question, wish });
        } catch (thrown) {
            if (thrown instanceof BadRecord) {
                throw thrown;
            }
            return { kind: "unavailable", cause: asError(thrown) };
        }
    }

    /** @throws {RangeError} where the key's own counter is among those that are beside it. */
    #checkOthers(prefix: string, counters: readonly string[]): void {
        if (counters.includes(this.#names.counter(prefix))) {
            throw new RangeError("counters must be others than the key's own, which is the first");
        }
    }

    /** Asks Redis, and the database where Redis has nothing. */
    async #askBoth(asked: Asked): Promise<Result> {
        const { prefix, wish } = asked;
        const key = this.#names.record(prefix);
        for (let fills = 0; ; ) {
            // What is loaded for this call has to be read after this, and after the token.
            const since = this.#rows.moment();
            let said: Validation | Admission | Refusal | undefined;
            try {
                said = await this.#asking.ask(() => this.#askRedis(asked));
            } catch (thrown) {
                const stale = this.#getStale(asked);
                if (stale === undefined) {
                    throw thrown;
                }
                return stale;
            }
            if (said instanceof Refusal) {
                this.report(said);
                throw new UnavailableError(`ADMIT is refused: ${said.message}`, { cause: said });
            }
            if (said !== undefined && said.token === null) {
                return this.#fromRedis(asked, said, fills === 0 ? "cache" : "database");
            }
            const token = said?.token ?? null;
            const shared = await this.#rows.share(prefix, since, () => this.#loadAndFill(prefix, key, token));
            if (shared === undefined) {
                continue;
            }
            const presented = asked.digests.map((hex) => Buffer.from(hex, "hex"));
            const { scopes, address } = asked;
            const result = fromDatabase(prefix, shared.value, { digests: presented, scopes, address });
            if (result.kind !== "valid") {
                return result;
            }
            this.#limited.note(prefix, limitsOf(result.record));
            if (wish === undefined && this.#limited.of(prefix) === undefined) {
                return result;
            }
            if (said === undefined || token === KEEPS_NONE || fills === MOST_FILLS) {
                return this.#unjudged(result, wish, said !== undefined);
            }
            // Limits are judged where they are kept, which now has the record.
            fills += 1;
        }
    }

    /**
     * What Redis says of a key: VALIDATE, and of one that has limits, or is to be admitted, ADMIT. A refusal is returned where
     * the call is wrong, which no database answers.
     */
    async #askRedis(asked: Asked): Promise<Validation | Admission | Refusal> {
        const { prefix, wish } = asked;
        if (wish === undefined && this.#limited.of(prefix) === undefined) {
            const said = await this.#validate(asked, asked.digests);
            const isLimited = said.code === "VALID" && said.record !== null && mayHaveLimits(said.record);
            const limits = isLimited ? limitsOf(parse(said.record ?? "") as { readonly limits?: unknown }) : [];
            if (limits.length === 0) {
                return said;
            }
            this.#limited.note(prefix, limits);
        }
        try {
            return await this.#admit(asked, asked.digests);
        } catch (thrown) {
            if (thrown instanceof Refusal && OF_THE_CALL.has(thrown.code)) {
                return thrown;
            }
            throw thrown;
        }
    }

    /** What Redis said, which is not that it lacks the record. */
    #fromRedis(asked: Asked, said: Validation | Admission, source: "cache" | "database"): Result {
        const { prefix, wish } = asked;
        if (!("limits" in said)) {
            return fromCache(prefix, said);
        }
        const result = fromAdmission(prefix, said, wish?.limits ?? [], this.#limited.of(prefix) ?? [], source);
        if (result.kind === "valid") {
            this.#limited.note(prefix, limitsOf(result.record));
        }
        return result;
    }

    /** A valid key whose limits nobody could judge, though Redis has answered or not. */
    #unjudged(valid: Valid, wish: LimitOptions | undefined, hasAnswered: boolean): Result {
        const why = hasAnswered ? "it does not keep the record" : "it does not answer";
        const error = new UnavailableError(`Redis could not judge the limits of a key: ${why}`);
        const isLimited = limitsOf(valid.record).length > 0 || hasLimits(wish);
        if (isLimited && this.#options.limitsWhenUnavailable === "refuse") {
            return { kind: "unavailable", cause: error };
        }
        if (hasAnswered) {
            this.report(error);
        }
        return valid;
    }

    /** What is kept of before, where that is wanted while Redis does not answer. */
    #getStale({ question, wish }: Asked): Valid | undefined {
        // What is kept has no limits.
        const mayLetBy = !hasLimits(wish) || this.#options.limitsWhenUnavailable !== "refuse";
        if (this.#asking.whenDown !== "stale" || question === undefined || !mayLetBy) {
            return undefined;
        }
        const now = performance.now();
        const kept = this.#l1?.getStale(question, now);
        return kept && fromL1(kept, true, now);
    }

    /** VALIDATE, with the digest of each pepper until one is not wrong. */
    async #validate(asked: Asked, [digest, ...others]: readonly string[]): Promise<Validation> {
        const { prefix, scopes, address, question } = asked;
        const key = this.#names.record(prefix);
        const command = validateCommand(key, { digest, ip: address, scopes });
        const { read, router } = this.#asking;
        const said =
            question !== undefined && this.#l1 !== undefined
                ? await this.#l1.ask(read, {
                      question,
                      key,
                      command,
                      read: readValidation,
                      keep: (answer) => this.#keeping(prefix, answer),
                  })
                : readValidation(await router.send(read, key, command));
        return said.code === "MISMATCH" && others.length > 0 ? this.#validate(asked, others) : said;
    }

    /** ADMIT, in the same way: one that says MISMATCH has taken nothing. */
    async #admit(asked: Asked, [digest, ...others]: readonly string[]): Promise<Admission> {
        const { prefix, scopes, address, wish = {} } = asked;
        const key = this.#names.record(prefix);
        const options = {
            digest,
            ip: address,
            scopes,
            counters: [this.#names.counter(prefix), ...(wish.counters ?? [])],
            cost: wish.cost,
            id: wish.requestId,
            isPeek: wish.peek,
            limits: wish.limits,
        };
        const { read, router } = this.#asking;
        const sending = { ...read, isRepeatable: isRepeatable(options) };
        const said = readAdmission(await router.send(sending, key, admitCommand(key, options)));
        return said.code === "MISMATCH" && others.length > 0 ? this.#admit(asked, others) : said;
    }

    /** What of an answer is kept in this process: VALID alone. */
    #keeping(prefix: string, said: Validation): Keeping<KeptKey> | undefined {
        if (said.code !== "VALID" || said.record === null) {
            return undefined;
        }
        const record = frozen(parse(said.record)) as unknown as KeyRecord;
        if (limitsOf(record).length > 0) {
            return undefined;
        }
        const names = [this.#names.record(prefix), this.#names.tag("id", record.id)];
        if (record.user_id !== undefined && record.user_id !== null) {
            names.push(this.#names.tag("user", record.user_id));
        }
        return { value: { prefix, record }, leftMs: said.leftMs, names };
    }

    /** Reads the row, and stores it where there is a token, which was had before. */
    async #loadAndFill(prefix: string, key: string, token: string | null): Promise<ReadRow | null> {
        const row = await this.#loadRow(prefix);
        if (token !== null) {
            const { ttlMs, absentTtlMs } = this.#options;
            const ttl = row === null ? absentTtlMs : ttlMs;
            const options = { ...this.#names.ns(), ...(ttl === undefined ? {} : { ttlMs: ttl }) };
            await this.#fill(token, () =>
                row === null
                    ? this.commands.setabsent(key, token, options)
                    : this.commands.setval(key, row.json, { ...options, token, digests: storedDigests(row.digests) }),
            );
        }
        return row;
    }

    /** A row as it is from now on. */
    async #row(prefix: string): Promise<ReadRow | null> {
        for (;;) {
            const since = this.#rows.moment();
            const shared = await this.#rows.share(prefix, since, () => this.#loadRow(prefix));
            if (shared !== undefined) {
                return shared.value;
            }
        }
    }

    async #loadRow(prefix: string): Promise<ReadRow | null> {
        const row = await this.#fromDatabase(() => this.#options.load(prefix));
        return row === null || row === undefined ? null : this.#reader.read(row);
    }

    async #fromDatabase<T>(load: () => Promise<T>): Promise<T> {
        try {
            return await load();
        } catch (cause) {
            throw new UnavailableError(`the database could not say: ${asError(cause).message}`, { cause });
        }
    }

    /**
     * Stores under a token. Whether it is stored is not the caller's matter, who answers from what was read; but a row that
     * the module refuses as a record is one that nobody may answer from.
     */
    async #fill(token: string, store: (token: string) => Promise<boolean>): Promise<void> {
        if (token === KEEPS_NONE) {
            return;
        }
        try {
            await store(token);
        } catch (thrown) {
            if (thrown instanceof Refusal && thrown.code === "BADRECORD") {
                throw new BadRecord(thrown.message.slice("BADRECORD ".length), { cause: thrown });
            }
            this.report(asError(thrown));
        }
    }

    /** @internal Tells of what went wrong and was answered all the same. */
    report(error: Error): void {
        this.#asking.report(error);
    }
}

/** @throws {TypeError | RangeError} where one is out of its bounds. */
function checkOptions(options: ApiKeysOptions): void {
    const { load, parse, ns = "", limitsWhenUnavailable } = options;
    if (load === undefined) {
        throw new TypeError("load must be a function");
    }
    checkFunctions({ load, parse });
    checkOneOf("limitsWhenUnavailable", limitsWhenUnavailable, [undefined, "allow", "refuse"]);
    if (typeof ns !== "string") {
        throw new TypeError("ns must be a text");
    }
    for (const name of ["ttlMs", "absentTtlMs"] as const) {
        const value = options[name];
        if (value !== undefined) {
            checkMs(name, value, 1);
        }
    }
}
