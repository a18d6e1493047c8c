/* supervisor.c -- see supervisor.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/supervisor.h"

#include "base/log.h"
#include "proc/crew.h"
#include "proc/held.h"
#include "proc/link.h"
#include "proc/notify.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>

enum { STUCK_LIMITS = 3 }; /* block limits after which a loop is stuck */
static const double kill_margin = 2; /* s that one told to stop at once has */

void supervisor_end(struct supervisor *supervisor, int exit_code)
{
    supervisor->exit_code = exit_code;
    supervisor->ended = true;
    ev_break(supervisor->ev, EVBREAK_ALL);
}

static void on_child(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct supervisor *supervisor = watcher->data;
    int status;
    pid_t pid;

    (void)ev;
    (void)events;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (struct list *link = supervisor->crews.next;
             link != &supervisor->crews; link = link->next) {
            struct crew *crew = list_entry(link, struct crew, link);

            if (crew->pid != pid)
                continue;
            crew_hear(supervisor->ev, &crew->watcher, 0);
            crew_template_gone(crew);
            break;
        }
        for (struct list *link = supervisor->workers.next;
             link != &supervisor->workers; link = link->next) {
            struct crew_worker *worker =
                list_entry(link, struct crew_worker, link);

            if (worker->pid != pid)
                continue;
            crew_worker_gone(worker, status);
            break;
        }
    }
    crews_sweep(supervisor);
}

void supervisor_stop(struct supervisor *supervisor, const char *why,
                     int exit_code)
{
    log_write(exit_code == EX_OK ? LOG_LEVEL_NOTICE : LOG_LEVEL_ERROR, "%s",
              why);
    supervisor->stopping = true;
    supervisor->exit_code = exit_code;
    notify_stopping(supervisor->setup->notify, why);
    listen_close(supervisor->setup->listening);
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        crew_worker_drain(list_entry(link, struct crew_worker, link), "stop");
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        struct crew *crew = list_entry(link, struct crew, link);

        if (crew->state == CREW_LOADING && crew->pid > 0)
            kill(crew->pid, SIGKILL);
        crew->state = CREW_FALLING;
    }
}

static void stop_at_once(struct supervisor *supervisor)
{
    log_write(LOG_LEVEL_WARN, "stopping at once");
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);

        link_tell(worker->fd, LINK_STOP, NULL);
        ev_timer_stop(supervisor->ev, &worker->killer);
        ev_timer_set(&worker->killer, kill_margin, 0);
        ev_timer_start(supervisor->ev, &worker->killer);
    }
}

static void on_stop(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct supervisor *supervisor = watcher->data;
    char line[64];

    (void)ev;
    (void)events;
    snprintf(line, sizeof(line), "SIG%s: stopping",
             sigabbrev_np(watcher->signum));
    if (!supervisor->stopping)
        supervisor_stop(supervisor, line, EX_OK);
    else if (watcher->signum != SIGQUIT)
        stop_at_once(supervisor);
    crews_sweep(supervisor);
}

static void on_reload(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct supervisor *supervisor = watcher->data;
    const struct crew *newest;

    (void)ev;
    (void)events;
    if (supervisor->stopping || list_is_empty(&supervisor->crews))
        return;
    log_write(LOG_LEVEL_NOTICE, "SIGHUP: the script is loaded again");
    notify_reloading(supervisor->setup->notify);
    newest = list_entry(supervisor->crews.prev, struct crew, link);
    if (newest->state == CREW_LOADING || newest->state == CREW_RISING)
        supervisor->reload_again = true;
    else
        crew_start(supervisor, NULL, "reload");
}

static void on_reopen(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct supervisor *supervisor = watcher->data;

    (void)ev;
    (void)events;
    if (log_open(supervisor->setup->options->log) == -1)
        log_write(LOG_LEVEL_ERROR, "cannot reopen the log %s: %s",
                  supervisor->setup->options->log, strerror(errno));
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        link_tell(list_entry(link, struct crew_worker, link)->fd, LINK_REOPEN,
                  NULL);
}

static void on_count(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct supervisor *supervisor = watcher->data;
    bool more = watcher->signum == SIGTTIN;

    (void)ev;
    (void)events;
    if (supervisor->stopping || (more && supervisor->target >= WORKERS_LIMIT) ||
        (!more && supervisor->target <= 1))
        return;
    supervisor->target += more ? 1u : -1u;
    log_write(LOG_LEVEL_NOTICE, "SIG%s: %u workers",
              sigabbrev_np(watcher->signum), supervisor->target);
    crew_fill(supervisor);
}

static void on_unused(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    (void)ev;
    (void)events;
    log_write(LOG_LEVEL_WARN,
              "SIG%s does nothing in this version: restart instead",
              sigabbrev_np(watcher->signum));
}

static void watch_signals(struct supervisor *supervisor)
{
    static const struct {
        int signo;
        void (*fn)(struct ev_loop *ev, struct ev_signal *watcher, int events);
    } table[SUPERVISOR_SIGNALS] = {
        { SIGTERM, on_stop },  { SIGINT, on_stop },    { SIGQUIT, on_stop },
        { SIGHUP, on_reload }, { SIGUSR1, on_reopen }, { SIGUSR2, on_unused },
        { SIGTTIN, on_count }, { SIGTTOU, on_count },
    };
    for (int i = 0; i < SUPERVISOR_SIGNALS; i++) {
        ev_signal_init(&supervisor->signals[i], table[i].fn, table[i].signo);
        supervisor->signals[i].data = supervisor;
        ev_signal_start(supervisor->ev, &supervisor->signals[i]);
    }
    ev_signal_init(&supervisor->child, on_child, SIGCHLD);
    supervisor->child.data = supervisor;
    ev_signal_start(supervisor->ev, &supervisor->child);
    held_end();
}

/* A loop that does not turn: Lua's own watchdog should have ended it. */
static void on_look(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    struct supervisor *supervisor = watcher->data;
    double limit = supervisor->setup->options->block_limit * STUCK_LIMITS;
    struct timespec now;
    uint64_t ms;

    (void)ev;
    (void)events;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);
        uint64_t since = worker->slot->busy_since;

        if (limit <= 0 || since == 0 || since > ms || worker->pid <= 0 ||
            (double)(ms - since) < limit * 1000)
            continue;
        log_write(LOG_LEVEL_ERROR,
                  "worker %u (%d) has not turned its loop for %.0f s: it is "
                  "killed",
                  worker->id, (int)worker->pid, (double)(ms - since) / 1000);
        worker->was_stuck = true;
        kill(worker->pid, SIGKILL);
    }
    notify_watchdog(supervisor->setup->notify);
    crews_find_dead(supervisor);
    crews_sweep(supervisor);
    if (supervisor->current != NULL && !ev_is_active(&supervisor->respawn))
        supervisor->delay = 0;
}

static void on_respawn(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    (void)ev;
    (void)events;
    crew_fill(watcher->data);
}

/* Who is busy reads of it later, or never: nobody waits for that. */
static void ask_for_snapshots(void *arg)
{
    const struct supervisor *supervisor = arg;

    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        link_try(list_entry(link, struct crew_worker, link)->fd, LINK_SNAPSHOT);
}

static void open_desk(struct supervisor *supervisor)
{
    const struct service_setup *setup = supervisor->setup;

    desk_open(&supervisor->desk, supervisor->ev, setup->board,
              setup->options->script, false, setup->listening,
              ask_for_snapshots, supervisor);
    desk_keep_history(&supervisor->desk, true);
}

int supervisor_run(struct service_setup *setup, struct script *script,
                   supervisor_prepare_fn *prepare, void *arg)
{
    struct supervisor supervisor = { .setup = setup,
                                     .prepare = prepare,
                                     .prepare_arg = arg,
                                     .target = setup->options->workers };

    list_init(&supervisor.crews);
    list_init(&supervisor.workers);
    supervisor.ev = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (supervisor.ev == NULL) {
        log_write(LOG_LEVEL_ERROR, "cannot make an event loop: %s",
                  strerror(errno));
        return EX_OSERR;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    ev_timer_init(&supervisor.respawn, on_respawn, 0, 0);
    ev_timer_init(&supervisor.look, on_look, 1, 1);
    supervisor.respawn.data = supervisor.look.data = &supervisor;
    ev_timer_start(supervisor.ev, &supervisor.look);
    open_desk(&supervisor);
    watch_signals(&supervisor);
    listen_log(setup->listening);
    crew_start(&supervisor, script, "stop");
    if (!supervisor.ended)
        ev_run(supervisor.ev, 0);
    desk_close(&supervisor.desk);
    ev_loop_destroy(supervisor.ev);
    log_write(LOG_LEVEL_NOTICE, "stopped");
    return supervisor.exit_code;
}
