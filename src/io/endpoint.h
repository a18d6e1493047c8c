/* endpoint.h -- an address in the form that the kernel takes: of somebody to
 * connect to, or of either end of a socket.  Nothing is looked up.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_ENDPOINT_H
#define IO_ENDPOINT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct endpoint {
    socklen_t len;
    union {
        struct sockaddr any; /* any.sa_family says which it is */
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } as;
};

enum { ENDPOINT_TEXT = sizeof(((struct sockaddr_un *)0)->sun_path) + 1 };

/* Reads a numeric address: "127.0.0.1", "::1", "fe80::1%eth0".  Returns false
 * for anything else, such as a name. */
bool endpoint_ip(struct endpoint *out, const char *text, uint16_t port);

/* The address of a unix socket; "@name" is an abstract one.  Returns false when
 * the path is empty or longer than the kernel takes. */
bool endpoint_unix(struct endpoint *out, const char *path);

/* Writes the address without its port, or the path ("" when it has none). */
void endpoint_print(const struct endpoint *endpoint, char out[ENDPOINT_TEXT]);

/* The port; 0 of a unix socket. */
uint16_t endpoint_port(const struct endpoint *endpoint);

/* The two ends of a socket.  Return 0, or -1 with errno. */
int endpoint_own(int fd, struct endpoint *out);
int endpoint_peer(int fd, struct endpoint *out);

#endif
