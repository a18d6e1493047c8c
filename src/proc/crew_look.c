/* crew_look.c -- see crew.h for the contract.
 *
 * A worker whose loop turns says on the board since when a turn is under way;
 * one that waits for events is asked now and then, which makes it turn.  One
 * that does neither is stuck in C code, which Lua's own watchdog should have
 * ended, or is stopped (SIGSTOP, a debugger).  A template is only asked when
 * something is wanted of it.
 *
 * What is counted is the time between looks, not that on the clock: a service
 * that was frozen as a whole must not find all of its workers late.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/crew.h"

#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { STUCK_LIMITS = 3 }; /* block limits after which somebody is stuck */

bool crew_process_look(pid_t pid, char *state, pid_t *parent)
{
    char path[32], line[512], *end;
    int ppid;
    size_t n = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    n = fread(line, 1, sizeof(line) - 1, file);
    fclose(file);
    line[n] = '\0';
    end = strrchr(line, ')'); /* pid (name) state parent */
    if (end == NULL || sscanf(end, ") %c %d", state, &ppid) != 2)
        return false;
    *parent = ppid;
    return true;
}

/* Is the process stopped, rather than busy? */
static bool is_stopped(pid_t pid)
{
    pid_t parent;
    char state;

    return crew_process_look(pid, &state, &parent) &&
           (state == 'T' || state == 't');
}

static void kill_stuck(struct crew_worker *worker)
{
    char why[80];

    snprintf(why, sizeof(why), "has not turned its loop for %.0f s%s",
             worker->silent,
             worker->pid > 0 && is_stopped(worker->pid) ? " (it is stopped)"
                                                        : "");
    crew_worker_kill(worker, why);
}

static void look_at_worker(struct crew_worker *worker, double seconds)
{
    double limit = worker->crew->block_limit * STUCK_LIMITS;
    uint64_t busy = worker->slot->busy_since;

    if (limit <= 0 || worker->pid <= 0 || worker->is_killed)
        return;
    if (busy != worker->seen_busy)
        worker->silent = 0;
    else if (busy != 0 || worker->is_asked)
        worker->silent += seconds;
    worker->seen_busy = busy;
    worker->unasked += seconds;
    if (busy == 0 && !worker->is_asked &&
        worker->unasked >= limit / STUCK_LIMITS &&
        post_tell(&worker->post, LINK_PING, NULL) == 0)
        worker->is_asked = true;
    if (worker->silent >= limit)
        kill_stuck(worker);
}

/* Does it owe the news of a worker's beginning or end? */
static bool owes_news(const struct crew *crew)
{
    const struct list *workers = &crew->supervisor->workers;

    for (struct list *link = workers->next; link != workers;
         link = link->next) {
        const struct crew_worker *worker =
            list_entry(link, struct crew_worker, link);

        if (worker->crew == crew &&
            (worker->pid == 0 || worker->link_has_ended))
            return true;
    }
    return false;
}

static void look_at_template(struct crew *crew, double seconds)
{
    double limit = crew->block_limit * STUCK_LIMITS;

    if (crew->pid == 0 || crew->fd == -1 || crew->state == CREW_LOADING ||
        limit <= 0)
        return;
    if (!owes_news(crew)) {
        crew->silent = 0;
        return;
    }
    crew->silent += seconds;
    if (crew->silent < limit)
        return;
    log_write(LOG_LEVEL_ERROR,
              "the template of generation %u (%d) has not answered for %.0f "
              "s%s: it is killed",
              crew->number, (int)crew->pid, crew->silent,
              is_stopped(crew->pid) ? " (it is stopped)" : "");
    crew->silent = 0;
    kill(crew->pid, SIGKILL);
}

void crews_look(struct supervisor *supervisor, double seconds)
{
    for (struct list *link = supervisor->workers.next;
         link != &supervisor->workers; link = link->next)
        look_at_worker(list_entry(link, struct crew_worker, link), seconds);
    for (struct list *link = supervisor->crews.next; link != &supervisor->crews;
         link = link->next)
        look_at_template(list_entry(link, struct crew, link), seconds);
}
