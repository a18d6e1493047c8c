/* lua_read.c -- reading a request's body from Lua, and hearing that the client
 * has gone.
 *
 * Each reading function is called again, as its own continuation, whenever the
 * request has news: it looks at what is there and either takes it or waits.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/limits.h"
#include "core/mime.h"
#include "script/cancel.h"
#include "script/lua_process.h"
#include "script/lua_request.h"
#include "script/lua_task.h"
#include "script/report.h"
#include "script/wait.h"

#include <stdlib.h>

enum {
    READ_MAX = 1024 * 1024, /* of one read(n): more than is ever in memory */
    LINE_MAX_DEFAULT = 1024 * 1024
};

/* What has taken a body, for whoever wants it too. */
static const char *use_name(enum body_use use)
{
    switch (use) {
    case BODY_WHOLE:
        return "body";
    case BODY_FORM:
        return "form";
    case BODY_PARTS:
        return "parts";
    case BODY_UNUSED:
    case BODY_READ:
        break;
    }
    return "read, read_line or lines";
}

struct lua_request *lua_request_use_body(lua_State *L, enum body_use use)
{
    struct lua_request *self = lua_request_check(L);

    if (self->req == NULL)
        return NULL;
    if (self->use != BODY_UNUSED && self->use != use)
        return (void)luaL_error(L, "the body is already being taken by req:%s",
                                use_name(self->use)),
               NULL;
    self->use = use;
    return self;
}

const char *lua_request_reason(enum request_status status)
{
    switch (status) {
    case REQUEST_ABORTED:
        return "aborted";
    case REQUEST_FINISHED:
        return "finished";
    case REQUEST_TOO_LARGE:
        return "too large";
    case REQUEST_DATA:
    case REQUEST_WAIT:
    case REQUEST_EOF:
        break;
    }
    return NULL;
}

/* nil, or nil and why. */
static int push_nothing(lua_State *L, enum request_status status)
{
    const char *why = lua_request_reason(status);

    luaL_pushfail(L);
    if (why == NULL)
        return 1;
    lua_pushstring(L, why);
    return 2;
}

/* Pushes all that a body holds, size bytes, as one string; false: the file
 * cannot be read. */
static bool push_whole(lua_State *L, struct request *req, struct body *body,
                       size_t size)
{
    luaL_Buffer buffer;
    char *room = luaL_buffinitsize(L, &buffer, size);
    size_t have = 0;
    struct slice got;

    while (have < size &&
           request_peek(req, body, size - have, &got) == REQUEST_DATA) {
        memcpy(room + have, got.data, got.len);
        have += got.len;
        request_consume(req, body, got.len);
    }
    luaL_pushresultsize(&buffer, have);
    return have == size;
}

/* The handler waits for all: reading must not stop at the window. */
static void want_all(struct request *req, struct body *body)
{
    if (body->want_all)
        return;
    body->want_all = true;
    if (req->exchange != NULL)
        req->exchange->ops->body_consumed(req->exchange);
}

/* A line that a cancelled read_line had begun comes first. */
static bool push_line_begun(lua_State *L, struct lua_request *self)
{
    if (self->line.len == 0)
        return false;
    lua_pushlstring(L, self->line.data, self->line.len);
    self->line.len = 0;
    return true;
}

/* req:read(): all the rest. */
static int read_rest_k(lua_State *L, int status, lua_KContext ctx)
{
    struct request *req = lua_request_get(L);
    struct body *body;
    enum request_status result;
    uint64_t size;
    bool began;

    (void)status;
    if (req == NULL)
        return lua_request_over(L);
    body = ctx != 0 ? &req->data : &req->body;
    result = request_peek_all(req, body, SIZE_MAX / 2, &size);
    if (result == REQUEST_WAIT) {
        want_all(req, body);
        return task_wait_request(L, req, ctx, read_rest_k);
    }
    began = ctx == 0 && push_line_begun(L, lua_request_check(L));
    if (size == 0)
        return began ? 1
                     : push_nothing(L, result == REQUEST_DATA ? REQUEST_EOF
                                                              : result);
    if (!push_whole(L, req, body, (size_t)size))
        return push_nothing(L, REQUEST_ABORTED);
    if (began)
        lua_concat(L, 2);
    return 1;
}

/* req:read(n), n at index 2: what there is. */
static int read_some_k(lua_State *L, int status, lua_KContext ctx)
{
    struct request *req = lua_request_get(L);
    struct body *body;
    lua_Integer max = lua_tointeger(L, 2);
    enum request_status result;
    struct slice got;

    (void)status;
    if (req == NULL)
        return lua_request_over(L);
    body = ctx != 0 ? &req->data : &req->body;
    result =
        request_peek(req, body, max < READ_MAX ? (size_t)max : READ_MAX, &got);
    if (result == REQUEST_WAIT)
        return task_wait_request(L, req, ctx, read_some_k);
    if (result != REQUEST_DATA)
        return push_nothing(L, result);
    lua_pushlstring(L, got.data, got.len);
    request_consume(req, body, got.len); /* only now: the push may raise */
    return 1;
}

static int start_read(lua_State *L, lua_KContext which)
{
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        return read_rest_k(L, LUA_OK, which);
    }
    luaL_argcheck(L, luaL_checkinteger(L, 2) > 0, 2, "must be positive");
    lua_settop(L, 2);
    return read_some_k(L, LUA_OK, which);
}

/* The same for read(n). */
static int push_some_of_line(lua_State *L, struct lua_request *self)
{
    lua_Integer max = luaL_checkinteger(L, 2);
    struct slice rest = buffer_slice(&self->line), part;

    luaL_argcheck(L, max > 0, 2, "must be positive");
    part = slice_take(&rest, (size_t)max);
    lua_pushlstring(L, part.data, part.len);
    memmove(self->line.data, rest.data, rest.len);
    self->line.len = rest.len;
    return 1;
}

/* req:read([n]) -> string | nil at the end | nil, "aborted" */
static int l_read(lua_State *L)
{
    struct lua_request *self = lua_request_use_body(L, BODY_READ);

    if (self == NULL)
        return lua_request_over(L);
    if (self->line.len > 0 && !lua_isnoneornil(L, 2))
        return push_some_of_line(L, self);
    return start_read(L, 0);
}

/* req:data([n]): the DATA stream of a filter. */
static int l_data(lua_State *L)
{
    struct lua_request *self = lua_request_check(L);

    if (self->req == NULL)
        return lua_request_over(L);
    if (self->req->role != REQUEST_FILTER)
        return luaL_error(L, "req:data is for the role of a filter");
    return start_read(L, 1);
}

/* ctx: the most bytes that a line may have. */
static int read_line_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_request *self = lua_request_check(L);
    struct request *req = self->req;
    size_t max = (size_t)ctx;
    enum request_status result = REQUEST_DATA;
    bool whole = false;
    struct slice got;

    (void)status;
    if (req == NULL)
        return lua_request_over(L);
    while (!whole && self->line.len < max &&
           (result = request_peek(req, &req->body, max - self->line.len,
                                  &got)) == REQUEST_DATA) {
        const char *newline = slice_find(got, '\n');

        whole = newline != NULL;
        if (whole)
            got.len = (size_t)(newline + 1 - got.data);
        if (whole && self->line.len == 0) { /* nearly always */
            lua_pushlstring(L, got.data, got.len);
            request_consume(req, &req->body, got.len);
            return 1;
        }
        if (buffer_append(&self->line, got) != BUFFER_OK)
            return luaL_error(L, "not enough memory");
        request_consume(req, &req->body, got.len);
    }
    if (result == REQUEST_WAIT)
        return task_wait_request(L, req, ctx, read_line_k);
    return push_line_begun(L, self) ? 1 : push_nothing(L, result);
}

/* req:read_line([max]) -> a line with its newline, or max bytes of it */
static int l_read_line(lua_State *L)
{
    lua_Integer max;

    if (lua_request_use_body(L, BODY_READ) == NULL)
        return lua_request_over(L);
    max = luaL_optinteger(L, 2, LINE_MAX_DEFAULT);
    luaL_argcheck(L, max > 0, 2, "must be positive");
    lua_settop(L, 1);
    return read_line_k(L, LUA_OK, (lua_KContext)max);
}

/* ctx: the most bytes that the caller takes.  Another task may have asked for
 * it meanwhile, so what was kept is looked at each time. */
static int body_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_request *self = lua_request_check(L);
    struct request *req = self->req;
    enum request_status result;
    uint64_t size;

    (void)status;
    if (req == NULL)
        return lua_request_over(L);
    if (lua_getfield(L, 2, "body") == LUA_TSTRING)
        return 1;
    lua_pop(L, 1);
    if (req->body.dropped && !req->is_ended) /* it was asked for before */
        return push_nothing(L, REQUEST_TOO_LARGE);
    result = request_peek_all(req, &req->body, (uint64_t)ctx, &size);
    if (result == REQUEST_WAIT) {
        want_all(req, &req->body);
        return task_wait_request(L, req, ctx, body_k);
    }
    if (result == REQUEST_TOO_LARGE && !req->is_ended)
        request_drop_input(req);
    if (result != REQUEST_DATA)
        return push_nothing(L, result);
    if (!push_whole(L, req, &req->body, (size_t)size))
        return push_nothing(L, REQUEST_ABORTED);
    lua_pushvalue(L, -1); /* it may be asked for again */
    lua_setfield(L, 2, "body");
    return 1;
}

static int start_body(lua_State *L, lua_Integer max)
{
    lua_settop(L, 1);
    lua_request_push_memo(L);
    return body_k(L, LUA_OK, (lua_KContext)max);
}

/* req:body([max]) -> string | nil, "too large" | nil, "aborted" */
static int l_body(lua_State *L)
{
    struct lua_request *self = lua_request_use_body(L, BODY_WHOLE);
    lua_Integer max = BODY_DEFAULT_MAX;

    if (self == NULL)
        return lua_request_over(L);
    if (self->req->service->limits.max_body > BODY_DEFAULT_MAX)
        max = (lua_Integer)self->req->service->limits.max_body;
    max = luaL_optinteger(L, 2, max);
    luaL_argcheck(L, max >= 0, 2, "must not be negative");
    return start_body(L, max);
}

static int l_is_aborted(lua_State *L)
{
    const struct lua_request *self = lua_request_check(L);

    lua_pushboolean(L, self->req != NULL ? self->req->is_aborted
                                         : self->was_aborted);
    return 1;
}

/* A task's function is what on_abort was given. */
static int run_abort_hook(lua_State *L)
{
    struct task *task = lua_touserdata(L, 1);

    lua_rawgeti(L, LUA_REGISTRYINDEX, task->function);
    lua_replace(L, 1);
    return lua_task_guard(L);
}

/* req:on_abort(f): f runs as a task of its own when the client has gone, at
 * once if it has already. */
static int l_on_abort(lua_State *L)
{
    struct lua_request *self = lua_request_check(L);
    struct script *script = script_of(L);
    struct task *task;
    struct abort_hook *hook;
    int ref;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (self->req == NULL)
        return lua_request_over(L);
    task = self->req->handler;
    lua_settop(L, 2);
    ref = luaL_ref(L, LUA_REGISTRYINDEX);
    if (self->req->is_aborted) {
        lua_request_start_abort_hook(script, self->req, ref);
        return lua_request_chain(L);
    }
    hook = task == NULL ? NULL : malloc(sizeof(*hook));
    if (hook == NULL) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        return task == NULL ? lua_request_chain(L) /* it has ended */
                            : luaL_error(L, "not enough memory");
    }
    *hook = (struct abort_hook){ .next = task->abort_hooks, .ref = ref };
    task->abort_hooks = hook;
    return lua_request_chain(L);
}

static void abort_hook_ended(struct task *task)
{
    luaL_unref(task->script->L, LUA_REGISTRYINDEX, task->function);
    lua_task_end_children(task);
    lua_process_end_all(&task->processes);
}

static const struct task_kind abort_hook_kind = {
    .main = run_abort_hook,
    .failed = report_fault,
    .ended = abort_hook_ended,
    .is_root = true,
};

bool lua_request_start_abort_hook(struct script *script, struct request *req,
                                  int ref)
{
    struct task *task = task_new(script, &abort_hook_kind, req);

    if (task == NULL) {
        luaL_unref(script->L, LUA_REGISTRYINDEX, ref);
        return false;
    }
    task->function = ref;
    if (script->limits.timeout > 0)
        task_set_deadline(task, script->limits.timeout);
    return true;
}

/* --- for lua/fcgi/file.lua ------------------------------------------------ */

/* peek(req, n): 1..n bytes of the body that the next read will give; nil at the
 * end; nil, "aborted".  n is at index 2. */
static int peek_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_request *self = lua_request_check(L);
    struct request *req = self->req;
    size_t max = (size_t)lua_tointeger(L, 2);
    enum request_status result = REQUEST_DATA;
    struct slice got;

    (void)status;
    if (req == NULL)
        return lua_request_over(L);
    got = buffer_slice(&self->line); /* what a cancelled read_line had */
    if (got.len == 0)
        result = request_peek(req, &req->body, max, &got);
    if (result == REQUEST_WAIT)
        return task_wait_request(L, req, ctx, peek_k);
    if (result != REQUEST_DATA)
        return push_nothing(L, result);
    lua_pushlstring(L, got.data, got.len < max ? got.len : max);
    return 1;
}

static int l_peek(lua_State *L)
{
    if (lua_request_use_body(L, BODY_READ) == NULL)
        return lua_request_over(L);
    luaL_argcheck(L, luaL_checkinteger(L, 2) > 0, 2, "must be positive");
    return peek_k(L, LUA_OK, 0);
}

const luaL_Reg lua_request_peeking[] = {
    { "peek", l_peek },
    { NULL, NULL },
};

/* --- for lua/fcgi/form.lua ------------------------------------------------ */

/* use_form(req) -> true | nil, "finished" */
static int l_use_form(lua_State *L)
{
    if (lua_request_use_body(L, BODY_FORM) == NULL)
        return lua_request_over(L);
    lua_pushboolean(L, 1);
    return 1;
}

/* form_text(req, max): the body, as req:body gives it. */
static int l_form_text(lua_State *L)
{
    if (lua_request_use_body(L, BODY_FORM) == NULL)
        return lua_request_over(L);
    return start_body(L, luaL_checkinteger(L, 2));
}

/* drop_body(req): nobody wants the rest. */
static int l_drop_body(lua_State *L)
{
    struct request *req = lua_request_get(L);

    if (req != NULL && !req->is_ended)
        request_drop_input(req);
    return 0;
}

/* decode(s): a name or a value of an urlencoded form. */
static int l_decode(lua_State *L)
{
    luaL_Buffer buffer;
    struct slice in;
    char *room;

    in.data = luaL_checklstring(L, 1, &in.len);
    if (slice_find(in, '%') == NULL && slice_find(in, '+') == NULL) {
        lua_settop(L, 1); /* mostly */
        return 1;
    }
    room = luaL_buffinitsize(L, &buffer, in.len);
    luaL_pushresultsize(&buffer, mime_form_decode(in, room));
    return 1;
}

const luaL_Reg lua_request_forming[] = {
    { "decode", l_decode },
    { "use_form", l_use_form },
    { "form_text", l_form_text },
    { "drop_body", l_drop_body },
    { NULL, NULL },
};

const luaL_Reg lua_request_reading[] = {
    { "read", l_read },
    { "data", l_data },
    { "read_line", l_read_line },
    { "body", l_body },
    { "is_aborted", l_is_aborted },
    { "on_abort", l_on_abort },
    { NULL, NULL },
};
