/* proc_status_listener_test.c -- the status page on its own socket, without a
 * service behind it.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/log.h"
#include "http/session.h"
#include "io/loop.h"
#include "proc/status_listener.h"

enum { PEERS = 64 };

static char folder[] = "/tmp/fcgi-lua-status.XXXXXX", path[64];
static struct loop *loop;
static struct board *board;
static struct status status;
static struct listen_set listening;
static struct options options;
static int peers[PEERS];

static void no_queue(void *arg, struct status_queue *queue)
{
    (void)arg;
    *queue = (struct status_queue){ 0, 0 };
}

static void no_gather(void *arg)
{
    (void)arg; /* nobody answers; the page waits for status_step */
}

static int set_up(void **state)
{
    static const struct status_ops ops = { no_queue, no_gather };
    struct address address;
    struct listen_error error;
    char text[96], why[ADDRESS_ERROR_TEXT];
    int fd = -1;

    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    for (int i = 0; i < PEERS; i++)
        peers[i] = -1;
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/s", folder);
    snprintf(text, sizeof(text), "unix:%s", path);
    loop = loop_new();
    board = board_new(&fd);
    if (fd != -1)
        close(fd);
    status_init(&status, board, "app.lua", true, "1.2.3", &ops, NULL);
    assert_true(address_parse(text, &address, why, sizeof(why)));
    return listen_open(&address, &listening, &error);
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < PEERS; i++)
        if (peers[i] != -1)
            close(peers[i]);
    listen_close(&listening);
    rmdir(folder);
    loop_del(loop);
    board_del(board);
    return 0;
}

static void connect_peer(int i, const char *text)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    memcpy(sun.sun_path, path, strlen(path) + 1);
    peers[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(
        connect(peers[i], (struct sockaddr *)(void *)&sun, sizeof(sun)), 0);
    assert_int_equal(send(peers[i], text, strlen(text), MSG_NOSIGNAL),
                     strlen(text));
}

/* What a peer is sent until the other side ends. */
static const char *answer_to(int i)
{
    static char text[256 * 1024];
    size_t len = 0;

    for (;;) {
        ssize_t n =
            recv(peers[i], text + len, sizeof(text) - 1 - len, MSG_DONTWAIT);

        if (n > 0)
            len += (size_t)n;
        else if (n == 0 || errno != EAGAIN)
            break;
        else
            loop_turn(loop, true);
    }
    text[len] = '\0';
    return text;
}

static bool is_closed(int i)
{
    char c;

    return recv(peers[i], &c, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

#define GET(target)                                                            \
    "GET " target " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

static void each_path_has_its_answer(void **state)
{
    static const struct {
        const char *asked, *wanted;
    } cases[] = {
        { GET("/"), "pool:                 app.lua\n" },
        { GET("/status?json"), "{\"pool\":\"app.lua\"" },
        { GET("/metrics"), "# EOF\n" },
        { GET("/ping"), "\r\n\r\npong" },
        { GET("/mine"), "HTTP/1.1 404 Not Found" },
        { GET("/own/status"), "pool:                 app.lua\n" },
        { GET("/own/ping"), "\r\n\r\npong" },
        { "PUT / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
          "HTTP/1.1 405 " },
    };
    struct options with = { .status = (char *)(size_t) "/own/status",
                            .ping = (char *)(size_t) "/own/ping" };
    struct status_listener *listener =
        status_listener_new(loop, &listening, &status, &options);

    (void)state;
    assert_non_null(listener);
    status_listener_apply(listener, &with);
    for (int i = 0; i < (int)(sizeof(cases) / sizeof(cases[0])); i++) {
        const char *text;

        connect_peer(i, cases[i].asked);
        text = answer_to(i);
        if (http_library() != NULL && strstr(text, cases[i].wanted) == NULL)
            fail_msg("%s: %s", cases[i].asked, text);
    }
    status_listener_del(listener);
}

/* One place is always free: the quietest goes. */
static void a_crowd_that_is_silent_keeps_nobody_out(void **state)
{
    struct status_listener *listener =
        status_listener_new(loop, &listening, &status, &options);
    int gone = 0;

    (void)state;
    assert_non_null(listener);
    for (int i = 0; i < 50; i++) {
        connect_peer(i, "");
        loop_turn(loop, true);
    }
    connect_peer(50, "\1\1\0\1\0\10"); /* FastCGI, too */
    connect_peer(51, GET("/ping"));
    if (http_library() != NULL)
        assert_non_null(strstr(answer_to(51), "pong"));
    for (int i = 0; i < 50; i++)
        gone += is_closed(i) ? 1 : 0;
    assert_in_range(gone, 18, 25);
    status_listener_del(listener);
}

/* Its requests go before what they are made of. */
static void it_may_end_while_somebody_waits(void **state)
{
    struct status_listener *listener =
        status_listener_new(loop, &listening, &status, &options);

    (void)state;
    assert_non_null(listener);
    if (http_library() != NULL) {
        connect_peer(0, GET("/?full"));
        while (list_is_empty(&status.waiting))
            loop_turn(loop, true);
    }
    status_listener_del(listener);
    assert_true(list_is_empty(&status.waiting));
    status_listener_del(NULL);
    status_listener_apply(NULL, &options);
}

static void begin_and_end(void *arg)
{
    (void)arg;
    status_listener_del(
        status_listener_new(loop, &listening, &status, &options));
}

static void it_lives_without_memory(void **state)
{
    (void)state;
    alloc_each_fails(begin_and_end, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_path_has_its_answer),
        TEST(a_crowd_that_is_silent_keeps_nobody_out),
        TEST(it_may_end_while_somebody_waits),
        TEST(it_lives_without_memory),
    };

    return cmocka_run_group_tests_name("proc/status_listener", tests, NULL,
                                       NULL);
}
