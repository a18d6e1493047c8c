/* access_line.c -- a line of the access log, of a format that access_format.c
 * has read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/access_items.h"

#include "ops/plain.h"
#include "ops/text_out.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Where nothing was sent before the client had gone, as nginx has it. */
enum { CLIENT_CLOSED = 499 };
enum { URI_MAX = 8192 };
enum { SHORT_MAX = 1024 };
enum { TIME_PART = 32 }; /* bytes that most times have room in */

/* The first value of each wanted parameter.  Most requests have noted them when
 * their parameters were complete. */
static const struct slice *look_up(const struct access_format *format,
                                   const struct request *req,
                                   struct slice values[PARAMS_WANTED_MAX])
{
    bool repeats;

    if (req->is_noted && req->service->wanted == &format->wanted)
        return req->noted;
    memset(values, 0, format->wanted.count * sizeof(*values));
    params_scan_wanted(buffer_slice(&req->params), &format->wanted, values,
                       &repeats);
    return values;
}

static int status_of(const struct request *req)
{
    return req->response.is_head_sent ? req->response.status : CLIENT_CLOSED;
}

static struct slice param_of(const struct request *req, const char *name)
{
    struct slice value = { NULL, 0 };

    request_param(req, slice_of(name), &value);
    return value;
}

static struct slice path_of(struct slice uri)
{
    const char *mark = slice_find(uri, '?');

    return slice_take(&uri, mark == NULL ? uri.len : (size_t)(mark - uri.data));
}

/* Where the web server does not pass the target of the request line: what it
 * was made into. */
static struct slice make_uri(const struct request *req, char *buffer,
                             size_t room, bool with_query)
{
    struct slice path, info, query;
    int n;

    path = param_of(req, "SCRIPT_NAME");
    info = param_of(req, "PATH_INFO");
    query = param_of(req, "QUERY_STRING");
    if (path.len + info.len == 0)
        return (struct slice){ 0 };
    if (!with_query)
        query.len = 0;
    /* Cut where nobody would read on. */
    n = snprintf(buffer, room, "%.*s%.*s%s%.*s",
                 (int)(path.len < 2048 ? path.len : 2048), path.data,
                 (int)(info.len < 2048 ? info.len : 2048), info.data,
                 query.len > 0 ? "?" : "",
                 (int)(query.len < 2048 ? query.len : 2048), query.data);
    return (struct slice){ buffer, (size_t)n < room ? (size_t)n : room - 1 };
}

static struct slice query_of(struct slice query, struct slice uri)
{
    const char *mark;

    if (query.data != NULL)
        return query;
    mark = slice_find(uri, '?');
    if (mark == NULL)
        return (struct slice){ 0 };
    return (struct slice){ mark + 1, (size_t)(uri.data + uri.len - mark - 1) };
}

/* The first header of that name. */
static struct slice find_header(struct slice head, struct slice name)
{
    while (head.len > 0) {
        const char *end = slice_find(head, '\n');
        struct slice line = slice_take(
            &head, end == NULL ? head.len : (size_t)(end + 1 - head.data));

        if (line.len <= name.len || line.data[name.len] != ':' ||
            !slice_equal_nocase((struct slice){ line.data, name.len }, name))
            continue;
        slice_take(&line, name.len + 1);
        while (line.len > 0 && (line.data[line.len - 1] == '\n' ||
                                line.data[line.len - 1] == '\r'))
            line.len--;
        return slice_trim(line);
    }
    return (struct slice){ 0 };
}

static void put_field(struct text_out *out, const struct item *item,
                      struct slice value)
{
    if (value.len == 0)
        text_put_char(out, '-');
    else
        text_put_escaped(out, value, ACCESS_FIELD_MAX, !item->is_quoted);
}

/* Apart, for the memory that they need: else it would be looked for on the
 * stack with each line. */
static __attribute__((noinline)) void put_made_uri(struct text_out *out,
                                                   const struct item *item,
                                                   const struct request *req,
                                                   bool with_query)
{
    char buffer[URI_MAX];

    put_field(out, item, make_uri(req, buffer, sizeof(buffer), with_query));
}

static __attribute__((noinline)) void
put_made_json_uri(struct text_out *out, const struct request *req)
{
    char buffer[URI_MAX];

    text_put_json(out, make_uri(req, buffer, URI_MAX, true), ACCESS_FIELD_MAX);
}

static void put_json_uri(struct text_out *out, const struct request *req,
                         struct slice uri)
{
    if (uri.len > 0)
        text_put_json(out, uri, ACCESS_FIELD_MAX);
    else
        put_made_json_uri(out, req);
}

/* Copies what most often is short in one go, padding included: text lies at the
 * front of so many bytes. */
static inline void put_padded(struct text_out *out, struct slice text,
                              const char *padded, size_t size)
{
    if (text.len > size || out->size - out->len < size) {
        text_put(out, text);
        return;
    }
    memcpy(out->data + out->len, padded, size);
    out->len += text.len;
}

static time_t begun_at(const struct access_entry *entry, long *milliseconds)
{
    double at = entry->ended - entry->duration; /* which is not negative */
    time_t second = (time_t)at;

    *milliseconds = (long)((at - (double)second) * 1000);
    return second;
}

static void put_time(struct text_out *out, struct item *item, time_t second)
{
    struct time_text *time = item->time;

    if (time->len == 0 || time->second != second) {
        struct text_out made = { time->text, sizeof(time->text), 0 };
        char text[ACCESS_TIME_MAX / 4];
        struct tm tm;
        size_t len;

        localtime_r(&second, &tm);
        len = strftime(text, sizeof(text), item->arg.data, &tm);
        text_put_escaped(&made, (struct slice){ text, len }, ACCESS_TIME_MAX,
                         false);
        time->len = made.len;
        time->second = second;
    }
    put_padded(out, (struct slice){ time->text, time->len }, time->text,
               TIME_PART);
}

static void put_memory(struct text_out *out, const struct request *req,
                       double scale)
{
    const struct service *service = req->service;
    size_t used =
        service->ops->memory == NULL ? 0 : service->ops->memory(service);

    text_put_number(out, (uint64_t)((double)used / scale));
}

static void put_cpu(struct text_out *out, const struct item *item,
                    const struct access_entry *entry)
{
    double used = (item->user ? entry->req->cpu_user : 0) +
                  (item->system ? entry->req->cpu_system : 0);

    text_put_decimal(out,
                     entry->duration > 0 ? 100 * used / entry->duration : 0, 2);
}

static void put_item(struct text_out *out, const struct access_format *format,
                     struct item *item, const struct access_entry *entry,
                     const struct slice *values)
{
    const struct request *req = entry->req;
    char buffer[REQUEST_ID_MAX];
    long milliseconds;

    put_padded(out, item->text, item->lead, sizeof(item->lead));
    switch (item->kind) {
    case ITEM_TEXT:
        break;
    case ITEM_PARAM:
        put_field(out, item, values[item->wanted]);
        break;
    case ITEM_URI:
        if (values[format->uri].len > 0) {
            put_field(out, item, values[format->uri]);
            break;
        }
        put_made_uri(out, item, req, true);
        break;
    case ITEM_PATH:
        if (values[format->uri].len > 0) {
            put_field(out, item, path_of(values[format->uri]));
            break;
        }
        put_made_uri(out, item, req, false);
        break;
    case ITEM_QUERY_MARK:
        if (query_of(values[format->query], values[format->uri]).len > 0)
            text_put(out, slice_of("?"));
        break;
    case ITEM_QUERY:
        text_put_escaped(out,
                         query_of(values[format->query], values[format->uri]),
                         ACCESS_FIELD_MAX, !item->is_quoted);
        break;
    case ITEM_HEADER:
        put_field(
            out, item,
            find_header(buffer_slice(&req->response.sent_head), item->arg));
        break;
    case ITEM_STATUS:
        text_put_number(out, (uint64_t)status_of(req));
        break;
    case ITEM_BYTES_OR_DASH:
        if (req->response.body_bytes == 0) {
            text_put(out, slice_of("-"));
            break;
        }
        text_put_number(out, req->response.body_bytes);
        break;
    case ITEM_BYTES:
        text_put_number(out, req->response.body_bytes);
        break;
    case ITEM_RECEIVED:
        text_put_number(out, req->body.received + req->data.received);
        break;
    case ITEM_DURATION:
        if (item->scale >= 1e6)
            text_put_number(out, (uint64_t)(entry->duration * item->scale));
        else
            text_put_decimal(out, entry->duration * item->scale, 3);
        break;
    case ITEM_BEGUN:
        put_time(out, item, begun_at(entry, &milliseconds));
        break;
    case ITEM_ENDED:
        put_time(out, item, (time_t)entry->ended);
        break;
    case ITEM_CPU:
        put_cpu(out, item, entry);
        break;
    case ITEM_MEMORY:
        put_memory(out, req, item->scale);
        break;
    case ITEM_ID:
        put_field(out, item, request_id_of(req, values[format->id], buffer));
        break;
    case ITEM_WORKER:
        text_put_number(out, entry->worker);
        break;
    case ITEM_NAME:
        put_field(out, item, slice_of(entry->name));
        break;
    case ITEM_PID:
        text_put_number(out, (uint64_t)getpid());
        break;
    case ITEM_PARENT:
        text_put_number(out, (uint64_t)getppid());
        break;
    case ITEM_CONNECTION:
        text_put(out, slice_of(req->is_aborted ? "X" : "+"));
        break;
    }
}

static void put_json(struct text_out *out, struct access_format *format,
                     const struct access_entry *entry,
                     const struct slice *values)
{
    const struct request *req = entry->req;
    struct time_text *time = &format->json_time;
    char buffer[REQUEST_ID_MAX];
    long milliseconds;
    time_t second = begun_at(entry, &milliseconds);

    if (time->len == 0 || time->second != second) {
        struct tm tm;

        gmtime_r(&second, &tm);
        time->len = strftime(time->text, sizeof(time->text),
                             "{\"time\":\"%Y-%m-%dT%H:%M:%S.", &tm);
        time->second = second;
    }
    text_put(out, (struct slice){ time->text, time->len });
    text_put_digits(out, (uint64_t)milliseconds, 3);
    text_put(out, slice_of("Z\",\"remote\":\""));
    text_put_json(out, values[format->remote], ACCESS_FIELD_MAX);
    text_put(out, slice_of("\",\"method\":\""));
    text_put_json(out, values[format->method], ACCESS_FIELD_MAX);
    text_put(out, slice_of("\",\"uri\":\""));
    put_json_uri(out, req, values[format->uri]);
    text_put(out, slice_of("\",\"status\":"));
    text_put_number(out, (uint64_t)status_of(req));
    text_put(out, slice_of(",\"bytes\":"));
    text_put_number(out, req->response.body_bytes);
    text_put(out, slice_of(",\"duration\":"));
    text_put_decimal(out, entry->duration, 6);
    text_put(out, slice_of(",\"worker\":"));
    text_put_number(out, entry->worker);
    text_put(out, slice_of(",\"req\":\""));
    text_put_json(out, request_id_of(req, values[format->id], buffer),
                  ACCESS_FIELD_MAX);
    text_put(out, slice_of("\",\"ua\":\""));
    text_put_json(out, values[format->agent], ACCESS_FIELD_MAX);
    text_put(out, slice_of("\"}"));
}

/* Most items are parameters, and their values short and plain: true if this one
 * was and has been written, with the text before it. */
static inline bool put_short(struct text_out *out, const struct item *item,
                             const struct slice *values)
{
    char *to = out->data + out->len;
    struct slice value;

    if (item->kind > ITEM_URI || item->text.len > ACCESS_LEAD_MAX ||
        out->size - out->len < ACCESS_LEAD_MAX + SHORT_MAX)
        return false;
    value = values[item->wanted];
    if (value.len == 0 || value.len > SHORT_MAX)
        return false;
    memcpy(to, item->lead, ACCESS_LEAD_MAX);
    to += item->text.len;
    if (item->is_quoted ? !plain_copy(to, value, false)
                        : !plain_copy(to, value, true))
        return false;
    out->len += item->text.len + value.len;
    return true;
}

size_t access_format_write(struct access_format *format,
                           const struct access_entry *entry,
                           char out[ACCESS_LINE_MAX])
{
    struct slice buffer[PARAMS_WANTED_MAX];
    const struct slice *values = look_up(format, entry->req, buffer);
    struct text_out line = { out, ACCESS_LINE_MAX - 1, 0 };

    if (format->is_json)
        put_json(&line, format, entry, values);
    else
        for (size_t i = 0; i < format->count; i++)
            if (!put_short(&line, &format->items[i], values))
                put_item(&line, format, &format->items[i], entry, values);
    out[line.len] = '\n';
    return line.len + 1;
}
