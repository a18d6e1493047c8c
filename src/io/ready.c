/* ready.c -- see ready.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/ready.h"

#include "io/loop_ev.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Seconds between two looks at descriptors that are waited for. */
static const double look_seconds = 1;

enum { EVENTS_AT_ONCE = 64 };

/* What is known of one descriptor. */
struct slot {
    struct ready *first; /* of those that wait for it; or NULL */
    unsigned generation; /* of its registration; events of others are stale */
    bool is_registered;  /* unless it was closed since */
};

struct readies {
    struct loop *loop;
    int epoll; /* -1: it could not be made anew after a fork */
    struct ev_io watcher;
    struct ev_fork fork;
    struct loop_timer look;
    struct slot *slots; /* by descriptor */
    int count;
};

/* --- those who wait ------------------------------------------------------- */

static struct ready *next_of(const struct ready *ready)
{
    return list_entry(ready->link.next, struct ready, link);
}

/* All that is waited for. */
static unsigned wanted_of(const struct slot *slot)
{
    const struct ready *ready = slot->first;
    unsigned wanted = 0;

    if (ready == NULL)
        return 0;
    do {
        wanted |= ready->wanted;
        ready = next_of(ready);
    } while (ready != slot->first);
    return wanted;
}

static void add(struct slot *slot, struct ready *ready)
{
    if (slot->first == NULL)
        slot->first = ready;
    else
        list_append(&slot->first->link, &ready->link);
}

void ready_stop(struct ready *ready)
{
    struct slot *slot;

    if (ready->readies == NULL)
        return;
    slot = &ready->readies->slots[ready->fd];
    ready->readies = NULL;
    if (slot->first == ready)
        slot->first = list_is_empty(&ready->link) ? NULL : next_of(ready);
    list_remove(&ready->link);
}

static void finish(struct ready *ready, unsigned got)
{
    ready_stop(ready);
    ready->got = (unsigned char)got;
    ready->on_ready(ready);
}

/* What they wait for is there no more. */
static void finish_all(struct slot *slot)
{
    while (slot->first != NULL)
        finish(slot->first, READY_GONE);
}

/* --- the kernel ----------------------------------------------------------- */

static int control(const struct readies *readies, int operation, int fd,
                   unsigned wanted, unsigned generation)
{
    struct epoll_event event = { .events = EPOLLONESHOT };

    if ((wanted & READY_READ) != 0)
        event.events |= EPOLLIN;
    if ((wanted & READY_WRITE) != 0)
        event.events |= EPOLLOUT;
    event.data.u64 = (uint64_t)generation << 32 | (unsigned)fd;
    return epoll_ctl(readies->epoll, operation, fd, &event);
}

/* The next event is for those who wait now.  Fails if what they wait for is
 * not there, or is another file by now. */
static int arm(const struct readies *readies, int fd, unsigned more)
{
    const struct slot *slot = &readies->slots[fd];

    return control(readies, EPOLL_CTL_MOD, fd, wanted_of(slot) | more,
                   slot->generation);
}

static bool have_slot(struct readies *readies, int fd)
{
    int count = fd + fd / 2 + 16;
    struct slot *slots;

    if (fd < readies->count)
        return true;
    slots = realloc(readies->slots, (size_t)count * sizeof(*slots));
    if (slots == NULL)
        return false;
    memset(slots + readies->count, 0,
           (size_t)(count - readies->count) * sizeof(*slots));
    readies->slots = slots;
    readies->count = count;
    return true;
}

/* The kernel sees the number first: there may be no such descriptor, and no
 * memory for that many. */
static int enter(struct readies *readies, int fd, unsigned wanted)
{
    unsigned generation =
        fd < readies->count ? readies->slots[fd].generation + 1 : 1;

    if (control(readies, EPOLL_CTL_ADD, fd, wanted, generation) == -1)
        return -1;
    if (!have_slot(readies, fd)) {
        control(readies, EPOLL_CTL_DEL, fd, 0, 0);
        errno = ENOMEM;
        return -1;
    }
    readies->slots[fd].generation = generation;
    readies->slots[fd].is_registered = true;
    return 0;
}

/* Nearly always the file is known, and this is one system call. */
static int watch(struct readies *readies, int fd, unsigned wanted)
{
    if (fd < readies->count && readies->slots[fd].is_registered) {
        if (arm(readies, fd, wanted) == 0)
            return 0;
        readies->slots[fd].is_registered = false;
        finish_all(&readies->slots[fd]);
    }
    return enter(readies, fd, wanted);
}

/* --- events --------------------------------------------------------------- */

/* Those who go make others the first. */
static struct ready *first_that_wants(const struct slot *slot, unsigned got)
{
    struct ready *ready = slot->first;

    if (ready == NULL)
        return NULL;
    do {
        if ((ready->wanted & got) != 0)
            return ready;
        ready = next_of(ready);
    } while (ready != slot->first);
    return NULL;
}

static void hear(struct readies *readies, const struct epoll_event *event)
{
    static const unsigned trouble = EPOLLERR | EPOLLHUP;
    int fd = (int)(event->data.u64 & 0x7fffffff);
    struct slot *slot = &readies->slots[fd];
    struct ready *ready;
    unsigned got = 0;

    if (slot->generation != event->data.u64 >> 32)
        return;
    if ((event->events & (EPOLLIN | trouble)) != 0)
        got |= READY_READ;
    if ((event->events & (EPOLLOUT | trouble)) != 0)
        got |= READY_WRITE;
    while ((ready = first_that_wants(slot, got)) != NULL)
        finish(ready, ready->wanted & got);
    if (slot->first != NULL && arm(readies, fd, 0) == -1)
        finish_all(slot);
}

static void on_events(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct readies *readies = watcher->data;
    struct epoll_event heard[EVENTS_AT_ONCE];
    int n = epoll_wait(readies->epoll, heard, EVENTS_AT_ONCE, 0);

    (void)ev;
    (void)events;
    for (int i = 0; i < n; i++) /* what there is besides comes next time */
        hear(readies, &heard[i]);
}

/* The kernel does not tell of descriptors that are closed. */
static void on_look(struct loop_timer *timer)
{
    struct readies *readies = list_entry(timer, struct readies, look);
    bool is_waited_for = false;

    for (int fd = 0; fd < readies->count; fd++) {
        struct slot *slot = &readies->slots[fd];

        if (slot->first == NULL)
            continue;
        if (arm(readies, fd, 0) == -1) {
            slot->is_registered = false;
            finish_all(slot);
        }
        is_waited_for = is_waited_for || slot->first != NULL;
    }
    if (is_waited_for)
        loop_timer_start(readies->loop, timer, look_seconds, on_look);
}

/* --- the queue ------------------------------------------------------------ */

static int open_queue(struct readies *readies)
{
    readies->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (readies->epoll == -1)
        return -1;
    ev_io_init(&readies->watcher, on_events, readies->epoll, EV_READ);
    readies->watcher.data = readies;
    ev_io_start(readies->loop->ev, &readies->watcher);
    return 0;
}

static void close_queue(struct readies *readies)
{
    if (readies->epoll == -1)
        return;
    ev_io_stop(readies->loop->ev, &readies->watcher);
    close(readies->epoll);
    readies->epoll = -1;
}

/* This process is a copy, which shares the queue with the other: it makes one
 * of its own. */
static void on_fork(struct ev_loop *ev, struct ev_fork *fork, int events)
{
    struct readies *readies = fork->data;

    (void)ev;
    (void)events;
    close_queue(readies);
    open_queue(readies);
    for (int fd = 0; fd < readies->count; fd++) {
        struct slot *slot = &readies->slots[fd];

        slot->is_registered = false;
        if (slot->first != NULL && enter(readies, fd, wanted_of(slot)) == -1)
            finish_all(slot);
    }
}

struct readies *readies_new(struct loop *loop)
{
    struct readies *readies = calloc(1, sizeof(*readies));
    int saved;

    if (readies == NULL)
        return NULL;
    readies->loop = loop;
    if (open_queue(readies) == -1) {
        saved = errno;
        free(readies);
        errno = saved;
        return NULL;
    }
    ev_fork_init(&readies->fork, on_fork);
    readies->fork.data = readies;
    ev_fork_start(loop->ev, &readies->fork);
    return readies;
}

void readies_del(struct readies *readies)
{
    if (readies == NULL)
        return;
    loop_timer_stop(&readies->look);
    ev_fork_stop(readies->loop->ev, &readies->fork);
    close_queue(readies);
    free(readies->slots);
    free(readies);
}

/* --- waiting -------------------------------------------------------------- */

enum ready_status ready_start(struct readies *readies, struct ready *ready,
                              int fd, unsigned wanted,
                              void (*on_ready)(struct ready *ready))
{
    ready->readies = NULL;
    ready->got = 0;
    if (fd < 0)
        return READY_CLOSED;
    if (readies->epoll == -1 && open_queue(readies) == -1)
        return READY_FAILED;
    if (watch(readies, fd, wanted) == -1) {
        if (errno == EPERM)
            return READY_NOW;
        return errno == EBADF ? READY_CLOSED : READY_FAILED;
    }
    list_init(&ready->link);
    ready->readies = readies;
    ready->on_ready = on_ready;
    ready->fd = fd;
    ready->wanted = (unsigned char)wanted;
    add(&readies->slots[fd], ready);
    if (!loop_timer_is_running(&readies->look))
        loop_timer_start(readies->loop, &readies->look, look_seconds, on_look);
    return READY_LATER;
}

enum ready_status ready_look(int fd, unsigned wanted, unsigned *got)
{
    struct pollfd look = { .fd = fd };
    int n;

    if (fd < 0)
        return READY_CLOSED;
    if ((wanted & READY_READ) != 0)
        look.events |= POLLIN;
    if ((wanted & READY_WRITE) != 0)
        look.events |= POLLOUT;
    do {
        n = poll(&look, 1, 0);
    } while (n == -1 && errno == EINTR);
    if (n == -1)
        return READY_FAILED;
    if ((look.revents & POLLNVAL) != 0)
        return READY_CLOSED;
    *got = 0;
    if ((look.revents & (POLLIN | POLLERR | POLLHUP)) != 0)
        *got |= READY_READ;
    if ((look.revents & (POLLOUT | POLLERR | POLLHUP)) != 0)
        *got |= READY_WRITE;
    *got &= wanted;
    return *got == 0 ? READY_LATER : READY_NOW;
}
