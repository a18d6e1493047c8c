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

/* Which names somebody looks for, roughly: for each length the last bytes. */
struct params_filter {
    uint64_t ends[64];
};

/* Adds a name of 1 to 63 bytes to a filter that was zeroed. */
static inline void params_filter_add(struct params_filter *filter,
                                     struct slice name)
{
    filter->ends[name.len] |= (uint64_t)1 << (name.data[name.len - 1] & 63);
}

/* The same for every pair whose name may be in the filter: all that are, and
 * few others. */
bool params_scan_filtered(
    struct slice params, const struct params_filter *filter,
    void (*found)(void *arg, struct slice name, struct slice value), void *arg);

/* Appends a pair: lengths below 128 in one byte, others in four (spec 3.4).
 * A name or value of 2 GiB or more is BUFFER_FULL. */
enum buffer_status params_append(struct buffer *out, struct slice name,
                                 struct slice value);

#endif
