#include "master/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <unistd.h>

static const int taken[] = {SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP, SIGCHLD};

static void fill(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        sigaddset(set, taken[i]);
}

int signals_open(struct signals *signals, struct errmsg *msg)
{
    sigset_t set;

    *signals = (struct signals){.fd = -1};
    signal(SIGPIPE, SIG_IGN);
    /* Whoever started us may have had it ignored: then the kernel would reap our workers unseen. */
    signal(SIGCHLD, SIG_DFL);
    fill(&set);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return err_set_errno(msg, "cannot block signals");
    signals->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals->fd < 0)
        return err_set_errno(msg, "cannot open a signal descriptor");
    return ERR_OK;
}

static void note(struct signals *signals, unsigned signo)
{
    switch (signo) {
    case SIGTERM:
    case SIGINT:
        signals->stop = true;
        break;
    case SIGQUIT:
        signals->drain = true;
        break;
    case SIGUSR1:
        signals->reopen = true;
        break;
    case SIGCHLD:
        signals->child = true;
        break;
    case SIGHUP:
        signals->reload = true;
        break;
    case SIGUSR2:
        signals->upgrade = true;
        break;
    default:
        break;
    }
}

void signals_read(struct signals *signals)
{
    struct signalfd_siginfo info;

    while (read(signals->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        note(signals, info.ssi_signo);
}

void signals_close(struct signals *signals)
{
    if (signals->fd >= 0)
        close(signals->fd);
    signals->fd = -1;
}
