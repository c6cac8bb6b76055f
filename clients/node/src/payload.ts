/**
 * A value of a region as it is stored: serialised, compressed where that helps, encrypted where the region has keys. The
 * label says which: `<serialiser>[+zstd][;kid=<id>]`. `clients/conformance` has the form byte by byte; the libraries of
 * all languages read each other's.
 */

import { Cipher, type EncryptionOptions } from "./cipher.js";
import { ApiKeysError } from "./errors.js";
import { checkSerialiser, json, type Serialiser } from "./serialisers.js";
import { builtIn, Compression, type CompressionOptions, decompress, type Zstd } from "./zstd.js";

/** A value that this reader can't read: its label names a serialiser or a key that is not known, or it was tampered with. */
export class Unreadable extends ApiKeysError {}

/** How a region's values are stored. */
export interface PayloadOptions<T> {
    /** {@link json} where it is not said. */
    readonly serialiser?: Serialiser<T>;
    /** Compresses what is large. Not done unless it is said. */
    readonly compression?: boolean | CompressionOptions;
    /** Encrypts values, and refuses those that are not encrypted. Not done unless it is said. */
    readonly encryption?: EncryptionOptions;
}

/** As it is stored. */
export interface Payload {
    readonly bytes: Uint8Array;
    readonly label: string;
    /** Which the entry carries beside its own. */
    readonly tags: readonly string[];
}

const LABEL = /^([A-Za-z0-9_.-]{1,16})(\+zstd)?(?:;kid=([A-Za-z0-9_.-]{1,32}))?$/;

export class Payloads<T> {
    readonly #ns: string;
    readonly #region: string;
    readonly #serialiser: Serialiser<T>;
    readonly #zstd: Zstd | undefined;
    readonly #compression: Compression | undefined;
    readonly #cipher: Cipher | undefined;

    /** @throws {TypeError | RangeError} where an option is out of its bounds. */
    constructor(ns: string, region: string, options: PayloadOptions<T>, zstd: Zstd | undefined = builtIn()) {
        this.#ns = ns;
        this.#region = region;
        this.#serialiser = checkSerialiser(options.serialiser ?? json<T>());
        this.#zstd = zstd;
        const { compression = false, encryption } = options;
        if (compression !== false) {
            if (zstd === undefined) {
                throw new TypeError(
                    "compression needs Node 22.15, or the option zstd: await Zstd.load() of @hpcc-js/wasm-zstd",
                );
            }
            this.#compression = new Compression(zstd, compression === true ? {} : compression);
        }
        this.#cipher = encryption && new Cipher(encryption);
    }

    /** @throws what the serialiser throws. */
    write(key: string, value: T): Payload {
        const serialised = this.#serialiser.serialise(value);
        const compressed = this.#compression?.compress(serialised);
        const plain = compressed ?? serialised;
        const label = `${this.#serialiser.name}${compressed === undefined ? "" : "+zstd"}`;
        const cipher = this.#cipher;
        if (cipher === undefined) {
            return { bytes: plain, label, tags: [] };
        }
        const kid = cipher.keyId;
        const sealed = `${label};kid=${kid}`;
        const encrypted = cipher.encrypt(plain, this.#bound(key, sealed));
        return { bytes: encrypted, label: sealed, tags: [`${this.#ns}kid:${kid}`] };
    }

    /**
     * Opens a payload as far as what was serialised, for {@link value}.
     *
     * @throws {Unreadable} where that can't be.
     */
    open(key: string, payload: Buffer, label: string | null): Buffer {
        const [, name, isCompressed, kid] = LABEL.exec(label ?? this.#serialiser.name) ?? [];
        if (name !== this.#serialiser.name) {
            throw new Unreadable(`a value is labelled ${label}, and is read as ${this.#serialiser.name}`);
        }
        if ((kid === undefined) !== (this.#cipher === undefined)) {
            const [is, wants] = kid === undefined ? ["not ", ""] : ["", "not "];
            throw new Unreadable(`a value is ${is}encrypted, and the region ${this.#region} is ${wants}to be`);
        }
        try {
            const plain =
                this.#cipher === undefined || kid === undefined
                    ? payload
                    : this.#cipher.decrypt(kid, payload, this.#bound(key, label ?? ""));
            if (isCompressed === undefined) {
                return plain;
            }
            if (this.#zstd === undefined) {
                throw new TypeError("this Node has no zstd, and the option zstd is not given");
            }
            return decompress(this.#zstd, plain);
        } catch (cause) {
            throw unreadable(cause);
        }
    }

    /** @throws {Unreadable} where it is none of the serialiser's. */
    value(serialised: Buffer): T {
        try {
            return this.#serialiser.deserialise(serialised);
        } catch (cause) {
            throw unreadable(cause);
        }
    }

    /** What an encrypted value is bound to. */
    #bound(key: string, label: string): Buffer {
        return Buffer.from([this.#ns, this.#region, key, label].join("\0"));
    }
}

function unreadable(cause: unknown): Unreadable {
    return new Unreadable(`a value can't be read: ${cause instanceof Error ? cause.message : String(cause)}`, {
        cause,
    });
}
