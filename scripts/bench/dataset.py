"""Reads a data set that ringleader imported, and draws what a training step needs: the same users, windows and positives that
ringleader trains with, by other random numbers."""
import json, pathlib

import numpy as np
import pyarrow.parquet as parquet
from safetensors.numpy import load_file

DAY_MS = 24 * 60 * 60 * 1000


class Dataset:
    """Sequences of all users as flat arrays; user u has the actions offset[u] .. offset[u+1]-1, in order of time."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.meta = json.loads((folder / "dataset.json").read_text())
        self.vectors = load_file(folder / "item_vectors.safetensors")["vectors"].astype(np.float32)
        tables = [parquet.read_table(p) for p in sorted((folder / "sequences").glob("part-*.parquet"))]
        column = lambda name, dtype: np.concatenate([flat(t.column(name)) for t in tables]).astype(dtype)
        lengths = np.concatenate([np.concatenate([np.diff(c.offsets.to_numpy()) for c in t.column("item").chunks]) for t in tables])
        self.offset = np.concatenate([[0], np.cumsum(lengths)])
        self.item, self.time, self.action = column("item", np.int64), column("time_ms", np.int64), column("action", np.int64)
        self.surface = column("surface", np.int64) if self.meta["surfaces_vocabulary"] else None
        self.duration = column("duration", np.float32) if self.meta["durations"] else None

    def eligible(self, horizon_ms):
        """Users that can train, the same number as ringleader's: the share of the hold-out by another order. With the valid ends of
        their windows (exclusive): the last of a group of equal times, with a positive within the horizon and up to the cut."""
        positive, cut = np.array(self.meta["positive"]), self.meta["cut_ms"]
        users = []
        for u in np.random.default_rng(0).permutation(len(self.offset) - 1)[int(self.meta["holdout"] * (len(self.offset) - 1)) :]:
            lo = self.offset[u]
            times = self.time[lo : self.offset[u + 1]]
            times = times[: np.searchsorted(times, cut, "right")]
            wanted = lo + np.flatnonzero(positive[self.action[lo : lo + len(times)]])
            if len(wanted) == 0:
                continue
            last = np.append(times[1:] != times[:-1], True)
            reach = np.searchsorted(self.time[wanted], times + horizon_ms, "right") > np.searchsorted(self.time[wanted], times, "right")
            ends = lo + 1 + np.flatnonzero(last & reach)
            if len(ends):
                users.append((lo, ends, wanted))
        return users


def flat(column):
    return np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks])


class Windows:
    """Draws users without replacement, epoch by epoch, and a window of each."""

    def __init__(self, data, window, horizon_days, seed=1):
        self.data, self.window, self.horizon = data, window, int(horizon_days * DAY_MS)
        self.users, self.rng = data.eligible(self.horizon), np.random.default_rng(seed)
        self.queue = []

    def draw(self, count):
        """A list of (first, end, positives): a window's actions, and the positives in its reach, all as indices of actions."""
        while len(self.queue) < count:
            self.queue += self.rng.permutation(len(self.users)).tolist()
        drawn, self.queue = self.queue[:count], self.queue[count:]
        time, out = self.data.time, []
        for k in drawn:
            lo, ends, wanted = self.users[k]
            end = ends[self.rng.integers(len(ends))]
            first = max(lo, end - self.window)
            times = time[wanted]
            out.append((first, end, wanted[np.searchsorted(times, time[first], "right") : np.searchsorted(times, time[end - 1] + self.horizon, "right")]))
        return out

    def draw_alike(self, count, batches=16):
        """Batches of windows of about the same length, in random order."""
        windows = sorted(self.draw(count * batches), key=lambda w: w[1] - w[0])
        cut = [windows[i : i + count] for i in range(0, len(windows), count)]
        return [cut[i] for i in self.rng.permutation(batches)]

    def targets(self, windows, positions):
        """For each window up to so many random positions that have a target, with one random target each: the sampled dense all-action
        objective. Three arrays: number of the window, position in it, index of the action."""
        time, rows = self.data.time, []
        for row, (first, end, wanted) in enumerate(windows):
            times, own = time[wanted], time[first:end]
            lo, hi = np.searchsorted(times, own, "right"), np.searchsorted(times, own + self.horizon, "right")
            at = np.flatnonzero(hi > lo)
            if len(at) > positions:
                at = self.rng.choice(at, positions, replace=False)
            chosen = wanted[lo[at] + (self.rng.random(len(at)) * (hi - lo)[at]).astype(np.int64)]
            rows.append(np.stack([np.full(len(at), row), at, chosen]))
        return np.concatenate(rows, axis=1)

    def negatives(self, windows, in_batch, random):
        """Items: draws from the windows' positives, a window first and then one of its own, and from the catalogue."""
        chosen = [p[self.rng.integers(len(p))] for p in (windows[i][2] for i in self.rng.integers(len(windows), size=in_batch))]
        return np.concatenate([self.data.item[np.array(chosen, np.int64)], self.rng.integers(self.data.meta["items"], size=random)])
