/* proc_watched_test.c -- the ways that the names of files take.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proc/watched.h"
#include "script_rig.h"

static struct watch *watch;
static char seen[4096];

static int set_up(void **state)
{
    watch = watch_new();
    return watch == NULL ? -1 : rig_set_up(state);
}

static int tear_down(void **state)
{
    watched_by(NULL);
    watch_del(watch);
    return rig_tear_down(state);
}

static void see(void *arg, const char *path)
{
    size_t len = strlen(seen);

    (void)arg;
    snprintf(seen + len, sizeof(seen) - len, "%s\n", path);
}

static const char *watched(void)
{
    seen[0] = '\0';
    watch_each(watch, see, NULL);
    return seen;
}

static void files_go_where_they_should(void **state)
{
    (void)state;
    watched_file("/nowhere.lua");
    watched_by(watch);
    watched_file("/one.lua");
    watched_file("two.lua");
    watched_by(NULL);
    watched_file("/three.lua");
    assert_string_equal(watched(), "/one.lua\ntwo.lua\n");
}

static void notes_are_taken_as_far_as_they_go(void **state)
{
    int fd = watched_open_notes();
    char huge[5000];
    off_t end;

    (void)state;
    assert_int_not_equal(fd, -1);
    memset(huge, 'x', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    watched_in_notes(fd);
    watched_file("/one.lua");
    watched_file(huge);
    watched_file("/two.lua");
    watched_take_notes(watch, fd);
    assert_string_equal(watched(), "/one.lua\n/two.lua\n");
    watched_file("/three.lua");
    end = lseek(fd, 0, SEEK_END);
    assert_int_equal(ftruncate(fd, end - 1), 0); /* its writer was killed */
    watched_take_notes(watch, fd);
    assert_string_equal(watched(), "/one.lua\n/two.lua\n");
    close(fd);
    watched_take_notes(watch, -1);
}

static void a_link_carries_files_and_reasons(void **state)
{
    struct ev_loop *ev = ev_loop_new(0);
    struct link_message message;
    struct post post;
    int fds[2], fd;

    (void)state;
    assert_int_equal(link_pair(fds), 0);
    post_init(&post, ev, fds[0]);
    watched_over_link(fds[0]);
    watched_file(rig.path);
    assert_int_equal(link_receive(fds[1], &message, &fd), 1);
    assert_int_equal(message.kind, LINK_FILE);
    assert_string_equal(message.text, rig.path);
    assert_true(((uint64_t)message.id << 32 | message.slot) ==
                watch_print(rig.path));
    watched_take(watch, &message);
    assert_contains(watched(), rig.path);
    watched_break_by_post(watch, &post, "because");
    assert_int_equal(link_receive(fds[1], &message, &fd), 1);
    assert_int_equal(message.kind, LINK_FILE);
    assert_string_equal(message.text, rig.path);
    assert_int_equal(link_receive(fds[1], &message, &fd), 1);
    assert_int_equal(message.kind, LINK_BROKEN);
    assert_string_equal(message.text, "because");
    post_free(&post);
    ev_loop_destroy(ev);
    close(fds[0]);
    close(fds[1]);
}

static void a_script_is_told_why_it_is_broken(void **state)
{
    struct rig_request request;
    char why[256];

    (void)state;
    rig.config.is_dev = true;
    rig_open("function on_request() return 200, {}, 'fine' end");
    watched_by(watch);
    watched_file(rig.path);
    snprintf(why, sizeof(why), "%s:1: because", rig.path);
    watched_break(watch, rig.script, why);
    assert_true(rig_begin(&request, REQUEST_RESPONDER));
    rig_ready(&request);
    rig_run();
    assert_contains(request.body.data, why);
    assert_contains(request.body.data, ">     1  function on_request()");
}

#define WATCHED_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCHED_TEST(files_go_where_they_should),
        WATCHED_TEST(notes_are_taken_as_far_as_they_go),
        WATCHED_TEST(a_link_carries_files_and_reasons),
        WATCHED_TEST(a_script_is_told_why_it_is_broken),
    };

    return cmocka_run_group_tests_name("proc/watched", tests, NULL, NULL);
}
