/* A module that calls commands as any other module may: by RM_Call, on whose caller the module under
 * test can rely for nothing.
 *
 *   CALLER.CALL format command [arg ...]     from the command itself
 *   CALLER.THREAD format command [arg ...]   from another thread, while the client waits
 *
 * `format` has the flags of RM_Call, each a character: C (as the caller's user), K (it may wait), ! (it is
 * replicated), or is `-` for none. The reply is the command's, or the error that RM_Call ended with. */

#include "redismodule.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Calls argv[1] with what follows, in the format of argv[0], and replies. */
static void call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    const char *flags = RedisModule_StringPtrLen(argv[0], NULL);
    const char *command = RedisModule_StringPtrLen(argv[1], NULL);
    char text[64];

    snprintf(text, sizeof(text), "%sv", strcmp(flags, "-") ? flags : "");
    errno = 0;
    RedisModuleCallReply *reply =
        RedisModule_Call(ctx, command, text, argv + 2, (size_t)(argc - 2));
    if (reply == NULL) {
        snprintf(text, sizeof(text), "ERR not called: %s", strerror(errno));
        RedisModule_ReplyWithError(ctx, text);
        return;
    }
    RedisModule_ReplyWithCallReply(ctx, reply);
    RedisModule_FreeCallReply(reply);
}

static int fromCommand(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 3) return RedisModule_WrongArity(ctx);
    call(ctx, argv + 1, argc - 1);
    return REDISMODULE_OK;
}

/* A call that another thread makes. */
typedef struct {
    RedisModuleBlockedClient *client;
    int argc;
    RedisModuleString *argv[];
} Job;

static void *run(void *data) {
    Job *job = data;
    RedisModuleCtx *ctx = RedisModule_GetThreadSafeContext(job->client);

    RedisModule_ThreadSafeContextLock(ctx);
    call(ctx, job->argv, job->argc);
    for (int i = 0; i < job->argc; i++) RedisModule_FreeString(ctx, job->argv[i]);
    RedisModule_ThreadSafeContextUnlock(ctx);
    RedisModule_FreeThreadSafeContext(ctx);
    RedisModule_UnblockClient(job->client, NULL);
    RedisModule_Free(job);
    return NULL;
}

static int fromThread(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 3) return RedisModule_WrongArity(ctx);

    Job *job = RedisModule_Alloc(sizeof(Job) + sizeof(RedisModuleString *) * (size_t)(argc - 1));
    job->argc = argc - 1;
    for (int i = 0; i < job->argc; i++) {
        job->argv[i] = argv[i + 1];
        RedisModule_RetainString(ctx, job->argv[i]);
    }
    job->client = RedisModule_BlockClient(ctx, NULL, NULL, NULL, 0);

    pthread_t thread;
    if (pthread_create(&thread, NULL, run, job) == 0) {
        pthread_detach(thread);
        return REDISMODULE_OK;
    }
    for (int i = 0; i < job->argc; i++) RedisModule_FreeString(ctx, job->argv[i]);
    RedisModule_AbortBlock(job->client);
    RedisModule_Free(job);
    return RedisModule_ReplyWithError(ctx, "ERR no thread");
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    (void)argv;
    (void)argc;
    if (RedisModule_Init(ctx, "caller", 1, REDISMODULE_APIVER_1) == REDISMODULE_ERR)
        return REDISMODULE_ERR;
    if (RedisModule_CreateCommand(ctx, "caller.call", fromCommand, "write", 0, 0, 0) ==
            REDISMODULE_ERR ||
        RedisModule_CreateCommand(ctx, "caller.thread", fromThread, "write", 0, 0, 0) ==
            REDISMODULE_ERR)
        return REDISMODULE_ERR;
    return REDISMODULE_OK;
}
