/* origin.c -- see origin.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/origin.h"

#include "io/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static const char self[] = "/proc/self/exe";

/* --- which program -------------------------------------------------------- */

static bool is_self(const char *path)
{
    struct stat there, here;

    return stat(path, &there) == 0 && stat(self, &here) == 0 &&
           there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

/* path from the root on; out has PATH_MAX bytes. */
static bool make_absolute(const char *path, char *out)
{
    char here[PATH_MAX];
    int n;

    if (path[0] == '/')
        n = snprintf(out, PATH_MAX, "%s", path);
    else if (getcwd(here, sizeof(here)) == NULL)
        return false;
    else
        n = snprintf(out, PATH_MAX, "%s/%s", here,
                     strncmp(path, "./", 2) == 0 ? path + 2 : path);
    return n > 0 && n < PATH_MAX;
}

/* As a shell finds a program; an empty folder is the current one. */
static bool search(const char *name, const char *folders, char *out)
{
    while (folders != NULL) {
        size_t len = strcspn(folders, ":");
        char path[PATH_MAX];
        int n = snprintf(path, sizeof(path), "%.*s%s%s", (int)len, folders,
                         len > 0 ? "/" : "", name);

        if (n > 0 && n < PATH_MAX && access(path, X_OK) == 0)
            return make_absolute(path, out);
        folders = folders[len] == ':' ? folders + len + 1 : NULL;
    }
    return false;
}

/* The kernel's own answer, of a file that may be gone. */
static bool ask_kernel(char *out)
{
    static const char deleted[] = " (deleted)";
    const size_t tail = sizeof(deleted) - 1;
    ssize_t len = readlink(self, out, PATH_MAX - 1);

    if (len <= 0)
        return false;
    out[len] = '\0';
    if ((size_t)len > tail && strcmp(out + len - tail, deleted) == 0)
        out[(size_t)len - tail] = '\0';
    return true;
}

static char *find_program(const char *name)
{
    char path[PATH_MAX];
    bool found = false;

    if (name != NULL && name[0] != '\0')
        found = strchr(name, '/') != NULL ? make_absolute(name, path)
                                          : search(name, getenv("PATH"), path);
    if (found && is_self(path))
        return strdup(path);
    return ask_kernel(path) ? strdup(path) : NULL;
}

/* --- the start ------------------------------------------------------------ */

/* Was it said to this process alone? */
static bool is_private(const char *variable)
{
    static const char *const names[] = { "LISTEN_PID", "LISTEN_FDS",
                                         "LISTEN_FDNAMES", UPGRADE_VARIABLE };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t len = strlen(names[i]);

        if (strncmp(variable, names[i], len) == 0 && variable[len] == '=')
            return true;
    }
    return false;
}

/* One place more is left free. */
static char **copy_environment(void)
{
    size_t count = 0, kept = 0;
    char **copy;

    while (environ[count] != NULL)
        count++;
    copy = calloc(count + 2, sizeof(*copy));
    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (!is_private(environ[i]))
            copy[kept++] = environ[i];
    return copy;
}

int origin_init(struct origin *origin, int argc, char **argv)
{
    const char *left = getenv(UPGRADE_VARIABLE);

    *origin = (struct origin){ .argc = argc, .argv = argv, .folder = -1 };
    origin->environment = copy_environment();
    origin->program = find_program(argc > 0 ? argv[0] : NULL);
    origin->left = left == NULL ? NULL : strdup(left);
    if (origin->environment == NULL || origin->program == NULL ||
        (left != NULL && origin->left == NULL)) {
        origin_free(origin);
        errno = ENOMEM;
        return -1;
    }
    unsetenv(UPGRADE_VARIABLE);
    origin->folder = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return 0;
}

void origin_inherit(struct origin *origin, struct upgrade_state *state)
{
    free(origin->program);
    origin->program = state->program;
    state->program = NULL;
    if (state->folder == -1)
        return;
    if (origin->folder != -1)
        close(origin->folder);
    origin->folder = state->folder;
    state->folder = -1;
}

void origin_free(struct origin *origin)
{
    if (origin->folder != -1)
        close(origin->folder);
    free(origin->environment);
    free(origin->program);
    free(origin->left);
    *origin = (struct origin){ .folder = -1 };
}

/* --- another start -------------------------------------------------------- */

bool origin_may_start(const struct origin *origin, char *why)
{
    char trust[TRUST_WHY_MAX];
    int fd;

    if (access(origin->program, X_OK) == -1) {
        snprintf(why, ORIGIN_WHY_MAX, "%s: %s", origin->program,
                 strerror(errno));
        return false;
    }
    if (geteuid() != 0)
        return true;
    fd = trust_open(origin->program, trust, sizeof(trust));
    if (fd != -1) {
        close(fd);
        return true;
    }
    if (trust[0] != '\0')
        snprintf(why, ORIGIN_WHY_MAX,
                 "root does not start %.100s, which others can change: %s",
                 origin->program, trust);
    else
        snprintf(why, ORIGIN_WHY_MAX, "%s: %s", origin->program,
                 strerror(errno));
    return false;
}

/* The environment of the start and the state; the last text is the caller's to
 * free, the rest is the origin's.  NULL: no memory. */
static char **make_environment(const struct origin *origin,
                               const struct upgrade_state *state)
{
    static const char name[] = UPGRADE_VARIABLE "=";
    char *text = upgrade_state_write(state), *variable = NULL;
    size_t count = 0;

    if (text == NULL)
        return NULL;
    variable = malloc(sizeof(name) + strlen(text));
    if (variable != NULL) {
        strcpy(variable, name);
        strcat(variable, text);
        while (origin->environment[count] != NULL)
            count++;
        origin->environment[count] = variable;
    }
    free(text);
    return variable == NULL ? NULL : &origin->environment[count];
}

static void set_inherited(void *arg, int fd)
{
    (void)arg;
    fcntl(fd, F_SETFD, 0);
}

static void enter(int folder)
{
    if (folder != -1 && fchdir(folder) == -1)
        return; /* another user now: the check has gone well from here, too */
}

void origin_check(const struct origin *origin,
                  const struct upgrade_state *state)
{
    char **argv = calloc((size_t)origin->argc + 3, sizeof(*argv));
    char **last = make_environment(origin, state);
    char check[] = "--check";
    int n = 0;

    if (argv == NULL || last == NULL)
        return;
    argv[n++] = origin->argc > 0 ? origin->argv[0] : origin->program;
    argv[n++] = check;
    for (int i = 1; i < origin->argc; i++)
        argv[n++] = origin->argv[i];
    if (fds_cloexec_above(STDERR_FILENO) == -1)
        return;
    set_inherited(NULL, state->check);
    enter(origin->folder);
    fds_restore_limit();
    execve(origin->program, argv, origin->environment);
}

int origin_exec(const struct origin *origin, const struct upgrade_state *state)
{
    char **last = make_environment(origin, state);
    int saved, here;

    if (last == NULL)
        return -1;
    here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fds_cloexec_above(STDERR_FILENO) == 0) {
        upgrade_state_each_fd(state, set_inherited, NULL);
        enter(origin->folder);
        fds_restore_limit(); /* it raises it again, and knows then */
        execve(origin->program, origin->argv, origin->environment);
    }
    saved = errno;
    fds_raise_limit();
    enter(here);
    if (here != -1)
        close(here);
    fds_cloexec_above(STDERR_FILENO);
    free(*last);
    *last = NULL;
    errno = saved;
    return -1;
}
