/* mime.h -- values with parameters, as Content-Type and Content-Disposition
 * have them (RFC 2045, 5.1; RFC 2183; RFC 7578, 4.2):
 *
 *     form-data; name="a"; filename="b \"c\".txt"
 *
 * No allocation: every slice points into the value.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_MIME_H
#define CORE_MIME_H

#include "base/slice.h"

enum mime_status {
    MIME_PARAM, /* *param is set; *in moved past it */
    MIME_END,   /* there are no more */
    MIME_BROKEN /* no name, or a quote that does not end */
};

struct mime_param {
    struct slice name;
    struct slice value; /* without its quotes; escapes are still there */
    bool is_quoted;
};

/* Takes what stands before the first parameter off the front of *in, without
 * the blanks around it: "form-data". */
struct slice mime_kind(struct slice *in);

/* Takes the next parameter off the front of *in.  Lenient where clients are: a
 * value without quotes ends at the next ";", whatever is in it. */
enum mime_status mime_param_next(struct slice *in, struct mime_param *param);

/* Writes the value that a parameter stands for to out, which has room for
 * param->value.len bytes and may be the value itself; returns its length.  Only
 * \" and \\ are escapes: older browsers send C:\folder\file.txt as it is. */
size_t mime_param_decode(const struct mime_param *param, char *out);

/* Does what an extended value (RFC 8187: UTF-8''%e2%82%ac.txt) stands for
 * consist of UTF-8 without control bytes?  Then writes it likewise. */
bool mime_extended_decode(struct slice value, char *out, size_t *len);

/* Writes what a name or a value in application/x-www-form-urlencoded stands for
 * to out, likewise; returns its length.  A "%" that starts no escape stands for
 * itself. */
size_t mime_form_decode(struct slice in, char *out);

#endif
