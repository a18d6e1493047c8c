/* task.c -- see task.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/task.h"

#include "script/cancel.h"
#include "script/compat.h"
#include "script/errors.h"
#include "script/require.h"
#include "script/slow.h"
#include "script/wait.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { KEEP_IDLE = 256 }; /* coroutines that wait for the next task */

int task_resume(lua_State *co, lua_State *from, int nargs, int *nresults)
{
    struct script *script = script_of(from);
    struct frame frame = { co, script->watchdog.frames, false, from };
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
    struct frame frame = { co, script->watchdog.frames, true, from };
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
static bool have_coroutine(lua_State *L, struct task *task)
{
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

/* Nothing of the task is registered anywhere after this. */
static void end(struct task *task)
{
    struct script *script = task->script;
    struct request *req = task->req;
    bool overflowed;

    task->state = TASK_ENDED;
    loop_unpost(&task->job);
    loop_timer_stop(&task->deadline);
    if (task->has_kept_error)
        errors_forget(script->L, task);
    if (!list_is_empty(&script->loading))
        require_ended(task);
    task->kind->ended(task);
    if (!list_is_empty(&task->joiners))
        task_wake_list(&task->joiners);
    task->req = NULL;
    if (req != NULL)
        request_unref(req);
    list_remove(&task->link);
    script->task_count--;
    if (task->is_of_worker)
        script->worker_task_count--;
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

/* Pushes on L what main has at index 2, which is what we point to: the handle
 * of a request, or the object of a task.  Main is at the bottom of the stack,
 * and the bottom is found as luaL_traceback finds it. */
static void anchor(lua_State *L, lua_State *co)
{
    lua_Debug ar;
    int known = 0, beyond = 1;

    if (!lua_getstack(co, 0, &ar) || !lua_checkstack(co, 1))
        return;
    while (lua_getstack(co, beyond, &ar)) {
        known = beyond;
        beyond *= 2;
    }
    while (beyond - known > 1) {
        int middle = known + (beyond - known) / 2;

        if (lua_getstack(co, middle, &ar))
            known = middle;
        else
            beyond = middle;
    }
    lua_getstack(co, known, &ar);
    if (lua_getlocal(co, &ar, 2) != NULL)
        lua_xmove(co, L, 1);
}

/* The coroutine cannot go on: closes what it has open, then ends the task.  Lua
 * of the script may run here, as the task, but may not wait.  While a stack is
 * given back Lua may collect what was on it, and the task has not ended yet. */
static void close_by_force(struct task *task)
{
    struct script *script = task->script;
    int top = lua_gettop(script->L);

    anchor(script->L, task->co);
    script->running = task;
    watchdog_enter(&script->watchdog);
    task_close_chain(task->co, script->L);
    if (watchdog_leave(&script->watchdog, task->co))
        slow_blocked(task);
    script->running = NULL;
    task->co_is_known = true; /* its stack may have grown */
    end(task);
    lua_settop(script->L, top);
}

/* What a task's main raised itself: it calls the script under protection. */
static const char *fault(lua_State *co, int status)
{
    if (task_cancelled_reason(co, -1) != NULL)
        return NULL;
    return status == LUA_ERRMEM ? "not enough memory"
                                : "an error in the error handling";
}

/* A handler whose client went before it could begin has nobody to work for. */
static bool is_in_vain(const struct task *task)
{
    return task->req != NULL && task->req->handler == task &&
           task->req->is_aborted;
}

/* Puts what a task begins with on the stack of its coroutine, unless
 * task_spawn has. */
static bool prepare(struct task *task)
{
    if (!have_coroutine(task->script->L, task))
        return false;
    if (lua_gettop(task->co) == 0) {
        lua_pushcfunction(task->co, task->kind->main);
        lua_pushlightuserdata(task->co, task);
    }
    return true;
}

/* It may have begun a wait that it is not granted. */
static void fail(struct task *task, const char *what)
{
    task_stop_waiting(task);
    task->kind->failed(task, what);
    close_by_force(task);
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

/* Charges the request for the CPU time since the last call; NULL: nobody. */
static void charge(struct script *script, struct request *req)
{
    struct rusage usage;
    double user, system;

    getrusage(RUSAGE_SELF, &usage);
    user = seconds_of(usage.ru_utime);
    system = seconds_of(usage.ru_stime);
    if (req != NULL) {
        req->cpu_user += user - script->charged_user;
        req->cpu_system += system - script->charged_system;
    }
    script->charged_user = user;
    script->charged_system = system;
}

void task_charge(struct script *script, struct request *req)
{
    if (script->running != NULL && script->running->req == req)
        charge(script, req);
}

/* As task_resume, and its request is charged for it. */
static int resume_charged(struct task *task, int nargs, int *nresults)
{
    int status;

    charge(task->script, NULL);
    status = task_resume(task->co, task->script->L, nargs, nresults);
    charge(task->script, task->req);
    return status;
}

static void go_on(struct task *task, int nargs)
{
    struct script *script = task->script;
    int nresults = 0, status;

    task->state = TASK_RUNNING;
    script->running = task;
    watchdog_enter(&script->watchdog);
    if (script->service->measures_cpu)
        status = resume_charged(task, nargs, &nresults);
    else
        status = task_resume(task->co, script->L, nargs, &nresults);
    script->running = NULL;
    if (watchdog_leave(&script->watchdog, task->co))
        slow_blocked(task);

    if (status == LUA_YIELD && task_is_waiting(task->co) &&
        task->refused_waits <= REFUSED_WAITS_MAX) {
        task->state = TASK_WAITING;
        return;
    }
    if (status == LUA_OK) {
        lua_settop(task->co, 0);
        end(task);
    } else if (status != LUA_YIELD) {
        fail(task, fault(task->co, status));
    } else {
        fail(task, task_is_waiting(task->co)
                       ? "it does not end after its cancellation"
                       : "a yield outside of a coroutine of the script");
    }
}

static void begin(struct task *task)
{
    bool is_cancelled = task->cancel_pending;

    if (!is_in_vain(task) && !is_cancelled && prepare(task)) {
        go_on(task, lua_gettop(task->co) - 1);
        return;
    }
    if (!is_in_vain(task))
        task->kind->failed(task, is_cancelled ? NULL : "not enough memory");
    if (task->co != NULL)
        lua_settop(task->co, 0);
    end(task);
}

static void resume(struct task *task)
{
    if (task->state == TASK_NEW) {
        begin(task);
        return;
    }
    lua_pop(task->co, 1); /* the marker */
    go_on(task, 0);
}

static void run(struct loop_job *job)
{
    resume(list_entry(job, struct task, job));
}

/* One that has ended, with its coroutine; or new memory; or NULL. */
static struct task *take_idle(struct script *script)
{
    struct task *task;

    if (list_is_empty(&script->idle)) {
        task = malloc(sizeof(*task));
        if (task != NULL)
            *task = (struct task){ .co_ref = LUA_NOREF };
        return task;
    }
    task = list_entry(script->idle.prev, struct task, link);
    list_remove(&task->link); /* the last one: its memory is warm */
    script->idle_count--;
    return task;
}

struct task *task_new(struct script *script, const struct task_kind *kind,
                      struct request *req)
{
    struct task *task = take_idle(script);

    if (task == NULL)
        return NULL;
    task->script = script;
    task->state = TASK_NEW;
    task->kind = kind;
    task->co_is_known = task->has_overflowed = task->has_kept_error = false;
    task->is_slow = false;
    task->req = req != NULL ? request_ref(req) : NULL;
    task->owner = task->joined = NULL;
    list_init(&task->sibling);
    list_init(&task->children);
    list_init(&task->failures);
    list_init(&task->processes);
    list_init(&task->joiners);
    task->is_of_worker = task->is_orphan = false;
    task->object = NULL;
    task->function = LUA_NOREF;
    task->abort_hooks = NULL;
    task->handle = NULL;
    task->hook_run = NULL;
    task->undo = NULL;
    task->timer.loop = task->deadline.loop = NULL; /* they do not run */
    task->is_woken = task->is_interrupted = false;
    task->cancel_reason = NULL;
    task->cancel_pending = task->out_of_patience = false;
    task->refused_waits = 0;
    loop_job_init(&task->job, run);
    list_init(&task->waiter.link);
    list_init(&task->wait_link);
    task->waiter.wake = task_wake_waiter;
    list_append(&script->tasks, &task->link);
    script->task_count++;
    if (script->loop != NULL)
        loop_post(script->loop, &task->job);
    return task;
}

struct task *task_spawn(lua_State *L, const struct task_kind *kind,
                        struct request *req, int nargs)
{
    struct task *task = task_new(script_of(L), kind, req);

    if (task != NULL &&
        (!have_coroutine(L, task) || !lua_checkstack(task->co, nargs + 2))) {
        end(task);
        task = NULL;
    }
    if (task == NULL)
        return (void)luaL_error(L, "not enough memory"), NULL;
    lua_pushcfunction(task->co, kind->main);
    lua_pushlightuserdata(task->co, task);
    lua_xmove(L, task->co, nargs);
    return task;
}

void task_start_all(struct script *script)
{
    for (struct list *link = script->tasks.next; link != &script->tasks;
         link = link->next)
        loop_post(script->loop, &list_entry(link, struct task, link)->job);
}

void task_kill(struct task *task)
{
    bool was_waiting = task->state == TASK_WAITING;

    task_stop_waiting(task); /* whatever is closed below */
    task->kind->failed(task, NULL);
    if (was_waiting) {
        close_by_force(task);
        return;
    }
    if (task->co != NULL)
        lua_settop(task->co, 0);
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
