/* S A against explicit sketches, for every type, storage and distribution of the rows */
#include "sketchtest.hpp"
#include <limits>

using namespace sketchtest;

/* |SA - S*A|_F <= 1e-13 |S*A|_F with the reference's S, on dense and sparse matrices, and for a vector */
TEST(SketchApply, EqualsExplicitReference)
{
  for (PetscInt n : {300, 257, 31}) {
    for (double density : {1.0, 0.1}) {
      const Dense A = TestMatrix(n, 11, density);
      Mat         M;
      ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, A, density >= 1 ? Storage::Dense : Storage::Aij, LocalRows(Layout::Even, n), &M));
      for (const Config &c : ObliviousConfigs(n == 31 ? 10 : 43)) {
        SCOPED_TRACE(Name(c) + " n=" + std::to_string(n) + " density=" + std::to_string(density));
        SkeanSketch         s;
        PetscInt            b, zeta;
        std::vector<double> SA(static_cast<size_t>(c.m) * A.n), Sb(c.m), ref, refb(c.m);
        Vec                 v;
        ASSERT_PETSC(MakeSketch(PETSC_COMM_WORLD, c, n, &s));
        ASSERT_PETSC(SkeanSketchApply(s, M, SA.data()));
        ASSERT_PETSC(SkeanSketchGetBlockSize(s, &b));
        ASSERT_PETSC(SkeanSketchGetNonzeros(s, &zeta));
        const Dense S = Explicit(c, n, b, zeta);
        ASSERT_ALL(S.m == static_cast<size_t>(c.m));
        ref = skeanref::Multiply(S, A).a;
        EXPECT_LE(skeanref::RelativeDifference(SA, ref), 1e-13);
        ASSERT_PETSC(MatCreateVecs(M, NULL, &v));
        ASSERT_PETSC(MatGetColumnVector(M, v, 4));
        ASSERT_PETSC(SkeanSketchApplyVec(s, v, Sb.data()));
        std::copy(ref.begin() + 4 * c.m, ref.begin() + 5 * c.m, refb.begin());
        EXPECT_LE(skeanref::RelativeDifference(Sb, refb), 1e-13);
        ASSERT_PETSC(VecDestroy(&v));
        ASSERT_PETSC(SkeanSketchDestroy(&s));
      }
      ASSERT_PETSC(MatDestroy(&M));
    }
  }
}

/* The same S A and S b for any distribution of the rows, any storage, and as computed by each process alone on MPI_COMM_SELF (which is the one-process answer) */
TEST(SketchApply, IndependentOfDistributionAndStorage)
{
  const PetscInt      n = 402, d = 9;
  const Dense         A       = TestMatrix(n, d, 0.3);
  auto                configs = ObliviousConfigs(45);
  std::vector<double> b(n);
  for (PetscInt i = 0; i < n; ++i) b[i] = std::cos(1.0 + i);
  configs.push_back({SKEANSKETCHLEVERAGE, 45});
  Mat self;
  Vec v;
  ASSERT_PETSC(MakeMat(PETSC_COMM_SELF, A, Storage::Aij, n, &self));
  ASSERT_PETSC(MakeVec(self, Storage::Aij, b, &v));
  std::vector<std::vector<double>> alone(configs.size()), alonevec(configs.size());
  for (size_t k = 0; k < configs.size(); ++k) ASSERT_PETSC(ApplyTo(PETSC_COMM_SELF, configs[k], self, &alone[k], v, &alonevec[k]));
  ASSERT_PETSC(MatDestroy(&self));
  ASSERT_PETSC(VecDestroy(&v));
  for (Layout layout : {Layout::Even, Layout::Uneven, Layout::AllOnLast, Layout::AllOnFirst})
    for (Storage storage : {Storage::Aij, Storage::Dense, Storage::Baij, Storage::Baij3, Storage::Nest}) {
      Mat M;
      ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, A, storage, storage == Storage::Baij3 ? 3 * LocalRows(layout, n / 3) : LocalRows(layout, n), &M));
      ASSERT_PETSC(MakeVec(M, storage, b, &v));
      for (size_t k = 0; k < configs.size(); ++k) {
        SCOPED_TRACE(Name(configs[k]) + " layout " + std::to_string(static_cast<int>(layout)) + " storage " + std::to_string(static_cast<int>(storage)));
        std::vector<double> SA, Sb;
        ASSERT_PETSC(ApplyTo(PETSC_COMM_WORLD, configs[k], M, &SA, v, &Sb));
        EXPECT_LE(skeanref::RelativeDifference(SA, alone[k]), 1e-14);
        EXPECT_LE(skeanref::RelativeDifference(Sb, alonevec[k]), 1e-14);
      }
      ASSERT_PETSC(MatDestroy(&M));
      ASSERT_PETSC(VecDestroy(&v));
    }
}

/* A MATNEST is the matrix of its blocks, on any number of processes: blocks of all kinds, one of them a nest, one missing; and a VECNEST of the same blocks */
TEST(SketchApply, NestIsTheMatrixOfItsBlocks)
{
  const PetscInt rows[3] = {61, 40, 55}, cols[2] = {4, 3}, n = 156, d = 7;
  Dense          A = TestMatrix(n, d, 0.4), b(n, 1);
  for (PetscInt i = 0; i < n; ++i) {
    b(i, 0) = std::cos(1.0 + i);
    for (PetscInt j = 4; i >= 101 && j < d; ++j) A(i, j) = 0.0; /* the missing block */
  }
  auto configs = ObliviousConfigs(45);
  configs.push_back({SKEANSKETCHLEVERAGE, 45});
  Mat block[3][2] = {{nullptr, nullptr}, {nullptr, nullptr}, {nullptr, nullptr}}, inner, flat, M, self;
  Vec part[3], innervec, v;
  for (PetscInt k = 0, r0 = 0; k < 3; r0 += rows[k++]) {
    const PetscInt mine = LocalRows(k == 0 ? Layout::Even : k == 1 ? Layout::Uneven : Layout::AllOnLast, rows[k]);
    for (PetscInt l = 0; l < (k == 2 ? 1 : 2); ++l) {
      Dense B(rows[k], cols[l]);
      for (PetscInt i = 0; i < rows[k]; ++i)
        for (PetscInt j = 0; j < cols[l]; ++j) B(i, j) = A(r0 + i, 4 * l + j);
      ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, B, k == 0 ? Storage::Dense : k == 1 ? Storage::Baij : Storage::Aij, mine, &block[k][l]));
    }
    PetscInt first, end;
    ASSERT_PETSC(VecCreateMPI(PETSC_COMM_WORLD, mine, rows[k], &part[k]));
    ASSERT_PETSC(VecGetOwnershipRange(part[k], &first, &end));
    for (PetscInt i = first; i < end; ++i) EXPECT_EQ(VecSetValue(part[k], i, b(r0 + i, 0), INSERT_VALUES), PETSC_SUCCESS);
    ASSERT_PETSC(VecAssemblyBegin(part[k]));
    ASSERT_PETSC(VecAssemblyEnd(part[k]));
  }
  /* [[A00 A01; A10 A11]; [A20 0]], the upper four as one block; for leverage all six as blocks */
  ASSERT_PETSC(MatCreateNest(PETSC_COMM_WORLD, 2, NULL, 2, NULL, &block[0][0], &inner));
  IS columns[2];
  ASSERT_PETSC(MatNestGetISs(inner, NULL, columns));
  Mat lower, upper[2] = {inner, nullptr};
  ASSERT_PETSC(MatCreateNest(PETSC_COMM_WORLD, 1, NULL, 2, columns, &block[2][0], &lower));
  upper[1] = lower;
  ASSERT_PETSC(MatCreateNest(PETSC_COMM_WORLD, 2, NULL, 1, NULL, upper, &M));
  ASSERT_PETSC(MatCreateNest(PETSC_COMM_WORLD, 3, NULL, 2, NULL, &block[0][0], &flat));
  ASSERT_PETSC(VecCreateNest(PETSC_COMM_WORLD, 2, NULL, &part[0], &innervec));
  Vec halves[2] = {innervec, part[2]};
  ASSERT_PETSC(VecCreateNest(PETSC_COMM_WORLD, 2, NULL, halves, &v));
  ASSERT_PETSC(MakeMat(PETSC_COMM_SELF, A, Storage::Aij, n, &self));
  for (const Config &c : configs) {
    SCOPED_TRACE(Name(c));
    SkeanSketch         s, alone;
    std::vector<double> SA(c.m * d), Sb(c.m), ref(c.m * d), refb(c.m);
    Vec                 selfb;
    ASSERT_PETSC(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, n, b.a.data(), &selfb));
    ASSERT_PETSC(MakeSketch(PETSC_COMM_SELF, c, n, &alone));
    ASSERT_PETSC(SkeanSketchApply(alone, self, ref.data()));
    ASSERT_PETSC(SkeanSketchApplyVec(alone, selfb, refb.data()));
    ASSERT_PETSC(MakeSketch(PETSC_COMM_WORLD, c, n, &s));
    const bool leverage = c.type == SKEANSKETCHLEVERAGE;
    if (leverage) {
      std::string message;
      EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanSketchApply(s, M, SA.data()); }, &message), PETSC_ERR_SUP);
      EXPECT_NE(message.find("nest"), std::string::npos) << message;
    }
    ASSERT_PETSC(SkeanSketchApply(s, leverage ? flat : M, SA.data()));
    ASSERT_PETSC(SkeanSketchApplyVec(s, v, Sb.data()));
    EXPECT_LE(skeanref::RelativeDifference(SA, ref), 1e-14);
    EXPECT_LE(skeanref::RelativeDifference(Sb, refb), 1e-14);
    ASSERT_PETSC(SkeanSketchDestroy(&s));
    ASSERT_PETSC(SkeanSketchDestroy(&alone));
    ASSERT_PETSC(VecDestroy(&selfb));
  }
  ASSERT_PETSC(MatDestroy(&M));
  ASSERT_PETSC(MatDestroy(&flat));
  ASSERT_PETSC(MatDestroy(&lower));
  ASSERT_PETSC(MatDestroy(&inner));
  ASSERT_PETSC(MatDestroy(&self));
  ASSERT_PETSC(VecDestroy(&v));
  ASSERT_PETSC(VecDestroy(&innervec));
  for (PetscInt k = 0; k < 3; ++k) {
    ASSERT_PETSC(VecDestroy(&part[k]));
    for (Mat &B : block[k]) ASSERT_PETSC(MatDestroy(&B));
  }
}

/* Rows of S A of type leverage are weighted rows of A, b is sampled alike, heavy rows are always there */
TEST(SketchApply, LeverageSamplesRows)
{
  const PetscInt n = 500, d = 5, m = 60;
  Dense          A = TestMatrix(n, d, 1.0);
  for (PetscInt j = 0; j < d; ++j)
    for (PetscInt i = 0; i < n; ++i) A(i, j) *= 1e-3;
  for (PetscInt j = 0; j < d; ++j) A(77, j) = j == 3 ? 1e4 : 0.0; /* the only row that fixes coordinate 3: leverage 1 */
  for (Storage storage : {Storage::Dense, Storage::Aij}) {
    Mat                 M;
    Vec                 b;
    SkeanSketch         s;
    std::vector<double> SA(m * d), Sb(m);
    ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, A, storage, LocalRows(Layout::Uneven, n), &M));
    ASSERT_PETSC(MakeSketch(PETSC_COMM_WORLD, {SKEANSKETCHLEVERAGE, m}, n, &s));
    ASSERT_PETSC(MatCreateVecs(M, NULL, &b));
    std::string message;
    EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanSketchApplyVec(s, b, Sb.data()); }, &message), PETSC_ERR_ORDER) << "no rows drawn yet";
    ASSERT_PETSC(SkeanSketchApply(s, M, SA.data()));
    PetscInt r0, r1;
    ASSERT_PETSC(VecGetOwnershipRange(b, &r0, &r1));
    for (PetscInt i = r0; i < r1; ++i) EXPECT_EQ(VecSetValue(b, i, 1.0 + i, INSERT_VALUES), PETSC_SUCCESS);
    ASSERT_PETSC(VecAssemblyBegin(b));
    ASSERT_PETSC(VecAssemblyEnd(b));
    ASSERT_PETSC(SkeanSketchApplyVec(s, b, Sb.data()));
    bool heavy = false;
    for (PetscInt t = 0; t < m; ++t) {
      PetscInt matches = 0;
      for (PetscInt i = 0; i < n; ++i) {
        const double w  = Sb[t] / (1.0 + i); /* b tells which row it is */
        bool         is = w > 0;
        for (PetscInt j = 0; j < d; ++j)
          is = is && std::abs(SA[t + j * m] - w * A(i, j)) <= 1e-12 * std::abs(w) * 1e4 * (i == 77) + 1e-12 * std::abs(w * A(i, j));
        matches += is;
        heavy = heavy || (is && i == 77);
      }
      EXPECT_EQ(matches, 1) << "row " << t;
    }
    EXPECT_TRUE(heavy) << "a row of leverage 1 has probability at least 0.9/d and is missed with probability 5e-6";
    ASSERT_PETSC(VecDestroy(&b));
    ASSERT_PETSC(SkeanSketchDestroy(&s));
    ASSERT_PETSC(MatDestroy(&M));
  }
}

/* NaN and Inf in A are still there in S A, wherever they are */
TEST(SketchApply, NonFiniteEntriesSurvive)
{
  const PetscInt n = 200, d = 10;
  auto           configs = ObliviousConfigs(40);
  configs.push_back({SKEANSKETCHLEVERAGE, 40});
  for (double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    for (Storage storage : {Storage::Dense, Storage::Aij})
      for (PetscInt row : {0, 133, 199}) {
        Dense A   = TestMatrix(n, d, storage == Storage::Dense ? 1.0 : 0.2);
        A(row, 4) = bad;
        Mat M;
        ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, A, storage, LocalRows(Layout::Even, n), &M));
        for (const Config &c : configs) {
          std::vector<double> SA;
          ASSERT_PETSC(ApplyTo(PETSC_COMM_WORLD, c, M, &SA));
          bool lost = true;
          for (PetscInt t = 0; t < c.m; ++t) lost = lost && std::isfinite(SA[4 * c.m + t]);
          EXPECT_FALSE(lost) << Name(c) << " row " << row;
        }
        ASSERT_PETSC(MatDestroy(&M));
      }
}

/* n = 1, d = 1, fewer rows than processes, n below the block size, no rows at all */
TEST(SketchApply, SmallSizes)
{
  for (PetscInt n : {1, 2, 5})
    for (PetscInt d : {1, 3})
      for (const char *type : {SKEANSKETCHGAUSSIAN, SKEANSKETCHSPARSESIGN, SKEANSKETCHSPARSESTACK, SKEANSKETCHCOUNTSKETCH, SKEANSKETCHSRHT, SKEANSKETCHSRCT,
                               SKEANSKETCHBLOCKSRHT, SKEANSKETCHPOOLED}) {
        SCOPED_TRACE(std::string(type) + " n=" + std::to_string(n) + " d=" + std::to_string(d));
        const Dense  A = TestMatrix(n, d, 1.0);
        const Config c{type, n};
        for (Storage storage : {Storage::Dense, Storage::Aij}) {
          Mat                 M;
          SkeanSketch         s;
          PetscInt            b, zeta;
          std::vector<double> SA(n * d);
          ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, A, storage, LocalRows(Layout::Even, n), &M));
          ASSERT_PETSC(MakeSketch(PETSC_COMM_WORLD, c, n, &s));
          ASSERT_PETSC(SkeanSketchApply(s, M, SA.data()));
          ASSERT_PETSC(SkeanSketchGetBlockSize(s, &b));
          ASSERT_PETSC(SkeanSketchGetNonzeros(s, &zeta));
          EXPECT_LE(skeanref::RelativeDifference(SA, skeanref::Multiply(Explicit(c, n, b, zeta), A).a), 1e-13);
          ASSERT_PETSC(SkeanSketchDestroy(&s));
          ASSERT_PETSC(MatDestroy(&M));
        }
      }
  const Dense none(0, 3);
  for (const Config &c : {Config{SKEANSKETCHSRHT, 1}, Config{SKEANSKETCHSPARSESIGN, 8}, Config{SKEANSKETCHGAUSSIAN, 4}}) {
    Mat                 M;
    std::vector<double> SA;
    ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, none, Storage::Dense, 0, &M));
    ASSERT_PETSC(ApplyTo(PETSC_COMM_WORLD, c, M, &SA));
    for (double v : SA) EXPECT_EQ(v, 0.0) << c.type;
    ASSERT_PETSC(MatDestroy(&M));
  }
}

/* More than one row block of the sparse kernels and more than one column tile, m in the thousands; the default block of the transforms */
TEST(SketchApply, ManyRowsAgreeBetweenStorages)
{
  const PetscInt n = 40000, d = 19;
  const Dense    A = TestMatrix(n, d, 0.02);
  Mat            sparse, dense;
  ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, A, Storage::Aij, LocalRows(Layout::Even, n), &sparse));
  ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, A, Storage::Dense, LocalRows(Layout::Uneven, n), &dense));
  for (const Config &c : {Config{SKEANSKETCHSPARSESIGN, 6001}, Config{SKEANSKETCHSPARSESTACK, 6001, 4}, Config{SKEANSKETCHCOUNTSKETCH, 6001},
                          Config{SKEANSKETCHSRHT, 301}, Config{SKEANSKETCHSRCT, 301}, Config{SKEANSKETCHBLOCKSRHT, 301}, Config{SKEANSKETCHPOOLED, 301},
                          Config{SKEANSKETCHGAUSSIAN, 60}, Config{SKEANSKETCHLEVERAGE, 301}}) {
    std::vector<double> a, b;
    ASSERT_PETSC(ApplyTo(PETSC_COMM_WORLD, c, sparse, &a));
    ASSERT_PETSC(ApplyTo(PETSC_COMM_WORLD, c, dense, &b));
    EXPECT_LE(skeanref::RelativeDifference(a, b), 1e-14) << Name(c);
  }
  ASSERT_PETSC(MatDestroy(&sparse));
  ASSERT_PETSC(MatDestroy(&dense));
}

/* Tensor types against the explicit product of the factors; the same on every process, and as on one */
TEST(SketchApply, TensorTypes)
{
  for (bool kronecker : {false, true})
    for (const std::vector<size_t> &n : {std::vector<size_t>{7, 5}, std::vector<size_t>{4, 1, 9}, std::vector<size_t>{130}, std::vector<size_t>{16, 33}}) {
      const size_t       m = 27;
      std::vector<Dense> F;
      std::vector<Mat>   M(n.size());
      PetscInt           rows = 1;
      for (size_t k = 0; k < n.size(); ++k) {
        F.push_back(TestMatrix(n[k], kronecker ? 2 + k : 10, 1.0, 100 + static_cast<std::int64_t>(k)));
        ASSERT_PETSC(MakeMat(PETSC_COMM_SELF, F[k], Storage::Dense, static_cast<PetscInt>(n[k]), &M[k]));
        rows *= static_cast<PetscInt>(n[k]);
      }
      const Dense A = skeanref::Product(F, kronecker);
      for (const char *type : {SKEANSKETCHTENSORSRHT, SKEANSKETCHTENSORSKETCH})
        for (PetscInt draw : {0, 3}) {
          SkeanSketch         s;
          std::vector<double> SA(m * A.n, -1e300);
          const skeanref::Key key{42, static_cast<std::uint32_t>(draw)};
          const Dense         S = std::string(type) == SKEANSKETCHTENSORSRHT ? skeanref::TensorSrht(key, m, n) : skeanref::TensorSketch(key, m, n);
          ASSERT_PETSC(
            MakeSketch(PETSC_COMM_WORLD, {type, static_cast<PetscInt>(m), PETSC_DETERMINE, PETSC_DETERMINE, true, draw}, draw ? rows : PETSC_DETERMINE, &s));
          ASSERT_PETSC(SkeanSketchSetKronecker(s, kronecker ? PETSC_TRUE : PETSC_FALSE));
          ASSERT_PETSC(SkeanSketchApplyTensor(s, static_cast<PetscInt>(n.size()), M.data(), SA.data()));
          EXPECT_LE(skeanref::RelativeDifference(SA, skeanref::Multiply(S, A).a), 1e-13) << type << " " << n.size() << " factors " << kronecker;
          ASSERT_PETSC(SkeanSketchDestroy(&s));
          std::vector<double> alone(SA.size(), -1e300), first(SA);
          ASSERT_PETSC(MakeSketch(PETSC_COMM_SELF, {type, static_cast<PetscInt>(m), PETSC_DETERMINE, PETSC_DETERMINE, true, draw}, rows, &s));
          ASSERT_PETSC(SkeanSketchSetKronecker(s, kronecker ? PETSC_TRUE : PETSC_FALSE));
          ASSERT_PETSC(SkeanSketchApplyTensor(s, static_cast<PetscInt>(n.size()), M.data(), alone.data()));
          ASSERT_PETSC(SkeanSketchDestroy(&s));
          MPI_Bcast(first.data(), static_cast<int>(first.size()), MPI_DOUBLE, 0, PETSC_COMM_WORLD);
          EXPECT_LE(skeanref::RelativeDifference(SA, alone), 1e-14) << type;
          EXPECT_LE(skeanref::RelativeDifference(SA, first), 1e-14) << type;
        }
      for (Mat &X : M) ASSERT_PETSC(MatDestroy(&X));
    }
}
