/* upgrade.c -- see upgrade.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/upgrade.h"

#include "base/log.h"
#include "proc/held.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* --- its beginning and its failure: whom to tell ---------------------------
 */

static void begins(const struct upgrade *upgrade)
{
    log_write(LOG_LEVEL_NOTICE, "upgrading: checking %s",
              upgrade->config->origin->program);
    notify_reloading(upgrade->config->notify);
}

static void disarm(struct upgrade *upgrade)
{
    ev_timer_stop(upgrade->config->ev, &upgrade->patience);
    if (upgrade->phase == UPGRADE_ARMED)
        held_unblock();
    upgrade->phase = UPGRADE_IDLE;
}

void upgrade_fail(struct upgrade *upgrade, const char *text)
{
    static const char head[] = "not upgraded: ";
    struct slice rest = slice_of(text);
    const char *newline = slice_find(rest, '\n');
    size_t len = newline != NULL ? (size_t)(newline - text) : rest.len;
    char line[sizeof(head) + LOAD_MESSAGE_MAX];

    if (len > LOAD_MESSAGE_MAX)
        len = LOAD_MESSAGE_MAX;
    memcpy(line, head, sizeof(head));
    strncat(line, slice_take(&rest, len).data, len);
    if (rest.len > 0)
        slice_take(&rest, 1); /* the newline */
    log_text(LOG_LEVEL_ERROR, slice_of(line), rest);
    notify_ready(upgrade->config->notify, line);
    disarm(upgrade);
}

/* --- what is left ----------------------------------------------------------
 */

static bool describe(const struct upgrade *upgrade, struct upgrade_state *state)
{
    const struct upgrade_config *config = upgrade->config;

    upgrade_state_init(state);
    state->pid = getpid();
    state->program = config->origin->program;
    state->folder = config->origin->folder;
    state->notify = config->notify->fd;
    return config->describe(config->arg, state);
}

/* Frees what describe has allocated; the rest is the process's. */
static void release(struct upgrade_state *state)
{
    int saved = errno;

    state->listening = (struct listen_set){ NULL, 0 };
    state->status_listening = (struct listen_set){ NULL, 0 };
    state->program = state->pid_path = NULL;
    upgrade_state_free(state);
    errno = saved;
}

/* --- the check -------------------------------------------------------------
 */

/* The child: its output comes to us, what the script prints goes nowhere. */
static void check(const struct upgrade *upgrade, int answer, int errors,
                  pid_t parent)
{
    struct upgrade_state state;
    int null;

    held_forget();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EX_SOFTWARE);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null != -1 && dup2(null, STDIN_FILENO) != -1 &&
        dup2(null, STDOUT_FILENO) != -1 && dup2(errors, STDERR_FILENO) != -1 &&
        describe(upgrade, &state)) {
        state.check = answer;
        origin_check(upgrade->config->origin, &state);
    }
    dprintf(errors, "fcgi-lua: %s: %s\n", upgrade->config->origin->program,
            strerror(errno));
    _exit(EX_OSERR);
}

/* Ends the child if it has not ended by itself.  Returns what waitpid says of
 * it, or -1. */
static int end_child(struct upgrade *upgrade)
{
    int status = -1;

    ev_timer_stop(upgrade->config->ev, &upgrade->patience);
    ev_io_stop(upgrade->config->ev, &upgrade->answer);
    ev_io_stop(upgrade->config->ev, &upgrade->errors);
    if (upgrade->answer.fd != -1) {
        close(upgrade->answer.fd);
        close(upgrade->errors.fd);
        ev_io_set(&upgrade->answer, -1, EV_READ);
        ev_io_set(&upgrade->errors, -1, EV_READ);
    }
    if (upgrade->child == 0)
        return -1;
    kill(upgrade->child, SIGKILL);
    while (waitpid(upgrade->child, &status, 0) == -1)
        if (errno != EINTR) {
            status = -1;
            break;
        }
    upgrade->child = 0;
    return status;
}

/* Reads what there is.  Returns false when no more can come. */
static bool read_errors(struct upgrade *upgrade)
{
    char junk[4096];
    ssize_t n;

    do {
        size_t room = sizeof(upgrade->message) - 1 - upgrade->len;

        n = room > 0 ? read(upgrade->errors.fd, upgrade->message + upgrade->len,
                            room)
                     : read(upgrade->errors.fd, junk, sizeof(junk));
        if (n > 0 && room > 0)
            upgrade->len += (size_t)n;
    } while (n > 0 || (n == -1 && errno == EINTR));
    return n == -1 && errno == EAGAIN;
}

static void on_errors(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    (void)events;
    if (!read_errors(watcher->data))
        ev_io_stop(ev, watcher); /* the answer's end tells the rest */
}

/* From the line on that says what went wrong; warnings stand before it. */
static const char *find_error(const char *text)
{
    static const char name[] = "fcgi-lua: ", warning[] = "fcgi-lua: warning: ";
    const char *line = text;

    while (line != NULL && *line != '\0') {
        if (strncmp(line, name, sizeof(name) - 1) == 0 &&
            strncmp(line, warning, sizeof(warning) - 1) != 0)
            return line + sizeof(name) - 1;
        line = strchr(line, '\n');
        if (line != NULL)
            line++;
    }
    return NULL;
}

/* The child has ended, or closed what it was to answer on. */
static void tell_refusal(struct upgrade *upgrade, int status)
{
    const char *program = upgrade->config->origin->program, *error;
    char text[512];
    size_t len;

    upgrade->message[upgrade->len] = '\0';
    len = upgrade->len;
    while (len > 0 && upgrade->message[len - 1] == '\n')
        upgrade->message[--len] = '\0';
    error = find_error(upgrade->message);
    if (error != NULL) {
        upgrade_fail(upgrade, error);
        return;
    }
    if (status != -1 && WIFSIGNALED(status))
        snprintf(text, sizeof(text), "%.300s --check was ended by SIG%s",
                 program, sigabbrev_np(WTERMSIG(status)));
    else if (status != -1 && WEXITSTATUS(status) != EX_OK)
        snprintf(text, sizeof(text), "%.300s --check ended with exit code %d",
                 program, WEXITSTATUS(status));
    else
        snprintf(text, sizeof(text),
                 "%.300s does not know how to take over: restart instead",
                 program);
    upgrade_fail(upgrade, text);
}

static void on_answer(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct upgrade *upgrade = watcher->data;
    size_t room = sizeof(upgrade->answered) - upgrade->answered_len;
    ssize_t n;
    int status;

    (void)ev;
    (void)events;
    n = read(watcher->fd, upgrade->answered + upgrade->answered_len, room);
    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        upgrade->answered_len += (size_t)n;
        if ((size_t)n < room)
            return; /* its end is still to come */
    }
    read_errors(upgrade);
    status = end_child(upgrade);
    if (slice_equal((struct slice){ upgrade->answered, upgrade->answered_len },
                    slice_of(UPGRADE_ANSWER)))
        upgrade->phase = UPGRADE_CHECKED;
    else
        tell_refusal(upgrade, status);
}

static void on_patience(struct ev_loop *ev, struct ev_timer *watcher,
                        int events)
{
    struct upgrade *upgrade = watcher->data;

    (void)ev;
    (void)events;
    if (upgrade->phase != UPGRADE_CHECKING)
        return; /* it was to end the wait of the loop */
    end_child(upgrade);
    upgrade_fail(upgrade, "the check was not over within --load-timeout");
}

static bool make_pipes(int answer[2], int errors[2])
{
    if (pipe2(answer, O_CLOEXEC) == -1)
        return false;
    if (pipe2(errors, O_CLOEXEC) == -1) {
        close(answer[0]);
        close(answer[1]);
        return false;
    }
    fcntl(answer[0], F_SETFL, O_NONBLOCK);
    fcntl(errors[0], F_SETFL, O_NONBLOCK);
    return true;
}

static void watch(struct upgrade *upgrade, int answer, int errors)
{
    struct ev_loop *ev = upgrade->config->ev;
    double timeout = upgrade->config->load_timeout;

    upgrade->phase = UPGRADE_CHECKING;
    ev_io_set(&upgrade->answer, answer, EV_READ);
    ev_io_set(&upgrade->errors, errors, EV_READ);
    ev_io_start(ev, &upgrade->answer);
    ev_io_start(ev, &upgrade->errors);
    if (timeout > 0) { /* the child limits its own time, if it can */
        ev_timer_set(&upgrade->patience, 1.5 * timeout + 1, 0);
        ev_timer_start(ev, &upgrade->patience);
    }
}

static void begin_check(struct upgrade *upgrade)
{
    int answer[2], errors[2], saved;
    char why[ORIGIN_WHY_MAX];
    sigset_t all, before;
    pid_t parent = getpid();

    begins(upgrade);
    upgrade->len = upgrade->answered_len = 0;
    if (!origin_may_start(upgrade->config->origin, why)) {
        upgrade_fail(upgrade, why);
        return;
    }
    if (!make_pipes(answer, errors)) {
        upgrade_fail(upgrade, strerror(errno));
        return;
    }
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    upgrade->child = fork();
    saved = errno;
    if (upgrade->child == 0)
        check(upgrade, answer[1], errors[1], parent); /* does not return */
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(answer[1]);
    close(errors[1]);
    if (upgrade->child != -1) {
        watch(upgrade, answer[0], errors[0]);
        return;
    }
    upgrade->child = 0;
    close(answer[0]);
    close(errors[0]);
    upgrade_fail(upgrade, strerror(saved));
}

/* --- the way of an upgrade -------------------------------------------------
 */

void upgrade_init(struct upgrade *upgrade, const struct upgrade_config *config)
{
    *upgrade = (struct upgrade){ .config = config };
    ev_io_init(&upgrade->answer, on_answer, -1, EV_READ);
    ev_io_init(&upgrade->errors, on_errors, -1, EV_READ);
    ev_timer_init(&upgrade->patience, on_patience, 0, 0);
    upgrade->answer.data = upgrade->errors.data = upgrade->patience.data =
        upgrade;
}

bool upgrade_step(struct upgrade *upgrade, bool may_go)
{
    if (upgrade->is_asked && upgrade->phase != UPGRADE_CHECKING) {
        disarm(upgrade);
        upgrade->is_asked = false;
        begin_check(upgrade);
    }
    if (upgrade->phase == UPGRADE_ARMED && may_go)
        return true;
    if (upgrade->phase == UPGRADE_ARMED) { /* something has come between */
        disarm(upgrade);
        upgrade->phase = UPGRADE_CHECKED;
    }
    if (upgrade->phase == UPGRADE_CHECKED && may_go) {
        held_block();
        upgrade->phase = UPGRADE_ARMED;
        ev_timer_set(&upgrade->patience, 0, 0);
        ev_timer_start(upgrade->config->ev, &upgrade->patience);
    }
    return false;
}

void upgrade_go(struct upgrade *upgrade)
{
    const struct origin *origin = upgrade->config->origin;
    struct upgrade_state state;
    char text[512];

    log_write(LOG_LEVEL_NOTICE, "upgrading: %s takes over", origin->program);
    errno = ENOMEM;
    if (describe(upgrade, &state))
        origin_exec(origin, &state);
    release(&state);
    snprintf(text, sizeof(text), "%.300s: %s", origin->program,
             strerror(errno));
    upgrade_fail(upgrade, text);
}

void upgrade_child_gone(struct upgrade *upgrade, pid_t pid)
{
    if (upgrade->child == pid)
        upgrade->child = 0; /* the end of its answer tells the rest */
}

void upgrade_stop(struct upgrade *upgrade)
{
    upgrade->is_asked = false;
    end_child(upgrade);
    disarm(upgrade);
}

void upgrade_answer(const struct upgrade_state *state)
{
    static const char answer[] = UPGRADE_ANSWER;
    ssize_t n = write(state->check, answer, sizeof(answer) - 1);

    (void)n; /* without it the check has failed */
    close(state->check);
}
