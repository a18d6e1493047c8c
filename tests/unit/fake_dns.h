/* fake_dns.h -- name servers that answer when the test says so: it takes the
 * place of io/dns.c.  Include it after cmocka.h, in one file of a program.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef UNIT_FAKE_DNS_H
#define UNIT_FAKE_DNS_H

#include "io/dns.h"

#include <stdlib.h>
#include <string.h>

enum { FAKE_OPEN_MAX = 2 * RESOLVE_AT_ONCE };

struct dns {
    struct list link;
    bool is_retired;
    unsigned open;
};

struct fake_question {
    struct question *question;
    char name[256];
    enum resolve_family family;
};

static struct {
    struct fake_question open[FAKE_OPEN_MAX];
    unsigned count;
    unsigned asked;   /* ever */
    unsigned made;    /* struct dns */
    unsigned deleted; /* likewise */
    bool cannot_be_made;
    const char *at_once; /* this address is the answer to all, from a file */
    char servers[256];   /* of the last one that was made */
} fake_dns;

struct dns *dns_new(struct loop *loop, const char *servers,
                    const char *resolv_conf)
{
    struct dns *dns = NULL;

    (void)loop;
    (void)resolv_conf;
    if (!fake_dns.cannot_be_made)
        dns = calloc(1, sizeof(*dns));
    if (dns == NULL)
        return NULL;
    list_init(&dns->link);
    fake_dns.made++;
    strcpy(fake_dns.servers, servers == NULL ? "" : servers);
    return dns;
}

/* The answer to the question with that number among those that are open. */
static inline void fake_answer(unsigned i, enum resolve_status status,
                               const char *const *addresses, unsigned ttl)
{
    struct question *question = fake_dns.open[i].question;
    struct dns *dns = question->dns;
    struct resolve_answer answer = { status, 0, { { 0, { 0 } } } }, one;

    assert_true(i < fake_dns.count);
    for (; addresses != NULL && *addresses != NULL; addresses++) {
        assert_true(
            resolver_read_address(slice_of(*addresses), RESOLVE_BOTH, &one));
        answer.addresses[answer.count++] = one.addresses[0];
    }
    fake_dns.open[i] = fake_dns.open[--fake_dns.count];
    dns->open--;
    question->answered(question, &answer, ttl);
    if (dns->is_retired && dns->open == 0)
        dns_del(dns);
}

static inline void fake_address(unsigned i, const char *address, unsigned ttl)
{
    const char *list[] = { address, NULL };

    fake_answer(i, RESOLVE_OK, list, ttl);
}

void dns_del(struct dns *dns)
{
    if (dns == NULL)
        return;
    fake_dns.deleted++;
    dns->is_retired = false;
    list_remove(&dns->link);
    for (unsigned i = fake_dns.count; i-- > 0;)
        if (fake_dns.open[i].question->dns == dns)
            fake_answer(i, RESOLVE_FAILED, NULL, 0);
    assert_int_equal(dns->open, 0);
    free(dns);
}

void dns_retire(struct dns *dns, struct list *retired)
{
    dns->is_retired = true;
    list_append(retired, &dns->link);
    if (dns->open == 0)
        dns_del(dns);
}

void dns_del_retired(struct list *retired)
{
    while (!list_is_empty(retired))
        dns_del(list_entry(retired->next, struct dns, link));
}

void dns_ask(struct dns *dns, struct question *question, const char *name,
             enum resolve_family family)
{
    struct fake_question *fake = &fake_dns.open[fake_dns.count];

    assert_true(fake_dns.count < FAKE_OPEN_MAX);
    assert_false(dns->is_retired);
    fake_dns.count++;
    fake_dns.asked++;
    dns->open++;
    question->dns = dns;
    *fake = (struct fake_question){ .question = question, .family = family };
    strcpy(fake->name, name);
    if (fake_dns.at_once != NULL)
        fake_address(fake_dns.count - 1, fake_dns.at_once, 0);
}

const char *resolver_library(void)
{
    return "fake";
}

/* Before each test. */
static inline void fake_dns_reset(void)
{
    memset(&fake_dns, 0, sizeof(fake_dns));
}

#endif
