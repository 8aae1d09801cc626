static char help[] = "Optimal transport between two clouds of points, two densities on a grid, or with a cost matrix.\n\n"
                     "  skean-transport -x source.npy -y target.npy [-r weights] [-c weights] -transport_epsilon 1e-3 -o plan.h5 -plot map.png\n"
                     "  skean-transport -source jan.nc:SLP -target jul.nc:SLP -transport_epsilon 1e-4 -plot map.png\n"
                     "  skean-transport -cost cost.mtx [-r weights] [-c weights] -transport_epsilon 0.01 -transport_epsilon_mode median\n\n"
                     "  -x, -y file       points, one per row (.npy, .csv, .h5, ...)\n"
                     "  -r, -c file       their masses; without, all equal\n"
                     "  -source, -target file[:variable]  densities on one grid (NetCDF, .npy, .pgm, ...); missing values have no mass\n"
                     "  -source_slice, -target_slice k    slice k of the first dimension (default: the whole grid)\n"
                     "  -offset x         subtracted from densities first; what is below has no mass (default 0)\n"
                     "  -normalize bool   scale both densities to mass one (default true for grids, false otherwise)\n"
                     "  -separable bool   grids: passes axis by axis (default); false: the points with mass as a cloud\n"
                     "  -cost file        n x m; a sparse matrix forbids what it does not hold\n"
                     "  -threshold x      entries of the plan above it are written (default 1e-9 of the mass)\n"
                     "  -o file           potentials, map and plan (.h5)\n"
                     "  -plot file        picture of both densities and where the mass goes (.png, .svg, .pdf)\n"
                     "  -transport_...    see SkeanTransportSetFromOptions()\n\n";

#include <skean.h>
#include <skeanio.h>
#include <skean/private/petsccompat.h>
#include <skean/private/plot.hpp>
#include <petsctime.h>
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

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
PetscErrorCode Masses(const std::string &file, PetscInt local, PetscInt n, Vec *v)
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
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A density on a grid (or a slice of its first dimension): positive part of value - offset, missing values without mass */
struct Density {
  SkeanGrid              grid = NULL;
  std::vector<PetscInt>  dims;
  std::vector<PetscReal> lo, hi; /* first and last coordinate */
  Vec                    mass = NULL;
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
  PetscInt N = 1, rest = 1;
  for (PetscInt q = first; q < nd; ++q) {
    const PetscReal *x;
    PetscCall(SkeanGridGetDim(d->grid, q, NULL, NULL, &x));
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

} // namespace

int main(int argc, char **argv)
{
  std::string          fx, fy, fr, fc, fs, ft, fcost, output, plot;
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

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  PetscCall(SkeanWarnSlowBLAS(PETSC_COMM_WORLD));
  PetscCall(Option("-x", &fx));
  PetscCall(Option("-y", &fy));
  PetscCall(Option("-r", &fr));
  PetscCall(Option("-c", &fc));
  PetscCall(Option("-source", &fs));
  PetscCall(Option("-target", &ft));
  PetscCall(Option("-cost", &fcost));
  PetscCall(Option("-o", &output));
  PetscCall(Option("-plot", &plot));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-offset", &offset, NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-threshold", &threshold, NULL));
  PetscCall(PetscOptionsGetBool(NULL, NULL, "-separable", &separable, NULL));
  PetscBool help_only;
  PetscCall(PetscOptionsHasName(NULL, NULL, "-help", &help_only));
  PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &t));
  const int inputs = (!fx.empty() || !fy.empty()) + (!fs.empty() || !ft.empty()) + !fcost.empty();
  if (inputs == 0 && help_only) {
    PetscCall(SkeanTransportSetFromOptions(t));
    PetscCall(SkeanTransportDestroy(&t));
    PetscCall(SkeanFinalize());
    return 0;
  }
  PetscCheck(inputs == 1, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "Give one of: -x and -y, -source and -target, or -cost (see -help)");
  PetscCheck(fx.empty() == fy.empty() && fs.empty() == ft.empty(), PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT,
             "Both sources and targets must be given (see -help)");
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
    PetscCall(Masses(fr, nl, n, &r));
    PetscCall(Masses(fc, ml, m, &c));
    PetscCall(SkeanTransportSetPoints(t, X, Y));
  } else {
    PetscInt n, m, nl;
    PetscCall(SkeanMatLoadFile(PETSC_COMM_WORLD, fcost.c_str(), NULL, &C));
    PetscCall(MatGetSize(C, &n, &m));
    PetscCall(MatGetLocalSize(C, &nl, NULL));
    PetscCall(Masses(fr, nl, n, &r));
    PetscCall(Masses(fc, PETSC_DECIDE, m, &c));
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
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "certificate: %.10g <= unregularised cost <= %.10g, gap %.2e\n", (double)lower, (double)upper,
                          (double)((upper - lower) / upper)));
  PetscCall(VecDuplicate(r, &f));
  PetscCall(VecDuplicate(c, &g));
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
    skean::PlotFigure figure(grid ? 3 : 1);
    char              title[256];
    if (grid)
      for (int k = 0; k < 2; ++k) {
        std::vector<double> values;
        PetscCall(skean::PlotGather(k ? c : r, &values));
        for (double &v : values)
          if (v == 0) v = std::nan("");
        skean::PlotPanel p  = skean::PlotPanel::Heat(k ? "target" : "source", static_cast<int>(source.dims[1]), static_cast<int>(source.dims[0]), values);
        const double     h0 = 0.5 * (source.hi[0] - source.lo[0]) / PetscMax(source.dims[0] - 1, 1),
                     h1     = 0.5 * (source.hi[1] - source.lo[1]) / PetscMax(source.dims[1] - 1, 1);
        figure.Add(p.Extent(source.lo[1] - h1, source.hi[1] + h1, source.lo[0] - h0, source.hi[0] + h0));
      }
    PetscCall(PetscSNPrintf(title, sizeof(title), "where the mass goes: cost %.4g, gap %.1e", (double)cost, (double)((upper - lower) / upper)));
    skean::PlotPanel arrows = skean::PlotPanel::Lines(title);
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
  PetscCall(SkeanFinalize());
  return reason > 0 ? 0 : 1;
}
