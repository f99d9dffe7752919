"""The workload of `ringleader bench step` in PyTorch: 16 users of 255 encoded tokens, a transformer, and the sampled softmax of every
token's positive among 4096 negatives that take no gradient. Prints one line of JSON.

  python step.py [--attention plain|sdpa] [--compile] [--dtype float32|bfloat16] [--threads 2] [--processes 1] [--steps 8]
"""
import argparse, math, os

USERS, TOKENS, INPUT, WIDTH, HEADS, FFN, LAYERS, NEGATIVES = 16, 255, 300, 256, 8, 1024, 4, 4096


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--attention", choices=["plain", "sdpa"], default="plain")
    p.add_argument("--compile", action="store_true")
    p.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    p.add_argument("--threads", type=int, default=2, help="of each process")
    p.add_argument("--processes", type=int, default=1, help="that share the users, with DistributedDataParallel")
    p.add_argument("--steps", type=int, default=8)
    return p.parse_args()


options = arguments()
os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before torch reads it

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

import measure


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.output = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, FFN), nn.Linear(FFN, WIDTH)

    def forward(self, x, mask):
        b, t, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        if options.attention == "sdpa":
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = F.softmax(q @ k.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5 + mask.to(q.dtype), -1) @ v
        x = x + self.output(y.transpose(1, 2).reshape(b, t, WIDTH))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.input = nn.Linear(INPUT, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(TOKENS, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, FFN), nn.Linear(FFN, WIDTH)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(0.07)))
        self.register_buffer("mask", torch.full((TOKENS, TOKENS), -torch.inf).triu(1))

    def forward(self, x, positive, negative, log_q):
        x = self.input(x) + self.position
        for block in self.blocks:
            x = block(x, self.mask)
        u = F.normalize(self.down(F.gelu(self.up(self.norm(x)))), dim=-1).reshape(-1, WIDTH)
        inverse = torch.exp(-self.log_temperature)
        pool = (u @ negative.T).float() * inverse - log_q
        own = (u.float() * positive).sum(-1) * inverse
        return (torch.logaddexp(torch.logsumexp(pool, 1), own) - own).mean()


def operations():
    """Multiplications and additions of a step, three times the forward's; the negatives take no gradient."""
    forward = LAYERS * (2 * (4 * WIDTH**2 + 2 * WIDTH * FFN) + 4 * TOKENS * WIDTH) + 2 * INPUT * WIDTH + 4 * WIDTH * FFN
    return USERS * TOKENS * (3 * forward + 2 * 2 * NEGATIVES * WIDTH)


def run(rank):
    torch.set_num_threads(options.threads)
    torch.manual_seed(rank)
    model = Model()
    network = torch.compile(model) if options.compile else model
    if options.processes > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        network = nn.parallel.DistributedDataParallel(network)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    users = USERS // options.processes
    unit = lambda n: F.normalize(torch.randn(n, WIDTH), dim=-1)
    x, positive, negative, log_q = torch.randn(users, TOKENS, INPUT), unit(users * TOKENS), unit(NEGATIVES), torch.zeros(NEGATIVES)
    first = []

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bfloat16"):
            loss = network(x, positive, negative, log_q)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        first.append(loss.item())

    wall, cpu, _ = measure.steps(step, options.steps)
    rss = measure.peak_rss_mib()
    if options.processes > 1:
        both = torch.tensor(cpu + [rss], dtype=torch.float64)
        dist.all_reduce(both)
        *cpu, rss = both.tolist()
    if rank == 0:
        seconds = sorted(wall)[len(wall) // 2]
        measure.report(wall, cpu, peak_rss_mib=rss, users=USERS, tokens=USERS * TOKENS, gflops=operations() / seconds / 1e9,
                       parameters=sum(p.numel() for p in model.parameters()), first_loss=first[0])


def member(rank, file):
    dist.init_process_group("gloo", init_method="file://" + file, rank=rank, world_size=options.processes)
    run(rank)
    dist.destroy_process_group()


if __name__ == "__main__":
    if options.processes == 1:
        run(0)
    else:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            torch.multiprocessing.spawn(member, args=(folder + "/meet",), nprocs=options.processes)
