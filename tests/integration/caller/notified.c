/* A module that writes in a keyspace notification, as any other module may: what it does there has to reach
 * replicas and the AOF behind what it was told of.
 *
 *   NOTIFIED.ON event command [arg ...]   calls the command, replicated, whenever the event is told of a key;
 *                                         each argument `@` stands for the key
 *   NOTIFIED.OFF                          does nothing any more */

#include "redismodule.h"

#include <string.h>

#define MAX_ARGS 16

static RedisModuleString *words[MAX_ARGS]; /* the event, the command, its arguments */
static int count;
static int busy;

static void forget(RedisModuleCtx *ctx) {
    while (count > 0) RedisModule_FreeString(ctx, words[--count]);
}

static int told(RedisModuleCtx *ctx, int type, const char *event, RedisModuleString *key) {
    (void)type;
    /* What it does itself is told of as well. */
    if (count == 0 || busy) return REDISMODULE_OK;
    if (strcmp(event, RedisModule_StringPtrLen(words[0], NULL)) != 0) return REDISMODULE_OK;

    RedisModuleString *args[MAX_ARGS];
    for (int i = 2; i < count; i++) {
        int is_key = strcmp(RedisModule_StringPtrLen(words[i], NULL), "@") == 0;
        args[i - 2] = is_key ? key : words[i];
    }
    busy = 1;
    const char *command = RedisModule_StringPtrLen(words[1], NULL);
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, command, "!v", args, (size_t)(count - 2));
    if (reply != NULL) RedisModule_FreeCallReply(reply);
    busy = 0;
    return REDISMODULE_OK;
}

static int on(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 3 || argc > MAX_ARGS + 1) return RedisModule_WrongArity(ctx);
    forget(ctx);
    for (int i = 1; i < argc; i++) {
        RedisModule_RetainString(ctx, argv[i]);
        words[count++] = argv[i];
    }
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int off(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv;
    if (argc != 1) return RedisModule_WrongArity(ctx);
    forget(ctx);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv;
    (void)argc;
    if (RedisModule_Init(ctx, "notified", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    if (RedisModule_CreateCommand(ctx, "notified.on", on, "", 0, 0, 0) == REDISMODULE_ERR ||
        RedisModule_CreateCommand(ctx, "notified.off", off, "", 0, 0, 0) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    return RedisModule_SubscribeToKeyspaceEvents(
        ctx, REDISMODULE_NOTIFY_ALL | REDISMODULE_NOTIFY_MODULE, told);
}
