/** The routes that manage keys. They want a key with the scope `keys:manage` themselves. */

import type { FastifyInstance, FastifyReply } from "fastify";
import { BadRecord, type Id, Unanswered } from "redis-apikey";
import type { Authorize } from "./app.js";
import { UnknownPlan, type Wanted } from "./key-changes.js";
import type { Made } from "./outbox.js";
import type { Payment } from "./payments.js";
import type { Service } from "./service.js";

const userId = { type: "string", minLength: 1, maxBytes: 256 };
const idParams = { type: "object", properties: { id: { type: "string", format: "uuid" } } };
const userParams = { type: "object", properties: { user: userId } };
/** Of 1990 to 9999, in a zone that there is: of what RFC 3339 allows, what PostgreSQL and the cache hold too. */
const time = "^(199[0-9]|[2-9][0-9]{3})-.*([Zz]|[+-](0[0-9]|1[0-4]):?[0-9]{2})$";
const wanted = {
    type: "object",
    required: ["user_id", "scopes"],
    additionalProperties: false,
    properties: {
        // A text alone: of a large integer JSON.parse would make another user.
        user_id: userId,
        name: { type: "string", maxBytes: 400 },
        scopes: { type: "array", maxItems: 64, items: { type: "string", minLength: 1, maxBytes: 256 } },
        expires_at: { type: "string", format: "date-time", pattern: time },
        plan: { type: "string", maxBytes: 64 },
    },
};
const payment = {
    type: "object",
    required: ["payment", "credits"],
    additionalProperties: false,
    properties: {
        payment: { type: "string", minLength: 1, maxBytes: 64 },
        credits: { type: "integer", minimum: 1, maximum: 1_000_000_000 },
    },
};
const grace = {
    type: "object",
    additionalProperties: false,
    properties: { grace_ms: { type: "integer", minimum: 0, maximum: 31 * 86_400_000, default: 86_400_000 } },
};
// What is behind the ? are texts, and nothing makes numbers of them but the route.
const page = {
    type: "object",
    properties: {
        offset: { type: "string", pattern: "^[0-9]{1,9}$", default: "0" },
        limit: { type: "string", pattern: "^([1-9][0-9]?|100)$", default: "20" },
    },
};

export function addKeyRoutes(app: FastifyInstance, service: Service, authorize: Authorize): void {
    const { changes } = service;
    const preHandler = authorize(["keys:manage"]);

    app.post<{ Body: Wanted }>("/keys", { preHandler, schema: { body: wanted } }, async ({ body }, reply) => {
        try {
            return answer(reply, 201, await changes.issue(body));
        } catch (thrown) {
            const isWrong = thrown instanceof BadRecord || thrown instanceof UnknownPlan;
            throw isWrong ? Object.assign(thrown, { statusCode: 400 }) : thrown;
        }
    });

    app.post<{ Params: { id: string }; Body: { grace_ms: number } }>(
        "/keys/:id/rotate",
        { preHandler, schema: { params: idParams, body: grace } },
        async ({ params, body }, reply) => answer(reply, 200, await changes.rotate(params.id, body.grace_ms)),
    );

    // What the payment service calls, as often as it likes.
    app.post<{ Params: { id: string }; Body: Payment }>(
        "/keys/:id/credits",
        { preHandler, schema: { params: idParams, body: payment } },
        async ({ params, body }, reply) => {
            try {
                const given = await service.payments.receive(params.id, body);
                return given === undefined ? notFound(reply) : { ...body, ...given };
            } catch (thrown) {
                throw thrown instanceof Unanswered ? Object.assign(thrown, { statusCode: 503 }) : thrown;
            }
        },
    );

    app.delete<{ Params: { id: string } }>(
        "/keys/:id",
        { preHandler, schema: { params: idParams } },
        async ({ params }, reply) => answer(reply, 200, await changes.revoke(params.id)),
    );

    app.delete<{ Params: { user: string } }>(
        "/users/:user",
        { preHandler, schema: { params: userParams } },
        async ({ params }, reply) => answer(reply, 200, await changes.deleteUser(params.user)),
    );

    app.get<{ Params: { user: string }; Querystring: { offset: string; limit: string } }>(
        "/users/:user/keys",
        { preHandler, schema: { params: userParams, querystring: page } },
        async ({ params, query }) => {
            const load = (user: Id): Promise<object[]> => service.database.rowsOfUser(String(user));
            const part = { offset: Number(query.offset), limit: Number(query.limit) };
            return service.keys.list(params.user, { load, ...part });
        },
    );
}

/**
 * A change that was made. 202 where it was committed and is not told to Redis yet: it will be, and until then what was
 * before may be accepted. An error it is not, since to do it again would make another change.
 */
function answer(reply: FastifyReply, status: number, made: Made<object> | undefined): FastifyReply {
    if (made === undefined) {
        return notFound(reply);
    }
    return reply.code(made.isTold ? status : 202).send({ ...made.value, told: made.isTold });
}

function notFound(reply: FastifyReply): FastifyReply {
    return reply.code(404).send({ error: { code: "NOT_FOUND" } });
}
