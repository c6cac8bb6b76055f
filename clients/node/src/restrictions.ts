/**
 * Names by which tables say that a key may not be used: what has one of them, and is none of a record's own fields, is
 * not passed over in silence. The lists are the module's (`engine/src/record/restrictions.rs`), and `verdict.json`
 * holds this against that.
 */

import { type Json, stringify } from "./json.js";

/** Wherever they stand in a name. */
const STEMS =
    /allow|archiv|banned|blacklist|blocked|blocklist|cancel|cidr|compromis|deactivat|delet|denied|deny|disabl|expir|forbid|frozen|lockout|notafter|notbefore|notvalid|purged|removed|restrict|revok|suspend|terminat|trash|validfrom|validthru|validto|validuntil|whitelist/;

/** As a whole, but for what may stand before and behind. */
const WORDS = new Set(
    (
        "abilities active enabled enddate endsat exp inactive ipranges ips locked nbf paused permission permissions perms " +
        "privileges retired scope scopes state status ttl until valid validtill voided"
    ).split(" "),
);
const BEFORE = ["account", "api", "is", "key", "lifecycle", "permitted", "source", "token", "trusted", "user"];
const BEHIND = [
    "at",
    "by",
    "code",
    "date",
    "flag",
    "m",
    "ms",
    "ns",
    "on",
    "seconds",
    "time",
    "ts",
    "unix",
    "us",
    "utc",
];

/** Stems of what says, where it is set, that a key may not be used. */
const TAKEN_BACK =
    /archiv|banned|blocked|cancel|compromis|deactivat|delet|disabl|frozen|inactiv|locked|notactive|purged|removed|revok|suspend|terminat|trash/;

/** Longer names are looked at for stems alone. */
const MOST_LETTERS = 64;

/** Whether a field of this name looks as if it restricted its key. */
export function looksLikeOne(name: string): boolean {
    const letters = lettersOf(name);
    return STEMS.test(letters) || isWord(letters);
}

/** Whether a flag of this name, where it is set, says that its key may not be used. */
export function saysTakenBack(name: string): boolean {
    return TAKEN_BACK.test(lettersOf(name));
}

function lettersOf(name: string): string {
    return name.replace(/[^A-Za-z0-9]/g, "").toLowerCase();
}

function isWord(letters: string): boolean {
    if (letters.length > MOST_LETTERS) {
        return false;
    }
    let rest: string | undefined = letters;
    while (rest !== undefined) {
        const begins: string = rest;
        let word: string | undefined = begins;
        while (word !== undefined) {
            const whole: string = word;
            if (WORDS.has(whole)) {
                return true;
            }
            const end = BEHIND.find((part) => whole.endsWith(part));
            word = end && whole.slice(0, -end.length);
        }
        const front = BEFORE.find((part) => begins.startsWith(part));
        rest = front && begins.slice(front.length);
    }
    return false;
}

/** The first name in a value that looks like one: in objects, in arrays, and in texts that are JSON, as deep as they go. */
export function firstIn(value: Json): string | undefined {
    return typeof value === "object" || typeof value === "string" ? firstInText(stringify(value)) : undefined;
}

function firstInText(json: string): string | undefined {
    // A text without escapes has no name in it.
    if (!json.includes("\\") && (json.startsWith('"') || !json.includes("{"))) {
        return undefined;
    }
    const colon = /\s*:/y;
    let at = json.indexOf('"');
    while (at >= 0) {
        const end = stringEnd(json, at);
        const text = unescaped(json.slice(at, end));
        colon.lastIndex = end;
        const isName = colon.test(json);
        const found = isName ? (looksLikeOne(text) ? text : undefined) : firstInText(text);
        if (found !== undefined) {
            return found;
        }
        at = json.indexOf('"', end);
    }
    return undefined;
}

/** Where the string that begins here ends. */
function stringEnd(json: string, from: number): number {
    let at = from + 1;
    while (at < json.length) {
        if (json[at] === '"') {
            return at + 1;
        }
        at += json[at] === "\\" ? 2 : 1;
    }
    return json.length;
}

/** What a string says; of one that is damaged, what can be read. */
function unescaped(json: string): string {
    try {
        return JSON.parse(json) as string;
    } catch {
        return json.replace(/^"+|"+$/g, "").replaceAll("\\", "");
    }
}
