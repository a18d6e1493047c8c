/* handler.c -- a request's way through its hook: see handler.h.
 *
 *     task: main -- pcall(hook) --> returned --> pcall(answer) --> finish
 *                        `-- error --> pcall(on_error) --> 500 if need be
 *
 * The protected calls are in the coroutine itself, so whatever is in them may
 * wait, and to-be-closed variables run when they end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/handler.h"

#include "core/params.h"
#include "script/lua_request.h"

#include <stdio.h>
#include <stdlib.h>

enum { ERROR_TEXT_MAX = 8192 }; /* of an error and its traceback, in logs */

/* Of a traceback: from how many on it is cut, and to how many. */
enum { DEEP_LEVELS = 200, SHOWN_LEVELS = 20 };

/* The stack of a handler's coroutine. */
enum { AT_TASK = 1, AT_REQUEST, AT_MESSAGES };

/* --- the log -------------------------------------------------------------- */

static bool is_sound_id(struct slice id)
{
    if (id.len == 0 || id.len > HANDLER_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (id.data[i] <= ' ' || id.data[i] > '~')
            return false;
    return true;
}

struct slice handler_request_id(const struct request *req,
                                char buffer[HANDLER_ID_MAX])
{
    struct slice id;
    int n;

    if (request_param(req, slice_of("HTTP_X_REQUEST_ID"), &id) &&
        is_sound_id(id))
        return id;
    n = snprintf(buffer, HANDLER_ID_MAX, "%llx",
                 (unsigned long long)req->serial);
    return (struct slice){ buffer, (size_t)n };
}

static struct slice param_or(const struct request *req, const char *name,
                             const char *otherwise)
{
    struct slice value;

    return request_param(req, slice_of(name), &value) ? value
                                                      : slice_of(otherwise);
}

static void log_for(enum log_level level, struct request *req,
                    struct slice text, struct slice detail)
{
    static const size_t uri_max = 512;
    char buffer[HANDLER_ID_MAX], line[ERROR_TEXT_MAX + 1024];
    struct slice method, uri, peer, id;
    int n;

    if (req == NULL) {
        log_text(level, text, detail);
        return;
    }
    method = param_or(req, "REQUEST_METHOD", "GET");
    uri = param_or(req, "REQUEST_URI", "-");
    peer = param_or(req, "REMOTE_ADDR", "-");
    id = handler_request_id(req, buffer);
    if (text.len > ERROR_TEXT_MAX / 2)
        text.len = ERROR_TEXT_MAX / 2;
    if (text.len > 0)
        memcpy(line, text.data, text.len); /* it may have NULs */
    n = snprintf(line + text.len, sizeof(line) - text.len,
                 " (%.*s %.*s, %.*s, req %.*s)",
                 (int)(method.len < 32 ? method.len : 32), method.data,
                 (int)(uri.len < uri_max ? uri.len : uri_max), uri.data,
                 (int)(peer.len < 64 ? peer.len : 64), peer.data, (int)id.len,
                 id.data);
    log_text(level, (struct slice){ line, text.len + (size_t)n }, detail);
}

void handler_log(enum log_level level, struct request *req, struct slice text,
                 struct slice detail)
{
    if (log_is_on(level))
        log_for(level, req, text, detail);
}

/* For the author of the script: our log, and the web server's. */
static void tell(struct script *script, struct request *req, struct slice text,
                 struct slice detail)
{
    static const struct slice newline = { "\n", 1 };

    if (detail.len > ERROR_TEXT_MAX)
        detail.len = ERROR_TEXT_MAX;
    handler_log(LOG_LEVEL_ERROR, req, text, detail);
    if (req == NULL || req->exchange == NULL || script->limits.stderr_to_log)
        return;
    if (text.len > ERROR_TEXT_MAX)
        text.len = ERROR_TEXT_MAX;
    req->exchange->ops->err(req->exchange, text);
    if (detail.len > 0 && req->exchange != NULL) {
        req->exchange->ops->err(req->exchange, newline);
        req->exchange->ops->err(req->exchange, detail);
    }
}

static void complain(struct service *service, struct request *req,
                     const char *what)
{
    struct script *script = service->owner;
    char line[512];
    int n = snprintf(line, sizeof(line), "%s: %s", script->name, what);

    tell(script, req,
         (struct slice){ line, (size_t)n < sizeof(line) ? (size_t)n
                                                        : sizeof(line) - 1 },
         (struct slice){ NULL, 0 });
}

/* --- errors --------------------------------------------------------------- */

static int tostring_call(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    return 1;
}

/* Pushes an error as text, whatever it is and whatever its __tostring does. */
static void push_error_text(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        return;
    }
    lua_pushcfunction(L, tostring_call);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        lua_pop(L, 1);
        lua_pushfstring(L, "(error object is a %s value)",
                        luaL_typename(L, index));
    }
}

/* A traceback of the levels that called; luaL_traceback looks for the last
 * one first, which takes half a second where a stack has overflowed. */
static void push_traceback(lua_State *L)
{
    luaL_Buffer text;
    lua_Debug ar;

    if (!lua_getstack(L, DEEP_LEVELS, &ar)) {
        luaL_traceback(L, L, NULL, 1);
        return;
    }
    luaL_buffinit(L, &text);
    luaL_addstring(&text, "stack traceback:");
    for (int level = 1; level <= SHOWN_LEVELS; level++) {
        if (!lua_getstack(L, level, &ar) || !lua_getinfo(L, "Sln", &ar))
            break;
        lua_pushfstring(L, "\n\t%s:%d: in %s %s", ar.short_src, ar.currentline,
                        *ar.namewhat != 0 ? ar.namewhat : "?",
                        ar.name != NULL ? ar.name : "?");
        luaL_addvalue(&text);
    }
    luaL_addstring(&text, "\n\t...\t(more levels)");
    luaL_pushresult(&text);
}

/* The message handler: keeps the error, its text and its traceback beside the
 * stack, and leaves the error itself as it is: to-be-closed variables see it.
 */
static int collect_error(lua_State *L)
{
    size_t len;

    lua_settop(L, 1);
    if (task_cancelled_reason(L, 1) != NULL)
        return 1;
    lua_createtable(L, 3, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, 2, 1);
    push_error_text(L, 1);
    lua_tolstring(L, -1, &len);
    if (len > ERROR_TEXT_MAX) {
        lua_pushlstring(L, lua_tostring(L, -1), ERROR_TEXT_MAX);
        lua_replace(L, -2);
    }
    lua_rawseti(L, 2, 2);
    push_traceback(L);
    lua_rawseti(L, 2, 3);
    lua_rawsetp(L, LUA_REGISTRYINDEX, task_running(L));
    return 1;
}

/* Replaces the error on top of the stack by what collect_error kept of it. */
static void take_details(lua_State *L)
{
    struct task *task = task_running(L);

    if (lua_rawgetp(L, LUA_REGISTRYINDEX, task) == LUA_TTABLE) {
        lua_rawgeti(L, -1, 1);
        if (lua_rawequal(L, -1, -3)) {
            lua_pop(L, 1);
            lua_replace(L, -2);
        } else {
            lua_pop(L, 2);
        }
    } else {
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, task);
}

/* A stack that overflowed is large, and so is what the C heap keeps of it. */
static void note_overflow(lua_State *L, struct slice text)
{
    static const char what[] = "stack overflow";

    if (text.len > 0 &&
        memmem(text.data, text.len, what, sizeof(what) - 1) != NULL)
        task_running(L)->has_overflowed = true;
}

/* Logs what collect_error left on top of the stack. */
static void log_error(lua_State *L, struct request *req)
{
    struct script *script = script_of(L);
    struct slice text = slice_of("an error in the error handling"),
                 trace = { 0 };

    if (lua_istable(L, -1)) {
        lua_rawgeti(L, -1, 2);
        lua_rawgeti(L, -2, 3);
        text.data = lua_tolstring(L, -2, &text.len);
        trace.data = lua_tolstring(L, -1, &trace.len);
        tell(script, req, text, trace);
        note_overflow(L, text);
        lua_pop(L, 2);
        return;
    }
    if (lua_type(L, -1) == LUA_TSTRING) /* no memory: there is no table */
        text.data = lua_tolstring(L, -1, &text.len);
    tell(script, req, text, trace);
}

/* The end of a handler that failed. */
static void answer_error(struct request *req)
{
    if (response_is_begun(&req->response) && !req->is_ended &&
        !req->is_aborted && req->exchange != NULL)
        handler_log(LOG_LEVEL_WARN, req,
                    slice_of("the answer had begun: the client sees it broken "
                             "off"),
                    (struct slice){ NULL, 0 });
    response_fail(req, 500);
}

static int cancelled_status(const char *reason)
{
    return strcmp(reason, "timeout") == 0 ? 504 : 503;
}

static int on_error_done(lua_State *L, int status, lua_KContext ctx);

/* The hook on_error(req, err, traceback), or what stands in for it. */
static int failed(lua_State *L, int status, struct request *req)
{
    struct script *script = script_of(L);
    const char *reason = task_cancelled_reason(L, -1);

    watchdog_restart(&script->watchdog, L);
    if (reason != NULL) {
        char line[128];
        int n = snprintf(line, sizeof(line), "%s: cancelled: %s", script->name,
                         reason);

        handler_log(LOG_LEVEL_WARN, req, (struct slice){ line, (size_t)n },
                    (struct slice){ NULL, 0 });
        response_fail(req, cancelled_status(reason));
        return 0;
    }
    take_details(L);
    if (status == LUA_ERRMEM || !lua_istable(L, -1) ||
        script->hooks[HOOK_ERROR] == LUA_NOREF) {
        log_error(L, req);
        answer_error(req);
        return 0;
    }
    response_reset(req); /* the hook answers from the beginning */
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->hooks[HOOK_ERROR]);
    lua_pushvalue(L, AT_REQUEST);
    lua_rawgeti(L, -3, 1);
    lua_rawgeti(L, -4, 3);
    status = lua_pcallk(L, 3, 3, AT_MESSAGES, 1, on_error_done);
    return on_error_done(L, status, 1);
}

/* --- the way of a request ------------------------------------------------- */

static int answered(lua_State *L, int status, lua_KContext ctx)
{
    struct task *task = lua_touserdata(L, AT_TASK);
    struct request *req = task->req;

    if (status != LUA_OK && status != LUA_YIELD) {
        if (ctx == 0)
            return failed(L, status, req);
        take_details(L);
        log_error(L, req); /* an error in the answer of on_error */
        answer_error(req);
        return 0;
    }
    response_finish(req, 0);
    return 0;
}

/* The last three values on the stack are what a hook returned: a status, and
 * with it an answer, or something else.  ctx 1: the hook was on_error. */
static int returned(lua_State *L, struct request *req, lua_KContext ctx)
{
    struct script *script = script_of(L);
    int first = lua_gettop(L) - 2;
    bool authorizes = req->role == REQUEST_AUTHORIZER && ctx == 0;
    bool begun = req->response.state != RESPONSE_NEW ||
                 req->response.is_built || req->is_ended;
    int status;

    if (authorizes && begun && lua_type(L, first) != LUA_TNUMBER)
        authorizes = false; /* it has answered by itself */
    if (!authorizes && lua_type(L, first) != LUA_TNUMBER) {
        if (ctx == 0 || req->is_ended) {
            response_finish(req, 0);
            return 0;
        }
        lua_settop(L, first - 1); /* on_error did nothing: as without it */
        log_error(L, req);
        answer_error(req);
        return 0;
    }
    if (req->is_aborted || req->is_too_large)
        return 0; /* it was answered for the handler */
    if (req->response.state != RESPONSE_NEW) {
        tell(script, req,
             slice_of("a status was returned after the head had gone"),
             (struct slice){ NULL, 0 });
        response_finish(req, ctx == 0 ? 0 : 1);
        return 0;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX,
                authorizes ? script->authorize : script->answer);
    lua_pushvalue(L, AT_REQUEST);
    lua_rotate(L, first, 2); /* below the three */
    status = lua_pcallk(L, 4, 0, AT_MESSAGES, ctx, answered);
    return answered(L, status, ctx);
}

static int on_error_done(lua_State *L, int status, lua_KContext ctx)
{
    struct task *task = lua_touserdata(L, AT_TASK);

    if (status == LUA_OK || status == LUA_YIELD) {
        const struct response *response = &task->req->response;

        if ((response_is_begun(response) || response->is_built) &&
            lua_type(L, -3) != LUA_TNUMBER && task->req->exchange != NULL) {
            response_finish(task->req, 1);
            return 0;
        }
        return returned(L, task->req, ctx);
    }
    /* on_error itself failed: tell of both, its error lies on the first. */
    take_details(L);
    log_error(L, task->req);
    lua_pop(L, 1);
    log_error(L, task->req);
    answer_error(task->req);
    return 0;
}

static int hook_done(lua_State *L, int status, lua_KContext ctx)
{
    struct task *task = lua_touserdata(L, AT_TASK);

    if (status == LUA_OK || status == LUA_YIELD)
        return returned(L, task->req, ctx);
    return failed(L, status, task->req);
}

static enum script_hook hook_of(enum request_role role)
{
    switch (role) {
    case REQUEST_AUTHORIZER:
        return HOOK_AUTHORIZE;
    case REQUEST_FILTER:
        return HOOK_FILTER;
    case REQUEST_RESPONDER:
        break;
    }
    return HOOK_REQUEST;
}

/* The whole of a handler's task; the task is at index 1. */
static int handler_main(lua_State *L)
{
    struct task *task = lua_touserdata(L, AT_TASK);
    struct script *script = task->script;
    int status;

    lua_request_push(L, task->req);
    lua_pushcfunction(L, collect_error);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->hooks[hook_of(task->req->role)]);
    lua_pushvalue(L, AT_REQUEST);
    status = lua_pcallk(L, 1, 3, AT_MESSAGES, 0, hook_done);
    return hook_done(L, status, 0);
}

void handler_failed(struct task *task, const char *what)
{
    struct request *req = task->req;
    bool serves = req != NULL && req->handler == task;

    if (what != NULL) {
        char line[512];
        int n =
            snprintf(line, sizeof(line), "%s: %s", task->script->name, what);

        if ((size_t)n >= sizeof(line))
            n = sizeof(line) - 1;
        tell(task->script, req, (struct slice){ line, (size_t)n },
             (struct slice){ NULL, 0 });
    }
    if (!serves)
        return;
    if (task->cancel_reason != NULL)
        response_fail(req, cancelled_status(task->cancel_reason));
    else
        response_fail(req, what == NULL ? 503 : 500);
}

void handler_ended(struct task *task, struct request *req)
{
    if (task->handle != NULL) {
        lua_request_release(task->handle);
        task->handle = NULL;
        request_wake(req); /* who else used the handle finds it released */
    }
    if (req->handler == task) {
        req->handler = NULL;
        req->service->serving--;
        request_drop_input(req);
    }
    request_unref(req);
}

/* --- the service ---------------------------------------------------------- */

static bool serves(struct service *service, enum request_role role)
{
    const struct script *script = service->owner;

    return script->hooks[hook_of(role)] != LUA_NOREF;
}

static void ready(struct service *service, struct request *req)
{
    struct script *script = service->owner;
    struct task *task = task_new(script, handler_main, req);

    if (task == NULL) {
        response_fail(req, 503);
        return;
    }
    req->handler = task;
    service->serving++;
}

static void aborted(struct service *service, struct request *req)
{
    struct script *script = service->owner;
    struct task *task = req->handler;

    if (task == NULL)
        return;
    while (task->abort_hooks != NULL) {
        struct abort_hook *hook = task->abort_hooks;

        task->abort_hooks = hook->next;
        lua_request_start_abort_hook(script, req, hook->ref);
        free(hook);
    }
    if (script->abort_cancels)
        task_cancel(task, "abort");
}

const struct service_ops handler_ops = {
    .serves = serves,
    .ready = ready,
    .aborted = aborted,
    .complain = complain,
};
