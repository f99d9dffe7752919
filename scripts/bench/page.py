"""The page that figures are written into, and what they were measured on."""
import os, pathlib, platform, tempfile


def machine():
    caches = []
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        read = lambda name: (index / name).read_text().strip()
        caches.append(f"L{read('level')} {read('type').lower()} {read('size')}")
    names = {line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")}
    return f"{', '.join(names) or platform.machine()}, {len(os.sched_getaffinity(0))} CPUs, {', '.join(caches) or 'caches unknown'}; Linux {platform.release()}"


def write(file, part, text):
    """Puts text between the lines of the file that say where this part begins and ends."""
    file, begin, end = pathlib.Path(file), f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    before, found, rest = file.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise SystemExit(f"{file} has no lines {begin} and {end} for the figures to stand between")
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as f:
        f.write(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")
    os.chmod(f.name, 0o644)
    os.replace(f.name, file)
