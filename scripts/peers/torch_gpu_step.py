"""The workload of `ringleader bench step --preset pinnerformer` in PyTorch: a whole training step on full windows, with the exact loss, as one writes it with
scaled_dot_product_attention, autocast, torch.compile and the fused AdamW. Prints one line of JSON.

  python torch_gpu_step.py [--device cuda] [--dtype float32|bfloat16] [--no-compile] [--loss materialised|chunked] [--users 128] [--window 256] ...

The batch is on the device before the first step: drawing it, which ringleader does in every step, costs nothing here.
"""
import argparse, math

import torch
import torch.nn as nn
import torch.nn.functional as F

import timing
import torch_loss

ABSOLUTE, RELATIVE, ACTIONS, SURFACES = 12, 32, 3, 4


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--device", default="cuda")
    p.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    p.add_argument("--no-compile", action="store_true")
    p.add_argument("--loss", choices=["materialised", "chunked"], default="materialised")
    sizes = dict(steps=8, users=128, window=256, layers=6, width=768, heads=8, dim=256, vector=256, item_hidden=1024, action_dim=32, surface_dim=16, catalogue=20000,
                 negatives=13192, targets=170)
    for name, value in sizes.items():
        p.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    return p.parse_args()


class Time(nn.Module):
    def __init__(self, periods):
        super().__init__()
        self.phase = nn.Parameter(torch.zeros(2, periods))

    def forward(self, turns, log):
        return torch.cat([torch.cos(turns + self.phase[0]), torch.sin(turns + self.phase[1]), log], -1)


class Block(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads, self.drop = heads, nn.Dropout(dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(self.norm1(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.drop(self.output(y))
        return x + self.drop(self.down(self.drop(F.gelu(self.up(self.norm2(x))))))


class Model(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.register_buffer("vectors", torch.randn(o.catalogue, o.vector))
        self.action, self.surface = nn.Embedding(ACTIONS, o.action_dim), nn.Embedding(SURFACES, o.surface_dim)
        self.absolute, self.relative, self.gap = Time(ABSOLUTE), Time(RELATIVE), Time(RELATIVE)
        self.input = nn.Linear(o.vector + o.action_dim + o.surface_dim + 1 + 2 * ABSOLUTE + 4 * RELATIVE + 3, o.width)
        self.position, self.drop = nn.Parameter(0.02 * torch.randn(o.window, o.width)), nn.Dropout(0.1)
        self.blocks = nn.ModuleList(Block(o.width, o.heads, 0.1) for _ in range(o.layers))
        self.norm = nn.LayerNorm(o.width)
        self.user = nn.Sequential(nn.Linear(o.width, 4 * o.width), nn.GELU(), nn.Linear(4 * o.width, o.dim))
        self.tower = nn.Sequential(nn.Linear(o.vector, o.item_hidden), nn.GELU(), nn.Linear(o.item_hidden, o.dim))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.1)))
        self.partition = torch_loss.PARTITIONS[o.loss]

    def forward(self, b):
        parts = [self.vectors[b.item], self.action(b.action), self.surface(b.surface), b.duration, self.absolute(*b.absolute), self.relative(*b.relative), self.gap(*b.gap)]
        x = self.drop(self.input(torch.cat(parts, -1)) + self.position)
        for block in self.blocks:
            x = block(x)
        users = F.normalize(self.user(self.norm(x)), dim=-1)
        items = F.normalize(self.tower(self.vectors[b.distinct]), dim=-1)
        return torch_loss.loss(users, items, b.goal, torch.exp(-self.log_temperature).clamp(max=100), self.partition)


class Batch:
    """Random input of the right shapes. An item that was drawn more than once is in the pool once, with the logarithm of how often: as ringleader has it."""

    def __init__(self, o, device):
        shape = (o.users, o.window)
        choose = lambda below, *shape: torch.randint(below, shape, device=device)
        self.item, self.action, self.surface = choose(o.catalogue, *shape), choose(ACTIONS, *shape), choose(SURFACES, *shape)
        self.duration = torch.rand(*shape, 1, device=device)
        angles = lambda periods: (torch.rand(*shape, periods, device=device) * 2 * math.pi, torch.rand(*shape, 1, device=device))
        self.absolute, self.relative, self.gap = angles(ABSOLUTE), angles(RELATIVE), angles(RELATIVE)
        pool, count = torch.unique(choose(o.catalogue, o.negatives), return_counts=True)
        wanted = choose(o.catalogue, o.users, o.window + o.targets - 1)
        others = torch.unique(wanted[~torch.isin(wanted, pool)])
        self.distinct, self.pool = torch.cat([pool, others]), len(pool)
        row = torch.empty(o.catalogue, dtype=torch.long, device=device)
        row[self.distinct] = torch.arange(len(self.distinct), device=device)
        self.goal = torch_loss.Goal(row[wanted], torch.zeros(wanted.shape, device=device), len(pool), count.log(), o.window, o.targets)


def operations(model, batch, o):
    """Multiplications and additions of a step as `ringleader bench step` counts them, but for the pool, of which only distinct items count here."""
    maps = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    tower = sum(m.weight.numel() for m in model.tower if isinstance(m, nn.Linear))
    tokens = o.users * o.window
    forward = 2 * (maps - tower) * tokens + 4 * o.layers * o.width * o.users * o.window**2 + 2 * tower * batch.pool + 2 * batch.pool * o.dim * tokens
    return 3 * forward


def main():
    o = arguments()
    device = torch.device(o.device)
    torch.manual_seed(1)
    model, batch = Model(o).to(device), Batch(o, device)
    network = model if o.no_compile else torch.compile(model)
    decay = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    rest = [p for p in model.parameters() if all(p is not q for q in decay)]
    optimizer = torch.optim.AdamW([dict(params=decay, weight_decay=0.01), dict(params=rest, weight_decay=0)], lr=5e-4, betas=(0.9, 0.98), fused=True)
    losses = []

    def step():
        with torch.autocast(device.type, torch.bfloat16, enabled=o.dtype == "bfloat16"):
            loss = network(batch) / o.users
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())

    wall = timing.steps(step, o.steps, device)
    first, last = losses[0].item(), losses[-1].item()
    assert last == last and last < first, f"training does not learn: the loss was {first}, and is {last}"
    n = operations(model, batch, o)
    timing.report(wall, device, dtype=o.dtype, compiled=not o.no_compile, loss=o.loss, users=o.users, tokens=o.users * o.window, pool=batch.pool, operations=n,
                  gflops=n / sorted(wall)[len(wall) // 2] / 1e9, parameters=sum(p.numel() for p in model.parameters()), first_loss=first, last_loss=last)


if __name__ == "__main__":
    main()
