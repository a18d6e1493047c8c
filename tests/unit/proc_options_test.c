/* proc_options_test.c -- the command line, the environment, the settings.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "proc/nearest.h"
#include "proc/options.h"
#include "proc/options_value.h"

enum { ARGS_MAX = 16, WARNINGS_TEXT = 1024 };

static struct options options;
static struct option_error error;
static char warnings[WARNINGS_TEXT];

static int set_up(void **state)
{
    (void)state;
    unsetenv("TMPDIR");
    warnings[0] = '\0';
    error = (struct option_error){ .exit_code = 0 };
    return options_init(&options, &error) == OPTIONS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    options_free(&options);
    return 0;
}

/* Parses a command line written with single blanks; the name comes first. */
static enum options_status parse(const char *line)
{
    static char copy[1024];
    static char *argv[ARGS_MAX + 1];
    static char name[] = "fcgi-lua";
    int argc = 1;

    argv[0] = name;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *arg = strtok(copy, " "); arg != NULL; arg = strtok(NULL, " ")) {
        assert_true(argc < ARGS_MAX);
        argv[argc++] = arg;
    }
    argv[argc] = NULL;
    return options_parse_args(&options, argc, argv, &error);
}

static void warn(void *arg, const char *message)
{
    size_t len = strlen(warnings);

    assert_ptr_equal(arg, &options);
    snprintf(warnings + len, sizeof(warnings) - len, "%s\n", message);
}

static enum options_status read_environment(const char *variable)
{
    char other[] = "PATH=/bin", *environment[3] = { other };
    enum options_status status;

    environment[1] = strdup(variable);
    assert_non_null(environment[1]);
    status = options_parse_environment(&options, environment, warn, &options,
                                       &error);
    free(environment[1]);
    return status;
}

static enum options_status set(const char *name, const char *value)
{
    return options_set(&options, name, value, OPTION_SCRIPT, &error);
}

/* A command line that is refused, with its message. */
static void assert_usage_error(const char *line, const char *message)
{
    assert_int_not_equal(parse(line), OPTIONS_OK);
    assert_string_equal(error.message, message);
    assert_int_equal(error.exit_code, 64);
}

/* What print writes; valid until the next call. */
static const char *printed(void (*print)(FILE *out))
{
    static char text[8192];
    FILE *out = fmemopen(text, sizeof(text), "w");

    assert_non_null(out);
    print(out);
    assert_int_equal(fclose(out), 0);
    assert_true(strlen(text) < sizeof(text) - 1);
    return text;
}

static void print_config(FILE *out)
{
    options_print_config(&options, out);
}

static void assert_config_has(const char *line)
{
    const char *text = printed(print_config);
    const char *found = strstr(text, line);

    if (found == NULL)
        fail_msg("no line \"%s\" in:\n%s", line, text);
    else
        assert_true(found == text || found[-1] == '\n');
}

static void defaults_are_those_of_the_help(void **state)
{
    (void)state;
    assert_int_equal(parse("app.lua"), OPTIONS_OK);
    assert_int_equal(options.listen.count, 0);
    assert_int_equal(options.workers, 1);
    assert_int_equal(options.max_body, 0);
    assert_int_equal(options.max_params, 1024 * 1024);
    assert_int_equal(options.max_spool, 1024 * 1024 * 1024);
    assert_int_equal(options.memory_limit, 512 * 1024 * 1024);
    assert_int_equal(options.max_conns, 1024);
    assert_int_equal(options.max_reqs, 1024);
    assert_true(options.timeout == 0);
    assert_true(options.block_limit == 10);
    assert_true(options.grace == 30);
    assert_string_equal(options.tmpdir, "/tmp");
    assert_string_equal(options.log, "-");
    assert_int_equal(options.log_level, 2);
    assert_false(options.stderr_to_log);
    assert_null(options.pid);
    assert_null(options.chdir);
    assert_null(options.lua_compat);
    assert_false(options.check || options.help || options.version ||
                 options.print_config);
    assert_int_equal(options_source(&options, "grace"), OPTION_DEFAULT);
}

static void tmpdir_defaults_to_the_variable(void **state)
{
    (void)state;
    options_free(&options);
    setenv("TMPDIR", "/var/tmp", 1);
    assert_int_equal(options_init(&options, &error), OPTIONS_OK);
    assert_string_equal(options.tmpdir, "/var/tmp");
    assert_int_equal(options_source(&options, "tmpdir"), OPTION_DEFAULT);
    options_free(&options);
    setenv("TMPDIR", "", 1);
    assert_int_equal(options_init(&options, &error), OPTIONS_OK);
    assert_string_equal(options.tmpdir, "/tmp");
    unsetenv("TMPDIR");
}

static void every_option_reaches_its_field(void **state)
{
    (void)state;
    assert_int_equal(parse("-w 1 --max-body=10M --max-params 64k"
                           " --max-spool=2G --tmpdir=/x --max-conns=7"
                           " --max-reqs=8 --timeout=1.5"),
                     OPTIONS_BAD); /* no script yet */
    assert_int_equal(parse("--block-limit=500ms --memory-limit=1G --grace=2m"
                           " --log=/l --log-level=debug --stderr=log --pid=/p"
                           " --chdir=/d --lua-compat=5.1 -t --print-config"),
                     OPTIONS_OK);
    assert_int_equal(options.workers, 1);
    assert_int_equal(options.max_body, 10 * 1024 * 1024);
    assert_int_equal(options.max_params, 64 * 1024);
    assert_true(options.max_spool == 2ULL * 1024 * 1024 * 1024);
    assert_string_equal(options.tmpdir, "/x");
    assert_int_equal(options.max_conns, 7);
    assert_int_equal(options.max_reqs, 8);
    assert_true(options.timeout == 1.5);
    assert_true(options.block_limit == 0.5);
    assert_true(options.memory_limit == 1024ULL * 1024 * 1024);
    assert_true(options.grace == 120);
    assert_string_equal(options.log, "/l");
    assert_int_equal(options.log_level, 4);
    assert_true(options.stderr_to_log);
    assert_string_equal(options.pid, "/p");
    assert_string_equal(options.chdir, "/d");
    assert_string_equal(options.lua_compat, "5.1");
    assert_true(options.check);
    assert_true(options.print_config);
    assert_int_equal(options_source(&options, "max_body"), OPTION_COMMAND_LINE);
}

static void repeated_options_make_lists(void **state)
{
    (void)state;
    assert_int_equal(parse("-l :9000 -lunix:/a --listen fd:0 -p 9001"
                           " -e a=1 --eval=b=2 -I x -Iy app.lua"),
                     OPTIONS_OK);
    assert_int_equal(options.listen.count, 4);
    assert_string_equal(options.listen.items[0], ":9000");
    assert_string_equal(options.listen.items[1], "unix:/a");
    assert_string_equal(options.listen.items[2], "fd:0");
    assert_string_equal(options.listen.items[3], ":9001");
    assert_int_equal(options.eval.count, 2);
    assert_string_equal(options.eval.items[1], "b=2");
    assert_int_equal(options.include.count, 2);
    assert_string_equal(options.include.items[1], "y");
    assert_int_equal(options_source(&options, "port"), OPTION_COMMAND_LINE);
}

static void options_stop_at_the_script(void **state)
{
    (void)state;
    assert_int_equal(parse("-t app.lua -t --bogus x"), OPTIONS_OK);
    assert_string_equal(options.script, "app.lua");
    assert_int_equal(options.nargs, 3);
    assert_string_equal(options.args[1], "--bogus");
    assert_int_equal(parse("-t -- --odd.lua"), OPTIONS_OK);
    assert_string_equal(options.script, "--odd.lua");
    assert_int_equal(options.nargs, 0);
    assert_int_equal(parse("- a"), OPTIONS_OK);
    assert_string_equal(options.script, "-");
}

static void help_and_version_end_the_reading(void **state)
{
    (void)state;
    assert_int_equal(parse("-h --bogus"), OPTIONS_OK);
    assert_true(options.help);
    assert_int_equal(parse("-tV"), OPTIONS_OK);
    assert_true(options.check);
    assert_true(options.version);
    assert_null(options.script);
}

static void a_missing_script_is_a_usage_error(void **state)
{
    char *nothing[] = { NULL };

    (void)state;
    assert_usage_error("", "no APP.lua given; usage: fcgi-lua [OPTION]..."
                           " APP.lua [ARG]... (try --help)");
    assert_usage_error("-t --", "no APP.lua given; usage: fcgi-lua"
                                " [OPTION]... APP.lua [ARG]... (try --help)");
    assert_int_equal(options_parse_args(&options, 0, nothing, &error),
                     OPTIONS_BAD);
}

static void the_format_of_the_access_log_is_checked(void **state)
{
    (void)state;
    assert_int_equal(parse("a.lua"), OPTIONS_OK);
    assert_null(options.access_log);
    assert_string_equal(options.access_format, "combined");
    assert_true(options.slow == 0);
    options_free(&options);
    assert_int_equal(parse("--access-log=- --access-format=%R%% --slow=1.5 "
                           "a.lua"),
                     OPTIONS_OK);
    assert_string_equal(options.access_log, "-");
    assert_string_equal(options.access_format, "%R%%");
    assert_true(options.slow == 1.5);
    assert_usage_error("--access-format=%y a.lua",
                       "--access-format: \"%y\" has an unknown directive: %y");
    assert_usage_error("--access-format= a.lua",
                       "--access-format: \"\" is empty");
    assert_int_equal(read_environment("FCGI_LUA_ACCESS_FORMAT=%y"),
                     OPTIONS_BAD);
    assert_int_equal(error.exit_code, 78);
}

static void long_options_have_two_dashes(void **state)
{
    (void)state;
    assert_usage_error("-dev a.lua", "-dev: a long option has two dashes");
    assert_usage_error("-http=:8080 a.lua",
                       "-http=:8080: a long option has two dashes");
    assert_usage_error("-user", "-user: a long option has two dashes");
}

static void unknown_options_name_the_nearest(void **state)
{
    (void)state;
    assert_usage_error("--max-bdoy=1 a.lua",
                       "--max-bdoy: there is no such option (the nearest is"
                       " --max-body)");
    assert_usage_error("--max_body=1 a.lua",
                       "--max_body: there is no such option (the nearest is"
                       " --max-body)");
    assert_usage_error("--verison", "--verison: there is no such option (the"
                                    " nearest is --version)");
    assert_usage_error("-tx a.lua", "-x: there is no such option (try --help)");
    assert_usage_error("-\x01", "-\\x01: there is no such option (try"
                                " --help)");
    assert_int_equal(parse("--htp=:80 a.lua"), OPTIONS_UNKNOWN);
}

static void a_page_has_a_path(void **state)
{
    (void)state;
    assert_int_equal(parse("a.lua"), OPTIONS_OK);
    assert_null(options.status);
    assert_null(options.ping);
    assert_int_equal(parse("--status=/status --ping=/p/ing a.lua"), OPTIONS_OK);
    assert_string_equal(options.status, "/status");
    assert_string_equal(options.ping, "/p/ing");
    assert_usage_error("--status=status a.lua",
                       "--status: \"status\" is not a path: it begins with /");
    assert_usage_error("--ping=/ping?x a.lua",
                       "--ping: \"/ping?x\" is not a path: it has a query");
}

static void an_endless_option_name_is_cut_in_the_message(void **state)
{
    char line[1024] = "--";

    (void)state;
    memset(line + 2, 'x', 1000);
    assert_int_equal(parse(line), OPTIONS_UNKNOWN);
    assert_non_null(strstr(error.message, "xxx...: there is no such option"));
    assert_true(strlen(error.message) < 200);
}

static void values_are_required_or_refused(void **state)
{
    (void)state;
    assert_usage_error("--max-body", "--max-body: needs a value");
    assert_usage_error("-l", "-l: needs a value");
    assert_usage_error("--check=yes a.lua", "--check: takes no value");
    assert_usage_error("--pid= a.lua", "--pid: \"\" is empty");
    assert_usage_error("--max-body= a.lua",
                       "--max-body: \"\" is not a size (try 64k, 10M)");
}

static void bad_values_get_one_clear_line(void **state)
{
    (void)state;
    assert_usage_error("--max-body=12x a.lua",
                       "--max-body: \"12x\" is not a size (try 64k, 10M)");
    assert_usage_error("--max-params=0 a.lua",
                       "--max-params: \"0\" is out of range (1 to 1G)");
    assert_usage_error("--timeout=-1 a.lua",
                       "--timeout: \"-1\" is not a time (try 0.5, 500ms, 2m)");
    assert_usage_error("--grace=99999h a.lua",
                       "--grace: \"99999h\" is too long (at most 8760h)");
    assert_usage_error("--max-conns=0 a.lua",
                       "--max-conns: \"0\" is out of range (1 to 1000000)");
    assert_usage_error("--max-reqs=many a.lua",
                       "--max-reqs: \"many\" is not a number");
    assert_usage_error("-p 65536 a.lua",
                       "-p: \"65536\" is not a port (0 to 65535)");
    assert_usage_error("-p http a.lua", "-p: \"http\" is not a port number");
    assert_usage_error("--log-level=loud a.lua",
                       "--log-level: \"loud\" is none of"
                       " error|warn|notice|info|debug");
    assert_usage_error("-l localhost a.lua",
                       "-l: \"localhost\" has no port (try :9000 or"
                       " 127.0.0.1:9000)");
    assert_usage_error("--user= a.lua", "--user: \"\" names no user");
    assert_usage_error("-u nobody: a.lua",
                       "-u: \"nobody:\" names no group behind its :");
    assert_usage_error("-u no-such-user a.lua",
                       "-u: \"no-such-user\" names a user that does not exist");
    assert_usage_error("--pid=\x1b --tmpdir= a", "--tmpdir: \"\" is empty");
    assert_usage_error("--stderr=\x1b[2J\"\\ a.lua",
                       "--stderr: \"\\x1b[2J\\\"\\\\\" is none of fcgi|log");
}

static void workers_are_a_number_or_auto(void **state)
{
    (void)state;
    assert_int_equal(parse("-w1 app.lua"), OPTIONS_OK);
    assert_int_equal(parse("-w 2 app.lua"), OPTIONS_OK);
    assert_int_equal(options.workers, 2);
    assert_int_equal(parse("--workers=auto app.lua"), OPTIONS_OK);
    assert_true(options.workers >= 1);
    assert_usage_error("-w many app.lua",
                       "-w: \"many\" is neither a number nor auto");
    assert_int_not_equal(parse("-w 0 app.lua"), OPTIONS_OK);
    assert_int_not_equal(parse("-w 513 app.lua"), OPTIONS_OK);
}

static void a_bad_value_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(set("listen", ":9000"), OPTIONS_OK);
    assert_int_equal(parse("-l : app.lua"), OPTIONS_BAD);
    assert_int_equal(options.listen.count, 1);
    assert_int_equal(options_source(&options, "listen"), OPTION_SCRIPT);
}

static void the_environment_sets_what_it_names(void **state)
{
    (void)state;
    assert_int_equal(read_environment("FCGI_LUA_MAX_BODY=64K"), OPTIONS_OK);
    assert_int_equal(options.max_body, 65536);
    assert_int_equal(options_source(&options, "max-body"), OPTION_ENVIRONMENT);
    assert_int_equal(read_environment("FCGI_LUA_LISTEN= :9000\tunix:/a "),
                     OPTIONS_OK);
    assert_int_equal(read_environment("FCGI_LUA_PORT=1 2"), OPTIONS_OK);
    assert_int_equal(options.listen.count, 4);
    assert_string_equal(options.listen.items[1], "unix:/a");
    assert_string_equal(options.listen.items[3], ":2");
    assert_int_equal(read_environment("FCGI_LUA_EVAL=x = 1"), OPTIONS_OK);
    assert_int_equal(options.eval.count, 1);
    assert_string_equal(options.eval.items[0], "x = 1");
    assert_string_equal(warnings, "");
}

static void a_bad_variable_is_a_configuration_error(void **state)
{
    (void)state;
    assert_int_equal(read_environment("FCGI_LUA_MAX_BODY=12x"), OPTIONS_BAD);
    assert_string_equal(error.message, "FCGI_LUA_MAX_BODY: \"12x\" is not a"
                                       " size (try 64k, 10M)");
    assert_int_equal(error.exit_code, 78);
    assert_int_equal(read_environment("FCGI_LUA_INCLUDE="), OPTIONS_BAD);
    assert_string_equal(error.message, "FCGI_LUA_INCLUDE: \"\" is empty");
    assert_int_equal(read_environment("FCGI_LUA_LISTEN= "), OPTIONS_BAD);
    assert_int_equal(read_environment("FCGI_LUA_WORKERS=0"), OPTIONS_BAD);
    assert_int_equal(error.exit_code, 78);
}

static void unknown_variables_are_warned_about(void **state)
{
    char endless[512] = "FCGI_LUA_";

    (void)state;
    assert_int_equal(read_environment("FCGI_LUA_MAXBODY=1"), OPTIONS_OK);
    assert_string_equal(warnings, "FCGI_LUA_MAXBODY is ignored: there is no"
                                  " such setting (the nearest is"
                                  " FCGI_LUA_MAX_BODY)\n");
    warnings[0] = '\0';
    assert_int_equal(read_environment("FCGI_LUA_VERSION=1.0"), OPTIONS_OK);
    assert_string_equal(warnings, "FCGI_LUA_VERSION is ignored: --version can"
                                  " be given on the command line only\n");
    warnings[0] = '\0';
    assert_int_equal(read_environment("FCGI_LUA_max_body=1"), OPTIONS_OK);
    assert_int_equal(read_environment("FCGI_LUA_=1"), OPTIONS_OK);
    memset(endless + strlen(endless), 'A', 400);
    endless[409] = '=';
    assert_int_equal(read_environment(endless), OPTIONS_OK);
    assert_non_null(strstr(warnings, "FCGI_LUA_max_body is ignored"));
    assert_non_null(strstr(warnings, "FCGI_LUA_ is ignored"));
    assert_non_null(strstr(warnings, "AAA... is ignored"));
    assert_int_equal(options.max_body, 0);
    assert_false(options.version);
}

static void other_variables_are_left_alone(void **state)
{
    (void)state;
    assert_int_equal(read_environment("FCGI_WEB_SERVER_ADDRS=x"), OPTIONS_OK);
    assert_int_equal(read_environment("FCGI_LUA_MAX_BODY"), OPTIONS_OK);
    assert_string_equal(warnings, "");
}

static void a_weaker_source_never_replaces_a_stronger_one(void **state)
{
    (void)state;
    assert_int_equal(parse("--grace=1 -l :1 app.lua"), OPTIONS_OK);
    assert_int_equal(read_environment("FCGI_LUA_GRACE=2"), OPTIONS_OK);
    assert_int_equal(read_environment("FCGI_LUA_TIMEOUT=2"), OPTIONS_OK);
    assert_int_equal(read_environment("FCGI_LUA_PORT=2"), OPTIONS_OK);
    assert_int_equal(set("grace", "3"), OPTIONS_OK);
    assert_int_equal(set("timeout", "3"), OPTIONS_OK);
    assert_int_equal(set("block_limit", "3"), OPTIONS_OK);
    assert_int_equal(set("listen", ":3"), OPTIONS_OK);
    assert_true(options.grace == 1);
    assert_true(options.timeout == 2);
    assert_true(options.block_limit == 3);
    assert_int_equal(options.listen.count, 1);
    assert_string_equal(options.listen.items[0], ":1");
    assert_int_equal(options_source(&options, "block-limit"), OPTION_SCRIPT);
    assert_int_equal(set("grace", "x"), OPTIONS_BAD); /* checked all the same */
}

static void a_stronger_source_replaces_a_whole_list(void **state)
{
    (void)state;
    assert_int_equal(set("listen", ":1"), OPTIONS_OK);
    assert_int_equal(set("listen", ":2"), OPTIONS_OK);
    assert_int_equal(options.listen.count, 2);
    assert_int_equal(read_environment("FCGI_LUA_LISTEN=:3 :4"), OPTIONS_OK);
    assert_int_equal(options.listen.count, 2);
    assert_string_equal(options.listen.items[0], ":3");
    assert_int_equal(parse("-p 5 app.lua"), OPTIONS_OK);
    assert_int_equal(options.listen.count, 1);
    assert_string_equal(options.listen.items[0], ":5");
}

static void fields_of_the_script_may_have_dashes(void **state)
{
    (void)state;
    assert_int_equal(set("max_body", "1k"), OPTIONS_OK);
    assert_int_equal(options.max_body, 1024);
    assert_int_equal(set("max-body", "2k"), OPTIONS_OK);
    assert_int_equal(options.max_body, 2048);
}

static void an_unknown_field_names_the_nearest(void **state)
{
    (void)state;
    assert_int_equal(set("max_bdy", "1"), OPTIONS_UNKNOWN);
    assert_string_equal(error.message, "max_bdy: there is no such setting (the"
                                       " nearest is max-body)");
    assert_int_equal(error.exit_code, 78);
    assert_int_equal(set("", "1"), OPTIONS_UNKNOWN);
    assert_int_equal(set("hepl", "1"), OPTIONS_UNKNOWN);
    assert_null(strstr(error.message, "nearest is help"));
}

static void a_script_cannot_set_what_came_before_it(void **state)
{
    (void)state;
    assert_int_equal(set("eval", "x = 1"), OPTIONS_BAD);
    assert_string_equal(error.message, "eval: is needed before the script is"
                                       " loaded: give it on the command line");
    assert_int_equal(error.exit_code, 78);
    assert_int_equal(set("include", "x"), OPTIONS_BAD);
    assert_int_equal(set("lua_compat", "5.1"), OPTIONS_BAD);
    assert_int_equal(set("chdir", "/"), OPTIONS_BAD);
    assert_int_equal(set("version", "1.0"), OPTIONS_BAD);
    assert_string_equal(error.message, "version: can be given on the command"
                                       " line only");
}

static void the_help_fits_80_columns_and_has_every_option(void **state)
{
    const char *help = printed(options_print_help);

    (void)state;
    for (const char *line = help; *line != '\0';
         line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") < 80);
    assert_non_null(strstr(help, "\n  -l, --listen=ADDR       HOST:PORT,"));
    assert_non_null(strstr(help, "\n      --max-conns=N       connections per"
                                 " worker (default 1024)\n"));
    assert_non_null(strstr(help, "\n      --timeout=SECS      cancel a request"
                                 " after SECS (default 0: never)\n"));
    assert_non_null(strstr(help, "\n  -h, --help              "));
    assert_non_null(strstr(help, "\nLogs and status:\n"));
    assert_non_null(
        strstr(help, "\n      --http=ADDR         also speak plain"));
}

static void print_config_shows_values_and_sources(void **state)
{
    (void)state;
    assert_int_equal(parse("--max-body=10240k -e a\nb\\ -l :1 -p 2 -u nobody "
                           "app.lua"),
                     OPTIONS_OK);
    assert_int_equal(read_environment("FCGI_LUA_TIMEOUT=1500ms"), OPTIONS_OK);
    assert_int_equal(set("log_level", "info"), OPTIONS_OK);
    assert_config_has("max-body = 10M  (command line)\n");
    assert_config_has("eval = a\\x0ab\\\\  (command line)\n");
    assert_config_has("listen = :1  (command line)\n"
                      "listen = :2  (command line)\n");
    assert_config_has("timeout = 1.5  (environment)\n");
    assert_config_has("user = nobody  (command line)\n");
    assert_config_has("log-level = info  (script)\n");
    assert_config_has("stderr = fcgi  (default)\n");
    assert_config_has("max-spool = 1G  (default)\n");
    assert_config_has("max-conns = 1024  (default)\n");
    assert_config_has("pid =   (default)\n");
    assert_config_has("include =   (default)\n");
}

static void print_config_needs_no_script(void **state)
{
    (void)state;
    assert_int_equal(parse("--print-config"), OPTIONS_OK);
    assert_null(options.script);
}

static void sizes_are_powers_of_1024(void **state)
{
    static const struct {
        const char *text;
        unsigned long long size;
    } good[] = { { "0", 0 },          { "1", 1 },
                 { "64k", 65536 },    { "64K", 65536 },
                 { "10M", 10485760 }, { "1G", 1073741824 },
                 { "007", 7 },        { "1048576", 1048576 } };
    unsigned long long size;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(value_size(good[i].text, 0, SIZE_MAX, &size),
                         VALUE_OK);
        assert_int_equal(size, good[i].size);
    }
}

static void malformed_values_are_refused(void **state)
{
    static const char *const junk[] = {
        "",    " 1",  "1 ",  "+1",  "-1", "0x10", "k",  "1kk", "1kb", "1.5k",
        "1e3", "inf", "nan", "1,5", "1.", ".5",   "1T", "1d",  "1 s", "1.m",
    };
    unsigned long long number;
    double seconds;

    (void)state;
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
        assert_int_equal(value_size(junk[i], 0, SIZE_MAX, &number),
                         VALUE_MALFORMED);
        assert_int_equal(value_count(junk[i], 0, SIZE_MAX, &number),
                         VALUE_MALFORMED);
        assert_int_equal(value_time(junk[i], 1e9, &seconds), VALUE_MALFORMED);
    }
}

static void overflow_is_out_of_range(void **state)
{
    unsigned long long number;
    double seconds;

    (void)state;
    assert_int_equal(value_size("18446744073709551615", 0, SIZE_MAX, &number),
                     VALUE_OK);
    assert_int_equal(number, SIZE_MAX);
    assert_int_equal(
        value_size("18446744073709551616", 0, SIZE_MAX / 2, &number),
        VALUE_RANGE);
    assert_int_equal(value_size("99999999999G", 0, SIZE_MAX, &number),
                     VALUE_RANGE);
    assert_int_equal(value_size("18014398509481984k", 0, SIZE_MAX, &number),
                     VALUE_RANGE);
    assert_int_equal(value_count("99999999999999999999", 0, 5, &number),
                     VALUE_RANGE);
    assert_int_equal(value_time("99999999999999999999h", 1e9, &seconds),
                     VALUE_RANGE);
}

static void times_have_units(void **state)
{
    static const struct {
        const char *text;
        double seconds;
    } good[] = { { "0", 0 },
                 { "30", 30 },
                 { "30s", 30 },
                 { "0.5", 0.5 },
                 { "2m", 120 },
                 { "1h", 3600 },
                 { "500ms", .5 },
                 { "1ms", 1e-3 },
                 { "1.5h", 5400 },
                 { "0.29", .29 },
                 { "0.12345678901234567890", .123456789 } };
    double seconds;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(value_time(good[i].text, 1e9, &seconds), VALUE_OK);
        assert_true(seconds == good[i].seconds);
    }
}

static void printed_sizes_read_the_same(void **state)
{
    static const unsigned long long sizes[] = { 0,          1,         1023,
                                                1024,       1025,      65536,
                                                1ULL << 40, ULLONG_MAX };
    char text[VALUE_SIZE_TEXT];
    unsigned long long size;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        value_print_size(sizes[i], text);
        assert_int_equal(value_size(text, 0, ULLONG_MAX, &size), VALUE_OK);
        assert_true(size == sizes[i]);
    }
}

static void quoting_never_passes_its_room(void **state)
{
    char out[64];

    (void)state;
    for (size_t room = 8; room < sizeof(out); room++) {
        memset(out, '#', sizeof(out));
        value_quote("ab\x01\"\\\n\x7fxyz\xc3\xa4 and a lot more of it", out,
                    room);
        assert_true(strlen(out) < room);
        assert_int_equal(out[room], '#');
    }
    value_quote("a\tb", out, sizeof(out));
    assert_string_equal(out, "a\\x09b");
}

static void distance_counts_edits_and_swaps(void **state)
{
    char longer[200];

    (void)state;
    assert_int_equal(nearest_distance("", ""), 0);
    assert_int_equal(nearest_distance("log", ""), 3);
    assert_int_equal(nearest_distance("", "log"), 3);
    assert_int_equal(nearest_distance("MAX_BODY", "max-body"), 0);
    assert_int_equal(nearest_distance("max-bdoy", "max-body"), 1);
    assert_int_equal(nearest_distance("maxbody", "max-body"), 1);
    assert_int_equal(nearest_distance("kitten", "sitting"), 3);
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(nearest_distance(longer, "x"), 198);
    assert_int_equal(nearest_distance("x", longer), 198);
}

static void assert_ok_or_no_memory(enum options_status status)
{
    if (status == OPTIONS_OK)
        return;
    assert_int_equal(status, OPTIONS_NO_MEMORY);
    assert_int_equal(error.exit_code, 71);
    assert_string_equal(error.message, "out of memory");
}

static void live_once(void *arg)
{
    static char one[] = "FCGI_LUA_LISTEN=:1 :2", two[] = "FCGI_LUA_EVAL=x = 1";
    char *environment[] = { one, two, NULL };

    (void)arg;
    options_free(&options);
    assert_ok_or_no_memory(options_init(&options, &error));
    assert_ok_or_no_memory(set("listen", ":4"));
    assert_ok_or_no_memory(set("pid", "/a"));
    assert_ok_or_no_memory(options_parse_environment(&options, environment,
                                                     warn, &options, &error));
    assert_ok_or_no_memory(parse("-p 3 -I x -Iy --log=z --pid=/b app.lua"));
    options_free(&options);
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    alloc_each_fails(live_once, NULL);
}

static void a_list_survives_running_out_of_memory(void **state)
{
    (void)state;
    assert_int_equal(set("listen", ":1"), OPTIONS_OK);
    for (size_t k = 1; k <= 2; k++) {
        alloc_fail_at(k);
        assert_int_equal(parse("-p 2 app.lua"), OPTIONS_NO_MEMORY);
        alloc_fail_at(0);
        assert_int_equal(options.listen.count, 1);
        assert_string_equal(options.listen.items[0], ":1");
        assert_int_equal(options_source(&options, "listen"), OPTION_SCRIPT);
    }
}

/* --- comparing ------------------------------------------------------------ */

/* Does the option differ from its default once it has that value? */
static bool differs(const char *name, const char *value)
{
    struct options other;
    bool differs;

    assert_int_equal(options_init(&other, &error), OPTIONS_OK);
    assert_false(options_differ(&options, &other, name));
    assert_int_equal(
        options_set(&other, name, value, OPTION_COMMAND_LINE, &error),
        OPTIONS_OK);
    differs = options_differ(&options, &other, name);
    assert_int_equal(options_differ(&other, &options, name), differs);
    assert_false(options_differ(&other, &other, name));
    options_free(&other);
    return differs;
}

static void options_of_each_kind_are_compared(void **state)
{
    (void)state;
    assert_true(differs("listen", ":9000"));
    assert_true(differs("resolver", "192.0.2.1,[::1]:53"));
    assert_true(differs("port", "9000"));
    assert_true(differs("pid", "/run/pid"));
    assert_true(differs("log", "/log"));
    assert_false(differs("log", "-"));
    assert_true(differs("lua-compat", "5.1"));
    assert_true(differs("eval", "x = 1"));
    assert_true(differs("include", "/lua"));
    assert_true(differs("check", ""));
    assert_true(differs("stderr", "log"));
    assert_false(differs("stderr", "fcgi"));
    assert_true(differs("log_level", "debug"));
    assert_true(differs("max-body", "1k"));
    assert_true(differs("max-spool", "1k"));
    assert_false(differs("max-spool", "1G"));
    assert_true(differs("max-conns", "1"));
    assert_false(differs("workers", "1"));
    assert_true(differs("grace", "29.5"));
    assert_false(differs("grace", "30"));
    assert_false(options_differ(&options, &options, "nonsense"));
}

static void lists_are_compared_item_by_item(void **state)
{
    struct options other;

    (void)state;
    assert_int_equal(options_init(&other, &error), OPTIONS_OK);
    assert_int_equal(set("listen", ":1"), OPTIONS_OK);
    assert_int_equal(options_set(&other, "listen", ":1", OPTION_SCRIPT, &error),
                     OPTIONS_OK);
    assert_false(options_differ(&options, &other, "listen"));
    assert_int_equal(set("listen", ":2"), OPTIONS_OK);
    assert_true(options_differ(&options, &other, "listen"));
    assert_int_equal(options_set(&other, "listen", ":3", OPTION_SCRIPT, &error),
                     OPTIONS_OK);
    assert_true(options_differ(&options, &other, "listen"));
    options_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_are_those_of_the_help, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(tmpdir_defaults_to_the_variable, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_option_reaches_its_field, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(repeated_options_make_lists, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(options_stop_at_the_script, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(help_and_version_end_the_reading,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_script_is_a_usage_error,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_format_of_the_access_log_is_checked,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_options_have_two_dashes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(unknown_options_name_the_nearest,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_page_has_a_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            an_endless_option_name_is_cut_in_the_message, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_are_required_or_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(bad_values_get_one_clear_line, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(workers_are_a_number_or_auto, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_bad_value_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_environment_sets_what_it_names,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_variable_is_a_configuration_error,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_variables_are_warned_about,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_variables_are_left_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_weaker_source_never_replaces_a_stronger_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stronger_source_replaces_a_whole_list,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(fields_of_the_script_may_have_dashes,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_field_names_the_nearest,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_script_cannot_set_what_came_before_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_help_fits_80_columns_and_has_every_option, set_up, tear_down),
        cmocka_unit_test_setup_teardown(print_config_shows_values_and_sources,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(print_config_needs_no_script, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(sizes_are_powers_of_1024, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(malformed_values_are_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(overflow_is_out_of_range, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(times_have_units, set_up, tear_down),
        cmocka_unit_test_setup_teardown(printed_sizes_read_the_same, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(quoting_never_passes_its_room, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(distance_counts_edits_and_swaps, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(running_out_of_memory_is_an_error,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_list_survives_running_out_of_memory,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(options_of_each_kind_are_compared,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(lists_are_compared_item_by_item, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
