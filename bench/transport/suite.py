#!/usr/bin/env python3
"""The suite of transport problems: every cell to a marginal error of 1e-9, then 1e-12, with default options.

usage: suite.py path/to/bench_transport [--ranks 1,2,4] [--epsilons 1e-1,...] [--rtol 1e-9,1e-12] [--type ssns,...] [--cases regex] [--pairs k] [options of the bench]
One JSON object per solve (see bench_transport), with the tolerance that was asked for; last a summary per case, type, number of ranks and tolerance.
With --pairs k: the images are k pairs of Fashion-MNIST (Debian: dataset-fashion-mnist) at epsilon 1/1200 only, and the summary gives median passes."""
import argparse, json, os, re, statistics, subprocess, sys, tempfile

p = argparse.ArgumentParser()
p.add_argument("bench")
p.add_argument("--ranks", default="1")
p.add_argument("--epsilons", default="1e-1,1e-2,1e-3,1e-4,1e-5")
p.add_argument("--rtol", default="1e-9,1e-12")
p.add_argument("--type", default="ssns")
p.add_argument("--cases", default=".")
p.add_argument("--pairs", type=int, default=0)
p.add_argument("--timeout", type=float, default=600)
a, more = p.parse_known_args()  # what is not above goes to the bench
here = os.path.dirname(os.path.abspath(__file__))
scratch = tempfile.mkdtemp()
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

# the five pairs of the SSNS experiments; for medians, pairs of consecutive images that nothing was tuned on
pairs = [(34860, 45815), (2, 54698), (239, 43981), (37372, 54698), (17390, 49947)]
if a.pairs:
    pairs = [(1000 + 2 * k, 1001 + 2 * k) for k in range(a.pairs)]
images = os.path.join(scratch, "images.bin")
subprocess.run([sys.executable, os.path.join(here, "fashion.py"), images, *[str(i) for q in pairs for i in q]], check=True)


def pair(k, norm):
    return ["-case", "images", "-images", images, "-i", str(2 * k), "-j", str(2 * k + 1), "-norm", norm]


if a.pairs:
    cases = [(f"images-{norm}-{k}", pair(k, norm)) for norm in ("l2", "l1") for k in range(len(pairs))]
    cases += [(f"assignment500-{s}", ["-case", "lap", "-n", "500", "-seed", str(s)]) for s in range(100, 100 + a.pairs)]
    epsilons = repr(1 / 1200)
else:
    cases = [(f"assignment{n}", ["-case", "lap", "-n", str(n)]) for n in (500, 2000)]
    cases += [(f"images-{norm}-{k}", pair(k, norm)) for norm in ("l2", "l1") for k in range(2)]
    cases += [("gauss1d", ["-case", "gauss", "-n", "2000"])]
    cases += [(f"cloud{d}d", ["-case", "cloud", "-n", "2000", "-d", str(d)]) for d in (2, 3, 64)]
    epsilons = a.epsilons
groups = {}
for ranks in a.ranks.split(","):
    for kind in a.type.split(","):
        for rtol in a.rtol.split(","):
            for name, options in cases:
                if not re.search(a.cases, name):
                    continue
                command = ["mpirun", "-n", ranks, a.bench, *options, "-epsilons", epsilons, "-transport_type", kind, "-transport_rtol", rtol, *more]
                try:
                    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=a.timeout, stdin=subprocess.DEVNULL).stdout
                except subprocess.TimeoutExpired as e:
                    out = (e.stdout or b"").decode()
                cells = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
                for c in cells:
                    c.update(case=name, rtol=float(rtol))
                    print(json.dumps(c), flush=True)
                    groups.setdefault((name.rsplit("-", 1)[0], kind, ranks, rtol), []).append(c)
                if len(cells) < len(epsilons.split(",")):
                    print(json.dumps(dict(case=name, type=kind, ranks=int(ranks), rtol=float(rtol), note="not finished in time")), flush=True)
for (name, kind, ranks, rtol), cells in groups.items():
    short = [c for c in cells if not c["reason"].startswith("CONVERGED")]
    print(json.dumps(dict(summary=name, type=kind, ranks=int(ranks), rtol=float(rtol), solves=len(cells), converged=len(cells) - len(short),
                          others=sorted({c["reason"] for c in short}), worst_error=max(c["error"] for c in cells), ksp_max=max(c["ksp_max"] for c in cells),
                          median_passes=statistics.median(c["passes"] for c in cells), max_passes=max(c["passes"] for c in cells),
                          median_iterations=statistics.median(c["iterations"] for c in cells),
                          median_seconds=statistics.median(c["time_median"] for c in cells), median_cpu=statistics.median(c["cpu"] for c in cells))), flush=True)
