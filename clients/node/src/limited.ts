/** Which keys this process has seen to have limits: they are admitted, and never answered from VALIDATE or L1 alone. */

import type { Limit } from "./limits.js";

/** Of more the one goes that was seen first: it costs a VALIDATE in front of the next ADMIT. */
const MOST_KEYS = 100_000;

export class LimitedKeys {
    readonly #limits = new Map<string, readonly Limit[]>();

    /** The limits of a key as they were seen last; `undefined`: none that is known of. */
    of(prefix: string): readonly Limit[] | undefined {
        return this.#limits.get(prefix);
    }

    /** What a valid key has. */
    note(prefix: string, limits: readonly Limit[]): void {
        if (limits.length === 0) {
            this.#limits.delete(prefix);
            return;
        }
        this.#limits.set(prefix, limits);
        if (this.#limits.size > MOST_KEYS) {
            const [oldest] = this.#limits.keys();
            this.#limits.delete(oldest ?? prefix);
        }
    }
}
