/* pidfile.c -- see pidfile.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Written beside it and renamed: a reader never finds half an id.  A device is
 * no file to replace: root could. */
int pidfile_write(const char *path)
{
    char fresh[PATH_MAX], text[32];
    int fd = -1, saved, len;
    struct stat there;

    if (lstat(path, &there) == 0 && !S_ISREG(there.st_mode) &&
        !S_ISLNK(there.st_mode)) {
        errno = S_ISDIR(there.st_mode) ? EISDIR : EEXIST;
        return -1;
    }
    len = snprintf(fresh, sizeof(fresh), "%s.%ld", path, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof(fresh)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd == -1)
        return -1;
    len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    errno = ENOSPC; /* what a short write means */
    if (write(fd, text, (size_t)len) != len)
        goto fail;
    if (rename(fresh, path) == -1)
        goto fail;
    return fd;

fail:
    saved = errno;
    if (fd != -1)
        close(fd);
    unlink(fresh);
    errno = saved;
    return -1;
}

/* Does the file behind fd still say what we wrote? */
static bool names_us(int fd)
{
    char text[32] = "";

    return pread(fd, text, sizeof(text) - 1, 0) > 0 &&
           strtol(text, NULL, 10) == (long)getpid();
}

/* Removes path if it is the file behind fd.  Returns 0, or -1 with errno. */
static int unlink_same(const char *path, int fd)
{
    struct stat ours, there;

    if (lstat(path, &there) == -1)
        return errno == ENOENT ? 0 : -1;
    if (fstat(fd, &ours) == -1)
        return -1;
    if (there.st_dev != ours.st_dev || there.st_ino != ours.st_ino)
        return 0; /* somebody else has taken its place */
    return unlink(path);
}

/* A descriptor of the folder would not help: whether a file may be removed
 * depends on who removes it, whether it may be written on who has opened it. */
int pidfile_remove(const char *path, int fd)
{
    int error = 0;

    if (names_us(fd) && unlink_same(path, fd) == -1) {
        error = errno;
        if (ftruncate(fd, 0) == -1)
            error = errno;
    }
    close(fd);
    errno = error;
    return error == 0 ? 0 : -1;
}
