/* io_ready_test.c -- descriptors that somebody else owns.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "fake_clock.h"
#include "io/loop_ev.h"
#include "io/ready.h"

enum { WAITS = 8 };

static struct loop *loop;
static struct readies *readies;
static struct ready waits[WAITS];
static unsigned calls[WAITS];
static int pair[2];

static int set_up(void **state)
{
    (void)state;
    memset(waits, 0, sizeof(waits));
    memset(calls, 0, sizeof(calls));
    loop = loop_new();
    if (loop == NULL)
        return -1;
    readies = readies_new(loop);
    if (readies == NULL)
        return -1;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                      pair);
}

static int tear_down(void **state)
{
    (void)state;
    readies_del(readies);
    loop_del(loop);
    fake_clock_off();
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static void note(struct ready *ready)
{
    calls[ready - waits]++;
}

static enum ready_status start(int i, int fd, unsigned wanted)
{
    return ready_start(readies, &waits[i], fd, wanted, note);
}

static void turn(void)
{
    loop_turn(loop, false);
}

static void say(void)
{
    assert_int_equal(write(pair[1], "x", 1), 1);
}

static void hear_it(void)
{
    char byte;

    assert_int_equal(read(pair[0], &byte, 1), 1);
}

/* Fills what the pair can hold. */
static void fill(int fd)
{
    static const char bytes[4096];

    while (write(fd, bytes, sizeof(bytes)) > 0)
        ;
    assert_int_equal(errno, EAGAIN);
}

static void assert_over(int i, unsigned got)
{
    assert_int_equal(calls[i], 1);
    assert_int_equal(waits[i].got, got);
    assert_null(waits[i].readies);
}

/* --- one wait ------------------------------------------------------------- */

static void a_wait_ends_once_when_there_is_something(void **state)
{
    (void)state;
    assert_int_equal(start(0, pair[0], READY_READ), READY_LATER);
    turn();
    assert_int_equal(calls[0], 0);
    say();
    turn();
    assert_over(0, READY_READ);
    turn(); /* the byte is still there */
    assert_int_equal(calls[0], 1);
}

static void what_is_there_already_is_told(void **state)
{
    (void)state;
    say();
    for (unsigned i = 1; i <= 3; i++) { /* again and again */
        assert_int_equal(start(0, pair[0], READY_READ), READY_LATER);
        turn();
        assert_int_equal(calls[0], i);
        assert_int_equal(waits[0].got, READY_READ);
    }
}

static void only_what_is_wanted_counts(void **state)
{
    (void)state;
    say();
    start(0, pair[0], READY_WRITE);
    start(1, pair[1], READY_READ);
    turn();
    assert_over(0, READY_WRITE);
    assert_int_equal(calls[1], 0);
    start(2, pair[0], READY_BOTH);
    turn();
    assert_over(2, READY_BOTH);
}

static void both_is_told_as_soon_as_one_is(void **state)
{
    (void)state;
    fill(pair[0]);
    start(0, pair[0], READY_BOTH);
    turn();
    assert_int_equal(calls[0], 0);
    say();
    turn();
    assert_over(0, READY_READ);
}

static void a_hang_up_counts_as_what_was_wanted(void **state)
{
    int ends[2];

    (void)state;
    start(0, pair[0], READY_READ);
    fill(pair[0]);
    start(1, pair[0], READY_WRITE);
    close(pair[1]);
    turn();
    assert_over(0, READY_READ);
    assert_over(1, READY_WRITE);
    pair[1] = dup(pair[0]);
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    start(2, ends[1], READY_READ); /* of a pipe's end that is for writing */
    turn();
    assert_over(2, READY_READ);
    close(ends[1]);
}

static void a_wait_that_was_stopped_is_not_told(void **state)
{
    (void)state;
    start(0, pair[0], READY_READ);
    ready_stop(&waits[0]);
    ready_stop(&waits[0]);
    say();
    turn();
    turn();
    assert_int_equal(calls[0], 0);
    start(0, pair[0], READY_READ);
    turn();
    assert_over(0, READY_READ);
}

/* The event comes, and by then somebody else waits. */
static void an_event_of_a_stopped_wait_is_not_lost_for_others(void **state)
{
    (void)state;
    start(0, pair[0], READY_WRITE);
    start(1, pair[0], READY_READ);
    ready_stop(&waits[0]);
    turn();
    assert_int_equal(calls[1], 0);
    say();
    turn();
    assert_int_equal(calls[0], 0);
    assert_over(1, READY_READ);
}

/* --- several -------------------------------------------------------------- */

static void one_may_read_while_another_writes(void **state)
{
    (void)state;
    fill(pair[0]);
    start(0, pair[0], READY_READ);
    start(1, pair[0], READY_WRITE);
    say();
    turn();
    assert_over(0, READY_READ);
    assert_int_equal(calls[1], 0);
    hear_it();
    for (char room[4096]; read(pair[1], room, sizeof(room)) > 0;)
        ;
    turn();
    assert_over(1, READY_WRITE);
}

static void all_who_wait_for_the_same_are_told_in_order(void **state)
{
    (void)state;
    for (int i = 0; i < WAITS; i++)
        start(i, pair[0], READY_READ);
    ready_stop(&waits[0]); /* the first, one amid, the last */
    ready_stop(&waits[3]);
    ready_stop(&waits[WAITS - 1]);
    say();
    turn();
    for (int i = 0; i < WAITS; i++)
        assert_int_equal(calls[i], i != 0 && i != 3 && i != WAITS - 1);
}

static void many_descriptors_are_watched(void **state)
{
    static struct ready many[200];
    int fds[200][2];

    (void)state;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(pipe(fds[i]), 0);
        many[i].readies = NULL;
        assert_int_equal(
            ready_start(readies, &many[i], fds[i][0], READY_READ, note),
            READY_LATER);
    }
    for (int i = 0; i < 200; i++)
        ready_stop(&many[i]);
    for (int i = 0; i < WAITS; i++) {
        start(i, fds[25 * i][0], READY_READ);
        assert_int_equal(write(fds[25 * i][1], "x", 1), 1);
    }
    turn();
    for (int i = 0; i < WAITS; i++)
        assert_over(i, READY_READ);
    for (int i = 0; i < 200; i++) {
        close(fds[i][0]);
        close(fds[i][1]);
    }
}

/* --- numbers that are no descriptors, and strange ones -------------------- */

static void what_is_not_open_is_closed(void **state)
{
    static const int numbers[] = { -1, INT_MIN, 1000, INT_MAX };

    (void)state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        unsigned got;

        assert_int_equal(start(0, numbers[i], READY_READ), READY_CLOSED);
        assert_null(waits[0].readies);
        assert_int_equal(ready_look(numbers[i], READY_READ, &got),
                         READY_CLOSED);
    }
}

static void a_file_is_always_ready(void **state)
{
    FILE *file = tmpfile();
    unsigned got;

    (void)state;
    assert_non_null(file);
    assert_int_equal(start(0, fileno(file), READY_READ), READY_NOW);
    assert_int_equal(ready_look(fileno(file), READY_BOTH, &got), READY_NOW);
    assert_int_equal(got, READY_BOTH);
    fclose(file);
}

/* Those of the loop itself would make a circle of queues. */
static void no_number_at_all_does_harm(void **state)
{
    (void)state;
    for (int fd = 0; fd < 64; fd++) {
        start(0, fd, READY_READ);
        turn();
        ready_stop(&waits[0]);
    }
    start(0, pair[0], READY_READ);
    say();
    turn();
    assert_int_equal(waits[0].got, READY_READ);
}

static void a_look_says_how_it_is(void **state)
{
    unsigned got;

    (void)state;
    assert_int_equal(ready_look(pair[0], READY_READ, &got), READY_LATER);
    assert_int_equal(ready_look(pair[0], READY_BOTH, &got), READY_NOW);
    assert_int_equal(got, READY_WRITE);
    say();
    assert_int_equal(ready_look(pair[0], READY_BOTH, &got), READY_NOW);
    assert_int_equal(got, READY_BOTH);
    close(pair[1]);
    pair[1] = -1;
    assert_int_equal(ready_look(pair[0], READY_READ, &got), READY_NOW);
    assert_int_equal(got, READY_READ);
}

/* --- closed under those who wait ------------------------------------------ */

/* The second in which somebody looks. */
static void look(void)
{
    assert_non_null(fake_clock_next());
    fake_clock_fire(fake_clock_next());
}

static void one_that_is_closed_is_noticed(void **state)
{
    (void)state;
    fake_clock_on();
    start(0, pair[0], READY_READ);
    start(1, pair[0], READY_WRITE);
    fill(pair[0]);
    look();
    assert_int_equal(calls[0], 0);
    close(pair[0]);
    turn();
    assert_int_equal(calls[0], 0);
    look();
    assert_over(0, READY_GONE);
    assert_over(1, READY_GONE);
    assert_int_equal(fake_clock_timers(), 0); /* nobody waits any more */
    pair[0] = dup(pair[1]);
    assert_int_equal(start(2, pair[0], READY_READ), READY_LATER);
    ready_stop(&waits[2]);
    look();
    assert_int_equal(fake_clock_timers(), 0);
}

/* The number belongs to another file now, which nobody has waited for. */
static void one_that_is_used_again_is_noticed(void **state)
{
    int other[2];

    (void)state;
    fake_clock_on();
    assert_int_equal(pipe(other), 0);
    start(0, pair[0], READY_READ);
    assert_int_equal(dup2(other[0], pair[0]), pair[0]);
    assert_int_equal(write(other[1], "x", 1), 1);
    turn();
    assert_int_equal(calls[0], 0);
    look();
    assert_over(0, READY_GONE);
    close(other[0]);
    close(other[1]);
}

static void one_that_is_used_again_is_waited_for_anew(void **state)
{
    int other[2];

    (void)state;
    assert_int_equal(pipe(other), 0);
    start(0, pair[0], READY_READ);
    assert_int_equal(dup2(other[0], pair[0]), pair[0]);
    assert_int_equal(start(1, pair[0], READY_READ), READY_LATER);
    assert_over(0, READY_GONE);
    turn();
    assert_int_equal(calls[1], 0);
    assert_int_equal(write(other[1], "x", 1), 1);
    turn();
    assert_over(1, READY_READ);
    close(other[0]);
    close(other[1]);
}

/* A child holds the file that had the number, so the kernel still tells of it.
 */
static void events_of_the_file_before_are_not_its_events(void **state)
{
    int kept = dup(pair[0]), other[2];

    (void)state;
    assert_int_equal(pipe(other), 0);
    start(0, pair[0], READY_READ);
    assert_int_equal(dup2(other[0], pair[0]), pair[0]);
    start(1, pair[0], READY_READ);
    say(); /* to the kept one */
    for (int i = 0; i < 3; i++)
        turn();
    assert_over(0, READY_GONE);
    assert_int_equal(calls[1], 0);
    assert_int_equal(write(other[1], "x", 1), 1);
    turn();
    assert_over(1, READY_READ);
    close(kept);
    close(other[0]);
    close(other[1]);
}

static void closing_and_waiting_again_says_that_it_is_closed(void **state)
{
    (void)state;
    start(0, pair[0], READY_READ);
    close(pair[0]);
    assert_int_equal(start(1, pair[0], READY_READ), READY_CLOSED);
    assert_over(0, READY_GONE);
    pair[0] = -1;
}

/* --- forks, memory, descriptors ------------------------------------------- */

/* Says which step failed. */
static int in_the_copy(void)
{
    ev_loop_fork(loop->ev);
    turn();
    if (calls[0] != 0)
        return 1;
    if (calls[1] != 1 || waits[1].got != READY_GONE)
        return 2;
    say();
    turn();
    hear_it();
    return calls[0] == 1 && waits[0].got == READY_READ ? 0 : 3;
}

static void a_copy_of_the_process_waits_by_itself(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    start(0, pair[0], READY_READ);
    start(1, dup(pair[0]), READY_READ);
    close(waits[1].fd); /* the copy finds nothing to wait for */
    pid = fork();
    if (pid == 0)
        _exit(in_the_copy());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    turn();
    assert_int_equal(calls[0], 0);
    say();
    turn();
    assert_over(0, READY_READ);
    ready_stop(&waits[1]);
}

static struct rlimit limit;

static void allow_no_descriptors(void)
{
    struct rlimit none;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void allow_descriptors(void)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* When our queue was to be made anew, and before the loop's own is. */
static void on_fork(struct ev_loop *ev, struct ev_fork *fork, int events)
{
    (void)ev;
    (void)fork;
    (void)events;
    if (start(1, pair[0], READY_READ) != READY_FAILED || errno != EMFILE)
        _exit(4);
    allow_descriptors();
}

static int in_a_poor_copy(void)
{
    struct ev_fork fork;

    ev_fork_init(&fork, on_fork);
    ev_set_priority(&fork, EV_MINPRI);
    ev_fork_start(loop->ev, &fork);
    allow_no_descriptors();
    ev_loop_fork(loop->ev);
    turn();
    if (calls[0] != 1 || waits[0].got != READY_GONE)
        return 1;
    if (start(1, pair[0], READY_READ) != READY_LATER)
        return 2;
    say();
    turn();
    return calls[1] == 1 && waits[1].got == READY_READ ? 0 : 3;
}

static void a_copy_without_a_queue_makes_one_later(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    start(0, pair[0], READY_READ);
    pid = fork();
    if (pid == 0)
        _exit(in_a_poor_copy());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    ready_stop(&waits[0]);
}

static void without_a_queue_a_wait_fails(void **state)
{
    (void)state;
    allow_no_descriptors();
    assert_null(readies_new(loop));
    assert_int_equal(errno, EMFILE);
    allow_descriptors();
}

static void wait_or_fail(void *arg)
{
    struct readies *mine = readies_new(loop);
    struct ready ready = { .readies = NULL };

    (void)arg;
    if (mine == NULL)
        return;
    switch (ready_start(mine, &ready, pair[0], READY_READ, note)) {
    case READY_LATER:
        ready_stop(&ready);
        break;
    case READY_FAILED:
        assert_int_equal(errno, ENOMEM);
        assert_null(ready.readies);
        break;
    case READY_NOW:
    case READY_CLOSED:
        fail();
    }
    readies_del(mine);
}

static void without_memory_a_wait_fails(void **state)
{
    (void)state;
    alloc_each_fails(wait_or_fail, NULL);
}

static void nothing_is_freed_that_is_not_there(void **state)
{
    (void)state;
    readies_del(NULL);
}

#define READY_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READY_TEST(a_wait_ends_once_when_there_is_something),
        READY_TEST(what_is_there_already_is_told),
        READY_TEST(only_what_is_wanted_counts),
        READY_TEST(both_is_told_as_soon_as_one_is),
        READY_TEST(a_hang_up_counts_as_what_was_wanted),
        READY_TEST(a_wait_that_was_stopped_is_not_told),
        READY_TEST(an_event_of_a_stopped_wait_is_not_lost_for_others),
        READY_TEST(one_may_read_while_another_writes),
        READY_TEST(all_who_wait_for_the_same_are_told_in_order),
        READY_TEST(many_descriptors_are_watched),
        READY_TEST(what_is_not_open_is_closed),
        READY_TEST(a_file_is_always_ready),
        READY_TEST(no_number_at_all_does_harm),
        READY_TEST(a_look_says_how_it_is),
        READY_TEST(one_that_is_closed_is_noticed),
        READY_TEST(one_that_is_used_again_is_noticed),
        READY_TEST(one_that_is_used_again_is_waited_for_anew),
        READY_TEST(events_of_the_file_before_are_not_its_events),
        READY_TEST(closing_and_waiting_again_says_that_it_is_closed),
        READY_TEST(a_copy_of_the_process_waits_by_itself),
        READY_TEST(a_copy_without_a_queue_makes_one_later),
        READY_TEST(without_a_queue_a_wait_fails),
        READY_TEST(without_memory_a_wait_fails),
        READY_TEST(nothing_is_freed_that_is_not_there),
    };

    return cmocka_run_group_tests_name("io/ready", tests, NULL, NULL);
}
