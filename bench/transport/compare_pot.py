#!/usr/bin/env python3
"""Skean against POT (Debian: python3-pot) on the same data; the accuracy of every answer is computed by the same lines here.

usage: compare_pot.py path/to/bench_transport [--epsilon 2e-3] [--cases regex] [--limit seconds] [options of the bench]
       compare_pot.py path/to/bench_transport --crossover 500,1000,... [--gap 1e-3] [--epsilon 1e-4] [options of the bench]
One JSON object per solver and case, then per case the ratios of times. One thread. A time is that of the call alone, set-up of the solver included, start of
the process and reading not: wall and CPU time, the least of the repeats. Marginal error: |P1 - r|_1 + |P'1 - c|_1 of the plan, for Skean rebuilt from
the potentials in extended precision. Iterations of POT are limited so that a solver stays within --limit seconds (of CPU time); what had not
converged by then is said, and its time to convergence estimated from the iterations that Skean's Sinkhorn takes to 1e-8, not accelerated and at this epsilon from the
start: the same in exact arithmetic. Of no more than 20000 of them: then the time is a lower bound.
With --crossover: clouds of so many points in two and three dimensions and assignments, bounds of the cost no more than --gap apart against POT's exact
network simplex, whose cost has to lie between them."""
import argparse, json, os, re, subprocess, sys, tempfile, time, warnings
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", POT_BACKEND_DISABLE_PYTORCH="1")
import numpy as np
import ot
warnings.filterwarnings("ignore")
p = argparse.ArgumentParser()
p.add_argument("bench")
p.add_argument("--epsilon", type=float, default=2e-3)
p.add_argument("--cases", default=".")
p.add_argument("--limit", type=float, default=60)
p.add_argument("--crossover", default="")
p.add_argument("--gap", type=float, default=1e-3)
a, more = p.parse_known_args()
scratch = tempfile.mkdtemp()
ENOUGH = 2e-8  # POT stops at a 2-norm of 1e-9 in one marginal: an l1 error of up to 1e-8 is its "converged"


def images(i, j):
    import gzip
    with gzip.open("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz") as f:
        data = np.frombuffer(f.read(), dtype=np.uint8, offset=16).reshape(-1, 784)[[i, j]].astype(float)
    data /= data.sum(1, keepdims=True)
    data = (1 - 0.01 / 8) * data + 0.01 / 8 / 784
    xy = np.array([[k // 28, k % 28] for k in range(784)], dtype=float)
    return data[0], data[1], xy, xy


def uniform(x, y):
    return np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y)), x, y


def cloud(n, d, seed=7):
    g = np.random.RandomState(seed)
    return uniform(g.randn(n, d), 0.5 + 0.7 * g.randn(n, d))


def assignment(n, seed=7):
    r = np.full(n, 1 / n)
    return r, r, np.random.RandomState(seed).rand(n, n), None


cases = {
    "assignment500": (lambda: assignment(500), "cost"), "assignment2000": (lambda: assignment(2000), "cost"),
    "images-l2": (lambda: images(34860, 45815), "sqeuclidean"), "images-l1": (lambda: images(34860, 45815), "l1"),
    "cloud2d-500": (lambda: cloud(500, 2), "sqeuclidean"), "cloud3d-500": (lambda: cloud(500, 3), "sqeuclidean"),
    "cloud64d-500": (lambda: cloud(500, 64), "sqeuclidean"),
    "cloud2d-2000": (lambda: cloud(2000, 2), "sqeuclidean"), "cloud3d-2000": (lambda: cloud(2000, 3), "sqeuclidean"),
    "cloud64d-2000": (lambda: cloud(2000, 64), "sqeuclidean"),
}


def quality(P, r, c, C):
    if P is None or not np.all(np.isfinite(P)):
        return float("inf"), float("nan")
    return float(np.abs(P.sum(1) - r).sum() + np.abs(P.sum(0) - c).sum()), float((P * C).sum())


def skean(kind, r, c, x, y, cost, *extra):
    """the bench's own times of the solve, and the plan rebuilt from the potentials"""
    file = {k: os.path.join(scratch, k + ".npy") for k in "rcxy"}
    for k, v in dict(r=r, c=c, x=x, y=y).items():
        if v is not None:
            np.save(file[k], v)
    pots = os.path.join(scratch, "potentials.bin")
    data = ["-cost", file["x"]] if cost == "cost" else ["-x", file["x"], "-y", file["y"], "-transport_cost_type", cost]
    out = subprocess.run([a.bench, "-case", "files", *data, "-r", file["r"], "-c", file["c"], "-epsilons", repr(a.epsilon), "-potentials", pots,
                          "-setup", "true", "-transport_type", kind, "-transport_max_it", "1000000", *extra, *more], stdout=subprocess.PIPE, text=True).stdout
    got = json.loads([l for l in out.splitlines() if l.startswith("{")][0])
    raw = open(pots, "rb").read()
    n, m = len(r), len(c)
    f = np.frombuffer(raw, ">f8", n, 8).astype(np.longdouble)
    g = np.frombuffer(raw, ">f8", m, 16 + 8 * n).astype(np.longdouble)
    return got, f, g


def timed(f, repeat):
    best = [np.inf, np.inf]
    for k in range(repeat):
        t, s = time.perf_counter(), time.process_time()
        try:
            P = f()
        except Exception as e:  # a failure is a result
            print("#", type(e).__name__, e, file=sys.stderr)
            P = None
        best = [min(best[0], time.perf_counter() - t), min(best[1], time.process_time() - s)]
        if best[1] > 1:
            break
    return best, P


def matrix(x, y, cost):
    if cost == "cost":
        return x
    if cost == "l1":
        return np.abs(x[:, None, :] - y[None, :, :]).sum(-1)
    return sum((x[:, k, None] - y[None, :, k]) ** 2 for k in range(x.shape[1]))


for n in map(int, filter(None, a.crossover.split(","))):
    for case, make, cost in (("cloud2d", lambda: cloud(n, 2), "sqeuclidean"), ("cloud3d", lambda: cloud(n, 3), "sqeuclidean"), ("assignment", lambda: assignment(n), "cost")):
        if not re.search(a.cases, case):
            continue
        r, c, x, y = make()
        got, _, _ = skean("ssns", r, c, x, y, cost, "-transport_certificate_gap", repr(a.gap), "-transport_rtol", repr(0.1 * a.gap if cost != "cost" else 1e-4 * a.gap))
        (wall, cpu), P = timed(lambda: ot.emd(r, c, matrix(x, y, cost), numItermax=10**8), 1)
        value = float((P * matrix(x, y, cost)).sum())
        print(json.dumps(dict(crossover=case, n=n, gap=got["gap"], reason=got["reason"], brackets=bool(got["lower"] <= value * (1 + 1e-12) and value <= got["upper"] * (1 + 1e-12)),
                              skean_cpu=round(got["cpu"], 3), skean_mb=got["rss_mb"], emd_cpu=round(cpu, 3), ratio=round(cpu / got["cpu"], 2))), flush=True)
if a.crossover:
    sys.exit(0)
for case, (make, cost) in cases.items():
    if not re.search(a.cases, case):
        continue
    r, c, x, y = make()
    C = matrix(x, y, cost)
    eps = a.epsilon * C.max()
    n, rows = len(r), {}

    def report(solver, wall, cpu, P, **extra):
        err, value = quality(P, r, c, C)
        rows[solver] = dict(case=case, n=n, eps_rel=a.epsilon, solver=solver, seconds=round(wall, 5), cpu=round(cpu, 5), error=err, cost=value, **extra)
        print(json.dumps(rows[solver]), flush=True)

    for label, kind, extra in (("skean ssns", "ssns", ("-repeat", "20", "-transport_certificate", "0")), ("skean ssns with bounds", "ssns", ("-repeat", "20")),
                               ("skean sinkhorn", "sinkhorn", ("-transport_certificate", "0"))):
        got, f, g = skean(kind, r, c, x, y, cost, *extra)
        P = np.asarray(r[:, None] * c[None, :] * np.exp((f[:, None] + g[None, :] - C) / np.longdouble(eps)))
        bounds = {} if "0" in extra else dict(lower=got["lower"], upper=got["upper"])
        report(label, got["time_min"], got["cpu"], P, passes=got["passes"], iterations=got["iterations"], ksp_max=got["ksp_max"], reason=got["reason"], **bounds)
    got, _, _ = skean("sinkhorn", r, c, x, y, cost, "-transport_certificate", "0", "-transport_sinkhorn_accelerate", "0", "-transport_scaling", "0",
                      "-transport_rtol", "1e-8", "-transport_max_it", "20000")
    needed = got["iterations"]
    solvers = [(m, lambda k, m=m: ot.sinkhorn(r, c, C, eps, method=m, numItermax=k, stopThr=1e-9))
               for m in ("sinkhorn", "sinkhorn_stabilized", "sinkhorn_log")]
    if cost == "sqeuclidean":
        solvers.append(("empirical lazy", lambda k: lazy(k)))

    def lazy(k):
        f, g = ot.bregman.empirical_sinkhorn(x, y, eps, r, c, numIterMax=k, stopThr=1e-9, isLazy=True, batchSize=500)
        return np.exp(f[:, None] + g[None, :] - C / eps)

    for name, f in solvers:
        t1 = timed(lambda: f(10), 1)[0][1] / 10  # cost of an iteration
        limit = int(max(10, min(100000, a.limit / max(t1, 1e-6))))
        (wall, cpu), P = timed(lambda: f(limit), 3)
        extra = dict(iteration_limit=limit)
        if quality(P, r, c, C)[0] > ENOUGH:
            # not converged: it stopped at the limit or broke down
            extra["note"] = "not converged"
            if needed and P is not None and np.all(np.isfinite(P)) and needed > limit:
                extra["cpu_estimated"] = round(cpu * needed / limit, 3)
        report("POT " + name, wall, cpu, P, **extra)
    (wall, cpu), P = timed(lambda: ot.emd(r, c, C, numItermax=10**8), 3)
    report("POT emd", wall, cpu, P)
    mine = rows["skean ssns"]["cpu"]
    done = {k: v for k, v in rows.items() if k.startswith("POT") and k != "POT emd" and "note" not in v}
    fastest = min(done, key=lambda k: done[k]["cpu"]) if done else None
    log = rows["POT sinkhorn_log"]
    print(json.dumps(dict(summary=case, eps_rel=a.epsilon, ssns_cpu=mine, ssns_error=rows["skean ssns"]["error"], fastest=fastest,
                          times_fastest=round(done[fastest]["cpu"] / mine, 1) if fastest else None,
                          times_sinkhorn_log=round(log.get("cpu_estimated", log["cpu"]) / mine, 1),
                          sinkhorn_log_estimated="cpu_estimated" in log or "note" in log, plain_iterations=needed, plain=got["reason"],
                          emd_over_ssns_with_bounds=round(rows["POT emd"]["cpu"] / rows["skean ssns with bounds"]["cpu"], 2))), flush=True)
