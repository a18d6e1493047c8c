/* lua_request.c -- the request class, and what a handler can ask of a request
 * without waiting: parameters and fields.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_request.h"

#include "core/params.h"
#include "script/errors.h"
#include "script/lua_headers.h"
#include "script/lua_parts.h"
#include "script/lua_send_file.h"
#include "script/report.h"
#include "script/task.h"

#include <stdlib.h>

/* The owner comes before what it owns: both calls below may raise, and the
 * task must then find no handle. */
void lua_request_push(lua_State *L, struct request *req)
{
    struct script *script = script_of(L);
    struct lua_request *self = lua_newuserdatauv(L, sizeof(*self), 1);

    self->magic = LUA_REQUEST_MAGIC;
    self->use = BODY_UNUSED;
    self->was_aborted = false;
    self->req = NULL;
    buffer_init(&self->line, SIZE_MAX);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->request_class);
    lua_setmetatable(L, -2);
    self->req = req; /* the task holds the reference */
    script->running->handle = self;
}

void lua_request_release(struct lua_request *self)
{
    self->was_aborted = self->req->is_aborted;
    self->req = NULL;
    buffer_free(&self->line);
}

/* Upvalue 1 is the class: no look-up by name on each call.  Size and magic are
 * checked too: debug.setmetatable can lend our class to anything. */
struct lua_request *lua_request_check(lua_State *L)
{
    struct lua_request *self = lua_touserdata(L, 1);
    const struct task *task = task_running(L);

    if (self != NULL && task != NULL && task->handle == self)
        return self; /* nearly always: the one that the handler was given */
    if (self != NULL && lua_getmetatable(L, 1)) {
        bool ours = lua_rawequal(L, -1, lua_upvalueindex(1)) &&
                    lua_rawlen(L, 1) == sizeof(*self) &&
                    self->magic == LUA_REQUEST_MAGIC;
        lua_pop(L, 1);
        if (ours)
            return self;
    }
    return (void)errors_bad_self(L, LUA_REQUEST, "req"), NULL; /* raises */
}

int lua_request_over(lua_State *L)
{
    bool aborted = lua_request_check(L)->was_aborted;

    luaL_pushfail(L);
    lua_pushstring(L, aborted ? "aborted" : "finished");
    return 2;
}

void lua_request_push_memo(lua_State *L)
{
    if (lua_getiuservalue(L, 1, REQUEST_MEMO) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, REQUEST_MEMO);
}

static int l_tostring(lua_State *L)
{
    struct request *req = lua_request_get(L);
    char buffer[REQUEST_ID_MAX];
    struct slice id = { "over", 4 };

    if (req != NULL)
        id = request_id(req, buffer);
    lua_pushliteral(L, LUA_REQUEST ": ");
    lua_pushlstring(L, id.data, id.len);
    lua_concat(L, 2);
    return 1;
}

/* --- parameters ----------------------------------------------------------- */

static void push_slice(lua_State *L, struct slice value)
{
    lua_pushlstring(L, value.len > 0 ? value.data : "", value.len);
}

/* Pushes a parameter, or what stands in for it (NULL: nil); returns 1. */
static int push_param(lua_State *L, const struct request *req, const char *name,
                      const char *otherwise)
{
    struct slice value;

    if (req == NULL)
        return lua_request_over(L);
    if (request_param(req, slice_of(name), &value))
        push_slice(L, value);
    else if (otherwise != NULL)
        lua_pushstring(L, otherwise);
    else
        luaL_pushfail(L);
    return 1;
}

static int push_all_params(lua_State *L, const struct request *req)
{
    struct slice in, name, value;

    if (req == NULL)
        return lua_request_over(L);
    in = buffer_slice(&req->params);
    lua_newtable(L);
    while (params_next(&in, &name, &value) == PARAMS_PAIR) {
        push_slice(L, name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) { /* the first one counts */
            lua_pop(L, 1);
            push_slice(L, value);
            lua_rawset(L, -3);
        } else {
            lua_pop(L, 2);
        }
    }
    return 1;
}

/* req:param(name) -> string | nil;  req:param() -> table */
static int l_param(lua_State *L)
{
    struct request *req = lua_request_get(L);
    struct slice name, value;

    if (lua_gettop(L) == 1)
        return push_all_params(L, req);
    name.data = luaL_checklstring(L, 2, &name.len);
    if (req == NULL)
        return lua_request_over(L);
    if (request_param(req, name, &value))
        push_slice(L, value);
    else
        luaL_pushfail(L);
    return 1;
}

static int l_params(lua_State *L)
{
    return push_all_params(L, lua_request_get(L));
}

static int l_method(lua_State *L)
{
    return push_param(L, lua_request_get(L), "REQUEST_METHOD", "GET");
}

static int l_script_name(lua_State *L)
{
    return push_param(L, lua_request_get(L), "SCRIPT_NAME", NULL);
}

static int l_path_info(lua_State *L)
{
    return push_param(L, lua_request_get(L), "PATH_INFO", NULL);
}

static int l_path(lua_State *L)
{
    struct request *req = lua_request_get(L);

    if (req == NULL)
        return lua_request_over(L);
    push_param(L, req, "SCRIPT_NAME", "");
    push_param(L, req, "PATH_INFO", "");
    lua_concat(L, 2);
    if (lua_rawlen(L, -1) == 0)
        lua_pushliteral(L, "/");
    return 1;
}

static int l_query_string(lua_State *L)
{
    return push_param(L, lua_request_get(L), "QUERY_STRING", "");
}

static int l_uri(lua_State *L)
{
    return push_param(L, lua_request_get(L), "REQUEST_URI", NULL);
}

static int l_protocol(lua_State *L)
{
    return push_param(L, lua_request_get(L), "SERVER_PROTOCOL", NULL);
}

static int l_scheme(lua_State *L)
{
    struct request *req = lua_request_get(L);
    struct slice value;

    if (req == NULL)
        return lua_request_over(L);
    if (request_param(req, slice_of("REQUEST_SCHEME"), &value))
        push_slice(L, value);
    else if (request_param(req, slice_of("HTTPS"), &value) && value.len > 0 &&
             !slice_equal_nocase(value, slice_of("off")))
        lua_pushliteral(L, "https");
    else
        lua_pushliteral(L, "http");
    return 1;
}

static int l_host(lua_State *L)
{
    struct request *req = lua_request_get(L);
    struct slice value;

    if (req == NULL)
        return lua_request_over(L);
    if (request_param(req, slice_of("HTTP_HOST"), &value)) {
        push_slice(L, value);
        return 1;
    }
    return push_param(L, req, "SERVER_NAME", NULL);
}

static int l_remote_addr(lua_State *L)
{
    return push_param(L, lua_request_get(L), "REMOTE_ADDR", NULL);
}

/* nginx sends the parameter empty where nobody has authenticated: that is no
 * user, and must not be true in a script's `if`. */
static int l_user(lua_State *L)
{
    struct request *req = lua_request_get(L);
    struct slice user;

    if (req != NULL && request_param(req, slice_of("REMOTE_USER"), &user) &&
        user.len == 0) {
        luaL_pushfail(L);
        return 1;
    }
    return push_param(L, req, "REMOTE_USER", NULL);
}

static int l_content_length(lua_State *L)
{
    struct request *req = lua_request_get(L);
    unsigned long long length;
    struct slice value;

    if (req == NULL)
        return lua_request_over(L);
    if (request_param(req, slice_of("CONTENT_LENGTH"), &value) &&
        slice_to_number(value, LUA_MAXINTEGER, &length))
        lua_pushinteger(L, (lua_Integer)length);
    else
        luaL_pushfail(L);
    return 1;
}

/* --- fields --------------------------------------------------------------- */

static const char *role_name(enum request_role role)
{
    switch (role) {
    case REQUEST_AUTHORIZER:
        return "authorizer";
    case REQUEST_FILTER:
        return "filter";
    case REQUEST_RESPONDER:
        break;
    }
    return "responder";
}

static int push_number_param(lua_State *L, const struct request *req,
                             const char *name)
{
    unsigned long long number;
    struct slice value;

    if (request_param(req, slice_of(name), &value) &&
        slice_to_number(value, LUA_MAXINTEGER, &number))
        lua_pushinteger(L, (lua_Integer)number);
    else
        luaL_pushfail(L);
    return 1;
}

static int push_ctx(lua_State *L)
{
    lua_request_push_memo(L);
    if (lua_getfield(L, -1, "ctx") == LUA_TNIL) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, -4, "ctx");
    }
    return 1;
}

/* req.input, req.out, req.err: made by upvalue 3 on first use.  They are there
 * when the request is over, too, and then say so. */
static int push_file(lua_State *L, const char *name)
{
    lua_request_push_memo(L);
    if (lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_pushvalue(L, lua_upvalueindex(3));
        lua_pushvalue(L, 1);
        lua_pushstring(L, name);
        lua_call(L, 2, 1);
        lua_pushvalue(L, -1);
        lua_setfield(L, -4, name);
    }
    return 1;
}

static int push_other_field(lua_State *L, const char *name)
{
    if (strcmp(name, "input") == 0 || strcmp(name, "out") == 0 ||
        strcmp(name, "err") == 0)
        return push_file(L, name);
    luaL_pushfail(L);
    return 1;
}

static int push_field(lua_State *L, struct request *req, const char *name)
{
    char buffer[REQUEST_ID_MAX];

    if (strcmp(name, "ctx") == 0)
        return push_ctx(L);
    if (req == NULL)
        return push_other_field(L, name);
    if (strcmp(name, "id") == 0) {
        push_slice(L, request_id(req, buffer));
        return 1;
    }
    if (strcmp(name, "role") == 0) {
        lua_pushstring(L, role_name(req->role));
        return 1;
    }
    if (strcmp(name, "started") == 0) {
        lua_pushnumber(L, req->started);
        return 1;
    }
    if (strcmp(name, "data_length") == 0)
        return push_number_param(L, req, "FCGI_DATA_LENGTH");
    if (strcmp(name, "data_mtime") == 0)
        return push_number_param(L, req, "FCGI_DATA_LAST_MOD");
    return push_other_field(L, name);
}

/* Upvalue 2: the methods; 3: what makes the file objects. */
static int l_index(lua_State *L)
{
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL)
        return 1;
    if (lua_type(L, 2) != LUA_TSTRING) {
        luaL_pushfail(L);
        return 1;
    }
    return push_field(L, lua_request_get(L), lua_tostring(L, 2));
}

static int l_newindex(lua_State *L)
{
    lua_request_check(L);
    if (lua_type(L, 2) == LUA_TSTRING &&
        strcmp(lua_tostring(L, 2), "ctx") == 0) {
        luaL_checktype(L, 3, LUA_TTABLE);
        lua_request_push_memo(L);
        lua_pushvalue(L, 3);
        lua_setfield(L, -2, "ctx");
        return 0;
    }
    return luaL_error(L, "a request's fields cannot be set: use req.ctx");
}

/* memo(req): a private table for lua/fcgi; what it holds is over with the
 * request. */
static int l_memo(lua_State *L)
{
    if (lua_request_get(L) == NULL)
        return lua_request_over(L);
    lua_request_push_memo(L);
    return 1;
}

static const luaL_Reg asking[] = {
    { "param", l_param },
    { "params", l_params },
    { "method", l_method },
    { "path", l_path },
    { "script_name", l_script_name },
    { "path_info", l_path_info },
    { "query_string", l_query_string },
    { "uri", l_uri },
    { "protocol", l_protocol },
    { "scheme", l_scheme },
    { "host", l_host },
    { "remote_addr", l_remote_addr },
    { "user", l_user },
    { "content_length", l_content_length },
    { "header", lua_headers_get },
    { "parts", lua_parts_iterate },
    { NULL, NULL },
};

/* Adds functions to the table on top, with the class, at index class, as their
 * upvalue. */
static void add_functions(lua_State *L, const luaL_Reg *functions, int class)
{
    lua_pushvalue(L, class);
    luaL_setfuncs(L, functions, 1);
}

/* Calls what a module of lua/fcgi returns: f(methods, memo). */
static void add_lua_half(lua_State *L, const char *module, int methods,
                         int class)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
    lua_pushvalue(L, methods);
    lua_pushvalue(L, class);
    lua_pushcclosure(L, l_memo, 1);
    lua_call(L, 2, 0);
}

/* The functions that answer with what a hook returned stay with the script. */
static void open_answers(lua_State *L, int methods, int class)
{
    struct script *script = script_of(L);

    lua_getglobal(L, "require");
    lua_pushliteral(L, "fcgi.answer");
    lua_call(L, 1, 1);
    lua_pushvalue(L, methods);
    lua_newtable(L);
    add_functions(L, lua_request_private, class);
    lua_call(L, 2, 2);
    script->authorize = luaL_ref(L, LUA_REGISTRYINDEX);
    script->answer = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Pushes f(req, name), which makes req.input, req.out and req.err. */
static void open_files(lua_State *L, int methods, int class)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "fcgi.file");
    lua_call(L, 1, 1);
    lua_pushvalue(L, methods);
    lua_newtable(L);
    add_functions(L, lua_request_peeking, class);
    lua_call(L, 2, 1);
}

/* Adds methods that send files and events: f(methods, private, memo). */
static void open_sending(lua_State *L, const char *module, int methods,
                         int class)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
    lua_pushvalue(L, methods);
    lua_send_file_push(L, class);
    add_functions(L, lua_request_private, class);
    lua_pushvalue(L, class);
    lua_pushcclosure(L, l_memo, 1);
    lua_call(L, 3, 0);
}

/* req:form, and what the parts of a form can do besides. */
static void open_forms(lua_State *L, int methods, int class)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "fcgi.form");
    lua_call(L, 1, 1);
    lua_pushvalue(L, methods);
    lua_pushvalue(L, class);
    lua_pushcclosure(L, l_memo, 1);
    lua_parts_open(L, class);
    add_functions(L, lua_request_forming, class);
    lua_call(L, 3, 0);
}

void lua_request_open(lua_State *L)
{
    int class, methods;

    luaL_newmetatable(L, LUA_REQUEST);
    class = lua_gettop(L);
    lua_newtable(L);
    methods = lua_gettop(L);
    add_functions(L, asking, class);
    add_functions(L, lua_request_reading, class);
    add_functions(L, lua_request_answering, class);

    lua_pushvalue(L, class);
    lua_pushvalue(L, methods);
    open_files(L, methods, class);
    lua_pushcclosure(L, l_index, 3);
    lua_setfield(L, class, "__index");
    lua_pushvalue(L, class);
    lua_pushcclosure(L, l_newindex, 1);
    lua_setfield(L, class, "__newindex");
    lua_pushvalue(L, class);
    lua_pushcclosure(L, l_tostring, 1);
    lua_setfield(L, class, "__tostring");
    lua_pushboolean(L, 0);
    lua_setfield(L, class, "__metatable");

    add_lua_half(L, "fcgi.request", methods, class);
    open_forms(L, methods, class);
    open_answers(L, methods, class);
    add_lua_half(L, "fcgi.respond", methods, class);
    open_sending(L, "fcgi.send_file", methods, class);
    open_sending(L, "fcgi.event", methods, class);
    lua_settop(L, class);
    script_of(L)->request_class = luaL_ref(L, LUA_REGISTRYINDEX);
}
