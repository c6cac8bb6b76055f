/**
 * What is written to the cache first, and to the database behind it, by way of a stream with a consumer group.
 *
 * **What always holds.** A value and its note in the stream are stored by one transaction. One worker of a region is active,
 * by a lock that ends when it does; who takes it claims all that others have left, and only then reads what is new: so each
 * key's writes are applied in their order. A note is acknowledged when it was applied, and comes again until then.
 *
 * **What it does not do.** A worker that was held up for longer than its lock may apply behind its successor: the ids of
 * notes grow, which a database can compare. What Redis loses before it was applied is lost.
 */

import { randomUUID } from "node:crypto";
import { type Asking, asError } from "./asking.js";
import { checkCount, checkMs } from "./bounds.js";
import { Refusal } from "./errors.js";
import { Loads } from "./loads.js";
import type { Payload } from "./payload.js";
import { list } from "./replies.js";
import { pause } from "./router.js";
import type { Command, Reply } from "./session.js";
import { slotOf } from "./slots.js";

/** How a worker works. Times are milliseconds. */
export interface WriteBehindOptions {
    /** Ends the worker: what is being applied is, and nothing is begun. */
    readonly signal?: AbortSignal;
    /** Values of different keys that are applied at once. 16 where it is not said. */
    readonly concurrency?: number;
    /** How often the stream is asked while nothing is in it. 100 where it is not said. */
    readonly pollMs?: number;
    /** After which another worker takes over from one that is gone. 10,000 where it is not said. */
    readonly lockMs?: number;
}

/** A write that stands in the stream. */
export interface Note {
    readonly id: string;
    readonly key: string;
    readonly label: string;
    readonly payload: Buffer;
}

const GROUP = "writers";

/** Notes that are read at once, and that may be under way. */
const MOST_READ = 100;
const MOST_UNDERWAY = 1000;

/** Milliseconds before a write that failed is tried again, at first and at most. */
const AGAIN_MS = 100;
const MOST_AGAIN_MS = 30_000;

/** The stream is not, or no longer, where it was looked for. */
const ELSEWHERE = new Set(["MOVED", "ASK", "READONLY"]);

/** Only who has the lock prolongs or ends it. */
const RENEW = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0";
const RELEASE = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0";

export class WriteBehind {
    readonly #asking: Asking;
    readonly #stream: string;

    constructor(asking: Asking, stream: string) {
        this.#asking = asking;
        this.#stream = stream;
    }

    /**
     * Stores a value by `command`, and notes it.
     *
     * @returns what was replied to each; of the note its id. An error of one does not keep the other from being done.
     * @throws {Unanswered | Refusal} where neither was done, or where both may have been.
     * @throws {TypeError} where the entry is in another slot of a cluster than the stream.
     */
    async note(name: string, command: Command, key: string, payload: Payload): Promise<readonly Reply[]> {
        const { router, change } = this.#asking;
        const { bytes, label } = payload;
        await router.nodeOf(this.#stream, change.ms);
        if (!router.isSingle && slotOf(name) !== slotOf(this.#stream)) {
            throw new TypeError("writeBehind in a cluster needs a region with oneSlot");
        }
        return this.#together([command, ["XADD", this.#stream, "*", "key", key, "label", label, "value", bytes]]);
    }

    /**
     * Applies what is noted until it is told to end.
     *
     * @param applied is told of the latest write of a key that was applied, once there are no others, or many.
     */
    async work(
        apply: (note: Note) => Promise<void>,
        applied: (note: Note) => Promise<void>,
        options: WriteBehindOptions,
    ): Promise<void> {
        const { signal = new AbortController().signal } = options;
        const concurrency = checkCount("concurrency", options.concurrency ?? 16);
        const pollMs = checkMs("pollMs", options.pollMs ?? 100);
        const lockMs = checkMs("lockMs", options.lockMs ?? 10_000, 100);
        const hasEnded = (): boolean => signal.aborted || this.#asking.router.hasEnded;
        const consumer = randomUUID();
        const lock = `${this.#stream}:worker`;
        while (!hasEnded()) {
            const asked = performance.now();
            const taken = await this.#try(() => this.#send(["SET", lock, consumer, "NX", "PX", String(lockMs)]));
            if (taken !== "OK") {
                await pauseUntil(signal, lockMs / 4);
                continue;
            }
            const held = new Held(asked + lockMs);
            const renewing = setInterval(async () => {
                if (this.#asking.router.hasEnded) {
                    held.until = 0;
                    clearInterval(renewing);
                    return;
                }
                const since = performance.now();
                const renewed = await this.#try(() => this.#send(["EVAL", RENEW, "1", lock, consumer, String(lockMs)]));
                if (renewed === "1") {
                    held.until = since + lockMs;
                } else if (renewed === "0") {
                    held.until = 0;
                }
            }, lockMs / 4);
            renewing.unref();
            try {
                const mayGoOn = (): boolean => !hasEnded() && held.isOpen;
                await this.#try(() => this.#drain(consumer, concurrency, pollMs, signal, mayGoOn, apply, applied));
            } finally {
                clearInterval(renewing);
                if (!this.#asking.router.hasEnded) {
                    await this.#try(() => this.#send(["EVAL", RELEASE, "1", lock, consumer]));
                }
            }
            await pauseUntil(signal, pollMs);
        }
    }

    /** Applies what is left, and then what is new, for as long as it may. What was read and not applied is left. */
    async #drain(
        consumer: string,
        concurrency: number,
        pollMs: number,
        signal: AbortSignal,
        mayGoOn: () => boolean,
        apply: (note: Note) => Promise<void>,
        applied: (note: Note) => Promise<void>,
    ): Promise<void> {
        /** What was applied of each key, and not told yet. */
        const untold = new Map<string, Note>();
        const room = new Loads<void>(concurrency);
        /** The latest write of each key. */
        const latest = new Map<string, Promise<void>>();
        const underway = new Set<Promise<void>>();
        let failed: { readonly thrown: unknown } | undefined;
        const isOpen = (): boolean => mayGoOn() && failed === undefined;
        const begin = (note: Note): void => {
            const over = (latest.get(note.key) ?? Promise.resolve())
                .then(() => this.#applyOne(note, room, signal, isOpen, apply))
                .then((isApplied) => {
                    if (isApplied) {
                        untold.set(note.key, note);
                    }
                })
                .catch((thrown: unknown) => {
                    failed ??= { thrown };
                })
                .then(() => {
                    underway.delete(over);
                    if (latest.get(note.key) === over) {
                        latest.delete(note.key);
                    }
                });
            latest.set(note.key, over);
            underway.add(over);
        };
        try {
            await this.#send(["XGROUP", "CREATE", this.#stream, GROUP, "0", "MKSTREAM"]).catch((thrown: unknown) => {
                if (!(thrown instanceof Refusal) || thrown.code !== "BUSYGROUP") {
                    throw thrown;
                }
            });
            for (let from = "0-0"; isOpen(); ) {
                const claim = ["XAUTOCLAIM", this.#stream, GROUP, consumer, "0", from, "COUNT", String(MOST_READ)];
                const [next, notes] = list(await this.#send(claim, true));
                readNotes(notes).forEach(begin);
                from = String(next);
                if (from === "0-0") {
                    break;
                }
            }
            await this.#forgetOthers(consumer);
            const read = [
                "XREADGROUP",
                "GROUP",
                GROUP,
                consumer,
                "COUNT",
                String(MOST_READ),
                "STREAMS",
                this.#stream,
                ">",
            ];
            while (isOpen()) {
                if (underway.size >= MOST_UNDERWAY) {
                    await Promise.race([...underway, pause(pollMs)]);
                    continue;
                }
                const notes = readStreams(await this.#send(read, true));
                notes.forEach(begin);
                // While more comes they are told too: what they hold in memory has a bound.
                if ((notes.length === 0 && underway.size === 0) || untold.size >= MOST_UNDERWAY) {
                    for (const note of untold.values()) {
                        await applied(note);
                    }
                    untold.clear();
                }
                if (notes.length === 0) {
                    await pauseUntil(signal, pollMs);
                }
            }
        } catch (thrown) {
            // What was read and not heard of is claimed in the next round, before anything newer.
            failed ??= { thrown };
        }
        await Promise.all(underway);
        if (failed !== undefined) {
            throw failed.thrown;
        }
    }

    async #applyOne(
        note: Note,
        room: Loads<void>,
        signal: AbortSignal,
        isOpen: () => boolean,
        apply: (note: Note) => Promise<void>,
    ): Promise<boolean> {
        let isApplied = false;
        for (let wait = AGAIN_MS; isOpen(); wait = Math.min(wait * 2, MOST_AGAIN_MS)) {
            try {
                if (!isApplied) {
                    await room.bounded(async () => {
                        if (isOpen()) {
                            await apply(note);
                            isApplied = true;
                        }
                    });
                }
                if (isApplied) {
                    // It is done: nobody gets it again, and it takes no room.
                    await this.#together([
                        ["XACK", this.#stream, GROUP, note.id],
                        ["XDEL", this.#stream, note.id],
                    ]);
                }
                return isApplied;
            } catch (thrown) {
                this.#asking.report(asError(thrown));
            }
            await pauseUntil(signal, wait + Math.random() * wait);
        }
        return false;
    }

    /** Does commands in one transaction, where the stream is. What may have been done is not sent again. */
    async #together(commands: readonly Command[]): Promise<readonly Reply[]> {
        const { router, change } = this.#asking;
        for (let turn = 0; ; turn += 1) {
            const node = await router.nodeOf(this.#stream, change.ms);
            try {
                const before = [["MULTI"], ...commands];
                return list(await node.lanes.changes.send(change.ms, ["EXEC"], { before }));
            } catch (thrown) {
                if (!(thrown instanceof Refusal) || !ELSEWHERE.has(thrown.code) || turn > 0) {
                    throw thrown;
                }
                // Nothing was done: what is asked now finds out where the stream is.
                await this.#send(["EXISTS", this.#stream]);
            }
        }
    }

    /** Consumers that are gone have nothing left once it was claimed. */
    async #forgetOthers(consumer: string): Promise<void> {
        for (const one of list(await this.#send(["XINFO", "CONSUMERS", this.#stream, GROUP]))) {
            const [, name, , pending] = list(one);
            if (name !== consumer && pending === "0") {
                await this.#send(["XGROUP", "DELCONSUMER", this.#stream, GROUP, String(name)]);
            }
        }
    }

    /** To read what is new is not repeated: what was lost on its way is claimed. */
    #send(command: Command, wantsBytes = false): Promise<Reply> {
        const { router, change } = this.#asking;
        const isRepeatable = command[0] !== "XREADGROUP";
        return router.send({ ...change, isRepeatable, wantsBytes }, this.#stream, command);
    }

    /** What goes wrong is told, and tried again by who asks. */
    async #try<R>(run: () => Promise<R>): Promise<R | undefined> {
        try {
            return await run();
        } catch (thrown) {
            this.#asking.report(asError(thrown));
            return undefined;
        }
    }
}

/** A lock, for as long as it is certain to be held. */
class Held {
    /** By this process' clock. */
    until: number;

    constructor(until: number) {
        this.until = until;
    }

    get isOpen(): boolean {
        return performance.now() < this.until;
    }
}

/** What XREADGROUP replies of one stream. */
function readStreams(reply: Reply): Note[] {
    if (reply === null) {
        return [];
    }
    // RESP2 has an array of streams, RESP3 a map, which comes flat.
    const [first, second] = list(reply);
    return readNotes(Array.isArray(first) ? list(first)[1] : second);
}

function readNotes(reply: Reply | undefined): Note[] {
    return list(reply).flatMap((entry) => {
        // One that was deleted is null where it is claimed, before Redis 7.
        if (entry === null) {
            return [];
        }
        const [id, flat] = list(entry);
        const fields = new Map<string, Reply>();
        const all = list(flat);
        for (let at = 0; at < all.length; at += 2) {
            fields.set(String(all[at]), all[at + 1] ?? null);
        }
        const payload = fields.get("value");
        return [
            {
                id: String(id),
                key: String(fields.get("key")),
                label: String(fields.get("label")),
                payload: Buffer.isBuffer(payload) ? payload : Buffer.alloc(0),
            },
        ];
    });
}

/** A pause that ends early when it is told to end. */
function pauseUntil(signal: AbortSignal, ms: number): Promise<void> {
    return new Promise((resolve) => {
        const over = (): void => {
            clearTimeout(timer);
            signal.removeEventListener("abort", over);
            resolve();
        };
        const timer = setTimeout(over, ms);
        signal.addEventListener("abort", over);
        if (signal.aborted) {
            over();
        }
    });
}
