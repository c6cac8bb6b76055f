export type { Range } from "./addresses.js";
export type { Admission, AdmissionOptions, LimitState } from "./admission.js";
export type { RedisOptions, WhenDown } from "./asking.js";
export type { BreakerOptions } from "./breaker.js";
export { Cache, type CacheOptions } from "./cache.js";
export type { CacheCommands, Fields, Lookup, RegionSettings, Storing } from "./cache-commands.js";
export type { EncryptionOptions } from "./cipher.js";
export type {
    Commands,
    Fill,
    Lifetime,
    StoredDigest,
    UsageBatch as LeasedBatch,
    UsageLine as LeasedLine,
} from "./commands.js";
export { type Accepted, digestOf } from "./digest.js";
export type { RedisClient } from "./driver.js";
export {
    ApiKeysError,
    BadRecord,
    type Change,
    type Id,
    NotTold,
    Refusal,
    Unanswered,
    UnavailableError,
} from "./errors.js";
export { type GeneratedKey, generateKey, type PresentedKey, parseKey, regenerateKey } from "./format.js";
export type { IoredisClient } from "./ioredis.js";
export { type Json, type JsonObject, parse, stringify } from "./json.js";
export {
    ApiKeys,
    type ApiKeysOptions,
    type Load,
    type Page,
    type VerifyOptions,
} from "./keys.js";
export type { L1Options } from "./l1.js";
export type { Credits, Limit, LimitFields, LimitKind, Quota, Rate } from "./limits.js";
export type { NodeRedisClient, NodeRedisCluster } from "./node-redis.js";
export { type PayloadOptions, Unreadable } from "./payload.js";
export { rateLimitFields } from "./ratelimit-fields.js";
export type { Region } from "./region.js";
export type { Answer, LoadOptions, LoadValue, LoadValues, RegionOptions, StoreOptions } from "./region-options.js";
export type { Integer } from "./replies.js";
export type { Limited, Refused, Result, Unavailable, Valid } from "./results.js";
export { type KeyRecord, type ReadRow, type Row, type RowOptions, RowReader } from "./row.js";
export { checkScopes, type Scope } from "./scopes.js";
export { bytes, json, type Serialiser } from "./serialisers.js";
export type { Address, Argument, Command, Driver, Following, Reply, Session } from "./session.js";
export type { Counter, Meter, Span, TelemetryOptions, Tracer } from "./telemetry.js";
export type { Usage, UsageBatch, UsageLine } from "./usage.js";
export type { Validation, ValidationOptions } from "./validation.js";
export { checkAddress, judge, type Question, type RefusedCode, type Verdict } from "./verdict.js";
export type { Rows, Warmed, WarmOptions } from "./warm.js";
export type { LimitOptions } from "./wish.js";
export type { WriteBehindOptions } from "./write-behind.js";
export type { CompressionOptions, Zstd } from "./zstd.js";
