/* io_dns_absent_test.c -- a resolver that is built without c-ares.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/dns_absent.c" /* in place of what this program was built with */
#include "io/resolver.h"

static void names_are_not_looked_up(void **state)
{
    const struct resolver_config config = { NULL, 0, NULL };
    struct loop *loop = loop_new();
    struct resolver *resolver = resolver_new(loop, &config);
    struct resolve_answer answer;
    struct resolve_wait wait;

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(resolver_ask(resolver, slice_of("www.test"),
                                      RESOLVE_BOTH, &wait, &answer),
                         RESOLVE_ABSENT);
    assert_int_equal(answer.count, 0);
    assert_int_equal(resolver_ask(resolver, slice_of("localhost"), RESOLVE_BOTH,
                                  &wait, &answer),
                     RESOLVE_OK);
    assert_int_equal(answer.count, 2);
    assert_int_equal(resolver_ask(resolver, slice_of("192.0.2.1"), RESOLVE_INET,
                                  &wait, &answer),
                     RESOLVE_OK);
    assert_int_equal(answer.count, 1);
    assert_null(resolver_library());
    resolver_del(resolver);
    loop_del(loop);
}

static void retiring_leaves_nothing(void **state)
{
    struct list retired;

    (void)state;
    list_init(&retired);
    dns_retire(dns_new(NULL, NULL, NULL), &retired);
    assert_true(list_is_empty(&retired));
    dns_del_retired(&retired);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_not_looked_up),
        cmocka_unit_test(retiring_leaves_nothing),
    };

    return cmocka_run_group_tests_name("io/dns_absent", tests, NULL, NULL);
}
