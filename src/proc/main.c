/* main.c -- the program: from the command line to a worker that serves.
 *
 * Everything that can go wrong before the first request does so here, with one
 * line on stderr and an exit code of sysexits.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/program.h"

#include "base/log.h"
#include "http/session.h"
#include "io/fds.h"
#include "io/resolver.h"
#include "proc/generation.h"
#include "proc/held.h"
#include "proc/oneshot.h"
#include "proc/pidfile.h"
#include "proc/reload.h"
#include "proc/supervisor.h"
#include "proc/upgrade.h"
#include "proc/watched.h"
#include "proc/worker.h"
#include "version.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* What root had opened before an upgrade stays open: who serves may not.  The
 * check before it writes to stderr alone. */
static int open_log(const struct program *program)
{
    const struct options *options = &program->options;
    int fd;

    log_set_level((enum log_level)options->log_level);
    if (program->left.check != -1 || log_open(options->log) == 0)
        return EX_OK;
    fd = program_inherited(program->left.log);
    if (fd == -1)
        return program_fail(EX_CANTCREAT, "cannot open the log %s: %s",
                            options->log, log_open_error());
    log_use(fd);
    return EX_OK;
}

static int open_access_log(struct program *program)
{
    const struct options *options = &program->options;
    const char *name;
    int fd;

    if (options->access_log == NULL)
        return EX_OK;
    name = strrchr(options->script, '/');
    name = name == NULL ? options->script : name + 1;
    program->access_log =
        access_log_open(options->access_log, options->access_format, name);
    if (program->access_log != NULL)
        return EX_OK;
    fd = program_inherited(program->left.access_log);
    if (fd != -1)
        program->access_log =
            access_log_open_fd(fd, options->access_format, name);
    if (program->access_log != NULL)
        return EX_OK;
    return program_fail(EX_CANTCREAT, "cannot open the access log %s: %s",
                        options->access_log, log_open_error());
}

static void print_version(void)
{
    const char *http = http_library(), *resolver = resolver_library();

    printf("fcgi-lua %s\n%s, libev %d.%d, %s, %s\nbuilt with %s\n",
           FCGI_LUA_VERSION, script_lua_version(), ev_version_major(),
           ev_version_minor(), http != NULL ? http : "without HTTP",
           resolver != NULL ? resolver : "without c-ares", FCGI_LUA_BUILD);
}

/* The script may count on it as soon as it is loaded. */
static int open_board(struct program *program)
{
    program->board_fd = program->left.board;
    if (program->board_fd != -1)
        program->board = board_open(program->board_fd);
    if (program->board == NULL)
        program->board = board_new(&program->board_fd);
    if (program->board == NULL)
        return program_fail(EX_OSERR, "cannot map memory for the counters: %s",
                            strerror(errno));
    elders_use_board(&program->elders, program->board,
                     program->board_fd == program->left.board);
    metrics_share(&program->board->metrics);
    return EX_OK;
}

/* In a process that is to be a template.  Of later generations the settings are
 * read again, too; --user is what it was. */
static int prepare_template(void *arg, struct service_setup *setup,
                            struct script **script, char *message)
{
    struct program *program = arg;
    struct generation *next = NULL;
    const struct script_worker who = { .generation = 0 };
    int status;

    if (*script != NULL) {
        status = program_start_script(program, message);
        *script = program->script;
        return status;
    }
    status =
        generation_read(&next, program->argc, program->argv, &who, message);
    if (status == EX_OK)
        status = program_drop_privileges(program, message);
    if (status == EX_OK)
        status = load_start(next->options, next->script, message);
    if (status != EX_OK)
        return status;
    reload_tell_kept(setup->options, next->options, true);
    log_set_level((enum log_level)next->options->log_level);
    setup->options = next->options;
    *script = next->script; /* the process ends before the rest is freed */
    return EX_OK;
}

static int supervise(struct program *program)
{
    struct service_setup setup = {
        .options = &program->options,
        .listening = &program->listening,
        .status_listening = &program->status_listening,
        .peers = &program->peers,
        .notify = &program->notify,
        .access_log = program->access_log,
        .board = program->board,
        .watch = program->watch,
        .origin = &program->origin,
        .describe = program_describe,
        .describe_arg = program,
        .left = program->is_heir ? &program->left : NULL
    };
    struct script *script = program->script;
    int status = supervisor_run(&setup, script, prepare_template, program);
    program->script = NULL; /* its finalizers are its processes' to run */
    program->template = script;
    return status;
}

/* Serves in this process. */
static int serve_alone(struct program *program)
{
    struct worker_config config = {
        .options = &program->options,
        .listening = &program->listening,
        .status_listening = &program->status_listening,
        .peers = &program->peers,
        .notify = &program->notify,
        .access_log = program->access_log,
        .is_spawned = program->is_spawned,
        .who = { .id = 1,
                 .count = 1,
                 .generation = program->left.generation + 1 },
        .argc = program->argc,
        .argv = program->argv,
        .board = program->board,
        .slot = board_take(program->board, 1, program->left.generation + 1),
        .origin = &program->origin,
        .describe = program_describe,
        .describe_arg = program,
        .elders = &program->elders,
        .watch = program->watch,
    };
    char message[LOAD_MESSAGE_MAX];
    int status = program_start_script(program, message);

    if (status == EX_OK) {
        config.script = program->script; /* on_start may have changed it */
        program->script = NULL;          /* the worker's */
        status = worker_run(&config);
    } else {
        program_fail(status, "%s", message);
    }
    if (elders_serve(&program->elders)) /* and this process never did */
        board_release(program->board, config.slot);
    return status;
}

/* Error pages show code and requests to whoever can connect. */
static void warn_of_dev(const struct program *program)
{
    char where[ADDRESS_TEXT];

    log_write(LOG_LEVEL_NOTICE, "--dev: errors show source and requests to "
                                "clients: not for production");
    if (listen_is_public(&program->listening, where))
        log_write(LOG_LEVEL_WARN,
                  "--dev on %s: whoever reaches it may read source code: "
                  "listen on 127.0.0.1 or a unix socket",
                  where);
    if (geteuid() == 0 && program->options.user == NULL)
        log_write(LOG_LEVEL_WARN, "--dev as root: whoever provokes an error "
                                  "sees what root runs: use another user, or "
                                  "--user");
}

static int serve(struct program *program)
{
    const struct options *options = &program->options;
    int status = program_read_peers(program);

    held_begin(); /* until the worker: else the socket files would stay */
    if (status == EX_OK)
        status = program_read_user(program);
    if (status == EX_OK)
        status = open_access_log(program);
    if (status == EX_OK)
        program_close_left_logs(program);
    if (status == EX_OK)
        status = program_open_sockets(program);
    if (status == EX_OK)
        status = program_open_status_sockets(program);
    if (status != EX_OK)
        return status;
    program_tell_kept(program);
    if (options->dev)
        warn_of_dev(program);
    if (options->pid != NULL && !program->is_heir) {
        program->pid_path = options->pid;
        program->pid_file = pidfile_write(options->pid);
        if (program->pid_file == -1)
            return program_fail(EX_CANTCREAT,
                                "cannot write the process id to %s: %s",
                                options->pid, strerror(errno));
    }
    if (program->is_heir ? program->left.workers > 0 : options->workers > 1)
        return supervise(program);
    return serve_alone(program);
}

/* One request from the shell. */
static int serve_one(struct program *program)
{
    char message[LOAD_MESSAGE_MAX];
    int status = program_read_user(program);
    struct script *script;

    if (status != EX_OK)
        return status;
    status = program_start_script(program, message);
    if (status != EX_OK)
        return program_fail(status, "%s", message);
    script = program->script;
    program->script = NULL; /* oneshot's */
    return oneshot_run(&program->options, script);
}

static int run(struct program *program)
{
    const struct options *options = &program->options;
    int status = program_read_left(program);

    if (status == EX_OK)
        status = program_read_options(program, program->argc, program->argv);
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
        return program_fail(EX_NOINPUT, "--chdir: %s: %s", options->chdir,
                            strerror(errno));
    status = open_log(program);
    listen_read_passed(&program->passed); /* no script sees these variables */
    if (program->is_heir)
        notify_use(&program->notify, program->left.notify);
    else
        notify_open(&program->notify);
    if (status == EX_OK)
        status = open_board(program);
    if (status == EX_OK)
        status = program_open_watch(program);
    if (status == EX_OK)
        status = program_supervises_again(program)
                     ? program_apply_settings(program)
                     : program_load(program);
    if (status == EX_OK)
        status = open_log(program); /* the script may have named another */
    if (status != EX_OK)
        return status;
    if (options->print_config) {
        options_print_config(options, stdout);
        return EX_OK;
    }
    if (options->check) {
        printf("fcgi-lua: %s is sound\n", options->script);
        if (program->left.check != -1)
            upgrade_answer(&program->left);
        return EX_OK;
    }
    return options->request != NULL ? serve_one(program) : serve(program);
}

static void ignore(int signo)
{
    (void)signo;
}

int main(int argc, char **argv)
{
    /* A supervisor never frees its script. */
    static struct program program = { .pid_file = -1,
                                      .board_fd = -1,
                                      .notify = NOTIFY_NOBODY };
    int status;

    program.argc = argc;
    program.argv = argv;

    elders_init(&program.elders);
    if (fds_open_missing() == -1 || fds_cloexec_above(2) == -1 ||
        origin_init(&program.origin, argc, argv) == -1)
        return EX_OSERR; /* there may be nowhere to say so */
    fds_raise_limit(); /* as far as it goes; the worker says what is missing */
    signal(SIGPIPE, ignore);  /* not SIG_IGN, which programs inherit */
    signal(SIGCHLD, SIG_DFL); /* ignored: no child's status is kept */
    signal(SIGXFSZ, ignore);  /* then writing fails, with EFBIG */
    status = run(&program);
    if (elders_serve(&program.elders))
        status = program_care(&program, status);
    script_del(program.script);
    watched_by(NULL);
    watch_del(program.watch);
    listen_close(&program.listening);
    listen_close(&program.status_listening);
    if (program.pid_file != -1 &&
        pidfile_remove(program.pid_path, program.pid_file) == -1)
        log_write(LOG_LEVEL_NOTICE,
                  "%s stays, emptied: this user may not remove it (%s)",
                  program.pid_path, strerror(errno));
    notify_close(&program.notify);
    peers_free(&program.peers);
    board_del(program.board);
    access_log_close(program.access_log);
    options_free(&program.options);
    elders_free(&program.elders);
    upgrade_state_free(&program.left);
    origin_free(&program.origin);
    log_close();
    if (fflush(stdout) == EOF && status == EX_OK)
        status = EX_IOERR;
    return status;
}
