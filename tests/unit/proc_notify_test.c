/* proc_notify_test.c -- telling systemd how the service is.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/log.h"
#include "proc/notify.h"

static char folder[64], path[96], log_path[96], text[4096];
static int systemd = -1; /* where it listens */
static struct notify notify;

static void listen_at(const char *address)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
                                strlen(address) + (address[0] == '/'));

    strcpy(sun.sun_path, address);
    if (address[0] == '@')
        sun.sun_path[0] = '\0';
    systemd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_not_equal(systemd, -1);
    assert_int_equal(bind(systemd, (struct sockaddr *)&sun, len), 0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fcgi-lua-notify.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/notify", folder);
    snprintf(log_path, sizeof(log_path), "%s/log", folder);
    notify = (struct notify)NOTIFY_NOBODY;
    return log_open(log_path);
}

static int tear_down(void **state)
{
    (void)state;
    notify_close(&notify);
    log_close();
    if (systemd != -1)
        close(systemd);
    systemd = -1;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    unlink(path);
    unlink(log_path);
    return rmdir(folder);
}

/* The next message; "" if there is none. */
static const char *heard(void)
{
    ssize_t n = recv(systemd, text, sizeof(text) - 1, 0);

    if (n == -1)
        assert_int_equal(errno, EAGAIN);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static const char *logged(void)
{
    int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    assert_true(n >= 0);
    close(fd);
    text[n] = '\0';
    return text;
}

static void open_at(const char *address)
{
    assert_int_equal(setenv("NOTIFY_SOCKET", address, 1), 0);
    notify_open(&notify);
}

static void each_state_is_told(void **state)
{
    (void)state;
    listen_at(path);
    open_at(path);
    assert_int_not_equal(notify.fd, -1);
    assert_int_equal(fcntl(notify.fd, F_GETFD), FD_CLOEXEC);
    notify_ready(&notify, "serving app.lua");
    assert_string_equal(heard(), "READY=1\nSTATUS=serving app.lua");
    notify_ready(&notify, NULL);
    assert_string_equal(heard(), "READY=1\n");
    notify_stopping(&notify, "2 requests");
    assert_string_equal(heard(), "STOPPING=1\nSTATUS=2 requests");
    notify_status(&notify, "busy");
    assert_string_equal(heard(), "STATUS=busy");
    notify_watchdog(&notify);
    assert_string_equal(heard(), "WATCHDOG=1\n");
    assert_string_equal(heard(), "");
    assert_string_equal(logged(), "");
}

static void a_reload_has_its_time(void **state)
{
    struct timespec now;
    long long usec, end = 0;

    (void)state;
    listen_at(path);
    open_at(path);
    clock_gettime(CLOCK_MONOTONIC, &now);
    notify_reloading(&notify);
    assert_int_equal(
        sscanf(heard(), "RELOADING=1\nMONOTONIC_USEC=%lld\n", &usec), 1);
    end = (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    assert_true(usec >= end);
    assert_true(usec < end + 60 * 1000000LL);
}

static void an_abstract_name_is_found(void **state)
{
    char name[96];

    (void)state;
    snprintf(name, sizeof(name), "@%s", folder);
    listen_at(name);
    open_at(name);
    notify_ready(&notify, NULL);
    assert_string_equal(heard(), "READY=1\n");
}

static void a_status_is_one_line(void **state)
{
    char longest[2000];

    (void)state;
    listen_at(path);
    open_at(path);
    notify_status(&notify, "a\nMAINPID=1");
    assert_string_equal(heard(), "STATUS=a\\x0aMAINPID=1");
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    notify_status(&notify, longest);
    assert_true(strlen(heard()) > 256);
}

static void nobody_else_finds_the_variables(void **state)
{
    (void)state;
    listen_at(path);
    setenv("WATCHDOG_USEC", "3000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    open_at(path);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
}

static void without_a_socket_nobody_is_told(void **state)
{
    (void)state;
    setenv("WATCHDOG_USEC", "3000000", 1);
    notify_open(&notify);
    assert_int_equal(notify.fd, -1);
    assert_true(notify.watchdog == 0); /* nobody would hear it */
    assert_null(getenv("WATCHDOG_USEC"));
    notify_ready(&notify, "x");
    notify_reloading(&notify);
    notify_stopping(&notify, "x");
    notify_watchdog(&notify);
    assert_string_equal(logged(), "");
}

static double watchdog(const char *usec, const char *pid)
{
    double seconds;

    setenv("WATCHDOG_USEC", usec, 1);
    if (pid != NULL)
        setenv("WATCHDOG_PID", pid, 1);
    open_at(path);
    seconds = notify.watchdog;
    notify_close(&notify);
    return seconds;
}

static void the_watchdog_is_fed_twice_in_its_time(void **state)
{
    char own[32];

    (void)state;
    listen_at(path);
    snprintf(own, sizeof(own), "%ld", (long)getpid());
    assert_true(watchdog("3000000", NULL) == 1.5);
    assert_true(watchdog("500000", own) == 0.25);
    assert_true(watchdog("3000000", "1") == 0); /* somebody else's */
    assert_true(watchdog("3000000", "x") == 0);
    assert_true(watchdog("99999999999999", NULL) <= INT_MAX / 2e6);
    assert_string_equal(logged(), "");
    assert_true(watchdog("0", NULL) == 0);
    assert_non_null(strstr(logged(), "WATCHDOG_USEC=0 is not a number"));
    assert_true(watchdog("soon", NULL) == 0);
    assert_non_null(strstr(logged(), "WATCHDOG_USEC=soon is not a number"));
}

static void an_address_of_no_use_is_told(void **state)
{
    static const char *const bad[] = { "", "/", "@", "notify", "vsock:2:1" };
    char longest[200];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[64];

        open_at(bad[i]);
        assert_int_equal(notify.fd, -1);
        notify_ready(&notify, NULL);
        snprintf(line, sizeof(line),
                 "NOTIFY_SOCKET=%s cannot be used: ", bad[i]);
        assert_non_null(strstr(logged(), line));
        notify_close(&notify);
    }
    memset(longest, '/', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    open_at(longest);
    assert_int_equal(notify.fd, -1);
    notify_close(&notify);
    open_at(path); /* nobody listens there */
    assert_int_equal(notify.fd, -1);
    assert_non_null(strstr(logged(), "No such file or directory"));
}

static void a_message_that_is_lost_is_told_once(void **state)
{
    const char *first;

    (void)state;
    listen_at(path);
    open_at(path);
    close(systemd);
    systemd = -1;
    notify_ready(&notify, "x");
    first = strstr(logged(), "systemd cannot be told \"READY=1\": "
                             "Connection refused");
    assert_non_null(first);
    notify_watchdog(&notify);
    notify_stopping(&notify, NULL);
    first = strstr(logged(), "cannot be told");
    assert_null(strstr(first + 1, "cannot be told"));
}

/* A full queue must not hold up the loop for a sign of life. */
static void the_watchdog_waits_for_nobody(void **state)
{
    unsigned long sent = 0;

    (void)state;
    listen_at(path);
    open_at(path);
    while (!notify.has_failed && sent < 1000000) {
        notify_watchdog(&notify);
        sent++;
    }
    assert_true(notify.has_failed);
    assert_non_null(strstr(logged(), "Resource temporarily unavailable"));
}

static void open_once(void *arg)
{
    (void)arg;
    open_at(path);
    notify_close(&notify);
}

static void it_comes_through_without_memory(void **state)
{
    (void)state;
    listen_at(path);
    setenv("WATCHDOG_USEC", "1000000", 1);
    alloc_each_fails(open_once, NULL);
}

#define NOTIFY_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NOTIFY_TEST(each_state_is_told),
        NOTIFY_TEST(a_reload_has_its_time),
        NOTIFY_TEST(an_abstract_name_is_found),
        NOTIFY_TEST(a_status_is_one_line),
        NOTIFY_TEST(nobody_else_finds_the_variables),
        NOTIFY_TEST(without_a_socket_nobody_is_told),
        NOTIFY_TEST(the_watchdog_is_fed_twice_in_its_time),
        NOTIFY_TEST(an_address_of_no_use_is_told),
        NOTIFY_TEST(a_message_that_is_lost_is_told_once),
        NOTIFY_TEST(the_watchdog_waits_for_nobody),
        NOTIFY_TEST(it_comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("proc/notify", tests, NULL, NULL);
}
