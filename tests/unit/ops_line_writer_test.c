/* ops_line_writer_test.c -- lines that are collected and written together.
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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/log.h"
#include "ops/line_writer.h"

enum { MUCH = 4 << 20 };

static char folder[64], path[96], log_path[96], other[96];
static char text[MUCH];
static struct line_writer writer;

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* as the program does in its own way */
    strcpy(folder, "/tmp/fcgi-lua-lines.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/lines", folder);
    snprintf(other, sizeof(other), "%s/other", folder);
    snprintf(log_path, sizeof(log_path), "%s/log", folder);
    writer = (struct line_writer){ .fd = -1 };
    return log_open(log_path);
}

static int tear_down(void **state)
{
    (void)state;
    line_writer_close(&writer);
    log_close();
    unlink(path);
    unlink(other);
    unlink(log_path);
    return rmdir(folder);
}

static void read_all(int fd)
{
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, text + len, MUCH - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
}

static const char *content(const char *of)
{
    int fd = open(of, O_RDONLY | O_CLOEXEC);

    assert_true(fd != -1);
    read_all(fd);
    close(fd);
    return text;
}

static void add(const char *line)
{
    line_writer_add(&writer, slice_of(line));
}

/* A line that says its number, of n bytes. */
static void add_long(unsigned number, size_t n)
{
    static char line[2 * LINE_WRITER_MAX];

    memset(line, 'x', n - 1);
    snprintf(line, 16, "%06u", number);
    line[6] = ' ';
    line[n - 1] = '\n';
    line_writer_add(&writer, (struct slice){ line, n });
}

/* All lines in text are whole, of n bytes and in order; returns how many. */
static unsigned check_lines(size_t n)
{
    unsigned lines = 0;
    long last = -1;

    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
        assert_non_null(strchr(at, '\n'));
        assert_int_equal(strchr(at, '\n') + 1 - at, n);
        assert_true(atol(at) > last);
        last = atol(at);
        lines++;
    }
    return lines;
}

static void lines_wait_for_the_flush(void **state)
{
    struct stat st;
    mode_t old = umask(0);

    (void)state;
    assert_int_equal(line_writer_open(&writer, path, "test log"), 0);
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_true(line_writer_is_empty(&writer));
    add("one\n");
    add("two\n");
    assert_false(line_writer_is_empty(&writer));
    assert_string_equal(content(path), "");
    line_writer_flush(&writer);
    assert_true(line_writer_is_empty(&writer));
    assert_string_equal(content(path), "one\ntwo\n");
    add("three\n");
    line_writer_close(&writer);
    assert_string_equal(content(path), "one\ntwo\nthree\n");
}

static void a_full_buffer_is_written_by_itself(void **state)
{
    (void)state;
    assert_int_equal(line_writer_open(&writer, path, "test log"), 0);
    for (unsigned i = 0; i < LINE_WRITER_FULL / 128; i++)
        add_long(i, 128);
    assert_true(line_writer_is_empty(&writer));
    content(path);
    assert_int_equal(check_lines(128), LINE_WRITER_FULL / 128);
}

static void several_writers_append_to_one_file(void **state)
{
    struct line_writer second;

    (void)state;
    assert_int_equal(line_writer_open(&writer, path, "test log"), 0);
    assert_int_equal(line_writer_open(&second, path, "test log"), 0);
    add("a\n");
    line_writer_add(&second, slice_of("b\n"));
    line_writer_close(&second);
    line_writer_flush(&writer);
    assert_string_equal(content(path), "b\na\n");
}

static void a_file_that_cannot_be_opened_is_an_error(void **state)
{
    char missing[128];

    (void)state;
    snprintf(missing, sizeof(missing), "%s/no/such", folder);
    assert_int_equal(line_writer_open(&writer, missing, "test log"), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(line_writer_open(&writer, path, "test log"), 0);
    add("one\n");
    assert_int_equal(line_writer_reopen(&writer, missing), -1);
    assert_int_equal(errno, ENOENT);
    add("two\n");
    line_writer_flush(&writer);
    assert_string_equal(content(path), "one\ntwo\n");
}

static void reopening_loses_nothing(void **state)
{
    (void)state;
    assert_int_equal(line_writer_open(&writer, path, "test log"), 0);
    add("one\n");
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(line_writer_reopen(&writer, path), 0);
    add("two\n");
    line_writer_flush(&writer);
    assert_string_equal(content(other), "one\n");
    assert_string_equal(content(path), "two\n");
}

static void a_file_that_somebody_else_opened_is_taken(void **state)
{
    (void)state;
    assert_int_equal(line_writer_open(&writer, path, "test log"), 0);
    add("one\n");
    line_writer_use(&writer, log_open_file(other));
    add("two\n");
    line_writer_flush(&writer);
    assert_string_equal(content(path), "one\n");
    assert_string_equal(content(other), "two\n");
}

/* stdout is path while the test runs. */
static int redirect(int flags)
{
    int saved = dup(STDOUT_FILENO);
    int fd = open(path, flags | O_CLOEXEC, 0600);

    assert_true(saved != -1 && fd != -1);
    fflush(stdout);
    dup2(fd, STDOUT_FILENO);
    close(fd);
    return saved;
}

static void restore(int saved)
{
    dup2(saved, STDOUT_FILENO);
    close(saved);
}

static void a_dash_is_stdout(void **state)
{
    int saved = redirect(O_WRONLY | O_CREAT);

    (void)state;
    assert_int_equal(line_writer_open(&writer, "-", "test log"), 0);
    add("out\n");
    line_writer_flush(&writer);
    assert_int_equal(line_writer_reopen(&writer, "-"), 0);
    add("again\n");
    line_writer_close(&writer);
    restore(saved);
    assert_string_equal(content(path), "out\nagain\n");
}

/* What others have as stdout must not become non-blocking. */
static void a_pipe_on_stdout_keeps_its_flags(void **state)
{
    int saved, fd;

    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    saved = redirect(O_WRONLY);
    assert_int_equal(line_writer_open(&writer, "-", "test log"), 0);
    assert_int_equal(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK, 0);
    for (unsigned i = 0; i < 4096; i++)
        add_long(i, 128);
    restore(saved);
    read_all(fd);
    assert_in_range(check_lines(128), 1, 4095);
    close(fd);
}

static int open_fifo(void)
{
    int fd;

    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd != -1);
    fcntl(fd, F_SETPIPE_SZ, 4096);
    assert_int_equal(line_writer_open(&writer, path, "test log"), 0);
    return fd;
}

static void what_a_pipe_does_not_take_waits(void **state)
{
    int fd = open_fifo();
    size_t len = 0;

    (void)state;
    for (unsigned i = 0; i < 300; i++)
        add_long(i, 300);
    line_writer_flush(&writer);
    assert_false(line_writer_is_empty(&writer));
    while (!line_writer_is_empty(&writer)) {
        ssize_t n = read(fd, text + len, 1000);

        assert_true(n > 0);
        len += (size_t)n;
        line_writer_flush(&writer);
    }
    read_all(fd);
    assert_int_equal(writer.dropped, 0);
    close(fd);
}

static void a_line_longer_than_a_pipe_takes_at_once_is_not_torn(void **state)
{
    int fd = open_fifo();
    size_t len = 0;

    (void)state;
    for (unsigned i = 0; i < 6; i++)
        add_long(i, 3 * PIPE_BUF);
    for (unsigned i = 0; i < 1000; i++) {
        ssize_t n = read(fd, text + len, 777);

        len += n > 0 ? (size_t)n : 0;
        line_writer_flush(&writer);
    }
    text[len] = '\0';
    assert_int_equal(check_lines(3 * PIPE_BUF), 6);
    close(fd);
}

static void lines_that_a_blocked_pipe_does_not_take_are_counted(void **state)
{
    int fd = open_fifo(), told = 0;
    unsigned kept;
    const char *note;
    size_t len = 0;

    (void)state;
    for (unsigned i = 0; i < 5000; i++)
        add_long(i, 200);
    for (ssize_t n = 0; n >= 0 || !line_writer_is_empty(&writer);) {
        n = read(fd, text + len, 5000);
        len += n > 0 ? (size_t)n : 0;
        line_writer_flush(&writer);
    }
    text[len] = '\0';
    kept = check_lines(200);
    assert_in_range(kept, 1, 4999);
    line_writer_close(&writer);
    note = strstr(content(log_path), " lines of the test log could not");
    assert_non_null(note);
    while (note[-1] != ' ')
        note--;
    assert_int_equal(sscanf(note, "%d", &told), 1);
    assert_int_equal(told + (int)kept, 5000);
    close(fd);
}

static void a_full_disk_drops_lines_and_tells(void **state)
{
    (void)state;
    assert_int_equal(line_writer_open(&writer, "/dev/full", "test log"), 0);
    for (int i = 0; i < 3; i++) {
        add("lost\n");
        add("lost\n");
        line_writer_flush(&writer);
        assert_true(line_writer_is_empty(&writer));
    }
    content(log_path);
    assert_non_null(strstr(text, "error [")); /* once */
    assert_ptr_equal(strstr(text, "the test log cannot be written: No space"),
                     strstr(text, "the test log"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_int_equal(line_writer_reopen(&writer, path), 0);
    add("there is room\n");
    line_writer_flush(&writer);
    line_writer_close(&writer);
    assert_non_null(strstr(content(log_path),
                           "6 lines of the test log could not be written"));
    assert_string_equal(content(path), "there is room\n");
}

/* A pipe whose reader goes has the front of a line: the rest is not the front
 * of what comes after. */
static void the_rest_of_a_torn_line_goes_nowhere_else(void **state)
{
    int fd = open_fifo();

    (void)state;
    add_long(1, 3 * PIPE_BUF);
    add("next\n");
    line_writer_flush(&writer);
    assert_true(writer.is_torn);
    assert_int_equal(line_writer_reopen(&writer, other), 0);
    add("last\n");
    line_writer_close(&writer);
    assert_string_equal(content(other), "next\nlast\n");
    assert_non_null(strstr(content(log_path), "] 1 lines of the test log"));
    close(fd);
}

static void a_pipe_without_a_reader_keeps_only_the_torn_line(void **state)
{
    int fd = open_fifo();

    (void)state;
    add_long(1, 3 * PIPE_BUF);
    add("next\n");
    line_writer_flush(&writer);
    close(fd);
    line_writer_flush(&writer);
    assert_int_equal(writer.dropped, 1);
    assert_int_equal(writer.data[writer.start + writer.len - 1], '\n');
    assert_false(line_writer_is_empty(&writer));
    line_writer_close(&writer);
    assert_non_null(strstr(content(log_path), "] 2 lines of the test log"));
}

static void live(void *arg)
{
    (void)arg;
    if (line_writer_open(&writer, path, "test log") == -1) {
        assert_int_equal(errno, ENOMEM);
        line_writer_close(&writer);
        return;
    }
    add("one\n");
    line_writer_close(&writer);
}

static void without_memory_it_is_not_opened(void **state)
{
    (void)state;
    alloc_each_fails(live, NULL);
    assert_string_equal(content(path), "one\n");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_wait_for_the_flush),
        TEST(a_full_buffer_is_written_by_itself),
        TEST(several_writers_append_to_one_file),
        TEST(a_file_that_cannot_be_opened_is_an_error),
        TEST(reopening_loses_nothing),
        TEST(a_file_that_somebody_else_opened_is_taken),
        TEST(a_dash_is_stdout),
        TEST(a_pipe_on_stdout_keeps_its_flags),
        TEST(what_a_pipe_does_not_take_waits),
        TEST(a_line_longer_than_a_pipe_takes_at_once_is_not_torn),
        TEST(lines_that_a_blocked_pipe_does_not_take_are_counted),
        TEST(a_full_disk_drops_lines_and_tells),
        TEST(the_rest_of_a_torn_line_goes_nowhere_else),
        TEST(a_pipe_without_a_reader_keeps_only_the_torn_line),
        TEST(without_memory_it_is_not_opened),
    };

    return cmocka_run_group_tests_name("ops/line_writer", tests, NULL, NULL);
}
