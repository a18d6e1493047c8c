/* mock.c -- require "fcgi.mock": an application under test, in the process of
 * the test and without a socket.
 *
 *     local app = assert(mock.load "app.lua")
 *     local answer = app:request("GET", "/hello?name=Ada")
 *
 * The application has a Lua state of its own, and all that serves it is what
 * serves it in the program.  Only the loop is different: it turns while a
 * request is made, and stands still between two.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/log.h"
#include "core/head.h"
#include "fcgi/session.h"
#include "http/lone.h"
#include "io/loop.h"
#include "proc/generation.h"
#include "proc/load.h"
#include "proc/options.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define APP "fcgi.mock.app"
enum { FIELDS_MAX = 64, ARGS_MAX = 64 };

static const char no_exit[] = "would end the test";

/* A test must not hang: a request that takes so long is cancelled, unless
 * --timeout says otherwise; whatever lasts then is given up. */
static const double timeout = 30;
static const double patience = 60;

struct app {
    bool has_options;
    struct options options;
    struct script_config config;
    char *path;
    char *args[ARGS_MAX];
    struct loop *loop;
    struct service service;
    bool has_service;
    struct generation *generation; /* NULL: closed */
    bool is_busy;
};

/* The answer to a request; on the C stack, as nothing of the test runs while
 * the loop turns. */
struct answer {
    struct lone lone;
    struct app *app;
    struct slice body; /* of the request, as far as it is not given */
    bool has_given;    /* all of it */
    int status;
    struct buffer reason, lines, content;
    bool not_whole, has_no_memory;
};

/* --- its life ------------------------------------------------------------- */

static void free_app(struct app *app)
{
    generation_del(app->generation);
    app->generation = NULL;
    if (app->has_service)
        service_free(&app->service);
    app->has_service = false;
    loop_del(app->loop);
    app->loop = NULL;
    if (app->has_options)
        options_free(&app->options);
    app->has_options = false;
    free(app->path);
    app->path = NULL;
    for (size_t i = 0; i < ARGS_MAX; i++) {
        free(app->args[i]);
        app->args[i] = NULL;
    }
}

static struct app *check_app(lua_State *L)
{
    struct app *app = luaL_checkudata(L, 1, APP);

    if (app->generation == NULL)
        luaL_argerror(L, 1, "the application is closed");
    if (app->is_busy)
        luaL_error(L, "the application is serving a request");
    return app;
}

/* app:close(): its tasks end, on_exit runs. */
static int l_close(lua_State *L)
{
    struct app *app = luaL_checkudata(L, 1, APP);
    double end;

    if (app->generation == NULL || app->is_busy)
        return 0;
    app->is_busy = true;
    end = loop_now() + patience;
    generation_retire(app->generation, "stop", app->options.grace);
    while (!generation_step(app->generation) && loop_now() < end)
        loop_turn(app->loop, true);
    free_app(app);
    return 0;
}

/* By the collector: nothing of it runs any more. */
static int l_gc(lua_State *L)
{
    free_app(luaL_checkudata(L, 1, APP));
    return 0;
}

static int fail(lua_State *L, const char *why)
{
    luaL_pushfail(L);
    lua_pushstring(L, why);
    return 2;
}

/* One of the options at index 2, by the names of the command line. */
static void set_option(lua_State *L, struct app *app, const char *name)
{
    struct option_error error = { .exit_code = 0 };
    const char *value = lua_isboolean(L, -1)
                            ? (lua_toboolean(L, -1) ? "true" : "false")
                            : luaL_tolstring(L, -1, NULL);

    if (options_set(&app->options, name, value, OPTION_ENVIRONMENT, &error) !=
        OPTIONS_OK)
        luaL_error(L, "bad argument #2 to 'load' (%s)", error.message);
    if (!lua_isboolean(L, -1))
        lua_pop(L, 1);
}

static void read_args(lua_State *L, struct app *app)
{
    lua_Integer n;

    luaL_checktype(L, -1, LUA_TTABLE);
    n = luaL_len(L, -1);
    luaL_argcheck(L, n >= 0 && n <= ARGS_MAX, 2, "too many args");
    for (lua_Integer i = 0; i < n; i++) {
        lua_geti(L, -1, i + 1);
        app->args[i] = strdup(luaL_checkstring(L, -1));
        if (app->args[i] == NULL)
            luaL_error(L, "not enough memory");
        lua_pop(L, 1);
    }
    app->options.args = app->args;
    app->options.nargs = (int)n;
}

static void read_options(lua_State *L, struct app *app)
{
    if (lua_isnoneornil(L, 2))
        return;
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, 2) != 0) {
        const char *name;

        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_argerror(L, 2, "the names of options are strings");
        name = lua_tostring(L, -2);
        if (strcmp(name, "args") == 0) {
            read_args(L, app);
        } else if (lua_istable(L, -1)) {
            lua_Integer n = luaL_len(L, -1);

            for (lua_Integer i = 1; i <= n; i++) {
                lua_geti(L, -1, i);
                set_option(L, app, name);
                lua_pop(L, 1);
            }
        } else {
            set_option(L, app, name);
        }
        lua_pop(L, 1);
    }
}

/* Loads the script, runs on_start and on_worker.  Returns NULL, or why it did
 * not work, in message. */
static const char *start(struct app *app, char *message)
{
    const struct script_worker who = { .id = 1, .count = 1, .generation = 1 };
    struct script *script = NULL;
    struct limits limits;

    if (load_script(&app->options, &app->config, &script, message) != 0)
        return message[0] != '\0' ? message : "it does not load";
    if (load_start(&app->options, script, message) != 0) {
        script_del(script);
        return message;
    }
    generation_limits(&app->options, &limits);
    app->loop = loop_new();
    app->generation = generation_new(&app->options, script, &who);
    if (app->loop == NULL || app->generation == NULL) {
        if (app->generation == NULL)
            script_del(script);
        return "not enough memory";
    }
    service_init(&app->service, &limits, loop_clock(app->loop),
                 app->options.tmpdir, fcgi_stream_size());
    app->has_service = true;
    if (generation_start(app->generation, app->loop, &app->service) == -1)
        return "not enough memory";
    while (!app->generation->hook_has_ended)
        loop_turn(app->loop, true);
    if (!app->generation->hook_went_well)
        return "on_worker failed";
    script_serve(script);
    return script_guard_exit(script, no_exit) ? NULL : "not enough memory";
}

/* mock.load(path[, options]) -> app | nil, err */
static int l_load(lua_State *L)
{
    static char message[LOAD_MESSAGE_MAX];
    const char *path = luaL_checkstring(L, 1), *why;
    struct option_error error;
    struct app *app;

    lua_settop(L, 2);
    app = lua_newuserdatauv(L, sizeof(*app), 0);
    memset(app, 0, sizeof(*app));
    luaL_setmetatable(L, APP);
    app->has_options = true;
    app->path = strdup(path);
    if (options_init(&app->options, &error) != OPTIONS_OK || app->path == NULL)
        return luaL_error(L, "not enough memory");
    app->options.script = app->path;
    app->options.no_exit = no_exit;
    app->options.block_limit = 0; /* a debugger may hold it up */
    app->options.timeout = timeout;
    read_options(L, app);
    log_set_level((enum log_level)app->options.log_level); /* of all of them */
    message[0] = '\0';
    why = start(app, message);
    if (why == NULL)
        return 1;
    lua_pushstring(L, why);
    free_app(app);
    luaL_pushfail(L);
    lua_insert(L, -2);
    return 2;
}

/* --- the answer ----------------------------------------------------------- */

static void keep(struct answer *answer, struct buffer *buffer,
                 struct slice bytes)
{
    if (buffer_append(buffer, bytes) != BUFFER_OK)
        answer->has_no_memory = true;
}

static void on_head(void *arg, int status, struct slice reason,
                    struct slice lines)
{
    struct answer *answer = arg;

    answer->status = status;
    keep(answer, &answer->reason, reason);
    keep(answer, &answer->lines, lines);
}

static void on_body(void *arg, struct slice bytes)
{
    struct answer *answer = arg;

    keep(answer, &answer->content, bytes);
}

static void on_ended(void *arg, bool not_whole)
{
    struct answer *answer = arg;

    answer->not_whole = not_whole;
}

static void give_more(struct answer *answer)
{
    while (!answer->has_given && lone_wants_input(&answer->lone)) {
        struct slice piece = answer->body;

        if (piece.len > BLOCK_SIZE)
            piece.len = BLOCK_SIZE;
        if (piece.len == 0) {
            answer->has_given = true;
            lone_input_end(&answer->lone);
        } else if (lone_input(&answer->lone, piece)) {
            slice_take(&answer->body, piece.len);
        } else {
            answer->has_no_memory = true;
            return;
        }
    }
}

static void on_taken(void *arg)
{
    (void)arg; /* each turn looks */
}

/* Pushes the value of each header line: name -> the first one, and a list of
 * all. */
static void push_headers(lua_State *L, struct slice lines)
{
    lua_Integer n = 0;

    lua_newtable(L);
    lua_newtable(L);
    while (lines.len > 2) {
        const char *newline = slice_find(lines, '\n');
        struct slice line =
            slice_take(&lines, (size_t)(newline + 1 - lines.data));
        const char *colon = slice_find(line, ':');
        struct slice name = slice_take(&line, (size_t)(colon - line.data));

        slice_take(&line, 1);
        line.len -= 2;
        line = slice_trim(line);
        lua_createtable(L, 0, 2);
        lua_pushlstring(L, name.data, name.len);
        lua_setfield(L, -2, "name");
        lua_pushlstring(L, line.data, line.len);
        lua_setfield(L, -2, "value");
        lua_rawseti(L, -2, ++n);
        lua_getglobal(L, "string");
        lua_getfield(L, -1, "lower");
        lua_remove(L, -2);
        lua_pushlstring(L, name.data, name.len);
        lua_call(L, 1, 1);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -4) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushlstring(L, line.data, line.len);
            lua_rawset(L, -4);
        } else {
            lua_pop(L, 2);
        }
    }
}

static int push_answer(lua_State *L)
{
    const struct answer *answer = lua_touserdata(L, 1);
    struct slice reason = buffer_slice(&answer->reason);
    struct slice content = buffer_slice(&answer->content);

    lua_createtable(L, 0, 6);
    lua_pushinteger(L, answer->status);
    lua_setfield(L, -2, "status");
    lua_pushlstring(L, reason.data != NULL ? reason.data : "", reason.len);
    lua_setfield(L, -2, "reason");
    push_headers(L, buffer_slice(&answer->lines));
    lua_setfield(L, -3, "header_list");
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, content.data != NULL ? content.data : "", content.len);
    lua_setfield(L, -2, "body");
    lua_pushboolean(L, !answer->not_whole);
    lua_setfield(L, -2, "complete");
    return 1;
}

/* --- requests ------------------------------------------------------------- */

struct fields {
    struct lone_field items[FIELDS_MAX];
    size_t count;
};

static struct slice check_text(lua_State *L, int index, const char *name)
{
    struct slice text;

    if (lua_type(L, index) != LUA_TSTRING && lua_type(L, index) != LUA_TNUMBER)
        luaL_error(L,
                   "bad argument #3 to 'request' (header %s: string expected,"
                   " got %s)",
                   name, luaL_typename(L, index));
    text.data = lua_tolstring(L, index, &text.len);
    return text;
}

/* Texts must last: each is left on the stack. */
static void add_field(lua_State *L, struct fields *fields, struct slice name,
                      struct slice value)
{
    if (fields->count == FIELDS_MAX)
        luaL_argerror(L, 4, "too many headers");
    fields->items[fields->count++] = (struct lone_field){ name, value };
}

/* name -> a value or a list of them */
static void read_fields(lua_State *L, struct fields *fields)
{
    if (lua_isnoneornil(L, 4))
        return;
    luaL_checktype(L, 4, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, 4) != 0) {
        int value = lua_gettop(L), key = value - 1;
        struct slice name;

        /* An empty list is no header, and yet on the stack. */
        luaL_checkstack(L, FIELDS_MAX + 4, "too many headers");
        if (lua_type(L, key) != LUA_TSTRING)
            luaL_argerror(L, 4, "the names of headers are strings");
        name.data = lua_tolstring(L, key, &name.len);
        if (lua_istable(L, value)) {
            lua_Integer n = luaL_len(L, value);

            for (lua_Integer i = 1; i <= n; i++) {
                lua_geti(L, value, i);
                add_field(L, fields, name, check_text(L, -1, name.data));
            }
        } else {
            add_field(L, fields, name, check_text(L, value, name.data));
        }
        lua_pushvalue(L, key);
    }
}

/* Turns the loop until the request is answered and its handler has ended. */
static const char *serve(struct app *app, struct answer *answer)
{
    double end = loop_now() + patience;

    while (answer->lone.req != NULL || app->service.serving > 0) {
        give_more(answer);
        if (answer->has_no_memory)
            return "not enough memory";
        if (loop_now() >= end)
            return answer->lone.has_ended ? NULL : "timeout";
        loop_turn(app->loop, true);
    }
    return answer->lone.has_ended && answer->status != 0 ? NULL : "no answer";
}

static void free_answer(struct answer *answer)
{
    lone_abort(&answer->lone);
    buffer_free(&answer->reason);
    buffer_free(&answer->lines);
    buffer_free(&answer->content);
}

/* What wakes a loop in which nothing else would. */
static void tick(struct loop_timer *timer)
{
    loop_timer_start(timer->loop, timer, 0.05, tick);
}

/* app:request(method, url[, headers[, body]]) -> answer | nil, err */
static int l_request(lua_State *L)
{
    static const struct lone_ops ops = { on_head, on_body, on_ended, on_taken };
    struct app *app = check_app(L);
    struct answer answer = { .app = app };
    struct loop_timer ticks = { .loop = NULL };
    struct fields fields = { .count = 0 };
    struct lone_call call = { .fields = fields.items };
    const char *why;
    int status = LUA_OK;

    call.method.data = luaL_checklstring(L, 2, &call.method.len);
    call.target.data = luaL_checklstring(L, 3, &call.target.len);
    answer.body.data = luaL_optlstring(L, 5, "", &answer.body.len);
    call.has_body = !lua_isnoneornil(L, 5);
    call.has_length = call.has_body;
    call.length = answer.body.len;
    read_fields(L, &fields);
    call.count = fields.count;
    buffer_init(&answer.reason, SIZE_MAX);
    buffer_init(&answer.lines, SIZE_MAX);
    buffer_init(&answer.content, SIZE_MAX);
    app->is_busy = true;
    why = lone_begin(&answer.lone, &app->service, &call, &ops, &answer);
    if (why == NULL) {
        loop_timer_start(app->loop, &ticks, 0.05, tick);
        why = serve(app, &answer);
        loop_timer_stop(&ticks);
    }
    app->is_busy = false;
    if (why == NULL) {
        lua_pushcfunction(L, push_answer);
        lua_pushlightuserdata(L, &answer);
        status = lua_pcall(L, 1, 1, 0);
    }
    free_answer(&answer);
    if (status != LUA_OK)
        return lua_error(L);
    return why == NULL ? 1 : fail(L, why);
}

static void ignore(int signo)
{
    (void)signo;
}

__attribute__((visibility("default"))) int luaopen_fcgi_mock(lua_State *L);

int luaopen_fcgi_mock(lua_State *L)
{
    static const luaL_Reg functions[] = { { "load", l_load }, { NULL, NULL } };
    static const luaL_Reg methods[] = { { "request", l_request },
                                        { "close", l_close },
                                        { NULL, NULL } };
    static const int errors[] = { SIGPIPE, SIGXFSZ };
    struct sigaction old;

    luaL_checkversion(L);
    /* As the program does: a peer that has gone, or a file that may not grow,
     * is an error of a write. */
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (sigaction(errors[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            signal(errors[i], ignore);
    luaL_newmetatable(L, APP);
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__close");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
