/* crew_worker.c -- see crew.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/crew.h"

#include "base/log.h"
#include "proc/link.h"
#include "proc/notify.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { TRIES_MAX = 10 }; /* of a service no worker of which was ever ready */
static const double first_delay = 0.1, last_delay = 5; /* s before a respawn */
static const double calm = 1; /* s that a worker lives, and all is well */
static const double kill_margin = 2; /* s after --grace */

static void on_link(struct ev_loop *ev, struct ev_io *watcher, int events);
static bool start_worker(struct supervisor *supervisor, struct crew *crew,
                         unsigned id, struct crew_worker *replaces);

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

static void on_kill(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    struct crew_worker *worker = watcher->data;

    (void)ev;
    (void)events;
    log_write(LOG_LEVEL_ERROR, "worker %u (%d) does not end: it is killed",
              worker->id, (int)worker->pid);
    worker->was_stuck = true;
    if (worker->pid > 0)
        kill(worker->pid, SIGKILL);
}

void crew_worker_drain(struct crew_worker *worker, const char *reason)
{
    struct supervisor *supervisor = worker->supervisor;

    if (worker->state == WORKER_DRAINING)
        return;
    worker->state = WORKER_DRAINING;
    if (reason != worker->reason)
        snprintf(worker->reason, sizeof(worker->reason), "%.15s", reason);
    link_tell(worker->fd, LINK_DRAIN, reason);
    ev_timer_set(&worker->killer,
                 supervisor->setup->options->grace + kill_margin, 0);
    ev_timer_start(supervisor->ev, &worker->killer);
}

/* The serving worker with the fewest connections, of the newest generation. */
static struct crew_worker *find_taker(struct supervisor *supervisor)
{
    struct crew_worker *best = NULL;

    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);

        if (worker->state == WORKER_SERVING &&
            (best == NULL || worker->crew->number > best->crew->number ||
             (worker->crew == best->crew &&
              worker->slot->conns < best->slot->conns)))
            best = worker;
    }
    return best;
}

static void pass_on(struct supervisor *supervisor, int fd)
{
    const struct link_message message = { .kind = LINK_CONN };
    struct crew_worker *taker = find_taker(supervisor);

    if (taker != NULL && link_send(taker->fd, &message, fd) == 0)
        taker->slot->conns++; /* until it counts itself */
    else
        log_write(LOG_LEVEL_WARN, "no worker takes over a kept connection");
    close(fd);
}

/* All workers of a generation that rises are ready: the old ones may go. */
static void on_ready(struct crew_worker *worker)
{
    struct supervisor *supervisor = worker->supervisor;
    struct crew *crew = worker->crew;
    unsigned ready = 0;

    worker->state = WORKER_SERVING;
    if (worker->pid == 0) /* the template has not told yet */
        worker->pid = (pid_t)worker->slot->pid;
    supervisor->was_ready = true;
    log_write(LOG_LEVEL_INFO, "worker %u (%d) is ready", worker->id,
              (int)worker->pid);
    if (worker->replaces != NULL)
        crew_worker_drain(worker->replaces, worker->replaces->reason);
    worker->replaces = NULL;
    if (crew->state != CREW_RISING)
        return;
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        const struct crew_worker *other =
            list_entry(link, struct crew_worker, link);

        if (other->crew == crew && other->state == WORKER_SERVING)
            ready++;
    }
    if (ready < supervisor->target)
        return;
    crew->state = CREW_CURRENT;
    if (supervisor->current != NULL)
        supervisor->setup->board->reloads++;
    supervisor->current = crew;
    supervisor->setup->board->generation = crew->number;
    log_write(LOG_LEVEL_NOTICE, "generation %u serves with %u workers",
              crew->number, ready);
    notify_ready(supervisor->setup->notify, "serving");
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *other = list_entry(link, struct crew_worker, link);

        if (other->crew->number < crew->number)
            crew_worker_drain(other, crew->old_reason);
    }
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        struct crew *other = list_entry(link, struct crew, link);

        if (other->number < crew->number)
            other->state = CREW_FALLING;
    }
    if (supervisor->reload_again) {
        supervisor->reload_again = false;
        crew_start(supervisor, NULL, "reload");
    }
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
    if (worker->fd != -1)
        close(worker->fd);
    board_release(supervisor->setup->board, worker->slot);
    list_remove(&worker->link);
    free(worker);
}

static void respawn_later(struct supervisor *supervisor, bool at_once)
{
    if (supervisor->stopping || ev_is_active(&supervisor->respawn))
        return;
    if (at_once)
        supervisor->delay = 0;
    ev_timer_set(&supervisor->respawn, supervisor->delay, 0);
    ev_timer_start(supervisor->ev, &supervisor->respawn);
    supervisor->delay = supervisor->delay < first_delay ? first_delay
                        : supervisor->delay * 2 > last_delay
                            ? last_delay
                            : supervisor->delay * 2;
}

static void log_death(const struct crew_worker *worker, int status)
{
    if (WIFSIGNALED(status))
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

    if (worker->was_stuck)
        end = BOARD_END_STUCK;
    else if (WIFSIGNALED(status))
        end = BOARD_END_KILLED;
    else if (WEXITSTATUS(status) != 0 || worker->state != WORKER_DRAINING)
        end = BOARD_END_FAILED;
    else
        for (int i = 0; i < BOARD_ENDS; i++)
            if (strcmp(worker->reason, board_end_names[i]) == 0)
                end = (enum board_end)i;
    worker->supervisor->setup->board->ends[end]++;
}

void crew_worker_gone(struct crew_worker *worker, int status)
{
    struct supervisor *supervisor = worker->supervisor;
    struct crew *crew = worker->crew;
    bool was_ready = worker->state != WORKER_STARTING;
    bool was_told = worker->state == WORKER_DRAINING;
    bool was_long = ev_now(supervisor->ev) - worker->started >= calm;
    bool is_sound = WIFEXITED(status) && WEXITSTATUS(status) == 0;

    on_link(supervisor->ev, &worker->watcher, 0); /* its last words */
    if (!was_told || !is_sound)
        log_death(worker, status);
    count_end(worker, status);
    forget_worker(worker);
    if (supervisor->stopping || was_told)
        return;
    if (!was_ready && crew->state == CREW_RISING &&
        supervisor->current != NULL) {
        log_write(LOG_LEVEL_ERROR,
                  "generation %u is not fit to serve: generation %u goes on",
                  crew->number, supervisor->current->number);
        notify_ready(supervisor->setup->notify, "the reload failed");
        supervisor->setup->board->failed_reloads++;
        crew_abandon(crew);
        return;
    }
    if (!supervisor->was_ready && ++supervisor->tries >= TRIES_MAX) {
        supervisor_stop(supervisor, "no worker was ever ready: giving up",
                        EX_SOFTWARE);
        return;
    }
    respawn_later(supervisor, was_ready && was_long);
}

/* A worker has done enough: another one takes its place, and only then it
 * goes. */
static void recycle(struct crew_worker *worker, const char *reason)
{
    struct supervisor *supervisor = worker->supervisor;

    if (worker->state != WORKER_SERVING || supervisor->stopping)
        return;
    snprintf(worker->reason, sizeof(worker->reason), "%.15s", reason);
    if (worker->crew->state == CREW_FALLING || worker->crew->fd == -1 ||
        !start_worker(supervisor, worker->crew, worker->id, worker))
        crew_worker_drain(worker, reason);
}

/* What a worker has sent before it ended is still read. */
static void on_link(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct crew_worker *worker = watcher->data;
    struct supervisor *supervisor = worker->supervisor;
    struct link_message message;
    int fd, got;

    (void)events;
    while ((got = link_receive(watcher->fd, &message, &fd)) == 1) {
        if (message.kind == LINK_READY && worker->state == WORKER_STARTING)
            on_ready(worker);
        else if (message.kind == LINK_HANDOVER && fd != -1)
            pass_on(supervisor, fd);
        else if (message.kind == LINK_RECYCLE)
            recycle(worker, message.text);
        else if (message.kind == LINK_WANT_SNAPSHOTS)
            supervisor->desk.ask(supervisor->desk.arg);
    }
    if (got == 0)
        ev_io_stop(ev, watcher); /* the news of its death comes, too */
}

/* Asks a template for a worker.  false: try again later. */
static bool start_worker(struct supervisor *supervisor, struct crew *crew,
                         unsigned id, struct crew_worker *replaces)
{
    struct link_message message = { .kind = LINK_SPAWN, .id = id };
    struct crew_worker *worker = calloc(1, sizeof(*worker));
    int fds[2] = { -1, -1 };

    if (worker == NULL)
        return false;
    worker->slot = board_take(supervisor->setup->board, id, crew->number);
    if (worker->slot == NULL || link_pair(fds) == -1)
        goto fail;
    message.slot = (uint32_t)(worker->slot - supervisor->setup->board->slots);
    if (link_send(crew->fd, &message, fds[1]) == -1)
        goto fail;
    close(fds[1]);
    worker->supervisor = supervisor;
    worker->crew = crew;
    worker->id = id;
    worker->fd = fds[0];
    worker->replaces = replaces;
    worker->started = ev_now(supervisor->ev);
    list_init(&worker->link);
    list_append(&supervisor->workers, &worker->link);
    ev_io_init(&worker->watcher, on_link, worker->fd, EV_READ);
    ev_timer_init(&worker->killer, on_kill, 0, 0);
    worker->watcher.data = worker->killer.data = worker;
    ev_io_start(supervisor->ev, &worker->watcher);
    return true;

fail:
    log_write(LOG_LEVEL_ERROR, "cannot start worker %u: %s", id,
              worker->slot == NULL ? "too many processes" : strerror(errno));
    if (worker->slot != NULL)
        board_release(supervisor->setup->board, worker->slot);
    if (fds[0] != -1) {
        close(fds[0]);
        close(fds[1]);
    }
    free(worker);
    return false;
}

void crew_fill(struct supervisor *supervisor)
{
    struct crew *crew =
        list_is_empty(&supervisor->crews)
            ? NULL
            : list_entry(supervisor->crews.prev, struct crew, link);
    bool is_there[BOARD_SLOTS + 1] = { false };

    if (crew != NULL && crew->state == CREW_LOADING)
        crew = supervisor->current;
    if (crew == NULL || crew->fd == -1 || supervisor->stopping)
        return;
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);

        if (worker->crew != crew || worker->state == WORKER_DRAINING)
            continue;
        if (worker->id > supervisor->target)
            crew_worker_drain(worker,
                              "reload"); /* its connections go to the others */
        else
            is_there[worker->id] = true;
    }
    for (unsigned id = 1; id <= supervisor->target; id++)
        if (!is_there[id] && !start_worker(supervisor, crew, id, NULL)) {
            respawn_later(supervisor, false);
            return;
        }
}
