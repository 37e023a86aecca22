"""First in a container of an OCI runtime: waits until its limits stand, takes the filter, and becomes the command. On
standard input come the length of the filter (u32) and the filter; what follows is for the command."""

import os
import sys
import types

HERE = os.path.dirname(os.path.abspath(__file__))


def read_exactly(length):
    data = b""
    while len(data) < length:
        piece = os.read(0, length - len(data))
        if not piece:
            os._exit(1)
        data += piece
    return data


def main(command):
    confine = types.ModuleType("codegen_confine")
    with open(f"{HERE}/confine.py", "rb") as file:
        exec(compile(file.read(), "confine.py", "exec", dont_inherit=True), confine.__dict__)
    seccomp_filter = read_exactly(int.from_bytes(read_exactly(4), "big"))
    if seccomp_filter:
        confine.take_filter(seccomp_filter)
    os.execve(command[0], command, dict(os.environ))


main(sys.argv[1:])
