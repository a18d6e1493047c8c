/* crew_worker.c -- see crew.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/crew.h"

#include "base/log.h"
#include "proc/link.h"
#include "proc/notify.h"
#include "proc/watched.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { TRIES_MAX = 10 }; /* of a service no worker of which was ever ready */
static const double calm = 1; /* s that a worker serves, and all is well */

struct crew_worker *crew_worker_of_slot(struct supervisor *supervisor,
                                        uint32_t slot)
{
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);

        if ((uint32_t)(worker->slot - supervisor->setup->board->slots) == slot)
            return worker;
    }
    return NULL;
}

/* --- ending one ----------------------------------------------------------- */

/* The process id came over a link, from code that may serve as another user:
 * nobody else's process is killed for it. */
static bool is_ours(const struct crew_worker *worker)
{
    pid_t parent;
    char state;

    return crew_process_look(worker->pid, &state, &parent) &&
           (parent == getpid() ||
            (worker->crew->pid > 0 && parent == worker->crew->pid));
}

void crew_worker_kill(struct crew_worker *worker, const char *why)
{
    if (worker->pid <= 0 || worker->is_killed || worker->link_has_ended ||
        !is_ours(worker))
        return;
    worker->is_killed = true;
    log_write(LOG_LEVEL_ERROR, "worker %u (%d) %s: it is killed", worker->id,
              (int)worker->pid, why);
    kill(worker->pid, SIGKILL);
}

static void on_kill(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    (void)ev;
    (void)events;
    crew_worker_kill(watcher->data, "does not end");
}

/* When the service stops there is nobody left to hand connections over to. */
void crew_worker_drain(struct crew_worker *worker, const char *reason)
{
    struct supervisor *supervisor = worker->supervisor;
    struct link_message message = { .kind = LINK_DRAIN,
                                    .value = supervisor->stopping ? 0 : 1 };

    if (worker->state == WORKER_DRAINING)
        return;
    worker->state = WORKER_DRAINING;
    snprintf(worker->reason, sizeof(worker->reason), "%.15s", reason);
    crew_conns_take_back(worker);
    snprintf(message.text, sizeof(message.text), "%s", reason);
    post_send(&worker->post, &message, -1); /* or it is killed below */
    ev_timer_set(&worker->killer, worker->crew->grace + crew_kill_margin, 0);
    ev_timer_start(supervisor->ev, &worker->killer);
}

static void on_link(struct ev_loop *ev, struct ev_io *watcher, int events);

/* One that drains may take as long as it could have before. */
void crew_worker_watch(struct crew_worker *worker)
{
    struct supervisor *supervisor = worker->supervisor;

    post_init(&worker->post, supervisor->ev, worker->fd);
    ev_io_init(&worker->watcher, on_link, worker->fd, EV_READ);
    ev_timer_init(&worker->killer, on_kill,
                  worker->crew->grace + crew_kill_margin, 0);
    worker->watcher.data = worker->killer.data = worker;
    ev_io_start(supervisor->ev, &worker->watcher);
    if (worker->state == WORKER_DRAINING)
        ev_timer_start(supervisor->ev, &worker->killer);
}

static void forget_worker(struct crew_worker *worker)
{
    struct supervisor *supervisor = worker->supervisor;

    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *other = list_entry(link, struct crew_worker, link);

        if (other->replaces == worker)
            other->replaces = NULL;
    }
    ev_io_stop(supervisor->ev, &worker->watcher);
    ev_timer_stop(supervisor->ev, &worker->killer);
    post_free(&worker->post);
    close(worker->fd);
    board_release(supervisor->setup->board, worker->slot);
    list_remove(&worker->link);
    free(worker);
}

static void log_death(const struct crew_worker *worker, int status)
{
    if (worker->pid == 0 && worker->supervisor->stopping)
        return; /* it was never there */
    if (status == CREW_STATUS_UNKNOWN)
        log_write(LOG_LEVEL_ERROR, "worker %u (%d) has gone", worker->id,
                  (int)worker->pid);
    else if (WIFSIGNALED(status))
        log_write(LOG_LEVEL_ERROR, "worker %u (%d) was killed by SIG%s",
                  worker->id, (int)worker->pid, sigabbrev_np(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        log_write(LOG_LEVEL_ERROR, "worker %u (%d) ended with %d", worker->id,
                  (int)worker->pid, WEXITSTATUS(status));
    else
        log_write(LOG_LEVEL_NOTICE, "worker %u (%d) ended", worker->id,
                  (int)worker->pid);
}

/* For the status page. */
static void count_end(const struct crew_worker *worker, int status)
{
    enum board_end end = BOARD_END_STOP;

    if (worker->is_killed)
        end = BOARD_END_STUCK;
    else if (status == CREW_STATUS_UNKNOWN || WIFSIGNALED(status))
        end = BOARD_END_KILLED;
    else if (WEXITSTATUS(status) != 0 || worker->state != WORKER_DRAINING)
        end = BOARD_END_FAILED;
    else
        for (int i = 0; i < BOARD_ENDS; i++)
            if (strcmp(worker->reason, board_end_names[i]) == 0)
                end = (enum board_end)i;
    worker->supervisor->setup->board->ends[end]++;
}

/* No worker was ever ready.  on_worker that fails in each of them will fail in
 * the next, too; what else goes wrong may have been bad luck.  Returns whether
 * the service ends. */
static bool give_up(struct supervisor *supervisor, int status)
{
    unsigned enough =
        supervisor->target < TRIES_MAX ? supervisor->target : TRIES_MAX;

    supervisor->tries++;
    if (status != CREW_STATUS_UNKNOWN && WIFEXITED(status) &&
        WEXITSTATUS(status) == EX_CONFIG)
        supervisor->hook_failures++;
    if (supervisor->hook_failures == supervisor->tries &&
        supervisor->tries >= enough)
        supervisor_stop(supervisor, "on_worker failed in every worker",
                        EX_CONFIG);
    else if (supervisor->tries >= TRIES_MAX)
        supervisor_stop(supervisor, "no worker was ever ready: giving up",
                        EX_SOFTWARE);
    return supervisor->stopping;
}

/* What it had said is heard first: it may have been ready, and connections
 * come over the link. */
void crew_worker_gone(struct crew_worker *worker, int status)
{
    struct supervisor *supervisor = worker->supervisor;
    struct crew *crew = worker->crew;
    double age = ev_now(supervisor->ev) - worker->started;
    bool was_ready, was_told, was_needed;

    worker->link_has_ended = true; /* nothing is given to it any more */
    on_link(supervisor->ev, &worker->watcher, 0);
    was_ready = worker->state != WORKER_STARTING;
    was_told = worker->state == WORKER_DRAINING;
    was_needed = worker->replaces == NULL;
    if (!was_told || status == CREW_STATUS_UNKNOWN || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 0)
        log_death(worker, status);
    count_end(worker, status);
    crew_conns_take_back(worker);
    forget_worker(worker);
    if (supervisor->stopping || was_told)
        return;
    if (!was_ready && was_needed && crew->state == CREW_RISING &&
        supervisor->current != NULL) {
        log_write(LOG_LEVEL_ERROR,
                  "generation %u is not fit to serve: generation %u goes on",
                  crew->number, supervisor->current->number);
        notify_ready(supervisor->setup->notify, "the reload failed");
        supervisor->setup->board->failed_reloads++;
        crews_break(supervisor, "on_worker failed: the log tells why");
        crew_abandon(crew);
        return;
    }
    if (supervisor->was_ready || !give_up(supervisor, status))
        crew_fill_later(supervisor, was_ready && age >= calm);
}

/* --- what it says --------------------------------------------------------- */

static void on_ready(struct crew_worker *worker, pid_t pid)
{
    struct supervisor *supervisor = worker->supervisor;

    worker->state = WORKER_SERVING;
    if (worker->pid == 0) /* its template has not told, or is gone */
        worker->pid = pid;
    supervisor->was_ready = true;
    log_write(LOG_LEVEL_INFO, "worker %u (%d) is ready", worker->id,
              (int)worker->pid);
    if (worker->replaces != NULL)
        crew_worker_drain(worker->replaces, worker->replaces->wish);
    worker->replaces = NULL;
    if (supervisor->broken[0] != '\0')
        watched_break_by_post(supervisor->setup->watch, &worker->post,
                              supervisor->broken);
    crew_conns_settle(supervisor);
    crew_fill(supervisor); /* the next that wishes to be replaced */
}

/* It has done enough: another one takes its place, and only then it goes. */
static void on_wish(struct crew_worker *worker, const char *reason)
{
    if (worker->state != WORKER_SERVING || worker->wish[0] != '\0')
        return;
    snprintf(worker->wish, sizeof(worker->wish), "%.15s", reason);
    log_write(LOG_LEVEL_INFO, "worker %u (%d) is to be replaced: %s",
              worker->id, (int)worker->pid, worker->wish);
    crew_fill(worker->supervisor);
}

static void hear(struct crew_worker *worker, const struct link_message *message,
                 int fd)
{
    switch (message->kind) {
    case LINK_READY:
        if (worker->state == WORKER_STARTING)
            on_ready(worker, message->value);
        break;
    case LINK_RECYCLE:
        on_wish(worker, message->text);
        break;
    case LINK_WANT_SNAPSHOTS:
        worker->supervisor->desk.ask(worker->supervisor->desk.arg);
        break;
    case LINK_PONG:
        if (worker->pid == 0 && message->value > 0)
            worker->pid = message->value;
        worker->is_asked = false;
        worker->silent = worker->unasked = 0;
        break;
    case LINK_FILE:
        if (worker->supervisor->setup->watch != NULL)
            watched_take(worker->supervisor->setup->watch, message);
        break;
    case LINK_HANDOVER:
        if (fd != -1)
            crew_conn_pass(worker->supervisor, fd);
        else
            log_write(LOG_LEVEL_WARN, "a kept connection was lost: too many "
                                      "open files");
        return;
    default:
        break;
    }
    if (fd != -1)
        close(fd);
}

/* Its link has ended: somebody will tell of its death.  That is its template;
 * or SIGCHLD, when that is gone; or nobody, when the template had reaped it and
 * could not tell any more. */
static bool is_unheard_of(const struct crew_worker *worker, int *status)
{
    *status = CREW_STATUS_UNKNOWN;
    if (!worker->link_has_ended || worker->crew->pid != 0)
        return false;
    return worker->pid == 0 || waitpid(worker->pid, status, WNOHANG) != 0;
}

void crews_find_dead(struct supervisor *supervisor)
{
    struct list *link = supervisor->workers.next;

    while (link != &supervisor->workers) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);
        int status;

        link = link->next;
        if (is_unheard_of(worker, &status)) {
            crew_worker_gone(worker, status);
            link = supervisor->workers.next; /* that may have changed it */
        }
    }
}

static void on_link(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct crew_worker *worker = watcher->data;
    struct supervisor *supervisor = worker->supervisor;
    struct link_message message;
    int fd, got;

    while ((got = link_receive(watcher->fd, &message, &fd)) == 1)
        hear(worker, &message, fd);
    if (got != 0 || events == 0)
        return;
    ev_io_stop(ev, watcher);
    worker->link_has_ended = true;
    crews_find_dead(supervisor); /* may free it */
    crews_sweep(supervisor);
}

/* --- starting one --------------------------------------------------------- */

static void init_worker(struct crew_worker *worker, struct crew *crew,
                        unsigned id, int link)
{
    struct supervisor *supervisor = crew->supervisor;

    worker->supervisor = supervisor;
    worker->crew = crew;
    worker->id = id;
    worker->fd = link;
    worker->started = ev_now(supervisor->ev);
    list_init(&worker->link);
    list_append(&supervisor->workers, &worker->link);
    crew_worker_watch(worker);
}

bool crew_worker_start(struct crew *crew, unsigned id,
                       struct crew_worker *replaces)
{
    struct supervisor *supervisor = crew->supervisor;
    struct board *board = supervisor->setup->board;
    struct link_message message = { .kind = LINK_SPAWN,
                                    .id = id,
                                    .value = (int32_t)supervisor->target };
    struct board_slot *slot = NULL;
    struct crew_worker *worker = NULL;
    const char *why = NULL;
    int fds[2] = { -1, -1 };

    if (crew->fd == -1)
        return false; /* its template has gone */
    slot = board_take(board, id, crew->number);
    if (slot == NULL) {
        why = "too many processes";
        errno = EAGAIN;
        goto fail;
    }
    message.slot = (uint32_t)(slot - board->slots);
    worker = calloc(1, sizeof(*worker));
    if (worker == NULL || link_pair(fds) == -1 ||
        post_send(&crew->post, &message, fds[1]) == -1)
        goto fail;
    close(fds[1]);
    worker->slot = slot;
    worker->replaces = replaces;
    init_worker(worker, crew, id, fds[0]);
    return true;

fail:
    if (errno != EPIPE && errno != ECONNRESET) /* its end will be told of */
        log_write(LOG_LEVEL_ERROR, "cannot start worker %u: %s", id,
                  why != NULL ? why : strerror(errno));
    if (slot != NULL)
        board_release(board, slot);
    if (fds[0] != -1) {
        close(fds[0]);
        close(fds[1]);
    }
    free(worker);
    return false;
}
