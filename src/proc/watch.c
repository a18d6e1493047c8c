/* watch.c -- see watch.h for the contract.
 *
 *     event whose name is on the way to a file --> wait until it is quiet -->
 *     look: walk all ways anew, compare all contents --> changed
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/watch.h"

#include "base/list.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* Editors and version control write several files, and each in several steps.
 * Somebody who never stops writing does not put it off for ever. */
static const double quiet_seconds = 0.1, most_seconds = 2;

enum { LINKS_MAX = 40 }; /* as the kernel follows */

/* The way to a file comes and goes; the file itself is also written to. */
static const uint32_t way_events = IN_CREATE | IN_DELETE | IN_MOVE,
                      file_events = IN_CLOSE_WRITE | IN_ATTRIB;

struct file {
    struct list link;
    uint64_t print;  /* of its content, when that was looked at last */
    struct stat was; /* then */
    bool is_known;   /* print is */
    bool is_loaded;  /* since watch_begin_load */
    size_t given_at; /* in path: what the script calls it */
    char path[];     /* from the root */
};

struct name {
    struct list link;
    char text[]; /* on the way to a file */
};

struct folder {
    struct list link;
    int wd;
    bool is_on_a_way; /* since the last look began */
};

struct watch {
    struct list files, names, folders;
    int fd; /* of inotify, or -1 */
    bool is_warned;
    const char *changed; /* what watch_wait found */

    struct ev_loop *ev; /* NULL: not started */
    struct ev_io events;
    struct ev_timer quiet;
    double since; /* the first event after the last look; 0: none */
    watch_fn *fn;
    void *arg;
};

struct watch *watch_new(void)
{
    struct watch *watch = calloc(1, sizeof(*watch));

    if (watch == NULL)
        return NULL;
    list_init(&watch->files);
    list_init(&watch->names);
    list_init(&watch->folders);
    watch->fd = -1;
    return watch;
}

static void warn(struct watch *watch, const char *what, const char *path)
{
    if (watch->is_warned)
        return;
    watch->is_warned = true;
    log_write(
        LOG_LEVEL_WARN,
        "--watch: %s%.300s: %s%s; changes may go unnoticed: SIGHUP reloads",
        what, path, strerror(errno),
        errno == ENOSPC   ? " (fs.inotify.max_user_watches)"
        : errno == EMFILE ? " (fs.inotify.max_user_instances, or open files)"
                          : "");
}

/* --- contents ------------------------------------------------------------- */

static int open_file(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd != -1 && (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* FNV-1a, 64 bits: nobody forges the sources of a script to go unnoticed. */
uint64_t watch_print(const char *path)
{
    uint64_t print = 0xcbf29ce484222325;
    unsigned char piece[16 * 1024];
    int fd = open_file(path);
    ssize_t n;

    if (fd == -1)
        return 0;
    while ((n = read(fd, piece, sizeof(piece))) != 0) {
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1) {
            print = 0;
            break;
        }
        for (ssize_t i = 0; i < n; i++)
            print = (print ^ piece[i]) * 0x100000001b3;
    }
    close(fd);
    return print;
}

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Is the file what it was? */
static bool has_changed(struct file *file)
{
    struct stat now = { 0 };
    uint64_t print;

    if (stat(file->path, &now) == 0 && now.st_ino == file->was.st_ino &&
        now.st_dev == file->was.st_dev && now.st_size == file->was.st_size &&
        now.st_mode == file->was.st_mode &&
        is_same_time(now.st_mtim, file->was.st_mtim) &&
        is_same_time(now.st_ctim, file->was.st_ctim))
        return false;
    print = watch_print(file->path);
    file->was = now;
    if (print == file->print)
        return false;
    file->print = print;
    return true;
}

/* --- the ways to the files ------------------------------------------------ */

static bool is_known(const struct watch *watch, const char *name)
{
    for (struct list *link = watch->names.next; link != &watch->names;
         link = link->next)
        if (strcmp(list_entry(link, struct name, link)->text, name) == 0)
            return true;
    return false;
}

static void add_name(struct watch *watch, const char *text)
{
    size_t size = strlen(text) + 1;
    struct name *name;

    if (is_known(watch, text))
        return;
    name = malloc(sizeof(*name) + size);
    if (name == NULL) {
        errno = ENOMEM;
        warn(watch, "cannot watch ", text);
        return;
    }
    memcpy(name->text, text, size);
    list_init(&name->link);
    list_append(&watch->names, &name->link);
}

static void add_folder(struct watch *watch, const char *path, uint32_t events)
{
    struct folder *folder;
    int wd =
        inotify_add_watch(watch->fd, path, events | IN_ONLYDIR | IN_MASK_ADD);

    if (wd == -1) { /* a folder that one may pass but not read: no news */
        if (errno != ENOENT && errno != ENOTDIR &&
            (errno != EACCES || (events & file_events) != 0))
            warn(watch, "cannot watch ", path);
        return;
    }
    for (struct list *link = watch->folders.next; link != &watch->folders;
         link = link->next) {
        folder = list_entry(link, struct folder, link);
        if (folder->wd == wd) {
            folder->is_on_a_way = true;
            return;
        }
    }
    folder = calloc(1, sizeof(*folder));
    if (folder == NULL) {
        errno = ENOMEM;
        warn(watch, "cannot watch ", path);
        return;
    }
    folder->wd = wd;
    folder->is_on_a_way = true;
    list_init(&folder->link);
    list_append(&watch->folders, &folder->link);
}

/* A way is walked as the kernel does: dir has no links, rest is to come. */
struct walk {
    char dir[PATH_MAX], rest[PATH_MAX];
    unsigned links;
};

/* Puts what a link says in front of the rest.  false: it is too long. */
static bool follow(struct walk *walk, const char *path)
{
    char target[PATH_MAX], whole[sizeof(walk->rest)];
    ssize_t n = readlink(path, target, sizeof(target));
    int len;

    if (n <= 0 || ++walk->links > LINKS_MAX)
        return false;
    len = snprintf(whole, sizeof(whole), "%.*s/%s", (int)n, target, walk->rest);
    if (len < 0 || (size_t)len >= sizeof(whole))
        return false;
    memcpy(walk->rest, whole, (size_t)len + 1);
    if (target[0] == '/')
        walk->dir[0] = '\0';
    return true;
}

static void go_up(struct walk *walk)
{
    char *slash = strrchr(walk->dir, '/');

    if (slash != NULL)
        *slash = '\0';
}

/* One name further.  false: this is as far as it goes. */
static bool go_on(struct watch *watch, struct walk *walk)
{
    char name[NAME_MAX + 1], path[PATH_MAX + NAME_MAX + 2];
    const char *from = walk->rest + strspn(walk->rest, "/");
    size_t len = strcspn(from, "/");
    bool is_last = from[len + strspn(from + len, "/")] == '\0';
    struct stat st;

    if (len == 0 || len > NAME_MAX)
        return false;
    memcpy(name, from, len);
    name[len] = '\0';
    memmove(walk->rest, from + len, strlen(from + len) + 1);
    if (strcmp(name, ".") == 0)
        return true;
    if (strcmp(name, "..") == 0) {
        go_up(walk);
        return true;
    }
    add_folder(watch, walk->dir[0] == '\0' ? "/" : walk->dir,
               is_last ? way_events | file_events : way_events);
    add_name(watch, name);
    snprintf(path, sizeof(path), "%s/%s", walk->dir, name);
    if (strlen(path) >= sizeof(walk->dir) || lstat(path, &st) == -1)
        return false;
    if (S_ISLNK(st.st_mode))
        return follow(walk, path);
    memcpy(walk->dir, path, strlen(path) + 1);
    return S_ISDIR(st.st_mode);
}

static void walk_to(struct watch *watch, const struct file *file)
{
    struct walk walk = { .links = 0 };

    snprintf(walk.rest, sizeof(walk.rest), "%s", file->path);
    while (go_on(watch, &walk))
        ;
}

static void forget_names(struct watch *watch)
{
    while (!list_is_empty(&watch->names))
        free(list_entry(list_take(&watch->names), struct name, link));
}

/* Folders first, contents then: what changes in between makes an event. */
static void walk_all(struct watch *watch)
{
    struct list *link;

    forget_names(watch);
    for (link = watch->folders.next; link != &watch->folders; link = link->next)
        list_entry(link, struct folder, link)->is_on_a_way = false;
    for (link = watch->files.next; link != &watch->files; link = link->next)
        walk_to(watch, list_entry(link, struct file, link));
    link = watch->folders.next;
    while (link != &watch->folders) {
        struct folder *folder = list_entry(link, struct folder, link);

        link = link->next;
        if (folder->is_on_a_way)
            continue;
        inotify_rm_watch(watch->fd, folder->wd); /* the folder may be gone */
        list_remove(&folder->link);
        free(folder);
    }
}

/* --- looking -------------------------------------------------------------- */

/* As the user would write it. */
static const char *shown(const char *path)
{
    char here[PATH_MAX];
    size_t len;

    if (getcwd(here, sizeof(here)) == NULL)
        return path;
    len = strlen(here);
    if (strncmp(path, here, len) == 0 && path[len] == '/')
        path += len + 1;
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    return path;
}

/* Returns a file that has changed since the last look, or NULL. */
static const char *look(struct watch *watch)
{
    const char *changed = NULL;

    watch->since = 0;
    walk_all(watch);
    for (struct list *link = watch->files.next; link != &watch->files;
         link = link->next) {
        struct file *file = list_entry(link, struct file, link);

        if (has_changed(file) && changed == NULL)
            changed = shown(file->path);
    }
    return changed;
}

/* Reads what has happened.  Returns whether it is time to look. */
static bool read_events(struct watch *watch)
{
    union {
        char bytes[16 * 1024];
        struct inotify_event align;
    } events;
    bool is_time = false;
    ssize_t n;

    while ((n = read(watch->fd, events.bytes, sizeof(events.bytes))) > 0)
        for (const char *at = events.bytes; at < events.bytes + n;) {
            const struct inotify_event *event = (const void *)at;

            is_time = is_time || (event->mask & IN_Q_OVERFLOW) != 0 ||
                      (event->len > 0 && is_known(watch, event->name));
            at += sizeof(*event) + event->len;
        }
    return is_time;
}

static bool open_events(struct watch *watch)
{
    if (watch->fd == -1)
        watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd == -1)
        warn(watch, "inotify", "");
    return watch->fd != -1;
}

static void on_quiet(struct ev_loop *ev, struct ev_timer *timer, int events)
{
    struct watch *watch = timer->data;
    const char *changed = look(watch);

    (void)ev;
    (void)events;
    if (changed != NULL)
        watch->fn(watch->arg, changed);
}

static void look_soon(struct watch *watch)
{
    double now = ev_time();

    if (watch->since == 0 || watch->since > now)
        watch->since = now;
    if (ev_is_active(&watch->quiet) && now - watch->since > most_seconds)
        return;
    ev_timer_stop(watch->ev, &watch->quiet);
    ev_now_update(watch->ev);
    ev_timer_set(&watch->quiet, quiet_seconds, 0);
    ev_timer_start(watch->ev, &watch->quiet);
}

static void on_events(struct ev_loop *ev, struct ev_io *watcher, int events)
{
    struct watch *watch = watcher->data;

    (void)ev;
    (void)events;
    if (read_events(watch))
        look_soon(watch);
}

void watch_start(struct watch *watch, struct ev_loop *ev, watch_fn *changed,
                 void *arg)
{
    if (!open_events(watch))
        return;
    watch->ev = ev;
    watch->fn = changed;
    watch->arg = arg;
    ev_io_init(&watch->events, on_events, watch->fd, EV_READ);
    ev_timer_init(&watch->quiet, on_quiet, 0, 0);
    watch->events.data = watch->quiet.data = watch;
    ev_io_start(ev, &watch->events);
    look_soon(watch); /* what has changed since it was loaded */
    walk_all(watch);
}

const char *watch_wait(struct watch *watch)
{
    const char *changed;

    if (!open_events(watch))
        return NULL;
    while ((changed = look(watch)) == NULL) {
        struct pollfd poll_fd = { .fd = watch->fd, .events = POLLIN };

        while (!read_events(watch))
            poll(&poll_fd, 1, -1);
        while (poll(&poll_fd, 1, (int)(quiet_seconds * 1000)) > 0)
            read_events(watch);
    }
    return changed;
}

/* --- files ---------------------------------------------------------------- */

static struct file *find_file(const struct watch *watch, const char *path)
{
    for (struct list *link = watch->files.next; link != &watch->files;
         link = link->next) {
        struct file *file = list_entry(link, struct file, link);

        if (strcmp(file->path, path) == 0)
            return file;
    }
    return NULL;
}

static struct file *add_file(struct watch *watch, const char *path)
{
    char whole[PATH_MAX];
    size_t len = 0, given_at;
    struct file *file;

    if (path[0] != '/') {
        if (getcwd(whole, sizeof(whole)) == NULL)
            return NULL;
        len = strlen(whole);
        whole[len++] = '/';
    }
    given_at = len;
    if (len + strlen(path) >= sizeof(whole)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    memcpy(whole + len, path, strlen(path) + 1);
    file = find_file(watch, whole);
    if (file != NULL)
        return file;
    len = strlen(whole) + 1;
    file = calloc(1, sizeof(*file) + len);
    if (file == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    memcpy(file->path, whole, len);
    file->given_at = given_at;
    list_init(&file->link);
    list_append(&watch->files, &file->link);
    return file;
}

void watch_file(struct watch *watch, const char *path, uint64_t print)
{
    struct file *file = add_file(watch, path);
    bool is_new;

    if (file == NULL) {
        warn(watch, "cannot watch ", path);
        return;
    }
    is_new = !file->is_known;
    file->is_known = file->is_loaded = true;
    if (!is_new)
        return; /* what was seen last counts: a change will be told */
    file->print = print;
    if (watch->ev == NULL)
        return;
    walk_to(watch, file);
    look_soon(watch); /* it may have changed before it was watched */
}

void watch_begin_load(struct watch *watch)
{
    for (struct list *link = watch->files.next; link != &watch->files;
         link = link->next)
        list_entry(link, struct file, link)->is_loaded = false;
}

void watch_end_load(struct watch *watch)
{
    struct list *link = watch->files.next;

    while (link != &watch->files) {
        struct file *file = list_entry(link, struct file, link);

        link = link->next;
        if (file->is_loaded)
            continue;
        list_remove(&file->link);
        free(file);
    }
}

void watch_each(const struct watch *watch,
                void (*each)(void *arg, const char *path), void *arg)
{
    for (struct list *link = watch->files.next; link != &watch->files;
         link = link->next) {
        const struct file *file = list_entry(link, struct file, link);

        each(arg, file->path + file->given_at);
    }
}

/* --- the end -------------------------------------------------------------- */

void watch_leave(struct watch *watch)
{
    if (watch->ev != NULL) {
        ev_io_stop(watch->ev, &watch->events);
        ev_timer_stop(watch->ev, &watch->quiet);
    }
    watch->ev = NULL;
    if (watch->fd != -1)
        close(watch->fd);
    watch->fd = -1;
}

void watch_del(struct watch *watch)
{
    if (watch == NULL)
        return;
    watch_leave(watch);
    forget_names(watch);
    while (!list_is_empty(&watch->files))
        free(list_entry(list_take(&watch->files), struct file, link));
    while (!list_is_empty(&watch->folders))
        free(list_entry(list_take(&watch->folders), struct folder, link));
    free(watch);
}
