/* options_args.c -- the command line.
 *
 * Read by hand: getopt_long keeps its place in globals and has messages of its
 * own, and a nearest name for a mistyped option is not among them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/log.h"
#include "proc/options.h"
#include "proc/options_table.h"
#include "proc/options_value.h"

#include <string.h>
#include <sysexits.h>

/* Where the reading is. */
struct cursor {
    struct options *options;
    char **next, **end; /* the arguments not looked at yet */
    struct option_error *error;
};

static enum options_status bad_usage(struct cursor *args, const char *label,
                                     const char *what)
{
    char quoted[VALUE_QUOTED_TEXT];

    value_quote(label, quoted, sizeof(quoted));
    return options_fail(args->error, OPTIONS_BAD, EX_USAGE, "%s: %s", quoted,
                        what);
}

static enum options_status unknown(struct cursor *args, const char *label,
                                   const char *name)
{
    char quoted[VALUE_QUOTED_TEXT];
    const struct option_spec *nearest;

    value_quote(label, quoted, sizeof(quoted));
    if (name == NULL)
        return options_fail(args->error, OPTIONS_UNKNOWN, EX_USAGE,
                            "%s: there is no such option (try --help)", quoted);
    nearest = options_find_nearest(name, OPTION_COMMAND_LINE);
    return options_fail(args->error, OPTIONS_UNKNOWN, EX_USAGE,
                        "%s: there is no such option (the nearest is --%s)",
                        quoted, nearest->name);
}

/* Sets an option; value is what was attached to it, or NULL. */
static enum options_status set(struct cursor *args,
                               const struct option_spec *spec,
                               const char *label, const char *value)
{
    if (spec->kind == KIND_FLAG) {
        value = "";
    } else if (value == NULL) {
        if (args->next == args->end)
            return bad_usage(args, label, "needs a value");
        value = *args->next++;
    }
    return options_set_spec(args->options, spec, label, value,
                            OPTION_COMMAND_LINE, args->error);
}

/* --name, --name=value or --name value */
static enum options_status read_long(struct cursor *args, const char *arg)
{
    const char *equals = strchr(arg, '=');
    size_t len = equals == NULL ? strlen(arg) : (size_t)(equals - arg);
    const struct option_spec *spec = NULL;
    char label[VALUE_QUOTED_TEXT];

    if (len >= sizeof(label))
        return unknown(args, arg, arg + 2);
    memcpy(label, arg, len);
    label[len] = '\0';
    /* options_find takes '_' for '-', a command line does not */
    if (memchr(label, '_', len) == NULL)
        spec = options_find(label + 2);
    if (spec == NULL)
        return unknown(args, label, label + 2);
    if (spec->kind == KIND_FLAG && equals != NULL)
        return bad_usage(args, label, "takes no value");
    return set(args, spec, label, equals == NULL ? NULL : equals + 1);
}

/* -l value, -lvalue, or flags together as in -tV */
static enum options_status read_letters(struct cursor *args, const char *arg)
{
    enum options_status status = OPTIONS_OK;

    for (arg++; *arg != '\0' && status == OPTIONS_OK; arg++) {
        const struct option_spec *spec = options_find_letter(*arg);
        char label[] = { '-', *arg, '\0' };

        if (spec == NULL)
            return unknown(args, label, NULL);
        if (spec->kind != KIND_FLAG)
            return set(args, spec, label, arg[1] == '\0' ? NULL : arg + 1);
        status = set(args, spec, label, NULL);
    }
    return status;
}

/* Is it -dev or -http=ADDR, which would be -d -e v and -h -t -t ...? */
static bool is_long_with_one_dash(const char *arg)
{
    char name[32];
    size_t len = strcspn(++arg, "=");

    if (len < 2 || len >= sizeof(name))
        return false;
    memcpy(name, arg, len);
    name[len] = '\0';
    return options_find(name) != NULL;
}

enum options_status options_parse_args(struct options *options, int argc,
                                       char **argv, struct option_error *error)
{
    struct cursor args = { options, argv, argv + argc, error };

    if (args.next < args.end)
        args.next++; /* our own name */
    while (args.next < args.end && **args.next == '-') {
        const char *arg = *args.next;
        enum options_status status;

        if (strcmp(arg, "-") == 0)
            break;
        args.next++;
        if (strcmp(arg, "--") == 0)
            break;
        if (arg[1] == '-')
            status = read_long(&args, arg);
        else if (is_long_with_one_dash(arg))
            status = bad_usage(&args, arg, "a long option has two dashes");
        else
            status = read_letters(&args, arg);
        if (status != OPTIONS_OK)
            return status;
        if (options->help || options->version)
            return OPTIONS_OK;
    }
    if (options->dev) {
        options->watch = true;
        if (options_source(options, "log-level") == OPTION_DEFAULT)
            options->log_level = LOG_LEVEL_DEBUG;
    }
    if (args.next < args.end) {
        options->script = *args.next++;
        options->args = args.next;
        options->nargs = (int)(args.end - args.next);
    } else if (!options->print_config) {
        return options_fail(error, OPTIONS_BAD, EX_USAGE,
                            "no APP.lua given; usage: fcgi-lua [OPTION]..."
                            " APP.lua [ARG]... (try --help)");
    }
    return OPTIONS_OK;
}
