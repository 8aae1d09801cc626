#!/usr/bin/env python3
"""Draws time against the number of columns for every method of bench_ksp_dense, with the crossovers marked.

Usage: bench/plot_crossover.py results.json [picture.png]      (default bench/results/crossover.png)
results.json holds the JSON lines that bench_ksp_dense printed. A crossover is where the time of the iteration falls below that of
the fastest direct method (of tsqr, cqrrt, cholqr, pdgels), by straight lines between the measured points in logarithmic scales.
Needs python3-matplotlib.
"""
import json
import math
import os
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DIRECT = ("tsqr", "cqrrt", "cholqr", "pdgels")


def read(name):
    times = {}
    ranks = kappa = None
    with open(name) as lines:
        for line in lines:
            if not line.startswith("{"):
                continue
            r = json.loads(line)
            if r.get("bench") != "ksp_dense":
                continue
            times.setdefault(r["method"], {})[r["d"]] = (r["median_s"], r["min_s"], r["max_s"])
            ranks, kappa = r["ranks"], r["kappa"]
    return times, ranks, kappa


def crossovers(times):
    """Pairs (d, seconds) where the sign of log(iterative / best direct) changes"""
    best = {}
    for method in DIRECT:
        for d, t in times.get(method, {}).items():
            best[d] = min(best.get(d, math.inf), t[0])
    iterative = times.get("iterative", {})
    ds = sorted(set(best) & set(iterative))
    found = []
    for a, b in zip(ds, ds[1:]):
        ga, gb = (math.log(iterative[d][0] / best[d]) for d in (a, b))
        if ga * gb < 0:
            f = ga / (ga - gb)
            between = lambda x, y: math.exp((1 - f) * math.log(x) + f * math.log(y))
            found.append((between(a, b), between(iterative[a][0], iterative[b][0])))
    return found


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    times, ranks, kappa = read(sys.argv[1])
    if not times:
        sys.exit(f"{sys.argv[1]}: no line of bench_ksp_dense")
    out = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "results", "crossover.png")
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    fig, ax = plt.subplots(figsize=(7, 4.5))
    styles = {"auto": ("k", "--", "s"), "iterative": ("C0", "-", "o"), "cqrrt": ("C1", "-", "^"), "cholqr": ("C2", "-", "v"), "tsqr": ("C3", "-", "D"), "pdgels": ("0.5", "-", "x")}
    for method, points in times.items():
        ds = sorted(points)
        color, line, marker = styles.get(method, ("C5", "-", "."))
        t = [points[d][0] for d in ds]
        error = [[points[d][0] - points[d][1] for d in ds], [points[d][2] - points[d][0] for d in ds]]
        ax.errorbar(ds, t, yerr=error, color=color, linestyle=line, marker=marker, capsize=2, label="ScaLAPACK pdgels" if method == "pdgels" else method)
    for d, t in crossovers(times):
        ax.axvline(d, color="C0", linestyle=":", linewidth=1)
        ax.annotate(f"d = {d:.0f}", (d, t), textcoords="offset points", xytext=(-4, 10), ha="right", fontsize=8)
        print(f"crossover of iterative and the best direct method at d = {d:.0f}")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ticks = sorted({d for points in times.values() for d in points})
    ax.set_xticks(ticks, [str(d) for d in ticks])
    ax.set_xlabel("columns d")
    ax.set_ylabel("seconds (median; bars: smallest, largest)")
    ax.set_title(f"Dense least squares, {ranks} processes, condition {kappa:.0e}")
    ax.grid(True, which="both", alpha=0.3)
    ax.legend(fontsize=8)
    fig.tight_layout()
    fig.savefig(out, dpi=150)
    print(out)


if __name__ == "__main__":
    main()
