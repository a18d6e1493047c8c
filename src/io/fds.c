/* fds.c -- see fds.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/fds.h"
#include "base/slice.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* A limit is the process's, so there is one note.  0: it was not raised. */
static rlim_t soft_limit_before;

int fds_open_missing(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) != -1)
            continue;
        /* the lowest free number is fd: those below it are open by now */
        if (errno != EBADF || open("/dev/null", O_RDWR) == -1)
            return -1;
    }
    return 0;
}

/* For kernels before 5.11, and sandboxes that know no close_range. */
static int cloexec_by_listing(int last)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;

    if (dir == NULL)
        return -1;
    while ((entry = readdir(dir)) != NULL) {
        unsigned long long number;
        int fd;

        if (!slice_to_number(slice_of(entry->d_name), INT_MAX, &number))
            continue; /* "." or ".." */
        fd = (int)number;
        if (fd > last)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    closedir(dir);
    return 0;
}

int fds_cloexec_above(int last)
{
    if (close_range((unsigned)last + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return 0;
    return cloexec_by_listing(last);
}

static void close_talk(int fd, int keep)
{
    struct stat st;

    if (fd == keep || fstat(fd, &st) == -1)
        return;
    if (S_ISSOCK(st.st_mode) ||
        (S_ISFIFO(st.st_mode) && (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0))
        close(fd);
}

/* Closing one while the folder is read takes none of the others off it. */
void fds_close_talks(int last, int keep)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;
    unsigned long long number;
    struct rlimit limit = { .rlim_cur = 1024 };

    if (dir == NULL) {
        getrlimit(RLIMIT_NOFILE, &limit);
        for (int fd = last + 1; (rlim_t)fd < limit.rlim_cur; fd++)
            close_talk(fd, keep);
        return;
    }
    while ((entry = readdir(dir)) != NULL)
        if (slice_to_number(slice_of(entry->d_name), INT_MAX, &number) &&
            (int)number > last)
            close_talk((int)number, keep);
    closedir(dir);
}

int fds_raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return -1;
    if (limit.rlim_cur == limit.rlim_max)
        return 0;
    soft_limit_before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

void fds_restore_limit(void)
{
    struct rlimit limit;

    if (soft_limit_before == 0 || getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return;
    limit.rlim_cur =
        soft_limit_before < limit.rlim_max ? soft_limit_before : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
