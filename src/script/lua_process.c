/* lua_process.c -- see lua_process.h for the contract.
 *
 * A process and its pipes are objects of their own: pipes are read and written
 * as sockets are (lua_stream.h), each by its own tasks.  The process holds
 * them, as user values, so that it can close them when it ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_process.h"

#include "core/limits.h"
#include "io/child.h"
#include "io/pump.h"
#include "script/errors.h"
#include "script/lua_stream.h"
#include "script/wait.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { PROCESS_MAGIC = 0x70726f63, PIPE_MAGIC = 0x70697065 };

/* User values of a process: its pipes. */
enum { VALUE_STDIN = 1, VALUE_STDOUT, VALUE_STDERR, VALUES = VALUE_STDERR };

struct lua_pipe {
    struct lua_stream io; /* first: see lua_stream.h */
    struct pump pump;     /* of fcgi.run */
};

struct lua_process {
    unsigned magic;
    struct child *child;       /* NULL: closed, or never started */
    struct list link;          /* among those of its owner */
    struct list waiting;       /* tasks that wait for its end */
    struct lua_pipe *pipes[3]; /* NULL: there is none */
    pid_t pid;
    int status;
    bool has_ended;
};

/* --- the life of a process ------------------------------------------------ */

static bool is_open(const struct lua_pipe *pipe)
{
    return pipe != NULL && pipe->io.stream != NULL &&
           stream_fd(pipe->io.stream) != -1;
}

/* Does somebody else still hold the other end of a pipe that we read? */
static bool is_held(const struct lua_pipe *pipe)
{
    struct pollfd end = { .fd = -1 };

    if (!is_open(pipe))
        return false;
    end.fd = stream_fd(pipe->io.stream);
    return poll(&end, 1, 0) != 1 || (end.revents & (POLLHUP | POLLERR)) == 0;
}

/* What it has left running and still writes to us is its own: then it stays a
 * zombie, so that this can be killed.  The rest was meant to go on. */
static void settle(struct lua_process *self)
{
    if (self->child != NULL && self->has_ended &&
        !is_held(self->pipes[STDOUT_FILENO]) &&
        !is_held(self->pipes[STDERR_FILENO]))
        child_reap(self->child);
}

static void on_end(void *arg)
{
    struct lua_process *self = arg;

    self->has_ended = true;
    self->status = child_status(self->child);
    settle(self);
    task_wake_list(&self->waiting);
}

static void close_pipe(struct lua_pipe *pipe)
{
    pump_stop(&pipe->pump);
    lua_stream_close(&pipe->io);
}

static void close_process(struct lua_process *self)
{
    if (self->child == NULL)
        return;
    settle(self);
    for (int i = 0; i < 3; i++)
        if (self->pipes[i] != NULL)
            close_pipe(self->pipes[i]);
    child_del(self->child);
    self->child = NULL;
    list_remove(&self->link);
    task_wake_list(&self->waiting);
}

void lua_process_end_all(struct list *processes)
{
    while (!list_is_empty(processes))
        close_process(list_entry(processes->next, struct lua_process, link));
}

/* --- classes -------------------------------------------------------------- */

/* debug.setmetatable can lend a class to anything. */
static void *check(lua_State *L, int class, size_t size, unsigned magic,
                   const char *name)
{
    const unsigned *self = lua_touserdata(L, 1);

    if (self != NULL && lua_getmetatable(L, 1)) {
        bool is_ours = lua_rawequal(L, -1, lua_upvalueindex(class)) &&
                       lua_rawlen(L, 1) == size && *self == magic;

        lua_pop(L, 1);
        if (is_ours)
            return (void *)(size_t)self;
    }
    return (void)errors_bad_self(L, name, name), NULL;
}

/* Upvalues of all functions here. */
enum { UP_PROCESS = 1, UP_PIPE, UPVALUES = UP_PIPE };

static struct lua_process *check_process(lua_State *L)
{
    return check(L, UP_PROCESS, sizeof(struct lua_process), PROCESS_MAGIC,
                 "process");
}

static struct lua_pipe *check_pipe(lua_State *L)
{
    return check(L, UP_PIPE, sizeof(struct lua_pipe), PIPE_MAGIC, "pipe");
}

static struct lua_process *push_process(lua_State *L)
{
    struct lua_process *self = lua_newuserdatauv(L, sizeof(*self), VALUES);

    *self = (struct lua_process){ .magic = PROCESS_MAGIC };
    list_init(&self->link);
    list_init(&self->waiting);
    lua_pushvalue(L, lua_upvalueindex(UP_PROCESS));
    lua_setmetatable(L, -2);
    return self;
}

/* Pushes a pipe that is closed. */
static struct lua_pipe *push_pipe(lua_State *L)
{
    struct lua_pipe *pipe = lua_newuserdatauv(L, sizeof(*pipe), LUA_STREAM_TLS);

    lua_stream_init(&pipe->io, PIPE_MAGIC);
    pipe->pump = (struct pump){ .state = PUMP_IDLE };
    lua_pushvalue(L, lua_upvalueindex(UP_PIPE));
    lua_setmetatable(L, -2);
    lua_stream_need(L, &pipe->io);
    return pipe;
}

/* --- starting ------------------------------------------------------------- */

/* The stack of start; above: what it makes. */
enum { AT_ARGS = 1, AT_ENV, AT_ONLY_ENV, AT_CWD, AT_STDIN, AT_STDERR = 7 };

static const char *const stdio_names[] = { [CHILD_NULL] = "null",
                                           [CHILD_INHERIT] = "inherit",
                                           [CHILD_PIPE] = "pipe",
                                           [CHILD_MERGE] = "merge",
                                           NULL };

/* Pushes memory for so many strings and a NULL. */
static const char **push_vector(lua_State *L, size_t count)
{
    const char **vector =
        lua_newuserdatauv(L, (count + 1) * sizeof(*vector), 0);

    vector[count] = NULL;
    return vector;
}

/* The string at that place of the list at index, which holds it. */
static const char *string_of(lua_State *L, int index, size_t i)
{
    const char *text;

    if (lua_rawgeti(L, index, (lua_Integer)i) != LUA_TSTRING)
        return (void)luaL_argerror(L, index, "not a list of strings"), NULL;
    text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text;
}

static const char **push_args(lua_State *L)
{
    size_t count = lua_rawlen(L, AT_ARGS);
    const char **args = push_vector(L, count);

    luaL_argcheck(L, count > 0, AT_ARGS, "no program");
    for (size_t i = 0; i < count; i++)
        args[i] = string_of(L, AT_ARGS, i + 1);
    return args;
}

static size_t name_len(const char *variable)
{
    return strcspn(variable, "=");
}

/* Does one of the first count say what that variable is to be? */
static bool is_replaced(const char *const *by, size_t count,
                        const char *variable)
{
    size_t len = name_len(variable);

    for (size_t i = 0; i < count; i++)
        if (name_len(by[i]) == len && memcmp(by[i], variable, len) == 0)
            return true;
    return false;
}

/* Ours, unless only that of the list is wanted, then the list; a name without a
 * value is left out. */
static const char **push_env(lua_State *L)
{
    size_t listed = lua_rawlen(L, AT_ENV), ours = 0, n = 0;
    const char *const *mine = (const char *const *)environ;
    const char **env;

    while (!lua_toboolean(L, AT_ONLY_ENV) && mine[ours] != NULL)
        ours++;
    env = push_vector(L, listed + ours);
    for (size_t i = 0; i < listed; i++)
        env[i] = string_of(L, AT_ENV, i + 1);
    for (size_t i = 0; i < ours; i++)
        if (!is_replaced(env, listed, mine[i]))
            env[listed + n++] = mine[i];
    ours = listed + n;
    n = 0;
    for (size_t i = 0; i < ours; i++)
        if (strchr(env[i], '=') != NULL)
            env[n++] = env[i];
    env[n] = NULL;
    return env;
}

static int push_failure(lua_State *L, const char *failed, int code)
{
    const char *what;

    switch (code) {
    case ENOENT:
    case ENOTDIR:
        what = "not found";
        break;
    case EACCES:
    case EPERM:
        what = "permission denied";
        break;
    case EAGAIN:
        what = "too many processes";
        break;
    case EMFILE:
    case ENFILE:
        what = "too many open files";
        break;
    case ENOMEM:
        what = "not enough memory";
        break;
    case E2BIG:
        what = "arguments too long";
        break;
    case ENOEXEC:
        what = "not a program";
        break;
    default:
        what = strerror(code);
    }
    luaL_pushfail(L);
    lua_pushfstring(L, "%s%s", strcmp(failed, "chdir") == 0 ? "cwd: " : "",
                    what);
    return 2;
}

/* Pipes that nobody holds any more are closed by the collector, which does not
 * know how few descriptors there are. */
static struct child *start(lua_State *L, const struct child_spec *spec,
                           int fds[3], const char **failed)
{
    struct script *script = script_of(L);
    struct child *child = child_start(script->loop, spec, fds, failed);

    if (child != NULL || errno != EMFILE)
        return child;
    lua_gc(L, LUA_GCCOLLECT, 0);
    return child_start(script->loop, spec, fds, failed);
}

/* The list of those that end together with whoever starts one now. */
static struct list *list_of_owner(struct script *script)
{
    struct task *by = script->running;

    if (by == NULL)
        return &script->processes;
    if (by->kind->is_root || by->is_orphan)
        return &by->processes;
    return by->owner != NULL ? &by->owner->processes : &script->processes;
}

/* Gives a pipe its descriptor; the fd is taken in any case. */
static bool fill_pipe(struct lua_pipe *pipe, int fd, int which)
{
    if (pipe == NULL || pipe->io.stream == NULL) /* closed by a finalizer */
        return close(fd), false;
    if (stream_adopt(pipe->io.stream, fd,
                     which == STDIN_FILENO ? STREAM_WRITES : STREAM_READS) == 0)
        return true;
    close(fd);
    return false;
}

static int l_start(lua_State *L)
{
    struct script *script = script_of(L);
    struct child_spec spec = { .cwd = luaL_optstring(L, AT_CWD, NULL) };
    struct lua_process *self;
    const char *failed;
    int fds[3];

    if (script->loop == NULL)
        task_begin_wait(L); /* raises */
    if (script->is_closing)
        return luaL_error(L, "cannot run a program here: the script is ending");
    luaL_checktype(L, AT_ARGS, LUA_TTABLE);
    luaL_checktype(L, AT_ENV, LUA_TTABLE);
    for (int i = 0; i < 3; i++)
        spec.stdio[i] = (enum child_stdio)luaL_checkoption(L, AT_STDIN + i,
                                                           NULL, stdio_names);
    lua_settop(L, AT_STDERR);
    spec.argv = push_args(L);
    spec.env = push_env(L);
    self = push_process(L);
    for (int i = 0; i < 3; i++) {
        if (spec.stdio[i] != CHILD_PIPE) {
            luaL_pushfail(L);
            continue;
        }
        self->pipes[i] = push_pipe(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, -3 - i, VALUE_STDIN + i);
    }
    self->child = start(L, &spec, fds, &failed);
    if (self->child == NULL)
        return push_failure(L, failed, errno);
    self->pid = child_pid(self->child);
    child_on_end(self->child, on_end, self);
    list_append(list_of_owner(script), &self->link);
    for (int i = 0; i < 3; i++)
        if (fds[i] != -1)
            fill_pipe(self->pipes[i], fds[i], i);
    return 4;
}

/* --- what is done with a process ------------------------------------------ */

static int l_pid(lua_State *L)
{
    lua_pushinteger(L, check_process(L)->pid);
    return 1;
}

static int wait_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_process *self = lua_touserdata(L, 1);

    (void)status;
    (void)ctx;
    settle(self);
    if (self->has_ended && self->status != CHILD_STATUS_UNKNOWN) {
        lua_pushinteger(L, self->status);
        return 1;
    }
    return lua_stream_fail(L, self->has_ended       ? "unknown"
                              : self->child == NULL ? "closed"
                                                    : "timeout");
}

static double check_seconds(lua_State *L, int index)
{
    double seconds;

    if (lua_isnoneornil(L, index))
        return -1;
    seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds >= 0, index, "not a number of seconds");
    return isfinite(seconds) ? seconds : -1;
}

static int l_wait(lua_State *L)
{
    struct lua_process *self = check_process(L);
    double seconds = check_seconds(L, 2);

    lua_settop(L, 1);
    if (self->has_ended || self->child == NULL || seconds == 0)
        return wait_k(L, LUA_OK, 0);
    return task_wait_in(L, &self->waiting, seconds, 0, wait_k);
}

/* signal(number or name, with or without SIG) -> number | nil */
static int l_signal(lua_State *L)
{
    int number = 0;
    const char *name;

    if (lua_isinteger(L, 1) && lua_tointeger(L, 1) < NSIG)
        number = (int)lua_tointeger(L, 1);
    name = luaL_checkstring(L, 1);
    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    for (int signo = 1; signo < NSIG && number == 0; signo++) {
        const char *known = sigabbrev_np(signo);

        if (known != NULL && strcmp(known, name) == 0)
            number = signo;
    }
    if (number > 0)
        lua_pushinteger(L, number);
    else
        luaL_pushfail(L);
    return 1;
}

static int l_kill(lua_State *L)
{
    struct lua_process *self = check_process(L);
    int signo = (int)luaL_checkinteger(L, 2);

    if (self->child == NULL)
        return lua_stream_fail(L, self->has_ended ? "ended" : "closed");
    if (child_kill(self->child, signo) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    return lua_stream_fail(L, errno == EPERM ? "permission denied" : "ended");
}

static int l_close(lua_State *L)
{
    close_process(check_process(L));
    return 0;
}

/* --- fcgi.run: nobody reads and writes but the loop ----------------------- */

static void on_pumped(void *arg)
{
    task_wake_list(&((struct lua_process *)arg)->waiting);
}

/* The stack of finish. */
enum { AT_PROCESS = 1, AT_SECONDS, AT_INPUT, AT_MAX, AT_STARTED };

static void begin_pumps(lua_State *L, struct lua_process *self)
{
    struct loop *loop = script_of(L)->loop;
    double most = lua_tonumber(L, AT_MAX);
    size_t max = most < (double)(SIZE_MAX / 4) ? (size_t)most : SIZE_MAX / 4;
    struct slice input;

    for (int i = STDOUT_FILENO; i <= STDERR_FILENO; i++)
        if (is_open(self->pipes[i]))
            pump_collect(&self->pipes[i]->pump, loop, self->pipes[i]->io.stream,
                         max, on_pumped, self);
    if (!is_open(self->pipes[STDIN_FILENO]))
        return;
    input.data = lua_tolstring(L, AT_INPUT, &input.len);
    pump_feed(&self->pipes[STDIN_FILENO]->pump, loop,
              self->pipes[STDIN_FILENO]->io.stream, input, on_pumped, self);
}

/* Why it is given up; NULL: it is not. */
static const char *trouble(const struct lua_process *self)
{
    for (int i = STDOUT_FILENO; i <= STDERR_FILENO; i++) {
        if (self->pipes[i] == NULL)
            continue;
        if (self->pipes[i]->pump.state == PUMP_FULL)
            return "too large";
        if (self->pipes[i]->pump.state == PUMP_NO_MEMORY)
            return "not enough memory";
    }
    return NULL;
}

/* What it left unread it will not read any more. */
static bool has_finished(const struct lua_process *self)
{
    for (int i = STDOUT_FILENO; i <= STDERR_FILENO; i++)
        if (self->pipes[i] != NULL && self->pipes[i]->pump.state == PUMP_RUNS)
            return false;
    return self->has_ended;
}

static int finish_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lua_process *self = lua_touserdata(L, AT_PROCESS);
    const char *why = trouble(self);
    double left = -1;

    if (why == NULL && (self->child == NULL || has_finished(self)))
        return wait_k(L, status, ctx);
    if (why == NULL && !lua_isnil(L, AT_SECONDS)) {
        left = lua_tonumber(L, AT_STARTED) + lua_tonumber(L, AT_SECONDS) -
               loop_now();
        if (left <= 0)
            why = "timeout";
    }
    if (why == NULL)
        return task_wait_in(L, &self->waiting, left, 0, finish_k);
    close_process(self);
    return lua_stream_fail(L, why);
}

/* finish(process, seconds or nil, input, max) -> status | nil, err: feeds it
 * the string and collects its outputs until it has ended.  The arguments stay
 * on the stack, which keeps them. */
static int l_finish(lua_State *L)
{
    struct lua_process *self = check_process(L);

    if (!lua_isnil(L, AT_SECONDS))
        luaL_checknumber(L, AT_SECONDS);
    luaL_checkstring(L, AT_INPUT);
    luaL_checknumber(L, AT_MAX);
    lua_settop(L, AT_MAX);
    lua_pushnumber(L, loop_now());
    begin_pumps(L, self);
    return finish_k(L, LUA_OK, 0);
}

/* output(pipe) -> what was collected */
static int l_output(lua_State *L)
{
    struct lua_pipe *pipe = check_pipe(L);

    lua_pushlstring(L, pipe->pump.output.data, pipe->pump.output.len);
    pump_free(&pipe->pump);
    return 1;
}

/* --- what is done with a pipe --------------------------------------------- */

static int l_receive(lua_State *L)
{
    check_pipe(L);
    return lua_stream_receive(L);
}

static int l_receive_any(lua_State *L)
{
    struct lua_pipe *pipe = check_pipe(L);

    lua_stream_set_limit(&pipe->io, check_seconds(L, 3), true);
    lua_settop(L, 2);
    return lua_stream_receive_any(L);
}

static int l_receive_until(lua_State *L)
{
    check_pipe(L);
    return lua_stream_receive_until(L);
}

static int l_send(lua_State *L)
{
    check_pipe(L);
    return lua_stream_send(L);
}

static int l_close_pipe(lua_State *L)
{
    close_pipe(check_pipe(L));
    return 0;
}

static int l_is_open(lua_State *L)
{
    lua_pushboolean(L, is_open(check_pipe(L)));
    return 1;
}

static int l_gc_pipe(lua_State *L)
{
    struct lua_pipe *pipe = check_pipe(L);

    pump_free(&pipe->pump);
    lua_stream_free(&pipe->io);
    return 0;
}

/* --- for lua/fcgi/process.lua --------------------------------------------- */

static int l_can_wait(lua_State *L)
{
    task_begin_wait(L);
    return 0;
}

/* Makes a class below what is on top of the stack. */
static void push_class(lua_State *L, const char *name)
{
    lua_newtable(L);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

static void add_functions(lua_State *L, const luaL_Reg *functions, int classes)
{
    lua_pushvalue(L, classes);
    lua_pushvalue(L, classes + 1);
    luaL_setfuncs(L, functions, UPVALUES);
}

int lua_process_open(lua_State *L)
{
    static const luaL_Reg process[] = {
        { "__close", l_close },
        { "__gc", l_close },
        { NULL, NULL },
    };
    static const luaL_Reg pipe[] = {
        { "__close", l_close_pipe },
        { "__gc", l_gc_pipe },
        { NULL, NULL },
    };
    static const luaL_Reg functions[] = {
        { "can_wait", l_can_wait },
        { "start", l_start },
        { "pid", l_pid },
        { "wait", l_wait },
        { "signal", l_signal },
        { "kill", l_kill },
        { "close", l_close },
        { "finish", l_finish },
        { "output", l_output },
        { "receive", l_receive },
        { "receive_any", l_receive_any },
        { "receive_until", l_receive_until },
        { "send", l_send },
        { "close_pipe", l_close_pipe },
        { "is_open", l_is_open },
        { NULL, NULL },
    };

    lua_settop(L, 0);
    push_class(L, "process");
    push_class(L, "pipe");
    lua_pushvalue(L, UP_PROCESS);
    add_functions(L, process, 1);
    lua_pushvalue(L, UP_PIPE);
    add_functions(L, pipe, 1);
    lua_newtable(L);
    add_functions(L, functions, 1);
    lua_pushinteger(L, RUN_OUTPUT_MAX);
    lua_setfield(L, -2, "output_max");
    return 1;
}
