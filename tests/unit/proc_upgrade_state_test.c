/* proc_upgrade_state_test.c -- what one program leaves to the next, as text.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "proc/protocol.h"
#include "proc/upgrade_state.h"

#define LEAST "1 pid=7 program=/p generation=1 workers=0 spawned=0"
#define SOCKET " listen=3,tcp,127.0.0.1:9000"

static char why[UPGRADE_WHY_MAX];

/* Texts that are written, not freed. */
static char *text(const char *value)
{
    return (char *)(size_t)(const void *)value;
}

static struct upgrade_state full_state(void)
{
    static struct listen_socket sockets[] = {
        { .fd = 5, .is_tcp = true, .name = NULL },
        { .fd = 6, .dev = 66306, .ino = 18446744073709551615u },
    };
    static struct listen_socket status_socket = { .fd = 17,
                                                  .is_tcp = true,
                                                  .name = NULL };
    static char *settings[2];
    static struct upgrade_process processes[] = {
        { UPGRADE_TEMPLATE, 4712, 12, 0, 0, 2, 1, 0, "" },
        { UPGRADE_TEMPLATE, 0, -1, 0, 0, 1, 3, 0, "" },
        { UPGRADE_WORKER, 4713, 13, 1, 0, 2, 1, 0, "" },
        { UPGRADE_WORKER, 0, 14, 1023, 511, 1, 0, 1, "max-requests" },
        { UPGRADE_ELDER, 4714, 15, 0, 5, 1, 1, 0, "" },
        { UPGRADE_WARD, 4715, -1, 4714, 0, 0, 0, 0, "" },
    };

    sockets[0].name = text("[::1]:9000");
    sockets[1].protocol = PROTOCOL_HTTP;
    status_socket.name = text("127.0.0.1:9001");
    sockets[1].name = text("unix:/run/a b,c=%\n\xc3\xa9.sock");
    sockets[1].path_to_unlink = text("/run/a b,c=%\n\xc3\xa9.sock");
    settings[0] = text("workers=4");
    settings[1] = text("access-format=%R, \"%t\"=x");
    return (struct upgrade_state){
        .check = 4,
        .pid = 4711,
        .folder = 7,
        .program = text("/opt/fcgi lua/bin"),
        .generation = 2,
        .workers = 4,
        .is_spawned = true,
        .pid_file = 8,
        .pid_path = text("/run/x,y.pid"),
        .notify = 9,
        .log = 10,
        .access_log = 11,
        .board = 16,
        .listening = { sockets, 2 },
        .status_listening = { &status_socket, 1 },
        .settings = { settings, 2 },
        .processes = processes,
        .count = 6,
    };
}

static void assert_same_sockets(const struct listen_set *a,
                                const struct listen_set *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct listen_socket *x = &a->items[i];
        const struct listen_socket *y = &b->items[i];

        assert_int_equal(x->fd, y->fd);
        assert_int_equal(x->is_tcp, y->is_tcp);
        assert_int_equal(x->protocol, y->protocol);
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->path_to_unlink == NULL, y->path_to_unlink == NULL);
        if (x->path_to_unlink != NULL)
            assert_string_equal(x->path_to_unlink, y->path_to_unlink);
        assert_int_equal(x->dev, y->dev);
        assert_int_equal(x->ino, y->ino);
    }
}

static void assert_same(const struct upgrade_state *a,
                        const struct upgrade_state *b)
{
    assert_int_equal(a->check, b->check);
    assert_int_equal(a->pid, b->pid);
    assert_int_equal(a->folder, b->folder);
    assert_string_equal(a->program, b->program);
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->workers, b->workers);
    assert_int_equal(a->is_spawned, b->is_spawned);
    assert_int_equal(a->pid_file, b->pid_file);
    assert_string_equal(a->pid_path, b->pid_path);
    assert_int_equal(a->notify, b->notify);
    assert_int_equal(a->log, b->log);
    assert_int_equal(a->access_log, b->access_log);
    assert_int_equal(a->board, b->board);
    assert_same_sockets(&a->listening, &b->listening);
    assert_same_sockets(&a->status_listening, &b->status_listening);
    assert_int_equal(a->settings.count, b->settings.count);
    for (size_t i = 0; i < a->settings.count; i++)
        assert_string_equal(a->settings.items[i], b->settings.items[i]);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct upgrade_process *x = &a->processes[i];
        const struct upgrade_process *y = &b->processes[i];

        assert_int_equal(x->role, y->role);
        assert_int_equal(x->pid, y->pid);
        assert_int_equal(x->fd, y->fd);
        assert_int_equal(x->id, y->id);
        assert_int_equal(x->slot, y->slot);
        assert_int_equal(x->generation, y->generation);
        assert_int_equal(x->state, y->state);
        assert_int_equal(x->replaces, y->replaces);
        assert_string_equal(x->reason, y->reason);
    }
}

static void all_of_it_comes_back(void **state)
{
    struct upgrade_state before = full_state(), after;
    char *written = upgrade_state_write(&before);

    (void)state;
    assert_non_null(written);
    for (const char *at = written; *at != '\0'; at++)
        assert_true(*at >= ' ' && *at <= '~');
    assert_true(upgrade_state_read(&after, written, why));
    assert_same(&before, &after);
    upgrade_state_free(&after);
    free(written);
}

static void the_least_is_enough(void **state)
{
    struct upgrade_state read;

    (void)state;
    assert_true(upgrade_state_read(&read, LEAST SOCKET, why));
    assert_int_equal(read.pid, 7);
    assert_int_equal(read.check, -1);
    assert_int_equal(read.folder, -1);
    assert_int_equal(read.pid_file, -1);
    assert_int_equal(read.notify, -1);
    assert_int_equal(read.log, -1);
    assert_int_equal(read.access_log, -1);
    assert_int_equal(read.board, -1);
    assert_null(read.pid_path);
    assert_int_equal(read.count, 0);
    upgrade_state_free(&read);
}

static void fields_of_a_later_version_are_left_alone(void **state)
{
    struct upgrade_state read;

    (void)state;
    assert_true(upgrade_state_read(
        &read, LEAST SOCKET " moon=full,1,2 sun=%zz x=1 x=1", why));
    upgrade_state_free(&read);
}

static void what_is_wrong_is_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } wrong[] = {
        { "", "it does not begin with a version" },
        { "x", "it does not begin with a version" },
        { " 1", "it does not begin with a version" },
        { "-1", "it does not begin with a version" },
        { "2" SOCKET, "it has the version 2, and this program knows only 1" },
        { "1", "it has no pid" },
        { "1 pid=7", "it has no program" },
        { "1 pid=7 program=/p generation=1 workers=0" SOCKET,
          "it has no spawned" },
        { LEAST, "it has no listen" },
        { LEAST SOCKET " folder=3", "it names the descriptor 3 twice" },
        { LEAST SOCKET " elder=1,9,0,1,0 worker=1,9,1,0,1,0,0,",
          "it names the descriptor 9 twice" },
        { LEAST SOCKET " pid=7", "pid is malformed, or there twice" },
        { LEAST SOCKET " ", " is malformed, or there twice" },
        { LEAST SOCKET " board", "board is malformed, or there twice" },
        { "1 pid=0", "pid is malformed, or there twice" },
        { "1 pid=-1", "pid is malformed, or there twice" },
        { "1 pid=99999999999", "pid is malformed, or there twice" },
        { "1 pid=1,2", "pid is malformed, or there twice" },
        { "1 program=", "program is malformed, or there twice" },
        { "1 program=%0", "program is malformed, or there twice" },
        { "1 program=%00", "program is malformed, or there twice" },
        { "1 program=%G1", "program is malformed, or there twice" },
        { "1 program=a\nb", "program is malformed, or there twice" },
        { "1 spawned=2", "spawned is malformed, or there twice" },
        { "1 workers=4097", "workers is malformed, or there twice" },
        { "1 generation=4294967295",
          "generation is malformed, or there twice" },
        { "1 check=2", "check is malformed, or there twice" },
        { "1 board=2147483648", "board is malformed, or there twice" },
        { "1 status=3,tcp", "status is malformed, or there twice" },
        { LEAST SOCKET " status=3,tcp,x", "it names the descriptor 3 twice" },
        { "1 listen=3,tcp", "listen is malformed, or there twice" },
        { "1 listen=3,udp,x", "listen is malformed, or there twice" },
        { "1 listen=2,tcp,x", "listen is malformed, or there twice" },
        { "1 listen=3,tcp,", "listen is malformed, or there twice" },
        { "1 listen=3,unix,x,y,1", "listen is malformed, or there twice" },
        { "1 listen=3,unix,x,y,1,", "listen is malformed, or there twice" },
        { "1 listen=3,unix,x,y,,1", "listen is malformed, or there twice" },
        { "1 listen=3,unix,x,,1,1", "listen is malformed, or there twice" },
        { "1 setting=x", "setting is malformed, or there twice" },
        { "1 setting=x%3d1,2", "setting is malformed, or there twice" },
        { "1 pidfile=3", "pidfile is malformed, or there twice" },
        { "1 pidfile=1,/p", "pidfile is malformed, or there twice" },
        { "1 pidfile=3,/p pidfile=4,/q",
          "pidfile is malformed, or there twice" },
        { "1 template=1,2,1,1", "template is malformed, or there twice" },
        { "1 template=1,,1,1", "template is malformed, or there twice" },
        { "1 template=1,9,1", "template is malformed, or there twice" },
        { "1 worker=1,9,1,0,1,0,0", "worker is malformed, or there twice" },
        { "1 worker=1,9,1,0,1,0,0,0123456789abcdef",
          "worker is malformed, or there twice" },
        { "1 worker=1,9,1,0,1,0,0,x,y", "worker is malformed, or there twice" },
        { "1 elder=0,9,0,1,0", "elder is malformed, or there twice" },
        { "1 elder=1,-,0,1,0", "elder is malformed, or there twice" },
        { "1 ward=1", "ward is malformed, or there twice" },
        { "1 ward=0,1", "ward is malformed, or there twice" },
        { "1 ward=1,x", "ward is malformed, or there twice" },
        { "1 ward=1,2,3", "ward is malformed, or there twice" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct upgrade_state read;

        assert_false(upgrade_state_read(&read, wrong[i].text, why));
        assert_string_equal(why, wrong[i].why);
        upgrade_state_free(&read);
    }
}

/* Where it is cut off before the first socket has come whole. */
static void no_part_of_it_is_the_whole(void **state)
{
    struct upgrade_state before = full_state(), after;
    char *written = upgrade_state_write(&before), *end;

    (void)state;
    assert_non_null(written);
    end = strstr(written, "%5b::1%5d");
    assert_non_null(end);
    for (; end >= written; end--) {
        *end = '\0';
        assert_false(upgrade_state_read(&after, written, why));
        upgrade_state_free(&after);
    }
    free(written);
}

static void too_many_processes_are_refused(void **state)
{
    struct upgrade_state many = full_state(), after;
    struct upgrade_process *processes;
    char *written;

    (void)state;
    processes = calloc(UPGRADE_PROCESSES_MAX + 1, sizeof(*processes));
    assert_non_null(processes);
    for (int i = 0; i <= UPGRADE_PROCESSES_MAX; i++)
        processes[i] =
            (struct upgrade_process){ .role = UPGRADE_TEMPLATE, .fd = -1 };
    many.processes = processes;
    many.count = UPGRADE_PROCESSES_MAX + 1;
    written = upgrade_state_write(&many);
    assert_non_null(written);
    assert_false(upgrade_state_read(&after, written, why));
    upgrade_state_free(&after);
    free(written);
    for (int i = 0; i <= UPGRADE_PROCESSES_MAX; i++)
        processes[i] =
            (struct upgrade_process){ UPGRADE_WORKER, 4194304,  1 << 20,
                                      1 << 20,        1 << 20,  1u << 31,
                                      1u << 31,       1u << 31, "" };
    errno = 0;
    assert_null(upgrade_state_write(&many)); /* more than a variable holds */
    assert_int_equal(errno, E2BIG);
    free(processes);
}

static void count(void *arg, int fd)
{
    assert_true(fd >= 3);
    ++*(int *)arg;
}

static void all_descriptors_but_that_of_the_check_are_named(void **state)
{
    struct upgrade_state full = full_state(), none = { .processes = NULL };
    int n = 0;

    (void)state;
    upgrade_state_each_fd(&full, count, &n);
    assert_int_equal(n, 6 + 2 + 1 + 4);
    upgrade_state_init(&none);
    n = 0;
    upgrade_state_each_fd(&none, count, &n);
    assert_int_equal(n, 0);
    upgrade_state_free(&none);
}

static void read_and_write(void *arg)
{
    struct upgrade_state read;
    char *written;

    if (upgrade_state_read(&read, arg, why)) {
        written = upgrade_state_write(&read);
        if (written != NULL)
            assert_string_equal(written, arg);
        free(written);
    } else {
        assert_string_equal(why, "not enough memory");
    }
    upgrade_state_free(&read);
}

static void without_memory_it_says_so(void **state)
{
    struct upgrade_state full = full_state();
    char *written = upgrade_state_write(&full);

    (void)state;
    assert_non_null(written);
    alloc_each_fails(read_and_write, written);
    free(written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_comes_back),
        cmocka_unit_test(the_least_is_enough),
        cmocka_unit_test(fields_of_a_later_version_are_left_alone),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(no_part_of_it_is_the_whole),
        cmocka_unit_test(too_many_processes_are_refused),
        cmocka_unit_test(all_descriptors_but_that_of_the_check_are_named),
        cmocka_unit_test(without_memory_it_says_so),
    };

    return cmocka_run_group_tests_name("proc/upgrade_state", tests, NULL, NULL);
}
