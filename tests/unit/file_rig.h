/* file_rig.h -- files on their way out: made without a name, and read as the
 * kernel would.
 * SPDX-License-Identifier: MIT */
#ifndef UNIT_FILE_RIG_H
#define UNIT_FILE_RIG_H

#include "base/chain.h"

#include <sys/mman.h>
#include <unistd.h>

/* Has these bytes. */
static inline struct shared_fd *file_of(struct slice bytes)
{
    int fd = memfd_create("unit", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.data, bytes.len), bytes.len);
    return shared_fd_new(fd);
}

/* What is at the front of a chain that is not empty, as much of it as lies
 * together. */
static inline struct slice front_of(const struct chain *chain)
{
    static char room[256 * 1024];
    struct iovec iov[1];
    off_t offset;
    size_t n;
    int fd = chain_file(chain, &offset, &n);

    if (fd == -1) {
        assert_int_equal(chain_iovec(chain, iov, 1), 1);
        return (struct slice){ iov[0].iov_base, iov[0].iov_len };
    }
    assert_int_equal(chain_iovec(chain, iov, 1), 0);
    assert_true(n > 0 && n <= sizeof(room));
    assert_int_equal(pread(fd, room, n, offset), n);
    return (struct slice){ room, n };
}

#endif
