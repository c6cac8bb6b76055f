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
    /** When the source was asked; `Infinity` while it is not yet. */
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
        if (under !== undefined) {
            return { value: await under.result };
        }
        const [load] = this.#begin([name], async () => [await run()]);
        return load && { value: await load };
    }

    /** A load of this name that is under way and began after `since`, if there is one. */
    underway(name: string, since: Moment): Promise<T> | undefined {
        const under = this.#under.get(name);
        return under === undefined || under.began.at < since ? undefined : under.result;
    }

    /**
     * {@link share} for many names: `run` is asked once for all that nobody loads already, and brings what it has of each in
     * their order. What of one can't be had is in its own promise.
     */
    shareAll(
        names: readonly string[],
        since: Moment,
        run: (names: readonly string[]) => Promise<readonly T[]>,
    ): Promise<{ readonly value: T } | undefined>[] {
        const fresh = names.filter((name) => !this.#under.has(name));
        const begun = new Map<string, Promise<T>>();
        for (const [at, result] of (fresh.length === 0 ? [] : this.#begin(fresh, () => run(fresh))).entries()) {
            begun.set(fresh[at] ?? "", result);
        }
        return names.map(async (name) => {
            const own = begun.get(name);
            return own === undefined
                ? // It was under way, so that nothing is run.
                  this.share(name, since, () => run([name]).then(([one]) => one as T))
                : { value: await own };
        });
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

    /** Begins one load for some names, of which none is under way. */
    #begin(names: readonly string[], run: () => Promise<readonly T[]>): Promise<T>[] {
        const began = { at: Number.POSITIVE_INFINITY };
        const all = this.bounded(() => {
            began.at = this.moment();
            return run();
        }).finally(() => {
            for (const name of names) {
                this.#under.delete(name);
            }
        });
        return names.map((name, at) => {
            const result = all.then((brought) => brought[at] as T);
            this.#under.set(name, { began, result });
            return result;
        });
    }
}
