/* proc_reload_test.c -- trials in children, and what comes of them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <cmocka.h>

#include "io/loop_ev.h"
#include "proc/reload.h"
#include "script_rig.h"

static struct script_worker who;
static struct options start_options;
static struct reload reload;
static struct generation *next;
static char program[] = "fcgi-lua", option[] = "--load-timeout=0.2";
static struct notify notify = NOTIFY_NOBODY;
static char *argv[] = { program, option, NULL, NULL };

static int set_up(void **state)
{
    struct option_error error;
    int result = rig_set_up(state);

    next = NULL;
    who = (struct script_worker){ 1, 1, 1 };
    argv[2] = rig.path;
    if (options_init(&start_options, &error) != OPTIONS_OK ||
        options_parse_args(&start_options, 3, argv, &error) != OPTIONS_OK)
        return -1;
    reload_init(&reload, rig.loop, rig.loop->ev, &rig.service, 3, argv,
                &start_options, &notify);
    return result;
}

static int tear_down(void **state)
{
    reload_stop(&reload);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    generation_del(next);
    options_free(&start_options);
    return rig_tear_down(state);
}

static void step(void)
{
    struct generation *got = reload_step(&reload, &who);

    if (got == NULL)
        return;
    generation_del(next);
    next = got;
    who = got->who;
}

/* Until nothing is under way. */
static void until_idle(void)
{
    step();
    while (reload.state != RELOAD_IDLE || reload.is_asked) {
        loop_turn(rig.loop, true);
        step();
    }
}

static void become(const char *source)
{
    rig_write_file(rig.path, source);
    reload_ask(&reload);
    until_idle();
}

static void assert_refused(const char *source, const char *why)
{
    rig_forget_log();
    become(source);
    assert_null(next);
    rig_assert_logged(" error [");
    rig_assert_logged("not reloaded, generation 1 serves on: ");
    rig_assert_logged(why);
}

#define HANDLER "function on_request() end\n"

static void a_good_script_is_handed_over(void **state)
{
    (void)state;
    become(HANDLER "function on_worker() require 'fcgi'.sleep(0.002) end");
    assert_non_null(next);
    assert_int_equal(next->who.generation, 2);
    assert_int_equal(next->state, GENERATION_SERVING);
    rig_assert_logged("reloading ");
    rig_assert_logged("reloaded: generation 2 serves");
    become(HANDLER);
    assert_int_equal(next->who.generation, 3);
}

static void a_bad_script_is_told_in_one_line(void **state)
{
    (void)state;
    assert_refused("x =", "app.lua:1: ");
    assert_refused("", "app.lua: no handler");
    assert_refused("error('oops')", "app.lua:1: oops\n    stack traceback:");
    assert_refused("error(('x'):rep(100000))", "xxxxxxxx");
    assert_refused("error('a\\n\\nb')", "app.lua:1: a\n    \n    b");
    assert_refused("return { on_request = print, grace = 'x' }",
                   "grace: \"x\" is not a time");
    assert_refused("return { on_request = print, grace = print() or {{}} }",
                   "see above");
    assert_refused(HANDLER "function on_start() error('late') end",
                   "app.lua:2: late");
    assert_refused(HANDLER "function on_worker() error('later') end",
                   "on_worker failed");
}

static void a_trial_that_dies_is_told(void **state)
{
    (void)state;
    assert_refused("os.exit(7)", "ended with exit code 7 before");
    assert_refused("os.execute('kill -KILL ' .. io.open('/proc/self/stat')\n"
                   "  :read('n'))",
                   "the trial of the script ended by SIGKILL");
}

static void an_endless_loop_is_told_with_its_place(void **state)
{
    (void)state;
    assert_refused("while true do end", "app.lua:1: stopped: loading took");
}

/* What the script does at its top level happens in the child. */
static void a_failing_trial_has_no_effect_here(void **state)
{
    char seen[128];
    FILE *file;
    long pid = 0;

    (void)state;
    snprintf(seen, sizeof(seen), "%s/pid", rig.folder);
    rig_write_file(seen, "");
    become("local stat = io.open('/proc/self/stat')\n"
           "io.open(arg[0]:gsub('app.lua', 'pid'), 'w'):write(stat:read('n'))\n"
           "  :close()\n"
           "error('enough')");
    file = fopen(seen, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld", &pid), 1);
    fclose(file);
    unlink(seen);
    assert_int_not_equal(pid, getpid());
}

static void many_that_ask_get_one_more(void **state)
{
    (void)state;
    rig_write_file(rig.path, HANDLER);
    reload_ask(&reload);
    step();
    assert_int_equal(reload.state, RELOAD_TRIAL);
    for (int i = 0; i < 5; i++)
        reload_ask(&reload);
    until_idle();
    assert_int_equal(who.generation, 3);
}

static void after_a_failure_the_next_that_asks_has_its_turn(void **state)
{
    (void)state;
    rig_write_file(rig.path, "x =");
    reload_ask(&reload);
    step();
    reload_ask(&reload);
    while (reload.state != RELOAD_IDLE)
        loop_turn(rig.loop, true);
    rig_write_file(rig.path, HANDLER); /* the child has read it by now */
    until_idle();
    assert_int_equal(who.generation, 2);
}

static void a_stop_ends_what_is_under_way(void **state)
{
    pid_t child;

    (void)state;
    reload_stop(&reload); /* nothing is */
    rig_write_file(rig.path, "while true do end");
    reload_ask(&reload);
    step();
    child = reload.child;
    assert_int_not_equal(child, 0);
    reload_stop(&reload);
    assert_int_equal(kill(child, 0), -1);
    assert_int_equal(reload.state, RELOAD_IDLE);
    rig_write_file(rig.path, HANDLER "function on_worker()\n"
                                     "  require 'fcgi'.sleep(3600) end");
    reload_ask(&reload);
    step();
    while (reload.state != RELOAD_STARTING) {
        loop_turn(rig.loop, true);
        step();
    }
    reload_stop(&reload);
    assert_int_equal(reload.state, RELOAD_IDLE);
    assert_null(reload.next);
}

static void what_waits_for_a_restart_is_told(void **state)
{
    (void)state;
    become("return { on_request = print, listen = ':1', pid = '/x',\n"
           "  workers = 1, grace = 3 }");
    assert_non_null(next);
    rig_assert_logged("listen has changed: the old value holds until");
    rig_assert_logged("pid has changed");
    assert_lacks(rig_log(), "workers has changed");
    assert_lacks(rig_log(), "grace has changed");
}

#define RELOAD_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELOAD_TEST(a_good_script_is_handed_over),
        RELOAD_TEST(a_bad_script_is_told_in_one_line),
        RELOAD_TEST(a_trial_that_dies_is_told),
        RELOAD_TEST(an_endless_loop_is_told_with_its_place),
        RELOAD_TEST(a_failing_trial_has_no_effect_here),
        RELOAD_TEST(many_that_ask_get_one_more),
        RELOAD_TEST(after_a_failure_the_next_that_asks_has_its_turn),
        RELOAD_TEST(a_stop_ends_what_is_under_way),
        RELOAD_TEST(what_waits_for_a_restart_is_told),
    };

    return cmocka_run_group_tests_name("proc/reload", tests, NULL, NULL);
}
