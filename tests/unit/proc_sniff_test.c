/* proc_sniff_test.c -- the first byte says what is spoken.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/log.h"
#include "fake_service.h"
#include "fcgi/session.h"
#include "http/session.h"
#include "proc/sniff.h"

static struct fake_service fake;

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    fake_service_init(&fake, fcgi_stream_size());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_service_free(&fake);
    return 0;
}

static void feed(struct wire *wire, const char *text, size_t len)
{
    struct block *block = block_new(&fake.service.blocks);

    if (block == NULL)
        return;
    memcpy(block->data, text, len);
    wire->ops->feed(wire, block, (struct slice){ block->data, len });
    block_unref(block);
}

/* What a wire does that has been given a request in FastCGI or HTTP. */
static struct wire *follow(struct wire *wire, const char *text, size_t len)
{
    struct wire *next;

    feed(wire, text, len);
    next = wire->successor;
    wire->successor = NULL;
    wire->ops->close(wire);
    return next;
}

static const char in_fastcgi[] = "\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0"
                                 "\1\4\0\1\0\0\0\0";
static const char in_http[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

static void both_protocols_are_known_by_their_first_byte(void **state)
{
    struct wire *wire;

    (void)state;
    wire =
        follow(sniff_open(&fake.service), in_fastcgi, sizeof(in_fastcgi) - 1);
    assert_non_null(wire);
    assert_int_equal(fake.n_ready, 1);
    wire->ops->close(wire);
    if (http_library() == NULL)
        return;
    wire = follow(sniff_open(&fake.service), in_http, sizeof(in_http) - 1);
    assert_non_null(wire);
    assert_int_equal(fake.n_ready, 2);
    wire->ops->close(wire);
    wire = follow(sniff_open(&fake.service), "\r\n", 2);
    assert_non_null(wire);
    wire->ops->close(wire);
}

static void other_bytes_end_the_connection(void **state)
{
    static const char others[] = { 0, 2, 22, ' ', '{', '1', '\x80', '\xff' };

    (void)state;
    for (size_t i = 0; i < sizeof(others); i++) {
        struct wire *wire = sniff_open(&fake.service);

        feed(wire, &others[i], 1);
        assert_null(wire->successor);
        assert_int_equal(wire->state, WIRE_BROKEN);
        wire->ops->close(wire);
    }
}

static void who_is_silent_owes_the_first_byte(void **state)
{
    struct wire *wire = sniff_open(&fake.service);

    (void)state;
    assert_true(wire->ops->owed_since(wire) == fake.now);
    assert_true(wire->ops->want_read(wire));
    assert_false(wire->ops->is_busy(wire));
    wire->ops->eof(wire);
    assert_int_equal(wire->state, WIRE_CLOSE);
    wire->ops->close(wire);
}

static void play(void *arg)
{
    struct wire *wire = sniff_open(&fake.service);

    (void)arg;
    if (wire == NULL)
        return;
    feed(wire, in_http, sizeof(in_http) - 1);
    wire->ops->close(wire); /* with its successor, that nobody took over */
    while (fake.n_ready > 0)
        fake_release(&fake, 0);
}

static void it_lives_without_memory(void **state)
{
    (void)state;
    alloc_each_fails(play, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_protocols_are_known_by_their_first_byte),
        TEST(other_bytes_end_the_connection),
        TEST(who_is_silent_owes_the_first_byte),
        TEST(it_lives_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
