"""How many threads the programs of textloc compute with: one less than there are cores.

OpenMP's threads wait for each other after every operation, and wait by spinning. Where another
program, such as the browser that shows the page, holds one of their cores, all others wait for
that one: on two cores a localization of five seconds did not end in two minutes. With one core left
to others it takes eight seconds there, whatever else goes on (LOG.md). Whoever sets
`OMP_NUM_THREADS` or `OMP_WAIT_POLICY` is obeyed.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

SPINS = "1000"
"""How often a thread looks whether the others are ready before it sleeps; OpenMP's own is 300,000.
More makes the operations of tiny models faster, and a busy machine stand still."""

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Cores that this process may use: those of its affinity, and of a container's quota (cgroup
    v2) as many as are whole."""
    if hasattr(os, "sched_getaffinity"):
        found = len(os.sched_getaffinity(0))
    else:
        found = os.cpu_count() or 1
    try:
        quota, period = map(int, _QUOTA.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no such file, or "max": no quota
        return found
    return max(1, min(found, math.floor(quota / period)))


def leave_a_core() -> None:
    """Settings of OpenMP for this process and those that it starts, before it imports torch."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() - 1)))
