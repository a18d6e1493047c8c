/* access_format.h -- how a line of the access log looks.
 *
 * A format is read once into a list of items, and the names of all parameters
 * that it needs are looked up in one pass over a request's.  Whatever a client
 * sends, a line stays one line and a field stays in its place: quotes,
 * backslashes, control bytes and bytes over 0x7e are written as \xHH, blanks
 * and square brackets too where the field is not between quotes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_ACCESS_FORMAT_H
#define OPS_ACCESS_FORMAT_H

#include "core/request.h"

enum {
    ACCESS_LINE_MAX = 32 * 1024, /* bytes, the newline included */
    ACCESS_FIELD_MAX = 4096,     /* of one field as it is written */
    ACCESS_FORMAT_MAX = 4096     /* of a format */
};

struct access_format;

/* What there is to tell of a request that is over. */
struct access_entry {
    const struct request *req;
    double ended;    /* s since the epoch */
    double duration; /* s */
    unsigned worker;
    const char *name; /* of the script */
};

enum access_format_status {
    ACCESS_FORMAT_OK,
    ACCESS_FORMAT_BAD,
    ACCESS_FORMAT_NO_MEMORY
};

/* Reads a format: "combined", "json" or one with directives.  On
 * ACCESS_FORMAT_OK *out is the caller's.  On ACCESS_FORMAT_BAD error, of room
 * bytes, says what is wrong in words that follow the format. */
enum access_format_status access_format_new(const char *text,
                                            struct access_format **out,
                                            char *error, size_t room);

/* Accepts NULL. */
void access_format_del(struct access_format *format);

/* The parameters that a line is made of: for struct service_observer. */
struct params_wanted *access_format_wanted(struct access_format *format);

bool access_format_wants_head(const struct access_format *format);
bool access_format_wants_cpu(const struct access_format *format);

/* Writes the line of a request, with its newline; returns its length. */
size_t access_format_write(struct access_format *format,
                           const struct access_entry *entry,
                           char out[ACCESS_LINE_MAX]);

#endif
