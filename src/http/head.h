/* head.h -- the head of a request in HTTP: collected in whatever pieces it
 * comes, checked, and made into the parameters that a CGI program would see
 * (RFC 3875, 4.1), in the coding of core/params.
 *
 * It does not parse: who does tells what it found, piece by piece.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "base/buffer.h"
#include "core/limits.h"
#include "core/wire.h"

#include <stdbool.h>
#include <stdint.h>

/* Where it stands in the text: the name, then the value. */
struct http_field {
    uint32_t at, name_len, value_len;
};

struct http_head {
    struct buffer text; /* the target, then all names and values */
    uint32_t target_len;
    unsigned count;
    bool in_value; /* of the last field */
    /* http_head_look: */
    bool has_line; /* the first one is whole */
    bool at_start; /* of a line */
    bool is_seen;  /* the empty line was there */
    bool at_word;  /* of the first line */
    char protocol; /* its last word begins so; NUL: nobody looked */
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* What to answer, and why; status 0: nothing is wrong. */
struct http_refusal {
    int status;
    const char *why; /* static */
};

void http_head_init(struct http_head *head);
void http_head_free(struct http_head *head);

/* Empties it for the next request, and keeps little memory. */
void http_head_reset(struct http_head *head);

/* Sees bytes before the parser does, of which it passes what is behind the
 * head.  Returns false where a field goes on in another line: parsers took that
 * once, and those who still do are not of one mind about it. */
bool http_head_look(struct http_head *head, struct slice bytes);

/* The next bytes of the target, of a field's name, of a field's value.  They
 * return 0, or the status to answer with: 431, or 503 without memory. */
int http_head_add_target(struct http_head *head, struct slice bytes);
int http_head_add_name(struct http_head *head, struct slice bytes);
int http_head_add_value(struct http_head *head, struct slice bytes);

/* What only the whole head shows.  minor is HTTP/1.x's. */
struct http_refusal http_head_check(const struct http_head *head,
                                    const char *method, unsigned minor);

/* The first field of that name; false: there is none. */
bool http_head_find(const struct http_head *head, const char *name,
                    struct slice *value);

/* Appends the parameters of a head that is sound, which came over a connection
 * between those ends.  Fields of one name are
 * joined; those whose names would look like another's (an underscore), and
 * Proxy, which programs take for a setting, are left out. */
enum buffer_status http_head_params(const struct http_head *head,
                                    const char *method, unsigned minor,
                                    const struct wire_ends *ends,
                                    struct buffer *params);

#endif
