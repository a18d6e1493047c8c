/* task.c -- see task.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/task.h"

#include "base/log.h"
#include "script/compat.h"
#include "script/handler.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    KEEP_IDLE = 256,      /* coroutines that wait for the next request */
    REFUSED_WAITS_MAX = 8 /* after which a task is closed by force */
};
static const double patience = 5; /* s for cleaning up after a cancellation */

/* What a waiting coroutine yields; nobody else can make it. */
static const char marker;

static const char cancelled_class[] = "fcgi.cancelled";

void task_push_marker(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)(size_t)&marker);
}

bool task_is_waiting(lua_State *co)
{
    return lua_status(co) == LUA_YIELD && lua_gettop(co) > 0 &&
           lua_touserdata(co, -1) == &marker;
}

struct task *task_running(lua_State *L)
{
    return script_of(L)->running;
}

static void wake_waiter(struct request_waiter *waiter)
{
    task_wake(list_entry(waiter, struct task, waiter));
}

/* --- cancellation --------------------------------------------------------- */

static int cancelled_tostring(lua_State *L)
{
    const char *reason = task_cancelled_reason(L, 1);

    lua_pushfstring(L, "cancelled: %s", reason != NULL ? reason : "?");
    return 1;
}

void task_push_cancelled(lua_State *L, const char *reason)
{
    const char **value = lua_newuserdatauv(L, sizeof(*value), 0);

    *value = reason;
    if (luaL_newmetatable(L, cancelled_class)) {
        lua_pushcfunction(L, cancelled_tostring);
        lua_setfield(L, -2, "__tostring");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

const char *task_cancelled_reason(lua_State *L, int index)
{
    const char **value = luaL_testudata(L, index, cancelled_class);

    return value == NULL ? NULL : *value;
}

static void raise_cancelled(lua_State *L, struct task *task)
{
    task->cancel_pending = false;
    task_push_cancelled(L, task->cancel_reason);
    lua_error(L);
}

static void patience_ends(struct loop_timer *timer)
{
    struct task *task = list_entry(timer, struct task, deadline);

    task->out_of_patience = true;
    task->cancel_pending = true;
    if (task->state == TASK_WAITING)
        task_wake(task);
}

void task_cancel(struct task *task, const char *reason)
{
    if (task->cancel_reason != NULL || task->state == TASK_ENDED)
        return;
    task->cancel_reason = reason;
    task->cancel_pending = true;
    loop_timer_start(task->script->loop, &task->deadline, patience,
                     patience_ends);
    if (task->state == TASK_WAITING)
        task_wake(task);
}

static void time_is_up(struct loop_timer *timer)
{
    task_cancel(list_entry(timer, struct task, deadline), "timeout");
}

/* --- waiting -------------------------------------------------------------- */

/* A comparator of table.sort makes the inner coroutine look yieldable, so all
 * that resumed one another are asked. */
struct task *task_begin_wait(lua_State *L)
{
    struct script *script = script_of(L);
    struct task *task = script->running;
    bool can_wait =
        lua_isyieldable(L); /* under coroutine.close it is no frame */

    if (task == NULL)
        return (void)luaL_error(L, "cannot wait here: no request is being "
                                   "served"),
               NULL;
    for (struct frame *frame = script->watchdog.frames;
         can_wait && frame != NULL; frame = frame->outer)
        can_wait = lua_isyieldable(frame->L);
    if (!can_wait)
        return (void)luaL_error(L, "cannot wait here: a C function that "
                                   "cannot be left (table.sort, gsub, a "
                                   "metamethod of C) is being called"),
               NULL;
    if (task->cancel_pending || task->out_of_patience) {
        if (task->out_of_patience)
            task->refused_waits++;
        if (task->refused_waits <= REFUSED_WAITS_MAX)
            raise_cancelled(L, task);
    }
    return task;
}

/* All continuations of waits come through here. */
static int resumed(lua_State *L, int status, lua_KContext ctx)
{
    struct task *task = script_of(L)->running;

    if (task->cancel_pending)
        raise_cancelled(L, task);
    return task->k(L, status, ctx);
}

int task_yield(lua_State *L, void (*undo)(struct task *task), lua_KContext ctx,
               lua_KFunction k)
{
    struct task *task = script_of(L)->running;

    task->undo = undo;
    task->k = k;
    task_push_marker(L);
    return lua_yieldk(L, 1, ctx, resumed);
}

void task_wake(struct task *task)
{
    if (task->state != TASK_WAITING)
        return;
    if (task->undo != NULL)
        task->undo(task);
    task->undo = NULL;
    loop_post(task->script->loop, &task->job);
}

static void undo_request(struct task *task)
{
    list_remove(&task->waiter.link);
}

static void undo_sleep(struct task *task)
{
    loop_timer_stop(&task->timer);
}

static void slept(struct loop_timer *timer)
{
    task_wake(list_entry(timer, struct task, timer));
}

int task_sleep(lua_State *L, double seconds, lua_KFunction k)
{
    struct task *task = task_begin_wait(L);

    loop_timer_start(task->script->loop, &task->timer, seconds, slept);
    return task_yield(L, undo_sleep, 0, k);
}

int task_wait_request(lua_State *L, struct request *req, lua_KContext ctx,
                      lua_KFunction k)
{
    struct task *task = task_begin_wait(L);

    list_remove(&task->waiter.link);
    request_wait(req, &task->waiter);
    return task_yield(L, undo_request, ctx, k);
}

/* --- running -------------------------------------------------------------- */

int task_resume(lua_State *co, lua_State *from, int nargs, int *nresults)
{
    struct script *script = script_of(from);
    struct frame frame = { co, script->watchdog.frames };
    int status;

    atomic_signal_fence(memory_order_release); /* the watchdog may look now */
    script->watchdog.frames = &frame;
    status = lua_resume(co, from, nargs, nresults);
    script->watchdog.frames = frame.outer;
    return status;
}

int task_close_thread(lua_State *co, lua_State *from)
{
    struct script *script = script_of(from);
    struct frame frame = { co, script->watchdog.frames };
    int status;

    atomic_signal_fence(memory_order_release);
    script->watchdog.frames = &frame; /* Lua of the script may run */
    status = compat_closethread(co, from);
    script->watchdog.frames = frame.outer;
    return status;
}

static int make_coroutine(lua_State *L)
{
    struct task *task = lua_touserdata(L, 1);
    lua_State *co = lua_newthread(L);

    task->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    task->co = co; /* only now is it anchored */
    return 0;
}

/* Lua raises, and ends the process, outside of a protected call. */
static bool have_coroutine(struct task *task)
{
    lua_State *L = task->script->L;

    if (task->co != NULL)
        return true;
    lua_pushcfunction(L, make_coroutine);
    lua_pushlightuserdata(L, task);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK)
        return true;
    lua_pop(L, 1);
    return false;
}

static void drop_coroutine(struct task *task)
{
    if (task->co == NULL)
        return;
    luaL_unref(task->script->L, LUA_REGISTRYINDEX, task->co_ref);
    task->co = NULL;
}

static void free_abort_hooks(struct task *task)
{
    while (task->abort_hooks != NULL) {
        struct abort_hook *hook = task->abort_hooks;

        task->abort_hooks = hook->next;
        luaL_unref(task->script->L, LUA_REGISTRYINDEX, hook->ref);
        free(hook);
    }
}

/* Nothing of the task is registered anywhere after this. */
static void end(struct task *task)
{
    struct script *script = task->script;
    struct request *req = task->req;
    bool overflowed;

    task->state = TASK_ENDED;
    loop_unpost(&task->job);
    list_remove(&task->waiter.link);
    loop_timer_stop(&task->timer);
    loop_timer_stop(&task->deadline);
    if (task->function != LUA_NOREF)
        luaL_unref(script->L, LUA_REGISTRYINDEX, task->function);
    free_abort_hooks(task);
    if (req != NULL)
        handler_ended(task, req);
    task->req = NULL;
    list_remove(&task->link);
    script->task_count--;
    if (task->co != NULL && !task->co_is_known && !task->has_overflowed &&
        lua_gethook(task->co) == NULL && script->idle_count < KEEP_IDLE) {
        list_append(&script->idle, &task->link);
        script->idle_count++;
        return;
    }
    overflowed = task->has_overflowed;
    drop_coroutine(task);
    free(task);
    if (overflowed) {
        lua_gc(script->L, LUA_GCCOLLECT, 0);
        malloc_trim(0);
    }
}

/* The coroutine cannot go on: closes what it has open.  Lua of the script may
 * run here, but may not wait. */
static void close_coroutine(struct task *task)
{
    struct script *script = task->script;

    if (task->co == NULL)
        return;
    watchdog_enter(&script->watchdog);
    task_close_thread(task->co, script->L);
    watchdog_leave(&script->watchdog, task->co);
    task->co_is_known = true; /* its stack may have grown */
}

/* The error on top of a dead coroutine; NULL for a cancellation, which is no
 * fault of the script. */
static const char *error_text(lua_State *co)
{
    if (task_cancelled_reason(co, -1) != NULL)
        return NULL;
    return lua_type(co, -1) == LUA_TSTRING ? lua_tostring(co, -1)
                                           : "an error without a message";
}

/* A handler whose client went before it could begin has nobody to work for. */
static bool is_in_vain(const struct task *task)
{
    return task->req != NULL && task->req->handler == task &&
           task->req->is_aborted;
}

static void resume(struct task *task)
{
    struct script *script = task->script;
    int nargs = 0, nresults = 0, status;

    if (task->state == TASK_NEW && is_in_vain(task)) {
        end(task);
        return;
    }
    if (task->state == TASK_NEW) {
        if (!have_coroutine(task)) {
            handler_failed(task, "not enough memory");
            end(task);
            return;
        }
        lua_pushcfunction(task->co, task->main);
        lua_pushlightuserdata(task->co, task);
        nargs = 1;
    } else {
        lua_pop(task->co, 1); /* the marker */
    }
    task->state = TASK_RUNNING;
    script->running = task;
    watchdog_enter(&script->watchdog);
    status = task_resume(task->co, script->L, nargs, &nresults);
    watchdog_leave(&script->watchdog, task->co);
    script->running = NULL;

    if (status == LUA_YIELD && task_is_waiting(task->co) &&
        task->refused_waits <= REFUSED_WAITS_MAX) {
        task->state = TASK_WAITING;
        return;
    }
    if (status == LUA_YIELD) {
        handler_failed(task, task_is_waiting(task->co)
                                 ? "it does not end after its cancellation"
                                 : "coroutine.yield outside of a coroutine "
                                   "of the script");
        close_coroutine(task);
    } else if (status != LUA_OK) {
        handler_failed(task, error_text(task->co));
        close_coroutine(task);
    } else {
        lua_settop(task->co, 0);
    }
    end(task);
}

static void run(struct loop_job *job)
{
    resume(list_entry(job, struct task, job));
}

struct task *task_new(struct script *script, lua_CFunction main,
                      struct request *req)
{
    struct task *task;
    lua_State *co = NULL;
    int co_ref = LUA_NOREF;

    if (!list_is_empty(&script->idle)) {
        task = list_entry(script->idle.prev, struct task, link);
        list_remove(&task->link); /* the last one: its memory is warm */
        script->idle_count--;
        co = task->co;
        co_ref = task->co_ref;
    } else {
        task = malloc(sizeof(*task));
        if (task == NULL)
            return NULL;
    }
    task->script = script;
    task->state = TASK_NEW;
    task->co = co;
    task->co_ref = co_ref;
    task->co_is_known = task->has_overflowed = false;
    task->main = main;
    task->req = req != NULL ? request_ref(req) : NULL;
    task->function = LUA_NOREF;
    task->abort_hooks = NULL;
    task->handle = NULL;
    task->undo = NULL;
    task->timer.loop = task->deadline.loop = NULL; /* they do not run */
    task->cancel_reason = NULL;
    task->cancel_pending = task->out_of_patience = false;
    task->refused_waits = 0;
    loop_job_init(&task->job, run);
    list_init(&task->waiter.link);
    task->waiter.wake = wake_waiter;
    list_append(&script->tasks, &task->link);
    script->task_count++;
    if (script->limits.timeout > 0)
        loop_timer_start(script->loop, &task->deadline, script->limits.timeout,
                         time_is_up);
    loop_post(script->loop, &task->job);
    return task;
}

void task_kill(struct task *task)
{
    if (task->state == TASK_WAITING && task->undo != NULL)
        task->undo(task);
    task->undo = NULL;
    if (task->state == TASK_WAITING)
        close_coroutine(task);
    handler_failed(task, NULL);
    end(task);
}

void task_free_idle(struct script *script)
{
    while (!list_is_empty(&script->idle)) {
        struct task *task =
            list_entry(list_take(&script->idle), struct task, link);

        drop_coroutine(task);
        free(task);
    }
    script->idle_count = 0;
}
