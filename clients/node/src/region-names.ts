/** What the entries of a region, its tag and its stream are called in Redis. */

/** In the place of a region's name, for streams. */
const WRITES = "writes";

/** Names of one region. */
export class RegionNames {
    /** In front of all names; empty where there is none. */
    readonly ns: string;
    readonly region: string;
    readonly #front: string;
    readonly #back: string;

    /**
     * @param oneSlot whether all entries are in one slot of a cluster; else each key has its own.
     * @throws {TypeError | RangeError} where the region's name or the namespace is none.
     */
    constructor(ns: string, region: string, oneSlot: boolean) {
        checkName("the name of a region", region, 64);
        if (region === WRITES) {
            throw new TypeError(
                `the name of a region must not be ${WRITES}: its entries would be named as streams are`,
            );
        }
        if (ns !== "") {
            checkName("ns", ns, 100);
        }
        this.ns = ns;
        this.region = region;
        this.#front = oneSlot ? `${ns}cache:{${region}}:` : `${ns}cache:${region}:{`;
        this.#back = oneSlot ? "" : "}";
    }

    /** What the names of all entries of a namespace begin with. */
    static front(ns: string): string {
        return `${ns}cache:`;
    }

    /** @throws {TypeError} where the key is none. */
    entry(key: string): string {
        if (typeof key !== "string" || !key.isWellFormed()) {
            throw new TypeError("a key must be a text");
        }
        return `${this.#front}${key}${this.#back}`;
    }

    /** A glob over names, of one over keys. */
    pattern(glob: string): string {
        return `${escaped(this.#front)}${glob}${escaped(this.#back)}`;
    }

    /** Which all entries carry. */
    get tag(): string {
        return `${this.ns}cache:region:${this.region}`;
    }

    /** Where what is to be written to the database stands; in a region of one slot it is in that slot. */
    get stream(): string {
        return `${this.ns}cache:${WRITES}:{${this.region}}`;
    }
}

function escaped(name: string): string {
    return name.replaceAll(/[*?[\]\\]/g, "\\$&");
}

function checkName(what: string, name: string, most: number): void {
    if (typeof name !== "string" || !name.isWellFormed() || /[{}\0]/.test(name)) {
        throw new TypeError(`${what} must be a text, without braces and zero bytes`);
    }
    const bytes = Buffer.byteLength(name);
    if (bytes < 1 || bytes > most) {
        throw new RangeError(`${what} must have 1 to ${most} bytes`);
    }
}
