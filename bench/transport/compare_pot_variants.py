#!/usr/bin/env python3
"""Partial transport, barycentres and batches against POT (Debian: python3-pot) on the same data.

usage: compare_pot_variants.py path/to/skean-transport [directory of Fashion-MNIST]
One JSON object per solver and case. One process, one thread; seconds are of the solve alone, reading and start excluded."""
import csv, gzip, json, os, subprocess, sys, tempfile, time
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
import numpy as np
import ot

driver = os.path.abspath(sys.argv[1])
images = os.path.join(sys.argv[2] if len(sys.argv) > 2 else "/usr/share/datasets/fashion-mnist", "t10k-images-idx3-ubyte.gz")
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)


def out(case, solver, seconds, **more):
    print(json.dumps(dict(case=case, solver=solver, seconds=round(seconds, 4), **more)), flush=True)


def timed(f):
    t = time.perf_counter()
    x = f()
    return time.perf_counter() - t, x


def run(*args):
    text = subprocess.run([driver, *args], capture_output=True, text=True, check=True).stdout
    return text, [float(line.split()[-2]) for line in text.splitlines() if line.endswith(" s")][-1]


# partial transport of 60 % of the mass between two clouds
n = 500
g = np.random.RandomState(3)
x, y = g.rand(n, 2), 0.5 + g.rand(n, 2)
np.save("x.npy", x)
np.save("y.npy", y)
a = np.full(n, 1 / n)
C = ot.dist(x, y)
seconds, P = timed(lambda: ot.partial.partial_wasserstein(a, a, C, m=0.6))
exact = float((P * C).sum())
out("partial", "POT partial_wasserstein", seconds, cost=exact)
text, seconds = run("-x", "x.npy", "-y", "y.npy", "-transport_partial_mass", "0.6", "-transport_epsilon", "1e-5", "-transport_rtol", "1e-6")
words = [line.split() for line in text.splitlines() if line.startswith("certificate")][0]
lower, upper = float(words[1]), float(words[-3].strip(","))
out("partial", "skean ssns, eps = 1e-5 max C", seconds, lower=lower, upper=upper, holds=bool(lower <= exact * (1 + 1e-9) and exact <= upper * (1 + 1e-9)))

# barycentre of three images, no debiasing
im = np.frombuffer(gzip.open(images).read(), np.uint8, offset=16).reshape(-1, 28, 28).astype(float)
A = np.stack([im[k] / im[k].sum() for k in (2, 3, 5)])
eps = 1.458  # in pixels; POT's grid is [0,1]
seconds, (b, log) = timed(lambda: ot.bregman.convolutional_barycenter2d(A, eps / 27**2, weights=np.array([0.25, 0.25, 0.5]), numItermax=10000,
                                                                         stopThr=1e-9, log=True))
out("barycentre", "POT convolutional_barycenter2d", seconds)
text, seconds = run("-barycenter", images, "-slices", "2,3,5", "-weights", "1,1,2", "-transport_epsilon", str(eps), "-transport_epsilon_mode", "absolute",
                    "-transport_rtol", "1e-8", "-o", "b.npy")
out("barycentre", "skean", seconds, difference_l1=float(np.abs(np.load("b.npy") - b / b.sum()).sum()))

# a batch of image pairs, against the exact solver
pairs = np.random.RandomState(1).randint(0, len(im), (40, 2))
np.savetxt("pairs.csv", pairs, fmt="%d", delimiter=",")
grid = np.stack(np.meshgrid(np.arange(28), np.arange(28), indexing="ij"), -1).reshape(-1, 2).astype(float)
costs = []
start = time.perf_counter()
for i, j in pairs:
    p, q = im[i].ravel(), im[j].ravel()
    costs.append(ot.emd2(p[p > 0] / p.sum(), q[q > 0] / q.sum(), ot.dist(grid[p > 0], grid[q > 0])))
out("batch of 40 image pairs", "POT emd2 (exact)", time.perf_counter() - start)
for eps in (1e-3, 1e-5):
    text, seconds = run("-batch", images, "-pairs", "pairs.csv", "-transport_epsilon", str(eps), "-transport_rtol", "1e-6", "-o", "t.csv")
    rows = list(csv.DictReader(open("t.csv")))
    gap = max((float(r["upper"]) - float(r["lower"])) / c for r, c in zip(rows, costs))
    holds = all(float(r["lower"]) <= c * (1 + 1e-9) and c <= float(r["upper"]) * (1 + 1e-9) for r, c in zip(rows, costs))
    out("batch of 40 image pairs", f"skean, eps = {eps:g} max C", seconds, largest_gap=gap, holds=holds)
