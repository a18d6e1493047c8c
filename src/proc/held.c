/* held.c -- see held.h for the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "proc/held.h"

#include <signal.h>
#include <stddef.h>

static const int signals[] = { SIGTERM, SIGINT,  SIGQUIT, SIGHUP,
                               SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU };
enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };

static volatile sig_atomic_t came[SIGNALS];

static void note(int signo)
{
    for (size_t i = 0; i < SIGNALS; i++)
        if (signals[i] == signo)
            came[i] = 1;
}

void held_begin(void)
{
    struct sigaction action = { .sa_handler = note, .sa_flags = SA_RESTART };

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &action, NULL);
}

void held_end(void)
{
    for (size_t i = 0; i < SIGNALS; i++) {
        if (came[i] == 0)
            continue;
        came[i] = 0;
        raise(signals[i]);
    }
}

static void set_mask(int how)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaddset(&set, signals[i]);
    sigaddset(&set, SIGCHLD);
    sigprocmask(how, &set, NULL);
}

void held_block(void)
{
    set_mask(SIG_BLOCK);
}

void held_unblock(void)
{
    set_mask(SIG_UNBLOCK);
}

void held_forget(void)
{
    sigset_t none;

    for (size_t i = 0; i < SIGNALS; i++)
        signal(signals[i], SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}
