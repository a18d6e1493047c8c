/* hooks.c -- the hooks of a worker's life: on_start, on_worker and on_exit; see
 * script.h for the contract.
 *
 * on_worker and on_exit are tasks of the worker, so what they spawn lives as
 * long as it does.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/script_state.h"

#include "script/cancel.h"
#include "script/errors.h"
#include "script/report.h"

/* The stack of a hook's coroutine. */
enum { AT_TASK = 1, AT_MESSAGES };

/* What waits later, a finalizer say, is told this. */
static const char no_task[] = "no task runs";

/* os.exit(...); upvalue 1: the library's own */
static int l_exit(lua_State *L)
{
    const char *guard = script_of(L)->exit_guard;

    if (guard != NULL)
        return luaL_error(L, "os.exit %s", guard);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 0);
    return 0;
}

static int guard_exit(lua_State *L)
{
    if (lua_getglobal(L, "os") != LUA_TTABLE ||
        lua_getfield(L, -1, "exit") != LUA_TFUNCTION)
        return 0; /* the script has changed it */
    lua_pushcclosure(L, l_exit, 1);
    lua_setfield(L, -2, "exit");
    return 0;
}

bool script_guard_exit(struct script *script, const char *why)
{
    bool is_done;

    script->exit_guard = why;
    lua_pushcfunction(script->L, guard_exit);
    is_done = lua_pcall(script->L, 0, 0, 0) == LUA_OK;
    lua_settop(script->L, 0);
    return is_done;
}

enum script_status script_start(struct script *script, char *error)
{
    enum script_status status;

    script->phase = no_task;
    if (script->hooks[HOOK_START] == LUA_NOREF)
        return SCRIPT_OK;
    lua_rawgeti(script->L, LUA_REGISTRYINDEX, script->hooks[HOOK_START]);
    script->phase = "on_start runs before there is a loop";
    status = script_call(script, 0, 0, error);
    script->phase = no_task;
    lua_settop(script->L, 0);
    return status;
}

/* --- on_worker and on_exit ------------------------------------------------ */

static void tell_cancelled(struct hook_run *run, const char *name,
                           const char *reason)
{
    char line[256];
    int n = snprintf(line, sizeof(line), "%s: %s was cancelled: %s",
                     run->script->name, name, reason);

    report_log(LOG_LEVEL_WARN, NULL,
               (struct slice){ line, (size_t)n < sizeof(line)
                                         ? (size_t)n
                                         : sizeof(line) - 1 },
               (struct slice){ NULL, 0 });
}

static int hook_done(lua_State *L, int status, lua_KContext ctx)
{
    struct hook_run *run = lua_touserdata(L, (int)ctx);
    const char *reason;

    if (status == LUA_OK || status == LUA_YIELD) {
        run->went_well = true;
        return 0;
    }
    reason = task_cancelled_reason(L, -1);
    if (reason != NULL) {
        tell_cancelled(run, run->name, reason);
        return 0;
    }
    errors_take(L);
    errors_log(L, NULL);
    return 0;
}

static int hook_main(lua_State *L)
{
    enum { AT_RUN = AT_MESSAGES + 1 };
    struct task *task = lua_touserdata(L, AT_TASK);
    struct hook_run *run = task->hook_run;
    int nargs = 1;

    lua_pushcfunction(L, errors_collect);
    lua_pushlightuserdata(L, run);
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->script->hooks[run->hook]);
    lua_pushinteger(L, (lua_Integer)run->id);
    if (run->reason != NULL) {
        lua_pushstring(L, run->reason);
        nargs++;
    }
    return hook_done(L, lua_pcallk(L, nargs, 0, AT_MESSAGES, AT_RUN, hook_done),
                     AT_RUN);
}

static void hook_failed(struct task *task, const char *what)
{
    report_fault(task, what);
    if (what == NULL && task->cancel_reason != NULL)
        tell_cancelled(task->hook_run, task->hook_run->name,
                       task->cancel_reason);
}

static void hook_ended(struct task *task)
{
    struct hook_run *run = task->hook_run;

    task->hook_run = NULL;
    run->done(run->arg, run->went_well);
}

static const struct task_kind hook_kind = {
    .main = hook_main,
    .failed = hook_failed,
    .ended = hook_ended,
};

static void start_hook(struct hook_run *run, double timeout)
{
    struct script *script = run->script;
    struct task *task;

    if (script->hooks[run->hook] == LUA_NOREF) {
        run->done(run->arg, true);
        return;
    }
    task = task_new(script, &hook_kind, NULL);
    if (task == NULL) {
        log_write(LOG_LEVEL_ERROR, "%s: not enough memory for %s", script->name,
                  run->name);
        run->done(run->arg, false);
        return;
    }
    task->hook_run = run;
    task->is_of_worker = true;
    script->worker_task_count++;
    if (timeout > 0)
        task_set_deadline(task, timeout);
}

void script_run_on_worker(struct script *script, unsigned id,
                          script_done_fn *done, void *arg)
{
    script->on_worker = (struct hook_run){ .script = script,
                                           .hook = HOOK_WORKER,
                                           .name = "on_worker",
                                           .id = id,
                                           .done = done,
                                           .arg = arg };
    start_hook(&script->on_worker, script->config->load_timeout);
}

void script_run_on_exit(struct script *script, unsigned id, const char *reason,
                        script_done_fn *done, void *arg)
{
    script->on_exit = (struct hook_run){ .script = script,
                                         .hook = HOOK_EXIT,
                                         .name = "on_exit",
                                         .id = id,
                                         .reason = reason,
                                         .done = done,
                                         .arg = arg };
    start_hook(&script->on_exit, 0);
}
