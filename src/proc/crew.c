/* crew.c -- see crew.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/crew.h"

#include "base/log.h"
#include "proc/link.h"
#include "proc/notify.h"
#include "proc/watched.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* The end of its link tells a template to end. */
static void forget_crew(struct crew *crew)
{
    struct supervisor *supervisor = crew->supervisor;

    if (crew->fd == -1)
        return;
    ev_io_stop(supervisor->ev, &crew->watcher);
    ev_timer_stop(supervisor->ev, &crew->patience);
    post_free(&crew->post);
    close(crew->fd);
    crew->fd = -1;
}

static void on_late(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    struct crew *crew = watcher->data;

    (void)ev;
    (void)events;
    if (crew->pid <= 0)
        return;
    log_write(LOG_LEVEL_WARN,
              "the template of generation %u (%d) does not end: it is killed",
              crew->number, (int)crew->pid);
    kill(crew->pid, SIGKILL);
}

void crew_let_template_end(struct crew *crew)
{
    if (crew->fd == -1)
        return;
    forget_crew(crew);
    if (crew->pid == 0)
        return;
    ev_set_cb(&crew->patience, on_late);
    ev_timer_set(&crew->patience, crew_kill_margin, 0);
    ev_timer_start(crew->supervisor->ev, &crew->patience);
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
            crew_let_template_end(crew);
        if (crew->pid != 0)
            continue;
        forget_crew(crew);
        ev_timer_stop(supervisor->ev, &crew->patience);
        if (supervisor->current == crew)
            supervisor->current = NULL;
        list_remove(&crew->link);
        free(crew);
    }
    if (supervisor->stopping && list_is_empty(&supervisor->workers) &&
        list_is_empty(&supervisor->crews))
        supervisor_end(supervisor, supervisor->exit_code);
}

/* Is there a generation that may yet serve? */
static bool is_coming(const struct supervisor *supervisor)
{
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        const struct crew *crew = list_entry(link, struct crew, link);

        if (crew->state == CREW_LOADING ||
            (crew->state == CREW_RISING && crew->fd != -1))
            return true;
    }
    return false;
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

void crews_break(struct supervisor *supervisor, const char *why)
{
    const struct service_setup *setup = supervisor->setup;

    if (!setup->options->dev)
        return;
    snprintf(supervisor->broken, sizeof(supervisor->broken), "%s", why);
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        watched_break_by_post(setup->watch,
                              &list_entry(link, struct crew_worker, link)->post,
                              why);
}

/* Is there no other generation that serves or tries to? */
static bool is_alone(const struct crew *crew)
{
    const struct list *crews = &crew->supervisor->crews;

    for (struct list *link = crews->next; link != crews; link = link->next) {
        const struct crew *other = list_entry(link, struct crew, link);

        if (other != crew && other->state != CREW_FALLING)
            return false;
    }
    return true;
}

/* The first generation's failure ends the service; that of a later one changes
 * nothing.  why: a line, maybe with others below it; "": it was told. */
static void load_failed(struct crew *crew, int exit_code, const char *why)
{
    struct supervisor *supervisor = crew->supervisor;
    const char *what =
        strcmp(crew->old_reason, "upgrade") == 0 ? "upgrade" : "reload";
    char front[64], line[LINK_TEXT_MAX + 64];
    size_t len = strcspn(why, "\n");

    if (!supervisor->was_ready && is_alone(crew)) {
        crew_abandon(crew);
        supervisor_stop(supervisor, why, exit_code);
        return;
    }
    snprintf(front, sizeof(front), "the %s failed: ", what);
    if (supervisor->current != NULL)
        snprintf(front, sizeof(front),
                 "the %s failed, generation %u goes on: ", what,
                 supervisor->current->number);
    snprintf(line, sizeof(line), "%s%.*s", front,
             (int)(len > 0 ? len : strlen("see above")),
             len > 0 ? why : "see above");
    log_text(LOG_LEVEL_ERROR, slice_of(line),
             slice_of(why[len] == '\n' ? why + len + 1 : ""));
    snprintf(front, sizeof(front), "the %s failed", what);
    notify_ready(supervisor->setup->notify, front);
    supervisor->setup->board->failed_reloads++;
    crews_break(supervisor, why);
    crew_abandon(crew);
    if (supervisor->current == NULL || supervisor->current->fd == -1)
        crew_fill_later(supervisor, false); /* it cannot replace anybody */
}

static void on_load_timeout(struct ev_loop *ev, struct ev_timer *watcher,
                            int events)
{
    (void)ev;
    (void)events;
    load_failed(watcher->data, EX_CONFIG,
                "the script could not be loaded within --load-timeout");
}

/* It ended while it loaded the script, without a word. */
static void tell_load_death(struct crew *crew, int status)
{
    char why[128];
    int code = EX_SOFTWARE;

    if (WIFSIGNALED(status)) {
        snprintf(why, sizeof(why),
                 "the process that loads the script was killed by SIG%s",
                 sigabbrev_np(WTERMSIG(status)));
    } else {
        code = WEXITSTATUS(status); /* as without a supervisor */
        snprintf(why, sizeof(why),
                 "the script ended its process with %d while it was loaded",
                 code);
    }
    load_failed(crew, code, why);
}

void crew_template_gone(struct crew *crew, int status)
{
    struct supervisor *supervisor = crew->supervisor;
    enum crew_state state = crew->state;
    char why[64];

    crew->pid = 0;
    ev_timer_stop(supervisor->ev, &crew->patience);
    forget_crew(crew);
    crews_find_dead(supervisor);
    if (supervisor->stopping || crew->state == CREW_FALLING)
        return;
    if (state == CREW_LOADING) {
        tell_load_death(crew, status);
        return;
    }
    if (WIFSIGNALED(status))
        snprintf(why, sizeof(why), "was killed by SIG%s",
                 sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(why, sizeof(why), "ended with %d", WEXITSTATUS(status));
    if (state == CREW_RISING && supervisor->current != NULL) {
        log_write(LOG_LEVEL_ERROR,
                  "the template of generation %u %s: generation %u goes on",
                  crew->number, why, supervisor->current->number);
        notify_ready(supervisor->setup->notify, "the reload failed");
        supervisor->setup->board->failed_reloads++;
        crew_abandon(crew);
        return;
    }
    log_write(LOG_LEVEL_ERROR,
              "the template of generation %u %s: the script is loaded again",
              crew->number, why);
    if (!is_coming(supervisor) && !crew_start(supervisor, NULL, "reload"))
        crew_fill_later(supervisor, false);
}

static void on_loaded(struct crew *crew, const char *limits)
{
    unsigned long long grace, block_limit; /* ms */

    if (crew->state != CREW_LOADING)
        return; /* it was given up in this instant */
    if (sscanf(limits, "%llu %llu", &grace, &block_limit) == 2) {
        crew->grace = (double)grace / 1000;
        crew->block_limit = (double)block_limit / 1000;
    }
    ev_timer_stop(crew->supervisor->ev, &crew->patience);
    crew->state = CREW_RISING;
    crew_fill(crew->supervisor);
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
            on_loaded(crew, message.text);
            break;
        case LINK_FAILED:
            if (crew->state == CREW_LOADING)
                load_failed(crew, message.value, message.text);
            break;
        case LINK_SPAWNED:
            if (worker == NULL || worker->crew != crew)
                break;
            if (message.value != 0)
                worker->pid = message.value;
            else
                crew_worker_gone(worker, EX_OSERR << 8);
            break;
        case LINK_FILE:
            if (supervisor->setup->watch != NULL)
                watched_take(supervisor->setup->watch, &message);
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

void crew_hear_out(struct crew *crew)
{
    if (crew->fd == -1)
        return;
    shutdown(crew->fd, SHUT_RD); /* what was sent can be read */
    crew_hear(crew->supervisor->ev, &crew->watcher, 0);
}

static void forget_links(struct post *post, int link)
{
    post_free(post);
    close(link);
}

/* In the new process: what was the supervisor's is closed, for whoever waits
 * for the end of one of its links must not wait for us. */
static void leave_supervisor(struct supervisor *supervisor)
{
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        forget_links(&list_entry(link, struct crew_worker, link)->post,
                     list_entry(link, struct crew_worker, link)->fd);
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        struct crew *crew = list_entry(link, struct crew, link);

        if (crew->fd != -1)
            forget_links(&crew->post, crew->fd);
    }
    crew_conns_drop(supervisor);
    for (int i = 0; i < SUPERVISOR_SIGNALS; i++)
        ev_signal_stop(supervisor->ev, &supervisor->signals[i]);
    ev_signal_stop(supervisor->ev, &supervisor->child);
    if (supervisor->setup->watch != NULL)
        watch_leave(supervisor->setup->watch);
    status_listener_del(supervisor->status_listener);
    listen_close(supervisor->setup->status_listening);
    loop_del(supervisor->loop);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* While it loads it does not hear the end of its link: a script that never ends
 * must not stay, with the sockets open. */
static _Noreturn void be_template(struct supervisor *supervisor,
                                  struct script *script, unsigned number,
                                  int link, pid_t parent)
{
    struct service_setup *setup = supervisor->setup;
    struct link_message answer = { .kind = LINK_FAILED };
    char message[LOAD_MESSAGE_MAX] = "";
    int code;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EX_SOFTWARE);
    leave_supervisor(supervisor);
    if (setup->watch != NULL)
        watched_over_link(link);
    code =
        supervisor->prepare(supervisor->prepare_arg, setup, &script, message);
    if (code != EX_OK) {
        answer.value = code;
        snprintf(answer.text, sizeof(answer.text), "%s", message);
        link_send(link, &answer, -1);
        _exit(code);
    }
    prctl(PR_SET_PDEATHSIG, 0);
    exit(template_run(setup, script, number, link));
}

/* A child limits its own time, and says what it was at: --load-timeout is for
 * one that hangs where no Lua runs. */
void crew_watch(struct crew *crew)
{
    struct supervisor *supervisor = crew->supervisor;

    post_init(&crew->post, supervisor->ev, crew->fd);
    ev_io_init(&crew->watcher, crew_hear, crew->fd, EV_READ);
    ev_timer_init(&crew->patience, on_load_timeout,
                  1.5 * supervisor->setup->options->load_timeout + 1, 0);
    crew->watcher.data = crew->patience.data = crew;
    if (crew->fd != -1)
        ev_io_start(supervisor->ev, &crew->watcher);
}

static void init_crew(struct crew *crew, struct supervisor *supervisor,
                      pid_t pid, int link, const char *old_reason)
{
    const struct options *options = supervisor->setup->options;

    crew->supervisor = supervisor;
    crew->number = ++supervisor->crew_count;
    crew->state = CREW_LOADING;
    crew->pid = pid;
    crew->fd = link;
    crew->old_reason = old_reason;
    crew->grace = options->grace;
    crew->block_limit = options->block_limit;
    list_init(&crew->link);
    list_append(&supervisor->crews, &crew->link);
    crew_watch(crew);
    if (options->load_timeout > 0)
        ev_timer_start(supervisor->ev, &crew->patience);
}

bool crew_start(struct supervisor *supervisor, struct script *script,
                const char *old_reason)
{
    struct crew *crew = calloc(1, sizeof(*crew));
    sigset_t all, old;
    int fds[2] = { -1, -1 };
    pid_t parent = getpid(), pid;

    if (crew == NULL || link_pair(fds) == -1)
        goto fail;
    sigfillset(&all); /* nothing is heard by two */
    sigprocmask(SIG_BLOCK, &all, &old);
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        free(crew);
        sigprocmask(SIG_SETMASK, &old, NULL);
        be_template(supervisor, script, supervisor->crew_count + 1, fds[1],
                    parent);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    if (pid == -1)
        goto fail;
    close(fds[1]);
    init_crew(crew, supervisor, pid, fds[0], old_reason);
    supervisor->broken[0] = '\0';
    if (script == NULL && supervisor->setup->watch != NULL)
        watch_begin_load(supervisor->setup->watch);
    return true;

fail:
    log_write(LOG_LEVEL_ERROR, "cannot fork: %s", strerror(errno));
    if (fds[0] != -1) {
        close(fds[0]);
        close(fds[1]);
    }
    free(crew);
    if (!supervisor->was_ready && list_is_empty(&supervisor->crews))
        supervisor_end(supervisor, EX_OSERR);
    else
        notify_ready(supervisor->setup->notify, "the reload failed");
    return false;
}
