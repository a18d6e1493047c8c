/* params.h -- name-value pairs in FastCGI's coding (spec 3.4), which is our own
 * for every protocol, decoded in place: no I/O, no allocation, every slice
 * points into the caller's bytes.  So a request keeps one block for all its
 * parameters, and the decoder is trivially fuzzable.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_PARAMS_H
#define CORE_PARAMS_H

#include "base/buffer.h"
#include "base/slice.h"

#include <stdint.h>

enum params_status {
    PARAMS_PAIR,     /* *name and *value are set; *in moved past them */
    PARAMS_END,      /* *in is empty */
    PARAMS_TRUNCATED /* a length runs past the end; *in is untouched */
};

/* Takes the next pair off the front of *in. */
enum params_status params_next(struct slice *in, struct slice *name,
                               struct slice *value);

/* Finds the first value of name.  Returns false, and leaves *value alone, when
 * there is none. */
bool params_find(struct slice params, struct slice name, struct slice *value);

/* Calls found(arg, name, value) for every pair whose name has len bytes.
 * Returns whether every pair is whole. */
bool params_scan(struct slice params, size_t len,
                 void (*found)(void *arg, struct slice name,
                               struct slice value),
                 void *arg);

enum { PARAMS_WANTED_MAX = 64, PARAMS_WANTED_NAME_MAX = 63 };

/* Names that are looked for in the parameters of every request.  A name is
 * found by its length and its last byte, which for most tell that it is none
 * of them. */
struct params_wanted {
    unsigned count;
    struct slice names[PARAMS_WANTED_MAX]; /* whoever asked for them has them */
    uint64_t heads[PARAMS_WANTED_MAX], tails[PARAMS_WANTED_MAX]; /* 8 bytes */
    uint8_t next[PARAMS_WANTED_MAX];
    /* By 16 times the length of a name, below 128, plus its last byte; 0: none;
     * else an index and one. */
    uint8_t first[127 * 16 + 255 + 1];
};

/* The index of a name, which is added unless it is there; -1 when there is no
 * room, or its length is none of 1 to PARAMS_WANTED_NAME_MAX. */
int params_want(struct params_wanted *wanted, struct slice name);

/* Sets values[index], for the first pair
 * with each such name, and *repeats if there is a second one.  Returns whether
 * every pair is whole. */
bool params_scan_wanted(struct slice params, const struct params_wanted *wanted,
                        struct slice values[], bool *repeats);

/* Appends a pair: lengths below 128 in one byte, others in four (spec 3.4).
 * A name or value of 2 GiB or more is BUFFER_FULL. */
enum buffer_status params_append(struct buffer *out, struct slice name,
                                 struct slice value);

#endif
