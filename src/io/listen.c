/* listen.c -- sockets made here; see listen.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/listen.h"
#include "base/log.h"
#include "io/listen_set.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BIND_TRIES = 3 }; /* another process may take the path between two */

static int tcp_open(const struct addrinfo *info, struct listen_set *set,
                    struct listen_error *error)
{
    struct listen_socket *sock = listen_set_add(set);
    const char *failed = "malloc";
    char name[ADDRESS_TEXT];

    listen_print_sockaddr(info->ai_addr, info->ai_addrlen, name);
    if (sock == NULL)
        goto fail;
    sock->is_tcp = true;
    failed = "socket";
    sock->fd =
        socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sock->fd == -1)
        goto fail;
    failed = "setsockopt";
    if (listen_set_option(sock->fd, SOL_SOCKET, SO_REUSEADDR) == -1 ||
        listen_set_option(sock->fd, IPPROTO_TCP, TCP_NODELAY) == -1)
        goto fail;
    if (info->ai_family == AF_INET6 && /* IPv4 has a socket of its own */
        listen_set_option(sock->fd, IPPROTO_IPV6, IPV6_V6ONLY) == -1)
        goto fail;
    failed = "bind";
    if (bind(sock->fd, info->ai_addr, info->ai_addrlen) == -1)
        goto fail;
    failed = "listen";
    if (listen(sock->fd, SOMAXCONN) == -1)
        goto fail;
    listen_print_bound(sock->fd,
                       name); /* the port may be the kernel's choice */
    failed = "malloc";
    sock->name = strdup(name);
    if (sock->name == NULL)
        goto fail;
    return 0;

fail:
    return listen_fail(error, failed, name);
}

/* A machine without IPv6 is no error, nor is one where it is switched off. */
static bool is_family_missing(const struct addrinfo *info)
{
    return errno == EAFNOSUPPORT ||
           (errno == EADDRNOTAVAIL && info->ai_family == AF_INET6);
}

/* Two lines of /etc/hosts may name one address. */
static bool is_repeated(const struct addrinfo *first,
                        const struct addrinfo *info)
{
    for (; first != info; first = first->ai_next)
        if (first->ai_addrlen == info->ai_addrlen &&
            memcmp(first->ai_addr, info->ai_addr, info->ai_addrlen) == 0)
            return true;
    return false;
}

/* Gives info the port of fd. */
static void share_port(struct addrinfo *info, int fd)
{
    enum { PORT = offsetof(struct sockaddr_in, sin_port) };
    struct sockaddr_storage bound = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof(bound);

    _Static_assert(PORT == offsetof(struct sockaddr_in6, sin6_port),
                   "both families keep their port in one place");
    getsockname(fd, (struct sockaddr *)&bound, &len);
    memcpy((char *)info->ai_addr + PORT, (char *)&bound + PORT,
           sizeof(in_port_t));
}

/* Opens all that a host has.  When some of it cannot be, *error is of use only
 * if nothing was opened. */
static int each_open(struct addrinfo *found, bool any_port,
                     struct listen_set *set, struct listen_error *error)
{
    size_t before = set->count;

    for (struct addrinfo *info = found; info != NULL; info = info->ai_next) {
        size_t opened = set->count;

        if (is_repeated(found, info))
            continue;
        if (any_port && opened > before)
            share_port(info, set->items[before].fd);
        if (tcp_open(info, set, error) == 0)
            continue;
        if (!is_family_missing(info)) {
            listen_set_cut(set, before);
            return -1;
        }
        listen_set_cut(set, opened);
    }
    return set->count > before ? 0 : -1;
}

static int host_open(const struct address *address, struct listen_set *set,
                     struct listen_error *error)
{
    const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                    .ai_socktype = SOCK_STREAM };
    const char *host = address->host[0] != '\0' ? address->host : NULL;
    struct addrinfo *found = NULL;
    char name[ADDRESS_TEXT], port[sizeof("65535")], why[128];
    int status, saved;

    snprintf(port, sizeof(port), "%u", (unsigned)address->port);
    status = getaddrinfo(host, port, &hints, &found);
    if (status == 0) {
        status = each_open(found, address->port == 0, set, error);
        saved = errno;
        freeaddrinfo(found);
        errno = saved;
        return status;
    }
    address_print(address, name);
    if (status == EAI_SYSTEM)
        return listen_fail(error, "getaddrinfo", name);
    errno = status == EAI_MEMORY ? ENOMEM : EADDRNOTAVAIL;
    snprintf(why, sizeof(why), "getaddrinfo: %s", gai_strerror(status));
    return listen_fail_because(error, "getaddrinfo", name, why);
}

/* Makes way for a new socket at the path, where something is: removes a socket
 * that nobody listens on.  Returns 0 when binding is worth another try, or -1
 * with errno and *failed. */
static int clear_stale(const struct sockaddr_un *sun, const char **failed)
{
    struct stat there;
    int saved, status, fd;

    *failed = "lstat";
    if (lstat(sun->sun_path, &there) == -1)
        return errno == ENOENT ? 0 : -1;
    *failed = "bind";
    if (!S_ISSOCK(there.st_mode)) {
        errno = EEXIST;
        return -1;
    }
    *failed = "socket";
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    *failed = "connect";
    status = connect(fd, (const struct sockaddr *)sun, sizeof(*sun));
    saved = errno;
    close(fd);
    errno = saved;
    if (status == 0 || errno == EAGAIN) { /* EAGAIN: its queue is full */
        *failed = "bind";
        errno = EADDRINUSE;
        return -1;
    }
    if (errno == ENOENT)
        return 0;
    if (errno != ECONNREFUSED)
        return -1;
    *failed = "unlink";
    return unlink(sun->sun_path) == 0 || errno == ENOENT ? 0 : -1;
}

static int bind_with_mode(int fd, const struct address *address,
                          const struct sockaddr_un *sun)
{
    mode_t old = 0;
    int status;

    if (address->has_mode)
        old = umask(0777 & ~address->mode); /* bind applies it to 0777 */
    status = bind(fd, (const struct sockaddr *)sun, sizeof(*sun));
    if (address->has_mode)
        umask(old);
    return status;
}

/* Remembers which file bind made and gives it its owner, through a descriptor
 * so that it is one and the same file, and never what a link points to. */
static int claim_file(struct listen_socket *sock, const struct address *address,
                      const char **failed)
{
    uid_t owner = address->has_owner ? address->owner : (uid_t)-1;
    gid_t group = address->has_group ? address->group : (gid_t)-1;
    struct stat made;
    int saved, status = -1;
    int fd = open(address->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    *failed = "open";
    if (fd == -1)
        return -1;
    *failed = "fstat";
    if (fstat(fd, &made) == -1)
        goto done;
    sock->dev = made.st_dev;
    sock->ino = made.st_ino;
    *failed = "chown";
    status = 0;
    if (address->has_owner || address->has_group)
        status = fchownat(fd, "", owner, group, AT_EMPTY_PATH);

done:
    saved = errno;
    close(fd);
    errno = saved;
    return status;
}

/* Until listen() every connect is refused, so mode and owner are set in time
 * if they are set before it. */
static int unix_open(const struct address *address, struct listen_set *set,
                     struct listen_error *error)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    size_t before = set->count;
    struct listen_socket *sock = listen_set_add(set);
    const char *failed = "malloc";
    char name[ADDRESS_TEXT];

    memcpy(sun.sun_path, address->path, sizeof(sun.sun_path));
    snprintf(name, sizeof(name), "unix:%s", address->path);
    if (sock == NULL)
        goto fail;
    sock->name = strdup(name);
    if (sock->name == NULL)
        goto fail;
    sock->path_to_unlink = strdup(address->path);
    if (sock->path_to_unlink == NULL)
        goto fail;
    failed = "socket";
    sock->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sock->fd == -1)
        goto fail;
    for (int tries = 1; bind_with_mode(sock->fd, address, &sun) == -1;
         tries++) {
        failed = "bind";
        if (errno != EADDRINUSE || tries == BIND_TRIES ||
            clear_stale(&sun, &failed) == -1)
            goto fail;
    }
    sock->bound_by = getpid();
    if (claim_file(sock, address, &failed) == -1)
        goto fail;
    failed = "listen";
    if (listen(sock->fd, SOMAXCONN) == -1)
        goto fail;
    return 0;

fail:
    if (errno == EEXIST)
        listen_fail_because(error, failed, name,
                            "a file that is not a socket is there already");
    else
        listen_fail(error, failed, name);
    listen_set_cut(set, before);
    return -1;
}

int listen_open(const struct address *address, struct listen_set *set,
                struct listen_error *error)
{
    switch (address->kind) {
    case ADDRESS_TCP:
        break;
    case ADDRESS_UNIX:
        return unix_open(address, set, error);
    case ADDRESS_FD:
        return listen_inherit(address->fd, set, error);
    }
    return host_open(address, set, error);
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;

    if (address->ss_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (address->ss_family != AF_INET6)
        return true; /* a unix socket */
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) &&
            v6->sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

bool listen_is_public(const struct listen_set *set, char where[ADDRESS_TEXT])
{
    for (size_t i = 0; i < set->count; i++) {
        struct sockaddr_storage address = { 0 };
        socklen_t len = sizeof(address);

        if (getsockname(set->items[i].fd, (struct sockaddr *)&address, &len) ==
                -1 ||
            is_loopback(&address))
            continue;
        listen_print_sockaddr((struct sockaddr *)&address, len, where);
        return true;
    }
    return false;
}

void listen_log(const struct listen_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        log_write(LOG_LEVEL_NOTICE, "listening on %s", set->items[i].name);
}
