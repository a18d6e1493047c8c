/* privileges.c -- see privileges.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/privileges.h"

#include "proc/options_value.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- which user ----------------------------------------------------------- */

/* The highest number means "unchanged" to the kernel: it is no id. */
static bool is_number(const char *text, unsigned long long *id)
{
    return value_count(text, 0, UINT_MAX - 1, id) == VALUE_OK;
}

static bool find_user(const char *name, struct privileges *out)
{
    const struct passwd *user;
    unsigned long long id;

    if (is_number(name, &id)) {
        out->uid = (uid_t)id;
        user = getpwuid(out->uid);
        if (user == NULL || strlen(user->pw_name) > PRIVILEGES_NAME_MAX)
            return true;
    } else {
        user = getpwnam(name);
        if (user == NULL)
            return false;
    }
    out->uid = user->pw_uid;
    out->gid = user->pw_gid;
    snprintf(out->user, sizeof(out->user), "%s", user->pw_name);
    return true;
}

static bool find_group(const char *name, struct privileges *out)
{
    const struct group *group;
    unsigned long long id;

    out->has_group = true;
    if (is_number(name, &id)) {
        out->gid = (gid_t)id;
        return true;
    }
    group = getgrnam(name);
    if (group != NULL)
        out->gid = group->gr_gid;
    return group != NULL;
}

bool privileges_parse(const char *text, struct privileges *out, char *message,
                      size_t room)
{
    const char *colon = strchr(text, ':'), *wrong = NULL;
    size_t len = colon == NULL ? strlen(text) : (size_t)(colon - text);
    char user[PRIVILEGES_NAME_MAX + 1];

    *out = (struct privileges){ .user = "" };
    snprintf(user, sizeof(user), "%.*s",
             len <= PRIVILEGES_NAME_MAX ? (int)len : 0, text);
    if (len == 0)
        wrong = "names no user";
    else if (!find_user(user, out)) /* "", if it is too long, is none */
        wrong = "names a user that does not exist";
    else if (colon != NULL && colon[1] == '\0')
        wrong = "names no group behind its :";
    else if (colon != NULL && !find_group(colon + 1, out))
        wrong = "names a group that does not exist";
    else if (colon == NULL && out->user[0] == '\0')
        wrong = "is the number of no known user: name its group, too (N:GROUP)";
    if (wrong != NULL)
        snprintf(message, room, "%s", wrong);
    return wrong == NULL;
}

/* --- becoming it ---------------------------------------------------------- */

/* Are all three ids of the user, and of the group, these? */
static bool is_user(uid_t uid)
{
    uid_t real, effective, saved;

    return getresuid(&real, &effective, &saved) == 0 && real == uid &&
           effective == uid && saved == uid;
}

static bool is_group(gid_t gid)
{
    gid_t real, effective, saved;

    return getresgid(&real, &effective, &saved) == 0 && real == gid &&
           effective == gid && saved == gid;
}

static bool is_already(const struct privileges *to)
{
    return is_user(to->uid) && (!to->has_group || is_group(to->gid));
}

bool privileges_can_become(const struct privileges *to)
{
    return geteuid() == 0 || is_already(to);
}

/* Tries what must not work any more; a capability or a strange kernel may let
 * it. */
static bool can_return(const struct privileges *to)
{
    if (to->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
        return true;
    return to->uid != 0 && to->gid != 0 && setgid(0) == 0;
}

int privileges_drop(const struct privileges *to, const char **failed)
{
    if (geteuid() != 0) {
        *failed = "setuid";
        errno = EPERM;
        return is_already(to) ? 0 : -1;
    }
    *failed = "setgroups";
    if (to->user[0] != '\0' ? initgroups(to->user, to->gid) == -1
                            : setgroups(0, NULL) == -1)
        return -1;
    *failed = "setgid";
    if (setresgid(to->gid, to->gid, to->gid) == -1)
        return -1;
    *failed = "setuid";
    if (setresuid(to->uid, to->uid, to->uid) == -1)
        return -1;
    *failed = "root could be regained";
    errno = ENOTRECOVERABLE;
    if (can_return(to) || !is_user(to->uid) || !is_group(to->gid)) {
        errno = ENOTRECOVERABLE;
        return -1;
    }
    return 0;
}
