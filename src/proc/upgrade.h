/* upgrade.h -- another program in the place of this one: same process id, same
 * sockets, no connection lost.
 *
 *     idle -- upgrade_ask --> checking -- it is sound --> checked
 *     checked -- the caller may go --> armed -- a turn later --> execve
 *
 * The program, as it lies on the disk now, is tried first: a child runs it with
 * --check and with what it would take over, and it must answer that it knows
 * what to do with that.  So neither a broken program nor a broken script nor
 * something else of that name takes our place.
 *
 * Before the last turn signals are held back in the kernel, where they wait
 * for the new program; those that the loop has heard of already are dealt with
 * in that turn, and what they say comes first.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_UPGRADE_H
#define PROC_UPGRADE_H

#include "proc/load.h"
#include "proc/notify.h"
#include "proc/origin.h"

#include <ev.h>
#include <sys/types.h>

/* What a checked program writes to state->check. */
#define UPGRADE_ANSWER "fcgi-lua 1\n"

/* What the process is made of; must outlive the upgrade. */
struct upgrade_config {
    struct ev_loop *ev;
    const struct origin *origin;
    struct notify *notify; /* hears of the beginning, and of a failure */
    double load_timeout;   /* seconds; 0: never */
    /* Adds to a state what the next program needs.  Returns false when there
     * is no memory.  The texts and the sockets stay the process's; settings and
     * processes are allocated. */
    bool (*describe)(void *arg, struct upgrade_state *state);
    void *arg;
};

enum upgrade_phase {
    UPGRADE_IDLE,
    UPGRADE_CHECKING,
    UPGRADE_CHECKED,
    UPGRADE_ARMED
};

struct upgrade {
    const struct upgrade_config *config;
    enum upgrade_phase phase;
    bool is_asked;
    pid_t child; /* 0: none */
    struct ev_io answer, errors;
    struct ev_timer patience;
    char answered[sizeof(UPGRADE_ANSWER)];
    size_t answered_len;
    char message[LOAD_MESSAGE_MAX]; /* what the child said */
    size_t len;
};

void upgrade_init(struct upgrade *upgrade, const struct upgrade_config *config);

/* Asks for an upgrade.  One that is asked for while another is under way has
 * the program checked once more. */
static inline void upgrade_ask(struct upgrade *upgrade)
{
    upgrade->is_asked = true;
}

/* To be called between two turns of the loop: does what is next.  may_go:
 * nothing is under way that would be lost.  Returns true when upgrade_go is to
 * be called. */
bool upgrade_step(struct upgrade *upgrade, bool may_go);

/* Becomes the other program.  Returns only if that fails: it was told, signals
 * come again, and all goes on as before. */
void upgrade_go(struct upgrade *upgrade);

/* Something else than the upgrade's own steps has failed: text says what, in a
 * line, maybe with others below it. */
void upgrade_fail(struct upgrade *upgrade, const char *text);

/* For where waitpid is called for all children: its own has ended. */
void upgrade_child_gone(struct upgrade *upgrade, pid_t pid);

/* Gives up what is under way. */
void upgrade_stop(struct upgrade *upgrade);

/* Is one asked for, or under way? */
static inline bool upgrade_is_busy(const struct upgrade *upgrade)
{
    return upgrade->is_asked || upgrade->phase != UPGRADE_IDLE;
}

/* In the other program, when it was started with --check: answers that it
 * could take state over. */
void upgrade_answer(const struct upgrade_state *state);

#endif
