/* Life cycle, options, errors, seeds, guarantees */
#include "sketchtest.hpp"
#include <skean/private/sketchimpl.h>

using namespace sketchtest;

namespace {
std::string ViewText(SkeanSketch s)
{
  const std::string file = skeantest::ScratchDir() + "/view.txt";
  PetscViewer       v;
  std::string       text;
  if (PetscViewerASCIIOpen(PETSC_COMM_WORLD, file.c_str(), &v) || SkeanSketchView(s, v) || PetscViewerDestroy(&v)) return "failed";
  MPI_Barrier(PETSC_COMM_WORLD);
  if (FILE *f = std::fopen(file.c_str(), "r")) {
    char buffer[4096];
    text.assign(buffer, std::fread(buffer, 1, sizeof(buffer), f));
    std::fclose(f);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  return text;
}
} // namespace

TEST(SketchInterface, OptionsWithPrefixAndView)
{
  SkeanSketch     s;
  SkeanSketchType type;
  const char     *prefix;
  PetscInt        i, m;
  PetscReal       f;
  PetscBool       b;
  SkeanSeed       seed;
  PetscOptions    options;
  ASSERT_PETSC(PetscOptionsCreate(&options));
  ASSERT_PETSC(PetscOptionsInsertString(
    options, "-my_inner_sketch_type sparsestack -my_inner_sketch_rows 77 -my_inner_sketch_seed 123456789012345 -my_inner_sketch_draw 2 -my_inner_sketch_nnz 9 "
             "-my_inner_sketch_factor 5.5 -my_inner_sketch_block_size 64 -my_inner_sketch_permute 0 -my_inner_sketch_kronecker -sketch_type srht"));
  ASSERT_PETSC(SkeanSketchCreate(PETSC_COMM_WORLD, &s));
  ASSERT_PETSC(PetscObjectSetOptions((PetscObject)s, options));
  ASSERT_PETSC(SkeanSketchSetOptionsPrefix(s, "my_"));
  ASSERT_PETSC(SkeanSketchAppendOptionsPrefix(s, "inner_"));
  ASSERT_PETSC(SkeanSketchGetOptionsPrefix(s, &prefix));
  EXPECT_STREQ(prefix, "my_inner_");
  ASSERT_PETSC(SkeanSketchSetFromOptions(s));
  ASSERT_PETSC(SkeanSketchGetType(s, &type));
  EXPECT_STREQ(type, SKEANSKETCHSPARSESTACK);
  ASSERT_PETSC(SkeanSketchGetSizes(s, &m, &i));
  EXPECT_EQ(m, 77);
  EXPECT_EQ(i, PETSC_DETERMINE);
  ASSERT_PETSC(SkeanSketchGetSeed(s, &seed));
  EXPECT_EQ(seed, 123456789012345);
  ASSERT_PETSC(SkeanSketchGetDraw(s, &i));
  EXPECT_EQ(i, 2);
  ASSERT_PETSC(SkeanSketchGetNonzeros(s, &i));
  EXPECT_EQ(i, 9);
  ASSERT_PETSC(SkeanSketchGetBlockSize(s, &i));
  EXPECT_EQ(i, 64);
  ASSERT_PETSC(SkeanSketchGetFactor(s, &f));
  EXPECT_EQ(f, 5.5);
  ASSERT_PETSC(SkeanSketchGetPermute(s, &b));
  EXPECT_FALSE(b);
  ASSERT_PETSC(SkeanSketchGetKronecker(s, &b));
  EXPECT_TRUE(b);
  ASSERT_PETSC(SkeanSketchSetSizes(s, m, 1000));
  ASSERT_PETSC(SkeanSketchSetUp(s));
  const std::string text = ViewText(s);
  for (const char *part : {"sparsestack", "rows: 77", "columns: 1000", "seed: 123456789012345, draw: 2", "nonzeros in a column: 9", "approximate", "my_inner_"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " not in:\n" << text;
  ASSERT_PETSC(SkeanSketchDestroy(&s));
  EXPECT_EQ(s, nullptr);
  ASSERT_PETSC(PetscOptionsDestroy(&options));
}

/* m = min(ceil(factor d), n) unless given; without a type, sparsesign; a second matrix of other size gives other sizes */
TEST(SketchInterface, SizesFromMatrix)
{
  SkeanSketch     s;
  SkeanSketchType type;
  PetscInt        m, n;
  Mat             M;
  ASSERT_PETSC(SkeanSketchCreate(PETSC_COMM_WORLD, &s));
  ASSERT_PETSC(SkeanSketchSetFactor(s, 2.5));
  for (PetscInt rows : {100, 9}) {
    ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, TestMatrix(rows, 5, 1), Storage::Dense, LocalRows(Layout::Even, rows), &M));
    ASSERT_PETSC(SkeanSketchSetSizesFromMat(s, M));
    ASSERT_PETSC(SkeanSketchGetSizes(s, &m, &n));
    EXPECT_EQ(m, rows == 100 ? 13 : 9);
    EXPECT_EQ(n, rows);
    std::vector<double> SA(m * 5);
    ASSERT_PETSC(SkeanSketchApply(s, M, SA.data()));
    ASSERT_PETSC(MatDestroy(&M));
  }
  ASSERT_PETSC(SkeanSketchGetType(s, &type));
  EXPECT_STREQ(type, SKEANSKETCHSPARSESIGN);
  ASSERT_PETSC(SkeanSketchReset(s));
  ASSERT_PETSC(SkeanSketchGetSizes(s, &m, &n));
  EXPECT_EQ(m, PETSC_DETERMINE);
  EXPECT_EQ(n, PETSC_DETERMINE);
  ASSERT_PETSC(SkeanSketchDestroy(&s));
}

TEST(SketchInterface, Errors)
{
  std::string         message;
  SkeanSketch         s;
  Mat                 M, other;
  Vec                 v;
  std::vector<double> SA(10000);
  ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, TestMatrix(50, 4, 1), Storage::Dense, LocalRows(Layout::Even, 50), &M));
  ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, TestMatrix(51, 4, 1), Storage::Dense, LocalRows(Layout::Even, 51), &other));
  ASSERT_PETSC(SkeanSketchCreate(PETSC_COMM_WORLD, &s));
  auto Error = [&](auto f) { return skeantest::ErrorOf(f, &message); };

  EXPECT_EQ(Error([&] { return SkeanSketchApply(s, M, SA.data()); }), PETSC_ERR_ORDER);
  EXPECT_NE(message.find("number of rows"), std::string::npos) << message;
  EXPECT_EQ(Error([&] { return SkeanSketchSetType(s, "nosuchtype"); }), PETSC_ERR_ARG_UNKNOWN_TYPE);
  EXPECT_NE(message.find("nosuchtype"), std::string::npos) << message;
  for (PetscInt m : {0, -5}) EXPECT_EQ(Error([&] { return SkeanSketchSetSizes(s, m, 50); }), PETSC_ERR_ARG_OUTOFRANGE) << m;
  EXPECT_EQ(Error([&] { return SkeanSketchSetSizes(s, 5, -2); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(Error([&] { return SkeanSketchSetNonzeros(s, 0); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(Error([&] { return SkeanSketchSetBlockSize(s, 0); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(Error([&] { return SkeanSketchSetDraw(s, -2); }), PETSC_ERR_ARG_OUTOFRANGE);
  EXPECT_EQ(Error([&] { return SkeanSketchSetFactor(s, 0.0); }), PETSC_ERR_ARG_OUTOFRANGE);
  SkeanSketchGuarantee g;
  EXPECT_EQ(Error([&] { return SkeanSketchGetGuarantee(s, &g); }), PETSC_ERR_ORDER);

  ASSERT_PETSC(SkeanSketchSetSizes(s, 20, 50));
  EXPECT_EQ(Error([&] { return SkeanSketchApply(s, other, SA.data()); }), PETSC_ERR_ARG_SIZ);
  EXPECT_NE(message.find("50"), std::string::npos) << message;
  EXPECT_NE(message.find("51"), std::string::npos) << message;
  ASSERT_PETSC(MatCreateVecs(other, NULL, &v));
  EXPECT_EQ(Error([&] { return SkeanSketchApplyVec(s, v, SA.data()); }), PETSC_ERR_ARG_SIZ);
  ASSERT_PETSC(VecDestroy(&v));
  EXPECT_EQ(Error([&] { return SkeanSketchApply(s, M, NULL); }), PETSC_ERR_ARG_NULL);
  if (skeantest::Size() > 1) {
    Mat self;
    ASSERT_PETSC(MakeMat(PETSC_COMM_SELF, TestMatrix(50, 4, 1), Storage::Dense, 50, &self));
    EXPECT_EQ(Error([&] { return SkeanSketchApply(s, self, SA.data()); }), PETSC_ERR_ARG_NOTSAMECOMM);
    ASSERT_PETSC(MatDestroy(&self));
  }
  /* more rows than the transform has; a block that is no power of two; too many nonzeros */
  struct Bad {
    const char *type;
    PetscInt    m, nnz, bs;
  };
  for (const Bad &bad :
       {Bad{SKEANSKETCHSRHT, 65, PETSC_DETERMINE, PETSC_DETERMINE}, Bad{SKEANSKETCHSRCT, 51, PETSC_DETERMINE, PETSC_DETERMINE},
        Bad{SKEANSKETCHBLOCKSRHT, 33, PETSC_DETERMINE, 32}, Bad{SKEANSKETCHPOOLED, 33, PETSC_DETERMINE, 32}, Bad{SKEANSKETCHSRHT, 10, PETSC_DETERMINE, 24},
        Bad{SKEANSKETCHBLOCKSRHT, 10, PETSC_DETERMINE, 24}, Bad{SKEANSKETCHPOOLED, 10, PETSC_DETERMINE, 24},
        Bad{SKEANSKETCHSPARSESIGN, 10, 11, PETSC_DETERMINE}, Bad{SKEANSKETCHSPARSESTACK, 10, 11, PETSC_DETERMINE}}) {
    ASSERT_PETSC(SkeanSketchSetType(s, bad.type));
    ASSERT_PETSC(SkeanSketchSetSizes(s, bad.m, 50));
    ASSERT_PETSC(SkeanSketchSetNonzeros(s, bad.nnz));
    ASSERT_PETSC(SkeanSketchSetBlockSize(s, bad.bs));
    EXPECT_EQ(Error([&] { return SkeanSketchApply(s, M, SA.data()); }), PETSC_ERR_ARG_OUTOFRANGE) << bad.type;
    EXPECT_NE(message.find(bad.type), std::string::npos) << message;
  }
  /* and after an error the sketch still works */
  ASSERT_PETSC(SkeanSketchSetSizes(s, 10, 50));
  ASSERT_PETSC(SkeanSketchSetNonzeros(s, PETSC_DETERMINE));
  ASSERT_PETSC(SkeanSketchApply(s, M, SA.data()));

  ASSERT_PETSC(SkeanSketchSetType(s, SKEANSKETCHTENSORSRHT));
  EXPECT_EQ(Error([&] { return SkeanSketchApply(s, M, SA.data()); }), PETSC_ERR_SUP);
  EXPECT_NE(message.find("SkeanSketchApplyTensor"), std::string::npos) << message;
  Mat F[2];
  ASSERT_PETSC(MakeMat(PETSC_COMM_SELF, TestMatrix(7, 4, 1), Storage::Dense, 7, &F[0]));
  ASSERT_PETSC(MakeMat(PETSC_COMM_SELF, TestMatrix(5, 3, 1), Storage::Dense, 5, &F[1]));
  EXPECT_EQ(Error([&] { return SkeanSketchApplyTensor(s, 2, F, SA.data()); }), PETSC_ERR_ARG_SIZ) << "different numbers of columns";
  ASSERT_PETSC(SkeanSketchSetKronecker(s, PETSC_TRUE));
  EXPECT_EQ(Error([&] { return SkeanSketchApplyTensor(s, 2, F, SA.data()); }), PETSC_ERR_ARG_SIZ) << "35 rows, sketch has 50 columns";
  EXPECT_EQ(Error([&] { return SkeanSketchApplyTensor(s, 0, F, SA.data()); }), PETSC_ERR_ARG_OUTOFRANGE);
  ASSERT_PETSC(SkeanSketchSetType(s, SKEANSKETCHSRHT));
  EXPECT_EQ(Error([&] { return SkeanSketchApplyTensor(s, 2, F, SA.data()); }), PETSC_ERR_SUP);
  ASSERT_PETSC(MatDestroy(&F[0]));
  ASSERT_PETSC(MatDestroy(&F[1]));

  PetscOptions options;
  ASSERT_PETSC(PetscOptionsCreate(&options));
  ASSERT_PETSC(PetscOptionsInsertString(options, "-sketch_seed twelve"));
  ASSERT_PETSC(PetscObjectSetOptions((PetscObject)s, options));
  EXPECT_EQ(Error([&] { return SkeanSketchSetFromOptions(s); }), PETSC_ERR_ARG_WRONG);
  EXPECT_NE(message.find("twelve"), std::string::npos) << message;
  ASSERT_PETSC(SkeanSketchDestroy(&s));
  ASSERT_PETSC(PetscOptionsDestroy(&options));
  ASSERT_PETSC(MatDestroy(&M));
  ASSERT_PETSC(MatDestroy(&other));
}

/* Another seed or draw is another, uncorrelated S; setters after an application take effect; the same again gives the same bits */
TEST(SketchInterface, SeedsAndDraws)
{
  const PetscInt n = 500, m = 40;
  const Dense    A = TestMatrix(n, 20, 1);
  Mat            M;
  ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, A, Storage::Dense, LocalRows(Layout::Even, n), &M));
  auto configs = ObliviousConfigs(m);
  configs.push_back({SKEANSKETCHLEVERAGE, m});
  for (const Config &c : configs) {
    SkeanSketch         s;
    std::vector<double> base(m * 20), again(m * 20), changed(m * 20);
    ASSERT_PETSC(MakeSketch(PETSC_COMM_WORLD, c, n, &s));
    ASSERT_PETSC(SkeanSketchApply(s, M, base.data()));
    ASSERT_PETSC(SkeanSketchApply(s, M, again.data()));
    EXPECT_EQ(base, again) << Name(c);
    auto correlation = [&](const std::vector<double> &x) {
      double xy = 0, xx = 0, yy = 0;
      for (PetscInt t = 0; t < m; ++t) /* column 0: one scale */
        for (PetscInt j = 0; j < 20; j += 3) {
          xy += x[t + j * m] * base[t + j * m];
          xx += x[t + j * m] * x[t + j * m];
          yy += base[t + j * m] * base[t + j * m];
        }
      return xy / std::sqrt(xx * yy);
    };
    for (int change = 0; change < 3; ++change) {
      ASSERT_PETSC(SkeanSketchSetSeed(s, change == 0 ? 43 : change == 1 ? 42 : 42 + (SkeanSeed(1) << 40)));
      ASSERT_PETSC(SkeanSketchSetDraw(s, change == 1 ? 1 : 0));
      ASSERT_PETSC(SkeanSketchApply(s, M, changed.data()));
      EXPECT_LT(std::abs(correlation(changed)), 6 / std::sqrt(m * 7.0)) << Name(c) << " change " << change;
    }
    ASSERT_PETSC(SkeanSketchSetSeed(s, 42));
    ASSERT_PETSC(SkeanSketchSetDraw(s, 0));
    ASSERT_PETSC(SkeanSketchApply(s, M, again.data()));
    EXPECT_EQ(base, again) << Name(c) << " after changes and back";
    ASSERT_PETSC(SkeanSketchDestroy(&s));
  }
  ASSERT_PETSC(MatDestroy(&M));
}

TEST(SketchInterface, Guarantees)
{
  struct Case {
    const char          *type;
    PetscInt             nnz;
    SkeanSketchGuarantee expected;
  };
  for (const Case &c :
       {Case{SKEANSKETCHGAUSSIAN, PETSC_DETERMINE, SKEAN_SKETCH_GUARANTEE_EXACT}, Case{SKEANSKETCHPOOLED, PETSC_DETERMINE, SKEAN_SKETCH_GUARANTEE_APPROXIMATE},
        Case{SKEANSKETCHSRHT, PETSC_DETERMINE, SKEAN_SKETCH_GUARANTEE_APPROXIMATE}, Case{SKEANSKETCHSRCT, PETSC_DETERMINE, SKEAN_SKETCH_GUARANTEE_APPROXIMATE},
        Case{SKEANSKETCHBLOCKSRHT, PETSC_DETERMINE, SKEAN_SKETCH_GUARANTEE_APPROXIMATE},
        Case{SKEANSKETCHSPARSESIGN, PETSC_DETERMINE, SKEAN_SKETCH_GUARANTEE_APPROXIMATE}, Case{SKEANSKETCHSPARSESIGN, 8, SKEAN_SKETCH_GUARANTEE_APPROXIMATE},
        Case{SKEANSKETCHSPARSESIGN, 7, SKEAN_SKETCH_GUARANTEE_NONE}, Case{SKEANSKETCHSPARSESTACK, 8, SKEAN_SKETCH_GUARANTEE_APPROXIMATE},
        Case{SKEANSKETCHSPARSESTACK, 4, SKEAN_SKETCH_GUARANTEE_NONE}, Case{SKEANSKETCHCOUNTSKETCH, PETSC_DETERMINE, SKEAN_SKETCH_GUARANTEE_NONE},
        Case{SKEANSKETCHLEVERAGE, PETSC_DETERMINE, SKEAN_SKETCH_GUARANTEE_NONE}, Case{SKEANSKETCHTENSORSRHT, PETSC_DETERMINE, SKEAN_SKETCH_GUARANTEE_NONE},
        Case{SKEANSKETCHTENSORSKETCH, PETSC_DETERMINE, SKEAN_SKETCH_GUARANTEE_NONE}}) {
    SkeanSketch          s;
    SkeanSketchGuarantee g;
    ASSERT_PETSC(MakeSketch(PETSC_COMM_WORLD, {c.type, 20, c.nnz}, 100, &s));
    ASSERT_PETSC(SkeanSketchSetUp(s));
    ASSERT_PETSC(SkeanSketchGetGuarantee(s, &g));
    EXPECT_EQ(g, c.expected) << c.type << " " << c.nnz;
    ASSERT_PETSC(SkeanSketchDestroy(&s));
  }
}

/* A type registered by a user: a sketch with one row, the sum of all rows */
static PetscErrorCode ApplyLocal_Sum(SkeanSketch, const skean::RowView *A, PetscScalar *SA)
{
  PetscFunctionBegin;
  for (PetscInt j = 0; j < A->ncols; ++j)
    for (PetscInt i = 0; i < A->nrows; ++i) SA[j] += A->dense[i + j * A->lda];
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode Create_Sum(SkeanSketch s)
{
  PetscFunctionBegin;
  s->ops->applylocal = ApplyLocal_Sum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

TEST(SketchInterface, Register)
{
  const Dense A = TestMatrix(30, 3, 1);
  Mat         M;
  SkeanSketch s;
  double      SA[3];
  ASSERT_PETSC(SkeanSketchRegister("sum", Create_Sum));
  ASSERT_PETSC(MakeMat(PETSC_COMM_WORLD, A, Storage::Dense, LocalRows(Layout::Uneven, 30), &M));
  ASSERT_PETSC(MakeSketch(PETSC_COMM_WORLD, {"sum", 1}, 30, &s));
  ASSERT_PETSC(SkeanSketchApply(s, M, SA));
  for (int j = 0; j < 3; ++j) {
    double sum = 0, size = 0;
    for (int i = 0; i < 30; ++i) {
      sum += A(i, j);
      size += std::abs(A(i, j));
    }
    EXPECT_NEAR(SA[j], sum, 1e-14 * size);
  }
  ASSERT_PETSC(SkeanSketchDestroy(&s));
  ASSERT_PETSC(MatDestroy(&M));
}
