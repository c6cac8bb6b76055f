/** The errors of this library: each class is one thing that can be wrong. */

/** Under it an error has the names of its classes, in each copy of this library: a process may have the two builds at once. */
const CLASSES = Symbol.for("redis-apikey.classes");

/** Whatever this library throws of itself. `instanceof` knows it whichever build, ESM or CommonJS, has thrown it. */
export class ApiKeysError extends Error {
    constructor(message: string, options?: ErrorOptions) {
        super(message, options);
        this.name = new.target.name;
        const names: string[] = [];
        for (let one: { readonly name: string } = new.target; one !== Error; one = Object.getPrototypeOf(one)) {
            names.push(one.name);
        }
        Object.defineProperty(this, CLASSES, { value: names });
    }

    /** Whether it is an error of the class that this is called by. */
    static override [Symbol.hasInstance](thrown: unknown): boolean {
        const names = (thrown as { readonly [CLASSES]?: readonly string[] } | null | undefined)?.[CLASSES];
        // biome-ignore lint/complexity/noThisInStatic: the class behind `instanceof`, not this one.
        return names?.includes(this.name) ?? false;
    }
}

/**
 * A row that nobody may judge: a field is missing or wrong, or one looks like a restriction that is not known. The key is
 * not answered for; mend the row, or map its field. Also what the module replies as BADRECORD.
 */
export class BadRecord extends ApiKeysError {}

/** Redis did not answer in time, could not be reached, or the connection was lost. */
export class Unanswered extends ApiKeysError {
    /** Whether the command may have been done nevertheless. */
    readonly maybeDone: boolean;

    constructor(message: string, maybeDone: boolean, options?: ErrorOptions) {
        super(message, options);
        this.maybeDone = maybeDone;
    }
}

/** Redis answered with an error. */
export class Refusal extends ApiKeysError {
    /** The word that the error begins with: `ERR`, `WRONGTYPE`, `PARTIAL`, `LOADING`, `MOVED` .. */
    readonly code: string;

    constructor(message: string, options?: ErrorOptions) {
        super(message, options);
        this.code = message.split(" ", 1)[0] ?? "";
    }
}

/** Neither Redis nor the database could say; `cause` is what was met. */
export class UnavailableError extends ApiKeysError {}

/** What was changed in the database and has to be told to Redis. */
export type Change =
    | { readonly kind: "changed"; readonly id?: Id; readonly prefix?: string; readonly user?: Id }
    | { readonly kind: "created"; readonly prefix: string; readonly user?: Id }
    | { readonly kind: "userDeleted"; readonly user: Id; readonly prefixes: readonly string[] }
    /** Of regions: entries by their names in Redis, and what carries one of the tags; `soft`: may be served as stale. */
    | {
          readonly kind: "invalidated";
          readonly keys?: readonly string[];
          readonly tags?: readonly string[];
          readonly soft?: boolean;
      };

/** An id of a key or a user. */
export type Id = string | number | bigint;

/**
 * A change that was not told to all who have to hear of it: **what was revoked may still be valid, what was
 * cached may still be answered.** Say it again
 * ({@link ApiKeys.tell}, {@link Cache.tell}) until it returns. `cause` is what the last attempt met.
 */
export class NotTold extends ApiKeysError {
    /** The change, as the outbox was given it. */
    readonly change: Change;
    /** Whether the outbox has it. */
    readonly kept: boolean;

    constructor(change: Change, kept: boolean, options: ErrorOptions) {
        super(
            `a change was not told to Redis${kept ? " and is in the outbox" : ""}: what it ${change.kind === "invalidated" ? "is about may still be answered" : "revokes may still be valid"}`,
            options,
        );
        this.change = change;
        this.kept = kept;
    }
}
