/* SkeanGP against dense linear algebra by definition, closed forms, finite differences, and itself on one process */
#include "harness/skeantest.hpp"
#include <skean/private/gpimpl.h>
#include <skean/private/memory.hpp>
#include <skean/private/random.hpp>
#include <petscblaslapack.h>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <functional>
#include <limits>

using skean::Purpose;
using skean::RandomStream;

namespace {

double SE(double z, double l)
{
  return std::exp(-z * z / (2 * l * l));
}
double M32(double z, double l)
{
  const double a = std::sqrt(3.0) * std::abs(z) / l;
  return (1 + a) * std::exp(-a);
}
double M52(double z, double l)
{
  const double a = std::sqrt(5.0) * std::abs(z) / l;
  return (1 + a + a * a / 3) * std::exp(-a);
}

struct Problem {
  std::vector<PetscInt>               n;
  std::vector<std::vector<PetscReal>> x;
  std::vector<PetscReal *>            px;
  const char                         *kernel = "matern52(0.7),se(0.5),matern32(1.2)";
  std::vector<double>                 y;    /* natural order */
  std::vector<double>                 mask; /* empty: none missing */
  PetscInt                            N() const
  {
    PetscInt v = 1;
    for (PetscInt k : n) v *= k;
    return v;
  }
};

Problem Make(std::vector<PetscInt> n, int missing, int id = 0)
{
  Problem      p;
  RandomStream s(31, Purpose::Test, static_cast<std::uint32_t>(id));
  p.n = n;
  for (size_t j = 0; j < n.size(); ++j) {
    p.x.emplace_back();
    double c = 0;
    for (PetscInt i = 0; i < n[j]; ++i) {
      p.x.back().push_back(c);
      c += j == 1 ? 0.25 : 0.1 + 0.4 * s.Uniform(i, j); /* one dimension uniform */
    }
  }
  for (auto &v : p.x) p.px.push_back(v.data());
  for (PetscInt i = 0; i < p.N(); ++i) p.y.push_back(s.Normal(i, 9));
  if (missing) {
    p.mask.assign(p.N(), 1.0);
    for (PetscInt i = 0; i < p.N(); ++i)
      if (missing > 0 ? i % missing == 1 : i != 7) p.mask[i] = 0.0;
  }
  return p;
}

/* v in natural order, the whole of it on every process */
void Put(Vec v, const std::vector<double> &a)
{
  PetscInt     lo, hi;
  PetscScalar *p;
  VecGetOwnershipRange(v, &lo, &hi);
  VecGetArray(v, &p);
  std::copy(a.begin() + lo, a.begin() + hi, p);
  VecRestoreArray(v, &p);
}
std::vector<double> Take(Vec v)
{
  VecScatter         sc;
  Vec                w;
  PetscInt           n;
  const PetscScalar *p;
  VecGetSize(v, &n);
  VecScatterCreateToAll(v, &sc, &w);
  VecScatterBegin(sc, v, w, INSERT_VALUES, SCATTER_FORWARD);
  VecScatterEnd(sc, v, w, INSERT_VALUES, SCATTER_FORWARD);
  VecGetArrayRead(w, &p);
  std::vector<double> a(p, p + n);
  VecRestoreArrayRead(w, &p);
  VecScatterDestroy(&sc);
  VecDestroy(&w);
  return a;
}

PetscErrorCode Create(MPI_Comm comm, const Problem &p, SkeanGP *gp, const std::function<PetscErrorCode(SkeanGP)> &before = nullptr)
{
  Vec y, m = NULL;

  PetscFunctionBegin;
  PetscCall(SkeanGPCreate(comm, gp));
  PetscCall(SkeanGPSetGrid(*gp, static_cast<PetscInt>(p.n.size()), p.n.data(), p.px.data()));
  PetscCall(SkeanGPSetKernel(*gp, p.kernel));
  PetscCall(SkeanGPSetVariances(*gp, 1.7, 0.06));
  if (before) PetscCall(before(*gp));
  PetscCall(SkeanGPCreateVec(*gp, &y));
  std::vector<double> values = p.y;
  if (!p.mask.empty()) {
    PetscCall(SkeanGPCreateVec(*gp, &m));
    Put(m, p.mask);
    for (size_t i = 0; i < values.size(); ++i)
      if (p.mask[i] == 0.0) values[i] = std::numeric_limits<double>::quiet_NaN(); /* must not be looked at */
  }
  Put(y, values);
  PetscCall(SkeanGPSetData(*gp, y, m));
  PetscCall(VecDestroy(&y));
  PetscCall(VecDestroy(&m));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* By definition, three dimensions, with the kernels of Problem::kernel */
struct Dense {
  std::vector<PetscInt> obs;
  std::vector<double>   L, alpha; /* Cholesky factor of V_OO, V_OO^-1 y */
  double                loglik;
  const Problem        &p;
  double                s2f = 1.7;
  double                Cov(const double *a, const double *b) const { return s2f * M52(a[0] - b[0], 0.7) * SE(a[1] - b[1], 0.5) * M32(a[2] - b[2], 1.2); }
  void                  Point(PetscInt g, double *c) const
  {
    for (int j = 2; j >= 0; --j) {
      c[j] = p.x[j][g % p.n[j]];
      g /= p.n[j];
    }
  }
  Dense(const Problem &q, const std::vector<double> &noise) : p(q)
  {
    for (PetscInt i = 0; i < p.N(); ++i)
      if (p.mask.empty() || p.mask[i] != 0.0) obs.push_back(i);
    const PetscBLASInt n = static_cast<PetscBLASInt>(obs.size()), one = 1;
    PetscBLASInt       info;
    L.resize(n * n);
    for (PetscBLASInt a = 0; a < n; ++a)
      for (PetscBLASInt b = 0; b < n; ++b) {
        double ca[3], cb[3];
        Point(obs[a], ca);
        Point(obs[b], cb);
        L[a + b * n] = Cov(ca, cb) + (a == b ? noise[obs[a]] : 0.0);
      }
    LAPACKpotrf_("L", &n, L.data(), &n, &info);
    for (PetscInt i : obs) alpha.push_back(p.y[i]);
    const std::vector<double> y = alpha;
    LAPACKpotrs_("L", &n, &one, L.data(), &n, alpha.data(), &n, &info);
    loglik = 0;
    for (PetscBLASInt i = 0; i < n; ++i) loglik -= 0.5 * y[i] * alpha[i] + std::log(L[i * (n + 1)]) + 0.5 * std::log(2 * PETSC_PI);
  }
  void Predict(const double *c, double *mean, double *var) const
  {
    const PetscBLASInt  n = static_cast<PetscBLASInt>(obs.size()), one = 1;
    PetscBLASInt        info;
    std::vector<double> k(n);
    *mean = 0;
    for (PetscBLASInt a = 0; a < n; ++a) {
      double ca[3];
      Point(obs[a], ca);
      k[a] = Cov(c, ca);
      *mean += k[a] * alpha[a];
    }
    std::vector<double> z = k;
    LAPACKpotrs_("L", &n, &one, const_cast<double *>(L.data()), &n, z.data(), &n, &info);
    *var = s2f;
    for (PetscBLASInt a = 0; a < n; ++a) *var -= k[a] * z[a];
  }
};

/* The analytic gradient against a five-point difference, to 1e-8 of its largest component */
void ExpectGradient(SkeanGP gp)
{
  PetscInt  np;
  PetscReal L;
  char      name[64];
  gp->reg->fillrtol = 1e-14;
  ASSERT_PETSC(SkeanGPGetNumParameters(gp, &np));
  std::vector<PetscReal> theta(np), grad(np), t;
  ASSERT_PETSC(SkeanGPGetParameters(gp, theta.data()));
  ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &L, grad.data()));
  double scale = 0;
  for (double g : grad) scale = std::max(scale, std::abs(g));
  for (PetscInt i = 0; i < np; ++i) {
    const double h = 5e-4, c[] = {-1.0 / 12, 8.0 / 12, -8.0 / 12, 1.0 / 12}, s[] = {2, 1, -1, -2};
    double       fd = 0;
    for (int q = 0; q < 4; ++q) {
      double Lq;
      t = theta;
      t[i] += s[q] * h;
      ASSERT_PETSC(SkeanGPSetParameters(gp, t.data()));
      ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &Lq, NULL));
      fd += c[q] * Lq / h;
    }
    ASSERT_PETSC(SkeanGPGetParameterName(gp, i, name, sizeof(name)));
    EXPECT_NEAR(grad[i], fd, 1e-8 * scale) << name;
  }
}

double MaxDiff(const std::vector<double> &a, const std::vector<double> &b)
{
  double e = 0, s = 0;
  if (a.size() != b.size()) return 1e300;
  for (size_t i = 0; i < a.size(); ++i) {
    e = std::max(e, std::isfinite(a[i]) ? std::abs(a[i] - b[i]) : 1e300);
    s = std::max(s, std::abs(b[i]));
  }
  return e / s;
}

} // namespace

/* likelihood, posterior mean and variance at the grid and on a test grid, for all patterns of missing points, with noise that varies */
TEST(GP, EqualsDenseAlgebra)
{
  for (int missing : {0, 3, -1})
    for (int varying : {0, 1}) {
      SCOPED_TRACE("missing " + std::to_string(missing) + " varying " + std::to_string(varying));
      const Problem       p = Make({4, 5, 3}, missing);
      std::vector<double> noise(p.N(), 0.06);
      const double        D[] = {1.0, 0.5, 2.0, 3.0, 1.5};
      if (varying)
        for (PetscInt i = 0; i < p.N(); ++i) noise[i] *= D[(i / 3) % 5];
      const Dense ref(p, noise);
      SkeanGP     gp;
      PetscReal   L;
      ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp, [&](SkeanGP g) { return varying ? SkeanGPSetNoiseFactor(g, 1, D) : PETSC_SUCCESS; }));
      gp->reg->fillrtol = 1e-13;
      ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &L, NULL));
      EXPECT_NEAR(L, ref.loglik, 1e-11 * std::abs(ref.loglik));
      ASSERT_PETSC(SkeanGPSolve(gp));
      SkeanConvergedReason reason;
      ASSERT_PETSC(SkeanGPGetConvergedReason(gp, &reason));
      EXPECT_EQ(reason, SKEAN_CONVERGED_ITS);
      EXPECT_LT(gp->reg->residual, 1e-12);
      Vec m, v;
      ASSERT_PETSC(SkeanGPCreateVec(gp, &m));
      ASSERT_PETSC(VecDuplicate(m, &v));
      ASSERT_PETSC(SkeanGPGetPosterior(gp, m, v));
      std::vector<double> mean(p.N()), var(p.N());
      for (PetscInt i = 0; i < p.N(); ++i) {
        double c[3];
        ref.Point(i, c);
        ref.Predict(c, &mean[i], &var[i]);
      }
      EXPECT_LT(MaxDiff(Take(m), mean), 1e-11);
      EXPECT_LT(MaxDiff(Take(v), var), 1e-11);
      ASSERT_PETSC(VecDestroy(&m));
      ASSERT_PETSC(VecDestroy(&v));
      /* another grid, in a vector of another distribution */
      PetscInt   nt[] = {2, 3, 4};
      PetscReal  t0[] = {0.3, -0.4}, t1[] = {0.1, 0.6, 2.0}, t2[] = {0.0, 0.2, 0.5, 1.0};
      PetscReal *xt[] = {t0, t1, t2};
      ASSERT_PETSC(VecCreateMPI(PETSC_COMM_WORLD, skeantest::Rank() == skeantest::Size() - 1 ? 24 : 0, 24, &m));
      ASSERT_PETSC(VecDuplicate(m, &v));
      ASSERT_PETSC(SkeanGPPredict(gp, nt, xt, m, v));
      mean.resize(24);
      var.resize(24);
      for (int i = 0; i < 24; ++i) {
        const double c[] = {t0[i / 12], t1[(i / 4) % 3], t2[i % 4]};
        ref.Predict(c, &mean[i], &var[i]);
      }
      EXPECT_LT(MaxDiff(Take(m), mean), 1e-11);
      EXPECT_LT(MaxDiff(Take(v), var), 1e-11);
      ASSERT_PETSC(VecDestroy(&m));
      ASSERT_PETSC(VecDestroy(&v));
      ASSERT_PETSC(SkeanGPDestroy(&gp));
    }
}

namespace {
/* As good as the best points, noisier by up to ten times, barely noisier, or without a value; twice an infinite number that says so */
std::vector<double> Scale(const Problem &p)
{
  RandomStream        s(41, Purpose::Test);
  std::vector<double> scale(p.N(), 1.0);
  for (PetscInt i = 0; i < p.N(); ++i) {
    const double u = s.Uniform(i);
    if (u < 0.5) scale[i] = 1 + 20 * u;
    if (u < 0.05) scale[i] = 1 + 1e-9;
    if (u > 0.95) scale[i] = PETSC_INFINITY;
  }
  return scale;
}
PetscErrorCode SetScale(SkeanGP gp, const std::vector<double> &scale)
{
  Vec v;

  PetscFunctionBegin;
  PetscCall(SkeanGPCreateVec(gp, &v));
  Put(v, scale);
  PetscCall(SkeanGPSetNoiseScale(gp, v));
  PetscCall(VecDestroy(&v));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

/* Noise that varies from point to point, with and without missing values, together with factors: likelihood, posterior, and both ways to solve against dense algebra */
TEST(GP, NoiseOfEachPoint)
{
  for (int missing : {0, 4}) {
    SCOPED_TRACE("missing " + std::to_string(missing));
    Problem                   p     = Make({4, 5, 3}, missing);
    const std::vector<double> scale = Scale(p);
    std::vector<double>       noise(p.N(), 0.06);
    const double              D[] = {1.0, 0.5, 2.0, 3.0, 1.5};
    for (PetscInt i = 0; i < p.N(); ++i) noise[i] *= D[(i / 3) % 5] * scale[i];
    SkeanGP        gp;
    PetscErrorCode made = Create(PETSC_COMM_WORLD, p, &gp, [&](SkeanGP g) {
      PetscFunctionBegin;
      PetscCall(SkeanGPSetNoiseFactor(g, 1, D));
      PetscCall(SetScale(g, scale));
      PetscFunctionReturn(PETSC_SUCCESS);
    });
    ASSERT_PETSC(made);
    PetscInt infinite = 0;
    if (p.mask.empty()) p.mask.assign(p.N(), 1.0);
    for (PetscInt i = 0; i < p.N(); ++i)
      if (scale[i] >= PETSC_INFINITY) {
        ++infinite;
        p.mask[i] = 0.0;
      }
    ASSERT_GT(infinite, 0);
    const Dense         ref(p, noise);
    std::vector<double> mean(p.N()), var(p.N());
    for (PetscInt i = 0; i < p.N(); ++i) {
      double c[3];
      ref.Point(i, c);
      ref.Predict(c, &mean[i], &var[i]);
    }
    SkeanGPReport report;
    PetscReal     L, Lp;
    Vec           m, v;
    ASSERT_PETSC(SkeanGPCreateVec(gp, &m));
    ASSERT_PETSC(VecDuplicate(m, &v));
    for (PetscBool observed : {PETSC_FALSE, PETSC_TRUE}) {
      gp->reg->fillrtol = 1e-14;
      ASSERT_PETSC(SkeanGPSetMissingMethod(gp, observed));
      ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &L, NULL));
      EXPECT_NEAR(L, ref.loglik, 1e-11 * std::abs(ref.loglik));
      ASSERT_PETSC(SkeanGPSolve(gp));
      ASSERT_PETSC(SkeanGPGetReport(gp, &report));
      EXPECT_EQ(report.missing, p.N() - static_cast<PetscInt>(ref.obs.size()));
      EXPECT_GT(report.filliterations, 3);
      EXPECT_LT(report.residual, 1e-12);
      ASSERT_PETSC(SkeanGPGetPosterior(gp, m, v));
      EXPECT_LT(MaxDiff(Take(m), mean), 1e-10);
      EXPECT_LT(MaxDiff(Take(v), var), 1e-10);
    }
    ASSERT_PETSC(SkeanGPSetMissingMethod(gp, PETSC_FALSE));
    /* estimates, where the points are too many for a Cholesky factorisation */
    gp->reg->exactlimit = 0;
    gp->reg->probes     = 200;
    ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &Lp, NULL));
    EXPECT_GT(gp->reg->logdeterr, 0);
    EXPECT_LT(std::abs(Lp - L), 0.5 * 5 * gp->reg->logdeterr);
    EXPECT_LT(gp->reg->logdeterr, 0.05 * std::abs(L));
    gp->variancesamples = 200;
    ASSERT_PETSC(SkeanGPGetPosterior(gp, NULL, v));
    const std::vector<double> est = Take(v);
    for (PetscInt i = 0; i < p.N(); ++i) EXPECT_LT(std::abs(est[i] - var[i]), 6 * std::sqrt(2.0 / 200) * var[i]) << i;
    std::vector<double> g(5);
    EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPComputeLogLikelihood(gp, &L, g.data()); }), PETSC_ERR_SUP);
    ASSERT_PETSC(VecDestroy(&m));
    ASSERT_PETSC(VecDestroy(&v));
    ASSERT_PETSC(SkeanGPDestroy(&gp));
  }
}

TEST(GP, NoiseOfEachPointGradient)
{
  const Problem             p     = Make({4, 5, 6}, 17);
  const std::vector<double> scale = Scale(p);
  SkeanGP                   gp;
  ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp, [&](SkeanGP g) { return SetScale(g, scale); }));
  ExpectGradient(gp);
  ASSERT_PETSC(SkeanGPDestroy(&gp));
}

TEST(GP, NoiseOfEachPointSamplesAndErrors)
{
  const PetscInt            draws = 1000;
  Problem                   p     = Make({2, 3, 4}, 5);
  const std::vector<double> scale = Scale(p);
  SkeanGP                   gp;
  Vec                       f, s1, s2;
  ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp, [&](SkeanGP g) { return SetScale(g, scale); }));
  std::vector<double> noise(p.N(), 0.06);
  for (PetscInt i = 0; i < p.N(); ++i) {
    noise[i] *= scale[i];
    if (scale[i] >= PETSC_INFINITY) p.mask[i] = 0.0;
  }
  const Dense ref(p, noise);
  ASSERT_PETSC(SkeanGPCreateVec(gp, &f));
  ASSERT_PETSC(VecDuplicate(f, &s1));
  ASSERT_PETSC(VecDuplicate(f, &s2));
  ASSERT_PETSC(VecSet(s1, 0.0));
  ASSERT_PETSC(VecSet(s2, 0.0));
  for (PetscInt k = 0; k < draws; ++k) {
    ASSERT_PETSC(SkeanGPSample(gp, PETSC_TRUE, k, f));
    ASSERT_PETSC(VecAXPY(s1, 1.0 / static_cast<double>(draws), f));
    ASSERT_PETSC(VecPointwiseMult(f, f, f));
    ASSERT_PETSC(VecAXPY(s2, 1.0 / static_cast<double>(draws), f));
  }
  const std::vector<double> m1 = Take(s1), m2 = Take(s2);
  for (PetscInt i = 0; i < p.N(); ++i) {
    double c[3], mean, var;
    ref.Point(i, c);
    ref.Predict(c, &mean, &var);
    EXPECT_LT(std::abs(m1[i] - mean), 5 * std::sqrt(var / static_cast<double>(draws))) << i;
    EXPECT_LT(std::abs(m2[i] - m1[i] * m1[i] - var), 5 * std::sqrt(2.0 / static_cast<double>(draws)) * var) << i;
  }
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetNoiseScale(gp, f); }), PETSC_ERR_ORDER); /* after the data */
  for (Vec *v : {&f, &s1, &s2}) ASSERT_PETSC(VecDestroy(v));
  ASSERT_PETSC(SkeanGPDestroy(&gp));
  for (double wrong : {0.5, -1.0, static_cast<double>(std::numeric_limits<double>::quiet_NaN())}) {
    std::vector<double> bad = scale;
    bad[3]                  = wrong;
    ASSERT_PETSC(SkeanGPCreate(PETSC_COMM_WORLD, &gp));
    ASSERT_PETSC(SkeanGPSetGrid(gp, 3, p.n.data(), p.px.data()));
    EXPECT_EQ(skeantest::ErrorOf([&] { return SetScale(gp, bad); }), PETSC_ERR_ARG_OUTOFRANGE);
    ASSERT_PETSC(SkeanGPDestroy(&gp));
  }
}

/* A large test grid is predicted in slices: as in one piece */
TEST(GP, PredictionInSlices)
{
  for (int missing : {0, 5}) {
    const Problem                       p    = Make({3, 4, 40}, missing);
    PetscInt                            nt[] = {2, 5, 70};
    std::vector<std::vector<PetscReal>> xt(3);
    std::vector<PetscReal *>            pt(3);
    SkeanGP                             gp;
    Vec                                 m;
    std::vector<double>                 mean[2];
    for (int j = 0; j < 3; ++j) {
      for (PetscInt i = 0; i < nt[j]; ++i) xt[j].push_back(0.07 * static_cast<double>(i * i % 61) - 0.3 * j);
      pt[j] = xt[j].data();
    }
    for (int w = 0; w < 2; ++w) { /* w = 0: one piece, as small grids are */
      ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp));
      ASSERT_PETSC(gp->reg->MakeGrid());
      gp->reg->grid->SetChunk(w ? 7 : 0);
      ASSERT_PETSC(SkeanGPSolve(gp));
      ASSERT_PETSC(VecCreateMPI(PETSC_COMM_WORLD, PETSC_DECIDE, 700, &m));
      ASSERT_PETSC(SkeanGPPredict(gp, nt, pt.data(), m, NULL));
      mean[w] = Take(m);
      ASSERT_PETSC(VecDestroy(&m));
      ASSERT_PETSC(SkeanGPDestroy(&gp));
    }
    EXPECT_LT(MaxDiff(mean[1], mean[0]), 1e-12);
    /* and on the data's grid: the weights times the covariance of each point with the data, by the first path */
    if (!missing) {
      PetscInt nd[] = {3, 4, 40};
      Vec      a, b;
      ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp));
      ASSERT_PETSC(SkeanGPSolve(gp));
      ASSERT_PETSC(SkeanGPCreateVec(gp, &a));
      ASSERT_PETSC(SkeanGPCreateVec(gp, &b));
      ASSERT_PETSC(SkeanGPGetPosterior(gp, a, NULL));
      ASSERT_PETSC(SkeanGPPredict(gp, nd, const_cast<PetscReal **>(p.px.data()), b, NULL));
      EXPECT_LT(MaxDiff(Take(a), Take(b)), 1e-12);
      ASSERT_PETSC(VecDestroy(&a));
      ASSERT_PETSC(VecDestroy(&b));
      ASSERT_PETSC(SkeanGPDestroy(&gp));
    }
  }
}

/* analytic gradient against a five-point difference; exact with few missing points too */
TEST(GP, Gradient)
{
  for (int missing : {0, 17})
    for (const char *kernel : {"matern52(0.7),se(0.5),matern32(1.2)", "sm:2,periodic(1.1,2)*se(2),rq(0.8,1.5)+matern12(0.4)"}) {
      SCOPED_TRACE(std::string(kernel) + " missing " + std::to_string(missing));
      Problem p = Make({4, 5, 6}, missing);
      p.kernel  = kernel;
      SkeanGP      gp;
      const double D[] = {1.0, 0.5, 2.0, 3.0, 1.5};
      ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp, [&](SkeanGP g) { return SkeanGPSetNoiseFactor(g, 1, D); }));
      ExpectGradient(gp);
      ASSERT_PETSC(SkeanGPDestroy(&gp));
    }
}

/* Every covariance function and parameter, each derivative by itself to 1e-8: central differences of sixth order and their sums in extended precision */
TEST(GP, GradientOfEveryKernel)
{
  for (const char *kernel :
       {"se(0.5)", "matern12(0.4)", "matern32(1.2)", "matern52(0.7)", "matern72(0.8)", "rq(0.8,1.5)", "periodic(1.1,2)", "chordal12(0.6,2)", "chordal52(0.9,5)",
        "sm:2", "smt:2", "smt12:1", "smt32:1", "smt72:1", "se(0.5)*matern32(0.9)+white(0.3)", "const(0.4)+periodic(0.8,1.4)*se(1.5)"}) {
    SCOPED_TRACE(kernel);
    Problem p = Make({7, 4}, 0);
    p.kernel  = kernel;
    SkeanGP        gp;
    PetscInt       np;
    PetscErrorCode known = Create(PETSC_COMM_WORLD, p, &gp);
    ASSERT_PETSC(known);
    ASSERT_PETSC(SkeanGPGetNumParameters(gp, &np));
    std::vector<PetscReal> theta(np), grad(np), t;
    PetscReal              L;
    ASSERT_PETSC(SkeanGPGetParameters(gp, theta.data()));
    ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &L, grad.data()));
    for (PetscInt i = 0; i < np; ++i) {
      const double h = 2e-3, c[] = {45.0 / 60, -9.0 / 60, 1.0 / 60};
      long double  fd = 0;
      for (int q = 0; q < 6; ++q) {
        double     Lq;
        const int  k    = q / 2;
        const bool plus = q % 2 == 0;
        t               = theta;
        t[i] += (plus ? h : -h) * (k + 1);
        ASSERT_PETSC(SkeanGPSetParameters(gp, t.data()));
        ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &Lq, NULL));
        fd += static_cast<long double>(plus ? c[k] : -c[k]) * Lq / h;
      }
      char name[64];
      ASSERT_PETSC(SkeanGPGetParameterName(gp, i, name, sizeof(name)));
      EXPECT_NEAR(grad[i], static_cast<double>(fd), 1e-8 * std::abs(grad[i]) + 1e-9) << name;
    }
    ASSERT_PETSC(SkeanGPDestroy(&gp));
  }
}

/* Ornstein-Uhlenbeck: K_j is Markov, so log det and quadratic form are sums over increments; Brownian motion by a matrix of the user's */
TEST(GP, ClosedForms)
{
  Problem p          = Make({30, 20, 12}, 0);
  p.kernel           = "matern12(0.5),matern12(0.3),matern12(0.2)";
  const double ell[] = {0.5, 0.3, 0.2};
  /* whitened along each dimension: w_0 = y_0, w_i = (y_i - r y_{i-1})/sqrt(1 - r^2) */
  const auto Exact = [&](bool brownian) {
    std::vector<double> w      = p.y;
    double              logdet = 0;
    const PetscInt      N      = p.N();
    PetscInt            R      = N;
    for (int j = 0; j < 3; ++j) {
      R /= p.n[j];
      const bool          b = brownian && j == 2;
      std::vector<double> u(w);
      for (PetscInt i = 0; i < p.n[j]; ++i) {
        const double r = b ? 1.0 : i ? std::exp(-(p.x[j][i] - p.x[j][i - 1]) / ell[j]) : 0.0;
        const double v = b ? (i ? p.x[j][i] - p.x[j][i - 1] : p.x[j][0] + 0.3) : 1 - r * r;
        logdet += std::log(v) * static_cast<double>(N / p.n[j]);
        for (PetscInt g = 0; g < N; ++g)
          if ((g / R) % p.n[j] == i) u[g] = (w[g] - (i ? r * w[g - R] : 0.0)) / std::sqrt(v);
      }
      w = u;
    }
    double q = 0;
    for (double v : w) q += v * v;
    return -0.5 * (q + logdet + static_cast<double>(N) * std::log(2 * PETSC_PI));
  };
  for (bool brownian : {false, true}) {
    SkeanGP   gp;
    PetscReal L;
    ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp));
    if (brownian) {
      Mat K;
      ASSERT_PETSC(MatCreateSeqDense(PETSC_COMM_SELF, p.n[2], p.n[2], NULL, &K));
      for (PetscInt i = 0; i < p.n[2]; ++i)
        for (PetscInt j = 0; j < p.n[2]; ++j) ASSERT_PETSC(MatSetValue(K, i, j, 0.3 + std::min(p.x[2][i], p.x[2][j]), INSERT_VALUES));
      ASSERT_PETSC(MatAssemblyBegin(K, MAT_FINAL_ASSEMBLY));
      ASSERT_PETSC(MatAssemblyEnd(K, MAT_FINAL_ASSEMBLY));
      ASSERT_PETSC(SkeanGPSetFactor(gp, 2, K));
      ASSERT_PETSC(MatDestroy(&K));
    }
    ASSERT_PETSC(SkeanGPSetVariances(gp, 1.0, 1e-18)); /* no noise to rounding */
    ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &L, NULL));
    const double exact = Exact(brownian);
    EXPECT_NEAR(L, exact, 1e-11 * std::abs(exact)) << (brownian ? "Brownian" : "Ornstein-Uhlenbeck");
    ASSERT_PETSC(SkeanGPDestroy(&gp));
  }
}

/* Brownian motion on 400 uneven steps without noise: the condition number 2e6 must not show in the determinant, nor in MatSolve() */
TEST(GP, IllConditionedClosedForm)
{
  const PetscInt n[] = {3, 400}, N = 1200;
  const auto     t = [](PetscInt i) { return 1.0 + i + 0.3 * std::sin(2.0 * i); };
  Problem        p = Make({3, 400}, 0);
  SkeanGP        gp;
  Mat            K[2], T[2], A, B;
  Vec            b, x, y;
  PetscReal      e, s;
  const double   r      = 0.4;
  double         logdet = 400 * 2 * std::log(1 - r * r);
  for (int j = 0; j < 2; ++j) {
    ASSERT_PETSC(MatCreateSeqDense(PETSC_COMM_SELF, n[j], n[j], NULL, &K[j]));
    ASSERT_PETSC(MatCreateSeqAIJ(PETSC_COMM_SELF, n[j], n[j], 3, NULL, &T[j]));
    for (PetscInt i = 0; i < n[j]; ++i) {
      for (PetscInt c = 0; c < n[j]; ++c) ASSERT_PETSC(MatSetValue(K[j], i, c, j ? t(std::min(i, c)) : std::pow(r, PetscAbsInt(i - c)), INSERT_VALUES));
      const bool   last   = i == n[j] - 1;
      const double before = i ? 1 / (t(i) - t(i - 1)) : 1 / t(0), after = last ? 0 : 1 / (t(i + 1) - t(i)), w = 1 / (1 - r * r);
      ASSERT_PETSC(MatSetValue(T[j], i, i, j ? before + after : w * (i == 1 ? 1 + r * r : 1), INSERT_VALUES));
      if (i) ASSERT_PETSC(MatSetValue(T[j], i, i - 1, j ? -before : -w * r, INSERT_VALUES));
      if (!last) ASSERT_PETSC(MatSetValue(T[j], i, i + 1, j ? -after : -w * r, INSERT_VALUES));
      if (j) logdet -= 3 * std::log(before);
    }
    for (Mat M : {K[j], T[j]}) {
      ASSERT_PETSC(MatAssemblyBegin(M, MAT_FINAL_ASSEMBLY));
      ASSERT_PETSC(MatAssemblyEnd(M, MAT_FINAL_ASSEMBLY));
    }
  }
  p.kernel = "matern12(1)";
  ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp, [&](SkeanGP g) {
    PetscFunctionBegin;
    for (int j = 0; j < 2; ++j) PetscCall(SkeanGPSetFactor(g, j, K[j]));
    PetscFunctionReturn(PETSC_SUCCESS);
  }));
  ASSERT_PETSC(SkeanGPSetVariances(gp, 1.0, 1e-30));
  ASSERT_PETSC(gp->reg->Sums());
  EXPECT_NEAR(gp->reg->sums.logdet, logdet, 1e-13 * std::abs(logdet));
  ASSERT_PETSC(SkeanGPDestroy(&gp));
  ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 2, K, &A));
  ASSERT_PETSC(MatCreateSkeanKron(PETSC_COMM_WORLD, 2, T, &B));
  ASSERT_PETSC(MatCreateVecs(A, &x, &b));
  ASSERT_PETSC(VecDuplicate(x, &y));
  std::vector<double> values(p.y.begin(), p.y.begin() + N);
  Put(b, values); /* any numbers do, whatever the order of the operator's vectors */
  ASSERT_PETSC(MatMult(B, b, y));
  ASSERT_PETSC(VecNorm(y, NORM_2, &s));
  for (int trans = 0; trans < 2; ++trans) {
    ASSERT_PETSC(trans ? MatSolveTranspose(A, b, x) : MatSolve(A, b, x));
    ASSERT_PETSC(VecAXPY(x, -1.0, y));
    ASSERT_PETSC(VecNorm(x, NORM_2, &e));
    EXPECT_LT(e, 1e-13 * s) << (trans ? "transpose" : "");
  }
  for (Vec *v : {&b, &x, &y}) ASSERT_PETSC(VecDestroy(v));
  for (Mat *M : {&A, &B, &K[0], &K[1], &T[0], &T[1]}) ASSERT_PETSC(MatDestroy(M));
}

/* One process and all of them: likelihood, gradient, posterior, samples */
TEST(GP, TheSameOnAnyNumberOfProcesses)
{
  /* the second grid has fewer rows than processes: pencils, whose order is not the natural one */
  for (int which : {0, 1, 5, 6}) {
    const int  missing = which == 1 ? 0 : which;
    Problem    p       = Make({which == 6 ? 2 : 5, 7, 6}, missing);
    SkeanGP    a, b;
    PetscReal  La, Lb, ga[5], gb[5];
    Vec        va, vb;
    const auto Tight = [](SkeanGP g) {
      g->reg->fillrtol   = 1e-14;
      g->reg->exactlimit = 0; /* the random estimates are the same too */
      g->variancesamples = 3;
      g->reg->probes     = 3;
    };
    ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &a));
    ASSERT_PETSC(Create(PETSC_COMM_SELF, p, &b));
    Tight(a), Tight(b);
    /* redistributions in many chunks, as those of large grids */
    ASSERT_PETSC(a->reg->MakeGrid());
    if (which == 1 || which == 6) a->reg->grid->SetChunk(5);
    ASSERT_PETSC(SkeanGPComputeLogLikelihood(a, &La, ga));
    ASSERT_PETSC(SkeanGPComputeLogLikelihood(b, &Lb, gb));
    EXPECT_NEAR(La, Lb, 1e-12 * std::abs(Lb));
    for (int i = 0; i < 5; ++i) EXPECT_NEAR(ga[i], gb[i], 1e-11 * std::abs(gb[4]));
    ASSERT_PETSC(SkeanGPCreateVec(a, &va));
    ASSERT_PETSC(SkeanGPCreateVec(b, &vb));
    ASSERT_PETSC(SkeanGPGetPosterior(a, va, NULL));
    ASSERT_PETSC(SkeanGPGetPosterior(b, vb, NULL));
    EXPECT_LT(MaxDiff(Take(va), Take(vb)), 1e-12);
    ASSERT_PETSC(SkeanGPGetPosterior(a, NULL, va));
    ASSERT_PETSC(SkeanGPGetPosterior(b, NULL, vb));
    EXPECT_LT(MaxDiff(Take(va), Take(vb)), 1e-12);
    for (PetscBool post : {PETSC_FALSE, PETSC_TRUE}) {
      ASSERT_PETSC(SkeanGPSample(a, post, 3, va));
      ASSERT_PETSC(SkeanGPSample(b, post, 3, vb));
      EXPECT_LT(MaxDiff(Take(va), Take(vb)), 1e-12);
      ASSERT_PETSC(SkeanGPSample(b, post, 4, vb));
      EXPECT_GT(MaxDiff(Take(va), Take(vb)), 1e-3) << "draws differ";
    }
    ASSERT_PETSC(VecDestroy(&va));
    ASSERT_PETSC(VecDestroy(&vb));
    ASSERT_PETSC(SkeanGPDestroy(&a));
    ASSERT_PETSC(SkeanGPDestroy(&b));
  }
}

/* Draws from prior and posterior have the mean and the variance of these, with points missing and noise that varies */
TEST(GP, SamplesHaveMeanAndVariance)
{
  const PetscInt      draws = 1000;
  const Problem       p     = Make({2, 3, 4}, 5);
  std::vector<double> noise(p.N(), 0.06);
  const double        D[] = {1.0, 0.5, 2.0};
  for (PetscInt i = 0; i < p.N(); ++i) noise[i] *= D[(i / 4) % 3];
  const Dense ref(p, noise);
  SkeanGP     gp;
  Vec         f, s1, s2;
  ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp, [&](SkeanGP g) { return SkeanGPSetNoiseFactor(g, 1, D); }));
  ASSERT_PETSC(SkeanGPCreateVec(gp, &f));
  ASSERT_PETSC(VecDuplicate(f, &s1));
  ASSERT_PETSC(VecDuplicate(f, &s2));
  for (PetscBool post : {PETSC_FALSE, PETSC_TRUE}) {
    ASSERT_PETSC(VecSet(s1, 0.0));
    ASSERT_PETSC(VecSet(s2, 0.0));
    for (PetscInt k = 0; k < draws; ++k) {
      ASSERT_PETSC(SkeanGPSample(gp, post, k, f));
      ASSERT_PETSC(VecAXPY(s1, 1.0 / static_cast<double>(draws), f));
      ASSERT_PETSC(VecPointwiseMult(f, f, f));
      ASSERT_PETSC(VecAXPY(s2, 1.0 / static_cast<double>(draws), f));
    }
    const std::vector<double> m1 = Take(s1), m2 = Take(s2);
    for (PetscInt i = 0; i < p.N(); ++i) {
      double c[3], mean = 0, var = 1.7;
      ref.Point(i, c);
      if (post) ref.Predict(c, &mean, &var);
      EXPECT_LT(std::abs(m1[i] - mean), 5 * std::sqrt(var / static_cast<double>(draws))) << i;
      EXPECT_LT(std::abs(m2[i] - m1[i] * m1[i] - var), 5 * std::sqrt(2.0 / static_cast<double>(draws)) * var) << i;
    }
  }
  for (Vec *v : {&f, &s1, &s2}) ASSERT_PETSC(VecDestroy(v));
  ASSERT_PETSC(SkeanGPDestroy(&gp));
}

namespace {
/* The squared exponential with the logarithm of its length scale */
PetscErrorCode OwnKernel(PetscInt n, const PetscReal z[], PetscInt order, PetscInt, const PetscReal theta[], PetscReal k[], PetscReal g[], void *)
{
  const double w = std::exp(-2 * theta[0]);
  if (order > 0) return PETSC_ERR_SUP;
  for (PetscInt i = 0; i < n; ++i) {
    k[i] = std::exp(-0.5 * z[i] * z[i] * w);
    if (g) g[i] = k[i] * z[i] * z[i] * w;
  }
  return PETSC_SUCCESS;
}
} // namespace

/* A covariance function of the user's own: likelihood, gradient and posterior of the same one that is built in */
TEST(GP, CovarianceFunctionOfTheUsers)
{
  const PetscReal start = std::log(0.5);
  PetscReal       L[2], g[2][5];
  Vec             m[2];
  SkeanGP         gp[2];
  ASSERT_PETSC(SkeanGPKernelRegister("ownse", OwnKernel, 1, &start, 0, NULL));
  for (int own = 0; own < 2; ++own) {
    Problem p = Make({4, 5, 3}, 4);
    if (own) p.kernel = "matern52(0.7),ownse,matern32(1.2)";
    ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp[own]));
    ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp[own], &L[own], g[own]));
    ASSERT_PETSC(SkeanGPCreateVec(gp[own], &m[own]));
    ASSERT_PETSC(SkeanGPGetPosterior(gp[own], m[own], NULL));
  }
  EXPECT_NEAR(L[1], L[0], 1e-12 * std::abs(L[0]));
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(g[1][i], g[0][i], 1e-10 * std::abs(g[0][4])) << i;
  EXPECT_LT(MaxDiff(Take(m[1]), Take(m[0])), 1e-10);
  for (int own = 0; own < 2; ++own) {
    ASSERT_PETSC(VecDestroy(&m[own]));
    ASSERT_PETSC(SkeanGPDestroy(&gp[own]));
  }
}

/* Even and odd eigenvectors of Chebyshev points, which are symmetric to rounding only, and of a uniform grid, with noise that is symmetric or not: the same numbers as without */
TEST(GP, EvenAndOddParts)
{
  for (int missing : {0, 3}) {
    Problem     p = Make({48, 49, 5}, missing);
    SkeanGP     gp[2];
    PetscReal   L[2], g[2][5];
    Vec         v[2];
    double      D[49];
    const char *one[] = {"0", "1"};
    for (int i = 0; i < 49; ++i) D[i] = i == 3 ? 2.0 : 1.0;
    for (PetscInt i = 0; i < 48; ++i) p.x[0][i] = 3 - 3 * std::cos(PETSC_PI * (i + 0.5) / 48);
    for (int asymmetric = 0; asymmetric < 2; ++asymmetric) {
      SCOPED_TRACE("missing " + std::to_string(missing) + " asymmetric " + std::to_string(asymmetric));
      for (int on = 0; on < 2; ++on) {
        ASSERT_PETSC(PetscOptionsSetValue(NULL, "-mat_skeankron_evenodd", one[on]));
        ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp[on], [&](SkeanGP a) { return asymmetric ? SkeanGPSetNoiseFactor(a, 1, D) : PETSC_SUCCESS; }));
        gp[on]->reg->exactlimit = 0;
        gp[on]->reg->fillrtol   = 1e-13;
        gp[on]->reg->probes     = 2;
        gp[on]->variancesamples = 2;
        ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp[on], &L[on], g[on]));
        EXPECT_EQ(gp[on]->reg->eig[0].parts != nullptr, on == 1);
        EXPECT_EQ(gp[on]->reg->eig[0].asymmetry > 0, on == 1);
        EXPECT_LE(gp[on]->reg->eig[0].asymmetry, skean::kCentroTolerance);
        EXPECT_EQ(gp[on]->reg->eig[1].parts != nullptr, on == 1 && !asymmetric);
        EXPECT_EQ(gp[on]->reg->eig[2].parts, nullptr);
        ASSERT_PETSC(SkeanGPSolve(gp[on]));
        EXPECT_LT(gp[on]->reg->residual, 1e-12);
        ASSERT_PETSC(SkeanGPCreateVec(gp[on], &v[on]));
      }
      EXPECT_NEAR(L[0], L[1], 1e-12 * std::abs(L[0]));
      for (int i = 0; i < 5; ++i) EXPECT_NEAR(g[0][i], g[1][i], 1e-10 * std::abs(g[0][4]));
      for (int which = 0; which < 2; ++which) {
        for (int on = 0; on < 2; ++on) ASSERT_PETSC(SkeanGPGetPosterior(gp[on], which ? NULL : v[on], which ? v[on] : NULL));
        EXPECT_LT(MaxDiff(Take(v[0]), Take(v[1])), 1e-10) << (which ? "variance" : "mean");
      }
      for (int on = 0; on < 2; ++on) {
        ASSERT_PETSC(VecDestroy(&v[on]));
        ASSERT_PETSC(SkeanGPDestroy(&gp[on]));
      }
    }
  }
  ASSERT_PETSC(PetscOptionsClearValue(NULL, "-mat_skeankron_evenodd"));
}

/* Estimates with missing points: log determinant within 5 standard errors of the exact one; fill-in and masked CG agree, fill-in in fewer iterations */
TEST(GP, MissingPointsEstimates)
{
  Problem p = Make({6, 10, 9}, 6);
  SkeanGP gp;
  ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp));
  ASSERT_PETSC(SkeanGPSetVariances(gp, 1.0, 1e-3));
  PetscReal exact, L, g[5], ge[5];
  ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &exact, ge));
  gp->reg->exactlimit = 0;
  gp->reg->probes     = 40;
  ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &L, g));
  EXPECT_GT(gp->reg->logdeterr, 0);
  EXPECT_LT(std::abs(L - exact), 0.5 * 5 * gp->reg->logdeterr);
  EXPECT_LT(gp->reg->logdeterr, 0.05 * std::abs(exact));
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(g[i], ge[i], 0.1 * std::abs(ge[4]));
  Vec a, b;
  ASSERT_PETSC(SkeanGPCreateVec(gp, &a));
  ASSERT_PETSC(VecDuplicate(a, &b));
  gp->reg->fillrtol = 1e-10;
  ASSERT_PETSC(SkeanGPSolve(gp));
  ASSERT_PETSC(SkeanGPGetPosterior(gp, a, NULL));
  const PetscInt fill = gp->reg->fillits;
  ASSERT_PETSC(SkeanGPSetMissingMethod(gp, PETSC_TRUE));
  ASSERT_PETSC(SkeanGPSolve(gp));
  ASSERT_PETSC(SkeanGPGetPosterior(gp, b, NULL));
  EXPECT_LT(MaxDiff(Take(a), Take(b)), 1e-7);
  EXPECT_LT(fill, gp->reg->fillits / 3);
  /* variance: the estimate is near the exact one */
  ASSERT_PETSC(SkeanGPSetMissingMethod(gp, PETSC_FALSE));
  gp->variancesamples = 200;
  ASSERT_PETSC(SkeanGPGetPosterior(gp, NULL, a));
  gp->reg->exactlimit = 300;
  ASSERT_PETSC(SkeanGPGetPosterior(gp, NULL, b));
  const std::vector<double> va = Take(a), vb = Take(b);
  for (size_t i = 0; i < va.size(); ++i) EXPECT_LT(std::abs(va[i] - vb[i]), 6 * std::sqrt(2.0 / 200) * vb[i]);
  ASSERT_PETSC(VecDestroy(&a));
  ASSERT_PETSC(VecDestroy(&b));
  /* too few iterations: a reason, no answer */
  gp->reg->fillmaxit = 1;
  ASSERT_PETSC(KSPDestroy(&gp->reg->ksp));
  ASSERT_PETSC(MatDestroy(&gp->reg->shell));
  ASSERT_PETSC(VecDestroy(&gp->reg->kx));
  ASSERT_PETSC(VecDestroy(&gp->reg->kb));
  ASSERT_PETSC(SkeanGPSetVariances(gp, 1.0, 1e-3));
  ASSERT_PETSC(SkeanGPSolve(gp));
  SkeanConvergedReason reason;
  ASSERT_PETSC(SkeanGPGetConvergedReason(gp, &reason));
  EXPECT_EQ(reason, SKEAN_DIVERGED_LINEAR_SOLVE);
  ASSERT_PETSC(SkeanGPDestroy(&gp));
}

/* An estimated determinant: the gradient is that of the value, wherever the estimate is centred; both are near the exact ones */
TEST(GP, GradientOfTheEstimate)
{
  Problem p = Make({3, 8, 7}, 0);
  p.kernel  = "matern52(0.7),matern52(1.5),matern32(1.2)";
  p.mask.assign(p.N(), 1.0);
  for (PetscInt i = 0; i < p.N(); ++i)
    if (((i / 7) % 8 < 5 && i % 7 < 4) || i % 13 == 0) p.mask[i] = 0.0;
  double noise[2] = {0, 0};
  for (bool deflated : {true, false}) {
    SCOPED_TRACE(deflated ? "deflated" : "not deflated");
    SkeanGP gp;
    ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp));
    gp->reg->fillrtol   = 1e-12;
    gp->reg->exactlimit = 0;
    gp->reg->probes     = 4;
    ASSERT_PETSC(SkeanGPSetDeflation(gp, deflated ? 40 : 0, 1.0));
    std::vector<PetscReal> theta(5), grad(5), exact(5), t;
    PetscReal              L, Lexact;
    ASSERT_PETSC(SkeanGPGetParameters(gp, theta.data()));
    for (PetscReal away : {0.0, 0.3}) { /* of the centre */
      for (PetscReal &v : theta) v += away;
      if (away == 0.0) ASSERT_PETSC(gp->reg->HoldControl());
      EXPECT_EQ(gp->reg->control.Ready(), deflated);
      ASSERT_PETSC(SkeanGPSetParameters(gp, theta.data()));
      ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &L, grad.data()));
      const double error = gp->reg->logdeterr;
      if (away == 0.0) noise[deflated] = error;
      double scale = 0;
      for (double g : grad) scale = std::max(scale, std::abs(g));
      for (PetscInt i = 0; i < 5; ++i) {
        const double h = 1e-4, c[] = {0.5, -0.5};
        double       fd = 0;
        for (int q = 0; q < 2; ++q) {
          double Lq;
          t = theta;
          t[i] += (q ? -1 : 1) * h;
          ASSERT_PETSC(SkeanGPSetParameters(gp, t.data()));
          ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &Lq, NULL));
          fd += c[q] * Lq / h;
        }
        EXPECT_NEAR(grad[i], fd, 1e-5 * scale) << i;
      }
      ASSERT_PETSC(SkeanGPSetParameters(gp, theta.data()));
      gp->reg->exactlimit = 10000;
      ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &Lexact, exact.data()));
      gp->reg->exactlimit = 0;
      EXPECT_LT(std::abs(L - Lexact), 0.5 * 10 * error); /* three degrees of freedom in the standard error */
    }
    if (deflated) { EXPECT_LT(noise[0], noise[1]); }
    gp->reg->ReleaseControl();
    ASSERT_PETSC(SkeanGPDestroy(&gp));
  }
  EXPECT_LT(noise[1], noise[0]);
}

namespace {
struct Seen {
  int       calls = 0;
  PetscReal last  = -1e300, theta[5];
};
/* What a monitor can ask for is of the iterate: the likelihood grows, and is that of the hyper-parameters */
PetscErrorCode Look(SkeanGP gp, PetscInt it, PetscReal, void *ctx)
{
  Seen *s = static_cast<Seen *>(ctx);
  PetscFunctionBegin;
  EXPECT_EQ(it, s->calls++);
  EXPECT_GE(gp->loglikelihood, s->last);
  s->last = gp->loglikelihood;
  PetscCall(SkeanGPGetParameters(gp, s->theta));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

TEST(GP, MonitorSeesTheIterate)
{
  for (PetscBool profile : {PETSC_FALSE, PETSC_TRUE}) {
    Problem p = Make({3, 8, 7}, 9);
    p.kernel  = "matern32(0.8),matern52(0.6),matern32(0.5)";
    for (PetscInt i = 0; i < p.N(); ++i) p.y[i] = 0.2 * p.y[i] + std::sin(p.x[1][(i / 7) % 8]) * std::cos(p.x[2][i % 7]) + p.x[0][i / 56];
    SkeanGP   gp;
    Seen      seen;
    PetscReal found[5], L;
    ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp));
    gp->profile = profile;
    ASSERT_PETSC(SkeanGPSetOptimize(gp, PETSC_TRUE));
    ASSERT_PETSC(SkeanGPSetTolerances(gp, 1e-3, PETSC_DEFAULT, PETSC_DEFAULT));
    ASSERT_PETSC(SkeanGPMonitorSet(gp, Look, &seen, NULL));
    ASSERT_PETSC(SkeanGPSolve(gp));
    EXPECT_GT(seen.calls, 3);
    ASSERT_PETSC(SkeanGPGetParameters(gp, found));
    for (int i = 0; i < 5; ++i) EXPECT_NEAR(seen.theta[i], found[i], 1e-12) << i;
    ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &L, NULL));
    EXPECT_NEAR(seen.last, L, 1e-9 * std::abs(L));
    ASSERT_PETSC(SkeanGPDestroy(&gp));
  }
}

namespace {
/* A signal on the last process at an iteration */
PetscErrorCode RaiseAtThree(SkeanGP, PetscInt it, PetscReal, void *)
{
  PetscFunctionBegin;
  if (it == 3 && skeantest::Rank() == skeantest::Size() - 1) std::raise(SIGUSR1);
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

/* Interrupted by a signal, continued on all processes and on one: the same hyper-parameters as without interruption, and no evaluation made twice */
TEST(GP, CheckpointContinuesToTheSameAnswer)
{
  Problem p = Make({3, 8, 7}, 9);
  p.kernel  = "matern32(0.8),matern52(0.6),matern32(0.5)";
  /* smooth data */
  for (PetscInt i = 0; i < p.N(); ++i) p.y[i] = 0.2 * p.y[i] + std::sin(p.x[1][(i / 7) % 8]) * std::cos(p.x[2][i % 7]) + p.x[0][i / 56];
  const std::string file = "gp-checkpoint-" + std::to_string(skeantest::Size()) + ".bin";
  for (PetscInt exact : {300, 10}) {
    SCOPED_TRACE(exact == 10 ? "estimated" : "exact");
    const auto Prepare = [&](SkeanGP g) {
      PetscFunctionBegin;
      g->reg->exactlimit = exact;
      g->reg->probes     = 1;
      PetscCall(SkeanGPSetOptimize(g, PETSC_TRUE));
      PetscCall(SkeanGPSetRestarts(g, exact == 300 ? 1 : 0));
      PetscCall(SkeanGPSetTolerances(g, 1e-3, PETSC_DEFAULT, PETSC_DEFAULT));
      PetscFunctionReturn(PETSC_SUCCESS);
    };
    PetscReal            whole[5], part[5];
    PetscInt             all = 0, its = 0;
    SkeanConvergedReason reason, wanted;
    SkeanGP              gp;
    ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp, Prepare));
    ASSERT_PETSC(SkeanGPSolve(gp));
    ASSERT_PETSC(SkeanGPGetConvergedReason(gp, &wanted));
    EXPECT_GT(wanted, 0) << SkeanConvergedReasons[wanted];
    ASSERT_PETSC(SkeanGPGetParameters(gp, whole));
    ASSERT_PETSC(SkeanGPGetIterationNumber(gp, &its));
    all = gp->evaluations;
    if (exact == 300) { /* the likelihood that is reported is that of the hyper-parameters that were found */
      SkeanGPReport report;
      PetscReal     L;
      ASSERT_PETSC(SkeanGPGetReport(gp, &report));
      ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &L, NULL));
      EXPECT_NEAR(report.loglikelihood, L, 1e-9 * std::abs(L));
    }
    ASSERT_PETSC(SkeanGPDestroy(&gp));

    ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp, Prepare));
    ASSERT_PETSC(PetscStrallocpy(file.c_str(), &gp->solver.checkpointfile));
    ASSERT_PETSC(SkeanGPMonitorSet(gp, RaiseAtThree, NULL, NULL));
    ASSERT_PETSC(SkeanGPSolve(gp));
    ASSERT_PETSC(SkeanGPGetConvergedReason(gp, &reason));
    EXPECT_EQ(reason, SKEAN_DIVERGED_INTERRUPTED);
    const PetscInt before = gp->evaluations;
    EXPECT_LT(before, all);
    ASSERT_PETSC(SkeanGPDestroy(&gp));

    for (MPI_Comm comm : {PETSC_COMM_WORLD, PETSC_COMM_SELF}) {
      ASSERT_PETSC(Create(comm, p, &gp, Prepare));
      ASSERT_PETSC(PetscStrallocpy(file.c_str(), &gp->solver.restartfile));
      /* other starting values: those of the checkpoint count */
      ASSERT_PETSC(SkeanGPSetVariances(gp, 5.0, 0.5));
      ASSERT_PETSC(SkeanGPSolve(gp));
      ASSERT_PETSC(SkeanGPGetConvergedReason(gp, &reason));
      EXPECT_EQ(reason, wanted);
      ASSERT_PETSC(SkeanGPGetParameters(gp, part));
      for (int i = 0; i < 5; ++i) EXPECT_NEAR(part[i], whole[i], 1e-6) << i;
      if (comm == PETSC_COMM_WORLD) {
        EXPECT_EQ(gp->evaluations, all - before);
        EXPECT_EQ(gp->solver.its, its);
      }
      ASSERT_PETSC(SkeanGPDestroy(&gp));
    }
    /* another problem */
    std::string message;
    ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp, Prepare));
    ASSERT_PETSC(PetscStrallocpy(file.c_str(), &gp->solver.restartfile));
    ASSERT_PETSC(SkeanGPSetKernel(gp, "matern32(0.8),rq(0.6,1),matern32(0.5)"));
    EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSolve(gp); }, &message), PETSC_ERR_FILE_UNEXPECTED);
    EXPECT_NE(message.find("hyper-parameters"), std::string::npos) << message;
    ASSERT_PETSC(SkeanGPDestroy(&gp));
    Problem other = p;
    other.y[3] += 1.0;
    ASSERT_PETSC(Create(PETSC_COMM_WORLD, other, &gp, Prepare));
    ASSERT_PETSC(PetscStrallocpy(file.c_str(), &gp->solver.restartfile));
    EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSolve(gp); }, &message), PETSC_ERR_FILE_UNEXPECTED);
    EXPECT_NE(message.find("other data"), std::string::npos) << message;
    ASSERT_PETSC(SkeanGPDestroy(&gp));
    /* what has the same numbers of everything, the same names of hyper-parameters, the same mean and variance */
    const auto Refused = [&](const char *what, const Problem &q, const std::function<PetscErrorCode(SkeanGP)> &before) {
      SCOPED_TRACE(what);
      message.clear();
      ASSERT_PETSC(Create(PETSC_COMM_WORLD, q, &gp, [&](SkeanGP g) {
        PetscFunctionBegin;
        PetscCall(Prepare(g));
        if (before) PetscCall(before(g));
        PetscFunctionReturn(PETSC_SUCCESS);
      }));
      ASSERT_PETSC(PetscStrallocpy(file.c_str(), &gp->solver.restartfile));
      EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSolve(gp); }, &message), PETSC_ERR_FILE_UNEXPECTED);
      EXPECT_NE(message.find(what), std::string::npos) << message;
      ASSERT_PETSC(SkeanGPDestroy(&gp));
    };
    other        = p;
    other.kernel = "matern32(0.8),se(0.6),matern32(0.5)";
    Refused("covariance functions", other, nullptr);
    other = p;
    other.x[1][4] += 0.01;
    for (size_t j = 0; j < other.x.size(); ++j) other.px[j] = other.x[j].data();
    Refused("points", other, nullptr);
    other = p;
    std::swap(other.y[3], other.y[5]); /* both observed */
    Refused("other data", other, nullptr);
    Refused("fixed hyper-parameter 1", p, [](SkeanGP g) {
      const PetscInt one = 1;
      PetscReal      theta[5];
      PetscFunctionBegin;
      PetscCall(SkeanGPGetParameters(g, theta));
      theta[1] += 0.1;
      PetscCall(SkeanGPSetParameters(g, theta));
      PetscCall(SkeanGPSetFixedParameters(g, 1, &one));
      PetscFunctionReturn(PETSC_SUCCESS);
    });
  }
  ASSERT_PETSC(MPI_Barrier(PETSC_COMM_WORLD));
  if (!skeantest::Rank()) std::remove(file.c_str());
}

/* Variance with most points missing in one gap, exactly: by definition; estimated: within the error of the number of random vectors, and on the mean */
TEST(GP, VarianceWithManyMissingPoints)
{
  Problem p = Make({4, 8, 7}, 0);
  p.mask.assign(p.N(), 1.0);
  RandomStream s(13, Purpose::Test);
  for (PetscInt i = 0; i < p.N(); ++i)
    if ((i / 7) % 8 < 5 || s.Uniform(i) < 0.1) p.mask[i] = 0.0;
  const Dense         ref(p, std::vector<double>(p.N(), 0.06));
  std::vector<double> var(p.N()), mean(p.N());
  for (PetscInt i = 0; i < p.N(); ++i) {
    double c[3];
    ref.Point(i, c);
    ref.Predict(c, &mean[i], &var[i]);
  }
  SkeanGP gp;
  Vec     v;
  ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp));
  ASSERT_PETSC(SkeanGPCreateVec(gp, &v));
  ASSERT_PETSC(SkeanGPGetPosterior(gp, NULL, v));
  EXPECT_GT(p.N() - static_cast<PetscInt>(ref.obs.size()), 130);
  EXPECT_LT(MaxDiff(Take(v), var), 1e-10);
  gp->reg->exactlimit = 0;
  gp->variancesamples = 64;
  ASSERT_PETSC(SkeanGPGetPosterior(gp, NULL, v));
  const std::vector<double> est  = Take(v);
  double                    bias = 0;
  for (size_t i = 0; i < est.size(); ++i) {
    EXPECT_LT(std::abs(est[i] - var[i]), 6 * std::sqrt(2.0 / 64) * var[i]) << i;
    bias += est[i] / var[i] - 1;
  }
  EXPECT_LT(std::abs(bias) / static_cast<double>(est.size()), 6 * std::sqrt(2.0 / 64) / 4);
  ASSERT_PETSC(VecDestroy(&v));
  ASSERT_PETSC(SkeanGPDestroy(&gp));
}

/* Scattered missing points: what their neighbours leave is exact, only the rest of the variance is estimated; with noise that varies */
TEST(GP, VarianceOfScatteredPointsIsEstimatedGivenTheNeighbours)
{
  const PetscInt draws = 8;
  Problem        p     = Make({4, 8, 7}, 0);
  p.mask.assign(p.N(), 1.0);
  RandomStream s(17, Purpose::Test);
  for (PetscInt i = 0; i < p.N(); ++i)
    if (s.Uniform(i) < 0.2) p.mask[i] = 0.0;
  std::vector<std::vector<double>> D(3);
  std::vector<double>              noise(p.N(), 0.06);
  for (int j = 0; j < 3; ++j)
    for (PetscInt i = 0; i < p.n[j]; ++i) D[j].push_back(1.0 + 0.3 * s.Uniform(i, j + 1));
  for (PetscInt i = 0; i < p.N(); ++i)
    for (PetscInt j = 2, g = i; j >= 0; --j) {
      noise[i] *= D[j][g % p.n[j]];
      g /= p.n[j];
    }
  const Dense ref(p, noise);
  Problem     full = p;
  full.mask.clear();
  Dense              all(full, noise); /* of its inverse the diagonal is one over the variances given all other points */
  const PetscBLASInt n = static_cast<PetscBLASInt>(p.N());
  PetscBLASInt       info;
  LAPACKpotri_("L", &n, all.L.data(), &n, &info);
  ASSERT_EQ(info, 0);
  SkeanGP        gp;
  Vec            v;
  PetscErrorCode known = Create(PETSC_COMM_WORLD, p, &gp, [&](SkeanGP g) {
    PetscFunctionBegin;
    for (int j = 0; j < 3; ++j) PetscCall(SkeanGPSetNoiseFactor(g, j, D[j].data()));
    PetscFunctionReturn(PETSC_SUCCESS);
  });
  ASSERT_PETSC(known);
  ASSERT_PETSC(SkeanGPCreateVec(gp, &v));
  gp->reg->exactlimit = 0;
  gp->variancesamples = draws;
  ASSERT_PETSC(SkeanGPGetPosterior(gp, NULL, v));
  const std::vector<double> est = Take(v);
  for (PetscInt i = 0; i < p.N(); ++i) {
    double c[3], mean, var;
    if (p.mask[i] != 0.0) continue;
    ref.Point(i, c);
    ref.Predict(c, &mean, &var);
    const double estimated = var + noise[i] - 1 / all.L[i * (n + 1)];
    EXPECT_LT(std::abs(est[i] - var), 6 * std::sqrt(2.0 / static_cast<double>(draws)) * estimated + 1e-3 * var) << i;
    EXPECT_LT(estimated, 0.7 * (var + noise[i])) << "a test that could not fail: " << i;
  }
  ASSERT_PETSC(VecDestroy(&v));
  ASSERT_PETSC(SkeanGPDestroy(&gp));
}

/* Scattered gaps in a field that is rough on the grid, with little noise: neighbours are taken by themselves, in half the iterations, to the same answer
   for any distribution */
TEST(GP, RoughFieldsTakeNeighbors)
{
  Problem p = Make({14, 15, 16}, 0);
  p.kernel  = "matern12(25),matern12(25),matern12(25)";
  RandomStream s(8, Purpose::Test);
  p.mask.assign(p.N(), 1.0);
  for (PetscInt i = 0; i < p.N(); ++i) p.mask[i] = s.Uniform(i) < 0.3 ? 0.0 : 1.0;
  SkeanGP       gp;
  SkeanGPReport report;
  Vec           a, b;
  ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp));
  ASSERT_PETSC(SkeanGPSetVariances(gp, 1.0, 1e-6));
  ASSERT_PETSC(SkeanGPCreateVec(gp, &a));
  ASSERT_PETSC(VecDuplicate(a, &b));
  PetscInt its[4];
  int      k = 0;
  for (PetscInt reach : {0, PETSC_DECIDE, 1, 2}) {
    ASSERT_PETSC(SkeanGPSetNeighbors(gp, reach));
    ASSERT_PETSC(SkeanGPSolve(gp));
    ASSERT_PETSC(SkeanGPGetReport(gp, &report));
    its[k] = report.filliterations;
    ASSERT_PETSC(SkeanGPGetPosterior(gp, k ? b : a, NULL));
    if (k++) { EXPECT_LT(MaxDiff(Take(a), Take(b)), 1e-6); }
  }
  EXPECT_GT(its[0], 40);
  EXPECT_LT(its[1], its[0] / 2);
  EXPECT_LT(its[2], 2 * its[0] / 3);
  EXPECT_LE(its[3], its[2]);
  EXPECT_LE(its[3], its[1]);
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetNeighbors(gp, -5); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetNeighbors(gp, 9); }), PETSC_ERR_ARG_OUTOFRANGE);
  ASSERT_PETSC(VecDestroy(&a));
  ASSERT_PETSC(VecDestroy(&b));
  ASSERT_PETSC(SkeanGPDestroy(&gp));
}

/* A large gap: deflated by itself, in a tenth of the iterations, to the same answer; scattered points: left alone, few iterations */
TEST(GP, LargeGapsAreDeflated)
{
  Problem p = Make({6, 16, 18}, 0);
  p.kernel  = "matern52(4),matern52(4),matern52(4)";
  p.mask.assign(p.N(), 1.0);
  for (PetscInt i = 0; i < p.N(); ++i)
    if ((i / 18) % 16 < 11 && i % 18 < 14) p.mask[i] = 0.0;
  SkeanGP       gp;
  SkeanGPReport report;
  Vec           a, b;
  ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp));
  ASSERT_PETSC(SkeanGPSetVariances(gp, 1.0, 1e-2));
  ASSERT_PETSC(SkeanGPCreateVec(gp, &a));
  ASSERT_PETSC(VecDuplicate(a, &b));
  PetscInt its[3];
  int      k = 0;
  for (PetscInt modes : {PETSC_DECIDE, 0, 20}) {
    ASSERT_PETSC(SkeanGPSetDeflation(gp, modes, 1.0));
    ASSERT_PETSC(SkeanGPSetNeighbors(gp, modes ? PETSC_DECIDE : 0));
    ASSERT_PETSC(SkeanGPSolve(gp));
    ASSERT_PETSC(SkeanGPGetReport(gp, &report));
    its[k] = report.filliterations;
    if (modes == 0)
      EXPECT_EQ(report.deflated, 0);
    else if (modes == 20)
      EXPECT_LE(report.deflated, 20);
    else
      EXPECT_GT(report.deflated, 20);
    ASSERT_PETSC(SkeanGPGetPosterior(gp, k ? b : a, NULL));
    if (k++) { EXPECT_LT(MaxDiff(Take(a), Take(b)), 1e-6); }
  }
  EXPECT_LT(its[0], 20) << "the condition number is at most 2";
  EXPECT_LT(its[0], its[1] / 4);
  EXPECT_LT(its[2], its[1]);
  ASSERT_PETSC(SkeanGPSetDeflation(gp, PETSC_DECIDE, PETSC_DEFAULT));
  RandomStream s(8, Purpose::Test);
  for (PetscInt i = 0; i < p.N(); ++i) p.mask[i] = s.Uniform(i) < 0.3 ? 0.0 : 1.0;
  Put(a, p.y);
  Put(b, p.mask);
  ASSERT_PETSC(SkeanGPSetData(gp, a, b));
  ASSERT_PETSC(SkeanGPSolve(gp));
  ASSERT_PETSC(SkeanGPGetReport(gp, &report));
  EXPECT_EQ(report.deflated, 0);
  EXPECT_LE(report.filliterations, 20);
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetDeflation(gp, -5, 1.0); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetDeflation(gp, 5, 0.0); }), PETSC_ERR_ARG_OUTOFRANGE);
  ASSERT_PETSC(VecDestroy(&a));
  ASSERT_PETSC(VecDestroy(&b));
  ASSERT_PETSC(SkeanGPDestroy(&gp));
}

/* Data drawn from a known covariance: the optimum is a stationary point, better than the truth, and near it */
TEST(GP, HyperParametersAreRecovered)
{
  Problem p = Make({8, 24, 20}, 0);
  p.kernel  = "matern32(0.8),matern52(0.6),matern32(0.5)";
  SkeanGP gp;
  Vec     y, m;
  ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp));
  ASSERT_PETSC(SkeanGPCreateVec(gp, &y));
  ASSERT_PETSC(SkeanGPSample(gp, PETSC_FALSE, 1, y));
  p.y = Take(y);
  /* y' V^-1 y is chi squared with N degrees of freedom */
  RandomStream e(41, Purpose::Test);
  for (size_t i = 0; i < p.y.size(); ++i) p.y[i] += std::sqrt(0.06) * e.Normal(i);
  Put(y, p.y);
  ASSERT_PETSC(SkeanGPSetData(gp, y, NULL));
  PetscReal            Ltruth, L, truth[5], found[5], g[5];
  SkeanConvergedReason reason;
  ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &Ltruth, NULL));
  ASSERT_PETSC(SkeanGPSolve(gp));
  double quad, N = static_cast<double>(p.N());
  ASSERT_PETSC(gp->reg->Dot(gp->reg->y.data(), gp->reg->alpha.data(), &quad));
  EXPECT_LT(std::abs(quad / 1.7 / N - 1), 5 * std::sqrt(2 / N));
  ASSERT_PETSC(SkeanGPGetParameters(gp, truth));
  ASSERT_PETSC(SkeanGPSetKernel(gp, "matern32(0.2),matern52(2),matern32(1)"));
  ASSERT_PETSC(SkeanGPSetVariances(gp, 10.0, 3.0));
  ASSERT_PETSC(SkeanGPSetOptimize(gp, PETSC_TRUE));
  ASSERT_PETSC(SkeanGPSetRestarts(gp, 2));
  ASSERT_PETSC(SkeanGPSolve(gp));
  ASSERT_PETSC(SkeanGPGetConvergedReason(gp, &reason));
  EXPECT_GT(reason, 0) << SkeanConvergedReasons[reason];
  ASSERT_PETSC(SkeanGPGetParameters(gp, found));
  ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &L, g));
  /* Laplace's approximation: the truth is within four standard deviations, which are those of the Hessian by differences of the values */
  PetscReal sd[5];
  ASSERT_PETSC(SkeanGPComputeParameterDeviations(gp, sd));
  for (int i = 0; i < 5; ++i) {
    EXPECT_GT(sd[i], 0) << i;
    EXPECT_LT(std::abs(found[i] - truth[i]), 4 * sd[i]) << i;
  }
  {
    const PetscInt fixed[] = {0, 1, 2};
    const double   h       = 0.02;
    double         v[3][3];
    ASSERT_PETSC(SkeanGPSetFixedParameters(gp, 3, fixed));
    ASSERT_PETSC(SkeanGPComputeParameterDeviations(gp, sd));
    for (int i = 0; i < 3; ++i) EXPECT_EQ(sd[i], 0.0);
    for (int a = 0; a < 3; ++a)
      for (int b = 0; b < 3; ++b) {
        PetscReal t[] = {found[0], found[1], found[2], found[3] + (a - 1) * h, found[4] + (b - 1) * h};
        ASSERT_PETSC(SkeanGPSetParameters(gp, t));
        ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &v[a][b], NULL));
      }
    const double A = (2 * v[1][1] - v[0][1] - v[2][1]) / (h * h), B = (2 * v[1][1] - v[1][0] - v[1][2]) / (h * h),
                 C = (v[0][2] + v[2][0] - v[0][0] - v[2][2]) / (4 * h * h);
    EXPECT_NEAR(sd[3], std::sqrt(B / (A * B - C * C)), 1e-3 * sd[3]);
    EXPECT_NEAR(sd[4], std::sqrt(A / (A * B - C * C)), 1e-3 * sd[4]);
    ASSERT_PETSC(SkeanGPSetFixedParameters(gp, 0, NULL));
    /* far from a maximum there are none */
    PetscReal t[] = {found[0] - 3, found[1] + 3, found[2] + 3, found[3], found[4] + 2};
    ASSERT_PETSC(SkeanGPSetParameters(gp, t));
    ASSERT_PETSC(SkeanGPComputeParameterDeviations(gp, sd));
    EXPECT_TRUE(std::isnan(sd[0]));
    ASSERT_PETSC(SkeanGPSetParameters(gp, found));
  }
  EXPECT_GE(L, Ltruth);
  EXPECT_LT(L - Ltruth, 12.0) << "five parameters gain 2.5 on average";
  for (int i = 0; i < 5; ++i) {
    EXPECT_NEAR(found[i], truth[i], 0.8) << i;
    EXPECT_LT(std::abs(g[i]), 1e-2 * N * 1e-2) << i;
  }
  ASSERT_PETSC(VecDuplicate(y, &m));
  ASSERT_PETSC(SkeanGPGetPosterior(gp, m, NULL));
  ASSERT_PETSC(VecDestroy(&y));
  ASSERT_PETSC(VecDestroy(&m));
  ASSERT_PETSC(SkeanGPDestroy(&gp));
}

TEST(GP, TooLittleNoiseIsAReasonAndBadInputIsAnError)
{
  Problem              p = Make({6, 30, 6}, 0);
  SkeanGP              gp;
  SkeanConvergedReason reason;
  std::string          message;
  PetscReal            L;
  p.kernel = "se(2),se(5),se(2)";
  ASSERT_PETSC(Create(PETSC_COMM_WORLD, p, &gp));
  ASSERT_PETSC(SkeanGPSetVariances(gp, 1.0, 1e-25));
  ASSERT_PETSC(SkeanGPSolve(gp));
  ASSERT_PETSC(SkeanGPGetConvergedReason(gp, &reason));
  EXPECT_EQ(reason, SKEAN_DIVERGED_ROUNDING_FLOOR) << "singular to rounding: no silent jitter";
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPComputeLogLikelihood(gp, &L, NULL); }, &message), PETSC_ERR_CONV_FAILED);
  EXPECT_NE(message.find("would do"), std::string::npos) << message;
  SkeanGPReport report;
  ASSERT_PETSC(SkeanGPGetReport(gp, &report));
  EXPECT_GT(report.negative, 0);
  ASSERT_PETSC(SkeanGPSetVariances(gp, 1.0, 10 * report.floor));
  ASSERT_PETSC(SkeanGPComputeLogLikelihood(gp, &L, NULL));

  Vec y, mask;
  ASSERT_PETSC(SkeanGPCreateVec(gp, &y));
  ASSERT_PETSC(VecDuplicate(y, &mask));
  ASSERT_PETSC(VecSet(mask, 0.0));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetData(gp, y, mask); }, &message), PETSC_ERR_ARG_WRONG);
  EXPECT_NE(message.find("missing"), std::string::npos);
  ASSERT_PETSC(VecSetValue(y, 5, std::numeric_limits<double>::quiet_NaN(), INSERT_VALUES));
  ASSERT_PETSC(VecAssemblyBegin(y));
  ASSERT_PETSC(VecAssemblyEnd(y));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetData(gp, y, NULL); }, &message), PETSC_ERR_ARG_WRONG);
  EXPECT_NE(message.find("NaN"), std::string::npos);
  ASSERT_PETSC(VecSet(y, 2.0));
  ASSERT_PETSC(SkeanGPSetData(gp, y, NULL));
  ASSERT_PETSC(SkeanGPSetOptimize(gp, PETSC_TRUE));
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSolve(gp); }, &message), PETSC_ERR_ARG_WRONG);
  EXPECT_NE(message.find("constant field"), std::string::npos);
  ASSERT_PETSC(VecDestroy(&y));
  ASSERT_PETSC(VecDestroy(&mask));
  EXPECT_NE(skeantest::ErrorOf([&] { return SkeanGPSetKernel(gp, "se(-1)"); }), PETSC_SUCCESS);
  EXPECT_NE(skeantest::ErrorOf([&] { return SkeanGPSetKernel(gp, "matern33"); }), PETSC_SUCCESS);
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetVariances(gp, 1.0, -1.0); }), PETSC_ERR_ARG_OUTOFRANGE);
  ASSERT_PETSC(SkeanGPDestroy(&gp));

  const PetscInt n[] = {3}, big[] = {40000, 40000};
  PetscReal      dup[] = {0, 1, 1}, unsorted[] = {0, 2, 1}, nan[] = {0, std::numeric_limits<double>::quiet_NaN(), 1};
  PetscReal     *c[1];
  ASSERT_PETSC(SkeanGPCreate(PETSC_COMM_WORLD, &gp));
  c[0] = dup;
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetGrid(gp, 1, n, c); }, &message), PETSC_ERR_ARG_WRONG);
  EXPECT_NE(message.find("same"), std::string::npos);
  c[0] = unsorted;
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetGrid(gp, 1, n, c); }, &message), PETSC_ERR_ARG_WRONG);
  EXPECT_NE(message.find("not sorted"), std::string::npos);
  c[0] = nan;
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetGrid(gp, 1, n, c); }), PETSC_ERR_ARG_WRONG);
  /* 1.6e9 points: 64 GB on this many processes */
  std::vector<PetscReal> line(40000);
  for (size_t i = 0; i < line.size(); ++i) line[i] = static_cast<PetscReal>(i);
  PetscReal *lines[] = {line.data(), line.data()};
  if (skean::AvailableMemory() < 60e9 * skeantest::Size()) {
    EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSetGrid(gp, 2, big, lines); }, &message), PETSC_ERR_MEM);
  }
  EXPECT_NE(message.find("GB"), std::string::npos) << message;
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanGPSolve(gp); }), PETSC_ERR_ORDER);
  ASSERT_PETSC(SkeanGPDestroy(&gp));
}
