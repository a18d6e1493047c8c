/* privileges.h -- becoming the user that --user names, for good.
 *
 * Changed are the user, the group and the supplementary groups.  Left as they
 * are: the environment (HOME and USER stay root's), the umask, the working
 * directory, what is open already.  A process that has dropped root is not
 * dumpable, as the kernel has it: no core files, and others of its user cannot
 * look into memory that may hold what root has read.  Programs with the set-uid
 * bit still work for the script (sendmail, sudo): NoNewPrivileges= of systemd
 * takes them away.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_PRIVILEGES_H
#define PROC_PRIVILEGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PRIVILEGES_NAME_MAX = 255 };

struct privileges {
    uid_t uid;
    gid_t gid;
    bool has_group;                     /* a group was named */
    char user[PRIVILEGES_NAME_MAX + 1]; /* whose supplementary groups count;
                                           "" for a number of no known user:
                                           it gets none */
};

/* Reads USER[:GROUP], names or numbers, and looks them up; without a group it
 * is the user's own.  Returns false, after writing to message what is wrong as
 * the rest of a sentence that begins with the text. */
bool privileges_parse(const char *text, struct privileges *out, char *message,
                      size_t room);

/* Is this process root, or that user (and group, if one was named) already? */
bool privileges_can_become(const struct privileges *to);

/* Gives up root: the real, effective and saved ids, and tries whether it could
 * come back.  Does nothing where the process is that user already.  Returns 0,
 * or -1 with errno and *failed; the process must end then, as it may be
 * anybody. */
int privileges_drop(const struct privileges *to, const char **failed);

#endif
