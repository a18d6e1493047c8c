/* crew_upgrade.c -- a supervisor becomes another program, and is one that did:
 * see upgrade.h.  The templates and workers go on as if nothing was; the links
 * to them and their slots on the board pass to the new program, which starts a
 * generation of its own and has theirs drain when it serves.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/crew.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- leaving ---------------------------------------------------------------
 */

static bool add_crew(const struct crew *crew, struct upgrade_state *state)
{
    const struct upgrade_process process = {
        .role = UPGRADE_TEMPLATE,
        .pid = crew->pid,
        .fd = crew->fd,
        .generation = crew->number,
        .state = crew->state,
    };

    return upgrade_state_add(state, &process);
}

static bool add_worker(const struct crew_worker *worker,
                       struct upgrade_state *state)
{
    const struct board_slot *slots = worker->supervisor->setup->board->slots;
    struct upgrade_process process = {
        .role = UPGRADE_WORKER,
        .pid = worker->pid,
        .fd = worker->fd,
        .id = worker->id,
        .slot = (unsigned)(worker->slot - slots),
        .generation = worker->crew->number,
        .state = worker->state,
    };

    if (worker->replaces != NULL)
        process.replaces = (unsigned)(worker->replaces->slot - slots) + 1;
    snprintf(process.reason, sizeof(process.reason), "%s",
             worker->state == WORKER_DRAINING ? worker->reason : worker->wish);
    return upgrade_state_add(state, &process);
}

static bool describe(void *arg, struct upgrade_state *state)
{
    const struct supervisor *supervisor = arg;
    const struct service_setup *setup = supervisor->setup;

    state->generation = supervisor->crew_count;
    state->workers = supervisor->target;
    if (!setup->describe(setup->describe_arg, state))
        return false;
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next)
        if (!add_crew(list_entry(link, struct crew, link), state))
            return false;
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        if (!add_worker(list_entry(link, struct crew_worker, link), state))
            return false;
    return true;
}

/* A generation that is on its way comes first, and so does what waits to be
 * given to somebody: it could not be passed on. */
static bool may_go(const struct supervisor *supervisor)
{
    const struct crew *newest;

    if (supervisor->stopping || supervisor->reload_again ||
        list_is_empty(&supervisor->crews) ||
        !list_is_empty(&supervisor->homeless))
        return false;
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        if (list_entry(link, struct crew_worker, link)->post.count > 0)
            return false;
    newest = list_entry(supervisor->crews.prev, struct crew, link);
    return newest->state != CREW_LOADING && newest->state != CREW_RISING;
}

static void on_step(struct ev_loop *ev, struct ev_prepare *watcher, int events)
{
    struct supervisor *supervisor = watcher->data;

    (void)ev;
    (void)events;
    if (!supervisor->stopping &&
        upgrade_step(&supervisor->upgrade, may_go(supervisor)))
        upgrade_go(&supervisor->upgrade);
}

void crews_open_upgrade(struct supervisor *supervisor)
{
    const struct service_setup *setup = supervisor->setup;

    supervisor->upgrade_config = (struct upgrade_config){
        .ev = supervisor->ev,
        .origin = setup->origin,
        .notify = setup->notify,
        .load_timeout = setup->options->load_timeout,
        .describe = describe,
        .arg = supervisor,
    };
    upgrade_init(&supervisor->upgrade, &supervisor->upgrade_config);
    ev_prepare_init(&supervisor->upgrade_step, on_step);
    supervisor->upgrade_step.data = supervisor;
    ev_prepare_start(supervisor->ev, &supervisor->upgrade_step);
}

void crews_close_upgrade(struct supervisor *supervisor)
{
    upgrade_stop(&supervisor->upgrade);
    ev_prepare_stop(supervisor->ev, &supervisor->upgrade_step);
}

/* --- inheriting ------------------------------------------------------------
 */

static bool inherit_crew(struct supervisor *supervisor,
                         const struct upgrade_process *process)
{
    struct crew *crew = calloc(1, sizeof(*crew));

    if (crew == NULL)
        return false;
    crew->supervisor = supervisor;
    crew->number = process->generation;
    crew->state = process->state == CREW_CURRENT ? CREW_CURRENT : CREW_FALLING;
    crew->pid = process->pid;
    crew->fd = process->fd;
    crew->old_reason = "upgrade";
    crew->grace = supervisor->setup->options->grace;
    crew->block_limit = supervisor->setup->options->block_limit;
    list_init(&crew->link);
    list_append(&supervisor->crews, &crew->link);
    if (crew->state == CREW_CURRENT)
        supervisor->current = crew;
    crew_watch(crew);
    return true;
}

static struct crew *find_crew(struct supervisor *supervisor, unsigned number)
{
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        struct crew *crew = list_entry(link, struct crew, link);

        if (crew->number == number)
            return crew;
    }
    return NULL;
}

static enum crew_worker_state state_of(const struct upgrade_process *process)
{
    return process->state < WORKER_DRAINING
               ? (enum crew_worker_state)process->state
               : WORKER_DRAINING;
}

/* Without a crew or a slot nobody could tell of it: the end of its link ends
 * it. */
static bool inherit_worker(struct supervisor *supervisor,
                           const struct upgrade_process *process)
{
    struct crew *crew = find_crew(supervisor, process->generation);
    struct board_slot *slot =
        board_take_at(supervisor->setup->board, process->slot, process->id,
                      process->generation);
    struct crew_worker *worker;

    if (crew == NULL || slot == NULL) {
        log_write(LOG_LEVEL_ERROR, "worker %u (%d) belongs to nothing: it ends",
                  process->id, (int)process->pid);
        close(process->fd);
        return true;
    }
    worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        return false;
    worker->supervisor = supervisor;
    worker->crew = crew;
    worker->state = state_of(process);
    worker->id = process->id;
    worker->pid = process->pid;
    worker->fd = process->fd;
    worker->slot = slot;
    worker->started = ev_now(supervisor->ev);
    snprintf(worker->state == WORKER_DRAINING ? worker->reason : worker->wish,
             sizeof(worker->reason), "%.15s", process->reason);
    list_init(&worker->link);
    list_append(&supervisor->workers, &worker->link);
    crew_worker_watch(worker);
    return true;
}

/* Once all are there. */
static void inherit_relief(struct supervisor *supervisor,
                           const struct upgrade_process *process)
{
    struct crew_worker *worker = crew_worker_of_slot(supervisor, process->slot);

    if (worker != NULL && process->replaces > 0)
        worker->replaces =
            crew_worker_of_slot(supervisor, process->replaces - 1);
}

bool crews_inherit(struct supervisor *supervisor,
                   const struct upgrade_state *left)
{
    supervisor->crew_count = left->generation;
    supervisor->target = left->workers;
    for (size_t i = 0; i < left->count; i++)
        if (left->processes[i].role == UPGRADE_TEMPLATE &&
            !inherit_crew(supervisor, &left->processes[i]))
            return false;
    for (size_t i = 0; i < left->count; i++)
        if (left->processes[i].role == UPGRADE_WORKER &&
            !inherit_worker(supervisor, &left->processes[i]))
            return false;
    for (size_t i = 0; i < left->count; i++)
        if (left->processes[i].role == UPGRADE_WORKER)
            inherit_relief(supervisor, &left->processes[i]);
    supervisor->was_ready = supervisor->current != NULL;
    return true;
}
