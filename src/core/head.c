/* head.c -- see head.h for the contract.
 *
 * Nearly every head is right already: one pass finds that out and it is sent
 * as it stands.  Only the others are built anew.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/head.h"

#include <stdint.h>

/* RFC 9110, 5.6.2: tchar.  Bit c & 31 of word c >> 5. */
static const unsigned token_bits[8] = { 0x00000000, 0x03ff6cfa, 0xc7fffffe,
                                        0x57ffffff, 0,          0,
                                        0,          0 };

static bool is_token_char(unsigned char c)
{
    return (token_bits[c >> 5] >> (c & 31) & 1) != 0;
}

bool head_is_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!is_token_char((unsigned char)name.data[i]))
            return false;
    return name.len > 0;
}

bool head_is_value(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool name_is(struct slice name, const char *known)
{
    return slice_equal_nocase(name, slice_of(known));
}

bool head_is_hop_by_hop(struct slice name)
{
    switch (name.data[0] | 0x20) {
    case 't':
        return name_is(name, "Transfer-Encoding") || name_is(name, "Trailer");
    case 'c':
        return name_is(name, "Connection");
    case 'k':
        return name_is(name, "Keep-Alive");
    case 'p':
        return name_is(name, "Proxy-Connection");
    default:
        return false;
    }
}

size_t head_length(struct slice bytes)
{
    struct slice rest = bytes;
    const char *newline;

    while ((newline = slice_find(rest, '\n')) != NULL) {
        size_t line = (size_t)(newline - rest.data);

        if (line == 0 || (line == 1 && rest.data[0] == '\r'))
            return (size_t)(newline + 1 - bytes.data);
        slice_take(&rest, line + 1);
    }
    return 0;
}

/* What a pass over the head found. */
struct found {
    int status; /* 0: no Status line */
    struct slice status_value;
    struct slice content_length; /* .data NULL: none */
    bool location;
    bool exact; /* can be sent as it stands */
};

/* One line without its end.  Returns NULL or what is wrong. */
static const char *split_line(struct slice line, struct slice *name,
                              struct slice *value)
{
    const char *colon = slice_find(line, ':');

    if (line.data[0] == ' ' || line.data[0] == '\t')
        return "a header line is folded";
    if (colon == NULL)
        return "a line is not \"Name: value\"";
    *name = slice_take(&line, (size_t)(colon - line.data));
    slice_take(&line, 1);
    *value = slice_trim(line);
    if (!head_is_name(*name))
        return "the name of a header is not a token";
    if (!head_is_value(*value))
        return "a header has a control byte";
    return NULL;
}

static const char *read_status(struct slice value, struct found *found)
{
    unsigned long long status;
    struct slice digits = value;

    if (found->status != 0)
        return "there are two Status lines";
    digits = slice_take(&digits, 3);
    if (!slice_to_number(digits, 599, &status) || status < 200 ||
        (value.len > 3 && value.data[3] != ' '))
        return "the Status is not an integer from 200 to 599";
    found->status = (int)status;
    found->status_value = value;
    return NULL;
}

/* Looks at the few headers that mean something here. */
static const char *note_header(struct slice name, struct slice value,
                               struct found *found)
{
    unsigned long long length;

    switch (name.data[0] | 0x20) {
    case 's':
        return name_is(name, "Status") ? read_status(value, found) : NULL;
    case 'l':
        if (name_is(name, "Location"))
            found->location = true;
        return NULL;
    case 'c':
        if (!name_is(name, "Content-Length"))
            break;
        if (!slice_to_number(value, INT64_MAX, &length))
            return "the Content-Length is not a number";
        if (found->content_length.data == NULL) {
            found->content_length = value;
            return NULL;
        }
        if (!slice_equal(value, found->content_length))
            return "there are two Content-Lengths";
        found->exact = false; /* one of them is left out */
        return NULL;
    default:
        break;
    }
    if (head_is_hop_by_hop(name))
        found->exact = false;
    return NULL;
}

static struct slice take_line(struct slice *rest, bool *crlf)
{
    const char *newline = slice_find(*rest, '\n');
    struct slice line = slice_take(rest, (size_t)(newline - rest->data));

    slice_take(rest, 1);
    *crlf = line.len > 0 && line.data[line.len - 1] == '\r';
    if (*crlf)
        line.len--;
    return line;
}

static const char *examine(struct slice raw, struct found *found)
{
    struct slice rest = raw, name, value;
    const char *why = NULL;
    bool crlf;

    *found = (struct found){ .exact = true };
    for (bool first = true; why == NULL; first = false) {
        struct slice line = take_line(&rest, &crlf);

        if (!crlf)
            found->exact = false;
        if (line.len == 0)
            return first ? "it is empty" : NULL;
        why = split_line(line, &name, &value);
        if (why == NULL)
            why = note_header(name, value, found);
    }
    return why;
}

static bool put(struct buffer *out, struct slice bytes)
{
    return buffer_append(out, bytes) == BUFFER_OK;
}

static bool put_line(struct buffer *out, struct slice name, struct slice value)
{
    return put(out, name) && put(out, slice_of(": ")) && put(out, value) &&
           put(out, slice_of("\r\n"));
}

/* The second pass, over a head that is known to be right. */
static bool rebuild(struct slice raw, const struct found *found,
                    struct buffer *out)
{
    struct slice rest = raw, name, value, line;
    bool crlf, length_done = false;
    size_t before = out->len;

    if (found->status != 0) {
        if (!put_line(out, slice_of("Status"), found->status_value))
            return false;
    } else if (found->location &&
               !put(out, slice_of("Status: 302 Found\r\n"))) {
        return false;
    }
    while ((line = take_line(&rest, &crlf)).len > 0) {
        if (split_line(line, &name, &value) != NULL ||
            name_is(name, "Status") || head_is_hop_by_hop(name))
            continue;
        if (name_is(name, "Content-Length")) {
            if (length_done)
                continue;
            length_done = true;
        }
        if (!put_line(out, name, value))
            return false;
    }
    if (out->len == before && !put(out, slice_of("Status: 200 OK\r\n")))
        return false; /* an empty head is none */
    return put(out, slice_of("\r\n"));
}

enum head_result head_normalise(struct slice raw, struct buffer *out,
                                int *status, const char **why)
{
    struct found found;
    size_t before = out->len;

    *why = examine(raw, &found);
    if (*why != NULL)
        return HEAD_INVALID;
    *status = found.status != 0 ? found.status : found.location ? 302 : 200;
    if (found.exact && (found.status != 0 || !found.location))
        return HEAD_AS_IS;
    if (rebuild(raw, &found, out))
        return HEAD_REBUILT;
    out->len = before;
    return HEAD_NO_MEMORY;
}

const char *head_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        { 200, "OK" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 203, "Non-Authoritative Information" },
        { 204, "No Content" },
        { 205, "Reset Content" },
        { 206, "Partial Content" },
        { 300, "Multiple Choices" },
        { 301, "Moved Permanently" },
        { 302, "Found" },
        { 303, "See Other" },
        { 304, "Not Modified" },
        { 307, "Temporary Redirect" },
        { 308, "Permanent Redirect" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 402, "Payment Required" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 406, "Not Acceptable" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 410, "Gone" },
        { 411, "Length Required" },
        { 412, "Precondition Failed" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 416, "Range Not Satisfiable" },
        { 417, "Expectation Failed" },
        { 418, "I'm a teapot" },
        { 421, "Misdirected Request" },
        { 422, "Unprocessable Content" },
        { 425, "Too Early" },
        { 426, "Upgrade Required" },
        { 428, "Precondition Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 451, "Unavailable For Legal Reasons" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
        { 507, "Insufficient Storage" },
        { 511, "Network Authentication Required" },
    };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}
