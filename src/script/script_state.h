/* script_state.h -- private to this room: what a script is made of.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_SCRIPT_STATE_H
#define SCRIPT_SCRIPT_STATE_H

#include "base/list.h"
#include "io/loop.h"
#include "script/memory.h"
#include "script/script.h"
#include "script/watchdog.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

struct dev;
struct readies;
struct resolver;
struct socket_pools;
struct streams;
struct task;

enum script_hook {
    HOOK_REQUEST,
    HOOK_AUTHORIZE,
    HOOK_FILTER,
    HOOK_ERROR,
    HOOK_START,
    HOOK_WORKER,
    HOOK_EXIT,
    HOOK_COUNT
};

/* A line of io.stdout is logged when it ends. */
struct print_line {
    char text[1024];
    size_t len;
};

/* One call of on_worker or on_exit. */
struct hook_run {
    struct script *script;
    enum script_hook hook;
    const char *name;
    unsigned id;
    const char *reason; /* NULL: it gets none */
    script_done_fn *done;
    void *arg;
    bool went_well;
};

struct script {
    lua_State *L;
    FILE *out; /* what io.stdout is; outlives the state */
    struct print_line out_line;
    struct memory memory;
    size_t heap; /* see heap.c */
    const struct script_config *config;
    const char *name;  /* of the script, for the log */
    const char *phase; /* why nothing can wait while no task runs */
    struct loop *loop; /* NULL before script_attach */
    struct service *service;
    struct readies *readies;   /* of fcgi.wait; NULL until it is used */
    struct resolver *resolver; /* of fcgi.resolve; likewise */
    struct streams *streams;   /* of its sockets; NULL: it has had none */
    struct socket_pools *socket_pools; /* likewise */
    const void *socket_classes[3];     /* metatables, for checks */
    struct list processes; /* of the worker's tasks: struct lua_process */
    struct script_limits limits;
    struct watchdog watchdog;

    int hooks[HOOK_COUNT]; /* references, or LUA_NOREF */
    int module;            /* reference of `fcgi` */
    int private;           /* ... and of what modules of lua/fcgi get besides */
    int request_class;     /* reference of its metatable */
    int settings;          /* reference of the table that was returned */
    int answer, authorize; /* references of lua/fcgi/answer.lua's functions */
    bool abort_cancels;    /* abort = "cancel" */
    bool was_refused;      /* a file of its code: see source.h */
    bool is_broken;        /* script_break */
    struct dev *dev;       /* or NULL */

    struct list tasks;    /* all that have not ended */
    struct list idle;     /* tasks with a coroutine to be used again */
    struct list loading;  /* modules under load: see require.c */
    struct list failures; /* errors of tasks that nobody has joined yet */
    struct loop_timer failures_timer;
    struct loop_timer slow_timer; /* the next handler that is slow */
    unsigned task_count, idle_count;
    unsigned worker_task_count; /* of those that come from no request */
    struct task *running;
    struct hook_run on_worker, on_exit;
    double charged_user, charged_system; /* CPU time up to here, s */
    const char *exit_guard; /* why os.exit raises; NULL: it does not */
    bool is_closing; /* finalizers run for the last time: no task begins */
};

/* The script of any thread of its state. */
static inline struct script *script_of(lua_State *L)
{
    return *(struct script **)lua_getextraspace(L);
}

/* Calls what lies below nargs arguments, as a script is loaded: limited by
 * --load-timeout, error filled as by script_load.  Its first nresults results
 * are left. */
enum script_status script_call(struct script *script, int nargs, int nresults,
                               char *error);

#endif
