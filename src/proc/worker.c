/* worker.c -- see worker.h for the contract.
 *
 *     starting -- on_worker has ended --> serving
 *     serving -- TERM, INT, QUIT --> draining -- all ended --> stopped
 *                                       | grace is over: tasks are cancelled
 *                                       | a second TERM or INT (from a
 *                                       | web server that spawned us: INT)
 *                                       `--> stopped at once
 *
 * A worker of a supervisor is told to drain over its link, hands over its kept
 * connections there, and drains by itself when the link ends.
 *
 * HUP makes another generation the current one; those before it end beside it.
 *
 * USR2 makes a fork of the process its elder, which is like a worker of a
 * supervisor from then on; the process itself becomes another program.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/worker_state.h"

#include "base/log.h"
#include "fcgi/session.h"
#include "http/session.h"
#include "proc/sniff.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

/* What is given to cancelled tasks to close what they have open. */
static const double last_seconds = 1;

/* mod_fcgid kills what has not ended 8 s after SIGTERM; cancelled handlers
 * need one of them. */
static const double spawned_grace = 6;

/* From a timer of the loop: while something blocks the loop, systemd hears
 * nothing. */
static void on_heartbeat(struct ev_loop *ev, struct ev_timer *watcher,
                         int events)
{
    struct worker *worker = watcher->data;

    (void)ev;
    (void)events;
    notify_watchdog(worker->config->notify);
}

static void tell_ready(struct worker *worker)
{
    struct notify *notify = worker->config->notify;
    char status[128];

    snprintf(status, sizeof(status), "serving %s",
             worker->current->options->script);
    notify_ready(notify, status);
    if (notify->watchdog <= 0)
        return;
    notify_watchdog(notify);
    ev_timer_set(&worker->heartbeat, notify->watchdog, notify->watchdog);
    ev_timer_start(worker->loop->ev, &worker->heartbeat);
}

static void tell_stopping(struct worker *worker)
{
    char status[128];

    snprintf(status, sizeof(status), "stopping, %u requests are under way",
             worker->service.active);
    notify_stopping(worker->config->notify, status);
}

static double grace_of(const struct worker *worker)
{
    const struct options *options = worker->current->options;

    return worker->config->is_spawned &&
                   options_source(options, "grace") == OPTION_DEFAULT
               ? spawned_grace
               : options->grace;
}

static void cancel_all(struct worker *worker)
{
    for (struct list *link = worker->retired.next; link != &worker->retired;
         link = link->next)
        script_cancel_all(list_entry(link, struct generation, link)->script,
                          "stop");
    script_cancel_all(worker->current->script, "stop");
}

void worker_drain(struct worker *worker, const char *reason, bool can_hand_over)
{
    worker->draining = true;
    worker->reason = reason;
    tell_stopping(worker);
    worker->config->slot->accepts = false;
    worker->hands_over = worker->link.fd != -1 && can_hand_over;
    if (!worker->hands_over)
        conns_on_idle(worker->conns, NULL, NULL); /* nobody takes them */
    else
        conns_on_idle(worker->conns, worker_hand_over, worker);
    reload_stop(&worker->reload);
    if (worker->elders != NULL) {
        upgrade_stop(&worker->upgrade);
        elders_drain(worker->elders, "stop", false);
    }
    if (worker->acceptors != NULL)
        acceptors_stop(worker->acceptors);
    else
        cancel_all(worker); /* nothing will be served: on_worker may end */
    listen_close(worker->config->listening);
    conns_drain(worker->conns);
    ev_timer_set(&worker->patience, grace_of(worker), 0);
    ev_timer_start(worker->loop->ev, &worker->patience);
}

static void on_retry(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    (void)ev;
    (void)watcher;
    (void)events; /* the turn that it makes does the rest */
}

/* The end of a turn: its lines are written. */
static void flush_access_log(struct worker *worker)
{
    struct access_log *log = worker->config->access_log;
    double wait =
        log == NULL ? 0 : access_log_flush(log, *loop_clock(worker->loop));

    if (wait <= 0 || ev_is_active(&worker->retry))
        return;
    ev_timer_set(&worker->retry, wait, 0);
    ev_timer_start(worker->loop->ev, &worker->retry);
}

static void on_changed_file(void *arg, const char *path)
{
    struct worker *worker = arg;

    if (worker->draining)
        return;
    log_write(LOG_LEVEL_NOTICE, "%s has changed", path);
    reload_ask(&worker->reload);
}

static void each_script(void *arg,
                        void (*fn)(void *to, const struct script *script),
                        void *to)
{
    const struct worker *worker = arg;

    for (struct list *link = worker->retired.next; link != &worker->retired;
         link = link->next)
        fn(to, list_entry(link, struct generation, link)->script);
    fn(to, worker->current->script);
}

static unsigned count_conns(void *arg)
{
    const struct worker *worker = arg;

    return worker->conns != NULL ? conns_count(worker->conns) : 0;
}

static void open_monitor(struct worker *worker)
{
    const struct worker_config *config = worker->config;
    const struct monitor_config about = {
        .loop = worker->loop,
        .service = &worker->service,
        .board = config->board,
        .slot = config->slot,
        .listening = config->listening,
        .options = config->options,
        .link = config->place != NULL ? config->place->link : -1,
        .elders = config->elders,
        .each_script = each_script,
        .conns = count_conns,
        .arg = worker,
    };

    monitor_open(&worker->monitor, &about);
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
    cancel_all(worker);
    ev_timer_set(watcher, last_seconds, 0);
    ev_timer_start(ev, watcher);
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

/* What the generation that begins to serve says of it. */
static void apply_options(struct worker *worker, const struct options *before)
{
    const struct options *options = worker->current->options;

    generation_limits(options, &worker->service.limits);
    worker->service.tmpdir = options->tmpdir;
    monitor_apply(&worker->monitor, options);
    status_listener_apply(worker->status_listener, options);
    log_set_level((enum log_level)options->log_level);
    age_limit(&worker->age, options, worker->config->place != NULL);
    if (options_differ(before, options, "log") && log_open(options->log) == -1)
        log_write(LOG_LEVEL_ERROR, "cannot open the log %s: %s", options->log,
                  log_open_error());
}

static bool open_status_listener(struct worker *worker)
{
    const struct listen_set *listening = worker->config->status_listening;

    if (listening == NULL || listening->count == 0)
        return true;
    status_listener_log(listening);
    worker->status_listener = status_listener_new(worker->loop, listening,
                                                  &worker->monitor.desk.status,
                                                  worker->config->options);
    return worker->status_listener != NULL;
}

static int start(struct worker *worker)
{
    if (generation_start(worker->current, worker->loop, &worker->service) ==
        -1) {
        log_write(LOG_LEVEL_ERROR, "cannot start the script: %s",
                  strerror(errno));
        return EX_OSERR;
    }
    worker->conns = conns_new(worker->loop, &worker->service);
    if (worker->conns == NULL || !open_status_listener(worker)) {
        log_write(LOG_LEVEL_ERROR, "not enough memory");
        return EX_OSERR;
    }
    return EX_OK;
}

/* With --dev the first generation may be mended; a later one that fails leaves
 * the one before in its place. */
static bool waits_for_mending(const struct worker *worker)
{
    return worker->config->options->dev && worker->config->who.generation == 1;
}

/* on_worker has ended. */
static void begin_to_serve(struct worker *worker)
{
    const struct listen_set *listening = worker->config->listening;

    worker->current->state = GENERATION_SERVING;
    if (!worker->current->hook_went_well && waits_for_mending(worker)) {
        log_write(LOG_LEVEL_ERROR, "on_worker failed: waiting for a change");
        script_break(worker->current->script,
                     "on_worker failed: the log tells why");
    } else if (!worker->current->hook_went_well) {
        log_write(LOG_LEVEL_ERROR, "on_worker failed: nothing is served");
        worker->status = EX_CONFIG;
        worker->stopped = true;
        return;
    }
    script_serve(worker->current->script);
    worker->acceptors = acceptors_new(worker->loop, worker->conns, listening,
                                      worker->protocols);
    if (worker->acceptors == NULL) {
        log_write(LOG_LEVEL_ERROR, "not enough memory");
        worker->status = EX_OSERR;
        worker->stopped = true;
        return;
    }
    monitor_begin(&worker->monitor);
    if (worker->config->place != NULL)
        worker_take_place(worker);
    else
        listen_log(listening);
    tell_ready(worker);
    if (worker->elders != NULL)
        worker_relieve_elders(worker);
}

static void take_over(struct worker *worker, struct generation *next)
{
    struct generation *last = worker->current;

    script_serve(next->script);
    worker->current = next;
    worker->config->slot->generation = next->who.generation;
    worker->config->board->generation = next->who.generation;
    worker->config->board->reloads++;
    apply_options(worker, last->options);
    generation_retire(last, "reload", grace_of(worker));
    list_append(&worker->retired, &last->link);
}

static void step_retired(struct worker *worker)
{
    struct list *link = worker->retired.next;

    while (link != &worker->retired) {
        struct generation *generation =
            list_entry(link, struct generation, link);

        link = link->next;
        if (generation_step(generation)) {
            list_remove(&generation->link);
            generation_del(generation);
        }
    }
}

/* Requests and what is left of them come first; then on_exit; then the tasks of
 * the worker, which serve them, end. */
static bool is_done(struct worker *worker)
{
    struct generation *current = worker->current;

    if (!worker->draining || conns_count(worker->conns) > 0 ||
        (worker->elders != NULL && !elders_are_gone(worker->elders)))
        return false;
    if (current->state == GENERATION_STARTING)
        return current->hook_has_ended;
    if (current->state == GENERATION_SERVING)
        generation_retire(current, worker->reason, -1);
    return generation_step(current) && list_is_empty(&worker->retired);
}

/* What is done between two turns. */
static void step(struct worker *worker)
{
    struct generation *next;

    if (worker->current->state == GENERATION_STARTING &&
        worker->current->hook_has_ended && !worker->draining)
        begin_to_serve(worker);
    if (worker->reload.failures > 0) {
        worker->config->board->failed_reloads += worker->reload.failures;
        worker->reload.failures = 0;
    }
    if (worker->current->state == GENERATION_SERVING)
        worker_look_at_age(worker);
    while (worker->current->state == GENERATION_SERVING &&
           worker_may_reload(worker) &&
           (next = reload_step(&worker->reload, &worker->current->who)) != NULL)
        take_over(worker, next);
    if (!list_is_empty(&worker->retired)) /* the last one may be idle */
        step_retired(worker);
    worker_step_upgrade(worker);
}

static void serve(struct worker *worker)
{
    step(worker);
    while (!worker->stopped && !is_done(worker)) {
        loop_turn(worker->loop, true);
        flush_access_log(worker);
        step(worker);
    }
    if (worker->status == EX_OK)
        log_write(worker->link.fd == -1 ? LOG_LEVEL_NOTICE : LOG_LEVEL_INFO,
                  "stopped");
}

static void end(struct worker *worker)
{
    reload_stop(&worker->reload);
    if (worker->elders != NULL) {
        upgrade_stop(&worker->upgrade);
        elders_unwatch(worker->elders);
        worker_hold_signals(worker);
    }
    acceptors_del(worker->acceptors);
    conns_del(worker->conns);
    worker->conns = NULL;
    status_listener_del(worker->status_listener);
    monitor_close(&worker->monitor);
    while (!list_is_empty(&worker->retired))
        generation_del(
            list_entry(list_take(&worker->retired), struct generation, link));
    generation_del(worker->current);
    service_free(&worker->service);
}

/* Between two requests the first byte tells FastCGI and HTTP apart, so a
 * connection need not say what it is when it changes the process. */
static void set_protocols(struct worker *worker)
{
    const struct listen_set *listening = worker->config->listening;

    worker->protocols[PROTOCOL_FASTCGI] =
        (struct acceptor_protocol){ fcgi_session_open, worker->config->peers };
    /* Browsers are no web servers. */
    worker->protocols[PROTOCOL_HTTP] =
        (struct acceptor_protocol){ http_session_open, NULL };
    worker->open_kept = fcgi_session_open;
    for (size_t i = 0; i < listening->count; i++)
        if (listening->items[i].protocol == PROTOCOL_HTTP)
            worker->open_kept = sniff_open_kept;
}

int worker_run(const struct worker_config *config)
{
    struct worker worker = { .config = config, .status = EX_OK };
    const struct options *options = config->options;
    struct limits limits;

    log_set_worker(config->who.id);
    check_descriptors(options);
    list_init(&worker.retired);
    worker.loop = loop_new();
    worker.current = generation_new(options, config->script, &config->who);
    if (worker.loop == NULL || worker.current == NULL) {
        log_write(LOG_LEVEL_ERROR, "cannot make an event loop: %s",
                  strerror(errno));
        script_del(config->script);
        free(worker.current);
        loop_del(worker.loop);
        return EX_OSERR;
    }
    generation_limits(options, &limits);
    set_protocols(&worker);
    age_limit(&worker.age, options, config->place != NULL);
    service_init(&worker.service, &limits, loop_clock(worker.loop),
                 options->tmpdir, fcgi_stream_size());
    reload_init(&worker.reload, worker.loop, worker.loop->ev, &worker.service,
                config->argc, config->argv, options, config->notify);
    if (config->elders != NULL)
        worker_prepare_upgrades(&worker);
    worker.reload.watch = config->watch;
    if (config->watch != NULL)
        watch_start(config->watch, worker.loop->ev, on_changed_file, &worker);
    ev_timer_init(&worker.patience, on_patience, 0, 0);
    worker.patience.data = &worker;
    ev_timer_init(&worker.heartbeat, on_heartbeat, 0, 0);
    worker.heartbeat.data = &worker;
    ev_timer_init(&worker.retry, on_retry, 0, 0);
    if (config->access_log != NULL)
        access_log_attach(config->access_log, &worker.service, config->who.id);
    open_monitor(&worker);
    worker_watch_signals(&worker);
    worker_open_link(&worker);
    worker.status = start(&worker);
    if (worker.status == EX_OK)
        serve(&worker);
    if (config->watch != NULL)
        watch_leave(config->watch);
    end(&worker);
    loop_del(worker.loop);
    return worker.status;
}
