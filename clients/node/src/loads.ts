/**
 * Loads from the database: one at a time for one name, and so many at once in all.
 *
 * **Who may share a load.** A call may take what a load brings only if the load began after the call did. A load that was
 * under way already may have read the row before a change whose `changed` has returned since: who comes then waits for it
 * to end and asks anew, which as a rule the cache answers.
 */

/** A place in the order of calls and loads of this process. */
export type Moment = number;

interface Load<T> {
    /** When the database was asked; `Infinity` while it is not yet. */
    readonly began: { at: Moment };
    readonly result: Promise<T>;
}

export class Loads<T> {
    readonly #most: number;
    readonly #under = new Map<string, Load<T>>();
    readonly #waiting: (() => void)[] = [];
    #running = 0;
    #moment: Moment = 0;

    /** `most`: how many loads may run at once. */
    constructor(most: number) {
        this.#most = most;
    }

    /** Now. */
    moment(): Moment {
        this.#moment += 1;
        return this.#moment;
    }

    /**
     * What a load of this name brings that begins after `since`: of one that does already, or of `run`. `undefined` where
     * one was under way that began before: it has ended now, and the call has to ask anew.
     */
    async share(name: string, since: Moment, run: () => Promise<T>): Promise<{ readonly value: T } | undefined> {
        const under = this.#under.get(name);
        if (under !== undefined && under.began.at < since) {
            await under.result.catch(() => {});
            return undefined;
        }
        return { value: await (under ?? this.#begin(name, run)).result };
    }

    /** Runs one as soon as there is room. */
    async bounded<R>(run: () => Promise<R>): Promise<R> {
        if (this.#running >= this.#most) {
            await new Promise<void>((resolve) => this.#waiting.push(resolve));
        } else {
            this.#running += 1;
        }
        try {
            return await run();
        } finally {
            // The room goes to who waits the longest.
            const next = this.#waiting.shift();
            if (next === undefined) {
                this.#running -= 1;
            } else {
                next();
            }
        }
    }

    #begin(name: string, run: () => Promise<T>): Load<T> {
        const began = { at: Number.POSITIVE_INFINITY };
        const result = this.bounded(() => {
            began.at = this.moment();
            return run();
        }).finally(() => this.#under.delete(name));
        const load = { began, result };
        this.#under.set(name, load);
        return load;
    }
}
