/* peers.h -- FCGI_WEB_SERVER_ADDRS: which web servers may connect
 * (specification, 3.2).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_PEERS_H
#define IO_PEERS_H

#include "base/slice.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* A struct of zeroes lets everybody in. */
struct peers {
    bool is_restricted;     /* only who is in items may connect */
    struct in6_addr *items; /* IPv4 as ::ffff:a.b.c.d */
    size_t count;
};

enum peers_status {
    PEERS_OK,
    PEERS_BAD, /* *junk is no address: a part of text, empty if text is */
    PEERS_NO_MEMORY
};

/* Reads IPv4 and IPv6 addresses that stand between commas, with blanks around
 * them or not.  text is NULL when the variable is not set: nothing is
 * restricted then.  *peers is replaced, unless the status is not PEERS_OK: then
 * it is as before; start with zeroes. */
enum peers_status peers_parse(struct peers *peers, const char *text,
                              struct slice *junk);

/* May a connection from that address be served?  When there is a list, one that
 * is not TCP may not. */
bool peers_allow(const struct peers *peers, const struct sockaddr *from,
                 socklen_t len);

void peers_free(struct peers *peers);

#endif
