/**
 * Zstandard (RFC 8878), where a value gets smaller by it. Node has it from 22.15 on; before, `@hpcc-js/wasm-zstd` is given,
 * which is WebAssembly and so needs no compiler and no download when it is installed.
 */

import * as zlib from "node:zlib";
import { checkCount, checkNumber } from "./bounds.js";

/** An implementation: `await Zstd.load()` of `@hpcc-js/wasm-zstd`, or another one. */
export interface Zstd {
    /** Makes one frame, which says how large its content is. */
    compress(data: Uint8Array, level?: number): Uint8Array;
    /** @throws where the bytes are no frame. */
    decompress(data: Uint8Array): Uint8Array;
}

/** When values are compressed. */
export interface CompressionOptions {
    /** Bytes from which on it is tried. 1,024 where it is not said. */
    readonly threshold?: number;
    /** 1 (the fastest) to 19. 3 where it is not said. */
    readonly level?: number;
}

/** Bytes that a value may have when it is decompressed: a frame of a few bytes may say anything. */
const MOST_BYTES = 64 * 1024 * 1024;

const MAGIC = 0xfd2fb528;

/** What is used of `node:zlib`, where it has it. */
interface WithZstd {
    zstdCompressSync?(data: Uint8Array, options: object): Buffer;
    zstdDecompressSync?(data: Uint8Array, options: object): Buffer;
    readonly constants: { readonly ZSTD_c_compressionLevel?: number };
}

/** Node's own, where it has one. */
export function builtIn(): Zstd | undefined {
    const { zstdCompressSync, zstdDecompressSync, constants } = zlib as unknown as WithZstd;
    const { ZSTD_c_compressionLevel: parameter } = constants;
    if (zstdCompressSync === undefined || zstdDecompressSync === undefined || parameter === undefined) {
        return undefined;
    }
    return {
        compress: (data, level = 3) =>
            zstdCompressSync(data, { params: { [parameter]: level }, pledgedSrcSize: data.length }),
        decompress: (data) => zstdDecompressSync(data, { maxOutputLength: MOST_BYTES }),
    };
}

export class Compression {
    readonly #zstd: Zstd;
    readonly #threshold: number;
    readonly #level: number;

    /** @throws {TypeError | RangeError} where an option is out of its bounds. */
    constructor(zstd: Zstd, options: CompressionOptions = {}) {
        this.#zstd = zstd;
        this.#threshold = checkCount("compression.threshold", options.threshold ?? 1024);
        this.#level = checkNumber("compression.level", options.level ?? 3, 1, 19);
    }

    /** One frame, where that is smaller. */
    compress(data: Uint8Array): Uint8Array | undefined {
        if (data.length < this.#threshold) {
            return undefined;
        }
        const frame = this.#zstd.compress(data, this.#level);
        return frame.length < data.length ? frame : undefined;
    }
}

/** @throws {RangeError | Error} where it is no frame, or one that says not how large its content is, or too large. */
export function decompress(zstd: Zstd, frame: Buffer): Buffer {
    const size = contentSize(frame);
    if (size === undefined || size > MOST_BYTES) {
        throw new RangeError(`a zstd frame must say that its content has at most ${MOST_BYTES} bytes`);
    }
    const content = zstd.decompress(frame);
    return Buffer.from(content.buffer, content.byteOffset, content.byteLength);
}

/** What the header of a frame says (RFC 8878, 3.1.1.1); `undefined` where it says nothing or is none. */
export function contentSize(frame: Buffer): number | undefined {
    // The longest header has 18 bytes; of a shorter frame nothing is read behind its end.
    const header = Buffer.alloc(18);
    frame.copy(header, 0, 0, 18);
    if (frame.length < 6 || header.readUInt32LE(0) !== MAGIC) {
        return undefined;
    }
    const descriptor = header.readUInt8(4);
    const isSingleSegment = (descriptor & 0x20) !== 0;
    const at = 5 + (isSingleSegment ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] ?? 0);
    switch (descriptor >> 6) {
        case 0:
            return isSingleSegment ? header.readUInt8(at) : undefined;
        case 1:
            return header.readUInt16LE(at) + 256;
        case 2:
            return header.readUInt32LE(at);
        default:
            return Number(header.readBigUInt64LE(at));
    }
}
