/* dns.h -- private to this room: the way from resolver.c to c-ares, or to
 * nothing where that was not there (dns_absent.c).
 *
 * A struct dns reads resolv.conf when it is made: after a change of that file
 * another one is needed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_DNS_H
#define IO_DNS_H

#include "io/resolver.h"

struct dns;

/* Embedded in who asks. */
struct question {
    struct dns *dns;
    /* The answer, which holds for so many seconds.  It may ask more, but not of
     * one that is being deleted. */
    void (*answered)(struct question *question,
                     const struct resolve_answer *answer, unsigned ttl);
};

/* servers: "ADDR:PORT" or "[ADDR]:PORT", with commas between them; NULL: those
 * of resolv_conf, which is the system's if it is NULL.  Returns NULL when there
 * is no memory. */
struct dns *dns_new(struct loop *loop, const char *servers,
                    const char *resolv_conf);

/* Questions that are open are answered with RESOLVE_FAILED. */
void dns_del(struct dns *dns);

/* It is asked no more: it goes to the list, and is deleted when its last
 * question has been answered. */
void dns_retire(struct dns *dns, struct list *retired);
void dns_del_retired(struct list *retired);

/* The answer may come before this returns. */
void dns_ask(struct dns *dns, struct question *question, const char *name,
             enum resolve_family family);

#endif
