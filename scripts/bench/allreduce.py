"""Compares sums over processes of this machine: `ringleader bench allreduce` and Gloo (PyTorch), float32 to float32, in interleaved laps.

  python allreduce.py [--workers 2,3,4] [--mib 1,16,64,256] [--codec float32,exact64,exact32,exact16] [--laps 3] [--rounds 5] [--json FILE]

Writes its part of docs/benchmarks.md. Times are of the slowest process of a round, CPU seconds of all processes. Needs torch, and gcc for Gloo over cubic.
"""
import argparse, collections, datetime, json, os, pathlib, resource, statistics, subprocess, sys, tempfile, time

import page

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def arguments():
    numbers = lambda text: [int(x) for x in text.split(",")]
    p = argparse.ArgumentParser()
    p.add_argument("--ringleader", default=str(ROOT / "bin" / "ringleader"))
    p.add_argument("--workers", type=numbers, default=[2, 3, 4])
    p.add_argument("--mib", type=numbers, default=[1, 16, 64, 256])
    p.add_argument("--codec", default="float32,exact64,exact32,exact16")
    p.add_argument("--laps", type=int, default=3)
    p.add_argument("--rounds", type=int, default=5, help="sums that are timed in each lap")
    p.add_argument("--json", help="where every single result is kept")
    p.add_argument("--render", action="store_true", help="measure nothing, take what --json has")
    p.add_argument("--out", default=str(ROOT / "docs" / "benchmarks.md"))
    p.add_argument("--gloo", action="store_true", help=argparse.SUPPRESS)  # be the peer: print rows of one ring, as JSON
    return p.parse_args()


def gloo(o):
    import torch.multiprocessing as mp

    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(gloo_member, args=(o, folder), nprocs=o.workers[0])


def gloo_member(rank, o, folder):
    import torch
    import torch.distributed as dist

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    size = o.workers[0]
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=size)
    rows = []
    for mib in o.mib:
        start = torch.arange(mib << 18, dtype=torch.float32).remainder_(1009).sub_(504)
        wanted, rounds = start * size, []
        for _ in range(o.rounds + 1):
            x = start.clone()
            dist.barrier()
            before, began = cpu_seconds(), time.perf_counter()
            dist.all_reduce(x)
            took = torch.tensor([time.perf_counter() - began]), torch.tensor([cpu_seconds() - before])
            assert torch.equal(x, wanted), "Gloo's sum is wrong"
            dist.all_reduce(took[0], op=dist.ReduceOp.MAX)
            dist.all_reduce(took[1])
            rounds.append((took[0].item(), took[1].item()))
        wall, cpu = zip(*rounds[1:])
        rows.append(dict(workers=size, mib=mib, codec="float32", path="tcp", rounds=o.rounds, median_s=statistics.median(wall), min_s=min(wall),
                         max_s=max(wall), cpu_s=statistics.median(cpu)))
    if rank == 0:
        print(json.dumps(dict(rows=rows)), flush=True)
    dist.destroy_process_group()


def cpu_seconds():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def run(command, env=os.environ):
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"allreduce.py: {' '.join(command)} ended with {done.returncode}:\n{done.stderr.strip()}")
    return json.loads(done.stdout[done.stdout.index("{") :])["rows"]


def measure(o, shim):
    """Results by (workers, MiB) and program, one for each lap."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    sizes = ["--mib", ",".join(map(str, o.mib)), "--rounds", str(o.rounds)]
    for _ in range(o.laps):
        for n in o.workers:
            peer = [sys.executable, __file__, "--gloo", "--workers", str(n)] + sizes
            ours = [o.ringleader, "bench", "allreduce", "--workers", str(n), "--json", "-"] + sizes
            for label, command, env in (("Gloo", peer, os.environ), ("Gloo, cubic", peer, os.environ | {"LD_PRELOAD": shim}),
                                        ("Ringleader", ours + ["--codec", o.codec], os.environ),
                                        ("Ringleader", ours + ["--codec", "float32", "--path", "unix"], os.environ),
                                        ("Ringleader", ours + ["--codec", "float32", "--path", "tcp"], os.environ)):
                for row in run(command, env):
                    name = label if command is peer else f"{label}, {row['codec']}, {row['path']}"
                    found[n, row["mib"]][name].append(row)
    return found


def table(found):
    """A line for each ring, size and program: how fast it is beside Gloo as it comes, by time and by CPU time."""
    lines = ["| workers | MiB | program | speed | speed by CPU time | seconds (min to max) |", "|---|---|---|---|---|---|"]
    for (n, mib), programs in sorted(found.items()):
        middle = {name: [statistics.median(r[key] for r in rows) for key in ("median_s", "cpu_s")] for name, rows in programs.items()}
        for name, rows in programs.items():
            wall, cpu = (g / max(x, 1e-9) for g, x in zip(middle["Gloo"], middle[name]))
            low, high = min(r["min_s"] for r in rows), max(r["max_s"] for r in rows)
            lines.append(f"| {n} | {mib} | {name} | {wall:.2f} | {cpu:.2f} | {middle[name][0]:.4f} ({low:.4f} to {high:.4f}) |")
    return "\n".join(lines)


def main():
    o = arguments()
    if o.gloo:
        return gloo(o)
    if o.render:
        found = collections.defaultdict(lambda: collections.defaultdict(list))
        for row in json.loads(pathlib.Path(o.json).read_text()):
            found[row["workers"], row["mib"]][row.pop("program")].append(row)
    else:
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as folder:
            shim = os.path.join(folder, "cubic.so")
            subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", shim, str(HERE / "cubic.c"), "-ldl"], check=True)
            found = measure(o, shim)
        print(f"load of the machine before the first: {load:.2f}")
    if o.json and not o.render:
        pathlib.Path(o.json).write_text(json.dumps([dict(program=name, **row) for programs in found.values() for name, rows in programs.items() for row in rows], indent=1))
    laps = max(len(rows) for programs in found.values() for rows in programs.values())
    page.write(o.out, "allreduce", f"Measured on {datetime.date.today()}: {page.machine()}. Medians of {laps} interleaved laps of {o.rounds} sums.\n\n{table(found)}")


if __name__ == "__main__":
    main()
