/* Factorised sparse approximate inverse of the missing block: against its definition from dense matrices, where cutting makes groups indefinite, and its cost */
#include "gapgrid.hpp"
#include <skean/private/random.hpp>
#include <algorithm>

using namespace skean;
using namespace skean::gp;
using gapgrid::Grid;

namespace {

/* (K + ratio I)^-1 between missing points that are neighbours, by its definition; zero elsewhere */
std::vector<double> Cut(const Grid &g, const std::vector<PetscInt64> &sizes, double ratio, int reach)
{
  const PetscInt64    d = static_cast<PetscInt64>(sizes.size());
  std::vector<double> A(g.N * g.N, 0.0), u;
  for (PetscInt64 k = 0; k < g.N; ++k) {
    const double w = 1 / (g.Mode(k, &u) + ratio);
    for (PetscInt64 c = 0; c < g.N; ++c)
      for (PetscInt64 r = 0; r < g.N; ++r) A[r + c * g.N] += w * u[r] * u[c];
  }
  for (PetscInt64 c = 0; c < g.N; ++c)
    for (PetscInt64 r = 0; r < g.N; ++r) {
      PetscInt64 square = 0, most = 0;
      for (PetscInt64 j = d - 1, a = r, b = c; j >= 0; a /= sizes[j], b /= sizes[j], --j) {
        const PetscInt64 o = std::abs(a % sizes[j] - b % sizes[j]);
        square += o * o;
        most = std::max(most, o);
      }
      if (g.mask[r] || g.mask[c] || most > reach || square > std::max<PetscInt64>(reach * reach + 1, d)) A[r + c * g.N] = 0;
    }
  return A;
}

} // namespace

TEST(GPNeighbors, FactorByItsDefinition)
{
  for (const auto &sizes : {std::vector<PetscInt64>{40}, std::vector<PetscInt64>{9, 8}, std::vector<PetscInt64>{4, 5, 6}, std::vector<PetscInt64>{3, 1, 3, 4}})
    for (int reach : {1, 2}) {
      SCOPED_TRACE(std::to_string(sizes.size()) + " dimensions, reach " + std::to_string(reach));
      Grid         g;
      GapNeighbors p;
      const double ratio = 1e-3;
      ASSERT_PETSC(g.Make(sizes));
      std::vector<double>        all(g.mask.begin(), g.mask.end());
      std::vector<unsigned char> mask;
      for (double v : g.Home(all)) mask.push_back(v != 0.0);
      ASSERT_PETSC(p.SetUp(g.grid, g.eig, mask.data(), ratio, reach));
      ASSERT_TRUE(p.Ready());
      const std::vector<double> T = Cut(g, sizes, ratio, reach);
      /* G through products with unit vectors, by the natural numbers of its rows */
      std::vector<double> number(g.N);
      for (PetscInt64 i = 0; i < g.N; ++i) number[i] = static_cast<double>(i);
      const std::vector<double> home = g.Home(number);
      std::vector<PetscInt64>   natural;
      for (size_t i = 0; i < home.size(); ++i)
        if (!mask[i]) natural.push_back(static_cast<PetscInt64>(home[i]));
      std::vector<double> G(g.N * g.N, 0.0);
      Vec                 x, y;
      ASSERT_PETSC(MatCreateVecs(p.Factor(), &x, &y));
      for (PetscInt64 c = 0; c < g.N; ++c) {
        if (g.mask[c]) continue;
        PetscScalar *v;
        ASSERT_PETSC(VecGetArray(x, &v));
        for (size_t q = 0; q < natural.size(); ++q) v[q] = natural[q] == c ? 1.0 : 0.0;
        ASSERT_PETSC(VecRestoreArray(x, &v));
        ASSERT_PETSC(MatMult(p.Factor(), x, y));
        ASSERT_PETSC(VecGetArray(y, &v));
        for (size_t q = 0; q < natural.size(); ++q) G[natural[q] + c * g.N] = v[q];
        ASSERT_PETSC(VecRestoreArray(y, &v));
      }
      ASSERT_PETSC(VecDestroy(&x));
      ASSERT_PETSC(VecDestroy(&y));
      MPI_Allreduce(MPI_IN_PLACE, G.data(), static_cast<int>(g.N * g.N), MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
      /* lower triangular with the pattern of T; (G T)(r, q) = 0 at the pattern's q before r, and 1/G(r, r) at r */
      ASSERT_EQ(p.Shifted(), 0);
      PetscInt64 neighbours = 0;
      for (PetscInt64 r = 0; r < g.N; ++r) {
        if (g.mask[r]) continue;
        EXPECT_GT(G[r + r * g.N], 0.0);
        for (PetscInt64 q = 0; q < g.N; ++q) {
          if (q > r || T[r + q * g.N] == 0.0) {
            EXPECT_EQ(G[r + q * g.N], 0.0) << r << " " << q;
            continue;
          }
          double product = 0, scale = 0;
          for (PetscInt64 c = 0; c < g.N; ++c) {
            product += G[r + c * g.N] * T[c + q * g.N];
            scale += std::abs(G[r + c * g.N] * T[c + q * g.N]);
          }
          EXPECT_NEAR(product, q == r ? 1 / G[r + r * g.N] : 0.0, 1e-10 * scale) << r << " " << q;
          neighbours += q < r;
        }
      }
      EXPECT_GT(neighbours, 5);
      /* and its application, in place */
      RandomStream        s(6, Purpose::Test);
      std::vector<double> b(g.N, 0.0), half(g.N, 0.0), want(g.N, 0.0);
      for (PetscInt64 i = 0; i < g.N; ++i) b[i] = g.mask[i] ? 0.0 : s.Normal(i);
      for (PetscInt64 c = 0; c < g.N; ++c)
        for (PetscInt64 r = 0; r < g.N; ++r) half[r] += G[r + c * g.N] * b[c];
      double most = 0;
      for (PetscInt64 c = 0; c < g.N; ++c) {
        for (PetscInt64 r = 0; r < g.N; ++r) want[c] += G[r + c * g.N] * half[r];
        most = std::max(most, std::abs(want[c]));
      }
      std::vector<double> h = g.Home(b);
      ASSERT_PETSC(p.Apply(h.data(), h.data(), static_cast<PetscInt64>(h.size())));
      for (size_t i = 0; i < h.size(); ++i) { EXPECT_NEAR(h[i], want[static_cast<size_t>(home[i])], 1e-13 * most); }
    }
}

/* A smooth covariance with little noise: its inverse reaches far, and what is left of a group after cutting may be indefinite */
TEST(GPNeighbors, IndefiniteGroupsAreShifted)
{
  Grid         g;
  GapNeighbors p;
  ASSERT_PETSC(g.Make({12, 11}, 2));
  std::vector<unsigned char> mask(g.Home(std::vector<double>(g.N, 0.0)).size(), 0);
  ASSERT_PETSC(p.SetUp(g.grid, g.eig, mask.data(), 1e-8, 1));
  EXPECT_GT(p.Shifted(), 0);
  EXPECT_GT(p.Shift(), 0.0);
  std::vector<double> b(mask.size(), 1.0), x(mask.size());
  ASSERT_PETSC(p.Apply(b.data(), x.data(), static_cast<PetscInt64>(b.size())));
  double product = 0;
  for (size_t i = 0; i < x.size(); ++i) product += b[i] * x[i];
  MPI_Allreduce(MPI_IN_PLACE, &product, 1, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
  EXPECT_TRUE(std::isfinite(product) && product > 0);
}

TEST(GPNeighbors, Cost)
{
  EXPECT_EQ(GapNeighbors::Products(1, 2), 3);
  EXPECT_EQ(GapNeighbors::Products(2, 2), 3 + 11);
  EXPECT_EQ(GapNeighbors::Products(3, 1), 2 + 5 + 14);
  EXPECT_EQ(GapNeighbors::Products(3, 2), 3 + 11 + 29);
}
