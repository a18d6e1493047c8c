/* script_socket_error_test.c -- how scripts hear of what fails.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <cmocka.h>

#include "script/socket_error.h"

static void errors_have_the_texts_of_luasocket(void **state)
{
    static const struct {
        int error;
        const char *text;
    } known[] = {
        { ECONNREFUSED, "connection refused" },
        { ECONNRESET, "closed" },
        { EPIPE, "closed" },
        { ENOTCONN, "closed" },
        { ETIMEDOUT, "timeout" },
        { EADDRINUSE, "address already in use" },
        { EISCONN, "already connected" },
        { EACCES, "permission denied" },
        { ENOMEM, "not enough memory" },
        { ENOENT, "No such file or directory" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        assert_string_equal(socket_error(known[i].error), known[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_the_texts_of_luasocket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
