/* pidfile.c -- see pidfile.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Written beside it and renamed: a reader never finds half an id. */
int pidfile_write(const char *path)
{
    char fresh[PATH_MAX], text[32];
    int fd = -1, saved, len;

    len = snprintf(fresh, sizeof(fresh), "%s.%ld", path, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof(fresh)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd =
        open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd == -1)
        return -1;
    len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    errno = ENOSPC; /* what a short write means */
    if (write(fd, text, (size_t)len) != len)
        goto fail;
    if (close(fd) == -1 || rename(fresh, path) == -1) {
        fd = -1;
        goto fail;
    }
    return 0;

fail:
    saved = errno;
    if (fd != -1)
        close(fd);
    unlink(fresh);
    errno = saved;
    return -1;
}

void pidfile_remove(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd == -1)
        return;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n > 0 && strtol(text, NULL, 10) == (long)getpid())
        unlink(path);
}
