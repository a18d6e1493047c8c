/* base_savefile_test.c -- files that appear when they are whole.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "base/savefile.h"

static char folder[64], path[512];
static struct savefile file;

/* Half of the tests are for file systems that know no files without names. */
static bool knows_unnamed;

static int open_file(const char *name)
{
    return knows_unnamed ? savefile_open(&file, name)
                         : savefile_open_named(&file, name);
}

static const char *in_folder(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    knows_unnamed = true;
    snprintf(folder, sizeof(folder), "/tmp/fcgi-lua-savefile.XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int set_up_named(void **state)
{
    int result = set_up(state);

    knows_unnamed = false;
    return result;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder); /* fails if a test left something */
}

/* Is there anything else in the folder but, perhaps, that name? */
static void assert_only(const char *name)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        if (*entry->d_name != '.' || strlen(entry->d_name) > 2) {
            if (name == NULL || strcmp(entry->d_name, name) != 0)
                fail_msg("%s is there", entry->d_name);
        }
    closedir(dir);
}

static void assert_file(const char *name, const char *content)
{
    char got[64] = "";
    int fd = open(in_folder(name), O_RDONLY | O_CLOEXEC);

    assert_int_not_equal(fd, -1);
    assert_int_equal(read(fd, got, sizeof(got) - 1), strlen(content));
    close(fd);
    assert_string_equal(got, content);
}

static void make_file(const char *name, const char *content)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

static void assert_fails(const char *name, int error)
{
    int result = open_file(in_folder(name)), saved = errno;

    savefile_drop(&file);
    assert_int_equal(result, -1);
    assert_int_equal(saved, error);
}

static void a_file_appears_when_it_is_kept(void **state)
{
    struct stat st;
    mode_t old = umask(027);

    (void)state;
    assert_int_equal(open_file(in_folder("f")), 0);
    umask(old);
    assert_int_equal(savefile_write(&file, slice_of("one ")), 0);
    assert_int_equal(savefile_write(&file, slice_of("two")), 0);
    assert_int_equal(access(in_folder("f"), F_OK), -1);
    if (knows_unnamed)
        assert_only(NULL);
    assert_int_equal(savefile_keep(&file), 0);
    savefile_drop(&file);
    assert_int_equal(file.fd, -1);
    assert_file("f", "one two");
    assert_only("f");
    assert_int_equal(stat(in_folder("f"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_nlink, 1);
    unlink(in_folder("f"));
}

static void a_file_that_is_dropped_never_was(void **state)
{
    (void)state;
    make_file("f", "old");
    assert_int_equal(open_file(in_folder("f")), 0);
    assert_int_equal(savefile_write(&file, slice_of("new")), 0);
    errno = EXDEV;
    savefile_drop(&file);
    assert_int_equal(errno, EXDEV);
    assert_file("f", "old");
    assert_only("f");
    savefile_drop(&file); /* once more is no mistake */
    unlink(in_folder("f"));
}

static void what_was_there_is_replaced_at_once(void **state)
{
    int fd;
    char got[4] = "";

    (void)state;
    make_file("f", "old");
    fd = open(in_folder("f"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(open_file(in_folder("f")), 0);
    assert_int_equal(savefile_write(&file, slice_of("new")), 0);
    assert_file("f", "old");
    assert_int_equal(savefile_keep(&file), 0);
    savefile_drop(&file);
    assert_file("f", "new");
    assert_int_equal(read(fd, got, 3), 3); /* who has it open keeps it */
    assert_string_equal(got, "old");
    close(fd);
    assert_only("f");
    unlink(in_folder("f"));
}

static void a_name_in_the_current_folder_will_do(void **state)
{
    char old[512];

    (void)state;
    assert_non_null(getcwd(old, sizeof(old)));
    assert_int_equal(chdir(folder), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(open_file("f"), 0);
        assert_int_equal(savefile_write(&file, slice_of("x")), 0);
        assert_int_equal(savefile_keep(&file), 0);
        savefile_drop(&file);
    }
    assert_int_equal(chdir(old), 0);
    assert_file("f", "x");
    assert_only("f");
    unlink(in_folder("f"));
}

static void what_is_no_file_stays(void **state)
{
    char long_name[300];

    (void)state;
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    assert_fails("fifo", EEXIST);
    unlink(in_folder("fifo"));
    assert_int_equal(mkdir(in_folder("dir"), 0700), 0);
    assert_fails("dir", EISDIR);
    assert_fails("dir/", EISDIR);
    assert_fails("new/", EISDIR);
    assert_fails("none/f", ENOENT);
    rmdir(in_folder("dir"));
    make_file("f", "x");
    assert_fails("f/g", ENOTDIR);
    unlink(in_folder("f"));
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_fails(long_name, ENAMETOOLONG);
    assert_int_equal(open_file(""), -1);
    assert_int_equal(errno, ENOENT);
    savefile_drop(&file);
    assert_int_equal(open_file("/dev/null"), -1);
    assert_int_equal(errno, EEXIST);
    savefile_drop(&file);
}

static void what_has_become_no_file_stays(void **state)
{
    (void)state;
    assert_int_equal(open_file(in_folder("f")), 0);
    assert_int_equal(mkfifo(in_folder("f"), 0600), 0);
    assert_int_equal(savefile_keep(&file), -1);
    assert_int_equal(errno, EEXIST);
    savefile_drop(&file);
    assert_only("f");
    unlink(in_folder("f"));
}

static void a_folder_that_has_gone_is_told_at_the_end(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_folder("dir"), 0700), 0);
    assert_int_equal(open_file(in_folder("dir/f")), 0);
    if (!knows_unnamed)
        unlink(file.temp);
    assert_int_equal(rmdir(in_folder("dir")), 0);
    assert_int_equal(savefile_keep(&file), -1);
    assert_int_equal(errno, ENOENT);
    savefile_drop(&file);
}

static char pattern(size_t at)
{
    return (char)(at * 31 + at / 253);
}

static void pieces_of_any_size_make_a_file(void **state)
{
    static const size_t chunk = 64 * 1024, sizes[] = { 1,     65534,  1,
                                                       65536, 65537,  0,
                                                       100,   200000, 3 };
    static char bytes[512 * 1024], got[512 * 1024];
    size_t added = 0;
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = pattern(i);
    assert_int_equal(open_file(in_folder("f")), 0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(
            savefile_write(&file, (struct slice){ bytes + added, sizes[i] }),
            0);
        added += sizes[i];
        /* the last chunk is written when it is kept */
        assert_int_equal(lseek(file.fd, 0, SEEK_CUR), added / chunk * chunk);
    }
    assert_int_equal(savefile_keep(&file), 0);
    savefile_drop(&file);
    fd = open(in_folder("f"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, got, sizeof(got)), added);
    close(fd);
    assert_memory_equal(got, bytes, added);
    unlink(in_folder("f"));
}

static void a_write_that_fails_is_told(void **state)
{
    static char chunk[64 * 1024];
    struct rlimit old, limit;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 4;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(open_file(in_folder("f")), 0);
    assert_int_equal(
        savefile_write(&file, (struct slice){ chunk, sizeof(chunk) }), -1);
    assert_int_equal(errno, EFBIG);
    savefile_drop(&file);
    assert_int_equal(open_file(in_folder("f")), 0);
    assert_int_equal(savefile_write(&file, slice_of("123456")), 0);
    assert_int_equal(savefile_keep(&file), -1);
    assert_int_equal(errno, EFBIG);
    savefile_drop(&file);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_only(NULL);
}

static void save(void *arg)
{
    (void)arg;
    if (open_file(in_folder("f")) == -1)
        assert_int_equal(errno, ENOMEM);
    else
        assert_int_equal(savefile_keep(&file), 0);
    savefile_drop(&file);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    alloc_each_fails(save, NULL);
    unlink(in_folder("f"));
}

#define BOTH(test)                                                             \
    cmocka_unit_test_setup_teardown(test, set_up, tear_down),                  \
        cmocka_unit_test_setup_teardown(test, set_up_named, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_file_appears_when_it_is_kept),
        BOTH(a_file_that_is_dropped_never_was),
        BOTH(what_was_there_is_replaced_at_once),
        BOTH(a_name_in_the_current_folder_will_do),
        BOTH(what_is_no_file_stays),
        BOTH(what_has_become_no_file_stays),
        BOTH(a_folder_that_has_gone_is_told_at_the_end),
        BOTH(pieces_of_any_size_make_a_file),
        BOTH(a_write_that_fails_is_told),
        BOTH(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
