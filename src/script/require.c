/* require.c -- see require.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/require.h"

#include "script/cancel.h"
#include "script/wait.h"

enum { LOADING_MAGIC = 0x6c6f6164 };

/* Upvalues of require. */
enum { UP_PACKAGE = 1, UP_LOADING, UP_CLASS };

/* Its stack. */
enum { AT_NAME = 1, AT_LOADED, AT_LOADING, AT_SEARCHERS, AT_TRIED };

/* A load under way.  It is a to-be-closed value of the require that runs it,
 * and its user value is the error that ended it. */
struct loading {
    unsigned magic;
    bool is_over;
    struct list link;    /* in script->loading, until it is over */
    struct list waiting; /* tasks that want the module */
    lua_State *L;        /* where it runs */
    struct task *task;   /* or NULL: the script is being loaded */
};

static void end(struct loading *loading)
{
    if (loading->is_over)
        return;
    loading->is_over = true;
    list_remove(&loading->link);
    task_wake_list(&loading->waiting);
}

void require_died(struct script *script, const lua_State *co)
{
    struct list *link = script->loading.next;

    while (link != &script->loading) {
        struct loading *loading = list_entry(link, struct loading, link);

        link = link->next;
        if (loading->L == co)
            end(loading);
    }
}

void require_ended(struct task *task)
{
    struct list *link = task->script->loading.next;

    while (link != &task->script->loading) {
        struct loading *loading = list_entry(link, struct loading, link);

        link = link->next;
        if (loading->task == task)
            end(loading);
    }
}

void require_check_yield(lua_State *L)
{
    struct list *loads = &script_of(L)->loading;

    for (struct list *link = loads->next; link != loads; link = link->next)
        if (list_entry(link, struct loading, link)->L == L) {
            lua_pushliteral(L, "attempt to yield across a C-call boundary");
            lua_error(L);
        }
}

/* --- the load ------------------------------------------------------------- */

static struct loading *check_loading(lua_State *L)
{
    struct loading *self = lua_touserdata(L, 1);

    luaL_argexpected(L,
                     lua_type(L, 1) == LUA_TUSERDATA &&
                         lua_rawlen(L, 1) == sizeof(*self) &&
                         self->magic == LOADING_MAGIC,
                     1, "loading");
    return self;
}

/* __close(loading, error) */
static int l_close(lua_State *L)
{
    struct loading *self = check_loading(L);

    lua_settop(L, 2);
    if (task_cancelled_reason(L, 2) == NULL)
        lua_setiuservalue(L, 1, 1);
    end(self);
    return 0;
}

/* Memory was too short for __close. */
static int l_gc(lua_State *L)
{
    end(check_loading(L));
    return 0;
}

/* The module has run; on top: loader data, what it returned. */
static int loaded_k(lua_State *L, int status, lua_KContext ctx)
{
    const char *name = lua_tostring(L, AT_NAME);

    (void)status;
    (void)ctx;
    if (!lua_isnil(L, -1))
        lua_setfield(L, AT_LOADED, name);
    else
        lua_pop(L, 1);
    if (lua_getfield(L, AT_LOADED, name) == LUA_TNIL) {
        lua_pushboolean(L, 1);
        lua_copy(L, -1, -2);
        lua_setfield(L, AT_LOADED, name);
    }
    lua_insert(L, -2);
    return 2;
}

/* Calls one searcher after the other; i is the one whose results, two of them,
 * are on top. */
static int search_k(lua_State *L, int status, lua_KContext i)
{
    (void)status;
    for (;;) {
        if (i > 0 && lua_isfunction(L, -2)) {
            lua_insert(L, -2); /* loader data, loader */
            lua_pushvalue(L, AT_NAME);
            lua_pushvalue(L, -3);
            lua_callk(L, 2, 1, 0, loaded_k);
            return loaded_k(L, LUA_OK, 0);
        }
        if (i > 0 && lua_isstring(L, -2)) {
            lua_pop(L, 1);
            lua_pushliteral(L, "\n\t");
            lua_insert(L, -2);
            lua_concat(L, 3);
        } else if (i > 0) {
            lua_pop(L, 2);
        }
        if (lua_rawgeti(L, AT_SEARCHERS, ++i) == LUA_TNIL)
            return luaL_error(L, "module '%s' not found:%s",
                              lua_tostring(L, AT_NAME),
                              lua_tostring(L, AT_TRIED));
        lua_pushvalue(L, AT_NAME);
        lua_callk(L, 1, 2, i, search_k);
    }
}

static int load(lua_State *L)
{
    struct script *script = script_of(L);
    struct loading *self;

    lua_settop(L, AT_LOADED);
    self = lua_newuserdatauv(L, sizeof(*self), 1);
    *self = (struct loading){ .magic = LOADING_MAGIC, .is_over = true };
    self->L = L;
    self->task = script->running;
    list_init(&self->waiting);
    lua_pushvalue(L, lua_upvalueindex(UP_CLASS));
    lua_setmetatable(L, AT_LOADING);
    lua_pushvalue(L, AT_LOADING);
    lua_setfield(L, lua_upvalueindex(UP_LOADING), lua_tostring(L, AT_NAME));
    lua_toclose(L, AT_LOADING);
    self->is_over = false;
    list_append(&script->loading, &self->link);

    if (lua_getfield(L, lua_upvalueindex(UP_PACKAGE), "searchers") !=
        LUA_TTABLE)
        return luaL_error(L, "'package.searchers' must be a table");
    lua_pushliteral(L, "");
    return search_k(L, LUA_OK, 0);
}

/* --- require -------------------------------------------------------------- */

/* Pushes the load of the module that is under way; or nil, and returns NULL. */
static struct loading *push_loading(lua_State *L)
{
    struct loading *loading;

    if (list_is_empty(&script_of(L)->loading)) {
        lua_pushnil(L);
        return NULL;
    }
    lua_getfield(L, lua_upvalueindex(UP_LOADING), lua_tostring(L, AT_NAME));
    loading = lua_touserdata(L, -1);
    return loading != NULL && !loading->is_over ? loading : NULL;
}

static int waited_k(lua_State *L, int status, lua_KContext ctx);

static int wait_for(lua_State *L, struct loading *loading)
{
    lua_settop(L, AT_LOADING);
    task_begin_wait(L)->joined = loading->task;
    return task_wait_in(L, &loading->waiting, -1, 0, waited_k);
}

/* The name and package.loaded are on the stack. */
static int find(lua_State *L)
{
    struct task *running = task_running(L);
    struct loading *loading = push_loading(L);
    bool is_there, is_loop;

    is_loop = loading != NULL && (loading->task == running ||
                                  task_waits_for(loading->task, running));
    lua_getfield(L, AT_LOADED, lua_tostring(L, AT_NAME));
    is_there = lua_toboolean(L, -1);
    if (is_there && (loading == NULL || is_loop || !task_can_wait(L)))
        return 1;
    if (loading == NULL)
        return load(L);
    if (is_loop)
        return luaL_error(L,
                          "loop while loading module '%s': modules that "
                          "require one another",
                          lua_tostring(L, AT_NAME));
    return wait_for(L, loading);
}

/* The load that this has waited for is over. */
static int waited_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    lua_getfield(L, AT_LOADED, lua_tostring(L, AT_NAME));
    lua_getiuservalue(L, AT_LOADING, 1);
    if (!lua_toboolean(L, -2) && !lua_isnil(L, -1))
        return lua_error(L);
    lua_settop(L, AT_LOADED);
    return find(L);
}

static int l_require(lua_State *L)
{
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    return find(L);
}

static void push_class(lua_State *L)
{
    static const luaL_Reg metamethods[] = {
        { "__close", l_close },
        { "__gc", l_gc },
        { NULL, NULL },
    };

    luaL_newlib(L, metamethods);
    lua_pushliteral(L, "loading");
    lua_setfield(L, -2, "__name");
}

void require_open(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_newtable(L); /* name -> the last load of it, weak */
    lua_newtable(L);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    push_class(L);
    lua_pushcclosure(L, l_require, 3);
    lua_setglobal(L, "require");
}
