/* line_writer.h -- a log whose lines are collected and written together.
 *
 * Several processes may write to one file or pipe: each write is of whole
 * lines, as far as the kernel keeps it together (a file: always; a pipe: lines
 * up to 4 KiB).  Nothing here ever waits.  What a pipe does not take stays in
 * memory, up to a limit; beyond it, and where the disk is full, lines are
 * dropped whole and counted, and the process's own log tells how many.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_LINE_WRITER_H
#define OPS_LINE_WRITER_H

#include "base/slice.h"

enum {
    LINE_WRITER_FULL = 64 * 1024, /* bytes that are worth a write */
    LINE_WRITER_MAX = 256 * 1024  /* that wait at most */
};

struct line_writer {
    const char *what; /* "access log" */
    char *data;       /* LINE_WRITER_MAX bytes; NULL: not open */
    size_t start, len;
    int fd;
    bool own;       /* fd was opened here */
    bool in_pieces; /* a pipe: at most PIPE_BUF at once */
    bool may_block; /* ask before each write */
    bool is_torn;   /* the front of the line at start has been written */
    bool is_failing;
    unsigned long dropped;
    double told; /* when; 0: never */
};

/* Opens a file (appended to, made with mode 0640) or "-", stdout; what is
 * static text that names the log.  Returns 0, or -1 with errno. */
int line_writer_open(struct line_writer *writer, const char *target,
                     const char *what);

/* The same for a file that log_open_file has opened, which is the writer's
 * when 0 is returned. */
int line_writer_open_fd(struct line_writer *writer, int fd, const char *what);

/* Opens target anew; returns 0, or -1 with errno and the old one in use. */
int line_writer_reopen(struct line_writer *writer, const char *target);

/* The same with a file that somebody else has opened as line_writer_open does;
 * the descriptor is the writer's from then on. */
void line_writer_use(struct line_writer *writer, int fd);

/* Writes what waits and closes. */
void line_writer_close(struct line_writer *writer);

/* Where a line of at most so many bytes can be made in place, or NULL; then
 * line_writer_made says how long it is. */
static inline char *line_writer_place(struct line_writer *writer, size_t most)
{
    size_t used = writer->start + writer->len;

    return LINE_WRITER_MAX - used >= most ? writer->data + used : NULL;
}

void line_writer_made(struct line_writer *writer, size_t len);

/* Adds a line, which ends with its newline and has no other. */
void line_writer_add(struct line_writer *writer, struct slice line);

/* Writes what waits, as far as that goes. */
void line_writer_flush(struct line_writer *writer);

static inline bool line_writer_is_empty(const struct line_writer *writer)
{
    return writer->len == 0;
}

#endif
