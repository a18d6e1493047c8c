/* status_view.h -- private to this room: how things stand, taken off the board
 * once for a page, and what the formats of the page have in common.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_STATUS_VIEW_H
#define OPS_STATUS_VIEW_H

#include "base/buffer.h"
#include "ops/snapshot.h"
#include "ops/status.h"

#include <time.h>

/* Of a page, and what of it running requests leave to what follows them: those
 * that have no room are left out. */
enum { STATUS_PAGE_MAX = 8 * 1024 * 1024, STATUS_PAGE_REST = 64 * 1024 };

struct view_worker {
    const struct board_slot *slot;
    const char *state; /* "Idle", "Running", "Blocked", "Draining" */
    unsigned id, pid, generation, conns, active, active_max, tasks;
    uint64_t memory, requests, accepted, cpu; /* cpu in microseconds */
    time_t started;
    double blocked; /* s that its loop has not turned; 0: it does */
};

struct status_view {
    const struct status *status;
    const struct board *board;
    bool is_full;
    unsigned refresh; /* of the page for people, in seconds; 0: never */
    time_t now;
    uint64_t now_ms; /* monotonic */
    time_t started;
    uint64_t wish; /* the snapshots that were asked for */
    uint64_t sums[BOARD_COUNTS];
    struct status_queue queue;
    unsigned queue_max, active_max;
    unsigned count, idle, active; /* workers */
    uint64_t conns, requests_active, tasks, memory, memory_max;
    struct view_worker *workers; /* by id */
};

/* Takes it off the board.  false: there is no memory.  Free it either way. */
bool view_take(struct status_view *view, struct status *status, bool is_full,
               uint64_t wish);
void view_free(struct status_view *view);

/* The same for a script's metric: its name, with its labels if it has any. */
enum { VIEW_NAME_MAX = METRIC_NAME_MAX + METRIC_LABELS_MAX + 2 };
const char *view_metric_name(const struct metric *metric,
                             char out[VIEW_NAME_MAX]);

/* The shortest text that gives the number again: "3", "0.1", "NaN", "+Inf". */
enum { VIEW_NUMBER_MAX = 32 };
const char *view_number(double number, char out[VIEW_NUMBER_MAX]);

/* --- putting a page together ---------------------------------------------- */

/* Adds text; without memory or room nothing more is added. */
void page_put(struct buffer *page, const char *text);
void page_put_slice(struct buffer *page, struct slice text);
__attribute__((format(printf, 2, 3))) void page_printf(struct buffer *page,
                                                       const char *format, ...);

/* Is there room for another running request? */
static inline bool view_has_room(const struct buffer *page)
{
    return page->len < STATUS_PAGE_MAX - STATUS_PAGE_REST;
}

/* With \xHH for what is not plain; as the inside of a JSON string, which
 * OpenMetrics takes for a label, too, once it has no other escapes than
 * \\, \" and \n. */
void page_put_escaped(struct buffer *page, struct slice text);
void page_put_json(struct buffer *page, struct slice text);
void page_put_label(struct buffer *page, struct slice text);

/* Of the page for people: its style, and the policy that lets it be one. */
extern const char status_style[], status_policy[];

/* The formats. */
void status_text(const struct status_view *view, struct buffer *page);
void status_json(const struct status_view *view, struct buffer *page);
void status_openmetrics(const struct status_view *view, struct buffer *page);
void status_html(const struct status_view *view, struct buffer *page);

#endif
