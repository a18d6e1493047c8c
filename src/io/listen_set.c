/* listen_set.c -- the set, its end, and messages.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/listen_set.h"

#include "base/log.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int listen_fail(struct listen_error *error, const char *failed,
                const char *name)
{
    int saved = errno;

    error->failed = failed;
    snprintf(error->message, sizeof(error->message),
             "cannot listen on %s: %s: %s", name, failed, strerror(saved));
    errno = saved;
    return -1;
}

int listen_fail_because(struct listen_error *error, const char *failed,
                        const char *name, const char *why)
{
    int saved = errno;

    error->failed = failed;
    snprintf(error->message, sizeof(error->message), "cannot listen on %s: %s",
             name, why);
    errno = saved;
    return -1;
}

/* Only the file that we made, and only in the process that made it: a forked
 * child closes its copy, and a successor may have taken the path over. */
/* It may stay where root has bound it and another user stops: what then finds
 * nobody listening is replaced at the next start. */
static void unlink_own(const struct listen_socket *sock)
{
    struct stat now;

    if (sock->path_to_unlink == NULL || sock->bound_by != getpid())
        return;
    if (lstat(sock->path_to_unlink, &now) == 0 &&
        (!S_ISSOCK(now.st_mode) || now.st_dev != sock->dev ||
         now.st_ino != sock->ino || unlink(sock->path_to_unlink) == 0))
        return;
    if (errno != ENOENT)
        log_write(LOG_LEVEL_NOTICE,
                  "%s stays: this user may not remove it (%s); the next start "
                  "replaces it",
                  sock->path_to_unlink, strerror(errno));
}

void listen_set_cut(struct listen_set *set, size_t count)
{
    int saved = errno;

    while (set->count > count) {
        struct listen_socket *sock = &set->items[--set->count];

        unlink_own(sock); /* before close: nobody finds it refusing */
        if (sock->fd != -1)
            close(sock->fd);
        free(sock->path_to_unlink);
        free(sock->name);
    }
    errno = saved;
}

void listen_close(struct listen_set *set)
{
    listen_set_cut(set, 0);
    free(set->items);
    *set = (struct listen_set){ NULL, 0 };
}

struct listen_socket *listen_set_add(struct listen_set *set)
{
    struct listen_socket *items =
        realloc(set->items, (set->count + 1) * sizeof(*items));

    if (items == NULL)
        return NULL;
    set->items = items;
    items[set->count] = (struct listen_socket){ .fd = -1 };
    return &items[set->count++];
}

void listen_print_sockaddr(const struct sockaddr *sa, socklen_t len,
                           char out[ADDRESS_TEXT])
{
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (sa->sa_family == AF_UNIX) {
        const char *path =
            (const char *)sa + offsetof(struct sockaddr_un, sun_path);
        size_t path_len = len - offsetof(struct sockaddr_un, sun_path);

        snprintf(out, ADDRESS_TEXT, "unix:%.*s", (int)path_len, path);
    } else if (getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        snprintf(out, ADDRESS_TEXT,
                 sa->sa_family == AF_INET6 ? "[%.200s]:%s" : "%.200s:%s", host,
                 port);
    } else {
        snprintf(out, ADDRESS_TEXT, "family %d", sa->sa_family);
    }
}

void listen_print_bound(int fd, char out[ADDRESS_TEXT])
{
    struct sockaddr_storage bound = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof(bound);

    getsockname(fd, (struct sockaddr *)&bound, &len);
    listen_print_sockaddr((struct sockaddr *)&bound, len, out);
}

int listen_set_option(int fd, int level, int option)
{
    int on = 1;

    return setsockopt(fd, level, option, &on, sizeof(on));
}
