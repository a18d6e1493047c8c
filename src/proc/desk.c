/* desk.c -- see desk.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/desk.h"

#include "core/request.h"
#include "io/listen_queue.h"
#include "version.h"

#include <string.h>

/* Between two looks at whether all workers have answered. */
static const double step_seconds = 0.005;

static void queue(void *arg, struct status_queue *out)
{
    const struct desk *desk = arg;
    struct listen_queue queue = listen_queue(desk->listening);

    *out = (struct status_queue){ queue.waiting, queue.most };
}

static void gather(void *arg)
{
    struct desk *desk = arg;

    desk->ask(desk->arg);
    if (!ev_is_active(&desk->step))
        ev_timer_again(desk->ev, &desk->step);
}

static void on_step(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    struct desk *desk = watcher->data;

    (void)events;
    if (!status_step(&desk->status))
        ev_timer_stop(ev, watcher);
}

static void on_look(struct ev_loop *ev, struct ev_timer *watcher, int events)
{
    struct desk *desk = watcher->data;
    uint32_t waiting = listen_queue(desk->listening).waiting;

    (void)ev;
    (void)events;
    if (desk->looks++ % BOARD_SAMPLE_SECONDS == 0)
        board_sample(desk->status.board, waiting);
    else
        board_look(desk->status.board, waiting);
}

/* SCRIPT_NAME and PATH_INFO, whichever of them the web server fills. */
bool desk_are_path(const struct request *req, struct slice path,
                   struct slice script_name, struct slice path_info)
{
    if (script_name.len + path_info.len == 0)
        request_param(req, slice_of("DOCUMENT_URI"), &script_name);
    return script_name.len + path_info.len == path.len && path.len > 0 &&
           slice_equal(slice_take(&path, script_name.len), script_name) &&
           slice_equal(path, path_info);
}

bool desk_is_path(const struct request *req, const char *path)
{
    struct slice front = { NULL, 0 }, back = { NULL, 0 };

    request_param(req, slice_of("SCRIPT_NAME"), &front);
    request_param(req, slice_of("PATH_INFO"), &back);
    return desk_are_path(req, slice_of(path), front, back);
}

void desk_open(struct desk *desk, struct ev_loop *ev, struct board *board,
               const char *path, bool is_single,
               const struct listen_set *listening, void (*ask)(void *arg),
               void *arg)
{
    static const struct status_ops ops = { .queue = queue, .gather = gather };
    const char *slash = strrchr(path, '/');

    *desk = (struct desk){
        .ev = ev, .listening = listening, .ask = ask, .arg = arg
    };
    status_init(&desk->status, board, slash != NULL ? slash + 1 : path,
                is_single, FCGI_LUA_VERSION, &ops, desk);
    ev_timer_init(&desk->step, on_step, step_seconds, step_seconds);
    ev_timer_init(&desk->look, on_look, 1, 1);
    desk->step.data = desk->look.data = desk;
}

void desk_keep_history(struct desk *desk, bool does)
{
    if (does && !ev_is_active(&desk->look))
        ev_timer_start(desk->ev, &desk->look);
    else if (!does)
        ev_timer_stop(desk->ev, &desk->look);
}

void desk_close(struct desk *desk)
{
    ev_timer_stop(desk->ev, &desk->step);
    ev_timer_stop(desk->ev, &desk->look);
    status_end(&desk->status);
}
