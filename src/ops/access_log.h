/* access_log.h -- a line for each request that was begun: an observer of them.
 *
 * The line is made when the answer is complete or the client has gone, and
 * written at the end of that turn of the loop, together with those of later
 * turns if there were others a moment ago: a write costs as much as many
 * lines.  A request whose client
 * went before anything was sent has the status 499.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_ACCESS_LOG_H
#define OPS_ACCESS_LOG_H

#include "core/service.h"
#include "ops/line_writer.h"

struct access_format;

struct access_log {
    struct service_observer observer; /* first: the one is the other */
    struct line_writer writer;
    struct access_format *format;
    const char *name; /* of the script */
    bool to_stdout;
    unsigned worker;
    double ahead, looked; /* see access_log.c */
    double flushed;       /* when; 0: never */
};

/* What is wrong with a format, in words that follow it, in error of room bytes;
 * or NULL.  What there is no memory to check passes. */
const char *access_log_check_format(const char *text, char *error, size_t room);

/* Opens a log: a file, or "-" for stdout.  The format must be a sound one; name
 * is the script's and lasts as long.  Returns NULL, with errno, when it cannot
 * be opened. */
struct access_log *access_log_open(const char *target, const char *format,
                                   const char *name);

/* The same for a file that log_open_file has opened, which is the log's if it
 * is not NULL that is returned. */
struct access_log *access_log_open_fd(int fd, const char *format,
                                      const char *name);

/* Opens target anew.  Returns 0, or -1 with errno and the old one in use. */
int access_log_reopen(struct access_log *log, const char *target);

/* The same with a file that somebody else has opened likewise; the descriptor
 * is the log's from then on. */
void access_log_use(struct access_log *log, int fd);

/* The descriptor of the file; -1: it goes to stdout. */
int access_log_fd(const struct access_log *log);

/* From now on requests of service are logged, as those of that worker. */
void access_log_attach(struct access_log *log, struct service *service,
                       unsigned worker);

/* Writes what waits and closes.  NULL is accepted. */
void access_log_close(struct access_log *log);

/* Writes what there is at the end of a turn, unless it did so just before; now
 * is the loop's.  Returns after how many seconds it is to be called again,
 * although nothing else may happen; 0: there is nothing left. */
double access_log_write(struct access_log *log, double now);

static inline double access_log_flush(struct access_log *log, double now)
{
    return line_writer_is_empty(&log->writer) ? 0 : access_log_write(log, now);
}

#endif
