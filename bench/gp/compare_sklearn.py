#!/usr/bin/env python3
"""Skean against scikit-learn's GaussianProcessRegressor (Debian: python3-sklearn, python3-h5py): the same data, covariance and start.

usage: compare_sklearn.py path/to/skean-gp [n0 n1 [m0 m1 [p0 p1]]]
Posterior mean at fixed hyper-parameters on n0 x n1 points (64 64), hyper-parameters found by each optimiser on m0 x m1 (32 32), and scikit-learn's optimiser started
at the hyper-parameters that Skean found on p0 x p1 points (none). One JSON object per case. One thread."""
import json, os, re, subprocess, sys, tempfile, time
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
import h5py
import numpy as np
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
driver = sys.argv[1]
sizes = [int(a) for a in sys.argv[2:]]
fixed, found = (sizes[0:2] or [64, 64]), (sizes[2:4] or [32, 32])
SIGNAL, NOISE, ELL = 1.3, 0.05, (4.0, 6.0)


def problem(n):
    g = np.random.RandomState(3)
    a, b = np.meshgrid(np.arange(n[0]), np.arange(n[1]), indexing="ij")
    y = np.sin(a / 4.0) * np.cos(b / 7.0) + 0.3 * np.sin((a + b) / 9.0) + 0.2 * g.randn(*n)
    return np.column_stack([a.ravel(), b.ravel()]).astype(float), y


def skean(y, *options):
    with tempfile.TemporaryDirectory() as d:
        np.save(d + "/y.npy", y)
        out = subprocess.run([driver, "-grid", d + "/y.npy", "-gp_samplemean", "0", "-gp_kernel", "se(%g),se(%g)" % ELL, "-gp_signal", str(SIGNAL), "-gp_noise",
                              str(NOISE), "-variance", "0", "-o", d + "/m.h5", *options], check=True, capture_output=True, text=True).stdout
        with h5py.File(d + "/m.h5") as f:
            mean = np.array(f["mean"]).reshape(y.shape)
    ell = [float(e) for e in re.findall(r"^covariance \d: se\(([^)]*)\)", out, re.M)]
    variances = [float(v) for v in re.search(r"^signal variance (\S+), noise variance (\S+)$", out, re.M).groups()]
    line = re.search(r"^solve:(?:.*?(\d+) evaluations)?.* ([0-9.]+) s$", out, re.M)
    return mean, ell, variances, int(line.group(1) or 0), float(line.group(2)) + float(re.search(r"^posterior mean: ([0-9.]+) s", out, re.M).group(1))


def sklearn(optimizer):
    k = ConstantKernel(SIGNAL, (1e-3, 1e3)) * RBF(ELL, (1e-2, 1e3)) + WhiteKernel(NOISE, (1e-5, 1e2))
    return GaussianProcessRegressor(k, alpha=0.0, optimizer=optimizer)


def tight(f, start, bounds, maxiter=1000):
    r = minimize(f, start, jac=True, method="L-BFGS-B", bounds=bounds, options=dict(ftol=1e-15, gtol=1e-7, maxiter=maxiter))
    global counted
    counted = r.nfev
    return r.x, r.fun


X, y = problem(fixed)
mean, ell, variances, evaluations, seconds = skean(y)
g = sklearn(None)
t = time.perf_counter()
ref = g.fit(X, y.ravel()).predict(X).reshape(y.shape)
t = time.perf_counter() - t
print(json.dumps(dict(case="fixed", points=y.size, skean_s=seconds, sklearn_s=round(t, 3), ratio=round(t / max(seconds, 0.01), 1),
                      mean_difference=float(abs(mean - ref).max() / abs(ref).max()))), flush=True)
if sizes[4:6]:
    X, y = problem(sizes[4:6])
    mean, ell, variances, evaluations, seconds = skean(y, "-gp_optimize", "-gp_rtol", "1e-9")
    start = np.log([variances[0], *ell, variances[1]])
    g = GaussianProcessRegressor(ConstantKernel(variances[0], (1e-3, 1e3)) * RBF(ell, (1e-2, 1e3)) + WhiteKernel(variances[1], (1e-5, 1e2)), alpha=0.0,
                                 optimizer=lambda f, x, bounds: tight(f, x, bounds, maxiter=1))
    t = time.perf_counter()
    g.fit(X, y.ravel())
    t = (time.perf_counter() - t) / counted
    print(json.dumps(dict(case="continued", points=y.size, skean_s=seconds, evaluations=evaluations, sklearn_evaluation_s=round(t, 3), ratio_at_equal_evaluations=round(
        t * evaluations / seconds, 1), moved=float(abs(g.kernel_.theta - start).max()), sklearn_evaluations=counted)), flush=True)
X, y = problem(found)
mean, ell, variances, evaluations, seconds = skean(y, "-gp_optimize", "-gp_rtol", "1e-9")
g = sklearn(tight)
t = time.perf_counter()
ref = g.fit(X, y.ravel()).predict(X).reshape(y.shape)
t = time.perf_counter() - t
best = g.kernel_.k1.k2.length_scale
# the likelihood of both results by scikit-learn: constant, length scales, noise
likelihood = g.log_marginal_likelihood_value_
ours = g.log_marginal_likelihood(np.log([variances[0], *ell, variances[1]]))
print(json.dumps(dict(case="optimised", points=y.size, skean_s=seconds, sklearn_s=round(t, 3), ratio=round(t / max(seconds, 0.01), 1), evaluations=evaluations,
                      sklearn_evaluations=counted, loglik_difference=float(abs(ours / likelihood - 1)), length_scale_difference=float(max(abs(np.array(ell) / best - 1))),
                      mean_difference=float(abs(mean - ref).max() / abs(ref).max()))), flush=True)
