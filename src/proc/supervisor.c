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
#include "proc/reopen.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>

static const double look_seconds = 1; /* between two looks at the workers */

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
        upgrade_child_gone(&supervisor->upgrade, pid);
        for (struct list *link = supervisor->crews.next;
             link != &supervisor->crews; link = link->next) {
            struct crew *crew = list_entry(link, struct crew, link);

            if (crew->pid != pid)
                continue;
            crew_hear(supervisor->ev, &crew->watcher, 0);
            crew_template_gone(crew, status);
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

/* why: a line, maybe with others below it; "": it was told. */
void supervisor_stop(struct supervisor *supervisor, const char *why,
                     int exit_code)
{
    struct slice rest = slice_of(why);
    struct slice line = slice_take(&rest, strcspn(why, "\n"));

    slice_take(&rest, 1);
    if (line.len > 0)
        log_text(exit_code == EX_OK ? LOG_LEVEL_NOTICE : LOG_LEVEL_ERROR, line,
                 rest);
    supervisor->stopping = true;
    upgrade_stop(&supervisor->upgrade);
    supervisor->exit_code = exit_code;
    notify_stopping(supervisor->setup->notify,
                    exit_code == EX_OK ? why : "the start failed");
    listen_close(supervisor->setup->listening);
    crew_conns_drop(supervisor);
    ev_timer_stop(supervisor->ev, &supervisor->respawn);
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        crew_worker_drain(list_entry(link, struct crew_worker, link), "stop");
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        struct crew *crew = list_entry(link, struct crew, link);

        if (crew->state == CREW_LOADING && crew->pid > 0)
            kill(crew->pid, SIGKILL);
        crew->state = CREW_FALLING;
        crew_hear_out(crew);
        crew_let_template_end(crew); /* it has the sockets open */
    }
}

static void stop_at_once(struct supervisor *supervisor)
{
    unsigned active = 0;

    if (supervisor->at_once)
        return;
    supervisor->at_once = true;
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);

        active += worker->slot->active;
        post_tell(&worker->post, LINK_STOP, NULL);
        ev_timer_stop(supervisor->ev, &worker->killer);
        ev_timer_set(&worker->killer, crew_kill_margin, 0);
        ev_timer_start(supervisor->ev, &worker->killer);
    }
    log_write(LOG_LEVEL_WARN,
              "stopping at once, about %u requests are broken off", active);
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

static void reload(struct supervisor *supervisor, const char *who,
                   const char *what)
{
    const struct crew *newest;

    if (supervisor->stopping || list_is_empty(&supervisor->crews))
        return;
    log_write(LOG_LEVEL_NOTICE, "%s%s: the script is loaded again", who, what);
    notify_reloading(supervisor->setup->notify);
    newest = list_entry(supervisor->crews.prev, struct crew, link);
    if (newest->state == CREW_LOADING ||
        (newest->state == CREW_RISING && supervisor->current != NULL))
        supervisor->reload_again = true; /* one that ends, well or badly */
    else
        crew_start(supervisor, NULL, "reload");
}

static void on_reload(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    (void)ev;
    (void)events;
    reload(watcher->data, "SIGHUP", "");
}

static void on_changed_file(void *arg, const char *path)
{
    reload(arg, path, " has changed");
}

/* To the templates, too, for the workers that they will fork. */
static void pass_log(struct supervisor *supervisor, enum link_log log,
                     const char *target, int fd)
{
    struct link_message message = { .kind = LINK_REOPEN,
                                    .value = (int32_t)log };

    snprintf(message.text, sizeof(message.text), "%s", target);
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        struct crew *crew = list_entry(link, struct crew, link);

        if (crew->fd != -1)
            post_send(&crew->post, &message, fd);
    }
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        post_send(&list_entry(link, struct crew_worker, link)->post, &message,
                  fd);
}

/* Workers that gave root up could not open the files. */
static void on_reopen(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct supervisor *supervisor = watcher->data;
    const struct service_setup *setup = supervisor->setup;

    (void)ev;
    (void)events;
    if (reopen_errors(setup->options->log))
        pass_log(supervisor, LINK_LOG_ERRORS, setup->options->log, log_fd());
    if (setup->access_log != NULL &&
        reopen_access(setup->access_log, setup->options->access_log))
        pass_log(supervisor, LINK_LOG_ACCESS, setup->options->access_log,
                 access_log_fd(setup->access_log));
}

static void on_count(struct ev_loop *ev, struct ev_signal *watcher, int events)
{
    struct supervisor *supervisor = watcher->data;
    bool more = watcher->signum == SIGTTIN;

    (void)ev;
    (void)events;
    if (supervisor->stopping)
        return;
    if (supervisor->target == (more ? WORKERS_LIMIT : 1)) {
        log_write(LOG_LEVEL_NOTICE, "SIG%s: there are %u workers already",
                  sigabbrev_np(watcher->signum), supervisor->target);
        return;
    }
    supervisor->target += more ? 1u : -1u;
    log_write(LOG_LEVEL_NOTICE, "SIG%s: %u workers",
              sigabbrev_np(watcher->signum), supervisor->target);
    crew_fill(supervisor);
}

static void on_upgrade(struct ev_loop *ev, struct ev_signal *watcher,
                       int events)
{
    struct supervisor *supervisor = watcher->data;

    (void)ev;
    (void)events;
    if (!supervisor->stopping)
        upgrade_ask(&supervisor->upgrade);
}

static void watch_signals(struct supervisor *supervisor)
{
    static const struct {
        int signo;
        void (*fn)(struct ev_loop *ev, struct ev_signal *watcher, int events);
    } table[SUPERVISOR_SIGNALS] = {
        { SIGTERM, on_stop },  { SIGINT, on_stop },    { SIGQUIT, on_stop },
        { SIGHUP, on_reload }, { SIGUSR1, on_reopen }, { SIGUSR2, on_upgrade },
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

static void on_look(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    struct supervisor *supervisor = watcher->data;

    (void)ev;
    (void)events;
    crews_look(supervisor, look_seconds);
    crew_conns_balance(supervisor);
    notify_watchdog(supervisor->setup->notify);
    crews_find_dead(supervisor);
    crews_sweep(supervisor);
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

static void on_homes(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    (void)ev;
    (void)events;
    crew_conns_settle(watcher->data);
}

static bool open_status_listener(struct supervisor *supervisor)
{
    const struct listen_set *listening = supervisor->setup->status_listening;

    if (listening->count == 0)
        return true;
    status_listener_log(listening);
    supervisor->status_listener = status_listener_new(
        supervisor->loop, listening, &supervisor->desk.status,
        supervisor->setup->options);
    return supervisor->status_listener != NULL;
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
    list_init(&supervisor.homeless);
    supervisor.loop = loop_new();
    if (supervisor.loop == NULL) {
        log_write(LOG_LEVEL_ERROR, "cannot make an event loop: %s",
                  strerror(errno));
        return EX_OSERR;
    }
    supervisor.ev = supervisor.loop->ev;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    ev_timer_init(&supervisor.respawn, on_respawn, 0, 0);
    ev_timer_init(&supervisor.look, on_look, look_seconds, look_seconds);
    ev_timer_init(&supervisor.homes, on_homes, 0, 0);
    supervisor.respawn.data = supervisor.look.data = supervisor.homes.data =
        &supervisor;
    ev_timer_start(supervisor.ev, &supervisor.look);
    open_desk(&supervisor);
    crews_open_upgrade(&supervisor);
    if (setup->left != NULL && !crews_inherit(&supervisor, setup->left))
        log_write(LOG_LEVEL_ERROR, "out of memory: some workers end");
    watch_signals(&supervisor);
    if (setup->watch != NULL)
        watch_start(setup->watch, supervisor.ev, on_changed_file, &supervisor);
    listen_log(setup->listening);
    if (open_status_listener(&supervisor)) {
        crew_start(&supervisor, script,
                   setup->left != NULL ? "upgrade" : "stop");
    } else {
        log_write(LOG_LEVEL_ERROR, "not enough memory");
        supervisor_end(&supervisor, EX_OSERR);
    }
    if (setup->left != NULL) /* who has ended meanwhile */
        ev_feed_event(supervisor.ev, &supervisor.child, EV_SIGNAL);
    while (!supervisor.ended)
        loop_turn(supervisor.loop, true);
    crews_close_upgrade(&supervisor);
    status_listener_del(supervisor.status_listener);
    desk_close(&supervisor.desk);
    if (setup->watch != NULL)
        watch_leave(setup->watch);
    loop_del(supervisor.loop);
    log_write(LOG_LEVEL_NOTICE, "stopped");
    return supervisor.exit_code;
}
