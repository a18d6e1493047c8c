/* generation.h -- a script in a process that serves, from its on_worker to its
 * last task.
 *
 *     STARTING -- on_worker has ended --> SERVING -- generation_retire -->
 *     RETIRED -- its last request has ended --> EXITING -- on_exit has -->
 *     ENDING -- the worker's own tasks have --> over
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_GENERATION_H
#define PROC_GENERATION_H

#include "base/list.h"
#include "proc/options.h"
#include "script/script.h"

enum generation_state {
    GENERATION_STARTING,
    GENERATION_SERVING,
    GENERATION_RETIRED,
    GENERATION_EXITING,
    GENERATION_ENDING
};

struct generation {
    struct list link;              /* among those that are retired */
    const struct options *options; /* own, or the program's */
    struct options own;
    struct script_config config; /* of a script that was loaded with own */
    struct script *script;
    struct script_worker who;
    enum generation_state state;
    const char *reason; /* why it is retired */
    bool hook_has_ended, hook_went_well;

    struct loop *loop;
    struct loop_timer patience; /* once it is retired */
    bool is_cancelled;          /* grace is over */
    bool is_hopeless;           /* so is the time to clean up */
};

/* A generation of the program's own script and options, which takes the script
 * over.  NULL when there is no memory: then the script is still the
 * caller's. */
struct generation *generation_new(const struct options *options,
                                  struct script *script,
                                  const struct script_worker *who);

/* One that is loaded anew, on_start included, from the program's arguments and
 * its environment.  Returns EX_OK, or an exit code and message as
 * load_script. */
int generation_load(struct generation **out, int argc, char **argv,
                    const struct script_worker *who, char *message);

/* The same without on_start. */
int generation_read(struct generation **out, int argc, char **argv,
                    const struct script_worker *who, char *message);

/* The same as far as can be tried without any effect but that of the script's
 * top level. */
int generation_try(int argc, char **argv, char *message);

/* What the options say of the limits of a service. */
void generation_limits(const struct options *options, struct limits *limits);

/* Attaches the script and begins on_worker; hook_has_ended tells when that is
 * over.  Returns 0, or -1 with errno. */
int generation_start(struct generation *generation, struct loop *loop,
                     struct service *service);

/* It gets no new requests: has them end, then the worker's tasks.  After grace
 * seconds all are cancelled with "stop"; negative: the caller sees to that. */
void generation_retire(struct generation *generation, const char *reason,
                       double grace);

/* To be called between two turns of the loop once it is retired: does what is
 * next, and returns whether it is over. */
bool generation_step(struct generation *generation);

/* Tasks that still run are closed without waiting.  NULL is accepted. */
void generation_del(struct generation *generation);

#endif
