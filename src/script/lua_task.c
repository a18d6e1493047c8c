/* lua_task.c -- see lua_task.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_task.h"

#include "script/cancel.h"
#include "script/errors.h"
#include "script/failures.h"
#include "script/lua_process.h"
#include "script/report.h"
#include "script/wait.h"

#include <math.h>

enum { TASK_MAGIC = 0x7461736b, WAITER_MAGIC = 0x77616974 };

/* User values. */
enum { VALUE_OUTCOME = 1, VALUE_REASON };

/* The stack of a spawned task's coroutine; above: its function and arguments,
 * then its results. */
enum { AT_TASK = 1, AT_OBJECT, AT_MESSAGES };

/* --- spawned tasks -------------------------------------------------------- */

/* What the function returned lies above the message handler; or its error. */
static int spawned_done(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_task *self = lua_touserdata(L, AT_OBJECT);

    (void)ctx;
    if (status == LUA_OK || status == LUA_YIELD) {
        self->count = lua_gettop(L) - AT_MESSAGES;
        luaL_checkstack(L, 1, "too many results"); /* they fill it */
        lua_createtable(L, self->count, 0);
        lua_replace(L, AT_MESSAGES);
        for (int i = self->count; i > 0; i--)
            lua_rawseti(L, AT_MESSAGES, i);
        lua_setiuservalue(L, AT_OBJECT, VALUE_OUTCOME);
        self->end = TASK_END_RETURNED;
        return 0;
    }
    self->reason = task_cancelled_reason(L, -1);
    if (self->reason != NULL) {
        lua_setiuservalue(L, AT_OBJECT, VALUE_OUTCOME); /* anchors reason */
        self->end = TASK_END_CANCELLED;
        return 0;
    }
    self->has_details = errors_take(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, AT_OBJECT, VALUE_OUTCOME);
    self->end = TASK_END_RAISED;
    if (self->has_details) {
        self->failure = failure_new(L);
    } else {
        errors_log(L, task_running(L)->req);
        lua_pop(L, 1);
    }
    return 0;
}

static int spawned_main(lua_State *L)
{
    int nargs = lua_gettop(L) - AT_OBJECT - 1;

    lua_pushcfunction(L, errors_collect);
    lua_insert(L, AT_MESSAGES);
    return spawned_done(
        L, lua_pcallk(L, nargs, LUA_MULTRET, AT_MESSAGES, 0, spawned_done), 0);
}

static void spawned_failed(struct task *task, const char *what)
{
    struct lua_task *self = task->object;

    report_fault(task, what);
    if (self == NULL)
        return;
    self->end = what != NULL ? TASK_END_FAILED : TASK_END_CANCELLED;
    self->reason = what != NULL                  ? what
                   : task->cancel_reason != NULL ? task->cancel_reason
                                                 : "stop";
}

static void spawned_ended(struct task *task)
{
    if (task->object != NULL)
        task->object->task = NULL;
    list_remove(&task->sibling);
    lua_process_end_all(&task->processes);
    if (task->is_orphan && --task->req->orphans == 0)
        task->script->service->serving--;
}

static const struct task_kind spawned_kind = {
    .main = spawned_main,
    .failed = spawned_failed,
    .ended = spawned_ended,
};

/* A request with tasks that take long to clean up counts until they have ended,
 * else requests that come and go would heap them up. */
static void make_orphan(struct task *task)
{
    task->owner = NULL;
    task->is_orphan = true;
    if (task->req->orphans++ == 0)
        task->script->service->serving++;
}

void lua_task_end_children(struct task *root)
{
    struct list children;

    failures_end(root);
    list_init(&children);
    list_move_all(&root->children, &children);
    while (!list_is_empty(&children)) {
        struct task *task =
            list_entry(list_take(&children), struct task, sibling);

        make_orphan(task);
        task_cancel(task, "finished");
    }
}

/* --- the object ----------------------------------------------------------- */

/* Upvalue 1 is the class; debug.setmetatable can lend it to anything. */
static void *check(lua_State *L, size_t size, unsigned magic, const char *name)
{
    const unsigned *self = lua_touserdata(L, 1);

    if (self != NULL && lua_getmetatable(L, 1)) {
        bool is_ours = lua_rawequal(L, -1, lua_upvalueindex(1)) &&
                       lua_rawlen(L, 1) == size && *self == magic;

        lua_pop(L, 1);
        if (is_ours)
            return (void *)(size_t)self;
    }
    return (void)errors_bad_self(L, name, name), NULL;
}

static struct lua_task *check_task(lua_State *L)
{
    return check(L, sizeof(struct lua_task), TASK_MAGIC, "task");
}

/* Seconds to wait at most; negative when index has none. */
static double check_timeout(lua_State *L, int index)
{
    double seconds;

    if (lua_isnoneornil(L, index))
        return -1;
    seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds >= 0, index, "not a number of seconds");
    return isfinite(seconds) ? seconds : -1;
}

static void check_callable(lua_State *L, int index)
{
    if (lua_isfunction(L, index))
        return;
    if (luaL_getmetafield(L, index, "__call") == LUA_TNIL)
        luaL_typeerror(L, index, "function");
    lua_pop(L, 1);
}

static int push_timeout(lua_State *L)
{
    luaL_pushfail(L);
    lua_pushliteral(L, "timeout");
    return 2;
}

/* Spawns on behalf of a task; NULL: of the worker. */
static int spawn(lua_State *L, struct task *by)
{
    struct script *script = script_of(L);
    struct task *root = NULL;
    struct lua_task *self;
    struct task *task;
    int nargs;

    check_callable(L, 1);
    if (script->is_closing)
        return luaL_error(L, "cannot spawn here: the script is ending");
    nargs = lua_gettop(L);
    if (by != NULL)
        root = by->kind->is_root ? by : by->owner;
    self = lua_newuserdatauv(L, sizeof(*self), 2);
    *self = (struct lua_task){ .magic = TASK_MAGIC };
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_insert(L, 1); /* what is left here */
    lua_insert(L, 2); /* what goes into the coroutine */

    task = task_spawn(L, &spawned_kind, by == NULL ? NULL : by->req, nargs + 1);
    task->object = self;
    self->task = task;
    task->owner = root;
    if (root != NULL)
        list_append(&root->children, &task->sibling);
    task->is_of_worker = by == NULL || by->is_of_worker;
    if (task->is_of_worker)
        script->worker_task_count++;
    if (by != NULL && by->is_orphan) { /* helps to clean up */
        make_orphan(task);
        task_set_deadline(task, TASK_PATIENCE);
    }
    return 1;
}

/* fcgi.spawn(f, ...) -> task; upvalue 1: the class */
static int l_spawn(lua_State *L)
{
    return spawn(L, task_running(L));
}

/* spawn_of_worker(f, ...) -> task: as if the script, while it was loaded, had
 * spawned it */
static int l_spawn_of_worker(lua_State *L)
{
    return spawn(L, NULL);
}

/* Is the error of the object at index 1 still waiting to be joined? */
static bool has_failure(lua_State *L, const struct lua_task *self)
{
    if (self->failure == NULL)
        return false;
    lua_getiuservalue(L, 1, VALUE_OUTCOME);
    return failure_is_there(L, self->failure);
}

/* Pushes how the task ended, for join. */
static int push_outcome(lua_State *L, struct lua_task *self)
{
    if (has_failure(L, self))
        failure_forget(L, self->failure); /* now somebody knows */
    self->failure = NULL;
    switch (self->end) {
    case TASK_END_RETURNED:
        luaL_checkstack(L, self->count + 1, "too many results");
        lua_getiuservalue(L, 1, VALUE_OUTCOME);
        for (int i = 1; i <= self->count; i++)
            lua_rawgeti(L, -i, i);
        return self->count;
    case TASK_END_RAISED:
        luaL_pushfail(L);
        lua_getiuservalue(L, 1, VALUE_OUTCOME);
        if (self->has_details) {
            lua_rawgeti(L, -1, 1);
            lua_replace(L, -2);
        }
        return 2;
    case TASK_END_NONE:
    case TASK_END_CANCELLED:
    case TASK_END_FAILED:
        break;
    }
    luaL_pushfail(L);
    lua_pushstring(L, self->reason);
    return 2;
}

static int join_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_task *self = lua_touserdata(L, 1);

    (void)status;
    (void)ctx;
    return self->task != NULL ? push_timeout(L) : push_outcome(L, self);
}

static int wait_for_end(lua_State *L, struct lua_task *self, double seconds,
                        lua_KFunction k)
{
    struct task *running = task_running(L);

    if (running != NULL && self->task == running)
        return luaL_error(L, "a task cannot join itself");
    if (running != NULL && seconds < 0 && task_waits_for(self->task, running))
        return luaL_error(L, "tasks that wait for one another never end");
    lua_settop(L, 1);
    task_begin_wait(L);
    if (seconds < 0)
        running->joined = self->task;
    return task_wait_in(L, &self->task->joiners, seconds, 0, k);
}

/* task:join([seconds]) -> its results | nil, err | nil, reason |
 * nil, "timeout" */
static int l_join(lua_State *L)
{
    struct lua_task *self = check_task(L);
    double seconds = check_timeout(L, 2);

    if (self->task == NULL || seconds == 0)
        return join_k(L, LUA_OK, 0);
    return wait_for_end(L, self, seconds, join_k);
}

/* task:cancel([reason]) -> had it not ended? */
static int l_cancel(lua_State *L)
{
    struct lua_task *self = check_task(L);
    const char *reason = luaL_optstring(L, 2, "cancelled");

    if (self->task != NULL && self->task->cancel_reason == NULL) {
        lua_settop(L, 2);
        lua_setiuservalue(L, 1, VALUE_REASON); /* anchors it */
        task_cancel(self->task, reason);
    }
    lua_pushboolean(L, self->task != NULL);
    return 1;
}

/* task:detach() -> task: it does not end with its request */
static int l_detach(lua_State *L)
{
    struct lua_task *self = check_task(L);
    struct task *task = self->task;

    lua_settop(L, 1);
    if (task == NULL || task->owner == NULL)
        return 1;
    list_remove(&task->sibling);
    task->owner = NULL;
    request_unref(task->req);
    task->req = NULL;
    return 1;
}

static int closed_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

/* At the end of the block of a to-be-closed variable: cancels it for the same
 * reason if the block is left by a cancellation, and sees it end, unless that
 * is where nothing can wait. */
static int l_close(lua_State *L)
{
    struct lua_task *self = check_task(L);
    const char *reason = task_cancelled_reason(L, 2);

    if (self->task == NULL)
        return 0;
    if (self->task->cancel_reason == NULL) {
        lua_settop(L, 2);
        lua_setiuservalue(L, 1, VALUE_REASON); /* anchors the reason */
        task_cancel(self->task, reason != NULL ? reason : "closed");
    }
    if (self->task == task_running(L) || !task_can_wait(L))
        return 0;
    return wait_for_end(L, self, -1, closed_k);
}

/* The script can call it by hand: debug.getmetatable exists. */
static int l_gc(lua_State *L)
{
    struct lua_task *self = check_task(L);

    if (self->task != NULL)
        self->task->object = NULL;
    self->task = NULL;
    if (has_failure(L, self))
        failure_log(L, self->failure);
    self->failure = NULL;
    return 0;
}

static int l_tostring(lua_State *L)
{
    struct lua_task *self = check_task(L);

    lua_pushfstring(L, "task (%s): %p",
                    self->task == NULL                  ? "ended"
                    : self->task->cancel_reason != NULL ? "cancelled"
                                                        : "running",
                    (void *)self);
    return 1;
}

/* --- for lua/fcgi ----------------------------------------------------------
 */

static int ended_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_task *self = lua_touserdata(L, 1);

    (void)status;
    (void)ctx;
    lua_pushboolean(L, self->task == NULL);
    return 1;
}

/* has_ended(task[, seconds]): waits for it */
static int l_has_ended(lua_State *L)
{
    struct lua_task *self = check_task(L);
    double seconds = check_timeout(L, 2);

    if (self->task == NULL || seconds == 0)
        return ended_k(L, LUA_OK, 0);
    return wait_for_end(L, self, seconds, ended_k);
}

/* outcome(task): what join gives, but its error is raised with its traceback */
static int l_outcome(lua_State *L)
{
    struct lua_task *self = check_task(L);

    lua_settop(L, 1);
    if (self->end != TASK_END_RAISED)
        return push_outcome(L, self);
    push_outcome(L, self);
    if (self->has_details) {
        lua_getiuservalue(L, 1, VALUE_OUTCOME);
        lua_rawgeti(L, -1, 3); /* the traceback */
        lua_replace(L, -2);
        errors_keep_trace(L);
    }
    return lua_error(L);
}

static int guard_done(lua_State *L, int status, lua_KContext ctx)
{
    struct task *task = task_running(L);

    (void)ctx;
    if (status == LUA_OK || status == LUA_YIELD)
        return 0;
    if (task_cancelled_reason(L, -1) != NULL)
        return lua_error(L);
    errors_take(L);
    errors_log(L, task->req);
    return 0;
}

int lua_task_guard(lua_State *L)
{
    lua_pushcfunction(L, errors_collect);
    lua_insert(L, 1);
    return guard_done(L, lua_pcallk(L, lua_gettop(L) - 2, 0, 1, 0, guard_done),
                      0);
}

/* Where one task waits for another, for what is written in Lua. */
struct lua_waiter {
    unsigned magic;
    struct list waiting;
};

static struct lua_waiter *check_waiter(lua_State *L)
{
    return check(L, sizeof(struct lua_waiter), WAITER_MAGIC, "waiter");
}

/* waiter() -> waiter; upvalue 1: the class */
static int l_waiter(lua_State *L)
{
    struct lua_waiter *self = lua_newuserdatauv(L, sizeof(*self), 0);

    self->magic = WAITER_MAGIC;
    list_init(&self->waiting);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    return 1;
}

static int waited_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

/* waiter:wait([seconds]): until woken; not at all if seconds is 0 */
static int l_wait(lua_State *L)
{
    struct lua_waiter *self = check_waiter(L);
    double seconds = check_timeout(L, 2);

    lua_settop(L, 1); /* keeps the list alive */
    return task_wait_in(L, &self->waiting, seconds, 0, waited_k);
}

/* waiter:wake() -> did somebody wait? */
static int l_wake(lua_State *L)
{
    struct lua_waiter *self = check_waiter(L);

    lua_pushboolean(L, !list_is_empty(&self->waiting));
    task_wake_list(&self->waiting);
    return 1;
}

/* --- the classes -----------------------------------------------------------
 */

/* Makes a class, on top of the stack, of methods and metamethods. */
static void make_class(lua_State *L, const char *name, const luaL_Reg *methods,
                       const luaL_Reg *metamethods)
{
    lua_newtable(L);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    luaL_setfuncs(L, metamethods, 1);
    lua_newtable(L);
    lua_pushvalue(L, -2);
    luaL_setfuncs(L, methods, 1);
    lua_setfield(L, -2, "__index");
}

void lua_task_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "join", l_join },
        { "cancel", l_cancel },
        { "detach", l_detach },
        { NULL, NULL },
    };
    static const luaL_Reg metamethods[] = {
        { "__close", l_close },
        { "__gc", l_gc },
        { "__tostring", l_tostring },
        { NULL, NULL },
    };
    static const luaL_Reg private[] = {
        { "has_ended", l_has_ended },
        { "outcome", l_outcome },
        { "spawn_of_worker", l_spawn_of_worker },
        { NULL, NULL },
    };
    static const luaL_Reg waiter_methods[] = {
        { "wait", l_wait },
        { "wake", l_wake },
        { NULL, NULL },
    };
    static const luaL_Reg no_metamethods[] = { { NULL, NULL } };
    int module = lua_gettop(L);

    make_class(L, "task", methods, metamethods);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, l_spawn, 1);
    lua_setfield(L, module, "spawn");
    lua_pushvalue(L, module - 1);
    lua_insert(L, -2);
    luaL_setfuncs(L, private, 1);
    lua_pushcfunction(L, lua_task_guard);
    lua_setfield(L, -2, "guard");
    make_class(L, "waiter", waiter_methods, no_metamethods);
    lua_pushcclosure(L, l_waiter, 1);
    lua_setfield(L, -2, "waiter");
    lua_settop(L, module);
}
