/* upgrade_state.c -- see upgrade_state.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/upgrade_state.h"

#include "base/slice.h"
#include "proc/protocol.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARTS_MAX = 8, FIRST_FD = 3 };

static const struct upgrade_state nothing = { .check = -1,
                                              .folder = -1,
                                              .pid_file = -1,
                                              .notify = -1,
                                              .log = -1,
                                              .access_log = -1,
                                              .board = -1 };

void upgrade_state_init(struct upgrade_state *state)
{
    *state = nothing;
}

static void free_sockets(struct listen_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->items[i].name);
        free(set->items[i].path_to_unlink);
    }
    free(set->items);
}

void upgrade_state_free(struct upgrade_state *state)
{
    free_sockets(&state->listening);
    free_sockets(&state->status_listening);
    for (size_t i = 0; i < state->settings.count; i++)
        free(state->settings.items[i]);
    free(state->settings.items);
    free(state->program);
    free(state->pid_path);
    free(state->processes);
    *state = nothing;
}

bool upgrade_state_add(struct upgrade_state *state,
                       const struct upgrade_process *process)
{
    struct upgrade_process *items =
        realloc(state->processes, (state->count + 1) * sizeof(*items));

    if (items == NULL)
        return false;
    state->processes = items;
    items[state->count++] = *process;
    return true;
}

void upgrade_state_each_fd(const struct upgrade_state *state,
                           void (*fn)(void *arg, int fd), void *arg)
{
    const int single[] = { state->folder, state->pid_file,   state->notify,
                           state->log,    state->access_log, state->board };

    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++)
        if (single[i] != -1)
            fn(arg, single[i]);
    for (size_t i = 0; i < state->listening.count; i++)
        fn(arg, state->listening.items[i].fd);
    for (size_t i = 0; i < state->status_listening.count; i++)
        fn(arg, state->status_listening.items[i].fd);
    for (size_t i = 0; i < state->count; i++)
        if (state->processes[i].fd != -1)
            fn(arg, state->processes[i].fd);
}

/* --- writing -------------------------------------------------------------- */

struct text {
    char *data;
    size_t len; /* over UPGRADE_TEXT_MAX: it is too long */
};

static void put_char(struct text *text, char c)
{
    if (text->len < UPGRADE_TEXT_MAX)
        text->data[text->len] = c;
    text->len++;
}

static bool is_plain(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
           (c >= 'a' && c <= 'z') || (c != '\0' && strchr("._/:@+-", c));
}

static void put_text(struct text *text, const char *value)
{
    static const char hex[] = "0123456789abcdef";

    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;

        if (is_plain(*value)) {
            put_char(text, *value);
        } else {
            put_char(text, '%');
            put_char(text, hex[c >> 4]);
            put_char(text, hex[c & 15]);
        }
    }
}

/* A field whose values are plain. */
__attribute__((format(printf, 2, 3))) static void put(struct text *text,
                                                      const char *format, ...)
{
    char field[256];
    va_list args;

    va_start(args, format);
    vsnprintf(field, sizeof(field), format, args);
    va_end(args);
    for (const char *at = field; *at != '\0'; at++)
        put_char(text, *at);
}

static void put_fd(struct text *text, const char *name, int fd)
{
    if (fd != -1)
        put(text, " %s=%d", name, fd);
}

static void put_socket(struct text *text, const char *name,
                       const struct listen_socket *sock)
{
    put(text, " %s=%d,%s,", name, sock->fd, sock->is_tcp ? "tcp" : "unix");
    put_text(text, sock->name);
    if (sock->path_to_unlink == NULL)
        return;
    put_char(text, ',');
    put_text(text, sock->path_to_unlink);
    put(text, ",%llu,%llu", (unsigned long long)sock->dev,
        (unsigned long long)sock->ino);
}

static void put_process(struct text *text,
                        const struct upgrade_process *process)
{
    switch (process->role) {
    case UPGRADE_TEMPLATE:
        put(text, " template=%ld,%s", (long)process->pid,
            process->fd == -1 ? "-" : "");
        if (process->fd != -1)
            put(text, "%d", process->fd);
        put(text, ",%u,%u", process->generation, process->state);
        break;
    case UPGRADE_WORKER:
        put(text, " worker=%ld,%d,%u,%u,%u,%u,%u,", (long)process->pid,
            process->fd, process->id, process->slot, process->generation,
            process->state, process->replaces);
        put_text(text, process->reason);
        break;
    case UPGRADE_ELDER:
        put(text, " elder=%ld,%d,%u,%u,%u", (long)process->pid, process->fd,
            process->slot, process->generation, process->state);
        break;
    case UPGRADE_WARD:
        put(text, " ward=%ld,%u", (long)process->pid, process->id);
        break;
    }
}

char *upgrade_state_write(const struct upgrade_state *state)
{
    struct text text = { malloc(UPGRADE_TEXT_MAX + 1), 0 };

    if (text.data == NULL)
        return NULL;
    put(&text, "%d", UPGRADE_VERSION);
    put_fd(&text, "check", state->check);
    put(&text, " pid=%ld program=", (long)state->pid);
    put_text(&text, state->program);
    put(&text, " generation=%u workers=%u spawned=%d", state->generation,
        state->workers, state->is_spawned);
    put_fd(&text, "folder", state->folder);
    put_fd(&text, "notify", state->notify);
    put_fd(&text, "log", state->log);
    put_fd(&text, "access", state->access_log);
    put_fd(&text, "board", state->board);
    if (state->pid_file != -1) {
        put(&text, " pidfile=%d,", state->pid_file);
        put_text(&text, state->pid_path);
    }
    for (size_t i = 0; i < state->listening.count; i++)
        put_socket(&text,
                   state->listening.items[i].protocol == PROTOCOL_HTTP
                       ? "http"
                       : "listen",
                   &state->listening.items[i]);
    for (size_t i = 0; i < state->status_listening.count; i++)
        put_socket(&text, "status", &state->status_listening.items[i]);
    for (size_t i = 0; i < state->settings.count; i++) {
        put(&text, " setting=");
        put_text(&text, state->settings.items[i]);
    }
    for (size_t i = 0; i < state->count; i++)
        put_process(&text, &state->processes[i]);
    if (text.len > UPGRADE_TEXT_MAX) {
        free(text.data);
        errno = E2BIG;
        return NULL;
    }
    text.data[text.len] = '\0';
    return text.data;
}

/* --- reading -------------------------------------------------------------- */

/* The values of a field, cut at its commas. */
struct parts {
    struct slice items[PARTS_MAX];
    size_t count;
};

static bool split(struct slice value, struct parts *parts)
{
    parts->count = 0;
    for (;;) {
        const char *comma = slice_find(value, ',');

        if (parts->count == PARTS_MAX)
            return false;
        parts->items[parts->count++] = slice_take(
            &value, comma == NULL ? value.len : (size_t)(comma - value.data));
        if (comma == NULL)
            return true;
        slice_take(&value, 1);
    }
}

static bool read_number(struct slice text, unsigned long long max,
                        unsigned *number)
{
    unsigned long long value;

    if (!slice_to_number(text, max, &value))
        return false;
    *number = (unsigned)value;
    return true;
}

static bool read_fd(struct slice text, int *fd)
{
    unsigned number;

    if (!read_number(text, INT_MAX, &number) || number < FIRST_FD)
        return false;
    *fd = (int)number;
    return true;
}

static bool read_pid(struct slice text, bool may_be_none, pid_t *pid)
{
    unsigned number;

    if (!read_number(text, INT_MAX, &number) || (number == 0 && !may_be_none))
        return false;
    *pid = (pid_t)number;
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes text into out, of room bytes.  Returns the length, or -1. */
static long decode(struct slice text, char *out, size_t room)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (n + 1 >= room)
            return -1;
        if (c == '%') {
            int high = i + 2 < text.len ? hex_value(text.data[i + 1]) : -1;
            int low = high == -1 ? -1 : hex_value(text.data[i + 2]);

            if (low == -1 || (high | low) == 0)
                return -1;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (!is_plain(c)) {
            return -1;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return (long)n;
}

/* Returns a copy, the caller's; or NULL, and *has_memory tells why. */
static char *read_text(struct slice text, bool *has_memory)
{
    char *out = malloc(text.len + 1);

    if (out == NULL) {
        *has_memory = false;
        return NULL;
    }
    if (text.len > 0 && decode(text, out, text.len + 1) > 0)
        return out;
    free(out);
    return NULL;
}

struct reader {
    struct upgrade_state *state;
    struct parts parts;
    bool has_memory;
};

static bool read_socket_of(struct reader *reader, struct listen_set *set)
{
    const struct parts *parts = &reader->parts;
    struct listen_socket *items, *sock;
    unsigned long long dev = 0, ino = 0;

    if (parts->count != 3 && parts->count != 6)
        return false;
    items = realloc(set->items, (set->count + 1) * sizeof(*items));
    reader->has_memory = items != NULL;
    if (items == NULL)
        return false;
    set->items = items;
    sock = &items[set->count++];
    *sock = (struct listen_socket){ .fd = -1 };
    sock->is_tcp = slice_equal(parts->items[1], slice_of("tcp"));
    if (!sock->is_tcp && !slice_equal(parts->items[1], slice_of("unix")))
        return false;
    sock->name = read_text(parts->items[2], &reader->has_memory);
    if (sock->name == NULL || !read_fd(parts->items[0], &sock->fd))
        return false;
    if (parts->count == 3)
        return true;
    sock->path_to_unlink = read_text(parts->items[3], &reader->has_memory);
    if (sock->path_to_unlink == NULL ||
        !slice_to_number(parts->items[4], UINT64_MAX, &dev) ||
        !slice_to_number(parts->items[5], UINT64_MAX, &ino))
        return false;
    sock->dev = (dev_t)dev;
    sock->ino = (ino_t)ino;
    return true;
}

static bool read_socket(struct reader *reader)
{
    return read_socket_of(reader, &reader->state->listening);
}

static bool read_http_socket(struct reader *reader)
{
    struct listen_set *set = &reader->state->listening;

    if (!read_socket_of(reader, set))
        return false;
    set->items[set->count - 1].protocol = PROTOCOL_HTTP;
    return true;
}

static bool read_status_socket(struct reader *reader)
{
    return read_socket_of(reader, &reader->state->status_listening);
}

static bool read_setting(struct reader *reader)
{
    struct string_list *list = &reader->state->settings;
    char **items = realloc(list->items, (list->count + 1) * sizeof(*items));

    reader->has_memory = items != NULL;
    if (items == NULL)
        return false;
    list->items = items;
    items[list->count] = read_text(reader->parts.items[0], &reader->has_memory);
    if (reader->parts.count != 1 || items[list->count] == NULL) {
        free(items[list->count]);
        return false;
    }
    return strchr(items[list->count++], '=') != NULL;
}

static bool read_pid_file(struct reader *reader)
{
    const struct parts *parts = &reader->parts;
    struct upgrade_state *state = reader->state;

    if (parts->count != 2 || state->pid_path != NULL)
        return false;
    state->pid_path = read_text(parts->items[1], &reader->has_memory);
    return state->pid_path != NULL &&
           read_fd(parts->items[0], &state->pid_file);
}

static bool add(struct reader *reader, const struct upgrade_process *process)
{
    if (reader->state->count == UPGRADE_PROCESSES_MAX)
        return false;
    reader->has_memory = upgrade_state_add(reader->state, process);
    return reader->has_memory;
}

static bool read_template(struct reader *reader)
{
    const struct parts *parts = &reader->parts;
    struct upgrade_process process = { .role = UPGRADE_TEMPLATE, .fd = -1 };

    return parts->count == 4 && read_pid(parts->items[0], true, &process.pid) &&
           (slice_equal(parts->items[1], slice_of("-")) ||
            read_fd(parts->items[1], &process.fd)) &&
           read_number(parts->items[2], UINT_MAX, &process.generation) &&
           read_number(parts->items[3], UINT_MAX, &process.state) &&
           add(reader, &process);
}

static bool read_worker(struct reader *reader)
{
    const struct parts *parts = &reader->parts;
    struct upgrade_process process = { .role = UPGRADE_WORKER };

    return parts->count == 8 && read_pid(parts->items[0], true, &process.pid) &&
           read_fd(parts->items[1], &process.fd) &&
           read_number(parts->items[2], INT_MAX, &process.id) &&
           read_number(parts->items[3], INT_MAX, &process.slot) &&
           read_number(parts->items[4], UINT_MAX, &process.generation) &&
           read_number(parts->items[5], UINT_MAX, &process.state) &&
           read_number(parts->items[6], UINT_MAX, &process.replaces) &&
           decode(parts->items[7], process.reason, sizeof(process.reason)) !=
               -1 &&
           add(reader, &process);
}

static bool read_elder(struct reader *reader)
{
    const struct parts *parts = &reader->parts;
    struct upgrade_process process = { .role = UPGRADE_ELDER };

    return parts->count == 5 &&
           read_pid(parts->items[0], false, &process.pid) &&
           read_fd(parts->items[1], &process.fd) &&
           read_number(parts->items[2], INT_MAX, &process.slot) &&
           read_number(parts->items[3], UINT_MAX, &process.generation) &&
           read_number(parts->items[4], UINT_MAX, &process.state) &&
           add(reader, &process);
}

static bool read_ward(struct reader *reader)
{
    const struct parts *parts = &reader->parts;
    struct upgrade_process process = { .role = UPGRADE_WARD, .fd = -1 };

    return parts->count == 2 &&
           read_pid(parts->items[0], false, &process.pid) &&
           read_number(parts->items[1], INT_MAX, &process.id) &&
           add(reader, &process);
}

static bool read_spawned(struct reader *reader)
{
    unsigned number;

    if (!read_number(reader->parts.items[0], 1, &number))
        return false;
    reader->state->is_spawned = number == 1;
    return true;
}

static bool read_program(struct reader *reader)
{
    struct upgrade_state *state = reader->state;

    state->program = read_text(reader->parts.items[0], &reader->has_memory);
    return state->program != NULL;
}

/* Fields of one value.  The first few must be there. */
enum field {
    FIELD_PID,
    FIELD_PROGRAM,
    FIELD_GENERATION,
    FIELD_WORKERS,
    FIELD_SPAWNED,
    FIELD_CHECK,
    FIELD_FOLDER,
    FIELD_NOTIFY,
    FIELD_LOG,
    FIELD_ACCESS,
    FIELD_BOARD
};
enum { FIELDS = FIELD_BOARD + 1, FIELDS_NEEDED = FIELD_SPAWNED + 1 };

static const char *const field_names[FIELDS] = {
    [FIELD_PID] = "pid",
    [FIELD_PROGRAM] = "program",
    [FIELD_GENERATION] = "generation",
    [FIELD_WORKERS] = "workers",
    [FIELD_SPAWNED] = "spawned",
    [FIELD_CHECK] = "check",
    [FIELD_FOLDER] = "folder",
    [FIELD_NOTIFY] = "notify",
    [FIELD_LOG] = "log",
    [FIELD_ACCESS] = "access",
    [FIELD_BOARD] = "board",
};

static bool read_single(struct reader *reader, enum field field)
{
    struct upgrade_state *state = reader->state;
    struct slice value = reader->parts.items[0];

    if (reader->parts.count != 1)
        return false;
    switch (field) {
    case FIELD_PID:
        return read_pid(value, false, &state->pid);
    case FIELD_PROGRAM:
        return read_program(reader);
    case FIELD_GENERATION:
        return read_number(value, UINT_MAX - 1, &state->generation);
    case FIELD_WORKERS:
        return read_number(value, UPGRADE_PROCESSES_MAX, &state->workers);
    case FIELD_SPAWNED:
        return read_spawned(reader);
    case FIELD_CHECK:
        return read_fd(value, &state->check);
    case FIELD_FOLDER:
        return read_fd(value, &state->folder);
    case FIELD_NOTIFY:
        return read_fd(value, &state->notify);
    case FIELD_LOG:
        return read_fd(value, &state->log);
    case FIELD_ACCESS:
        return read_fd(value, &state->access_log);
    case FIELD_BOARD:
        return read_fd(value, &state->board);
    }
    return false;
}

static const struct {
    const char *name;
    bool (*read)(struct reader *reader);
} lists[] = {
    { "listen", read_socket },    { "status", read_status_socket },
    { "http", read_http_socket }, { "setting", read_setting },
    { "pidfile", read_pid_file }, { "template", read_template },
    { "worker", read_worker },    { "elder", read_elder },
    { "ward", read_ward },
};

/* Reads one field.  seen: a bit for each of the single ones. */
static bool read_field(struct reader *reader, struct slice name, unsigned *seen)
{
    for (unsigned i = 0; i < FIELDS; i++) {
        if (!slice_equal(name, slice_of(field_names[i])))
            continue;
        if ((*seen & 1u << i) != 0)
            return false;
        *seen |= 1u << i;
        return read_single(reader, (enum field)i);
    }
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        if (slice_equal(name, slice_of(lists[i].name)))
            return lists[i].read(reader);
    return true; /* of a later version */
}

struct unique {
    int *fds;
    size_t count;
};

static void collect(void *arg, int fd)
{
    struct unique *unique = arg;

    if (unique->fds != NULL)
        unique->fds[unique->count] = fd;
    unique->count++;
}

static int compare(const void *a, const void *b)
{
    int left = *(const int *)a, right = *(const int *)b;

    return (left > right) - (left < right);
}

/* Returns a descriptor that is named twice; -1: there is none. */
static int find_double(const struct upgrade_state *state, bool *has_memory)
{
    struct unique unique = { NULL, 0 };
    int found = -1;

    upgrade_state_each_fd(state, collect, &unique);
    unique.fds = malloc((unique.count + 1) * sizeof(int));
    *has_memory = unique.fds != NULL;
    if (unique.fds == NULL)
        return -1;
    unique.count = 0;
    upgrade_state_each_fd(state, collect, &unique);
    qsort(unique.fds, unique.count, sizeof(int), compare);
    for (size_t i = 1; i < unique.count; i++)
        if (unique.fds[i] == unique.fds[i - 1])
            found = unique.fds[i];
    free(unique.fds);
    return found;
}

static bool is_whole(const struct upgrade_state *state, unsigned seen,
                     char *why)
{
    bool has_memory;
    int fd;

    for (unsigned i = 0; i < FIELDS_NEEDED; i++)
        if ((seen & 1u << i) == 0) {
            snprintf(why, UPGRADE_WHY_MAX, "it has no %s", field_names[i]);
            return false;
        }
    if (state->listening.count == 0) {
        snprintf(why, UPGRADE_WHY_MAX, "it has no listen");
        return false;
    }
    fd = find_double(state, &has_memory);
    if (!has_memory)
        snprintf(why, UPGRADE_WHY_MAX, "not enough memory");
    else if (fd != -1)
        snprintf(why, UPGRADE_WHY_MAX, "it names the descriptor %d twice", fd);
    return has_memory && fd == -1;
}

bool upgrade_state_read(struct upgrade_state *state, const char *text,
                        char *why)
{
    struct reader reader = { .state = state, .has_memory = true };
    struct slice rest = slice_of(text), version;
    unsigned number, seen = 0;

    upgrade_state_init(state);
    version = slice_take(&rest, strcspn(text, " "));
    if (!read_number(version, UINT_MAX, &number)) {
        snprintf(why, UPGRADE_WHY_MAX, "it does not begin with a version");
        return false;
    }
    if (number != UPGRADE_VERSION) {
        snprintf(why, UPGRADE_WHY_MAX,
                 "it has the version %u, and this program knows only %d",
                 number, UPGRADE_VERSION);
        return false;
    }
    while (rest.len > 0) {
        struct slice field, name;
        const char *end;

        slice_take(&rest, 1); /* the blank */
        end = slice_find(rest, ' ');
        field = slice_take(&rest,
                           end == NULL ? rest.len : (size_t)(end - rest.data));
        end = slice_find(field, '=');
        name = slice_take(&field,
                          end == NULL ? field.len : (size_t)(end - field.data));
        slice_take(&field, 1);
        if (end != NULL && split(field, &reader.parts) &&
            read_field(&reader, name, &seen))
            continue;
        if (!reader.has_memory)
            snprintf(why, UPGRADE_WHY_MAX, "not enough memory");
        else
            snprintf(why, UPGRADE_WHY_MAX, "%.*s is malformed, or there twice",
                     name.len < 32 ? (int)name.len : 32, name.data);
        return false;
    }
    return is_whole(state, seen, why);
}
