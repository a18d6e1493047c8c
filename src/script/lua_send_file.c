/* lua_send_file.c -- files into answers: opened without following anybody's
 * links out of a folder, sent piece by piece as the client takes them: large
 * ones by the kernel, which need not show us what is in them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "script/lua_send_file.h"

#include "script/lua_request.h"
#include "script/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LUA_OPEN_FILE "fcgi.openfile"
enum {
    PIECE_MAX = 64 * 1024,
    KERNEL_MIN = 16 * 1024, /* below this a copy is cheaper */
    OPEN_TRIES = 64         /* somebody may change names all the time */
};

/* A regular file that is being sent. */
struct open_file {
    struct shared_fd *shared; /* NULL: closed */
};

/* --- opening -------------------------------------------------------------- */

/* Does it lead above where it begins, by its names alone? */
static bool leads_up(const char *path)
{
    long depth = 0;

    while (*path != '\0' && depth >= 0) {
        size_t len = strcspn(path, "/");

        if (len == 2 && memcmp(path, "..", 2) == 0)
            depth--;
        else if (len > 1 || (len == 1 && *path != '.'))
            depth++;
        path += len;
        path += strspn(path, "/");
    }
    return depth < 0;
}

/* Where openat2 is missing (before Linux 5.6, or in some sandboxes) a name is
 * made real first: whoever may change links below root meanwhile could have
 * put the file itself there. */
static int open_below(const char *root, const char *path, int flags)
{
    char *top = realpath(root, NULL), *joined = NULL, *real = NULL;
    int fd = -1, saved;
    size_t len;

    if (leads_up(path)) {
        errno = EXDEV;
        goto end;
    }
    if (top == NULL || asprintf(&joined, "%s/%s", top, path) == -1) {
        joined = NULL;
        goto end;
    }
    real = realpath(joined, NULL);
    if (real == NULL)
        goto end;
    len = strcmp(top, "/") == 0 ? 0 : strlen(top);
    if (strncmp(real, top, len) != 0 || real[len] != '/')
        errno = EXDEV;
    else
        fd = open(real, flags);

end:
    saved = errno;
    free(real);
    free(joined);
    free(top);
    errno = saved;
    return fd;
}

/* Opens path below the folder root; a slash in front is of no meaning. */
static int open_in(const char *root, const char *path, int flags)
{
    struct open_how how = { .flags = (uint64_t)(unsigned)flags,
                            .resolve =
                                RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    int folder, fd = -1, saved;

    while (*path == '/')
        path++;
    folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder == -1)
        return -1;
    for (int tries = 0; tries < OPEN_TRIES; tries++) {
        fd = (int)syscall(SYS_openat2, folder, *path == '\0' ? "." : path, &how,
                          sizeof(how));
        if (fd != -1 || errno != EAGAIN) /* a name changed near a ".." */
            break;
    }
    saved = errno;
    close(folder);
    errno = saved;
    if (fd == -1 && (errno == ENOSYS || errno == EPERM))
        return open_below(root, path, flags);
    return fd;
}

static void push_about(lua_State *L, const struct stat *about)
{
    lua_pushinteger(L, (lua_Integer)about->st_size);
    lua_pushinteger(L, (lua_Integer)about->st_mtim.tv_sec);
    lua_pushinteger(L, (lua_Integer)about->st_mtim.tv_nsec);
}

static struct open_file *new_file(lua_State *L)
{
    struct open_file *file = lua_newuserdatauv(L, sizeof(*file), 0);

    file->shared = NULL;
    luaL_setmetatable(L, LUA_OPEN_FILE);
    return file;
}

/* Raises when there is no memory; fd is closed then. */
static void keep_fd(lua_State *L, struct open_file *file, int fd)
{
    file->shared = shared_fd_new(fd);
    if (file->shared != NULL)
        return;
    close(fd);
    luaL_error(L, "not enough memory");
}

static void close_file(struct open_file *file)
{
    shared_fd_unref(file->shared);
    file->shared = NULL;
}

/* nil, "not found", or what else keeps it from being read. */
static int not_there(lua_State *L, int error)
{
    luaL_pushfail(L);
    switch (error) {
    case 0: /* it is no regular file */
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case EXDEV: /* it leaves the root */
    case ENXIO: /* a FIFO or a device */
        lua_pushliteral(L, "not found");
        break;
    default:
        lua_pushstring(L, strerror(error));
    }
    return 2;
}

/* open(path, root | nil) -> file, size, mtime, nanoseconds | nil, err.  Neither
 * a FIFO nor a device is waited for. */
static int l_open(lua_State *L)
{
    const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    size_t len;
    const char *path = lua_tolstring(L, 1, &len);
    const char *root = lua_tostring(L, 2);
    struct open_file *file;
    struct stat about;
    int fd;

    if (len != strlen(path))
        return not_there(L, ENOENT);
    file = new_file(L);
    fd = root == NULL ? open(path, flags) : open_in(root, path, flags);
    if (fd == -1)
        return not_there(L, errno);
    keep_fd(L, file, fd);
    if (fstat(fd, &about) == -1 || !S_ISREG(about.st_mode)) {
        close_file(file);
        return not_there(L, 0);
    }
    push_about(L, &about);
    return 4;
}

/* take(f) -> file, size, mtime, nanoseconds, offset | nil, err: of an open
 * file of Lua's, which stays open. */
static int l_take(lua_State *L)
{
    luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
    struct open_file *file;
    struct stat about;
    off_t at;
    int fd;

    if (stream->closef == NULL)
        return luaL_argerror(L, 1, "a closed file");
    fd = fileno(stream->f);
    if (fd == -1 || fstat(fd, &about) == -1 || !S_ISREG(about.st_mode))
        return not_there(L, 0);
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
        luaL_pushfail(L);
        lua_pushliteral(L, "not open for reading");
        return 2;
    }
    fflush(stream->f); /* what the script has written belongs to it */
    if (fstat(fd, &about) == -1)
        return not_there(L, errno);
    at = ftello(stream->f);
    file = new_file(L);
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (fd == -1)
        return not_there(L, errno);
    keep_fd(L, file, fd);
    push_about(L, &about);
    lua_pushinteger(L, at < 0 ? 0 : (lua_Integer)at);
    return 5;
}

static int l_close(lua_State *L)
{
    close_file(luaL_checkudata(L, 1, LUA_OPEN_FILE));
    return 0;
}

/* --- sending -------------------------------------------------------------- */

/* How much of it the answer takes now; 0: the client must read first. */
static size_t room_of(const struct request *req)
{
    if (req->exchange == NULL)
        return PIECE_MAX; /* which is thrown away */
    return req->exchange->ops->room(req->exchange);
}

/* Is it for the kernel to send so many bytes from there on?  What is not there
 * any more would end the connection: that is looked at here. */
static bool is_for_kernel(const struct request *req,
                          const struct open_file *file, lua_Integer at,
                          size_t n)
{
    struct stat about;

    return n >= KERNEL_MIN && response_takes_files(req) &&
           fstat(file->shared->fd, &about) == 0 &&
           about.st_size - (off_t)n >= (off_t)at;
}

/* Sends up to *n bytes from there on; *n are those that were.  Returns false,
 * with errno, 0 at the end of the file, when they cannot be read. */
static bool copy_piece(struct request *req, const struct open_file *file,
                       lua_Integer at, size_t *n, enum response_result *result)
{
    char piece[PIECE_MAX];
    struct slice bytes = { piece, 0 };
    size_t left = *n;
    ssize_t got;

    if (is_for_kernel(req, file, at, left)) {
        *result = response_write_file(req, file->shared, (off_t)at, &left);
        *n -= left;
        return true;
    }
    if (left > sizeof(piece))
        left = sizeof(piece);
    do {
        got = pread(file->shared->fd, piece, left, (off_t)at);
    } while (got == -1 && errno == EINTR);
    if (got <= 0) {
        errno = got == 0 ? 0 : errno;
        return false;
    }
    bytes.len = (size_t)got;
    *result = response_write(req, &bytes);
    *n = (size_t)got - bytes.len; /* what was taken */
    return true;
}

/* copy(req, file, at, n) -> true | nil, err; "short file": it is not as long as
 * it was.  What has been sent is counted on the stack, so nothing is held while
 * the client reads. */
static int copy_k(lua_State *L, int status, lua_KContext ctx)
{
    struct request *req = lua_request_get(L);
    const struct open_file *file = lua_touserdata(L, 2);
    lua_Integer at = lua_tointeger(L, 3), left = lua_tointeger(L, 4);

    (void)status;
    (void)ctx;
    while (req != NULL && left > 0 && !req->response.drops_body) {
        size_t n = room_of(req);
        enum response_result result;

        if (n == 0) {
            lua_pushinteger(L, at);
            lua_replace(L, 3);
            lua_pushinteger(L, left);
            lua_replace(L, 4);
            return task_wait_request(L, req, 0, copy_k);
        }
        if ((lua_Unsigned)n > (lua_Unsigned)left)
            n = (size_t)left;
        if (!copy_piece(req, file, at, &n, &result)) {
            luaL_pushfail(L);
            lua_pushstring(L, errno == 0 ? "short file" : strerror(errno));
            return 2;
        }
        at += (lua_Integer)n;
        left -= (lua_Integer)n;
        if (result == RESPONSE_ABORTED || result == RESPONSE_FINISHED) {
            luaL_pushfail(L);
            lua_pushstring(L,
                           result == RESPONSE_ABORTED ? "aborted" : "finished");
            return 2;
        }
        if (result == RESPONSE_NO_MEMORY)
            return luaL_error(L, "not enough memory");
    }
    if (req == NULL)
        return lua_request_over(L);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_copy(lua_State *L)
{
    luaL_checkudata(L, 2, LUA_OPEN_FILE);
    lua_settop(L, 4);
    return copy_k(L, LUA_OK, 0);
}

/* status_of(req) -> the status that was set | nil */
static int l_status_of(lua_State *L)
{
    const struct request *req = lua_request_get(L);

    if (req == NULL || req->response.status == 0)
        return 0;
    lua_pushinteger(L, req->response.status);
    return 1;
}

void lua_send_file_push(lua_State *L, int class)
{
    static const luaL_Reg functions[] = { { "open", l_open },
                                          { "take", l_take },
                                          { "close", l_close },
                                          { NULL, NULL } };
    static const luaL_Reg methods[] = { { "copy", l_copy },
                                        { "status_of", l_status_of },
                                        { NULL, NULL } };

    if (luaL_newmetatable(L, LUA_OPEN_FILE)) {
        lua_pushcfunction(L, l_close);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, l_close);
        lua_setfield(L, -2, "__close");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_pushvalue(L, class);
    luaL_setfuncs(L, methods, 1);
}
