/* shared_fd.c -- see shared_fd.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/shared_fd.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct shared_fd *shared_fd_new(int fd)
{
    struct shared_fd *shared = malloc(sizeof(*shared));

    if (shared != NULL)
        *shared = (struct shared_fd){ fd, 1 };
    return shared;
}

void shared_fd_unref(struct shared_fd *shared)
{
    int saved = errno;

    if (shared == NULL || --shared->refs > 0)
        return;
    close(shared->fd);
    free(shared);
    errno = saved;
}
