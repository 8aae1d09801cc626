static const char help[] =
  "Optimal transport between two clouds of points, two densities on a grid, or with a cost matrix.\n\n"
  "  skean-transport -x source.npy -y target.npy [-r weights] [-c weights] -transport_epsilon 1e-3 -o plan.h5 -plot map.png\n"
  "  skean-transport -source jan.nc:SLP -target jul.nc:SLP -transport_epsilon 1e-4 -plot map.png\n"
  "  skean-transport -cost cost.mtx [-r weights] [-c weights] -transport_epsilon 0.01 -transport_epsilon_mode median\n"
  "  skean-transport -graph edges.mtx -r here.csv -c there.csv\n"
  "  skean-transport -barycenter a.pgm,b.pgm -weights 1,3 -transport_epsilon 2e-3 -debiased -o mean.npy -plot mean.png\n"
  "  skean-transport -batch images.idx.gz -pairs pairs.csv -transport_epsilon 1e-3 -o costs.csv\n\n"
  "  -x, -y file       points, one per row (.npy, .csv, .h5, ...)\n"
  "  -r, -c file       their masses; without, all equal\n"
  "  -source, -target file[:variable]  densities on one grid (NetCDF, .npy, .pgm, ...); missing values have no mass\n"
  "  -source_slice, -target_slice k    slice k of the first dimension (default: the whole grid)\n"
  "  -offset x         subtracted from densities first; what is below has no mass (default 0)\n"
  "  -normalize bool   scale both densities to mass one (default true for grids, false otherwise)\n"
  "  -separable bool   grids: passes axis by axis (default); false: the points with mass as a cloud\n"
  "  -cost file        n x m; a sparse matrix forbids what it does not hold\n"
  "  -graph file       N x N sparse matrix of the lengths of edges; the cost is the length of the shortest path, -r and -c are over the nodes\n"
  "  -epsilons a,b,... first solve with these epsilons, each from the potentials of the one before, and print a table\n"
  "  -divergence       the Sinkhorn divergence too, by two more solves (points and grids)\n"
  "  -barycenter file[,file...]  barycentre of densities on one grid; of one file with -slices k,k,... of its first dimension\n"
  "  -weights w,w,...  of the densities (default: equal)\n"
  "  -debiased         without the blur of the entropy\n"
  "  -batch file       images (first dimension: their number); every pair of numbers in -pairs file (two columns) is a problem of\n"
  "                    its own, solved on one process; -o gets the table: pair, cost, bounds, marginal error, iterations, reason, error code\n"
  "  -threshold x      entries of the plan above it are written (default 1e-9 of the mass)\n"
  "  -o file           potentials f and g, map and plan to one file (.h5 .hdf5, or .bin .petsc .dat of PETSc) or to stem.f.mtx and so on\n"
  "                    (.mtx .mm); without a plan, that is for -source and -target, also .nc .cdf, and stem.f.npy and so on (.npy).\n"
  "                    The barycentre: .h5 .hdf5 .npy .nc .cdf. The table of a batch: .csv, or as numbers any of these\n"
  "  -plot file        picture of both densities and where the mass goes (.png, .svg, .pdf)\n"
  "  -transport_...    see SkeanTransportSetFromOptions()\n"
  "Exit code: 0 converged, 1 not converged, 2 error. -traceback: where an error arose.\n\n";

#include "driver.hpp"
#include <skean.h>
#include <skeanio.h>
#include <skean/private/plot.hpp>
#include <petsctime.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>
#include <unistd.h>

namespace {

PetscErrorCode Option(const char name[], std::string *value)
{
  char      text[PETSC_MAX_PATH_LEN];
  PetscBool set;

  PetscFunctionBegin;
  PetscCall(PetscOptionsGetString(NULL, NULL, name, text, sizeof(text), &set));
  *value = set ? text : "";
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* masses from a file, redistributed as the rows of A are, or all equal */
PetscErrorCode Masses(const char option[], const std::string &file, PetscInt local, PetscInt n, Vec *v)
{
  PetscFunctionBegin;
  PetscCall(VecCreateMPI(PETSC_COMM_WORLD, local, n, v));
  if (file.empty())
    PetscCall(VecSet(*v, 1.0 / n));
  else {
    Vec        in;
    IS         is;
    VecScatter sc;
    PetscInt   size, lo;

    PetscCall(SkeanVecLoadFile(PETSC_COMM_WORLD, file.c_str(), &in));
    PetscCall(VecGetSize(in, &size));
    PetscCheck(size == n, PETSC_COMM_WORLD, PETSC_ERR_ARG_SIZ, "%s holds %" PetscInt_FMT " masses for %" PetscInt_FMT " points", file.c_str(), size, n);
    PetscCall(VecGetOwnershipRange(*v, &lo, NULL));
    PetscCall(VecGetLocalSize(*v, &local));
    PetscCall(ISCreateStride(PETSC_COMM_WORLD, local, lo, 1, &is));
    PetscCall(VecScatterCreate(in, is, *v, NULL, &sc));
    PetscCall(VecScatterBegin(sc, in, *v, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecScatterEnd(sc, in, *v, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecScatterDestroy(&sc));
    PetscCall(ISDestroy(&is));
    PetscCall(VecDestroy(&in));
    PetscCall(driver::CheckNonNegative(*v, option, file.c_str()));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A density on a grid (or a slice of its first dimension): positive part of value - offset, missing values without mass */
struct Density {
  SkeanGrid              grid = NULL;
  std::vector<PetscInt>  dims;
  std::vector<PetscReal> lo, hi; /* first and last coordinate */
  Vec                    mass = NULL;
  /* for pictures */
  std::vector<std::string> labels;
  bool                     alike = false; /* the last two dimensions have the same units */
  std::string              what;          /* variable and slice */
};

PetscErrorCode LoadDensity(const std::string &file, const char slice[], PetscReal offset, Density *d)
{
  PetscInt        nd, k = -1, first = 0;
  const PetscInt *dims;
  PetscBool       set;
  Vec             all;

  PetscFunctionBegin;
  PetscCall(SkeanGridLoadFile(PETSC_COMM_WORLD, file.c_str(), &d->grid));
  PetscCall(SkeanGridGetDims(d->grid, &nd, &dims));
  PetscCall(PetscOptionsGetInt(NULL, NULL, slice, &k, &set));
  if (set) {
    PetscCheck(nd >= 2 && k >= 0 && k < dims[0], PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "%s %" PetscInt_FMT ": %s has %" PetscInt_FMT " slices", slice, k,
               file.c_str(), dims[0]);
    first = 1;
  }
  const size_t colon = file.rfind(':'), slash = file.rfind('/');
  d->what = file.substr(colon != std::string::npos && (slash == std::string::npos || colon > slash) ? colon + 1 : slash == std::string::npos ? 0 : slash + 1);
  if (set) {
    const char      *name, *units;
    const PetscReal *x;
    PetscCall(SkeanGridGetDim(d->grid, 0, &name, &units, &x));
    d->what += ", " + (name && *name ? std::string(name) : std::string("slice")) + " " + std::to_string(k);
  }
  PetscInt    N = 1, rest = 1;
  const char *before = NULL;
  for (PetscInt q = first; q < nd; ++q) {
    const PetscReal *x;
    const char      *name, *units;
    PetscCall(SkeanGridGetDim(d->grid, q, &name, &units, &x));
    d->labels.push_back(driver::AxisLabel(name, units));
    d->alike = driver::AxesAlike(before, units);
    before   = units;
    d->dims.push_back(dims[q]);
    d->lo.push_back(x ? x[0] : 0.0);
    d->hi.push_back(x ? x[dims[q] - 1] : dims[q] - 1.0);
    if (x) { /* the separable cost and the picture take the points to be equally spaced */
      const double h = (x[dims[q] - 1] - x[0]) / PetscMax(dims[q] - 1, 1);
      for (PetscInt i = 0; i < dims[q]; ++i)
        PetscCheck(std::fabs(x[i] - x[0] - i * h) <= 1e-3 * std::fabs(h), PETSC_COMM_WORLD, PETSC_ERR_SUP,
                   "%s: the points along dimension %" PetscInt_FMT " are not equally spaced", file.c_str(), q);
    }
    N *= dims[q];
    if (q > first) rest *= dims[q];
  }
  /* whole hyperplanes of the first dimension */
  PetscInt rows = PETSC_DECIDE, len = d->dims[0], lo;
  PetscCall(PetscSplitOwnership(PETSC_COMM_WORLD, &rows, &len));
  PetscCall(VecCreateMPI(PETSC_COMM_WORLD, rows * rest, N, &d->mass));
  PetscCall(VecGetOwnershipRange(d->mass, &lo, NULL));
  PetscCall(SkeanGridGetValues(d->grid, &all));
  IS         is;
  VecScatter sc;
  PetscCall(ISCreateStride(PETSC_COMM_WORLD, rows * rest, lo + (set ? k * N : 0), 1, &is));
  PetscCall(VecScatterCreate(all, is, d->mass, NULL, &sc));
  PetscCall(VecScatterBegin(sc, all, d->mass, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterEnd(sc, all, d->mass, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterDestroy(&sc));
  PetscCall(ISDestroy(&is));
  PetscScalar *a;
  PetscCall(VecGetArray(d->mass, &a));
  for (PetscInt i = 0; i < rows * rest; ++i) a[i] = std::isnan(a[i]) ? 0.0 : PetscMax(0.0, a[i] - offset);
  PetscCall(VecRestoreArray(d->mass, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* coordinates of the points of a grid, rows distributed as v */
PetscErrorCode GridPoints(const Density &d, Vec v, Mat *X)
{
  PetscInt     lo, hi, N, lda;
  PetscScalar *a;

  PetscFunctionBegin;
  const PetscInt nd = static_cast<PetscInt>(d.dims.size());
  PetscCall(VecGetOwnershipRange(v, &lo, &hi));
  PetscCall(VecGetSize(v, &N));
  PetscCall(MatCreateDense(PETSC_COMM_WORLD, hi - lo, PETSC_DECIDE, N, nd, NULL, X));
  PetscCall(MatDenseGetLDA(*X, &lda));
  PetscCall(MatDenseGetArrayWrite(*X, &a));
  for (PetscInt i = lo; i < hi; ++i) {
    PetscInt q = i;
    for (PetscInt k = nd - 1; k >= 0; --k) {
      const PetscInt  j = q % d.dims[k];
      const PetscReal h = d.dims[k] > 1 ? (d.hi[k] - d.lo[k]) / (d.dims[k] - 1) : 0.0;
      q /= d.dims[k];
      a[(i - lo) + static_cast<size_t>(k) * lda] = d.lo[k] + h * j;
    }
  }
  PetscCall(MatDenseRestoreArrayWrite(*X, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* column k of a dense matrix as a vector laid out as its rows */
PetscErrorCode Column(Mat X, PetscInt k, Vec like, Vec *v)
{
  PetscInt           n, lda;
  const PetscScalar *x;
  PetscScalar       *a;

  PetscFunctionBegin;
  PetscCall(VecDuplicate(like, v));
  PetscCall(VecGetLocalSize(*v, &n));
  PetscCall(MatDenseGetLDA(X, &lda));
  PetscCall(MatDenseGetArrayRead(X, &x));
  PetscCall(VecGetArray(*v, &a));
  for (PetscInt i = 0; i < n; ++i) a[i] = x[i + static_cast<size_t>(k) * lda];
  PetscCall(VecRestoreArray(*v, &a));
  PetscCall(MatDenseRestoreArrayRead(X, &x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The barycentric map by products with the plan alone: for every kind of cost, grids too */
PetscErrorCode Map(SkeanTransport t, Mat X, Mat Y, Vec r, Vec c, Mat *T)
{
  PetscInt     d, lda, n;
  Vec          y, Py, one, mass;
  PetscScalar *a;

  PetscFunctionBegin;
  PetscCall(MatGetSize(Y, NULL, &d));
  PetscCall(MatDuplicate(X, MAT_DO_NOT_COPY_VALUES, T));
  PetscCall(MatDenseGetLDA(*T, &lda));
  PetscCall(VecDuplicate(c, &one));
  PetscCall(VecDuplicate(r, &mass));
  PetscCall(VecDuplicate(r, &Py));
  PetscCall(VecSet(one, 1.0));
  PetscCall(SkeanTransportApply(t, one, mass));
  PetscCall(VecGetLocalSize(r, &n));
  for (PetscInt k = 0; k < d; ++k) {
    const PetscScalar *p, *m;
    PetscCall(Column(Y, k, c, &y));
    PetscCall(SkeanTransportApply(t, y, Py));
    PetscCall(VecGetArrayRead(Py, &p));
    PetscCall(VecGetArrayRead(mass, &m));
    PetscCall(MatDenseGetArrayWrite(*T, &a));
    for (PetscInt i = 0; i < n; ++i) a[i + static_cast<size_t>(k) * lda] = m[i] > 0 ? p[i] / m[i] : 0.0;
    PetscCall(MatDenseRestoreArrayWrite(*T, &a));
    PetscCall(VecRestoreArrayRead(mass, &m));
    PetscCall(VecRestoreArrayRead(Py, &p));
    PetscCall(VecDestroy(&y));
  }
  PetscCall(VecDestroy(&one));
  PetscCall(VecDestroy(&mass));
  PetscCall(VecDestroy(&Py));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Arrows as lines: from up to about 400 sources with mass to where their mass goes on average */
PetscErrorCode Arrows(Vec r, Mat X, Mat T, skean::PlotPanel *panel)
{
  std::vector<double> m, x[2], y[2];

  PetscFunctionBegin;
  PetscCall(skean::PlotGather(r, &m));
  for (PetscInt k = 0; k < 2; ++k) {
    Vec v;
    PetscCall(Column(X, k, r, &v));
    PetscCall(skean::PlotGather(v, &x[k]));
    PetscCall(VecDestroy(&v));
    PetscCall(Column(T, k, r, &v));
    PetscCall(skean::PlotGather(v, &y[k]));
    PetscCall(VecDestroy(&v));
  }
  size_t with = 0, seen = 0;
  for (double w : m) with += w > 0;
  const size_t        step = PetscMax(size_t(1), with / 400);
  std::vector<double> ax, ay, px, py;
  for (size_t i = 0; i < m.size(); ++i)
    if (m[i] > 0 && seen++ % step == 0) {
      ax.insert(ax.end(), {x[1][i], y[1][i], std::nan("")});
      ay.insert(ay.end(), {x[0][i], y[0][i], std::nan("")});
      px.push_back(y[1][i]);
      py.push_back(y[0][i]);
    }
  panel->Add("path", ax, ay);
  panel->Add("arrives", px, py, true);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* the densities of a barycentre: files, or slices of one file */
PetscErrorCode LoadDensities(const std::string &names, PetscReal offset, std::vector<Density> *all)
{
  std::vector<std::string> files;
  PetscInt                 slices[256], ns = 256;
  PetscBool                set;

  PetscFunctionBegin;
  for (size_t from = 0; from <= names.size();) {
    const size_t to = std::min(names.find(',', from), names.size());
    files.push_back(names.substr(from, to - from));
    from = to + 1;
  }
  PetscCall(PetscOptionsGetIntArray(NULL, NULL, "-slices", slices, &ns, &set));
  PetscCheck(!set || files.size() == 1, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "-slices goes with one file");
  if (set) files.assign(static_cast<size_t>(ns), files[0]);
  for (size_t k = 0; k < files.size(); ++k) {
    Density   d;
    PetscReal mass;
    if (set) {
      char text[32];
      PetscCall(PetscSNPrintf(text, sizeof(text), "%" PetscInt_FMT, slices[k]));
      PetscCall(PetscOptionsSetValue(NULL, "-source_slice", text));
    }
    PetscCall(LoadDensity(files[k], "-source_slice", offset, &d));
    PetscCheck(all->empty() || d.dims == (*all)[0].dims, PETSC_COMM_WORLD, PETSC_ERR_ARG_SIZ, "%s and %s have different grids", files[0].c_str(),
               files[k].c_str());
    PetscCall(VecSum(d.mass, &mass));
    PetscCheck(mass > 0, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "%s has no mass", files[k].c_str());
    PetscCall(VecScale(d.mass, 1.0 / mass));
    all->push_back(d);
  }
  if (set) PetscCall(PetscOptionsClearValue(NULL, "-source_slice"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Barycenter(const std::string &names, PetscReal offset, const std::string &output, const std::string &plot, bool *converged)
{
  std::vector<Density> all;
  std::vector<Vec>     b;
  SkeanTransport       t;
  SkeanConvergedReason reason;
  Vec                  a;
  PetscBool            debiased = PETSC_FALSE, set;
  PetscReal            err, eps, w[256];
  PetscInt             its, passes, nw = 256;
  PetscLogDouble       t0, t1;

  PetscFunctionBegin;
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-debiased", &debiased, NULL));
  PetscCall(LoadDensities(names, offset, &all));
  PetscCall(PetscOptionsGetRealArray(NULL, NULL, "-weights", w, &nw, &set));
  PetscCheck(!set || static_cast<size_t>(nw) == all.size(), PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "%" PetscInt_FMT " weights for %d densities", nw,
             static_cast<int>(all.size()));
  for (const Density &d : all) b.push_back(d.mass);
  PetscCall(VecDuplicate(b[0], &a));
  PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  PetscCall(SkeanTransportSetGrid(t, static_cast<PetscInt>(all[0].dims.size()), all[0].dims.data(), all[0].lo.data(), all[0].hi.data()));
  PetscCall(SkeanTransportSetFromOptions(t));
  PetscCall(PetscTime(&t0));
  PetscCall(SkeanTransportComputeBarycenter(t, static_cast<PetscInt>(b.size()), b.data(), set ? w : NULL, debiased, a, &err));
  PetscCall(PetscTime(&t1));
  PetscCall(SkeanTransportGetConvergedReason(t, &reason));
  PetscCall(SkeanTransportGetIterationNumber(t, &its));
  PetscCall(SkeanTransportGetPasses(t, &passes));
  PetscCall(SkeanTransportGetEpsilon(t, &eps));
  PetscInt n;
  PetscCall(VecGetSize(a, &n));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "barycentre of %d densities on %" PetscInt_FMT " points%s, epsilon %.6g: %s, %" PetscInt_FMT " iterations, %" PetscInt_FMT
                        " passes, %.2f s\nmarginal error %.3e (l1, relative)\n",
                        static_cast<int>(b.size()), n, debiased ? ", debiased" : "", (double)eps, SkeanConvergedReasons[reason], its, passes, t1 - t0,
                        (double)err));
  if (!output.empty()) {
    SkeanGrid grid; /* of the shape of the densities */
    Vec       values;
    PetscCall(SkeanGridCreate(PETSC_COMM_WORLD, static_cast<PetscInt>(all[0].dims.size()), all[0].dims.data(), &grid));
    PetscCall(SkeanGridGetValues(grid, &values));
    PetscCall(VecCopy(a, values));
    PetscCall(PetscObjectSetName((PetscObject)grid, "barycenter"));
    PetscCall(SkeanGridWriteFile(grid, output.c_str()));
    PetscCall(SkeanGridDestroy(&grid));
  }
  if (!plot.empty() && all[0].dims.size() == 2) {
    skean::PlotFigure figure(static_cast<int>(PetscMin(b.size() + 1, size_t(4))));
    for (size_t k = 0; k <= b.size(); ++k) {
      std::vector<double> values;
      PetscCall(skean::PlotGather(k < b.size() ? b[k] : a, &values));
      figure.Add(skean::PlotPanel::Heat(k < b.size() ? "density " + std::to_string(k) : "barycentre", static_cast<int>(all[0].dims[1]),
                                        static_cast<int>(all[0].dims[0]), values)
                   .Image()
                   .NoBar());
    }
    PetscCall(skean::PlotWrite(PETSC_COMM_WORLD, figure, plot));
  } else if (!plot.empty() && all[0].dims.size() == 1) {
    skean::PlotFigure   figure(1);
    skean::PlotPanel    lines = skean::PlotPanel::Lines("barycentre");
    std::vector<double> x;
    for (PetscInt i = 0; i < n; ++i) x.push_back(all[0].lo[0] + (all[0].hi[0] - all[0].lo[0]) * i / PetscMax(n - 1, 1));
    for (size_t k = 0; k <= b.size(); ++k) {
      std::vector<double> values;
      PetscCall(skean::PlotGather(k < b.size() ? b[k] : a, &values));
      lines.Add(k < b.size() ? "density " + std::to_string(k) : "barycentre", values.empty() ? values : x, values);
    }
    figure.Add(lines);
    PetscCall(skean::PlotWrite(PETSC_COMM_WORLD, figure, plot));
  } else if (!plot.empty())
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "no picture: it needs a grid of one or two dimensions\n"));
  *converged = reason > 0;
  PetscCall(SkeanTransportDestroy(&t));
  PetscCall(VecDestroy(&a));
  for (Density &d : all) {
    PetscCall(SkeanGridDestroy(&d.grid));
    PetscCall(VecDestroy(&d.mass));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* the images of a batch that some pair names, on every process */
struct Images {
  PetscInt              h = 1, w = 1;
  std::vector<PetscInt> number; /* sorted */
  Vec                   pixels = NULL;
  std::vector<PetscInt> pair;
  PetscReal             offset    = 0;
  PetscBool             separable = PETSC_FALSE;
};

PetscErrorCode SetPair(PetscInt k, SkeanTransport t, void *ctx)
{
  Images            *I = static_cast<Images *>(ctx);
  const PetscInt     N = I->h * I->w, dims[2] = {I->h, I->w};
  const PetscReal    lo[2] = {0, 0}, hi[2] = {I->h - 1.0, I->w - 1.0};
  const PetscScalar *pixels;
  Vec                v[2];
  Mat                X[2];

  PetscFunctionBegin;
  PetscCall(VecGetArrayRead(I->pixels, &pixels));
  for (int side = 0; side < 2; ++side) {
    const PetscInt           at = static_cast<PetscInt>(std::lower_bound(I->number.begin(), I->number.end(), I->pair[2 * k + side]) - I->number.begin());
    const PetscScalar       *p  = pixels + static_cast<size_t>(at) * N;
    std::vector<PetscInt>    idx;
    std::vector<PetscScalar> mass;
    PetscScalar             *a, total = 0;
    for (PetscInt i = 0; i < N; ++i) {
      const double x = std::isnan(p[i]) ? 0.0 : PetscMax(0.0, p[i] - I->offset);
      if (I->separable || x > 0) {
        idx.push_back(i);
        mass.push_back(x);
        total += x;
      }
    }
    PetscCheck(total > 0, PETSC_COMM_SELF, PETSC_ERR_USER_INPUT, "Image %" PetscInt_FMT " has no mass", I->pair[2 * k + side]);
    const PetscInt n = static_cast<PetscInt>(idx.size());
    PetscCall(VecCreateSeq(PETSC_COMM_SELF, n, &v[side]));
    PetscCall(VecGetArray(v[side], &a));
    for (PetscInt i = 0; i < n; ++i) a[i] = mass[i] / total;
    PetscCall(VecRestoreArray(v[side], &a));
    PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, n, 2, NULL, &X[side]));
    PetscCall(MatDenseGetArrayWrite(X[side], &a));
    for (PetscInt i = 0; i < n; ++i) {
      a[i]     = static_cast<PetscScalar>(idx[i] / I->w);
      a[n + i] = static_cast<PetscScalar>(idx[i] % I->w);
    }
    PetscCall(MatDenseRestoreArrayWrite(X[side], &a));
  }
  PetscCall(VecRestoreArrayRead(I->pixels, &pixels));
  PetscCall(SkeanTransportSetMarginals(t, v[0], v[1]));
  if (I->separable)
    PetscCall(SkeanTransportSetGrid(t, 2, dims, lo, hi));
  else
    PetscCall(SkeanTransportSetPoints(t, X[0], X[1]));
  for (int side = 0; side < 2; ++side) {
    PetscCall(VecDestroy(&v[side]));
    PetscCall(MatDestroy(&X[side]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode LoadImages(const std::string &file, const std::string &pairs, Images *I)
{
  SkeanGrid       grid;
  Mat             P;
  Vec             all, x, y;
  PetscInt        nd, np, nc, count;
  const PetscInt *dims;

  PetscFunctionBegin;
  PetscCall(SkeanMatLoadFile(PETSC_COMM_WORLD, pairs.c_str(), MATDENSE, &P));
  PetscCall(MatGetSize(P, &np, &nc));
  PetscCheck(nc == 2, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "%s has %" PetscInt_FMT " columns, two are needed: the numbers of the images of every pair",
             pairs.c_str(), nc);
  PetscCall(SkeanGridLoadFile(PETSC_COMM_WORLD, file.c_str(), &grid));
  PetscCall(SkeanGridGetDims(grid, &nd, &dims));
  PetscCheck(nd == 3, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "%s has %" PetscInt_FMT " dimensions, three are needed: images, rows, columns", file.c_str(), nd);
  I->h  = dims[1];
  I->w  = dims[2];
  count = dims[0];
  PetscCallCXX(I->pair.resize(2 * static_cast<size_t>(np)));
  PetscCall(MatCreateVecs(P, NULL, &x));
  for (PetscInt side = 0; side < 2; ++side) {
    VecScatter         sc;
    const PetscScalar *a;
    PetscCall(MatGetColumnVector(P, x, side));
    PetscCall(VecScatterCreateToAll(x, &sc, &y));
    PetscCall(VecScatterBegin(sc, x, y, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecScatterEnd(sc, x, y, INSERT_VALUES, SCATTER_FORWARD));
    PetscCall(VecGetArrayRead(y, &a));
    for (PetscInt k = 0; k < np; ++k) {
      PetscCheck(a[k] >= 0 && a[k] < count && a[k] == std::floor(a[k]), PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT,
                 "%s, pair %" PetscInt_FMT ": %g is not the number of one of %" PetscInt_FMT " images", pairs.c_str(), k, (double)a[k], count);
      I->pair[2 * k + side] = static_cast<PetscInt>(a[k]);
    }
    PetscCall(VecRestoreArrayRead(y, &a));
    PetscCall(VecScatterDestroy(&sc));
    PetscCall(VecDestroy(&y));
  }
  PetscCall(VecDestroy(&x));
  PetscCall(MatDestroy(&P));
  PetscCallCXX(I->number = I->pair);
  std::sort(I->number.begin(), I->number.end());
  I->number.erase(std::unique(I->number.begin(), I->number.end()), I->number.end());
  IS             from;
  VecScatter     sc;
  const PetscInt N = I->h * I->w, images = static_cast<PetscInt>(I->number.size());
  PetscCall(SkeanGridGetValues(grid, &all));
  PetscCall(ISCreateBlock(PETSC_COMM_SELF, N, images, I->number.data(), PETSC_COPY_VALUES, &from));
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, images * N, &I->pixels));
  PetscCall(VecScatterCreate(all, from, I->pixels, NULL, &sc));
  PetscCall(VecScatterBegin(sc, all, I->pixels, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterEnd(sc, all, I->pixels, INSERT_VALUES, SCATTER_FORWARD));
  PetscCall(VecScatterDestroy(&sc));
  PetscCall(ISDestroy(&from));
  PetscCall(SkeanGridDestroy(&grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* the table of a batch as text, by the first process */
PetscErrorCode WriteTable(const std::string &name, const Images &I, const std::vector<SkeanTransportBatchResult> &x)
{
  PetscMPIInt rank;
  int         bad = 0;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (!rank) {                                     /* under another name until it is complete: an old table stays if there is no room for this one */
    const size_t      slash = name.rfind('/') + 1; /* 0 if there is none */
    const std::string temp  = name.substr(0, slash) + ".skean-" + std::to_string(getpid()) + "-" + name.substr(slash);
    FILE             *f     = std::fopen(temp.c_str(), "w");
    bad                     = !f;
    if (f) {
      std::fprintf(f, "source,target,cost,lower,upper,marginal_error,iterations,reason,error\n");
      for (size_t k = 0; k < x.size(); ++k)
        std::fprintf(f, "%lld,%lld,%.17g,%.17g,%.17g,%.3e,%lld,%s,%d\n", static_cast<long long>(I.pair[2 * k]), static_cast<long long>(I.pair[2 * k + 1]),
                     (double)x[k].cost, (double)x[k].lower, (double)x[k].upper, (double)x[k].marginalerror, static_cast<long long>(x[k].iterations),
                     SkeanConvergedReasons[x[k].reason], static_cast<int>(x[k].error));
      bad = std::ferror(f) != 0;
      bad = std::fclose(f) != 0 || bad;
    }
    bad = bad || std::rename(temp.c_str(), name.c_str());
    if (bad) (void)std::remove(temp.c_str());
  }
  PetscCallMPI(MPI_Bcast(&bad, 1, MPI_INT, 0, PETSC_COMM_WORLD));
  PetscCheck(!bad, PETSC_COMM_WORLD, PETSC_ERR_FILE_WRITE, "%s: cannot write all bytes: is the disk full?", name.c_str());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Batch(const std::string &file, const std::string &pairs, PetscReal offset, const std::string &output, bool *converged)
{
  Images                                 I;
  std::vector<SkeanTransportBatchResult> x;
  PetscLogDouble                         t0, t1;
  PetscMPIInt                            size, rank;
  PetscInt                               good = 0, failed = 0;

  PetscFunctionBegin;
  PetscCheck(!pairs.empty(), PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "-batch needs -pairs (see -help)");
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  I.offset = offset;
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-separable", &I.separable, NULL));
  PetscCall(LoadImages(file, pairs, &I));
  const PetscInt n = static_cast<PetscInt>(I.pair.size() / 2);
  PetscCallCXX(x.resize(static_cast<size_t>(n)));
  PetscCall(PetscTime(&t0));
  PetscCall(SkeanTransportSolveBatch(PETSC_COMM_WORLD, n, SetPair, &I, NULL, x.data()));
  PetscCall(PetscTime(&t1));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "   source    target              cost             lower             upper    error   its  reason\n"));
  for (PetscInt k = 0; k < n; ++k) {
    const char *text = NULL;
    if (x[k].error) PetscCall(PetscErrorMessage(x[k].error, &text, NULL));
    good += x[k].reason > 0;
    failed += x[k].error != 0;
    if (k >= 20 && !output.empty()) continue; /* the file has them all */
    if (x[k].error)
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%9" PetscInt_FMT " %9" PetscInt_FMT "  failed: %s\n", I.pair[2 * k], I.pair[2 * k + 1], text ? text : "error"));
    else
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%9" PetscInt_FMT " %9" PetscInt_FMT " %17.10g %17.10g %17.10g %8.1e %5" PetscInt_FMT "  %s\n", I.pair[2 * k],
                            I.pair[2 * k + 1], (double)x[k].cost, (double)x[k].lower, (double)x[k].upper, (double)x[k].marginalerror, x[k].iterations,
                            SkeanConvergedReasons[x[k].reason]));
  }
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "%" PetscInt_FMT " problems on %d processes: %" PetscInt_FMT " converged, %" PetscInt_FMT " not, %" PetscInt_FMT " failed, %.2f s\n", n,
                        size, good, n - good - failed, failed, t1 - t0));
  const bool csv = output.size() > 4 && output.compare(output.size() - 4, 4, ".csv") == 0;
  if (csv)
    PetscCall(WriteTable(output, I, x));
  else if (!output.empty()) {
    Mat          T;
    PetscScalar *a;
    PetscInt     lda;
    PetscCall(MatCreateDense(PETSC_COMM_WORLD, rank ? 0 : n, PETSC_DECIDE, n, 9, NULL, &T));
    PetscCall(MatDenseGetLDA(T, &lda));
    PetscCall(MatDenseGetArrayWrite(T, &a));
    for (PetscInt k = 0; !rank && k < n; ++k) {
      const PetscReal row[9] = {static_cast<PetscReal>(I.pair[2 * k]),
                                static_cast<PetscReal>(I.pair[2 * k + 1]),
                                x[k].cost,
                                x[k].lower,
                                x[k].upper,
                                x[k].marginalerror,
                                static_cast<PetscReal>(x[k].iterations),
                                static_cast<PetscReal>(x[k].reason),
                                static_cast<PetscReal>(x[k].error)};
      for (PetscInt q = 0; q < 9; ++q) a[k + static_cast<size_t>(q) * lda] = row[q];
    }
    PetscCall(MatDenseRestoreArrayWrite(T, &a));
    PetscCall(PetscObjectSetName((PetscObject)T, "batch"));
    PetscCall(SkeanMatWriteFile(T, output.c_str()));
    PetscCall(MatDestroy(&T));
  }
  PetscCall(VecDestroy(&I.pixels));
  *converged = good == n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* solves with decreasing epsilons, each from the potentials of the one before, and leaves the last potentials as the start of the solve that follows */
PetscErrorCode Path(SkeanTransport t, Vec r, Vec c)
{
  PetscReal eps[256];
  PetscInt  n = 256;
  PetscBool set;
  Vec       f, g;
  char      text[32] = "max";

  PetscFunctionBegin;
  PetscCall(PetscOptionsGetRealArray(NULL, NULL, "-epsilons", eps, &n, &set));
  if (!set) PetscFunctionReturn(PETSC_SUCCESS);
  PetscEnum mode = (PetscEnum)SKEAN_TRANSPORT_EPS_MAX;
  PetscReal last = 1e-2;
  PetscCall(PetscOptionsGetEnum(NULL, NULL, "-transport_epsilon_mode", SkeanTransportEpsModes, &mode, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-transport_epsilon", &last, NULL));
  PetscCall(PetscSNPrintf(text, sizeof(text), "%s", SkeanTransportEpsModes[mode]));
  PetscCall(VecDuplicate(r, &f));
  PetscCall(VecDuplicate(c, &g));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "epsilon (%8s)             <C,P>             lower             upper    error passes  reason\n", text));
  for (PetscInt k = 0; k < n; ++k) {
    SkeanConvergedReason reason;
    PetscReal            cost, lower, upper, err;
    PetscInt             passes;
    PetscCall(SkeanTransportSetEpsilon(t, eps[k], (SkeanTransportEpsMode)mode));
    PetscCall(SkeanTransportSolve(t));
    PetscCall(SkeanTransportGetConvergedReason(t, &reason));
    PetscCall(SkeanTransportGetCosts(t, &cost, NULL, NULL));
    PetscCall(SkeanTransportGetCertificate(t, &lower, &upper));
    PetscCall(SkeanTransportGetMarginalError(t, &err));
    PetscCall(SkeanTransportGetPasses(t, &passes));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%18.6g %17.10g %17.10g %17.10g %8.1e %6" PetscInt_FMT "  %s\n", (double)eps[k], (double)cost, (double)lower,
                          (double)upper, (double)err, passes, SkeanConvergedReasons[reason]));
    PetscCall(SkeanTransportGetPotentials(t, f, g));
    PetscCall(SkeanTransportSetInitialPotentials(t, f, g));
  }
  PetscCall(SkeanTransportSetEpsilon(t, last, (SkeanTransportEpsMode)mode));
  PetscCall(VecDestroy(&f));
  PetscCall(VecDestroy(&g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* relative; none where the bounds are equal, which may both be zero */
PetscReal Gap(PetscReal lower, PetscReal upper)
{
  return upper == lower ? 0.0 : (upper - lower) / PetscAbsReal(upper);
}

PetscErrorCode PrintOptions(void)
{
  SkeanTransport t;

  PetscFunctionBegin;
  PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  PetscCall(SkeanTransportSetFromOptions(t));
  PetscCall(SkeanTransportDestroy(&t));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Run(driver::ExitCode *code)
{
  std::string          fx, fy, fr, fc, fs, ft, fcost, fgraph, fbary, fbatch, fpairs, output, plot;
  PetscReal            offset = 0, threshold = -1;
  PetscBool            normalize = PETSC_FALSE, separable = PETSC_TRUE;
  Density              source, target;
  Vec                  r = NULL, c = NULL, f, g;
  Mat                  X = NULL, Y = NULL, C = NULL, T = NULL, P = NULL;
  SkeanTransport       t;
  SkeanConvergedReason reason;
  PetscReal            err, cost, entropy, total, lower, upper, eps, mass;
  PetscInt             its, passes;
  PetscLogDouble       t0, t1;

  PetscFunctionBegin;
  PetscCall(Option("-x", &fx));
  PetscCall(Option("-y", &fy));
  PetscCall(Option("-r", &fr));
  PetscCall(Option("-c", &fc));
  PetscCall(Option("-source", &fs));
  PetscCall(Option("-target", &ft));
  PetscCall(Option("-cost", &fcost));
  PetscCall(Option("-graph", &fgraph));
  PetscCall(Option("-barycenter", &fbary));
  PetscCall(Option("-batch", &fbatch));
  PetscCall(Option("-pairs", &fpairs));
  PetscCall(Option("-o", &output));
  PetscCall(Option("-plot", &plot));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-offset", &offset, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-threshold", &threshold, NULL));
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-separable", &separable, NULL));
  PetscCall(SkeanWarnSlowBLAS(PETSC_COMM_WORLD));
  PetscCall(driver::CheckOutput(PETSC_COMM_WORLD, "-plot", plot.c_str(), driver::PlotEndings()));
  /* what can be written depends on what there will be: a plan is sparse, a barycentre a grid, a batch a table */
  if (!fbary.empty())
    PetscCall(driver::CheckOutput(PETSC_COMM_WORLD, "-o", output.c_str(), {".h5", ".hdf5", ".npy", ".nc", ".cdf"}));
  else if (!fbatch.empty()) {
    std::vector<const char *> endings = driver::DataEndings();
    PetscCallCXX(endings.insert(endings.begin(), ".csv"));
    PetscCall(driver::CheckOutput(PETSC_COMM_WORLD, "-o", output.c_str(), endings));
  } else if (!fs.empty() && separable) {
    PetscCall(driver::CheckOutput(PETSC_COMM_WORLD, "-o", output.c_str(), driver::DataEndings()));
    PetscCall(driver::CheckOutputParts(PETSC_COMM_WORLD, "-o", output.c_str(), {"f", "g", "map"}));
  } else {
    PetscCall(driver::CheckOutput(PETSC_COMM_WORLD, "-o", output.c_str(), {".h5", ".hdf5", ".mtx", ".mm", ".bin", ".petsc", ".dat"}));
    PetscCall(driver::CheckOutputParts(PETSC_COMM_WORLD, "-o", output.c_str(), {"f", "g", "map", "plan"}));
  }
  const int inputs = (!fx.empty() || !fy.empty()) + (!fs.empty() || !ft.empty()) + !fcost.empty() + !fgraph.empty() + !fbary.empty() + !fbatch.empty();
  if (inputs == 1 && (!fbary.empty() || !fbatch.empty())) {
    bool converged;
    if (!fbary.empty())
      PetscCall(Barycenter(fbary, offset, output, plot, &converged));
    else
      PetscCall(Batch(fbatch, fpairs, offset, output, &converged));
    *code = converged ? driver::Converged : driver::NotConverged;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (inputs != 1) PetscCall(driver::WarnMisspelt());
  PetscCheck(inputs == 1, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT,
             "Give one of: -x and -y, -source and -target, -cost, -graph, -barycenter or -batch (see -help)");
  PetscCheck(fx.empty() == fy.empty() && fs.empty() == ft.empty(), PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT,
             "Both sources and targets must be given (see -help)");
  PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  const bool grid = !fs.empty();
  if (grid) {
    normalize = PETSC_TRUE;
    PetscCall(LoadDensity(fs, "-source_slice", offset, &source));
    PetscCall(LoadDensity(ft, "-target_slice", offset, &target));
    PetscCheck(source.dims == target.dims, PETSC_COMM_WORLD, PETSC_ERR_ARG_SIZ, "%s and %s have different grids", fs.c_str(), ft.c_str());
    r = source.mass;
    c = target.mass;
    PetscCall(GridPoints(source, r, &X));
    PetscCall(GridPoints(target, c, &Y));
    if (separable)
      PetscCall(SkeanTransportSetGrid(t, static_cast<PetscInt>(source.dims.size()), source.dims.data(), source.lo.data(), source.hi.data()));
    else
      PetscCall(SkeanTransportSetPoints(t, X, Y));
  } else if (!fx.empty()) {
    PetscInt n, m, nl, ml;
    PetscCall(SkeanMatLoadFile(PETSC_COMM_WORLD, fx.c_str(), MATDENSE, &X));
    PetscCall(SkeanMatLoadFile(PETSC_COMM_WORLD, fy.c_str(), MATDENSE, &Y));
    PetscCall(MatGetSize(X, &n, NULL));
    PetscCall(MatGetSize(Y, &m, NULL));
    PetscCall(MatGetLocalSize(X, &nl, NULL));
    PetscCall(MatGetLocalSize(Y, &ml, NULL));
    PetscCall(Masses("-r", fr, nl, n, &r));
    PetscCall(Masses("-c", fc, ml, m, &c));
    PetscCall(SkeanTransportSetPoints(t, X, Y));
  } else if (!fgraph.empty()) {
    PetscInt n, nl;
    PetscCall(SkeanMatLoadFile(PETSC_COMM_WORLD, fgraph.c_str(), MATAIJ, &C));
    PetscCall(MatGetSize(C, &n, NULL));
    PetscCall(MatGetLocalSize(C, &nl, NULL));
    PetscCall(Masses("-r", fr, nl, n, &r));
    PetscCall(Masses("-c", fc, nl, n, &c));
    PetscCall(SkeanTransportSetGraph(t, C));
  } else {
    PetscInt n, m, nl;
    PetscCall(SkeanMatLoadFile(PETSC_COMM_WORLD, fcost.c_str(), NULL, &C));
    PetscCall(MatGetSize(C, &n, &m));
    PetscCall(MatGetLocalSize(C, &nl, NULL));
    PetscCall(Masses("-r", fr, nl, n, &r));
    PetscCall(Masses("-c", fc, PETSC_DECIDE, m, &c));
    PetscCall(SkeanTransportSetCost(t, C));
  }
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-normalize", &normalize, NULL));
  if (normalize)
    for (Vec v : {r, c}) {
      PetscCall(VecSum(v, &mass));
      PetscCheck(mass > 0, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "A density has no mass: %g", (double)mass);
      PetscCall(VecScale(v, 1.0 / mass));
    }
  PetscCall(SkeanTransportSetMarginals(t, r, c));
  PetscCall(SkeanTransportSetFromOptions(t));
  PetscCall(driver::WarnMisspelt());
  PetscCall(Path(t, r, c));
  PetscCall(PetscTime(&t0));
  PetscCall(SkeanTransportSolve(t));
  PetscCall(PetscTime(&t1));

  PetscCall(SkeanTransportGetConvergedReason(t, &reason));
  PetscCall(SkeanTransportGetIterationNumber(t, &its));
  PetscCall(SkeanTransportGetPasses(t, &passes));
  PetscCall(SkeanTransportGetMarginalError(t, &err));
  PetscCall(SkeanTransportGetCosts(t, &cost, &entropy, &total));
  PetscCall(SkeanTransportGetCertificate(t, &lower, &upper));
  PetscCall(SkeanTransportGetEpsilon(t, &eps));
  PetscCall(VecSum(r, &mass));
  PetscInt n, m;
  PetscCall(VecGetSize(r, &n));
  PetscCall(VecGetSize(c, &m));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD,
                        "transport of %" PetscInt_FMT " sources to %" PetscInt_FMT " targets, mass %g, epsilon %.6g: %s, %" PetscInt_FMT
                        " iterations, %" PetscInt_FMT " passes, %.2f s\n",
                        n, m, (double)mass, (double)eps, SkeanConvergedReasons[reason], its, passes, t1 - t0));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "marginal error %.3e (l1, relative)\n<C,P> = %.10g   entropy = %.10g   total = %.10g\n", (double)err, (double)cost,
                        (double)entropy, (double)total));
  if (lower > PETSC_NINFINITY)
    PetscCall(
      PetscPrintf(PETSC_COMM_WORLD, "certificate: %.10g <= unregularised cost <= %.10g, gap %.2e\n", (double)lower, (double)upper, (double)Gap(lower, upper)));
  PetscBool divergence = PETSC_FALSE;
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-divergence", &divergence, NULL));
  if (divergence) {
    PetscReal value;
    PetscCall(SkeanTransportGetDivergence(t, &value));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "Sinkhorn divergence = %.10g\n", (double)value));
  }
  PetscCall(VecDuplicate(r, &f));
  PetscCall(VecDuplicate(c, &g));
  PetscReal part;
  PetscCall(SkeanTransportGetPartialMass(t, &part));
  if (part > 0) {
    PetscReal moved, want;
    PetscCall(VecSet(g, 1.0));
    PetscCall(SkeanTransportApply(t, g, f));
    PetscCall(VecSum(f, &moved));
    PetscCall(VecSum(c, &want));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "partial: %.10g moved of the %.10g there and the %.10g wanted\n", (double)moved, (double)mass, (double)want));
  }
  PetscCall(SkeanTransportGetPotentials(t, f, g));
  if (X && Y) PetscCall(Map(t, X, Y, r, c, &T));
  if (!output.empty()) {
    /* points without mass have no potential: zero in the file */
    for (Vec v : {f, g}) {
      PetscScalar *a;
      PetscInt     nl;
      PetscCall(VecGetLocalSize(v, &nl));
      PetscCall(VecGetArray(v, &a));
      for (PetscInt i = 0; i < nl; ++i)
        if (a[i] <= PETSC_NINFINITY) a[i] = 0.0;
      PetscCall(VecRestoreArray(v, &a));
    }
    std::vector<PetscObject> objects;
    PetscCall(PetscObjectSetName((PetscObject)f, "f"));
    PetscCall(PetscObjectSetName((PetscObject)g, "g"));
    objects = {(PetscObject)f, (PetscObject)g};
    if (T) {
      PetscCall(PetscObjectSetName((PetscObject)T, "map"));
      objects.push_back((PetscObject)T);
    }
    if (!(grid && separable)) {
      PetscCall(SkeanTransportGetPlan(t, threshold >= 0 ? threshold : 1e-9 * mass, &P));
      PetscCall(PetscObjectSetName((PetscObject)P, "plan"));
      objects.push_back((PetscObject)P);
    }
    char text[64];
    for (auto &kv : std::vector<std::pair<std::string, double>>{{"lower", lower},
                                                                {"upper", upper},
                                                                {"cost", cost},
                                                                {"entropy", entropy},
                                                                {"epsilon", eps},
                                                                {"marginal_error", err}}) {
      PetscCall(PetscSNPrintf(text, sizeof(text), "%.17g", kv.second));
      PetscCall(SkeanFileSetAttribute((PetscObject)f, kv.first.c_str(), text));
    }
    PetscCall(SkeanWriteFile(PETSC_COMM_WORLD, output.c_str(), static_cast<PetscInt>(objects.size()), objects.data()));
  }
  PetscInt d = 0;
  if (T) PetscCall(MatGetSize(T, NULL, &d));
  if (!plot.empty() && d == 2) {
    skean::PlotFigure   figure(grid ? 3 : 1);
    char                title[256];
    std::vector<double> values[2];
    double              most = 0;
    PetscCall(PetscSNPrintf(title, sizeof(title), "where the mass goes: cost %.4g, gap %.1e", (double)cost, (double)Gap(lower, upper)));
    skean::PlotPanel arrows = skean::PlotPanel::Lines(title);
    if (grid) {
      const double h0 = 0.5 * (source.hi[0] - source.lo[0]) / PetscMax(source.dims[0] - 1, 1),
                   h1 = 0.5 * (source.hi[1] - source.lo[1]) / PetscMax(source.dims[1] - 1, 1);
      auto Lay        = [&](skean::PlotPanel &p) {
        p.Extent(source.lo[1] - h1, source.hi[1] + h1, source.lo[0] - h0, source.hi[0] + h0).Labels(source.labels[1], source.labels[0]);
        if (source.alike) p.Equal();
        return p;
      };
      PetscCall(skean::PlotGather(r, &values[0]));
      PetscCall(skean::PlotGather(c, &values[1]));
      for (std::vector<double> &x : values)
        for (double &v : x) {
          most = PetscMax(most, v);
          if (v == 0) v = std::nan("");
        }
      for (int k = 0; k < 2; ++k) { /* the same colours for both */
        skean::PlotPanel p = skean::PlotPanel::Heat(k ? "target: " + target.what : "source: " + source.what, static_cast<int>(source.dims[1]),
                                                    static_cast<int>(source.dims[0]), values[k]);
        figure.Add(Lay(p).Bar("mass of a point").Range(0, most));
      }
      Lay(arrows);
      const double shape = std::fabs((source.hi[0] - source.lo[0] + 2 * h0) / (source.hi[1] - source.lo[1] + 2 * h1));
      if (source.alike && shape < 0.7) { /* wide maps below each other */
        figure.columns = 1;
        figure.width   = 640;
        figure.height  = PetscMax(180.0, 75 + 530 * shape);
      }
    }
    PetscCall(Arrows(r, X, T, &arrows));
    figure.Add(arrows);
    PetscCall(skean::PlotWrite(PETSC_COMM_WORLD, figure, plot));
  } else if (!plot.empty())
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "no picture: it needs points of two coordinates\n"));
  PetscCall(VecDestroy(&f));
  PetscCall(VecDestroy(&g));
  if (grid) {
    PetscCall(SkeanGridDestroy(&source.grid));
    PetscCall(SkeanGridDestroy(&target.grid));
  }
  PetscCall(VecDestroy(&r));
  PetscCall(VecDestroy(&c));
  PetscCall(MatDestroy(&X));
  PetscCall(MatDestroy(&Y));
  PetscCall(MatDestroy(&C));
  PetscCall(MatDestroy(&T));
  PetscCall(MatDestroy(&P));
  PetscCall(SkeanTransportDestroy(&t));
  *code = reason > 0 ? driver::Converged : driver::NotConverged;
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

int main(int argc, char **argv)
{
  driver::Program program;
  program.name         = "skean-transport";
  program.help         = help;
  program.options      = {"-transport_epsilon", "-transport_epsilon_mode", "-transport_type",       "-transport_rtol",        "-transport_max_it",
                          "-transport_monitor", "-transport_view",         "-transport_truncation", "-transport_partial_mass"};
  program.printoptions = PrintOptions;
  program.run          = Run;
  return driver::Main(argc, argv, program);
}
