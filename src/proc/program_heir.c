/* program_heir.c -- upgrades: see program.h for the
 * contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/program.h"

#include "base/log.h"
#include "proc/caretaker.h"
#include "proc/held.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

int program_inherited(int fd)
{
    int saved = errno, copy = fd == -1 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

    errno = saved;
    return copy;
}

void program_close_left_logs(struct program *program)
{
    struct upgrade_state *left = &program->left;

    if (left->log != -1)
        close(left->log);
    if (left->access_log != -1)
        close(left->access_log);
    left->log = left->access_log = -1;
}

/* Those of the script: a supervisor loads none when it is upgraded. */
static bool keep_setting(void *arg, const char *name, const char *value,
                         enum option_source source)
{
    struct string_list *list = arg;
    char **items, *text;

    if (source != OPTION_SCRIPT || value == NULL)
        return true;
    items = realloc(list->items, (list->count + 1) * sizeof(*items));
    if (items == NULL)
        return false;
    list->items = items;
    text = malloc(strlen(name) + strlen(value) + 2);
    if (text == NULL)
        return false;
    sprintf(text, "%s=%s", name, value);
    items[list->count++] = text;
    return true;
}

bool program_describe(void *arg, struct upgrade_state *state)
{
    const struct program *program = arg;

    state->is_spawned = program->is_spawned;
    state->pid_file = program->pid_file;
    state->pid_path = (char *)(size_t)(const void *)program->pid_path;
    state->log = log_fd();
    state->board = program->board_fd;
    if (program->access_log != NULL)
        state->access_log = access_log_fd(program->access_log);
    state->listening = program->listening;
    state->status_listening = program->status_listening;
    return options_each(&program->options, keep_setting, &state->settings);
}

static int inherit_sockets(struct listen_set *to, struct listen_set *from)
{
    *to = *from;
    *from = (struct listen_set){ NULL, 0 };
    for (size_t i = 0; i < to->count; i++) {
        struct listen_socket *sock = &to->items[i];

        if (!listen_is_listening(sock->fd))
            return program_fail(EX_SOFTWARE,
                                UPGRADE_VARIABLE
                                ": the descriptor %d (%s) is not a "
                                "listening socket",
                                sock->fd, sock->name);
        if (sock->path_to_unlink != NULL)
            sock->bound_by = getpid();
    }
    return EX_OK;
}

/* Takes what the program left whose place this one has: at once, so that
 * whatever fails from here on does not lose it. */
static int inherit(struct program *program)
{
    struct upgrade_state *left = &program->left;
    int status, status_too;

    program->is_heir = true;
    origin_inherit(&program->origin, left);
    status = inherit_sockets(&program->listening, &left->listening);
    status_too =
        inherit_sockets(&program->status_listening, &left->status_listening);
    if (status != EX_OK || status_too != EX_OK)
        return EX_SOFTWARE;
    program->is_spawned = left->is_spawned;
    program->pid_file = left->pid_file;
    program->pid_path = left->pid_path;
    if (!elders_inherit(&program->elders, left))
        return program_fail(EX_OSERR, "out of memory");
    return EX_OK;
}

int program_read_left(struct program *program)
{
    char why[UPGRADE_WHY_MAX];

    upgrade_state_init(&program->left);
    if (program->origin.left == NULL)
        return EX_OK;
    if (!upgrade_state_read(&program->left, program->origin.left, why))
        return program_fail(EX_SOFTWARE, UPGRADE_VARIABLE ": %s", why);
    if (program->left.check != -1)
        return EX_OK;
    if (program->left.pid != getpid()) {
        program_warn(NULL, UPGRADE_VARIABLE " was meant for another process");
        upgrade_state_free(&program->left);
        return EX_OK;
    }
    held_begin();
    held_unblock();
    return inherit(program);
}

bool program_supervises_again(const struct program *program)
{
    return program->is_heir && program->left.workers > 0;
}

int program_apply_settings(struct program *program)
{
    const struct string_list *settings = &program->left.settings;

    for (size_t i = 0; i < settings->count; i++) {
        char *name = settings->items[i], *equals = strchr(name, '=');
        struct option_error error;

        *equals = '\0';
        if (options_set(&program->options, name, equals + 1, OPTION_SCRIPT,
                        &error) != OPTIONS_OK)
            log_write(LOG_LEVEL_WARN, "%s", error.message);
    }
    return EX_OK;
}

void program_tell_kept(struct program *program)
{
    struct options *options = &program->options;

    if (!program->is_heir)
        return;
    if ((options->workers > 1) != (program->left.workers > 0))
        log_write(LOG_LEVEL_WARN,
                  "workers has changed: the old value holds until a restart");
    if ((options->pid == NULL) != (program->pid_path == NULL) ||
        (options->pid != NULL && strcmp(options->pid, program->pid_path) != 0))
        log_write(LOG_LEVEL_WARN,
                  "pid has changed: the old value holds until a restart");
}

static bool describe_elders(void *arg, struct upgrade_state *state)
{
    const struct program *program = arg;

    state->generation = program->left.generation + 1;
    return program_describe(arg, state) &&
           elders_describe(&program->elders, state);
}

int program_care(struct program *program, int status)
{
    const struct caretaker_config config = {
        .origin = &program->origin,
        .notify = &program->notify,
        .elders = &program->elders,
        .log = program->options.log,
        .access = program->options.access_log,
        .access_log = program->access_log,
        .load_timeout = program->options.load_timeout,
        .describe = describe_elders,
        .arg = program,
    };

    return caretaker_run(&config, status);
}
