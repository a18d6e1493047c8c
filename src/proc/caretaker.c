/* caretaker.c -- see caretaker.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/caretaker.h"

#include "base/log.h"
#include "proc/held.h"
#include "proc/reopen.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { SIGNALS = 8 };

struct caretaker {
    const struct caretaker_config *config;
    struct ev_loop *ev;
    struct upgrade upgrade;
    struct ev_signal signals[SIGNALS];
    struct ev_timer heartbeat;
    bool stopping;
};

static void on_stop(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct caretaker *caretaker = watcher->data;

    (void)ev;
    (void)events;
    if (!caretaker->stopping) {
        log_write(LOG_LEVEL_NOTICE, "SIG%s: stopping",
                  sigabbrev_np(watcher->signum));
        notify_stopping(caretaker->config->notify, "stopping");
        elders_drain(caretaker->config->elders, "stop", false);
    } else if (watcher->signum != SIGQUIT) {
        log_write(LOG_LEVEL_WARN, "SIG%s again: stopping at once",
                  sigabbrev_np(watcher->signum));
        elders_tell(caretaker->config->elders, LINK_STOP);
    }
    caretaker->stopping = true;
    upgrade_stop(&caretaker->upgrade);
}

static void on_again(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct caretaker *caretaker = watcher->data;

    (void)ev;
    (void)events;
    if (!caretaker->stopping)
        upgrade_ask(&caretaker->upgrade);
}

static void on_reopen(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    const struct caretaker_config *config =
        ((struct caretaker *)watcher->data)->config;

    (void)ev;
    (void)events;
    if (config->log == NULL)
        return;
    reopen_errors(config->log);
    if (config->access_log != NULL)
        reopen_access(config->access_log, config->access);
    elders_pass_logs(config->elders, config->log, config->access,
                     config->access_log);
}

static void on_count(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    (void)ev;
    (void)watcher;
    (void)events; /* there is one process */
}

static void on_heartbeat(struct ev_loop *ev, struct ev_timer *watcher,
                         int events)
{
    (void)ev;
    (void)events;
    notify_watchdog(watcher->data);
}

static void watch_signals(struct caretaker *caretaker)
{
    static const struct {
        int signo;
        void (*fn)(struct ev_loop *ev, struct ev_signal *watcher, int events);
    } table[SIGNALS] = {
        { SIGTERM, on_stop },  { SIGINT, on_stop },   { SIGQUIT, on_stop },
        { SIGHUP, on_again },  { SIGUSR2, on_again }, { SIGUSR1, on_reopen },
        { SIGTTIN, on_count }, { SIGTTOU, on_count },
    };

    for (int i = 0; i < SIGNALS; i++) {
        ev_signal_init(&caretaker->signals[i], table[i].fn, table[i].signo);
        caretaker->signals[i].data = caretaker;
        ev_signal_start(caretaker->ev, &caretaker->signals[i]);
    }
    held_end();
}

static void start_heartbeat(struct caretaker *caretaker)
{
    struct notify *notify = caretaker->config->notify;

    ev_timer_init(&caretaker->heartbeat, on_heartbeat, 0, notify->watchdog);
    caretaker->heartbeat.data = notify;
    if (notify->watchdog > 0)
        ev_timer_start(caretaker->ev, &caretaker->heartbeat);
}

static void close_connection(void *arg, int fd)
{
    (void)arg; /* an elder that ends gives its connections to nobody */
    close(fd);
}

static void wait_for_elders(struct caretaker *caretaker)
{
    const struct caretaker_config *config = caretaker->config;

    while (!elders_are_gone(config->elders)) {
        ev_run(caretaker->ev, EVRUN_ONCE);
        if (!caretaker->stopping && !elders_serve(config->elders))
            return;
        if (upgrade_step(&caretaker->upgrade, true))
            upgrade_go(&caretaker->upgrade);
    }
}

int caretaker_run(const struct caretaker_config *config, int failed)
{
    struct caretaker caretaker = { .config = config,
                                   .ev = ev_loop_new(EVFLAG_NOENV) };
    struct upgrade_config upgrade = {
        .ev = caretaker.ev,
        .origin = config->origin,
        .notify = config->notify,
        .load_timeout = config->load_timeout,
        .describe = config->describe,
        .arg = config->arg,
    };

    if (caretaker.ev == NULL)
        return failed;
    upgrade_init(&caretaker.upgrade, &upgrade);
    upgrade_fail(&caretaker.upgrade, "the processes of before serve on");
    elders_watch(config->elders, caretaker.ev);
    elders_take(config->elders, close_connection, NULL);
    start_heartbeat(&caretaker);
    watch_signals(&caretaker);
    wait_for_elders(&caretaker);
    if (!caretaker.stopping) {
        held_block();
        upgrade_go(&caretaker.upgrade); /* what serves now is nothing */
    }
    upgrade_stop(&caretaker.upgrade);
    elders_unwatch(config->elders);
    ev_loop_destroy(caretaker.ev);
    return caretaker.stopping ? EX_OK : failed;
}
