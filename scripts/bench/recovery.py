"""Compares what a fault costs a running job: `ringleader bench recovery`, and the death of a replica under torchft (PyTorch), on this machine.

  python recovery.py [--trials 20] [--faults kill,hang,partition,leader,join,drain] [--peer-trials 5] [--json FILE]

Writes its part of docs/benchmarks.md. Both train about four million parameters on two workers of a thread each. Of torchft the kill of one of two replicas is timed, from the
signal until the other has committed a step alone: with default settings, and with shorter heartbeats. Needs torch and torchft.
"""
import argparse, contextlib, datetime, json, os, pathlib, queue, random, signal, socket, statistics, subprocess, sys, threading, time

import page

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FAULTS = "kill,hang,partition,leader,join,drain"
PATIENCE = 120  # seconds until a trial of torchft counts as lost

# How long the lighthouse waits for a heartbeat, and for others to join a quorum; how often a replica sends one; how long its sums may take.
SETTINGS = {
    "torchft, default settings": None,
    "torchft, heartbeat 500 ms": dict(heartbeat_ms=500, join_ms=2000, tick_ms=10, beat_ms=50, timeout_s=5),
    "torchft, heartbeat 150 ms": dict(heartbeat_ms=150, join_ms=2000, tick_ms=10, beat_ms=20, timeout_s=5),
}


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--ringleader", default=str(ROOT / "bin" / "ringleader"))
    p.add_argument("--trials", type=int, default=20, help="of the first fault; the others have a quarter of it")
    p.add_argument("--faults", default=FAULTS)
    p.add_argument("--peer-trials", type=int, default=5)
    p.add_argument("--json", help="where every single result is kept")
    p.add_argument("--render", action="store_true", help="measure nothing, take what --json has")
    p.add_argument("--out", default=str(ROOT / "docs" / "benchmarks.md"))
    p.add_argument("--replica", help=argparse.SUPPRESS)  # be a replica of the peer, with these settings as JSON
    return p.parse_args()


def replica(settings):
    """Trains for ever, and prints the time, the number of participants and whether it was committed, of every step."""
    import torch
    import torch.distributed as dist
    import torchft

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Sequential(*[m for _ in range(4) for m in (torch.nn.Linear(1024, 1024), torch.nn.GELU())])
    inner = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def load(state):
        model.load_state_dict(state["model"])
        inner.load_state_dict(state["optimizer"])

    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    more = {}
    if settings:
        more = dict(timeout=datetime.timedelta(seconds=settings["timeout_s"]), heartbeat_interval=datetime.timedelta(milliseconds=settings["beat_ms"]))
    manager = torchft.Manager(
        pg=torchft.ProcessGroupGloo(timeout=datetime.timedelta(seconds=settings["timeout_s"] if settings else 60)),
        min_replica_size=1, load_state_dict=load, state_dict=lambda: dict(model=model.state_dict(), optimizer=inner.state_dict()),
        replica_id=f"replica{os.getpid()}", store_addr="127.0.0.1", store_port=store.port, rank=0, world_size=1, **more)
    net, optimizer = torchft.DistributedDataParallel(manager, model), torchft.Optimizer(manager, inner)
    x, y = torch.randn(2, 384, 1024)
    committed = 0
    while True:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
        before, committed = committed, manager.current_step()
        print(json.dumps([time.monotonic(), manager.num_participants(), committed > before]), flush=True)


class Replica:
    def __init__(self, lighthouse, settings):
        env = os.environ | {"TORCHFT_LIGHTHOUSE": lighthouse, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"}
        self.process = subprocess.Popen([sys.executable, __file__, "--replica", json.dumps(settings)], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.steps = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            if line.startswith("["):
                self.steps.put(json.loads(line))
        self.steps.put(None)

    def committed(self, participants, after=0.0):
        """Waits for a step that was committed by so many replicas after a moment, and returns its time; None if there is none."""
        until = time.monotonic() + PATIENCE
        with contextlib.suppress(queue.Empty):
            while step := self.steps.get(timeout=max(0, until - time.monotonic())):
                when, count, good = step
                if good and count == participants and when > after:
                    return when
        return None

    def end(self):
        self.process.kill()
        self.process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def torchft_kills(settings, trials, random):
    """Seconds of each trial, None where the survivor did not go on; and of undisturbed steps."""
    port = free_port()
    command = [str(pathlib.Path(sys.executable).parent / "torchft_lighthouse"), "--bind", f"127.0.0.1:{port}", "--min_replicas", "1"]
    if settings:
        command += ["--heartbeat_timeout_ms", str(settings["heartbeat_ms"]), "--join_timeout_ms", str(settings["join_ms"]), "--quorum_tick_ms", str(settings["tick_ms"])]
    took, steps = [], []
    with contextlib.ExitStack() as stack:
        lighthouse = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(lambda: (lighthouse.kill(), lighthouse.wait()))
        start = lambda: Replica(f"http://127.0.0.1:{port}", settings)
        pair = [start(), start()]
        stack.callback(lambda: [r.end() for r in pair])
        for trial in range(trials):
            times = [pair[1].committed(2) for _ in range(6)]
            if None in times:
                raise SystemExit("recovery.py: torchft's replicas do not train together")
            steps += [b - a for a, b in zip(times, times[1:])]
            time.sleep(random.uniform(0.1, 0.7) * statistics.median(steps))  # somewhere in the next step
            struck = time.monotonic()
            pair[0].process.send_signal(signal.SIGKILL)
            pair[0].process.wait()
            alone = pair[1].committed(1, struck)
            took.append(alone and alone - struck)
            if alone is None:  # it is not going to
                pair[1].end()
                pair[1] = start()
            pair = [pair[1], start()]
    return took, steps


def ours(o, fault, trials):
    done = subprocess.run([o.ringleader, "bench", "recovery", "--fault", fault, "--trials", str(trials), "--json", "-"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"recovery.py: ringleader bench recovery --fault {fault} ended with {done.returncode}:\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(o):
    found = dict(ours=[], peer={}, date=datetime.date.today().isoformat(), machine=page.machine(), load=os.getloadavg()[0])
    chance = random.Random(1)
    for i, fault in enumerate(o.faults.split(",")):
        found["ours"].append(ours(o, fault, o.trials if i == 0 else max(1, o.trials // 4)))
    for name, settings in SETTINGS.items():
        took, steps = torchft_kills(settings, o.peer_trials, chance)
        found["peer"][name] = dict(took=took, step_s=statistics.median(steps))
    return found


def seconds(x):
    return f"{x:.3f}".removeprefix("0")


def line(name, fault, trials, step, times, parts):
    good = [t for t in times if t is not None]
    spread = [seconds(f(good)) for f in (min, statistics.median, max)] + [seconds(statistics.median(good) - step)] if good else ["-"] * 4
    if len(good) < len(times):
        spread[2] = f"not within {PATIENCE} s: {len(times) - len(good)}"
    keys = ("detection_s", "decision_s", "transfer_s", "redone_s")
    return f"| {name} | {fault} | {trials} | {seconds(step)} | " + " | ".join(spread + [seconds(parts[k]) if parts else "" for k in keys]) + " |"


def table(found):
    lines = ["| program | fault | trials | step | min | median | max | median beyond a step | detection | decision | transfer | step after |", "|" + "---|" * 12]
    lines += [line("Ringleader", r["fault"], r["trials"], r["step_s"], r["samples_s"], r.get("parts")) for r in found["ours"]]
    lines += [line(name, "kill", len(p["took"]), p["step_s"], p["took"], None) for name, p in found["peer"].items()]
    return "\n".join(lines)


def main():
    o = arguments()
    if o.replica:
        return replica(json.loads(o.replica))
    found = json.loads(pathlib.Path(o.json).read_text()) if o.render else measure(o)
    if o.json and not o.render:
        pathlib.Path(o.json).write_text(json.dumps(found, indent=1))
    page.write(o.out, "recovery", f"Measured on {found['date']}: {found['machine']}; load before the first: {found['load']:.1f}. Seconds.\n\n{table(found)}")


if __name__ == "__main__":
    main()
