"""Compares training steps of ringleader with the same in PyTorch on this machine, in interleaved rounds, and writes the measured part of
docs/benchmarks.md. Needs the Python of scripts/python-venv.sh scripts/bench/requirements.txt; `make bench` sees to that.

  python run.py [--rounds 3] [--data FOLDER ...] [--only step|train] [--size small|medium] [--skip PATTERN] [--steps 8] [--dry-run]

--data adds data sets that ringleader imported to the shipped one.
"""
import argparse, datetime, json, os, pathlib, re, statistics, subprocess, sys

import page

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".cache" / "bench"


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--ringleader", default=str(ROOT / "bin" / "ringleader"))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=8, help="measured steps of each run")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--data", action="append", default=[], help="folder of an imported data set (repeatable)")
    p.add_argument("--only", choices=["step", "train"])
    p.add_argument("--size", choices=list(SIZES), help="on data sets, only this size")
    p.add_argument("--skip", default="", metavar="PATTERN", help="leave out runs whose label matches, for example PyTorch.*bfloat16 where it takes a minute a step")
    p.add_argument("--out", default=str(ROOT / "docs" / "benchmarks.md"))
    p.add_argument("--dry-run", action="store_true", help="print the section, leave --out as it is")
    p.add_argument("--results", default=str(CACHE / "results.json"), help="where every single result is kept")
    p.add_argument("--render", action="store_true", help="measure nothing, take what --results has")
    o = p.parse_args()
    if o.rounds < 1 or o.steps < 1 or o.threads < 1:
        p.error("--rounds, --steps and --threads: want at least 1")
    return o


class Run:
    """One program of a comparison; the first of a group is what the others are related to."""

    def __init__(self, label, command, results=()):
        self.label, self.command, self.results = label, command, list(results)

    def once(self, threads):
        env = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(CACHE / "inductor"), "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(self.command, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"run.py: {self.label}: {' '.join(self.command)} ended with {done.returncode}:\n{done.stderr.strip()}")
        self.results.append(json.loads(done.stdout[done.stdout.index("{") :]))


def step_runs(o):
    ours = [o.ringleader, "bench", "step", "--threads", str(o.threads), "--steps", str(o.steps), "--json", "-"]
    theirs = [sys.executable, str(HERE / "step.py"), "--steps", str(o.steps)]
    whole, half = ["--threads", str(o.threads)], ["--threads", str(max(o.threads // 2, 1)), "--processes", "2"]
    runs = [Run("Ringleader, float32", ours), Run("Ringleader, bfloat16", ours + ["--dtype", "bfloat16"])]
    for name, flags in {
        "PyTorch": [],
        "PyTorch, SDPA": ["--attention", "sdpa"],
        "PyTorch, SDPA, torch.compile": ["--attention", "sdpa", "--compile"],
    }.items():
        for dtype in ("float32", "bfloat16"):
            runs.append(Run(f"{name}, {dtype}", theirs + whole + flags + ["--dtype", dtype]))
    runs.append(Run("PyTorch, SDPA, DDP of 2 processes, float32", theirs + half + ["--attention", "sdpa"]))
    return runs


# Sizes of training on data sets: fields of `what` here, flags of pinnerformer.py there.
SIZES = {
    "small": dict(window=64, layers=2, width=128, heads=4, dim=128, item_hidden=512, in_batch=256, random=256, users=64),
    "medium": dict(window=255, layers=4, width=256, heads=8, dim=256, item_hidden=1024, in_batch=1024, random=1024, users=32),
}


def description(data):
    return json.loads((pathlib.Path(data) / "dataset.json").read_text())


def train_runs(o, data, size):
    meta, s = description(data), SIZES[size]
    # The published horizon, or that of the evaluation where the data span less.
    days = 28 if min(meta["last_ms"], meta["cut_ms"]) - meta["first_ms"] >= 28 * 86400_000 else meta["eval_days"]
    fields = {"what.shards": o.threads, "what.users_per_shard": max(s["users"] // o.threads, 1), "what.model.init": "normal", "what.model.surface_dim": 16,
              "what.model.action_dim": 16, "what.loss.horizon_days": days, "what.negatives.in_batch": s["in_batch"], "what.negatives.random": s["random"]}
    fields |= {"what.model." + k: s[k] for k in ("window", "layers", "width", "heads", "dim", "item_hidden")}
    ours = [o.ringleader, "bench", "train", "--data", data, "--threads", str(o.threads), "--steps", str(2 * o.steps), "--json", "-"]
    for name, value in fields.items():
        ours += ["--set", f"{name}={value}"]
    theirs = [sys.executable, str(HERE / "pinnerformer.py"), "--data", data, "--threads", str(o.threads), "--steps", str(2 * o.steps)]
    for name, value in (s | {"horizon_days": days, "users": fields["what.users_per_shard"] * o.threads}).items():
        theirs += ["--" + name.replace("_", "-"), str(value)]
    runs = [Run("Ringleader, all targets of all positions, float32", ours),
            Run("Ringleader, all targets of all positions, bfloat16", ours + ["--set", "what.precision=bfloat16"]),
            Run("Ringleader, sampled targets, float32", ours + ["--set", "what.loss.objective=dense_all_action"])]
    for batching in ("padded", "bucketed", "packed"):
        runs.append(Run(f"PyTorch, sampled targets, {batching}, float32", theirs + ["--batching", batching]))
    runs.append(Run("PyTorch, sampled targets, packed, bfloat16", theirs + ["--batching", "packed", "--dtype", "bfloat16"]))
    return runs


def shipped(o):
    """Imports the shipped data set, once."""
    out, source = CACHE / "complete-journey", ROOT / "examples" / "data" / "complete-journey"
    if not (out / "dataset.json").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        flags = dict(name="complete-journey", user="household_id", item="product_id", time="unix_s", action="kind", duration="quantity",
                     positive="full price,discounted", items=source / "products.parquet", item_id="product_id", interest="product_category",
                     item_text="department,product_category,product_type,product_type,brand", cut="2017-11-15", holdout="0.25", eval_days="14")
        command = [o.ringleader, "data", "import", str(source / "purchases.parquet"), "--out", str(out)]
        for name, value in flags.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return str(out)


def interleave(groups, o):
    """Runs everything once a round, so that what happens to the machine happens to all."""
    for number in range(o.rounds):
        for title, runs in groups.items():
            for run in runs:
                print(f"round {number + 1} of {o.rounds}: {title}: {run.label}", file=sys.stderr, flush=True)
                run.once(o.threads)


def keep(groups, facts, o):
    """Every result, for whoever wants more than ratios; and for --render."""
    pathlib.Path(o.results).parent.mkdir(parents=True, exist_ok=True)
    everything = {title: [vars(run) for run in runs] for title, runs in groups.items()}
    pathlib.Path(o.results).write_text(json.dumps(facts | {"groups": everything}, indent=1))


def kept(o):
    facts = json.loads(pathlib.Path(o.results).read_text())
    return {title: [Run(**run) for run in runs] for title, runs in facts.pop("groups").items()}, facts


def cost(result, group):
    """Seconds and CPU seconds: of a step, or of a token where the tokens of steps differ."""
    per = 1 if group.startswith("step") else result["tokens"]
    wall = result["step_s_median"] if group.startswith("step") else result["step_s_mean"]
    return wall / per, result["cpu_s_mean" if per != 1 else "cpu_s"] / per


def ratio(run, first, value):
    """The median over rounds of a value beside the first program's of the same round, with the range."""
    r = [value(mine) / value(theirs) for mine, theirs in zip(run.results, first.results)]
    text = f"{statistics.median(r):.2f}"
    return text if run is first or len(r) == 1 else f"{text} ({min(r):.2f}-{max(r):.2f})"


def table(title, runs):
    first = runs[0]
    unit = "a step" if title.startswith("step") else "a token"
    lines = [f"| | time of {unit} | CPU time | peak memory |", "|---|---|---|---|"]
    for run in runs:
        lines.append(f"| {run.label} | {ratio(run, first, lambda r: cost(r, title)[0])} | {ratio(run, first, lambda r: cost(r, title)[1])} | {ratio(run, first, lambda r: r['peak_rss_mib'])} |")
    middle = lambda f: statistics.median(f(r) for r in first.results)
    lines += ["", f"1.00 is {middle(lambda r: r['step_s_median']):.3f} s a step, {middle(lambda r: r['cpu_s']):.3f} CPU s, {middle(lambda r: r['peak_rss_mib']):.0f} MiB, "
              f"{middle(lambda r: r['tokens_per_s']):.0f} tokens/s, {middle(lambda r: r['users_per_s']):.0f} users/s, {middle(lambda r: r['gflops']):.1f} GFLOP/s; "
              + "; ".join(f"the matrix products alone are {100 * statistics.median(r['matmul_s'] / r['step_s_median'] for r in run.results):.0f} % of the step in {run.results[0]['dtype']}"
                          for run in runs if "matmul_s" in run.results[0] and "sampled" not in run.label) + "."]
    if "input" in first.results[0]:
        lines[-1] += f" Drawing the input takes {100 * middle(lambda r: r['input']['share']):.1f} % of the CPU time."
    return lines


def section(groups, facts):
    every = [r for runs in groups.values() for run in runs for r in run.results]
    programs = sorted({r["program"] if r["program"].startswith("torch") else "ringleader " + r["program"] for r in every})
    classes = sorted({r["class"] for r in every if "class" in r})
    lines = [f"Measured on {facts['date']}: {facts['machine']}; {facts['threads']} threads; {', '.join(programs)}; numerics class {', '.join(classes)}. "
             f"Medians of {facts['rounds']} interleaved rounds, in parentheses the range; load of the machine before the first: {facts['load']:.2f}."
             + (f" Left out: {'; '.join(facts['left_out'])}." if facts.get("left_out") else ""), ""]
    for title, runs in groups.items():
        lines += [f"### {title[0].upper() + title[1:]}", "", *table(title, runs), ""]
    return "\n".join(lines)


def without(groups, pattern):
    """The groups without the runs whose label matches, and the labels of those: as the page names them, not as the pattern does."""
    skip = lambda run: re.search(pattern, run.label)
    left_out = dict.fromkeys(run.label for runs in groups.values() for run in runs if skip(run))
    return {title: [run for run in runs if not skip(run)] for title, runs in groups.items()}, list(left_out)


def measure(o):
    groups = {}
    facts = dict(date=datetime.date.today().isoformat(), machine=page.machine(), threads=o.threads, rounds=o.rounds, load=os.getloadavg()[0])
    if facts["load"] > 0.5:
        print(f"run.py: the machine is busy (load {facts['load']:.2f}): figures will be of little use", file=sys.stderr)
    if o.only != "train":
        groups["step on made-up data"] = step_runs(o)
    if o.only != "step":
        for data in [shipped(o), *o.data]:
            meta = description(data)
            for size in [o.size] if o.size else SIZES:
                groups[f"training on {meta['name']}, {size}"] = train_runs(o, data, size)
    if o.skip:
        groups, facts["left_out"] = without(groups, o.skip)
    interleave(groups, o)
    keep(groups, facts, o)
    return groups, facts


def main():
    o = arguments()
    text = section(*(kept(o) if o.render else measure(o)))
    print(text)
    if not o.dry_run:
        page.write(o.out, "measured", text)


if __name__ == "__main__":
    main()
