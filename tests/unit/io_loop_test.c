/* io_loop_test.c -- the turn of the loop: hear, think, speak, reap.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/loop_ev.h"

enum { MANY = 40 };

static struct loop *loop;
static char order[2 * MANY + 1];

struct named_job {
    struct loop_job job;
    char name;
};

static struct named_job jobs[MANY];

static void note(char name)
{
    size_t len = strlen(order);

    assert_true(len < sizeof(order) - 1);
    order[len] = name;
    order[len + 1] = '\0';
}

static void note_job(struct loop_job *job)
{
    note(((struct named_job *)(void *)job)->name);
}

static int set_up(void **state)
{
    (void)state;
    memset(order, 0, sizeof(order));
    loop = loop_new();
    for (int i = 0; i < MANY; i++) {
        jobs[i].name = (char)('0' + i);
        loop_job_init(&jobs[i].job, note_job);
    }
    return loop == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_del(loop);
    return 0;
}

/* Computes, as a long handler does. */
static void burn(double seconds)
{
    double end = loop_now() + seconds;

    while (loop_now() < end)
        ;
}

/* --- think ---------------------------------------------------------------- */

static void jobs_run_once_in_order(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        loop_post(loop, &jobs[i].job);
    assert_string_equal(order, "");
    loop_turn(loop, false);
    assert_string_equal(order, "012");
    loop_turn(loop, false);
    assert_string_equal(order, "012");
}

static void posting_twice_is_posting_once(void **state)
{
    (void)state;
    loop_post(loop, &jobs[0].job);
    loop_post(loop, &jobs[1].job);
    loop_post(loop, &jobs[0].job);
    loop_turn(loop, false);
    assert_string_equal(order, "01");
}

static void a_job_that_is_taken_back_does_not_run(void **state)
{
    (void)state;
    loop_post(loop, &jobs[0].job);
    loop_post(loop, &jobs[1].job);
    loop_unpost(&jobs[0].job);
    loop_unpost(&jobs[0].job); /* harmless */
    loop_turn(loop, false);
    assert_string_equal(order, "1");
}

static void take_back_the_next(struct loop_job *job)
{
    note_job(job);
    loop_unpost(&jobs[1].job);
}

static void a_job_may_be_taken_back_by_one_before_it(void **state)
{
    (void)state;
    loop_job_init(&jobs[0].job, take_back_the_next);
    for (int i = 0; i < 3; i++)
        loop_post(loop, &jobs[i].job);
    loop_turn(loop, false);
    assert_string_equal(order, "02");
}

static void post_again(struct loop_job *job)
{
    note_job(job);
    loop_post(loop, job);
}

static void a_job_that_is_posted_meanwhile_waits_for_the_next_turn(void **state)
{
    (void)state;
    loop_job_init(&jobs[0].job, post_again);
    loop_post(loop, &jobs[0].job);
    loop_post(loop, &jobs[1].job);
    loop_turn(loop, false);
    assert_string_equal(order, "01");
    loop_turn(loop, true); /* does not sleep */
    assert_string_equal(order, "010");
    loop_unpost(&jobs[0].job);
}

static void burn_and_post(struct loop_job *job)
{
    note_job(job);
    burn(0.003);
    loop_post(loop, job);
}

static void a_long_phase_ends_and_the_rest_goes_first(void **state)
{
    char whole[MANY + 2];

    (void)state;
    loop_job_init(&jobs[0].job, burn_and_post);
    for (int i = 0; i < MANY; i++) {
        whole[i] = jobs[i].name;
        loop_post(loop, &jobs[i].job);
    }
    whole[MANY] = jobs[0].name;
    whole[MANY + 1] = '\0';
    loop_turn(loop, false);
    assert_in_range(strlen(order), 1, MANY - 1);
    while (strlen(order) < MANY + 1)
        loop_turn(loop, true);
    assert_string_equal(order, whole);
    loop_unpost(&jobs[0].job);
}

static void stop(struct loop_job *job)
{
    note_job(job);
    loop_stop(loop);
}

static void stopping_ends_the_run_after_the_turn(void **state)
{
    (void)state;
    loop_job_init(&jobs[0].job, stop);
    loop_post(loop, &jobs[0].job);
    loop_post(loop, &jobs[1].job);
    loop_run(loop);
    assert_string_equal(order, "01");
}

/* --- time ----------------------------------------------------------------- */

struct noted_timer {
    struct loop_timer timer; /* first: the one is the other */
    double fired;            /* when; 0: not yet */
    unsigned times;
};

static struct noted_timer timers[3];

static void note_timer(struct loop_timer *timer)
{
    struct noted_timer *noted = (struct noted_timer *)(void *)timer;

    noted->fired = loop_now();
    noted->times++;
}

static void start_timer(int i, double seconds)
{
    timers[i].times = 0;
    loop_timer_start(loop, &timers[i].timer, seconds, note_timer);
}

static void until_fired(int i)
{
    while (timers[i].times == 0)
        loop_turn(loop, true);
}

static int tear_down_timers(void **state)
{
    for (int i = 0; i < 3; i++)
        loop_timer_stop(&timers[i].timer);
    memset(timers, 0, sizeof(timers));
    return tear_down(state);
}

static void a_timer_fires_once_and_not_early(void **state)
{
    double begun = loop_now();

    (void)state;
    assert_false(loop_timer_is_running(&timers[0].timer));
    start_timer(0, 0.01);
    assert_true(loop_timer_is_running(&timers[0].timer));
    until_fired(0);
    assert_true(timers[0].fired - begun >= 0.01);
    assert_false(loop_timer_is_running(&timers[0].timer));
    loop_turn(loop, false);
    assert_int_equal(timers[0].times, 1);
}

static void set_off_after_computing(struct loop_job *job)
{
    note_job(job);
    burn(0.02);
    start_timer(0, 0.01);
    timers[1].fired = loop_now();
}

static void a_long_computation_makes_no_timer_early(void **state)
{
    (void)state;
    loop_job_init(&jobs[0].job, set_off_after_computing);
    loop_post(loop, &jobs[0].job);
    until_fired(0);
    assert_true(timers[0].fired - timers[1].fired >= 0.01);
}

static void a_timer_starts_anew(void **state)
{
    double begun = loop_now();

    (void)state;
    start_timer(0, 1000);
    start_timer(0, 0.01);
    until_fired(0);
    assert_true(timers[0].fired - begun >= 0.01);
    start_timer(0, 0); /* after it has fired, too */
    until_fired(0);
    start_timer(0, -1); /* at once */
    until_fired(0);
}

static void stop_the_other(struct loop_timer *timer)
{
    note_timer(timer);
    loop_timer_stop(&timers[1].timer);
}

static void a_stopped_timer_never_fires(void **state)
{
    (void)state;
    loop_timer_stop(&timers[0].timer); /* was never started */
    start_timer(1, 0.002);
    start_timer(2, 0.002);
    loop_timer_start(loop, &timers[0].timer, 0.001, stop_the_other);
    until_fired(2);
    loop_turn(loop, false);
    assert_int_equal(timers[0].times, 1);
    assert_int_equal(timers[1].times, 0);
}

static void the_clock_is_that_of_the_turn(void **state)
{
    const double *clock = loop_clock(loop);
    double before;

    (void)state;
    loop_turn(loop, false);
    before = *clock;
    burn(0.002);
    assert_true(*clock == before);
    loop_turn(loop, false);
    assert_true(*clock >= before + 0.002);
    assert_true(*clock <= loop_now());
    assert_ptr_equal(clock, loop_clock(loop));
}

static void a_turn_waits_only_when_told_to(void **state)
{
    (void)state;
    start_timer(0, 1000);
    loop_turn(loop, false);
    loop_post(loop, &jobs[0].job);
    loop_turn(loop, true); /* there is something to be done */
    assert_string_equal(order, "0");
    assert_int_equal(timers[0].times, 0);
}

/* --- speak and reap ------------------------------------------------------- */

struct named_speaker {
    struct loop_speaker speaker; /* first: the one is the other */
    char name;
    bool again;
};

static struct named_speaker speakers[3];

static void speak(struct loop_speaker *speaker)
{
    struct named_speaker *named = (struct named_speaker *)(void *)speaker;

    note(named->name);
    if (named->again)
        loop_touch(loop, speaker);
}

static void note_freed(struct loop_speaker *speaker)
{
    note((char)(((struct named_speaker *)(void *)speaker)->name - 'a' + 'A'));
}

static void make_speakers(void)
{
    for (int i = 0; i < 3; i++) {
        speakers[i] = (struct named_speaker){ .name = (char)('a' + i) };
        speakers[i].speaker.speak = speak;
        list_init(&speakers[i].speaker.link);
    }
}

static void touch_all(struct loop_job *job)
{
    note_job(job);
    for (int i = 0; i < 3; i++) {
        loop_touch(loop, &speakers[i].speaker);
        loop_touch(loop, &speakers[i].speaker);
    }
}

static void who_was_touched_speaks_once_after_all_jobs(void **state)
{
    (void)state;
    make_speakers();
    loop_job_init(&jobs[0].job, touch_all);
    loop_post(loop, &jobs[0].job);
    loop_post(loop, &jobs[1].job);
    loop_turn(loop, false);
    assert_string_equal(order, "01abc");
    loop_turn(loop, false);
    assert_string_equal(order, "01abc");
}

static void who_is_touched_while_speaking_speaks_in_the_next_turn(void **state)
{
    (void)state;
    make_speakers();
    speakers[0].again = true;
    loop_touch(loop, &speakers[0].speaker);
    loop_turn(loop, false);
    assert_string_equal(order, "a");
    speakers[0].again = false;
    loop_turn(loop, true); /* does not sleep */
    assert_string_equal(order, "aa");
}

static void who_is_buried_is_freed_at_the_end_of_the_turn(void **state)
{
    (void)state;
    make_speakers();
    loop_touch(loop, &speakers[0].speaker);
    loop_touch(loop, &speakers[1].speaker);
    loop_bury(loop, &speakers[0].speaker, note_freed);
    loop_post(loop, &jobs[0].job);
    loop_turn(loop, false);
    assert_string_equal(order, "0bA"); /* the dead do not speak */
}

static void bury_the_next(struct loop_speaker *speaker)
{
    speak(speaker);
    loop_bury(loop, &speakers[1].speaker, note_freed);
}

static void a_speaker_may_bury_the_next(void **state)
{
    (void)state;
    make_speakers();
    speakers[0].speaker.speak = bury_the_next;
    for (int i = 0; i < 3; i++)
        loop_touch(loop, &speakers[i].speaker);
    loop_turn(loop, false);
    assert_string_equal(order, "acB");
}

static void the_end_of_the_loop_frees_the_dead(void **state)
{
    (void)state;
    make_speakers();
    loop_bury(loop, &speakers[2].speaker, note_freed);
    loop_del(loop);
    assert_string_equal(order, "C");
    loop_del(NULL);
    loop = NULL;
}

/* --- memory --------------------------------------------------------------- */

static void make_and_run(void *arg)
{
    struct loop *made = loop_new();

    (void)arg;
    if (made != NULL)
        loop_turn(made, false);
    loop_del(made);
}

static void comes_through_without_memory(void **state)
{
    (void)state;
    alloc_each_fails(make_and_run, NULL);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define TIMER_TEST(f)                                                          \
    cmocka_unit_test_setup_teardown(f, set_up, tear_down_timers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(jobs_run_once_in_order),
        LOOP_TEST(posting_twice_is_posting_once),
        LOOP_TEST(a_job_that_is_taken_back_does_not_run),
        LOOP_TEST(a_job_may_be_taken_back_by_one_before_it),
        LOOP_TEST(a_job_that_is_posted_meanwhile_waits_for_the_next_turn),
        LOOP_TEST(a_long_phase_ends_and_the_rest_goes_first),
        LOOP_TEST(stopping_ends_the_run_after_the_turn),
        TIMER_TEST(a_timer_fires_once_and_not_early),
        TIMER_TEST(a_long_computation_makes_no_timer_early),
        TIMER_TEST(a_timer_starts_anew),
        TIMER_TEST(a_stopped_timer_never_fires),
        TIMER_TEST(the_clock_is_that_of_the_turn),
        TIMER_TEST(a_turn_waits_only_when_told_to),
        LOOP_TEST(who_was_touched_speaks_once_after_all_jobs),
        LOOP_TEST(who_is_touched_while_speaking_speaks_in_the_next_turn),
        LOOP_TEST(who_is_buried_is_freed_at_the_end_of_the_turn),
        LOOP_TEST(a_speaker_may_bury_the_next),
        LOOP_TEST(the_end_of_the_loop_frees_the_dead),
        cmocka_unit_test(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("io/loop", tests, NULL, NULL);
}
