/* child_exec.c -- see child_exec.h for the contract.
 *
 * The program is started from a process that shares our memory until it execs
 * (clone with CLONE_VM and CLONE_VFORK): copying the page tables of a large
 * heap, as fork does, would stop all requests for as long.  So nothing in there
 * may allocate, raise or return; it runs on a stack of its own, and what goes
 * wrong it tells through a pipe that a successful exec closes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/child_exec.h"

#include "io/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK = 64 * 1024 };

/* Where a program is looked for without a PATH. */
static const char default_path[] = "/usr/local/bin:/usr/bin:/bin";

/* --- in the new process ----------------------------------------------------
 */

/* What it is told; it shares our memory. */
struct start {
    const struct child_spec *spec;
    const char *path; /* where to look for the program; NULL: nowhere */
    char *file;       /* room for the longest name there */
    int stdio[3];     /* what becomes 0 to 2; -1: stays */
    int errors;       /* a struct start_error goes there */
    pid_t parent;
};

enum start_step { START_FORK, START_CHDIR, START_EXEC };

struct start_error {
    enum start_step step;
    int code;
};

/* It runs on a stack that the sanitizer does not know. */
#define IN_CHILD __attribute__((no_sanitize_address))

IN_CHILD static void fail_start(const struct start *start, enum start_step step)
{
    struct start_error error = { step, errno };
    ssize_t n = write(start->errors, &error, sizeof(error));

    (void)n; /* there is nobody else to tell */
    _exit(127);
}

/* What we or a library have caught must not run here, where it would change
 * our memory; what is ignored would stay so in the program.  All is blocked. */
IN_CHILD static void reset_signals(void)
{
    struct sigaction action = { .sa_handler = SIG_DFL };

    for (int signo = 1; signo < NSIG; signo++)
        sigaction(signo, &action, NULL);
}

IN_CHILD static bool place_stdio(const struct start *start)
{
    for (int fd = 0; fd < 3; fd++)
        if (start->stdio[fd] != -1 && dup2(start->stdio[fd], fd) == -1)
            return false;
    return start->spec->stdio[2] != CHILD_MERGE || dup2(1, 2) != -1;
}

/* Before Linux 5.11 all numbers are gone through. */
IN_CHILD static void close_others(void)
{
    struct rlimit limit = { .rlim_cur = 1024 };

    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = 3; (rlim_t)fd < limit.rlim_cur; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Does this error mean that it may be in another folder? */
IN_CHILD static bool may_be_elsewhere(int code)
{
    return code == ENOENT || code == ENOTDIR || code == EACCES ||
           code == ESTALE || code == ENODEV || code == ETIMEDOUT;
}

/* As execvpe, but with the PATH of the new environment, and what has no "#!" is
 * no program.  Returns with errno when none can be run. */
IN_CHILD static void exec_program(const struct start *start)
{
    char **argv = (char **)(size_t)start->spec->argv;
    char **env = (char **)(size_t)start->spec->env;
    const char *name = argv[0], *at = start->path;
    bool is_forbidden = false;

    if (at == NULL) {
        execve(name, argv, env);
        return;
    }
    for (;;) {
        size_t len = strcspn(at, ":");
        char *end = start->file;

        memcpy(end, at, len);
        end += len;
        if (len > 0) /* an empty one is the folder itself */
            *end++ = '/';
        memcpy(end, name, strlen(name) + 1);
        execve(start->file, argv, env);
        if (!may_be_elsewhere(errno))
            return;
        is_forbidden = is_forbidden || errno == EACCES;
        if (at[len] == '\0')
            break;
        at += len + 1;
    }
    errno = is_forbidden ? EACCES : ENOENT;
}

/* The limit is lowered last: it does not close what is open. */
IN_CHILD static int be_program(void *arg)
{
    const struct start *start = arg;
    sigset_t none;

    reset_signals();
    setsid();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid() != start->parent)
        _exit(127); /* it has gone before it could be said */
    if (!place_stdio(start))
        fail_start(start, START_FORK);
    if (start->spec->cwd != NULL && chdir(start->spec->cwd) == -1)
        fail_start(start, START_CHDIR);
    close_others();
    fds_restore_limit();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    exec_program(start);
    fail_start(start, START_EXEC);
    return 127;
}

/* --- starting ------------------------------------------------------------- */

/* The value that a program would find, as execve passes the list on. */
static const char *find_variable(const char *const *env, const char *name)
{
    size_t len = strlen(name);

    for (; *env != NULL; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

/* Where to look, and room for names there.  Returns false when there is no
 * memory. */
static bool prepare_search(struct start *start)
{
    const char *name = start->spec->argv[0];

    if (*name == '\0' || strchr(name, '/') != NULL)
        return true;
    start->path = find_variable(start->spec->env, "PATH");
    if (start->path == NULL)
        start->path = default_path;
    start->file = malloc(strlen(start->path) + strlen(name) + 2);
    return start->file != NULL;
}

static void close_fd(int *fd)
{
    if (*fd != -1)
        close(*fd);
    *fd = -1;
}

/* Moves a descriptor out of the way of 0 to 2.  Returns false with errno. */
static bool move_up(int *fd)
{
    int moved;

    if (*fd > STDERR_FILENO)
        return true;
    moved = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (moved == -1)
        return false;
    close(*fd);
    *fd = moved;
    return true;
}

static bool make_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC) == 0 && move_up(&fds[0]) && move_up(&fds[1]);
}

/* Opens what becomes fd 0, 1 or 2 of the child; ours is the other end. */
static bool open_stdio(enum child_stdio kind, int fd, int *theirs, int *ours)
{
    int ends[2] = { -1, -1 };
    bool is_done;

    switch (kind) {
    case CHILD_INHERIT:
    case CHILD_MERGE:
        return true;
    case CHILD_NULL:
        *theirs = open("/dev/null", O_RDWR | O_CLOEXEC);
        return *theirs != -1 && move_up(theirs);
    case CHILD_PIPE:
        break;
    }
    is_done = make_pipe(ends);
    *theirs = ends[fd == STDIN_FILENO ? 0 : 1];
    *ours = ends[fd == STDIN_FILENO ? 1 : 0];
    return is_done && fcntl(*ours, F_SETFL, O_NONBLOCK) == 0;
}

/* Returns the new process, with *life becoming a descriptor that is readable
 * when it ends; or -1 with errno. */
static pid_t clone_child(struct start *start, int *life)
{
    static _Alignas(16) char stack[STACK]; /* for one at a time */
    sigset_t all, before;
    pid_t pid;
    int saved;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = clone(be_program, stack + sizeof(stack),
                CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, start, life);
    saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

static void wait_for(pid_t pid)
{
    while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
        ;
}

/* Starts the process and hears how it went.  Returns it, or -1 with errno. */
static pid_t start_process(struct start *start, int *life, const char **failed)
{
    static const char *const steps[] = { "fork", "chdir", "exec" };
    struct start_error error = { START_FORK, 0 };
    int errors[2] = { -1, -1 }, saved;
    pid_t pid = -1;
    ssize_t n;

    *failed = "pipe";
    if (!make_pipe(errors))
        goto done;
    start->errors = errors[1];
    start->parent = getpid();
    *failed = "fork";
    pid = clone_child(start, life);
    close_fd(&errors[1]);
    if (pid == -1)
        goto done;
    do
        n = read(errors[0], &error, sizeof(error));
    while (n == -1 && errno == EINTR);
    if (n == sizeof(error)) {
        wait_for(pid);
        pid = -1;
        errno = error.code;
        *failed = steps[error.step];
    } else if (*life == -1) { /* a kernel that is too old */
        kill(pid, SIGKILL);
        wait_for(pid);
        pid = -1;
        errno = ENOSYS;
    }

done:
    saved = errno;
    close_fd(&errors[0]);
    close_fd(&errors[1]);
    errno = saved;
    return pid;
}

pid_t child_exec(const struct child_spec *spec, int pipes[3], int *life,
                 const char **failed)
{
    struct start start = { .spec = spec, .stdio = { -1, -1, -1 } };
    pid_t pid = -1;
    int saved;

    *life = pipes[0] = pipes[1] = pipes[2] = -1;
    *failed = "fork";
    if (!prepare_search(&start))
        goto done;
    *failed = "pipe";
    for (int fd = 0; fd < 3; fd++)
        if (!open_stdio(spec->stdio[fd], fd, &start.stdio[fd], &pipes[fd]))
            goto done;
    pid = start_process(&start, life, failed);

done:
    saved = errno;
    for (int fd = 0; fd < 3; fd++) {
        close_fd(&start.stdio[fd]);
        if (pid == -1)
            close_fd(&pipes[fd]);
    }
    if (pid == -1)
        close_fd(life);
    free(start.file);
    errno = saved;
    return pid;
}
