/* worker_upgrade.c -- see worker_state.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/worker_state.h"

#include "base/log.h"
#include "fcgi/session.h"
#include "io/child.h"

#include <errno.h>
#include <string.h>

/* What an elder hands over. */
static void take_connection(void *arg, int fd)
{
    struct worker *worker = arg;

    conns_open(worker->conns, fd, worker->open_kept);
}

void worker_relieve_elders(struct worker *worker)
{
    elders_take(worker->elders, take_connection, worker);
    if (!elders_serve(worker->elders))
        return;
    elders_drain(worker->elders, "upgrade", true);
    log_write(LOG_LEVEL_NOTICE, "upgraded: generation %u serves",
              worker->current->who.generation);
}

static bool describe(void *arg, struct upgrade_state *state)
{
    const struct worker *worker = arg;

    state->generation = worker->current->who.generation;
    return worker->config->describe(worker->config->describe_arg, state) &&
           elders_describe(worker->elders, state);
}

/* In the fork, when the process that it comes from is another program. */
static void become_elder(struct worker *worker, int link)
{
    struct generation *current = worker->current;

    notify_close(worker->config->notify);
    ev_timer_stop(worker->loop->ev, &worker->heartbeat);
    status_listener_del(worker->status_listener); /* the other one answers */
    worker->status_listener = NULL;
    if (worker->config->watch != NULL)
        watch_leave(worker->config->watch);
    worker->reload.watch = NULL;
    if (worker->config->status_listening != NULL)
        listen_close(worker->config->status_listening);
    ev_loop_fork(worker->loop->ev);
    children_forked(worker->loop);
    upgrade_stop(&worker->upgrade); /* lets signals come */
    worker->elders = NULL;
    worker_watch_link(worker, link);
    monitor_forked(&worker->monitor, link);
    for (struct list *at = worker->retired.next; at != &worker->retired;
         at = at->next) {
        struct generation *retired = list_entry(at, struct generation, link);

        if (script_forked(retired->script, &retired->who) == -1)
            log_write(LOG_LEVEL_WARN, "no watchdog: %s", strerror(errno));
    }
    if (script_forked(current->script, &current->who) == -1)
        log_write(LOG_LEVEL_WARN, "no watchdog: %s", strerror(errno));
    log_write(LOG_LEVEL_INFO, "generation %u goes on in this process",
              current->who.generation);
}

static void add_ward(void *arg, pid_t pid)
{
    elders_add_ward(arg, pid);
}

/* What is under way goes on in an elder. */
static void become_another(struct worker *worker)
{
    struct board *board = worker->config->board;
    struct board_slot *slot = worker->config->slot;
    unsigned index = (unsigned)(slot - board->slots);
    int link;
    pid_t elder = 0;

    if (worker->acceptors == NULL) { /* nothing is */
        board_release(board, slot);
        children_kill(worker->loop);
    } else {
        elder = elders_fork(worker->elders, worker->current->who.generation,
                            index, &link);
        if (elder == 0) {
            become_elder(worker, link);
            return;
        }
        if (elder == -1) {
            upgrade_fail(&worker->upgrade, strerror(errno));
            return;
        }
        children_each(worker->loop, add_ward, worker->elders);
    }
    upgrade_go(&worker->upgrade);
    if (elder != 0)
        elders_take_back(worker->elders);
    else
        board_take_at(board, index, 1, worker->current->who.generation);
}

void worker_step_upgrade(struct worker *worker)
{
    if (worker->elders != NULL && !worker->draining &&
        upgrade_step(&worker->upgrade, worker->reload.state == RELOAD_IDLE))
        become_another(worker);
}

bool worker_may_reload(const struct worker *worker)
{
    return worker->elders == NULL || !upgrade_is_busy(&worker->upgrade) ||
           worker->reload.state != RELOAD_IDLE;
}

void worker_prepare_upgrades(struct worker *worker)
{
    const struct worker_config *config = worker->config;

    worker->elders = config->elders;
    worker->upgrade_config = (struct upgrade_config){
        .ev = worker->loop->ev,
        .origin = config->origin,
        .notify = config->notify,
        .load_timeout = config->options->load_timeout,
        .describe = describe,
        .arg = worker,
    };
    upgrade_init(&worker->upgrade, &worker->upgrade_config);
    elders_watch(worker->elders, worker->loop->ev);
}
