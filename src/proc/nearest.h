/* nearest.h -- how far apart two names are, for "did you mean".
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_NEAREST_H
#define PROC_NEAREST_H

#include <stddef.h>

/* The least number of letters to insert, delete, replace or swap with their
 * neighbour that makes one name of the other.  Upper and lower case are the
 * same, and so are '_' and '-'.  Of names over 63 bytes the rest counts as
 * different. */
size_t nearest_distance(const char *a, const char *b);

#endif
