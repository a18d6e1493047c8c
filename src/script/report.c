/* report.c -- see report.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/report.h"

#include "script/task.h"

#include <stdio.h>

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
    char buffer[REQUEST_ID_MAX], line[REPORT_TEXT_MAX + 1024];
    struct slice method, uri, peer, id;
    int n;

    if (req == NULL) {
        log_text(level, text, detail);
        return;
    }
    method = param_or(req, "REQUEST_METHOD", "GET");
    uri = param_or(req, "REQUEST_URI", "-");
    peer = param_or(req, "REMOTE_ADDR", "-");
    id = request_id(req, buffer);
    if (text.len > REPORT_TEXT_MAX / 2)
        text.len = REPORT_TEXT_MAX / 2;
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

void report_log(enum log_level level, struct request *req, struct slice text,
                struct slice detail)
{
    if (log_is_on(level))
        log_for(level, req, text, detail);
}

void report_error(struct script *script, struct request *req, struct slice text,
                  struct slice detail)
{
    static const struct slice newline = { "\n", 1 };

    if (detail.len > REPORT_TEXT_MAX)
        detail.len = REPORT_TEXT_MAX;
    report_log(LOG_LEVEL_ERROR, req, text, detail);
    if (req == NULL || req->exchange == NULL || script->limits.stderr_to_log)
        return;
    if (text.len > REPORT_TEXT_MAX)
        text.len = REPORT_TEXT_MAX;
    req->exchange->ops->err(req->exchange, text);
    if (detail.len > 0 && req->exchange != NULL) {
        req->exchange->ops->err(req->exchange, newline);
        req->exchange->ops->err(req->exchange, detail);
    }
}

void report_fault(struct task *task, const char *what)
{
    char line[512];
    int n;

    if (what == NULL)
        return;
    n = snprintf(line, sizeof(line), "%s: %s", task->script->name, what);
    report_error(task->script, task->req,
                 (struct slice){ line, (size_t)n < sizeof(line)
                                           ? (size_t)n
                                           : sizeof(line) - 1 },
                 (struct slice){ NULL, 0 });
}
