/* listen_inherit.c -- sockets that somebody else made: fd:N, stdin, systemd.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/listen.h"
#include "base/slice.h"
#include "io/listen_set.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FIRST_SYSTEMD_FD = 3,
    FIRST_FREE_FD = 3 /* above stdin, stdout and stderr */
};

static int get_option(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == -1 ? -1 : value;
}

bool listen_is_listening(int fd)
{
    int accepts = get_option(fd, SO_ACCEPTCONN);

    if (accepts == -1)
        return false;
    if (accepts == 1 && get_option(fd, SO_TYPE) == SOCK_STREAM)
        return true;
    errno = EINVAL;
    return false;
}

/* Moves one of stdin, stdout and stderr out of the way; /dev/null stays there.
 * Returns the new descriptor, or -1. */
static int move_up(int fd, const char **failed)
{
    int saved, null = -1, moved = -1;

    *failed = "fcntl";
    moved = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    if (moved == -1)
        return -1;
    *failed = "open /dev/null";
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null == -1)
        goto fail;
    *failed = "dup2";
    if (dup2(null, fd) == -1)
        goto fail;
    close(null);
    return moved;

fail:
    saved = errno;
    if (null != -1)
        close(null);
    close(moved);
    errno = saved;
    return -1;
}

static int set_flags(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
        return -1;
    return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int listen_inherit(int fd, struct listen_set *set, struct listen_error *error)
{
    size_t before = set->count;
    struct listen_socket *sock;
    const char *failed = "malloc";
    char name[32], bound[ADDRESS_TEXT], both[64 + ADDRESS_TEXT];
    int domain;

    snprintf(name, sizeof(name), "fd:%d", fd);
    for (size_t i = 0; i < before; i++)
        if (set->items[i].fd == fd) {
            errno = EBUSY;
            return listen_fail_because(error, "fd", name,
                                       "it was given before");
        }
    if (!listen_is_listening(fd))
        return listen_fail_because(error, "getsockopt", name,
                                   "it is not a listening socket");
    listen_print_bound(fd, bound);
    snprintf(both, sizeof(both), "%s (%s)", name, bound);
    sock = listen_set_add(set);
    if (sock == NULL)
        goto fail;
    sock->name = strdup(both);
    if (sock->name == NULL)
        goto fail;
    failed = "fcntl";
    if (set_flags(fd) == -1)
        goto fail;
    domain = get_option(fd, SO_DOMAIN);
    sock->is_tcp = domain == AF_INET || domain == AF_INET6;
    if (sock->is_tcp) /* without it answers may be slower, no more */
        (void)listen_set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    sock->fd = fd >= FIRST_FREE_FD ? fd : move_up(fd, &failed);
    if (sock->fd == -1)
        goto fail;
    return 0;

fail:
    listen_fail(error, failed, name);
    listen_set_cut(set, before);
    return -1;
}

/* The number in a variable of the environment; false: it is not one. */
static bool read_variable(const char *name, unsigned long long *number)
{
    const char *text = getenv(name);

    return text != NULL && slice_to_number(slice_of(text), INT_MAX, number);
}

void listen_read_passed(struct listen_passed *passed)
{
    unsigned long long pid = 0, count = 0;
    bool has_count = read_variable("LISTEN_FDS", &count);

    passed->is_ours = read_variable("LISTEN_PID", &pid) &&
                      pid == (unsigned long long)getpid() &&
                      getenv("LISTEN_FDS") != NULL;
    passed->is_readable = has_count && count <= INT_MAX - FIRST_SYSTEMD_FD;
    passed->count = passed->is_readable ? (int)count : 0;
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
}

int listen_from_systemd(const struct listen_passed *passed,
                        struct listen_set *set, struct listen_error *error)
{
    size_t before = set->count;

    if (!passed->is_ours)
        return 0;
    if (!passed->is_readable) {
        errno = EINVAL;
        return listen_fail_because(error, "getenv", "the sockets of systemd",
                                   "LISTEN_FDS is not a number");
    }
    for (int i = 0; i < passed->count; i++) {
        if (listen_inherit(FIRST_SYSTEMD_FD + i, set, error) == -1) {
            listen_set_cut(set, before);
            return -1;
        }
    }
    return passed->count;
}

int listen_from_stdin(struct listen_set *set, struct listen_error *error)
{
    if (!listen_is_listening(STDIN_FILENO))
        return 0;
    return listen_inherit(STDIN_FILENO, set, error) == -1 ? -1 : 1;
}
