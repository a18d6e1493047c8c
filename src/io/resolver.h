/* resolver.h -- looks up the addresses of names, in the loop.
 *
 *     resolver_ask --> is it remembered? --> the answer
 *                      is somebody asking? --> waits for the same answer
 *                      dns.h asks: the hosts file, then name servers
 *
 * Answers are remembered for as long as their TTL allows, and forgotten when
 * resolv.conf or the hosts file has changed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_RESOLVER_H
#define IO_RESOLVER_H

#include "base/slice.h"
#include "core/limits.h"
#include "io/loop.h"

struct lookup;
struct resolver;

enum resolve_family { RESOLVE_BOTH, RESOLVE_INET, RESOLVE_INET6 };

enum resolve_status {
    RESOLVE_LATER, /* on_end will be called */
    RESOLVE_OK,
    RESOLVE_NOT_FOUND, /* also for what cannot be a name */
    RESOLVE_TIMEOUT,
    RESOLVE_FAILED, /* the name servers do, or none can be asked */
    RESOLVE_NO_MEMORY,
    RESOLVE_ABSENT /* this program cannot look up names: no c-ares */
};

struct resolve_address {
    unsigned char is_inet6;
    unsigned char bytes[16]; /* 4 of them for IPv4 */
};

struct resolve_answer {
    enum resolve_status status;
    unsigned count; /* 0 unless RESOLVE_OK */
    struct resolve_address addresses[RESOLVE_ADDRESSES_MAX];
};

/* Who waits for an answer; embedded. */
struct resolve_wait {
    struct list link;
    struct lookup *lookup; /* NULL: nothing is waited for */
    /* The answer has come.  It asks for nothing else. */
    void (*on_end)(struct resolve_wait *wait,
                   const struct resolve_answer *answer);
};

/* Where to ask; must outlive the resolver. */
struct resolver_config {
    char *const *servers; /* "ADDR[,ADDR]" each; those of resolv.conf if none */
    size_t server_count;
    const char *resolv_conf; /* NULL: the system's */
};

/* Returns NULL when there is no memory.  Nothing is opened before the first
 * question. */
struct resolver *resolver_new(struct loop *loop,
                              const struct resolver_config *config);

/* Who still waits is not told. */
void resolver_del(struct resolver *resolver);

/* Looks up a name; localhost needs no looking up.  Unless it returns
 * RESOLVE_LATER *answer is filled, and its status is what is returned. */
enum resolve_status resolver_ask(struct resolver *resolver, struct slice name,
                                 enum resolve_family family,
                                 struct resolve_wait *wait,
                                 struct resolve_answer *answer);

/* The wait is over, if it has begun; the look-up goes on, for the next one. */
void resolver_stop(struct resolve_wait *wait);

/* An address needs no looking up.  Returns false if name is none; else *answer
 * says whether it is of the family. */
bool resolver_read_address(struct slice name, enum resolve_family family,
                           struct resolve_answer *answer);

/* Is text "ADDR[,ADDR]", where ADDR is a numeric address with or without a
 * port?  An IPv6 address with a port stands in brackets. */
bool resolver_check_servers(const char *text);

/* "c-ares 1.18.1"; NULL: built without it. */
const char *resolver_library(void);

#endif
