"""Where and when a benchmark ran: without that, a time says nothing."""

import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = ("numpy", "torch", "open-clip-torch", "chromadb", "faiss-cpu", "hnswlib")


def processor() -> str:
    """Return the processor's name, and its vector instructions where the system lists them."""
    listed = Path("/proc/cpuinfo")
    if not listed.is_file():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in listed.read_text(encoding="utf-8").splitlines())
    said = {name.strip(): value.strip() for name, _, value in lines}
    vectors = [name for name in ("avx2", "avx512f") if name in said.get("flags", "").split()]
    return " ".join([said.get("model name", platform.machine()), *vectors])


def machine() -> str:
    """Return the line for a benchmark's table: date, processor, cores, memory, system, and versions."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    memory = psutil.virtual_memory().total / 1e9
    parts = [
        f"{date.today()}",
        processor(),
        f"{psutil.cpu_count()} cores",
        f"{memory:.0f} GB",
        f"{platform.system()}",
        f"Python {platform.python_version()}",
    ]
    return ", ".join(parts + versions)
