/* access_log.c -- see access_log.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/access_log.h"

#include "ops/access_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const double pace_seconds = 0.01; /* between two writes */
static const double retry_seconds = 0.1; /* ... to a pipe that was full */

/* What the clock on the wall is ahead of the other one: looked at once a
 * second, for a look costs as much as much of a line. */
static double ahead(struct access_log *log, double now)
{
    struct timespec wall, other;

    if (now < log->looked || now - log->looked >= 1 || log->looked <= 0) {
        clock_gettime(CLOCK_REALTIME, &wall);
        clock_gettime(CLOCK_MONOTONIC, &other);
        log->ahead = (double)(wall.tv_sec - other.tv_sec) +
                     (double)(wall.tv_nsec - other.tv_nsec) * 1e-9;
        log->looked = now;
    }
    return log->ahead;
}

/* Where there may not be room for the longest line. */
static __attribute__((noinline)) void add_line(struct access_log *log,
                                               const struct access_entry *entry)
{
    char line[ACCESS_LINE_MAX];
    size_t len = access_format_write(log->format, entry, line);

    line_writer_add(&log->writer, (struct slice){ line, len });
}

static void ended(struct service_observer *observer, const struct request *req)
{
    struct access_log *log = (struct access_log *)(void *)observer;
    double seconds = req->ended - req->started;
    struct access_entry entry = { .req = req,
                                  .ended = req->ended + ahead(log, req->ended),
                                  .duration = seconds > 0 ? seconds : 0,
                                  .worker = log->worker,
                                  .name = log->name };
    char *place = line_writer_place(&log->writer, ACCESS_LINE_MAX);

    if (place != NULL)
        line_writer_made(&log->writer,
                         access_format_write(log->format, &entry, place));
    else
        add_line(log, &entry);
}

double access_log_write(struct access_log *log, double now)
{
    double since = now - log->flushed;

    if (since >= 0 && since < pace_seconds &&
        log->writer.len < LINE_WRITER_FULL)
        return pace_seconds - since;
    log->flushed = now;
    line_writer_flush(&log->writer);
    return line_writer_is_empty(&log->writer) ? 0 : retry_seconds;
}

const char *access_log_check_format(const char *text, char *error, size_t room)
{
    struct access_format *format;
    bool is_bad =
        access_format_new(text, &format, error, room) == ACCESS_FORMAT_BAD;

    access_format_del(format);
    return is_bad ? error : NULL;
}

/* target: where to, or NULL for fd. */
static struct access_log *make(const char *target, int fd, const char *format,
                               const char *name)
{
    struct access_log *log = calloc(1, sizeof(*log));
    char error[128];
    int saved;

    if (log == NULL)
        return NULL;
    log->name = name;
    log->to_stdout = target != NULL && strcmp(target, "-") == 0;
    errno = ENOMEM;
    if (access_format_new(format, &log->format, error, sizeof(error)) !=
            ACCESS_FORMAT_OK ||
        (target != NULL
             ? line_writer_open(&log->writer, target, "access log")
             : line_writer_open_fd(&log->writer, fd, "access log")) == -1) {
        saved = errno;
        access_format_del(log->format);
        free(log);
        errno = saved;
        return NULL;
    }
    log->observer.ended = ended;
    log->observer.wanted = access_format_wanted(log->format);
    log->observer.wants_head = access_format_wants_head(log->format);
    log->observer.wants_cpu = access_format_wants_cpu(log->format);
    return log;
}

struct access_log *access_log_open(const char *target, const char *format,
                                   const char *name)
{
    return make(target, -1, format, name);
}

struct access_log *access_log_open_fd(int fd, const char *format,
                                      const char *name)
{
    return make(NULL, fd, format, name);
}

int access_log_reopen(struct access_log *log, const char *target)
{
    return line_writer_reopen(&log->writer, target);
}

void access_log_use(struct access_log *log, int fd)
{
    line_writer_use(&log->writer, fd);
}

int access_log_fd(const struct access_log *log)
{
    return log->to_stdout ? -1 : log->writer.fd;
}

void access_log_attach(struct access_log *log, struct service *service,
                       unsigned worker)
{
    log->worker = worker;
    service_observe(service, &log->observer);
}

void access_log_close(struct access_log *log)
{
    if (log == NULL)
        return;
    line_writer_close(&log->writer);
    access_format_del(log->format);
    free(log);
}
