#!/usr/bin/env python3
"""Skean against POT (Debian: python3-pot) on the same data; the accuracy of every answer is computed by the same lines here.

usage: compare_pot.py path/to/skean-transport [n ...]
One JSON object per solver and case. Marginal error: |P1 - r|_1 + |P'1 - c|_1 of the plan returned. One thread."""
import json, os, subprocess, sys, time, warnings
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
import numpy as np
import ot
warnings.filterwarnings("ignore")
bench = sys.argv[1]  # the driver skean-transport
sizes = [int(a) for a in sys.argv[2:]] or [500]
eps_rel = 2e-3


def cloud(n, d=2, seed=7):
    g = np.random.RandomState(seed)
    return g.randn(n, d), 0.5 + 0.7 * g.randn(n, d)


def report(case, n, name, seconds, P, r, c, C, note=""):
    if P is None or not np.all(np.isfinite(P)):
        err, cost = float("inf"), float("nan")
    else:
        err = float(np.abs(P.sum(1) - r).sum() + np.abs(P.sum(0) - c).sum())
        cost = float((P * C).sum())
    print(json.dumps(dict(case=case, n=n, solver=name, eps_rel=eps_rel, seconds=round(seconds, 5), error=err, cost=cost, note=note)), flush=True)


def timed(f):
    t = time.perf_counter()
    try:
        P = f()
    except Exception as e:  # a failure is a result
        print("#", type(e).__name__, e, file=sys.stderr)
        P = None
    return time.perf_counter() - t, P


def skean(x, y, eps, kind, extra=()):
    """the driver's own solve time and its plan rebuilt from the potentials"""
    np.save("/tmp/skean_x.npy", x)
    np.save("/tmp/skean_y.npy", y)
    out = subprocess.run([bench, "-x", "/tmp/skean_x.npy", "-y", "/tmp/skean_y.npy", "-transport_epsilon", repr(eps), "-transport_epsilon_mode", "absolute",
                          "-transport_type", kind, "-threshold", "0", "-o", "/tmp/skean_o.h5", *extra], capture_output=True, text=True)
    line = [l for l in out.stdout.splitlines() if l.startswith("transport of")][0]
    seconds = float(line.rsplit(",", 1)[1].split()[0])
    import h5py
    with h5py.File("/tmp/skean_o.h5") as f:
        pots = [np.array(f[k]).ravel() for k in ("f", "g")]
    return seconds, pots, line


for n in sizes:
    x, y = cloud(n)
    r = np.full(n, 1 / n)
    c = np.full(n, 1 / n)
    C = ((x[:, None, :] - y[None, :, :]) ** 2).sum(-1)
    eps = eps_rel * C.max()
    for kind in ("ssns", "sinkhorn"):
        s, (f, g), line = skean(x, y, eps, kind, ("-transport_max_it", "100000"))
        P = r[:, None] * c[None, :] * np.exp((f[:, None] + g[None, :] - C) / eps)
        report("cloud", n, "skean " + kind, s, P, r, c, C, line)
    limit = 100000 if n <= 1000 else 20000
    for name, f in (
        ("POT sinkhorn", lambda: ot.sinkhorn(r, c, C, eps, method="sinkhorn", numItermax=limit, stopThr=1e-9)),
        ("POT sinkhorn_stabilized", lambda: ot.sinkhorn(r, c, C, eps, method="sinkhorn_stabilized", numItermax=limit, stopThr=1e-9)),
        ("POT sinkhorn_log", lambda: ot.sinkhorn(r, c, C, eps, method="sinkhorn_log", numItermax=limit, stopThr=1e-9)),
        ("POT emd", lambda: ot.emd(r, c, C, numItermax=10**7)),
    ):
        s, P = timed(f)
        report("cloud", n, name, s, P, r, c, C)
