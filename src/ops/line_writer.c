/* line_writer.c -- see line_writer.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/line_writer.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const double quiet_seconds = 1; /* between two lines about losses */

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* stdout is everybody's: O_NONBLOCK on it would be, too.  A pipe or a terminal
 * can be opened a second time, for us alone. */
static int open_stdout(bool *own, bool *may_block)
{
    struct stat st;
    int fd = -1;

    *own = false;
    *may_block = false;
    if (fstat(STDOUT_FILENO, &st) == -1)
        return -1;
    if (S_ISREG(st.st_mode))
        return STDOUT_FILENO;
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
        fd = open("/proc/self/fd/1",
                  O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    *own = fd != -1;
    *may_block = fd == -1;
    return fd == -1 ? STDOUT_FILENO : fd;
}

static void use(struct line_writer *writer, int fd, bool own, bool may_block)
{
    struct stat st;

    if (writer->own)
        close(writer->fd);
    writer->fd = fd;
    writer->own = own;
    writer->may_block = may_block;
    writer->in_pieces = fstat(fd, &st) == -1 || !S_ISREG(st.st_mode);
}

static int open_target(struct line_writer *writer, const char *target)
{
    bool own = true, may_block = false;
    int fd = strcmp(target, "-") == 0 ? open_stdout(&own, &may_block)
                                      : log_open_file(target);

    if (fd == -1)
        return -1;
    use(writer, fd, own, may_block);
    return 0;
}

int line_writer_open(struct line_writer *writer, const char *target,
                     const char *what)
{
    int saved;

    *writer = (struct line_writer){ .what = what, .fd = -1 };
    writer->data = malloc(LINE_WRITER_MAX);
    if (writer->data == NULL) {
        errno = ENOMEM;
        return -1;
    }
    if (open_target(writer, target) == 0)
        return 0;
    saved = errno;
    free(writer->data);
    writer->data = NULL;
    errno = saved;
    return -1;
}

int line_writer_open_fd(struct line_writer *writer, int fd, const char *what)
{
    *writer = (struct line_writer){ .what = what, .fd = -1 };
    writer->data = malloc(LINE_WRITER_MAX);
    if (writer->data == NULL) {
        errno = ENOMEM;
        return -1;
    }
    use(writer, fd, true, false);
    return 0;
}

/* How many lines stand in bytes. */
static unsigned long count_lines(struct slice bytes)
{
    unsigned long n = 0;

    while (bytes.len > 0) {
        const char *end = slice_find(bytes, '\n');

        slice_take(&bytes, (size_t)(end + 1 - bytes.data));
        n++;
    }
    return n;
}

/* Drops all lines but one that has been written in part: its rest is still
 * wanted, so that no line is torn when there is room again. */
static void drop_lines(struct line_writer *writer)
{
    struct slice all = { writer->data + writer->start, writer->len };

    if (writer->is_torn) {
        const char *end = slice_find(all, '\n');

        slice_take(&all, (size_t)(end + 1 - all.data));
    }
    writer->dropped += count_lines(all);
    writer->len -= all.len;
}

/* What is to be written at once: whole lines where that is possible. */
static size_t next_part(const struct line_writer *writer)
{
    const char *front = writer->data + writer->start, *end;

    if (!writer->in_pieces || writer->len <= PIPE_BUF)
        return writer->len;
    end = memrchr(front, '\n', PIPE_BUF);
    return end == NULL ? PIPE_BUF : (size_t)(end + 1 - front);
}

/* Returns false, with errno, when nothing was taken. */
static bool write_part(struct line_writer *writer)
{
    struct pollfd pollfd = { .fd = writer->fd, .events = POLLOUT };
    ssize_t n;

    if (writer->may_block && poll(&pollfd, 1, 0) == 0) {
        errno = EAGAIN;
        return false;
    }
    do
        n = write(writer->fd, writer->data + writer->start, next_part(writer));
    while (n == -1 && errno == EINTR);
    if (n <= 0)
        return false;
    writer->start += (size_t)n;
    writer->len -= (size_t)n;
    writer->is_torn = writer->data[writer->start - 1] != '\n';
    return true;
}

static void tell_of_failure(struct line_writer *writer, int error)
{
    if (writer->is_failing)
        return;
    writer->is_failing = true;
    if (writer->told > 0 && now() - writer->told < quiet_seconds)
        return;
    writer->told = now();
    log_write(LOG_LEVEL_ERROR, "the %s cannot be written: %s; lines are lost",
              writer->what, strerror(error));
}

static void tell_of_dropped(struct line_writer *writer, bool at_end)
{
    if (writer->dropped == 0)
        return;
    if (!at_end && writer->told > 0 && now() - writer->told < quiet_seconds)
        return;
    writer->told = now();
    log_write(LOG_LEVEL_WARN, "%lu lines of the %s could not be written",
              writer->dropped, writer->what);
    writer->dropped = 0;
}

void line_writer_flush(struct line_writer *writer)
{
    bool is_done = false;

    while (writer->len > 0 && write_part(writer))
        is_done = true;
    if (writer->len > 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        tell_of_failure(writer, errno);
        drop_lines(writer);
    } else if (is_done) {
        writer->is_failing = false;
        if (writer->dropped > 0)
            tell_of_dropped(writer, false);
    }
    if (writer->len == 0)
        writer->start = 0;
}

void line_writer_add(struct line_writer *writer, struct slice line)
{
    if (line.len > LINE_WRITER_MAX - writer->len) {
        writer->dropped++;
        return;
    }
    if (line.len > LINE_WRITER_MAX - writer->len - writer->start) {
        memmove(writer->data, writer->data + writer->start, writer->len);
        writer->start = 0;
    }
    memcpy(writer->data + writer->start + writer->len, line.data, line.len);
    line_writer_made(writer, line.len);
}

void line_writer_made(struct line_writer *writer, size_t len)
{
    writer->len += len;
    if (writer->len >= LINE_WRITER_FULL)
        line_writer_flush(writer);
}

/* What the old target did not take goes to the new one, but for the rest of a
 * line that it has the front of. */
static void begin_anew(struct line_writer *writer)
{
    if (writer->is_torn) {
        const char *front = writer->data + writer->start;
        const char *end = memchr(front, '\n', writer->len);
        size_t len = (size_t)(end + 1 - front);

        writer->start += len;
        writer->len -= len;
        writer->dropped++;
    }
    writer->is_torn = writer->is_failing = false;
}

int line_writer_reopen(struct line_writer *writer, const char *target)
{
    line_writer_flush(writer);
    if (open_target(writer, target) == -1)
        return -1;
    begin_anew(writer);
    return 0;
}

void line_writer_use(struct line_writer *writer, int fd)
{
    line_writer_flush(writer);
    use(writer, fd, true, false);
    begin_anew(writer);
}

void line_writer_close(struct line_writer *writer)
{
    if (writer->data == NULL)
        return;
    line_writer_flush(writer);
    writer->is_torn = false;
    drop_lines(writer);
    tell_of_dropped(writer, true);
    if (writer->own)
        close(writer->fd);
    free(writer->data);
    *writer = (struct line_writer){ .fd = -1 };
}
