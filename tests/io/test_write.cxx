/* What is written can be read back, carries where it came from, and is never half there */
#include "iotest.hpp"
#include <cstdlib>
#include <sys/stat.h>
#include <iterator>
#include <limits>
#include <sstream>

using namespace iotest;

static double Value(PetscInt i, PetscInt j)
{
  return (i % 7 == 3 && j == 1) ? -1.0 / 3.0 * 1e-300 : std::sin(1.0 + 3.7 * i + 0.31 * j) * std::pow(10.0, i % 5);
}

static Mat Dense(PetscInt M, PetscInt N)
{
  Mat          A;
  PetscInt     rs, re, lda;
  PetscScalar *a;
  MatCreateDense(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, M, N, NULL, &A);
  MatGetOwnershipRange(A, &rs, &re);
  MatDenseGetLDA(A, &lda);
  MatDenseGetArrayWrite(A, &a);
  for (PetscInt i = rs; i < re; ++i)
    for (PetscInt j = 0; j < N; ++j) a[(i - rs) + j * lda] = Value(i, j);
  MatDenseRestoreArrayWrite(A, &a);
  MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY);
  MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY);
  PetscObjectSetName((PetscObject)A, "design");
  return A;
}

static Mat Sparse(PetscInt M, PetscInt N)
{
  Mat      A;
  PetscInt rs, re;
  MatCreateAIJ(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, M, N, 3, NULL, 3, NULL, &A);
  MatGetOwnershipRange(A, &rs, &re);
  for (PetscInt i = rs; i < re; ++i)
    if (i != 1) { /* a row without entries */
      MatSetValue(A, i, (i * 5) % N, Value(i, 0), INSERT_VALUES);
      MatSetValue(A, i, (i * 3 + 1) % N, Value(i, 1), INSERT_VALUES);
    }
  MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY);
  MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY);
  PetscObjectSetName((PetscObject)A, "graph");
  return A;
}

static bool Exists(const std::string &path)
{
  struct stat st;
  MPI_Barrier(PETSC_COMM_WORLD);
  return !stat(path.c_str(), &st);
}

TEST(Write, DenseMatrixRoundTrip)
{
  for (const PetscInt M : {1, 3, 23})
    for (const char *ending : {"bin", "h5", "npy", "mtx", "nc"}) {
      const std::string path = skeantest::ScratchDir() + "/dense." + ending;
      Mat               A    = Dense(M, 4);
      ASSERT_PETSC(SkeanMatWriteFile(A, path.c_str()));
      PetscInt m, n;
      EXPECT_EQ(Load(path, nullptr, &m, &n), All(A)) << path << ": every bit of every value";
      EXPECT_EQ(m, M);
      EXPECT_EQ(n, 4);
      MatDestroy(&A);
    }
}

TEST(Write, SparseMatrixRoundTrip)
{
  for (const PetscInt M : {2, 23})
    for (const char *ending : {"bin", "h5", "mtx"}) {
      const std::string path = skeantest::ScratchDir() + "/sparse." + ending;
      Mat               A    = Sparse(M, 11), B;
      PetscBool         aij;
      ASSERT_PETSC(SkeanMatWriteFile(A, path.c_str()));
      ASSERT_PETSC(SkeanMatLoadFile(PETSC_COMM_WORLD, path.c_str(), NULL, &B));
      PetscObjectBaseTypeCompareAny((PetscObject)B, &aij, MATSEQAIJ, MATMPIAIJ, "");
      EXPECT_TRUE(aij) << path;
      EXPECT_EQ(All(B), All(A)) << path;
      MatDestroy(&A);
      MatDestroy(&B);
    }
  Mat         A = Sparse(5, 5);
  std::string m;
  const auto  path = skeantest::ScratchDir() + "/sparse.npy";
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanMatWriteFile(A, path.c_str()); }, &m), PETSC_ERR_SUP);
  EXPECT_TEXT(m, "a sparse matrix cannot be written to .npy");
  MatDestroy(&A);
}

/* The rows of what is written are sorted, though those of a parallel matrix are held in two parts */
TEST(Write, SparseRowsAreSorted)
{
  const std::string mtx = skeantest::ScratchDir() + "/sorted.mtx", bin = skeantest::ScratchDir() + "/sorted.bin";
  const PetscInt    M = 23, N = 11;
  Mat               A = Sparse(M, N);
  ASSERT_PETSC(SkeanMatWriteFile(A, mtx.c_str()));
  ASSERT_PETSC(SkeanMatWriteFile(A, bin.c_str()));
  std::ifstream f(mtx);
  std::string   line;
  long          entries = -1, i, j, lasti = 0, lastj = 0, count = 0;
  while (std::getline(f, line)) {
    if (line[0] == '%') continue;
    std::istringstream words(line);
    words >> i >> j;
    if (entries < 0)
      words >> entries;
    else {
      EXPECT_TRUE(i > lasti || (i == lasti && j > lastj)) << "entry " << count << ": (" << i << ", " << j << ") after (" << lasti << ", " << lastj << ")";
      lasti = i;
      lastj = j;
      ++count;
    }
  }
  EXPECT_EQ(count, entries);
  EXPECT_GT(count, M);
#if !defined(PETSC_USE_64BIT_INDICES)
  /* PETSc's file: class, M, N, entries, lengths, columns; big endian */
  std::ifstream     b(bin, std::ios::binary);
  std::vector<char> bytes((std::istreambuf_iterator<char>(b)), std::istreambuf_iterator<char>());
  const auto        word = [&](long k) {
    const auto *q = reinterpret_cast<const unsigned char *>(bytes.data()) + 4 * k;
    return static_cast<long>(q[0]) << 24 | q[1] << 16 | q[2] << 8 | q[3];
  };
  ASSERT_ALL(bytes.size() == static_cast<std::size_t>(4 * (4 + M) + 12 * entries));
  long at = 4 + M;
  for (i = 0; i < M; ++i)
    for (j = 0; j < word(4 + i); ++j, ++at) EXPECT_TRUE(!j || word(at - 1) < word(at)) << "row " << i;
#endif
  MatDestroy(&A);
}

TEST(Write, VectorRoundTrip)
{
  for (const PetscInt n : {1, 3, 40})
    for (const char *ending : {"bin", "h5", "npy", "mtx", "nc"}) {
      const std::string path = skeantest::ScratchDir() + "/vec." + ending;
      Vec               v, w;
      PetscInt          rs, re;
      VecCreateMPI(PETSC_COMM_WORLD, PETSC_DECIDE, n, &v);
      VecGetOwnershipRange(v, &rs, &re);
      for (PetscInt i = rs; i < re; ++i) VecSetValue(v, i, Value(i, 1), INSERT_VALUES);
      VecAssemblyBegin(v);
      VecAssemblyEnd(v);
      PetscObjectSetName((PetscObject)v, "rhs");
      ASSERT_PETSC(SkeanVecWriteFile(v, path.c_str()));
      ASSERT_PETSC(SkeanVecLoadFile(PETSC_COMM_WORLD, path.c_str(), &w));
      EXPECT_EQ(All(w), All(v)) << path;
      VecDestroy(&v);
      VecDestroy(&w);
    }
}

TEST(Write, RowIsAVectorToo)
{
  Mat A = Dense(1, 9);
  for (const char *ending : {"bin", "h5", "npy", "mtx", "nc"}) {
    const std::string path = skeantest::ScratchDir() + "/row." + ending;
    Vec               w;
    ASSERT_PETSC(SkeanMatWriteFile(A, path.c_str()));
    ASSERT_PETSC(SkeanVecLoadFile(PETSC_COMM_WORLD, path.c_str(), &w));
    EXPECT_EQ(All(w), All(A)) << path;
    VecDestroy(&w);
  }
  MatDestroy(&A);
}

/* PETSc's own loaders read our binary files, ours reads what PETSc's HDF5 viewer writes */
TEST(Write, AgreesWithPetsc)
{
  const std::string bin = skeantest::ScratchDir() + "/p.bin", h5 = skeantest::ScratchDir() + "/p.h5";
  Mat               A = Sparse(9, 6), B;
  PetscViewer       viewer;
  ASSERT_PETSC(SkeanMatWriteFile(A, bin.c_str()));
  ASSERT_PETSC(PetscViewerBinaryOpen(PETSC_COMM_WORLD, bin.c_str(), FILE_MODE_READ, &viewer));
  MatCreate(PETSC_COMM_WORLD, &B);
  MatSetType(B, MATAIJ);
  ASSERT_PETSC(MatLoad(B, viewer));
  EXPECT_EQ(All(A), All(B));
  PetscViewerDestroy(&viewer);
  MatDestroy(&B);
  /* three kinds of object, one after the other */
  Mat         D = Dense(7, 3);
  Vec         x, y;
  PetscObject all[3] = {(PetscObject)D, NULL, (PetscObject)A};
  MatCreateVecs(A, NULL, &x);
  VecSetRandom(x, NULL);
  all[1] = (PetscObject)x;
  ASSERT_PETSC(SkeanWriteFile(PETSC_COMM_WORLD, bin.c_str(), 3, all));
  ASSERT_PETSC(PetscViewerBinaryOpen(PETSC_COMM_WORLD, bin.c_str(), FILE_MODE_READ, &viewer));
  MatCreate(PETSC_COMM_WORLD, &B);
  MatSetType(B, MATDENSE);
  ASSERT_PETSC(MatLoad(B, viewer));
  EXPECT_EQ(All(D), All(B));
  MatDestroy(&B);
  VecCreate(PETSC_COMM_WORLD, &y);
  ASSERT_PETSC(VecLoad(y, viewer));
  EXPECT_EQ(All(x), All(y));
  MatCreate(PETSC_COMM_WORLD, &B);
  MatSetType(B, MATAIJ);
  ASSERT_PETSC(MatLoad(B, viewer));
  EXPECT_EQ(All(A), All(B));
  PetscViewerDestroy(&viewer);
  VecDestroy(&x);
  VecDestroy(&y);
  MatDestroy(&A);
  MatDestroy(&B);
  MatDestroy(&D);
#if defined(PETSC_HAVE_HDF5) && defined(SKEAN_HAVE_HDF5)
  Vec v, w;
  VecCreateMPI(PETSC_COMM_WORLD, PETSC_DECIDE, 10, &v);
  VecSet(v, 2.5);
  VecSetValue(v, 3, -1, INSERT_VALUES);
  VecAssemblyBegin(v);
  VecAssemblyEnd(v);
  PetscObjectSetName((PetscObject)v, "state");
  /* declared by hand: petscviewerhdf5.h wants hdf5.h */
  ASSERT_PETSC(PetscViewerCreate(PETSC_COMM_WORLD, &viewer));
  ASSERT_PETSC(PetscViewerSetType(viewer, PETSCVIEWERHDF5));
  ASSERT_PETSC(PetscViewerFileSetMode(viewer, FILE_MODE_WRITE));
  ASSERT_PETSC(PetscViewerFileSetName(viewer, h5.c_str()));
  ASSERT_PETSC(VecView(v, viewer));
  PetscObjectSetName((PetscObject)v, "other");
  ASSERT_PETSC(VecView(v, viewer));
  PetscViewerDestroy(&viewer);
  ASSERT_PETSC(SkeanVecLoadFile(PETSC_COMM_WORLD, (h5 + ":state").c_str(), &w));
  EXPECT_EQ(All(v), All(w));
  VecDestroy(&w);
  EXPECT_TEXT(Fails(h5), "there are: other, state");
  EXPECT_TEXT(Fails(h5 + ":missing"), "no dataset 'missing'; there are: other, state");
  VecDestroy(&v);
#endif
}

TEST(Write, ProvenanceAndSeveralObjects)
{
  Mat       A = Dense(5, 2);
  Vec       v;
  char      value[256];
  PetscBool found;
  MatCreateVecs(A, NULL, &v);
  VecSet(v, 1.0);
  PetscObjectSetName((PetscObject)v, "residual");
  ASSERT_PETSC(SkeanFileSetAttribute((PetscObject)A, "seed", "4711"));
  const std::vector<std::pair<const char *, const char *>> kept{
    {"cost", "0.10000000000000001"}, {"large", "9223372036854775807"}, {"padded", "007"}, {"short", "1e-3"}, {"word", "12 apples"}, {"none", "nan"}};
  for (const auto &k : kept) ASSERT_PETSC(SkeanFileSetAttribute((PetscObject)A, k.first, k.second));
  for (const char *ending : {"bin", "h5", "mtx", "nc"}) {
    const std::string path = skeantest::ScratchDir() + "/prov." + ending;
    ASSERT_PETSC(SkeanMatWriteFile(A, path.c_str()));
    for (const auto &k : kept) { /* as they were given, whether the format has numbers or not */
      ASSERT_PETSC(SkeanFileGetAttribute(PETSC_COMM_WORLD, path.c_str(), k.first, value, sizeof(value), &found));
      EXPECT_STREQ(value, k.second) << path << " " << k.first;
    }
    ASSERT_PETSC(SkeanFileGetAttribute(PETSC_COMM_WORLD, path.c_str(), "seed", value, sizeof(value), &found));
    EXPECT_TRUE(found) << path;
    EXPECT_STREQ(value, "4711") << path;
    ASSERT_PETSC(SkeanFileGetAttribute(PETSC_COMM_WORLD, path.c_str(), "name", value, sizeof(value), &found));
    EXPECT_STREQ(value, "design") << path;
    ASSERT_PETSC(SkeanFileGetAttribute(PETSC_COMM_WORLD, path.c_str(), "version", value, sizeof(value), &found));
    EXPECT_EQ(std::string(value).rfind("Skean ", 0), 0u) << path;
    ASSERT_PETSC(SkeanFileGetAttribute(PETSC_COMM_WORLD, path.c_str(), "nothing", value, sizeof(value), &found));
    EXPECT_FALSE(found);
  }
  PetscObject       both[2] = {(PetscObject)A, (PetscObject)v};
  const std::string h5      = skeantest::ScratchDir() + "/both.h5";
  ASSERT_PETSC(SkeanWriteFile(PETSC_COMM_WORLD, h5.c_str(), 2, both));
  EXPECT_EQ(Load(h5 + ":design"), All(A));
  EXPECT_EQ(Load(h5 + ":residual"), All(v));
  ASSERT_PETSC(SkeanWriteFile(PETSC_COMM_WORLD, (skeantest::ScratchDir() + "/both.npy").c_str(), 2, both));
  EXPECT_EQ(Load(skeantest::ScratchDir() + "/both.residual.npy"), All(v));
  both[1] = both[0];
  std::string m;
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanWriteFile(PETSC_COMM_WORLD, h5.c_str(), 2, both); }, &m), PETSC_ERR_ARG_WRONG);
  EXPECT_TEXT(m, "two objects are called 'design'");
  EXPECT_EQ(Load(h5 + ":residual"), All(v)) << "the old file is still there";
  MatDestroy(&A);
  VecDestroy(&v);
}

TEST(Write, Errors)
{
  Mat         A = Dense(3, 2);
  std::string m;
  const auto  dir = skeantest::ScratchDir();
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanMatWriteFile(A, (dir + "/x.unknown").c_str()); }, &m), PETSC_ERR_ARG_WRONG);
  EXPECT_TEXT(m, "the ending must say the format");
  for (const char *ending : {"bin", "h5", "npy", "mtx", "nc"}) {
    EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanMatWriteFile(A, (dir + "/none/x." + ending).c_str()); }, &m), PETSC_ERR_FILE_OPEN);
    EXPECT_TEXT(m, "/none/x.");
    EXPECT_TEXT(m, "cannot open for writing");
  }
  PetscInt     rs, re;
  PetscScalar *a;
  MatGetOwnershipRange(A, &rs, &re);
  MatDenseGetArray(A, &a);
  if (rs <= 1 && 1 < re) a[1 - rs] = std::numeric_limits<double>::infinity();
  MatDenseRestoreArray(A, &a);
  EXPECT_NE(skeantest::ErrorOf([&] { return SkeanMatWriteFile(A, (dir + "/inf.mtx").c_str()); }, &m), 0);
  EXPECT_TEXT(m, "row 1 is not finite");
  EXPECT_FALSE(Exists(dir + "/inf.mtx")) << "a failed write leaves nothing";
  MatDestroy(&A);
}

TEST(Grid, RoundTrip)
{
  const PetscInt  dims[3] = {5, 2, 3};
  const PetscReal time[5] = {0, 1, 2, 3, 4.5}, lon[3] = {-10, 0, 10};
  for (const char *ending : {"h5", "nc", "npy"}) {
    SkeanGrid         g, h;
    Vec               v;
    PetscInt          rs, re, missing, ndims;
    const PetscInt   *hd;
    const std::string path = skeantest::ScratchDir() + "/grid." + ending;
    ASSERT_PETSC(SkeanGridCreate(PETSC_COMM_WORLD, 3, dims, &g));
    ASSERT_PETSC(SkeanGridSetDim(g, 0, "time", "days", time));
    ASSERT_PETSC(SkeanGridSetDim(g, 2, "lon", "degrees_east", lon));
    ASSERT_PETSC(SkeanGridSetUnits(g, "K"));
    PetscObjectSetName((PetscObject)g, "sst");
    ASSERT_PETSC(SkeanGridGetValues(g, &v));
    VecGetOwnershipRange(v, &rs, &re);
    for (PetscInt k = rs; k < re; ++k) VecSetValue(v, k, k == 7 ? std::numeric_limits<double>::quiet_NaN() : Value(k, 0), INSERT_VALUES);
    VecAssemblyBegin(v);
    VecAssemblyEnd(v);
    ASSERT_PETSC(SkeanGridWriteFile(g, path.c_str()));
    ASSERT_PETSC(SkeanGridLoadFile(PETSC_COMM_WORLD, path.c_str(), &h));
    ASSERT_PETSC(SkeanGridGetDims(h, &ndims, &hd));
    EXPECT_EQ(ndims, 3);
    for (int d = 0; d < 3; ++d) EXPECT_EQ(hd[d], dims[d]);
    ASSERT_PETSC(SkeanGridGetMissing(h, &missing));
    EXPECT_EQ(missing, 1);
    Vec w, mask;
    ASSERT_PETSC(SkeanGridGetValues(h, &w));
    const auto a = All(v), b = All(w);
    for (std::size_t k = 0; k < a.size(); ++k) {
      if (k == 7) continue;
      EXPECT_EQ(a[k], b[k]) << path << " " << k;
    }
    EXPECT_TRUE(std::isnan(b[7]));
    ASSERT_PETSC(SkeanGridCreateMask(h, &mask));
    PetscReal sum;
    VecNorm(mask, NORM_1, &sum);
    EXPECT_EQ(sum, 29);
    VecDestroy(&mask);
    if (std::string(ending) != "npy") {
      const char      *name, *units;
      const PetscReal *c;
      ASSERT_PETSC(SkeanGridGetDim(h, 0, &name, &units, &c));
      EXPECT_STREQ(name, "time");
      EXPECT_STREQ(units, "days");
      ASSERT_ALL(c != nullptr);
      for (int k = 0; k < 5; ++k) EXPECT_EQ(c[k], time[k]);
      ASSERT_PETSC(SkeanGridGetDim(h, 1, &name, &units, &c));
      EXPECT_STREQ(name, "dim1");
      EXPECT_EQ(c, nullptr);
      ASSERT_PETSC(SkeanGridGetUnits(h, &units));
      EXPECT_STREQ(units, "K");
      PetscObjectGetName((PetscObject)h, &name);
      EXPECT_STREQ(name, "sst");
      /* a matrix takes no missing values */
      EXPECT_TEXT(Fails(path), "is not finite");
    }
    ASSERT_PETSC(SkeanGridDestroy(&g));
    ASSERT_PETSC(SkeanGridDestroy(&h));
  }
}

/* A NetCDF file made by hand: record variable of shorts with scale, offset and missing value, beside a second record variable */
static std::string Netcdf()
{
  std::string s  = std::string("CDF\x01", 4);
  const auto  u  = [&](unsigned long long v) { PutBig(s, v, 4); };
  const auto  nm = [&](const std::string &t) {
    u(t.size());
    s += t + std::string((4 - t.size() % 4) % 4, '\0');
  };
  u(3); /* records */
  u(0x0a), u(2), nm("time"), u(0), nm("x"), u(3);
  u(0), u(0); /* no global attributes */
  u(0x0b), u(3);
  nm("time"), u(1), u(0), u(0), u(0), u(6), u(8);
  const std::size_t begin1 = s.size();
  u(0);
  nm("t"), u(2), u(0), u(1), u(0x0c), u(4);
  nm("scale_factor"), u(6), u(1), PutDouble(s, 0.5);
  nm("add_offset"), u(6), u(1), PutDouble(s, 10);
  nm("missing_value"), u(3), u(1), PutBig(s, 0x8000, 2), PutBig(s, 0, 2);
  nm("units"), u(2), u(1), s += std::string("K\0\0\0", 4);
  u(3), u(8);
  const std::size_t begin2 = s.size();
  u(0);
  nm("label"), u(1), u(1), u(0), u(0), u(2), u(4);
  const std::size_t begin3 = s.size();
  u(0);
  const auto patch = [&](std::size_t at, std::size_t v) {
    std::string p;
    PutBig(p, v, 4);
    s.replace(at, 4, p);
  };
  patch(begin3, s.size());
  s += std::string("abc\0", 4);
  patch(begin1, s.size());
  patch(begin2, s.size() + 8);
  for (int r = 0; r < 3; ++r) {
    PutDouble(s, 100 + r);
    for (int k = 0; k < 3; ++k) PutBig(s, r == 1 && k == 2 ? 0x8000 : static_cast<unsigned>(4 * r + k), 2);
    PutBig(s, 0, 2);
  }
  return s;
}

TEST(Grid, NetcdfRecords)
{
  const std::string s = Netcdf();
  for (const char *name : {"r.nc", "r.nc.gz"}) {
    SkeanGrid        g;
    Vec              v;
    const char      *dn, *units;
    const PetscReal *c;
    ASSERT_PETSC(SkeanGridLoadFile(PETSC_COMM_WORLD, Make(name, s).c_str(), &g));
    ASSERT_PETSC(SkeanGridGetValues(g, &v));
    const auto a = All(v);
    for (int r = 0; r < 3; ++r)
      for (int k = 0; k < 3; ++k) {
        const double x = a[static_cast<std::size_t>(3 * r + k)];
        if (r == 1 && k == 2) {
          EXPECT_TRUE(std::isnan(x));
        } else {
          EXPECT_EQ(x, 10 + 0.5 * (4 * r + k)) << name;
        }
      }
    ASSERT_PETSC(SkeanGridGetDim(g, 0, &dn, &units, &c));
    EXPECT_STREQ(dn, "time");
    ASSERT_ALL(c != nullptr);
    EXPECT_EQ(c[2], 102);
    ASSERT_PETSC(SkeanGridGetUnits(g, &units));
    EXPECT_STREQ(units, "K");
    ASSERT_PETSC(SkeanGridDestroy(&g));
  }
  const std::string path = skeantest::ScratchDir() + "/r.nc";
  EXPECT_TEXT(Fails(path + ":nothing"), "there is no variable 'nothing'; there are: time, t");
  EXPECT_TEXT(Fails(path + ":label", PETSC_ERR_SUP), "'label' is text");
  EXPECT_TEXT(Fails(Make("cut.nc", s.substr(0, s.size() - 3))), "declares data up to byte");
  EXPECT_TEXT(Fails(Make("cut2.nc", s.substr(0, 60))), "byte 60: the file ends inside the NetCDF header");
  std::string t = s;
  t[4]          = 0x7f; /* records */
  EXPECT_TEXT(Fails(Make("many.nc", t)), "declares data up to byte");
}

TEST(Grid, FerretFiles)
{
  const std::string dir = "/usr/share/ferret-vis/data/";
  if (!Exists(dir + "coads_climatology.cdf")) GTEST_SKIP() << "ferret-datasets is not installed";
  SkeanGrid        g;
  PetscInt         nd, missing;
  const PetscInt  *dims;
  const PetscReal *c;
  const char      *name;
  ASSERT_PETSC(SkeanGridLoadFile(PETSC_COMM_WORLD, (dir + "coads_climatology.cdf:SST").c_str(), &g));
  ASSERT_PETSC(SkeanGridGetDims(g, &nd, &dims));
  ASSERT_ALL(nd == 3);
  EXPECT_EQ(dims[0], 12);
  EXPECT_EQ(dims[1], 90);
  EXPECT_EQ(dims[2], 180);
  ASSERT_PETSC(SkeanGridGetMissing(g, &missing));
  EXPECT_GT(missing, 12 * 90 * 180 * 4 / 10) << "land and ice";
  EXPECT_LT(missing, 12 * 90 * 180 * 6 / 10);
  ASSERT_PETSC(SkeanGridGetDim(g, 1, &name, NULL, &c));
  ASSERT_ALL(c != nullptr);
  EXPECT_EQ(c[0], -89);
  EXPECT_EQ(c[89], 89);
  Vec       v, mask, w;
  PetscReal lo, hi;
  ASSERT_PETSC(SkeanGridGetValues(g, &v));
  ASSERT_PETSC(SkeanGridCreateMask(g, &mask));
  VecDuplicate(v, &w);
  VecCopy(v, w);
  PetscScalar *a;
  PetscInt     n;
  VecGetLocalSize(w, &n);
  VecGetArray(w, &a);
  for (PetscInt k = 0; k < n; ++k)
    if (std::isnan(a[k])) a[k] = 10;
  VecRestoreArray(w, &a);
  VecMin(w, NULL, &lo);
  VecMax(w, NULL, &hi);
  EXPECT_GT(lo, -5) << "sea-surface temperatures in Celsius";
  EXPECT_LT(hi, 40);
  VecDestroy(&w);
  VecDestroy(&mask);
  ASSERT_PETSC(SkeanGridDestroy(&g));
  EXPECT_TEXT(Fails(dir + "coads_climatology.cdf"), "say which variable is meant");
  ASSERT_PETSC(SkeanGridLoadFile(PETSC_COMM_WORLD, (dir + "etopo60.cdf:ROSE").c_str(), &g));
  ASSERT_PETSC(SkeanGridGetDims(g, &nd, &dims));
  ASSERT_ALL(nd == 2);
  EXPECT_EQ(dims[0], 180);
  EXPECT_EQ(dims[1], 360);
  ASSERT_PETSC(SkeanGridDestroy(&g));
}

#if defined(SKEAN_HAVE_HDF5)
TEST(Hdf5, Damaged)
{
  Mat               A    = Dense(20, 3);
  const std::string path = skeantest::ScratchDir() + "/d.h5";
  ASSERT_PETSC(SkeanMatWriteFile(A, path.c_str()));
  MatDestroy(&A);
  std::ifstream f(path, std::ios::binary);
  std::string   bytes((std::istreambuf_iterator<char>(f)), std::istreambuf_iterator<char>());
  f.close();
  MPI_Barrier(PETSC_COMM_WORLD);
  EXPECT_TEXT(Fails(Make("d2.h5", bytes.substr(0, bytes.size() - 100))), "HDF5 cannot open it: damaged or truncated");
  EXPECT_TEXT(Fails(Make("d3.h5", bytes.substr(0, 100))), "HDF5 cannot open it");
}
#endif

#if defined(SKEAN_HAVE_HDF5)
/* HDF5 itself meets the damage here: an error or a success, but no crash and no hang; the header and the attributes are in the first
   kilobytes */
TEST(Hdf5, FlippedBits)
{
  Mat               A    = Sparse(6, 5);
  const std::string path = skeantest::ScratchDir() + "/flip.h5", bad = skeantest::ScratchDir() + "/flipped.h5";
  ASSERT_PETSC(SkeanMatWriteFile(A, path.c_str()));
  MatDestroy(&A);
  std::ifstream f(path, std::ios::binary);
  std::string   bytes((std::istreambuf_iterator<char>(f)), std::istreambuf_iterator<char>());
  f.close();
  const char       *more = std::getenv("SKEAN_FLIPS");
  const std::size_t step = more ? static_cast<std::size_t>(std::atoi(more)) : 97 * static_cast<std::size_t>(skeantest::Size() * skeantest::Size());
  int               good = 0, wrong = 0;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    std::string b = bytes;
    b[at]         = static_cast<char>(b[at] ^ (1 << ((at / step) % 8)));
    Make("flipped.h5", b);
    Mat                  B = nullptr;
    std::string          m;
    const PetscErrorCode e = skeantest::ErrorOf([&] { return SkeanMatLoadFile(PETSC_COMM_WORLD, bad.c_str(), NULL, &B); }, &m);
    if (e) {
      ++wrong;
      EXPECT_TEXT(m, "flipped.h5: ");
    } else {
      ++good;
      MatDestroy(&B);
    }
    MPI_Barrier(PETSC_COMM_WORLD);
  }
  EXPECT_GT(good, 0);
  EXPECT_GT(wrong, 0);
}
#endif
