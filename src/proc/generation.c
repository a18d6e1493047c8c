/* generation.c -- see generation.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/generation.h"

#include "base/log.h"
#include "proc/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

/* What cancelled tasks have to clean up, and a little more: see cancel.h. */
static const double last_seconds = 6;

/* Without --slow: Lua that runs for longer without a pause is told of. */
static const double blocked_seconds = 0.1;

extern char **environ;

struct generation *generation_new(const struct options *options,
                                  struct script *script,
                                  const struct script_worker *who)
{
    struct generation *generation = calloc(1, sizeof(*generation));

    if (generation == NULL)
        return NULL;
    list_init(&generation->link);
    generation->options = options != NULL ? options : &generation->own;
    generation->script = script;
    generation->who = *who;
    return generation;
}

/* --- loading -------------------------------------------------------------- */

static void ignore(void *arg, const char *message)
{
    (void)arg; /* it was told at the start */
    (void)message;
}

static int read_options(struct options *options, int argc, char **argv,
                        char *message)
{
    struct option_error error;

    if (options_init(options, &error) == OPTIONS_OK &&
        options_parse_args(options, argc, argv, &error) == OPTIONS_OK &&
        options_parse_environment(options, environ, ignore, NULL, &error) ==
            OPTIONS_OK)
        return EX_OK;
    snprintf(message, LOAD_MESSAGE_MAX, "%s", error.message);
    return error.exit_code;
}

static int load(struct generation *generation, int argc, char **argv,
                char *message)
{
    int code = read_options(&generation->own, argc, argv, message);

    if (code == EX_OK)
        code = load_script(&generation->own, &generation->config,
                           &generation->script, message);
    return code;
}

int generation_read(struct generation **out, int argc, char **argv,
                    const struct script_worker *who, char *message)
{
    struct generation *generation = generation_new(NULL, NULL, who);
    int code;

    *out = NULL;
    snprintf(message, LOAD_MESSAGE_MAX, "not enough memory");
    if (generation == NULL)
        return EX_OSERR;
    code = load(generation, argc, argv, message);
    if (code == EX_OK)
        *out = generation;
    else
        generation_del(generation);
    return code;
}

int generation_load(struct generation **out, int argc, char **argv,
                    const struct script_worker *who, char *message)
{
    struct generation *generation;
    int code = generation_read(out, argc, argv, who, message);

    if (code != EX_OK)
        return code;
    generation = *out;
    if (script_guard_exit(
            generation->script,
            "would end the service: the generation before this one serves")) {
        code = load_start(&generation->own, generation->script, message);
    } else {
        snprintf(message, LOAD_MESSAGE_MAX, "not enough memory");
        code = EX_OSERR;
    }
    if (code != EX_OK) {
        generation_del(generation);
        *out = NULL;
    }
    return code;
}

int generation_try(int argc, char **argv, char *message)
{
    struct generation trial = { .script = NULL };

    return load(&trial, argc, argv, message); /* the process ends */
}

/* --- serving -------------------------------------------------------------- */

/* Called while the script works: see script.h. */
static void hook_ended(void *arg, bool went_well)
{
    struct generation *generation = arg;

    generation->hook_has_ended = true;
    generation->hook_went_well = went_well;
}

void generation_limits(const struct options *options, struct limits *limits)
{
    *limits = limits_default();
    limits->max_params = options->max_params;
    limits->max_body = options->max_body;
    limits->max_spool = options->max_spool;
    limits->max_conns = options->max_conns;
    limits->max_reqs = options->max_reqs;
}

int generation_start(struct generation *generation, struct loop *loop,
                     struct service *service)
{
    const struct options *options = generation->options;
    struct script *script = generation->script;
    struct script_limits limits = {
        .timeout = options->timeout,
        .block_limit = options->block_limit,
        .slow = options->slow,
        .memory_limit = options->memory_limit,
        .stderr_to_log = options->stderr_to_log,
        .resolver = { .servers = options->resolver.items,
                      .server_count = options->resolver.count },
    };

    generation->loop = loop;
    if (log_is_on(LOG_LEVEL_WARN))
        limits.blocked = options->slow > 0 ? options->slow : blocked_seconds;
    if (!script_set_worker(script, &generation->who)) {
        errno = ENOMEM;
        return -1;
    }
    if (script_attach(script, loop, service, &limits) == -1)
        return -1;
    if (options->max_memory > 0 && !script_watch_heap(script)) {
        errno = ENOMEM;
        return -1;
    }
    script_run_on_worker(script, generation->who.id, hook_ended, generation);
    return 0;
}

/* --- the end -------------------------------------------------------------- */

static void on_patience(struct loop_timer *timer)
{
    struct generation *generation =
        list_entry(timer, struct generation, patience);

    if (generation->is_cancelled) {
        generation->is_hopeless = true;
        return;
    }
    generation->is_cancelled = true;
    log_write(LOG_LEVEL_WARN,
              "--grace is over: %u tasks of generation %u are cancelled",
              script_tasks(generation->script), generation->who.generation);
    script_cancel_all(generation->script, "stop");
    loop_timer_start(generation->loop, timer, last_seconds, on_patience);
}

void generation_retire(struct generation *generation, const char *reason,
                       double grace)
{
    generation->state = GENERATION_RETIRED;
    generation->reason = reason;
    if (grace >= 0)
        loop_timer_start(generation->loop, &generation->patience, grace,
                         on_patience);
}

bool generation_step(struct generation *generation)
{
    struct script *script = generation->script;

    if (generation->is_hopeless)
        return true;
    if (generation->state == GENERATION_RETIRED) {
        if (script_tasks(script) > script_worker_tasks(script))
            return false;
        generation->state = GENERATION_EXITING;
        generation->hook_has_ended = false;
        script_run_on_exit(script, generation->who.id, generation->reason,
                           hook_ended, generation);
    }
    if (generation->state == GENERATION_EXITING && generation->hook_has_ended) {
        generation->state = GENERATION_ENDING;
        script_cancel_all(script, generation->reason);
    }
    return generation->state == GENERATION_ENDING && script_tasks(script) == 0;
}

void generation_del(struct generation *generation)
{
    if (generation == NULL)
        return;
    loop_timer_stop(&generation->patience);
    script_del(generation->script);
    options_free(&generation->own);
    free(generation);
}
