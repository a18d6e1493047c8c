/* base_trust_test.c -- which files root takes code from.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <linux/posix_acl_xattr.h>
#include <linux/posix_acl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/trust.h"

enum { SOMEBODY = 12345 }; /* no user of this machine, nor a group */

static char folder[64], path[128], why[TRUST_WHY_MAX];

/* A path in the test's folder. */
static const char *in_folder(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void make_file(const char *name, mode_t mode)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, "code", 4), 4);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void make_folder(const char *name, mode_t mode)
{
    assert_int_equal(mkdir(in_folder(name), 0700), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void make_link(const char *target, const char *name)
{
    assert_int_equal(symlink(target, in_folder(name)), 0);
}

static void give_away(const char *name, uid_t uid, gid_t gid)
{
    assert_int_equal(lchown(in_folder(name), uid, gid), 0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/fcgi-lua-trust.XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

/* Only root has files that nobody else owns. */
static bool is_root(void)
{
    if (geteuid() == 0)
        return true;
    print_message("not tested: only root can\n");
    return false;
}

static void assert_opens(const char *file)
{
    char text[8];
    int fd = trust_open(file, why, sizeof(why));

    if (fd == -1)
        fail_msg("%s: %s %s", file, strerror(errno), why);
    assert_string_equal(why, "");
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(read(fd, text, sizeof(text)), 4);
    close(fd);
}

/* It is refused, with a line that has these words. */
static void assert_refused(const char *file, const char *who, const char *what,
                           const char *remedy)
{
    errno = 0;
    assert_int_equal(trust_open(file, why, sizeof(why)), -1);
    assert_int_equal(errno, EPERM);
    if (strstr(why, who) == NULL || strstr(why, remedy) == NULL ||
        strstr(why, in_folder(what)) == NULL)
        fail_msg("\"%s\" lacks \"%s\", \"%s\" or \"%s\"", why, who, path,
                 remedy);
}

static void assert_fails(const char *file, int error)
{
    errno = 0;
    assert_int_equal(trust_open(file, why, sizeof(why)), -1);
    assert_int_equal(errno, error);
    assert_string_equal(why, "");
}

static void what_only_root_can_change_opens(void **state)
{
    static const mode_t modes[] = { 0644, 0755, 0600, 0400, 0664 };

    (void)state;
    if (!is_root())
        return;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        make_file("a", modes[i]); /* root's group is root, too */
        assert_opens(in_folder("a"));
    }
    make_folder("d", 0775);
    make_file("d/b", 0644);
    assert_opens(in_folder("d/b"));
    assert_opens(in_folder("d/../d/./b"));
    assert_opens(in_folder("d//b"));
}

static void what_others_can_write_to_is_refused(void **state)
{
    char name[128];

    (void)state;
    if (!is_root())
        return;
    make_file("a", 0646);
    snprintf(name, sizeof(name), "%s", in_folder("a"));
    assert_refused(name, "everybody", "a", "chmod o-w");
    make_file("a", 0664);
    give_away("a", 0, SOMEBODY);
    assert_refused(name, "group 12345", "a", "chmod g-w");
    make_file("a", 0644); /* a group that reads */
    assert_opens(name);
    give_away("a", SOMEBODY, 0);
    assert_refused(name, "user 12345", "a", "chown root");
    make_file("a", 0444); /* its owner can change that */
    assert_refused(name, "user 12345", "a", "chown root");
    give_away("a", 65534, 0);
    assert_refused(name, "belongs to nobody", "a", "chown root");
}

static void so_is_what_lies_in_a_folder_of_others(void **state)
{
    char name[128];

    (void)state;
    if (!is_root())
        return;
    make_folder("d", 0755);
    make_folder("d/e", 0755);
    make_file("d/e/a", 0644);
    snprintf(name, sizeof(name), "%s", in_folder("d/e/a"));
    assert_opens(name);
    chmod(in_folder("d"), 0757);
    assert_refused(name, "everybody", "d (", "chmod o-w");
    chmod(in_folder("d"), 0775);
    assert_opens(name);
    give_away("d", 0, SOMEBODY);
    assert_refused(name, "group 12345", "d (", "chmod g-w");
    chmod(in_folder("d"), 0755);
    assert_opens(name);
    give_away("d", SOMEBODY, 0);
    assert_refused(name, "user 12345", "d ", "chown root");
}

static void the_sticky_bit_protects_what_is_roots(void **state)
{
    char name[128];

    (void)state;
    if (!is_root())
        return;
    make_folder("d", 01777);
    make_file("d/a", 0644);
    snprintf(name, sizeof(name), "%s", in_folder("d/a"));
    assert_opens(name);
    give_away("d/a", SOMEBODY, 0);
    assert_refused(name, "user 12345", "d/a", "chown root");
    give_away("d/a", 0, 0);
    assert_opens(name);
    give_away("d", SOMEBODY, 0); /* who may take away what is in it */
    assert_refused(name, "user 12345", "d ", "chown root");
}

static void links_are_judged_at_both_ends(void **state)
{
    char name[128], target[128];

    (void)state;
    if (!is_root())
        return;
    make_folder("open", 0777);
    make_folder("safe", 0755);
    make_file("open/a", 0644);
    make_file("safe/a", 0644);
    make_link("../open/a", "safe/to-open");
    assert_refused(in_folder("safe/to-open"), "everybody", "open (", "chmod");
    make_link("../safe/a", "open/to-safe");
    assert_refused(in_folder("open/to-safe"), "everybody", "open (", "chmod");
    make_link("a", "safe/near");
    assert_opens(in_folder("safe/near"));
    snprintf(target, sizeof(target), "%s", in_folder("safe"));
    make_link(target, "folder");
    assert_opens(in_folder("folder/near"));
    snprintf(target, sizeof(target), "%s", in_folder("open"));
    make_link(target, "away");
    make_link("away/../safe/a", "through"); /* it passes the open folder */
    snprintf(name, sizeof(name), "%s", in_folder("through"));
    assert_refused(name, "everybody", "open (", "chmod");
}

static void in_a_shared_folder_a_link_must_be_roots(void **state)
{
    char name[128];

    (void)state;
    if (!is_root())
        return;
    make_folder("d", 01777);
    make_file("a", 0644);
    make_link("../a", "d/link");
    snprintf(name, sizeof(name), "%s", in_folder("d/link"));
    assert_opens(name);
    give_away("d/link", SOMEBODY, 0);
    assert_refused(name, "user 12345", "d/link", "chown root");
    chmod(in_folder("d"), 0755); /* its owner cannot change it now */
    assert_opens(name);
}

static void a_relative_path_counts_from_the_root(void **state)
{
    (void)state;
    if (!is_root())
        return;
    make_folder("d", 0755);
    make_folder("d/e", 0755);
    make_file("d/e/a", 0644);
    assert_int_equal(chdir(in_folder("d/e")), 0);
    assert_opens("a");
    assert_opens("../e/a");
    chmod(in_folder("d"), 0777);
    assert_refused("a", "everybody", "d (", "chmod o-w");
}

/* One that lets SOMEBODY write: the mode shows it as the group's right. */
static int set_access_list(const char *file)
{
    struct {
        struct posix_acl_xattr_header header;
        struct posix_acl_xattr_entry entries[5];
    } list = { { POSIX_ACL_XATTR_VERSION },
               { { ACL_USER_OBJ, ACL_READ | ACL_WRITE,
                   (__le32)ACL_UNDEFINED_ID },
                 { ACL_USER, ACL_READ | ACL_WRITE, SOMEBODY },
                 { ACL_GROUP_OBJ, ACL_READ, (__le32)ACL_UNDEFINED_ID },
                 { ACL_MASK, ACL_READ | ACL_WRITE, (__le32)ACL_UNDEFINED_ID },
                 { ACL_OTHER, ACL_READ, (__le32)ACL_UNDEFINED_ID } } };

    return setxattr(file, "system.posix_acl_access", &list, sizeof(list), 0);
}

static void an_access_control_list_is_seen(void **state)
{
    char name[128];

    (void)state;
    if (!is_root())
        return;
    make_file("a", 0644);
    snprintf(name, sizeof(name), "%s", in_folder("a"));
    if (set_access_list(name) == -1) {
        assert_int_equal(errno, EOPNOTSUPP);
        print_message("not tested: no access control lists in /tmp\n");
        return;
    }
    assert_refused(name, "access control list", "a", "setfacl -b");
}

static void passed_descriptors_are_judged_by_themselves(void **state)
{
    char name[64];
    int ends[2], fd;

    (void)state;
    if (!is_root())
        return;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "code", 4), 4);
    snprintf(name, sizeof(name), "/dev/fd/%d", ends[0]);
    assert_opens(name);
    close(ends[0]);
    close(ends[1]);
    make_file("a", 0666);
    fd = open(in_folder("a"), O_RDONLY | O_CLOEXEC);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    errno = 0;
    assert_int_equal(trust_open(name, why, sizeof(why)), -1);
    assert_int_equal(errno, EPERM);
    assert_non_null(strstr(why, "everybody"));
    close(fd);
}

static void what_cannot_be_opened_is_no_matter_of_trust(void **state)
{
    char longest[2 * PATH_MAX];

    (void)state;
    assert_fails("", ENOENT);
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_fails(longest, ENAMETOOLONG);
    if (!is_root())
        return;
    assert_fails(in_folder("missing"), ENOENT);
    assert_fails(in_folder("missing/a"), ENOENT);
    make_file("a", 0644);
    assert_fails(in_folder("a/b"), ENOTDIR);
    assert_fails(in_folder("a/"), ENOTDIR);
    make_link("loop", "loop");
    assert_fails(in_folder("loop"), ELOOP);
    make_link("missing", "dangling");
    assert_fails(in_folder("dangling"), ENOENT);
}

static int append(const char *name)
{
    int fd = trust_append(in_folder(name), why, sizeof(why));

    if (fd != -1)
        close(fd);
    return fd;
}

static void roots_lines_may_stand_in_anybodys_folder(void **state)
{
    struct stat st;

    (void)state;
    make_folder("logs", 0777);
    give_away("logs", is_root() ? SOMEBODY : geteuid(), getegid());
    assert_int_not_equal(append("logs/new"), -1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_not_equal(append("logs/new"), -1);
    assert_int_equal(append("logs"), -1);
    assert_int_equal(errno, EISDIR);
    assert_int_equal(append("none/new"), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_not_equal(trust_append("/dev/null", why, sizeof(why)), -1);
    if (!is_root())
        return;
    make_link("logs/linked", "link"); /* root's own */
    assert_int_not_equal(append("link"), -1);
    assert_int_equal(stat(in_folder("logs/linked"), &st), 0);
}

static void no_link_of_others_leads_root_elsewhere(void **state)
{
    struct stat st;

    (void)state;
    if (!is_root())
        return;
    make_folder("logs", 0755);
    give_away("logs", SOMEBODY, SOMEBODY);
    make_folder("secret", 0700);
    make_link("../secret/new", "logs/log");
    give_away("logs/log", SOMEBODY, SOMEBODY);
    make_link("../secret", "logs/more");
    give_away("logs/more", SOMEBODY, SOMEBODY);
    assert_int_equal(append("logs/log"), -1);
    assert_int_equal(errno, EPERM);
    assert_non_null(strstr(why, "/logs/log belongs to user 12345"));
    assert_int_equal(append("logs/more/new"), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(stat(in_folder("secret/new"), &st), -1);
}

#define TRUST_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRUST_TEST(what_only_root_can_change_opens),
        TRUST_TEST(what_others_can_write_to_is_refused),
        TRUST_TEST(so_is_what_lies_in_a_folder_of_others),
        TRUST_TEST(the_sticky_bit_protects_what_is_roots),
        TRUST_TEST(links_are_judged_at_both_ends),
        TRUST_TEST(in_a_shared_folder_a_link_must_be_roots),
        TRUST_TEST(a_relative_path_counts_from_the_root),
        TRUST_TEST(an_access_control_list_is_seen),
        TRUST_TEST(passed_descriptors_are_judged_by_themselves),
        TRUST_TEST(what_cannot_be_opened_is_no_matter_of_trust),
        TRUST_TEST(roots_lines_may_stand_in_anybodys_folder),
        TRUST_TEST(no_link_of_others_leads_root_elsewhere),
    };

    return cmocka_run_group_tests_name("base/trust", tests, NULL, NULL);
}
