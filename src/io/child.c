/* child.c -- see child.h for the contract.
 *
 *     child_start -- runs --> ended (a zombie) -- child_reap --> reaped
 *          `-- child_del: killed -- ended: reaped and freed, by the loop
 *
 * A zombie keeps its number, and its group that number, from being anybody
 * else's: so what it has left running can be killed as long as it is one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/child_exec.h"

#include "io/loop_ev.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { END_SECONDS = 1 }; /* for those that die with the loop */

struct child {
    struct list link; /* in the loop's children */
    struct loop *loop;
    struct ev_io watcher; /* of a descriptor that is readable when it ends */
    pid_t pid;
    int status;
    bool has_ended, is_reaped;
    bool is_foreign; /* of the process that we are a fork of */
    bool is_let_go;
    void (*on_end)(void *arg);
    void *arg;
};

/* --- its end -------------------------------------------------------------- */

/* How the child of another process has ended, which has not reaped it: the last
 * number of its line in /proc is what waitpid would say. */
static int status_of_foreign(pid_t pid)
{
    char path[64], line[2048];
    const char *last;
    FILE *file;
    int status;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return CHILD_STATUS_UNKNOWN;
    last = fgets(line, sizeof(line), file) != NULL ? strrchr(line, ' ') : NULL;
    fclose(file);
    if (last == NULL)
        return CHILD_STATUS_UNKNOWN;
    status = (int)strtol(last + 1, NULL, 10);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* It has ended; it stays a zombie. */
static int find_status(const struct child *child)
{
    siginfo_t info = { .si_pid = 0 };

    if (child->is_foreign)
        return status_of_foreign(child->pid);
    if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) ==
            -1 ||
        info.si_pid != child->pid)
        return CHILD_STATUS_UNKNOWN;
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

static void free_child(struct child *child)
{
    list_remove(&child->link);
    free(child);
}

static void unwatch(struct child *child)
{
    ev_io_stop(child->loop->ev, &child->watcher);
    if (child->watcher.fd != -1)
        close(child->watcher.fd);
    ev_io_set(&child->watcher, -1, EV_READ);
}

void child_reap(struct child *child)
{
    if (!child->has_ended || child->is_reaped)
        return;
    child->is_reaped = true;
    if (!child->is_foreign)
        waitpid(child->pid, NULL, WNOHANG);
}

/* Nobody wants to know of it any more. */
static void bury(struct child *child)
{
    child_kill(child, SIGKILL); /* what it has left running */
    child_reap(child);
    free_child(child);
}

/* What somebody else has reaped has a number that may be another's by now. */
static void take_end(struct child *child)
{
    unwatch(child);
    child->has_ended = true;
    child->status = find_status(child);
    child->is_reaped = child->status == CHILD_STATUS_UNKNOWN;
}

static void on_life_ended(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct child *child = watcher->data;

    (void)ev;
    (void)events;
    take_end(child);
    if (child->is_let_go)
        bury(child);
    else if (child->on_end != NULL)
        child->on_end(child->arg);
}

/* --- starting ------------------------------------------------------------- */

static void watch(struct child *child, struct loop *loop, int life)
{
    child->loop = loop;
    list_init(&child->link);
    list_append(&loop->children, &child->link);
    ev_io_init(&child->watcher, on_life_ended, life, EV_READ);
    child->watcher.data = child;
    ev_io_start(loop->ev, &child->watcher);
}

struct child *child_start(struct loop *loop, const struct child_spec *spec,
                          int pipes[3], const char **failed)
{
    struct child *child = calloc(1, sizeof(*child));
    int life, saved;

    pipes[0] = pipes[1] = pipes[2] = -1;
    *failed = "fork";
    if (child == NULL)
        return NULL;
    child->pid = child_exec(spec, pipes, &life, failed);
    if (child->pid == -1) {
        saved = errno;
        free(child);
        errno = saved;
        return NULL;
    }
    watch(child, loop, life);
    return child;
}

/* --- what is asked of it -------------------------------------------------- */

void child_on_end(struct child *child, void (*fn)(void *arg), void *arg)
{
    child->on_end = fn;
    child->arg = arg;
}

pid_t child_pid(const struct child *child)
{
    return child->pid;
}

bool child_has_ended(const struct child *child)
{
    return child->has_ended;
}

int child_status(const struct child *child)
{
    return child->status;
}

int child_kill(struct child *child, int signo)
{
    if (child->is_reaped) {
        errno = ESRCH;
        return -1;
    }
    return kill(-child->pid, signo);
}

void child_del(struct child *child)
{
    if (child == NULL)
        return;
    child->on_end = NULL;
    if (child->has_ended) {
        bury(child);
        return;
    }
    child->is_let_go = true;
    child_kill(child, SIGKILL);
}

void children_forked(struct loop *loop)
{
    for (struct list *link = loop->children.next; link != &loop->children;
         link = link->next)
        list_entry(link, struct child, link)->is_foreign = true;
}

void children_each(struct loop *loop, void (*fn)(void *arg, pid_t pid),
                   void *arg)
{
    for (struct list *link = loop->children.next; link != &loop->children;
         link = link->next) {
        const struct child *child = list_entry(link, struct child, link);

        if (!child->is_reaped)
            fn(arg, child->pid);
    }
}

static void kill_by(struct child *child, double deadline)
{
    struct pollfd life = { .fd = child->watcher.fd, .events = POLLIN };
    double left = deadline - loop_now();

    child_kill(child, SIGKILL);
    if (!child->has_ended &&
        poll(&life, 1, left > 0 ? (int)(left * 1000) : 0) == 1)
        take_end(child);
}

void children_kill(struct loop *loop)
{
    double deadline = loop_now() + END_SECONDS;
    struct list *link = loop->children.next;

    while (link != &loop->children) {
        struct child *child = list_entry(link, struct child, link);
        bool had_ended = child->has_ended;

        link = link->next;
        kill_by(child, deadline);
        child_reap(child);
        if (child->has_ended && !had_ended && child->on_end != NULL)
            child->on_end(child->arg);
        else if (child->has_ended && child->is_let_go)
            bury(child);
    }
}

/* What cannot die now (it waits for a disk, or became another user) is left to
 * who inherits it. */
void children_end(struct loop *loop)
{
    double deadline = loop_now() + END_SECONDS;

    while (!list_is_empty(&loop->children)) {
        struct child *child =
            list_entry(list_take(&loop->children), struct child, link);

        kill_by(child, deadline);
        if (child->has_ended) {
            bury(child);
        } else {
            unwatch(child);
            free_child(child);
        }
    }
}
