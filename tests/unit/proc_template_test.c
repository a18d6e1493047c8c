/* proc_template_test.c -- a whole template, in a child process: it forks
 * workers as it is told to, and tells of their ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "proc/link.h"
#include "proc/template.h"

enum { SLOT = 5 };

static char folder[64], script_path[96], log_path[96], new_log[96];
static struct board *board;
static pid_t template;
static int link_fd, board_fd;

/* What the child does: never returns. */
static void run_template(int link)
{
    static char program[] = "fcgi-lua", grace[] = "--grace=1.5",
                limit[] = "--block-limit=7";
    char *argv[] = { program, grace, limit, script_path, NULL };
    struct options options = { 0 };
    struct option_error error;
    struct script_config config = { .path = script_path };
    struct listen_set listening = { NULL, 0 };
    struct peers peers = { 0 };
    struct service_setup setup = { .options = &options,
                                   .listening = &listening,
                                   .peers = &peers,
                                   .board = board };
    struct script *script;
    char text[SCRIPT_ERROR_MAX];

    alarm(60); /* whatever happens */
    if (options_init(&options, &error) != OPTIONS_OK ||
        options_parse_args(&options, 4, argv, &error) != OPTIONS_OK ||
        log_open(log_path) == -1)
        _exit(101);
    if (script_load(&config, &script, text) != SCRIPT_OK)
        _exit(102);
    _exit(template_run(&setup, script, 3, link)); /* a worker's */
}

static int set_up(void **state)
{
    static const char source[] = "on_request = print\n"
                                 "function on_worker(id)\n"
                                 "  if id == 9 then error 'nine' end\n"
                                 "end\n";
    int fds[2], fd;

    (void)state;
    strcpy(folder, "/tmp/fcgi-lua-template.XXXXXX");
    if (mkdtemp(folder) == NULL || link_pair(fds) == -1)
        return -1;
    snprintf(script_path, sizeof(script_path), "%s/app.lua", folder);
    snprintf(log_path, sizeof(log_path), "%s/log", folder);
    snprintf(new_log, sizeof(new_log), "%s/log.new", folder);
    fd = open(script_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd == -1 || write(fd, source, sizeof(source) - 1) == -1)
        return -1;
    close(fd);
    board = board_new(&board_fd);
    if (board == NULL)
        return -1;
    template = fork();
    if (template == 0) {
        close(fds[0]);
        run_template(fds[1]);
    }
    close(fds[1]);
    link_fd = fds[0];
    return template == -1 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (template > 0) {
        kill(template, SIGKILL);
        waitpid(template, NULL, 0);
    }
    if (link_fd != -1)
        close(link_fd);
    board_del(board);
    if (board_fd != -1)
        close(board_fd);
    unlink(script_path);
    unlink(log_path);
    unlink(new_log);
    return rmdir(folder);
}

/* The next message of a kind; others are skipped. */
static struct link_message hear(int link, enum link_kind kind)
{
    struct pollfd pollfd = { .fd = link, .events = POLLIN };
    struct link_message message;
    int fd, got;

    for (;;) {
        assert_int_equal(poll(&pollfd, 1, 30000), 1);
        got = link_receive(link, &message, &fd);
        assert_int_equal(fd, -1);
        if (got == 0)
            fail_msg("the link has ended");
        if (got == 1 && message.kind == (uint32_t)kind)
            return message;
    }
}

/* Returns the supervisor's end of the worker's link. */
static int spawn(unsigned id)
{
    const struct link_message message = {
        .kind = LINK_SPAWN, .id = id, .slot = SLOT, .value = 2
    };
    int fds[2];

    assert_int_equal(link_pair(fds), 0);
    assert_int_equal(link_send(link_fd, &message, fds[1]), 0);
    close(fds[1]);
    return fds[0];
}

static void it_tells_what_its_script_has_set(void **state)
{
    (void)state;
    assert_string_equal(hear(link_fd, LINK_LOADED).text, "1500 7000");
}

static void it_forks_workers_and_tells_of_their_ends(void **state)
{
    struct link_message spawned, exited;
    int worker = spawn(1);

    (void)state;
    spawned = hear(link_fd, LINK_SPAWNED);
    assert_int_equal(spawned.slot, SLOT);
    assert_true(spawned.value > 0);
    assert_int_equal(hear(worker, LINK_PONG).value, spawned.value);
    assert_int_equal(hear(worker, LINK_READY).value, spawned.value);
    assert_int_equal(board->slots[SLOT].pid, spawned.value);
    link_tell(worker, LINK_DRAIN, "reload");
    exited = hear(link_fd, LINK_EXITED);
    assert_int_equal(exited.slot, SLOT);
    assert_true(WIFEXITED(exited.value) && WEXITSTATUS(exited.value) == EX_OK);
    close(worker);
}

static void it_tells_how_a_worker_ended(void **state)
{
    int worker = spawn(9), status; /* on_worker fails */

    (void)state;
    status = hear(link_fd, LINK_EXITED).value;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EX_CONFIG);
    close(worker);
    worker = spawn(1);
    kill(hear(worker, LINK_READY).value, SIGKILL);
    status = hear(link_fd, LINK_EXITED).value;
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(worker);
}

static void what_makes_no_sense_is_ignored(void **state)
{
    struct link_message message = { .kind = LINK_SPAWN, .slot = SLOT };
    int worker;

    (void)state;
    link_send(link_fd, &message, -1); /* without a link */
    message.slot = BOARD_SLOTS;
    link_send(link_fd, &message, link_fd);
    link_tell(link_fd, LINK_PONG, "what?");
    worker = spawn(1);
    assert_true(hear(link_fd, LINK_SPAWNED).value > 0);
    hear(worker, LINK_READY);
    close(worker); /* an orphan: it ends */
    assert_int_equal(hear(link_fd, LINK_EXITED).slot, SLOT);
}

/* Those that it forks later have it. */
static void it_takes_a_log(void **state)
{
    const struct link_message message = { .kind = LINK_REOPEN,
                                          .value = LINK_LOG_ERRORS };
    int fd = log_open_file(new_log), worker;
    char text[512];
    ssize_t n;

    (void)state;
    assert_int_equal(link_send(link_fd, &message, fd), 0);
    close(fd);
    worker = spawn(9);
    hear(link_fd, LINK_EXITED);
    close(worker);
    fd = open(new_log, O_RDONLY | O_CLOEXEC);
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "nine"));
}

static void it_ends_with_its_link(void **state)
{
    int status;

    (void)state;
    hear(link_fd, LINK_LOADED);
    kill(template, SIGTERM); /* no reason to end */
    kill(template, SIGHUP);
    close(spawn(1));
    hear(link_fd, LINK_EXITED);
    close(link_fd);
    link_fd = -1;
    assert_int_equal(waitpid(template, &status, 0), template);
    template = -1;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EX_OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_tells_what_its_script_has_set),
        TEST(it_forks_workers_and_tells_of_their_ends),
        TEST(it_tells_how_a_worker_ended),
        TEST(what_makes_no_sense_is_ignored),
        TEST(it_takes_a_log),
        TEST(it_ends_with_its_link),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
