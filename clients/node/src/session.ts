/**
 * What this library wants of a Redis client: connections of its own, over which a command is written once and never again.
 * {@link driverOf} makes it of a client of ioredis or node-redis; who has another client implements {@link Driver}.
 */

import { Refusal, Unanswered } from "./errors.js";

/** A word of a command: a text, or bytes as they are. */
export type Argument = string | Uint8Array;

/** A command: its name, and what follows. */
export type Command = readonly Argument[];

/**
 * A reply: integers as their digits, maps as flat arrays, an error within an array as a {@link Refusal}; a string of bytes
 * as a `Buffer` where bytes were wanted, else as a text.
 */
export type Reply = string | Buffer | null | Refusal | readonly Reply[];

/** Where a node is. */
export interface Address {
    readonly host: string;
    readonly port: number;
}

/** One connection, for as long as it lasts: it does not connect again, keeps nothing for later and repeats nothing. */
export interface Session {
    /**
     * Writes a command and waits for its reply.
     *
     * @param wantsBytes whether strings of bytes in the reply come as they are: values of a region are no texts.
     * @throws {Refusal} for a reply that is an error.
     * @throws {Unanswered} where the connection ends before the reply.
     */
    send(command: Command, wantsBytes?: boolean): Promise<Reply>;
    /** Settles when the connection has ended. */
    readonly ended: Promise<void>;
    /** Ends the connection at once; what waits for a reply is told so. */
    end(): void;
}

/** What a connection follows, and who is told. */
export type Following =
    /** Messages of a channel. */
    | {
          readonly kind: "channel";
          readonly channel: string;
          /** Is given each message. */
          readonly heed: (message: string) => void;
      }
    /** Keys with a prefix that changed (CLIENT TRACKING with BCAST); `null`: all of them. */
    | {
          readonly kind: "tracking";
          readonly prefix: string;
          /** Is given the names. */
          readonly heed: (keys: readonly string[] | null) => void;
      };

/** Opens connections. */
export interface Driver {
    /** Nodes of a cluster to begin with; `undefined`: there is one server. */
    seeds(): Promise<readonly Address[] | undefined>;
    /** Opens a connection to a node, or to the server. `ms` is the most that it may take. */
    connect(address: Address | undefined, ms: number): Promise<Session>;
    /** Opens a connection that follows changes. It has begun to when this returns. */
    follow(address: Address | undefined, ms: number, following: Following): Promise<Session>;
}

/** Error replies begin with a word in capitals; what a client throws of itself does not. */
const REFUSAL = /^[A-Z][A-Z0-9]*(?: |$)/;

/** What a client threw, as this library has it. */
export function asOwnError(thrown: unknown): Refusal | Unanswered {
    if (thrown instanceof Refusal || thrown instanceof Unanswered) {
        return thrown;
    }
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    if (REFUSAL.test(message)) {
        return new Refusal(message);
    }
    return new Unanswered(`the connection ended: ${message}`, true, { cause: withoutCommand(thrown) });
}

/** What a client threw, by its message alone: ioredis adds the command, and so the password of HELLO and AUTH. */
export function withoutCommand(thrown: unknown): Error {
    return new Error(thrown instanceof Error ? thrown.message : String(thrown));
}

/** A word as clients take it: of other bytes than a `Buffer`'s they would write the numbers. */
export function asBuffer(argument: Argument): string | Buffer {
    return typeof argument === "string" || Buffer.isBuffer(argument)
        ? argument
        : Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength);
}

/** What a client returned, as this library has it. */
export function asReply(value: unknown): Reply {
    return asReplyOf(value, false);
}

/** The same, with bytes as they are. */
export function asBytesReply(value: unknown): Reply {
    return asReplyOf(value, true);
}

function asReplyOf(value: unknown, wantsBytes: boolean): Reply {
    if (typeof value === "string" || value === null || value === undefined) {
        return value ?? null;
    }
    if (Array.isArray(value)) {
        return value.map((one) => asReplyOf(one, wantsBytes));
    }
    if (value instanceof Error) {
        return new Refusal(value.message);
    }
    if (Buffer.isBuffer(value)) {
        return wantsBytes ? value : value.toString();
    }
    return String(value);
}

/** A promise, bounded: it fails after `ms`, and `late` gets what comes nevertheless. */
export async function within<T>(promise: Promise<T>, ms: number, what: string, late?: (value: T) => void): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    let isOver = false;
    const over = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
            isOver = true;
            reject(new Unanswered(`${what} took more than ${ms} ms`, true));
        }, ms);
    });
    promise.then(
        (value) => isOver && late?.(value),
        () => {},
    );
    try {
        return await Promise.race([promise, over]);
    } finally {
        clearTimeout(timer);
    }
}
