/**
 * Encrypts values: AES-256-GCM, as 12 bytes of nonce, the ciphertext, 16 bytes of tag. What a value is bound to, the names
 * that it stands under, is authenticated with it: moved to another key it can't be read.
 *
 * Nonces are random: a key is good for 2^32 values, and is to be replaced before.
 */

import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** The keys of a region. */
export interface EncryptionOptions {
    /** The id of the key that values are encrypted by from now on. */
    readonly keyId: string;
    /** All keys that values may be encrypted by, each of 32 bytes, by their ids: 1 to 32 letters, digits, `-`, `_` or `.`. */
    readonly keys: Readonly<Record<string, Uint8Array>>;
}

const ALGORITHM = "aes-256-gcm";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ID = /^[A-Za-z0-9_.-]{1,32}$/;

export class Cipher {
    readonly keyId: string;
    readonly #keys = new Map<string, Buffer>();

    /** @throws {TypeError | RangeError} where an id or a key is none. */
    constructor({ keyId, keys }: EncryptionOptions) {
        for (const [id, key] of Object.entries(keys ?? {})) {
            if (!ID.test(id)) {
                throw new TypeError(`encryption.keys: the id ${id} must be 1 to 32 letters, digits, -, _ or .`);
            }
            if (!(key instanceof Uint8Array) || key.length !== KEY_BYTES) {
                throw new RangeError(`encryption.keys: the key ${id} must be ${KEY_BYTES} bytes`);
            }
            this.#keys.set(id, Buffer.from(key));
        }
        if (typeof keyId !== "string" || !this.#keys.has(keyId)) {
            throw new TypeError("encryption.keyId must be the id of one of encryption.keys");
        }
        this.keyId = keyId;
    }

    /** Encrypts by the key of {@link keyId}. */
    encrypt(plain: Uint8Array, bound: Buffer): Buffer {
        const nonce = randomBytes(NONCE_BYTES);
        const cipher = createCipheriv(ALGORITHM, this.#key(this.keyId), nonce);
        cipher.setAAD(bound);
        return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    }

    /** @throws {Error} where the key is not known, or what is decrypted is not what was encrypted, or bound to something else. */
    decrypt(id: string, sealed: Buffer, bound: Buffer): Buffer {
        if (sealed.length < NONCE_BYTES + TAG_BYTES) {
            throw new RangeError("an encrypted value is too short");
        }
        const end = sealed.length - TAG_BYTES;
        const options = { authTagLength: TAG_BYTES };
        const decipher = createDecipheriv(ALGORITHM, this.#key(id), sealed.subarray(0, NONCE_BYTES), options);
        decipher.setAAD(bound);
        decipher.setAuthTag(sealed.subarray(end));
        return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, end)), decipher.final()]);
    }

    #key(id: string): Buffer {
        const key = this.#keys.get(id);
        if (key === undefined) {
            throw new TypeError(`no encryption key has the id ${id}`);
        }
        return key;
    }
}
