/**
 * Which node is sent what: the one server, or of a cluster the primary that has the key's slot. The topology is read by
 * CLUSTER SLOTS, and again when a node says MOVED or is not reached.
 */

import { Refusal, Unanswered } from "./errors.js";
import { CONNECT_MS, closed, Link } from "./link.js";
import type { Address, Command, Driver, Reply } from "./session.js";
import { slotOf } from "./slots.js";

/**
 * Which of a node's connections a command goes over. What may wait at the server (TAGINVAL for other nodes, ACK for many
 * lines) goes over one of its own, since all behind it wait with it.
 */
export type Lane = "reads" | "changes";

/** How a command is sent. */
export interface Sending {
    readonly lane: Lane;
    /** Milliseconds, for all attempts together. */
    readonly ms: number;
    /** Whether it may be written again when the connection was lost and it may have been done: not what counts or takes. */
    readonly isRepeatable: boolean;
    /** Whether strings of bytes in the reply come as they are. */
    readonly wantsBytes?: boolean;
}

/** A node and its connections. */
export class Node {
    readonly address: Address | undefined;
    readonly lanes: Readonly<Record<Lane, Link>>;

    constructor(driver: Driver, address: Address | undefined) {
        const open = (): Link => new Link(() => driver.connect(address, CONNECT_MS));
        this.address = address;
        this.lanes = { reads: open(), changes: open() };
    }

    reset(): void {
        this.lanes.reads.reset();
        this.lanes.changes.reset();
    }

    end(): void {
        this.lanes.reads.end();
        this.lanes.changes.end();
    }
}

/** Milliseconds to wait before a command is repeated that the server could not do yet. */
const PAUSE_MS = 10;

/** How often one command follows MOVED and ASK. */
const MOST_REDIRECTIONS = 8;

/** Milliseconds that one node may take to say who has which slots. */
const SLOTS_MS = 1500;

export class Router {
    readonly #driver: Driver;
    readonly #mapAddress: (address: Address) => Address;
    readonly #nodes = new Map<string, Node>();
    #seeds: Promise<readonly Address[] | undefined> | undefined;
    #single: Node | undefined;
    /** Owner of each slot. */
    #owners: (Node | undefined)[] = [];
    #reading: Promise<void> | undefined;
    #hasEnded = false;

    /** Whether nothing is sent any more. */
    get hasEnded(): boolean {
        return this.#hasEnded;
    }

    /** Whether it is known to be one server, and no cluster. */
    get isSingle(): boolean {
        return this.#single !== undefined;
    }

    constructor(driver: Driver, mapAddress: (address: Address) => Address) {
        this.#driver = driver;
        this.#mapAddress = mapAddress;
    }

    /**
     * Sends a command to the node that has the key; without a key, to any primary.
     *
     * @throws {Refusal} for an error that is not about where to send it.
     * @throws {Unanswered} where there is no reply in time.
     */
    send(sending: Sending, key: string | undefined, command: Command): Promise<Reply> {
        const until = performance.now() + sending.ms;
        const node = this.#single;
        if (node === undefined) {
            return this.#route(sending, until, key, command);
        }
        return node.lanes[sending.lane]
            .send(sending.ms, command, sending)
            .catch((error: unknown) => this.#route(sending, until, key, command, error));
    }

    /** All primaries that own slots, as the cluster says now; of a single server that one. */
    async primaries(ms: number): Promise<readonly Node[]> {
        if (!(await this.#isCluster(ms))) {
            return [this.#only()];
        }
        await bounded(this.#readTopology(), ms);
        return [...new Set(this.#owners)].filter((node) => node !== undefined);
    }

    /** The node that has a key. */
    async nodeOf(key: string, ms: number): Promise<Node> {
        if (!(await this.#isCluster(ms))) {
            return this.#only();
        }
        return this.#owner(slotOf(key), ms);
    }

    end(): void {
        this.#hasEnded = true;
        this.#single?.end();
        for (const node of this.#nodes.values()) {
            node.end();
        }
    }

    /** A client of a cluster may know no node yet, and that takes its time. */
    async #isCluster(ms: number): Promise<boolean> {
        this.#checkOpen();
        this.#seeds ??= this.#driver.seeds().catch((thrown: unknown) => {
            this.#seeds = undefined;
            throw thrown;
        });
        const isCluster = (await bounded(this.#seeds, ms)) !== undefined;
        this.#checkOpen();
        return isCluster;
    }

    /** What is opened behind {@link end} nobody would close. */
    #checkOpen(): void {
        if (this.#hasEnded) {
            throw closed();
        }
    }

    #only(): Node {
        this.#checkOpen();
        this.#single ??= new Node(this.#driver, undefined);
        return this.#single;
    }

    /** `met` is what the first attempt met. */
    async #route(
        sending: Sending,
        until: number,
        key: string | undefined,
        command: Command,
        met?: unknown,
    ): Promise<Reply> {
        const left = (): number => until - performance.now();
        const isCluster = await this.#isCluster(left());
        const slot = key === undefined ? undefined : slotOf(key);
        let error = met;
        let asked: Address | undefined;
        let lost = 0;
        for (let turn = 0; turn < MOST_REDIRECTIONS || left() > 0; turn += 1) {
            let node = isCluster ? undefined : this.#only();
            try {
                if (error !== undefined) {
                    const thrown = error;
                    error = undefined;
                    throw thrown;
                }
                node ??= asked === undefined ? await this.#owner(slot, left()) : this.#at(asked);
                const link = node.lanes[sending.lane];
                const beside = asked === undefined ? sending : { ...sending, before: [["ASKING"]] };
                return await link.send(Math.max(left(), 1), command, beside);
            } catch (thrown) {
                asked = undefined;
                if (thrown instanceof Refusal) {
                    const redirection = isCluster ? redirectionOf(thrown, node?.address) : undefined;
                    if (redirection !== undefined && turn > 1) {
                        // Right after a failover two nodes may each take the other for the owner.
                        await pause(PAUSE_MS);
                    }
                    if (redirection?.isLasting) {
                        this.#owners[redirection.slot] = this.#at(redirection.to);
                        this.#readTopology().catch(() => {});
                    } else if (redirection !== undefined) {
                        asked = redirection.to;
                    } else if (thrown.code === "READONLY") {
                        // It is no primary any more: who is, a new connection finds out.
                        node?.reset();
                        this.#forget(slot);
                        throw thrown;
                    } else if (thrown.code !== "TRYAGAIN" || left() <= PAUSE_MS) {
                        throw thrown;
                    } else {
                        await pause(PAUSE_MS);
                    }
                    continue;
                }
                if (!(thrown instanceof Unanswered)) {
                    throw thrown;
                }
                this.#forget(slot);
                lost += 1;
                const isRepeatable = thrown.maybeDone && sending.isRepeatable;
                if (!isRepeatable || lost > 1 || left() <= PAUSE_MS) {
                    throw thrown;
                }
            }
        }
        throw new Unanswered("the command was sent from one node to the next", false);
    }

    /** Who has a slot is asked again before the next command. */
    #forget(slot: number | undefined): void {
        if (slot !== undefined && this.#single === undefined) {
            delete this.#owners[slot];
        } else if (this.#single === undefined) {
            this.#readTopology().catch(() => {});
        }
    }

    async #owner(slot: number | undefined, ms: number): Promise<Node> {
        const known = (): Node | undefined =>
            slot === undefined
                ? pick([...new Set(this.#owners)].filter((node) => node !== undefined))
                : this.#owners[slot];
        if (known() === undefined) {
            await bounded(this.#readTopology(), ms);
        }
        const node = known();
        if (node === undefined) {
            throw new Unanswered(slot === undefined ? "no primary is known" : `no primary has slot ${slot}`, false);
        }
        return node;
    }

    #at(address: Address): Node {
        const mapped = this.#mapAddress(address);
        const name = `${mapped.host}:${mapped.port}`;
        let node = this.#nodes.get(name);
        if (node === undefined) {
            node = new Node(this.#driver, mapped);
            this.#nodes.set(name, node);
            if (this.#hasEnded) {
                node.end();
            }
        }
        return node;
    }

    #readTopology(): Promise<void> {
        this.#reading ??= this.#askTopology().finally(() => {
            this.#reading = undefined;
        });
        return this.#reading;
    }

    async #askTopology(): Promise<void> {
        this.#checkOpen();
        const seeds = (await this.#driver.seeds()) ?? [];
        const nodes = [...new Set([...this.#nodes.values(), ...seeds.map((seed) => this.#at(seed))])];
        let met: unknown;
        // All at once: of a node that hangs nobody waits for.
        const asked = shuffled(nodes).map(async (node) => {
            const reply = await node.lanes.changes.send(SLOTS_MS, ["CLUSTER", "SLOTS"]);
            return { node, ranges: readSlots(reply, node.address) };
        });
        try {
            const { ranges } = await Promise.any(asked);
            const owners: (Node | undefined)[] = [];
            const known = new Set<Node>(seeds.map((seed) => this.#at(seed)));
            for (const { first, last, address } of ranges) {
                const owner = this.#at(address);
                known.add(owner);
                owners.length = Math.max(owners.length, last + 1);
                owners.fill(owner, first, last + 1);
            }
            this.#owners = owners;
            for (const [name, node] of this.#nodes) {
                if (!known.has(node)) {
                    node.end();
                    this.#nodes.delete(name);
                }
            }
            return;
        } catch (thrown) {
            met = thrown instanceof AggregateError ? thrown.errors[0] : thrown;
        }
        throw new Unanswered("no node said who has which slots", false, { cause: met });
    }
}

interface Redirection {
    readonly slot: number;
    readonly to: Address;
    /** MOVED; else ASK, for this command alone. */
    readonly isLasting: boolean;
}

function redirectionOf(refusal: Refusal, from: Address | undefined): Redirection | undefined {
    const parts = /^(MOVED|ASK) (\d+) (.*):(\d+)$/.exec(refusal.message);
    if (parts === null) {
        return undefined;
    }
    const [, kind, slot, host, port] = parts;
    const to = { host: host || (from?.host ?? "127.0.0.1"), port: Number(port) };
    return { slot: Number(slot), to, isLasting: kind === "MOVED" };
}

/** What CLUSTER SLOTS says of primaries. A node that does not know its own name is where it was asked. */
function readSlots(reply: Reply, from: Address | undefined): { first: number; last: number; address: Address }[] {
    if (!Array.isArray(reply)) {
        throw new Unanswered("CLUSTER SLOTS was answered by something else", false);
    }
    return (reply as readonly Reply[]).map((range) => {
        const [first, last, primary] = range as readonly [string, string, readonly [string | null, string]];
        const [host, port] = primary;
        const isKnown = host !== null && host !== "" && host !== "?";
        return {
            first: Number(first),
            last: Number(last),
            address: { host: isKnown ? host : (from?.host ?? "127.0.0.1"), port: Number(port) },
        };
    });
}

function pick<T>(all: readonly T[]): T | undefined {
    return all[Math.floor(Math.random() * all.length)];
}

function shuffled<T>(all: readonly T[]): T[] {
    return all
        .map((one) => ({ one, at: Math.random() }))
        .sort((a, b) => a.at - b.at)
        .map(({ one }) => one);
}

/** Waits for so many milliseconds. */
export function pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
}

async function bounded<T>(promise: Promise<T>, ms: number): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
        timer = setTimeout(
            () => reject(new Unanswered(`no answer within ${Math.round(ms)} ms`, false)),
            Math.max(ms, 1),
        );
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}
