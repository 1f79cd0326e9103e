"""What this machine gives a process: cores, memory, devices, and the limits of a container."""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
from contextlib import suppress
from pathlib import Path

from medgraft.doctor.findings import Machine
from medgraft.features.openvino_graph import import_openvino

# Settings that decide speed or device, and hold nothing but numbers and short words.
SETTINGS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "CUDA_VISIBLE_DEVICES",
)
UNLIMITED = 1 << 60  # bytes; what kernels write where there is no limit is near 2**63


def look_at_machine() -> Machine:
    """Gather it; what the system does not say is None or left out."""
    total, available = _memory()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        quota=_quota(),
        memory=total,
        memory_available=available,
        memory_limit=_memory_limit(),
        openvino_devices=_openvino_devices(),
        torch_devices=_torch_devices(),
        gpu_driver=shutil.which("nvidia-smi") is not None
        or Path("/proc/driver/nvidia/version").exists(),
        settings={
            name: value
            for name in SETTINGS
            if re.fullmatch(r"[\w,.-]{1,40}", value := os.environ.get(name, ""))
        },
    )


def _processor() -> str:
    with suppress(OSError):
        names = re.findall(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
        if names:
            return str(names[0])
    return platform.processor()


def _memory() -> tuple[int | None, int | None]:
    """All of it, and what may be had now, in bytes."""
    with suppress(OSError):
        lines = dict(re.findall(r"^(\w+):\s*(\d+) kB$", _read("/proc/meminfo"), re.MULTILINE))
        total, available = (
            int(lines[name]) << 10 if name in lines else None
            for name in ("MemTotal", "MemAvailable")
        )
        return total, available
    with suppress(ValueError, OSError, AttributeError):  # macOS; Windows has no sysconf
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    return None, None


def _memory_limit() -> int | None:
    """The least of the limits of the container, of the groups above it, and of the process."""
    limits = [
        int(text)
        for folder in _control_groups("memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := _read_or_nothing(folder / name).strip()).isdigit()
    ]
    with suppress(ImportError):
        import resource

        limits.append(resource.getrlimit(resource.RLIMIT_AS)[0])
    return min((limit for limit in limits if 0 < limit < UNLIMITED), default=None)


def _quota() -> float | None:
    """How many cores a container may keep busy, or None where it may use all that it sees."""
    shares = []
    for folder in _control_groups("cpu"):
        words = _read_or_nothing(folder / "cpu.max").split() or [
            _read_or_nothing(folder / name).strip()
            for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        ]
        if len(words) == 2 and all(word.isdigit() for word in words):
            shares.append(int(words[0]) / int(words[1]))
    return min(shares, default=None)


def _control_groups(controller: str) -> list[Path]:
    """The folders of this process's control group and of those above it, of both versions."""
    folders = []
    for line in _read_or_nothing("/proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            root = Path("/sys/fs/cgroup")
        elif controller in controllers.split(","):
            root = Path("/sys/fs/cgroup") / controllers
        else:
            continue
        own = root / path.lstrip("/")
        folders += [own, *(above for above in own.parents if above.is_relative_to(root))]
    return folders


def _openvino_devices() -> tuple[str, ...]:
    try:
        core = import_openvino().Core()
        devices = core.available_devices
        return tuple(f"{one}: {core.get_property(one, 'FULL_DEVICE_NAME')}" for one in devices)
    except Exception:  # noqa: BLE001  the live check tells what is wrong with it
        return ()


def _torch_devices() -> tuple[str, ...]:
    try:
        import torch

        found = ["CPU"]
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            found.append(f"{about.name}, {math.floor(about.total_memory / 2**30)} GB")
        return tuple(found)
    except Exception:  # noqa: BLE001  see above
        return ()


def _read(path: str | Path) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


def _read_or_nothing(path: str | Path) -> str:
    try:
        return _read(path)
    except OSError:
        return ""
