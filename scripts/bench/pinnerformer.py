"""A training step of PinnerFormer on a data set that ringleader imported, as one writes it in PyTorch: the sampled dense all-action
loss, AdamW, clipping. Prints one line of JSON.

  python pinnerformer.py --data FOLDER [--batching padded|bucketed|packed] [--dtype float32|bfloat16] [--users 64] [--window 64] ...

padded: users in one rectangle as wide as the longest; bucketed: the same, of users of about the same length; packed: tokens side by side
without padding everywhere but in attention.
"""
import argparse, math, os


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--data", required=True)
    p.add_argument("--batching", choices=["padded", "bucketed", "packed"], default="padded")
    p.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=8)
    for name, value in dict(users=64, window=64, layers=2, width=128, heads=4, dim=128, item_hidden=512, action_dim=16, surface_dim=16,
                            in_batch=256, random=256, positions=32).items():
        p.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    p.add_argument("--horizon-days", type=float, default=28)
    p.add_argument("--dropout", type=float, default=0.1)
    return p.parse_args()


options = arguments()
os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before torch reads it

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import dataset
import measure

ABSOLUTE = np.array([900, 1800, 2700, 3600, 7200, 14400, 28800, 57600, 86400, 7 * 86400, 28 * 86400, 365 * 86400], np.float64)
RELATIVE = np.exp(np.linspace(0, math.log(28 * 86400), 32))


class TimeEncoding(nn.Module):
    def __init__(self, periods):
        super().__init__()
        self.phase = nn.Parameter(torch.zeros(2, periods))

    def forward(self, turns, log):
        return torch.cat([torch.cos(turns + self.phase[0]), torch.sin(turns + self.phase[1]), log[..., None]], -1)


class Block(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads, self.drop = heads, nn.Dropout(dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, batch):
        q, k, v = (batch.heads(y, self.heads) for y in self.qkv(self.norm1(x)).chunk(3, -1))
        # Padding is behind each user's tokens, so that causality hides it, too.
        y = batch.tokens(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        x = x + self.drop(self.output(y))
        return x + self.drop(self.down(self.drop(F.gelu(self.up(self.norm2(x))))))


class Model(nn.Module):
    def __init__(self, data):
        super().__init__()
        o, meta = options, data.meta
        self.register_buffer("vectors", torch.from_numpy(data.vectors) * math.sqrt(data.vectors.shape[1]))
        self.action = nn.Embedding(len(meta["actions_vocabulary"]), o.action_dim)
        surfaces = len(meta["surfaces_vocabulary"] or [])
        self.surface = nn.Embedding(surfaces, o.surface_dim) if surfaces else None
        self.absolute, self.relative, self.gap = TimeEncoding(len(ABSOLUTE)), TimeEncoding(len(RELATIVE)), TimeEncoding(len(RELATIVE))
        inputs = data.vectors.shape[1] + o.action_dim + (o.surface_dim if surfaces else 0) + bool(meta["durations"])
        self.input = nn.Linear(inputs + 2 * len(ABSOLUTE) + 4 * len(RELATIVE) + 3, o.width)
        self.position, self.drop = nn.Embedding(o.window, o.width), nn.Dropout(o.dropout)
        self.blocks = nn.ModuleList(Block(o.width, o.heads, o.dropout) for _ in range(o.layers))
        self.norm = nn.LayerNorm(o.width)
        self.user = nn.Sequential(nn.Linear(o.width, 4 * o.width), nn.GELU(), nn.Linear(4 * o.width, o.dim))
        self.item = nn.Sequential(nn.Linear(data.vectors.shape[1], o.item_hidden), nn.GELU(), nn.Linear(o.item_hidden, o.dim))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.1)))

    def items(self, index):
        return F.normalize(self.item(self.vectors[index]), dim=-1)

    def forward(self, batch):
        parts = [self.vectors[batch.item], self.action(batch.action)]
        if self.surface is not None:
            parts.append(self.surface(batch.surface))
        if batch.duration is not None:
            parts.append(batch.duration[..., None])
        parts += [self.absolute(*batch.absolute), self.relative(*batch.relative), self.gap(*batch.gap)]
        x = self.drop(self.input(torch.cat(parts, -1)) + self.position(batch.recency))
        for block in self.blocks:
            x = block(x, batch)
        return F.normalize(self.user(self.norm(x)), dim=-1)

    def loss(self, batch):
        u = self(batch)[batch.target_at]
        inverse = torch.exp(-self.log_temperature).clamp(max=100)
        items, pool = batch.target_item, batch.negative
        positive = (u * self.items(items)).sum(-1).float() * inverse - batch.log_q[items]
        scores = (u @ self.items(pool).T).float() * inverse - batch.log_q[pool]
        scores = scores.masked_fill(items[:, None] == pool, -torch.inf)  # a positive that was drawn by accident
        return (batch.weight * F.softplus(torch.logsumexp(scores, 1) - positive)).sum()


class Batch:
    """What a step computes on. Tokens are rows of a matrix (packed), or of a rectangle of users and positions with padding behind each."""

    def __init__(self, draw, windows, log_q):
        d, packed = draw.data, options.batching == "packed"
        lengths = np.array([end - first for first, end, _ in windows])
        longest = int(lengths.max())
        column = np.concatenate([np.arange(n) for n in lengths])
        row = np.repeat(np.arange(len(windows)), lengths)
        source = np.concatenate([np.arange(first, end) for first, end, _ in windows])
        self.shape, self.cells = (len(windows), longest), torch.from_numpy(row * longest + column)
        self.packed, self.count = packed, len(source)

        def place(values):
            if packed:
                return torch.from_numpy(values)
            full = np.zeros((len(windows), longest) + values.shape[1:], values.dtype)
            full[row, column] = values
            return torch.from_numpy(full)

        times, newest = d.time[source], np.repeat([d.time[end - 1] for _, end, _ in windows], lengths)
        gap = np.where(column > 0, times - d.time[source - 1], 0)
        self.item, self.action = place(d.item[source]), place(d.action[source])
        self.surface = place(d.surface[source]) if d.surface is not None else None
        self.duration = place((0.3 * np.log1p(d.duration[source])).astype(np.float32)) if d.duration is not None else None
        self.recency = place(np.repeat(lengths, lengths) - 1 - column)
        self.absolute, self.relative, self.gap = ([place(x) for x in encode(t, p)] for t, p in ((times, ABSOLUTE), (newest - times, RELATIVE), (gap, RELATIVE)))
        window, at, chosen = draw.targets(windows, options.positions)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self.target_at = torch.from_numpy(starts[window] + at) if packed else (torch.from_numpy(window), torch.from_numpy(at))
        self.target_item = torch.from_numpy(d.item[chosen])
        self.weight = torch.from_numpy((1 / np.bincount(window)[window] / len(windows)).astype(np.float32))
        self.negative = torch.from_numpy(draw.negatives(windows, options.in_batch, options.random))
        self.log_q = log_q

    def heads(self, x, heads):
        """The rectangle of a projection, users x heads x positions x width of a head."""
        if self.packed:
            x = x.new_zeros(self.shape[0] * self.shape[1], x.shape[-1]).index_copy(0, self.cells, x)
        return x.view(*self.shape, heads, -1).transpose(1, 2)

    def tokens(self, y):
        y = y.transpose(1, 2).flatten(2)
        return y.flatten(0, 1)[self.cells] if self.packed else y


def encode(milliseconds, periods):
    """Turns within each period, as angles, reduced in float64; and the logarithm."""
    seconds = milliseconds / 1000
    turns = np.mod(seconds[:, None], periods) / periods
    return (2 * math.pi * turns).astype(np.float32), (0.1 * np.log1p(np.maximum(seconds, 0))).astype(np.float32)


def expected(draw):
    """log of how often each item is expected in a pool of negatives, from the frequencies of positives."""
    d = draw.data
    counts = np.bincount(d.item[np.concatenate([wanted for _, _, wanted in draw.users])], minlength=d.meta["items"])
    q = options.in_batch * counts / counts.sum() + options.random / d.meta["items"]
    return torch.from_numpy(np.log(np.maximum(q, 1e-9)).astype(np.float32))


def main():
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    data = dataset.Dataset(options.data)
    draw = dataset.Windows(data, options.window, options.horizon_days)
    model, log_q, ready = Model(data), expected(draw), []
    decay = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    rest = [p for p in model.parameters() if all(p is not q for q in decay)]
    optimizer = torch.optim.AdamW([dict(params=decay, weight_decay=0.01), dict(params=rest, weight_decay=0)], lr=1e-3, betas=(0.9, 0.98))

    def step():
        if options.batching == "bucketed":
            ready.extend([] if ready else draw.draw_alike(options.users))
            windows = ready.pop()
        else:
            windows = draw.draw(options.users)
        batch = Batch(draw, windows, log_q)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bfloat16"):
            loss = model.loss(batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        assert math.isfinite(loss.item())
        return batch.count

    wall, cpu, tokens = measure.steps(step, options.steps)
    measure.report(wall, cpu, users=options.users, tokens=sum(tokens) / len(tokens), parameters=sum(p.numel() for p in model.parameters()))


if __name__ == "__main__":
    main()
