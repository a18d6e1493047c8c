/* base_shared_fd_test.c -- descriptors that several hold.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/shared_fd.h"

static int open_null(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void it_is_closed_with_the_last_reference(void **state)
{
    int fd = open_null();
    struct shared_fd *shared = shared_fd_new(fd);

    (void)state;
    assert_non_null(shared);
    assert_int_equal(shared->fd, fd);
    assert_ptr_equal(shared_fd_ref(shared), shared);
    shared_fd_unref(shared);
    assert_true(fcntl(fd, F_GETFD) >= 0);
    errno = EXDEV;
    shared_fd_unref(shared);
    assert_int_equal(errno, EXDEV);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void null_may_be_dropped(void **state)
{
    (void)state;
    shared_fd_unref(NULL);
}

static void without_memory_it_stays_with_the_caller(void **state)
{
    int fd = open_null();

    (void)state;
    alloc_fail_at(1);
    assert_null(shared_fd_new(fd));
    assert_int_equal(close(fd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_closed_with_the_last_reference),
        cmocka_unit_test(null_may_be_dropped),
        cmocka_unit_test(without_memory_it_stays_with_the_caller),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
