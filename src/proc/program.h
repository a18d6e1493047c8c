/* program.h -- what main sets up on the way, from the command line to a worker
 * or a supervisor.  Private to main.c and the files program*.c.
 *
 * Functions that return an int return EX_OK; or an exit code of sysexits.h,
 * when they have said on stderr what is wrong.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PROC_PROGRAM_H
#define PROC_PROGRAM_H

#include "io/peers.h"
#include "ops/access_log.h"
#include "ops/board.h"
#include "proc/elders.h"
#include "proc/load.h"
#include "proc/notify.h"
#include "proc/options.h"
#include "proc/origin.h"
#include "proc/privileges.h"
#include "proc/upgrade_state.h"
#include "proc/watch.h"
#include "script/script.h"

/* All that is set up on the way, and taken down in one place. */
struct program {
    struct options options;
    int argc;
    char **argv;
    struct script_config config;
    struct script *script;
    struct script *template; /* a supervisor's: its processes run it */
    struct listen_set listening, status_listening;
    struct peers peers;
    struct listen_passed passed; /* by systemd */
    struct privileges user;      /* if --user names one */
    struct notify notify;
    struct access_log *access_log;
    struct board *board;
    struct watch *watch; /* with --watch */
    int board_fd;
    bool is_spawned; /* fd 0 is the listening socket */
    int pid_file;    /* -1: none */
    const char *pid_path;
    struct origin origin;
    struct upgrade_state left; /* by the program whose place this one took */
    bool is_heir;              /* there was one */
    struct elders elders;
};

/* --- program.c --- */

/* A line on stderr, and in the log if that is elsewhere.  Returns exit_code. */
__attribute__((format(printf, 2, 3))) int program_fail(int exit_code,
                                                       const char *format, ...);

/* A warning on stderr; arg is not used. */
void program_warn(void *arg, const char *message);

/* The options of the command line and the environment. */
int program_read_options(struct program *program, int argc, char **argv);

/* Looks before anything is opened whether root can be given up. */
int program_read_user(struct program *program);

/* Gives it up.  What is wrong is not said: message, of LOAD_MESSAGE_MAX bytes,
 * tells. */
int program_drop_privileges(const struct program *program, char *message);

/* --- program_script.c --- */

/* With --watch: from now on files that are loaded are watched. */
int program_open_watch(struct program *program);

/* Loads the script; with --watch waits until that goes well. */
int program_load(struct program *program);

/* Gives up root and runs on_start.  What is wrong is not said: message tells.
 */
int program_start_script(struct program *program, char *message);

/* --- program_sockets.c --- */

/* The sockets that are named; else systemd's; else the one on fd 0. */
int program_open_sockets(struct program *program);
int program_open_status_sockets(struct program *program);
int program_read_peers(struct program *program);

/* --- program_heir.c: of a program that takes the place of another --- */

/* Takes what the program left whose place this one has, if there was one. */
int program_read_left(struct program *program);

/* A descriptor that was inherited, for a second use of it; -1: there is none,
 * and errno is as it was. */
int program_inherited(int fd);

/* Once the logs are open: what rotates away must not stay open as well. */
void program_close_left_logs(struct program *program);

/* Is it a supervisor whose generations load the script? */
bool program_supervises_again(const struct program *program);

/* What the script said that the first program has loaded. */
int program_apply_settings(struct program *program);

/* Says in the log which settings keep their old values. */
void program_tell_kept(struct program *program);

/* Adds to a state what every kind of process leaves to the program that takes
 * its place; arg is a struct program.  Returns false when there is no memory.
 */
bool program_describe(void *arg, struct upgrade_state *state);

/* The new program cannot serve, as status says: what is left of the old one
 * does. */
int program_care(struct program *program, int status);

#endif
