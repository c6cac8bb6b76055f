/** A connection to one node that is opened when it is wanted, and again when it was lost; each call has a hard timeout. */

import { Refusal, Unanswered } from "./errors.js";
import { asOwnError, type Command, type Reply, type Session } from "./session.js";

/** Milliseconds that opening a connection may take; who waits for it gives up when its own time is over. */
export const CONNECT_MS = 1000;

/** Milliseconds for which nobody tries again after a connection was refused. */
const REFUSED_MS = 20;

/** Milliseconds after which a connection that has answered nothing, and by which a call has timed out, is given up. */
const SILENT_MS = 300;

/** The same for one that does answer, but nothing in time: whatever it answers, it is not what was asked. */
const LATE_MS = 2000;

/** What goes with a command. */
export interface Beside {
    /** Commands that are sent in front of it, whose replies nobody wants. */
    readonly before?: readonly Command[];
    /** Whether strings of bytes in the reply come as they are. */
    readonly wantsBytes?: boolean;
}

export class Link {
    readonly #open: () => Promise<Session>;
    #session: Session | undefined;
    #opening: Promise<Session> | undefined;
    #refused: { readonly error: Error; readonly at: number } | undefined;
    /** When the oldest call was sent since which nothing was heard. */
    #silentSince: number | undefined;
    /** When the oldest call was sent since which nothing was heard in time. */
    #lateSince: number | undefined;
    #hasEnded = false;
    /** Who waits for a connection is told by it that there will be none. */
    #tellWaiting: () => void = () => {};

    constructor(open: () => Promise<Session>) {
        this.#open = open;
    }

    /**
     * Sends commands one behind the other and waits at most `ms` for the reply of the last.
     *
     * @throws {Refusal} for an error as the last reply.
     * @throws {Unanswered} where there is none in time.
     */
    send(ms: number, command: Command, beside: Beside = {}): Promise<Reply> {
        if (this.#session !== undefined) {
            return this.#call(this.#session, ms, command, beside);
        }
        const asked = performance.now();
        return this.#connected(ms).then((session) =>
            this.#call(session, Math.max(ms - (performance.now() - asked), 1), command, beside),
        );
    }

    /** Gives the connection up: the next call opens another. */
    reset(): void {
        this.#session?.end();
        this.#session = undefined;
        this.#silentSince = undefined;
        this.#lateSince = undefined;
    }

    /** For good. */
    end(): void {
        this.#hasEnded = true;
        this.#tellWaiting();
        this.reset();
    }

    #call(session: Session, ms: number, command: Command, { before = [], wantsBytes }: Beside): Promise<Reply> {
        return new Promise((resolve, reject) => {
            const now = performance.now();
            this.#silentSince ??= now;
            this.#lateSince ??= now;
            let isLate = false;
            let timer: NodeJS.Timeout | undefined;
            // The client writes in this turn of the event loop: the time that a busy process takes for it is not Redis'.
            const written = setImmediate(() => {
                timer = setTimeout(() => {
                    // Replies that have come while the process was busy are looked at first.
                    setImmediate(() => {
                        isLate = true;
                        reject(new Unanswered(`no answer within ${Math.round(ms)} ms`, true));
                        this.#suspect(session);
                    });
                }, ms);
            });
            const over = (): void => {
                clearImmediate(written);
                clearTimeout(timer);
            };
            const heard = (): void => {
                over();
                this.#silentSince = undefined;
                if (!isLate) {
                    this.#lateSince = undefined;
                }
            };
            let refused: Refusal | undefined;
            for (const earlier of before) {
                session.send(earlier).catch((thrown: unknown) => {
                    const error = asOwnError(thrown);
                    refused ??= error instanceof Refusal ? error : undefined;
                });
            }
            session.send(command, wantsBytes).then(
                (reply) => {
                    heard();
                    resolve(reply);
                },
                (thrown: unknown) => {
                    const error = asOwnError(thrown);
                    if (error instanceof Refusal) {
                        heard();
                    } else {
                        over();
                        this.#drop(session);
                    }
                    // EXEC says that something in front of it was refused, and not what.
                    reject(error instanceof Refusal && error.code === "EXECABORT" ? (refused ?? error) : error);
                },
            );
        });
    }

    /** A connection may be dead and nobody have said so. */
    #suspect(session: Session): void {
        const now = performance.now();
        const isSilent = now - (this.#silentSince ?? now) > SILENT_MS;
        const isLate = now - (this.#lateSince ?? now) > LATE_MS;
        if (this.#session === session && (isSilent || isLate)) {
            this.reset();
        }
    }

    #drop(session: Session): void {
        if (this.#session === session) {
            this.reset();
        }
    }

    async #connected(ms: number): Promise<Session> {
        if (this.#hasEnded) {
            throw closed();
        }
        if (this.#refused !== undefined && performance.now() - this.#refused.at < REFUSED_MS) {
            throw new Unanswered(this.#refused.error.message, false, { cause: this.#refused.error });
        }
        this.#opening ??= this.#openedOrEnded().finally(() => {
            this.#opening = undefined;
        });
        let timer: NodeJS.Timeout | undefined;
        const late = new Promise<never>((_, reject) => {
            timer = setTimeout(() => reject(new Unanswered(`no connection within ${Math.round(ms)} ms`, false)), ms);
        });
        try {
            return await Promise.race([this.#opening, late]);
        } finally {
            clearTimeout(timer);
        }
    }

    #openedOrEnded(): Promise<Session> {
        const ended = new Promise<never>((_, reject) => {
            this.#tellWaiting = (): void => reject(closed());
        });
        return Promise.race([this.#connect(), ended]);
    }

    async #connect(): Promise<Session> {
        try {
            const session = await this.#open();
            if (this.#hasEnded) {
                session.end();
                throw closed();
            }
            this.#session = session;
            this.#silentSince = undefined;
            session.ended.then(() => this.#drop(session));
            return session;
        } catch (thrown) {
            const own = asOwnError(thrown);
            const error = new Unanswered(own.message, false, { cause: own });
            this.#refused = { error, at: performance.now() };
            throw error;
        }
    }
}

/** What is asked of connections that were ended for good. */
export function closed(): Unanswered {
    return new Unanswered("the connections were closed", false);
}
