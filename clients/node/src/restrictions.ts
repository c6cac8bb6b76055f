/**
 * Names by which tables say that a key may not be used: what has one of them, and is none of a record's own fields, is
 * not passed over in silence. The lists are the module's (`engine/src/record/restrictions.rs`), and `verdict.json`
 * holds this against that.
 */

import { type Json, stringify } from "./json.js";

// What a name says, a bit each: that the key may be used, or not; until when, and from when on; what it may do, and what
// not; from where; something else that decides; how it is, in words of the table's.
const ACTIVE = 1;
const TAKEN_BACK = 2;
const END = 4;
const BEGINNING = 8;
const GRANT = 16;
const DENIAL = 32;
const ADDRESSES = 64;
const OTHER = 128;
const STATE = 256;

function byWord(lists: [says: number, words: string][]): Map<string, number> {
    return new Map(lists.flatMap(([says, words]) => words.split(" ").map((word): [string, number] => [word, says])));
}

/** Wherever they stand in a name. */
const STEMS = byWord([
    [ACTIVE, "authoris authoriz canlogin usabl"],
    [
        TAKEN_BACK,
        "abandon accountlock archiv banned blocked cancel compromis deactivat decommission delet deprecat " +
            "deprovision destroy disabl discard erased expired freez frozen inactiv invalid leaked locked lockout " +
            "nonactive notactive notenabled notusabl notvalid obsolete paused purge quarantin recycl redeem " +
            "redempt reject remov rescind retired revoc revok sunset supersed suspen terminat tombston trash " +
            "unapproved unauthor unusabl unverified voided withdrawn",
    ],
    [
        END,
        "expir goodthrough goodthru lifespan lifetime maxage maxttl notafter notvalidafter validbefore " +
            "validend validity validthru validtill validto validuntil",
    ],
    [
        BEGINNING,
        "activefrom activesince availablefrom effectiv embargo enabledfrom notbefore notvalidbefore " +
            "validafter validfrom validsince validstart",
    ],
    [
        GRANT,
        "abilities allow audience authorities capabilit entitlement granttype permission permit privileg " +
            "safelist scope whitelist",
    ],
    [DENIAL, "blacklist blocklist denied deny disallow exclud exclusion forbid prohibit restrict"],
    [ADDRESSES, "cidr ipallow ipsafelist ipwhitelist"],
    [
        OTHER,
        "accesscontrol accountcontrol caveat condition constraint criticaloption forcecommand limitedby " +
            "maxusage maxuses numuses onetime policies policy referer remaininguses roledescriptor singleuse " +
            "usagelimit uselimit usesleft useslimit usesremaining validperiod validprincipal validrange validtime",
    ],
]);

/** As a whole, but for what may stand before and behind. */
const WORDS = byWord([
    [ACTIVE, "activated active alive approved available enable enabled inuse iscurrent isuse useyn valid verified"],
    [
        TAKEN_BACK,
        "block closed consumed deact dead del delyn flagged gone held hold inact killed lock onhold pause " +
            "pending replaced stolen stopped void",
    ],
    [END, "duration endat enddate enddatetime enddt ended ends endtime eol exp tokenwindow usebefore useby"],
    [
        BEGINNING,
        "activation beginat begindate begins begintime nbf signedstart startat startdate startdatetime " +
            "starton starts starttime",
    ],
    [GRANT, "accesslevel grants perm"],
    [DENIAL, "banlist blocks except"],
    [
        ADDRESSES,
        "addresses addressrange addressranges boundip fixedip ipbinding requestip signedip sourceaddress " +
            "sourceip staticip",
    ],
    [STATE, "lifecycle state status"],
    [OTHER, "during effect limited sysperiod systemperiod"],
]);

/** The same, and anything may stand before them: they begin where a word does. */
const FREE_WORDS = byWord([
    [TAKEN_BACK, "ban bans"],
    [END, "before till ttl until"],
    [GRANT, "perms rights"],
    [
        ADDRESSES,
        "ipaccess ipaddresses ipaddrs ipblock ipblocks ipfilter ipfilters iplist iplists ipmask iprange " +
            "ipranges ips ipset ipsets netmask network networks subnet subnets",
    ],
    [OTHER, "acl acls origins readonly referrers"],
]);

const BEFORE = (
    "access account api auth authorized bound client creation credential data default good is key " +
    "lifecycle login max min object permitted record remote row secret source token trusted user was"
).split(" ");
const BEHIND = (
    "after at before by cd code date datetime days dt dttm end epoch fl flag flg for from hours id ind " +
    "indicator list m millis mins minutes ms ns on period range reason sec seconds secs since stamp start " +
    "state status tags time tm to ts tz unix until us utc value yn"
).split(" ");

/** Before what may have anything before it: what was so is none. */
const PAST = new Set(["old", "previous"]);

/** Longer names are looked at for stems alone. */
const MOST_LETTERS = 64;

/** Of a name its letters and digits, in small letters, and at which of them words begin but for the first. */
interface Letters {
    readonly letters: string;
    readonly begins: ReadonlySet<number>;
}

function lettersOf(name: string): Letters {
    let letters = "";
    const begins = new Set<number>();
    for (let at = 0; at < name.length; at++) {
        const char = name.charAt(at);
        if (!/[A-Za-z0-9]/.test(char)) {
            continue;
        }
        const before = name.charAt(at - 1);
        // In `ipACLs` at both capitals that a small letter is beside.
        const isCapital = /[A-Z]/.test(char) && (!/[A-Z]/.test(before) || /[a-z]/.test(name.charAt(at + 1)));
        if (letters !== "" && (isCapital || !/[A-Za-z0-9]/.test(before))) {
            begins.add(letters.length);
        }
        letters += char.toLowerCase();
    }
    return { letters, begins };
}

/** What is said by something that begins there, of which the opposite may stand before it. */
function withWhatIsBefore({ letters, begins }: Letters, at: number, says: number): number {
    const before = letters.slice(0, at);
    const isUn = before.endsWith("un") && (at === 2 || begins.has(at - 2));
    if (!isUn && !before.endsWith("not") && !before.endsWith("non")) {
        return says;
    }
    const instead = (one: number, other: number): number => ((says & one) === 0 ? 0 : other);
    const opposite =
        (says & ~(ACTIVE | TAKEN_BACK | GRANT | END | BEGINNING)) |
        instead(ACTIVE, TAKEN_BACK) |
        instead(TAKEN_BACK, ACTIVE) |
        instead(GRANT, DENIAL) |
        instead(BEGINNING, END);
    return opposite === 0 ? OTHER : opposite;
}

function stemsIn(name: Letters): number {
    let found = 0;
    for (const [stem, says] of STEMS) {
        for (let at = name.letters.indexOf(stem); at >= 0; at = name.letters.indexOf(stem, at + 1)) {
            found |= withWhatIsBefore(name, at, says);
        }
    }
    return found;
}

/** What words say between parts that may stand before and behind them; `anywhere` also behind others. */
function wordsIn(name: Letters, anywhere: boolean): number {
    const { letters, begins } = name;
    if (letters.length > MOST_LETTERS) {
        return 0;
    }
    const ends = new Set([letters.length]);
    for (let end = letters.length; end > 0; end--) {
        for (const part of ends.has(end) ? BEHIND : []) {
            if (letters.slice(0, end).endsWith(part)) {
                ends.add(end - part.length);
            }
        }
    }
    const starts = new Set([0]);
    for (let start = 0; start < letters.length; start++) {
        for (const part of starts.has(start) ? BEFORE : []) {
            if (letters.startsWith(part, start)) {
                starts.add(start + part.length);
            }
        }
    }
    let found = 0;
    for (const end of ends) {
        for (const start of new Set([...starts, ...begins])) {
            const word = letters.slice(start, Math.max(start, end));
            const ofWord = anywhere || starts.has(start) ? (WORDS.get(word) ?? 0) : 0;
            const ofFree = PAST.has(letters.slice(0, start)) ? 0 : (FREE_WORDS.get(word) ?? 0);
            const says = ofWord | ofFree;
            found |= says === 0 ? 0 : withWhatIsBefore(name, start, says);
        }
    }
    return found;
}

/** Whether a field of this name looks as if it restricted its key. */
export function looksLikeOne(name: string): boolean {
    const letters = lettersOf(name);
    return (stemsIn(letters) | wordsIn(letters, false)) !== 0;
}

function saysOf(name: string): number {
    const letters = lettersOf(name);
    const says = stemsIn(letters) | wordsIn(letters, true);
    // A key that is locked until then may be used from then on.
    const isUntil = /until|till|thru|before/.test(letters.letters);
    return (says & TAKEN_BACK) !== 0 && isUntil ? (says & ~END) | BEGINNING : says;
}

/** What to do with a field that looks like a restriction and is not judged, beside dropping it. */
export function remedy(name: string): string {
    const says = saysOf(name);
    const has = (what: number): boolean => (says & what) !== 0;
    if (has(BEGINNING)) {
        return "let the query judge it";
    }
    if (has(END)) {
        return "map it by fieldNames";
    }
    if (has(TAKEN_BACK)) {
        return "name it in inactiveFields";
    }
    return has(ACTIVE | GRANT | ADDRESSES | STATE) && !has(DENIAL) ? "map it by fieldNames" : "let the query judge it";
}

/** Why a table's name may not stand for a field: what restricts a key would be judged as something else. */
export function refuseToMap(own: string, theirs: string): string | undefined {
    const says = saysOf(theirs);
    const has = (what: number): boolean => (says & what) !== 0;
    const begins = "which says from when on the key may be used: let the query judge it";
    switch (own) {
        case "is_active":
            if (has(BEGINNING)) {
                return begins;
            }
            if (has(TAKEN_BACK | DENIAL)) {
                return "which says the opposite: name it in inactiveFields";
            }
            return has(END) ? "which says when the key ends: map expires_at to it" : undefined;
        case "expires_at":
            return has(BEGINNING) || (has(ACTIVE) && !has(END)) ? begins : undefined;
        case "scopes":
            if (has(TAKEN_BACK | DENIAL)) {
                return "which says what the key may not do: leave that out of its scopes in the query";
            }
            return has(ADDRESSES) ? "which says from where it may be used: map allowed_ips to it" : undefined;
        case "allowed_ips":
            return has(TAKEN_BACK | DENIAL)
                ? "which says from where the key may not be used: have the query give those from which it may"
                : undefined;
        default:
            return looksLikeOne(theirs) ? "which looks as if it restricted the key" : undefined;
    }
}

/** Whether a flag of this name says, where it is set, that its key may be used: it makes none inactive. */
export function saysActive(name: string): boolean {
    const says = saysOf(name);
    return (says & ACTIVE) !== 0 && (says & END) === 0;
}

/** Names of fields that hold the name of another one, and of those that hold what it has. */
const NAMES = new Set(["key", "name", "k", "field", "property", "attribute", "attr", "column", "option"]);
const VALUES = new Set(["value", "val", "v", "values"]);

/**
 * The first name in a value that looks like one: in objects, in arrays, in pairs of a name and a value, and in texts that
 * are JSON, as deep as they go.
 */
export function firstIn(value: Json): string | undefined {
    return typeof value === "object" || typeof value === "string" ? firstInText(stringify(value)) : undefined;
}

function firstInText(json: string): string | undefined {
    if (!json.includes("\\") && !json.includes(":") && !json.includes("=>")) {
        return undefined;
    }
    let named: string | undefined;
    let hasValue = false;
    let isOfName = false;
    const colon = /\s*(?::|=>)/y;
    // Each quote is looked at as the beginning of a string: in a text that is not JSON alone, an odd one may stand before it.
    for (let at = json.indexOf('"'); at >= 0; ) {
        const end = stringEnd(json, at);
        const text = unescaped(json.slice(at, end));
        at = end < json.length ? end - 1 : -1;
        colon.lastIndex = end;
        if (colon.test(json)) {
            if (looksLikeOne(text)) {
                return text;
            }
            hasValue ||= VALUES.has(text.toLowerCase());
            isOfName = NAMES.has(text.toLowerCase());
            continue;
        }
        const found = firstInText(text);
        if (found !== undefined) {
            return found;
        }
        if (isOfName && !/^\s*(?::|=>)\s*$/.test(text)) {
            isOfName = false;
            named ??= looksLikeOne(text) ? text : undefined;
        }
    }
    return hasValue ? named : undefined;
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

const ESCAPED = new Map([
    ["n", "\n"],
    ["t", "\t"],
    ["r", "\r"],
    ["b", "\b"],
    ["f", "\f"],
]);

/** What a string says, whatever is wrong with it. */
function unescaped(json: string): string {
    const text = json.replace(/^"/, "").replace(/"$/, "");
    return text.replace(/\\(?:u([0-9A-Fa-f]{4})|(.?))/gs, (_, code: string | undefined, other: string | undefined) =>
        code === undefined ? (ESCAPED.get(other ?? "") ?? other ?? "") : String.fromCharCode(Number.parseInt(code, 16)),
    );
}
