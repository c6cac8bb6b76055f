/** Spares calls the wait for a Redis that does not answer: after some failures in a row it is asked once in a while only. */

import { checkCount, checkMs } from "./bounds.js";

/** When Redis is asked no more for a while. */
export interface BreakerOptions {
    /** Failures in a row after which Redis is not asked; calls that fail at once are one. 5 where it is not said. */
    readonly failures?: number;
    /** Milliseconds after which one call asks again. 250 where it is not said. */
    readonly ms?: number;
}

export class Breaker {
    readonly #failures: number;
    readonly #ms: number;
    #failed = 0;
    #nextAt = 0;
    #hasFailedThisTurn = false;

    constructor(options: BreakerOptions = {}) {
        this.#failures = checkCount("breaker.failures", options.failures ?? 5);
        this.#ms = checkMs("breaker.ms", options.ms ?? 250);
    }

    /** Whether this call may ask. Of those that come while it is open, one in each interval may. */
    mayAsk(): boolean {
        if (this.#failed < this.#failures) {
            return true;
        }
        const now = performance.now();
        if (now < this.#nextAt) {
            return false;
        }
        this.#nextAt = now + this.#ms;
        return true;
    }

    /** Whether calls are spared. */
    get isOpen(): boolean {
        return this.#failed >= this.#failures;
    }

    answered(): void {
        this.#failed = 0;
    }

    failed(): void {
        // What fails together, many calls of one moment, was one thing.
        if (this.#hasFailedThisTurn) {
            return;
        }
        this.#hasFailedThisTurn = true;
        setImmediate(() => {
            this.#hasFailedThisTurn = false;
        });
        this.#failed += 1;
        if (this.#failed === this.#failures) {
            this.#nextAt = performance.now() + this.#ms;
        }
    }
}
