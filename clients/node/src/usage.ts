/** Counts of uses, handed over in batches that come again until they are acknowledged. */

import { type UsageBatch as Leased, type UsageLine as LeasedLine, readBatches } from "./commands.js";
import { Refusal, Unanswered } from "./errors.js";
import type { Names } from "./names.js";
import { type Node, pause, type Router, type Sending } from "./router.js";
import type { Reply } from "./session.js";

/** A line of a batch: uses of one key. */
export interface UsageLine extends LeasedLine {
    /** The public prefix of the key; `null` where the counter's name is not one of this library's. */
    readonly prefix: string | null;
}

/** Lines to be written to a database, each at most once: their ids say which were. */
export interface UsageBatch {
    readonly id: string;
    readonly lines: readonly UsageLine[];
    /** Acknowledges the batch now; for who leaves the loop by `break` behind it. */
    ack(): Promise<void>;
}

/** Hands over what was counted; {@link ApiKeys.usage} is one. */
export class Usage {
    readonly #router: Router;
    readonly #change: Sending;
    readonly #names: Names;

    /** @internal */
    constructor(router: Router, change: Sending, names: Names) {
        this.#router = router;
        this.#change = change;
        this.#names = names;
    }

    /**
     * What is counted and not handed over, batch by batch, until nothing is left: for who calls it every few seconds.
     *
     *     for await (const batch of keys.usage.batches({ leaseMs: 30_000 })) {
     *         await write(batch.lines); // by their ids: a line may come again
     *     }
     *
     * A batch is acknowledged when the body has ended and the next is asked for. Where the body throws, or leaves the loop,
     * it is given back with all that was leased with it and comes again: `await batch.ack()` before a `break`. Where the
     * process dies, it comes again after `leaseMs`: longer than a batch ever takes to be written.
     *
     * @throws {Refusal | Unanswered} where Redis does not hand over or acknowledge within `changeTimeoutMs`.
     */
    async *batches(options: {
        /** Milliseconds, at most a day. */
        readonly leaseMs: number;
        /** Lines of one batch, at most; 1,000 where it is not said. */
        readonly count?: number;
    }): AsyncGenerator<UsageBatch, void, void> {
        const count = String(options.count ?? 1000);
        for (const node of await this.#router.primaries(this.#change.ms)) {
            for (;;) {
                const command = ["APIKEY.USAGE.LEASE", String(options.leaseMs), "COUNT", count];
                const leased = readBatches(await this.#insist(node, command));
                if (leased.length === 0) {
                    break;
                }
                yield* this.#each(node, leased);
            }
        }
    }

    async *#each(node: Node, leased: Leased[]): AsyncGenerator<UsageBatch, void, void> {
        const open = new Set(leased.map(({ id }) => id));
        const ack = async (id: string): Promise<void> => {
            if (open.delete(id)) {
                await this.#settle(node, ["APIKEY.USAGE.ACK", id]);
            }
        };
        try {
            for (const { id, lines } of leased) {
                yield {
                    id,
                    lines: lines.map((line) => ({ ...line, prefix: this.#names.prefixOfCounter(line.key) })),
                    ack: () => ack(id),
                };
                await ack(id);
            }
        } finally {
            if (open.size > 0) {
                // They come again by themselves; this is to be sooner.
                await this.#settle(node, ["APIKEY.USAGE.NACK", ...open]).catch(() => {});
            }
        }
    }

    /** To the node that leased it, which needs no other; else to any. */
    async #settle(node: Node, command: readonly string[]): Promise<void> {
        try {
            await node.lanes.changes.send(this.#change.ms, command);
        } catch {
            await this.#insist(undefined, command);
        }
    }

    /** Sends what may be repeated until it is answered: a lease whose reply was lost comes again when it is over. */
    async #insist(node: Node | undefined, command: readonly string[]): Promise<Reply> {
        const until = performance.now() + this.#change.ms;
        for (;;) {
            const ms = Math.max(until - performance.now(), 1);
            try {
                return node === undefined
                    ? await this.#router.send({ ...this.#change, ms }, undefined, command)
                    : await node.lanes.changes.send(ms, command);
            } catch (thrown) {
                const wait = 10 + Math.random() * 40;
                const mayPass =
                    thrown instanceof Unanswered ||
                    (thrown instanceof Refusal &&
                        ["TRYAGAIN", "PARTIAL", "LOADING", "CLUSTERDOWN"].includes(thrown.code));
                if (!mayPass || this.#router.hasEnded || until - performance.now() <= wait) {
                    throw thrown;
                }
                await pause(wait);
            }
        }
    }
}
