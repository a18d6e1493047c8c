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
#include "proc/worker.h"

#include "base/log.h"
#include "fcgi/session.h"
#include "io/accept.h"
#include "io/conn.h"
#include "io/loop_ev.h"
#include "ops/share.h"
#include "proc/age.h"
#include "proc/generation.h"
#include "proc/held.h"
#include "proc/link.h"
#include "proc/monitor.h"
#include "proc/reload.h"
#include "proc/reopen.h"
#include "proc/status_listener.h"
#include "proc/upgrade.h"

#include <errno.h>
#include <signal.h>
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

enum { SIGNALS = 8 };

struct worker {
    const struct worker_config *config;
    struct generation *current;
    struct list retired; /* generations before it */
    const char *reason;  /* why it drains */
    struct reload reload;
    struct loop *loop;
    struct service service;
    struct conns *conns;
    struct acceptors *acceptors;
    struct ev_signal signals[SIGNALS];
    struct ev_timer patience;
    struct ev_timer heartbeat; /* for systemd's watchdog */
    struct ev_timer retry;     /* of writing the access log */
    struct elders *elders;     /* or NULL */
    struct upgrade upgrade;
    struct upgrade_config upgrade_config;
    struct ev_io link; /* its fd is -1 without one */
    struct monitor monitor;
    struct age age;
    struct status_listener *status_listener;
    int status;      /* to exit with */
    bool was_told;   /* a signal has stopped it */
    bool draining;   /* accepts no more */
    bool hands_over; /* its connections, to whoever holds the link */
    bool cancelled;  /* grace is over */
    bool stopped;    /* ends at once */
};

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

/* A kept connection between two requests, with what the peer has sent and
 * nobody has read, goes to another worker; false: it is closed. */
static bool hand_over(void *arg, int fd)
{
    const struct worker *worker = arg;
    const struct link_message message = { .kind = LINK_HANDOVER };

    return link_send(worker->link.fd, &message, fd) == 0;
}

/* can_hand_over: there may be other workers that serve. */
static void drain(struct worker *worker, const char *reason, bool can_hand_over)
{
    worker->draining = true;
    worker->reason = reason;
    tell_stopping(worker);
    worker->config->slot->accepts = false;
    worker->hands_over = worker->link.fd != -1 && can_hand_over;
    if (!worker->hands_over)
        conns_on_idle(worker->conns, NULL, NULL); /* nobody takes them */
    else
        conns_on_idle(worker->conns, hand_over, worker);
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

static void on_stop(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct worker *worker = watcher->data;

    (void)ev;
    (void)events;
    if (!worker->draining) {
        log_write(LOG_LEVEL_NOTICE,
                  "SIG%s: stopping, %u requests are under way",
                  sigabbrev_np(watcher->signum), worker->service.active);
        drain(worker, "stop", true);
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

static void on_changed_file(void *arg, const char *path)
{
    struct worker *worker = arg;

    if (worker->draining)
        return;
    log_write(LOG_LEVEL_NOTICE, "%s has changed", path);
    reload_ask(&worker->reload);
}

/* --- the supervisor's wishes ---------------------------------------------- */

/* Reasons that reach on_exit; what else is said counts as a stop. */
static const char *known_reason(const char *text)
{
    static const char *const reasons[] = { "reload", "max-requests",
                                           "max-memory", "upgrade" };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (strcmp(text, reasons[i]) == 0)
            return reasons[i];
    return "stop";
}

/* A connection that another worker had, where it was counted. */
static void take_conn(struct worker *worker, int fd)
{
    struct board_slot *slot = worker->config->slot;

    if (fd != -1 && (worker->draining || worker->acceptors == NULL)) {
        if (worker->hands_over) /* who gave it could not know yet */
            hand_over(worker, fd);
        close(fd);
    } else if (fd != -1 && conns_open(worker->conns, fd, fcgi_session_open))
        worker->service.accepted--;
    slot->conns = conns_count(worker->conns);
    slot->taken++;
}

static void tell_presence(int link)
{
    const struct link_message message = { .kind = LINK_PONG,
                                          .value = getpid() };

    link_send(link, &message, -1);
}

static void obey(struct worker *worker, const struct link_message *message,
                 int fd)
{
    switch (message->kind) {
    case LINK_DRAIN:
        if (!worker->draining)
            drain(worker, known_reason(message->text), message->value != 0);
        break;
    case LINK_STOP:
        worker->stopped = true;
        break;
    case LINK_CONN:
        take_conn(worker, fd);
        return;
    case LINK_SHED:
        conns_shed(worker->conns, message->id);
        break;
    case LINK_REOPEN:
        reopen_take(message, fd, worker->config->access_log);
        return;
    case LINK_PING:
        tell_presence(worker->link.fd);
        break;
    case LINK_SNAPSHOT:
        monitor_take_snapshot(&worker->monitor);
        break;
    case LINK_FILE:
        script_know_file(worker->current->script, message->text);
        break;
    case LINK_BROKEN:
        script_break(worker->current->script, message->text);
        break;
    default:
        break;
    }
    if (fd != -1)
        close(fd);
}

static void on_link(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct worker *worker = watcher->data;
    struct link_message message;
    int fd, got;

    (void)events;
    while ((got = link_receive(watcher->fd, &message, &fd)) == 1)
        obey(worker, &message, fd);
    if (got != 0)
        return;
    ev_io_stop(ev, watcher);
    if (!worker->draining) {
        log_write(LOG_LEVEL_ERROR, "the main process has gone: stopping");
        drain(worker, "orphan", false);
    }
}

static uint32_t room_for_more(void *arg)
{
    const struct worker *worker = arg;

    worker->config->slot->conns = conns_count(worker->conns);
    return share_room(worker->config->board, worker->config->slot);
}

static void watch_link(struct worker *worker, int link)
{
    ev_io_set(&worker->link, link, EV_READ);
    ev_io_start(worker->loop->ev, &worker->link);
}

/* The worker takes its place: it is ready to serve. */
static void take_place(struct worker *worker)
{
    const struct worker_place *place = worker->config->place;
    const struct link_message message = { .kind = LINK_READY,
                                          .value = getpid() };

    acceptors_share(worker->acceptors, room_for_more, worker);
    conns_on_idle(worker->conns, hand_over, worker);
    link_send(place->link, &message, -1);
}

/* --- age ------------------------------------------------------------------ */

/* Has the process done enough?  Then another one takes its place: a supervisor
 * sees to that; else whoever started it. */
static void look_at_age(struct worker *worker)
{
    const struct worker_place *place = worker->config->place;
    const char *reason =
        age_reached(&worker->age, &worker->service, worker->current->script);

    if (reason == NULL || worker->draining)
        return;
    if (place == NULL && worker->link.fd != -1)
        return; /* an elder: another one is on its way already */
    if (place != NULL) {
        link_tell(place->link, LINK_RECYCLE, reason);
        return;
    }
    log_write(LOG_LEVEL_NOTICE,
              "--%s is reached after %llu requests, with %zu KiB of Lua "
              "memory: stopping",
              reason, (unsigned long long)worker->service.serial,
              script_heap(worker->current->script) / 1024);
    drain(worker, reason, false);
}

/* --- what operators see ----------------------------------------------------
 */

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

/* --- signals ---------------------------------------------------------------
 */

static void on_count(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    (void)ev;
    (void)events;
    log_write(LOG_LEVEL_NOTICE,
              "SIG%s is for a supervisor, which --workers starts: it changes "
              "the number of workers",
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
    cancel_all(worker);
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
        { SIGTERM, on_stop },   { SIGINT, on_stop },   { SIGQUIT, on_stop },
        { SIGUSR1, on_reopen }, { SIGHUP, on_reload }, { SIGUSR2, on_upgrade },
        { SIGTTIN, on_count },  { SIGTTOU, on_count },
    };

    sigemptyset(&heard);
    for (int i = 0; i < SIGNALS; i++) {
        ev_signal_init(&worker->signals[i], table[i].fn, table[i].signo);
        worker->signals[i].data = worker;
        ev_signal_start(worker->loop->ev, &worker->signals[i]);
        sigaddset(&heard, table[i].signo);
    }
    sigprocmask(SIG_UNBLOCK, &heard, NULL); /* whoever has blocked them */
    held_end();
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

/* What the generation that begins to serve says of it. */
static void apply_options(struct worker *worker, const struct options *before)
{
    const struct options *options = worker->current->options;

    set_limits(options, &worker->service.limits);
    worker->service.tmpdir = options->tmpdir;
    monitor_apply(&worker->monitor, options);
    status_listener_apply(worker->status_listener, options);
    log_set_level((enum log_level)options->log_level);
    age_limit(&worker->age, options, worker->config->place != NULL);
    if (options_differ(before, options, "log") && log_open(options->log) == -1)
        log_write(LOG_LEVEL_ERROR, "cannot open the log %s: %s", options->log,
                  strerror(errno));
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

/* What an elder hands over. */
static void take_connection(void *arg, int fd)
{
    struct worker *worker = arg;

    conns_open(worker->conns, fd, fcgi_session_open);
}

static void relieve_elders(struct worker *worker)
{
    elders_take(worker->elders, take_connection, worker);
    if (!elders_serve(worker->elders))
        return;
    elders_drain(worker->elders, "upgrade", true);
    log_write(LOG_LEVEL_NOTICE, "upgraded: generation %u serves",
              worker->current->who.generation);
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
                                      worker->config->peers, fcgi_session_open);
    if (worker->acceptors == NULL) {
        log_write(LOG_LEVEL_ERROR, "not enough memory");
        worker->status = EX_OSERR;
        worker->stopped = true;
        return;
    }
    monitor_begin(&worker->monitor);
    if (worker->config->place != NULL)
        take_place(worker);
    else
        listen_log(listening);
    tell_ready(worker);
    if (worker->elders != NULL)
        relieve_elders(worker);
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

/* --- upgrades --------------------------------------------------------------
 */

static bool describe(void *arg, struct upgrade_state *state)
{
    const struct worker *worker = arg;

    state->generation = worker->current->who.generation;
    return worker->config->describe(worker->config->describe_arg, state) &&
           elders_describe(worker->elders, state);
}

/* In the fork, when the process that it comes from is another program. */
static void become_elder(struct worker *worker, int link)
{
    struct generation *current = worker->current;

    notify_close(worker->config->notify);
    ev_timer_stop(worker->loop->ev, &worker->heartbeat);
    status_listener_del(worker->status_listener); /* the other one answers */
    worker->status_listener = NULL;
    if (worker->config->watch != NULL)
        watch_leave(worker->config->watch);
    worker->reload.watch = NULL;
    if (worker->config->status_listening != NULL)
        listen_close(worker->config->status_listening);
    ev_loop_fork(worker->loop->ev);
    upgrade_stop(&worker->upgrade); /* lets signals come */
    worker->elders = NULL;
    watch_link(worker, link);
    monitor_forked(&worker->monitor, link);
    for (struct list *at = worker->retired.next; at != &worker->retired;
         at = at->next) {
        struct generation *retired = list_entry(at, struct generation, link);

        if (script_forked(retired->script, &retired->who) == -1)
            log_write(LOG_LEVEL_WARN, "no watchdog: %s", strerror(errno));
    }
    if (script_forked(current->script, &current->who) == -1)
        log_write(LOG_LEVEL_WARN, "no watchdog: %s", strerror(errno));
    log_write(LOG_LEVEL_INFO, "generation %u goes on in this process",
              current->who.generation);
}

/* What is under way goes on in an elder. */
static void become_another(struct worker *worker)
{
    struct board *board = worker->config->board;
    struct board_slot *slot = worker->config->slot;
    unsigned index = (unsigned)(slot - board->slots);
    int link;
    pid_t elder = 0;

    if (worker->acceptors == NULL) { /* nothing is */
        board_release(board, slot);
    } else {
        elder = elders_fork(worker->elders, worker->current->who.generation,
                            index, &link);
        if (elder == 0) {
            become_elder(worker, link);
            return;
        }
        if (elder == -1) {
            upgrade_fail(&worker->upgrade, strerror(errno));
            return;
        }
    }
    upgrade_go(&worker->upgrade);
    if (elder != 0)
        elders_take_back(worker->elders);
    else
        board_take_at(board, index, 1, worker->current->who.generation);
}

/* A reload that is under way comes first; one that is asked for later is part
 * of the upgrade, which loads the script, too. */
static void step_upgrade(struct worker *worker)
{
    if (worker->elders != NULL && !worker->draining &&
        upgrade_step(&worker->upgrade, worker->reload.state == RELOAD_IDLE))
        become_another(worker);
}

static bool may_reload(const struct worker *worker)
{
    return worker->elders == NULL || !upgrade_is_busy(&worker->upgrade) ||
           worker->reload.state != RELOAD_IDLE;
}

/* What is done between two turns. */
static void step(struct worker *worker)
{
    struct generation *next;

    if (worker->current->state == GENERATION_STARTING &&
        worker->current->hook_has_ended && !worker->draining)
        begin_to_serve(worker);
    if (!list_is_empty(&worker->retired))
        step_retired(worker);
    if (worker->reload.failures > 0) {
        worker->config->board->failed_reloads += worker->reload.failures;
        worker->reload.failures = 0;
    }
    if (worker->current->state == GENERATION_SERVING)
        look_at_age(worker);
    while (worker->current->state == GENERATION_SERVING && may_reload(worker) &&
           (next = reload_step(&worker->reload, &worker->current->who)) != NULL)
        take_over(worker, next);
    step_upgrade(worker);
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

/* What comes from now on is for whoever cares for the elders. */
static void hold_signals(struct worker *worker)
{
    if (!elders_serve(worker->elders))
        return;
    held_block();
    for (int i = 0; i < SIGNALS; i++)
        ev_signal_stop(worker->loop->ev, &worker->signals[i]);
    held_begin();
    held_unblock();
}

static void end(struct worker *worker)
{
    reload_stop(&worker->reload);
    if (worker->elders != NULL) {
        upgrade_stop(&worker->upgrade);
        elders_unwatch(worker->elders);
        hold_signals(worker);
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

static void prepare_upgrades(struct worker *worker)
{
    const struct worker_config *config = worker->config;

    worker->elders = config->elders;
    worker->upgrade_config = (struct upgrade_config){
        .ev = worker->loop->ev,
        .origin = config->origin,
        .notify = config->notify,
        .load_timeout = config->options->load_timeout,
        .describe = describe,
        .arg = worker,
    };
    upgrade_init(&worker->upgrade, &worker->upgrade_config);
    elders_watch(worker->elders, worker->loop->ev);
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
    set_limits(options, &limits);
    age_limit(&worker.age, options, config->place != NULL);
    service_init(&worker.service, &limits, loop_clock(worker.loop),
                 options->tmpdir, fcgi_stream_size());
    reload_init(&worker.reload, worker.loop, worker.loop->ev, &worker.service,
                config->argc, config->argv, options, config->notify);
    if (config->elders != NULL)
        prepare_upgrades(&worker);
    ev_io_init(&worker.link, on_link, -1, EV_READ);
    worker.link.data = &worker;
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
    watch_signals(&worker);
    if (config->place != NULL) {
        watch_link(&worker, config->place->link);
        tell_presence(config->place->link);
    }
    worker.status = start(&worker);
    if (worker.status == EX_OK)
        serve(&worker);
    if (config->watch != NULL)
        watch_leave(config->watch);
    end(&worker);
    loop_del(worker.loop);
    return worker.status;
}
