/** How requests are checked: what is not as it should be is a 400 that names it, and nothing is bent or dropped. */

import type { FastifyServerOptions } from "fastify";

/** Texts that PostgreSQL and Redis can hold, by the bytes that they have there. */
const maxBytes = {
    keyword: "maxBytes",
    type: "string",
    schemaType: "number",
    validate: (most: number, text: string): boolean =>
        Buffer.byteLength(text) <= most && text.isWellFormed() && !text.includes("\0"),
    error: {
        message: ({ schema }: { schema: unknown }): string =>
            `must have at most ${schema} bytes of UTF-8, and no NUL or half a character`,
    },
} as const;

/** Ajv as Fastify sets it up makes "5" of 5 and 0 of null, and drops fields that it does not know. */
export const strict = {
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, keywords: [maxBytes] } },
    schemaErrorFormatter: ([wrong], where) => {
        const unknown = wrong?.params.additionalProperty;
        const of = unknown === undefined ? "" : `: ${unknown}`;
        return new Error(`${where}${wrong?.instancePath ?? ""} ${wrong?.message ?? "is wrong"}${of}`);
    },
    // Of a user's id in a path each byte may be written as %XX, and one that is a little longer is told so.
    routerOptions: { maxParamLength: 4 * 256 },
} satisfies FastifyServerOptions;
