/* task.h -- private to this room: a coroutine that the loop resumes.
 *
 * How tasks wait is in wait.h, how they are cancelled in cancel.h, and what Lua
 * sees of them in lua_task.h.
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
#include "io/ready.h"
#include "script/script_state.h"

enum task_state { TASK_NEW, TASK_RUNNING, TASK_WAITING, TASK_ENDED };

/* What a task is for. */
struct task_kind {
    /* Runs in the coroutine; gets the task as a light userdata, and what
     * task_spawn was given. */
    lua_CFunction main;
    /* It ended otherwise than by returning: what says why in static text, or
     * is NULL when there is nothing to tell.  It may not have begun. */
    void (*failed)(struct task *task, const char *what);
    /* The task has ended: lets go of what is the kind's. */
    void (*ended)(struct task *task);
    /* What it spawns ends with it. */
    bool is_root;
};

/* A function to be called when the client has gone. */
struct abort_hook {
    struct abort_hook *next;
    int ref;
};

struct task {
    struct loop_job job;
    struct list link; /* in tasks or idle */
    struct script *script;
    const struct task_kind *kind;
    enum task_state state;

    lua_State *co;       /* NULL: none yet */
    int co_ref;          /* anchors it */
    bool has_overflowed; /* its stack did */
    bool has_kept_error; /* see errors.c */
    bool is_slow;        /* the slow log has told of it */
    bool co_is_known;    /* the script has seen its coroutine: not used again */

    struct request *req; /* or NULL; one reference while the task lives */

    /* Who ends with whom. */
    struct task *owner;      /* a root; NULL: the worker's */
    struct list sibling;     /* among the owner's children */
    struct list children;    /* of a root */
    struct list failures;    /* of a root's children: struct failure */
    struct list processes;   /* of a root, or an orphan: struct lua_process */
    bool is_of_worker;       /* comes from no request */
    bool is_orphan;          /* its request has ended, and counts for it */
    struct list joiners;     /* tasks that wait for its end, by wait_link */
    struct lua_task *object; /* what Lua knows it by; or NULL */

    /* Of handlers and abort hooks. */
    int function; /* reference, for main; or LUA_NOREF */
    struct abort_hook *abort_hooks;
    struct lua_request *handle; /* on the handler's stack; or NULL */

    struct hook_run *hook_run; /* of on_worker and on_exit; or NULL */

    /* The wait under way. */
    void (*undo)(struct task *task); /* takes back what was registered */
    lua_KFunction k;
    struct request_waiter waiter;
    struct list wait_link; /* in somebody's list of waiting tasks */
    struct task *joined;   /* for whom it waits without a limit; or NULL */
    struct loop_timer timer;
    struct ready ready;  /* a descriptor that it waits for */
    bool is_woken;       /* it is over, and the task will go on */
    bool is_interrupted; /* it raises when the task goes on */

    /* Cancellation. */
    struct loop_timer deadline; /* --timeout, then the end of patience */
    const char *cancel_reason;  /* NULL: not cancelled */
    bool cancel_pending;        /* the next wait raises it */
    bool out_of_patience;       /* every wait raises */
    unsigned refused_waits;     /* since then */
};

/* Makes a task that starts in the next think phase, or when the script is
 * attached to a loop.  NULL when there is no memory. */
struct task *task_new(struct script *script, const struct task_kind *kind,
                      struct request *req);

/* The same from Lua, with the nargs values on top of L's stack, which are
 * popped, as arguments of the kind's main.  Raises when there is no memory. */
struct task *task_spawn(lua_State *L, const struct task_kind *kind,
                        struct request *req, int nargs);

/* Posts the tasks that were made before there was a loop. */
void task_start_all(struct script *script);

/* The task that runs; NULL while the script is loaded. */
static inline struct task *task_running(lua_State *L)
{
    return script_of(L)->running;
}

/* Closes a task without waiting, as at the end of the script. */
void task_kill(struct task *task);

/* Frees the idle ones. */
void task_free_idle(struct script *script);

/* Charges the request whose task runs, if it does, with the CPU time that it
 * has used so far. */
void task_charge(struct script *script, struct request *req);

/* Resumes co from L with nargs arguments on its stack, as lua_resume does; the
 * one door through which coroutines are entered. */
int task_resume(lua_State *co, lua_State *from, int nargs, int *nresults);

/* Closes co, as lua_resetthread does; the one door for that, too. */
int task_close_thread(lua_State *co, lua_State *from);

#endif
