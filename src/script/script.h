/* script.h -- one generation of the user's code: a Lua state, its hooks, its
 * tasks and its limits.
 *
 * Nothing in this room is static: a process may have two of them for a while.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCRIPT_SCRIPT_H
#define SCRIPT_SCRIPT_H

#include "base/slice.h"
#include "core/service.h"
#include "io/loop.h"
#include "io/resolver.h"

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
    double load_timeout;    /* s, of loading, on_start, on_worker; 0: none */
    /* Hears of the script and of each .lua file before it is looked for, then
     * and later, be it there or not; or NULL. */
    void (*on_file)(const char *path);
    const char *no_exit; /* why os.exit raises from the start, or NULL: see
                          * script_guard_exit */
    bool is_dev;         /* errors are shown to clients */
    bool is_stand_in;    /* nothing is loaded: see script_break */
};

enum script_status {
    SCRIPT_OK,
    SCRIPT_SYNTAX,     /* it does not compile */
    SCRIPT_UNREADABLE, /* the file cannot be read */
    SCRIPT_REFUSED,    /* it, or a module, is open to others, and we are root */
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

/* Until script_serve os.exit raises an error, for it would end what is not the
 * script's: why, static, goes on behind "os.exit".  Returns false when there is
 * no memory. */
bool script_guard_exit(struct script *script, const char *why);

/* Runs on_start, where nothing can wait, as the last part of loading: status
 * and error are those of script_load.  After a failure the script is of no
 * use. */
enum script_status script_start(struct script *script, char *error);

/* Gives math.random another seed: forked siblings would draw alike. */
void script_seed_random(struct script *script);

/* Which worker a process is; ids begin with 1. */
struct script_worker {
    unsigned id, count, generation;
};

/* Fills fcgi.worker, after the fork if there is one.  Returns false when there
 * is no memory. */
bool script_set_worker(struct script *script,
                       const struct script_worker *worker);

/* How a script serves. */
struct script_limits {
    double timeout;      /* of a request, s; 0: none */
    double block_limit;  /* of Lua that does not yield, s; 0: none */
    double blocked;      /* ... from which on it is told of; 0: never */
    double slow;         /* of a request, likewise */
    size_t memory_limit; /* bytes; 0: none */
    bool stderr_to_log;  /* errors and req:write_err */
    struct resolver_config resolver; /* its servers must outlive the script */
};

/* In a forked child, which goes on with the script: no Lua must be running.
 * Returns 0, or -1 with errno. */
int script_forked(struct script *script, const struct script_worker *worker);

/* Lets the tasks of the script run in loop; this and service must outlive it.
 * Returns 0, or -1 with errno. */
int script_attach(struct script *script, struct loop *loop,
                  struct service *service, const struct script_limits *limits);

/* From now on requests that become ready are this script's, which must be
 * attached.  Those that began with another stay with it. */
void script_serve(struct script *script);

/* With is_dev: the newest code cannot be loaded.  From now on requests are not
 * served but answered with a page that tells why. */
void script_break(struct script *script, const char *why);

/* With is_dev: code comes from that file, too, and may be shown. */
void script_know_file(struct script *script, const char *path);

/* A hook has ended; it was told if it did not end well.  Called in the middle
 * of the script's work: it should only take note. */
typedef void script_done_fn(void *arg, bool went_well);

/* Runs on_worker(id) or on_exit(id, reason) as a task of the worker, in a
 * script that is attached, and then calls done; at once where the script has no
 * such hook.  on_worker is cancelled when it takes longer than load_timeout.
 * The reason is static text. */
void script_run_on_worker(struct script *script, unsigned id,
                          script_done_fn *done, void *arg);
void script_run_on_exit(struct script *script, unsigned id, const char *reason,
                        script_done_fn *done, void *arg);

/* "Lua 5.4.4". */
const char *script_lua_version(void);

/* Tasks that have not ended. */
unsigned script_tasks(const struct script *script);

/* Those of them that come from no request: they never end by themselves. */
unsigned script_worker_tasks(const struct script *script);

/* How a request stands that has a handler. */
enum script_request_state {
    SCRIPT_REQUEST_STARTING, /* the handler has not begun */
    SCRIPT_REQUEST_WAITING,
    SCRIPT_REQUEST_READY, /* what it waited for is there */
    SCRIPT_REQUEST_RUNNING,
    SCRIPT_REQUEST_FINISHING, /* it has answered, and the handler goes on */
    SCRIPT_REQUEST_ABORTED    /* the client has gone */
};

struct script_running {
    const struct request *req;
    enum script_request_state state;
    struct slice where; /* the handler is: a line of a traceback */
};

typedef void script_running_fn(void *arg, const struct script_running *running);

/* Calls fn for each request whose handler has not ended.  No Lua runs and
 * nothing is allocated, so it can be called wherever the loop is. */
void script_each_running(const struct script *script, script_running_fn *fn,
                         void *arg);

/* Bytes of Lua. */
size_t script_memory(const struct script *script);

/* From now on script_heap tells what the Lua heap held when it was last
 * collected; 0: not yet.  Returns false when there is no memory. */
bool script_watch_heap(struct script *script);
size_t script_heap(const struct script *script);

/* Cancels every task; reason is static text. */
void script_cancel_all(struct script *script, const char *reason);

/* Closes the script; tasks that still run are closed without waiting.  NULL is
 * accepted. */
void script_del(struct script *script);

#endif
