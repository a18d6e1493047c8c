/* endpoint.c -- see endpoint.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/endpoint.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* All of the union, so that equal addresses are equal bytes. */
static void clear(struct endpoint *out, size_t len)
{
    memset(out, 0, sizeof(*out));
    out->len = (socklen_t)len;
}

/* What follows % is the interface: a link-local address is of use on one. */
static bool read_v6(struct endpoint *out, const char *text, uint16_t port)
{
    char address[INET6_ADDRSTRLEN];
    const char *zone = strchr(text, '%');
    size_t len = zone == NULL ? strlen(text) : (size_t)(zone - text);

    if (len >= sizeof(address))
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    clear(out, sizeof(out->as.v6));
    out->as.v6.sin6_family = AF_INET6;
    out->as.v6.sin6_port = htons(port);
    if (inet_pton(AF_INET6, address, &out->as.v6.sin6_addr) != 1)
        return false;
    if (zone != NULL) {
        out->as.v6.sin6_scope_id = if_nametoindex(zone + 1);
        return out->as.v6.sin6_scope_id != 0;
    }
    return true;
}

bool endpoint_ip(struct endpoint *out, const char *text, uint16_t port)
{
    clear(out, sizeof(out->as.v4));
    out->as.v4.sin_family = AF_INET;
    out->as.v4.sin_port = htons(port);
    return inet_pton(AF_INET, text, &out->as.v4.sin_addr) == 1 ||
           read_v6(out, text, port);
}

bool endpoint_unix(struct endpoint *out, const char *path)
{
    size_t len = strlen(path);

    clear(out, 0);
    if (len == 0 || len >= sizeof(out->as.local.sun_path))
        return false;
    out->as.local.sun_family = AF_UNIX;
    memcpy(out->as.local.sun_path, path, len + 1);
    out->len = sizeof(out->as.local);
    if (path[0] == '@') { /* an abstract one, as endpoint_print writes it */
        out->as.local.sun_path[0] = '\0';
        out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    }
    return true;
}

/* A socket that is bound to nothing has no path, not even its NUL; an abstract
 * one begins with NUL, which is written as ss and systemd write it. */
static void print_path(const struct endpoint *endpoint, char *out)
{
    const char *path = endpoint->as.local.sun_path;
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t len = endpoint->len > head ? endpoint->len - head : 0;

    if (len > sizeof(endpoint->as.local.sun_path))
        len = sizeof(endpoint->as.local.sun_path);
    if (len > 0 && path[0] != '\0')
        len = strnlen(path, len);
    memcpy(out, path, len);
    out[len] = '\0';
    if (len > 0 && path[0] == '\0')
        out[0] = '@';
}

void endpoint_print(const struct endpoint *endpoint, char out[ENDPOINT_TEXT])
{
    char zone[IF_NAMESIZE];
    size_t len;

    _Static_assert(ENDPOINT_TEXT > INET6_ADDRSTRLEN + IF_NAMESIZE,
                   "an IPv6 address with its interface is too long");
    out[0] = '\0';
    switch (endpoint->as.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &endpoint->as.v4.sin_addr, out, ENDPOINT_TEXT);
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &endpoint->as.v6.sin6_addr, out, ENDPOINT_TEXT);
        len = strlen(out);
        if (endpoint->as.v6.sin6_scope_id != 0 &&
            if_indextoname(endpoint->as.v6.sin6_scope_id, zone) != NULL)
            snprintf(out + len, ENDPOINT_TEXT - len, "%%%s", zone);
        break;
    case AF_UNIX:
        print_path(endpoint, out);
        break;
    default:
        break;
    }
}

uint16_t endpoint_port(const struct endpoint *endpoint)
{
    if (endpoint->as.any.sa_family == AF_INET)
        return ntohs(endpoint->as.v4.sin_port);
    if (endpoint->as.any.sa_family == AF_INET6)
        return ntohs(endpoint->as.v6.sin6_port);
    return 0;
}

int endpoint_own(int fd, struct endpoint *out)
{
    clear(out, sizeof(out->as));
    return getsockname(fd, &out->as.any, &out->len);
}

int endpoint_peer(int fd, struct endpoint *out)
{
    clear(out, sizeof(out->as));
    return getpeername(fd, &out->as.any, &out->len);
}
