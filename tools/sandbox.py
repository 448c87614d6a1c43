"""Shut a command off from this computer, where bubblewrap can: Linux, with namespaces for ordinary users.

Inside there is no network, no process of anybody else, nothing of the home folder, and nothing of the course but what
is handed in. All that can be written is in memory, of a bounded size, and gone at the end.
"""

import functools
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
SETTINGS = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "fonts", "localtime", "mime.types")
"""What programs need of /etc: none of it is secret."""
DISK, SHARED = 1_000_000_000, 250_000_000
"""Bytes that may be written below /tmp, and to shared memory."""

START = """
import contextlib, os, resource, shutil, sys
pattern, place, work, memory, file_size, processes, *command = sys.argv[1:]
os.umask(0o077)
limits = {resource.RLIMIT_AS: memory, resource.RLIMIT_FSIZE: file_size, resource.RLIMIT_CORE: 0}
limits |= {resource.RLIMIT_NPROC: processes} if int(processes) else {}
for kind, most in limits.items():
    with contextlib.suppress(ValueError, OSError):  # macOS refuses RLIMIT_AS
        resource.setrlimit(kind, (int(most),) * 2)
with contextlib.suppress(OSError):
    os.nice(5)
if os.getppid() == 1:
    os.environ.pop("JPY_PARENT_PID", None)  # behind walls, a kernel takes the first process for a sign to end
shutil.copytree(pattern, place, dirs_exist_ok=True)
os.chdir(work)
os.execv(command[0], command)
"""
"""What runs first, before any code of a student: limits, and a copy of the course."""


def start(
    python: str, pattern: Path, place: Path, memory: float, file_size: float, processes: int, command: list[str]
) -> list[str]:
    """Return a command that sets limits to itself, and copies the course to `place`, before it becomes `command`.

    Parameters
    ----------
    python : str
    pattern : Path
        What is copied.
    place : Path
        The command's home; it starts in the folder of the assignments in it.
    memory, file_size : float
        GB: the address space of a process, and the largest file.
    processes : int
        How many there may be; 0 for no limit.
    command : list of str
    """
    limits = [str(int(memory * 1e9)), str(int(file_size * 1e9)), str(processes)]
    work = place / "notebooks" / "assignments"
    return [python, "-I", "-c", START, str(pattern), str(place), str(work), *limits, *command]


def walls(readable: list[Path], writable: list[Path]) -> list[str]:
    """Return bubblewrap's part of a command: what comes after it runs inside.

    Parameters
    ----------
    readable, writable : list of Path
        What of this computer is seen inside, besides the system, under the same path.
    """
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", *_no_more()]
    for name in SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            command += ["--ro-bind", str(path), str(path)]
    for name in SETTINGS:
        command += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    # read-only, since root's settings in /proc/sys are root's to write even inside
    command += ["--proc", "/proc", "--remount-ro", "/proc"]
    command += ["--dev", "/dev", "--size", str(SHARED), "--tmpfs", "/dev/shm"]
    command += ["--size", str(DISK), "--tmpfs", "/tmp"]
    for path in readable:
        command += ["--ro-bind", str(path), str(path)]
    for path in writable:
        command += ["--bind", str(path), str(path)]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/"]


@functools.cache
def _no_more() -> list[str]:
    """Return the options that forbid namespaces inside namespaces, if this bubblewrap can: the kernel's weak spots."""
    options = ["--unshare-user", "--disable-userns"]
    tried = subprocess.run(["bwrap", "--unshare-all", *options, "--ro-bind", "/", "/", "true"], capture_output=True)
    return [] if tried.returncode else options


@functools.cache
def places(python: str) -> list[Path]:
    """Return the folders that a Python needs: its environment's, and its own, where that is not the system's."""
    ask = "import json, os, sys; print(json.dumps([sys.prefix, sys.base_prefix, os.path.realpath(sys.executable)]))"
    prefix, base, program = json.loads(
        subprocess.run([python, "-I", "-c", ask], check=True, capture_output=True).stdout
    )
    found = [Path(base), Path(program).parent.parent, Path(prefix)]
    return [path for path in dict.fromkeys(found) if not path.is_relative_to("/usr") and path != Path("/")]


def most_processes(wanted: int) -> int:
    """Return `wanted`, or 0 where the system would count all processes of this account, and not those inside."""
    version = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2] if part.isdigit())
    return wanted if sys.platform == "linux" and version >= (5, 14) else 0


@functools.cache
def missing() -> str:
    """Return why there is no sandbox on this computer; nothing, where there is one."""
    if sys.platform != "linux":
        return "bubblewrap, which makes it, runs on Linux only"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (apt install bubblewrap, dnf install bubblewrap, pacman -S bubblewrap)"
    tried = subprocess.run([*walls([], []), "true"], capture_output=True, text=True)
    if tried.returncode:
        said = tried.stderr.strip().splitlines()[-1:] or ["it does not say why"]
        return f"bubblewrap cannot make it here ({said[0]}): it must be 0.7 or newer, and namespaces allowed to users"
    return ""
