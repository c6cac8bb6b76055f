/**
 * Follows what changes: over one connection more to each node that is asked (CLIENT TRACKING), or over one to any node (a
 * channel, which each node of a cluster tells). A connection that was lost, or is silent, may have missed something.
 */

import { CONNECT_MS } from "./link.js";
import { pause, type Router } from "./router.js";
import { type Address, type Driver, type Following, type Session, within } from "./session.js";

/** Who is told. */
export interface Heard {
    /** Keys and tags by these names have changed. */
    changed(names: readonly string[]): void;
    /** The connection was lost: from now on anything may change unheard. */
    lost(): void;
    /** All has changed, or something that was not understood or not heard. */
    allChanged(): void;
    /** From now on nothing is missed at a node. */
    following(): void;
}

/** Milliseconds between two questions whether a connection still answers, and for which that is waited for. */
const PING_MS = 1000;

/** Milliseconds before a connection that was lost is opened again. */
const AGAIN_MS = 50;

interface Followed {
    session: Session | undefined;
}

export class Follower {
    readonly #driver: Driver;
    readonly #router: Router;
    readonly #follow: "tracking" | { readonly channel: string };
    readonly #prefix: string;
    readonly #heard: Heard;
    /** By address; of a channel one for all. */
    readonly #followed = new Map<string, Followed>();
    /** The number of the latest message of each run. */
    readonly #numbers = new Map<string, number>();
    #hasEnded = false;

    constructor(
        driver: Driver,
        router: Router,
        follow: "tracking" | { readonly channel: string },
        prefix: string,
        heard: Heard,
    ) {
        this.#driver = driver;
        this.#router = router;
        this.#follow = follow;
        this.#prefix = prefix;
        this.#heard = heard;
    }

    /** Whether what changes of a key is heard of; if not, it will be soon. */
    async follows(key: string): Promise<boolean> {
        const node = await this.#router.nodeOf(key, CONNECT_MS);
        const { address } = node;
        const name = address === undefined || this.#follow !== "tracking" ? "" : `${address.host}:${address.port}`;
        let followed = this.#followed.get(name);
        if (followed === undefined) {
            followed = { session: undefined };
            this.#followed.set(name, followed);
            this.#keepFollowing(name, followed, address);
        }
        return followed.session !== undefined;
    }

    /** Gives up all connections, and opens them again. */
    restart(): void {
        for (const followed of this.#followed.values()) {
            followed.session?.end();
            this.#drop(followed);
        }
    }

    end(): void {
        this.#hasEnded = true;
        this.restart();
    }

    async #keepFollowing(name: string, followed: Followed, address: Address | undefined): Promise<void> {
        while (!this.#hasEnded) {
            try {
                const session = await this.#driver.follow(address, CONNECT_MS, this.#following());
                if (this.#hasEnded) {
                    session.end();
                    return;
                }
                // What was kept before is of a time that was not followed.
                this.#heard.lost();
                this.#numbers.clear();
                followed.session = session;
                this.#heard.following();
                await this.#untilLost(session);
                session.end();
            } catch {
                // It is tried again.
            }
            this.#drop(followed);
            await pause(AGAIN_MS + Math.random() * AGAIN_MS);
            if (address !== undefined) {
                // The node may be there no longer: who wants to know of its keys says so again.
                this.#followed.delete(name);
                return;
            }
        }
    }

    #drop(followed: Followed): void {
        if (followed.session !== undefined) {
            followed.session = undefined;
            this.#heard.lost();
        }
    }

    async #untilLost(session: Session): Promise<void> {
        let hasEnded = false;
        const ended = session.ended.then(() => {
            hasEnded = true;
        });
        while (!hasEnded) {
            await Promise.race([unrefed(PING_MS), ended]);
            if (!hasEnded) {
                await within(session.send(["ping"]), PING_MS, "a ping");
            }
        }
    }

    #following(): Following {
        if (this.#follow === "tracking") {
            return {
                kind: "tracking",
                prefix: this.#prefix,
                heed: (keys) => (keys === null ? this.#heard.allChanged() : this.#heard.changed(keys)),
            };
        }
        return { kind: "channel", channel: this.#follow.channel, heed: (message) => this.#heed(message) };
    }

    #heed(text: string): void {
        let names: readonly string[] | undefined;
        try {
            const message = JSON.parse(text) as {
                readonly run: string;
                readonly number: number;
                readonly tags?: readonly unknown[];
                readonly keys?: readonly unknown[];
            };
            const isNext = this.#numbers.get(message.run) === message.number - 1;
            this.#numbers.set(message.run, message.number);
            const named = message.tags ?? message.keys;
            // A name that is no text is none of this library's.
            names = isNext ? named?.filter((name) => typeof name === "string") : undefined;
        } catch {
            // A message that is not understood may say anything.
        }
        if (names === undefined) {
            this.#heard.allChanged();
        } else {
            this.#heard.changed(names);
        }
    }
}

/** A pause that keeps no process running. */
function unrefed(ms: number): Promise<void> {
    return new Promise((resolve) => {
        setTimeout(resolve, ms).unref();
    });
}
