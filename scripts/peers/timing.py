"""Times computations on a device in this process, with the fields of `ringleader bench`."""
import json, statistics, time

import torch

WARM_UP = 3  # compiling, then two that reserve memory


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def steps(step, count, device):
    """Seconds of each of `count` calls of step, all of whose work is done when the clock is read."""
    for _ in range(WARM_UP):
        step()
    wall = []
    for _ in range(count):
        wait(device)
        began = time.perf_counter()
        step()
        wait(device)
        wall.append(time.perf_counter() - began)
    return wall


def report(wall, device, **more):
    """Prints one line of JSON. Peak memory is what PyTorch allocated, without what it and the driver keep beside."""
    r = dict(step_s_median=statistics.median(wall), step_s_min=min(wall), step_s_max=max(wall), steps=len(wall), device=str(device), program="torch " + torch.__version__)
    if device.type == "cuda":
        r |= dict(peak_device_mib=torch.cuda.max_memory_allocated(device) / 2**20, gpu=torch.cuda.get_device_name(device))
    print(json.dumps(r | more), flush=True)
