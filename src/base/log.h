/* log.h -- the process's own log: one line an event, for operators.
 *
 * The process has one log, so this is the one place of state that is not
 * passed around.  Nothing that a peer or a script chose can forge a line:
 * control bytes are written as \xNN.  A log that cannot be written never holds
 * up the loop: what does not fit is dropped whole and counted, and one later
 * line tells how many.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/slice.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

enum { LOG_ENTRY_MAX = 16384 }; /* bytes of one entry, details included */

/* Sends the log to a file (appended to, made with mode 0640), to "-" (stderr)
 * or to "syslog".  Where stderr is systemd's journal each line begins with its
 * priority and has no time.  Returns 0, or -1 with errno and the old log still
 * in use. */
int log_open(const char *target);

/* Sends it to the syslog daemon that has its socket at path: a datagram a line,
 * in the way of RFC 3164.  Returns what log_open does. */
int log_open_syslog(const char *path);

/* Opens a file as log_open does, for whoever writes another log.  Returns the
 * descriptor, which is the caller's and does not block, or -1 with errno.  Root
 * follows no link of another user's. */
int log_open_file(const char *path);

/* What to say of the last file that could not be opened, with errno as it was
 * left; until the next one is opened. */
const char *log_open_error(void);

/* The descriptor of the file that log_open opened; -1: there is none, as the
 * log goes to stderr or to syslog. */
int log_fd(void);

/* Sends the log to a file that somebody else has opened as log_open does; the
 * descriptor is the log's from then on. */
void log_use(int fd);

/* Closes what log_open opened; later lines go to stderr. */
void log_close(void);

/* Does the log go to stderr? */
bool log_is_stderr(void);

/* Lines above the level are left out; LOG_LEVEL_NOTICE at first. */
void log_set_level(enum log_level level);
bool log_is_on(enum log_level level);

/* Puts "/ID" behind the process id in each line; 0: nothing. */
void log_set_worker(unsigned id);

/* Writes one line. */
void log_write(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Writes one line and below it, indented, the lines of detail. */
void log_text(enum log_level level, struct slice line, struct slice detail);

/* Writes text as it is, for a signal handler that ends the process. */
void log_last_words(const char *text, size_t len);

/* Writes in, control bytes as \xNN, into out of size bytes, cut where it is
 * full.  Returns the length; there is no NUL. */
size_t log_escape(struct slice in, char *out, size_t size);

#endif
