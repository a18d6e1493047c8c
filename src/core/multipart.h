/* multipart.h -- a form's body in parts (RFC 7578; RFC 2046, 5.1), as bytes
 * come: a parser without I/O that holds no more of a body than the head of one
 * part.
 *
 *     preamble                     thrown away
 *     --boundary CRLF
 *     head CRLF CRLF               MULTIPART_PART
 *     data                         MULTIPART_DATA ...
 *     CRLF --boundary CRLF         MULTIPART_PART_END
 *     ...
 *     CRLF --boundary--            MULTIPART_PART_END, MULTIPART_END
 *     epilogue                     is not looked at
 *
 * The data are shown where they lie in the input; only what began like a
 * boundary at the end of a piece, and was none, is shown from here.  What
 * follows a boundary decides whether it is one, so that it may be the beginning
 * of another one, of a form in the form.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_MULTIPART_H
#define CORE_MULTIPART_H

#include "core/part_head.h"

enum { MULTIPART_BOUNDARY_MAX = 70 }; /* RFC 2046, 5.1.1 */

enum multipart_state {
    MULTIPART_AT_DATA,    /* of a part, or of the preamble */
    MULTIPART_AT_BEHIND,  /* behind what may be a boundary */
    MULTIPART_AT_DASH,    /* ... and one "-" */
    MULTIPART_AT_PADDING, /* blanks behind a boundary */
    MULTIPART_AT_NEWLINE, /* ... behind its carriage return */
    MULTIPART_AT_HEAD,
    MULTIPART_AT_END,
    MULTIPART_AT_FAULT
};

struct multipart {
    enum multipart_state state;
    bool in_part;                                   /* the data are a part's */
    char delimiter[4 + MULTIPART_BOUNDARY_MAX + 1]; /* CRLF -- boundary, "-" */
    size_t delimiter_len;
    size_t matched;           /* bytes of it that were taken */
    size_t not_data;          /* ... of these are the line before, not data */
    size_t clear;             /* bytes of the input that are known to be data */
    size_t held_at, held_len; /* bytes of the delimiter that are data */
    size_t padding;
    struct buffer head_bytes;
    struct part_head head; /* of the part that has begun */
    const char *why;       /* static text: what is wrong with it */
};

enum multipart_event {
    MULTIPART_MORE,     /* all of the input was used */
    MULTIPART_PART,     /* a part begins: ->head, until it ends */
    MULTIPART_DATA,     /* bytes of it: multipart_take takes them */
    MULTIPART_PART_END, /* that was all of it */
    MULTIPART_END,      /* that was all; the rest does not matter */
    MULTIPART_BROKEN,   /* ->why; and so it stays */
    MULTIPART_NO_MEMORY /* then it is broken */
};

/* Is this Content-Type multipart/form-data? */
bool multipart_is_form(struct slice content_type);

/* Makes a parser for a body of that type, to be freed by multipart_free even
 * when it fails: then it returns static text that says what is wrong with it,
 * else NULL. */
const char *multipart_init(struct multipart *mp, struct slice content_type);

void multipart_free(struct multipart *mp);

/* Goes on: in is what has come and was not used before.  *used bytes of it can
 * be forgotten.  With MULTIPART_DATA these are none, or *data lies elsewhere;
 * it is valid, and shown again, until it is taken. */
enum multipart_event multipart_next(struct multipart *mp, struct slice in,
                                    size_t *used, struct slice *data);

/* Takes n bytes of the data that were shown; returns how many bytes of the
 * input can be forgotten for it. */
size_t multipart_take(struct multipart *mp, size_t n);

/* The body has ended, and multipart_next wants more: that is a fault.  Returns
 * MULTIPART_BROKEN. */
enum multipart_event multipart_cut(struct multipart *mp);

#endif
