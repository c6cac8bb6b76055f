/** {@link Driver} over node-redis 5 and later, single or cluster. Nothing of it is imported: what is used is in the types here. */

import { Unanswered } from "./errors.js";
import {
    type Address,
    asBuffer,
    asBytesReply,
    asOwnError,
    asReply,
    type Command,
    type Driver,
    type Following,
    type Reply,
    type Session,
    within,
} from "./session.js";

/** A client of node-redis: `createClient(..)`. It need not be connected. */
export interface NodeRedisClient {
    readonly isOpen: boolean;
    /** Another client, of the same options. */
    duplicate(...overrides: never[]): unknown;
    /** Sends any command. */
    sendCommand(...args: never[]): unknown;
}

/** A client of node-redis for a cluster: `createCluster(..)`. It has to be connected. */
export interface NodeRedisCluster {
    readonly isOpen: boolean;
    readonly masters: readonly unknown[];
    /** The client of a node. */
    nodeClient(...node: never[]): unknown;
}

/** What is used of a single one. */
interface Client {
    readonly options: { readonly socket?: object };
    duplicate(overrides: Record<string, unknown>): Client;
    connect(): Promise<unknown>;
    destroy(): void;
    sendCommand(command: Command, options: object): Promise<unknown>;
    subscribe(channel: string, listener: (message: unknown) => void, wantsBuffers?: boolean): Promise<void>;
    on(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** What is used of a cluster. */
interface Cluster {
    readonly masters: readonly Address[];
    nodeClient(node: Address): Promise<Client> | Client;
}

/** The types of RESP (the bytes that they begin with) that come as something else than node-redis has them: integers and doubles as their digits, maps as flat arrays. */
const TYPES = { 58: String, 40: String, 44: String, 37: Array };

/** How each command is sent: how long it may take is decided elsewhere. */
const COMMAND = { timeout: undefined, typeMapping: TYPES };

/** The same, with strings of bytes as they are. */
const BYTES_COMMAND = { timeout: undefined, typeMapping: { ...TYPES, 36: Buffer } };

export class NodeRedisDriver implements Driver {
    readonly #client: NodeRedisClient | NodeRedisCluster;
    /** A node as the client connects to it, whatever becomes of that one. */
    #pattern: Client | undefined;

    constructor(client: NodeRedisClient | NodeRedisCluster) {
        this.#client = client;
    }

    async seeds(): Promise<readonly Address[] | undefined> {
        return "masters" in this.#client
            ? (this.#client as unknown as Cluster).masters.map(({ host, port }) => ({ host, port }))
            : undefined;
    }

    async connect(address: Address | undefined, ms: number): Promise<Session> {
        return this.#open(await this.#own(address, ms, {}), ms);
    }

    async follow(address: Address | undefined, ms: number, following: Following): Promise<Session> {
        // In RESP2 what CLIENT TRACKING tells comes as a message, redirected to the connection itself, in every version.
        const isTracking = following.kind === "tracking";
        const client = await this.#own(address, ms, isTracking ? { RESP: 2, maintNotifications: "disabled" } : {});
        const session = await this.#open(client, ms);
        try {
            const begun = async (): Promise<void> => {
                if (following.kind === "channel") {
                    await client.subscribe(following.channel, (message) => following.heed(String(message)));
                    return;
                }
                const id = String(await session.send(["CLIENT", "ID"]));
                await session.send(["CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST", "PREFIX", following.prefix]);
                const heed = (keys: unknown): void => following.heed(Array.isArray(keys) ? keys.map(String) : null);
                await client.subscribe("__redis__:invalidate", heed, true);
            };
            await within(begun(), ms, "following changes");
            return session;
        } catch (thrown) {
            session.end();
            throw asOwnError(thrown);
        }
    }

    async #own(address: Address | undefined, ms: number, more: Record<string, unknown>): Promise<Client> {
        this.#pattern ??= await this.#source();
        const source = this.#pattern;
        const socket = { ...source.options.socket, ...address, connectTimeout: ms, reconnectStrategy: false };
        return source.duplicate({
            url: undefined,
            socket,
            disableOfflineQueue: true,
            clientSideCache: undefined,
            keyPrefix: undefined,
            readonly: false,
            pingInterval: undefined,
            commandOptions: COMMAND,
            ...more,
        });
    }

    async #source(): Promise<Client> {
        if (!("masters" in this.#client)) {
            return this.#client as unknown as Client;
        }
        const cluster = this.#client as unknown as Cluster;
        const [first] = cluster.masters;
        if (first === undefined) {
            throw new Unanswered("the client of the cluster is not connected", false);
        }
        return within(Promise.resolve(cluster.nodeClient(first)), 1000, "the client of the cluster");
    }

    async #open(client: Client, ms: number): Promise<Session> {
        let hasEnded = false;
        const end = (): void => {
            if (!hasEnded) {
                hasEnded = true;
                try {
                    client.destroy();
                } catch {
                    // Some versions say so where there is nothing left to end.
                }
            }
        };
        const ended = new Promise<void>((resolve) => {
            // Without a listener an error would end the process.
            client.on("error", () => {
                end();
                resolve();
            });
            client.on("terminated", () => resolve());
            client.on("end", () => resolve());
        });
        try {
            await within(client.connect(), ms, "connecting");
        } catch (cause) {
            end();
            throw new Unanswered(`no connection: ${String(cause)}`, false, { cause });
        }
        return {
            ended,
            end,
            send: (command, wantsBytes): Promise<Reply> =>
                wantsBytes
                    ? client.sendCommand(command.map(asBuffer), BYTES_COMMAND).then(asBytesReply, fail)
                    : client.sendCommand(command.map(asBuffer), COMMAND).then(asReply, fail),
        };
    }
}

function fail(thrown: unknown): never {
    throw asOwnError(thrown);
}
