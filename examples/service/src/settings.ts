/** What the service is told by its environment. Times are milliseconds. */

export interface Settings {
    readonly databaseUrl: string;
    readonly redisUrl: string;
    readonly host: string;
    readonly port: number;
    /** Of the log: `info`, `warn` .. `silent`. */
    readonly logLevel: string;
    /** The most that Redis may take for an answer, and that telling it a change may take. */
    readonly redisTimeoutMs: number;
    readonly changeTimeoutMs: number;
    /** How often counts are written to the database, and how long a batch may take to be written at the very most. */
    readonly drainEveryMs: number;
    readonly leaseMs: number;
    /** How often notes are looked for that nobody told. */
    readonly tellEveryMs: number;
    /** How many keys the cache is warmed with at the start, those that were used last first. */
    readonly warmKeys: number;
}

/** @throws {RangeError} where a number is none. */
export function settingsOf(environment: NodeJS.ProcessEnv): Settings {
    const number = (name: string, otherwise: number, least: number, most: number): number => {
        const value = Number(environment[name] ?? otherwise);
        if (!Number.isInteger(value) || value < least || value > most) {
            throw new RangeError(`${name} must be an integer between ${least} and ${most}`);
        }
        return value;
    };
    const ms = (name: string, otherwise: number): number => number(name, otherwise, 1, 86_400_000);
    return {
        databaseUrl: environment.DATABASE_URL ?? "postgres:///",
        redisUrl: environment.REDIS_URL ?? "redis://127.0.0.1:6379",
        host: environment.HOST ?? "127.0.0.1",
        port: number("PORT", 3000, 0, 65_535),
        logLevel: environment.LOG_LEVEL ?? "info",
        redisTimeoutMs: ms("REDIS_TIMEOUT_MS", 50),
        changeTimeoutMs: ms("CHANGE_TIMEOUT_MS", 3000),
        drainEveryMs: ms("DRAIN_EVERY_MS", 1000),
        leaseMs: ms("LEASE_MS", 30_000),
        tellEveryMs: ms("TELL_EVERY_MS", 1000),
        warmKeys: number("WARM_KEYS", 10_000, 0, 1_000_000),
    };
}
