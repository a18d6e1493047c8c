/* upgrade_state.h -- what a program leaves to the one that takes its place, as
 * the text of one variable of the environment.
 *
 *     1 pid=4711 program=/usr/sbin/fcgi-lua folder=4 generation=2 workers=2
 *       listen=6,tcp,127.0.0.1:9000 status=10,tcp,127.0.0.1:9001
 *       pidfile=7,/run/app.pid board=8
 *       template=4712,9,2,1 worker=4713,10,1,0,2,1,0,
 * or, of a single process,
 *       elder=4714,11,0,1,0 ward=4715,4714
 *
 * (in one line).  The first word is the version of all that two programs must
 * agree about: this text and the messages of link.h.  Fields that a reader does
 * not know are left alone, so that a later version may add some; one that is
 * malformed, or stands twice, spoils the whole.  Pure: no descriptor is
 * touched.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_UPGRADE_STATE_H
#define PROC_UPGRADE_STATE_H

#include "io/listen.h"
#include "proc/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define UPGRADE_VARIABLE "FCGI_LUA_UPGRADE"

enum {
    UPGRADE_VERSION = 1,
    UPGRADE_TEXT_MAX = 120 * 1024, /* the kernel takes 128 KiB a variable */
    UPGRADE_PROCESSES_MAX = 4096,
    UPGRADE_WHY_MAX = 160
};

enum upgrade_role {
    UPGRADE_TEMPLATE,
    UPGRADE_WORKER,
    UPGRADE_ELDER, /* of a single process: see elders.h */
    UPGRADE_WARD   /* a program that the elder (id: its process id) runs */
};

/* A process that the new program inherits as its child, or as the child of a
 * template. */
struct upgrade_process {
    enum upgrade_role role;
    pid_t pid; /* 0: of a worker that is being forked */
    int fd;    /* the link to it; -1: of a template that has ended */
    unsigned id, slot;
    unsigned generation;
    unsigned state;    /* the role's own */
    unsigned replaces; /* 1 + the slot of the worker that it relieves; or 0 */
    char reason[16];   /* of that */
};

/* Descriptors are -1 where there is none, texts NULL. */
struct upgrade_state {
    int check;  /* only a trial: where to answer that all was understood */
    pid_t pid;  /* whom all this is for */
    int folder; /* the one that the program was started in */
    char *program;
    unsigned generation; /* the newest */
    unsigned workers;    /* of a supervisor; 0: a single process */
    bool is_spawned;     /* by a web server */
    int pid_file;
    char *pid_path;
    int notify, log, access_log, board;
    struct listen_set listening, status_listening;
    struct string_list settings; /* the script's: "name=value" */
    struct upgrade_process *processes;
    size_t count;
};

/* Nothing. */
void upgrade_state_init(struct upgrade_state *state);

/* Frees what upgrade_state_read has made; no descriptor is closed.  A struct of
 * zeroes is fine. */
void upgrade_state_free(struct upgrade_state *state);

/* Returns the text, the caller's to free; or NULL with errno, E2BIG where it
 * would be too long. */
char *upgrade_state_write(const struct upgrade_state *state);

/* Reads text into *state, which may be freed in any case.  Returns false, and
 * why, of UPGRADE_WHY_MAX bytes, says what is wrong with it. */
bool upgrade_state_read(struct upgrade_state *state, const char *text,
                        char *why);

/* Adds a process.  Returns false when there is no memory. */
bool upgrade_state_add(struct upgrade_state *state,
                       const struct upgrade_process *process);

/* Calls fn(arg, fd) for each descriptor that it names, but check. */
void upgrade_state_each_fd(const struct upgrade_state *state,
                           void (*fn)(void *arg, int fd), void *arg);

#endif
