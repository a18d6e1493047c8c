/* load.c -- see load.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/load.h"

#include "proc/watched.h"

#include <stdio.h>
#include <sysexits.h>

static int tell(const struct options *options, enum script_status status,
                const char *error, char *message)
{
    snprintf(message, LOAD_MESSAGE_MAX, "%s", error);
    switch (status) {
    case SCRIPT_OK:
        break;
    case SCRIPT_SYNTAX:
        return EX_DATAERR;
    case SCRIPT_UNREADABLE:
        return EX_NOINPUT;
    case SCRIPT_REFUSED:
        return EX_NOPERM;
    case SCRIPT_FAILED:
        return EX_CONFIG;
    case SCRIPT_NO_MEMORY:
        snprintf(message, LOAD_MESSAGE_MAX, "%.200s: %s", options->script,
                 error);
        return EX_OSERR;
    }
    return EX_OK;
}

struct setting {
    struct options *options;
    struct option_error error;
};

static bool set_option(void *arg, const char *name, const char *value)
{
    struct setting *setting = arg;

    return options_set(setting->options, name, value, OPTION_SCRIPT,
                       &setting->error) == OPTIONS_OK;
}

/* What the script's table says, where nobody stronger has spoken. */
static int read_settings(struct options *options, struct script *script,
                         char *message)
{
    struct setting setting = { .options = options };

    message[0] = '\0';
    if (script_each_setting(script, set_option, &setting))
        return EX_OK;
    if (setting.error.message[0] == '\0')
        return EX_CONFIG; /* it was told already */
    snprintf(message, LOAD_MESSAGE_MAX, "%.200s: %s", options->script,
             setting.error.message);
    return setting.error.exit_code;
}

static void configure(const struct options *options,
                      struct script_config *config)
{
    *config = (struct script_config){
        .path = options->script,
        .args = options->args,
        .nargs = options->nargs,
        .include = options->include.items,
        .includes = options->include.count,
        .eval = options->eval.items,
        .evals = options->eval.count,
        .lua_compat = options->lua_compat,
        .memory_limit = options->memory_limit,
        .load_timeout = options->load_timeout,
        .no_exit = options->no_exit,
        .on_file = options->watch ? watched_file : NULL,
        .is_dev = options->dev,
    };
}

int load_stand_in(struct options *options, struct script_config *config,
                  struct script **out, const char *why, char *message)
{
    char error[SCRIPT_ERROR_MAX] = "";
    int code;

    configure(options, config);
    config->is_stand_in = true;
    code = tell(options, script_load(config, out, error), error, message);
    if (code == EX_OK)
        script_break(*out, why);
    return code;
}

int load_script(struct options *options, struct script_config *config,
                struct script **out, char *message)
{
    char error[SCRIPT_ERROR_MAX] = "";
    int code;

    configure(options, config);
    code = tell(options, script_load(config, out, error), error, message);
    if (code == EX_OK)
        code = read_settings(options, *out, message);
    if (code != EX_OK) {
        script_del(*out);
        *out = NULL;
    }
    return code;
}

int load_start(const struct options *options, struct script *script,
               char *message)
{
    char error[SCRIPT_ERROR_MAX] = "";

    return tell(options, script_start(script, error), error, message);
}
