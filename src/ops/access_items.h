/* access_items.h -- what a format of the access log is made of: between
 * access_format.c, which reads one, and access_line.c, which writes lines.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OPS_ACCESS_ITEMS_H
#define OPS_ACCESS_ITEMS_H

#include "core/params.h"
#include "ops/access_format.h"

enum { ACCESS_TIME_MAX = 512 }; /* all of it escaped */
enum { ACCESS_LEAD_MAX = 16 };

enum item_kind {
    ITEM_PARAM,
    ITEM_URI,  /* path and query, as the client sent them */
    ITEM_TEXT, /* none but the text before it */
    ITEM_PATH, /* without the query */
    ITEM_QUERY_MARK,
    ITEM_QUERY,
    ITEM_HEADER, /* of the answer */
    ITEM_STATUS,
    ITEM_BYTES,
    ITEM_BYTES_OR_DASH,
    ITEM_RECEIVED,
    ITEM_DURATION,
    ITEM_BEGUN,
    ITEM_ENDED,
    ITEM_CPU,
    ITEM_MEMORY,
    ITEM_ID,
    ITEM_WORKER,
    ITEM_NAME,
    ITEM_PID,
    ITEM_PARENT,
    ITEM_CONNECTION
};

/* What stands in the last second need not be formatted anew. */
struct time_text {
    time_t second;
    size_t len; /* 0: none yet */
    char text[ACCESS_TIME_MAX];
};

struct item {
    enum item_kind kind;
    bool is_quoted;
    struct slice text;          /* before it */
    char lead[ACCESS_LEAD_MAX]; /* the front of the text, padded */
    size_t wanted;              /* of ITEM_PARAM and _URI: whose value */
    struct slice arg;           /* a header's name, a time's format */
    double scale;               /* of a duration or a size */
    bool user, system;
    struct time_text *time;
};

struct access_format {
    char *text; /* slices point into it */
    bool is_json;
    struct item *items;
    size_t count, cap;
    bool wants_head, wants_cpu;
    struct params_wanted wanted;
    char *names[PARAMS_WANTED_MAX]; /* of those that were made here */
    /* Of parameters that items of other kinds need; else not looked at. */
    size_t method, uri, query, remote, agent, id;
    struct time_text json_time;
};

#endif
