/* supervisor.c -- see supervisor.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/supervisor.h"

#include "base/list.h"
#include "base/log.h"
#include "proc/held.h"
#include "proc/link.h"
#include "proc/notify.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    SIGNALS = 8,
    WORKERS_LIMIT = BOARD_SLOTS / 2, /* the old drain while the new start */
    TRIES_MAX = 10,  /* of a service no worker of which was ever ready */
    STUCK_LIMITS = 3 /* block limits after which a loop counts as stuck */
};
static const double first_delay = 0.1, last_delay = 5; /* s before a respawn */
static const double calm = 10; /* s that a worker lives, and all is well */
static const double kill_margin = 2; /* s after --grace */

enum crew_state { CREW_LOADING, CREW_RISING, CREW_CURRENT, CREW_FALLING };

struct crew {
    struct list link;
    struct supervisor *supervisor;
    unsigned number;
    enum crew_state state;
    pid_t pid; /* of its template; 0: it has ended */
    int fd;    /* the link to it, or -1 */
    struct ev_io watcher;
    struct ev_timer patience; /* --load-timeout */
    const char *old_reason;   /* for on_exit of those it replaces */
};

enum worker_state { WORKER_STARTING, WORKER_SERVING, WORKER_DRAINING };

struct worker {
    struct list link;
    struct supervisor *supervisor;
    struct crew *crew;
    enum worker_state state;
    unsigned id;
    pid_t pid; /* 0: not known yet */
    int fd;
    struct board_slot *slot;
    struct worker *replaces; /* recycled: drains when this one is ready */
    char reason[16];         /* of that */
    double started;
    struct ev_io watcher;
    struct ev_timer killer;
};

struct supervisor {
    struct service_setup *setup;
    supervisor_prepare_fn *prepare;
    void *prepare_arg;
    struct ev_loop *ev;
    struct list crews; /* the newest last */
    struct list workers;
    struct crew *current; /* or NULL */
    unsigned crew_count;
    unsigned target; /* workers */
    double delay;    /* before the next respawn */
    unsigned tries;  /* without any worker having been ready */
    bool was_ready, reload_again;
    bool stopping, ended;
    int exit_code;
    struct ev_signal signals[SIGNALS];
    struct ev_signal child;
    struct ev_timer respawn, look;
};

static void fill(struct supervisor *supervisor);
static void start_crew(struct supervisor *supervisor, struct script *script,
                       const char *old_reason);

/* --- workers ---------------------------------------------------------------
 */

static struct worker *find_slot(struct supervisor *supervisor, uint32_t slot)
{
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct worker *worker = list_entry(link, struct worker, link);

        if ((uint32_t)(worker->slot - supervisor->setup->board->slots) == slot)
            return worker;
    }
    return NULL;
}

static void on_kill(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    struct worker *worker = watcher->data;

    (void)ev;
    (void)events;
    log_write(LOG_LEVEL_ERROR, "worker %u (%d) does not end: it is killed",
              worker->id, (int)worker->pid);
    if (worker->pid > 0)
        kill(worker->pid, SIGKILL);
}

static void drain(struct worker *worker, const char *reason)
{
    struct supervisor *supervisor = worker->supervisor;

    if (worker->state == WORKER_DRAINING)
        return;
    worker->state = WORKER_DRAINING;
    link_tell(worker->fd, LINK_DRAIN, reason);
    ev_timer_set(&worker->killer,
                 supervisor->setup->options->grace + kill_margin, 0);
    ev_timer_start(supervisor->ev, &worker->killer);
}

/* The serving worker with the fewest connections, of the newest generation. */
static struct worker *find_taker(struct supervisor *supervisor)
{
    struct worker *best = NULL;

    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct worker *worker = list_entry(link, struct worker, link);

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
    struct worker *taker = find_taker(supervisor);

    if (taker != NULL && link_send(taker->fd, &message, fd) == 0)
        taker->slot->conns++; /* until it counts itself */
    else
        log_write(LOG_LEVEL_WARN, "no worker takes over a kept connection");
    close(fd);
}

/* All workers of a generation that rises are ready: the old ones may go. */
static void on_ready(struct worker *worker)
{
    struct supervisor *supervisor = worker->supervisor;
    struct crew *crew = worker->crew;
    unsigned ready = 0;

    worker->state = WORKER_SERVING;
    supervisor->was_ready = true;
    log_write(LOG_LEVEL_INFO, "worker %u (%d) is ready", worker->id,
              (int)worker->pid);
    if (worker->replaces != NULL)
        drain(worker->replaces, worker->replaces->reason);
    worker->replaces = NULL;
    if (crew->state != CREW_RISING)
        return;
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        const struct worker *other = list_entry(link, struct worker, link);

        if (other->crew == crew && other->state == WORKER_SERVING)
            ready++;
    }
    if (ready < supervisor->target)
        return;
    crew->state = CREW_CURRENT;
    supervisor->current = crew;
    supervisor->setup->board->generation = crew->number;
    log_write(LOG_LEVEL_NOTICE, "generation %u serves with %u workers",
              crew->number, ready);
    notify_ready(supervisor->setup->notify, "serving");
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct worker *other = list_entry(link, struct worker, link);

        if (other->crew->number < crew->number)
            drain(other, crew->old_reason);
    }
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        struct crew *other = list_entry(link, struct crew, link);

        if (other->number < crew->number)
            other->state = CREW_FALLING;
    }
    if (supervisor->reload_again) {
        supervisor->reload_again = false;
        start_crew(supervisor, NULL, "reload");
    }
}

static void forget_worker(struct worker *worker)
{
    struct supervisor *supervisor = worker->supervisor;

    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct worker *other = list_entry(link, struct worker, link);

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

static void on_respawn(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    (void)ev;
    (void)events;
    fill(watcher->data);
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

static void end(struct supervisor *supervisor, int exit_code)
{
    supervisor->exit_code = exit_code;
    supervisor->ended = true;
    ev_break(supervisor->ev, EVBREAK_ALL);
}

static void on_worker_link(struct ev_loop *ev, struct ev_io *watcher,
                           int events);
static void stop(struct supervisor *supervisor, const char *why, int exit_code);
static void abandon(struct crew *crew);

static void log_death(const struct worker *worker, int status)
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

/* status is waitpid's. */
static void worker_gone(struct worker *worker, int status)
{
    struct supervisor *supervisor = worker->supervisor;
    struct crew *crew = worker->crew;
    bool was_ready = worker->state != WORKER_STARTING;
    bool was_told = worker->state == WORKER_DRAINING;
    bool was_long = ev_now(supervisor->ev) - worker->started >= calm;
    bool is_sound = WIFEXITED(status) && WEXITSTATUS(status) == 0;

    on_worker_link(supervisor->ev, &worker->watcher, 0); /* its last words */
    if (!was_told || !is_sound)
        log_death(worker, status);
    forget_worker(worker);
    if (supervisor->stopping || was_told)
        return;
    if (!was_ready && crew->state == CREW_RISING &&
        supervisor->current != NULL) {
        log_write(LOG_LEVEL_ERROR,
                  "generation %u is not fit to serve: generation %u goes on",
                  crew->number, supervisor->current->number);
        notify_ready(supervisor->setup->notify, "the reload failed");
        abandon(crew);
        return;
    }
    if (!supervisor->was_ready && ++supervisor->tries >= TRIES_MAX) {
        stop(supervisor, "no worker was ever ready: giving up", EX_SOFTWARE);
        return;
    }
    respawn_later(supervisor, was_ready && was_long);
}

static bool start_worker(struct supervisor *supervisor, struct crew *crew,
                         unsigned id, struct worker *replaces);

/* A worker has done enough: another one takes its place, and only then it
 * goes. */
static void recycle(struct worker *worker, const char *reason)
{
    struct supervisor *supervisor = worker->supervisor;

    if (worker->state != WORKER_SERVING || supervisor->stopping)
        return;
    snprintf(worker->reason, sizeof(worker->reason), "%.15s", reason);
    if (worker->crew->state == CREW_FALLING || worker->crew->fd == -1 ||
        !start_worker(supervisor, worker->crew, worker->id, worker))
        drain(worker, reason);
}

/* What a worker has sent before it ended is still read. */
static void on_worker_link(struct ev_loop *ev, struct ev_io *watcher,
                           int events)
{
    struct worker *worker = watcher->data;
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
    }
    if (got == 0)
        ev_io_stop(ev, watcher); /* the news of its death comes, too */
}

/* Asks a template for a worker.  false: try again later. */
static bool start_worker(struct supervisor *supervisor, struct crew *crew,
                         unsigned id, struct worker *replaces)
{
    struct link_message message = { .kind = LINK_SPAWN, .id = id };
    struct worker *worker = calloc(1, sizeof(*worker));
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
    ev_io_init(&worker->watcher, on_worker_link, worker->fd, EV_READ);
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

/* --- crews -----------------------------------------------------------
 */

/* Starts what is missing, and ends what is too much. */
static void fill(struct supervisor *supervisor)
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
        struct worker *worker = list_entry(link, struct worker, link);

        if (worker->crew != crew || worker->state == WORKER_DRAINING)
            continue;
        if (worker->id > supervisor->target)
            drain(worker, "reload"); /* its connections go to the others */
        else
            is_there[worker->id] = true;
    }
    for (unsigned id = 1; id <= supervisor->target; id++)
        if (!is_there[id] && !start_worker(supervisor, crew, id, NULL)) {
            respawn_later(supervisor, false);
            return;
        }
}

static void forget_crew(struct crew *crew)
{
    struct supervisor *supervisor = crew->supervisor;

    ev_io_stop(supervisor->ev, &crew->watcher);
    ev_timer_stop(supervisor->ev, &crew->patience);
    if (crew->fd != -1)
        close(crew->fd);
    crew->fd = -1;
}

static bool has_workers(const struct crew *crew)
{
    struct list *workers = &crew->supervisor->workers;

    for (struct list *link = workers->next; link != workers; link = link->next)
        if (list_entry(link, struct worker, link)->crew == crew)
            return true;
    return false;
}

/* Lets go of templates that have no workers left to tell of, and of
 * generations that have neither. */
static void sweep(struct supervisor *supervisor)
{
    struct list *link = supervisor->crews.next;

    while (link != &supervisor->crews) {
        struct crew *crew = list_entry(link, struct crew, link);

        link = link->next;
        if (has_workers(crew))
            continue;
        if (crew->state == CREW_FALLING)
            forget_crew(crew); /* its template ends */
        if (crew->pid != 0)
            continue;
        forget_crew(crew);
        if (supervisor->current == crew)
            supervisor->current = NULL;
        list_remove(&crew->link);
        free(crew);
    }
    if (supervisor->stopping && list_is_empty(&supervisor->workers) &&
        list_is_empty(&supervisor->crews))
        end(supervisor, supervisor->exit_code);
}

/* One that never came to serve. */
static void abandon(struct crew *crew)
{
    struct supervisor *supervisor = crew->supervisor;
    bool again = supervisor->reload_again;

    if (crew->state == CREW_LOADING && crew->pid > 0)
        kill(crew->pid, SIGKILL);
    crew->state = CREW_FALLING;
    ev_timer_stop(supervisor->ev, &crew->patience);
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct worker *worker = list_entry(link, struct worker, link);

        if (worker->crew == crew)
            drain(worker, "stop");
    }
    supervisor->reload_again = false;
    if (again && !supervisor->stopping)
        start_crew(supervisor, NULL, "reload");
}

static void load_failed(struct crew *crew, const char *why)
{
    struct supervisor *supervisor = crew->supervisor;

    if (supervisor->current == NULL) {
        abandon(crew);
        stop(supervisor, why, EX_CONFIG);
        return;
    }
    log_write(LOG_LEVEL_ERROR, "the reload failed, generation %u goes on: %s",
              supervisor->current->number, why);
    notify_ready(supervisor->setup->notify, "the reload failed");
    abandon(crew);
}

static void on_load_timeout(struct ev_loop *ev, struct ev_timer *watcher,
                            int events)
{
    (void)ev;
    (void)events;
    load_failed(watcher->data, "the script was not loaded within "
                               "--load-timeout");
}

/* Workers whose end a template had seen, but could not tell of any more. */
static void find_dead(struct supervisor *supervisor)
{
    struct list *link = supervisor->workers.next;

    while (link != &supervisor->workers) {
        struct worker *worker = list_entry(link, struct worker, link);

        link = link->next;
        if (worker->crew->pid == 0 &&
            (worker->pid == 0 ||
             (kill(worker->pid, 0) == -1 && errno == ESRCH))) {
            worker_gone(worker, 0);
            link = supervisor->workers.next; /* that may have changed it */
        }
    }
}

static void template_gone(struct crew *crew)
{
    struct supervisor *supervisor = crew->supervisor;

    crew->pid = 0;
    forget_crew(crew);
    find_dead(supervisor);
    if (supervisor->stopping || crew->state == CREW_FALLING)
        return;
    if (crew->state == CREW_LOADING) {
        load_failed(crew, "the process that loads it died");
        return;
    }
    log_write(LOG_LEVEL_ERROR,
              "the template of generation %u died: the script "
              "is loaded again",
              crew->number);
    start_crew(supervisor, NULL, "reload");
}

static void on_template_link(struct ev_loop *ev, struct ev_io *watcher,
                             int events)
{
    struct crew *crew = watcher->data;
    struct supervisor *supervisor = crew->supervisor;
    struct link_message message;
    int fd, got = -1;

    (void)events;
    while (crew->fd != -1 &&
           (got = link_receive(watcher->fd, &message, &fd)) == 1) {
        struct worker *worker = find_slot(supervisor, message.slot);

        if (fd != -1)
            close(fd);
        switch (message.kind) {
        case LINK_LOADED:
            ev_timer_stop(ev, &crew->patience);
            crew->state = CREW_RISING;
            fill(supervisor);
            break;
        case LINK_FAILED:
            load_failed(crew, message.text);
            break;
        case LINK_SPAWNED:
            if (worker == NULL || worker->crew != crew)
                break;
            worker->pid = message.value;
            if (worker->pid == 0)
                worker_gone(worker, EX_OSERR << 8);
            break;
        case LINK_EXITED:
            if (worker != NULL && worker->crew == crew)
                worker_gone(worker, message.value);
            break;
        default:
            break;
        }
        if (message.kind == LINK_EXITED)
            sweep(supervisor);
    }
    if (crew->fd != -1 && got == 0)
        ev_io_stop(ev, watcher); /* SIGCHLD tells the rest */
}

/* In the new process: what was the supervisor's is closed, for whoever waits
 * for the end of one of its links must not wait for us. */
static void leave_supervisor(struct supervisor *supervisor)
{
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        close(list_entry(link, struct worker, link)->fd);
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        struct crew *crew = list_entry(link, struct crew, link);

        if (crew->fd != -1)
            close(crew->fd);
    }
    for (int i = 0; i < SIGNALS; i++)
        ev_signal_stop(supervisor->ev, &supervisor->signals[i]);
    ev_signal_stop(supervisor->ev, &supervisor->child);
    ev_loop_destroy(supervisor->ev);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static _Noreturn void be_template(struct supervisor *supervisor,
                                  struct script *script, unsigned number,
                                  int link)
{
    struct service_setup *setup = supervisor->setup;
    char message[LOAD_MESSAGE_MAX] = "";
    int code;

    leave_supervisor(supervisor);
    code =
        supervisor->prepare(supervisor->prepare_arg, setup, &script, message);
    if (code != EX_OK) {
        link_tell(link, LINK_FAILED, message);
        _exit(code);
    }
    exit(template_run(setup, script, number, link));
}

static void start_crew(struct supervisor *supervisor, struct script *script,
                       const char *old_reason)
{
    struct crew *crew = calloc(1, sizeof(*crew));
    sigset_t all, old;
    int fds[2] = { -1, -1 };
    pid_t pid;

    if (crew == NULL || link_pair(fds) == -1)
        goto fail;
    sigfillset(&all); /* nothing is heard by two */
    sigprocmask(SIG_BLOCK, &all, &old);
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        free(crew);
        sigprocmask(SIG_SETMASK, &old, NULL);
        be_template(supervisor, script, supervisor->crew_count + 1, fds[1]);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    if (pid == -1)
        goto fail;
    close(fds[1]);
    crew->supervisor = supervisor;
    crew->number = ++supervisor->crew_count;
    crew->state = CREW_LOADING;
    crew->pid = pid;
    crew->fd = fds[0];
    crew->old_reason = old_reason;
    list_init(&crew->link);
    list_append(&supervisor->crews, &crew->link);
    ev_io_init(&crew->watcher, on_template_link, crew->fd, EV_READ);
    ev_timer_init(&crew->patience, on_load_timeout,
                  supervisor->setup->options->load_timeout, 0);
    crew->watcher.data = crew->patience.data = crew;
    ev_io_start(supervisor->ev, &crew->watcher);
    ev_timer_start(supervisor->ev, &crew->patience);
    return;

fail:
    log_write(LOG_LEVEL_ERROR, "cannot fork: %s", strerror(errno));
    if (fds[0] != -1) {
        close(fds[0]);
        close(fds[1]);
    }
    free(crew);
    if (supervisor->current == NULL)
        end(supervisor, EX_OSERR);
}

/* --- signals ---------------------------------------------------------------
 */

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
            on_template_link(supervisor->ev, &crew->watcher, 0);
            template_gone(crew);
            break;
        }
        for (struct list *link = supervisor->workers.next;
             link != &supervisor->workers; link = link->next) {
            struct worker *worker = list_entry(link, struct worker, link);

            if (worker->pid != pid)
                continue;
            worker_gone(worker, status);
            break;
        }
    }
    sweep(supervisor);
}

static void stop(struct supervisor *supervisor, const char *why, int exit_code)
{
    log_write(exit_code == EX_OK ? LOG_LEVEL_NOTICE : LOG_LEVEL_ERROR, "%s",
              why);
    supervisor->stopping = true;
    supervisor->exit_code = exit_code;
    notify_stopping(supervisor->setup->notify, why);
    listen_close(supervisor->setup->listening);
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        drain(list_entry(link, struct worker, link), "stop");
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
        struct worker *worker = list_entry(link, struct worker, link);

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
        stop(supervisor, line, EX_OK);
    else if (watcher->signum != SIGQUIT)
        stop_at_once(supervisor);
    sweep(supervisor);
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
        start_crew(supervisor, NULL, "reload");
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
        link_tell(list_entry(link, struct worker, link)->fd, LINK_REOPEN, NULL);
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
    fill(supervisor);
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
    } table[SIGNALS] = {
        { SIGTERM, on_stop },  { SIGINT, on_stop },    { SIGQUIT, on_stop },
        { SIGHUP, on_reload }, { SIGUSR1, on_reopen }, { SIGUSR2, on_unused },
        { SIGTTIN, on_count }, { SIGTTOU, on_count },
    };
    for (int i = 0; i < SIGNALS; i++) {
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
        struct worker *worker = list_entry(link, struct worker, link);
        uint64_t since = worker->slot->busy_since;

        if (limit <= 0 || since == 0 || since > ms || worker->pid <= 0 ||
            (double)(ms - since) < limit * 1000)
            continue;
        log_write(LOG_LEVEL_ERROR,
                  "worker %u (%d) has not turned its loop for %.0f s: it is "
                  "killed",
                  worker->id, (int)worker->pid, (double)(ms - since) / 1000);
        kill(worker->pid, SIGKILL);
    }
    notify_watchdog(supervisor->setup->notify);
    find_dead(supervisor);
    sweep(supervisor);
    if (supervisor->current != NULL && !ev_is_active(&supervisor->respawn))
        supervisor->delay = 0;
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
    watch_signals(&supervisor);
    listen_log(setup->listening);
    start_crew(&supervisor, script, "stop");
    if (!supervisor.ended)
        ev_run(supervisor.ev, 0);
    ev_loop_destroy(supervisor.ev);
    log_write(LOG_LEVEL_NOTICE, "stopped");
    return supervisor.exit_code;
}
