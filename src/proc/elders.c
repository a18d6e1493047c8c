/* elders.c -- see elders.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/elders.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WARDS_MAX = 1024, /* that pass to another program: the text is limited */
    WARDS_MS = 1000   /* they have to end when they are killed */
};

enum elder_state { ELDER_SERVES, ELDER_DRAINS, ELDER_ENDED };

struct elder {
    struct list link;
    struct elders *elders;
    pid_t pid;
    unsigned generation, slot;
    enum elder_state state;
    int fd;   /* the link to it */
    int life; /* readable when it has ended; or -1 */
    struct ev_io news, end;
    struct list wards; /* of struct ward */
};

/* What it runs, as our child. */
struct ward {
    struct list link;
    pid_t pid;
};

void elders_init(struct elders *elders)
{
    *elders = (struct elders){ .fork_pipe = -1 };
    list_init(&elders->list);
}

static struct elder *elder_of(struct list *link)
{
    return list_entry(link, struct elder, link);
}

static struct elder *elder_new(struct elders *elders, pid_t pid, int fd,
                               unsigned generation, enum elder_state state)
{
    struct elder *elder = calloc(1, sizeof(*elder));

    if (elder == NULL)
        return NULL;
    elder->elders = elders;
    elder->pid = pid;
    elder->fd = fd;
    elder->generation = generation;
    elder->state = state;
    elder->life = -1;
    list_init(&elder->wards);
    list_init(&elder->link);
    list_append(&elders->list, &elder->link);
    return elder;
}

static void unwatch(struct elder *elder)
{
    struct ev_loop *ev = elder->elders->ev;

    if (ev == NULL)
        return;
    ev_io_stop(ev, &elder->news);
    ev_io_stop(ev, &elder->end);
    if (elder->life != -1)
        close(elder->life);
    elder->life = -1;
}

static void elder_del(struct elder *elder)
{
    unwatch(elder);
    while (!list_is_empty(&elder->wards))
        free(list_entry(list_take(&elder->wards), struct ward, link));
    list_remove(&elder->link);
    close(elder->fd);
    free(elder);
}

static enum elder_state state_of(const struct upgrade_process *process)
{
    return process->state < ELDER_ENDED ? (enum elder_state)process->state
                                        : ELDER_ENDED;
}

static void add_ward(struct elder *elder, pid_t pid)
{
    struct ward *ward = malloc(sizeof(*ward));

    if (ward == NULL)
        return; /* it stays a zombie until we end */
    ward->pid = pid;
    list_init(&ward->link);
    list_append(&elder->wards, &ward->link);
}

void elders_add_ward(struct elders *elders, pid_t pid)
{
    add_ward(elder_of(elders->list.prev), pid);
}

/* The elder is gone, and what it ran has nobody else. */
static void end_wards(struct elder *elder)
{
    int ms = 0;

    for (struct list *link = elder->wards.next; link != &elder->wards;
         link = link->next)
        kill(-list_entry(link, struct ward, link)->pid, SIGKILL);
    while (!list_is_empty(&elder->wards)) {
        struct ward *ward = list_entry(elder->wards.next, struct ward, link);

        while (waitpid(ward->pid, NULL, WNOHANG) == 0 && ms++ < WARDS_MS)
            usleep(1000);
        list_remove(&ward->link);
        free(ward);
    }
}

static void inherit_ward(struct elders *elders,
                         const struct upgrade_process *process)
{
    for (struct list *link = elders->list.next; link != &elders->list;
         link = link->next)
        if (elder_of(link)->pid == (pid_t)process->id)
            add_ward(elder_of(link), process->pid);
}

bool elders_inherit(struct elders *elders, const struct upgrade_state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        const struct upgrade_process *process = &state->processes[i];
        struct elder *elder;

        if (process->role == UPGRADE_WARD)
            inherit_ward(elders, process);
        if (process->role != UPGRADE_ELDER)
            continue;
        elder = elder_new(elders, process->pid, process->fd,
                          process->generation, state_of(process));
        if (elder == NULL)
            return false;
        elder->slot = process->slot;
    }
    return true;
}

void elders_use_board(struct elders *elders, struct board *board,
                      bool is_theirs)
{
    elders->board = board;
    for (struct list *link = elders->list.next;
         link != &elders->list && !is_theirs; link = link->next)
        elder_of(link)->slot = BOARD_SLOTS;
}

static bool describe_wards(const struct elder *elder,
                           struct upgrade_state *state, unsigned *wards)
{
    for (struct list *link = elder->wards.next;
         link != &elder->wards && *wards < WARDS_MAX; link = link->next) {
        const struct upgrade_process process = {
            .role = UPGRADE_WARD,
            .pid = list_entry(link, struct ward, link)->pid,
            .fd = -1,
            .id = (unsigned)elder->pid,
        };

        if (!upgrade_state_add(state, &process))
            return false;
        ++*wards;
    }
    return true;
}

bool elders_describe(const struct elders *elders, struct upgrade_state *state)
{
    unsigned wards = 0;

    for (struct list *link = elders->list.next; link != &elders->list;
         link = link->next) {
        const struct elder *elder = elder_of(link);
        const struct upgrade_process process = {
            .role = UPGRADE_ELDER,
            .pid = elder->pid,
            .fd = elder->fd,
            .slot = elder->slot,
            .generation = elder->generation,
            .state = elder->state,
        };

        if (!upgrade_state_add(state, &process) ||
            !describe_wards(elder, state, &wards))
            return false;
    }
    return true;
}

/* --- what they say ---------------------------------------------------------
 */

static void log_end(const struct elder *elder, int status)
{
    enum log_level level =
        elder->state == ELDER_DRAINS ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR;

    if (status == -1)
        log_write(level, "the process of generation %u (%ld) ended",
                  elder->generation, (long)elder->pid);
    else if (WIFSIGNALED(status))
        log_write(LOG_LEVEL_ERROR,
                  "the process of generation %u (%ld) was killed by SIG%s",
                  elder->generation, (long)elder->pid,
                  sigabbrev_np(WTERMSIG(status)));
    else
        log_write(WEXITSTATUS(status) == 0 ? level : LOG_LEVEL_ERROR,
                  "the process of generation %u (%ld) ended with %d",
                  elder->generation, (long)elder->pid, WEXITSTATUS(status));
}

/* Returns false at the end of the link. */
static bool hear(struct elder *elder)
{
    struct elders *elders = elder->elders;
    struct link_message message;
    int fd, got;

    while ((got = link_receive(elder->fd, &message, &fd)) == 1) {
        if (fd == -1)
            continue;
        if (message.kind == LINK_HANDOVER)
            elders->take(elders->arg, fd);
        else
            close(fd);
    }
    return got != 0;
}

/* What it has counted is kept. */
static void leave_board(const struct elder *elder, int status)
{
    struct board *board = elder->elders->board;
    enum board_end end = BOARD_END_UPGRADE;

    if (board == NULL || elder->slot >= BOARD_SLOTS ||
        !board->slots[elder->slot].is_used)
        return;
    board_release(board, &board->slots[elder->slot]);
    if (status != -1 && WIFSIGNALED(status))
        end = BOARD_END_KILLED;
    else if (status != -1 && WEXITSTATUS(status) != 0)
        end = BOARD_END_FAILED;
    board->ends[end]++;
}

/* It has ended, or is about to.  Its last words may have to wait. */
static void elder_ended(struct elder *elder)
{
    int status = -1;
    pid_t pid;

    do
        pid = waitpid(elder->pid, &status, 0);
    while (pid == -1 && errno == EINTR);
    log_end(elder, pid == elder->pid ? status : -1);
    end_wards(elder);
    elder->state = ELDER_ENDED;
    unwatch(elder);
    leave_board(elder, pid == elder->pid ? status : -1);
    if (elder->elders->take == NULL)
        return;
    hear(elder);
    elder_del(elder);
}

static void on_news(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct elder *elder = watcher->data;

    (void)events;
    if (hear(elder))
        return;
    if (elder->life == -1)
        elder_ended(elder);
    else
        ev_io_stop(ev, watcher);
}

static void on_end(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    (void)ev;
    (void)events;
    elder_ended(watcher->data);
}

static void watch(struct elder *elder)
{
    struct ev_loop *ev = elder->elders->ev;

    if (elder->state == ELDER_ENDED)
        return;
    elder->life = (int)syscall(SYS_pidfd_open, elder->pid, 0);
    ev_io_init(&elder->news, on_news, elder->fd, EV_READ);
    ev_io_init(&elder->end, on_end, elder->life, EV_READ);
    elder->news.data = elder->end.data = elder;
    if (elder->life != -1)
        ev_io_start(ev, &elder->end);
    if (elder->elders->take != NULL)
        ev_io_start(ev, &elder->news);
}

void elders_watch(struct elders *elders, struct ev_loop *ev)
{
    elders->ev = ev;
    for (struct list *link = elders->list.next; link != &elders->list;
         link = link->next)
        watch(elder_of(link));
}

void elders_take(struct elders *elders, void (*take)(void *arg, int fd),
                 void *arg)
{
    struct list *link = elders->list.next;

    elders->take = take;
    elders->arg = arg;
    while (link != &elders->list) {
        struct elder *elder = elder_of(link);

        link = link->next;
        if (elder->state != ELDER_ENDED) {
            ev_io_start(elders->ev, &elder->news);
            continue;
        }
        hear(elder);
        elder_del(elder);
    }
}

void elders_unwatch(struct elders *elders)
{
    for (struct list *link = elders->list.next; link != &elders->list;
         link = link->next)
        unwatch(elder_of(link));
    elders->ev = NULL;
    elders->take = NULL;
}

/* --- what they are told ----------------------------------------------------
 */

void elders_drain(struct elders *elders, const char *reason, bool hand_over)
{
    struct link_message message = { .kind = LINK_DRAIN, .value = hand_over };

    snprintf(message.text, sizeof(message.text), "%s", reason);
    for (struct list *link = elders->list.next; link != &elders->list;
         link = link->next) {
        struct elder *elder = elder_of(link);

        if (elder->state != ELDER_SERVES)
            continue;
        link_send(elder->fd, &message, -1);
        elder->state = ELDER_DRAINS;
    }
}

void elders_tell(struct elders *elders, enum link_kind kind)
{
    for (struct list *link = elders->list.next; link != &elders->list;
         link = link->next)
        link_try(elder_of(link)->fd, kind);
}

static void pass_log(struct elders *elders, enum link_log log,
                     const char *target, int fd)
{
    struct link_message message = { .kind = LINK_REOPEN,
                                    .value = (int32_t)log };

    snprintf(message.text, sizeof(message.text), "%s", target);
    for (struct list *link = elders->list.next; link != &elders->list;
         link = link->next)
        link_send(elder_of(link)->fd, &message, fd);
}

void elders_pass_logs(struct elders *elders, const char *errors,
                      const char *access, const struct access_log *access_log)
{
    pass_log(elders, LINK_LOG_ERRORS, errors, log_fd());
    if (access_log != NULL)
        pass_log(elders, LINK_LOG_ACCESS, access, access_log_fd(access_log));
}

bool elders_serve(const struct elders *elders)
{
    for (struct list *link = elders->list.next; link != &elders->list;
         link = link->next)
        if (elder_of(link)->state == ELDER_SERVES)
            return true;
    return false;
}

bool elders_are_gone(const struct elders *elders)
{
    return list_is_empty(&elders->list);
}

/* --- a new one -------------------------------------------------------------
 */

/* In the elder: until the parent has become another program, which ends the
 * pipe, or could not, which it says. */
static void wait_for_parent(int pipe)
{
    char word;
    ssize_t n;

    do
        n = read(pipe, &word, 1);
    while (n == -1 && errno == EINTR);
    if (n != 0)
        _exit(0);
    close(pipe);
}

pid_t elders_fork(struct elders *elders, unsigned generation, unsigned slot,
                  int *link)
{
    int links[2] = { -1, -1 }, pipes[2] = { -1, -1 }, saved;
    struct elder *elder = NULL;
    pid_t pid;

    if (link_pair(links) == -1 || pipe2(pipes, O_CLOEXEC) == -1)
        goto fail;
    elder = elder_new(elders, 0, links[0], generation, ELDER_SERVES);
    if (elder == NULL)
        goto fail;
    pid = fork();
    if (pid == -1)
        goto fail;
    if (pid == 0) {
        close(pipes[1]);
        wait_for_parent(pipes[0]);
        elders_free(elders); /* with the parent's end of the link */
        *link = links[1];
        return 0;
    }
    close(links[1]);
    close(pipes[0]);
    elder->pid = pid;
    elder->slot = slot;
    elders->fork_pipe = pipes[1];
    if (elders->ev != NULL)
        watch(elder);
    return pid;

fail:
    saved = errno;
    if (elder != NULL) {
        list_remove(&elder->link);
        free(elder);
    }
    for (int i = 0; i < 2; i++) {
        if (links[i] != -1)
            close(links[i]);
        if (pipes[i] != -1)
            close(pipes[i]);
    }
    errno = saved;
    return -1;
}

void elders_take_back(struct elders *elders)
{
    struct elder *elder = elder_of(elders->list.prev);
    ssize_t n = write(elders->fork_pipe, "", 1);

    (void)n;
    close(elders->fork_pipe);
    elders->fork_pipe = -1;
    while (waitpid(elder->pid, NULL, 0) == -1 && errno == EINTR)
        ;
    elder_del(elder);
}

void elders_free(struct elders *elders)
{
    while (!list_is_empty(&elders->list))
        elder_del(elder_of(elders->list.next));
}
