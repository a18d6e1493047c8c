/* options.h -- the command line, the environment and the script's settings.
 *
 * One table of options (options_table.c) says all there is to say about each:
 * parsing, --help, the FCGI_LUA_NAME variables, the fields of the table that a
 * script returns, and --print-config follow from it.  Sources may be read in
 * any order: a value never replaces one from a stronger source.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_OPTIONS_H
#define PROC_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Where a value came from, the weakest first. */
enum option_source {
    OPTION_DEFAULT,
    OPTION_SCRIPT,
    OPTION_ENVIRONMENT,
    OPTION_COMMAND_LINE
};

enum options_status {
    OPTIONS_OK,
    OPTIONS_UNKNOWN, /* there is no such option */
    OPTIONS_BAD,     /* the option exists, its value or its place is wrong */
    OPTIONS_NO_MEMORY
};

/* Filled whenever the status is not OPTIONS_OK.  The message is one line
 * without control bytes, without the program's name and without a newline.
 * exit_code is one of sysexits.h: 64 for the command line, 78 for the other
 * sources, 71 when memory ran out. */
struct option_error {
    int exit_code;
    char message[512];
};

struct string_list {
    char **items;
    size_t count;
};

enum { OPTIONS_TABLE_MAX = 48 }; /* room for every option's source */

/* Strings and lists belong to the struct, but script and args, which point
 * into argv.  Text that was not given and has no default is NULL. */
struct options {
    struct string_list listen;  /* valid addresses; -p N arrives as ":N" */
    struct string_list http;    /* the same; without a host: this machine */
    bool http_public;           /* other machines may reach them */
    struct string_list include; /* folders */
    struct string_list eval;    /* Lua chunks */

    const char *script; /* NULL only with help, version or print_config */
    char **args;
    int nargs;
    const char *no_exit; /* no option: see script_config */

    unsigned workers;
    unsigned max_requests; /* of a worker; 0: no limit */
    size_t max_memory;     /* bytes of a worker's Lua heap; 0: no limit */
    double load_timeout;   /* seconds; 0: never */
    char *user;            /* USER[:GROUP], which exist; or NULL */
    char *chdir;

    size_t max_body; /* bytes; 0: no limit of ours */
    size_t max_params;
    uint64_t max_spool;
    char *tmpdir;
    size_t memory_limit; /* bytes; 0: none */
    unsigned max_conns, max_reqs;
    double timeout;     /* seconds; 0: never */
    double block_limit; /* seconds; 0: never */
    double grace;       /* seconds */

    char *log;
    int log_level; /* 0 error, 1 warn, 2 notice, 3 info, 4 debug */
    bool stderr_to_log;
    char *access_log; /* a file or "-"; NULL: none */
    char *access_format;
    double slow;         /* seconds; 0: never */
    char *status, *ping; /* paths; NULL: there is no such page */
    struct string_list status_listen;
    char *pid;

    struct string_list resolver; /* "ADDR[,ADDR]" each; none: the system's */

    char *lua_compat; /* "5.1" or "5.3" */
    bool dev, watch;  /* dev has watch set */
    char *request;    /* "[METHOD ]URL", to be served alone; or NULL */
    bool check, help, version, print_config;

    enum option_source sources[OPTIONS_TABLE_MAX];
};

/* Sets every default; tmpdir is $TMPDIR when that is set and not empty.  The
 * struct may be freed whatever the outcome. */
enum options_status options_init(struct options *options,
                                 struct option_error *error);

/* Frees what the options own; a struct of zeroes is fine. */
void options_free(struct options *options);

/* Reads a command line.  --dev sets watch, and the default of log_level.
 * Options end at the first argument that is none, which
 * is the script, or at "--"; what follows the script are its own arguments.
 * --help and --version end the reading: what stands behind them is not looked
 * at.  argv must outlive the options. */
enum options_status options_parse_args(struct options *options, int argc,
                                       char **argv, struct option_error *error);

/* Reads the variables FCGI_LUA_NAME.  Lists are separated by blanks, but
 * FCGI_LUA_EVAL is one chunk.  For a variable that is no setting, warn(arg,
 * message) is called with a line of the kind described above and reading goes
 * on; it ends at the first bad value. */
enum options_status
options_parse_environment(struct options *options, char **environment,
                          void (*warn)(void *arg, const char *message),
                          void *arg, struct option_error *error);

/* Sets one option by its long name; '_' and '-' are the same in it.  A list
 * takes value as its next item; the first item from a stronger source empties
 * it.  A value from a source that is weaker than the one in force is checked,
 * then dropped.  When the status is not OPTIONS_OK nothing has changed.
 *
 * OPTION_SCRIPT cannot set what is needed before the script is loaded (eval,
 * include, lua-compat, chdir, load-timeout), and only OPTION_COMMAND_LINE can
 * set check, help, version and print-config: OPTIONS_BAD. */
enum options_status options_set(struct options *options, const char *name,
                                const char *value, enum option_source source,
                                struct option_error *error);

/* Where the value of an option came from; OPTION_DEFAULT if there is no such
 * option.  port and listen are one setting. */
enum option_source options_source(const struct options *options,
                                  const char *name);

/* Has an option another value in a than in b?  Not if there is no such
 * option. */
bool options_differ(const struct options *a, const struct options *b,
                    const char *name);

/* A value of an option as users write it; of a list an item.  NULL: there is
 * none. */
typedef bool options_each_fn(void *arg, const char *name, const char *value,
                             enum option_source source);

/* Calls fn(arg, ...) with all values in force until it returns false.  Returns
 * whether it never did. */
bool options_each(const struct options *options, options_each_fn *fn,
                  void *arg);

/* The text of --help, at most 80 columns wide. */
void options_print_help(FILE *out);

/* The settings in force, one "name = value  (source)" a line; a list has a
 * line for each item, and what is not set has no value. */
void options_print_config(const struct options *options, FILE *out);

#endif
