/* io_conn_test.c -- connections: real sockets on one side, a wire of our own
 * on the other.
 *
 * Nothing here sleeps: the loop is turned until what is expected has happened,
 * and a connection that never does it is ended by the runner's time limit.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "file_rig.h"
#include "io/conn.h"
#include "io/loop_ev.h"

enum { WIRES = 4, TEXT = 256 };

/* A wire that does what the test says and notes what it is told. */
struct fake_wire {
    struct wire wire; /* first: the one is the other */
    bool wants_read, is_busy, closes_at_eof, keeps_block;
    double owed;
    struct block *block; /* the last one, if it is kept */
    char text[TEXT];     /* what was fed, as far as there is room */
    size_t text_len, fed;
    const char *last_at;
    unsigned feeds, eofs, drains, closes;
};

static struct fake_wire wires[WIRES];
static unsigned opened;
static bool no_wire;
static struct loop *loop;
static struct service service;
static struct conns *conns;
static unsigned closed; /* as on_close has counted */
static int peers[WIRES];
static unsigned peer_count;
static unsigned open_before;

static struct fake_wire *fake(const struct wire *wire)
{
    return (struct fake_wire *)(size_t)wire;
}

static void feed(struct wire *wire, struct block *block, struct slice bytes)
{
    struct fake_wire *self = fake(wire);
    struct slice rest = bytes, part;

    assert_int_equal(wire->state, WIRE_OPEN);
    assert_int_equal(self->closes, 0);
    assert_true(bytes.data >= block->data &&
                bytes.data + bytes.len <= block->data + BLOCK_SIZE);
    self->feeds++;
    self->fed += bytes.len;
    self->last_at = bytes.data;
    part = slice_take(&rest, TEXT - self->text_len);
    memcpy(self->text + self->text_len, part.data, part.len);
    self->text_len += part.len;
    if (self->keeps_block) {
        block_unref(self->block);
        self->block = block_ref(block);
    }
}

static void eof(struct wire *wire)
{
    fake(wire)->eofs++;
    if (fake(wire)->closes_at_eof)
        wire->state = WIRE_CLOSE;
}

static bool want_read(const struct wire *wire)
{
    return fake(wire)->wants_read;
}

static bool is_busy(const struct wire *wire)
{
    return fake(wire)->is_busy;
}

static double owed_since(const struct wire *wire)
{
    return fake(wire)->owed;
}

static void drained(struct wire *wire)
{
    fake(wire)->drains++;
}

static void close_wire(struct wire *wire)
{
    fake(wire)->closes++;
    block_unref(fake(wire)->block);
    chain_free(&wire->out);
}

static const struct wire_ops ops = {
    .feed = feed,
    .eof = eof,
    .want_read = want_read,
    .is_busy = is_busy,
    .owed_since = owed_since,
    .drained = drained,
    .close = close_wire,
};

static struct wire *open_wire(struct service *of)
{
    struct fake_wire *self = &wires[opened];

    assert_ptr_equal(of, &service);
    if (no_wire)
        return NULL;
    assert_true(opened < WIRES);
    opened++;
    *self = (struct fake_wire){ .wire = { .ops = &ops },
                                .wants_read = true,
                                .closes_at_eof = true };
    chain_init(&self->wire.out, &of->chunks);
    return &self->wire;
}

static void count_close(void *arg)
{
    assert_ptr_equal(arg, &closed);
    closed++;
}

/* --- the other side ------------------------------------------------------- */

static unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static int set_up(void **state)
{
    struct limits limits = limits_default();

    (void)state;
    open_before = open_descriptors();
    opened = closed = peer_count = 0;
    no_wire = false;
    memset(wires, 0, sizeof(wires));
    loop = loop_new();
    if (loop == NULL)
        return -1;
    service_init(&service, &limits, loop_clock(loop), "/tmp", 64);
    conns = conns_new(loop, &service);
    if (conns == NULL)
        return -1;
    conns_on_close(conns, count_close, &closed);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    conns_del(conns);
    for (unsigned i = 0; i < peer_count; i++)
        if (peers[i] != -1)
            close(peers[i]);
    for (unsigned i = 0; i < opened; i++)
        assert_int_equal(wires[i].closes, 1);
    service_free(&service);
    loop_del(loop);
    assert_int_equal(open_descriptors(), open_before);
    return 0;
}

static void make_pair(int fds[2])
{
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
        0);
}

static struct wire *next_wire;

/* Another wire takes over with what was fed. */
static void feed_and_go(struct wire *wire, struct block *block,
                        struct slice bytes)
{
    next_wire = open_wire(&service);
    wire->successor = next_wire;
    next_wire->ops->feed(next_wire, block, bytes);
    (void)chain_append(&next_wire->out, slice_of("answer"));
}

/* Opens a connection whose peer has said something already. */
static struct fake_wire *connect_saying(const char *text)
{
    int fds[2];

    make_pair(fds);
    peers[peer_count++] = fds[1];
    assert_int_equal(send(fds[1], text, strlen(text), 0), strlen(text));
    assert_true(conns_open(conns, fds[0], open_wire));
    return &wires[opened - 1];
}

static void say(int i, const char *text)
{
    assert_int_equal(send(peers[i], text, strlen(text), MSG_NOSIGNAL),
                     strlen(text));
}

static void hang_up(int i)
{
    close(peers[i]);
    peers[i] = -1;
}

static void answer(struct fake_wire *wire, const char *text)
{
    assert_true(chain_append(&wire->wire.out, slice_of(text)));
    wire_changed(&wire->wire);
}

static void change_state(struct fake_wire *wire, enum wire_state to)
{
    wire->wire.state = to;
    wire_changed(&wire->wire);
}

static void assert_fed(const struct fake_wire *wire, const char *text)
{
    assert_int_equal(wire->text_len, strlen(text));
    assert_memory_equal(wire->text, text, strlen(text));
}

/* What the peer can read now: text, and nothing more. */
static void assert_heard(int i, const char *text)
{
    char got[TEXT];
    ssize_t n = recv(peers[i], got, sizeof(got), 0);

    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void assert_ended(int i)
{
    char byte;

    assert_int_equal(recv(peers[i], &byte, 1, 0), 0);
}

static void assert_open(int i)
{
    char byte;

    assert_int_equal(recv(peers[i], &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

static void until_closed(unsigned count)
{
    while (closed < count)
        loop_turn(loop, true);
}

static void timer_is_up(struct loop_timer *timer)
{
    (void)timer;
}

/* How many turns the loop makes, sleeping where it can, in so many seconds. */
static unsigned turns_in(double seconds)
{
    struct loop_timer timer = { 0 };
    unsigned turns = 0;

    loop_timer_start(loop, &timer, seconds, timer_is_up);
    while (loop_timer_is_running(&timer)) {
        loop_turn(loop, true);
        turns++;
    }
    return turns;
}

/* --- bytes ---------------------------------------------------------------- */

static void what_was_written_before_is_read_at_once(void **state)
{
    (void)state;
    assert_fed(connect_saying("hello"), "hello");
    assert_int_equal(conns_count(conns), 1);
}

static void later_bytes_are_fed_as_they_come(void **state)
{
    struct fake_wire *wire = connect_saying("");

    (void)state;
    say(0, "a");
    while (wire->feeds < 1)
        loop_turn(loop, true);
    say(0, "bc");
    while (wire->feeds < 2)
        loop_turn(loop, true);
    assert_fed(wire, "abc");
}

static void an_answer_leaves_at_the_end_of_the_turn(void **state)
{
    struct fake_wire *wire = connect_saying("x");

    (void)state;
    answer(wire, "one ");
    answer(wire, "two");
    loop_turn(loop, false);
    assert_heard(0, "one two");
    assert_int_equal(wire->drains, 1);
    assert_int_equal(wire->wire.out.len, 0);
    assert_open(0);
}

static void a_wire_that_closes_is_heard_to_the_end(void **state)
{
    struct fake_wire *wire = connect_saying("x");

    (void)state;
    answer(wire, "bye");
    change_state(wire, WIRE_CLOSE);
    loop_turn(loop, false);
    assert_int_equal(closed, 1);
    assert_int_equal(conns_count(conns), 0);
    assert_int_equal(wire->closes, 1);
    assert_int_equal(wire->eofs, 0);
    assert_heard(0, "bye");
    assert_ended(0);
}

static void a_broken_wire_is_not_heard(void **state)
{
    struct fake_wire *wire = connect_saying("");

    (void)state;
    loop_turn(loop, false);
    answer(wire, "junk");
    change_state(wire, WIRE_BROKEN);
    loop_turn(loop, false);
    assert_int_equal(wire->closes, 1);
    assert_ended(0);
}

static void bytes_that_were_kept_are_not_overwritten(void **state)
{
    struct fake_wire *wire = connect_saying("");
    const char *first;

    (void)state;
    wire->keeps_block = true;
    say(0, "kept");
    while (wire->feeds < 1)
        loop_turn(loop, true);
    first = wire->last_at;
    say(0, "next");
    while (wire->feeds < 2)
        loop_turn(loop, true);
    assert_true(wire->last_at >= first + 4);
    assert_memory_equal(first, "kept", 4);
}

static void connections_share_a_block_that_nobody_keeps(void **state)
{
    struct fake_wire *a = connect_saying("a"), *b = connect_saying("b");

    (void)state;
    assert_ptr_equal(a->last_at, b->last_at);
}

static void a_wire_that_does_not_read_leaves_bytes_to_the_kernel(void **state)
{
    struct fake_wire *wire = connect_saying("");

    (void)state;
    wire->wants_read = false;
    wire->is_busy = true;
    wire_changed(&wire->wire);
    loop_turn(loop, false);
    say(0, "later");
    assert_in_range(turns_in(0.01), 1, 3); /* it does not spin either */
    assert_int_equal(wire->feeds, 0);
    wire->wants_read = true;
    wire_changed(&wire->wire);
    while (wire->feeds == 0)
        loop_turn(loop, true);
    assert_fed(wire, "later");
}

/* --- back-pressure -------------------------------------------------------- */

static void fill(struct fake_wire *wire, size_t len)
{
    static const char piece[8192];

    for (; len > 0; len -= sizeof(piece))
        assert_true(chain_append(&wire->wire.out,
                                 (struct slice){ piece, sizeof(piece) }));
    wire_changed(&wire->wire);
}

static void a_slow_peer_gets_all_of_it_in_its_own_time(void **state)
{
    static char got[64 * 1024];
    struct fake_wire *wire = connect_saying("");
    size_t whole = 4 * 1024 * 1024, heard = 0;

    (void)state;
    fill(wire, whole);
    loop_turn(loop, false);
    assert_in_range(wire->wire.out.len, 1, whole - 1);
    assert_in_range(turns_in(0.01), 1, 3); /* it does not spin */
    change_state(wire, WIRE_CLOSE);
    while (heard < whole) {
        ssize_t n = recv(peers[0], got, sizeof(got), 0);

        if (n > 0)
            heard += (size_t)n;
        else
            loop_turn(loop, true);
    }
    until_closed(1);
    assert_ended(0);
    assert_true(wire->drains > 1);
}

static void input_is_heard_while_output_is_stuck(void **state)
{
    struct fake_wire *wire = connect_saying("");

    (void)state;
    fill(wire, 4 * 1024 * 1024);
    loop_turn(loop, false);
    say(0, "abort");
    while (wire->feeds == 0)
        loop_turn(loop, true);
    assert_fed(wire, "abort");
}

/* --- files ---------------------------------------------------------------- */

/* Reads until the connection has ended; gives how much that was. */
static size_t hear_all(char *got, size_t room)
{
    size_t heard = 0;
    ssize_t n;

    while ((n = recv(peers[0], got + heard, room - heard, 0)) != 0) {
        if (n > 0)
            heard += (size_t)n;
        else
            loop_turn(loop, true);
    }
    return heard;
}

static void a_file_is_sent_between_bytes(void **state)
{
    static char bytes[3 * 1024 * 1024], got[sizeof(bytes) + 16];
    struct fake_wire *wire = connect_saying("");
    struct shared_fd *file;

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 31 + i / 255);
    file = file_of((struct slice){ bytes, sizeof(bytes) });
    assert_true(chain_append(&wire->wire.out, slice_of("head")));
    assert_true(chain_append_file(&wire->wire.out, file, 7, sizeof(bytes) - 7));
    answer(wire, "tail");
    change_state(wire, WIRE_CLOSE);
    shared_fd_unref(file);
    assert_int_equal(hear_all(got, sizeof(got)), sizeof(bytes) - 7 + 8);
    assert_memory_equal(got, "head", 4);
    assert_memory_equal(got + 4, bytes + 7, sizeof(bytes) - 7);
    assert_memory_equal(got + 4 + sizeof(bytes) - 7, "tail", 4);
    until_closed(1);
}

static void a_file_that_became_shorter_breaks_the_connection(void **state)
{
    struct fake_wire *wire = connect_saying("");
    struct shared_fd *file = file_of(slice_of("0123456789"));
    char got[TEXT];

    (void)state;
    assert_true(chain_append(&wire->wire.out, slice_of("head")));
    assert_true(chain_append_file(&wire->wire.out, file, 0, 10));
    answer(wire, "tail");
    assert_int_equal(ftruncate(file->fd, 4), 0);
    shared_fd_unref(file);
    until_closed(1);
    assert_int_equal(hear_all(got, sizeof(got)), 8);
    assert_memory_equal(got, "head0123", 8);
    assert_int_equal(wire->eofs, 1);
}

/* --- the end of the peer -------------------------------------------------- */

static void the_end_of_the_peer_is_told_once(void **state)
{
    struct fake_wire *wire = connect_saying("x");

    (void)state;
    hang_up(0);
    until_closed(1);
    assert_int_equal(wire->eofs, 1);
    assert_int_equal(wire->closes, 1);
}

static void at_the_end_of_the_peer_nothing_spins(void **state)
{
    struct fake_wire *wire = connect_saying("");

    (void)state;
    wire->closes_at_eof = false;
    wire->is_busy = true;
    shutdown(peers[0], SHUT_WR);
    while (wire->eofs == 0)
        loop_turn(loop, true);
    assert_in_range(turns_in(0.02), 1, 3);
    assert_int_equal(wire->eofs, 1);
    assert_int_equal(conns_count(conns), 1);
}

static void what_had_been_answered_is_sent_to_a_peer_that_ended(void **state)
{
    struct fake_wire *wire = connect_saying("x");

    (void)state;
    loop_turn(loop, false);
    shutdown(peers[0], SHUT_WR);
    answer(wire, "last");
    loop_turn(loop, false); /* hears the end, then speaks */
    assert_int_equal(wire->eofs, 1);
    assert_int_equal(closed, 1);
    assert_heard(0, "last");
    assert_ended(0);
}

/* Once a second those that are not being read are asked. */
static void the_end_of_a_peer_that_is_not_read_is_heard(void **state)
{
    struct fake_wire *gone = connect_saying(""), *stays = connect_saying("");

    (void)state;
    gone->wants_read = stays->wants_read = false;
    gone->is_busy = stays->is_busy = true;
    wire_changed(&gone->wire);
    wire_changed(&stays->wire);
    loop_turn(loop, false);
    hang_up(0);
    until_closed(1);
    assert_int_equal(gone->eofs, 1);
    assert_int_equal(gone->closes, 1);
    assert_int_equal(stays->eofs, 0);
    assert_int_equal(conns_count(conns), 1);
}

static void a_write_to_a_peer_that_has_gone_ends_the_connection(void **state)
{
    struct fake_wire *wire = connect_saying("");

    (void)state;
    wire->wants_read = false; /* the write hears of it first */
    wire->is_busy = true;
    wire_changed(&wire->wire);
    loop_turn(loop, false);
    hang_up(0);
    answer(wire, "too late");
    loop_turn(loop, false);
    assert_int_equal(wire->eofs, 1);
    assert_int_equal(wire->closes, 1);
    assert_int_equal(closed, 1);
}

static void tcp_pair(int fds[2])
{
    struct sockaddr_in any = { .sin_family = AF_INET,
                               .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(any);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&any, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&any, &len), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&any, len), 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_int_not_equal(fds[0], -1);
    close(listener);
}

static void a_reset_drops_what_was_to_be_sent(void **state)
{
    struct linger at_once = { .l_onoff = 1 };
    struct fake_wire *wire;
    int fds[2];

    (void)state;
    tcp_pair(fds);
    assert_true(conns_open(conns, fds[0], open_wire));
    wire = &wires[0];
    wire->closes_at_eof = false;
    wire->is_busy = true;
    loop_turn(loop, false);
    setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fds[1]);
    until_closed(1);
    assert_int_equal(wire->eofs, 1);
    assert_int_equal(wire->closes, 1);
}

/* --- time ----------------------------------------------------------------- */

/* Runs until the connection closes, which must take that long. */
static void assert_closes_after(double seconds, double begun)
{
    until_closed(1);
    assert_true(loop_now() - begun >= seconds);
}

static void who_owes_the_rest_for_too_long_is_closed(void **state)
{
    struct fake_wire *wire;
    double begun = *loop_clock(loop);

    (void)state;
    service.limits.header_timeout = 0.02;
    wire = connect_saying("half a request");
    wire->owed = begun;
    wire->is_busy = true; /* the other ids do not help */
    wire_changed(&wire->wire);
    assert_closes_after(0.02, begun);
    assert_int_equal(wire->eofs, 1);
}

static void more_bytes_do_not_put_off_what_is_owed(void **state)
{
    struct fake_wire *wire;
    double since, ended;

    (void)state;
    service.limits.header_timeout = 0.03;
    wire = connect_saying("x");
    wire->owed = since = *loop_clock(loop);
    wire_changed(&wire->wire);
    do { /* a byte each turn */
        (void)send(peers[0], "x", 1, MSG_NOSIGNAL);
        loop_turn(loop, true);
    } while (closed == 0);
    ended = loop_now();
    assert_true(ended - since >= 0.03);
    assert_int_equal(wire->eofs, 1);
}

static void an_idle_connection_is_closed(void **state)
{
    struct fake_wire *wire;
    double begun = *loop_clock(loop);

    (void)state;
    service.limits.idle_timeout = 0.02;
    wire = connect_saying("");
    assert_closes_after(0.02, begun);
    assert_int_equal(wire->eofs, 1);
}

static void silence_counts_from_the_last_byte(void **state)
{
    struct fake_wire *wire;
    double last;

    (void)state;
    service.limits.idle_timeout = 0.2;
    wire = connect_saying("");
    last = *loop_clock(loop);
    for (size_t fed = 1; fed <= 4; fed++) {
        (void)turns_in(0.06);
        if (loop_now() - last > 0.15)
            break; /* the machine is too slow to tell */
        say(0, "x");
        while (wire->fed < fed)
            loop_turn(loop, true);
        last = *loop_clock(loop);
    }
    until_closed(1);
    assert_true(loop_now() - last >= 0.2);
}

static void a_busy_connection_is_not_idle(void **state)
{
    struct fake_wire *wire;

    (void)state;
    service.limits.idle_timeout = 0.01;
    wire = connect_saying("x");
    wire->is_busy = true;
    (void)turns_in(0.03);
    assert_int_equal(closed, 0);
    wire->is_busy = false;
    wire_changed(&wire->wire);
    until_closed(1);
    assert_int_equal(wire->eofs, 1);
}

static void a_peer_that_takes_nothing_is_closed(void **state)
{
    struct fake_wire *wire;
    double begun = *loop_clock(loop);

    (void)state;
    service.limits.write_timeout = 0.03;
    wire = connect_saying("");
    wire->is_busy = true;
    fill(wire, 4 * 1024 * 1024);
    loop_turn(loop, false);
    assert_closes_after(0.03, begun);
    assert_int_equal(wire->eofs, 1);
    assert_int_equal(wire->closes, 1);
}

static void a_peer_that_takes_a_little_is_kept(void **state)
{
    static char got[64 * 1024];
    struct fake_wire *wire;
    double last;

    (void)state;
    service.limits.write_timeout = 0.25;
    wire = connect_saying("");
    wire->is_busy = true;
    fill(wire, 4 * 1024 * 1024);
    loop_turn(loop, false);
    last = *loop_clock(loop);
    for (int i = 0; i < 4; i++) {
        unsigned drains = wire->drains;

        (void)turns_in(0.08);
        if (loop_now() - last > 0.2)
            return; /* the machine is too slow to tell */
        while (wire->drains == drains) {
            assert_true(recv(peers[0], got, sizeof(got), 0) > 0);
            loop_turn(loop, false);
        }
        last = *loop_clock(loop);
    }
    assert_int_equal(closed, 0); /* after 320 ms */
}

/* --- linger --------------------------------------------------------------- */

static struct fake_wire *answer_early(void)
{
    struct fake_wire *wire = connect_saying("beginning of a body");

    answer(wire, "no");
    change_state(wire, WIRE_LINGER);
    loop_turn(loop, false);
    assert_heard(0, "no");
    assert_ended(0); /* our side has ended */
    assert_int_equal(closed, 0);
    return wire;
}

static void after_an_early_answer_input_is_read_and_dropped(void **state)
{
    struct fake_wire *wire = answer_early();

    (void)state;
    for (int i = 0; i < 100; i++) {
        say(0, "more of the body");
        loop_turn(loop, true);
    }
    assert_int_equal(wire->feeds, 1);
    assert_int_equal(closed, 0);
}

static void lingering_ends_with_the_peer(void **state)
{
    struct fake_wire *wire = answer_early();
    double begun = loop_now();

    (void)state;
    service.limits.linger_timeout = 30;
    say(0, "the rest");
    hang_up(0);
    while (closed == 0 && loop_now() - begun < 1)
        loop_turn(loop, false);
    assert_int_equal(closed, 1);
    assert_int_equal(wire->feeds, 1);
}

static void lingering_ends_with_a_peer_that_ends_its_side(void **state)
{
    double begun;

    (void)state;
    (void)answer_early();
    begun = loop_now();
    shutdown(peers[0], SHUT_WR);
    while (closed == 0 && loop_now() - begun < 1)
        loop_turn(loop, false);
    assert_int_equal(closed, 1);
}

static void lingering_has_a_limit_in_bytes(void **state)
{
    double begun;

    (void)state;
    service.limits.linger_bytes = 1000;
    (void)answer_early();
    begun = loop_now();
    while (closed == 0 && loop_now() - begun < 1) {
        (void)send(peers[0], "0123456789", 10, MSG_NOSIGNAL);
        loop_turn(loop, false);
    }
    assert_int_equal(closed, 1);
}

static void lingering_has_a_limit_in_time(void **state)
{
    (void)state;
    service.limits.linger_timeout = 0.02;
    (void)answer_early();
    do { /* activity does not put it off */
        (void)send(peers[0], "x", 1, MSG_NOSIGNAL);
        loop_turn(loop, true);
    } while (closed == 0);
    assert_int_equal(closed, 1);
}

static void a_peer_that_has_ended_needs_no_lingering(void **state)
{
    struct fake_wire *wire = connect_saying("x");

    (void)state;
    wire->closes_at_eof = false;
    wire->is_busy = true;
    shutdown(peers[0], SHUT_WR);
    while (wire->eofs == 0)
        loop_turn(loop, true);
    answer(wire, "no");
    change_state(wire, WIRE_LINGER);
    loop_turn(loop, false);
    assert_int_equal(closed, 1);
    assert_heard(0, "no");
}

/* --- draining and the end ------------------------------------------------- */

static void draining_closes_who_is_idle_at_once(void **state)
{
    struct fake_wire *idle = connect_saying(""), *busy = connect_saying("x");

    (void)state;
    busy->is_busy = true;
    loop_turn(loop, false);
    conns_drain(conns);
    loop_turn(loop, false);
    assert_int_equal(idle->closes, 1);
    assert_int_equal(conns_count(conns), 1);
    answer(busy, "done");
    busy->is_busy = false;
    loop_turn(loop, false);
    assert_int_equal(closed, 2);
    assert_heard(1, "done");
    assert_ended(1);
}

static void draining_hears_what_has_come_already(void **state)
{
    struct fake_wire *wire = connect_saying("");

    (void)state;
    loop_turn(loop, false);
    say(0, "a request");
    conns_drain(conns);
    assert_fed(wire, "a request");
    wire->is_busy = true;
    loop_turn(loop, false);
    assert_int_equal(closed, 0);
}

static void draining_waits_for_who_has_begun_a_request(void **state)
{
    struct fake_wire *wire = connect_saying("half");

    (void)state;
    wire->owed = *loop_clock(loop);
    conns_drain(conns);
    loop_turn(loop, false);
    assert_int_equal(closed, 0);
    wire->owed = 0;
    wire_changed(&wire->wire);
    loop_turn(loop, false);
    assert_int_equal(closed, 1);
}

/* Somebody who takes sockets, unless there is no room. */
struct taker {
    int fds[WIRES];
    int count, room;
};

static bool take(void *arg, int fd)
{
    struct taker *taker = arg;

    if (taker->count == taker->room)
        return false;
    taker->fds[taker->count++] = dup(fd);
    return true;
}

/* What the peer says is heard where the socket is now. */
static void assert_moved(struct taker *taker, int i, int peer)
{
    char text[TEXT];

    say(peer, "hello");
    assert_int_equal(recv(taker->fds[i], text, sizeof(text), 0), 5);
    close(taker->fds[i]);
}

static void draining_gives_away_who_is_idle(void **state)
{
    struct taker taker = { .room = WIRES };
    struct fake_wire *idle = connect_saying(""), *busy = connect_saying("x");

    (void)state;
    busy->is_busy = true;
    conns_on_idle(conns, take, &taker);
    loop_turn(loop, false);
    assert_int_equal(taker.count, 0);
    conns_drain(conns);
    loop_turn(loop, false);
    assert_int_equal(idle->closes, 1);
    assert_int_equal(taker.count, 1);
    assert_moved(&taker, 0, 0);
    answer(busy, "done");
    busy->is_busy = false;
    loop_turn(loop, false);
    assert_int_equal(taker.count, 2);
    assert_heard(1, "done");
    assert_moved(&taker, 1, 1);
}

static void a_surplus_is_given_away_and_no_more(void **state)
{
    struct taker taker = { .room = WIRES };
    struct fake_wire *busy = connect_saying("x"), *half = connect_saying("y");

    (void)state;
    (void)connect_saying("");
    (void)connect_saying("");
    busy->is_busy = true;
    half->owed = *loop_clock(loop);
    conns_on_idle(conns, take, &taker);
    conns_shed(conns, 1);
    loop_turn(loop, false);
    assert_int_equal(taker.count, 1);
    assert_moved(&taker, 0, 2);
    assert_int_equal(conns_count(conns), 3);
    conns_shed(conns, 2);
    loop_turn(loop, false);
    assert_int_equal(taker.count, 2);
    assert_moved(&taker, 1, 3);
    loop_turn(loop, false);
    assert_int_equal(conns_count(conns), 2); /* neither is idle */
    busy->is_busy = false;
    wire_changed(&busy->wire);
    loop_turn(loop, false);
    assert_int_equal(taker.count, 3);
    assert_moved(&taker, 2, 0);
    half->owed = 0;
    wire_changed(&half->wire);
    loop_turn(loop, false);
    assert_int_equal(conns_count(conns), 1);
    assert_open(1);
}

static void a_surplus_that_nobody_takes_stays(void **state)
{
    struct taker taker = { .room = 0 };

    (void)state;
    (void)connect_saying("");
    conns_shed(conns, 1); /* there is nobody at all */
    loop_turn(loop, false);
    conns_on_idle(conns, take, &taker);
    conns_shed(conns, 1);
    loop_turn(loop, false);
    assert_int_equal(conns_count(conns), 1);
    assert_open(0);
    taker.room = 1;
    loop_turn(loop, false);
    assert_int_equal(taker.count, 0); /* it was asked once */
}

static void the_end_closes_all_of_them(void **state)
{
    (void)state;
    (void)connect_saying("a");
    change_state(connect_saying("b"), WIRE_BROKEN);
    loop_turn(loop, false);
    (void)connect_saying("c");
    conns_del(conns);
    conns = NULL;
    for (int i = 0; i < 3; i++)
        assert_int_equal(wires[i].closes, 1);
    assert_ended(0);
    assert_ended(2);
}

static void the_cap_is_seen(void **state)
{
    (void)state;
    service.limits.max_conns = 2;
    assert_false(conns_are_full(conns));
    (void)connect_saying("");
    assert_false(conns_are_full(conns));
    (void)connect_saying("");
    assert_true(conns_are_full(conns));
    hang_up(0);
    until_closed(1);
    assert_false(conns_are_full(conns));
}

/* --- memory --------------------------------------------------------------- */

static void a_wire_may_leave_the_connection_to_another(void **state)
{
    struct wire_ops first = ops;
    struct fake_wire *one = connect_saying(""), *two;
    char answer[16];

    (void)state;
    first.feed = feed_and_go;
    one->wire.ops = &first;
    say(0, "hello");
    while (next_wire == NULL)
        loop_turn(loop, true);
    two = fake(next_wire);
    next_wire = NULL;
    assert_int_equal(one->closes, 1);
    assert_fed(two, "hello");
    assert_int_equal(recv(peers[0], answer, sizeof(answer), 0), 6);
    say(0, " again");
    while (two->fed < 11)
        loop_turn(loop, true);
    assert_fed(two, "hello again");
    assert_int_equal(conns_count(conns), 1);
    hang_up(0);
    until_closed(1);
    assert_int_equal(two->eofs, 1);
}

/* Who is busy stays, however long it has been silent. */
static void the_quietest_goes_when_there_is_no_place(void **state)
{
    struct fake_wire *busy = connect_saying("a"), *quiet, *loud;

    (void)state;
    busy->is_busy = true;
    loop->now += 1;
    quiet = connect_saying("b");
    loud = connect_saying("c");
    loop->now += 1;
    loop_turn(loop, false);
    say(2, "more");
    while (loud->fed < 5)
        loop_turn(loop, true);
    assert_true(conns_close_quietest(conns));
    assert_int_equal(closed, 1);
    loop_turn(loop, false);
    assert_int_equal(quiet->closes, 1);
    assert_true(conns_close_quietest(conns));
    loop_turn(loop, false);
    assert_int_equal(loud->closes, 1);
    assert_false(conns_close_quietest(conns));
    assert_int_equal(busy->closes, 0);
}

static void without_a_wire_the_socket_is_closed(void **state)
{
    int fds[2];

    (void)state;
    make_pair(fds);
    peers[peer_count++] = fds[1];
    no_wire = true;
    assert_false(conns_open(conns, fds[0], open_wire));
    assert_int_equal(conns_count(conns), 0);
    assert_ended(0);
}

static void serve_one(void *arg)
{
    struct conns *made = conns_new(loop, &service);
    struct fake_wire *wire;
    int fds[2];

    (void)arg;
    if (made == NULL)
        return;
    make_pair(fds);
    opened = 0;
    if (conns_open(made, fds[0], open_wire)) {
        wire = &wires[0];
        assert_int_equal(send(fds[1], "hello", 5, 0), 5);
        while (wire->fed < 5)
            loop_turn(loop, true); /* without a block they wait */
        assert_fed(wire, "hello");
        (void)chain_append(&wire->wire.out, slice_of("answer"));
        wire->wire.state = WIRE_CLOSE;
        wire_changed(&wire->wire);
        loop_turn(loop, false);
        assert_int_equal(conns_count(made), 0);
        assert_int_equal(wire->closes, 1);
    }
    close(fds[1]);
    conns_del(made);
}

static void comes_through_without_memory(void **state)
{
    (void)state;
    alloc_each_fails(serve_one, NULL);
    opened = 0; /* each was checked */
}

#define CONN_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONN_TEST(what_was_written_before_is_read_at_once),
        CONN_TEST(later_bytes_are_fed_as_they_come),
        CONN_TEST(an_answer_leaves_at_the_end_of_the_turn),
        CONN_TEST(a_wire_that_closes_is_heard_to_the_end),
        CONN_TEST(a_broken_wire_is_not_heard),
        CONN_TEST(bytes_that_were_kept_are_not_overwritten),
        CONN_TEST(connections_share_a_block_that_nobody_keeps),
        CONN_TEST(a_wire_that_does_not_read_leaves_bytes_to_the_kernel),
        CONN_TEST(a_file_is_sent_between_bytes),
        CONN_TEST(a_file_that_became_shorter_breaks_the_connection),
        CONN_TEST(a_slow_peer_gets_all_of_it_in_its_own_time),
        CONN_TEST(input_is_heard_while_output_is_stuck),
        CONN_TEST(the_end_of_the_peer_is_told_once),
        CONN_TEST(at_the_end_of_the_peer_nothing_spins),
        CONN_TEST(what_had_been_answered_is_sent_to_a_peer_that_ended),
        CONN_TEST(the_end_of_a_peer_that_is_not_read_is_heard),
        CONN_TEST(a_write_to_a_peer_that_has_gone_ends_the_connection),
        CONN_TEST(a_reset_drops_what_was_to_be_sent),
        CONN_TEST(who_owes_the_rest_for_too_long_is_closed),
        CONN_TEST(more_bytes_do_not_put_off_what_is_owed),
        CONN_TEST(an_idle_connection_is_closed),
        CONN_TEST(silence_counts_from_the_last_byte),
        CONN_TEST(a_busy_connection_is_not_idle),
        CONN_TEST(a_peer_that_takes_nothing_is_closed),
        CONN_TEST(a_peer_that_takes_a_little_is_kept),
        CONN_TEST(after_an_early_answer_input_is_read_and_dropped),
        CONN_TEST(lingering_ends_with_the_peer),
        CONN_TEST(lingering_ends_with_a_peer_that_ends_its_side),
        CONN_TEST(lingering_has_a_limit_in_bytes),
        CONN_TEST(lingering_has_a_limit_in_time),
        CONN_TEST(a_peer_that_has_ended_needs_no_lingering),
        CONN_TEST(draining_closes_who_is_idle_at_once),
        CONN_TEST(draining_hears_what_has_come_already),
        CONN_TEST(draining_waits_for_who_has_begun_a_request),
        CONN_TEST(draining_gives_away_who_is_idle),
        CONN_TEST(a_surplus_is_given_away_and_no_more),
        CONN_TEST(a_surplus_that_nobody_takes_stays),
        CONN_TEST(the_end_closes_all_of_them),
        CONN_TEST(the_cap_is_seen),
        CONN_TEST(a_wire_may_leave_the_connection_to_another),
        CONN_TEST(the_quietest_goes_when_there_is_no_place),
        CONN_TEST(without_a_wire_the_socket_is_closed),
        CONN_TEST(comes_through_without_memory),
    };

    return cmocka_run_group_tests_name("io/conn", tests, NULL, NULL);
}
