/** What keys and tags are called in Redis. The braces keep all of an API key in one slot of a cluster. */

import type { Id } from "./errors.js";

export class Names {
    readonly #ns: string;

    /** `ns` separates tenants: it stands before every name. */
    constructor(ns: string) {
        this.#ns = ns;
    }

    record(prefix: string): string {
        return `${this.#ns}apikey:{${prefix}}`;
    }

    decisions(prefix: string): string {
        return `${this.record(prefix)}:scopes`;
    }

    counter(prefix: string): string {
        return `${this.record(prefix)}:usage`;
    }

    /** The prefix of the API key whose counter this is; `null` where it is none of this library's. */
    prefixOfCounter(key: string): string | null {
        const front = `${this.#ns}apikey:{`;
        const back = "}:usage";
        const isOurs = key.startsWith(front) && key.endsWith(back);
        return isOurs ? key.slice(front.length, key.length - back.length) : null;
    }

    list(user: Id): string {
        return `${this.#ns}apikey:list:{${user}}`;
    }

    tag(kind: "id" | "user", id: Id): string {
        return `${this.#ns}apikey:${kind}:${id}`;
    }

    /** For fills. */
    ns(): { ns?: string } {
        return this.#ns === "" ? {} : { ns: this.#ns };
    }
}
