/* child.h -- a child process: its start, its end, signals to it.
 *
 * A child begins as a session, and so a group, of its own, with no descriptor
 * but 0 to 2, no signal blocked or ignored, and the limit of open files that
 * this process was started with.  It is killed when this process ends in any
 * way.  It is heard of through a descriptor of its own: other children of the
 * process, and who waits for those, are left alone.
 *
 * Needs Linux 5.3.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IO_CHILD_H
#define IO_CHILD_H

#include "io/loop.h"

#include <sys/types.h>

struct child;

/* What a standard descriptor of a child is. */
enum child_stdio {
    CHILD_NULL,    /* /dev/null */
    CHILD_INHERIT, /* what it is here */
    CHILD_PIPE,    /* a pipe to us */
    CHILD_MERGE    /* of stderr: what stdout is */
};

enum { CHILD_STATUS_UNKNOWN = -1 };

/* Which program, and how. */
struct child_spec {
    const char *const *argv; /* and a NULL.  The first is looked for in the PATH
                              * of env, unless it has a slash */
    const char *const *env;  /* NAME=VALUE, and a NULL */
    const char *cwd;         /* its folder; NULL: ours */
    enum child_stdio stdio[3];
};

/* Runs a program.  Our ends of the pipes are put into pipes, and are the
 * caller's: non-blocking and close-on-exec, -1 where there is none.  Returns
 * NULL with errno, and *failed naming what failed: "pipe", "fork", "chdir" or
 * "exec"; then nothing has been run. */
struct child *child_start(struct loop *loop, const struct child_spec *spec,
                          int pipes[3], const char **failed);

/* Lets go of a child.  If it has not been reaped it is killed (SIGKILL), with
 * all that it has started and that stayed in its group, and reaped by the loop
 * when it has ended.  NULL is accepted. */
void child_del(struct child *child);

/* Calls fn(arg) once in the hear phase, when it has ended. */
void child_on_end(struct child *child, void (*fn)(void *arg), void *arg);

pid_t child_pid(const struct child *child);
bool child_has_ended(const struct child *child);

/* Of one that has ended: its exit code, 128 + the signal that ended it, or
 * CHILD_STATUS_UNKNOWN when somebody else has waited for it. */
int child_status(const struct child *child);

/* Lets the kernel forget one that has ended.  What it has left running is left
 * alone from now on: until then its group can still be signalled, for no other
 * process gets its number. */
void child_reap(struct child *child);

/* Sends a signal to it and all of its group.  Returns 0, or -1 with errno:
 * ESRCH when it was reaped. */
int child_kill(struct child *child, int signo);

/* In a fork of the process that goes on with the loop: the children are not
 * its own, so it hears of their ends but cannot reap them. */
void children_forked(struct loop *loop);

/* Calls fn(arg, pid) for each child that has not been reaped. */
void children_each(struct loop *loop, void (*fn)(void *arg, pid_t pid),
                   void *arg);

/* Before the process becomes another program, which would not know them: kills
 * all, and waits for them, but not for ever. */
void children_kill(struct loop *loop);

/* At the end of a loop: waits for those that were let go of, which die, but not
 * for ever. */
void children_end(struct loop *loop);

#endif
