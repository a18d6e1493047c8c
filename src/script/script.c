/* script.c -- loading a script and letting it go: see script.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/script_state.h"

#include "base/log.h"
#include "io/ready.h"
#include "io/resolver.h"
#include "io/stream.h"
#include "script/cancel.h"
#include "script/coroutine.h"
#include "script/dev.h"
#include "script/embedded.h"
#include "script/errors.h"
#include "script/failures.h"
#include "script/handler.h"
#include "script/lua_fcgi.h"
#include "script/lua_process.h"
#include "script/lua_request.h"
#include "script/lua_task.h"
#include "script/require.h"
#include "script/socket_pool.h"
#include "script/source.h"
#include "script/task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static const char *const hook_names[HOOK_COUNT] = {
    [HOOK_REQUEST] = "on_request", [HOOK_AUTHORIZE] = "on_authorize",
    [HOOK_FILTER] = "on_filter",   [HOOK_ERROR] = "on_error",
    [HOOK_START] = "on_start",     [HOOK_WORKER] = "on_worker",
    [HOOK_EXIT] = "on_exit",
};

/* --- the state ------------------------------------------------------------ */

static int embedded_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 1;
}

/* The loader of a module of lua/fcgi; upvalue 1 is its entry.  The module gets
 * its name and the private table. */
static int load_embedded(lua_State *L)
{
    const struct embedded_lua *entry = lua_touserdata(L, lua_upvalueindex(1));

    lua_pushfstring(L, "=%s", entry->file);
    if (luaL_loadbufferx(L, (const char *)entry->text, entry->len,
                         lua_tostring(L, -1), "t") != LUA_OK)
        return lua_error(L);
    lua_pushstring(L, entry->module);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->private);
    lua_callk(L, 2, 1, 0, embedded_k); /* it may require others */
    return 1;
}

static void preload_modules(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (const struct embedded_lua *entry = embedded_lua; entry->module != NULL;
         entry++) {
        lua_pushlightuserdata(L, (void *)(size_t)entry);
        lua_pushcclosure(L, load_embedded, 1);
        lua_setfield(L, -2, entry->module);
    }
    lua_pop(L, 1);
}

/* Replaces package.path by front .. path .. back. */
static void extend_path(lua_State *L, const char *front, const char *back)
{
    lua_getglobal(L, "package");
    lua_pushstring(L, front);
    lua_getfield(L, -2, "path");
    lua_pushstring(L, back);
    lua_concat(L, 3);
    lua_setfield(L, -2, "path");
    lua_pop(L, 1);
}

static void set_paths(lua_State *L, const struct script_config *config)
{
    const char *compat = config->lua_compat;

    for (size_t i = config->includes; i > 0; i--) {
        const char *dir = config->include[i - 1];

        lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;", dir, dir);
        extend_path(L, lua_tostring(L, -1), "");
        lua_pop(L, 1);
    }
    if (compat == NULL)
        return;
    lua_pushfstring(L,
                    ";/usr/local/share/lua/%s/?.lua"
                    ";/usr/local/share/lua/%s/?/init.lua"
                    ";/usr/share/lua/%s/?.lua;/usr/share/lua/%s/?/init.lua",
                    compat, compat, compat, compat);
    extend_path(L, "", lua_tostring(L, -1));
    lua_pop(L, 1);
}

/* Processes that were started alike must not draw alike. */
static int seed_random(lua_State *L)
{
    lua_Integer seed[2] = { 0, 0 };

    if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
        return 0; /* Lua's own seed stands */
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushinteger(L, seed[0]);
    lua_pushinteger(L, seed[1]);
    lua_call(L, 2, 0);
    lua_pop(L, 1);
    return 0;
}

void script_seed_random(struct script *script)
{
    lua_pushcfunction(script->L, seed_random);
    if (lua_pcall(script->L, 0, 0, 0) != LUA_OK)
        lua_pop(script->L, 1); /* the script has replaced math */
}

/* Classes that would be made when first needed: if memory ran out between
 * their making and their filling they would stay empty for ever. */
static void make_classes(lua_State *L)
{
    luaL_Buffer buffer;

    task_push_cancelled(L, "");
    luaL_buffinitsize(L, &buffer, LUAL_BUFFERSIZE + 1); /* makes its box */
    luaL_pushresultsize(&buffer, 0);
    lua_pop(L, 2);
}

static int open_state(lua_State *L)
{
    struct script *script = script_of(L);

    luaL_openlibs(L);
    seed_random(L);
    coroutine_open(L);
    preload_modules(L);
    source_open(L);
    require_open(L);
    set_paths(L, script->config);
    lua_fcgi_open(L);
    lua_request_open(L);
    make_classes(L);
    return 0;
}

/* --- loading -------------------------------------------------------------- */

static int add_traceback(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING) {
        luaL_tolstring(L, 1, NULL);
        lua_replace(L, 1);
    }
    lua_pushliteral(L, "\n");
    errors_push_traceback(L, 1);
    lua_concat(L, 3);
    return 1;
}

static void copy_error(lua_State *L, char *error)
{
    const char *text = lua_tostring(L, -1);

    snprintf(error, SCRIPT_ERROR_MAX, "%s",
             text != NULL ? text : "an error without a message");
}

/* Like lua_pcall, but ends what takes too long. */
static int call_watched(struct script *script, int nargs, int nresults,
                        int messages)
{
    struct watchdog *watchdog = &script->watchdog;
    lua_State *L = script->L;
    struct frame frame = { L, NULL, false, NULL };
    int status;

    if (watchdog_init_loading(watchdog, script->config->load_timeout) == -1)
        log_write(LOG_LEVEL_WARN, "--load-timeout: cannot make a timer: %s",
                  strerror(errno));
    watchdog->frames = &frame;
    watchdog_enter(watchdog);
    status = lua_pcall(L, nargs, nresults, messages);
    watchdog_leave(watchdog, L);
    watchdog->frames = NULL;
    watchdog_free(watchdog);
    return status;
}

enum script_status script_call(struct script *script, int nargs, int nresults,
                               char *error)
{
    lua_State *L = script->L;
    int chunk = lua_gettop(L) - nargs, status;

    lua_pushcfunction(L, add_traceback);
    lua_insert(L, chunk);
    status = call_watched(script, nargs, nresults, chunk);
    if (status == LUA_OK) {
        lua_remove(L, chunk);
        return SCRIPT_OK;
    }
    copy_error(L, error);
    if (status == LUA_ERRMEM)
        return SCRIPT_NO_MEMORY;
    return script_of(L)->was_refused ? SCRIPT_REFUSED : SCRIPT_FAILED;
}

static enum script_status load_result(lua_State *L, int status, char *error)
{
    switch (status) {
    case LUA_OK:
        return SCRIPT_OK;
    case LUA_ERRMEM:
        copy_error(L, error);
        return SCRIPT_NO_MEMORY;
    case LUA_ERRFILE:
        copy_error(L, error);
        return SCRIPT_UNREADABLE;
    case SOURCE_REFUSED:
        copy_error(L, error);
        return SCRIPT_REFUSED;
    default:
        copy_error(L, error);
        return SCRIPT_SYNTAX;
    }
}

static enum script_status run_evals(struct script *script, char *error)
{
    lua_State *L = script->L;

    for (size_t i = 0; i < script->config->evals; i++) {
        const char *text = script->config->eval[i];
        enum script_status status = load_result(
            L, luaL_loadbufferx(L, text, strlen(text), "=(--eval)", "t"),
            error);

        if (status == SCRIPT_OK)
            status = script_call(script, 0, 0, error);
        if (status != SCRIPT_OK)
            return status;
    }
    return SCRIPT_OK;
}

static int find_settings(lua_State *L);

/* A module of WSAPI has a function run and none of our hooks: a table that has
 * takes its place. */
static void take_wsapi(lua_State *L)
{
    bool is_ours = false;

    for (int i = 0; i < HOOK_COUNT; i++) {
        if (lua_getfield(L, 1, hook_names[i]) != LUA_TNIL)
            is_ours = true;
        lua_pop(L, 1);
    }
    if (is_ours || lua_getfield(L, 1, "run") != LUA_TFUNCTION) {
        lua_settop(L, 1);
        return;
    }
    lua_createtable(L, 0, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "fcgi.wsapi");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "handler");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    lua_setfield(L, 3, hook_names[HOOK_REQUEST]);
    lua_pushvalue(L, 3);
    lua_replace(L, 1);
    lua_settop(L, 1);
}

/* Finds the hooks in what the script returned, at index 1, or in globals. */
static int find_hooks(lua_State *L)
{
    struct script *script = script_of(L);

    if (lua_istable(L, 1))
        take_wsapi(L);
    for (int i = 0; i < HOOK_COUNT; i++) {
        if (lua_istable(L, 1))
            lua_getfield(L, 1, hook_names[i]);
        else if (i == HOOK_REQUEST && lua_isfunction(L, 1))
            lua_pushvalue(L, 1);
        else
            lua_getglobal(L, hook_names[i]);
        if (!lua_isnil(L, -1) && !lua_isfunction(L, -1))
            return luaL_error(L, "%s: %s is not a function but a %s",
                              script->name, hook_names[i],
                              luaL_typename(L, -1));
        if (lua_isnil(L, -1))
            lua_pop(L, 1);
        else
            script->hooks[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    if (script->hooks[HOOK_REQUEST] == LUA_NOREF &&
        script->hooks[HOOK_AUTHORIZE] == LUA_NOREF &&
        script->hooks[HOOK_FILTER] == LUA_NOREF)
        return luaL_error(L,
                          "%s: no handler: define the global function "
                          "on_request(req), or return a function or a table "
                          "with on_request",
                          script->name);
    return lua_istable(L, 1) ? find_settings(L) : 0;
}

/* Keeps the fields that are no hooks, for script_each_setting. */
static int find_settings(lua_State *L)
{
    struct script *script = script_of(L);

    lua_settop(L, 1);
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, 1) != 0) {
        bool is_hook = false;
        const char *name;

        if (lua_type(L, 3) != LUA_TSTRING)
            return luaL_error(L,
                              "%s: the table it returned has a field that "
                              "is no name",
                              script->name);
        name = lua_tostring(L, 3);
        for (int i = 0; i < HOOK_COUNT; i++)
            is_hook = is_hook || strcmp(name, hook_names[i]) == 0;
        if (strcmp(name, "abort") == 0) {
            if (lua_type(L, 4) != LUA_TSTRING ||
                strcmp(lua_tostring(L, 4), "cancel") != 0)
                return luaL_error(L, "%s: abort can only be \"cancel\"",
                                  script->name);
            script->abort_cancels = true;
        } else if (!is_hook && lua_isfunction(L, 4)) {
            return luaL_error(L, "%s: this version knows no hook %s",
                              script->name, name);
        } else if (!is_hook) {
            lua_pushvalue(L, 3);
            lua_pushvalue(L, 4);
            lua_rawset(L, 2);
        }
        lua_settop(L, 3);
    }
    script->settings = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static enum script_status run_script(struct script *script, char *error)
{
    lua_State *L = script->L;
    const struct script_config *config = script->config;
    enum script_status status =
        load_result(L, source_load(L, config->path, "t"), error);

    if (status != SCRIPT_OK && strstr(error, script->name) == NULL) {
        lua_pop(L, 1); /* Lua does not name the file of a binary chunk */
        snprintf(error, SCRIPT_ERROR_MAX,
                 "%s: cannot be loaded: bytecode is "
                 "refused",
                 config->path);
    }
    if (status != SCRIPT_OK)
        return status;
    if (!lua_checkstack(L, config->nargs + 8)) {
        snprintf(error, SCRIPT_ERROR_MAX, "too many arguments");
        return SCRIPT_FAILED;
    }
    for (int i = 0; i < config->nargs; i++)
        lua_rawgeti(L, 1, i + 1); /* fcgi.args: no new strings here */
    status = script_call(script, config->nargs, 1, error);
    if (status != SCRIPT_OK)
        return status;
    lua_pushcfunction(L, find_hooks);
    lua_insert(L, -2);
    if (call_watched(script, 1, 0, 0) == LUA_OK) /* it may have metamethods */
        return SCRIPT_OK;
    copy_error(L, error);
    return SCRIPT_FAILED;
}

static int push_args(lua_State *L)
{
    lua_getglobal(L, "arg");
    return 1;
}

static enum script_status load_all(struct script *script, char *error)
{
    lua_State *L = script->L;
    enum script_status status;

    lua_pushcfunction(L, open_state);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
        copy_error(L, error);
        return SCRIPT_NO_MEMORY;
    }
    if (script->config->no_exit != NULL &&
        !script_guard_exit(script, script->config->no_exit))
        return SCRIPT_NO_MEMORY;
    lua_pushcfunction(L, push_args);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
        copy_error(L, error);
        return SCRIPT_NO_MEMORY;
    }
    status = SCRIPT_OK;
    if (!script->config->is_stand_in)
        status = run_evals(script, error);
    if (status == SCRIPT_OK && !script->config->is_stand_in)
        status = run_script(script, error);
    lua_settop(L, 0);
    return status;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

enum script_status script_load(const struct script_config *config,
                               struct script **out, char *error)
{
    struct script *script = calloc(1, sizeof(*script));
    enum script_status status = SCRIPT_NO_MEMORY;

    *out = NULL;
    snprintf(error, SCRIPT_ERROR_MAX, "not enough memory");
    if (script == NULL)
        return SCRIPT_NO_MEMORY;
    script->config = config;
    script->name = base_name(config->path);
    script->phase = "the script is being loaded";
    script->memory.limit = config->memory_limit;
    script->module = script->private = LUA_NOREF;
    script->settings = script->answer = script->authorize = LUA_NOREF;
    for (int i = 0; i < HOOK_COUNT; i++)
        script->hooks[i] = LUA_NOREF;
    list_init(&script->tasks);
    list_init(&script->idle);
    list_init(&script->loading);
    list_init(&script->failures);
    list_init(&script->processes);
    if (config->is_dev)
        script->dev = dev_new();
    script->L = lua_newstate(memory_alloc, &script->memory);
    if (script->L != NULL && (script->dev != NULL || !config->is_dev)) {
        *(struct script **)lua_getextraspace(script->L) = script;
        status = load_all(script, error);
    }
    if (status == SCRIPT_OK)
        *out = script;
    else
        script_del(script);
    return status;
}

/* --- settings ------------------------------------------------------------- */

struct each_setting {
    bool (*set)(void *arg, const char *name, const char *value);
    void *arg;
    bool went_well;
};

/* One value, at index, as text. */
static bool set_one(lua_State *L, struct each_setting *each, const char *name,
                    int index)
{
    const char *text;

    lua_pushvalue(L, index); /* lua_tostring would change a key */
    if (lua_isboolean(L, -1))
        text = lua_toboolean(L, -1) ? "true" : "false";
    else
        text = lua_tostring(L, -1);
    if (text == NULL)
        return luaL_error(L, "%s: the setting %s is a %s", script_of(L)->name,
                          name, luaL_typename(L, index)),
               false;
    each->went_well = each->set(each->arg, name, text);
    lua_pop(L, 1);
    return each->went_well;
}

static int each_setting(lua_State *L)
{
    struct each_setting *each = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->settings);
    lua_pushnil(L);
    while (each->went_well && lua_next(L, 2) != 0) {
        const char *name = lua_tostring(L, 3);

        if (lua_istable(L, 4) && lua_rawlen(L, 4) > 0) {
            for (lua_Integer i = 1; lua_rawgeti(L, 4, i) != LUA_TNIL; i++) {
                if (!set_one(L, each, name, 5))
                    return 0;
                lua_settop(L, 4);
            }
        } else if (lua_istable(L, 4)) {
            each->went_well = each->set(each->arg, name, ""); /* no value */
        } else {
            set_one(L, each, name, 4);
        }
        lua_settop(L, 3);
    }
    return 0;
}

bool script_each_setting(struct script *script,
                         bool (*set)(void *arg, const char *name,
                                     const char *value),
                         void *arg)
{
    struct each_setting each = { set, arg, true };

    if (script->settings == LUA_NOREF)
        return true;
    lua_pushcfunction(script->L, each_setting);
    lua_pushlightuserdata(script->L, &each);
    if (lua_pcall(script->L, 1, 0, 0) != LUA_OK) {
        log_write(LOG_LEVEL_ERROR, "%s", lua_tostring(script->L, -1));
        each.went_well = false;
        lua_pop(script->L, 1);
    }
    return each.went_well;
}

/* --- serving -------------------------------------------------------------- */

int script_attach(struct script *script, struct loop *loop,
                  struct service *service, const struct script_limits *limits)
{
    script->loop = loop;
    script->service = service;
    script->limits = *limits;
    script->memory.limit = limits->memory_limit;
    task_start_all(script);
    return watchdog_init(&script->watchdog, limits->block_limit,
                         limits->blocked, loop_clock(loop));
}

int script_forked(struct script *script, const struct script_worker *worker)
{
    if (watchdog_forked(&script->watchdog) == -1)
        return -1;
    errno = ENOMEM;
    return script_set_worker(script, worker) ? 0 : -1;
}

void script_serve(struct script *script)
{
    script->exit_guard = NULL;
    script->service->ops =
        script->is_broken ? &handler_broken_ops : &handler_ops;
    script->service->owner = script;
}

const char *script_lua_version(void)
{
    return LUA_RELEASE;
}

unsigned script_tasks(const struct script *script)
{
    return script->task_count;
}

size_t script_memory(const struct script *script)
{
    return script->memory.used;
}

unsigned script_worker_tasks(const struct script *script)
{
    return script->worker_task_count;
}

void script_cancel_all(struct script *script, const char *reason)
{
    for (struct list *link = script->tasks.next; link != &script->tasks;
         link = link->next)
        task_cancel(list_entry(link, struct task, link), reason);
}

void script_del(struct script *script)
{
    if (script == NULL)
        return;
    while (!list_is_empty(&script->tasks))
        task_kill(list_entry(script->tasks.next, struct task, link));
    lua_process_end_all(&script->processes);
    task_free_idle(script);
    failures_log_all(script);
    loop_timer_stop(&script->failures_timer);
    loop_timer_stop(&script->slow_timer);
    script->is_closing = true;
    if (script->L != NULL)
        lua_close(script->L);
    resolver_del(script->resolver);
    readies_del(script->readies);
    socket_pools_del(script->socket_pools);
    streams_del(script->streams);
    if (script->out != NULL)
        fclose(script->out);
    watchdog_free(&script->watchdog);
    dev_del(script->dev);
    free(script);
}
