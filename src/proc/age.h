/* age.h -- when a process that serves has done enough, and another one should
 * take its place: --max-requests and --max-memory.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_AGE_H
#define PROC_AGE_H

#include "core/service.h"
#include "proc/options.h"
#include "script/script.h"

struct age {
    uint64_t requests; /* the limit of this process */
    size_t memory;     /* likewise; SIZE_MAX: none */
    bool is_told;      /* that it is over one of them */
};

/* The limits that options say.  Workers that share the load evenly would reach
 * the same number of requests together: one of several (shares_load) may begin
 * up to a tenth more, by chance. */
void age_limit(struct age *age, const struct options *options,
               bool shares_load);

/* Once, when a limit is passed: which, as a reason for on_exit; else NULL. */
const char *age_reached(struct age *age, const struct service *service,
                        const struct script *script);

#endif
