#!/usr/bin/env python3
"""Prints the table of the collocation solver: our types, classical collocations at the same number of points, and the logs of GP-HM.

  bench_pde.py path/to/bench_pde [--ranks P] [--steps N] [--problems p1a,p2a] [--slow]

GP-HM columns: the run logs of its authors (best setting over all logged runs on the domain of the released configuration; best = least error over about 20
checkpoints measured against the exact solution, last = last checkpoint), seconds on their GPU. compat: the start of GP-HM; compat_data: frequencies from
the data. Both give their last iterate; --steps: how many (the last column says whether compat_data is within twice the best of the logs). --quick leaves out
compat, varpro and, in two dimensions, the classical collocations; --large adds p3 on 256^3 and ac3 on 128^3 points.
"""
import argparse
import json
import subprocess

# problem: (GM best, GM last, GM s, StM best, StM last, StM s)
LOGS = {
    "p1a": (4.0e-7, 4.0e-7, 1329, 6.5e-7, 1.3e-4, 1665),
    "p1b": (3.5e-4, 4.9e-4, 4667, 5.8e-4, 9.9e-4, 6338),
    "p1c": (1.5e-6, 1.5e-3, 1329, 3.5e-6, 1.1e-5, 834),
    "p1d": (1.6e-6, 1.7e-6, 6043, 9.0e-7, 1.9e-6, 7451),
    "p1e": (1.8e-3, 2.1e-3, 4350, 4.2e-4, 4.4e-4, 5705),
    "ac1a": (7.7e-7, 3.3e-6, 1998, 4.9e-6, 8.2e-6, 2333),
    "ac1b": (4.2e-6, 1.4e-5, 1996, 4.8e-6, 1.8e-4, 2319),
    "p2a": (6.5e-5, 1.4e-4, 5586, 6.9e-5, 8.3e-4, 8209),
    "p2b": (1.1e-3, 2.6e-3, 6132, 1.0e-3, 1.9e-3, 6627),
    "p2c": (2.2e-4, 2.5e-4, 20631, 2.8e-4, 6.2e-4, 22418),
    "ac2": (2.6e-3, 3.5e-3, 15926, 5.7e-3, 6.6e-3, 18244),
    "adv": (1.3e-3, 1.8e-3, 9654, 1.4e-4, 1.6e-4, 2234),
}
EXTRA = ["p3", "ac3", "neumann2", "periodic2", "burgers1"]


def run(args, problem, method, extra=()):
    cmd = ["mpirun", "-n", str(args.ranks), args.bench, "-problem", problem, "-method", method, *extra]
    if method.startswith("compat") or method == "varpro":
        cmd += ["-gppde_max_it", str(args.steps)]
    try:
        out = subprocess.run(cmd, capture_output=True, text=True, timeout=args.timeout).stdout
        return json.loads([line for line in out.splitlines() if line.startswith("{")][-1])
    except (subprocess.TimeoutExpired, IndexError, json.JSONDecodeError):
        return None


def cell(r):
    if r is None:
        return "%17s" % "-"
    return "%8.1e %6.2f s" % (r["error"], r["median"])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bench")
    p.add_argument("--ranks", type=int, default=1)
    p.add_argument("--steps", type=int, default=50)
    p.add_argument("--timeout", type=int, default=120)
    p.add_argument("--problems", default=",".join(list(LOGS) + EXTRA))
    p.add_argument("--quick", action="store_true")
    p.add_argument("--large", action="store_true")
    args = p.parse_args()
    methods = ["direct", "chebyshev", "fd2", "fd4", "compat", "compat_data", "varpro"]
    print("relative error in the 2-norm, seconds; direct: also the bound it gives itself")
    print("%-10s %-17s %8s " % ("problem", "direct", "bound") + " ".join("%-17s" % m for m in methods[1:]) + " %-48s within 2x" % "GP-HM GM / StM best (last, s)")
    for problem in args.problems.split(","):
        one = problem.startswith(("p1", "ac1", "burgers"))
        row = {}
        for m in methods:
            skip = m == "varpro" and not problem.startswith("p1")
            skip = skip or (m.startswith("compat") and problem not in LOGS) or (m != "direct" and problem in ("p3", "ac3"))
            skip = skip or (args.quick and (m in ("compat", "varpro") or (m in ("chebyshev", "fd2", "fd4") and not one)))
            row[m] = None if skip else run(args, problem, m)
        log = LOGS.get(problem)
        text = "%.1e (%.1e, %d) / %.1e (%.1e, %d)" % log if log else "-"
        bound = "%8.1e" % row["direct"]["bound"] if row["direct"] else "%8s" % "-"
        reached = "yes" if log and row["compat_data"] and row["compat_data"]["error"] <= 2 * min(log[0], log[3]) else ("no" if log else "")
        print("%-10s %s %s " % (problem, cell(row["direct"]), bound) + " ".join(cell(row[m]) for m in methods[1:]) + " %-48s %s" % (text, reached), flush=True)
    for problem, n in (("p3", 256), ("ac3", 128)) if args.large else ():
        r = run(args, problem, "direct", ("-gppde_n", str(n)))
        print("%-10s %s %8s  on %d^3 points" % (problem, cell(r), "%8.1e" % r["bound"] if r else "-", n), flush=True)


if __name__ == "__main__":
    main()
