"""Writes what gpu-check measured as Markdown, for docs/benchmarks.md: ratios of times and of memory to Ringleader's, and model FLOPs utilisation.

  python3 figures.py RESULTS
"""
import json, pathlib, statistics, sys

# Dense products on tensor cores (bfloat16), and float32 without them, in TFLOP/s, as NVIDIA's data sheets give them.
PEAKS = {"H200 NVL": (835, 60), "H200": (989, 67), "H100 NVL": (835, 60), "H100 PCIe": (756, 51), "H100": (989, 67), "A100": (312, 19.5)}


def runs(folder):
    """Reports by program, in the order of rounds; programs in the order in which they ran first."""
    found = {}
    for file in sorted(folder.glob("*.json"), key=lambda f: (int(f.name.split(".")[0]), f.stat().st_mtime_ns)):
        number, label, _ = file.name.split(".")
        found.setdefault(label, {})[int(number)] = json.loads(file.read_text())
    return found


def peak(gpu, dtype):
    for name, (half, single) in PEAKS.items():
        if all(word in gpu for word in name.split()):
            return 1e12 * (half if dtype == "bfloat16" else single)
    return None


def ratio(mine, first, value):
    shared = [n for n in mine if n in first and first[n].get(value) and mine[n].get(value)]
    if not shared:
        return "-"
    r = [mine[n][value] / first[n][value] for n in shared]
    return f"{statistics.median(r):.2f}" + (f" ({min(r):.2f}-{max(r):.2f})" if len(r) > 1 and mine is not first else "")


def table(found, dtype, gpu):
    own = {label: r for label, r in found.items() if label.endswith("-" + dtype)}
    first = own.get("ringleader-" + dtype)
    if not first:
        return []
    # One count of operations for all: PyTorch's script counts distinct items of the pool, Ringleader the pool as drawn.
    counted = [r["operations"] for group in own.values() for r in group.values() if "operations" in r]
    best = peak(gpu, dtype)
    lines = [f"| {dtype} | time | peak memory of the GPU | model FLOPs utilisation |", "|---|---|---|---|"]
    for label, reports in sorted(own.items(), key=lambda pair: not pair[0].startswith("ringleader")):
        seconds = statistics.median(r["step_s_median"] for r in reports.values())
        some = next(iter(reports.values()))
        operations = counted[0] if counted else some["gflops"] * 1e9 * some["step_s_median"]
        used = f"{100 * operations / seconds / best:.1f} %" if best else "-"
        name = label.removesuffix("-" + dtype).replace("torch-", "PyTorch, ").replace("ringleader", "Ringleader")
        lines.append(f"| {name} | {ratio(reports, first, 'step_s_median')} | {ratio(reports, first, 'peak_device_mib')} | {used} |")
    middle = lambda key: statistics.median(r[key] for r in first.values() if r.get(key) is not None)
    return lines + ["", f"1.00 is {middle('step_s_median'):.4g} s, {middle('peak_device_mib'):.0f} MiB, {middle('tokens_per_s'):.0f} tokens/s, {middle('gflops') / 1e3:.3g} TFLOP/s.", ""]


def main():
    out = pathlib.Path(sys.argv[1])
    device = out / "device" / "device.txt"
    facts = dict(line.split(": ", 1) for line in device.read_text().splitlines() if ": " in line) if device.exists() else {}
    groups = {title: runs(out / name) for name, title in (("step", "Step of the published size"), ("loss", "The exact loss alone, forward and backward")) if (out / name).is_dir()}
    reports = [r for found in groups.values() for group in found.values() for r in group.values()]
    smi = next((v for k, v in facts.items() if k.startswith("nvidia-smi")), "none")
    classes = sorted({r["class"] for r in reports if "class" in r})
    programs = sorted({r["program"] if r["program"].startswith("torch") else "ringleader " + r["program"] for r in reports})
    print(f"Measured on {facts.get('date', 'a date that was not noted')}: {smi}; {facts.get('processor', 'processor unknown')}; {', '.join(programs) or 'nothing'}; "
          f"numerics class {', '.join(classes) or 'unknown'}.\n")
    gpu = smi if smi != "none" else ""
    for title, found in groups.items():
        lines = table(found, "float32", gpu) + table(found, "bfloat16", gpu)
        print("\n".join([f"### {title}", "", *(lines or ["Nothing of Ringleader's was measured.", ""])]))
    print("Medians of interleaved rounds, in parentheses the range. Utilisation is of the GPU's products in bfloat16 on tensor cores, in float32 without them, by NVIDIA's figures for the\n"
          "model; operations are counted as on this page. PyTorch's batch is on the GPU before the first step; Ringleader draws and uploads its own in every step.\n")
    print("| stage | verdict | seconds | |\n|---|---|---|---|")
    for s in json.loads((out / "summary.json").read_text()):
        print(f"| {s['stage']} | {s['verdict']} | {s['seconds']} | {s['text'].strip()} |")


if __name__ == "__main__":
    main()
