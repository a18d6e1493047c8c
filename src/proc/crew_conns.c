/* crew_conns.c -- see crew.h for the contract.
 *
 * A worker that drains gives its idle connections to the supervisor, with
 * whatever the web server has sent meanwhile still unread in them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/crew.h"

#include "base/log.h"
#include "ops/share.h"

#include <stdlib.h>
#include <unistd.h>

static const double again_seconds = 0.02; /* while some wait for a worker */

struct homeless {
    struct list link;
    int fd;
};

/* The serving worker with the fewest connections, of the newest generation;
 * one that does not read its link only if there is no other. */
static bool is_better(const struct crew_worker *a, const struct crew_worker *b)
{
    if ((a->post.count == 0) != (b->post.count == 0))
        return a->post.count == 0;
    if (a->crew != b->crew)
        return a->crew->number > b->crew->number;
    return share_load(a->slot) < share_load(b->slot);
}

static struct crew_worker *find_taker(struct supervisor *supervisor)
{
    struct crew_worker *best = NULL;

    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);

        if (worker->state == WORKER_SERVING && worker->slot->accepts &&
            !worker->is_killed && !worker->link_has_ended &&
            (best == NULL || is_better(worker, best)))
            best = worker;
    }
    return best;
}

/* Returns false when nobody takes it; else it is closed here. */
static bool give_to_worker(struct supervisor *supervisor, int fd)
{
    const struct link_message message = { .kind = LINK_CONN };
    struct crew_worker *taker = find_taker(supervisor);

    if (taker == NULL || post_send(&taker->post, &message, fd) == -1)
        return false;
    taker->slot->given++;
    close(fd);
    return true;
}

void crew_conn_pass(struct supervisor *supervisor, int fd)
{
    struct homeless *homeless;

    if (supervisor->stopping) {
        close(fd);
        return;
    }
    if (give_to_worker(supervisor, fd))
        return;
    homeless = malloc(sizeof(*homeless));
    if (homeless == NULL) {
        log_write(LOG_LEVEL_WARN, "a kept connection was closed: not enough "
                                  "memory to hand it over");
        close(fd);
        return;
    }
    homeless->fd = fd;
    list_init(&homeless->link);
    list_append(&supervisor->homeless, &homeless->link);
    if (!ev_is_active(&supervisor->homes)) {
        ev_timer_set(&supervisor->homes, again_seconds, again_seconds);
        ev_timer_start(supervisor->ev, &supervisor->homes);
    }
}

void crew_conns_settle(struct supervisor *supervisor)
{
    while (!list_is_empty(&supervisor->homeless)) {
        struct homeless *homeless =
            list_entry(supervisor->homeless.next, struct homeless, link);

        if (!give_to_worker(supervisor, homeless->fd))
            return;
        list_remove(&homeless->link);
        free(homeless);
    }
    ev_timer_stop(supervisor->ev, &supervisor->homes);
}

void crew_conns_drop(struct supervisor *supervisor)
{
    while (!list_is_empty(&supervisor->homeless)) {
        struct homeless *homeless =
            list_entry(list_take(&supervisor->homeless), struct homeless, link);

        close(homeless->fd);
        free(homeless);
    }
    ev_timer_stop(supervisor->ev, &supervisor->homes);
}

void crew_conns_take_back(struct crew_worker *worker)
{
    int fd;

    while ((fd = post_take_back(&worker->post, LINK_CONN)) != -1) {
        worker->slot->given--;
        crew_conn_pass(worker->supervisor, fd);
    }
}

/* All would go to a generation that rises anyway. */
void crew_conns_balance(struct supervisor *supervisor)
{
    const struct board *board = supervisor->setup->board;

    if (supervisor->stopping || list_is_empty(&supervisor->crews) ||
        list_entry(supervisor->crews.prev, struct crew, link) !=
            supervisor->current)
        return;
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);
        struct link_message message = { .kind = LINK_SHED };

        if (worker->state != WORKER_SERVING || worker->post.count > 0)
            continue;
        message.id = share_surplus(board, worker->slot);
        if (message.id > 0 || worker->surplus > 0)
            post_send(&worker->post, &message, -1);
        worker->surplus = message.id;
    }
}
