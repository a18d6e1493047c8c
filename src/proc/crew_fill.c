/* crew_fill.c -- see crew.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/crew.h"

#include "base/log.h"
#include "proc/notify.h"

#include <string.h>

static const double first_delay = 0.1, last_delay = 5; /* s */

/* --- what is missing ------------------------------------------------------ */

static bool is_served(const struct crew *crew)
{
    return crew->state == CREW_RISING || crew->state == CREW_CURRENT;
}

/* Is a worker of the crew being replaced? */
static bool replaces_some(const struct crew *crew)
{
    const struct list *workers = &crew->supervisor->workers;

    for (struct list *link = workers->next; link != workers;
         link = link->next) {
        const struct crew_worker *worker =
            list_entry(link, struct crew_worker, link);

        if (worker->crew == crew && worker->replaces != NULL)
            return true;
    }
    return false;
}

/* One at a time: workers share the load, so they reach a limit together, and
 * it is enough that they go one after another. */
static bool replace_one(struct crew *crew)
{
    const struct list *workers = &crew->supervisor->workers;

    if (replaces_some(crew))
        return true;
    for (struct list *link = workers->next; link != workers;
         link = link->next) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);

        if (worker->crew == crew && worker->state == WORKER_SERVING &&
            worker->wish[0] != '\0')
            return crew_worker_start(crew, worker->id, worker);
    }
    return true;
}

/* Returns false when something is missing that cannot be had at once. */
static bool fill(struct crew *crew)
{
    struct supervisor *supervisor = crew->supervisor;
    bool is_there[BOARD_SLOTS + 1] = { false };

    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *worker = list_entry(link, struct crew_worker, link);

        if (worker->crew != crew || worker->state == WORKER_DRAINING)
            continue;
        if (worker->id > supervisor->target) /* its connections go to others */
            crew_worker_drain(worker, "reload");
        else
            is_there[worker->id] = true;
    }
    for (unsigned id = 1; id <= supervisor->target; id++)
        if (!is_there[id] && !crew_worker_start(crew, id, NULL))
            return false;
    return replace_one(crew);
}

void crew_fill(struct supervisor *supervisor)
{
    bool is_complete = true, is_coming = false, has_any = false;

    if (supervisor->stopping)
        return;
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        struct crew *crew = list_entry(link, struct crew, link);

        if (crew->state == CREW_LOADING ||
            (crew->state == CREW_RISING && crew->fd != -1))
            is_coming = true; /* what there is need not be whole again */
        if (!is_served(crew))
            continue;
        has_any = true;
        if (fill(crew))
            crew_check_risen(crew);
        else if (crew->fd == -1)
            is_complete = false;
        else
            crew_fill_later(supervisor, false);
    }
    if ((!is_complete || !has_any) && !is_coming &&
        !crew_start(supervisor, NULL, "reload"))
        crew_fill_later(supervisor, false);
}

/* --- back-off ------------------------------------------------------------- */

static double longer(double delay)
{
    if (delay < first_delay)
        return first_delay;
    return delay * 2 > last_delay ? last_delay : delay * 2;
}

void crew_fill_later(struct supervisor *supervisor, bool at_once)
{
    double now = ev_now(supervisor->ev);

    if (supervisor->stopping)
        return;
    if (now - supervisor->last_death > 2 * last_delay)
        supervisor->delay = 0; /* all was well for a while */
    supervisor->last_death = now;
    if (!at_once && ev_is_active(&supervisor->respawn))
        return;
    ev_timer_stop(supervisor->ev, &supervisor->respawn);
    ev_timer_set(&supervisor->respawn, at_once ? 0 : supervisor->delay, 0);
    ev_timer_start(supervisor->ev, &supervisor->respawn);
    if (!at_once)
        supervisor->delay = longer(supervisor->delay);
}

/* --- the change of generations -------------------------------------------- */

static unsigned count_ready(const struct crew *crew)
{
    const struct list *workers = &crew->supervisor->workers;
    unsigned ready = 0;

    for (struct list *link = workers->next; link != workers;
         link = link->next) {
        const struct crew_worker *worker =
            list_entry(link, struct crew_worker, link);

        if (worker->crew == crew && worker->state == WORKER_SERVING)
            ready++;
    }
    return ready;
}

void crew_check_risen(struct crew *crew)
{
    struct supervisor *supervisor = crew->supervisor;
    unsigned ready = count_ready(crew);

    if (crew->state != CREW_RISING || ready < supervisor->target)
        return;
    crew->state = CREW_CURRENT;
    if (supervisor->current != NULL)
        supervisor->setup->board->reloads++;
    supervisor->current = crew;
    supervisor->setup->board->generation = crew->number;
    log_write(LOG_LEVEL_NOTICE, "generation %u serves with %u workers",
              crew->number, ready);
    notify_ready(supervisor->setup->notify, "serving");
    if (supervisor->setup->watch != NULL)
        watch_end_load(supervisor->setup->watch);
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next) {
        struct crew_worker *other = list_entry(link, struct crew_worker, link);

        if (other->crew->number < crew->number)
            crew_worker_drain(other, crew->old_reason);
    }
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next) {
        struct crew *other = list_entry(link, struct crew, link);

        if (other->number < crew->number && other->state != CREW_LOADING)
            other->state = CREW_FALLING;
    }
    if (supervisor->reload_again) {
        supervisor->reload_again = false;
        crew_start(supervisor, NULL, "reload");
    }
}
