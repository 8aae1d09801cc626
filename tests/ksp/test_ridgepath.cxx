/* The small problems of a ridge path: bidiagonalisation, choice of the skeleton, combinations */
#include "harness/skeantest.hpp"
#include "reference/leastsquares.hpp"
#include "src/ksp/sketch/ridgeskeleton.hpp"
#include <skean/private/random.hpp>
#include <skean/private/ridgebasis.hpp>
#include <cfloat>
#include <cmath>

using namespace skeantest;

namespace {
skean::RandomStream         Rnd(61, skean::Purpose::Test);
typedef std::vector<double> Array;

double Dot(PetscInt n, const double *x, const double *y)
{
  double s = 0;
  for (PetscInt i = 0; i < n; ++i) s += x[i] * y[i];
  return s;
}
double Length(const Array &x)
{
  return std::sqrt(Dot(static_cast<PetscInt>(x.size()), x.data(), x.data()));
}
double Distance(Array x, const Array &y)
{
  for (size_t i = 0; i < x.size(); ++i) x[i] -= y[i];
  return Length(x);
}
Array Numbers(PetscInt n, PetscInt purpose)
{
  Array x(n);
  for (PetscInt i = 0; i < n; ++i) x[i] = Rnd.Normal(i, purpose);
  return x;
}
/* upper triangular, diagonal away from zero; column `gone` (none: negative) is zero */
Array Triangle(PetscInt d, PetscInt gone = -1)
{
  Array R(static_cast<size_t>(d) * d, 0.0);
  for (PetscInt j = 0; j < d; ++j)
    for (PetscInt i = 0; i <= j && j != gone; ++i) R[i + static_cast<size_t>(j) * d] = i == j ? 1.0 + i % 3 : 0.3 * Rnd.Normal(i, j);
  return R;
}
/* R x, or R'x */
Array Times(const Array &R, PetscInt d, const double *x, bool transpose = false)
{
  Array y(d, 0.0);
  for (PetscInt j = 0; j < d; ++j)
    for (PetscInt i = 0; i <= j; ++i) y[transpose ? j : i] += R[i + static_cast<size_t>(j) * d] * x[transpose ? i : j];
  return y;
}
} // namespace

/* R = Q B P', and everything that follows from it; d = 150: more than a block of the product R'R. squared: from R'R */
TEST(RidgeBasis, IsAFactorisation)
{
  for (bool squared : {false, true})
    for (PetscInt d : {0, 1, 2, 17, 150}) {
      const Array       R = Triangle(d), x = Numbers(2 * d, 1), c = Numbers(d, 2);
      Array             y = x, by(2 * d), r = R;
      skean::RidgeBasis basis;
      ASSERT_PETSC(basis.Factor(PETSC_COMM_WORLD, d, std::move(r), squared));
      EXPECT_EQ(basis.Squared(), squared && d > 0);
      if (!d) continue;
      const double small = 50 * d * DBL_EPSILON;
      basis.ToBasis(y.data(), 2);
      for (int k = 0; k < 2; ++k) basis.Product(y.data() + k * d, by.data() + k * d);
      const Array rx = Times(R, d, x.data()), rz = Times(R, d, x.data() + d);
      EXPECT_NEAR(Dot(d, by.data(), by.data() + d), Dot(d, rx.data(), rz.data()), small * Length(rx) * Length(rz)) << "P'R'R P = B'B";
      if (!squared) {
        Array q = rx;
        basis.LeftToBasis(q.data(), 1);
        EXPECT_LT(Distance(q, Array(by.begin(), by.begin() + d)), small * Length(rx)) << "Q'R = B P'";
      }
      Array back = y;
      basis.FromBasis(back.data(), 2);
      EXPECT_LT(Distance(back, x), small * Length(x)) << "P P' = I";
      /* min |R x - c|^2 + lambda |x|^2, from R'c */
      for (double lambda : {1e-6, 0.3, 1e5}) {
        Array g = Times(R, d, c.data(), true), f(d), solution(d), t(d), e(d), two;
        basis.ToBasis(g.data(), 1);
        basis.Divide(g.data(), f.data());
        basis.Solve(lambda, f.data(), solution.data());
        basis.FromBasis(solution.data(), 1);
        const Array ref = reference::Ridge(d, d, R, c, lambda);
        EXPECT_LT(Distance(solution, ref), 100 * small * Length(ref)) << d << " " << lambda;
        /* T^{-1} T^{-T} = (B'B + lambda)^{-1}: the same solution from the normal equations */
        basis.Triangle(lambda, t.data(), e.data());
        two = g;
        two.insert(two.end(), 3, -7.0); /* a leading dimension larger than d */
        two.insert(two.end(), g.begin(), g.end());
        skean::RidgeBasis::TriangleSolveTransposed(d, t.data(), e.data(), two.data(), 2, d + 3);
        skean::RidgeBasis::TriangleSolveTransposed(d, t.data(), e.data(), g.data());
        EXPECT_EQ(Distance(g, Array(two.begin(), two.begin() + d)), 0.0);
        EXPECT_EQ(Distance(g, Array(two.begin() + d + 3, two.end())), 0.0);
        EXPECT_EQ(two[d], -7.0);
        skean::RidgeBasis::TriangleSolve(d, t.data(), e.data(), g.data());
        basis.FromBasis(g.data(), 1);
        EXPECT_LT(Distance(g, ref), 100 * small * Length(ref)) << d << " " << lambda;
      }
    }
}

/* R'R has no Cholesky factor: the bidiagonalisation of R itself takes over */
TEST(RidgeBasis, SingularFactorIsNotSquared)
{
  const PetscInt    d = 9;
  const Array       R = Triangle(d, 4), c = Numbers(d, 3);
  Array             r = R, f = c, x(d);
  skean::RidgeBasis basis;
  ASSERT_PETSC(basis.Factor(PETSC_COMM_WORLD, d, std::move(r), true));
  EXPECT_FALSE(basis.Squared());
  basis.LeftToBasis(f.data(), 1);
  basis.Solve(1e-3, f.data(), x.data());
  basis.FromBasis(x.data(), 1);
  const Array ref = reference::Ridge(d, d, R, c, 1e-3);
  EXPECT_LT(Distance(x, ref), 1e-12 * Length(ref));
  EXPECT_NEAR(x[4], 0.0, 1e-12);
}

namespace {
/* q columns of rank `rank` whose last entry is 1, sizes 100, 200, 300, 100, ...: rounding in the columns is far below u times them */
void Columns(PetscInt m, PetscInt q, PetscInt rank, Array &M, Array &size)
{
  M.assign(static_cast<size_t>(m) * q, 0.0);
  size.resize(q);
  for (PetscInt j = 0; j < q; ++j) {
    size[j] = 100 * (1 + j % 3);
    for (PetscInt i = 0; i < m - 1; ++i)
      for (PetscInt k = 0; k < rank; ++k) M[i + static_cast<size_t>(j) * m] += Rnd.Normal(i, 10 + k) * (k ? Rnd.Normal(j, 20 + k) : 1.0) / size[j];
    M[m - 1 + static_cast<size_t>(j) * m] = 1.0 / size[j];
  }
}
} // namespace

TEST(RidgeSkeleton, RankPilotsAndRoom)
{
  const PetscInt m = 30, q = 21, panel = 4;
  Array          lambda(q);
  for (PetscInt j = 0; j < q; ++j) lambda[j] = std::pow(10.0, j);
  for (PetscInt rank : {1, 3, 4, 6, 9}) {
    Array                M, original, size;
    skean::RidgeSkeleton s;
    Columns(m, q, rank, M, size);
    original = M;
    ASSERT_PETSC(skean::RidgeSkeletonChoose(m, q, lambda.data(), M.data(), size.data(), panel, &s));
    const PetscInt members = static_cast<PetscInt>(s.members.size()), pilots = static_cast<PetscInt>(s.pilots.size());
    EXPECT_EQ(members % panel, 0);
    EXPECT_GE(members, rank);
    EXPECT_LE(members, (rank + 1 + panel - 1) / panel * panel) << "the smallest parameter may come to the pivots, and what fills the panel";
    EXPECT_EQ(s.members[0], 0);
    for (PetscInt a = 1; a < members; ++a) EXPECT_LT(s.members[a - 1], s.members[a]);
    EXPECT_EQ(pilots, std::min(rank, panel));
    ASSERT_ALL(s.mix.size() == static_cast<size_t>(members) * pilots);
    if (rank > panel) continue;
    for (PetscInt a = 0; a < members; ++a) { /* every member is the combination of the pilots that mix says, with coefficients that sum to 1 */
      double sum = 0;
      for (PetscInt b = 0; b < pilots; ++b) sum += s.mix[b + static_cast<size_t>(a) * pilots];
      EXPECT_NEAR(sum, 1.0, 1e-12);
      for (PetscInt i = 0; i < m; ++i) {
        double t = 0;
        for (PetscInt b = 0; b < pilots; ++b)
          t += s.mix[b + static_cast<size_t>(a) * pilots] * original[i + static_cast<size_t>(s.pilots[b]) * m] * size[s.pilots[b]];
        EXPECT_NEAR(t, original[i + static_cast<size_t>(s.members[a]) * m] * size[s.members[a]], 1e-12);
      }
    }
  }
}

/* Equal columns: one is named, the smallest parameter; the others go one by one to the middle of the widest gap in log lambda */
TEST(RidgeSkeleton, SpareMembersFillTheWidestGaps)
{
  const auto choose = [](const Array &lambda, PetscInt panel, std::vector<PetscInt> &members, PetscInt *pilots) {
    const PetscInt       m = 5, q = static_cast<PetscInt>(lambda.size());
    Array                M(static_cast<size_t>(m) * q, 0.01), size(q, 100.0);
    skean::RidgeSkeleton s;
    PetscErrorCode       ierr = skean::RidgeSkeletonChoose(m, q, lambda.data(), M.data(), size.data(), panel, &s);
    members                   = s.members;
    *pilots                   = static_cast<PetscInt>(s.pilots.size());
    return ierr;
  };
  std::vector<PetscInt> members;
  PetscInt              pilots;
  ASSERT_PETSC(choose({1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}, 4, members, &pilots));
  EXPECT_EQ(members, (std::vector<PetscInt>{0, 2, 4, 8}));
  EXPECT_EQ(pilots, 1);
  ASSERT_PETSC(choose({1, 1.1, 1.2, 1.3, 1e3, 1e6}, 4, members, &pilots)); /* 6.9 apart in log, not 1000 */
  EXPECT_EQ(members, (std::vector<PetscInt>{0, 3, 4, 5}));
  ASSERT_PETSC(choose({1e-3, 1, 1e3}, 8, members, &pilots));
  EXPECT_EQ(members, (std::vector<PetscInt>{0, 1, 2})) << "no more members than parameters";
}

/* A zero right-hand side has zero columns: rank 0, no pilots, and still a skeleton */
TEST(RidgeSkeleton, ZeroColumns)
{
  const PetscInt       m = 6, q = 5;
  Array                M(m * q, 0.0), size(q, 0.0), lambda = {1, 2, 3, 4, 5};
  skean::RidgeSkeleton s;
  ASSERT_PETSC(skean::RidgeSkeletonChoose(m, q, lambda.data(), M.data(), size.data(), 2, &s));
  EXPECT_EQ(s.members, (std::vector<PetscInt>{0, 4}));
  EXPECT_TRUE(s.pilots.empty());
  EXPECT_TRUE(s.mix.empty());
}

/* x and gradient of a combination, against A'(b - A x) - lambda x in twice the precision, also with coefficients that cancel */
TEST(RidgeCombination, GradientWithoutAPass)
{
  const PetscInt n = 40, d = 6, k = 3;
  const Array    A = Numbers(n * d, 30), b = Numbers(n, 31), X = Numbers(d * k, 32), lambda = {1e-3, 2.0, 50.0};
  const auto     gradient = [&](const double *x, double own) {
    std::vector<reference::Quad> r(b.begin(), b.end());
    Array                        g(d);
    for (PetscInt j = 0; j < d; ++j)
      for (PetscInt i = 0; i < n; ++i) r[i] -= static_cast<reference::Quad>(A[i + j * n]) * x[j];
    for (PetscInt j = 0; j < d; ++j) {
      reference::Quad s = -static_cast<reference::Quad>(own) * x[j];
      for (PetscInt i = 0; i < n; ++i) s += A[i + j * n] * r[i];
      g[j] = static_cast<double>(s);
    }
    return g;
  };
  Array G;
  for (PetscInt m = 0; m < k; ++m) {
    const Array g = gradient(X.data() + m * d, lambda[m]);
    G.insert(G.end(), g.begin(), g.end());
  }
  double normA2 = Dot(n * d, A.data(), A.data()), normX = Length(X);
  for (double big : {0.25, 3.0, 1e4})
    for (double own : {1e-3, 0.5, 1e3}) {
      const std::vector<long double> c = {big, 0.375L - big + 1e-9L, 0.625L}; /* one up to 1e-9 only, as from an interpolation */
      Array                          x(d), g(d);
      skean::RidgeCombination(d, k, c.data(), X.data(), G.data(), lambda.data(), own, x.data(), g.data());
      const double amplified = 4 * DBL_EPSILON * (2 * big + 1) * (normA2 + own + 50) * normX + 4 * DBL_EPSILON * (2 * big + 1) * Length(G);
      EXPECT_LT(Distance(g, gradient(x.data(), own)), amplified) << big << " " << own;
      for (PetscInt i = 0; i < d; ++i) {
        const long double s = c[0] * X[i] + c[1] * X[i + d] + c[2] * X[i + 2 * d];
        EXPECT_NEAR(x[i], static_cast<double>(s), DBL_EPSILON * std::fabs(static_cast<double>(s)) + 1.1e-9 * normX);
      }
    }
}
