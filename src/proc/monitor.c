/* monitor.c -- see monitor.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/monitor.h"

#include "core/request.h"
#include "ops/snapshot.h"
#include "proc/link.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static struct slice param_or(const struct request *req, const char *name,
                             const char *otherwise)
{
    struct slice value;

    return request_param(req, slice_of(name), &value) ? value
                                                      : slice_of(otherwise);
}

/* --- the pages ------------------------------------------------------------ */

enum { PAGE_STATUS, PAGE_PING, PAGES }; /* as in paths */

/* Is it the front of one of them? */
static bool is_front(const struct monitor *monitor, struct slice text)
{
    for (int i = 0; i < PAGES; i++) {
        struct slice path = monitor->paths[i];

        if (path.data != NULL && slice_equal(slice_take(&path, text.len), text))
            return true;
    }
    return false;
}

/* Which page a request is for; -1: none.  Mostly its length tells that. */
static int find_page(const struct monitor *monitor, const struct request *req)
{
    struct slice front = { NULL, 0 }, back = { NULL, 0 };

    if (req->is_noted && monitor->path_info != -1) {
        front = req->noted[monitor->script_name];
        back = req->noted[monitor->path_info];
    } else {
        request_param(req, slice_of("SCRIPT_NAME"), &front);
        if (!is_front(monitor, front))
            return -1;
        request_param(req, slice_of("PATH_INFO"), &back);
    }
    for (int i = 0; i < PAGES; i++)
        if (desk_are_path(req, monitor->paths[i], front, back))
            return i;
    return -1;
}

static bool wants(const struct service_pages *pages, const struct request *req)
{
    const struct monitor *monitor = (const struct monitor *)(const void *)pages;

    return find_page(monitor, req) != -1;
}

static void answer(struct service_pages *pages, struct request *req)
{
    struct monitor *monitor = (struct monitor *)(void *)pages;

    if (find_page(monitor, req) == PAGE_STATUS)
        status_answer(&monitor->desk.status, req);
    else
        status_pong(req);
}

/* --- running requests ----------------------------------------------------- */

static void write_down(void *arg, const struct script_running *running)
{
    static const enum snapshot_state states[] = {
        [SCRIPT_REQUEST_STARTING] = SNAPSHOT_STARTING,
        [SCRIPT_REQUEST_WAITING] = SNAPSHOT_WAITING,
        [SCRIPT_REQUEST_READY] = SNAPSHOT_READY,
        [SCRIPT_REQUEST_RUNNING] = SNAPSHOT_RUNNING,
        [SCRIPT_REQUEST_FINISHING] = SNAPSHOT_FINISHING,
        [SCRIPT_REQUEST_ABORTED] = SNAPSHOT_ABORTED,
    };
    const struct request *req = running->req;
    char id[REQUEST_ID_MAX];
    struct snapshot_request request = {
        .started = req->started,
        .content_length = req->body.expected,
        .state = states[running->state],
        .id = request_id(req, id),
        .method = param_or(req, "REQUEST_METHOD", "GET"),
        .uri = param_or(req, "REQUEST_URI", ""),
        .script = param_or(req, "SCRIPT_FILENAME", ""),
        .user = param_or(req, "REMOTE_USER", ""),
        .remote = param_or(req, "REMOTE_ADDR", ""),
        .where = running->where,
    };

    if (request.script.len == 0)
        request.script = param_or(req, "SCRIPT_NAME", "");
    snapshot_add(arg, &request);
}

static void write_down_all(void *to, const struct script *script)
{
    script_each_running(script, write_down, to);
}

void monitor_take_snapshot(struct monitor *monitor)
{
    struct board_snapshot *snapshot =
        board_snapshot(monitor->board, monitor->slot);
    uint64_t wish = monitor->board->wish;

    if (snapshot->number >= wish)
        return;
    snapshot_begin(snapshot);
    monitor->each_script(monitor->arg, write_down_all, snapshot);
    snapshot_end(snapshot, wish);
}

/* Of the others the supervisor asks them. */
static void ask(void *arg)
{
    struct monitor *monitor = arg;

    monitor_take_snapshot(monitor);
    if (monitor->link != -1)
        link_try(monitor->link, LINK_WANT_SNAPSHOTS);
    if (monitor->elders != NULL)
        elders_tell(monitor->elders, LINK_SNAPSHOT);
}

/* --- the slot ------------------------------------------------------------- */

struct use {
    uint64_t memory;
    uint32_t tasks;
};

static void add_use(void *to, const struct script *script)
{
    struct use *use = to;

    use->memory += script_memory(script);
    use->tasks += script_tasks(script);
}

static void publish(struct monitor *monitor, bool is_last)
{
    struct board_slot *slot = monitor->slot;
    const struct service *service = monitor->service;
    struct use use = { 0, 0 };

    monitor->each_script(monitor->arg, add_use, &use);
    atomic_store_explicit(&slot->active, service_active(service),
                          memory_order_relaxed);
    atomic_store_explicit(&slot->active_max, service->active_max,
                          memory_order_relaxed);
    atomic_store_explicit(&slot->conns, monitor->conns(monitor->arg),
                          memory_order_relaxed);
    atomic_store_explicit(&slot->memory, use.memory, memory_order_relaxed);
    atomic_store_explicit(&slot->tasks, use.tasks, memory_order_relaxed);
    counts_publish(&monitor->counts, is_last);
}

static void on_turn_begins(struct ev_loop *ev, struct ev_check *watcher,
                           int events)
{
    const struct monitor *monitor = watcher->data;

    (void)ev;
    (void)events;
    atomic_store_explicit(&monitor->slot->busy_since,
                          (uint64_t)(*loop_clock(monitor->loop) * 1000) | 1,
                          memory_order_relaxed);
}

static void on_turn_ends(struct ev_loop *ev, struct ev_prepare *watcher,
                         int events)
{
    struct monitor *monitor = watcher->data;

    (void)ev;
    (void)events;
    publish(monitor, false);
    atomic_store_explicit(&monitor->slot->busy_since, 0, memory_order_relaxed);
}

/* --- from beginning to end ------------------------------------------------ */

static void watch_turns(struct monitor *monitor)
{
    if (ev_is_active(&monitor->turn_ends))
        return;
    ev_check_start(monitor->loop->ev, &monitor->turn_begins);
    ev_prepare_start(monitor->loop->ev, &monitor->turn_ends);
}

void monitor_open(struct monitor *monitor, const struct monitor_config *config)
{
    *monitor = (struct monitor){
        .pages = { .wants = wants, .answer = answer },
        .loop = config->loop,
        .service = config->service,
        .board = config->board,
        .slot = config->slot,
        .link = config->link,
        .elders = config->elders,
        .each_script = config->each_script,
        .conns = config->conns,
        .arg = config->arg,
    };
    counts_init(&monitor->counts, config->service, config->slot);
    desk_open(&monitor->desk, config->loop->ev, config->board,
              config->options->script, config->link == -1, config->listening,
              ask, monitor);
    ev_check_init(&monitor->turn_begins, on_turn_begins);
    ev_prepare_init(&monitor->turn_ends, on_turn_ends);
    monitor->turn_begins.data = monitor->turn_ends.data = monitor;
    monitor_apply(monitor, config->options);
    if (monitor->link != -1)
        watch_turns(monitor); /* the supervisor looks at the slot */
}

void monitor_begin(struct monitor *monitor)
{
    struct board_slot *slot = monitor->slot;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    slot->started =
        (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    slot->pid = (uint32_t)getpid();
    slot->accepts = true;
    if (monitor->link == -1)
        monitor->board->generation = slot->generation;
}

void monitor_forked(struct monitor *monitor, int link)
{
    monitor->link = link;
    monitor->elders = NULL;
    monitor->slot->pid = (uint32_t)getpid();
    desk_keep_history(&monitor->desk, false);
}

static struct slice path_of(const char *option)
{
    return option != NULL ? slice_of(option) : (struct slice){ NULL, 0 };
}

void monitor_apply(struct monitor *monitor, const struct options *options)
{
    bool is_shown = options->status != NULL || options->status_listen.count > 0;

    monitor->paths[PAGE_STATUS] = path_of(options->status);
    monitor->paths[PAGE_PING] = path_of(options->ping);
    monitor->service->pages = NULL;
    if (options->status != NULL || options->ping != NULL) {
        monitor->service->pages = &monitor->pages;
        monitor->script_name =
            service_want(monitor->service, slice_of("SCRIPT_NAME"));
        monitor->path_info =
            service_want(monitor->service, slice_of("PATH_INFO"));
    }
    if (is_shown && !monitor->counts_requests) {
        monitor->counts_requests = true;
        counts_attach(&monitor->counts, monitor->service);
        watch_turns(monitor);
    }
    if (monitor->link == -1)
        desk_keep_history(&monitor->desk, is_shown);
}

void monitor_close(struct monitor *monitor)
{
    publish(monitor, true);
    monitor->service->pages = NULL;
    ev_check_stop(monitor->loop->ev, &monitor->turn_begins);
    ev_prepare_stop(monitor->loop->ev, &monitor->turn_ends);
    desk_close(&monitor->desk);
}
