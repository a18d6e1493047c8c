/* io_listen_test.c -- listening sockets, made and inherited.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "alloc.h"
#include "io/listen.h"

static struct listen_set set;
static struct listen_error error;
static char folder[64], path[96], unix_address[128];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/listen-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/sock", folder);
    snprintf(unix_address, sizeof(unix_address), "unix:%s", path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    listen_close(&set);
    unlink(path);
    return rmdir(folder); /* fails if a test left something */
}

static int open_address(const char *text)
{
    struct address address;
    char message[ADDRESS_ERROR_TEXT];

    assert_true(address_parse(text, &address, message, sizeof(message)));
    return listen_open(&address, &set, &error);
}

static bool has_ipv6(void)
{
    const struct sockaddr_in6 any = { .sin6_family = AF_INET6,
                                      .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound =
        fd != -1 && bind(fd, (const struct sockaddr *)&any, sizeof(any)) == 0;

    if (fd != -1)
        close(fd);
    return bound;
}

/* The port at the end of a name; 0: none. */
static long port_of(const char *name)
{
    const char *colon = strrchr(name, ':');

    return colon == NULL ? 0 : strtol(colon + 1, NULL, 10);
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);

    assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);
    return value;
}

static void assert_is_ready(const struct listen_socket *sock)
{
    assert_int_equal(option_of(sock->fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
    assert_true((fcntl(sock->fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(sock->fd, F_GETFD) & FD_CLOEXEC) != 0);
    if (sock->is_tcp)
        assert_int_not_equal(option_of(sock->fd, IPPROTO_TCP, TCP_NODELAY), 0);
}

/* A socket that a parent would pass: blocking, without close-on-exec. */
static int parent_tcp_socket(void)
{
    const struct sockaddr_in any = { .sin_family = AF_INET,
                                     .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_not_equal(fd, -1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof(any)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static struct sockaddr_un path_sockaddr(void)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    memcpy(sun.sun_path, path, strlen(path));
    return sun;
}

static int unix_socket(int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    assert_int_not_equal(fd, -1);
    return fd;
}

/* Binds the path to a socket that nobody listens on, and closes it. */
static void leave_stale_socket(int type)
{
    struct sockaddr_un sun = path_sockaddr();
    int fd = unix_socket(type);

    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    close(fd);
}

static bool answers(void)
{
    struct sockaddr_un sun = path_sockaddr();
    int fd = unix_socket(SOCK_STREAM);
    int status = connect(fd, (struct sockaddr *)&sun, sizeof(sun));

    close(fd);
    return status == 0;
}

static bool exists(void)
{
    struct stat there;

    return lstat(path, &there) == 0;
}

static void a_host_gets_a_listening_socket(void **state)
{
    int reuse;

    (void)state;
    assert_int_equal(open_address("127.0.0.1:0"), 0);
    assert_int_equal(set.count, 1);
    assert_true(set.items[0].is_tcp);
    assert_null(set.items[0].path_to_unlink);
    assert_is_ready(&set.items[0]);
    reuse = option_of(set.items[0].fd, SOL_SOCKET, SO_REUSEADDR);
    assert_int_not_equal(reuse, 0);
    assert_int_equal(strncmp(set.items[0].name, "127.0.0.1:", 10), 0);
    assert_true(port_of(set.items[0].name) > 0);
}

static void ipv6_sockets_are_for_ipv6_only(void **state)
{
    (void)state;
    if (!has_ipv6()) {
        print_message("not tested: this machine has no IPv6\n");
        return;
    }
    assert_int_equal(open_address("[::1]:0"), 0);
    assert_int_equal(set.count, 1);
    assert_int_equal(option_of(set.items[0].fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    assert_int_equal(strncmp(set.items[0].name, "[::1]:", 6), 0);
    assert_is_ready(&set.items[0]);
}

static void no_host_means_every_address_with_one_port(void **state)
{
    (void)state;
    assert_int_equal(open_address(":0"), 0);
    assert_int_equal(strncmp(set.items[0].name, "0.0.0.0:", 8), 0);
    if (!has_ipv6()) {
        print_message("not tested: this machine has no IPv6\n");
        return;
    }
    assert_int_equal(set.count, 2);
    assert_int_equal(strncmp(set.items[1].name, "[::]:", 5), 0);
    assert_int_equal(port_of(set.items[0].name), port_of(set.items[1].name));
    assert_is_ready(&set.items[1]);
}

static void a_name_opens_each_of_its_addresses(void **state)
{
    (void)state;
    assert_int_equal(open_address("localhost:0"), 0);
    assert_true(set.count >= 1);
    for (size_t i = 0; i < set.count; i++) {
        assert_is_ready(&set.items[i]);
        assert_int_equal(port_of(set.items[i].name),
                         port_of(set.items[0].name));
    }
}

static void several_addresses_share_a_set(void **state)
{
    (void)state;
    assert_int_equal(open_address("127.0.0.1:0"), 0);
    assert_int_equal(open_address(unix_address), 0);
    assert_int_equal(open_address("127.0.0.1:0"), 0);
    assert_int_equal(set.count, 3);
}

static void accepted_connections_inherit_nodelay(void **state)
{
    struct sockaddr_in bound;
    socklen_t len = sizeof(bound);
    int client, server;

    (void)state;
    assert_int_equal(open_address("127.0.0.1:0"), 0);
    getsockname(set.items[0].fd, (struct sockaddr *)&bound, &len);
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&bound, len), 0);
    server = accept(set.items[0].fd, NULL, NULL);
    assert_int_not_equal(server, -1);
    assert_int_not_equal(option_of(server, IPPROTO_TCP, TCP_NODELAY), 0);
    close(server);
    close(client);
}

static void a_port_in_use_is_named(void **state)
{
    char text[64], message[128];

    (void)state;
    assert_int_equal(open_address("127.0.0.1:0"), 0);
    snprintf(text, sizeof(text), "%s", set.items[0].name);
    assert_int_equal(open_address(text), -1);
    assert_int_equal(errno, EADDRINUSE);
    assert_string_equal(error.failed, "bind");
    snprintf(message, sizeof(message),
             "cannot listen on %s: bind: Address already in use", text);
    assert_string_equal(error.message, message);
    assert_int_equal(set.count, 1);
}

static void a_foreign_address_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(open_address("192.0.2.1:0"), -1);
    assert_int_equal(errno, EADDRNOTAVAIL);
    assert_string_equal(error.message, "cannot listen on 192.0.2.1:0: bind:"
                                       " Cannot assign requested address");
    assert_int_equal(open_address("[2001:db8::1]:0"), -1);
    assert_int_equal(set.count, 0);
}

static void an_unknown_host_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(open_address("256.256.256.256.:1"), -1);
    assert_string_equal(error.failed, "getaddrinfo");
    assert_int_equal(strncmp(error.message,
                             "cannot listen on 256.256.256.256.:1:"
                             " getaddrinfo: ",
                             50),
                     0);
}

static void a_unix_socket_is_removed_at_the_end(void **state)
{
    (void)state;
    assert_int_equal(open_address(unix_address), 0);
    assert_false(set.items[0].is_tcp);
    assert_string_equal(set.items[0].name, unix_address);
    assert_is_ready(&set.items[0]);
    assert_true(answers());
    listen_close(&set);
    assert_false(exists());
    assert_int_equal(set.count, 0);
}

static void a_unix_socket_has_its_mode_and_owner(void **state)
{
    static const mode_t modes[] = { 0660, 0666, 0600, 0000, 0777 };
    mode_t old = umask(0027);
    char text[256];
    struct stat made;

    (void)state;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        snprintf(text, sizeof(text), "%s,mode=%o,owner=%u,group=%u",
                 unix_address, modes[i], getuid(), getgid());
        assert_int_equal(open_address(text), 0);
        assert_int_equal(stat(path, &made), 0);
        assert_int_equal(made.st_mode & 07777, modes[i]);
        listen_close(&set);
    }
    assert_int_equal(open_address(unix_address), 0);
    assert_int_equal(stat(path, &made), 0);
    assert_int_equal(made.st_mode & 07777, 0750); /* the umask decides */
    assert_int_equal(umask(old), 0027);
}

static void root_may_give_a_socket_away(void **state)
{
    char text[256];
    struct stat made;

    (void)state;
    if (geteuid() != 0) {
        print_message("not tested: only root can\n");
        return;
    }
    snprintf(text, sizeof(text), "%s,mode=0640,owner=12345,group=54321",
             unix_address);
    assert_int_equal(open_address(text), 0);
    assert_int_equal(stat(path, &made), 0);
    assert_int_equal(made.st_mode & 07777, 0640);
    assert_int_equal(made.st_uid, 12345);
    assert_int_equal(made.st_gid, 54321);
}

/* In a child without privileges, which ends with 0 if all is as it should. */
static int give_away_without_privileges(void)
{
    char text[256];

    if (chmod(folder, 0777) == -1 || setgid(65534) == -1 || setuid(65534) == -1)
        return 1;
    snprintf(text, sizeof(text), "%s,owner=0", unix_address);
    if (open_address(text) != -1 || errno != EPERM)
        return 2;
    return strcmp(error.failed, "chown") == 0 && !exists() ? 0 : 3;
}

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

static void others_may_not_and_leave_nothing_behind(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        print_message("not tested: only root can\n");
        return;
    }
    assert_int_equal(status_of(give_away_without_privileges), 0);
}

static void a_stale_socket_is_replaced(void **state)
{
    (void)state;
    leave_stale_socket(SOCK_STREAM);
    assert_true(exists());
    assert_int_equal(open_address(unix_address), 0);
    assert_true(answers());
}

static void a_socket_that_answers_is_in_use(void **state)
{
    struct listen_set first;
    char message[256];

    (void)state;
    assert_int_equal(open_address(unix_address), 0);
    first = set;
    set = (struct listen_set){ NULL, 0 };
    assert_int_equal(open_address(unix_address), -1);
    assert_int_equal(errno, EADDRINUSE);
    snprintf(message, sizeof(message),
             "cannot listen on %s: bind: Address already in use", unix_address);
    assert_string_equal(error.message, message);
    assert_int_equal(set.count, 0);
    assert_true(answers());
    listen_close(&set);
    set = first;
}

static void a_socket_with_a_full_queue_is_in_use(void **state)
{
    struct sockaddr_un sun = path_sockaddr();
    int server = unix_socket(SOCK_STREAM), clients[8], filled = 0;

    (void)state;
    assert_int_equal(bind(server, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(listen(server, 0), 0);
    do {
        clients[filled] = unix_socket(SOCK_STREAM | SOCK_NONBLOCK);
    } while (connect(clients[filled++], (struct sockaddr *)&sun, sizeof(sun)) ==
                 0 &&
             filled < 8);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(open_address(unix_address), -1);
    assert_int_equal(errno, EADDRINUSE);
    assert_true(exists());
    while (filled > 0)
        close(clients[--filled]);
    close(server);
}

static void what_is_no_stream_socket_stays(void **state)
{
    char message[256];
    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    (void)state;
    assert_int_not_equal(file, -1);
    close(file);
    assert_int_equal(open_address(unix_address), -1);
    assert_int_equal(errno, EEXIST);
    snprintf(message, sizeof(message),
             "cannot listen on %s: a file that is not a socket is there"
             " already",
             unix_address);
    assert_string_equal(error.message, message);
    assert_true(exists());
    unlink(path);
    assert_int_equal(symlink("/nowhere/at/all", path), 0);
    assert_int_equal(open_address(unix_address), -1);
    assert_int_equal(errno, EEXIST);
    assert_true(exists());
    unlink(path);
    leave_stale_socket(SOCK_DGRAM); /* the kernel cannot tell it is stale */
    if (open_address(unix_address) == -1)
        assert_true(exists());
}

static void a_live_datagram_socket_stays(void **state)
{
    struct sockaddr_un sun = path_sockaddr();
    int fd = unix_socket(SOCK_DGRAM);

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(open_address(unix_address), -1);
    assert_int_equal(errno, EPROTOTYPE);
    assert_string_equal(error.failed, "connect");
    assert_true(exists());
    close(fd);
}

static void a_missing_folder_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(open_address("unix:/nowhere/at/all"), -1);
    assert_int_equal(errno, ENOENT);
    assert_string_equal(error.message,
                        "cannot listen on unix:/nowhere/at/all: bind: No such"
                        " file or directory");
}

static int close_in_child(void)
{
    listen_close(&set);
    return exists() ? 0 : 1;
}

static void a_child_leaves_the_path_alone(void **state)
{
    (void)state;
    assert_int_equal(open_address(unix_address), 0);
    assert_int_equal(status_of(close_in_child), 0);
    assert_true(answers());
}

static void the_socket_of_a_successor_stays(void **state)
{
    (void)state;
    assert_int_equal(open_address(unix_address), 0);
    assert_int_equal(unlink(path), 0);
    leave_stale_socket(SOCK_STREAM);
    listen_close(&set);
    assert_true(exists());
}

static void an_inherited_descriptor_is_made_ready(void **state)
{
    int fd = parent_tcp_socket();
    char text[32];

    (void)state;
    snprintf(text, sizeof(text), "fd:%d", fd);
    assert_int_equal(open_address(text), 0);
    assert_int_equal(set.items[0].fd, fd);
    assert_true(set.items[0].is_tcp);
    assert_is_ready(&set.items[0]);
    snprintf(text, sizeof(text), "fd:%d (127.0.0.1:", fd);
    assert_int_equal(strncmp(set.items[0].name, text, strlen(text)), 0);
}

static void an_inherited_unix_socket_is_not_unlinked(void **state)
{
    struct sockaddr_un sun = path_sockaddr();
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char text[32], name[256];

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(listen(fd, 1), 0);
    snprintf(text, sizeof(text), "fd:%d", fd);
    assert_int_equal(open_address(text), 0);
    assert_false(set.items[0].is_tcp);
    assert_is_ready(&set.items[0]);
    snprintf(name, sizeof(name), "fd:%d (%s)", fd, unix_address);
    assert_string_equal(set.items[0].name, name);
    listen_close(&set);
    assert_true(exists());
}

static void only_listening_descriptors_are_taken(void **state)
{
    int pair[2], file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char text[32], message[128];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                     0);
    snprintf(text, sizeof(text), "fd:%d", pair[0]);
    assert_int_equal(open_address(text), -1);
    assert_int_equal(errno, EINVAL);
    snprintf(message, sizeof(message),
             "cannot listen on %s: it is not a listening socket", text);
    assert_string_equal(error.message, message);
    snprintf(text, sizeof(text), "fd:%d", file);
    assert_int_equal(open_address(text), -1);
    assert_int_equal(errno, ENOTSOCK);
    assert_int_not_equal(fcntl(file, F_GETFD), -1); /* still open */
    close(file);
    assert_int_equal(open_address(text), -1);
    assert_int_equal(errno, EBADF);
    close(pair[0]);
    close(pair[1]);
}

static void a_descriptor_cannot_be_taken_twice(void **state)
{
    int fd = parent_tcp_socket();
    char text[32];

    (void)state;
    snprintf(text, sizeof(text), "fd:%d", fd);
    assert_int_equal(open_address(text), 0);
    assert_int_equal(open_address(text), -1);
    assert_int_equal(set.count, 1);
}

static int take_stdin(void)
{
    char byte;
    int fd = parent_tcp_socket();

    if (dup2(fd, 0) == -1 || close(fd) == -1)
        return 1;
    if (listen_from_stdin(&set, &error) != 1 || set.count != 1)
        return 2;
    if (set.items[0].fd < 3 || !set.items[0].is_tcp ||
        strncmp(set.items[0].name, "fd:0 (127.0.0.1:", 16) != 0)
        return 3;
    if (option_of(set.items[0].fd, SOL_SOCKET, SO_ACCEPTCONN) != 1 ||
        (fcntl(set.items[0].fd, F_GETFL) & O_NONBLOCK) == 0 ||
        (fcntl(set.items[0].fd, F_GETFD) & FD_CLOEXEC) == 0)
        return 4;
    if ((fcntl(0, F_GETFD) & FD_CLOEXEC) != 0 || read(0, &byte, 1) != 0)
        return 5; /* children read the end of the file */
    listen_close(&set);
    return listen_from_stdin(&set, &error) == 0 ? 0 : 6;
}

static void stdin_is_taken_and_becomes_dev_null(void **state)
{
    (void)state;
    assert_int_equal(status_of(take_stdin), 0);
}

static int have_no_listening_stdin(void)
{
    if (listen_from_stdin(&set, &error) != 0)
        return 1;
    close(0);
    return listen_from_stdin(&set, &error) == 0 && set.count == 0 ? 0 : 2;
}

static void a_stdin_that_does_not_listen_is_no_error(void **state)
{
    (void)state;
    assert_int_equal(status_of(have_no_listening_stdin), 0);
}

/* What the program does, at once: the script is loaded in between. */
static int take_passed(void)
{
    struct listen_passed passed;

    listen_read_passed(&passed);
    return listen_from_systemd(&passed, &set, &error);
}

/* Passes two sockets the way systemd does. */
static int pass_sockets(const char *pid, const char *count)
{
    char own[32];

    snprintf(own, sizeof(own), "%d", (int)getpid());
    for (int fd = 3; fd < 5; fd++) {
        int made = parent_tcp_socket();

        if (made != fd && (dup2(made, fd) == -1 || close(made) == -1))
            return -1;
    }
    setenv("LISTEN_PID", pid != NULL ? pid : own, 1);
    setenv("LISTEN_FDS", count, 1);
    setenv("LISTEN_FDNAMES", "a:b", 1);
    return 0;
}

static bool is_unset(void)
{
    return getenv("LISTEN_PID") == NULL && getenv("LISTEN_FDS") == NULL &&
           getenv("LISTEN_FDNAMES") == NULL;
}

static int take_from_systemd(void)
{
    if (pass_sockets(NULL, "2") == -1)
        return 1;
    if (take_passed() != 2 || set.count != 2)
        return 2;
    if (set.items[0].fd != 3 || set.items[1].fd != 4 || !is_unset())
        return 3;
    for (int fd = 3; fd < 5; fd++)
        if ((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0 ||
            (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0)
            return 4;
    listen_close(&set);
    return take_passed() == 0 ? 0 : 5;
}

static void the_sockets_of_systemd_are_taken(void **state)
{
    (void)state;
    assert_int_equal(status_of(take_from_systemd), 0);
}

static int leave_those_of_another_process(void)
{
    if (pass_sockets("1", "2") == -1)
        return 1;
    if (take_passed() != 0 || set.count != 0)
        return 2;
    return is_unset() ? 0 : 3;
}

static void those_of_another_process_are_not(void **state)
{
    (void)state;
    assert_int_equal(status_of(leave_those_of_another_process), 0);
}

static int pass_junk(void)
{
    static const char *const junk[] = { "x", "", "-1", "2147483647",
                                        "99999999999" };

    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
        if (pass_sockets(NULL, junk[i]) == -1)
            return 1;
        if (take_passed() != -1 || set.count != 0)
            return 2;
        if (errno != EINVAL || !is_unset())
            return 3;
    }
    return strcmp(error.message, "cannot listen on the sockets of systemd:"
                                 " LISTEN_FDS is not a number");
}

static void junk_from_systemd_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(status_of(pass_junk), 0);
}

static int pass_one_that_does_not_listen(void)
{
    if (pass_sockets(NULL, "2") == -1 || dup2(1, 4) == -1)
        return 1;
    if (take_passed() != -1 || set.count != 0)
        return 2;
    return strcmp(error.message, "cannot listen on fd:4: it is not a listening"
                                 " socket");
}

static void all_of_systemds_sockets_must_listen(void **state)
{
    (void)state;
    assert_int_equal(status_of(pass_one_that_does_not_listen), 0);
}

static void open_once(void *address)
{
    size_t before = set.count;

    if (open_address(address) == -1) {
        assert_int_equal(errno, ENOMEM);
        assert_string_equal(error.failed, "malloc");
        assert_int_equal(set.count, before);
        assert_false(exists());
    }
    listen_close(&set);
}

static void running_out_of_memory_is_an_error(void **state)
{
    static char tcp[] = "127.0.0.1:0", every[] = ":0";

    (void)state;
    alloc_each_fails(open_once, tcp);
    alloc_each_fails(open_once, every);
    alloc_each_fails(open_once, unix_address);
}

static void a_descriptor_stays_open_without_memory(void **state)
{
    int fd = parent_tcp_socket();
    char text[32];

    (void)state;
    snprintf(text, sizeof(text), "fd:%d", fd);
    for (size_t k = 1; k <= 2; k++) {
        alloc_fail_at(k);
        assert_int_equal(open_address(text), -1);
        alloc_fail_at(0);
        assert_int_equal(errno, ENOMEM);
        assert_int_equal(set.count, 0);
        assert_int_not_equal(fcntl(fd, F_GETFD), -1);
    }
    assert_int_equal(open_address(text), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_host_gets_a_listening_socket, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(ipv6_sockets_are_for_ipv6_only, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            no_host_means_every_address_with_one_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_opens_each_of_its_addresses,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_addresses_share_a_set, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(accepted_connections_inherit_nodelay,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_port_in_use_is_named, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_foreign_address_is_an_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_host_is_an_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_unix_socket_is_removed_at_the_end,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_unix_socket_has_its_mode_and_owner,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(root_may_give_a_socket_away, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(others_may_not_and_leave_nothing_behind,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stale_socket_is_replaced, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_socket_that_answers_is_in_use, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_socket_with_a_full_queue_is_in_use,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_stream_socket_stays, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_live_datagram_socket_stays, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_missing_folder_is_an_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_child_leaves_the_path_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_socket_of_a_successor_stays, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_inherited_descriptor_is_made_ready,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            an_inherited_unix_socket_is_not_unlinked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_listening_descriptors_are_taken,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_descriptor_cannot_be_taken_twice,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(stdin_is_taken_and_becomes_dev_null,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_stdin_that_does_not_listen_is_no_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_sockets_of_systemd_are_taken,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_of_another_process_are_not,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(junk_from_systemd_is_an_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(all_of_systemds_sockets_must_listen,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(running_out_of_memory_is_an_error,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_descriptor_stays_open_without_memory,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
