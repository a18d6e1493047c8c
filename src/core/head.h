/* head.h -- the head of an answer as CGI knows it (RFC 3875, 6): "Name: value"
 * lines and an empty line, checked and brought into one shape.
 *
 * Web servers disagree on everything that is not exact: bare LF, folded lines,
 * a Location without a status, 1xx, a Content-Length twice.  So a head leaves
 * the gateway only in the shape that all of them take: CRLF, token names, no
 * control bytes, nothing that is the web server's own (Transfer-Encoding,
 * Connection).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_HEAD_H
#define CORE_HEAD_H

#include "base/buffer.h"
#include "base/slice.h"

enum head_result {
    HEAD_AS_IS,   /* raw can be sent as it stands; out was not touched */
    HEAD_REBUILT, /* the normal form was appended to out */
    HEAD_INVALID, /* *why says what is wrong */
    HEAD_NO_MEMORY
};

/* The length of the head at the start of bytes, its empty line included; 0
 * when it is not complete. */
size_t head_length(struct slice bytes);

/* Checks a complete head.  *status is what it says: 200 without a Status line,
 * 302 when there is a Location and no Status.  The text of *why is static. */
enum head_result head_normalise(struct slice raw, struct buffer *out,
                                int *status, const char **why);

/* Is it a token (RFC 9110, 5.6.2), as a header's name must be? */
bool head_is_name(struct slice name);

/* Is it free of control bytes other than the tab? */
bool head_is_value(struct slice value);

/* Does the gateway leave this header out of every answer?  (The web server
 * speaks for its own connection.) */
bool head_is_hop_by_hop(struct slice name);

/* The standard reason of a status, "" when there is none. */
const char *head_reason(int status);

/* May an answer with this status have a body (RFC 9110, 6.4.1)? */
static inline bool head_allows_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

#endif
