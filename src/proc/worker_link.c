/* worker_link.c -- what a worker and its supervisor tell one another:
 * see worker_state.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/worker_state.h"

#include "base/log.h"
#include "fcgi/session.h"
#include "ops/share.h"
#include "proc/reopen.h"

#include <string.h>
#include <unistd.h>

bool worker_hand_over(void *arg, int fd)
{
    const struct worker *worker = arg;
    const struct link_message message = { .kind = LINK_HANDOVER };

    return link_send(worker->link.fd, &message, fd) == 0;
}

/* Reasons that reach on_exit; what else is said counts as a stop. */
static const char *known_reason(const char *text)
{
    static const char *const reasons[] = { "reload", "max-requests",
                                           "max-memory", "upgrade" };

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (strcmp(text, reasons[i]) == 0)
            return reasons[i];
    return "stop";
}

/* A connection that another worker had, where it was counted. */
static void take_conn(struct worker *worker, int fd)
{
    struct board_slot *slot = worker->config->slot;

    if (fd != -1 && (worker->draining || worker->acceptors == NULL)) {
        if (worker->hands_over) /* who gave it could not know yet */
            worker_hand_over(worker, fd);
        close(fd);
    } else if (fd != -1 && conns_open(worker->conns, fd, worker->open_kept))
        worker->service.accepted--;
    slot->conns = conns_count(worker->conns);
    slot->taken++;
}

static void tell_presence(int link)
{
    const struct link_message message = { .kind = LINK_PONG,
                                          .value = getpid() };

    link_send(link, &message, -1);
}

static void obey(struct worker *worker, const struct link_message *message,
                 int fd)
{
    switch (message->kind) {
    case LINK_DRAIN:
        if (!worker->draining)
            worker_drain(worker, known_reason(message->text),
                         message->value != 0);
        break;
    case LINK_STOP:
        worker->stopped = true;
        break;
    case LINK_CONN:
        take_conn(worker, fd);
        return;
    case LINK_SHED:
        conns_shed(worker->conns, message->id);
        break;
    case LINK_REOPEN:
        reopen_take(message, fd, worker->config->access_log);
        return;
    case LINK_PING:
        tell_presence(worker->link.fd);
        break;
    case LINK_SNAPSHOT:
        monitor_take_snapshot(&worker->monitor);
        break;
    case LINK_FILE:
        script_know_file(worker->current->script, message->text);
        break;
    case LINK_BROKEN:
        script_break(worker->current->script, message->text);
        break;
    default:
        break;
    }
    if (fd != -1)
        close(fd);
}

static void on_link(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct worker *worker = watcher->data;
    struct link_message message;
    int fd, got;

    (void)events;
    while ((got = link_receive(watcher->fd, &message, &fd)) == 1)
        obey(worker, &message, fd);
    if (got != 0)
        return;
    ev_io_stop(ev, watcher);
    if (!worker->draining) {
        log_write(LOG_LEVEL_ERROR, "the main process has gone: stopping");
        worker_drain(worker, "orphan", false);
    }
}

static uint32_t room_for_more(void *arg)
{
    const struct worker *worker = arg;

    /* Others may see it a moment later: it is not worth a fence. */
    atomic_store_explicit(&worker->config->slot->conns,
                          conns_count(worker->conns), memory_order_relaxed);
    return share_room(worker->config->board, worker->config->slot);
}

void worker_watch_link(struct worker *worker, int link)
{
    ev_io_set(&worker->link, link, EV_READ);
    ev_io_start(worker->loop->ev, &worker->link);
}

void worker_take_place(struct worker *worker)
{
    const struct worker_place *place = worker->config->place;
    const struct link_message message = { .kind = LINK_READY,
                                          .value = getpid() };

    acceptors_share(worker->acceptors, room_for_more, worker);
    conns_on_idle(worker->conns, worker_hand_over, worker);
    link_send(place->link, &message, -1);
}

void worker_look_at_age(struct worker *worker)
{
    const struct worker_place *place = worker->config->place;
    const char *reason =
        age_reached(&worker->age, &worker->service, worker->current->script);

    if (reason == NULL || worker->draining)
        return;
    if (place == NULL && worker->link.fd != -1)
        return; /* an elder: another one is on its way already */
    if (place != NULL) {
        link_tell(place->link, LINK_RECYCLE, reason);
        return;
    }
    log_write(LOG_LEVEL_NOTICE,
              "--%s is reached after %llu requests, with %zu KiB of Lua "
              "memory: stopping",
              reason, (unsigned long long)worker->service.serial,
              script_heap(worker->current->script) / 1024);
    worker_drain(worker, reason, false);
}

void worker_open_link(struct worker *worker)
{
    const struct worker_place *place = worker->config->place;

    ev_io_init(&worker->link, on_link, -1, EV_READ);
    worker->link.data = worker;
    if (place == NULL)
        return;
    worker_watch_link(worker, place->link);
    tell_presence(place->link);
}
