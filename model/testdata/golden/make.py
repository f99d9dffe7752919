#!/usr/bin/env python3
"""Golden values of the model: loss, gradients and updates in float64, from PyTorch and its own differentiation.

Everything is written from docs/model.md, one user, one token and one softmax at a time, and shares no code and no structure with the
program: layers are PyTorch's own, a pair's loss is cross_entropy over the positive and all unmasked draws of the pool.

    python -m venv venv && venv/bin/pip install torch==2.15.0 safetensors==0.8.0
    venv/bin/python make.py

rewrites golden.json (job, shard, losses) and golden.safetensors (item vectors, log Q, parameters, and a flat gradient for each case).
"""
import json, math, random
from pathlib import Path
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = Path(__file__).parent
HOUR = 3600 * 1000
F64 = torch.float64
rng = random.Random(20)

MODEL = dict(preset="tiny", layers=2, width=8, heads=2, ffn=16, dim=6, window=6, action_dim=3, surface_dim=2, item_hidden=7,
             dropout=0, temperature=.2, init="normal")
# Eps is large because some gradients are 0 but for rounding (those of the keys' biases), and Adam would turn their rounding into whole steps.
OPTIMIZER = dict(name="adamw", lr=.01, beta1=.9, beta2=.98, eps=1e-4, weight_decay=.1, schedule="cosine", warmup=.1, clip=1)
STEPS, TAKEN = 20, 3  # of the schedule, of which are taken: two of the warm-up and one behind it
WHAT = dict(seed=7, precision="float32", model=MODEL, optimizer=OPTIMIZER, negatives=dict(in_batch=6, random=12))
META = dict(users=100, items=20, vector_dim=5, actions_vocabulary=["buy", "hide", "view"], positive=[True, False, True],
            surfaces_vocabulary=["home", "search"], durations=True, first_ms=1_600_000_000_000, last_ms=1_800_000_000_000, cut_ms=1_790_000_000_000)
ITEMS, V, H, D = META["items"], META["vector_dim"], MODEL["width"], MODEL["dim"]


# ------------------------------------------------------------------ the shard
def shard():
    """Users of several lengths, with ties, a token without any target, a user without, and one with more than 32 positives ahead."""
    b = dict(Step=3, Shard=5, User=[], Offset=[0], Item=[], TimeMS=[], Action=[], Surface=[], Duration=[],
             PosOffset=[0], PosItem=[], PosTimeMS=[], OwnOffset=[0], OwnItem=[])
    for u, (length, ahead) in enumerate([(6, 40), (1, 3), (5, 4), (2, 0), (4, 2)]):
        now, later = 1_700_000_000_000 + rng.randrange(1000 * HOUR), []
        for i in range(length):
            if i % 3 != 1:  # every third shares the time of the one before it
                now += rng.randrange(9 * 24 * HOUR)
            if u == 4 and i == 1:
                now += 60 * 24 * HOUR  # nothing is within the horizon of the token before
            b["TimeMS"].append(now)
            b["Item"].append(rng.randrange(ITEMS))
            b["Action"].append(rng.randrange(3))
            b["Surface"].append(rng.randrange(2))
            b["Duration"].append(float(rng.randrange(50)))
            if ahead and i > 0:
                later += [now, now] if i % 2 else [now + 28 * 24 * HOUR]
        later += [now + 1 + rng.randrange(28 * 24 * HOUR) for _ in range(ahead)] + ([now + 1] * 2 if ahead == 4 else [])
        later = sorted(later)
        items = [rng.randrange(ITEMS) for _ in later]
        b["User"].append(u)
        b["Offset"].append(len(b["Item"]))
        b["PosTimeMS"] += later
        b["PosItem"] += items
        b["PosOffset"].append(len(b["PosItem"]))
        own = set(items if len(items) < 9 else items[:6]) | {rng.randrange(ITEMS)}
        b["OwnItem"] += sorted(own)
        b["OwnOffset"].append(len(b["OwnItem"]))
    b["Negative"] = [rng.choice(b["PosItem"]) for _ in range(6)] + [rng.randrange(ITEMS) for _ in range(12)]
    return b


# ------------------------------------------------------------------ parameters
def shapes():
    """Every tensor: name -> (shape, whether weight decay applies)."""
    s = {}
    def linear(name, out, inn):
        s[name + ".weight"], s[name + ".bias"] = ([out, inn], True), ([out], False)
    def norm(name):
        s[name + ".weight"], s[name + ".bias"] = ([H], False), ([H], False)
    s["embeddings.action.weight"] = ([3, MODEL["action_dim"]], False)
    s["embeddings.surface.weight"] = ([2, MODEL["surface_dim"]], False)
    for name, periods in ("absolute_time", 12), ("relative_time", 32), ("gap_time", 32):
        s[f"encodings.{name}.phase"] = ([2 * periods], False)
    linear("input", H, V + MODEL["action_dim"] + MODEL["surface_dim"] + 1 + 25 + 65 + 65)
    s["position.weight"] = ([MODEL["window"], H], False)
    for l in range(MODEL["layers"]):
        norm(f"blocks.{l}.norm1")
        linear(f"blocks.{l}.attention.qkv", 3 * H, H)
        linear(f"blocks.{l}.attention.output", H, H)
        norm(f"blocks.{l}.norm2")
        linear(f"blocks.{l}.ffn.up", MODEL["ffn"], H)
        linear(f"blocks.{l}.ffn.down", H, MODEL["ffn"])
    norm("norm")
    linear("output.up", MODEL["ffn"], H)
    linear("output.down", D, MODEL["ffn"])
    linear("items.up", MODEL["item_hidden"], V)
    linear("items.down", D, MODEL["item_hidden"])
    s["log_temperature"] = ([1], False)
    return s


def numbers(shape, scale, mean=0.):
    """Normal numbers that float32 holds exactly."""
    n = math.prod(shape)
    return torch.tensor([rng.gauss(mean, scale) for _ in range(n)], dtype=F64).float().double().reshape(shape)


def start():
    p = {}
    for name, (shape, _) in shapes().items():
        gain = "norm" in name and name.endswith(".weight")
        p[name] = numbers(shape, .3, 1. if gain else 0.)
    p["log_temperature"] = torch.tensor([math.log(.2)], dtype=F64).float().double()
    return p


# ------------------------------------------------------------------ the network
LONG = [900, 1800, 2700, 3600, 7200, 14400, 28800, 57600, 86400, 7 * 86400, 28 * 86400, 365 * 86400]
SHORT = [(28 * 86400) ** (k / 31) for k in range(32)]


def linear(p, name, x):
    return F.linear(x, p[name + ".weight"], p[name + ".bias"])


def norm(p, name, x):
    return F.layer_norm(x, [H], p[name + ".weight"], p[name + ".bias"], 1e-5)


def tower(p, name, x):
    return F.normalize(linear(p, name + ".down", F.gelu(linear(p, name + ".up", x))), dim=-1, eps=1e-12)


def item(p, vectors, i):
    return tower(p, "items", vectors[i] * math.sqrt(V))


def encode_time(p, name, ms, periods):
    t, phase, lanes = ms / 1000, p[f"encodings.{name}.phase"], []
    for i, period in enumerate(periods):
        angle = 2 * math.pi * math.fmod(t, period) / period
        lanes += [torch.cos(angle + phase[2 * i]), torch.sin(angle + phase[2 * i + 1])]
    return torch.stack(lanes + [torch.tensor(.1 * math.log1p(t), dtype=F64)])


def user(p, vectors, b, u):
    """The embeddings at the tokens of user u."""
    first, end = b["Offset"][u], b["Offset"][u + 1]
    rows = []
    for i in range(first, end):
        t = b["TimeMS"][i]
        a = torch.cat([
            vectors[b["Item"][i]] * math.sqrt(V), p["embeddings.action.weight"][b["Action"][i]], p["embeddings.surface.weight"][b["Surface"][i]],
            torch.tensor([.3 * math.log1p(b["Duration"][i])], dtype=F64), encode_time(p, "absolute_time", t, LONG),
            encode_time(p, "relative_time", b["TimeMS"][end - 1] - t, SHORT),
            encode_time(p, "gap_time", t - b["TimeMS"][max(i - 1, first)], SHORT)])
        rows.append(linear(p, "input", a) + p["position.weight"][end - 1 - i])
    x = torch.stack(rows)
    for l in range(MODEL["layers"]):
        heads = [w.reshape(len(x), MODEL["heads"], -1).transpose(0, 1) for w in linear(p, f"blocks.{l}.attention.qkv", norm(p, f"blocks.{l}.norm1", x)).split(H, dim=1)]
        y = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(0, 1).reshape(len(x), H)
        x = x + linear(p, f"blocks.{l}.attention.output", y)
        x = x + linear(p, f"blocks.{l}.ffn.down", F.gelu(linear(p, f"blocks.{l}.ffn.up", norm(p, f"blocks.{l}.norm2", x))))
    return tower(p, "output", norm(p, "norm", x))


# ------------------------------------------------------------------ targets
MASK = 2 ** 64 - 1


def mix(x):
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return x ^ x >> 31


class Draws:
    """The stream of labels of (seed, step, shard): SplitMix64 by number."""
    LABEL, GOLDEN = 7, 0x9E3779B97F4A7C15

    def __init__(self, b):
        self.key, self.i = mix((WHAT["seed"] + self.GOLDEN * self.LABEL) & MASK), 0
        for part in b["Step"], b["Shard"]:
            self.key = mix((self.key + self.GOLDEN * (part + 1)) & MASK)

    def below(self, n):
        self.i += 1
        return mix((self.key + self.GOLDEN * self.i) & MASK) * n >> 64

    def choose(self, k, things):
        """k of them in order: each with probability (left to pick)/(left to see); nothing is drawn where that is 0 or 1."""
        out = []
        for seen, x in enumerate(things):
            left, see = k - len(out), len(things) - seen
            if left >= see or left > 0 and self.below(see) < left:
                out.append(x)
        return out


def targets(b, u, loss, draws):
    """Of every token of user u the list of items that it is to predict."""
    tokens = range(b["Offset"][u], b["Offset"][u + 1])
    positives = range(b["PosOffset"][u], b["PosOffset"][u + 1])
    horizon, objective = loss["horizon_days"] * 24 * HOUR, loss["objective"]
    out = []
    for m in tokens:
        later = [j for j in positives if b["PosTimeMS"][j] > b["TimeMS"][m]]
        if objective in ("next", "sasrec"):
            later = [j for j in later if b["PosTimeMS"][j] == b["PosTimeMS"][later[0]]]
        else:
            later = [j for j in later if b["PosTimeMS"][j] <= b["TimeMS"][m] + horizon]
        out.append([] if objective in ("next", "all_action") and m != tokens[-1] else later)
    if objective == "dense_all_action":
        some = draws.choose(loss["positions"], [k for k, x in enumerate(out) if x])
        out = [x if k in some else [] for k, x in enumerate(out)]
    if objective != "dense_all_action_exact":
        out = [draws.choose(32 if objective == "all_action" else 1, x) for x in out]
    return [[b["PosItem"][j] for j in x] for x in out]


# ------------------------------------------------------------------ the loss
def user_loss(p, vectors, log_q, b, u, loss, draws):
    """The weighted mean of the losses of user u's pairs, or None if there are none."""
    wanted = targets(b, u, loss, draws)
    if not any(wanted):
        return None
    own = set(b["OwnItem"][b["OwnOffset"][u]:b["OwnOffset"][u + 1]])
    pool = [n for n in b["Negative"] if n not in own]
    tau = torch.clamp(torch.exp(p["log_temperature"][0]), min=.01)
    tokens = []  # losses of pairs, by token
    for e, mine in zip(user(p, vectors, b, u), wanted):
        negatives = [e @ item(p, vectors, n) / tau - (log_q[n] if loss["logq"] != "off" else 0) for n in pool]
        tokens.append([])
        for j in mine:
            score = e @ item(p, vectors, j) / tau - (log_q[j] if loss["logq"] == "on" else 0)
            tokens[-1].append(F.cross_entropy(torch.stack([score] + negatives)[None], torch.tensor([0])))
    if loss["newest_weight"] == "equal" and tokens[-1] and any(tokens[:-1]):
        return (average(tokens[:-1], loss) + average(tokens[-1:], loss)) / 2
    return average(tokens, loss)


def average(tokens, loss):
    tokens = [t for t in tokens if t]
    if loss["weights"] == "pairs":
        return torch.stack([l for t in tokens for l in t]).mean()
    return torch.stack([torch.stack(t).mean() for t in tokens]).mean()


def gradient(p, vectors, log_q, b, loss):
    """Sum of the users' losses, how many they are, and the gradient of the sum by tensor."""
    leaves = {k: x.clone().requires_grad_() for k, x in p.items()}
    draws = Draws(b)
    users = [l for u in range(len(b["User"])) if (l := user_loss(leaves, vectors, log_q, b, u, loss, draws)) is not None]
    total = torch.stack(users).sum()
    total.backward()
    return total.item(), len(users), {k: x.grad if x.grad is not None else torch.zeros_like(x) for k, x in leaves.items()}


def train(p, vectors, log_q, b, loss):
    """TAKEN updates of torch.optim.AdamW under the schedule, on the mean over users, clipped by the global norm."""
    p = {k: x.clone().requires_grad_() for k, x in p.items()}
    decay = {k: d for k, (_, d) in shapes().items()}
    o = OPTIMIZER
    opt = torch.optim.AdamW([dict(params=[p[k] for k in p if decay[k]], weight_decay=o["weight_decay"]),
                             dict(params=[p[k] for k in p if not decay[k]], weight_decay=0.)], betas=(o["beta1"], o["beta2"]), eps=o["eps"])
    warm, values, norms = math.ceil(o["warmup"] * STEPS), [], []
    for k in range(TAKEN):
        value, users, g = gradient({n: x.detach() for n, x in p.items()}, vectors, log_q, b, loss)
        length = math.sqrt(sum((x / users).square().sum().item() for x in g.values()))
        for n in p:
            p[n].grad = g[n] / users * min(1, o["clip"] / length)
        for group in opt.param_groups:
            group["lr"] = o["lr"] * ((k + 1) / warm if k < warm else .5 * (1 + math.cos(math.pi * (k - warm) / (STEPS - warm))))
        opt.step()
        values.append(value / users)
        norms.append(length)
    return {n: x.detach() for n, x in p.items()}, values, norms


# ------------------------------------------------------------------ the files
def cases():
    base = dict(objective="dense_all_action_exact", weights="seed", newest_weight="one", horizon_days=28, logq="on")
    for weights in "seed", "pairs":
        for logq in "on", "off", "corrected":
            yield dict(base, weights=weights, logq=logq)
    yield dict(base, newest_weight="equal")
    yield dict(base, newest_weight="equal", weights="pairs")
    for objective in "next", "sasrec", "all_action", "dense_all_action":
        extra = dict(positions=2) if objective == "dense_all_action" else {}
        newest = "equal" if objective == "sasrec" else "one"
        yield dict(base, objective=objective, newest_weight=newest, **extra)
    yield dict(base, objective="sasrec", logq="corrected")


def flat(by_name):
    return torch.cat([by_name[k].reshape(-1) for k in shapes()]).float()


def main():
    b, p = shard(), start()
    vectors = F.normalize(numbers([ITEMS, V], 1.), dim=1).float().double()
    log_q = numbers([ITEMS], 1., -1.)
    out = dict(vectors=vectors.float(), log_q=log_q.float(), start=flat(p))
    doc = dict(torch=torch.__version__, what=WHAT, meta=META, batch=b, tensors=[dict(name=k, shape=s) for k, (s, _) in shapes().items()], cases=[])
    for loss in cases():
        name = " ".join(str(x) for x in loss.values())
        value, users, g = gradient(p, vectors, log_q, b, loss)
        out["gradient " + name] = flat(g)
        doc["cases"].append(dict(name=name, loss=loss, value=value, users=users))
        print(f"{name}: {value:.6f} of {users} users")
    loss = next(cases())
    end, values, norms = train(p, vectors, log_q, b, loss)
    out["end"] = flat(end)
    doc["training"] = dict(loss=loss, steps=STEPS, values=values, norms=norms)
    print("training:", values, norms)
    save_file(out, HERE / "golden.safetensors")
    (HERE / "golden.json").write_text(json.dumps(doc, indent=1) + "\n")


main()
