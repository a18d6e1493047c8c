/* crew.c -- see crew.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/crew.h"

#include "base/log.h"
#include "proc/link.h"
#include "proc/notify.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

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
        if (list_entry(link, struct crew_worker, link)->crew == crew)
            return true;
    return false;
}

void crews_sweep(struct supervisor *supervisor)
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
        supervisor_end(supervisor, supervisor->exit_code);
}

void crew_abandon(struct crew *crew)
{
    struct supervisor *supervisor = crew->supervisor;
    bool again = supervisor->reload_again;

    if (crew->state == CREW_LOADING && crew->pid > 0)
        kill(crew->pid, SIGKILL);
    crew->state = CREW_FALLING;
    ev_timer_stop(supervisor->ev, &crew->patience);
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);

        if (worker->crew == crew)
            crew_worker_drain(worker, "stop");
    }
    supervisor->reload_again = false;
    if (again && !supervisor->stopping)
        crew_start(supervisor, NULL, "reload");
}

static void load_failed(struct crew *crew, const char *why)
{
    struct supervisor *supervisor = crew->supervisor;

    if (supervisor->current == NULL) {
        crew_abandon(crew);
        supervisor_stop(supervisor, why, EX_CONFIG);
        return;
    }
    log_write(LOG_LEVEL_ERROR, "the reload failed, generation %u goes on: %s",
              supervisor->current->number, why);
    notify_ready(supervisor->setup->notify, "the reload failed");
    supervisor->setup->board->failed_reloads++;
    crew_abandon(crew);
}

static void on_load_timeout(struct ev_loop *ev, struct ev_timer *watcher,
                            int events)
{
    (void)ev;
    (void)events;
    load_failed(watcher->data, "the script was not loaded within "
                               "--load-timeout");
}

void crews_find_dead(struct supervisor *supervisor)
{
    struct list *link = supervisor->workers.next;

    while (link != &supervisor->workers) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);

        link = link->next;
        if (worker->crew->pid == 0 &&
            (worker->pid == 0 ||
             (kill(worker->pid, 0) == -1 && errno == ESRCH))) {
            crew_worker_gone(worker, 0);
            link = supervisor->workers.next; /* that may have changed it */
        }
    }
}

void crew_template_gone(struct crew *crew)
{
    struct supervisor *supervisor = crew->supervisor;

    crew->pid = 0;
    forget_crew(crew);
    crews_find_dead(supervisor);
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
    crew_start(supervisor, NULL, "reload");
}

void crew_hear(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct crew *crew = watcher->data;
    struct supervisor *supervisor = crew->supervisor;
    struct link_message message;
    int fd, got = -1;

    (void)events;
    while (crew->fd != -1 &&
           (got = link_receive(watcher->fd, &message, &fd)) == 1) {
        struct crew_worker *worker =
            crew_worker_of_slot(supervisor, message.slot);

        if (fd != -1)
            close(fd);
        switch (message.kind) {
        case LINK_LOADED:
            ev_timer_stop(ev, &crew->patience);
            crew->state = CREW_RISING;
            crew_fill(supervisor);
            break;
        case LINK_FAILED:
            load_failed(crew, message.text);
            break;
        case LINK_SPAWNED:
            if (worker == NULL || worker->crew != crew)
                break;
            worker->pid = message.value;
            if (worker->pid == 0)
                crew_worker_gone(worker, EX_OSERR << 8);
            break;
        case LINK_EXITED:
            if (worker != NULL && worker->crew == crew)
                crew_worker_gone(worker, message.value);
            break;
        default:
            break;
        }
        if (message.kind == LINK_EXITED)
            crews_sweep(supervisor);
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
        close(list_entry(link, struct crew_worker, link)->fd);
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        struct crew *crew = list_entry(link, struct crew, link);

        if (crew->fd != -1)
            close(crew->fd);
    }
    for (int i = 0; i < SUPERVISOR_SIGNALS; i++)
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

void crew_start(struct supervisor *supervisor, struct script *script,
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
    ev_io_init(&crew->watcher, crew_hear, crew->fd, EV_READ);
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
        supervisor_end(supervisor, EX_OSERR);
}
