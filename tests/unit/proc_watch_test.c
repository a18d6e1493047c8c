/* proc_watch_test.c -- files, and what becomes of them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/loop_ev.h"
#include "proc/watch.h"
#include "script_rig.h"

static struct watch *watch;
static char path[160], told[512];
static unsigned changes;

static void on_change(void *arg, const char *name)
{
    assert_ptr_equal(arg, &changes);
    changes++;
    snprintf(told, sizeof(told), "%s", name);
}

static const char *in_folder(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", rig.folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    rig_write_file(in_folder(name), text);
}

static int set_up(void **state)
{
    int result = rig_set_up(state);

    watch = watch_new();
    changes = 0;
    told[0] = '\0';
    return watch == NULL ? -1 : result;
}

static int tear_down(void **state)
{
    static const char *const names[] = { "b.lua", "c.lua", "link", "to/b.lua" };

    watch_del(watch);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(in_folder(names[i]));
    rmdir(in_folder("to"));
    return rig_tear_down(state);
}

static void start(void)
{
    watch_start(watch, rig.loop->ev, on_change, &changes);
}

static void add(const char *name)
{
    in_folder(name);
    watch_file(watch, path, watch_print(path));
}

static void until_changed(const char *name)
{
    unsigned before = changes;

    while (changes == before)
        ev_run(rig.loop->ev, EVRUN_ONCE);
    assert_string_equal(told, in_folder(name));
}

/* Waits for what changes last: nothing before it was told of. */
static void assert_only(const char *name)
{
    unsigned before = changes;

    write_file("c.lua", "last");
    until_changed(name);
    assert_int_equal(changes, before + 1);
}

static void prints_tell_contents_apart(void **state)
{
    uint64_t first;

    (void)state;
    write_file("b.lua", "one");
    first = watch_print(in_folder("b.lua"));
    assert_int_not_equal(first, 0);
    write_file("c.lua", "one");
    assert_true(watch_print(in_folder("c.lua")) == first);
    write_file("b.lua", "two");
    assert_false(watch_print(in_folder("b.lua")) == first);
    write_file("b.lua", "");
    assert_int_not_equal(watch_print(in_folder("b.lua")), 0);
    assert_int_equal(watch_print(rig.folder), 0);
    assert_int_equal(watch_print(in_folder("missing")), 0);
}

static void a_change_is_told_once(void **state)
{
    (void)state;
    write_file("b.lua", "one");
    write_file("c.lua", "one");
    add("b.lua");
    add("c.lua");
    start();
    write_file("b.lua", "two");
    until_changed("b.lua");
    assert_only("c.lua");
    assert_int_equal(changes, 2);
}

static void what_changed_before_the_start_is_told(void **state)
{
    (void)state;
    write_file("b.lua", "one");
    add("b.lua");
    write_file("b.lua", "two");
    start();
    until_changed("b.lua");
    watch_file(watch, in_folder("c.lua"), 17); /* likewise later */
    write_file("c.lua", "not 17");
    until_changed("c.lua");
}

static void a_file_comes_goes_and_is_replaced(void **state)
{
    char from[160];

    (void)state;
    add("b.lua"); /* missing */
    add("c.lua");
    start();
    write_file("b.lua", "one");
    until_changed("b.lua");
    unlink(in_folder("b.lua"));
    until_changed("b.lua");
    snprintf(from, sizeof(from), "%s/b.lua~", rig.folder);
    rig_write_file(from, "two");
    assert_int_equal(rename(from, in_folder("b.lua")), 0);
    until_changed("b.lua");
    assert_int_equal(chmod(in_folder("b.lua"), 0600), 0);
    assert_only("c.lua");
}

static void links_and_folders_on_the_way(void **state)
{
    (void)state;
    write_file("b.lua", "one");
    watch_file(watch, in_folder("link/./../to/b.lua"), 0);
    watch_file(watch, in_folder("link"), 0);
    start();
    assert_int_equal(mkdir(in_folder("to"), 0755), 0);
    assert_int_equal(symlink("to/b.lua", in_folder("link")), 0);
    write_file("to/b.lua", "two");
    until_changed("link"); /* link/.. is no folder */
    write_file("to/b.lua", "three");
    until_changed("link");
    unlink(in_folder("link"));
    assert_int_equal(symlink(rig.folder, in_folder("link")), 0);
    until_changed("link");
    unlink(in_folder("link")); /* a link to itself */
    assert_int_equal(symlink("link", in_folder("link")), 0);
    add("c.lua");
    assert_only("c.lua");
}

static void what_is_not_loaded_any_more_is_forgotten(void **state)
{
    (void)state;
    write_file("b.lua", "one");
    add("b.lua");
    add("c.lua");
    start();
    watch_begin_load(watch);
    add("c.lua");
    watch_end_load(watch);
    write_file("b.lua", "two");
    assert_only("c.lua");
}

static void count_file(void *arg, const char *name)
{
    assert_true(name[0] == '/' || strcmp(name, "./rel.lua") == 0);
    ++*(unsigned *)arg;
}

static void each_file_is_there_once_as_it_was_given(void **state)
{
    unsigned count = 0;
    char huge[5000];

    (void)state;
    memset(huge, 'x', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    watch_file(watch, "./rel.lua", 1);
    watch_file(watch, "./rel.lua", 2);
    watch_file(watch, in_folder("b.lua"), 0);
    watch_file(watch, huge, 0);
    rig_assert_logged("File name too long; changes may go unnoticed");
    watch_each(watch, count_file, &count);
    assert_int_equal(count, 2);
}

static void waiting_needs_no_loop(void **state)
{
    pid_t child;

    (void)state;
    write_file("b.lua", "one");
    add("b.lua");
    child = fork(); /* whichever comes first, the change is seen */
    if (child == 0) {
        write_file("b.lua", "two");
        _exit(0);
    }
    assert_string_equal(watch_wait(watch), in_folder("b.lua"));
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void without_descriptors_a_warning_is_all(void **state)
{
    struct rlimit old, none;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    start();
    assert_null(watch_wait(watch));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    rig_assert_logged(" warn [");
    rig_assert_logged("--watch: inotify: Too many open files (fs.inotify.");
    assert_null(strstr(strstr(rig_log(), "--watch") + 1, "--watch"));
    add("b.lua");
    watch_leave(watch);
}

static void make_and_look(void *arg)
{
    struct watch *other = watch_new();

    (void)arg;
    if (other == NULL)
        return;
    watch_file(other, in_folder("b.lua"), 1);
    watch_file(other, in_folder("c.lua"), 2);
    watch_start(other, rig.loop->ev, on_change, &changes);
    watch_leave(other);
    watch_del(other);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    write_file("b.lua", "one");
    alloc_each_fails(make_and_look, NULL);
    rig_assert_logged("--watch: cannot watch ");
}

#define WATCH_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCH_TEST(prints_tell_contents_apart),
        WATCH_TEST(a_change_is_told_once),
        WATCH_TEST(what_changed_before_the_start_is_told),
        WATCH_TEST(a_file_comes_goes_and_is_replaced),
        WATCH_TEST(links_and_folders_on_the_way),
        WATCH_TEST(what_is_not_loaded_any_more_is_forgotten),
        WATCH_TEST(each_file_is_there_once_as_it_was_given),
        WATCH_TEST(waiting_needs_no_loop),
        WATCH_TEST(without_descriptors_a_warning_is_all),
        WATCH_TEST(each_allocation_may_fail),
    };

    return cmocka_run_group_tests_name("proc/watch", tests, NULL, NULL);
}
