/* access_format.c -- see access_format.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/access_items.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char default_time[] = "%d/%b/%Y:%H:%M:%S %z";

struct parser {
    struct access_format *format;
    char *error;
    size_t room;
    bool in_quotes;
};

/* --- reading a format ----------------------------------------------------- */

/* Returns false when there is no room. */
static bool want(struct access_format *format, const char *name, size_t *at)
{
    int index = params_want(&format->wanted, slice_of(name));

    *at = (size_t)index;
    return index != -1;
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
    item->text = text;
    memcpy(item->lead, text.data,
           text.len < ACCESS_LEAD_MAX ? text.len : ACCESS_LEAD_MAX);
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
    char text[ACCESS_TIME_MAX / 4], *copy;
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

static bool want_for(struct access_format *format, enum item_kind kind)
{
    switch (kind) {
    case ITEM_URI:
    case ITEM_PATH:
        return want(format, "REQUEST_URI", &format->uri);
    case ITEM_QUERY_MARK:
    case ITEM_QUERY:
        return want(format, "REQUEST_URI", &format->uri) &&
               want(format, "QUERY_STRING", &format->query);
    case ITEM_ID:
        return want(format, "HTTP_X_REQUEST_ID", &format->id);
    default:
        return true;
    }
}

/* What comes when all items are known: a text becomes a part of the item behind
 * it, and what their kinds need is looked for, too. */
static enum access_format_status settle(struct parser *parser)
{
    struct access_format *format = parser->format;
    size_t n = 0;

    for (size_t i = 0; i < format->count; i++) {
        struct item *item = &format->items[i];

        if (!want_for(format, item->kind))
            return bad(parser, "has too many names", (struct slice){ 0 });
        if (item->kind == ITEM_URI)
            item->wanted = format->uri;
        if (item->kind == ITEM_TEXT && i + 1 < format->count &&
            item[1].kind != ITEM_TEXT) {
            item[1].text = item->text;
            memcpy(item[1].lead, item->lead, sizeof(item->lead));
        } else {
            format->items[n++] = *item;
        }
    }
    format->count = n;
    return ACCESS_FORMAT_OK;
}

static void want_for_json(struct access_format *format)
{
    want(format, "REQUEST_METHOD", &format->method);
    want(format, "REQUEST_URI", &format->uri);
    want(format, "HTTP_X_REQUEST_ID", &format->id);
    want(format, "REMOTE_ADDR", &format->remote);
    want(format, "HTTP_USER_AGENT", &format->agent);
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
    format->text = strdup(text);
    if (format->text == NULL)
        goto done;
    if (strcmp(text, "json") == 0) {
        format->is_json = true;
        want_for_json(format); /* in an empty table there is room */
        status = ACCESS_FORMAT_OK;
    } else if (strcmp(text, "combined") == 0) {
        status = parse_combined(&parser);
    } else if (strlen(text) > ACCESS_FORMAT_MAX) {
        status = bad(&parser, "is too long", (struct slice){ 0 });
    } else {
        status = parse(&parser, slice_of(format->text));
    }
    if (status == ACCESS_FORMAT_OK)
        status = settle(&parser);

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
