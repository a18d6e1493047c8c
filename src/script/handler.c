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

#include "script/cancel.h"
#include "script/dev.h"
#include "script/errors.h"
#include "script/lua_process.h"
#include "script/lua_request.h"
#include "script/lua_task.h"
#include "script/refusal.h"
#include "script/report.h"
#include "script/slow.h"

#include <stdio.h>
#include <stdlib.h>

/* The stack of a handler's coroutine. */
enum { AT_TASK = 1, AT_REQUEST, AT_MESSAGES };

static void complain(struct service *service, struct request *req,
                     const char *what)
{
    const struct task *task = req->handler;
    struct script *script = task != NULL ? task->script : service->owner;
    char line[512];
    int n = snprintf(line, sizeof(line), "%s: %s", script->name, what);

    report_error(script, req,
                 (struct slice){ line, (size_t)n < sizeof(line)
                                           ? (size_t)n
                                           : sizeof(line) - 1 },
                 (struct slice){ NULL, 0 });
    if (script->dev != NULL && !req->is_too_large) /* 500 comes next */
        dev_answer(script, req, slice_of(line), (struct slice){ NULL, 0 });
}

/* The end of a handler that failed; the error lies on top of the stack, as
 * errors_take left it. */
static void answer_error(lua_State *L, struct request *req)
{
    struct slice text, trace;

    if (response_is_begun(&req->response) && !req->is_ended &&
        !req->is_aborted && req->exchange != NULL)
        report_log(LOG_LEVEL_WARN, req,
                   slice_of("the answer had begun: the client sees it broken "
                            "off"),
                   (struct slice){ NULL, 0 });
    errors_show(L, &text, &trace);
    dev_answer(script_of(L), req, text, trace);
}

static int cancelled_status(const char *reason)
{
    return strcmp(reason, "timeout") == 0 ? 504 : 503;
}

/* The error is on top of the stack: tells where the handler was.  That a client
 * has gone is no fault of anybody's. */
static void log_cancelled(lua_State *L, struct request *req, const char *reason)
{
    bool is_abort = req->is_aborted && strcmp(reason, "abort") == 0;
    char line[128];
    struct slice trace = { NULL, 0 };
    int n = snprintf(line, sizeof(line), "%s: cancelled: %s",
                     script_of(L)->name, reason);

    errors_take(L);
    if (!is_abort && lua_istable(L, -1) && lua_rawgeti(L, -1, 3) == LUA_TSTRING)
        trace.data = lua_tolstring(L, -1, &trace.len);
    report_log(is_abort ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, req,
               (struct slice){ line, (size_t)n < sizeof(line)
                                         ? (size_t)n
                                         : sizeof(line) - 1 },
               trace);
}

/* An error that is the client's fault, on top of the stack: nobody has to look
 * into the script for it. */
static void refuse(lua_State *L, struct request *req, int status)
{
    char line[256];
    int n = snprintf(line, sizeof(line), "%s: %s", script_of(L)->name,
                     luaL_tolstring(L, -1, NULL));

    lua_pop(L, 1);
    errors_take(L);
    report_log(req->is_aborted ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, req,
               (struct slice){ line, (size_t)n < sizeof(line)
                                         ? (size_t)n
                                         : sizeof(line) - 1 },
               (struct slice){ NULL, 0 });
    response_fail(req, status);
}

static int on_error_done(lua_State *L, int status, lua_KContext ctx);

/* Which call a continuation belongs to: of the hook, of on_error, and of an
 * on_error that could not answer, because the handler had. */
enum { CALL_HOOK, CALL_ON_ERROR, CALL_ON_LATE_ERROR };

/* The hook on_error(req, err, traceback), or what stands in for it. */
static int failed(lua_State *L, int status, struct request *req)
{
    struct script *script = script_of(L);
    const char *reason = task_cancelled_reason(L, -1);
    lua_KContext call;

    watchdog_restart(&script->watchdog, L);
    if (reason != NULL) {
        log_cancelled(L, req, reason);
        response_fail(req, cancelled_status(reason));
        return 0;
    }
    if (refusal_status(L, -1) != 0) {
        refuse(L, req, refusal_status(L, -1));
        return 0;
    }
    errors_take(L);
    if (status == LUA_ERRMEM || !lua_istable(L, -1) ||
        script->hooks[HOOK_ERROR] == LUA_NOREF) {
        errors_log(L, req);
        answer_error(L, req);
        return 0;
    }
    call =
        response_is_begun(&req->response) ? CALL_ON_LATE_ERROR : CALL_ON_ERROR;
    response_reset(req); /* the hook answers from the beginning */
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->hooks[HOOK_ERROR]);
    lua_pushvalue(L, AT_REQUEST);
    lua_rawgeti(L, -3, 1);
    lua_rawgeti(L, -4, 3);
    status = lua_pcallk(L, 3, 3, AT_MESSAGES, call, on_error_done);
    return on_error_done(L, status, call);
}

/* --- the way of a request ------------------------------------------------- */

static int answered(lua_State *L, int status, lua_KContext ctx)
{
    struct task *task = lua_touserdata(L, AT_TASK);
    struct request *req = task->req;

    if (status != LUA_OK && status != LUA_YIELD) {
        if (ctx == 0)
            return failed(L, status, req);
        errors_take(L);
        errors_log(L, req); /* an error in the answer of on_error */
        answer_error(L, req);
        return 0;
    }
    response_finish(req, 0);
    return 0;
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

/* What is at index was returned in place of an answer. */
static void complain_of_result(lua_State *L, struct request *req, int index)
{
    char what[160];

    snprintf(what, sizeof(what),
             "the handler ended without an answer: it returned a %s, but an "
             "answer begins with the status: return 200, headers, body",
             luaL_typename(L, index));
    complain(req->service, req, what);
    response_fail(req, 500);
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
    bool is_true = lua_isboolean(L, first) && lua_toboolean(L, first);
    int status;

    if (is_true && req->response.state == RESPONSE_NEW && !req->is_ended)
        begun = false; /* true lets in, headers that were set go with it */
    if (authorizes && begun && lua_type(L, first) != LUA_TNUMBER)
        authorizes = false; /* it has answered by itself */
    if (!authorizes && lua_type(L, first) != LUA_TNUMBER) {
        if (ctx == CALL_HOOK && !begun && !req->is_aborted &&
            !lua_isnil(L, first)) {
            complain_of_result(L, req, first);
            return 0;
        }
        if (ctx == 0 || req->is_ended) {
            response_finish(req, 0);
            return 0;
        }
        lua_settop(L, first - 1); /* on_error did nothing: as without it */
        errors_log(L, req);
        answer_error(L, req);
        return 0;
    }
    if (req->is_aborted || req->is_too_large)
        return 0; /* it was answered for the handler */
    if (req->response.state != RESPONSE_NEW) {
        report_error(script, req,
                     slice_of("a status was returned after the head had gone"),
                     (struct slice){ NULL, 0 });
        response_finish(req, ctx == 0 ? 0 : 1);
        return 0;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX,
                authorizes ? script->authorize : script->answer);
    lua_pushvalue(L, AT_REQUEST);
    lua_rotate(L, first, 2); /* below the three */
    lua_rawgeti(
        L, LUA_REGISTRYINDEX,
        script->hooks[ctx == CALL_HOOK ? hook_of(req->role) : HOOK_ERROR]);
    status = lua_pcallk(L, 5, 0, AT_MESSAGES, ctx, answered);
    return answered(L, status, ctx);
}

static int on_error_done(lua_State *L, int status, lua_KContext ctx)
{
    struct task *task = lua_touserdata(L, AT_TASK);

    if (status == LUA_OK || status == LUA_YIELD) {
        const struct response *response = &task->req->response;

        if (ctx == CALL_ON_LATE_ERROR) { /* nobody else has told of it */
            lua_pushvalue(L, -4);
            errors_log(L, task->req);
            lua_pop(L, 1);
        }
        if ((response_is_begun(response) || response->is_built) &&
            lua_type(L, -3) != LUA_TNUMBER && task->req->exchange != NULL) {
            response_finish(task->req, 1);
            return 0;
        }
        return returned(L, task->req, CALL_ON_ERROR);
    }
    /* on_error itself failed: tell of both, its error lies on the first. */
    errors_take(L);
    errors_log(L, task->req);
    lua_pop(L, 1);
    errors_log(L, task->req);
    answer_error(L, task->req);
    return 0;
}

static int hook_done(lua_State *L, int status, lua_KContext ctx)
{
    struct task *task = lua_touserdata(L, AT_TASK);

    if (status == LUA_OK || status == LUA_YIELD)
        return returned(L, task->req, ctx);
    return failed(L, status, task->req);
}

/* The whole of a handler's task; the task is at index 1. */
static int handler_main(lua_State *L)
{
    struct task *task = lua_touserdata(L, AT_TASK);
    struct script *script = task->script;
    int status;

    lua_request_push(L, task->req);
    lua_pushcfunction(L, errors_collect);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->hooks[hook_of(task->req->role)]);
    lua_pushvalue(L, AT_REQUEST);
    status = lua_pcallk(L, 1, 3, AT_MESSAGES, 0, hook_done);
    return hook_done(L, status, 0);
}

static void handler_failed(struct task *task, const char *what)
{
    struct request *req = task->req;

    report_fault(task, what);
    if (task->cancel_reason != NULL)
        response_fail(req, cancelled_status(task->cancel_reason));
    else if (what == NULL)
        response_fail(req, 503);
    else
        dev_answer(task->script, req, slice_of(what),
                   (struct slice){ NULL, 0 });
}

static void free_abort_hooks(struct task *task)
{
    while (task->abort_hooks != NULL) {
        struct abort_hook *hook = task->abort_hooks;

        task->abort_hooks = hook->next;
        luaL_unref(task->script->L, LUA_REGISTRYINDEX, hook->ref);
        free(hook);
    }
}

static void handler_ended(struct task *task)
{
    struct request *req = task->req;

    if (task->script->limits.slow > 0)
        slow_ended(task);
    if (task->abort_hooks != NULL)
        free_abort_hooks(task);
    if (task->handle != NULL) {
        lua_request_release(task->handle);
        task->handle = NULL;
        request_wake(req); /* who else used the handle finds it released */
    }
    req->handler = NULL;
    req->service->serving--;
    request_drop_input(req);
    if (!list_is_empty(&task->children) || !list_is_empty(&task->failures))
        lua_task_end_children(task);
    if (!list_is_empty(&task->processes))
        lua_process_end_all(&task->processes);
}

static const struct task_kind handler_kind = {
    .main = handler_main,
    .failed = handler_failed,
    .ended = handler_ended,
    .is_root = true,
};

/* --- the service ---------------------------------------------------------- */

static bool serves(struct service *service, enum request_role role)
{
    const struct script *script = service->owner;

    return script->hooks[hook_of(role)] != LUA_NOREF;
}

static void ready(struct service *service, struct request *req)
{
    struct script *script = service->owner;
    struct task *task;

    if (!serves(service, req->role)) { /* a former script did when it began */
        req->exchange->ops->finish(req->exchange, 0, EXCHANGE_UNKNOWN_ROLE);
        return;
    }
    task = task_new(script, &handler_kind, req);
    if (task == NULL) {
        response_fail(req, 503);
        return;
    }
    if (script->limits.timeout > 0)
        task_set_deadline(task, script->limits.timeout);
    req->handler = task;
    service->serving++;
    if (script->limits.slow > 0)
        slow_begun(script);
}

static void aborted(struct service *service, struct request *req)
{
    struct task *task = req->handler;
    struct script *script;

    (void)service;
    if (task == NULL)
        return;
    script = task->script; /* it may serve no more */
    while (task->abort_hooks != NULL) {
        struct abort_hook *hook = task->abort_hooks;

        task->abort_hooks = hook->next;
        lua_request_start_abort_hook(script, req, hook->ref);
        free(hook);
    }
    if (script->abort_cancels)
        task_cancel(task, "abort");
}

static size_t memory(const struct service *service)
{
    const struct script *script = service->owner;

    return script->memory.used;
}

static void measure(struct service *service, struct request *req)
{
    task_charge(service->owner, req);
}

/* --- a script that is broken ---------------------------------------------- */

static bool serves_all(struct service *service, enum request_role role)
{
    (void)service;
    (void)role;
    return true;
}

static void ready_broken(struct service *service, struct request *req)
{
    dev_answer_broken(service->owner, req);
}

const struct service_ops handler_broken_ops = {
    .serves = serves_all,
    .ready = ready_broken,
    .aborted = aborted,
    .complain = complain,
    .measure = measure,
    .memory = memory,
};

const struct service_ops handler_ops = {
    .serves = serves,
    .ready = ready,
    .aborted = aborted,
    .complain = complain,
    .measure = measure,
    .memory = memory,
};
