/* script.h -- one generation of the user's code: a Lua state, its hooks, its
 * tasks and its limits.
 *
 * Nothing in this room is static: a process may have two of them for a while.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_SCRIPT_H
#define SCRIPT_SCRIPT_H

#include "core/service.h"
#include "io/loop.h"

#include <stdbool.h>
#include <stddef.h>

struct script;

/* What a script is made of; must outlive it. */
struct script_config {
    const char *path; /* the file */
    char **args;
    int nargs;
    char **include; /* folders in front of package.path */
    size_t includes;
    char **eval; /* chunks that run first */
    size_t evals;
    const char *lua_compat; /* "5.1", "5.3" or NULL */
    size_t memory_limit;    /* bytes; 0: none */
};

enum script_status {
    SCRIPT_OK,
    SCRIPT_SYNTAX,     /* it does not compile */
    SCRIPT_UNREADABLE, /* the file cannot be read */
    SCRIPT_FAILED,     /* it raised, or has no handler */
    SCRIPT_NO_MEMORY
};

enum { SCRIPT_ERROR_MAX = 4096 };

/* Loads a script.  On SCRIPT_OK *out is the caller's; else error, of
 * SCRIPT_ERROR_MAX bytes, says why: a line, with a traceback below it where
 * there is one. */
enum script_status script_load(const struct script_config *config,
                               struct script **out, char *error);

/* Calls set(arg, name, value) for each setting in the table that the script
 * returned, a list's items one by one; ends when it returns false, and returns
 * that. */
bool script_each_setting(struct script *script,
                         bool (*set)(void *arg, const char *name,
                                     const char *value),
                         void *arg);

/* How a script serves. */
struct script_limits {
    double timeout;      /* of a request, s; 0: none */
    double block_limit;  /* of Lua that does not yield, s; 0: none */
    size_t memory_limit; /* bytes; 0: none */
    bool stderr_to_log;  /* errors and req:write_err */
};

/* Lets the script serve the requests of service in loop, both of which must
 * outlive it.  Returns 0, or -1 with errno. */
int script_attach(struct script *script, struct loop *loop,
                  struct service *service, const struct script_limits *limits);

/* "Lua 5.4.4". */
const char *script_lua_version(void);

/* Tasks that have not ended. */
unsigned script_tasks(const struct script *script);

/* Those of them that come from no request: they never end by themselves. */
unsigned script_worker_tasks(const struct script *script);

/* Cancels every task; reason is static text. */
void script_cancel_all(struct script *script, const char *reason);

/* Closes the script; tasks that still run are closed without waiting.  NULL is
 * accepted. */
void script_del(struct script *script);

#endif
