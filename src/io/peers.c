/* peers.c -- see peers.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/peers.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

void peers_free(struct peers *peers)
{
    free(peers->items);
    *peers = (struct peers){ .is_restricted = false };
}

/* ::ffff:a.b.c.d: how a socket for both families shows an IPv4 peer. */
static struct in6_addr map_v4(struct in_addr v4)
{
    struct in6_addr mapped = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

    memcpy(&mapped.s6_addr[12], &v4, sizeof(v4));
    return mapped;
}

static bool read_address(struct slice text, struct in6_addr *out)
{
    char copy[INET6_ADDRSTRLEN];
    struct in_addr v4;

    if (text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET6, copy, out) == 1)
        return true;
    if (inet_pton(AF_INET, copy, &v4) != 1)
        return false;
    *out = map_v4(v4);
    return true;
}

enum peers_status peers_parse(struct peers *peers, const char *text,
                              struct slice *junk)
{
    struct peers read = { .is_restricted = text != NULL };
    size_t commas = 0;

    for (const char *c = text; c != NULL && *c != '\0'; c++)
        commas += *c == ',' ? 1 : 0;
    if (text != NULL) {
        read.items = malloc((commas + 1) * sizeof(*read.items));
        if (read.items == NULL)
            return PEERS_NO_MEMORY;
    }
    while (text != NULL) {
        struct slice item = { text, strcspn(text, ",") };

        text = text[item.len] == ',' ? text + item.len + 1 : NULL;
        item = slice_trim(item);
        if (!read_address(item, &read.items[read.count++])) {
            *junk = item;
            peers_free(&read);
            return PEERS_BAD;
        }
    }
    peers_free(peers);
    *peers = read;
    return PEERS_OK;
}

/* sockaddrs come from buffers of any type: copied, not cast. */
bool peers_allow(const struct peers *peers, const struct sockaddr *from,
                 socklen_t len)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct in6_addr peer;

    if (!peers->is_restricted)
        return true;
    if (len >= sizeof(v4) && from->sa_family == AF_INET) {
        memcpy(&v4, from, sizeof(v4));
        peer = map_v4(v4.sin_addr);
    } else if (len >= sizeof(v6) && from->sa_family == AF_INET6) {
        memcpy(&v6, from, sizeof(v6));
        peer = v6.sin6_addr;
    } else {
        return false;
    }
    for (size_t i = 0; i < peers->count; i++)
        if (memcmp(&peer, &peers->items[i], sizeof(peer)) == 0)
            return true;
    return false;
}
