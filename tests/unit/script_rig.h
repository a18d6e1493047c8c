/* script_rig.h -- a real script with a loop and a service, whose requests come
 * from a fake exchange: what it is told is noted, what it says the test
 * decides.  Include it after cmocka.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef UNIT_SCRIPT_RIG_H
#define UNIT_SCRIPT_RIG_H

#include "base/log.h"
#include "core/request.h"
#include "io/loop.h"
#include "script/cancel.h"
#include "script/handler.h"
#include "script/script.h"
#include "script/script_state.h"
#include "script/task.h"
#include "script/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RIG_TEXT = 64 * 1024 };

/* What an exchange was given, as far as there is room; a NUL follows. */
struct rig_text {
    char data[RIG_TEXT];
    size_t len;
};

/* One request as its protocol sees it. */
struct rig_request {
    struct exchange exchange; /* first: the one is the other */
    struct request *req;      /* NULL after finish or abort */
    struct rig_text head, body, err;
    size_t room;    /* SIZE_MAX at first; else it falls with the body */
    bool is_stuck;  /* not flushed */
    bool dies;      /* the next output ends the connection */
    unsigned heads; /* how often head was called */
    unsigned ends;  /* ... and finish */
    unsigned consumed;
    size_t body_bytes; /* all of them */
    uint32_t app_status;
    enum exchange_end end;
};

struct rig {
    struct loop *loop;
    struct service service;
    struct script *script;
    struct script_config config;
    struct script_limits limits;
    char folder[64], path[96], log_path[96], error[SCRIPT_ERROR_MAX];
    char log[RIG_TEXT];
};

static struct rig rig;

/* --- the exchange --------------------------------------------------------- */

static inline struct rig_request *rig_of(const struct exchange *exchange)
{
    return (struct rig_request *)(size_t)exchange;
}

static inline void rig_add(struct rig_text *text, struct slice bytes)
{
    struct slice part = slice_take(&bytes, RIG_TEXT - 1 - text->len);

    if (part.len > 0)
        memcpy(text->data + text->len, part.data, part.len);
    text->len += part.len;
    text->data[text->len] = '\0';
}

/* The connection has gone. */
static inline void rig_detach(struct rig_request *request)
{
    struct request *req = request->req;

    if (req == NULL)
        return;
    request->req = NULL;
    request_detach(req);
    request_unref(req);
}

static inline void rig_take(struct rig_request *request, struct rig_text *text,
                            struct slice bytes)
{
    assert_non_null(request->req);
    if (request->dies) { /* as a session without memory does */
        request_abort(request->req);
        return;
    }
    rig_add(text, bytes);
}

static inline void rig_take_head(struct exchange *exchange, struct slice lines)
{
    rig_of(exchange)->heads++;
    rig_take(rig_of(exchange), &rig_of(exchange)->head, lines);
}

static inline void rig_take_body(struct exchange *exchange, struct slice bytes)
{
    rig_of(exchange)->body_bytes += bytes.len;
    if (rig_of(exchange)->room != SIZE_MAX)
        rig_of(exchange)->room -= bytes.len;
    rig_take(rig_of(exchange), &rig_of(exchange)->body, bytes);
}

static inline void rig_take_err(struct exchange *exchange, struct slice bytes)
{
    rig_take(rig_of(exchange), &rig_of(exchange)->err, bytes);
}

static inline size_t rig_room(struct exchange *exchange)
{
    return rig_of(exchange)->room;
}

static inline bool rig_is_flushed(const struct exchange *exchange)
{
    return !rig_of(exchange)->is_stuck;
}

static inline void rig_consumed(struct exchange *exchange)
{
    rig_of(exchange)->consumed++;
}

static inline void rig_finish(struct exchange *exchange, uint32_t app_status,
                              enum exchange_end end)
{
    struct rig_request *request = rig_of(exchange);
    struct request *req = request->req;

    assert_non_null(req);
    request->ends++;
    request->app_status = app_status;
    request->end = end;
    request->req = NULL;
    request_ended(req);
    request_unref(req);
}

static const struct exchange_ops rig_exchange_ops = {
    .head = rig_take_head,
    .body = rig_take_body,
    .err = rig_take_err,
    .room = rig_room,
    .is_flushed = rig_is_flushed,
    .body_consumed = rig_consumed,
    .finish = rig_finish,
};

/* --- the script ----------------------------------------------------------- */

static inline void rig_write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* Setup of each test: a folder, a log in it, a loop and a service. */
static inline int rig_set_up(void **state)
{
    struct limits limits = limits_default();

    (void)state;
    memset(&rig, 0, sizeof(rig));
    snprintf(rig.folder, sizeof(rig.folder), "/tmp/fcgi-lua-script.XXXXXX");
    if (mkdtemp(rig.folder) == NULL)
        return -1;
    snprintf(rig.path, sizeof(rig.path), "%s/app.lua", rig.folder);
    snprintf(rig.log_path, sizeof(rig.log_path), "%s/log", rig.folder);
    rig.config.path = rig.path;
    if (log_open(rig.log_path) == -1)
        return -1;
    rig.loop = loop_new();
    if (rig.loop == NULL)
        return -1;
    service_init(&rig.service, &limits, loop_clock(rig.loop), rig.folder, 64);
    return 0;
}

static inline void rig_unload(void)
{
    script_del(rig.script);
    rig.script = NULL;
}

static inline int rig_tear_down(void **state)
{
    (void)state;
    rig_unload();
    assert_int_equal(rig.service.active, 0);
    assert_int_equal(rig.service.spooled, 0);
    service_free(&rig.service);
    loop_del(rig.loop);
    log_close();
    log_set_level(LOG_LEVEL_NOTICE);
    unlink(rig.path);
    unlink(rig.log_path);
    return rmdir(rig.folder); /* fails if a test left something */
}

/* Writes the script and loads it; rig.error says why it failed. */
static inline enum script_status rig_load(const char *source)
{
    enum script_status status;

    if (source != NULL)
        rig_write_file(rig.path, source);
    status = script_load(&rig.config, &rig.script, rig.error);
    if (status != SCRIPT_OK) {
        assert_null(rig.script);
        return status;
    }
    assert_int_equal(
        script_attach(rig.script, rig.loop, &rig.service, &rig.limits), 0);
    script_serve(rig.script);
    return status;
}

/* The same for a script that must load. */
static inline void rig_open(const char *source)
{
    enum script_status status = rig_load(source);

    if (status != SCRIPT_OK)
        fail_msg("%s", rig.error);
}

/* What stands in the log by now. */
static inline const char *rig_log(void)
{
    int fd = open(rig.log_path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    assert_int_not_equal(fd, -1);
    n = read(fd, rig.log, sizeof(rig.log) - 1);
    close(fd);
    assert_true(n >= 0);
    rig.log[n] = '\0';
    return rig.log;
}

static inline void rig_forget_log(void)
{
    assert_int_equal(truncate(rig.log_path, 0), 0);
}

static inline void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, text);
}

static inline void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("\"%s\" is in: %s", part, text);
}

static inline void rig_assert_logged(const char *part)
{
    assert_contains(rig_log(), part);
}

/* --- requests ------------------------------------------------------------- */

static inline void rig_clear(struct rig_text *text)
{
    text->len = 0;
    text->data[0] = '\0';
}

/* Returns false when there was no memory for a request. */
static inline bool rig_begin(struct rig_request *request,
                             enum request_role role)
{
    rig_clear(&request->head);
    rig_clear(&request->body);
    rig_clear(&request->err);
    memset(&request->room, 0,
           sizeof(*request) - offsetof(struct rig_request, room));
    request->exchange.ops = &rig_exchange_ops;
    request->room = SIZE_MAX;
    request->req = request_new(&rig.service, role, &request->exchange);
    return request->req != NULL;
}

static inline void rig_param_bytes(struct rig_request *request,
                                   struct slice name, struct slice value)
{
    struct slice both[] = { name, value };
    char lengths[8];

    for (int i = 0; i < 2; i++) {
        lengths[4 * i] = (char)(0x80 | both[i].len >> 24);
        lengths[4 * i + 1] = (char)(both[i].len >> 16);
        lengths[4 * i + 2] = (char)(both[i].len >> 8);
        lengths[4 * i + 3] = (char)both[i].len;
    }
    assert_int_equal(buffer_append(&request->req->params,
                                   (struct slice){ lengths, sizeof(lengths) }),
                     BUFFER_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(buffer_append(&request->req->params, both[i]),
                         BUFFER_OK);
}

static inline void rig_param(struct rig_request *request, const char *name,
                             const char *value)
{
    rig_param_bytes(request, slice_of(name), slice_of(value));
}

/* A piece of the body has come. */
static inline void rig_input(struct rig_request *request, const char *text)
{
    struct block *block = block_new(&rig.service.blocks);
    size_t len = strlen(text);

    assert_non_null(block);
    assert_true(len <= BLOCK_SIZE);
    memcpy(block->data, text, len);
    request_input(request->req, &request->req->body, block,
                  (struct slice){ block->data, len }, false);
    block_unref(block);
}

static inline void rig_input_end(struct rig_request *request)
{
    if (request->req != NULL) /* it may have been answered by now */
        request_input_end(request->req, &request->req->body);
}

static inline void rig_ready(struct rig_request *request)
{
    request_ready(request->req);
}

/* A request without a body. */
static inline void rig_start(struct rig_request *request)
{
    assert_true(rig_begin(request, REQUEST_RESPONDER));
    rig_ready(request);
    rig_input_end(request);
}

/* ABORT_REQUEST: the request is told, and END_REQUEST follows at once. */
static inline void rig_abort(struct rig_request *request)
{
    struct request *req = request_ref(request->req);

    request_abort(req);
    response_finish(req, 0);
    request_unref(req);
}

/* The peer has taken what was written. */
static inline void rig_make_room(struct rig_request *request, size_t room)
{
    request->room = room;
    request_wake(request->req);
}

static inline void rig_turns(unsigned n)
{
    while (n-- > 0)
        loop_turn(rig.loop, false);
}

/* Runs the job of one task, if it was posted, as if its turn in the next think
 * phase had come before that of all others. */
static inline void rig_run_job(struct task *task)
{
    if (list_is_empty(&task->job.link))
        return;
    loop_unpost(&task->job);
    task->job.run(&task->job);
}

static inline void rig_hangs(struct loop_timer *timer)
{
    (void)timer;
}

/* Until every task has ended. */
static inline void rig_run(void)
{
    struct loop_timer patience = { 0 };

    loop_timer_start(rig.loop, &patience, 100, rig_hangs);
    while (script_tasks(rig.script) > 0) {
        loop_turn(rig.loop, true);
        if (!loop_timer_is_running(&patience))
            fail_msg("a task does not end");
    }
    loop_timer_stop(&patience);
}

/* Serves one request without a body to its end. */
static inline void rig_serve(struct rig_request *request)
{
    rig_start(request);
    rig_run();
}

/* Leaves Lua that many bytes.  A test gives more each time, so that in turn
 * every allocation is the first to be refused, until all goes well. */
static inline void rig_limit_memory(size_t more)
{
    if (more > 256 * 1024)
        fail_msg("it never goes well");
    task_free_idle(rig.script);
    for (int i = 0; i < 2; i++) /* what is finalized goes the second time */
        lua_gc(rig.script->L, LUA_GCCOLLECT, 0);
    rig.script->memory.limit = rig.script->memory.used + 1 + more;
}

/* The one task that there is. */
static inline struct task *rig_task(void)
{
    assert_int_equal(script_tasks(rig.script), 1);
    return list_entry(rig.script->tasks.next, struct task, link);
}

static inline void assert_answer(const struct rig_request *request,
                                 const char *head, const char *body)
{
    assert_string_equal(request->head.data, head);
    assert_string_equal(request->body.data, body);
    assert_int_equal(request->heads, 1);
    assert_int_equal(request->ends, 1);
    assert_null(request->req);
}

static inline void assert_failed_with(const struct rig_request *request,
                                      const char *status)
{
    assert_int_equal(request->heads, 1);
    assert_int_equal(request->ends, 1);
    assert_contains(request->head.data, status);
    assert_int_equal(request->app_status, 1);
}

/* The body of a handler that checks things in Lua and ends with
 * req:send(200, nil, "ok"): whatever failed stands in the log. */
static inline void rig_check(struct rig_request *request)
{
    if (strcmp(request->body.data, "ok") != 0)
        fail_msg("%s%s\n%s", request->head.data, request->body.data, rig_log());
    assert_int_equal(request->ends, 1);
}

/* Runs a handler's statements, which see fcgi and these functions, and end with
 * the answer "ok" if nothing raises. */
static inline void rig_run_lua(const char *statements)
{
    static const char prelude[] =
        "local fcgi = require 'fcgi'\n"
        "local function show(...)\n"
        "  local all = table.pack(...)\n"
        "  for i = 1, all.n do all[i] = tostring(all[i]) end\n"
        "  return table.concat(all, ', ')\n"
        "end\n"
        "local function equal(got, wanted)\n"
        "  if got ~= wanted then\n"
        "    error(show(got) .. ' is not ' .. show(wanted), 2)\n"
        "  end\n"
        "end\n"
        "local function raises(part, f, ...)\n"
        "  local ok, err = pcall(f, ...)\n"
        "  if ok then error('it raises nothing', 2) end\n"
        "  if not tostring(err):find(part, 1, true) then\n"
        "    error('\"' .. part .. '\" is not in: ' .. tostring(err), 2)\n"
        "  end\n"
        "end\n"
        "local function on_close(f)\n"
        "  return setmetatable({}, { __close = f })\n"
        "end\n";
    static char source[16 * 1024];
    static struct rig_request request;
    int n = snprintf(source, sizeof(source),
                     "%sfunction on_request(req)\n%s\n"
                     "req:send(200, nil, 'ok')\nend\n",
                     prelude, statements);

    assert_true((size_t)n < sizeof(source));
    rig_unload();
    rig_open(source);
    rig_serve(&request);
    rig_check(&request);
}

/* Serves again and again, each time with a little more memory for Lua, until
 * the answer's body is wanted; the request ends each time, and so do all tasks.
 */
static inline void rig_serve_short_of_memory(const char *wanted, size_t step)
{
    static struct rig_request request;
    bool served = false;

    for (size_t more = 0; !served; more += step) {
        rig_limit_memory(more);
        rig_serve(&request);
        assert_int_equal(request.ends, 1);
        assert_int_equal(rig.service.serving, 0);
        served = strcmp(request.body.data, wanted) == 0;
        rig_forget_log();
        rig.script->memory.limit = 0;
    }
}

/* For alloc_each_fails; arg is the body that an answer of 200 must have. */
static inline void rig_serve_or_fail(void *arg)
{
    static struct rig_request request;

    if (!rig_begin(&request, REQUEST_RESPONDER))
        return;
    rig_ready(&request);
    rig_run();
    assert_int_equal(request.ends, 1);
    assert_int_equal(rig.service.serving, 0);
    if (request.app_status == 0)
        assert_string_equal(request.body.data, (const char *)arg);
    task_free_idle(rig.script);
}

/* How often part stands in the log. */
static inline unsigned rig_logged(const char *part)
{
    unsigned n = 0;

    for (const char *at = rig_log(); (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

/* The time that a timer waits for has come. */
static inline void rig_fire(struct loop_timer *timer)
{
    assert_true(loop_timer_is_running(timer));
    loop_timer_stop(timer);
    timer->fire(timer);
}

#define SCRIPT_TEST(f)                                                         \
    cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)

#endif
