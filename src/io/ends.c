/* ends.c -- see ends.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/ends.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void print(const struct sockaddr_storage *address, char out[46],
                  uint16_t *port)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;

    _Static_assert(INET6_ADDRSTRLEN <= sizeof(((struct wire_ends *)0)->remote),
                   "wire_ends has room for an address");
    if (address->ss_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, out, INET6_ADDRSTRLEN);
        *port = ntohs(v4->sin_port);
    } else if (address->ss_family == AF_INET6) {
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
            inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], out,
                      INET6_ADDRSTRLEN);
        else
            inet_ntop(AF_INET6, &v6->sin6_addr, out, INET6_ADDRSTRLEN);
        *port = ntohs(v6->sin6_port);
    }
}

void ends_of(int fd, struct wire_ends *ends)
{
    struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof(address);

    *ends = (struct wire_ends){ .remote_port = 0 };
    if (getpeername(fd, (struct sockaddr *)&address, &len) == 0)
        print(&address, ends->remote, &ends->remote_port);
    address.ss_family = AF_UNSPEC;
    len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
        print(&address, ends->local, &ends->local_port);
}
