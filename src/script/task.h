/* task.h -- private to this room: a coroutine that the loop resumes.
 *
 * A task has at most one wait under way.  To wait:
 *
 *     struct task *task = task_begin_wait(L);      raises if it cannot wait
 *     ... register, so that task_wake(task) is called ...
 *     return task_yield(L, undo, ctx, k);          k goes on
 *
 * Registering allocates nothing, so nothing is held when the yield jumps.
 *
 *     NEW -- run --> RUNNING <--> WAITING (-- wake --> posted)
 *                       `--> ENDED --> idle, with its coroutine, or freed
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_TASK_H
#define SCRIPT_TASK_H

#include "core/request.h"
#include "io/loop.h"
#include "script/script_state.h"

enum task_state { TASK_NEW, TASK_RUNNING, TASK_WAITING, TASK_ENDED };

/* A function to be called when the client has gone. */
struct abort_hook {
    struct abort_hook *next;
    int ref;
};

struct task {
    struct loop_job job;
    struct list link; /* in tasks or idle */
    struct script *script;
    enum task_state state;

    lua_State *co;       /* NULL: none yet */
    int co_ref;          /* anchors it */
    bool has_overflowed; /* its stack did */
    bool co_is_known;    /* the script has seen its coroutine: not used again */

    lua_CFunction main; /* what runs in it; gets the task as a light userdata */
    struct request *req; /* or NULL; one reference while the task lives */
    int function;        /* reference, for main; or LUA_NOREF */
    struct abort_hook *abort_hooks;
    struct lua_request *handle; /* on the handler's stack; or NULL */

    /* The wait under way. */
    void (*undo)(struct task *task); /* takes back what was registered */
    lua_KFunction k;
    struct request_waiter waiter;
    struct loop_timer timer;

    /* Cancellation. */
    struct loop_timer deadline; /* --timeout, then the end of patience */
    const char *cancel_reason;  /* NULL: not cancelled */
    bool cancel_pending;        /* the next chance raises it */
    bool out_of_patience;       /* every wait raises */
    unsigned refused_waits;     /* since then */
};

/* Makes a task that starts in the next think phase.  It takes over no
 * reference; main runs as a Lua C function.  NULL when there is no memory. */
struct task *task_new(struct script *script, lua_CFunction main,
                      struct request *req);

/* The task that runs; NULL while the script is loaded. */
struct task *task_running(lua_State *L);

struct task *task_begin_wait(lua_State *L);
int task_yield(lua_State *L, void (*undo)(struct task *task), lua_KContext ctx,
               lua_KFunction k);

/* Something happened that the task waits for. */
void task_wake(struct task *task);

/* Waits for news of the request. */
int task_wait_request(lua_State *L, struct request *req, lua_KContext ctx,
                      lua_KFunction k);

/* Waits for time to pass; k goes on. */
int task_sleep(lua_State *L, double seconds, lua_KFunction k);

/* The contract of api.md: the wait under way raises once, later waits work for
 * five seconds.  reason is static text. */
void task_cancel(struct task *task, const char *reason);

/* Pushes the error value of a cancellation. */
void task_push_cancelled(lua_State *L, const char *reason);

/* The reason, if the value at index is one of those; else NULL. */
const char *task_cancelled_reason(lua_State *L, int index);

/* Closes a task without waiting, as at the end of the script. */
void task_kill(struct task *task);

/* Frees the idle ones. */
void task_free_idle(struct script *script);

/* Resumes co from L with nargs arguments on its stack, as lua_resume does; the
 * one door through which coroutines are entered. */
int task_resume(lua_State *co, lua_State *from, int nargs, int *nresults);

/* Closes co, as lua_resetthread does; the one door for that, too. */
int task_close_thread(lua_State *co, lua_State *from);

/* Is it what a waiting task has yielded, on top of co's stack? */
bool task_is_waiting(lua_State *co);

/* Pushes that. */
void task_push_marker(lua_State *L);

#endif
