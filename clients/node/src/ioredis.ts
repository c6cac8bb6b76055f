/** {@link Driver} over ioredis 5.4 and later, single or cluster. Nothing of it is imported: what is used is in the types here. */

import { Unanswered } from "./errors.js";
import {
    type Address,
    type Argument,
    asBuffer,
    asBytesReply,
    asOwnError,
    asReply,
    type Driver,
    type Following,
    type Reply,
    type Session,
    within,
    withoutCommand,
} from "./session.js";

/** A client of ioredis: `new Redis(..)` or `new Cluster(..)`. */
export interface IoredisClient {
    readonly isCluster: boolean;
    readonly status: string;
    /** Another client, of the same options. */
    duplicate(...overrides: never[]): unknown;
    /** Sends any command. */
    call(command: string, args: string[]): unknown;
}

/** What is used of a single one. */
interface Redis {
    duplicate(override: Record<string, unknown>): Redis;
    connect(): Promise<void>;
    disconnect(): void;
    call(command: string, args: readonly Argument[]): Promise<unknown>;
    callBuffer(command: string, args: readonly Argument[]): Promise<unknown>;
    subscribe(channel: string): Promise<unknown>;
    on(event: string, listener: (...args: unknown[]) => void): unknown;
    readonly options: { readonly host?: string; readonly port?: number };
    /** The socket. */
    readonly stream?: { cork?(): void; uncork?(): void };
}

/** What is used of a cluster. */
interface Cluster {
    readonly status: string;
    nodes(): Redis[];
    connect(): Promise<void>;
    once(event: string, listener: () => void): unknown;
}

/** How a connection of our own differs from the application's. */
const OWN = {
    lazyConnect: true,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableAutoPipelining: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (): null => null,
    reconnectOnError: null,
    commandTimeout: undefined,
    socketTimeout: undefined,
    stringNumbers: true,
    replyMapping: undefined,
    keyPrefix: "",
    readOnly: false,
    monitor: false,
};

export class IoredisDriver implements Driver {
    readonly #client: IoredisClient;
    /** A node as the client connects to it, whatever becomes of that one. */
    #pattern: Redis | undefined;
    #seeds: readonly Address[] = [];

    constructor(client: IoredisClient) {
        this.#client = client;
    }

    async seeds(): Promise<readonly Address[] | undefined> {
        if (!this.#client.isCluster) {
            return undefined;
        }
        if (this.#seeds.length === 0 || cluster(this.#client).nodes().length > 0) {
            const nodes = await this.#nodes();
            this.#seeds = nodes.flatMap(({ options: { host, port } }) => (host && port ? [{ host, port }] : []));
        }
        return this.#seeds;
    }

    async connect(address: Address | undefined, ms: number): Promise<Session> {
        const redis = await this.#own(address, ms, {});
        return this.#open(redis, ms);
    }

    async follow(address: Address | undefined, ms: number, following: Following): Promise<Session> {
        // In RESP3 ioredis passes over what CLIENT TRACKING pushes; in RESP2 it comes as a message, redirected to itself.
        const isTracking = following.kind === "tracking";
        const redis = await this.#own(address, ms, isTracking ? { protocol: 2 } : {});
        if (following.kind === "channel") {
            redis.on("message", (_, message) => following.heed(String(message)));
        } else {
            redis.on("messageBuffer", (_, keys) => following.heed(Array.isArray(keys) ? keys.map(String) : null));
        }
        const session = await this.#open(redis, ms);
        try {
            const begun = async (): Promise<void> => {
                if (following.kind === "tracking") {
                    const id = String(await session.send(["CLIENT", "ID"]));
                    await session.send([
                        "CLIENT",
                        "TRACKING",
                        "ON",
                        "REDIRECT",
                        id,
                        "BCAST",
                        "PREFIX",
                        following.prefix,
                    ]);
                }
                await redis.subscribe(following.kind === "channel" ? following.channel : "__redis__:invalidate");
            };
            await within(begun(), ms, "following changes");
            return session;
        } catch (thrown) {
            session.end();
            throw asOwnError(thrown);
        }
    }

    async #own(address: Address | undefined, ms: number, more: Record<string, unknown>): Promise<Redis> {
        this.#pattern ??= this.#client.isCluster ? (await this.#nodes())[0] : (this.#client as unknown as Redis);
        if (this.#pattern === undefined) {
            throw new Unanswered("the client of the cluster knows no node", false);
        }
        return this.#pattern.duplicate({ ...OWN, connectTimeout: ms, ...address, ...more });
    }

    async #open(redis: Redis, ms: number): Promise<Session> {
        let cause: unknown;
        // Without a listener an error would end the process.
        redis.on("error", (error) => {
            cause = error;
        });
        const ended = new Promise<void>((resolve) => redis.on("end", () => resolve()));
        try {
            await within(redis.connect(), ms, "connecting");
        } catch (thrown) {
            redis.disconnect();
            throw new Unanswered(
                `no connection: ${(cause ?? thrown) instanceof Error ? String(cause ?? thrown) : ""}`,
                false,
                {
                    cause: withoutCommand(cause ?? thrown),
                },
            );
        }
        // To disconnect what has ended begins a wait of two seconds.
        let hasEnded = false;
        const end = (): void => {
            if (!hasEnded) {
                hasEnded = true;
                redis.disconnect();
            }
        };
        let isCorked = false;
        // ioredis writes each command by itself; those of one turn go out together.
        const cork = (): void => {
            const { stream } = redis;
            isCorked = true;
            stream?.cork?.();
            process.nextTick(() => {
                isCorked = false;
                stream?.uncork?.();
            });
        };
        return {
            ended,
            end,
            send: ([command = "", ...words], wantsBytes): Promise<Reply> => {
                if (!isCorked) {
                    cork();
                }
                const name = String(command);
                const args = words.map(asBuffer);
                return wantsBytes
                    ? redis.callBuffer(name, args).then(asBytesReply, fail)
                    : redis.call(name, args).then(asReply, fail);
            },
        };
    }

    /** The nodes that a client of a cluster knows; it may have just been made. */
    async #nodes(): Promise<Redis[]> {
        const client = cluster(this.#client);
        if (client.status === "wait") {
            client.connect().catch(() => {});
        }
        if (client.nodes().length === 0) {
            const known = new Promise<void>((resolve) => client.once("+node", resolve));
            await within(known, 1000, "the client of the cluster");
        }
        return client.nodes();
    }
}

function fail(thrown: unknown): never {
    throw asOwnError(thrown);
}

function cluster(client: IoredisClient): Cluster {
    return client as unknown as Cluster;
}
