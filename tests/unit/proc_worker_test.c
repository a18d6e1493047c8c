/* proc_worker_test.c -- a whole worker, in a child process: it serves, and it
 * stops as it is told to.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "proc/worker.h"

static char folder[64], script_path[96], sock_path[96], log_path[96];
static char log_copy[16384], answer[16384];
static struct listen_set set;
static pid_t worker;
static int client;

static int set_up(void **state)
{
    (void)state;
    worker = -1;
    client = -1;
    snprintf(folder, sizeof(folder), "/tmp/fcgi-lua-worker.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(script_path, sizeof(script_path), "%s/app.lua", folder);
    snprintf(sock_path, sizeof(sock_path), "%s/sock", folder);
    snprintf(log_path, sizeof(log_path), "%s/log", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (worker > 0) {
        kill(worker, SIGKILL);
        waitpid(worker, NULL, 0);
    }
    if (client != -1)
        close(client);
    listen_close(&set);
    unlink(script_path);
    unlink(log_path);
    return rmdir(folder); /* fails if a test left something */
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* What the child does: never returns. */
static void run_worker(double grace, bool is_spawned)
{
    static char program[] = "fcgi-lua", option[] = "--log";
    char *argv[] = { program, option, log_path, script_path, NULL };
    struct options options = { 0 };
    struct option_error error;
    struct script_config config = { .path = script_path };
    struct peers peers = { 0 };
    struct notify notify = NOTIFY_NOBODY;
    int board_fd;
    struct worker_config worker_config = {
        .options = &options,
        .listening = &set,
        .peers = &peers,
        .notify = &notify,
        .is_spawned = is_spawned,
        .who = { .id = 1, .count = 1, .generation = 1 },
        .argc = 4,
        .argv = argv,
        .board = board_new(&board_fd),
    };
    char text[SCRIPT_ERROR_MAX];

    alarm(60); /* whatever happens */
    if (worker_config.board == NULL)
        _exit(103);
    worker_config.slot = board_take(worker_config.board, 1, 1);
    if (options_init(&options, &error) != OPTIONS_OK ||
        options_parse_args(&options, 4, argv, &error) != OPTIONS_OK ||
        log_open(log_path) == -1)
        _exit(101);
    options.grace = grace;
    if (script_load(&config, &worker_config.script, text) != SCRIPT_OK)
        _exit(102);
    _exit(worker_run(&worker_config));
}

static const char *logged(void)
{
    int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    assert_int_not_equal(fd, -1);
    n = read(fd, log_copy, sizeof(log_copy) - 1);
    close(fd);
    assert_true(n >= 0);
    log_copy[n] = '\0';
    return log_copy;
}

/* The log is a file that another process writes: there is no event for it. */
static void until_logged(const char *part)
{
    while (strstr(logged(), part) == NULL) {
        int status;

        if (waitpid(worker, &status, WNOHANG) == worker) {
            worker = -1;
            if (strstr(logged(), part) == NULL)
                fail_msg("\"%s\" was not logged: %s", part, log_copy);
            return;
        }
        poll(NULL, 0, 1);
    }
}

static void tell(int signo)
{
    assert_int_equal(kill(worker, signo), 0);
}

static int exit_code(void)
{
    int status = 0;

    assert_int_equal(waitpid(worker, &status, 0), worker);
    worker = -1;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* --- a web server, as small as can be ------------------------------------- */

static void record(int type, const char *content, size_t len)
{
    char header[8] = { 1, (char)type, 0, 1, (char)(len >> 8), (char)len, 0, 0 };

    assert_int_equal(send(client, header, 8, MSG_NOSIGNAL), 8);
    if (len > 0)
        assert_int_equal(send(client, content, len, MSG_NOSIGNAL), len);
}

static int try_connect(void)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_not_equal(fd, -1);
    memcpy(sun.sun_path, sock_path, strlen(sock_path) + 1);
    if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Asks for /name, with KEEP_CONN or not. */
static void ask(const char *name, bool keep)
{
    char params[64];
    int len;

    if (client == -1)
        client = try_connect();
    assert_int_not_equal(client, -1);
    record(1, keep ? "\0\1\1\0\0\0\0\0" : "\0\1\0\0\0\0\0\0", 8);
    len = snprintf(params, sizeof(params), "%c%cPATH_INFO/%s", 9,
                   (int)strlen(name) + 1, name);
    record(4, params, (size_t)len);
    record(4, NULL, 0);
    if (strcmp(name, "reads") != 0)
        record(5, NULL, 0);
}

/* What /reads waits for. */
static void end_body(void)
{
    record(5, NULL, 0);
}

static void hear(char *to, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(client, to, len, 0);

        if (n <= 0)
            fail_msg("the answer ended early: %s", logged());
        to += n;
        len -= (size_t)n;
    }
}

/* Reads an answer up to its END_REQUEST; what STDOUT said is in answer. */
static void hear_answer(void)
{
    size_t used = 0;

    for (;;) {
        unsigned char header[8];
        char content[65535 + 255];
        size_t len;

        hear((char *)header, 8);
        len = (size_t)(header[4] << 8 | header[5]);
        hear(content, len + header[6]);
        if (header[1] == 6) {
            assert_true(used + len < sizeof(answer));
            memcpy(answer + used, content, len);
            used += len;
        }
        if (header[1] == 3)
            break;
    }
    answer[used] = '\0';
}

static void assert_answered(const char *part)
{
    hear_answer();
    if (strstr(answer, part) == NULL)
        fail_msg("\"%s\" is not in: %s", part, answer);
}

static void assert_hung_up(void)
{
    char byte;

    assert_int_equal(recv(client, &byte, 1, 0), 0);
}

static const char source[] = "local fcgi = require 'fcgi'\n"
                             "function on_request(req)\n"
                             "  local path = req:path_info()\n"
                             "  print('got ' .. path)\n"
                             "  if path == '/reads' then req:read() end\n"
                             "  if path == '/long' then fcgi.sleep(100) end\n"
                             "  if path == '/stubborn' then\n"
                             "    while true do pcall(fcgi.sleep, 100) end\n"
                             "  end\n"
                             "  return 200, nil, 'answer to ' .. path\n"
                             "end";

/* Starts a worker and connects to it. */
static void start_as(double grace, bool is_spawned)
{
    struct listen_error listen_error;
    struct address address;
    char text[128], message[ADDRESS_ERROR_TEXT];

    write_file(script_path, source);
    write_file(log_path, "");
    snprintf(text, sizeof(text), "unix:%s", sock_path);
    assert_true(address_parse(text, &address, message, sizeof(message)));
    assert_int_equal(listen_open(&address, &set, &listen_error), 0);
    fflush(NULL);
    worker = fork();
    assert_int_not_equal(worker, -1);
    if (worker == 0)
        run_worker(grace, is_spawned);
    client = try_connect();
    assert_int_not_equal(client, -1);
}

static void start(double grace)
{
    start_as(grace, false);
}

/* --- tests ---------------------------------------------------------------- */

static void it_says_where_it_listens_and_serves(void **state)
{
    (void)state;
    start(30);
    for (int i = 0; i < 3; i++) {
        ask("a", true);
        assert_answered("answer to /a");
    }
    until_logged("listening on unix:");
    ask("b", false);
    assert_answered("answer to /b");
    assert_hung_up();
}

static void stop_when_idle(int signo, const char *name)
{
    char line[64];

    start(30);
    ask("a", true);
    assert_answered("answer to /a");
    tell(signo);
    assert_hung_up(); /* a kept connection is closed */
    assert_int_equal(exit_code(), EX_OK);
    snprintf(line, sizeof(line), "%s: stopping, 0 requests are under way",
             name);
    until_logged(line);
    until_logged("stopped");
    close(client);
    client = -1;
    listen_close(&set);
}

static void each_signal_to_stop_stops_an_idle_worker(void **state)
{
    (void)state;
    stop_when_idle(SIGTERM, "SIGTERM");
    stop_when_idle(SIGINT, "SIGINT");
    stop_when_idle(SIGQUIT, "SIGQUIT");
}

static void what_runs_is_finished_first(void **state)
{
    (void)state;
    start(30);
    ask("reads", true);
    until_logged("got /reads");
    tell(SIGTERM);
    until_logged("1 requests are under way");
    end_body();
    assert_answered("answer to /reads");
    assert_hung_up();
    assert_int_equal(exit_code(), EX_OK);
}

static void a_second_signal_stops_at_once(void **state)
{
    (void)state;
    start(30);
    ask("long", true);
    until_logged("got /long");
    tell(SIGTERM);
    until_logged("stopping");
    tell(SIGINT);
    assert_int_equal(exit_code(), EX_OK);
    until_logged("SIGINT again: stopping at once, 1 requests are broken off");
}

static void quit_is_never_impatient(void **state)
{
    (void)state;
    start(30);
    ask("reads", true);
    until_logged("got /reads");
    tell(SIGQUIT);
    until_logged("stopping");
    tell(SIGQUIT);
    end_body();
    assert_answered("answer to /reads");
    assert_int_equal(exit_code(), EX_OK);
}

/* mod_fcgid says SIGTERM twice, and means it once. */
static void a_spawned_worker_is_patient_with_term(void **state)
{
    (void)state;
    start_as(30, true);
    ask("reads", true);
    until_logged("got /reads");
    tell(SIGTERM);
    until_logged("stopping");
    tell(SIGTERM);
    end_body();
    assert_answered("answer to /reads");
    assert_int_equal(exit_code(), EX_OK);
}

static void after_grace_requests_are_cancelled(void **state)
{
    (void)state;
    start(0.02);
    ask("long", true);
    until_logged("got /long");
    tell(SIGTERM);
    assert_answered("Status: 503 ");
    assert_hung_up();
    assert_int_equal(exit_code(), EX_OK);
    until_logged("--grace is over: 1 requests are cancelled");
    until_logged("cancelled: stop");
}

static void a_stubborn_one_does_not_hold_up_the_end(void **state)
{
    (void)state;
    start(0.01);
    ask("stubborn", true);
    until_logged("got /stubborn");
    tell(SIGTERM);
    assert_int_equal(exit_code(), EX_OK); /* a second later */
    until_logged("stopped");
}

static void who_has_been_told_to_stop_accepts_nobody(void **state)
{
    int late;
    char byte;

    (void)state;
    start(30);
    ask("reads", true);
    until_logged("got /reads");
    tell(SIGTERM);
    until_logged("stopping");
    late = try_connect(); /* into the queue, which is still ours */
    end_body();
    assert_answered("answer to /reads");
    assert_int_equal(exit_code(), EX_OK);
    if (late != -1) {
        assert_int_equal(recv(late, &byte, 1, MSG_DONTWAIT), -1);
        close(late);
    }
}

static void the_log_is_opened_again(void **state)
{
    char moved[128];

    (void)state;
    start(30);
    until_logged("listening");
    snprintf(moved, sizeof(moved), "%s.1", log_path);
    assert_int_equal(rename(log_path, moved), 0);
    write_file(log_path, "");
    tell(SIGUSR1);
    /* The signal comes first: it was sent before the bytes. */
    ask("a", true);
    assert_answered("answer to /a");
    ask("b", true);
    assert_answered("answer to /b");
    until_logged("got /b");
    unlink(moved);
}

static void signals_for_later_end_nothing(void **state)
{
    (void)state;
    start(30);
    until_logged("listening");
    tell(SIGUSR2);
    until_logged("SIGUSR2 is for the main process");
    ask("a", true);
    assert_answered("answer to /a");
}

/* Another script. */
static void become(const char *name)
{
    char text[256];

    snprintf(text, sizeof(text),
             "function on_worker(id) print('%s begins as', id) end\n"
             "function on_exit(_, why) print('%s ends:', why) end\n"
             "function on_request() return 200, nil, '%s' end",
             name, name, name);
    write_file(script_path, text);
}

static void hup_changes_the_script_under_a_kept_connection(void **state)
{
    (void)state;
    start(30);
    ask("a", true);
    assert_answered("answer to /a");
    become("second");
    tell(SIGHUP);
    until_logged("generation 2 serves");
    ask("a", true);
    assert_answered("second");
    write_file(script_path, "no Lua");
    tell(SIGHUP);
    until_logged("not reloaded, generation 2 serves on: ");
    ask("a", true);
    assert_answered("second");
    become("third");
    tell(SIGHUP);
    until_logged("second ends:\treload");
    ask("a", true);
    assert_answered("third");
    tell(SIGTERM);
    assert_hung_up();
    assert_int_equal(exit_code(), EX_OK);
    until_logged("third ends:\tstop");
}

static void a_request_ends_with_its_own_script(void **state)
{
    (void)state;
    start(30);
    ask("reads", true);
    until_logged("got /reads");
    become("second");
    tell(SIGHUP);
    until_logged("generation 2 serves");
    tell(SIGTERM);
    until_logged("1 requests are under way");
    end_body();
    assert_answered("answer to /reads");
    assert_int_equal(exit_code(), EX_OK);
    until_logged("second ends:\tstop");
}

static void a_client_that_hangs_up_is_no_trouble(void **state)
{
    (void)state;
    start(30);
    ask("reads", true);
    until_logged("got /reads");
    close(client);
    client = -1;
    ask("a", true);
    assert_answered("answer to /a");
    tell(SIGTERM);
    assert_int_equal(exit_code(), EX_OK);
}

#define WORKER_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORKER_TEST(it_says_where_it_listens_and_serves),
        WORKER_TEST(each_signal_to_stop_stops_an_idle_worker),
        WORKER_TEST(what_runs_is_finished_first),
        WORKER_TEST(a_second_signal_stops_at_once),
        WORKER_TEST(quit_is_never_impatient),
        WORKER_TEST(a_spawned_worker_is_patient_with_term),
        WORKER_TEST(after_grace_requests_are_cancelled),
        WORKER_TEST(a_stubborn_one_does_not_hold_up_the_end),
        WORKER_TEST(who_has_been_told_to_stop_accepts_nobody),
        WORKER_TEST(the_log_is_opened_again),
        WORKER_TEST(signals_for_later_end_nothing),
        WORKER_TEST(a_client_that_hangs_up_is_no_trouble),
        WORKER_TEST(hup_changes_the_script_under_a_kept_connection),
        WORKER_TEST(a_request_ends_with_its_own_script),
    };

    return cmocka_run_group_tests_name("proc/worker", tests, NULL, NULL);
}
