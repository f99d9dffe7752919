"""Times steps in this process, as `ringleader bench` does: the same warm-up, the same fields."""
import json, resource, statistics, time

import torch

WARM_UP = 2


def steps(step, count, warm_up=WARM_UP):
    """Runs step() and returns seconds and CPU seconds of each but the first, and the sum of the loads that it returned."""
    for _ in range(warm_up):
        step()
    wall, cpu, loads = [], [], []
    for _ in range(count):
        before, began = cpu_seconds(), time.perf_counter()
        loads.append(step())
        wall.append(time.perf_counter() - began)
        cpu.append(cpu_seconds() - before)
    return wall, cpu, loads


def cpu_seconds():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def peak_rss_mib():
    """The most memory that this process ever had; getrusage would count that of whoever started it."""
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def report(wall, cpu, **more):
    """Prints one line of JSON."""
    r = dict(step_s_median=statistics.median(wall), step_s_min=min(wall), step_s_max=max(wall), step_s_mean=statistics.fmean(wall),
             cpu_s=statistics.median(cpu), cpu_s_mean=statistics.fmean(cpu), peak_rss_mib=peak_rss_mib(), program="torch " + torch.__version__)
    print(json.dumps(r | more), flush=True)
