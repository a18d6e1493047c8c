/* status_chart.c -- see status_chart.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ops/status_chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PIECES_MAX = 120, /* more would be finer than what a phone shows */
    WIDTH = 600,
    HEIGHT = 120,
    LINES = 2
};

/* --- numbers for people -----------------------------------------------------
 */

/* Three digits that say something. */
static int places_of(double number)
{
    return number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2;
}

static const char *with_unit(double number, const char *unit,
                             char out[CHART_TEXT_MAX])
{
    snprintf(out, CHART_TEXT_MAX, "%.*f %s", places_of(number), number, unit);
    return out;
}

const char *chart_duration(double seconds, char out[CHART_TEXT_MAX])
{
    if (isnan(seconds))
        snprintf(out, CHART_TEXT_MAX, "\xe2\x80\x93"); /* a dash */
    else if (seconds <= 0)
        snprintf(out, CHART_TEXT_MAX, "0 s");
    else if (seconds < 0.9995e-3)
        with_unit(seconds * 1e6, "\xc2\xb5s", out);
    else if (seconds < 0.9995)
        with_unit(seconds * 1e3, "ms", out);
    else
        with_unit(seconds, "s", out);
    return out;
}

const char *chart_bytes(double bytes, char out[CHART_TEXT_MAX])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    size_t i = 0;

    if (isnan(bytes)) {
        snprintf(out, CHART_TEXT_MAX, "\xe2\x80\x93");
        return out;
    }
    while (bytes >= 999.5 && i < sizeof(units) / sizeof(units[0]) - 1) {
        bytes /= 1024;
        i++;
    }
    if (i > 0)
        return with_unit(bytes, units[i], out);
    snprintf(out, CHART_TEXT_MAX, "%.0f B", bytes);
    return out;
}

const char *chart_rate(double rate, char out[CHART_TEXT_MAX])
{
    if (isnan(rate))
        snprintf(out, CHART_TEXT_MAX, "\xe2\x80\x93");
    else
        snprintf(out, CHART_TEXT_MAX, "%.*f/s", rate > 0 ? places_of(rate) : 0,
                 rate);
    return out;
}

const char *chart_time(time_t seconds, char out[CHART_TEXT_MAX])
{
    unsigned long long s = seconds > 0 ? (unsigned long long)seconds : 0;

    if (s < 60)
        snprintf(out, CHART_TEXT_MAX, "%llu s", s);
    else if (s < 3600)
        snprintf(out, CHART_TEXT_MAX, "%llu min %llu s", s / 60, s % 60);
    else if (s < 24 * 3600)
        snprintf(out, CHART_TEXT_MAX, "%llu h %llu min", s / 3600, s / 60 % 60);
    else
        snprintf(out, CHART_TEXT_MAX, "%llu d %llu h", s / (24 * 3600),
                 s / 3600 % 24);
    return out;
}

/* --- history -----------------------------------------------------------------
 */

/* A piece of time between two samples. */
struct piece {
    double from, to; /* s since the epoch */
    double requests, errors, mean, p95, memory;
};

struct pieces {
    struct piece items[PIECES_MAX];
    unsigned count;
};

/* Counters never fall; but who knows what the board was made of. */
static double grown(uint64_t before, uint64_t after)
{
    return after > before ? (double)(after - before) : 0;
}

/* The time that 95 of 100 requests did not pass, as far as buckets tell: as if
 * those of a bucket were spread evenly. */
static double percentile(const struct board_sample *before,
                         const struct board_sample *after)
{
    double counts[BOARD_BUCKETS], total = 0, wanted, below = 0;

    for (int i = 0; i < BOARD_BUCKETS; i++) {
        counts[i] = grown(before->buckets[i], after->buckets[i]);
        total += counts[i];
    }
    if (total <= 0)
        return NAN;
    wanted = 0.95 * total;
    for (int i = 0; i < BOARD_BUCKETS - 1; i++) {
        double start = i > 0 ? board_buckets[i - 1] : 0;

        if (below + counts[i] >= wanted)
            return start +
                   (board_buckets[i] - start) * (wanted - below) / counts[i];
        below += counts[i];
    }
    return board_buckets[BOARD_BUCKETS - 2];
}

static struct piece piece_between(const struct board_sample *before,
                                  const struct board_sample *after)
{
    double seconds = after->at - before->at;
    double requests = grown(before->requests, after->requests);
    struct piece piece = { .from = before->at,
                           .to = after->at,
                           .mean = NAN,
                           .p95 = percentile(before, after),
                           .memory = (double)after->memory };

    if (seconds > 0) {
        piece.requests = requests / seconds;
        piece.errors = grown(before->errors, after->errors) / seconds;
    }
    if (requests > 0)
        piece.mean =
            grown(before->nanoseconds, after->nanoseconds) * 1e-9 / requests;
    return piece;
}

/* All that the board remembers, in as many pieces as can be shown. */
static void take_pieces(const struct board *board, struct pieces *pieces)
{
    struct board_sample before, after;
    unsigned samples = 0, step, at;

    pieces->count = 0;
    while (samples < BOARD_SAMPLES && board_history(board, samples, &after))
        samples++;
    if (samples < 2)
        return;
    step = (samples - 2) / PIECES_MAX + 1;
    at = (samples - 1) % step; /* so that the last piece ends with the last */
    if (!board_history(board, at, &before))
        return;
    for (at += step; at < samples && pieces->count < PIECES_MAX; at += step) {
        if (!board_history(board, at, &after))
            return;
        if (after.at <= before.at)
            continue; /* the clock was set back */
        pieces->items[pieces->count++] = piece_between(&before, &after);
        before = after;
    }
}

/* --- drawing
 * ------------------------------------------------------------------ */

struct line {
    const char *name, *class;
    double (*value)(const struct piece *piece);
};

struct chart {
    const char *id, *title, *about;
    const char *(*print)(double value, char out[CHART_TEXT_MAX]);
    struct line lines[LINES];
    unsigned count;
    double base; /* steps of the scale: 10, or 2 for bytes */
};

static double requests_of(const struct piece *piece)
{
    return piece->requests;
}

static double errors_of(const struct piece *piece)
{
    return piece->errors;
}

static double mean_of(const struct piece *piece)
{
    return piece->mean;
}

static double p95_of(const struct piece *piece)
{
    return piece->p95;
}

static double memory_of(const struct piece *piece)
{
    return piece->memory;
}

static const struct chart charts[] = {
    { .id = "requests",
      .title = "Requests",
      .about = "requests a second, and of them those answered with 5xx",
      .print = chart_rate,
      .lines = { { "all", "a", requests_of }, { "5xx", "b", errors_of } },
      .count = 2,
      .base = 10 },
    { .id = "latency",
      .title = "Latency",
      .about = "how long requests took: the mean, and what 95 of 100 did not "
               "pass",
      .print = chart_duration,
      .lines = { { "mean", "a", mean_of }, { "95 %", "b", p95_of } },
      .count = 2,
      .base = 10 },
    { .id = "memory",
      .title = "Memory",
      .about = "memory that Lua holds in all workers",
      .print = chart_bytes,
      .lines = { { "Lua", "a", memory_of } },
      .count = 1,
      .base = 2 },
};

/* A round number that is not below value. */
static double scale_of(double value, double base)
{
    static const double tens[] = { 1, 1.5, 2, 3, 4, 5, 6, 8, 0 };
    static const double twos[] = { 1, 1.25, 1.5, 1.75, 0 };
    const double *step = base > 2 ? tens : twos;
    double power;

    if (!(value > 0))
        return 1;
    power = pow(base, floor(log(value) / log(base)));
    for (; *step > 0; step++)
        if (value <= power * *step)
            return power * *step;
    return power * base;
}

static double most_of(const struct chart *chart, const struct pieces *pieces)
{
    double most = 0;

    for (unsigned i = 0; i < pieces->count; i++)
        for (unsigned k = 0; k < chart->count; k++)
            most = fmax(most, chart->lines[k].value(&pieces->items[i]));
    return most;
}

static double x_of(const struct pieces *pieces, double at)
{
    double from = pieces->items[0].from;

    return WIDTH * (at - from) / (pieces->items[pieces->count - 1].to - from);
}

/* From the middle of a piece to that of the next; nothing where nobody knows.
 * The ends go to those of their pieces: so a single value is a stroke, too. */
static void put_line(struct buffer *page, const struct line *line,
                     const struct pieces *pieces, double scale)
{
    bool is_down = false;

    page_printf(page, "<path class=\"%s\" d=\"", line->class);
    for (unsigned i = 0; i < pieces->count; i++) {
        const struct piece *piece = &pieces->items[i];
        double value = line->value(piece);
        double y = HEIGHT - HEIGHT * value / scale;
        bool is_last =
            i + 1 == pieces->count || isnan(line->value(&pieces->items[i + 1]));

        if (isnan(value)) {
            is_down = false;
            continue;
        }
        if (!is_down)
            page_printf(page, "M%.1f %.1f", x_of(pieces, piece->from), y);
        page_printf(page, "L%.1f %.1f",
                    x_of(pieces, (piece->from + piece->to) / 2), y);
        if (is_last)
            page_printf(page, "H%.1f", x_of(pieces, piece->to));
        is_down = true;
    }
    page_put(page, "\"/>\n");
}

static void put_clock(struct buffer *page, double at)
{
    time_t seconds = (time_t)at;
    struct tm tm;
    char text[16];

    if (localtime_r(&seconds, &tm) != NULL &&
        strftime(text, sizeof(text), "%H:%M:%S", &tm) > 0)
        page_put(page, text);
}

/* What stands under the pointer. */
static void put_piece(struct buffer *page, const struct chart *chart,
                      const struct pieces *pieces, unsigned i)
{
    const struct piece *piece = &pieces->items[i];
    double from = x_of(pieces, piece->from), to = x_of(pieces, piece->to);
    char text[CHART_TEXT_MAX];

    page_printf(page, "<rect x=\"%.1f\" width=\"%.1f\" height=\"%d\"><title>",
                from, to - from, HEIGHT);
    put_clock(page, piece->to);
    for (unsigned k = 0; k < chart->count; k++)
        page_printf(page, "%s %s %s", k == 0 ? ":" : ",", chart->lines[k].name,
                    chart->print(chart->lines[k].value(piece), text));
    page_put(page, "</title></rect>\n");
}

static void put_svg(struct buffer *page, const struct chart *chart,
                    const struct pieces *pieces, double scale)
{
    page_printf(page,
                "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" "
                "role=\"img\" aria-labelledby=\"%s-t\">"
                "<title id=\"%s-t\">%s: %s</title>\n",
                WIDTH, HEIGHT, chart->id, chart->id, chart->title,
                chart->about);
    page_printf(page, "<path class=\"g\" d=\"M0 %dH%dM0 %dH%dM0 %dH%d\"/>\n", 0,
                WIDTH, HEIGHT / 2, WIDTH, HEIGHT, WIDTH);
    for (unsigned k = chart->count; k-- > 0;)
        put_line(page, &chart->lines[k], pieces, scale);
    for (unsigned i = 0; i < pieces->count; i++)
        put_piece(page, chart, pieces, i);
    page_put(page, "</svg>\n");
}

static void put_chart(struct buffer *page, const struct chart *chart,
                      const struct pieces *pieces)
{
    const struct piece *last = &pieces->items[pieces->count - 1];
    double scale = scale_of(most_of(chart, pieces), chart->base);
    char text[CHART_TEXT_MAX];

    page_printf(page, "<figure id=\"%s\"><figcaption><h2>%s</h2>", chart->id,
                chart->title);
    for (unsigned k = 0; k < chart->count; k++)
        page_printf(page, "<span class=\"k %s\">%s <b>%s</b></span>",
                    chart->lines[k].class, chart->lines[k].name,
                    chart->print(chart->lines[k].value(last), text));
    page_printf(page, "</figcaption>\n<p class=\"y\">%s</p>\n",
                chart->print(scale, text));
    put_svg(page, chart, pieces, scale);
    page_printf(page, "<p class=\"x\"><span>%s ago</span>",
                chart_time((time_t)(last->to - pieces->items[0].from), text));
    page_put(page, "<span>now</span></p></figure>\n");
}

void status_charts(const struct board *board, struct buffer *page,
                   struct chart_now *now)
{
    struct pieces pieces;

    take_pieces(board, &pieces);
    *now = (struct chart_now){ NAN, NAN, NAN, NAN };
    if (pieces.count == 0) {
        page_printf(page,
                    "<p class=\"none\">There are no charts yet: they begin %d "
                    "seconds after the service.</p>\n",
                    2 * BOARD_SAMPLE_SECONDS);
        return;
    }
    now->requests = pieces.items[pieces.count - 1].requests;
    now->errors = pieces.items[pieces.count - 1].errors;
    now->mean = pieces.items[pieces.count - 1].mean;
    now->p95 = pieces.items[pieces.count - 1].p95;
    page_put(page, "<section class=\"charts\" aria-label=\"Charts\">\n");
    for (size_t i = 0; i < sizeof(charts) / sizeof(charts[0]); i++)
        put_chart(page, &charts[i], &pieces);
    page_put(page, "</section>\n");
}
