/* dns_absent.c -- in a program that is built without c-ares: see dns.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/dns.h"

#include <stdlib.h>

struct dns {
    bool is_asked; /* a struct has a member */
};

struct dns *dns_new(struct loop *loop, const char *servers,
                    const char *resolv_conf)
{
    (void)loop;
    (void)servers;
    (void)resolv_conf;
    return calloc(1, sizeof(struct dns));
}

void dns_del(struct dns *dns)
{
    free(dns);
}

/* No question stays open. */
void dns_retire(struct dns *dns, struct list *retired)
{
    (void)retired;
    free(dns);
}

void dns_del_retired(struct list *retired)
{
    (void)retired;
}

void dns_ask(struct dns *dns, struct question *question, const char *name,
             enum resolve_family family)
{
    static const struct resolve_answer answer = { .status = RESOLVE_ABSENT };

    (void)name;
    (void)family;
    question->dns = dns;
    question->answered(question, &answer, 0);
}

const char *resolver_library(void)
{
    return NULL;
}
