/* Deflation of large gaps: the nested sums of the Gram matrix and the low-rank inverse against their definitions, the bound of the condition number */
#include "gapgrid.hpp"
#include <skean/private/random.hpp>
#include <petscblaslapack.h>
#include <algorithm>
#include <cmath>
#include <set>

using namespace skean;
using namespace skean::gp;

using gapgrid::Grid;

namespace {

/* (A_r)_MM by definition, N x N with the identity outside M; eigenvalues above the threshold */
std::vector<double> Dense(const Grid &g, double ratio, double threshold)
{
  std::vector<double> A(g.N * g.N, 0.0), u;
  for (PetscInt64 i = 0; i < g.N; ++i) A[i * (g.N + 1)] = 1 / ratio;
  for (PetscInt64 k = 0; k < g.N; ++k) {
    const double lam = g.Mode(k, &u);
    if (!(lam > threshold)) continue;
    const double w = lam / (lam + ratio) / ratio;
    for (PetscInt64 c = 0; c < g.N; ++c)
      for (PetscInt64 r = 0; r < g.N; ++r) A[r + c * g.N] -= w * u[r] * u[c];
  }
  for (PetscInt64 c = 0; c < g.N; ++c)
    for (PetscInt64 r = 0; r < g.N; ++r)
      if (g.mask[r] || g.mask[c]) A[r + c * g.N] = r == c ? 1.0 : 0.0;
  return A;
}

} // namespace

TEST(GPDeflation, ModesAreThoseAboveTheThreshold)
{
  RandomStream s(5, Purpose::Test);
  ModeSet      m;
  for (int j = 0; j < 3; ++j) {
    m.lam.emplace_back();
    for (int i = 0; i < 4 + 3 * j; ++i) m.lam[j].push_back(s.Uniform(i, j) + (i % 2 ? 0 : m.lam[j].empty() ? 0 : 1e-3));
    std::sort(m.lam[j].rbegin(), m.lam[j].rend());
  }
  for (double threshold : {1e-3, 0.05, 0.3, 10.0}) {
    std::set<std::vector<size_t>> want, got;
    for (size_t a = 0; a < m.lam[0].size(); ++a)
      for (size_t b = 0; b < m.lam[1].size(); ++b)
        for (size_t c = 0; c < m.lam[2].size(); ++c)
          if (m.lam[0][a] * m.lam[1][b] * m.lam[2][c] > threshold) want.insert({a, b, c});
    m.Build(threshold);
    std::vector<size_t> idx;
    std::vector<double> value;
    m.List(&idx, &value);
    for (size_t i = 0; i < value.size(); ++i) {
      got.insert({idx[3 * i], idx[3 * i + 1], idx[3 * i + 2]});
      EXPECT_NEAR(value[i], m.lam[0][idx[3 * i]] * m.lam[1][idx[3 * i + 1]] * m.lam[2][idx[3 * i + 2]], 1e-15 * value[i]);
    }
    EXPECT_EQ(value.size(), want.size());
    EXPECT_EQ(got, want);
    EXPECT_EQ(m.CountAbove(threshold, 1000), want.size());
    const bool many = want.size() > 4;
    EXPECT_EQ(m.CountAbove(threshold, 3) > 3u, many || want.size() == 4);
  }
}

/* The preconditioner is the inverse of (A_r)_MM, and the preconditioned spectrum is in [1/(1 + theta), 1] */
TEST(GPDeflation, InverseAndBound)
{
  for (const auto &sizes : {std::vector<PetscInt64>{60}, std::vector<PetscInt64>{9, 8}, std::vector<PetscInt64>{4, 5, 6}, std::vector<PetscInt64>{2, 3, 3, 4}})
    for (size_t most : {1000u, 9u}) {
      SCOPED_TRACE(std::to_string(sizes.size()) + " dimensions, at most " + std::to_string(most));
      Grid         g;
      GapDeflation p;
      const double ratio = 0.02;
      ASSERT_PETSC(g.Make(sizes));
      std::vector<double>        all(g.mask.begin(), g.mask.end());
      std::vector<unsigned char> mask;
      for (double v : g.Home(all)) mask.push_back(v != 0.0);
      ASSERT_PETSC(p.SetUp(g.grid, g.eig, mask.data(), ratio, 5.0, most));
      ASSERT_TRUE(p.Ready());
      EXPECT_LE(p.Modes(), most);
      EXPECT_EQ(p.Theta() == 5.0, most == 1000u);
      EXPECT_GE(p.Theta(), 5.0);
      std::vector<double> A = Dense(g, ratio, p.Theta() * ratio), full = Dense(g, ratio, -1.0), x(g.N);
      /* A x = P^-1 A x on M for a random x there */
      RandomStream s(6, Purpose::Test);
      for (PetscInt64 i = 0; i < g.N; ++i) x[i] = g.mask[i] ? 0.0 : s.Normal(i);
      std::vector<double> b(g.N, 0.0);
      for (PetscInt64 c = 0; c < g.N; ++c)
        for (PetscInt64 r = 0; r < g.N; ++r)
          if (!g.mask[r] && !g.mask[c]) b[r] += A[r + c * g.N] * x[c];
      std::vector<double> h = g.Home(b), want = g.Home(x);
      ASSERT_PETSC(p.Apply(g.grid, mask.data(), h.data(), h.data()));
      for (size_t i = 0; i < h.size(); ++i) EXPECT_NEAR(h[i], want[i], 1e-11) << i;
      /* generalised eigenvalues of A_MM and (A_r)_MM; one outside M */
      const PetscBLASInt  N = static_cast<PetscBLASInt>(g.N), type = 1;
      PetscBLASInt        lwork = 40 * N, info;
      std::vector<double> w(N), work(lwork);
      double              logdet = 0;
      {
        std::vector<double> L = A;
        LAPACKpotrf_("L", &N, L.data(), &N, &info);
        for (PetscBLASInt i = 0; i < N; ++i) logdet += 2 * std::log(L[i * (static_cast<size_t>(N) + 1)]);
      }
      PetscInt64 nm = 0;
      for (unsigned char k : g.mask) nm += !k;
      EXPECT_NEAR(p.LogDet(nm), logdet, 1e-11 * std::abs(logdet));
      LAPACKsygv_(&type, "N", "L", &N, full.data(), &N, A.data(), &N, w.data(), work.data(), &lwork, &info);
      ASSERT_EQ(info, 0);
      EXPECT_GE(w.front(), 1 / (1 + p.Theta()) - 1e-10);
      EXPECT_LE(w.back(), 1 + 1e-10);
    }
}
