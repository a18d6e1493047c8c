/* worker_signals.c -- see worker_state.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/worker_state.h"

#include "base/log.h"
#include "proc/held.h"
#include "proc/reopen.h"

#include <signal.h>
#include <string.h>

static void on_stop(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct worker *worker = watcher->data;

    (void)ev;
    (void)events;
    if (!worker->draining) {
        log_write(LOG_LEVEL_NOTICE,
                  "SIG%s: stopping, %u requests are under way",
                  sigabbrev_np(watcher->signum), worker->service.active);
        worker_drain(worker, "stop", true);
    } else if (!worker->was_told && worker->link.fd != -1) {
        /* It was told over its link as well. */
        log_write(LOG_LEVEL_NOTICE, "SIG%s: %u requests are still under way",
                  sigabbrev_np(watcher->signum), worker->service.active);
    } else if (watcher->signum == SIGTERM && worker->config->is_spawned) {
        /* mod_fcgid repeats itself a second later, without haste. */
        log_write(LOG_LEVEL_NOTICE,
                  "SIGTERM again: %u requests are still under way",
                  worker->service.active);
    } else if (watcher->signum != SIGQUIT) {
        log_write(LOG_LEVEL_WARN,
                  "SIG%s again: stopping at once, %u requests are broken off",
                  sigabbrev_np(watcher->signum), worker->service.active);
        worker->stopped = true;
        if (worker->elders != NULL)
            elders_tell(worker->elders, LINK_STOP);
    }
    worker->was_told = true;
}

/* A supervisor tells its workers when, and gives them the files; so does who
 * has taken the place of an elder. */
static void on_reopen(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    const struct worker *worker = watcher->data;
    const struct worker_config *config = worker->config;

    (void)ev;
    (void)events;
    if (worker->link.fd != -1)
        return;
    reopen_errors(worker->current->options->log);
    if (config->access_log != NULL) /* the next one's target is not used */
        reopen_access(config->access_log, config->options->access_log);
    if (worker->elders != NULL)
        elders_pass_logs(worker->elders, worker->current->options->log,
                         config->options->access_log, config->access_log);
}

static void on_reload(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct worker *worker = watcher->data;

    (void)ev;
    (void)events;
    if (!worker->draining && worker->config->argv != NULL &&
        worker->link.fd == -1)
        reload_ask(&worker->reload);
}

static void on_upgrade(struct ev_loop *ev, struct ev_signal *watcher,
                       int events)
{
    struct worker *worker = watcher->data;

    (void)ev;
    (void)events;
    if (worker->elders == NULL)
        log_write(LOG_LEVEL_WARN, "SIGUSR2 is for the main process");
    else if (!worker->draining)
        upgrade_ask(&worker->upgrade);
}

static void on_count(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    (void)ev;
    (void)events;
    log_write(LOG_LEVEL_NOTICE,
              "SIG%s is for a supervisor, which --workers starts: it changes "
              "the number of workers",
              sigabbrev_np(watcher->signum));
}

void worker_watch_signals(struct worker *worker)
{
    sigset_t heard;

    static const struct {
        int signo;
        void (*fn)(struct ev_loop *ev, struct ev_signal *watcher, int events);
    } table[WORKER_SIGNALS] = {
        { SIGTERM, on_stop },   { SIGINT, on_stop },   { SIGQUIT, on_stop },
        { SIGUSR1, on_reopen }, { SIGHUP, on_reload }, { SIGUSR2, on_upgrade },
        { SIGTTIN, on_count },  { SIGTTOU, on_count },
    };

    sigemptyset(&heard);
    for (int i = 0; i < WORKER_SIGNALS; i++) {
        ev_signal_init(&worker->signals[i], table[i].fn, table[i].signo);
        worker->signals[i].data = worker;
        ev_signal_start(worker->loop->ev, &worker->signals[i]);
        sigaddset(&heard, table[i].signo);
    }
    sigprocmask(SIG_UNBLOCK, &heard, NULL); /* whoever has blocked them */
    held_end();
}

void worker_hold_signals(struct worker *worker)
{
    if (!elders_serve(worker->elders))
        return;
    held_block();
    for (int i = 0; i < WORKER_SIGNALS; i++)
        ev_signal_stop(worker->loop->ev, &worker->signals[i]);
    held_begin();
    held_unblock();
}
