/* reload.c -- see reload.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/reload.h"

#include "base/log.h"
#include "io/fds.h"
#include "proc/held.h"
#include "proc/watched.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* Settings whose new values need a restart. */
static const char *const kept[] = {
    "listen", "http",    "http-public", "status-listen", "user",
    "pid",    "workers", "access-log",  "access-format"
};

/* --- its beginning and its end: whom to tell, besides the log ------------- */

static void begins(const struct reload *reload)
{
    log_write(LOG_LEVEL_NOTICE, "reloading %s", reload->start->script);
    notify_reloading(reload->notify);
    if (reload->watch != NULL)
        watch_begin_load(reload->watch);
}

static void went_well(const struct reload *reload)
{
    char status[128];

    snprintf(status, sizeof(status), "serving %s", reload->start->script);
    notify_ready(reload->notify, status);
    log_write(LOG_LEVEL_NOTICE, "reloaded: generation %u serves",
              reload->who.generation);
    if (reload->watch != NULL)
        watch_end_load(reload->watch);
}

/* text: a line, maybe with others below it. */
static void failed(struct reload *reload, const char *text)
{
    struct slice rest = slice_of(text);
    const char *newline = slice_find(rest, '\n');
    char line[LOAD_MESSAGE_MAX + 128];
    size_t len = newline != NULL ? (size_t)(newline - text) : rest.len;
    int n = snprintf(
        line, sizeof(line),
        "not reloaded, generation %u serves on: ", reload->who.generation - 1);

    if (len > LOAD_MESSAGE_MAX)
        len = LOAD_MESSAGE_MAX;
    memcpy(line + n, slice_take(&rest, len).data, len);
    if (rest.len > 0)
        slice_take(&rest, 1); /* the newline */
    log_text(LOG_LEVEL_ERROR, (struct slice){ line, (size_t)n + len }, rest);
    line[(size_t)n + len] = '\0';
    notify_ready(reload->notify, line);
    reload->failures++;
    if (reload->watch != NULL && reload->start->dev)
        watched_break(reload->watch, reload->service->owner, text);
}

/* --- the trial ------------------------------------------------------------ */

static void say(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);

        if (n == -1 && errno != EINTR)
            return;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
}

/* The child: its sockets closed, what it prints left to the real thing. */
static void try_script(const struct reload *reload, int fd, pid_t parent)
{
    bool to_syslog = strcmp(reload->start->log, "syslog") == 0;
    char message[1 + LOAD_MESSAGE_MAX];
    int code;

    held_forget(); /* what the parent watches for is not ours */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EX_SOFTWARE);
    if (to_syslog)
        log_close();
    fds_close_talks(STDERR_FILENO, log_fd());
    if (to_syslog)
        log_open("syslog"); /* a connection of its own */
    log_set_level(LOG_LEVEL_ERROR);
    watched_in_notes(reload->notes);
    message[1] = '\0';
    code = generation_try(reload->argc, reload->argv, message + 1);
    message[0] = (char)code;
    say(fd, message, 1 + (code != EX_OK ? strlen(message + 1) : 0));
    _exit(code);
}

/* Ends the child if it has not ended by itself.  Returns what waitpid says of
 * it, or -1. */
static int end_child(struct reload *reload)
{
    int status = -1;

    ev_io_stop(reload->ev, &reload->verdict);
    ev_timer_stop(reload->ev, &reload->patience);
    if (reload->child == 0)
        return -1;
    close(reload->verdict.fd);
    kill(reload->child, SIGKILL);
    while (waitpid(reload->child, &status, 0) == -1)
        if (errno != EINTR) {
            status = -1;
            break;
        }
    reload->child = 0;
    if (reload->notes != -1) {
        watched_take_notes(reload->watch, reload->notes);
        close(reload->notes);
        reload->notes = -1;
    }
    return status;
}

static void fail_trial(struct reload *reload, const char *text)
{
    failed(reload, text);
    reload->state = RELOAD_IDLE;
}

/* It has ended without a word. */
static void tell_status(struct reload *reload, int status)
{
    char text[128] = "the trial of the script ended unexpectedly";

    if (status != -1 && WIFSIGNALED(status))
        snprintf(text, sizeof(text), "the trial of the script ended by SIG%s",
                 sigabbrev_np(WTERMSIG(status)));
    else if (status != -1 && WIFEXITED(status))
        snprintf(text, sizeof(text),
                 "the trial of the script ended with exit code %d before the "
                 "script was loaded",
                 WEXITSTATUS(status));
    fail_trial(reload, text);
}

/* The child says how it went, and ends. */
static void on_verdict(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct reload *reload = watcher->data;
    size_t room = sizeof(reload->message) - 1 - reload->len;
    ssize_t n = read(watcher->fd, reload->message + reload->len, room);
    int status;

    (void)ev;
    (void)events;
    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        reload->len += (size_t)n;
        return;
    }
    status = end_child(reload);
    reload->message[reload->len] = '\0';
    if (reload->len == 0)
        tell_status(reload, status);
    else if (reload->message[0] != EX_OK)
        fail_trial(reload, reload->message[1] != '\0' ? reload->message + 1
                                                      : "see above");
    else
        reload->state = RELOAD_TRIED;
}

/* A child limits its own time: this one hangs where no Lua runs. */
static void on_patience(struct ev_loop *ev, struct ev_timer *watcher,
                        int events)
{
    struct reload *reload = watcher->data;

    (void)ev;
    (void)events;
    end_child(reload);
    fail_trial(reload, "the script could not be loaded within --load-timeout");
}

static void begin_trial(struct reload *reload)
{
    double timeout = reload->start->load_timeout;
    sigset_t all, before;
    pid_t parent = getpid(), child;
    int fds[2], saved;

    begins(reload);
    reload->len = 0;
    if (pipe2(fds, O_CLOEXEC) == -1) {
        fail_trial(reload, strerror(errno));
        return;
    }
    if (reload->watch != NULL) /* without notes it is as if nothing was new */
        reload->notes = watched_open_notes();
    fflush(NULL); /* else an exit of the child would write it once more */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    child = fork();
    saved = errno;
    if (child == 0)
        try_script(reload, fds[1], parent); /* does not return */
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(fds[1]);
    if (child == -1) {
        close(fds[0]);
        if (reload->notes != -1)
            close(reload->notes);
        reload->notes = -1;
        fail_trial(reload, strerror(saved));
        return;
    }
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    reload->state = RELOAD_TRIAL;
    reload->child = child;
    ev_io_set(&reload->verdict, fds[0], EV_READ);
    ev_io_start(reload->ev, &reload->verdict);
    if (timeout > 0) {
        ev_timer_set(&reload->patience, 1.5 * timeout + 1, 0);
        ev_timer_start(reload->ev, &reload->patience);
    }
}

/* --- the next generation -------------------------------------------------- */

static void tell_if_kept(const struct options *start,
                         const struct options *next, const char *name)
{
    if (options_differ(start, next, name))
        log_write(LOG_LEVEL_WARN,
                  "%s has changed: the old value holds until a restart", name);
}

void reload_tell_kept(const struct options *start, const struct options *next,
                      bool is_supervised)
{
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        tell_if_kept(start, next, kept[i]);
    if (is_supervised)
        tell_if_kept(start, next, "log");
}

static void drop_next(struct reload *reload)
{
    generation_del(reload->next);
    reload->next = NULL;
    reload->state = RELOAD_IDLE;
}

/* The same as in the trial, but here and to the end. */
static void start_next(struct reload *reload)
{
    char message[LOAD_MESSAGE_MAX];

    if (generation_load(&reload->next, reload->argc, reload->argv, &reload->who,
                        message) != EX_OK) {
        fail_trial(reload, message[0] != '\0' ? message : "see above");
        return;
    }
    if (generation_start(reload->next, reload->loop, reload->service) == -1) {
        failed(reload, strerror(errno));
        drop_next(reload);
        return;
    }
    reload->state = RELOAD_STARTING;
}

static struct generation *take_next(struct reload *reload)
{
    struct generation *next = reload->next;

    if (!next->hook_went_well) {
        failed(reload, "on_worker failed");
        drop_next(reload);
        return NULL;
    }
    reload_tell_kept(reload->start, reload->next->options, false);
    went_well(reload);
    next->state = GENERATION_SERVING;
    reload->next = NULL;
    reload->state = RELOAD_IDLE;
    return next;
}

/* --- the way of a reload -------------------------------------------------- */

void reload_init(struct reload *reload, struct loop *loop, struct ev_loop *ev,
                 struct service *service, int argc, char **argv,
                 const struct options *start, struct notify *notify)
{
    *reload = (struct reload){ .loop = loop,
                               .ev = ev,
                               .service = service,
                               .argc = argc,
                               .argv = argv,
                               .start = start,
                               .notify = notify,
                               .notes = -1 };
    ev_io_init(&reload->verdict, on_verdict, -1, EV_READ);
    ev_timer_init(&reload->patience, on_patience, 0, 0);
    reload->verdict.data = reload->patience.data = reload;
}

struct generation *reload_step(struct reload *reload,
                               const struct script_worker *who)
{
    if (reload->state == RELOAD_TRIED)
        start_next(reload);
    if (reload->state == RELOAD_STARTING && reload->next->hook_has_ended) {
        struct generation *next = take_next(reload);

        if (next != NULL)
            return next;
    }
    if (reload->state == RELOAD_IDLE && reload->is_asked) {
        reload->is_asked = false;
        reload->who = *who;
        reload->who.generation++;
        begin_trial(reload);
    }
    return NULL;
}

void reload_stop(struct reload *reload)
{
    reload->is_asked = false;
    if (reload->state == RELOAD_IDLE)
        return;
    end_child(reload);
    drop_next(reload);
}
