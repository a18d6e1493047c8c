/* trust.h -- files that root may take code from: those that only root can
 * change; and those that root may write to.
 *
 * Whoever can write to a file that root runs is root.  So is whoever can write
 * to one of the folders on the way to it, as its owner, through its group or as
 * anybody.  The path is walked one name at a time, on descriptors: each folder
 * is looked at once it is open, and the next name is looked up in it, so there
 * is no moment between the look and the use.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BASE_TRUST_H
#define BASE_TRUST_H

#include <stddef.h>

/* Bytes that are enough for what trust_open says, whatever the path. */
enum { TRUST_WHY_MAX = 4096 + 256 };

/* Opens a file for reading if root owns it, and each folder that leads to it,
 * links resolved, and nobody else can write to any of them: not everybody, no
 * other group than root's, nobody through an access control list.  In a folder
 * with the sticky bit others may make files: what is root's in it is root's.
 *
 * A descriptor that was passed (/dev/stdin, /proc/self/fd/N) is judged by
 * itself: no folder leads to it.
 *
 * Returns the descriptor, the caller's, or -1 with errno.  If it is EPERM
 * because others can change something, why says what, and what to do about it:
 * "everybody can write to /srv/app (chmod o-w it)"; otherwise why is "". */
int trust_open(const char *path, char *why, size_t room);

/* Opens a file to append to, without blocking, and makes it with mode 0640
 * where there is none.  It and its folders may be anybody's, but no link on the
 * way is followed that is not root's: who can make one chooses which file root
 * writes to.  Returns what trust_open does; why says whose link it is. */
int trust_append(const char *path, char *why, size_t room);

#endif
