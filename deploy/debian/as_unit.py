#!/usr/bin/env python3
"""Runs the command of a systemd unit in a chroot, hardened as the unit says, where there is no systemd.

    as_unit.py ROOT UNIT

In a mount namespace of its own: its mounts end with it. What it applies: User, DynamicUser, UMask, LimitNOFILE,
RuntimeDirectory, EnvironmentFile, CapabilityBoundingSet, NoNewPrivileges, ProtectSystem=strict, ProtectHome,
PrivateTmp, ReadWritePaths, NoExecPaths, ExecPaths, MemoryDenyWriteExecute. What it does not, and systemd does: filters
of system calls and of address families, PrivateUsers, and what a chroot has not got anyway (devices, kernel logs).
"""

import ctypes
import os
import resource
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_NOSUID, MS_NOEXEC, MS_REMOUNT = 1, 2, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE = 65
DYNAMIC_USER = 61184

libc = ctypes.CDLL(None, use_errno=True)


def must(what: str, outcome: int) -> None:
    if outcome != 0:
        sys.exit(f"as_unit.py: {what}: {os.strerror(ctypes.get_errno())}")


class Unit:
    """The lines of [Service], in their order."""

    def __init__(self, path: Path) -> None:
        self.lines: list[tuple[str, str]] = []
        section = ""
        for line in path.read_text().splitlines():
            if line.startswith("["):
                section = line
            elif section == "[Service]" and "=" in line and not line.startswith(("#", ";")):
                name, value = line.split("=", 1)
                self.lines.append((name.strip(), value.strip()))

    def all(self, *names: str) -> Iterator[str]:
        for name, value in self.lines:
            if name in names:
                yield from value.split()

    def last(self, name: str) -> str | None:
        values = [value for known, value in self.lines if known == name]
        return values[-1] if values else None

    def is_on(self, name: str) -> bool:
        return self.last(name) in ("yes", "true", "strict")


def mount(source: str, target: str, flags: int, kind: str = "", data: str = "") -> None:
    outcome = libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode())
    must(f"mounting {target}", outcome)


def bind(path: str, flags: int) -> None:
    """What is there, once more, with flags of its own."""
    mount(path, path, MS_BIND)
    mount("", path, MS_REMOUNT | MS_BIND | MS_NOSUID | flags)


def shut(unit: Unit) -> None:
    """Takes away what the unit may not write, execute or see."""
    noexec = MS_NOEXEC if list(unit.all("NoExecPaths")) == ["/"] else 0
    if unit.is_on("ProtectSystem"):
        mount("", "/", MS_REMOUNT | MS_BIND | MS_NOSUID | MS_RDONLY | noexec)
    mount("proc", "/proc", MS_NOSUID | MS_NOEXEC, "proc")
    for name in unit.all("ReadWritePaths", "ReadWriteDirectories"):
        if os.path.isdir(path := name.lstrip("-")):
            bind(path, noexec)
    if noexec:
        for name in unit.all("ExecPaths"):
            bind(name, MS_RDONLY)
    hidden = ["/tmp", "/var/tmp"] if unit.is_on("PrivateTmp") else []
    hidden += ["/home", "/root"] if unit.is_on("ProtectHome") else []
    for name in hidden:
        mount("tmpfs", name, MS_NOSUID | noexec, "tmpfs", "mode=1777" if "tmp" in name else "mode=755")


def environment(root: Path, unit: Unit) -> dict[str, str]:
    found = {"PATH": "/usr/bin:/usr/sbin", "LANG": "C.UTF-8"}
    for name in unit.all("EnvironmentFile"):
        path = root / name.lstrip("-/")
        if path.exists():
            words = shlex.split(path.read_text(), comments=True)
            found |= dict(word.split("=", 1) for word in words)
    return found


def words(command: str, known: dict[str, str]) -> Iterator[str]:
    """As systemd has them: $NAME alone becomes as many words as it has."""
    for word in command.split():
        if word.startswith("$"):
            yield from known.get(word[1:], "").split()
        else:
            yield word


def main() -> None:
    root, unit = Path(sys.argv[1]).resolve(), Unit(Path(sys.argv[2]))
    command = unit.last("ExecStart")
    if command is None:
        sys.exit(f"as_unit.py: {sys.argv[2]} has no ExecStart")
    known = environment(root, unit)
    must("unshare", libc.unshare(CLONE_NEWNS))
    mount("", "/", MS_REC | MS_PRIVATE)
    user, group = DYNAMIC_USER, DYNAMIC_USER
    if name := unit.last("User"):
        line = next(line for line in (root / "etc/passwd").read_text().splitlines() if line.startswith(f"{name}:"))
        user, group = map(int, line.split(":")[2:4])
    if name := unit.last("RuntimeDirectory"):
        path = root / "run" / name
        path.mkdir(exist_ok=True)
        os.chown(path, user, group)
    # It is the mount that the chroot then has for its root.
    mount(str(root), str(root), MS_BIND)
    os.chroot(root)
    os.chdir("/")
    shut(unit)

    if limit := unit.last("LimitNOFILE"):
        # Where even root may not raise it, as in containers, it stays.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        most = int(limit) if hard == resource.RLIM_INFINITY else min(int(limit), hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.umask(int(unit.last("UMask") or "0022", 8))
    if unit.last("CapabilityBoundingSet") == "":
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
        for capability in range(last + 1):
            must("dropping a capability", libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    if unit.is_on("NoNewPrivileges"):
        must("no_new_privs", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if unit.is_on("MemoryDenyWriteExecute"):
        # Linux 6.3 and later.
        must("MemoryDenyWriteExecute", libc.prctl(PR_SET_MDWE, 1, 0, 0, 0))
    program, *arguments = words(command, known)
    os.execve(program, [program, *arguments], known)


main()
