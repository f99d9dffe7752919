"""The workload of `ringleader bench loss` in PyTorch: the exact dense all-action loss of made-up embeddings, forward and backward. Prints one line of JSON.

  python torch_loss.py [--variant materialised|compiled|chunked|cce] [--device cuda] [--dtype float32|bfloat16] [--users 128] [--positions 255] ...

materialised: all scores with the pool are held; compiled: the same by torch.compile; chunked: the pool's scores of some users at a time, computed again in the
backward; cce: their log-sum-exp by the package cut-cross-entropy, which has no mask, so that it computes a little less.
"""
import argparse

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


class Goal:
    """What positions are to predict: position m of a user the positives m .. m+targets-1 of the user's list, against a pool of which some are masked for the user."""

    def __init__(self, positive, positive_bias, pool, pool_bias, positions, targets):
        self.positive, self.positive_bias, self.pool, self.pool_bias = positive, positive_bias, pool, pool_bias
        step = torch.arange(positions, device=positive.device)
        self.band = step[:, None] + torch.arange(targets, device=positive.device)
        # Masked as a sum: -inf where a user has the item among the positives.
        own = torch.zeros(positive.shape[0], max(pool, int(positive.max()) + 1), dtype=torch.bool, device=positive.device)
        own.scatter_(1, positive, True)
        self.mask = torch.zeros(own.shape[0], pool, device=positive.device).masked_fill_(own[:, :pool], -torch.inf)


def partition(users, pool, bias, mask, inverse):
    """The log-sum-exp of each position's scores with the pool."""
    return torch.logsumexp((users @ pool.T).float() * inverse + bias + mask[:, None], -1)


def chunked(users, pool, bias, mask, inverse, size=8):
    parts = [checkpoint(partition, u, pool, bias, m, inverse, use_reentrant=False) for u, m in zip(users.split(size), mask.split(size))]
    return torch.cat(parts)


def cut(users, pool, bias, mask, inverse):
    from cut_cross_entropy import linear_cross_entropy

    # The loss of label 0 is the log-sum-exp less its score.
    rows = (users.flatten(0, 1) * inverse).to(torch.bfloat16)
    label = torch.zeros(rows.shape[0], dtype=torch.long, device=rows.device)
    nll = linear_cross_entropy(rows, pool.to(torch.bfloat16), label, bias=bias.to(torch.bfloat16), reduction="none")
    return (nll.float() + (rows @ pool[0].to(torch.bfloat16)).float() + bias[0]).view(users.shape[:2])


def loss(users, items, goal, inverse, partition=partition):
    """users: users x positions x width, items: rows, the pool first."""
    z = partition(users, items[: goal.pool], goal.pool_bias, goal.mask, inverse)
    own = (users @ items[goal.positive].transpose(1, 2)).float() * inverse + goal.positive_bias[:, None]
    own = own.gather(2, goal.band.expand(users.shape[0], -1, -1))
    return F.softplus(z[..., None] - own).mean((1, 2)).sum()


PARTITIONS = dict(materialised=partition, compiled=partition, chunked=chunked, cce=cut)


def main():
    import timing

    p = argparse.ArgumentParser()
    p.add_argument("--variant", choices=list(PARTITIONS), default="materialised")
    p.add_argument("--device", default="cuda")
    p.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    for name, value in dict(users=128, positions=255, targets=64, pool=13192, dim=256, steps=8).items():
        p.add_argument("--" + name, type=int, default=value)
    o = p.parse_args()
    device = torch.device(o.device)
    torch.manual_seed(1)
    unit = lambda *shape: F.normalize(torch.randn(*shape, device=device), dim=-1).requires_grad_()
    rows = o.pool + (o.pool + 1) // 2
    users, items = unit(o.users, o.positions, o.dim), unit(rows, o.dim)
    listed = o.positions + o.targets - 1
    goal = Goal(torch.randint(rows, (o.users, listed), device=device), torch.randn(o.users, listed, device=device), o.pool, torch.randn(o.pool, device=device),
                o.positions, o.targets)
    compute = torch.compile(loss) if o.variant == "compiled" else loss
    values = []

    def step():
        users.grad = items.grad = None
        with torch.autocast(device.type, torch.bfloat16, enabled=o.dtype == "bfloat16"):
            value = compute(users, items, goal, 10.0, PARTITIONS[o.variant])
        value.backward()
        values.append(value.detach())

    wall = timing.steps(step, o.steps, device)
    operations = 3 * 2 * o.users * o.positions * (o.pool + o.targets) * o.dim
    value = values[-1].item() / o.users
    assert value == value and users.grad.isfinite().all() and items.grad.isfinite().all(), "the loss or a gradient is not finite"
    timing.report(wall, device, variant=o.variant, dtype=o.dtype, users=o.users, positions=o.positions, targets=o.targets, pool=o.pool, dim=o.dim, loss=value,
                  operations=operations, gflops=operations / sorted(wall)[len(wall) // 2] / 1e9)


if __name__ == "__main__":
    main()
