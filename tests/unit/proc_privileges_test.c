/* proc_privileges_test.c -- becoming another user, for good.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <linux/securebits.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "proc/privileges.h"

enum { NOBODY_KNOWN = 3000000 }; /* neither a user nor a group */

static struct privileges who;
static char message[128];

static bool parse(const char *text)
{
    message[0] = '\0';
    return privileges_parse(text, &who, message, sizeof(message));
}

static void assert_wrong(const char *text, const char *what)
{
    assert_false(parse(text));
    assert_string_equal(message, what);
}

/* --- which user ----------------------------------------------------------- */

static void users_and_groups_have_names_or_numbers(void **state)
{
    const struct passwd *nobody = getpwnam("nobody");
    const struct group *tty;
    char text[64];
    uid_t uid;
    gid_t gid;

    (void)state;
    assert_non_null(nobody);
    uid = nobody->pw_uid;
    gid = nobody->pw_gid;
    tty = getgrnam("tty");
    assert_non_null(tty);

    assert_true(parse("nobody"));
    assert_int_equal(who.uid, uid);
    assert_int_equal(who.gid, gid);
    assert_false(who.has_group);
    assert_string_equal(who.user, "nobody");
    snprintf(text, sizeof(text), "%u", (unsigned)uid);
    assert_true(parse(text));
    assert_int_equal(who.gid, gid);
    assert_string_equal(who.user, "nobody");
    assert_true(parse("nobody:tty"));
    assert_int_equal(who.uid, uid);
    assert_int_equal(who.gid, tty->gr_gid);
    assert_true(who.has_group);
    assert_true(parse("nobody:3000000"));
    assert_int_equal(who.gid, NOBODY_KNOWN);
    assert_true(parse("3000000:tty"));
    assert_int_equal(who.uid, NOBODY_KNOWN);
    assert_int_equal(who.gid, tty->gr_gid);
    assert_string_equal(who.user, "");
    assert_true(parse("root")); /* who says so may have it */
    assert_int_equal(who.uid, 0);
    assert_true(parse("0:0"));
    assert_int_equal(who.uid, 0);
}

static void what_is_no_user_is_refused(void **state)
{
    char longest[600];

    (void)state;
    assert_wrong("", "names no user");
    assert_wrong(":", "names no user");
    assert_wrong(":tty", "names no user");
    assert_wrong("nobody:", "names no group behind its :");
    assert_wrong("no-such-user", "names a user that does not exist");
    assert_wrong(" nobody", "names a user that does not exist");
    assert_wrong("-1", "names a user that does not exist");
    assert_wrong("0x0", "names a user that does not exist");
    assert_wrong("nobody:no-such-group", "names a group that does not exist");
    assert_wrong("nobody:tty:", "names a group that does not exist");
    /* (uid_t)-1 would leave root as it is */
    assert_wrong("4294967295", "names a user that does not exist");
    assert_wrong("4294967296", "names a user that does not exist");
    assert_wrong("nobody:4294967295", "names a group that does not exist");
    /* never root's group, for want of a better one */
    assert_wrong("3000000", "is the number of no known user: name its group, "
                            "too (N:GROUP)");
    memset(longest, '0', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_wrong(longest, "names a user that does not exist");
}

/* --- becoming it ---------------------------------------------------------- */

static int status_of(int (*body)(void))
{
    int status;
    pid_t child = fork();

    assert_int_not_equal(child, -1);
    if (child == 0)
        _exit(body());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool is_root(void)
{
    if (geteuid() == 0)
        return true;
    print_message("not tested: only root can\n");
    return false;
}

static bool have_ids(uid_t uid, gid_t gid)
{
    uid_t uids[3];
    gid_t gids[3];

    if (getresuid(&uids[0], &uids[1], &uids[2]) == -1 ||
        getresgid(&gids[0], &gids[1], &gids[2]) == -1)
        return false;
    for (int i = 0; i < 3; i++)
        if (uids[i] != uid || gids[i] != gid)
            return false;
    return true;
}

static int drop(const char *text)
{
    const char *failed;

    if (!parse(text))
        return 100;
    if (!privileges_can_become(&who))
        return 101;
    return privileges_drop(&who, &failed) == 0 ? 0 : 102;
}

static int drop_to_a_name(void)
{
    const gid_t before[] = { 0, 5, 7 };
    gid_t groups[64];
    const struct passwd *nobody = getpwnam("nobody");
    int n, status;

    if (setgroups(3, before) == -1)
        return 1;
    status = drop("nobody");
    if (status != 0)
        return status;
    if (!have_ids(nobody->pw_uid, nobody->pw_gid))
        return 2;
    n = getgroups(64, groups);
    for (int i = 0; i < n; i++)
        if (groups[i] == 0 || groups[i] == 5 || groups[i] == 7)
            return 3; /* the starter's are gone */
    if (setuid(0) != -1 || seteuid(0) != -1 || setgid(0) != -1)
        return 4;
    return drop("nobody"); /* which it is already */
}

static int drop_to_numbers(void)
{
    const gid_t before[] = { 0, 5 };
    int status;

    if (setgroups(2, before) == -1)
        return 1;
    status = drop("3000000:3000001");
    if (status != 0)
        return status;
    if (!have_ids(3000000, 3000001) || getgroups(0, NULL) != 0)
        return 2;
    return prctl(PR_GET_DUMPABLE) == 1 ? 3 : 0;
}

static int stay_root(void)
{
    int status = drop("root");

    return status != 0 ? status : have_ids(0, 0) ? 0 : 1;
}

static void all_ids_are_given_up(void **state)
{
    (void)state;
    if (!is_root())
        return;
    assert_int_equal(status_of(drop_to_a_name), 0);
    assert_int_equal(status_of(drop_to_numbers), 0);
    assert_int_equal(status_of(stay_root), 0);
}

/* One who only lent root's rights out has not given them up. */
static int drop_from_a_lent_root(void)
{
    if (setresuid(12345, 0, 0) == -1)
        return 1;
    return drop("nobody") == 0 && getuid() != 12345 ? 0 : 2;
}

static int have_root_in_reserve(void)
{
    const char *failed;

    if (setresuid(65534, 65534, 0) == -1 || !parse("65534:0"))
        return 1;
    if (privileges_can_become(&who)) /* it is not quite that user */
        return 2;
    return privileges_drop(&who, &failed) == -1 && errno == EPERM ? 0 : 3;
}

static void half_a_root_is_seen(void **state)
{
    (void)state;
    if (!is_root())
        return;
    assert_int_equal(status_of(drop_from_a_lent_root), 0);
    assert_int_equal(status_of(have_root_in_reserve), 0);
}

/* Capabilities survive the change of the user: so would root. */
static int keep_a_way_back(void)
{
    const char *failed;

    if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) == -1 ||
        !parse("nobody"))
        return 1;
    if (privileges_drop(&who, &failed) != -1 || errno != ENOTRECOVERABLE)
        return 2;
    return strcmp(failed, "root could be regained");
}

static void a_way_back_is_a_failure(void **state)
{
    (void)state;
    if (!is_root())
        return;
    assert_int_equal(status_of(keep_a_way_back), 0);
}

static int be_somebody(void)
{
    const char *failed;
    char text[64];

    if (geteuid() == 0 && (setgid(65534) == -1 || setuid(65534) == -1))
        return 1;
    if (!parse("root") || privileges_can_become(&who))
        return 2;
    if (privileges_drop(&who, &failed) != -1 || errno != EPERM)
        return 3;
    snprintf(text, sizeof(text), "%u:%u", (unsigned)getuid(),
             (unsigned)getgid());
    if (drop(text) != 0)
        return 4;
    snprintf(text, sizeof(text), "%u:%u", (unsigned)getuid(),
             (unsigned)getgid() + 1);
    return drop(text) == 101 ? 0 : 5;
}

static void others_can_only_stay_who_they_are(void **state)
{
    (void)state;
    assert_int_equal(status_of(be_somebody), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_and_groups_have_names_or_numbers),
        cmocka_unit_test(what_is_no_user_is_refused),
        cmocka_unit_test(all_ids_are_given_up),
        cmocka_unit_test(half_a_root_is_seen),
        cmocka_unit_test(a_way_back_is_a_failure),
        cmocka_unit_test(others_can_only_stay_who_they_are),
    };

    return cmocka_run_group_tests_name("proc/privileges", tests, NULL, NULL);
}
