/* part_head.h -- the head of one part of a form (RFC 7578, 4.2):
 *
 *     Content-Disposition: form-data; name="photo"; filename="cat.png"
 *     Content-Type: image/png
 *
 * Names are what clients of today mean by what they send: \" and \\ as well as
 * %22 are unescaped, filename* counts before filename, and a file name is never
 * a path.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_PART_HEAD_H
#define CORE_PART_HEAD_H

#include "base/buffer.h"

#include <stdbool.h>

struct part_head {
    struct slice lines; /* for part_head_next */
    struct slice name, filename;
    bool has_filename; /* it is a file; an empty name: none was chosen */
    struct slice type; /* as sent; empty: it has none */
};

/* Reads the head that is all of buf, with its empty line; changes buf, and the
 * slices point into it.  NULL, or static text that says what is wrong with
 * it; *no_memory: nothing is, but there was no memory. */
const char *part_head_read(struct buffer *buf, struct part_head *head,
                           bool *no_memory);

/* Takes the next header off the front of head->lines, or of what is left of
 * it; false: there are no more.  The value is without blanks at its ends. */
bool part_head_next(struct slice *lines, struct slice *name,
                    struct slice *value);

#endif
