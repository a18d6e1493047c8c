/* options_table.c -- the table of options, and finding one in it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/options_table.h"
#include "proc/nearest.h"

#include <stdint.h>
#include <string.h>

enum {
    TIME_MAX = 365 * 24 * 3600, /* more is a slip; every timer can hold it */
    WORKERS_MAX = 512,          /* the old and the new ones at a reload: 1024 */
    REQUESTS_MAX = 2000000000,  /* a number that every counter can hold */
    COUNT_MAX = 1000000,        /* as many files a process can usually open */
    PARAMS_MAX = 1 << 30        /* a small multiple of it cannot overflow */
};

const struct option_spec options_table[] = {
    { .name = "listen",
      .letter = 'l',
      .kind = KIND_LISTEN,
      .group = GROUP_LISTEN,
      .offset = offsetof(struct options, listen),
      .argument = "ADDR",
      .help = "HOST:PORT, :PORT, [V6]:PORT, unix:/PATH or fd:N; unix sockets"
              " take ,mode=0660,owner=USER,group=GROUP" },
    { .name = "port",
      .letter = 'p',
      .kind = KIND_PORT,
      .group = GROUP_LISTEN,
      .offset = offsetof(struct options, listen),
      .argument = "N",
      .help = "the same as --listen=:N (every address)" },
    { .name = "http",
      .kind = KIND_LISTEN,
      .group = GROUP_LISTEN,
      .offset = offsetof(struct options, http),
      .argument = "ADDR",
      .help = "also speak plain HTTP there (development only)" },
    { .name = "http-public",
      .kind = KIND_FLAG,
      .group = GROUP_LISTEN,
      .offset = offsetof(struct options, http_public),
      .help = "let other machines reach it" },

    { .name = "workers",
      .letter = 'w',
      .kind = KIND_WORKERS,
      .group = GROUP_PROCESSES,
      .offset = offsetof(struct options, workers),
      .fallback = "1",
      .min = 1,
      .max = WORKERS_MAX,
      .argument = "N|auto",
      .help = "worker processes; auto: one per CPU" },
    { .name = "max-requests",
      .kind = KIND_COUNT,
      .group = GROUP_PROCESSES,
      .offset = offsetof(struct options, max_requests),
      .fallback = "0",
      .note = ": never",
      .max = REQUESTS_MAX,
      .argument = "N",
      .help = "replace a worker after N requests" },
    { .name = "max-memory",
      .kind = KIND_SIZE,
      .group = GROUP_PROCESSES,
      .offset = offsetof(struct options, max_memory),
      .fallback = "0",
      .note = ": never",
      .max = SIZE_MAX / 2,
      .argument = "SIZE",
      .help = "replace a worker whose Lua heap passes SIZE" },
    { .name = "load-timeout",
      .kind = KIND_TIME,
      .reach = REACH_BEFORE_SCRIPT,
      .group = GROUP_PROCESSES,
      .offset = offsetof(struct options, load_timeout),
      .fallback = "30",
      .note = "; 0: never",
      .max = TIME_MAX,
      .argument = "SECS",
      .help = "give up loading a script after SECS" },
    { .name = "user",
      .letter = 'u',
      .kind = KIND_USER,
      .group = GROUP_PROCESSES,
      .offset = offsetof(struct options, user),
      .argument = "USER[:GROUP]",
      .help = "drop privileges after binding" },
    { .name = "chdir",
      .kind = KIND_TEXT,
      .reach = REACH_BEFORE_SCRIPT,
      .group = GROUP_PROCESSES,
      .offset = offsetof(struct options, chdir),
      .argument = "DIR",
      .help = "working directory" },

    { .name = "max-body",
      .kind = KIND_SIZE,
      .group = GROUP_LIMITS,
      .offset = offsetof(struct options, max_body),
      .fallback = "0",
      .note = ": the web server's",
      .max = SIZE_MAX / 2,
      .argument = "SIZE",
      .help = "largest request body" },
    { .name = "max-params",
      .kind = KIND_SIZE,
      .group = GROUP_LIMITS,
      .offset = offsetof(struct options, max_params),
      .fallback = "1M",
      .min = 1,
      .max = PARAMS_MAX,
      .argument = "SIZE",
      .help = "largest parameter block" },
    { .name = "max-spool",
      .kind = KIND_SPOOL,
      .group = GROUP_LIMITS,
      .offset = offsetof(struct options, max_spool),
      .fallback = "1G",
      .max = INT64_MAX,
      .argument = "SIZE",
      .help = "bodies on disk per worker" },
    { .name = "tmpdir",
      .kind = KIND_TEXT,
      .group = GROUP_LIMITS,
      .offset = offsetof(struct options, tmpdir),
      .fallback = "/tmp",
      .note = " unless $TMPDIR is set",
      .argument = "DIR",
      .help = "where those bodies are kept" },
    { .name = "memory-limit",
      .kind = KIND_SIZE,
      .group = GROUP_LIMITS,
      .offset = offsetof(struct options, memory_limit),
      .fallback = "512M",
      .note = "; 0: none",
      .max = SIZE_MAX / 2,
      .argument = "SIZE",
      .help = "Lua memory of a worker; a request that passes it gets 500" },
    { .name = "max-conns",
      .kind = KIND_COUNT,
      .group = GROUP_LIMITS,
      .offset = offsetof(struct options, max_conns),
      .fallback = "1024",
      .min = 1,
      .max = COUNT_MAX,
      .argument = "N",
      .help = "connections per worker" },
    { .name = "max-reqs",
      .kind = KIND_COUNT,
      .group = GROUP_LIMITS,
      .offset = offsetof(struct options, max_reqs),
      .fallback = "1024",
      .min = 1,
      .max = COUNT_MAX,
      .argument = "N",
      .help = "requests at once per worker" },
    { .name = "timeout",
      .kind = KIND_TIME,
      .group = GROUP_LIMITS,
      .offset = offsetof(struct options, timeout),
      .fallback = "0",
      .note = ": never",
      .max = TIME_MAX,
      .argument = "SECS",
      .help = "cancel a request after SECS" },
    { .name = "block-limit",
      .kind = KIND_TIME,
      .group = GROUP_LIMITS,
      .offset = offsetof(struct options, block_limit),
      .fallback = "10",
      .note = "; 0: never",
      .max = TIME_MAX,
      .argument = "SECS",
      .help = "stop Lua code that never yields for SECS; C code is ended with"
              " its worker after twice that" },
    { .name = "grace",
      .kind = KIND_TIME,
      .group = GROUP_LIMITS,
      .offset = offsetof(struct options, grace),
      .fallback = "30",
      .max = TIME_MAX,
      .argument = "SECS",
      .help = "time for running requests at stop or reload" },

    { .name = "dev",
      .letter = 'd',
      .kind = KIND_FLAG,
      .reach = REACH_COMMAND_LINE,
      .group = GROUP_DEVELOPMENT,
      .offset = offsetof(struct options, dev),
      .help = "--watch, error pages with tracebacks, debug log" },
    { .name = "watch",
      .kind = KIND_FLAG,
      .reach = REACH_COMMAND_LINE,
      .group = GROUP_DEVELOPMENT,
      .offset = offsetof(struct options, watch),
      .help = "reload when a loaded .lua file changes" },
    { .name = "request",
      .letter = 'r',
      .kind = KIND_TEXT,
      .reach = REACH_COMMAND_LINE,
      .group = GROUP_DEVELOPMENT,
      .offset = offsetof(struct options, request),
      .argument = "'[METHOD ]URL'",
      .help = "run one request (body from stdin), print the answer, exit 0 if"
              " its status is below 400" },
    { .name = "check",
      .letter = 't',
      .kind = KIND_FLAG,
      .reach = REACH_COMMAND_LINE,
      .group = GROUP_DEVELOPMENT,
      .offset = offsetof(struct options, check),
      .help = "load APP.lua, report errors, exit" },

    { .name = "log",
      .kind = KIND_TEXT,
      .group = GROUP_LOGS,
      .offset = offsetof(struct options, log),
      .fallback = "-",
      .note = ", that is stderr",
      .argument = "FILE|-|syslog",
      .help = "errors" },
    { .name = "log-level",
      .kind = KIND_LEVEL,
      .group = GROUP_LOGS,
      .offset = offsetof(struct options, log_level),
      .fallback = "notice",
      .choices = "error|warn|notice|info|debug",
      .argument = "LEVEL",
      .help = "error, warn, notice, info or debug" },
    { .name = "stderr",
      .kind = KIND_SWITCH,
      .group = GROUP_LOGS,
      .offset = offsetof(struct options, stderr_to_log),
      .fallback = "fcgi",
      .note = ": the web server's log, and ours; use log behind HAProxy before"
              " 2.6.14",
      .choices = "fcgi|log",
      .argument = "fcgi|log",
      .help = "where req:write_err and script errors go" },
    { .name = "access-log",
      .kind = KIND_TEXT,
      .group = GROUP_LOGS,
      .offset = offsetof(struct options, access_log),
      .argument = "FILE|-",
      .help = "one line per request (default: none)" },
    { .name = "access-format",
      .kind = KIND_FORMAT,
      .group = GROUP_LOGS,
      .offset = offsetof(struct options, access_format),
      .fallback = "combined",
      .argument = "FMT",
      .help = "a format string as of php-fpm, combined or json" },
    { .name = "slow",
      .kind = KIND_TIME,
      .group = GROUP_LOGS,
      .offset = offsetof(struct options, slow),
      .fallback = "0",
      .note = ": never",
      .max = TIME_MAX,
      .argument = "SECS",
      .help = "log requests slower than SECS with their traceback" },
    { .name = "status",
      .kind = KIND_PATH,
      .group = GROUP_LOGS,
      .offset = offsetof(struct options, status),
      .argument = "PATH",
      .help = "serve the status page at PATH" },
    { .name = "ping",
      .kind = KIND_PATH,
      .group = GROUP_LOGS,
      .offset = offsetof(struct options, ping),
      .argument = "PATH",
      .help = "answer requests for PATH with \"pong\"" },
    { .name = "status-listen",
      .kind = KIND_LISTEN,
      .group = GROUP_LOGS,
      .offset = offsetof(struct options, status_listen),
      .argument = "ADDR",
      .help = "the status page on its own socket, FastCGI or HTTP; answered"
              " even when workers hang" },
    { .name = "pid",
      .kind = KIND_TEXT,
      .group = GROUP_LOGS,
      .offset = offsetof(struct options, pid),
      .argument = "FILE",
      .help = "write the process id" },

    { .name = "eval",
      .letter = 'e',
      .kind = KIND_CHUNK,
      .reach = REACH_BEFORE_SCRIPT,
      .group = GROUP_LUA,
      .offset = offsetof(struct options, eval),
      .argument = "CHUNK",
      .help = "run CHUNK before APP.lua (may be repeated)" },
    { .name = "include",
      .letter = 'I',
      .kind = KIND_LIST,
      .reach = REACH_BEFORE_SCRIPT,
      .group = GROUP_LUA,
      .offset = offsetof(struct options, include),
      .argument = "DIR",
      .help = "add DIR to package.path (may be repeated)" },
    { .name = "lua-compat",
      .kind = KIND_VERSION,
      .reach = REACH_BEFORE_SCRIPT,
      .group = GROUP_LUA,
      .offset = offsetof(struct options, lua_compat),
      .choices = "5.1|5.3",
      .argument = "5.1|5.3",
      .help = "also search the pure-Lua modules of that version" },
    { .name = "resolver",
      .kind = KIND_SERVERS,
      .group = GROUP_LUA,
      .offset = offsetof(struct options, resolver),
      .argument = "ADDR",
      .help = "name server for fcgi.resolve and connect, ADDR[:PORT] or"
              " [V6]:PORT (may be repeated; default: those of"
              " /etc/resolv.conf)" },
    { .name = "help",
      .letter = 'h',
      .kind = KIND_FLAG,
      .reach = REACH_COMMAND_LINE,
      .group = GROUP_LUA,
      .offset = offsetof(struct options, help),
      .help = "print this text" },
    { .name = "version",
      .letter = 'V',
      .kind = KIND_FLAG,
      .reach = REACH_COMMAND_LINE,
      .group = GROUP_LUA,
      .offset = offsetof(struct options, version),
      .help = "print the versions of this program, Lua and the libraries" },
    { .name = "print-config",
      .kind = KIND_FLAG,
      .reach = REACH_COMMAND_LINE,
      .group = GROUP_LUA,
      .offset = offsetof(struct options, print_config),
      .help = "print the settings in force and where each came from" },
};

const size_t options_table_count =
    sizeof(options_table) / sizeof(options_table[0]);

_Static_assert(sizeof(options_table) / sizeof(options_table[0]) <=
                   OPTIONS_TABLE_MAX,
               "struct options keeps a source for every option");

static bool is_same_name(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++)
        if (*a != *b && !(*a == '_' && *b == '-') && !(*a == '-' && *b == '_'))
            return false;
    return *a == *b;
}

const struct option_spec *options_find(const char *name)
{
    for (size_t i = 0; i < options_table_count; i++)
        if (is_same_name(options_table[i].name, name))
            return &options_table[i];
    return NULL;
}

const struct option_spec *options_find_letter(char letter)
{
    for (size_t i = 0; i < options_table_count; i++)
        if (letter != '\0' && options_table[i].letter == letter)
            return &options_table[i];
    return NULL;
}

bool options_may_set(const struct option_spec *spec, enum option_source source)
{
    switch (spec->reach) {
    case REACH_ALL:
        break;
    case REACH_BEFORE_SCRIPT:
        return source != OPTION_SCRIPT;
    case REACH_COMMAND_LINE:
        return source == OPTION_COMMAND_LINE;
    }
    return true;
}

const struct option_spec *options_find_nearest(const char *name,
                                               enum option_source source)
{
    const struct option_spec *nearest = NULL;
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < options_table_count; i++) {
        size_t distance = nearest_distance(name, options_table[i].name);

        if (distance < best && options_may_set(&options_table[i], source)) {
            nearest = &options_table[i];
            best = distance;
        }
    }
    return nearest;
}

size_t options_source_index(const struct option_spec *spec)
{
    for (size_t i = 0; i < options_table_count; i++)
        if (options_table[i].offset == spec->offset)
            return i;
    return (size_t)(spec - options_table); /* not reached: spec is in it */
}
