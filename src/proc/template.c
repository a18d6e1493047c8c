/* template.c -- see template.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/template.h"

#include "base/log.h"
#include "proc/link.h"
#include "proc/held.h"
#include "proc/reopen.h"
#include "proc/watched.h"
#include "proc/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { WORKERS_MAX = BOARD_SLOTS };

struct template
{
    const struct service_setup *setup;
    struct script *script;
    unsigned generation;
    int link;
    int signals;             /* a signalfd for SIGCHLD */
    pid_t pids[WORKERS_MAX]; /* by slot; 0: none */
};

/* In the new process. */
static int be_worker(struct template *template, const struct link_message *what,
                     int link)
{
    const struct service_setup *setup = template->setup;
    const struct worker_place place = { .link = link };
    struct notify nobody = NOTIFY_NOBODY;
    const struct worker_config config = {
        .options = setup->options,
        .script = template->script,
        .listening = setup->listening,
        .peers = setup->peers,
        .notify = &nobody,
        .access_log = setup->access_log,
        .who = { .id = what->id,
                 .count = (unsigned)what->value,
                 .generation = template->generation },
        .place = &place,
        .board = setup->board,
        .slot = &setup->board->slots[what->slot],
    };
    sigset_t none;
    int status;

    close(template->link);
    close(template->signals);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (setup->watch != NULL)
        watched_over_link(link);
    script_seed_random(template->script);
    status = worker_run(&config);
    access_log_close(setup->access_log); /* requests end with the worker, too */
    return status;
}

/* Returns the exit code of a worker that has been, or -1 in the template. */
static int spawn(struct template *template, const struct link_message *what,
                 int link)
{
    struct link_message answer = { .kind = LINK_SPAWNED, .slot = what->slot };
    pid_t pid;

    if (link == -1 || what->slot >= WORKERS_MAX) {
        if (link != -1)
            close(link);
        return -1;
    }
    held_begin(); /* until the worker hears signals */
    pid = fork();
    if (pid == 0)
        return be_worker(template, what, link);
    if (pid == -1)
        log_write(LOG_LEVEL_ERROR, "cannot fork a worker: %s", strerror(errno));
    else
        template->pids[what->slot] = pid;
    close(link);
    answer.value = pid == -1 ? 0 : pid;
    link_send(template->link, &answer, -1);
    return -1;
}

/* What waitpid would say. */
static int status_of(const siginfo_t *info)
{
    return info->si_code == CLD_EXITED
               ? W_EXITCODE(info->si_status, 0)
               : W_EXITCODE(0, info->si_status) |
                     (info->si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

/* Tells of a worker's end.  Returns false when nobody listens. */
static bool tell_of_end(struct template *template, const siginfo_t *info)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        const struct link_message news = { .kind = LINK_EXITED,
                                           .slot = i,
                                           .value = status_of(info) };

        if (template->pids[i] != info->si_pid)
            continue;
        if (link_send(template->link, &news, -1) == -1 && errno != EAGAIN)
            return false;
        template->pids[i] = 0;
    }
    return true;
}

/* A worker's end of which nobody can be told any more is left to whoever
 * inherits the worker: the supervisor. */
static void reap(struct template *template)
{
    struct signalfd_siginfo signal;

    while (read(template->signals, &signal, sizeof(signal)) > 0)
        ;
    for (;;) {
        siginfo_t info = { .si_pid = 0 };

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 ||
            info.si_pid == 0 || !tell_of_end(template, &info))
            return;
        waitpid(info.si_pid, NULL, 0);
    }
}

static int serve(struct template *template)
{
    for (;;) {
        struct pollfd fds[] = { { .fd = template->link, .events = POLLIN },
                                { .fd = template->signals, .events = POLLIN } };
        struct link_message message;
        int fd, got, status;

        if (poll(fds, 2, -1) == -1 && errno != EINTR)
            return EX_OSERR;
        if (fds[1].revents != 0)
            reap(template);
        if (fds[0].revents == 0)
            continue;
        got = link_receive(template->link, &message, &fd);
        if (got == 0)
            return EX_OK;
        if (got == -1 && errno != EAGAIN) /* the script has closed it */
            return EX_OSERR;
        if (got == 1 && message.kind == LINK_SPAWN) {
            status = spawn(template, &message, fd);
            if (status != -1)
                return status;
        } else if (got == 1 && message.kind == LINK_REOPEN) {
            reopen_take(&message, fd, template->setup->access_log);
        }
    }
}

/* The supervisor has the options of the start, the script's may be others. */
static void tell_loaded(const struct template *template)
{
    const struct options *options = template->setup->options;
    char limits[64];

    snprintf(limits, sizeof(limits), "%.0f %.0f", options->grace * 1000,
             options->block_limit * 1000);
    link_tell(template->link, LINK_LOADED, limits);
}

int template_run(const struct service_setup *setup, struct script *script,
                 unsigned generation, int link)
{
    struct template template = {
        .setup = setup, .script = script, .generation = generation, .link = link
    };
    sigset_t set;
    pid_t self = getpid();
    int status;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM); /* the supervisor says when to end */
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGTTIN);
    sigaddset(&set, SIGTTOU);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    template.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (template.signals == -1) {
        const struct link_message message = { .kind = LINK_FAILED,
                                              .value = EX_OSERR,
                                              .text = "signalfd failed" };

        link_send(link, &message, -1);
        return EX_OSERR;
    }
    tell_loaded(&template);
    status = serve(&template);
    if (getpid() == self)
        _exit(status); /* what the script has open is its workers' to close */
    return status;
}
