/**
 * A row of the application's database, read into what the verdict wants of it. The rules are the module's
 * (`docs/commands.md`, Records), so that a key is judged alike whether Redis or the database answers.
 */

import { type Range, readRange } from "./addresses.js";
import { type Accepted, readDigests } from "./digest.js";
import { BadRecord, type Id } from "./errors.js";
import { frozen, type Json, type JsonObject, parse, stringify } from "./json.js";
import { faultIn, type Limit } from "./limits.js";
import { isId, WHAT_AN_ID_IS } from "./names.js";
import { firstIn, looksLikeOne, refuseToMap, remedy, saysActive } from "./restrictions.js";
import { readScopes, type Scope } from "./scopes.js";
import { readEnd } from "./times.js";

/** What a loader returns: an object as a database client gives it, or its JSON as a text, in which large integers are kept. */
export type Row = object | string;

/** A key's record, as it is cached and handed out: without its digest, and whatever else is not kept. */
export interface KeyRecord {
    /** An integer beyond 2^53 is a `bigint`. */
    readonly id: Id;
    readonly user_id?: Id | null;
    readonly name?: string | null;
    readonly key_prefix?: string | null;
    readonly scopes?: readonly (string | { readonly resource: string; readonly actions: readonly string[] })[] | null;
    readonly is_active: boolean;
    /** Epoch milliseconds, an RFC 3339 time, `"infinity"` or null. */
    readonly expires_at?: number | string | null;
    readonly allowed_ips?: readonly string[] | null;
    readonly created_at?: Json;
    readonly updated_at?: Json;
    /** What bounds the key's use; at most 16. */
    readonly limits?: readonly Limit[] | null;
    /** Fields that were named as extra ones, here and at the server. */
    readonly [extra: string]: Json | undefined;
}

/** How the application's table differs from a record. The same as the settings of the module of these names. */
export interface RowOptions {
    /** The field that holds the digest. `key_hash` where it is not said. */
    readonly digestField?: string;
    /** What the table calls a record's fields, the record's name first: `{ expires_at: "expiresAt" }`. */
    readonly fieldNames?: Readonly<Record<string, string>>;
    /**
     * Fields that make a key DISABLED when they are neither null, false, 0 nor `""`. Where it is not said: `revoked`,
     * `revoked_at`, `deleted_at`, `disabled`, `disabled_at`, `archived_at`.
     */
    readonly inactiveFields?: readonly string[];
    /** Fields that are passed over though they look like a restriction. */
    readonly droppedFields?: readonly string[];
    /** Fields that an object of `scopes` may have beside `resource` and `actions`. */
    readonly scopeFields?: readonly string[];
    /** Fields that a record keeps beside the usual ones. Name them at the server as well (`apikey.extra-fields`). */
    readonly extraFields?: readonly string[];
}

/** A row as it was read. */
export interface ReadRow {
    readonly record: KeyRecord;
    /** What goes to the cache: the row's JSON under the record's own names, without its digest. */
    readonly json: string;
    readonly digests: readonly Accepted[];
    readonly isActive: boolean;
    /** Epoch milliseconds; `null` for never. */
    readonly expiresAt: number | null;
    readonly scopes: readonly Scope[];
    /** `null` where every address may. */
    readonly allowedIps: readonly Range[] | null;
}

const INACTIVE_FIELDS = ["revoked", "revoked_at", "deleted_at", "disabled", "disabled_at", "archived_at"];
const KEPT_FIELDS = new Set([
    "id",
    "user_id",
    "name",
    "key_prefix",
    "scopes",
    "is_active",
    "expires_at",
    "created_at",
    "updated_at",
    "allowed_ips",
    "limits",
]);
const MAX_NAMES = 32;
const MAX_NAME_BYTES = 128;
const WHAT_A_NAME_IS = `a text of 1 to ${MAX_NAME_BYTES} bytes`;
const MAX_RANGES = 64;
const MAX_LEVELS = 32;

/** Reads rows of one table. */
export class RowReader {
    readonly #digestField: string;
    readonly #own: ReadonlyMap<string, string>;
    readonly #inactive: ReadonlySet<string>;
    readonly #dropped: ReadonlySet<string>;
    readonly #scopeFields: ReadonlySet<string>;
    readonly #extra: ReadonlySet<string>;

    /** @throws {TypeError} where an option is not what the module's setting of its name could be. */
    constructor(options: RowOptions = {}) {
        const { fieldNames = {}, digestField = "key_hash" } = options;
        this.#digestField = digestField;
        this.#inactive = namesIn("inactiveFields", options.inactiveFields ?? INACTIVE_FIELDS);
        this.#dropped = namesIn("droppedFields", options.droppedFields);
        this.#scopeFields = namesIn("scopeFields", options.scopeFields);
        this.#extra = namesIn("extraFields", options.extraFields);
        if (!isName(digestField) || KEPT_FIELDS.has(digestField)) {
            throw new TypeError(`digestField must be ${WHAT_A_NAME_IS}, and none of a record's fields`);
        }
        for (const name of this.#inactive) {
            if (KEPT_FIELDS.has(name) || name === digestField) {
                throw new TypeError(`inactiveFields must not have ${name}, which is read as what it is`);
            }
        }
        for (const name of options.inactiveFields ?? []) {
            if (saysActive(name)) {
                throw new TypeError(
                    `inactiveFields must not have ${name}, which says that a key is active: map is_active to it`,
                );
            }
        }
        for (const name of this.#dropped) {
            if (KEPT_FIELDS.has(name) && name !== "limits") {
                throw new TypeError(`droppedFields must not have ${name}: a record has a field of that name`);
            }
        }
        for (const name of ["key_hash", digestField]) {
            if (this.#extra.has(name)) {
                throw new TypeError(`extraFields must not have ${name}: a secret's digest is not kept`);
            }
        }
        this.#own = this.#readNames(fieldNames);
    }

    /** What the table's names stand for. */
    #readNames(fieldNames: Readonly<Record<string, string>>): Map<string, string> {
        if (typeof fieldNames !== "object" || fieldNames === null || Array.isArray(fieldNames)) {
            throw new TypeError("fieldNames must be an object");
        }
        const names = new Map<string, string>();
        for (const [own, theirs] of Object.entries(fieldNames)) {
            const refuse = (why: string): never => {
                throw new TypeError(`fieldNames must not map ${own} to ${String(theirs)}${why}`);
            };
            if (!isName(theirs)) {
                refuse(`: a name is ${WHAT_A_NAME_IS}`);
            }
            if (!KEPT_FIELDS.has(own) || KEPT_FIELDS.has(theirs)) {
                refuse(": it maps a field of a record to a name that none of them has");
            }
            if (names.has(theirs)) {
                refuse(" as well: each name is one field's");
            }
            if (theirs === this.#digestField || this.#inactive.has(theirs)) {
                refuse(", which is in digestField or inactiveFields too");
            }
            const why = refuseToMap(own, theirs);
            if (why !== undefined) {
                refuse(`, ${why}`);
            }
            names.set(theirs, own);
        }
        return names;
    }

    /**
     * Reads a row.
     *
     * @throws {BadRecord} where nobody may judge it.
     */
    read(row: Row): ReadRow {
        let fields: Json;
        try {
            fields = parse(typeof row === "string" ? row : stringify(row));
        } catch (cause) {
            throw new BadRecord("record is not JSON", { cause });
        }
        if (fields === null || typeof fields !== "object" || Array.isArray(fields)) {
            throw new BadRecord("record must be a JSON object");
        }
        return this.#readFields(fields as JsonObject);
    }

    #readFields(fields: JsonObject): ReadRow {
        const record: Record<string, Json> = {};
        const sent: Record<string, Json> = {};
        let digests: readonly Accepted[] = [];
        let inactive: boolean | undefined;
        for (const [name, value] of Object.entries(fields)) {
            if (!name.isWellFormed()) {
                throw new BadRecord("record is not JSON: the name of a field has half a character");
            }
            if (name === this.#digestField) {
                digests = readDigests(name, value);
                continue;
            }
            const mapped = this.#own.get(name);
            if (mapped === undefined && this.#dropped.has(name)) {
                continue;
            }
            const own = mapped ?? (KEPT_FIELDS.has(name) ? name : undefined);
            if (own !== undefined) {
                if (Object.hasOwn(record, own)) {
                    throw new BadRecord(`${own} is given twice`);
                }
                put(record, own, value);
                put(sent, own, value);
                continue;
            }
            if (this.#inactive.has(name)) {
                inactive = inactive === true || isSet(value);
                continue;
            }
            if (!this.#extra.has(name)) {
                mayBeDropped(name, value);
            } else {
                checkFree(name, value);
                put(record, name, value);
            }
            put(sent, name, value);
        }
        return this.#judgeable(record, sent, digests, inactive);
    }

    #judgeable(
        record: Record<string, Json>,
        sent: Record<string, Json>,
        digests: readonly Accepted[],
        inactive: boolean | undefined,
    ): ReadRow {
        if (!isId(record.id)) {
            throw new BadRecord(`id must be ${WHAT_AN_ID_IS}`);
        }
        if (record.user_id !== undefined && record.user_id !== null && !isId(record.user_id)) {
            throw new BadRecord(`user_id must be ${WHAT_AN_ID_IS}`);
        }
        for (const name of ["name", "key_prefix"]) {
            const value = record[name] ?? null;
            if (value !== null && (typeof value !== "string" || !value.isWellFormed())) {
                throw new BadRecord(`${name} must be a string or null`);
            }
        }
        for (const name of ["created_at", "updated_at"]) {
            const value = record[name] ?? null;
            checkFree(name, value);
            holdsNoRestriction(name, value);
        }
        const isActive = readActive(record.is_active, inactive);
        const expiresAt = readEnd("expires_at", record.expires_at);
        const scopes = readScopes(record.scopes, this.#scopeFields);
        if (scopes.some((scope) => typeof scope === "object")) {
            checkFree("scopes", record.scopes ?? null);
        }
        const allowedIps = readAddresses(record.allowed_ips);
        const fault = faultIn(record.limits);
        if (fault !== undefined) {
            throw new BadRecord(fault);
        }
        put(record, "is_active", isActive);
        put(sent, "is_active", isActive);
        if (typeof record.expires_at === "string" && Number.isFinite(expiresAt)) {
            const kept = /^[+-]?\d+$/.test(record.expires_at) ? expiresAt : record.expires_at;
            put(record, "expires_at", kept);
        }
        return {
            // Each field was checked above.
            record: frozen(record) as unknown as KeyRecord,
            json: stringify(sent),
            digests,
            isActive,
            expiresAt,
            scopes,
            allowedIps,
        };
    }
}

function isName(name: unknown): name is string {
    return typeof name === "string" && name !== "" && Buffer.byteLength(name) <= MAX_NAME_BYTES;
}

/** The names that an option has. A text is no list of names: it would be one of letters. */
function namesIn(option: string, names: unknown = []): ReadonlySet<string> {
    if (!Array.isArray(names) || names.length > MAX_NAMES || !names.every(isName)) {
        throw new TypeError(`${option} must be an array of at most ${MAX_NAMES} names, each ${WHAT_A_NAME_IS}`);
    }
    return new Set(names);
}

/** Also of a field that is called `__proto__`. */
function put(object: Record<string, Json>, name: string, value: Json): void {
    Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
}

function readActive(value: Json | undefined, inactive: boolean | undefined): boolean {
    if (value === undefined) {
        if (inactive === undefined) {
            throw new BadRecord("is_active is missing");
        }
        return !inactive;
    }
    if ([true, 1, "true", "t"].includes(value as boolean | number | string)) {
        return inactive !== true;
    }
    if ([false, 0, "false", "f"].includes(value as boolean | number | string)) {
        return false;
    }
    throw new BadRecord('is_active must be true or false (or 1, 0, "t", "f")');
}

/** Whether a field that names when, or that, a key was taken back says so. */
function isSet(value: Json): boolean {
    return !(value === null || value === false || Object.is(value, 0) || value === "");
}

function readAddresses(value: Json | undefined): Range[] | null {
    if (value === undefined || value === null) {
        return null;
    }
    if (!Array.isArray(value) || value.some((text: Json) => typeof text !== "string")) {
        throw new BadRecord("allowed_ips must be null or an array of strings");
    }
    if (value.length > MAX_RANGES) {
        throw new BadRecord(`allowed_ips must have at most ${MAX_RANGES} elements`);
    }
    return value.map((text: Json) => readRange(String(text)));
}

/** Checks a value that every parser must take: at most 32 levels, whole characters, numbers in the range of a double. */
function checkFree(name: string, value: Json, levels = 0): void {
    const isNumber = typeof value === "number" || typeof value === "bigint";
    let isRight = !isNumber || Number.isFinite(Number(value));
    if (typeof value === "string") {
        isRight = value.isWellFormed();
    } else if (value !== null && typeof value === "object") {
        isRight = levels < MAX_LEVELS;
        for (const [inner, part] of isRight ? Object.entries(value) : []) {
            isRight &&= inner.isWellFormed();
            checkFree(name, part, levels + 1);
        }
    }
    if (!isRight) {
        throw new BadRecord(
            `${name} must be JSON that any parser takes: at most ${MAX_LEVELS} levels, whole characters, numbers in the range of a double`,
        );
    }
}

function mayBeDropped(name: string, value: Json): void {
    if (looksLikeOne(name)) {
        throw new BadRecord(
            `${name} looks like a restriction and is not judged: ${remedy(name)}, or name it in droppedFields`,
        );
    }
    holdsNoRestriction(name, value);
}

function holdsNoRestriction(name: string, value: Json): void {
    const inner = firstIn(value);
    if (inner !== undefined) {
        throw new BadRecord(
            `${inner} in ${name} is not judged: give it as a field of the record, or name ${name} in droppedFields`,
        );
    }
}
