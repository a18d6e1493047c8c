/* status_chart.h -- private to this room: the charts of the page for people,
 * drawn as SVG from the history that the board keeps.
 *
 * A chart is stretched to the width that there is, so its texts stand beside
 * it, in HTML; each piece of time has a title, which browsers show under the
 * pointer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_STATUS_CHART_H
#define OPS_STATUS_CHART_H

#include "ops/status_view.h"

/* Numbers as people read them: "12.3 ms", "4.5 MiB", "2 h 5 min". */
enum { CHART_TEXT_MAX = 32 };
const char *chart_duration(double seconds, char out[CHART_TEXT_MAX]);
const char *chart_bytes(double bytes, char out[CHART_TEXT_MAX]);
const char *chart_rate(double rate, char out[CHART_TEXT_MAX]);
const char *chart_time(time_t seconds, char out[CHART_TEXT_MAX]);

/* What happened in the last of the pieces: NaN where nobody knows. */
struct chart_now {
    double requests, errors; /* a second */
    double mean, p95;        /* of a request, in seconds */
};

/* Adds the charts of requests, latency and memory, and says how it is now. */
void status_charts(const struct board *board, struct buffer *page,
                   struct chart_now *now);

#endif
