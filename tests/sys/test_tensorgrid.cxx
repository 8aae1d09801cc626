/* Tensor grids: modes, redistributions and what they cost, against loops over the whole array */
#include "harness/skeantest.hpp"
#include "harness/mpicount/mpicount.hpp"
#include <skean/private/random.hpp>
#include <skean/private/tensorgrid.hpp>
#include <petscblaslapack.h>
#include <sys/mman.h>
#include <algorithm>
#include <climits>
#include <cmath>

using namespace skean;

namespace {

double Entry(PetscInt64 i)
{
  return RandomStream(11, Purpose::Test).Normal(static_cast<std::uint64_t>(i));
}
/* factor of mode k, m x n */
std::vector<double> Factor(int k, PetscInt64 m, PetscInt64 n)
{
  RandomStream        s(12, Purpose::Test, static_cast<std::uint32_t>(k));
  std::vector<double> a(m * n);
  for (size_t i = 0; i < a.size(); ++i) a[i] = s.Normal(i);
  return a;
}
PetscInt64 Natural(const TensorSizes &n, int d, const PetscInt64 idx[])
{
  PetscInt64 g = 0;
  for (int k = 0; k < d; ++k) g = g * n[k] + idx[k];
  return g;
}
/* (x F_k) applied to the whole array, by definition */
std::vector<double> Reference(int d, const TensorSizes &n, const std::vector<std::vector<double>> &f, const TensorSizes &m, const std::vector<bool> &use)
{
  TensorSizes now = n;
  PetscInt64  v   = 1;
  for (int k = 0; k < d; ++k) v *= n[k];
  std::vector<double> x(v);
  for (PetscInt64 i = 0; i < v; ++i) x[i] = Entry(i);
  for (int k = 0; k < d; ++k) {
    if (!use[k]) continue;
    PetscInt64 L = 1, R = 1;
    for (int j = 0; j < k; ++j) L *= now[j];
    for (int j = k + 1; j < d; ++j) R *= now[j];
    std::vector<double> y(L * m[k] * R, 0.0);
    for (PetscInt64 l = 0; l < L; ++l)
      for (PetscInt64 i = 0; i < m[k]; ++i)
        for (PetscInt64 j = 0; j < n[k]; ++j)
          for (PetscInt64 r = 0; r < R; ++r) y[(l * m[k] + i) * R + r] += f[k][i + j * m[k]] * x[(l * n[k] + j) * R + r];
    x      = y;
    now[k] = m[k];
  }
  return x;
}

struct Case {
  std::vector<PetscInt64> n, m;
};

void Check(const Case &c, PetscInt64 chunk, bool trans, unsigned identity)
{
  const int                        d = static_cast<int>(c.n.size());
  TensorGrid                       g;
  TensorSizes                      n{}, m{};
  std::vector<std::vector<double>> f(d), stored(d);
  std::vector<ModeOp>              op(d);
  std::vector<bool>                use(d);

  ASSERT_PETSC(g.Create(PETSC_COMM_WORLD, d, c.n.data()));
  g.SetChunk(chunk);
  for (int k = 0; k < d; ++k) {
    n[k]      = c.n[k];
    use[k]    = !((identity >> k) & 1);
    m[k]      = use[k] ? c.m[k] : c.n[k];
    f[k]      = Factor(k, m[k], n[k]);
    stored[k] = f[k];
    if (trans)
      for (PetscInt64 i = 0; i < m[k]; ++i)
        for (PetscInt64 j = 0; j < n[k]; ++j) stored[k][j + i * n[k]] = f[k][i + j * m[k]];
    op[k] = !use[k] ? ModeOp::Identity(n[k])
            : trans ? ModeOp::Dense(n[k], m[k], stored[k].data(), n[k], true)
                    : ModeOp::Dense(m[k], n[k], stored[k].data(), m[k]);
  }
  /* every entry has one owner in every stage */
  for (int s = 0; s < g.Stages(); ++s) {
    PetscInt64 v = g.Box(s, n).Volume(), all = 0, want = 1;
    MPI_Allreduce(&v, &all, 1, MPIU_INT64, MPI_SUM, PETSC_COMM_WORLD);
    for (int k = 0; k < d; ++k) want *= n[k];
    EXPECT_EQ(all, want) << "stage " << s;
  }
  const TensorBox     in = g.Box(0, n), out = g.Box(0, m);
  std::vector<double> x(std::max<PetscInt64>(in.Volume(), 0)), y(std::max<PetscInt64>(out.Volume(), 0));
  ForPoints(in, [&](const PetscInt64 *idx, PetscInt64 at) { x[at] = Entry(Natural(n, d, idx)); });
  const std::vector<double> x0 = x, want = Reference(d, n, f, m, use);
  double                    scale = 0;
  for (double w : want) scale = std::max(scale, std::abs(w));

  TensorPipe pipe(g, n, 0, x.data(), y.data(), static_cast<PetscInt64>(y.size()));
  ASSERT_PETSC(pipe.Forward(op.data()));
  ASSERT_PETSC(pipe.Move(0));
  ASSERT_PETSC(pipe.Finish());
  EXPECT_EQ(x, x0) << "the input must not be written";
  double err = 0;
  ForPoints(out, [&](const PetscInt64 *idx, PetscInt64 at) { err = std::max(err, std::abs(y[at] - want[Natural(m, d, idx)])); });
  EXPECT_LE(err, 1e-13 * scale) << "forward";

  /* the same by the modes in opposite order: to the last stage with the identity, then backward */
  std::fill(y.begin(), y.end(), 0.0);
  std::vector<ModeOp> none(d);
  for (int k = 0; k < d; ++k) none[k] = ModeOp::Identity(n[k]);
  TensorPipe back(g, n, 0, x.data(), y.data(), static_cast<PetscInt64>(y.size()));
  ASSERT_PETSC(back.Forward(none.data(), g.Stages() - 1));
  ASSERT_PETSC(back.Backward(op.data()));
  ASSERT_PETSC(back.Finish());
  err = 0;
  ForPoints(out, [&](const PetscInt64 *idx, PetscInt64 at) { err = std::max(err, std::abs(y[at] - want[Natural(m, d, idx)])); });
  EXPECT_LE(err, 1e-13 * scale) << "backward";
}

} // namespace

TEST(TensorGrid, ModesOfAllShapes)
{
  const std::vector<Case> cases = {{{7}, {7}},
                                   {{5}, {3}},
                                   {{1, 6}, {1, 6}},
                                   {{2, 3}, {2, 3}},
                                   {{13, 7}, {5, 11}},
                                   {{4, 5, 6}, {4, 5, 6}},
                                   {{1, 2, 9}, {3, 2, 1}},
                                   {{2, 2, 2}, {2, 2, 2}},
                                   {{7, 30, 3}, {9, 8, 3}},
                                   {{3, 40, 5}, {3, 40, 5}},
                                   {{1, 1, 1}, {1, 1, 1}},
                                   {{5, 5, 5}, {5, 5, 5}},
                                   {{3, 6, 3}, {3, 6, 3}},
                                   {{2, 3, 4, 5}, {2, 3, 4, 5}},
                                   {{3, 1, 2, 4, 3}, {2, 2, 5, 4, 1}}};
  unsigned                which = 0;
  for (const Case &c : cases)
    for (PetscInt64 chunk : {0, 1, 7}) {
      SCOPED_TRACE("case " + std::to_string(which / 3) + " chunk " + std::to_string(chunk));
      Check(c, chunk, which % 2, 0);
      Check(c, chunk, false, which % 5 + 1);
      ++which;
    }
}

/* sparse, diagonal and LU factors, in place and not, thin and wide */
TEST(TensorGrid, SpecialFactors)
{
  const PetscInt64    n = 6;
  std::vector<double> a = Factor(0, n, n), scratch;
  for (PetscInt64 i = 0; i < n; ++i) a[i * (n + 1)] += 6;
  std::vector<double>       lu = a;
  std::vector<PetscBLASInt> piv(n);
  PetscBLASInt              bn = static_cast<PetscBLASInt>(n), info;
  LAPACKgetrf_(&bn, &bn, lu.data(), &bn, piv.data(), &info);
  ASSERT_EQ(info, 0);
  const PetscInt ia[] = {0, 2, 2, 3, 5, 6, 8}, ja[] = {0, 5, 1, 2, 3, 0, 4, 5};
  const double   v[] = {1, 2, 3, 4, 5, 6, 7, 8};
  for (PetscInt64 R : {1, 3, 40, 500}) {
    const PetscInt64    L = 5;
    std::vector<double> x(L * n * R), y(L * n * R), z(L * n * R);
    for (size_t i = 0; i < x.size(); ++i) x[i] = Entry(static_cast<PetscInt64>(i));
    for (bool trans : {false, true}) {
      ModeOp mul = ModeOp::Dense(n, n, a.data(), n, trans), inv = mul, sp;
      inv.kind = ModeOp::LU;
      inv.a    = lu.data();
      inv.piv  = piv.data();
      ModeProduct(mul, L, n * R, n * R, R, 0, R, x.data(), y.data(), scratch);
      z = y;
      ModeProduct(inv, L, n * R, n * R, R, 0, R, z.data(), z.data(), scratch);
      double err = 0;
      for (size_t i = 0; i < x.size(); ++i) err = std::max(err, std::abs(z[i] - x[i]));
      EXPECT_LT(err, 1e-12);
      sp.kind  = ModeOp::SPARSE;
      sp.trans = trans;
      sp.m = sp.n = n;
      sp.ia       = ia;
      sp.ja       = ja;
      sp.a        = v;
      std::vector<double> full(n * n, 0.0);
      for (PetscInt64 i = 0; i < n; ++i)
        for (PetscInt k = ia[i]; k < ia[i + 1]; ++k) full[i + ja[k] * n] = v[k];
      ModeProduct(ModeOp::Dense(n, n, full.data(), n, trans), L, n * R, n * R, R, 0, R, x.data(), y.data(), scratch);
      z = x;
      ModeProduct(sp, L, n * R, n * R, R, 0, R, z.data(), z.data(), scratch);
      err = 0;
      for (size_t i = 0; i < x.size(); ++i) err = std::max(err, std::abs(z[i] - y[i]));
      EXPECT_LT(err, 1e-12);
    }
  }
}

/* Products with even and odd parts against the matrix written out: paired and listed columns, all modes, transposes, in place, panels and thin arrays */
TEST(TensorGrid, EvenAndOddParts)
{
  for (PetscInt64 n : {1, 2, 3, 6, 7, 48, 65})
    for (int kind = 0; kind < 3; ++kind) { /* centrosymmetric; eigenvectors; rows equal in pairs */
      SCOPED_TRACE("n " + std::to_string(n) + " kind " + std::to_string(kind));
      const PetscInt64               h = n / 2, e = n - h;
      const std::vector<double>      A = Factor(3, n, n);
      std::vector<double>            F(n * n), scratch;
      std::shared_ptr<const EvenOdd> parts;
      if (!kind) {
        /* of a matrix that is not centrosymmetric, the mean of A and J A J; the parts in the orthonormal basis belong to the same one */
        for (PetscInt64 i = 0; i < n * n; ++i) F[i] = 0.5 * (A[i] + A[n * n - 1 - i]);
        std::vector<double> E, O;
        SplitCentro(n, A.data(), &E, &O);
        const std::vector<double> joined = EvenOdd::Join(n, E, O)->ToDense();
        double                    diff = 0, norm = 0, trace = 0, diagonal = 0;
        for (PetscInt64 i = 0; i < n * n; ++i) {
          EXPECT_NEAR(joined[i], F[i], 1e-14);
          diff += (A[i] - F[i]) * (A[i] - F[i]);
          norm += A[i] * A[i];
        }
        for (PetscInt64 i = 0; i < n; ++i) trace += F[i * (n + 1)];
        for (PetscInt64 i = 0; i < e; ++i) diagonal += E[i * (e + 1)];
        for (PetscInt64 i = 0; i < h; ++i) diagonal += O[i * (h + 1)];
        EXPECT_NEAR(diagonal, trace, 1e-13 * static_cast<double>(n));
        EXPECT_NEAR(CentroDistance(n, A.data(), 1e300), std::sqrt(diff / norm), 1e-14);
        EXPECT_EQ(CentroDistance(n, F.data(), 0.0), 0.0);
        EXPECT_EQ(CentroDistance(n, A.data(), 1e-10) > 1e-10, n > 1);
        std::vector<double> tiny(F), none(F);
        for (double &v : tiny) v *= 1e-200;
        none[0] = NAN;
        EXPECT_EQ(CentroDistance(n, tiny.data(), 1e-10), INFINITY);
        EXPECT_EQ(CentroDistance(n, none.data(), 1e-10), INFINITY);
        parts = EvenOdd::Matrix(n, A.data());
      } else {
        std::vector<PetscInt> even, odd;
        std::vector<double>   E, O;
        for (PetscInt64 k = 0; k < n; ++k) {
          const bool isodd = kind == 1 && (k * 5 / 3) % 2 && static_cast<PetscInt64>(odd.size()) < h;
          (isodd ? odd : even).push_back(static_cast<PetscInt>(k));
          for (PetscInt64 i = 0; i < n; ++i) {
            const bool middle = 2 * i + 1 == n;
            F[i + k * n]      = isodd ? (middle ? 0.0 : i < h ? A[i + k * n] : -A[n - 1 - i + k * n]) : A[std::min(i, n - 1 - i) + k * n];
          }
          (isodd ? O : E).insert((isodd ? O : E).end(), F.begin() + k * n, F.begin() + k * n + (isodd ? h : e));
        }
        parts = EvenOdd::Columns(n, E, O, even, odd);
      }
      const std::vector<double> dense = parts->ToDense();
      for (PetscInt64 i = 0; i < n * n; ++i) EXPECT_NEAR(dense[i], F[i], kind ? 0.0 : 1e-15); /* sums of parts: rounding of the larger one */
      const PetscInt64 LR[][2] = {{1, 1}, {5, 1}, {1100, 1}, {3, 3}, {2, 40}, {1, 2100}};
      for (const auto &lr : LR)
        for (bool trans : {false, true})
          for (bool inplace : {false, true}) {
            const PetscInt64    L = lr[0], R = lr[1];
            std::vector<double> x(L * n * R), y(L * n * R), z(L * n * R);
            for (size_t i = 0; i < x.size(); ++i) x[i] = Entry(static_cast<PetscInt64>(i));
            ModeProduct(ModeOp::Dense(n, n, F.data(), n, trans), L, n * R, n * R, R, 0, R, x.data(), y.data(), scratch);
            if (inplace) z = x;
            ModeProduct(ModeOp::Parts(parts.get(), trans), L, n * R, n * R, R, 0, R, inplace ? z.data() : x.data(), z.data(), scratch);
            double err = 0;
            for (size_t i = 0; i < x.size(); ++i) err = std::max(err, std::abs(z[i] - y[i]));
            EXPECT_LT(err, 1e-13 * std::sqrt(static_cast<double>(n))) << L << " x " << R << (trans ? " transposed" : "") << (inplace ? " in place" : "");
          }
    }
}

/* Home of a slab is the natural order, and a DMDA of the same process grid has the same ranges */
TEST(TensorGrid, HomeIsNaturalOrder)
{
  const PetscInt64 n[] = {9, 4, 5};
  TensorGrid       g;
  ASSERT_PETSC(g.Create(PETSC_COMM_WORLD, 3, n));
  const TensorBox b = g.Home();
  Vec             v;
  PetscInt        lo, hi, local = PETSC_DECIDE, rows = 9;
  ASSERT_PETSC(PetscSplitOwnership(PETSC_COMM_WORLD, &local, &rows));
  ASSERT_PETSC(VecCreateMPI(PETSC_COMM_WORLD, local * 20, 180, &v));
  ASSERT_PETSC(VecGetOwnershipRange(v, &lo, &hi));
  EXPECT_EQ(b.lo[0] * 20, lo);
  EXPECT_EQ(b.hi[0] * 20, hi);
  ASSERT_PETSC(VecDestroy(&v));
}

/*
   Bytes and messages of an apply that ends in the last stage and of a solve (there and back): at most 1.05 times the 8 and 16 N/P bytes of slabs, or
   16 and 32 N/P of pencils; one redistribution for each change of stage. Where P does not divide a size, the largest box takes the place of N/P.
*/
TEST(TensorGrid, BytesPerProcess)
{
  const int P = skeantest::Size();
  struct {
    std::vector<PetscInt64> n;
    bool                    exact; /* N/P itself holds for 1, 2, 3, 4 and 7 processes: sizes of 48 are near enough to a multiple of 7 */
  } cases[]   = {{{48, 48, 5}, true},    {{48, 6, 48}, true}, {{48, 48}, true},   {{24, 24, 24}, false}, {{2, 2, 48}, false},
                 {{4, 6, 8, 12}, false}, {{2, 2, 2}, false},  {{3, 3, 3}, false}, {{2, 3, 3}, false}};
  int pencils = 0;
  for (auto &c : cases) {
    const int  d = static_cast<int>(c.n.size());
    TensorGrid g;
    ASSERT_PETSC(g.Create(PETSC_COMM_WORLD, d, c.n.data()));
    std::vector<std::vector<double>> f(d);
    std::vector<ModeOp>              op(d);
    double                           N = 1;
    for (int k = 0; k < d; ++k) {
      f[k]  = Factor(k, c.n[k], c.n[k]);
      op[k] = ModeOp::Dense(c.n[k], c.n[k], f[k].data(), c.n[k]);
      N *= static_cast<double>(c.n[k]);
    }
    const int moves = g.Stages() - 1;
    pencils += moves == 2;
    ASSERT_ALL(moves == (P == 1 ? 0 : 1) || (P > 2 && moves == 2));
    double share = N / P;
    if (!c.exact)
      for (int st = 0; st < g.Stages(); ++st) share = std::max(share, static_cast<double>(g.Box(st, g.Sizes(), 0).Volume()));
    std::vector<double>       x(std::max<PetscInt64>(0, g.Home().Volume()), 1.0), y(x.size());
    skeantest::MessageCounter count;
    g.SetChunk(1 << 20); /* one message to each partner */
    for (int back = 0; back < 2; ++back) {
      /* communicators of the partners exist after the first time */
      for (int twice = 0; twice < 2; ++twice) {
        TensorPipe again(g, g.Sizes(), 0, x.data(), y.data(), static_cast<PetscInt64>(y.size()));
        const auto Pass = [&]() -> PetscErrorCode {
          double *p;
          PetscFunctionBegin;
          PetscCall(again.Forward(op.data(), g.Stages() - 1));
          if (back) {
            PetscCall(again.Backward(op.data()));
            PetscCall(again.Finish());
          } else
            PetscCall(again.Data(&p));
          PetscFunctionReturn(PETSC_SUCCESS);
        };
        count.Start();
        const PetscErrorCode ierr = Pass();
        count.Stop(); /* before the assertions, which communicate */
        ASSERT_PETSC(ierr);
      }
      SCOPED_TRACE(std::to_string(d) + " dimensions, first " + std::to_string(c.n[0]) + (back ? ", solve" : ", apply"));
      EXPECT_LE(static_cast<double>(count.Bytes()), 1.05 * 8 * moves * (back + 1) * share);
      EXPECT_EQ(count.Bytes(), count.Bytes("Ialltoallv"));
      EXPECT_LE(count.Messages(), moves * (back + 1)); /* on the way back a stage with nothing to do is skipped */
      EXPECT_EQ(count.Communicators(), 0);
      std::int64_t mine = count.Bytes(), all = 0;
      MPI_Allreduce(&mine, &all, 1, MPI_INT64_T, MPI_SUM, PETSC_COMM_WORLD);
      if (P > 1) { EXPECT_GE(static_cast<double>(all), 0.5 * 8 * (back + 1) * N * (P - 1) / P * (c.exact ? 1 : 0.2)) << "the counter sees them"; }
    }
  }
  if (P == 4 || P == 7) { EXPECT_GT(pencils, 0); }
}

/* Slices: produced at the source, consumed at the target, between any two stages, are what a redistribution of the whole array moves */
TEST(TensorGrid, Slices)
{
  const std::vector<std::vector<PetscInt64>> sizes = {{7}, {5, 6}, {4, 5, 6}, {2, 2, 2}, {3, 4, 3}, {1, 2, 9}, {2, 3, 4, 5}};
  for (const auto &sz : sizes)
    for (PetscInt64 chunk : {0, 1, 5})
      for (unsigned whole : {0u, 1u, 2u}) {
        const int  d = static_cast<int>(sz.size());
        TensorGrid g;
        ASSERT_PETSC(g.Create(PETSC_COMM_WORLD, d, sz.data()));
        g.SetChunk(chunk);
        for (int from = 0; from < g.Stages(); ++from)
          for (int to = 0; to < g.Stages(); ++to) {
            if (from == to) continue;
            SCOPED_TRACE(std::to_string(d) + " dimensions, stages " + std::to_string(from) + " to " + std::to_string(to));
            const TensorBox     a = g.Box(from, g.Sizes()), b = g.Box(to, g.Sizes());
            std::vector<double> x(std::max<PetscInt64>(0, a.Volume())), y(std::max<PetscInt64>(0, b.Volume()), -1.0), z(y), want(y);
            ForPoints(a, [&](const PetscInt64 *idx, PetscInt64 at) { x[at] = Entry(Natural(g.Sizes(), d, idx)); });
            ForPoints(b, [&](const PetscInt64 *idx, PetscInt64 at) { want[at] = Entry(Natural(g.Sizes(), d, idx)); });
            bool       full = true;
            const auto Full = [&](const TensorBox &slice, const TensorBox &box) {
              for (int k = 0; k < d; ++k)
                if ((whole >> k) & 1) full = full && slice.Length(k) == box.Length(k);
            };
            ASSERT_PETSC(g.Stream(g.Sizes(), from, to, whole, nullptr,
                                  [&](const TensorBox &slice, double *s) -> PetscErrorCode {
                                    Full(slice, a);
                                    ForPoints(slice, [&](const PetscInt64 *idx, PetscInt64 at) { s[at] = Entry(Natural(g.Sizes(), d, idx)); });
                                    return PETSC_SUCCESS;
                                  },
                                  y.data(), {}));
            EXPECT_EQ(y, want);
            ASSERT_PETSC(g.Stream(g.Sizes(), from, to, whole, x.data(), {}, nullptr, [&](const TensorBox &slice, double *s) -> PetscErrorCode {
              Full(slice, b);
              ForRuns(slice, b, [&](PetscInt64 at, PetscInt64 in, PetscInt64 count) { std::copy(s + at, s + at + count, z.data() + in); });
              return PETSC_SUCCESS;
            }));
            EXPECT_EQ(z, want);
            EXPECT_TRUE(full) << "a dimension that must stay whole was cut";
          }
      }
}

/* Grids of more than 2^31 points, without their memory: boxes, parts and chunks add up in 64 bits, and no message is longer than MPI can count */
TEST(TensorGrid, IndicesBeyond31Bits)
{
  const std::vector<std::vector<PetscInt64>> sizes = {{3000, 3000, 3000}, {2147483647, 5}, {101, 1000003, 97}, {300, 301, 302, 303}};
  for (const auto &sz : sizes) {
    const int  d = static_cast<int>(sz.size());
    TensorGrid g;
    double     N = 1;
    for (PetscInt64 n : sz) N *= static_cast<double>(n);
    ASSERT_GT(N, 2147483648.0);
    ASSERT_PETSC(g.Create(PETSC_COMM_WORLD, d, sz.data()));
    for (int from = 0; from < g.Stages(); ++from) {
      double all = 0;
      for (int r = 0; r < skeantest::Size(); ++r) all += static_cast<double>(g.Box(from, g.Sizes(), r).Volume());
      EXPECT_EQ(all, N);
      for (int to = 0; to < g.Stages(); ++to) {
        if (from == to) continue;
        const TensorGrid::Cut cut   = g.Plan(g.Sizes(), from, to, 0, true, false);
        const int             me    = skeantest::Rank();
        PetscInt64            moved = 0, longest = 0;
        for (int c = 0; c < cut.chunks; ++c) {
          PetscInt64 sent = 0;
          TensorBox  part;
          for (int r = 0; r < skeantest::Size(); ++r)
            if (g.Part(g.Sizes(), from, to, cut, me, r, c, &part)) {
              moved += part.Volume();
              if (r != me) sent += part.Volume();
            }
          longest = std::max(longest, sent);
        }
        EXPECT_EQ(moved, std::max<PetscInt64>(0, g.Box(from, g.Sizes()).Volume()));
        EXPECT_LE(longest, static_cast<PetscInt64>(INT_MAX));
      }
    }
  }
  /* kernels at the far end of arrays that exist as address space only */
  const PetscInt64 L = 2, n = 2, R = 1200000001, R2 = 2400000001;
  const size_t     bytes = sizeof(double) * static_cast<size_t>(L * n * R2);
  void            *room  = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (!skeantest::AllTrue(room != MAP_FAILED)) {
    if (room != MAP_FAILED) munmap(room, bytes);
    GTEST_SKIP() << "no address space for " << bytes << " bytes";
  }
  double             *x   = static_cast<double *>(room);
  const double        F[] = {1, 2, 3, 4}; /* column major */
  std::vector<double> scratch;
  for (PetscInt64 r : {R, R2}) /* the second has rows that BLAS cannot count */
    for (PetscInt64 width : {3, 40}) {
      const PetscInt64 r0 = r - width;
      for (PetscInt64 l = 0; l < L; ++l)
        for (PetscInt64 i = 0; i < n; ++i)
          for (PetscInt64 q = r0; q < r; ++q) x[static_cast<size_t>((l * n + i) * r + q)] = static_cast<double>(10 * l + i + 1);
      ModeProduct(ModeOp::Dense(2, 2, F, 2), L, n * r, n * r, r, r0, r, x, x, scratch);
      for (PetscInt64 l = 0; l < L; ++l)
        for (PetscInt64 q = r0; q < r; ++q) {
          const double a = static_cast<double>(10 * l + 1), b = a + 1;
          EXPECT_EQ(x[static_cast<size_t>((l * n) * r + q)], a + 3 * b);
          EXPECT_EQ(x[static_cast<size_t>((l * n + 1) * r + q)], 2 * a + 4 * b);
        }
    }
  TensorBox box, part;
  box.d = part.d = 3;
  box.hi         = {2, 2, R2};
  part.lo        = {1, 0, R2 - 2};
  part.hi        = {2, 2, R2};
  std::vector<double> y(4);
  CopyPart(part, box, x, part, y.data());
  EXPECT_EQ(y, (std::vector<double>{11 + 3 * 12, 11 + 3 * 12, 2 * 11 + 4 * 12, 2 * 11 + 4 * 12}));
  CopyPart(part, part, y.data(), box, x);
  munmap(room, bytes);
}

TEST(TensorGrid, StableSumKeepsSmallTerms)
{
  StableSum s;
  s.Add(1e16);
  for (int i = 0; i < 1000; ++i) s.Add(1.0);
  s.Add(-1e16);
  EXPECT_EQ(s.Value(), 1000.0);
}

/* A message that is too large for one process is an error on all of them, and one that just fits is sent */
TEST(TensorGrid, LargestMessage)
{
  const PetscInt64 sizes[] = {5, 7};
  TensorGrid       g;
  ASSERT_PETSC(g.Create(PETSC_COMM_WORLD, 2, sizes));
  g.SetChunk(1 << 20);
  if (g.Stages() == 1) GTEST_SKIP() << "one process sends nothing";
  const TensorSizes     n   = g.Sizes();
  const TensorGrid::Cut cut = g.Plan(n, 0, 1, 0, false, false);
  ASSERT_ALL(cut.chunks == 1);
  PetscInt64 mine[2] = {0, 0}, most = 0;
  for (int r = 0; r < skeantest::Size(); ++r) {
    TensorBox part;
    if (r == skeantest::Rank()) continue;
    if (g.Part(n, 0, 1, cut, skeantest::Rank(), r, 0, &part)) mine[0] += part.Volume();
    if (g.Part(n, 0, 1, cut, r, skeantest::Rank(), 0, &part)) mine[1] += part.Volume();
  }
  const PetscInt64 larger = std::max(mine[0], mine[1]);
  MPI_Allreduce(&larger, &most, 1, MPI_INT64_T, MPI_MAX, PETSC_COMM_WORLD);
  std::vector<double> x(std::max<PetscInt64>(0, g.Box(0, n).Volume()), 1.0), y(std::max<PetscInt64>(0, g.Box(1, n).Volume()), 0.0);
  g.SetMessageLimit(most);
  ASSERT_PETSC(g.Move(n, 0, 1, x.data(), y.data()));
  EXPECT_EQ(y, std::vector<double>(y.size(), 1.0));
  g.SetMessageLimit(most - 1);
  const PetscErrorCode refused = skeantest::ErrorOf([&] { return g.Move(n, 0, 1, x.data(), y.data()); });
  ASSERT_ALL(refused == PETSC_ERR_ARG_OUTOFRANGE);
}

TEST(TensorGrid, BadSizes)
{
  TensorGrid       g;
  const PetscInt64 n[] = {3, 0};
  EXPECT_EQ(skeantest::ErrorOf([&] { return g.Create(PETSC_COMM_WORLD, 2, n); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(skeantest::ErrorOf([&] { return g.Create(PETSC_COMM_WORLD, 9, n); }), PETSC_ERR_ARG_OUTOFRANGE);
}
