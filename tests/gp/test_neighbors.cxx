/* Entries of the missing block between neighbours: against their definition, definite after cutting, and what they are for */
#include "gapgrid.hpp"
#include <skean/private/random.hpp>
#include <algorithm>

using namespace skean;
using namespace skean::gp;
using gapgrid::Grid;

TEST(GPNeighbors, EntriesAndInverse)
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
      /* A by its definition, cut */
      std::vector<double> A(g.N * g.N, 0.0), u;
      for (PetscInt64 k = 0; k < g.N; ++k) {
        const double w = 1 / (g.Mode(k, &u) + ratio);
        for (PetscInt64 c = 0; c < g.N; ++c)
          for (PetscInt64 r = 0; r < g.N; ++r) A[r + c * g.N] += w * u[r] * u[c];
      }
      std::vector<double> big(g.N, 0.0);
      for (PetscInt64 c = 0; c < g.N; ++c)
        for (PetscInt64 r = 0; r < g.N; ++r) {
          bool near = !g.mask[r] && !g.mask[c];
          for (PetscInt64 j = static_cast<PetscInt64>(sizes.size()) - 1, a = r, b = c; j >= 0; a /= sizes[j], b /= sizes[j], --j)
            near = near && std::abs(a % sizes[j] - b % sizes[j]) <= reach;
          if (!near) A[r + c * g.N] = 0;
          if (near && r == c) A[r + c * g.N] *= 1 + p.Shift();
        }
      /* T through products with unit vectors, by the natural numbers of its rows */
      std::vector<double> number(g.N);
      for (PetscInt64 i = 0; i < g.N; ++i) number[i] = static_cast<double>(i);
      const std::vector<double> home = g.Home(number);
      std::vector<PetscInt64>   natural;
      for (size_t i = 0; i < home.size(); ++i)
        if (!mask[i]) natural.push_back(static_cast<PetscInt64>(home[i]));
      Vec x, y;
      ASSERT_PETSC(MatCreateVecs(p.Matrix(), &x, &y));
      double worst = 0;
      for (PetscInt64 c = 0; c < g.N; ++c) {
        if (g.mask[c]) continue;
        PetscScalar *v;
        ASSERT_PETSC(VecGetArray(x, &v));
        for (size_t q = 0; q < natural.size(); ++q) v[q] = natural[q] == c ? 1.0 : 0.0;
        ASSERT_PETSC(VecRestoreArray(x, &v));
        ASSERT_PETSC(MatMult(p.Matrix(), x, y));
        ASSERT_PETSC(VecGetArray(y, &v));
        for (size_t q = 0; q < natural.size(); ++q) { worst = std::max(worst, std::abs(v[q] - A[natural[q] + c * g.N])); }
        ASSERT_PETSC(VecRestoreArray(y, &v));
      }
      EXPECT_LE(worst, 1e-11 / ratio);
      /* the inverse, to what the polynomial leaves: at most a tenth in the norm of T */
      RandomStream        s(6, Purpose::Test);
      std::vector<double> want(g.N), b(g.N, 0.0);
      for (PetscInt64 i = 0; i < g.N; ++i) want[i] = g.mask[i] ? 0.0 : s.Normal(i);
      for (PetscInt64 c = 0; c < g.N; ++c)
        for (PetscInt64 r = 0; r < g.N; ++r) b[r] += A[r + c * g.N] * want[c];
      std::vector<double> h = g.Home(b), e(g.N, 0.0);
      ASSERT_PETSC(p.Apply(h.data(), h.data(), static_cast<PetscInt64>(h.size())));
      for (size_t i = 0; i < h.size(); ++i) {
        if (mask[i]) { EXPECT_EQ(h[i], 0.0); }
        e[static_cast<size_t>(home[i])] = h[i] - want[static_cast<size_t>(home[i])];
      }
      MPI_Allreduce(MPI_IN_PLACE, e.data(), static_cast<int>(g.N), MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
      double ee = 0, ww = 0;
      for (PetscInt64 c = 0; c < g.N; ++c)
        for (PetscInt64 r = 0; r < g.N; ++r) {
          ee += e[r] * A[r + c * g.N] * e[c];
          ww += want[r] * A[r + c * g.N] * want[c];
        }
      EXPECT_LT(std::sqrt(ee / ww), 0.15);
      ASSERT_PETSC(VecDestroy(&x));
      ASSERT_PETSC(VecDestroy(&y));
    }
}

TEST(GPNeighbors, Offsets)
{
  EXPECT_EQ(GapNeighbors::Offsets(1, 2), 3);
  EXPECT_EQ(GapNeighbors::Offsets(2, 2), 13);
  EXPECT_EQ(GapNeighbors::Offsets(3, 1), 14);
}
