/* exchange.h -- messages from a request to the protocol that brought it.
 *
 * Whatever the protocol, a request speaks to it in these few words.  They
 * return nothing: where there is no memory for an answer its connection ends,
 * and the request is told so by request_abort().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CORE_EXCHANGE_H
#define CORE_EXCHANGE_H

#include "base/shared_fd.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct exchange;

enum exchange_end {
    EXCHANGE_COMPLETE,
    EXCHANGE_OVERLOADED,
    EXCHANGE_UNKNOWN_ROLE
};

struct exchange_ops {
    /* The whole head: "Name: value" lines that end with CRLF and an empty
     * line; a status other than 200 stands in a Status line. */
    void (*head)(struct exchange *exchange, struct slice lines);
    /* Bytes of the body, after the head. */
    void (*body)(struct exchange *exchange, struct slice bytes);
    /* May it be given pieces of files?  NULL: never. */
    bool (*takes_files)(const struct exchange *exchange);
    /* The same with n bytes of a file, from offset on, that nobody has read.
     * The connection ends if they are no longer there when it is their turn. */
    void (*file)(struct exchange *exchange, struct shared_fd *file,
                 off_t offset, size_t n);
    /* Bytes for the web server's error log, at any time. */
    void (*err)(struct exchange *exchange, struct slice bytes);
    /* How many bytes of body a writer should give now; 0: it waits, and is
     * woken when it is its turn. */
    size_t (*room)(struct exchange *exchange);
    /* Has the kernel taken all that was given before? */
    bool (*is_flushed)(const struct exchange *exchange);
    /* The handler took bytes of the body, or now waits for all of it: reading
     * may go on. */
    void (*body_consumed)(struct exchange *exchange);
    /* The answer is complete.  The exchange is gone when this returns. */
    void (*finish)(struct exchange *exchange, uint32_t app_status,
                   enum exchange_end end);
};

struct exchange {
    const struct exchange_ops *ops;
};

#endif
