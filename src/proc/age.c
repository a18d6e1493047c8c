/* age.c -- see age.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/age.h"

#include <sys/random.h>

enum { SPREAD = 10 }; /* a tenth */

void age_limit(struct age *age, const struct options *options, bool shares_load)
{
    uint64_t limit = options->max_requests, more;

    if (shares_load && limit >= SPREAD &&
        getrandom(&more, sizeof(more), GRND_NONBLOCK) == sizeof(more))
        limit += more % (limit / SPREAD + 1);
    age->requests = limit > 0 ? limit : UINT64_MAX;
    age->memory = options->max_memory > 0 ? options->max_memory : SIZE_MAX;
}

const char *age_reached(struct age *age, const struct service *service,
                        const struct script *script)
{
    const char *reason = NULL;

    if (service->serial - service->paged >= age->requests)
        reason = "max-requests";
    else if (script_heap(script) > age->memory)
        reason = "max-memory";
    if (reason == NULL || age->is_told)
        return NULL;
    age->is_told = true;
    return reason;
}
