/** VALIDATE: what it is asked, and what it replies. */

import { list } from "./replies.js";
import type { Reply } from "./session.js";

/** What VALIDATE replies. */
export interface Validation {
    /** MISS, ABSENT, MISMATCH, DISABLED, EXPIRED, FORBIDDEN_IP, FORBIDDEN, UNVERIFIED, VALID. */
    readonly code: string;
    /** Of VALID and UNVERIFIED: the record's JSON. */
    readonly record: string | null;
    /** Of MISS and UNVERIFIED: for the fill. */
    readonly token: string | null;
    /** Of FORBIDDEN: the first scope that is not granted. */
    readonly scope: string | null;
    /** Milliseconds after which VALID or UNVERIFIED may be no longer true though nobody changed anything; -1: never. */
    readonly leftMs: number;
}

/** What a key is to be valid for. */
export interface ValidationOptions {
    /** 64 hex digits. */
    readonly digest?: string | undefined;
    readonly ip?: string | undefined;
    readonly scopes?: readonly string[];
}

/** The arguments of VALIDATE. */
export function validateCommand(key: string, options: ValidationOptions): string[] {
    return addValidation(["APIKEY.VALIDATE", key], options);
}

/** Adds to a command what a key is to be valid for. */
export function addValidation(command: string[], { digest, ip, scopes = [] }: ValidationOptions): string[] {
    if (digest !== undefined) {
        command.push("DIGEST", digest);
    }
    if (ip !== undefined) {
        command.push("IP", ip);
    }
    for (const scope of scopes) {
        command.push("SCOPE", scope);
    }
    return command;
}

/** Reads what VALIDATE replied. */
export function readValidation(reply: Reply): Validation {
    const [code, second, third, fourth] = list(reply);
    const said = String(code);
    const text = typeof second === "string" ? second : null;
    const isUnverified = said === "UNVERIFIED";
    const token = said === "MISS" ? text : isUnverified ? String(third) : null;
    return {
        code: said,
        record: said === "VALID" || isUnverified ? text : null,
        token,
        scope: said === "FORBIDDEN" ? text : null,
        leftMs: Number((isUnverified ? fourth : third) ?? -1),
    };
}
