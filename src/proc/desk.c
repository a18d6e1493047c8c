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

/* Does path begin with these bytes? */
static bool begins(const char *path, struct slice front)
{
    return path != NULL && strncmp(path, front.data, front.len) == 0;
}

static bool is_path(const char *path, struct slice front, struct slice back)
{
    return begins(path, front) && strlen(path) == front.len + back.len &&
           memcmp(path + front.len, back.data, back.len) == 0;
}

/* SCRIPT_NAME and PATH_INFO, whichever of them the web server fills.  For most
 * requests the first tells that they mean something else. */
int desk_find_path(const struct request *req, const char *const *paths,
                   int count)
{
    struct slice front = { "", 0 }, back = { "", 0 };
    int which = 0;

    request_param(req, slice_of("SCRIPT_NAME"), &front);
    while (which < count && !begins(paths[which], front))
        which++;
    if (which == count)
        return -1;
    request_param(req, slice_of("PATH_INFO"), &back);
    if (front.len + back.len == 0)
        request_param(req, slice_of("DOCUMENT_URI"), &front);
    while (which < count && !is_path(paths[which], front, back))
        which++;
    return which < count ? which : -1;
}

bool desk_is_path(const struct request *req, const char *path)
{
    return desk_find_path(req, &path, 1) == 0;
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
