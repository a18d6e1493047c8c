/* wait.c -- see wait.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/wait.h"

#include "script/cancel.h"
#include "script/errors.h"

#include <string.h>

/* What is yielded where something waits, and where it is passed on; nobody
 * else can make these. */
static const char waiting, passing;

/* --- where one cannot wait ------------------------------------------------ */

/* A comparator of table.sort makes the inner coroutine look yieldable, so all
 * that resumed one another are asked.  What is being closed can never wait; nor
 * what a library in C has resumed, because that does not know our markers. */
static struct frame *find_obstacle(lua_State *L, bool *is_foreign)
{
    const lua_State *in = L;

    for (struct frame *frame = script_of(L)->watchdog.frames; frame != NULL;
         frame = frame->outer) {
        *is_foreign = frame->L != in;
        if (*is_foreign || frame->is_closing || !lua_isyieldable(frame->L))
            return frame;
        in = frame->from;
    }
    return NULL;
}

bool task_can_wait(lua_State *L)
{
    bool is_foreign;

    return task_running(L) != NULL && find_obstacle(L, &is_foreign) == NULL;
}

/* Pushes "module.name" for the function on top, if a module has it; as
 * luaL_traceback names functions. */
static bool push_global_name(lua_State *L)
{
    int function = lua_gettop(L);

    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushnil(L);
    while (lua_next(L, function + 1) != 0) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_istable(L, -1)) {
            lua_pushnil(L);
            while (lua_next(L, -2) != 0) {
                if (lua_rawequal(L, -1, function) &&
                    lua_type(L, -2) == LUA_TSTRING) {
                    const char *module = lua_tostring(L, function + 2);

                    if (strcmp(module, "_G") == 0)
                        lua_pushvalue(L, -2);
                    else
                        lua_pushfstring(L, "%s.%s", module,
                                        lua_tostring(L, -2));
                    lua_replace(L, function);
                    lua_settop(L, function);
                    return true;
                }
                lua_pop(L, 1);
            }
        }
        lua_pop(L, 1);
    }
    lua_settop(L, function);
    return false;
}

/* Functions of C that can be left. */
static bool can_be_left(const char *name)
{
    return strcmp(name, "pcall") == 0 || strcmp(name, "xpcall") == 0 ||
           strcmp(name, "dofile") == 0 || strcmp(name, "require") == 0;
}

/* Pushes the name of what cannot be left: the innermost function of C that has
 * called Lua, or a finalizer.  Level 0 is who wants to wait, or who resumed. */
static void push_obstacle(lua_State *L, struct frame *frame, bool is_foreign)
{
    lua_State *in = frame->L;
    lua_Debug ar;

    if (is_foreign) {
        lua_pushliteral(L, "a coroutine that a library in C has resumed");
        return;
    }
    for (int level = 1; lua_getstack(in, level, &ar); level++) {
        lua_getinfo(in, "Snf", &ar);
        if (in != L)
            lua_xmove(in, L, 1);
        if (strcmp(ar.namewhat, "metamethod") == 0 && ar.name != NULL &&
            strstr(ar.name, "gc") != NULL) {
            lua_pushliteral(L, "a finalizer");
            return;
        }
        if (*ar.what == 'C') {
            bool has_name = push_global_name(L);

            if (has_name && !can_be_left(lua_tostring(L, -1)))
                return;
            if (!has_name && ar.name != NULL) {
                lua_pushstring(L, ar.name);
                return;
            }
        }
        lua_pop(L, 1);
    }
    if (frame->is_closing && frame->outer == NULL)
        lua_pushliteral(L, "the closing of a task"); /* by force */
    else
        lua_pushstring(L,
                       frame->is_closing ? "coroutine.close" : "a C function");
}

/* Raises the message on top of the stack with the line of the script. */
static void raise_at_script(lua_State *L)
{
    errors_push_where(L);
    lua_insert(L, -2);
    lua_concat(L, 2);
    lua_error(L);
}

struct task *task_begin_wait(lua_State *L)
{
    struct task *task = task_running(L);
    struct frame *obstacle;
    bool is_foreign;

    if (task == NULL) {
        lua_pushfstring(L, "cannot wait here: %s", script_of(L)->phase);
        raise_at_script(L);
        return NULL;
    }
    obstacle = find_obstacle(L, &is_foreign);
    if (obstacle != NULL) {
        luaL_checkstack(L, 8, NULL);
        push_obstacle(L, obstacle, is_foreign);
        lua_pushfstring(L, "cannot wait here (inside %s)", lua_tostring(L, -1));
        raise_at_script(L);
        return NULL;
    }
    if (task->cancel_pending || task->out_of_patience) {
        if (task->out_of_patience)
            task->refused_waits++;
        if (task->refused_waits <= REFUSED_WAITS_MAX)
            task_raise_cancelled(L, task);
    }
    return task;
}

/* --- waiting -------------------------------------------------------------- */

/* All continuations of waits come through here. */
static int resumed(lua_State *L, int status, lua_KContext ctx)
{
    struct task *task = task_running(L);

    if (task->is_interrupted)
        return task_raise_cancelled(L, task);
    return task->k(L, status, ctx);
}

int task_yield(lua_State *L, void (*undo)(struct task *task), lua_KContext ctx,
               lua_KFunction k)
{
    struct task *task = task_running(L);

    task->undo = undo;
    task->k = k;
    task->is_woken = false;
    lua_pushlightuserdata(L, (void *)(size_t)&waiting);
    return lua_yieldk(L, 1, ctx, resumed);
}

bool task_waits_for(const struct task *task, const struct task *us)
{
    for (; task != NULL; task = task->joined)
        if (task == us)
            return true;
    return false;
}

void task_stop_waiting(struct task *task)
{
    task->is_woken = true;
    if (task->undo != NULL)
        task->undo(task);
    task->undo = NULL;
}

void task_wake(struct task *task)
{
    if (task->state != TASK_WAITING || task->is_woken)
        return;
    task_stop_waiting(task);
    loop_post(task->script->loop, &task->job);
}

void task_wake_waiter(struct request_waiter *waiter)
{
    task_wake(list_entry(waiter, struct task, waiter));
}

static void undo_request(struct task *task)
{
    list_remove(&task->waiter.link);
}

int task_wait_request(lua_State *L, struct request *req, lua_KContext ctx,
                      lua_KFunction k)
{
    struct task *task = task_begin_wait(L);

    list_remove(&task->waiter.link);
    request_wait(req, &task->waiter);
    return task_yield(L, undo_request, ctx, k);
}

static void time_has_passed(struct loop_timer *timer)
{
    task_wake(list_entry(timer, struct task, timer));
}

static void undo_sleep(struct task *task)
{
    loop_timer_stop(&task->timer);
}

int task_sleep(lua_State *L, double seconds, lua_KFunction k)
{
    struct task *task = task_begin_wait(L);

    loop_timer_start(task->script->loop, &task->timer, seconds,
                     time_has_passed);
    return task_yield(L, undo_sleep, 0, k);
}

static void undo_wait_in(struct task *task)
{
    list_remove(&task->wait_link);
    loop_timer_stop(&task->timer);
    task->joined = NULL;
}

int task_wait_in(lua_State *L, struct list *list, double seconds,
                 lua_KContext ctx, lua_KFunction k)
{
    struct task *task = task_begin_wait(L);

    list_append(list, &task->wait_link);
    if (seconds >= 0)
        loop_timer_start(task->script->loop, &task->timer, seconds,
                         time_has_passed);
    return task_yield(L, undo_wait_in, ctx, k);
}

void task_wake_list(struct list *list)
{
    while (!list_is_empty(list))
        task_wake(list_entry(list->next, struct task, wait_link));
}

/* --- through coroutines of the script ------------------------------------- */

bool task_is_waiting(lua_State *co)
{
    const void *top;

    if (lua_status(co) != LUA_YIELD || lua_gettop(co) == 0)
        return false;
    top = lua_touserdata(co, -1);
    return top == &waiting || top == &passing;
}

int task_yield_on(lua_State *L, lua_KFunction k)
{
    lua_pushlightuserdata(L, (void *)(size_t)&passing);
    return lua_yieldk(L, 1, 0, k);
}

lua_State *task_inner(lua_State *co)
{
    if (!task_is_waiting(co) || lua_touserdata(co, -1) != &passing)
        return NULL;
    return lua_tothread(co, 1);
}

struct task *task_waiting_in(struct script *script, lua_State *co)
{
    for (struct list *link = script->tasks.next; link != &script->tasks;
         link = link->next) {
        struct task *task = list_entry(link, struct task, link);

        if (task->state != TASK_WAITING)
            continue;
        for (lua_State *in = task->co; in != NULL; in = task_inner(in))
            if (in == co)
                return task;
    }
    return NULL;
}

int task_close_chain(lua_State *co, lua_State *from)
{
    lua_State *inner = task_inner(co);

    if (inner != NULL)
        task_close_chain(inner, from);
    return task_close_thread(co, from);
}

/* The task counts as woken while Lua of the script closes things: nothing in
 * there wakes it a second time. */
int task_close_waiting(struct task *task, lua_State *co, lua_State *from)
{
    if (task->is_interrupted)
        task->cancel_pending = true; /* where it would have raised is gone */
    task->is_interrupted = false;
    if (!task->is_woken)
        task_stop_waiting(task);
    loop_post(task->script->loop, &task->job);
    return task_close_chain(co, from);
}
