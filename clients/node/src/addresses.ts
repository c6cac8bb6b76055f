/**
 * The addresses that a key may be used from. An address is 128 bits: an IPv4 one is written as IPv6 has it,
 * `::ffff:a.b.c.d`, so that both forms are one.
 */

import { isIPv4, isIPv6 } from "node:net";
import { BadRecord } from "./errors.js";

/** An address and how many of its first bits count. */
export interface Range {
    readonly first: bigint;
    readonly bits: number;
}

const ALL_BITS = 128;
const IPV4_BITS = 96;
const IPV4 = 0xffffn << 32n;

/** Reads an IPv4 or IPv6 address; `undefined` where it is none. A zone (`%eth0`) is passed over. */
export function readAddress(text: string): bigint | undefined {
    const zone = text.indexOf("%");
    if (zone >= 0) {
        const address = text.slice(0, zone);
        return zone + 1 < text.length && address.includes(":") ? bits(address) : undefined;
    }
    return bits(text);
}

function bits(text: string): bigint | undefined {
    if (isIPv4(text)) {
        return IPV4 | ipv4(text);
    }
    if (!isIPv6(text) || text.includes("%")) {
        return undefined;
    }
    const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
    let groups = text;
    if (dotted !== null) {
        const last = ipv4(dotted[2] ?? "");
        groups = `${dotted[1]}${(last >> 16n).toString(16)}:${(last & 0xffffn).toString(16)}`;
    }
    const [front = "", back] = groups.split("::");
    const left = front === "" ? [] : front.split(":");
    const right = back === undefined || back === "" ? [] : back.split(":");
    const zeros = new Array<string>(8 - left.length - right.length).fill("0");
    return [...left, ...zeros, ...right].reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}

function ipv4(text: string): bigint {
    return text.split(".").reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/**
 * Reads an address or a range in the form of CIDR, as `allowed_ips` has them.
 *
 * @throws {BadRecord} where it is neither, or does not begin at its first address.
 */
export function readRange(text: string): Range {
    const none = (): BadRecord =>
        new BadRecord("allowed_ips must be IPv4 or IPv6 addresses, or ranges such as 10.0.0.0/8");
    const slash = text.indexOf("/");
    const address = slash < 0 ? text : text.slice(0, slash);
    const first = bits(address);
    if (first === undefined) {
        throw none();
    }
    const most = isIPv4(address) ? ALL_BITS - IPV4_BITS : ALL_BITS;
    const given = slash < 0 ? String(most) : text.slice(slash + 1);
    if (!/^\d+$/.test(given) || Number(given) > most) {
        throw none();
    }
    const range = { first, bits: ALL_BITS - most + Number(given) };
    if ((first & ~mask(range.bits)) !== 0n) {
        throw new BadRecord("allowed_ips must be ranges that begin at their first address: 10.0.0.0/8, not 10.0.0.1/8");
    }
    return range;
}

/** So many bits at the front. */
function mask(bits: number): bigint {
    return ((1n << BigInt(bits)) - 1n) << BigInt(ALL_BITS - bits);
}

/** Whether an address is within one of the ranges. An IPv6 range that is wider than all of IPv4 covers none of that. */
export function cover(ranges: readonly Range[], address: bigint): boolean {
    const isV4 = address >> 32n === 0xffffn;
    return ranges.some(
        (range) => ((address ^ range.first) & mask(range.bits)) === 0n && (range.bits >= IPV4_BITS || !isV4),
    );
}
