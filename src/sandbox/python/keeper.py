"""The parent of one program: pid 1 of the program's own process namespace. It reaps what is orphaned, and when the
main process has ended, or it is told to, kills all that is left, counts it, says how it went, and ends."""

import _signal as signal
import os
import resource
import select

import plain_json
from netlink import answer

TERMINATE, KILL = b"t", b"k"


def keep(main_pid, control, report, netlink=None):
    """Never returns. `control` brings orders from the agent, its end means that the agent is gone; `netlink` brings the
    program's wishes for sockets to the kernel (`netlink.py`)."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(read_end, select.POLLIN)
    poll.register(control, select.POLLIN)
    if netlink is not None:
        poll.register(netlink, select.POLLIN)
    main_status = None
    asked_to_end = False
    while main_status is None:
        main_status = _reap(main_pid)
        if main_status is not None:
            break
        for fd, _ in poll.poll():
            if fd == read_end:
                os.read(read_end, 4096)
                continue
            if fd == netlink:
                answer(netlink)
                continue
            orders = os.read(control, 64)
            if not orders or KILL in orders:
                _end(main_pid, None, asked_to_end, report)
            if TERMINATE in orders:
                asked_to_end = True
                try:
                    os.kill(main_pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass
    _end(main_pid, main_status, asked_to_end, report)


def _reap(main_pid):
    """Takes in whoever has ended; the main process's wait status if it was among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == main_pid:
            return status


def _end(main_pid, main_status, asked_to_end, report):
    killed = 0
    # One call kills them all, also those being forked; then each shows how it died as it is reaped.
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            break
        if pid == main_pid:
            main_status = status
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            killed += 1
    # Reaped before or just now: one that heeded the SIGTERM counts as killed, too.
    if main_status is not None and asked_to_end and os.WIFSIGNALED(main_status):
        killed += os.WTERMSIG(main_status) == signal.SIGTERM
    used = _children_usage()
    ended = os.WIFSIGNALED(main_status) if main_status is not None else True
    outcome = {
        "exitCode": None if ended else os.WEXITSTATUS(main_status),
        "signal": (os.WTERMSIG(main_status) if main_status is not None else signal.SIGKILL) if ended else None,
        "killed": killed,
        **used,
    }
    os.write(report, plain_json.dumps({"end": outcome}).encode() + b"\n")
    os._exit(0)


def _children_usage():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpuMs": round((used.ru_utime + used.ru_stime) * 1000),
        "peakMemoryBytes": used.ru_maxrss * 1024,
    }
