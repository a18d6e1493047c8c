/* trust.c -- see trust.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { LINKS_MAX = 40 }; /* as many as the kernel follows */

/* Where the walk is. */
struct walk {
    int flags;           /* to open the file with */
    bool is_any;         /* it may be anybody's: only links are judged */
    int dir;             /* the folder, open and trusted; -1 before the first */
    bool is_shared;      /* others may make files in it */
    char at[PATH_MAX];   /* what was opened last, without links; "" is "/" */
    char rest[PATH_MAX]; /* what is to be walked from dir */
    unsigned links;
    char *why;
    size_t room;
};

/* --- may others change it? ------------------------------------------------ */

static int refuse_owner(struct walk *walk, uid_t uid, const char *name)
{
    const struct passwd *user = getpwuid(uid);
    const char *slash = name[0] != '\0' ? "/" : "";
    const char *at = walk->at[0] != '\0' || name[0] != '\0' ? walk->at : "/";

    if (user != NULL)
        snprintf(walk->why, walk->room, "%s%s%s belongs to %s (chown root it)",
                 at, slash, name, user->pw_name);
    else
        snprintf(walk->why, walk->room,
                 "%s%s%s belongs to user %lu (chown root it)", at, slash, name,
                 (unsigned long)uid);
    errno = EPERM;
    return -1;
}

static int refuse_group(struct walk *walk, gid_t gid)
{
    const struct group *group = getgrgid(gid);
    const char *at = walk->at[0] != '\0' ? walk->at : "/";

    if (group != NULL)
        snprintf(walk->why, walk->room,
                 "group %s can write to %s (chmod g-w it)", group->gr_name, at);
    else
        snprintf(walk->why, walk->room,
                 "group %lu can write to %s (chmod g-w it)", (unsigned long)gid,
                 at);
    errno = EPERM;
    return -1;
}

static int refuse(struct walk *walk, const char *who, const char *remedy)
{
    const char *at = walk->at[0] != '\0' ? walk->at : "/";

    snprintf(walk->why, walk->room, "%s can write to %s (%s it)", who, at,
             remedy);
    errno = EPERM;
    return -1;
}

/* The users and groups in such a list can at most what the mode gives to the
 * group, so without g+w it needs no look. */
static bool has_access_list(int fd)
{
    return fgetxattr(fd, "system.posix_acl_access", NULL, 0) > 0;
}

/* Judges what walk->at names. */
static int judge(struct walk *walk, int fd, bool *is_shared)
{
    struct stat st;
    mode_t others;

    *is_shared = true;
    if (walk->is_any)
        return 0;
    if (fstat(fd, &st) == -1)
        return -1;
    others = st.st_mode & (S_IWGRP | S_IWOTH);
    *is_shared = S_ISDIR(st.st_mode) && others != 0;
    if (S_ISCHR(st.st_mode))
        return 0; /* only root makes devices, and they keep nothing */
    if (st.st_uid != 0)
        return refuse_owner(walk, st.st_uid, "");
    if (S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0)
        return 0; /* nobody takes away or renames what is root's in it */
    if ((others & S_IWOTH) != 0)
        return refuse(walk, "everybody", "chmod o-w");
    if (others != 0 && st.st_gid != 0)
        return refuse_group(walk, st.st_gid);
    if (others != 0 && has_access_list(fd))
        return refuse(walk, "who is in its access control list", "setfacl -b");
    return 0;
}

/* --- the walk ------------------------------------------------------------- */

static int too_long(void)
{
    errno = ENAMETOOLONG;
    return -1;
}

/* Puts path in front of what is left to walk. */
static int put_front(struct walk *walk, const char *path)
{
    size_t len = strlen(path), rest = strlen(walk->rest);

    if (len + 1 + rest >= sizeof(walk->rest))
        return too_long();
    memmove(walk->rest + len + 1, walk->rest, rest + 1);
    memcpy(walk->rest, path, len);
    walk->rest[len] = '/';
    if (rest == 0)
        walk->rest[len] = '\0'; /* it need not be a folder */
    return 0;
}

/* Takes the next name; "" when there is none. */
static void take_name(struct walk *walk, char name[PATH_MAX])
{
    size_t from = strspn(walk->rest, "/");
    size_t len = strcspn(walk->rest + from, "/");

    memcpy(name, walk->rest + from, len);
    name[len] = '\0';
    memmove(walk->rest, walk->rest + from + len,
            strlen(walk->rest + from + len) + 1);
}

/* Notes in walk->at that name is looked at. */
static int note_name(struct walk *walk, const char *name)
{
    size_t len = strlen(walk->at), more = strlen(name);
    char *slash = strrchr(walk->at, '/');

    if (strcmp(name, "..") == 0) {
        if (slash != NULL) /* at has no links in it */
            *slash = '\0';
        return 0;
    }
    if (len + 1 + more >= sizeof(walk->at))
        return too_long();
    walk->at[len] = '/';
    memcpy(walk->at + len + 1, name, more + 1);
    return 0;
}

/* Goes on in a folder that was judged, which walk owns from now on. */
static void enter(struct walk *walk, int dir, bool is_shared)
{
    if (walk->dir != -1)
        close(walk->dir);
    walk->dir = dir;
    walk->is_shared = is_shared;
}

static int enter_root(struct walk *walk)
{
    bool is_shared;
    int saved, root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (root == -1)
        return -1;
    walk->at[0] = '\0';
    if (judge(walk, root, &is_shared) == -1) {
        saved = errno;
        close(root);
        errno = saved;
        return -1;
    }
    enter(walk, root, is_shared);
    return 0;
}

/* Is the folder one of the kernel's, whose links lead to open files? */
static bool is_proc(int dir)
{
    struct statfs fs;

    return fstatfs(dir, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* Follows the link that is open as fd.  A link in a shared folder must be
 * root's: another's could be changed at any time. */
static int follow(struct walk *walk, int fd, const struct stat *st,
                  const char *name)
{
    char target[PATH_MAX];
    ssize_t len;

    errno = ELOOP;
    if (++walk->links > LINKS_MAX)
        return -1;
    if (walk->is_shared && st->st_uid != 0)
        return refuse_owner(walk, st->st_uid, name);
    len = readlinkat(fd, "", target, sizeof(target));
    if (len == -1)
        return -1;
    if ((size_t)len == sizeof(target))
        return too_long();
    target[len] = '\0';
    if (put_front(walk, target) == -1)
        return -1;
    return target[0] == '/' ? enter_root(walk) : 0;
}

/* Opens a name in walk->dir.  Returns the descriptor; -1 with errno; or -2 if
 * it was a link, which is followed now. */
static int open_name(struct walk *walk, const char *name)
{
    bool is_last = walk->rest[0] == '\0';
    int flags = is_last || !walk->is_any ? walk->flags : O_PATH | O_CLOEXEC;
    struct stat st;
    int status, saved;
    int fd = openat(walk->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    if (fd == -1 && errno == ENOENT && (flags & O_CREAT) != 0)
        return openat(walk->dir, name, flags | O_NOFOLLOW, 0640);
    if (fd == -1)
        return -1;
    status = fstat(fd, &st);
    if (status == 0 && S_ISLNK(st.st_mode) && !is_proc(walk->dir)) {
        status = follow(walk, fd, &st, name);
        saved = errno;
        close(fd);
        errno = saved;
        return status == 0 ? -2 : -1;
    }
    close(fd);
    if (status == -1)
        return -1;
    if (!S_ISLNK(st.st_mode)) /* if it has become one: ELOOP */
        flags |= O_NOFOLLOW;
    return openat(walk->dir, name, flags, 0640);
}

/* Walks to the end.  Returns the file's descriptor, or -1 with errno. */
static int walk_on(struct walk *walk)
{
    char name[PATH_MAX];
    bool is_shared;
    int fd, saved;

    for (;;) {
        take_name(walk, name);
        if (name[0] == '\0') /* it ended with a slash */
            return openat(walk->dir, ".", walk->flags & ~O_CREAT);
        if (strcmp(name, ".") == 0)
            continue;
        fd = open_name(walk, name);
        if (fd == -1)
            return -1;
        if (fd == -2)
            continue;
        if (note_name(walk, name) == -1 || judge(walk, fd, &is_shared) == -1) {
            saved = errno;
            close(fd);
            errno = saved;
            return -1;
        }
        if (walk->rest[0] == '\0')
            return fd;
        enter(walk, fd, is_shared); /* no folder: the next openat says so */
    }
}

static int walk_path(struct walk *walk, const char *path)
{
    int fd = -1, saved;

    walk->dir = -1;
    walk->why[0] = '\0';
    if (strlen(path) >= sizeof(walk->rest))
        return too_long();
    if (path[0] == '\0') {
        errno = ENOENT;
        return -1;
    }
    strcpy(walk->rest, path);
    if (path[0] != '/') { /* the folders above the current one count, too */
        char here[PATH_MAX];

        if (getcwd(here, sizeof(here)) == NULL || put_front(walk, here) == -1)
            return -1;
    }
    if (enter_root(walk) == 0)
        fd = walk_on(walk);
    saved = errno;
    if (walk->dir != -1)
        close(walk->dir);
    errno = saved;
    return fd;
}

int trust_open(const char *path, char *why, size_t room)
{
    struct walk walk = { .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY,
                         .why = why,
                         .room = room };

    return walk_path(&walk, path);
}

int trust_append(const char *path, char *why, size_t room)
{
    struct walk walk = { .flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC |
                                  O_NOCTTY | O_NONBLOCK,
                         .is_any = true,
                         .why = why,
                         .room = room };

    return walk_path(&walk, path);
}
