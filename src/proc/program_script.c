/* program_script.c -- the script that is served: see program.h for the
 * contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/program.h"

#include "base/log.h"
#include "proc/watched.h"

#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

static int load_once(struct program *program, char *message)
{
    int status = load_script(&program->options, &program->config,
                             &program->script, message);

    if (status != EX_OK && message[0] != '\0')
        program_fail(status, "%s", message);
    return status;
}

/* In place of a script that does not load or start. */
static int stand_in(struct program *program, const char *why)
{
    char message[LOAD_MESSAGE_MAX];
    int status;

    script_del(program->script);
    status =
        load_stand_in(&program->options, &program->config, &program->script,
                      why[0] != '\0' ? why : "the log tells why", message);
    if (status != EX_OK)
        return program_fail(status, "%s", message);
    watched_know(program->watch, program->script);
    log_write(LOG_LEVEL_NOTICE, "--dev: requests see the error; waiting for a "
                                "change");
    return EX_OK;
}

/* Is there a socket without asking the script? */
static bool has_sockets(const struct program *program)
{
    int is_listening = 0;
    socklen_t len = sizeof(is_listening);

    return program->options.listen.count > 0 ||
           program->options.http.count > 0 || program->passed.count > 0 ||
           (getsockopt(STDIN_FILENO, SOL_SOCKET, SO_ACCEPTCONN, &is_listening,
                       &len) == 0 &&
            is_listening != 0);
}

/* Reads the options anew, too: a script that failed may have set some. */
static int load_again(struct program *program, char *message)
{
    int status;

    options_free(&program->options);
    status = program_read_options(program, program->argc, program->argv);
    return status == EX_OK ? load_once(program, message) : status;
}

/* Whoever works on a script that does not load mends it: nothing ends.  After
 * an upgrade who served before still does. */
static bool waits_for_mending(const struct program *program)
{
    return program->watch != NULL && !program->is_heir;
}

int program_open_watch(struct program *program)
{
    const struct options *options = &program->options;

    if (!options->watch || options->check || options->print_config ||
        options->request != NULL)
        return EX_OK;
    program->watch = watch_new();
    if (program->watch == NULL)
        return program_fail(EX_OSERR, "out of memory");
    watched_by(program->watch);
    return EX_OK;
}

int program_load(struct program *program)
{
    char message[LOAD_MESSAGE_MAX];
    const char *changed;
    int status;

    status = load_once(program, message);
    while (status != EX_OK && waits_for_mending(program)) {
        if (program->options.dev && has_sockets(program))
            return stand_in(program, message);
        log_write(LOG_LEVEL_NOTICE, "--watch: waiting for a change");
        changed = watch_wait(program->watch);
        if (changed == NULL)
            return status;
        log_write(LOG_LEVEL_NOTICE, "%s has changed", changed);
        watch_begin_load(program->watch);
        status = load_again(program, message);
        if (status == EX_OK)
            watch_end_load(program->watch);
    }
    return status;
}

int program_start_script(struct program *program, char *message)
{
    int status = program_drop_privileges(program, message);

    if (status != EX_OK)
        return status;
    status = load_start(&program->options, program->script, message);
    if (status == EX_OK || program->watch == NULL || !program->options.dev)
        return status;
    program_fail(status, "%s", message);
    return stand_in(program, message);
}
