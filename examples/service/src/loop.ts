/** Work that is done again and again behind the requests; after an error later and later, until it succeeds. */

import { setTimeout as pause } from "node:timers/promises";

const LONGEST_PAUSE_MS = 10_000;

export class Loop {
    readonly #over = new AbortController();
    readonly #ended: Promise<void>;

    /** Does `work` every `everyMs`, and at once while it returns true. `onError` is told what it throws. */
    constructor(everyMs: number, work: () => Promise<boolean>, onError: (error: Error) => void) {
        this.#ended = this.#run(everyMs, work, onError);
    }

    /** Returns when what is under way has ended. */
    async stop(): Promise<void> {
        this.#over.abort();
        await this.#ended;
    }

    async #run(everyMs: number, work: () => Promise<boolean>, onError: (error: Error) => void): Promise<void> {
        const { signal } = this.#over;
        let wait = everyMs;
        while (!signal.aborted) {
            let isMore = false;
            try {
                isMore = await work();
                wait = everyMs;
            } catch (thrown) {
                onError(thrown as Error);
                wait = Math.min(2 * wait, Math.max(LONGEST_PAUSE_MS, everyMs));
            }
            if (!isMore) {
                // It rejects where it is ended.
                await pause(wait, undefined, { signal }).catch(() => {});
            }
        }
    }
}
