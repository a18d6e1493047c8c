/* main.c -- the program: from the command line to a worker that serves.
 *
 * Everything that can go wrong before the first request does so here, with one
 * line on stderr and an exit code of sysexits.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/log.h"
#include "io/fds.h"
#include "io/peers.h"
#include "proc/held.h"
#include "proc/load.h"
#include "proc/options.h"
#include "proc/generation.h"
#include "proc/pidfile.h"
#include "proc/supervisor.h"
#include "proc/worker.h"
#include "script/script.h"
#include "version.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

extern char **environ;

/* All that is set up on the way, and taken down in one place. */
struct program {
    struct options options;
    int argc;
    char **argv;
    struct script_config config;
    struct script *script;
    struct script *template; /* a supervisor's: its processes run it */
    struct listen_set listening;
    struct peers peers;
    bool is_spawned; /* fd 0 is the listening socket */
    bool has_pid_file;
};

/* A line on stderr, and in the log if that is elsewhere. */
__attribute__((format(printf, 2, 3))) static int fail(int exit_code,
                                                      const char *format, ...)
{
    char line[SCRIPT_ERROR_MAX + 256], safe[sizeof(line)];
    va_list args;
    int n;
    size_t len = 0;

    va_start(args, format);
    n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(line))
        n = sizeof(line) - 1;
    for (char *at = line, *end; at < line + n; at = end + 1) { /* by lines */
        end = memchr(at, '\n', (size_t)(line + n - at));
        if (end == NULL)
            end = line + n;
        if (at > line && len < sizeof(safe))
            safe[len++] = '\n';
        len += log_escape((struct slice){ at, (size_t)(end - at) }, safe + len,
                          sizeof(safe) - len);
    }
    fprintf(stderr, "fcgi-lua: %.*s\n", (int)len, safe);
    if (!log_is_stderr())
        log_write(LOG_LEVEL_ERROR, "%.*s", n, line);
    return exit_code;
}

static void warn(void *arg, const char *message)
{
    (void)arg;
    fprintf(stderr, "fcgi-lua: warning: %s\n", message);
}

static int open_log(const struct options *options)
{
    log_set_level((enum log_level)options->log_level);
    if (log_open(options->log) == 0)
        return EX_OK;
    return fail(EX_CANTCREAT, "cannot open the log %s: %s", options->log,
                strerror(errno));
}

static int read_options(struct program *program, int argc, char **argv)
{
    struct option_error error;
    struct options *options = &program->options;

    if (options_init(options, &error) != OPTIONS_OK ||
        options_parse_args(options, argc, argv, &error) != OPTIONS_OK ||
        options_parse_environment(options, environ, warn, NULL, &error) !=
            OPTIONS_OK)
        return fail(error.exit_code, "%s", error.message);
    return EX_OK;
}

static void print_version(void)
{
    printf("fcgi-lua %s\n%s, libev %d.%d\nbuilt with %s\n", FCGI_LUA_VERSION,
           script_lua_version(), ev_version_major(), ev_version_minor(),
           FCGI_LUA_BUILD);
}

/* --- the script ----------------------------------------------------------- */

static int load(struct program *program)
{
    char message[LOAD_MESSAGE_MAX];
    int status = load_script(&program->options, &program->config,
                             &program->script, message);

    return status == EX_OK || message[0] == '\0' ? status
                                                 : fail(status, "%s", message);
}

static int start_script(struct program *program)
{
    char message[LOAD_MESSAGE_MAX];
    int status = load_start(&program->options, program->script, message);

    return status == EX_OK ? EX_OK : fail(status, "%s", message);
}

/* --- the sockets ---------------------------------------------------------- */

static int open_addresses(struct program *program)
{
    const struct string_list *list = &program->options.listen;
    struct listen_error error;

    for (size_t i = 0; i < list->count; i++) {
        struct address address;
        char why[ADDRESS_ERROR_TEXT];

        if (!address_parse(list->items[i], &address, why, sizeof(why)))
            return fail(EX_CONFIG, "--listen: \"%s\" %s", list->items[i], why);
        if (listen_open(&address, &program->listening, &error) == -1)
            return fail(EX_UNAVAILABLE, "%s", error.message);
        if (address.kind == ADDRESS_TCP && address.host[0] == '\0' &&
            !program->peers.is_restricted)
            log_write(LOG_LEVEL_NOTICE,
                      "%s: whoever reaches this port can make requests with "
                      "any parameters; FCGI_WEB_SERVER_ADDRS restricts it",
                      list->items[i]);
    }
    return EX_OK;
}

/* Those that are named; else systemd's; else the one on fd 0. */
static int open_sockets(struct program *program)
{
    struct listen_error error;
    int n;

    if (program->options.listen.count > 0)
        return open_addresses(program);
    n = listen_from_systemd(&program->listening, &error);
    if (n == 0) {
        n = listen_from_stdin(&program->listening, &error);
        program->is_spawned = n > 0;
    }
    if (n == -1)
        return fail(EX_UNAVAILABLE, "%s", error.message);
    if (n > 0)
        return EX_OK;
    return fail(EX_USAGE,
                "nothing to listen on: fd 0 is not a listening socket and "
                "LISTEN_FDS is not set\nTry: fcgi-lua -l 127.0.0.1:9000 %s",
                program->options.script);
}

static int read_peers(struct program *program)
{
    struct slice junk = { "", 0 };

    switch (
        peers_parse(&program->peers, getenv("FCGI_WEB_SERVER_ADDRS"), &junk)) {
    case PEERS_OK:
        return EX_OK;
    case PEERS_NO_MEMORY:
        return fail(EX_OSERR, "out of memory");
    case PEERS_BAD:
        break;
    }
    return fail(EX_CONFIG,
                "FCGI_WEB_SERVER_ADDRS: \"%.*s\" is not an IP address",
                (int)junk.len, junk.data);
}

/* --- from start to end ---------------------------------------------------- */

/* In a process that is to be a template: the settings are read again, too. */
static struct script *load_again(void *arg, struct service_setup *setup,
                                 char *message)
{
    struct program *program = arg;
    struct generation *next = NULL;
    const struct script_worker who = { .generation = 0 };

    if (generation_load(&next, program->argc, program->argv, &who, message) !=
        EX_OK)
        return NULL;
    setup->options = next->options;
    return next->script; /* the process ends before the rest is freed */
}

static int supervise(struct program *program)
{
    struct service_setup setup = { .options = &program->options,
                                   .listening = &program->listening,
                                   .peers = &program->peers,
                                   .board = board_new() };
    int status;

    if (setup.board == NULL)
        return fail(EX_OSERR, "out of memory");
    program->template = program->script;
    program->script = NULL; /* its finalizers are its processes' to run */
    status = supervisor_run(&setup, program->template, load_again, program);
    board_del(setup.board);
    return status;
}

static int serve(struct program *program)
{
    const struct options *options = &program->options;
    struct worker_config config = {
        .options = options,
        .script = program->script,
        .listening = &program->listening,
        .peers = &program->peers,
        .who = { .id = 1, .count = 1, .generation = 1 },
        .argc = program->argc,
        .argv = program->argv,
    };
    int status = read_peers(program);

    held_begin(); /* until the worker: else the socket files would stay */
    if (status == EX_OK)
        status = open_sockets(program);
    if (status != EX_OK)
        return status;
    if (options->pid != NULL) {
        if (pidfile_write(options->pid) == -1)
            return fail(EX_CANTCREAT, "cannot write the process id to %s: %s",
                        options->pid, strerror(errno));
        program->has_pid_file = true;
    }
    if (options->workers > 1)
        return supervise(program);
    status = start_script(program);
    if (status != EX_OK)
        return status;
    config.is_spawned = program->is_spawned;
    program->script = NULL; /* the worker's */
    return worker_run(&config);
}

static int run(struct program *program)
{
    const struct options *options = &program->options;
    int status = read_options(program, program->argc, program->argv);

    if (status != EX_OK)
        return status;
    if (options->help) {
        options_print_help(stdout);
        return EX_OK;
    }
    if (options->version) {
        print_version();
        return EX_OK;
    }
    if (options->print_config && options->script == NULL) {
        options_print_config(options, stdout);
        return EX_OK;
    }
    if (options->chdir != NULL && chdir(options->chdir) == -1)
        return fail(EX_NOINPUT, "--chdir: %s: %s", options->chdir,
                    strerror(errno));
    status = open_log(options);
    if (status == EX_OK)
        status = load(program);
    if (status == EX_OK)
        status = open_log(options); /* the script may have named another */
    if (status != EX_OK)
        return status;
    if (options->print_config) {
        options_print_config(options, stdout);
        return EX_OK;
    }
    if (options->check) {
        printf("fcgi-lua: %s is sound\n", options->script);
        return EX_OK;
    }
    return serve(program);
}

static void ignore(int signo)
{
    (void)signo;
}

int main(int argc, char **argv)
{
    static struct program program; /* a supervisor never frees its script */
    int status;

    program.argc = argc;
    program.argv = argv;

    if (fds_open_missing() == -1 || fds_cloexec_above(2) == -1)
        return EX_OSERR; /* there may be nowhere to say so */
    fds_raise_limit(); /* as far as it goes; the worker says what is missing */
    signal(SIGPIPE, ignore); /* not SIG_IGN, which programs inherit */
    status = run(&program);
    script_del(program.script);
    listen_close(&program.listening);
    if (program.has_pid_file)
        pidfile_remove(program.options.pid);
    peers_free(&program.peers);
    options_free(&program.options);
    log_close();
    if (fflush(stdout) == EOF && status == EX_OK)
        status = EX_IOERR;
    return status;
}
