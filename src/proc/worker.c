/* worker.c -- see worker.h for the contract.
 *
 *     serving -- TERM, INT, QUIT --> draining -- all ended --> stopped
 *                                       | grace is over: tasks are cancelled
 *                                       | a second TERM or INT (from a
 *                                       | web server that spawned us: INT)
 *                                       `--> stopped at once
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/worker.h"

#include "base/log.h"
#include "fcgi/session.h"
#include "io/accept.h"
#include "io/conn.h"
#include "io/loop_ev.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>

/* What is given to cancelled tasks to close what they have open. */
static const double last_seconds = 1;

enum { SIGNALS = 8 };

struct worker {
    const struct options *options;
    struct script *script;
    struct listen_set *listening;
    double grace;
    bool is_spawned;
    struct loop *loop;
    struct service service;
    struct conns *conns;
    struct acceptors *acceptors;
    struct ev_signal signals[SIGNALS];
    struct ev_timer patience;
    bool draining;  /* accepts no more */
    bool retired;   /* the worker's own tasks were told to end */
    bool cancelled; /* grace is over */
    bool stopped;   /* ends at once */
};

static void drain(struct worker *worker)
{
    worker->draining = true;
    acceptors_stop(worker->acceptors);
    listen_close(worker->listening);
    conns_drain(worker->conns);
    ev_timer_set(&worker->patience, worker->grace, 0);
    ev_timer_start(worker->loop->ev, &worker->patience);
}

static void on_stop(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct worker *worker = watcher->data;

    (void)ev;
    (void)events;
    if (!worker->draining) {
        log_write(LOG_LEVEL_NOTICE,
                  "SIG%s: stopping, %u requests are under way",
                  sigabbrev_np(watcher->signum), worker->service.active);
        drain(worker);
    } else if (watcher->signum == SIGTERM && worker->is_spawned) {
        /* mod_fcgid repeats itself a second later, without haste. */
        log_write(LOG_LEVEL_NOTICE,
                  "SIGTERM again: %u requests are still under way",
                  worker->service.active);
    } else if (watcher->signum != SIGQUIT) {
        log_write(LOG_LEVEL_WARN,
                  "SIG%s again: stopping at once, %u requests are broken off",
                  sigabbrev_np(watcher->signum), worker->service.active);
        worker->stopped = true;
    }
}

static void on_reopen(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct worker *worker = watcher->data;

    (void)ev;
    (void)events;
    if (log_open(worker->options->log) == -1)
        log_write(LOG_LEVEL_ERROR, "cannot reopen the log %s: %s",
                  worker->options->log, strerror(errno));
}

static void on_unused(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    (void)ev;
    (void)events;
    log_write(LOG_LEVEL_WARN,
              "SIG%s does nothing in this version: restart instead",
              sigabbrev_np(watcher->signum));
}

static void on_patience(struct ev_loop *ev, struct ev_timer *watcher,
                        int events)
{
    struct worker *worker = watcher->data;

    (void)events;
    if (worker->cancelled) {
        worker->stopped = true;
        return;
    }
    log_write(LOG_LEVEL_WARN, "--grace is over: %u requests are cancelled",
              worker->service.active);
    worker->cancelled = true;
    script_cancel_all(worker->script, "stop");
    ev_timer_set(watcher, last_seconds, 0);
    ev_timer_start(ev, watcher);
}

static void watch_signals(struct worker *worker)
{
    sigset_t heard;

    static const struct {
        int signo;
        void (*fn)(struct ev_loop *ev, struct ev_signal *watcher, int events);
    } table[SIGNALS] = {
        { SIGTERM, on_stop },   { SIGINT, on_stop },    { SIGQUIT, on_stop },
        { SIGUSR1, on_reopen }, { SIGHUP, on_unused },  { SIGUSR2, on_unused },
        { SIGTTIN, on_unused }, { SIGTTOU, on_unused },
    };

    sigemptyset(&heard);
    for (int i = 0; i < SIGNALS; i++) {
        ev_signal_init(&worker->signals[i], table[i].fn, table[i].signo);
        worker->signals[i].data = worker;
        ev_signal_start(worker->loop->ev, &worker->signals[i]);
        sigaddset(&heard, table[i].signo);
    }
    sigprocmask(SIG_UNBLOCK, &heard, NULL); /* main held the stop signals */
}

/* A connection needs a descriptor, and may need one for its body. */
static void check_descriptors(const struct options *options)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur < options->max_conns + 32ul)
        log_write(LOG_LEVEL_WARN,
                  "the limit of open files (%lu) is too low for --max-conns=%u",
                  (unsigned long)limit.rlim_cur, options->max_conns);
}

static void set_limits(const struct options *options, struct limits *limits)
{
    *limits = limits_default();
    limits->max_params = options->max_params;
    limits->max_body = options->max_body;
    limits->max_spool = options->max_spool;
    limits->max_conns = options->max_conns;
    limits->max_reqs = options->max_reqs;
}

static int start(struct worker *worker, const struct peers *peers)
{
    const struct options *options = worker->options;
    struct script_limits limits = {
        .timeout = options->timeout,
        .block_limit = options->block_limit,
        .memory_limit = options->memory_limit,
        .stderr_to_log = options->stderr_to_log,
    };

    if (script_attach(worker->script, worker->loop, &worker->service,
                      &limits) == -1) {
        log_write(LOG_LEVEL_ERROR, "cannot make a timer: %s", strerror(errno));
        return EX_OSERR;
    }
    worker->conns = conns_new(worker->loop, &worker->service);
    if (worker->conns != NULL)
        worker->acceptors =
            acceptors_new(worker->loop, worker->conns, worker->listening, peers,
                          fcgi_session_open);
    if (worker->acceptors == NULL) {
        log_write(LOG_LEVEL_ERROR, "not enough memory");
        return EX_OSERR;
    }
    return EX_OK;
}

/* Requests and what is left of them come first; then the tasks of the worker,
 * which serve them, end. */
static bool is_done(struct worker *worker)
{
    unsigned own = script_worker_tasks(worker->script);

    if (!worker->draining || conns_count(worker->conns) > 0 ||
        script_tasks(worker->script) > own)
        return false;
    if (own > 0 && !worker->retired) {
        worker->retired = true;
        script_cancel_all(worker->script, "stop");
    }
    return own == 0;
}

static void serve(struct worker *worker)
{
    for (size_t i = 0; i < worker->listening->count; i++)
        log_write(LOG_LEVEL_NOTICE, "listening on %s",
                  worker->listening->items[i].name);
    while (!worker->stopped) {
        loop_turn(worker->loop, true);
        if (is_done(worker))
            break;
    }
    log_write(LOG_LEVEL_NOTICE, "stopped");
}

int worker_run(const struct options *options, struct script *script,
               struct listen_set *listening, const struct peers *peers,
               double grace, bool is_spawned)
{
    struct worker worker = { .options = options,
                             .script = script,
                             .listening = listening,
                             .grace = grace,
                             .is_spawned = is_spawned };
    struct limits limits;
    int status;

    log_set_worker(1);
    check_descriptors(options);
    worker.loop = loop_new();
    if (worker.loop == NULL) {
        log_write(LOG_LEVEL_ERROR, "cannot make an event loop: %s",
                  strerror(errno));
        script_del(script);
        return EX_OSERR;
    }
    set_limits(options, &limits);
    service_init(&worker.service, &limits, loop_clock(worker.loop),
                 options->tmpdir, fcgi_stream_size());
    ev_timer_init(&worker.patience, on_patience, 0, 0);
    worker.patience.data = &worker;
    watch_signals(&worker);
    status = start(&worker, peers);
    if (status == EX_OK)
        serve(&worker);

    acceptors_del(worker.acceptors);
    conns_del(worker.conns);
    script_del(script);
    service_free(&worker.service);
    loop_del(worker.loop);
    return status;
}
