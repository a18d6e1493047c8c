/* head.c -- see head.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/head.h"

#include "core/head.h"
#include "core/params.h"

#include <stdio.h>

enum { TEXT_KEEP = 4096 };

void http_head_init(struct http_head *head)
{
    buffer_init(&head->text, HTTP_HEAD_MAX);
    http_head_reset(head);
}

void http_head_free(struct http_head *head)
{
    buffer_free(&head->text);
}

void http_head_reset(struct http_head *head)
{
    buffer_reset(&head->text, TEXT_KEEP);
    head->target_len = 0;
    head->count = 0;
    head->in_value = head->has_line = head->is_seen = head->at_word = false;
    head->at_start = true;
    head->protocol = '\0';
}

/* Parsers that know the protocols in which HTTP's methods are spoken, too, do
 * not tell which one it is. */
static void look_at_line(struct http_head *head, char c)
{
    if (head->at_word && c != ' ')
        head->protocol = c;
    head->at_word = c == ' ';
}

bool http_head_look(struct http_head *head, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len && !head->is_seen; i++) {
        char c = bytes.data[i];

        if (c == '\n') {
            head->is_seen = head->at_start && head->has_line;
            head->has_line = head->has_line || !head->at_start;
            head->at_start = true;
        } else if (c != '\r') {
            if (head->at_start && head->has_line && (c == ' ' || c == '\t'))
                return false;
            head->at_start = false;
            if (!head->has_line)
                look_at_line(head, c);
        }
    }
    return true;
}

static int add(struct http_head *head, uint32_t *len, struct slice bytes)
{
    switch (buffer_append(&head->text, bytes)) {
    case BUFFER_OK:
        break;
    case BUFFER_FULL:
        return 431;
    case BUFFER_NO_MEMORY:
        return 503;
    }
    *len += (uint32_t)bytes.len;
    return 0;
}

int http_head_add_target(struct http_head *head, struct slice bytes)
{
    return add(head, &head->target_len, bytes);
}

int http_head_add_name(struct http_head *head, struct slice bytes)
{
    struct http_field *field;

    if (head->count == 0 || head->in_value) {
        if (head->count == HTTP_FIELDS_MAX)
            return 431;
        head->fields[head->count++] =
            (struct http_field){ .at = (uint32_t)head->text.len };
        head->in_value = false;
    }
    field = &head->fields[head->count - 1];
    return add(head, &field->name_len, bytes);
}

int http_head_add_value(struct http_head *head, struct slice bytes)
{
    head->in_value = true;
    return add(head, &head->fields[head->count - 1].value_len, bytes);
}

static struct slice name_of(const struct http_head *head, unsigned i)
{
    const struct http_field *field = &head->fields[i];

    return (struct slice){ head->text.data + field->at, field->name_len };
}

static struct slice value_of(const struct http_head *head, unsigned i)
{
    const struct http_field *field = &head->fields[i];
    struct slice value = { head->text.data + field->at + field->name_len,
                           field->value_len };

    return slice_trim(value);
}

/* How many fields of that name there are; *value is the first one's. */
static unsigned count(const struct http_head *head, const char *name,
                      struct slice *value)
{
    unsigned n = 0;

    for (unsigned i = 0; i < head->count; i++)
        if (slice_equal_nocase(name_of(head, i), slice_of(name)) && n++ == 0)
            *value = value_of(head, i);
    return n;
}

bool http_head_find(const struct http_head *head, const char *name,
                    struct slice *value)
{
    return count(head, name, value) > 0;
}

/* --- the target ------------------------------------------------------------
 */

/* What the forms of a target (RFC 9112, 3.2) have in common. */
struct target {
    struct slice host; /* of an absolute one */
    struct slice path; /* begins with a slash; or is "*" */
    struct slice query;
};

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes the scheme and the authority off the front of an absolute target. */
static bool take_authority(struct slice *rest, struct slice *host)
{
    static const char *const schemes[] = { "http://", "https://" };

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct slice scheme = slice_of(schemes[i]), tail = *rest;

        if (!slice_equal_nocase(slice_take(&tail, scheme.len), scheme))
            continue;
        *rest = tail;
        for (host->len = 0; host->len < tail.len; host->len++)
            if (memchr("/?", tail.data[host->len], 2) != NULL)
                break;
        *host = slice_take(rest, host->len);
        return host->len > 0;
    }
    return false;
}

/* *why is set if it is not a target that can be served. */
static struct target split_target(const struct http_head *head,
                                  const char *method, const char **why)
{
    struct slice rest = { head->text.data, head->target_len };
    struct target target = { .path = slice_of("/") };
    const char *mark;

    *why = NULL;
    for (size_t i = 0; i < rest.len; i++)
        if (rest.data[i] <= ' ' || rest.data[i] > '~' || rest.data[i] == '#')
            *why = "the target has a byte that none may have";
    if (slice_equal(rest, slice_of("*")) && strcmp(method, "OPTIONS") == 0) {
        target.path = rest;
        return target;
    }
    if (rest.len == 0 || rest.data[0] != '/')
        if (!take_authority(&rest, &target.host))
            *why = "the target is not a path";
    mark = slice_find(rest, '?');
    if (mark != NULL) {
        struct slice path = slice_take(&rest, (size_t)(mark - rest.data));

        slice_take(&rest, 1);
        target.query = rest;
        rest = path;
    }
    if (rest.len > 0)
        target.path = rest;
    for (size_t i = 0; i < rest.len; i++)
        if (rest.data[i] == '%' &&
            (rest.len - i < 3 || hex(rest.data[i + 1]) < 0 ||
             hex(rest.data[i + 2]) < 0 ||
             (rest.data[i + 1] == '0' && rest.data[i + 2] == '0')))
            *why = "the path has a percent sign that begins no code";
    return target;
}

/* --- checks ----------------------------------------------------------------
 */

/* A name or address, perhaps with a port: what a link may be made of. */
static bool is_host(struct slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.data[i];

        if (c <= ' ' || c > '~' || strchr("/?#@\\\"<>^`{|},", c) != NULL)
            return false;
    }
    return true;
}

/* Where two who read a body's end differently stand behind one another, the one
 * is made to see a request that the other does not (RFC 9112, 6.1 to 6.3). */
static const char *check_length(const struct http_head *head, unsigned minor)
{
    struct slice length, coding;
    unsigned lengths = count(head, "Content-Length", &length);
    unsigned codings = count(head, "Transfer-Encoding", &coding);
    unsigned long long n;

    if (lengths > 0 && codings > 0)
        return "Content-Length stands beside Transfer-Encoding";
    if (lengths > 1)
        return "there are two Content-Length";
    if (lengths == 1 && !slice_to_number(length, INT64_MAX, &n))
        return "Content-Length is not a number";
    if (codings > 0 && minor == 0)
        return "HTTP/1.0 has no Transfer-Encoding";
    return NULL;
}

static const char *check_fields(const struct http_head *head, unsigned minor)
{
    struct slice host = { NULL, 0 };
    unsigned hosts = count(head, "Host", &host);

    for (unsigned i = 0; i < head->count; i++) {
        if (!head_is_name(name_of(head, i)))
            return "the name of a field is not a token";
        if (!head_is_value(value_of(head, i)))
            return "a field has a control byte";
    }
    if (hosts == 0 && minor > 0)
        return "Host is missing";
    if (hosts > 1)
        return "there are two Host";
    if (!is_host(host))
        return "Host is not a host";
    return check_length(head, minor);
}

struct http_refusal http_head_check(const struct http_head *head,
                                    const char *method, unsigned minor)
{
    const char *why;
    struct slice value;
    struct target target = split_target(head, method, &why);

    if (head->protocol != 'H' && head->protocol != '\0')
        return (struct http_refusal){ 505, "this is another protocol" };
    if (why == NULL && !is_host(target.host))
        why = "the host in the target is none";
    if (why == NULL)
        why = check_fields(head, minor);
    if (why != NULL)
        return (struct http_refusal){ 400, why };
    if (count(head, "Transfer-Encoding", &value) > 1 ||
        (http_head_find(head, "Transfer-Encoding", &value) &&
         !slice_equal_nocase(value, slice_of("chunked"))))
        return (struct http_refusal){ 501, "only chunked is understood" };
    if (minor > 0 && http_head_find(head, "Expect", &value) &&
        !slice_equal_nocase(value, slice_of("100-continue")))
        return (struct http_refusal){ 417,
                                      "only 100-continue can be expected" };
    return (struct http_refusal){ 0, NULL };
}

/* --- parameters ------------------------------------------------------------
 */

/* Parameters in the making: the first failure stays. */
struct maker {
    const struct http_head *head;
    struct buffer *params;
    enum buffer_status status;
};

static void put(struct maker *maker, const char *name, struct slice value)
{
    if (maker->status == BUFFER_OK)
        maker->status = params_append(maker->params, slice_of(name), value);
}

/* Without scheme and host, as web servers give it. */
static void put_uri(struct maker *maker, const struct target *target)
{
    struct buffer uri;

    buffer_init(&uri, HTTP_HEAD_MAX);
    if (maker->status == BUFFER_OK)
        maker->status = buffer_append(&uri, target->path);
    if (target->query.data != NULL && maker->status == BUFFER_OK)
        maker->status = buffer_append(&uri, slice_of("?"));
    if (maker->status == BUFFER_OK)
        maker->status = buffer_append(&uri, target->query);
    put(maker, "REQUEST_URI", buffer_slice(&uri));
    buffer_free(&uri);
}

/* PATH_INFO, without its percent codes. */
static void put_path(struct maker *maker, struct slice path)
{
    struct buffer plain;

    buffer_init(&plain, HTTP_HEAD_MAX);
    if (maker->status == BUFFER_OK)
        maker->status = buffer_reserve(&plain, path.len);
    for (size_t i = 0; i < path.len && maker->status == BUFFER_OK; i++) {
        char c = path.data[i];

        if (c == '%') {
            c = (char)(hex(path.data[i + 1]) << 4 | hex(path.data[i + 2]));
            i += 2;
        }
        plain.data[plain.len++] = c;
    }
    put(maker, "PATH_INFO", buffer_slice(&plain));
    buffer_free(&plain);
}

/* SERVER_NAME and SERVER_PORT, of a host as clients write it. */
static void put_server(struct maker *maker, struct slice host)
{
    struct slice port = { "80", 2 }, name = host;
    size_t colon = host.len;

    while (colon > 0 && memchr(":]", host.data[colon - 1], 2) == NULL)
        colon--;
    if (colon > 0 && host.data[colon - 1] == ':') {
        name.len = colon - 1;
        if (host.len > colon)
            port = (struct slice){ host.data + colon, host.len - colon };
    }
    put(maker, "SERVER_NAME", name);
    put(maker, "SERVER_PORT", port);
}

/* Is it one that becomes HTTP_NAME?  The framing of a message is nobody's but
 * ours, and what is Content_Length here would be Content-Length there. */
static bool is_shown(struct slice name)
{
    static const char *const hidden[] = { "Content-Length", "Content-Type",
                                          "Proxy",          "Transfer-Encoding",
                                          "Connection",     "Keep-Alive",
                                          "Upgrade",        "HTTP2-Settings",
                                          "Expect",         "TE" };

    if (slice_find(name, '_') != NULL)
        return false;
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
        if (slice_equal_nocase(name, slice_of(hidden[i])))
            return false;
    return true;
}

/* All the values of the fields that are called as the first one. */
static void put_field(struct maker *maker, unsigned first)
{
    const struct http_head *head = maker->head;
    struct slice name = name_of(head, first);
    struct slice between =
        slice_of(slice_equal_nocase(name, slice_of("Cookie")) ? "; " : ", ");
    struct buffer shown, joined;

    buffer_init(&shown, HTTP_HEAD_MAX + 5);
    buffer_init(&joined, 2 * HTTP_HEAD_MAX);
    if (maker->status == BUFFER_OK)
        maker->status = buffer_append(&shown, slice_of("HTTP_"));
    if (maker->status == BUFFER_OK)
        maker->status = buffer_append(&shown, name);
    for (size_t i = 5; i < shown.len; i++) {
        char c = shown.data[i];

        shown.data[i] = c == '-'               ? '_'
                        : c >= 'a' && c <= 'z' ? (char)(c - 32)
                                               : c;
    }
    for (unsigned i = first; i < head->count; i++) {
        if (!slice_equal_nocase(name_of(head, i), name))
            continue;
        if (i > first && maker->status == BUFFER_OK)
            maker->status = buffer_append(&joined, between);
        if (maker->status == BUFFER_OK)
            maker->status = buffer_append(&joined, value_of(head, i));
    }
    if (maker->status == BUFFER_OK)
        maker->status = params_append(maker->params, buffer_slice(&shown),
                                      buffer_slice(&joined));
    buffer_free(&shown);
    buffer_free(&joined);
}

static bool is_first(const struct http_head *head, unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (slice_equal_nocase(name_of(head, k), name_of(head, i)))
            return false;
    return true;
}

/* Of a unix socket there is nothing to say. */
static void put_end(struct maker *maker, const char *name,
                    const char *port_name, const char *address, unsigned port)
{
    char text[sizeof("65535")];

    if (*address == '\0')
        return;
    put(maker, name, slice_of(address));
    if (port_name == NULL)
        return;
    snprintf(text, sizeof(text), "%u", port & 0xffff);
    put(maker, port_name, slice_of(text));
}

enum buffer_status http_head_params(const struct http_head *head,
                                    const char *method, unsigned minor,
                                    const struct wire_ends *ends,
                                    struct buffer *params)
{
    struct maker maker = { .head = head, .params = params };
    const char *why;
    struct target target = split_target(head, method, &why);
    struct slice host = target.host, value;

    put(&maker, "GATEWAY_INTERFACE", slice_of("CGI/1.1"));
    put(&maker, "SERVER_SOFTWARE", slice_of("fcgi-lua"));
    put(&maker, "SERVER_PROTOCOL",
        slice_of(minor == 0 ? "HTTP/1.0" : "HTTP/1.1"));
    put(&maker, "REQUEST_METHOD", slice_of(method));
    put(&maker, "REQUEST_SCHEME", slice_of("http"));
    put_uri(&maker, &target);
    put(&maker, "SCRIPT_NAME", slice_of(""));
    put_path(&maker, target.path);
    put(&maker, "QUERY_STRING", target.query);
    if (host.len == 0)
        http_head_find(head, "Host", &host);
    put_server(&maker, host);
    put_end(&maker, "REMOTE_ADDR", "REMOTE_PORT", ends->remote,
            ends->remote_port);
    put_end(&maker, "SERVER_ADDR", NULL, ends->local, 0);
    if (http_head_find(head, "Content-Type", &value))
        put(&maker, "CONTENT_TYPE", value);
    if (http_head_find(head, "Content-Length", &value))
        put(&maker, "CONTENT_LENGTH", value);
    for (unsigned i = 0; i < head->count; i++)
        if (is_shown(name_of(head, i)) && is_first(head, i))
            put_field(&maker, i);
    return maker.status;
}
