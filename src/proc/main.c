/* main.c -- the program: from the command line to a worker that serves.
 *
 * Everything that can go wrong before the first request does so here, with one
 * line on stderr and an exit code of sysexits.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/log.h"
#include "http/session.h"
#include "io/fds.h"
#include "io/peers.h"
#include "proc/caretaker.h"
#include "proc/held.h"
#include "proc/load.h"
#include "proc/notify.h"
#include "proc/options.h"
#include "proc/generation.h"
#include "proc/pidfile.h"
#include "proc/privileges.h"
#include "proc/reload.h"
#include "proc/supervisor.h"
#include "proc/watched.h"
#include "proc/worker.h"
#include "script/script.h"
#include "version.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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
    struct listen_set listening, status_listening;
    struct peers peers;
    struct listen_passed passed; /* by systemd */
    struct privileges user;      /* if --user names one */
    struct notify notify;
    struct access_log *access_log;
    struct board *board;
    struct watch *watch; /* with --watch */
    int board_fd;
    bool is_spawned; /* fd 0 is the listening socket */
    int pid_file;    /* -1: none */
    const char *pid_path;
    struct origin origin;
    struct upgrade_state left; /* by the program whose place this one took */
    bool is_heir;              /* there was one */
    struct elders elders;
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

/* A descriptor that was inherited, for a second use of it; -1: there is none,
 * and errno is as it was. */
static int inherited(int fd)
{
    int saved = errno, copy = fd == -1 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

    errno = saved;
    return copy;
}

/* What root had opened before an upgrade stays open: who serves may not.  The
 * check before it writes to stderr alone. */
static int open_log(const struct program *program)
{
    const struct options *options = &program->options;
    int fd;

    log_set_level((enum log_level)options->log_level);
    if (program->left.check != -1 || log_open(options->log) == 0)
        return EX_OK;
    fd = inherited(program->left.log);
    if (fd == -1)
        return fail(EX_CANTCREAT, "cannot open the log %s: %s", options->log,
                    strerror(errno));
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
    fd = inherited(program->left.access_log);
    if (fd != -1)
        program->access_log =
            access_log_open_fd(fd, options->access_format, name);
    if (program->access_log != NULL)
        return EX_OK;
    return fail(EX_CANTCREAT, "cannot open the access log %s: %s",
                options->access_log, strerror(errno));
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
    const char *http = http_library();

    printf("fcgi-lua %s\n%s, libev %d.%d, %s\nbuilt with %s\n",
           FCGI_LUA_VERSION, script_lua_version(), ev_version_major(),
           ev_version_minor(), http != NULL ? http : "without HTTP",
           FCGI_LUA_BUILD);
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
        return fail(EX_OSERR, "cannot map memory for the counters: %s",
                    strerror(errno));
    elders_use_board(&program->elders, program->board,
                     program->board_fd == program->left.board);
    metrics_share(&program->board->metrics);
    return EX_OK;
}

/* --- the script ----------------------------------------------------------- */

static int open_watch(struct program *program)
{
    const struct options *options = &program->options;

    if (!options->watch || options->check || options->print_config)
        return EX_OK;
    program->watch = watch_new();
    if (program->watch == NULL)
        return fail(EX_OSERR, "out of memory");
    watched_by(program->watch);
    return EX_OK;
}

static int load_once(struct program *program, char *message)
{
    int status = load_script(&program->options, &program->config,
                             &program->script, message);

    if (status != EX_OK && message[0] != '\0')
        fail(status, "%s", message);
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
        return fail(status, "%s", message);
    log_write(LOG_LEVEL_NOTICE, "--dev: requests see the error; waiting for a "
                                "change");
    return EX_OK;
}

/* Is there a socket without asking the script? */
static bool has_sockets(const struct program *program)
{
    int is_listening = 0;
    socklen_t len = sizeof(is_listening);

    return program->options.listen.count > 0 || program->passed.count > 0 ||
           (getsockopt(STDIN_FILENO, SOL_SOCKET, SO_ACCEPTCONN, &is_listening,
                       &len) == 0 &&
            is_listening != 0);
}

/* Reads the options anew, too: a script that failed may have set some. */
static int load_again(struct program *program, char *message)
{
    int status;

    options_free(&program->options);
    status = read_options(program, program->argc, program->argv);
    return status == EX_OK ? load_once(program, message) : status;
}

/* Whoever works on a script that does not load mends it: nothing ends.  After
 * an upgrade who served before still does. */
static bool waits_for_mending(const struct program *program)
{
    return program->watch != NULL && !program->is_heir;
}

static int load(struct program *program)
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

static int open_status_addresses(struct program *program)
{
    const struct string_list *list = &program->options.status_listen;
    struct listen_error error;

    if (program->is_heir)
        return EX_OK; /* it has those of the program before */
    for (size_t i = 0; i < list->count; i++) {
        struct address address;
        char why[ADDRESS_ERROR_TEXT];

        if (!address_parse(list->items[i], &address, why, sizeof(why)))
            return fail(EX_CONFIG, "--status-listen: \"%s\" %s", list->items[i],
                        why);
        if (listen_open(&address, &program->status_listening, &error) == -1)
            return fail(EX_UNAVAILABLE, "--status-listen: %s", error.message);
    }
    return EX_OK;
}

/* Those that are named; else systemd's; else the one on fd 0. */
static int open_sockets(struct program *program)
{
    struct listen_error error;
    int n;

    if (program->is_heir)
        return EX_OK; /* they are open already */
    if (program->options.listen.count > 0)
        return open_addresses(program);
    n = listen_from_systemd(&program->passed, &program->listening, &error);
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

/* --- the user ------------------------------------------------------------- */

/* Another program has become it already, and left its place to this one. */
static bool is_user_already(const struct program *program)
{
    return program->is_heir && geteuid() != 0;
}

/* Looks before anything is opened whether the drop can succeed. */
static int read_user(struct program *program)
{
    const struct options *options = &program->options;
    char why[ADDRESS_ERROR_TEXT];

    if (options->user == NULL || is_user_already(program))
        return EX_OK;
    if (!privileges_parse(options->user, &program->user, why, sizeof(why)))
        return fail(EX_CONFIG, "--user: \"%s\" %s", options->user, why);
    if (privileges_can_become(&program->user))
        return EX_OK;
    return fail(EX_NOPERM,
                "--user: only root can become %s, and this is user %lu",
                options->user, (unsigned long)geteuid());
}

/* message, of LOAD_MESSAGE_MAX bytes, says what is wrong. */
static int drop_privileges(const struct program *program, char *message)
{
    const char *name = program->options.user, *failed;
    const struct privileges *user = &program->user;

    if (name == NULL || is_user_already(program))
        return EX_OK;
    if (privileges_drop(user, &failed) == -1) {
        int code = errno == EPERM ? EX_NOPERM : EX_OSERR;

        snprintf(message, LOAD_MESSAGE_MAX,
                 "--user: cannot become %.200s: %s: %s", name, failed,
                 strerror(errno));
        return code;
    }
    log_write(LOG_LEVEL_NOTICE, "serving as user %lu, group %lu (--user=%s)",
              (unsigned long)user->uid, (unsigned long)user->gid, name);
    return EX_OK;
}

/* The user that serves has it, and on_start runs. */
static int start_script(struct program *program, char *message)
{
    int status = drop_privileges(program, message);

    if (status != EX_OK)
        return status;
    status = load_start(&program->options, program->script, message);
    if (status == EX_OK || program->watch == NULL || !program->options.dev)
        return status;
    fail(status, "%s", message);
    return stand_in(program, message);
}

/* --- upgrades ------------------------------------------------------------- */

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

/* What every kind of process leaves to the program that takes its place. */
static bool describe(void *arg, struct upgrade_state *state)
{
    const struct program *program = arg;

    state->is_spawned = program->is_spawned;
    state->pid_file = program->pid_file;
    state->pid_path = (char *)(size_t)(const void *)program->pid_path;
    state->log = log_fd();
    state->board = program->board_fd;
    if (program->access_log != NULL)
        state->access_log = access_log_file(program->access_log);
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
            return fail(EX_SOFTWARE,
                        UPGRADE_VARIABLE ": the descriptor %d (%s) is not a "
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
        return fail(EX_OSERR, "out of memory");
    return EX_OK;
}

/* Signals have waited for this program, and wait on until it hears them. */
static int read_left(struct program *program)
{
    char why[UPGRADE_WHY_MAX];

    upgrade_state_init(&program->left);
    if (program->origin.left == NULL)
        return EX_OK;
    if (!upgrade_state_read(&program->left, program->origin.left, why))
        return fail(EX_SOFTWARE, UPGRADE_VARIABLE ": %s", why);
    if (program->left.check != -1)
        return EX_OK;
    if (program->left.pid != getpid()) {
        warn(NULL, UPGRADE_VARIABLE " was meant for another process");
        upgrade_state_free(&program->left);
        return EX_OK;
    }
    held_begin();
    held_unblock();
    return inherit(program);
}

/* Its generations load the script, with what they find in it. */
static bool is_supervisor_again(const struct program *program)
{
    return program->is_heir && program->left.workers > 0;
}

/* What the script said that the first program has loaded. */
static int apply_settings(struct program *program)
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

/* The old value holds, as at a reload. */
static void tell_kept(struct program *program)
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
    return describe(arg, state) && elders_describe(&program->elders, state);
}

/* The new program cannot serve: what is left of the old one does. */
static int care(struct program *program, int status)
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

/* --- from start to end ---------------------------------------------------- */

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
        status = start_script(program, message);
        *script = program->script;
        return status;
    }
    status =
        generation_read(&next, program->argc, program->argv, &who, message);
    if (status == EX_OK)
        status = drop_privileges(program, message);
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
        .describe = describe,
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
        .describe = describe,
        .describe_arg = program,
        .elders = &program->elders,
        .watch = program->watch,
    };
    char message[LOAD_MESSAGE_MAX];
    int status = start_script(program, message);

    if (status == EX_OK) {
        config.script = program->script; /* on_start may have changed it */
        program->script = NULL;          /* the worker's */
        status = worker_run(&config);
    } else {
        fail(status, "%s", message);
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
    int status = read_peers(program);

    held_begin(); /* until the worker: else the socket files would stay */
    if (status == EX_OK)
        status = read_user(program);
    if (status == EX_OK)
        status = open_access_log(program);
    if (status == EX_OK)
        status = open_sockets(program);
    if (status == EX_OK)
        status = open_status_addresses(program);
    if (status != EX_OK)
        return status;
    tell_kept(program);
    if (options->dev)
        warn_of_dev(program);
    if (options->pid != NULL && !program->is_heir) {
        program->pid_path = options->pid;
        program->pid_file = pidfile_write(options->pid);
        if (program->pid_file == -1)
            return fail(EX_CANTCREAT, "cannot write the process id to %s: %s",
                        options->pid, strerror(errno));
    }
    if (program->is_heir ? program->left.workers > 0 : options->workers > 1)
        return supervise(program);
    return serve_alone(program);
}

static int run(struct program *program)
{
    const struct options *options = &program->options;
    int status = read_left(program);

    if (status == EX_OK)
        status = read_options(program, program->argc, program->argv);
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
    status = open_log(program);
    listen_read_passed(&program->passed); /* no script sees these variables */
    if (program->is_heir)
        notify_use(&program->notify, program->left.notify);
    else
        notify_open(&program->notify);
    if (status == EX_OK)
        status = open_board(program);
    if (status == EX_OK)
        status = open_watch(program);
    if (status == EX_OK)
        status = is_supervisor_again(program) ? apply_settings(program)
                                              : load(program);
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
    return serve(program);
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
    signal(SIGPIPE, ignore); /* not SIG_IGN, which programs inherit */
    status = run(&program);
    if (elders_serve(&program.elders))
        status = care(&program, status);
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
