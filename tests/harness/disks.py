"""Disks that are soon full: small tmpfs mounts that only the calling process sees.

For forks of the server of harness/commands.py: a process with one thread, which ends afterwards.
"""

import ctypes
import os
import pathlib
import sys

from harness import commands

NEW_MOUNTS, NEW_USER = 0x00020000, 0x10000000  # CLONE_NEWNS and CLONE_NEWUSER of unshare(2)
NOT_ALLOWED = 77  # exit status where the system lets nobody mount a tmpfs


def mount(**sizes):
    """Mounts a tmpfs on each folder, as mount(**{"/tmp/disk": "60k"})."""
    libc, user, group = ctypes.CDLL(None), os.getuid(), os.getgid()
    if libc.unshare(NEW_USER | NEW_MOUNTS):
        sys.exit(NOT_ALLOWED)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        pathlib.Path("/proc/self", name).write_text(text)
    for folder, size in sizes.items():
        pathlib.Path(folder).mkdir()
        if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()):
            sys.exit(NOT_ALLOWED)


def command(disk, size, *words):
    """Runs a command with a small disk, and lists the disk's files at the end."""
    mount(**{disk: size})
    try:
        commands.command(*words)
    finally:
        print(*sorted(pathlib.Path(disk).rglob("*")), sep="\n")
