/* base_log_test.c -- the process's own log.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"

enum { MUCH = 1 << 20 };

static char folder[64], path[96];
static char text[MUCH];

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/fcgi-lua-log.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/log", folder);
    log_set_level(LOG_LEVEL_NOTICE);
    log_set_worker(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_close();
    unlink(path);
    rmdir(folder);
    unsetenv("JOURNAL_STREAM");
    return 0;
}

/* What stands in fd, as a string in text. */
static void read_all(int fd)
{
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, text + len, MUCH - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
}

static const char *written(void)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd != -1);
    read_all(fd);
    close(fd);
    return text;
}

/* What is behind "2024-01-01T00:00:00.000Z " of a line, which must be there. */
static const char *after_time(const char *line)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ ";

    for (size_t i = 0; shape[i] != '\0'; i++) {
        if (shape[i] == 'd')
            assert_in_range(line[i], '0', '9');
        else
            assert_int_equal(line[i], shape[i]);
    }
    return line + strlen(shape);
}

static void a_line_has_time_level_and_process(void **state)
{
    char expected[64];

    (void)state;
    assert_int_equal(log_open(path), 0);
    assert_false(log_is_stderr());
    log_write(LOG_LEVEL_WARN, "it is %d", 42);
    snprintf(expected, sizeof(expected), "warn [%ld] it is 42\n",
             (long)getpid());
    assert_string_equal(after_time(written()), expected);
}

static void a_worker_adds_its_number(void **state)
{
    char expected[64];

    (void)state;
    assert_int_equal(log_open(path), 0);
    log_set_worker(7);
    log_write(LOG_LEVEL_ERROR, "x");
    snprintf(expected, sizeof(expected), "error [%ld/7] x\n", (long)getpid());
    assert_string_equal(after_time(written()), expected);
}

static void a_file_is_appended_to_and_not_for_all_to_read(void **state)
{
    struct stat st;
    mode_t old = umask(0);

    (void)state;
    assert_int_equal(log_open(path), 0);
    umask(old);
    log_write(LOG_LEVEL_ERROR, "one");
    log_close();
    assert_int_equal(log_open(path), 0);
    log_write(LOG_LEVEL_ERROR, "two");
    assert_non_null(strstr(written(), " one\n"));
    assert_non_null(strstr(text, " two\n"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void levels_above_the_chosen_one_are_left_out(void **state)
{
    (void)state;
    assert_int_equal(log_open(path), 0);
    for (int chosen = LOG_LEVEL_ERROR; chosen <= LOG_LEVEL_DEBUG; chosen++) {
        log_set_level((enum log_level)chosen);
        for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
            size_t before = strlen(written());

            assert_int_equal(log_is_on((enum log_level)level), level <= chosen);
            log_write((enum log_level)level, "x");
            assert_int_equal(strlen(written()) > before, level <= chosen);
        }
    }
}

static void control_bytes_cannot_forge_a_line(void **state)
{
    (void)state;
    assert_int_equal(log_open(path), 0);
    log_write(LOG_LEVEL_ERROR, "%s", "a\nb\rc\x1b[2J\x7f\td\xc3\xa4");
    assert_non_null(
        strstr(written(), "a\\x0ab\\x0dc\\x1b[2J\\x7f\td\xc3\xa4\n"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void controls_of_one_and_two_bytes_are_escaped(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "a\x9b\x33\x31m", "a\\x9b31m" },
        { "a\xc2\x9b\x33", "a\\xc2\\x9b3" },
        { "\xc2\xa9", "\xc2\xa9" },
        { "\xe2\x82\xac \xc4\x9b", "\xe2\x82\xac \xc4\x9b" },
        { "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
        { "\xc2", "\xc2" },
    };
    char out[64];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = log_escape(slice_of(cases[i].in), out, sizeof(out) - 1);

        out[n] = '\0';
        assert_string_equal(out, cases[i].out);
    }
}

static void an_escaped_text_is_cut_between_two_bytes(void **state)
{
    char out[16];

    (void)state;
    assert_int_equal(log_escape(slice_of("ab\ncd"), out, 16), 8);
    assert_memory_equal(out, "ab\\x0acd", 8);
    assert_int_equal(log_escape(slice_of("ab\ncd"), out, 5), 2);
    assert_int_equal(log_escape(slice_of("ab\ncd"), out, 6), 6);
    assert_int_equal(log_escape(slice_of("ab"), out, 0), 0);
    assert_int_equal(log_escape((struct slice){ "\0\xff", 2 }, out, 16), 5);
    assert_memory_equal(out, "\\x00\xff", 5);
}

static void details_stand_indented_below_the_line(void **state)
{
    (void)state;
    assert_int_equal(log_open(path), 0);
    log_text(LOG_LEVEL_ERROR, slice_of("boom"), slice_of("one\n\ttwo\n"));
    assert_non_null(strstr(written(), " boom\n    one\n    \ttwo\n"));
    log_text(LOG_LEVEL_ERROR, slice_of("bare"), slice_of(""));
    assert_non_null(strstr(written(), " bare\n"));
    log_text(LOG_LEVEL_DEBUG, slice_of("not on"), slice_of("x"));
    assert_null(strstr(written(), "not on"));
}

static void a_long_entry_is_cut_and_still_ends(void **state)
{
    static char longest[3 * LOG_ENTRY_MAX];

    (void)state;
    assert_int_equal(log_open(path), 0);
    memset(longest, 'x', sizeof(longest) - 1);
    log_write(LOG_LEVEL_ERROR, "%s", longest);
    assert_in_range(strlen(written()), 4000, LOG_ENTRY_MAX);
    assert_int_equal(text[strlen(text) - 1], '\n');
    unlink(path);
    assert_int_equal(log_open(path), 0);
    log_text(LOG_LEVEL_ERROR, slice_of(longest), slice_of(longest));
    assert_in_range(strlen(written()), LOG_ENTRY_MAX - 8, LOG_ENTRY_MAX);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    unlink(path);
    assert_int_equal(log_open(path), 0);
    for (size_t i = 0; i < sizeof(longest) - 1; i++)
        longest[i] = i % 3 == 2 ? '\n' : '\x01';
    log_text(LOG_LEVEL_ERROR, slice_of("many"), slice_of(longest));
    assert_in_range(strlen(written()), LOG_ENTRY_MAX - 32, LOG_ENTRY_MAX);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void a_file_that_cannot_be_opened_leaves_the_old_log(void **state)
{
    char missing[128];

    (void)state;
    assert_int_equal(log_open(path), 0);
    snprintf(missing, sizeof(missing), "%s/no/such", folder);
    errno = 0;
    assert_int_equal(log_open(missing), -1);
    assert_int_equal(errno, ENOENT);
    log_write(LOG_LEVEL_ERROR, "still here");
    assert_non_null(strstr(written(), "still here"));
}

/* Sends stderr to path while it is called. */
static void with_stderr(void (*body)(void))
{
    int saved = dup(STDERR_FILENO);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    assert_true(saved != -1 && fd != -1);
    dup2(fd, STDERR_FILENO);
    close(fd);
    body();
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static void write_one_line(void)
{
    log_write(LOG_LEVEL_WARN, "to stderr");
    log_last_words("the end\n", 8);
}

static void without_a_target_lines_go_to_stderr(void **state)
{
    (void)state;
    assert_true(log_is_stderr());
    with_stderr(write_one_line);
    assert_non_null(strstr(after_time(written()), " to stderr\nthe end\n"));
    assert_int_equal(log_open("-"), 0);
    assert_true(log_is_stderr());
}

static void write_to_journal(void)
{
    char stream[64];
    struct stat st;

    fstat(STDERR_FILENO, &st);
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_text(LOG_LEVEL_WARN, slice_of("x"), slice_of("one\n\ttwo"));
}

static void the_journal_gets_a_priority_and_no_time(void **state)
{
    (void)state;
    with_stderr(write_to_journal);
    assert_int_equal(strncmp(written(), "<4>warn [", 9), 0);
    assert_non_null(strstr(text, " x\n<4>    one\n<4>    \ttwo\n"));
}

static void another_stream_than_the_journals_has_the_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        static const char *const streams[] = { "", "1", "1:1" };

        setenv("JOURNAL_STREAM", streams[i], 1);
        with_stderr(write_one_line);
        after_time(written());
        unlink(path);
    }
}

/* --- syslog --------------------------------------------------------------- */

static int open_daemon(void)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd != -1);
    unlink(path);
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    return fd;
}

/* Takes one datagram and checks its head; returns what is behind it. */
static const char *datagram(int fd, int priority)
{
    char head[64], tail[64];
    const char *at;
    ssize_t n = recv(fd, text, MUCH - 1, 0);

    assert_true(n > 0);
    text[n] = '\0';
    snprintf(head, sizeof(head), "<%d>", priority);
    assert_int_equal(strncmp(text, head, strlen(head)), 0);
    at = text + strlen(head);
    assert_true(strlen(at) > 16);
    assert_int_equal(at[3], ' ');
    assert_int_equal(at[9], ':');
    assert_int_equal(at[12], ':');
    snprintf(tail, sizeof(tail), " fcgi-lua[%ld]: ", (long)getpid());
    assert_int_equal(strncmp(at + 15, tail, strlen(tail)), 0);
    return at + 15 + strlen(tail);
}

static void syslog_gets_a_datagram_for_each_line(void **state)
{
    int fd = open_daemon();
    char expected[64];

    (void)state;
    assert_int_equal(log_open_syslog(path), 0);
    assert_false(log_is_stderr());
    log_text(LOG_LEVEL_ERROR, slice_of("boom\n"), slice_of("one\ntwo\n"));
    snprintf(expected, sizeof(expected), "error [%ld] boom\\x0a",
             (long)getpid());
    assert_string_equal(datagram(fd, 3 << 3 | 3), expected);
    assert_string_equal(datagram(fd, 3 << 3 | 3), "    one");
    assert_string_equal(datagram(fd, 3 << 3 | 3), "    two");
    log_write(LOG_LEVEL_WARN, "w");
    assert_non_null(strstr(datagram(fd, 3 << 3 | 4), "] w"));
    close(fd);
}

static void a_daemon_that_is_started_anew_is_found(void **state)
{
    int fd = open_daemon();

    (void)state;
    assert_int_equal(log_open_syslog(path), 0);
    close(fd);
    unlink(path);
    log_write(LOG_LEVEL_ERROR, "lost");
    fd = open_daemon();
    log_write(LOG_LEVEL_ERROR, "found");
    assert_non_null(
        strstr(datagram(fd, 3 << 3 | 4), "1 log lines could not be written"));
    assert_non_null(strstr(datagram(fd, 3 << 3 | 3), "found"));
    close(fd);
}

static void a_daemon_that_hangs_holds_nothing_up(void **state)
{
    int fd = open_daemon(), got = 0, told = 0;

    (void)state;
    assert_int_equal(log_open_syslog(path), 0);
    for (int i = 0; i < 3000; i++)
        log_write(LOG_LEVEL_ERROR, "a line of some length");
    while (recv(fd, text, MUCH - 1, 0) > 0)
        got++;
    assert_in_range(got, 1, 2999);
    log_write(LOG_LEVEL_ERROR, "again");
    assert_int_equal(
        sscanf(datagram(fd, 3 << 3 | 4), "warn [%*d] %d log lines", &told), 1);
    assert_int_equal(told, 3000 - got);
    assert_non_null(strstr(datagram(fd, 3 << 3 | 3), "again"));
    close(fd);
}

static void without_a_daemon_syslog_cannot_be_opened(void **state)
{
    char longest[200];

    (void)state;
    assert_int_equal(log_open(path), 0);
    snprintf(longest, sizeof(longest), "%s/none", folder);
    assert_int_equal(log_open_syslog(longest), -1);
    assert_int_equal(errno, ENOENT);
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(log_open_syslog(longest), -1);
    assert_int_equal(errno, ENAMETOOLONG);
    log_write(LOG_LEVEL_ERROR, "still here");
    assert_non_null(strstr(written(), "still here"));
}

/* --- what cannot be written ----------------------------------------------- */

static void a_full_disk_drops_lines_and_tells_how_many(void **state)
{
    int saved, full;

    (void)state;
    saved = dup(STDERR_FILENO);
    full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(saved != -1 && full != -1);
    dup2(full, STDERR_FILENO);
    for (int i = 0; i < 3; i++)
        log_write(LOG_LEVEL_ERROR, "lost");
    dup2(saved, STDERR_FILENO);
    close(full);
    close(saved);
    with_stderr(write_one_line);
    assert_non_null(strstr(written(), "] 3 log lines could not be written\n"));
    assert_non_null(strstr(text, "] to stderr\n"));
    assert_null(strstr(text, "lost"));
}

static void errno_survives(void **state)
{
    (void)state;
    assert_int_equal(log_open(path), 0);
    close(open(path, O_RDONLY | O_CLOEXEC));
    errno = EXDEV;
    log_write(LOG_LEVEL_ERROR, "x");
    assert_int_equal(errno, EXDEV);
}

/* A FIFO at path with a reader that does not read. */
static int open_fifo(void)
{
    int fd;

    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd != -1);
    fcntl(fd, F_SETPIPE_SZ, 8192);
    assert_int_equal(log_open(path), 0);
    return fd;
}

static void a_full_pipe_drops_lines_and_tells_how_many(void **state)
{
    int fd, lines = 0, told;
    const char *note;

    (void)state;
    fd = open_fifo();
    for (int i = 0; i < 1000; i++)
        log_write(LOG_LEVEL_ERROR, "a line of some length, to fill the pipe");
    read_all(fd);
    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
        after_time(at);
        lines++;
    }
    assert_in_range(lines, 1, 999);
    log_write(LOG_LEVEL_ERROR, "again");
    log_write(LOG_LEVEL_ERROR, "once more");
    read_all(fd);
    note = strchr(after_time(text), ']');
    assert_non_null(note);
    assert_int_equal(
        sscanf(note, "] %d log lines could not be written\n", &told), 1);
    assert_int_equal(told, 1000 - lines);
    assert_non_null(strstr(text, " again\n"));
    assert_non_null(strstr(text, " once more\n"));
    close(fd);
}

/* A long entry goes in several writes: what stands in the pipe when one of
 * them has no room must not become the front of the next line. */
static void a_long_entry_that_does_not_fit_spoils_no_other_line(void **state)
{
    static char longest[12000];
    size_t len;
    ssize_t n;
    int fd;

    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    fd = open_fifo();
    log_text(LOG_LEVEL_ERROR, slice_of(longest), slice_of(""));
    read_all(fd);
    log_write(LOG_LEVEL_ERROR, "behind");
    len = strlen(text);
    n = read(fd, text + len, MUCH - 1 - len);
    assert_true(n > 0);
    text[len + (size_t)n] = '\0';
    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
        assert_non_null(strchr(at, '\n'));
        after_time(at);
    }
    assert_null(strstr(text, "x20"));
    assert_non_null(strstr(text, " behind\n"));
    close(fd);
}

static void a_pipe_without_a_reader_is_harmless(void **state)
{
    int fd;

    (void)state;
    fd = open_fifo();
    signal(SIGPIPE, SIG_IGN);
    close(fd);
    log_write(LOG_LEVEL_ERROR, "to nobody");
    signal(SIGPIPE, SIG_DFL);
}

static void a_file_that_somebody_else_opened_is_taken(void **state)
{
    (void)state;
    assert_int_equal(log_fd(), -1); /* stderr */
    assert_int_equal(log_open(path), 0);
    assert_true(log_fd() > STDERR_FILENO);
    assert_int_equal(unlink(path), 0);
    log_use(log_open_file(path));
    log_write(LOG_LEVEL_ERROR, "in the new one");
    assert_non_null(strstr(written(), "in the new one"));
    log_close();
    assert_int_equal(log_fd(), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_has_time_level_and_process),
        TEST(a_worker_adds_its_number),
        TEST(a_file_is_appended_to_and_not_for_all_to_read),
        TEST(levels_above_the_chosen_one_are_left_out),
        TEST(control_bytes_cannot_forge_a_line),
        TEST(controls_of_one_and_two_bytes_are_escaped),
        TEST(an_escaped_text_is_cut_between_two_bytes),
        TEST(details_stand_indented_below_the_line),
        TEST(a_long_entry_is_cut_and_still_ends),
        TEST(a_file_that_cannot_be_opened_leaves_the_old_log),
        TEST(a_file_that_somebody_else_opened_is_taken),
        TEST(without_a_target_lines_go_to_stderr),
        TEST(the_journal_gets_a_priority_and_no_time),
        TEST(another_stream_than_the_journals_has_the_time),
        TEST(syslog_gets_a_datagram_for_each_line),
        TEST(a_daemon_that_is_started_anew_is_found),
        TEST(a_daemon_that_hangs_holds_nothing_up),
        TEST(without_a_daemon_syslog_cannot_be_opened),
        TEST(a_full_disk_drops_lines_and_tells_how_many),
        TEST(errno_survives),
        TEST(a_full_pipe_drops_lines_and_tells_how_many),
        TEST(a_long_entry_that_does_not_fit_spoils_no_other_line),
        TEST(a_pipe_without_a_reader_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
