/* coroutine.c -- the coroutine library of scripts: Lua's own meanings, and a
 * wait of the gateway passes through.
 *
 * A coroutine of the script in which something waits yields a private marker.
 * resume and wrap do not hand that to their caller: they yield it on, and
 * resume the inner coroutine when the task goes on.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/coroutine.h"

#include "script/errors.h"
#include "script/require.h"
#include "script/wait.h"

enum { CLOSINGS_MAX = 100 }; /* of coroutines, one in the other */

static lua_State *check_coroutine(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);

    luaL_argexpected(L, co != NULL, 1, "coroutine");
    return co;
}

/* Is it being resumed: running, or waiting for one that it resumed?  The main
 * thread, which a script can get hold of while it is loaded, always is. */
static bool is_resumed(lua_State *L, lua_State *co)
{
    for (struct frame *frame = script_of(L)->watchdog.frames; frame != NULL;
         frame = frame->outer)
        if (frame->L == co)
            return true;
    return co == L || co == script_of(L)->L;
}

/* Does a task wait in it, or is it being resumed? */
static bool is_in_use(lua_State *L, lua_State *co)
{
    return is_resumed(L, co) || task_is_waiting(co);
}

static bool is_dead(lua_State *co)
{
    lua_Debug ar;

    switch (lua_status(co)) {
    case LUA_YIELD:
        return false;
    case LUA_OK:
        return lua_getstack(co, 0, &ar) == 0 && lua_gettop(co) == 0;
    default:
        return true;
    }
}

/* What a coroutine gave: its values, an error, or the news that it waits. */
enum outcome { OUTCOME_VALUES, OUTCOME_ERROR, OUTCOME_WAITS };

/* Resumes co with what is above index 1; leaves the values or the error. */
static enum outcome enter(lua_State *L, lua_State *co, int nargs, int *nresults)
{
    int status = task_resume(co, L, nargs, nresults);

    if (status == LUA_YIELD && task_is_waiting(co))
        return OUTCOME_WAITS;
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        if (!list_is_empty(&script_of(L)->loading))
            require_died(script_of(L), co); /* perhaps nobody closes it */
        if (status != LUA_ERRMEM)
            errors_keep_levels(L, co);
        return OUTCOME_ERROR;
    }
    if (!lua_checkstack(L, *nresults + 1)) {
        lua_pop(co, *nresults);
        lua_pushliteral(L, "too many results to resume");
        return OUTCOME_ERROR;
    }
    lua_xmove(co, L, *nresults);
    return OUTCOME_VALUES;
}

static enum outcome refuse(lua_State *L, const char *what)
{
    lua_pushfstring(L, "cannot resume %s coroutine", what);
    return OUTCOME_ERROR;
}

static enum outcome start(lua_State *L, lua_State *co, int *nresults)
{
    int nargs = lua_gettop(L) - 1;

    if (is_in_use(L, co))
        return refuse(L, "non-suspended");
    if (is_dead(co))
        return refuse(L, "dead");
    if (!lua_checkstack(co, nargs)) {
        lua_pushliteral(L, "too many arguments to resume");
        return OUTCOME_ERROR;
    }
    lua_xmove(L, co, nargs);
    return enter(L, co, nargs, nresults);
}

static int resume_result(lua_State *L, enum outcome outcome, int nresults);

/* The wait inside is over, or somebody has closed the coroutine. */
static enum outcome go_on(lua_State *L, lua_State *co, int *nresults)
{
    lua_settop(L, 1);
    if (!task_is_waiting(co))
        return refuse(L, "closed");
    lua_pop(co, 1); /* the marker */
    return enter(L, co, 0, nresults);
}

static int resume_k(lua_State *L, int status, lua_KContext ctx)
{
    int nresults = 0;
    enum outcome outcome = go_on(L, lua_tothread(L, 1), &nresults);

    (void)status;
    (void)ctx;
    return resume_result(L, outcome, nresults);
}

static int resume_result(lua_State *L, enum outcome outcome, int nresults)
{
    if (outcome == OUTCOME_WAITS)
        return task_yield_on(L, resume_k);
    if (outcome == OUTCOME_ERROR)
        nresults = 1;
    lua_pushboolean(L, outcome == OUTCOME_VALUES);
    lua_insert(L, -(nresults + 1));
    return nresults + 1;
}

static int l_resume(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    int nresults = 0;
    enum outcome outcome = start(L, co, &nresults); /* sets nresults first */

    return resume_result(L, outcome, nresults);
}

/* As the stock one: an error closes the coroutine and gets its position. */
static int raise_from(lua_State *L, lua_State *co)
{
    int status = lua_status(co);
    bool is_same = true;

    if (status != LUA_OK && status != LUA_YIELD) {
        task_close_thread(co, L); /* closes its to-be-closed variables */
        if (lua_gettop(co) > 0) {
            lua_xmove(co, L, 1); /* an error in those takes its place */
            is_same = lua_rawequal(L, -1, -2);
            lua_replace(L, -2);
        }
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
        if (is_same)
            errors_rename(L);
    }
    return lua_error(L);
}

static int wrap_result(lua_State *L, lua_State *co, enum outcome outcome,
                       int nresults);

static int wrap_k(lua_State *L, int status, lua_KContext ctx)
{
    lua_State *co = lua_tothread(L, 1);
    int nresults = 0;
    enum outcome outcome = go_on(L, co, &nresults);

    (void)status;
    (void)ctx;
    return wrap_result(L, co, outcome, nresults);
}

static int wrap_result(lua_State *L, lua_State *co, enum outcome outcome,
                       int nresults)
{
    if (outcome == OUTCOME_WAITS)
        return task_yield_on(L, wrap_k);
    if (outcome == OUTCOME_ERROR)
        return raise_from(L, co);
    return nresults;
}

static int wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int nresults = 0;
    enum outcome outcome;

    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1); /* as resume has it */
    outcome = start(L, co, &nresults);
    return wrap_result(L, co, outcome, nresults);
}

static int l_create(lua_State *L)
{
    lua_State *co;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int l_wrap(lua_State *L)
{
    l_create(L);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

static int l_status(lua_State *L)
{
    lua_State *co = check_coroutine(L);

    if (co == L)
        lua_pushliteral(L, "running");
    else if (is_in_use(L, co))
        lua_pushliteral(L, "normal");
    else
        lua_pushstring(L, is_dead(co) ? "dead" : "suspended");
    return 1;
}

/* A coroutine in which a task waits is closed with its wait: the task goes on
 * where it had resumed it.  Its own coroutine is not the script's to close. */
static int close_waiting(lua_State *L, lua_State *co)
{
    struct task *task = task_waiting_in(script_of(L), co);

    if (task == NULL) /* the task that waited in it was closed by force */
        return task_close_chain(co, L);
    if (task->co == co)
        return luaL_error(L, "cannot close the coroutine of a task: cancel "
                             "the task");
    return task_close_waiting(task, co, L);
}

/* Lua 5.4.4 counts the calls of C on one coroutine's stack only, so that
 * coroutines that close one another would overflow the C stack. */
static void check_depth(lua_State *L)
{
    int depth = 0;

    for (struct frame *frame = script_of(L)->watchdog.frames; frame != NULL;
         frame = frame->outer)
        depth += frame->is_closing ? 1 : 0;
    if (depth >= CLOSINGS_MAX)
        luaL_error(L, "coroutines close one another too deep");
}

/* What is being closed cannot be closed again meanwhile, by its own
 * to-be-closed variables, with one that had resumed it: it would go on on a
 * stack that is gone. */
static void check_inner(lua_State *L, lua_State *co)
{
    for (lua_State *in = task_inner(co); in != NULL; in = task_inner(in))
        if (is_resumed(L, in))
            luaL_error(L, "cannot close a coroutine while one that it has "
                          "resumed is being closed");
}

static int l_close(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    int status;

    if (is_resumed(L, co))
        return luaL_error(L, "cannot close a %s coroutine",
                          co == L ? "running" : "normal");
    check_inner(L, co);
    check_depth(L);
    status =
        task_is_waiting(co) ? close_waiting(L, co) : task_close_thread(co, L);
    if (status == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

/* A handler and a task are no generators: nobody resumes them with values. */
static int l_yield(lua_State *L)
{
    const struct task *task = task_running(L);

    if (task != NULL && task->co == L)
        return luaL_error(L, "attempt to yield from outside a coroutine of "
                             "the script");
    if (!list_is_empty(&script_of(L)->loading))
        require_check_yield(L);
    return lua_yield(L, lua_gettop(L));
}

/* Libraries keep data by what this returns, so a task's own coroutine is not
 * used again once it was told. */
static int l_running(lua_State *L)
{
    struct task *task = task_running(L);
    int is_main = lua_pushthread(L);

    if (task != NULL && task->co == L)
        task->co_is_known = true;
    lua_pushboolean(L, is_main);
    return 2;
}

void coroutine_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        { "create", l_create }, { "wrap", l_wrap },   { "resume", l_resume },
        { "status", l_status }, { "close", l_close }, { "running", l_running },
        { "yield", l_yield },   { NULL, NULL },
    };

    lua_getglobal(L,
                  "coroutine"); /* isyieldable stays Lua's: it asks whether
                                 * the running one can be left, to wait too */
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
