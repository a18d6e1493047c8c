/* access_format.c -- see access_format.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/access_format.h"

#include "core/params.h"
#include "ops/text_out.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Where nothing was sent before the client had gone, as nginx has it. */
enum { CLIENT_CLOSED = 499 };
enum { TIME_TEXT_MAX = 512 }; /* all of it escaped */
enum { TEXT_FRONT = 16, URI_MAX = 8192 };

static const char default_time[] = "%d/%b/%Y:%H:%M:%S %z";

enum item_kind {
    ITEM_TEXT,
    ITEM_PARAM,
    ITEM_URI,  /* path and query, as the client sent them */
    ITEM_PATH, /* without the query */
    ITEM_QUERY_MARK,
    ITEM_QUERY,
    ITEM_HEADER, /* of the answer */
    ITEM_STATUS,
    ITEM_BYTES,
    ITEM_BYTES_OR_DASH,
    ITEM_RECEIVED,
    ITEM_DURATION,
    ITEM_BEGUN,
    ITEM_ENDED,
    ITEM_CPU,
    ITEM_MEMORY,
    ITEM_ID,
    ITEM_WORKER,
    ITEM_NAME,
    ITEM_PID,
    ITEM_PARENT,
    ITEM_CONNECTION
};

/* What stands in the last second need not be formatted anew. */
struct time_text {
    time_t second;
    size_t len; /* 0: none yet */
    char text[TIME_TEXT_MAX];
};

struct item {
    enum item_kind kind;
    bool is_quoted;
    size_t wanted;          /* of ITEM_PARAM: whose value */
    struct slice arg;       /* text, a header's name, a time's format */
    char front[TEXT_FRONT]; /* of the text, padded */
    double scale;           /* of a duration or a size */
    bool user, system;
    struct time_text *time;
};

struct access_format {
    char *text; /* slices point into it */
    bool is_json;
    struct item *items;
    size_t count, cap;
    bool wants_head, wants_cpu;
    struct params_wanted wanted;
    char *names[PARAMS_WANTED_MAX]; /* of those that were made here */
    size_t method, uri, query, remote, agent, id;
    struct time_text json_time;
};

struct parser {
    struct access_format *format;
    char *error;
    size_t room;
    bool in_quotes;
};

/* --- reading a format ----------------------------------------------------- */

/* The names below are few and short: there is room for them. */
static size_t want(struct access_format *format, const char *name)
{
    return (size_t)params_want(&format->wanted, slice_of(name));
}

static enum access_format_status bad(struct parser *parser, const char *what,
                                     struct slice directive)
{
    char shown[48];
    size_t n = 0;

    for (; n < directive.len && n < sizeof(shown) - 1; n++) {
        char c = directive.data[n];

        shown[n] = c >= ' ' && c <= '~' ? c : '?';
    }
    shown[n] = '\0';
    snprintf(parser->error, parser->room, "%s%s%s", what, n > 0 ? " " : "",
             shown);
    return ACCESS_FORMAT_BAD;
}

static struct item *add_item(struct access_format *format, enum item_kind kind)
{
    struct item *items = format->items;

    if (format->count == format->cap) {
        size_t cap = format->cap * 2 + 8;

        items = realloc(items, cap * sizeof(*items));
        if (items == NULL)
            return NULL;
        format->items = items;
        format->cap = cap;
    }
    items[format->count] = (struct item){ .kind = kind };
    return &items[format->count++];
}

static enum access_format_status add_text(struct parser *parser,
                                          struct slice text)
{
    struct item *item;

    if (text.len == 0)
        return ACCESS_FORMAT_OK;
    for (size_t i = 0; i < text.len; i++) {
        if (((unsigned char)text.data[i] < ' ' && text.data[i] != '\t') ||
            text.data[i] == 0x7f)
            return bad(parser, "has a control byte", (struct slice){ 0 });
        if (text.data[i] == '"')
            parser->in_quotes = !parser->in_quotes;
    }
    item = add_item(parser->format, ITEM_TEXT);
    if (item == NULL)
        return ACCESS_FORMAT_NO_MEMORY;
    item->arg = text;
    memcpy(item->front, text.data,
           text.len < TEXT_FRONT ? text.len : TEXT_FRONT);
    return ACCESS_FORMAT_OK;
}

/* The parameter in which the web server passes a request header. */
static char *header_param(struct slice header)
{
    bool is_bare = slice_equal_nocase(header, slice_of("Content-Type")) ||
                   slice_equal_nocase(header, slice_of("Content-Length"));
    size_t skip = is_bare ? 0 : 5;
    char *name = malloc(skip + header.len + 1);

    if (name == NULL)
        return NULL;
    memcpy(name, "HTTP_", skip);
    for (size_t i = 0; i < header.len; i++) {
        char c = header.data[i];

        name[skip + i] = c == '-' ? '_' : (char)toupper((unsigned char)c);
    }
    name[skip + header.len] = '\0';
    return name;
}

static enum access_format_status add_param(struct parser *parser,
                                           struct slice name, bool is_header,
                                           struct slice directive)
{
    struct access_format *format = parser->format;
    char *made = NULL;
    struct item *item;
    unsigned before = format->wanted.count;
    int index;

    if (name.len == 0)
        return bad(parser, "needs a name, as in %{NAME}, in", directive);
    if (is_header) {
        made = header_param(name);
        if (made == NULL)
            return ACCESS_FORMAT_NO_MEMORY;
        name = slice_of(made);
    }
    index = params_want(&format->wanted, name);
    if (index == -1) {
        free(made);
        return bad(parser, "has too many names, or a too long one, in",
                   directive);
    }
    if (format->wanted.count > before)
        format->names[index] = made;
    else
        free(made);
    item = add_item(format, ITEM_PARAM);
    if (item == NULL)
        return ACCESS_FORMAT_NO_MEMORY;
    item->wanted = (size_t)index;
    item->is_quoted = parser->in_quotes;
    return ACCESS_FORMAT_OK;
}

/* What may stand in braces, and what it means. */
struct unit {
    const char *name;
    double scale;
};

static bool find_unit(const struct unit *units, struct slice arg, double *scale)
{
    for (; units->name != NULL; units++)
        if (slice_equal(arg, slice_of(units->name))) {
            *scale = units->scale;
            return true;
        }
    return false;
}

static const struct unit duration_units[] = {
    { "", 1 },        { "seconds", 1 }, { "milliseconds", 1e3 },
    { "milli", 1e3 }, { "mili", 1e3 },  { "microseconds", 1e6 },
    { "micro", 1e6 }, { NULL, 0 },
};

static const struct unit memory_units[] = {
    { "", 1 },
    { "bytes", 1 },
    { "kilobytes", 1024 },
    { "kilo", 1024 },
    { "megabytes", 1024.0 * 1024 },
    { "mega", 1024.0 * 1024 },
    { NULL, 0 },
};

/* Directives without a story of their own. */
static const struct {
    char letter;
    enum item_kind kind;
    const char *param;
} simple[] = {
    { 'R', ITEM_PARAM, "REMOTE_ADDR" },
    { 'u', ITEM_PARAM, "REMOTE_USER" },
    { 'm', ITEM_PARAM, "REQUEST_METHOD" },
    { 'f', ITEM_PARAM, "SCRIPT_FILENAME" },
    { 'l', ITEM_PARAM, "CONTENT_LENGTH" },
    { 'H', ITEM_PARAM, "SERVER_PROTOCOL" },
    { 'r', ITEM_PATH, NULL },
    { 'Q', ITEM_QUERY_MARK, NULL },
    { 'q', ITEM_QUERY, NULL },
    { 's', ITEM_STATUS, NULL },
    { 'B', ITEM_BYTES, NULL },
    { 'b', ITEM_BYTES_OR_DASH, NULL },
    { 'I', ITEM_RECEIVED, NULL },
    { 'L', ITEM_ID, NULL },
    { 'w', ITEM_WORKER, NULL },
    { 'n', ITEM_NAME, NULL },
    { 'p', ITEM_PID, NULL },
    { 'P', ITEM_PARENT, NULL },
    { 'X', ITEM_CONNECTION, NULL },
};

static enum access_format_status add_time(struct parser *parser,
                                          struct item *item, struct slice arg,
                                          struct slice directive)
{
    char text[TIME_TEXT_MAX / 4], *copy;
    struct tm tm = { .tm_mday = 1 };
    size_t index;

    if (arg.len == 0)
        arg = slice_of(default_time);
    copy = strndup(arg.data, arg.len); /* strftime wants a NUL */
    item->time = calloc(1, sizeof(*item->time));
    if (copy == NULL || item->time == NULL) {
        free(copy);
        return ACCESS_FORMAT_NO_MEMORY;
    }
    item->arg = (struct slice){ copy, arg.len };
    index = strftime(text, sizeof(text), copy, &tm);
    if (index == 0)
        return bad(parser, "has no time in", directive);
    return ACCESS_FORMAT_OK;
}

/* One directive; arg is what stood in braces. */
static enum access_format_status add_directive(struct parser *parser,
                                               char letter, bool has_arg,
                                               struct slice arg,
                                               struct slice directive)
{
    struct access_format *format = parser->format;
    struct item item = { .is_quoted = parser->in_quotes, .arg = arg };
    struct item *added;

    switch (letter) {
    case 'e':
        return add_param(parser, arg, false, directive);
    case 'i':
        return add_param(parser, arg, true, directive);
    case 'o':
        if (arg.len == 0)
            return bad(parser, "needs a name, as in %{NAME}, in", directive);
        item.kind = ITEM_HEADER;
        format->wants_head = true;
        break;
    case 'd':
        item.kind = ITEM_DURATION;
        if (!find_unit(duration_units, arg, &item.scale))
            return bad(parser, "has an unknown unit of time in", directive);
        break;
    case 'M':
        item.kind = ITEM_MEMORY;
        if (!find_unit(memory_units, arg, &item.scale))
            return bad(parser, "has an unknown unit of memory in", directive);
        break;
    case 'C':
        item.kind = ITEM_CPU;
        item.user = !slice_equal(arg, slice_of("system"));
        item.system = !slice_equal(arg, slice_of("user"));
        if (item.user && item.system && arg.len > 0 &&
            !slice_equal(arg, slice_of("total")))
            return bad(parser, "has an unknown kind of CPU time in", directive);
        format->wants_cpu = true;
        break;
    case 't':
    case 'T':
        item.kind = letter == 't' ? ITEM_BEGUN : ITEM_ENDED;
        added = add_item(format, item.kind);
        if (added == NULL)
            return ACCESS_FORMAT_NO_MEMORY;
        added->is_quoted = item.is_quoted;
        return add_time(parser, added, arg, directive);
    default:
        for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++) {
            if (simple[i].letter != letter)
                continue;
            if (has_arg)
                return bad(parser, "has braces that mean nothing in",
                           directive);
            if (simple[i].param != NULL)
                return add_param(parser, slice_of(simple[i].param), false,
                                 directive);
            item.kind = simple[i].kind;
            letter = '\0';
            break;
        }
        if (letter != '\0')
            return bad(parser, "has an unknown directive:", directive);
        break;
    }
    added = add_item(format, item.kind);
    if (added == NULL)
        return ACCESS_FORMAT_NO_MEMORY;
    *added = item;
    return ACCESS_FORMAT_OK;
}

static enum access_format_status parse(struct parser *parser, struct slice rest)
{
    enum access_format_status status = ACCESS_FORMAT_OK;

    while (rest.len > 0 && status == ACCESS_FORMAT_OK) {
        const char *begin = slice_find(rest, '%'), *end;
        struct slice arg = { NULL, 0 }, directive;
        bool has_arg = false;

        if (begin != rest.data) {
            status = add_text(
                parser,
                slice_take(&rest, begin == NULL ? rest.len
                                                : (size_t)(begin - rest.data)));
            continue;
        }
        directive = rest;
        slice_take(&rest, 1);
        if (rest.len > 0 && rest.data[0] == '{') {
            slice_take(&rest, 1);
            end = slice_find(rest, '}');
            if (end == NULL)
                return bad(parser, "has a brace that is not closed in",
                           directive);
            arg = slice_take(&rest, (size_t)(end - rest.data));
            slice_take(&rest, 1);
            has_arg = true;
        }
        if (rest.len == 0)
            return bad(parser, "ends in the middle of", directive);
        directive.len = (size_t)(rest.data + 1 - directive.data);
        if (rest.data[0] == '%' && !has_arg) {
            status = add_text(parser, slice_take(&rest, 1));
            continue;
        }
        status = add_directive(parser, rest.data[0], has_arg, arg, directive);
        slice_take(&rest, 1);
    }
    return status;
}

/* The one of Apache and nginx; the URI is the client's own. */
static enum access_format_status parse_combined(struct parser *parser)
{
    enum access_format_status status =
        parse(parser, slice_of("%R - %u [%t] \"%m "));
    struct item *item;

    if (status != ACCESS_FORMAT_OK)
        return status;
    item = add_item(parser->format, ITEM_URI);
    if (item == NULL)
        return ACCESS_FORMAT_NO_MEMORY;
    item->is_quoted = true;
    return parse(parser,
                 slice_of(" %H\" %s %B \"%{Referer}i\" \"%{User-Agent}i\""));
}

enum access_format_status access_format_new(const char *text,
                                            struct access_format **out,
                                            char *error, size_t room)
{
    struct access_format *format = calloc(1, sizeof(*format));
    struct parser parser = { .format = format, .error = error, .room = room };
    enum access_format_status status = ACCESS_FORMAT_NO_MEMORY;

    *out = NULL;
    if (format == NULL)
        return ACCESS_FORMAT_NO_MEMORY;
    /* These need no room but in the table. */
    format->uri = want(format, "REQUEST_URI");
    format->query = want(format, "QUERY_STRING");
    format->id = want(format, "HTTP_X_REQUEST_ID");
    format->text = strdup(text);
    if (format->text == NULL)
        goto done;
    if (strcmp(text, "json") == 0) {
        format->is_json = true;
        format->method = want(format, "REQUEST_METHOD");
        format->remote = want(format, "REMOTE_ADDR");
        format->agent = want(format, "HTTP_USER_AGENT");
        status = ACCESS_FORMAT_OK;
    } else if (strcmp(text, "combined") == 0) {
        status = parse_combined(&parser);
    } else if (strlen(text) > ACCESS_FORMAT_MAX) {
        status = bad(&parser, "is too long", (struct slice){ 0 });
    } else {
        status = parse(&parser, slice_of(format->text));
    }

done:
    if (status == ACCESS_FORMAT_OK)
        *out = format;
    else
        access_format_del(format);
    return status;
}

void access_format_del(struct access_format *format)
{
    if (format == NULL)
        return;
    for (size_t i = 0; i < format->count; i++) {
        if (format->items[i].time != NULL &&
            format->items[i].arg.data != NULL &&
            (format->items[i].kind == ITEM_BEGUN ||
             format->items[i].kind == ITEM_ENDED))
            free((char *)(size_t)(const void *)format->items[i].arg.data);
        free(format->items[i].time);
    }
    for (size_t i = 0; i < PARAMS_WANTED_MAX; i++)
        free(format->names[i]);
    free(format->items);
    free(format->text);
    free(format);
}

struct params_wanted *access_format_wanted(struct access_format *format)
{
    return &format->wanted;
}

bool access_format_wants_head(const struct access_format *format)
{
    return format->wants_head;
}

bool access_format_wants_cpu(const struct access_format *format)
{
    return format->wants_cpu;
}

/* --- writing a line ------------------------------------------------------- */

static void note_value(void *arg, unsigned index, struct slice value)
{
    struct slice *values = arg;

    if (values[index].data == NULL)
        values[index] = value;
}

/* The first value of each wanted parameter.  Most requests have noted them when
 * their parameters were complete. */
static const struct slice *look_up(const struct access_format *format,
                                   const struct request *req,
                                   struct slice values[PARAMS_WANTED_MAX])
{
    if (req->is_noted && req->service->wanted == &format->wanted)
        return req->noted;
    memset(values, 0, format->wanted.count * sizeof(*values));
    params_scan_wanted(buffer_slice(&req->params), &format->wanted, note_value,
                       values);
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

/* Most texts are short: copied in one go, padding included. */
static void put_text(struct text_out *out, const struct item *item)
{
    if (item->arg.len > TEXT_FRONT || out->size - out->len < TEXT_FRONT) {
        text_put(out, item->arg);
        return;
    }
    memcpy(out->data + out->len, item->front, TEXT_FRONT);
    out->len += item->arg.len;
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
        char text[TIME_TEXT_MAX / 4];
        struct tm tm;
        size_t len;

        localtime_r(&second, &tm);
        len = strftime(text, sizeof(text), item->arg.data, &tm);
        text_put_escaped(&made, (struct slice){ text, len }, TIME_TEXT_MAX,
                         false);
        time->len = made.len;
        time->second = second;
    }
    text_put(out, (struct slice){ time->text, time->len });
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

    switch (item->kind) {
    case ITEM_TEXT:
        put_text(out, item);
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
            put_item(&line, format, &format->items[i], entry, values);
    out[line.len] = '\n';
    return line.len + 1;
}
