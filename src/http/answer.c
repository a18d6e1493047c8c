/* answer.c -- answers in HTTP: see answer.h.
 *
 * A head comes in CGI's shape, checked, and leaves with a status line and with
 * what frames the body: the length that the head has, else chunks, or for
 * HTTP/1.0 the end of the connection.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http/answer.h"

#include "base/log.h"
#include "core/head.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum { URI_SHOWN = 256 }; /* bytes of it in the log */

static struct http_session *session_of(struct exchange *exchange)
{
    return (
        struct http_session *)(void *)((char *)exchange -
                                       offsetof(struct http_session, exchange));
}

static void append(struct http_session *session, struct slice bytes)
{
    if (!chain_append(&session->wire.out, bytes))
        session->wire.state = WIRE_BROKEN; /* nothing sound can be sent */
}

static void append_text(struct http_session *session, const char *text)
{
    append(session, slice_of(text));
}

static void append_date(struct http_session *session)
{
    char line[64];
    time_t now = time(NULL);
    struct tm tm;

    /* The names of days and months are English: no setlocale is called. */
    if (gmtime_r(&now, &tm) != NULL &&
        strftime(line, sizeof(line), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n",
                 &tm) > 0)
        append_text(session, line);
}

/* Status line, date, and what becomes of the connection. */
static void begin_head(struct http_session *session, int status,
                       struct slice reason, bool has_date)
{
    char line[64 + RESPONSE_REASON_MAX];
    int n = snprintf(line, sizeof(line), "HTTP/1.1 %d %.*s\r\n", status,
                     (int)reason.len, reason.data);

    append(session, (struct slice){ line, (size_t)n });
    if (!has_date)
        append_date(session);
}

static void end_head(struct http_session *session)
{
    if (!session->keep)
        append_text(session, "Connection: close\r\n");
    else if (session->minor == 0)
        append_text(session, "Connection: keep-alive\r\n");
    append_text(session, "\r\n");
}

/* The connection ends with this answer; the peer may still be sending. */
static void end_connection(struct http_session *session)
{
    if (session->wire.state == WIRE_OPEN)
        session->wire.state = WIRE_LINGER;
}

void http_refuse(struct http_session *session, struct http_refusal refusal)
{
    char body[160], line[64];
    const char *reason = head_reason(refusal.status);
    int n;

    if (session->wire.state != WIRE_OPEN)
        return;
    n = snprintf(body, sizeof(body), "%d %s: %s\n", refusal.status, reason,
                 refusal.why);
    snprintf(line, sizeof(line),
             "Content-Type: text/plain\r\nContent-Length: %d\r\n", n);
    session->keep = false;
    begin_head(session, refusal.status, slice_of(reason), false);
    append_text(session, line);
    end_head(session);
    append(session, (struct slice){ body, (size_t)n });
    end_connection(session);
}

/* --- the head ------------------------------------------------------------- */

/* What of a CGI head concerns the framing. */
struct found {
    struct slice reason;
    bool has_date, has_length;
    uint64_t length;
};

/* The next of the lines, with its end; they are sound: core/head. */
static bool next_line(struct slice *rest, struct slice *line,
                      struct slice *name, struct slice *value)
{
    const char *newline = slice_find(*rest, '\n'), *colon;
    struct slice tail;

    if (newline == NULL)
        return false;
    *line = slice_take(rest, (size_t)(newline + 1 - rest->data));
    colon = slice_find(*line, ':');
    if (colon == NULL)
        return false; /* the empty line */
    tail = *line;
    *name = slice_take(&tail, (size_t)(colon - line->data));
    slice_take(&tail, 1);
    while (tail.len > 0 && memchr("\r\n", tail.data[tail.len - 1], 2) != NULL)
        tail.len--;
    *value = slice_trim(tail);
    return true;
}

static struct found look_at(struct slice lines, int status)
{
    struct found found = { .reason = slice_of(head_reason(status)) };
    struct slice line, name, value;
    unsigned long long length;

    while (next_line(&lines, &line, &name, &value)) {
        if (slice_equal_nocase(name, slice_of("Status")) && value.len > 4) {
            slice_take(&value, 4);
            found.reason = value;
        } else if (slice_equal_nocase(name, slice_of("Date"))) {
            found.has_date = true;
        } else if (slice_equal_nocase(name, slice_of("Content-Length")) &&
                   slice_to_number(value, INT64_MAX, &length)) {
            found.has_length = true;
            found.length = length;
        }
    }
    return found;
}

static void choose_framing(struct http_session *session,
                           const struct found *found)
{
    const struct request *req = session->req;

    session->length_left = found->length;
    session->surplus = 0;
    if (req->response.drops_body)
        session->framing = HTTP_NO_BODY;
    else if (found->has_length)
        session->framing = HTTP_LENGTH;
    else if (session->minor > 0)
        session->framing = HTTP_CHUNKED;
    else
        session->framing = HTTP_UNTIL_CLOSE;
    if (session->framing == HTTP_UNTIL_CLOSE)
        session->keep = false;
    /* Who is refused may well not read all of it; so it is told at once. */
    if (req->response.status >= 400 && !req->body.ended)
        session->keep = false;
}

static void send_head(struct exchange *exchange, struct slice lines)
{
    struct http_session *session = session_of(exchange);
    int status = session->req->response.status;
    struct found found = look_at(lines, status);
    struct slice rest = lines, line, name, value;

    session->is_answered = true;
    session->wants_continue = false;
    choose_framing(session, &found);
    begin_head(session, status, found.reason, found.has_date);
    while (next_line(&rest, &line, &name, &value)) {
        bool is_length = slice_equal_nocase(name, slice_of("Content-Length"));

        if (slice_equal_nocase(name, slice_of("Status")) ||
            (is_length && !head_allows_body(status) && status != 304))
            continue;
        append(session, line);
    }
    if (session->framing == HTTP_CHUNKED)
        append_text(session, "Transfer-Encoding: chunked\r\n");
    end_head(session);
    wire_changed(&session->wire);
}

/* --- the body ------------------------------------------------------------- */

/* What of n bytes the length leaves; what is over it would be the next
 * answer's. */
static size_t within_length(struct http_session *session, size_t n)
{
    size_t part = session->length_left < n ? (size_t)session->length_left : n;

    session->length_left -= part;
    session->surplus += n - part;
    return part;
}

static void begin_chunk(struct http_session *session, size_t n)
{
    char line[32];

    snprintf(line, sizeof(line), "%zx\r\n", n);
    append_text(session, line);
}

static void send_body(struct exchange *exchange, struct slice bytes)
{
    struct http_session *session = session_of(exchange);

    switch (session->framing) {
    case HTTP_NO_BODY:
        break;
    case HTTP_LENGTH:
        append(session, slice_take(&bytes, within_length(session, bytes.len)));
        break;
    case HTTP_CHUNKED:
        if (bytes.len == 0)
            break; /* an empty chunk is the last */
        begin_chunk(session, bytes.len);
        append(session, bytes);
        append_text(session, "\r\n");
        break;
    case HTTP_UNTIL_CLOSE:
        append(session, bytes);
        break;
    }
    wire_changed(&session->wire);
}

static void append_file(struct http_session *session, struct shared_fd *file,
                        off_t offset, size_t n)
{
    if (!chain_append_file(&session->wire.out, file, offset, n))
        session->wire.state = WIRE_BROKEN;
}

static bool takes_files(const struct exchange *exchange)
{
    (void)exchange;
    return true;
}

static void send_file(struct exchange *exchange, struct shared_fd *file,
                      off_t offset, size_t n)
{
    struct http_session *session = session_of(exchange);

    switch (session->framing) {
    case HTTP_NO_BODY:
        break;
    case HTTP_LENGTH:
        n = within_length(session, n);
        if (n > 0)
            append_file(session, file, offset, n);
        break;
    case HTTP_CHUNKED:
        begin_chunk(session, n);
        append_file(session, file, offset, n);
        append_text(session, "\r\n");
        break;
    case HTTP_UNTIL_CLOSE:
        append_file(session, file, offset, n);
        break;
    }
    wire_changed(&session->wire);
}

/* No web server has a log: ours, where it stands already, is all there is. */
static void send_err(struct exchange *exchange, struct slice bytes)
{
    (void)exchange;
    (void)bytes;
}

static size_t room(struct exchange *exchange)
{
    struct http_session *session = session_of(exchange);
    size_t len = session->wire.out.len;

    if (len < OUTPUT_HIGH)
        return OUTPUT_HIGH - len;
    session->has_writer = true;
    wire_changed(&session->wire); /* reading may have to go on */
    return 0;
}

static bool is_flushed(const struct exchange *exchange)
{
    struct http_session *session =
        session_of((struct exchange *)(size_t)(const void *)exchange);

    if (session->wire.out.len == 0)
        return true;
    session->has_flusher = true;
    return false;
}

static void body_consumed(struct exchange *exchange)
{
    http_note_body(session_of(exchange));
}

/* --- the end -------------------------------------------------------------- */

/* Clients tell less of that than web servers do in their logs. */
static void complain_of_length(const struct http_session *session)
{
    const struct request *req = session->req;
    uint64_t n = session->surplus > 0 ? session->surplus : session->length_left;
    struct slice method = { NULL, 0 }, uri = { NULL, 0 }, shown;

    if (n == 0 || req->is_aborted)
        return;
    request_param(req, slice_of("REQUEST_METHOD"), &method);
    request_param(req, slice_of("REQUEST_URI"), &uri);
    shown = slice_take(&uri, URI_SHOWN);
    log_write(LOG_LEVEL_WARN,
              "HTTP: the answer has %" PRIu64 " bytes %s than its "
              "Content-Length says%s (%.*s %.*s)",
              n, session->surplus > 0 ? "more" : "fewer",
              session->surplus > 0 ? ", which were left out" : "",
              (int)method.len, method.data, (int)shown.len, shown.data);
}

/* A client must see when an answer is not whole. */
static void end_body(struct http_session *session, uint32_t app_status)
{
    switch (session->framing) {
    case HTTP_NO_BODY:
        break;
    case HTTP_LENGTH:
        if (app_status == 0)
            complain_of_length(session);
        if (session->length_left > 0)
            session->keep = false;
        break;
    case HTTP_CHUNKED:
        if (app_status == 0)
            append_text(session, "0\r\n\r\n");
        else
            session->keep = false;
        break;
    case HTTP_UNTIL_CLOSE:
        break;
    }
}

static void finish(struct exchange *exchange, uint32_t app_status,
                   enum exchange_end end)
{
    struct http_session *session = session_of(exchange);
    struct request *req = session->req;

    (void)end; /* the head has said it */
    if (session->is_answered)
        end_body(session, app_status);
    else
        session->wire.state = WIRE_BROKEN; /* it was aborted */
    if (!req->body.ended) /* where would the next request begin? */
        session->keep = false;
    session->req = NULL;
    session->stops = session->has_writer = session->has_flusher = false;
    request_ended(req);
    request_unref(req);
    if (!session->keep)
        end_connection(session);
    wire_changed(&session->wire);
    http_go_on(session);
}

const struct exchange_ops http_exchange_ops = {
    .head = send_head,
    .body = send_body,
    .takes_files = takes_files,
    .file = send_file,
    .err = send_err,
    .room = room,
    .is_flushed = is_flushed,
    .body_consumed = body_consumed,
    .finish = finish,
};
