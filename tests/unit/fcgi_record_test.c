/* fcgi_record_test.c -- records to and from bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "fcgi/record.h"

static void a_header_is_decoded_field_by_field(void **state)
{
    struct fcgi_header header =
        fcgi_header_decode("\x01\x05\xff\xfe\xfd\xfc\xfb\xfa");

    (void)state;
    assert_int_equal(header.version, 1);
    assert_int_equal(header.type, FCGI_STDIN);
    assert_int_equal(header.id, 0xfffe);
    assert_int_equal(header.length, 0xfdfc);
    assert_int_equal(header.padding, 0xfb);
}

static void every_id_and_length_comes_back(void **state)
{
    char bytes[FCGI_HEADER_LEN];

    (void)state;
    for (unsigned n = 0; n <= 65535; n++) {
        struct fcgi_header header;

        fcgi_header_encode(bytes, FCGI_STDOUT, (uint16_t)n, 65535 - n);
        header = fcgi_header_decode(bytes);
        assert_true(header.id == n && header.length == 65535 - n &&
                    header.version == 1 && header.type == FCGI_STDOUT);
    }
}

static void padding_and_reserved_bytes_are_zero(void **state)
{
    char bytes[FCGI_HEADER_LEN], body[8];

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    fcgi_header_encode(bytes, FCGI_END_REQUEST, 0x1234, 8);
    assert_memory_equal(bytes, "\x01\x03\x12\x34\x00\x08\x00\x00", 8);
    memset(body, 'x', sizeof(body));
    fcgi_end_encode(body, 0, FCGI_REQUEST_COMPLETE);
    assert_memory_equal(body, "\0\0\0\0\0\0\0\0", 8);
}

static void a_length_is_changed_alone(void **state)
{
    char bytes[FCGI_HEADER_LEN];

    (void)state;
    fcgi_header_encode(bytes, FCGI_STDOUT, 7, 0);
    fcgi_header_set_length(bytes, 65535);
    assert_memory_equal(bytes, "\x01\x06\x00\x07\xff\xff\x00\x00", 8);
    fcgi_header_set_length(bytes, 256);
    assert_memory_equal(bytes, "\x01\x06\x00\x07\x01\x00\x00\x00", 8);
}

static void roles_and_flags_are_those_of_the_begin_body(void **state)
{
    (void)state;
    assert_int_equal(fcgi_begin_role("\x00\x01\x01zzzzz"), 1);
    assert_int_equal(fcgi_begin_role("\xff\xfe\x01zzzzz"), 0xfffe);
    assert_int_equal(fcgi_begin_flags("\x00\x01\xffzzzzz"), 0xff);
    assert_int_equal(fcgi_begin_flags("\x00\x01\x00zzzzz"), 0);
}

static void the_app_status_is_big_endian(void **state)
{
    char body[8];

    (void)state;
    fcgi_end_encode(body, 0xfedcba98u, FCGI_UNKNOWN_ROLE);
    assert_memory_equal(body, "\xfe\xdc\xba\x98\x03\0\0\0", 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_decoded_field_by_field),
        cmocka_unit_test(every_id_and_length_comes_back),
        cmocka_unit_test(padding_and_reserved_bytes_are_zero),
        cmocka_unit_test(a_length_is_changed_alone),
        cmocka_unit_test(roles_and_flags_are_those_of_the_begin_body),
        cmocka_unit_test(the_app_status_is_big_endian),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
