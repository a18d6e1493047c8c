/* script_orders_test.c -- no order of abort, timeout, cancel, error and finish
 * leaks, hangs a request, answers twice or touches another request.
 *
 * A play is a case (who waits, in what shape, in what wait) and a sequence of
 * events, after each of which the loop turns, or does not: then the next event
 * comes before the first one was noticed.  Beside it another request runs, a
 * step with each event.  After the events all timers that are left fire in the
 * order of their time, and everything must have come out even.  The exchange
 * and the clock are fake and commands run when the play says so: a play is the
 * same each time.
 *
 * An event that can do nothing where it stands ends its sequence, as the play
 * without it is another one.  The test plays all sequences of up to three
 * events in the most common cases, of up to two where something waits in the
 * plain shape or sleeps in any, and single events in all; then longer ones,
 * drawn at random from fixed seeds, in any case; and some with Lua's memory
 * running out at another point each time: 75,000 plays, 20 s under sanitizers.
 *
 *     ORDERS_PLAYS=n [ORDERS_SEED=s]  draws n sequences from that seed on
 *     ORDERS_DEPTH=n                  all sequences of up to n events
 *     ORDERS_PLAY="handler/wrap/sleep: abort. timer"  plays that one; each dot
 *                                     is a turn of the loop
 *     ORDERS_LIMIT=n                  ... with n bytes left to Lua
 *     ORDERS_TRACE=1                  names each play before it is played
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_clock.h"
#include "script_rig.h"
#include "script/lua_task.h"

enum {
    EVENTS_MAX = 8,
    TURNS_MAX = 3,
    VALUES_MAX = 64,
    TIMEOUT = 1000 /* of a request, in fake seconds */
};

static const char script_path[] = "tests/unit/script_orders.lua";

/* --- the cases ------------------------------------------------------------ */

static const char *const whos[] = { "handler", "child" };

static const char *const shapes[] = {
    "plain", "wrap",   "inner", "outer",   "iterator", "pcall",
    "index", "concat", "close", "cleanup", "closer",   "stubborn",
};

static const char *const waits[] = {
    "sleep", "read",      "read_all",   "read_line",  "body",     "write",
    "flush", "join",      "join_timed", "timeout",    "get",      "get_timed",
    "put",   "put_timed", "task_close", "abort_hook", "on_error",
};

enum { WHOS = 2, SHAPES = 12, WAITS = 17 };

struct play_case {
    int who, shape, wait;
};

static bool is_sound(struct play_case it)
{
    return strcmp(waits[it.wait], "on_error") != 0 ||
           (strcmp(whos[it.who], "handler") == 0 &&
            strcmp(shapes[it.shape], "plain") == 0);
}

/* --- the play ------------------------------------------------------------- */

/* A task that takes part; it may have ended, and its memory be another's. */
struct part {
    struct task *task;
    struct lua_task *object;
    struct request *req;
};

enum value_state { VALUE_NEW, VALUE_TRIED, VALUE_PUT, VALUE_REFUSED };

struct play {
    struct play_case it;
    const char *next; /* what whoever goes on does; NULL: nothing */
    struct part handler, waiter, other;
    struct request *req; /* with a reference of ours */
    bool is_gone, is_cut, all_cancelled, is_short_of_memory;
    unsigned opened, closed, raised, caught;
    unsigned values;
    enum value_state value[VALUES_MAX];
    unsigned got[VALUES_MAX];
};

static struct play play;
static struct rig_request request, bystander, command;
static char text[512]; /* of the play, for whoever repeats it */
static bool is_playing;
static unsigned plays;
static off_t log_start; /* of what this play logs */

/* What the play has logged.  The file is cut now and then only: that takes
 * longer than many plays. */
static const char *play_log(void)
{
    int fd = open(rig.log_path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    assert_int_not_equal(fd, -1);
    n = pread(fd, rig.log, sizeof(rig.log) - 1, log_start);
    close(fd);
    assert_true(n >= 0);
    rig.log[n] = '\0';
    return rig.log;
}

static void forget_play_log(void)
{
    log_start += (off_t)strlen(play_log());
    if (log_start < 256 * 1024)
        return;
    rig_forget_log();
    log_start = 0;
}

static void must(bool is_so, const char *what)
{
    if (!is_so)
        fail_msg("%s\n%s", what, play_log());
}

/* --- what the script tells ------------------------------------------------ */

static int l_opened(lua_State *L)
{
    (void)L;
    play.opened++;
    return 0;
}

static int l_closed(lua_State *L)
{
    (void)L;
    play.closed++;
    return 0;
}

static int l_caught(lua_State *L)
{
    (void)L;
    play.caught++;
    return 0;
}

/* next() -> "error" | "finish" | nil */
static int l_next(lua_State *L)
{
    const char *next = play.next;

    play.next = NULL;
    if (next != NULL && strcmp(next, "error") == 0)
        play.raised++;
    lua_pushstring(L, next);
    return 1;
}

/* value() -> one that is put nowhere else */
static int l_value(lua_State *L)
{
    assert_true(play.values < VALUES_MAX);
    play.value[play.values] = VALUE_TRIED;
    lua_pushinteger(L, play.values++);
    return 1;
}

/* put(value, was_taken) */
static int l_put(lua_State *L)
{
    play.value[lua_tointeger(L, 1)] =
        lua_toboolean(L, 2) ? VALUE_PUT : VALUE_REFUSED;
    return 0;
}

static int l_got(lua_State *L)
{
    play.got[lua_tointeger(L, 1)]++;
    return 0;
}

static int add_counters(lua_State *L)
{
    static const luaL_Reg functions[] = {
        { "opened", l_opened }, { "closed", l_closed }, { "caught", l_caught },
        { "next", l_next },     { "value", l_value },   { "put", l_put },
        { "got", l_got },       { NULL, NULL },
    };

    luaL_newlib(L, functions);
    lua_setglobal(L, "orders");
    return 0;
}

/* The script, with the hook on_error or without; it is used again if it can
 * be. */
static void want_script(bool has_on_error)
{
    static char name[] = "on_error";
    static char *args[] = { name };

    if (rig.script != NULL && rig.config.nargs == has_on_error)
        return;
    rig_unload();
    rig.config.path = script_path;
    rig.config.args = args;
    rig.config.nargs = has_on_error;
    rig.limits.timeout = TIMEOUT;
    if (rig_load(NULL) != SCRIPT_OK)
        fail_msg("%s", rig.error);
    lua_pushcfunction(rig.script->L, add_counters);
    assert_int_equal(lua_pcall(rig.script->L, 0, 0, 0), LUA_OK);
}

/* --- parts ---------------------------------------------------------------- */

static struct task *find_task(const struct task *wanted)
{
    if (rig.script == NULL)
        return NULL;
    for (struct list *link = rig.script->tasks.next; link != &rig.script->tasks;
         link = link->next)
        if (list_entry(link, struct task, link) == wanted)
            return list_entry(link, struct task, link);
    return NULL;
}

static struct part part_of(struct task *task)
{
    return (struct part){ task, task->object,
                          task->kind->is_root ? task->req : NULL };
}

/* NULL: it has ended. */
static struct task *alive(const struct part *part)
{
    struct task *task = part->task == NULL ? NULL : find_task(part->task);

    if (task == NULL || task->object != part->object)
        return NULL;
    if (part->req != NULL && (task->req != part->req || !task->kind->is_root ||
                              task->req->handler != task))
        return NULL;
    return task;
}

static bool is_any_posted(void)
{
    if (rig.script == NULL)
        return false;
    for (struct list *link = rig.script->tasks.next; link != &rig.script->tasks;
         link = link->next)
        if (!list_is_empty(&list_entry(link, struct task, link)->job.link))
            return true;
    return false;
}

static void settle(void)
{
    for (int i = 0; is_any_posted(); i++) {
        must(i < 200, "the tasks never settle");
        rig_turns(1);
    }
}

/* The bystander's next step, at once. */
static void step(void)
{
    struct task *task;

    if (bystander.req == NULL || rig.script == NULL)
        return;
    task = bystander.req->handler;
    if (loop_timer_is_running(&task->timer))
        fake_clock_fire(&task->timer);
    rig_run_job(task);
}

/* Another request does something to this one, at once. */
static void do_command(const char *name)
{
    if (!rig_begin(&command, REQUEST_RESPONDER))
        return;
    rig_param(&command, "COMMAND", name);
    rig_ready(&command);
    rig_run_job(command.req->handler);
    must(command.ends == 1 && script_tasks(rig.script) < 100,
         "a command does not end");
    must(play.is_short_of_memory || command.app_status == 0, "a command fails");
}

/* --- the events: false where one can do nothing --------------------------- */

static bool on_abort(void)
{
    if (request.req == NULL)
        return false;
    rig_abort(&request);
    return true;
}

static bool on_gone(void)
{
    if (request.req == NULL)
        return false;
    play.is_gone = true;
    rig_detach(&request);
    return true;
}

static bool fire_if_running(struct loop_timer *timer)
{
    if (!loop_timer_is_running(timer))
        return false;
    fake_clock_fire(timer);
    return true;
}

/* --timeout, and then the end of patience. */
static bool on_deadline(void)
{
    struct task *task = alive(&play.handler);

    return task != NULL && fire_if_running(&task->deadline);
}

static bool on_patience(void)
{
    struct task *task = alive(&play.waiter);

    return task != NULL && task != alive(&play.handler) &&
           fire_if_running(&task->deadline);
}

static bool cancel(struct task *task)
{
    if (task == NULL || task->cancel_reason != NULL)
        return false;
    task_cancel(task, "stop");
    return true;
}

static bool on_cancel(void)
{
    return cancel(alive(&play.waiter));
}

static bool on_cancel_handler(void)
{
    struct task *task = alive(&play.handler);

    return task != alive(&play.waiter) && cancel(task);
}

static bool input(const char *bytes)
{
    if (request.req == NULL || request.req->body.ended)
        return false;
    if (bytes == NULL)
        rig_input_end(&request);
    else
        rig_input(&request, bytes);
    return true;
}

/* What is waited for, if that is not a time or a task. */
static bool on_success(void)
{
    const char *wait = waits[play.it.wait];

    if (strcmp(wait, "read") == 0 || strcmp(wait, "read_line") == 0)
        return input("bytes and\n");
    if (strcmp(wait, "read_all") == 0 || strcmp(wait, "body") == 0)
        return input(NULL);
    if (strncmp(wait, "get", 3) == 0 || strncmp(wait, "put", 3) == 0) {
        do_command(*wait == 'g' ? "put" : "get");
        return true;
    }
    if (request.req == NULL)
        return false;
    if (strcmp(wait, "write") == 0 && request.room != SIZE_MAX) {
        rig_make_room(&request, SIZE_MAX);
        return true;
    }
    if (strcmp(wait, "flush") == 0 && request.is_stuck) {
        request.is_stuck = false;
        request_wake(request.req);
        return true;
    }
    return false;
}

/* News that do not end the wait. */
static bool on_news(void)
{
    const char *wait = waits[play.it.wait];

    if (request.req == NULL)
        return false;
    if (strcmp(wait, "write") == 0 && request.room != SIZE_MAX) {
        rig_make_room(&request, 10);
        return true;
    }
    if (strcmp(wait, "read_all") == 0 || strcmp(wait, "body") == 0 ||
        strcmp(wait, "read_line") == 0)
        return input("some");
    if (list_is_empty(&request.req->waiters))
        return false;
    request_wake(request.req);
    return true;
}

static bool on_timer(void)
{
    struct task *task = alive(&play.waiter);

    return task != NULL && fire_if_running(&task->timer);
}

static bool on_timer_handler(void)
{
    struct task *task = alive(&play.handler);

    return task != NULL && task != alive(&play.waiter) &&
           fire_if_running(&task->timer);
}

static bool on_timer_other(void)
{
    struct task *task = alive(&play.other);

    return task != NULL && fire_if_running(&task->timer);
}

/* Of a task that came later, as those of on_abort do. */
static bool on_timer_late(void)
{
    for (struct list *link = rig.script->tasks.next; link != &rig.script->tasks;
         link = link->next) {
        struct task *task = list_entry(link, struct task, link);

        if (task != alive(&play.handler) && task != alive(&play.waiter) &&
            task != alive(&play.other) &&
            (bystander.req == NULL || task != bystander.req->handler) &&
            fire_if_running(&task->timer))
            return true;
    }
    return false;
}

static bool wants(const char *what)
{
    bool is_new = play.next == NULL &&
                  (alive(&play.handler) != NULL || alive(&play.waiter) != NULL);

    if (is_new)
        play.next = what;
    return is_new;
}

static bool on_error(void)
{
    return wants("error");
}

static bool on_finish(void)
{
    return wants("finish");
}

/* The task that the script gives others: the child, or whom it waits for. */
static struct task *target(void)
{
    return strcmp(whos[play.it.who], "child") == 0 ? alive(&play.waiter)
                                                   : alive(&play.other);
}

static bool has_target(void)
{
    return target() != NULL && strcmp(waits[play.it.wait], "timeout") != 0;
}

static bool on_task_cancel(void)
{
    if (!has_target() || target()->cancel_reason != NULL)
        return false;
    do_command("cancel");
    return true;
}

static bool on_detach(void)
{
    if (!has_target() || target()->owner == NULL)
        return false;
    do_command("detach");
    return true;
}

static bool on_close(void)
{
    const char *shape = shapes[play.it.shape];

    if (alive(&play.waiter) == NULL ||
        (strcmp(shape, "wrap") != 0 && strcmp(shape, "inner") != 0 &&
         strcmp(shape, "outer") != 0))
        return false;
    do_command("close");
    return true;
}

/* The channel is closed. */
static bool on_shut(void)
{
    const char *wait = waits[play.it.wait];

    if (strncmp(wait, "get", 3) != 0 && strncmp(wait, "put", 3) != 0)
        return false;
    do_command("shut");
    return true;
}

static bool on_cancel_all(void)
{
    if (play.all_cancelled)
        return false;
    play.all_cancelled = true;
    script_cancel_all(rig.script, "stop");
    return true;
}

static bool on_delete(void)
{
    play.is_cut = true;
    rig_unload();
    return true;
}

static const struct {
    const char *name;
    bool (*happens)(void);
} events[] = {
    { "abort", on_abort },
    { "gone", on_gone },
    { "deadline", on_deadline },
    { "patience", on_patience },
    { "cancel", on_cancel },
    { "cancel_handler", on_cancel_handler },
    { "success", on_success },
    { "news", on_news },
    { "timer", on_timer },
    { "timer_handler", on_timer_handler },
    { "timer_other", on_timer_other },
    { "timer_late", on_timer_late },
    { "error", on_error },
    { "finish", on_finish },
    { "task_cancel", on_task_cancel },
    { "detach", on_detach },
    { "close", on_close },
    { "shut", on_shut },
    { "cancel_all", on_cancel_all },
    { "delete", on_delete }, /* the last: a play ends with it */
};

enum { EVENTS = sizeof(events) / sizeof(events[0]), DELETE = EVENTS - 1 };

struct move {
    int event, turns;
};

/* --- beginning and ending ------------------------------------------------- */

static void describe(struct play_case it, const struct move *moves, int n,
                     const char *note)
{
    size_t len = (size_t)snprintf(text, sizeof(text), "%s/%s/%s:", whos[it.who],
                                  shapes[it.shape], waits[it.wait]);

    for (int i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, " %s%.*s",
                                events[moves[i].event].name, moves[i].turns,
                                "...");
    snprintf(text + len, sizeof(text) - len, "%s", note);
}

static void find_parts(void)
{
    if (request.req != NULL && request.req->handler != NULL)
        play.handler = part_of(request.req->handler);
    play.waiter = play.handler;
    for (struct list *link = rig.script->tasks.next; link != &rig.script->tasks;
         link = link->next) {
        struct task *task = list_entry(link, struct task, link);

        if (task->kind->is_root)
            continue;
        if (strcmp(whos[play.it.who], "child") == 0 &&
            play.waiter.task == play.handler.task)
            play.waiter = part_of(task);
        else
            play.other = part_of(task);
    }
}

/* Everything waits where the case says. */
static void begin_play(struct play_case it)
{
    memset(&play, 0, offsetof(struct play, value));
    memset(play.got, 0, sizeof(play.got));
    play.it = it;
    assert_true(rig_begin(&bystander, REQUEST_RESPONDER));
    rig_ready(&bystander);
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    play.req = request_ref(request.req);
    request.room = strcmp(waits[it.wait], "write") == 0 ? 100 : SIZE_MAX;
    request.is_stuck = strcmp(waits[it.wait], "flush") == 0;
    rig_param(&request, "WHO", whos[it.who]);
    rig_param(&request, "SHAPE", shapes[it.shape]);
    rig_param(&request, "WAIT", waits[it.wait]);
    rig_ready(&request);
    settle();
    find_parts();
    if (strcmp(shapes[it.shape], "cleanup") == 0) {
        on_cancel();
        settle();
        find_parts();
    }
}

static void fire_all(void)
{
    for (int i = 0;; i++) {
        struct loop_timer *timer;

        settle();
        timer = fake_clock_next();
        if (timer == NULL)
            return;
        must(i < 200, "there always is another timer");
        fake_clock_fire(timer);
    }
}

/* What waits for nothing that comes belongs to no request. */
static void check_left(void)
{
    for (struct list *link = rig.script->tasks.next; link != &rig.script->tasks;
         link = link->next) {
        const struct task *task = list_entry(link, struct task, link);

        must(!task->kind->is_root && task->owner == NULL,
             "a task of a request does not end");
    }
}

static unsigned count_in_log(const char *part)
{
    unsigned n = 0;

    for (const char *at = play_log(); (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

static void check_bystander(void)
{
    static const char whole[] = "B1B2B3B4B5B6";
    char *stop = strstr(bystander.body.data, "stop");

    must(bystander.ends == 1 && bystander.heads == 1,
         "the bystander is not answered once");
    if (play.is_cut || play.is_short_of_memory)
        return;
    if (stop != NULL && play.all_cancelled)
        memmove(stop, stop + 4, strlen(stop + 4) + 1);
    must(strcmp(bystander.body.data, whole) == 0,
         "the bystander's answer is another");
    must(bystander.app_status == 0, "the bystander has failed");
}

static void check_request(void)
{
    must(request.req == NULL, "the request has not ended");
    must(request.ends == (play.is_gone ? 0 : 1),
         "the request has not ended once");
    must(request.heads <= 1, "there are two heads");
    must(strchr(request.body.data, 'B') == NULL,
         "the bystander's bytes are in the answer");
    must(play.req->refs == 1, "somebody still holds the request");
    request_unref(play.req);
    play.req = NULL;
    must(rig.service.active == 0, "a request still counts as active");
    must(rig.service.serving == 0, "a request still counts as served");
}

/* What the hook on_error fails of is logged with what it was called for. */
static void check_errors(void)
{
    unsigned logged = count_in_log("raised on purpose");

    must(logged <= play.raised, "an error is logged twice");
    must(logged + play.caught >= play.raised, "an error is lost");
    if (rig.config.nargs == 0)
        must(logged + play.caught == play.raised,
             "an error is logged and caught");
}

static void check_values(void)
{
    for (unsigned i = 0; i < play.values; i++) {
        must(play.got[i] <= 1, "a value came twice");
        if (play.is_cut)
            continue;
        must(play.value[i] != VALUE_PUT || play.got[i] == 1, "a value is lost");
        must(play.value[i] != VALUE_REFUSED || play.got[i] == 0,
             "a value came that was not taken");
    }
}

static void end_play(void)
{
    for (int i = 0; bystander.req != NULL && rig.script != NULL; i++) {
        must(i < 20, "the bystander hangs");
        step(); /* its time comes before all other's */
    }
    if (rig.script != NULL) {
        fire_all();
        must(request.req == NULL, "the request hangs");
        check_left();
        script_cancel_all(rig.script, "stop");
        fire_all();
        must(script_tasks(rig.script) == 0, "a task does not end");
        must(script_worker_tasks(rig.script) == 0, "a task is not counted off");
        rig.script->memory.limit = 0;
        do_command("drain");
    }
    must(fake_clock_timers() == 0, "a timer runs on");
    check_bystander();
    check_request();
    if (play.is_short_of_memory)
        return;
    must(play.opened == play.closed, "a variable is not closed once");
    check_values();
    if (!play.is_cut)
        check_errors();
}

/* Plays the moves.  Returns how many there were before one that can do nothing,
 * or a turn with nothing to do. */
static int run_play(struct play_case it, const struct move *moves, int n,
                    size_t memory, const char *note)
{
    int done;

    describe(it, moves, n, note);
    if (getenv("ORDERS_TRACE") != NULL)
        fprintf(stderr, "%s\n", text);
    is_playing = true;
    plays++;
    want_script(strcmp(waits[it.wait], "on_error") == 0);
    if (memory > 0)
        rig_limit_memory(memory);
    begin_play(it);
    play.is_short_of_memory = memory > 0;
    for (done = 0; done < n && rig.script != NULL; done++) {
        bool is_idle = !events[moves[done].event].happens();

        if (rig.script != NULL && moves[done].turns > 0) {
            is_idle = is_idle || !is_any_posted();
            rig_turns((unsigned)moves[done].turns);
        }
        step();
        if (is_idle && memory == 0)
            break;
    }
    end_play();
    forget_play_log();
    is_playing = false;
    return done;
}

/* --- many plays ----------------------------------------------------------- */

/* Entries of the registry, without the free places that luaL_unref leaves. */
static unsigned count_registry(void)
{
    lua_State *L = rig.script->L;
    unsigned n = 0;

    task_free_idle(rig.script);
    lua_gc(L, LUA_GCCOLLECT, 0);
    lua_gc(L, LUA_GCCOLLECT, 0); /* what finalizers let go of */
    lua_pushnil(L);
    while (lua_next(L, LUA_REGISTRYINDEX) != 0) {
        if (lua_type(L, -1) != LUA_TNUMBER)
            n++;
        lua_pop(L, 1);
    }
    return n;
}

static void explore(struct play_case it, struct move *moves, int n, int most)
{
    for (int event = 0; event < EVENTS; event++) {
        moves[n] = (struct move){ event, 0 };
        if (run_play(it, moves, n + 1, 0, "") <= n || n + 1 == most ||
            event == DELETE)
            continue;
        explore(it, moves, n + 1, most);
        moves[n].turns = 1;
        if (run_play(it, moves, n + 1, 0, "") > n)
            explore(it, moves, n + 1, most);
    }
}

static bool is_one_of(const char *name, const char *list)
{
    const char *at = strstr(list, name);

    return at != NULL && at[strlen(name)] == ' ';
}

/* How long its sequences are that are played all. */
static int depth_of(struct play_case it)
{
    static const char deep[] = "sleep body write join timeout get put "
                               "task_close on_error ";
    const char *depth = getenv("ORDERS_DEPTH");
    bool is_plain = strcmp(shapes[it.shape], "plain") == 0;

    if (depth != NULL)
        return atoi(depth) < EVENTS_MAX ? atoi(depth) : EVENTS_MAX;
    if (is_plain && strcmp(whos[it.who], "handler") == 0 &&
        is_one_of(waits[it.wait], deep))
        return 3;
    return is_plain || strcmp(waits[it.wait], "sleep") == 0 ? 2 : 1;
}

static struct play_case case_at(int n)
{
    return (struct play_case){ n % WHOS, n / WHOS % SHAPES, n / WHOS / SHAPES };
}

static void every_short_order_comes_out_even(void **state)
{
    struct move moves[EVENTS_MAX];

    (void)state;
    for (int n = 0; n < WHOS * SHAPES * WAITS; n++) {
        struct play_case it = case_at(n);
        unsigned before, after;

        if (!is_sound(it))
            continue;
        run_play(it, moves, 0, 0, "");
        before = count_registry();
        explore(it, moves, 0, depth_of(it));
        run_play(it, moves, 0, 0, "");
        after = count_registry();
        if (before != after)
            fail_msg("%s: the registry has %u entries, not %u", text, after,
                     before);
    }
}

static uint64_t draw(uint64_t *seed, uint64_t below)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed % below;
}

/* Draws moves until they are as many as wanted: one that can do nothing is
 * drawn anew. */
static void play_at_random(uint64_t number)
{
    struct move moves[EVENTS_MAX];
    uint64_t seed = number * 0x9e3779b97f4a7c15u + 1;
    int wanted = 3 + (int)draw(&seed, EVENTS_MAX - 2), n = 0;
    struct play_case it;
    char note[64];

    snprintf(note, sizeof(note), " (seed %llu)", (unsigned long long)number);
    do
        it = case_at((int)draw(&seed, WHOS * SHAPES * WAITS));
    while (!is_sound(it));
    for (int tries = 0; n < wanted && tries < 12; tries++) {
        moves[n].event = (int)draw(&seed, EVENTS);
        moves[n].turns = (int)draw(&seed, TURNS_MAX + 1);
        if (moves[n].event == DELETE && draw(&seed, 8) > 0)
            continue;
        if (run_play(it, moves, n + 1, 0, note) > n)
            n++;
        if (rig.script == NULL)
            return;
    }
}

static void longer_orders_come_out_even(void **state)
{
    const char *wanted = getenv("ORDERS_PLAYS"), *first = getenv("ORDERS_SEED");
    unsigned long n = wanted == NULL ? 1200 : strtoul(wanted, NULL, 10);
    uint64_t seed = first == NULL ? 1 : strtoull(first, NULL, 10);
    unsigned before = 0, after;

    (void)state;
    for (unsigned long i = 0; i < n; i++)
        play_at_random(seed + i);
    for (int i = 0; i < 2; i++) {
        want_script(false);
        play_at_random(seed);
        want_script(false);
        after = count_registry();
        must(i == 0 || after == before, "the registry has grown");
        before = after;
    }
}

/* Each time Lua is given a little more. */
static void without_memory_they_end_as_well(void **state)
{
    static const struct move samples[][3] = {
        { { 0, 1 }, { 8, 1 }, { 9, 1 } },  { { 4, 0 }, { 6, 1 }, { 3, 1 } },
        { { 12, 0 }, { 8, 1 }, { 9, 1 } }, { { 14, 1 }, { 16, 1 }, { 2, 1 } },
        { { 6, 1 }, { 1, 0 }, { 18, 1 } },
    };

    (void)state;
    for (int n = 0; n < WHOS * SHAPES * WAITS; n++) {
        struct play_case it = case_at(n);
        size_t sample = (size_t)n % (sizeof(samples) / sizeof(samples[0]));

        if (!is_sound(it))
            continue;
        for (size_t more = 1 + (size_t)n % 97; more < 16000; more += 607) {
            char note[64];

            snprintf(note, sizeof(note), " (%zu bytes)", more);
            run_play(it, samples[sample], 3, more, note);
        }
    }
}

static int find_name(const char *const *names, int n, const char *name,
                     size_t len)
{
    for (int i = 0; i < n; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return i;
    fail_msg("ORDERS_PLAY: %s is unknown", name);
    return -1;
}

/* What a failure told. */
static void one_order_comes_out_even(void **state)
{
    const char *at = getenv("ORDERS_PLAY"), *limit = getenv("ORDERS_LIMIT");
    const char *names[EVENTS];
    struct move moves[EVENTS_MAX];
    struct play_case it;
    size_t len;
    int n = 0;

    (void)state;
    for (int i = 0; i < EVENTS; i++)
        names[i] = events[i].name;
    it.who = find_name(whos, WHOS, at, len = strcspn(at, "/"));
    at += len + 1;
    it.shape = find_name(shapes, SHAPES, at, len = strcspn(at, "/"));
    at += len + 1;
    it.wait = find_name(waits, WAITS, at, len = strcspn(at, ":"));
    at += len + 1;
    for (at += strspn(at, " "); *at != '\0' && n < EVENTS_MAX;
         at += strspn(at, " "), n++) {
        moves[n].event = find_name(names, EVENTS, at, len = strcspn(at, " ."));
        at += len;
        moves[n].turns = (int)strspn(at, ".");
        at += moves[n].turns;
    }
    run_play(it, moves, n, limit == NULL ? 0 : strtoul(limit, NULL, 10), "");
}

/* --- setting up ----------------------------------------------------------- */

static int set_up(void **state)
{
    int result = rig_set_up(state);

    log_set_level(LOG_LEVEL_ERROR);
    fake_clock_on();
    plays = 0;
    log_start = 0;
    return result;
}

static int tear_down(void **state)
{
    int result = 0;

    if (is_playing)
        print_error("in the play %s\n", text);
    else
        result = rig_tear_down(state);
    print_message("%u plays\n", plays);
    is_playing = false;
    fake_clock_off();
    return result;
}

#define ORDERS_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest all[] = {
        ORDERS_TEST(every_short_order_comes_out_even),
        ORDERS_TEST(longer_orders_come_out_even),
        ORDERS_TEST(without_memory_they_end_as_well),
    };
    const struct CMUnitTest one[] = { ORDERS_TEST(one_order_comes_out_even) };
    const struct CMUnitTest soak[] = {
        ORDERS_TEST(longer_orders_come_out_even),
    };

    if (getenv("ORDERS_PLAY") != NULL)
        return cmocka_run_group_tests_name("script/orders", one, NULL, NULL);
    if (getenv("ORDERS_PLAYS") != NULL)
        return cmocka_run_group_tests_name("script/orders", soak, NULL, NULL);
    return cmocka_run_group_tests_name("script/orders", all, NULL, NULL);
}
