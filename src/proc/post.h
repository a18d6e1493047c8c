/* post.h -- what is said over a link by somebody who must never wait.
 *
 * The supervisor speaks to many processes, and one that is stopped, or stuck in
 * its code, does not read.  What its link does not take waits here, in order,
 * until it does.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_POST_H
#define PROC_POST_H

#include "base/list.h"
#include "proc/link.h"

#include <ev.h>

enum { POST_WAITING_MAX = 4096 }; /* messages; each may have a descriptor */

struct post {
    struct ev_loop *ev;
    struct ev_io writer;
    struct list waiting;
    unsigned count;
};

/* For a link, which stays the caller's. */
void post_init(struct post *post, struct ev_loop *ev, int link);

/* Sends a message, with a descriptor unless fd is -1; the caller keeps that.
 * Returns 0 when it is sent or waits; or -1 with errno. */
int post_send(struct post *post, const struct link_message *message, int fd);

/* The same for a message of nothing but its kind, and text or NULL. */
int post_tell(struct post *post, enum link_kind kind, const char *text);

/* Takes back the first message of a kind that waits: returns its descriptor,
 * which is the caller's; or -1 when there is none. */
int post_take_back(struct post *post, enum link_kind kind);

/* Forgets what waits. */
void post_free(struct post *post);

#endif
