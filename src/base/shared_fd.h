/* shared_fd.h -- a descriptor that several hold: a file that a script has
 * closed is still being sent.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BASE_SHARED_FD_H
#define BASE_SHARED_FD_H

struct shared_fd {
    int fd;
    unsigned refs;
};

/* With one reference, the caller's, and fd, which is closed with the last one.
 * NULL when there is no memory: then fd is still the caller's. */
struct shared_fd *shared_fd_new(int fd);

static inline struct shared_fd *shared_fd_ref(struct shared_fd *shared)
{
    shared->refs++;
    return shared;
}

/* Drops a reference; NULL is accepted.  errno survives. */
void shared_fd_unref(struct shared_fd *shared);

#endif
