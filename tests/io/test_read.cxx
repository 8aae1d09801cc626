/* Every format, from tiny files made here and from real data; every kind of damage gives one clear message */
#include "iotest.hpp"
#include <skean/private/gridload.hpp>
#include <skean/private/memory.hpp>
#include <cstring>
#include <limits>

using namespace iotest;
using V = std::vector<double>;

TEST(ReadMatrixMarket, Coordinate)
{
  PetscInt M, N;
  EXPECT_EQ(Load(Make("a.mtx", "%%MatrixMarket matrix coordinate real general\n% c\n\n3 2 4\n1 1 1.5\n3 2 -2d1\n\n2 1 +3\n3 2 1\n"), nullptr, &M, &N),
            (V{1.5, 0, 3, 0, 0, -19}))
    << "duplicates are added";
  EXPECT_EQ(M, 3);
  EXPECT_EQ(N, 2);
  EXPECT_EQ(Load(Make("s.mtx", "%%MatrixMarket matrix coordinate integer symmetric\n2 2 2\n1 1 4\n2 1 5")), (V{4, 5, 5, 0}));
  EXPECT_EQ(Load(Make("u.mtx", "%%MatrixMarket matrix coordinate real symmetric\n2 2 1\n1 2 5\n")), (V{0, 5, 5, 0})) << "the upper triangle alone";
  EXPECT_EQ(Load(Make("k.mtx.gz", "%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 1\n2 1 5\n")), (V{0, -5, 5, 0}));
  EXPECT_EQ(Load(Make("p.mtx", "%%matrixmarket MATRIX Coordinate Pattern General\r\n2 3 2\r\n1 3\r\n2 1\r\n")), (V{0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(Load(Make("e.mtx", "%%MatrixMarket matrix coordinate real general\n2 2 0\n")), (V{0, 0, 0, 0}));
  EXPECT_EQ(Load(skeantest::ScratchDir() + "/a.mtx", MATDENSE), (V{1.5, 0, 3, 0, 0, -19}));
}

TEST(ReadMatrixMarket, Array)
{
  EXPECT_EQ(Load(Make("b.mtx", "%%MatrixMarket matrix array real general\n2 3\n1\n2\n3\n4\n5\n6\n")), (V{1, 3, 5, 2, 4, 6}));
  EXPECT_EQ(Load(Make("bs.mtx", "%%MatrixMarket matrix array real symmetric\n3 3\n1\n2\n3\n4\n5\n6\n")), (V{1, 2, 3, 2, 4, 5, 3, 5, 6}));
  EXPECT_EQ(Load(Make("bk.mtx.gz", "%%MatrixMarket matrix array real skew-symmetric\n3 3\n1\n2\n3\n")), (V{0, -1, -2, 1, 0, -3, 2, 3, 0}));
  Vec v;
  ASSERT_PETSC(SkeanVecLoadFile(PETSC_COMM_WORLD, Make("v.mtx", "%%MatrixMarket matrix array real general\n5 1\n1\n2\n3\n4\n5\n").c_str(), &v));
  EXPECT_EQ(All(v), (V{1, 2, 3, 4, 5}));
  VecDestroy(&v);
  ASSERT_PETSC(SkeanVecLoadFile(PETSC_COMM_WORLD, Make("w.mtx", "%%MatrixMarket matrix coordinate real general\n1 4 2\n1 2 7\n1 4 8\n").c_str(), &v));
  EXPECT_EQ(All(v), (V{0, 7, 0, 8}));
  VecDestroy(&v);
}

/* Long enough that every process has lines, so that its share, the line numbers and the order are tested */
TEST(ReadMatrixMarket, SharesAndLineNumbers)
{
  for (const char *name : {"long.mtx", "long.mtx.gz"}) {
    std::string s = "%%MatrixMarket matrix array real general\n5000 1\n";
    V           want;
    for (int k = 0; k < 5000; ++k) {
      want.push_back(k * 0.5);
      s += std::to_string(k * 0.5) + "\n";
    }
    EXPECT_EQ(Load(Make(name, s)), want);
    const std::size_t at = s.find("\n2000.");
    s[at + 1]            = 'x';
    EXPECT_TEXT(Fails(Make(std::string("bad") + name, s)), "line 4003: value 'x000.000000' is not a number");
  }
}

TEST(ReadMatrixMarket, Malformed)
{
  const std::string h = "%%MatrixMarket matrix coordinate real general\n";
  EXPECT_TEXT(Fails(Make("m1.mtx", h + "3 3 2\n1 1 1\n4 1 1\n")), "m1.mtx: line 4: row index 4 is outside 1...3");
  EXPECT_TEXT(Fails(Make("m2.mtx", h + "3 3 2\n1 1 1\n1 0 1\n")), "line 4: column index 0 is outside 1...3");
  EXPECT_TEXT(Fails(Make("m3.mtx", h + "3 3 3\n1 1 1\n2 2 1\n")), "declares 3 entries, the file has 2");
  EXPECT_TEXT(Fails(Make("m4.mtx", h + "3 3 1\n1 1 1\n2 2 1\n")), "declares 1 entries, the file has 2");
  EXPECT_TEXT(Fails(Make("m5.mtx", h + "3 3 1\n1 1 nan\n")), "line 3: value 'nan' is not finite");
  EXPECT_TEXT(Fails(Make("m6.mtx", h + "3 3 1\n1 1 1e999\n")), "line 3: value '1e999'");
  EXPECT_TEXT(Fails(Make("m7.mtx", h + "3 3 1\n1 1\n")), "line 3: the value is missing");
  EXPECT_TEXT(Fails(Make("m8.mtx", h + "3 3 1\n1 1 1 1\n")), "line 3: unexpected '1' after the entry");
  EXPECT_TEXT(Fails(Make("m9.mtx", h + "3 3 99999999999999999999\n1 1 1\n")), "line 2: size '99999999999999999999' is not");
  EXPECT_TEXT(Fails(Make("m10.mtx", h + "1000000000000000000 3 1\n1 1 1\n"), PETSC_ERR_ARG_OUTOFRANGE), "1000000000000000000 x 3");
  EXPECT_TEXT(Fails(Make("m11.mtx", h + "2000000000 3 1\n1 1 1\n"), PETSC_ERR_ARG_OUTOFRANGE), "not plausible");
  EXPECT_TEXT(Fails(Make("m12.mtx", h + "3 3 1000000000000000\n1 1 1\n")), "line 2: 1000000000000000 entries are declared, but the file is too short");
  EXPECT_TEXT(Fails(Make("m13.mtx", "%%MatrixMarket matrix coordinate complex general\n1 1 1\n1 1 1 1\n"), PETSC_ERR_SUP), "complex");
  EXPECT_TEXT(Fails(Make("m14.mtx", "%%MatrixMarket matrix coordinate real hermitian\n1 1 1\n1 1 1\n"), PETSC_ERR_SUP), "complex");
  EXPECT_TEXT(Fails(Make("m15.mtx", "%%MatrixMarket matrix coordinate real symmetric\n2 3 1\n1 1 1\n")),
              "line 2: a symmetric or skew-symmetric matrix must be square");
  EXPECT_TEXT(Fails(Make("m16.mtx", "%%MatrixMarket matrix coordinate real symmetric\n2 2 2\n1 2 1\n2 1 1\n")), "only one triangle");
  EXPECT_TEXT(Fails(Make("m17.mtx", "%%MatrixMarket matrix array real general\n1000000000 1000000000\n1\n"), PETSC_ERR_ARG_OUTOFRANGE), "too large");
  EXPECT_TEXT(Fails(Make("m18.mtx", h)), "ends before the size line");
  EXPECT_TEXT(Fails(Make("m19.mtx", "3 3 x\n")), "is not a Matrix Market file, although its name says so");
  EXPECT_TEXT(Fails(Make("m20.mtx", "%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 1\n1 1 1\n")),
              "line 3: a skew-symmetric matrix has no entries on the diagonal");
  EXPECT_TEXT(Fails(Make("m21.mtx", "%%MatrixMarket matrix coordinate integer general\n2 2 1\n1 1 1.5\n")), "line 3: value '1.5' is not an integer");
}

TEST(ReadAny, NotAFile)
{
  EXPECT_TEXT(Fails(skeantest::ScratchDir() + "/none.mtx", PETSC_ERR_FILE_OPEN), "none.mtx: cannot open for reading");
  EXPECT_TEXT(Fails(skeantest::ScratchDir(), PETSC_ERR_FILE_OPEN), "is a directory");
  EXPECT_TEXT(Fails(Make("empty.mtx", "")), "the file is empty");
  EXPECT_TEXT(Fails(Make("empty.mtx.gz", "")), "empty");
  EXPECT_TEXT(Fails(Make("garbage", std::string("\x01\x02\x03\x00\x05\x06 garbage", 14))), "unknown format");
  EXPECT_TEXT(Fails(Make("garbage.h5", std::string("\x01\x02\x03\x00\x05\x06 garbage", 14))), "is not a HDF5 file, although");
  /* a compressed file cut in the middle */
  const std::string full = Make("cut.mtx.gz", "%%MatrixMarket matrix array real general\n5 1\n1\n2\n3\n4\n5\n");
  std::ifstream     f(full, std::ios::binary);
  std::string       bytes((std::istreambuf_iterator<char>(f)), std::istreambuf_iterator<char>());
  f.close();
  MPI_Barrier(PETSC_COMM_WORLD);
  const std::string cut = skeantest::ScratchDir() + "/cut2";
  Make("cut2", bytes.substr(0, bytes.size() - 9));
  EXPECT_TEXT(Fails(cut), "truncated .gz");
  bytes[bytes.size() - 6] = static_cast<char>(bytes[bytes.size() - 6] ^ 1);
  Make("cut2", bytes);
  EXPECT_TEXT(Fails(cut), "the compressed data is damaged");
}

static std::string Npy(const std::string &dict, const std::string &data, int major = 1)
{
  std::string h = dict + "\n", s = std::string("\x93NUMPY", 6) + static_cast<char>(major) + '\0';
  s += static_cast<char>(h.size() & 255);
  s += static_cast<char>(h.size() >> 8);
  if (major > 1) s += std::string(2, '\0');
  return s + h + data;
}

TEST(ReadNpy, Types)
{
  std::string big, little, f4;
  for (int k = 1; k <= 6; ++k) {
    PutDouble(big, k);
    PutDouble(little, k, false);
    const float x = static_cast<float>(k);
    f4.append(reinterpret_cast<const char *>(&x), 4);
  }
  const V c{1, 2, 3, 4, 5, 6}, f{1, 3, 5, 2, 4, 6};
  EXPECT_EQ(Load(Make("c.npy", Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", little))), c);
  EXPECT_EQ(Load(Make("c.npy.gz", Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", little))), c);
  EXPECT_EQ(Load(Make("c3.npy", Npy("{'shape': (2, 3), 'fortran_order': False, 'descr': '>f8'}", big, 3))), c);
  EXPECT_EQ(Load(Make("f.npy", Npy("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }", little, 2))), f);
  EXPECT_EQ(Load(Make("f.npy.gz", Npy("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }", little))), f);
  EXPECT_EQ(Load(Make("f4.npy", Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", f4))), c);
  EXPECT_EQ(Load(Make("i1.npy", Npy("{'descr': '|i1', 'fortran_order': False, 'shape': (1, 3), }", std::string("\xff\x01\x80", 3)))), (V{-1, 1, -128}));
  EXPECT_EQ(Load(Make("u1.npy", Npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3), }", std::string("\xff\x01\x80", 3)))), (V{255, 1, 128}));
  EXPECT_EQ(Load(Make("i2.npy", Npy("{'descr': '>i2', 'fortran_order': False, 'shape': (1, 2), }", std::string("\xff\xfe\x01\x00", 4)))), (V{-2, 256}));
  EXPECT_EQ(Load(Make("u4.npy", Npy("{'descr': '<u4', 'fortran_order': False, 'shape': (1, 1), }", std::string("\xff\xff\xff\xff", 4)))), (V{4294967295.0}));
  EXPECT_EQ(Load(Make("i8.npy", Npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 1), }", std::string("\xfe\xff\xff\xff\xff\xff\xff\xff", 8)))),
            (V{-2}));
  EXPECT_EQ(Load(Make("b1.npy", Npy("{'descr': '|b1', 'fortran_order': False, 'shape': (3, 1), }", std::string("\x00\x01\x01", 3)))), (V{0, 1, 1}));
  /* three dimensions, Fortran order: element (i,j,k) = i + 2 j + 4 k */
  std::string cube;
  for (int k = 0; k < 8; ++k) cube += static_cast<char>(k);
  EXPECT_EQ(Load(Make("f3.npy", Npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2, 2), }", cube))), (V{0, 4, 2, 6, 1, 5, 3, 7}));
  Vec v;
  ASSERT_PETSC(SkeanVecLoadFile(PETSC_COMM_WORLD, Make("v.npy", Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }", little)).c_str(), &v));
  EXPECT_EQ(All(v), c);
  VecDestroy(&v);
  ASSERT_PETSC(SkeanVecLoadFile(PETSC_COMM_WORLD, Make("v1.npy", Npy("{'descr': '<f8', 'fortran_order': True, 'shape': (1, 6), }", little)).c_str(), &v));
  EXPECT_EQ(All(v), c);
  VecDestroy(&v);
}

TEST(ReadNpy, Malformed)
{
  const std::string d(16, '\0');
  EXPECT_TEXT(Fails(Make("n1.npy", Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", d))), "declares data up to byte");
  EXPECT_TEXT(Fails(Make("n2.npy", Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", d))), "but the file has");
  EXPECT_TEXT(Fails(Make("n3.npy", Npy("{'descr': '<c16', 'fortran_order': False, 'shape': (1,), }", d)), PETSC_ERR_SUP), "'<c16'");
  EXPECT_TEXT(Fails(Make("n4.npy", Npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", d)), PETSC_ERR_SUP), "'|O'");
  EXPECT_TEXT(
    Fails(Make("n5.npy", Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 4000000000, 4000000000), }", d)), PETSC_ERR_ARG_OUTOFRANGE),
    "2^60");
  EXPECT_TEXT(Fails(Make("n6.npy", Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", d))), "non-negative");
  EXPECT_TEXT(Fails(Make("n7.npy", Npy("{'descr': '<f8', 'shape': (2,), }", d))), "fortran_order");
  EXPECT_TEXT(Fails(Make("n8.npy", Npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,), }", d)), PETSC_ERR_SUP), "structured");
  EXPECT_TEXT(Fails(Make("n9.npy", std::string("\x93NUMPY\x01\x00\xff\xff{", 11))), "ends inside");
  EXPECT_TEXT(Fails(Make("n10.npy", Npy("{}", d, 9)), PETSC_ERR_SUP), "version 9");
  std::string nan;
  PutDouble(nan, std::numeric_limits<double>::quiet_NaN(), false);
  EXPECT_TEXT(Fails(Make("n11.npy", Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 1), }", d + nan))), "row 2, column 0 (from 0) is not finite");
}

TEST(ReadCsv, Table)
{
  EXPECT_EQ(Load(Make("t.csv", "a,b\n1,2.5\n# c\n\n-3,4e2\n")), (V{1, 2.5, -3, 400}));
  EXPECT_EQ(Load(Make("t2.csv", "\xef\xbb\xbf\"a\";\"b\"\r\n1; 2\r\n3;4\r\n")), (V{1, 2, 3, 4}));
  EXPECT_EQ(Load(Make("t3.tsv", "1\t2\n3\t4")), (V{1, 2, 3, 4}));
  EXPECT_EQ(Load(Make("t4.txt", "  1   2\n 3 4  \n")), (V{1, 2, 3, 4}));
  EXPECT_EQ(Load(Make("t5.csv.gz", "1,2\n3,4\n")), (V{1, 2, 3, 4}));
  EXPECT_EQ(Load(Make("t6.csv", "0,1,2\n3,4,5\n") + ":table"), (V{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(Load(Make("t7.csv", "1\n2\n3\n")), (V{1, 2, 3}));
}

TEST(ReadCsv, Triplets)
{
  EXPECT_EQ(Load(Make("i.csv", "i,j,v\n1,1,2.5\n3,2,1\n1,1,1\n")), (V{3.5, 0, 0, 0, 0, 1})) << "counts from 1";
  EXPECT_EQ(Load(Make("i0.csv", "0 1 2.5\n1 0 3\n")), (V{0, 2.5, 3, 0})) << "counts from 0";
  EXPECT_EQ(Load(skeantest::ScratchDir() + "/i.csv:triplets0"), (V{0, 0, 0, 0, 3.5, 0, 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(Load(Make("i4.csv", "userId,movieId,rating,timestamp\n1,2,4.5,964982703\n")), (V{0, 4.5}));
  EXPECT_EQ(Load(Make("i5.csv", "1,1,3\n2,2,4\n"), MATAIJ), (V{3, 0, 0, 4}));
}

TEST(ReadCsv, Malformed)
{
  EXPECT_TEXT(Fails(Make("c1.csv", "1,2\n3\n")), "line 2: 1 fields, expected 2");
  EXPECT_TEXT(Fails(Make("c2.csv", "a,b\n1,2\n3,4,5\n")), "line 3: more than 2 fields, expected 2");
  EXPECT_TEXT(Fails(Make("c3.csv", "1,2\n3,x\n")), "line 2: field 2, 'x', is not a number");
  EXPECT_TEXT(Fails(Make("c4.csv", "1,2\n3,\n")), "line 2: field 2 is empty");
  EXPECT_TEXT(Fails(Make("c5.csv", "1,2\n3,nan\n")), "line 2: field 2 is not a number (NaN)");
  EXPECT_TEXT(Fails(Make("c6.csv", "1,1,2\n-1,1,2\n") + ":triplets"), "line 2: row index -1 is negative");
  EXPECT_TEXT(Fails(Make("c7.csv", "1,1,2\n9223372036854775807,1,2\n"), PETSC_ERR_ARG_OUTOFRANGE), "too large");
  EXPECT_TEXT(Fails(Make("c8.csv", "1,1,2\n2000000000,1,2\n"), PETSC_ERR_ARG_OUTOFRANGE), "not plausible");
  EXPECT_TEXT(Fails(Make("c9.csv", "a,b\n")), "no line of numbers");
  EXPECT_TEXT(Fails(Make("c10.csv", "1,b\n")), "line 1: the first line is neither");
  EXPECT_TEXT(Fails(Make("c11.csv", "1,2\n") + ":nonsense"), "'nonsense'");
  EXPECT_TEXT(Fails(Make("c12.csv", "a,b,c\n1,2\n")), "line 2: 2 fields, but the header in line 1 has 3");
  EXPECT_TEXT(Fails(Make("c13.csv", std::string("1,2\0,3\n", 7))), "is not a text file");
}

TEST(ReadIdx, ImagesAndDamage)
{
  std::string s;
  PutBig(s, 0x00000803, 4);
  PutBig(s, 2, 4);
  PutBig(s, 1, 4);
  PutBig(s, 3, 4);
  s += std::string("\x01\x02\x03\xff\x00\x05", 6);
  EXPECT_EQ(Load(Make("a-idx3-ubyte", s)), (V{1, 2, 3, 255, 0, 5}));
  EXPECT_EQ(Load(Make("a-idx3-ubyte.gz", s)), (V{1, 2, 3, 255, 0, 5}));
  EXPECT_TEXT(Fails(Make("b-idx3", s.substr(0, s.size() - 1))), "declares data up to byte 22, but the file has 21");
  EXPECT_TEXT(Fails(Make("c-idx3", s.substr(0, 10))), "ends inside the IDX header");
  EXPECT_TEXT(Fails(Make("d-idx3.gz", s.substr(0, s.size() - 1))), "ends before its data");
  s[4] = s[8] = s[12] = 0x7f;
  EXPECT_TEXT(Fails(Make("e-idx3", s), PETSC_ERR_ARG_OUTOFRANGE), "2^60");
}

namespace {
/* A NetCDF classic file with the variable v(y,x), 2 x 2, and its attribute, if it has one; NaN at the third place */
std::string NetcdfWithNan(const char *attribute, double value)
{
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::string  s("CDF\x01", 4);
  const auto   Name = [&s](std::string n) {
    PutBig(s, n.size(), 4);
    n.resize((n.size() + 3) / 4 * 4);
    s += n;
  };
  PutBig(s, 0, 4);
  PutBig(s, 0x0A, 4);
  PutBig(s, 2, 4);
  for (const char *dim : {"y", "x"}) {
    Name(dim);
    PutBig(s, 2, 4);
  }
  PutBig(s, 0, 8);
  PutBig(s, 0x0B, 4);
  PutBig(s, 1, 4);
  Name("v");
  PutBig(s, 2, 4);
  PutBig(s, 0, 4);
  PutBig(s, 1, 4);
  if (attribute) {
    PutBig(s, 0x0C, 4);
    PutBig(s, 1, 4);
    Name(attribute);
    PutBig(s, 6, 4);
    PutBig(s, 1, 4);
    PutDouble(s, value, true);
  } else
    PutBig(s, 0, 8);
  PutBig(s, 6, 4);
  PutBig(s, 32, 4);
  PutBig(s, s.size() + 4, 4);
  for (double v : {1.0, 2.0, nan, -999.0}) PutDouble(s, v, true);
  return s;
}
} // namespace

/* NaN that a NetCDF file does not declare to be a missing value is told, and where; sizes are known before there are values, and may be refused */
TEST(ReadNetcdf, NanThatIsNotDeclaredAndSizesThatAreRefused)
{
  const double      nan    = std::numeric_limits<double>::quiet_NaN();
  const auto        Fits   = [](PetscInt d, const PetscInt n[]) { return d == 2 && n[0] == 2 && n[1] == 2 ? PETSC_SUCCESS : PETSC_ERR_PLIB; };
  const std::string path[] = {Make("n1.nc", NetcdfWithNan(nullptr, 0)), Make("n2.nc", NetcdfWithNan("_FillValue", -999)),
                              Make("n3.nc", NetcdfWithNan("missing_value", nan))};
  const char *const want[] = {"value 2 (from 0, last dimension fastest) is NaN, which the variable does not declare",
                              "value 2 (from 0, last dimension fastest) is NaN, which is not the missing value that the variable declares, -999", ""};
  for (int k = 0; k < 3; ++k) {
    SkeanGrid   grid;
    std::string undeclared = "?";
    PetscInt    missing;
    ASSERT_PETSC(skean::GridLoadFile(PETSC_COMM_WORLD, path[k].c_str(), Fits, &grid, &undeclared));
    EXPECT_EQ(undeclared.substr(0, std::strlen(want[k])), want[k]);
    EXPECT_EQ(undeclared.empty(), k == 2);
    ASSERT_PETSC(SkeanGridGetMissing(grid, &missing));
    EXPECT_EQ(missing, k == 1 ? 2 : 1);
    ASSERT_PETSC(SkeanGridDestroy(&grid));
  }
  SkeanGrid   grid;
  std::string message;
  EXPECT_EQ(skeantest::ErrorOf(
              [&] {
                return skean::GridLoadFile(
                  PETSC_COMM_WORLD, path[0].c_str(), [](PetscInt, const PetscInt[]) { return skean::CheckMemory(PETSC_COMM_WORLD, "This", 1e18, 0.0); }, &grid,
                  nullptr);
              },
              &message),
            PETSC_ERR_MEM);
  EXPECT_NE(message.find("This needs"), std::string::npos) << message;
  EXPECT_NE(message.find("it would fit on"), std::string::npos) << message;
  EXPECT_EQ(skeantest::ErrorOf([&] { return skean::CheckMemory(PETSC_COMM_WORLD, "This", 0.0, 1e18); }, &message), PETSC_ERR_MEM);
  EXPECT_NE(message.find("no number of processes"), std::string::npos) << message;
  ASSERT_PETSC(skean::CheckMemory(PETSC_COMM_WORLD, "This", 1e3, 1e3));
}

TEST(ReadPnm, AllKinds)
{
  EXPECT_EQ(Load(Make("a.pgm", "P2\n# comment\n3 2 # more\n255\n1 2 3\n4 5\n6\n")), (V{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(Load(Make("b.pgm", std::string("P5\n3 2\n255\n\x01\x02\x03\x04\x05\xff", 17))), (V{1, 2, 3, 4, 5, 255}));
  EXPECT_EQ(Load(Make("c.pgm", std::string("P5 2 1 65535\n\x01\x02\xff\xff", 17))), (V{258, 65535}));
  EXPECT_EQ(Load(Make("d.ppm", std::string("P6 1 2 255\n\x01\x02\x03\x04\x05\x06", 17))), (V{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(Load(Make("e.ppm.gz", "P3\n1 2\n255\n1 2 3 4 5 6\n")), (V{1, 2, 3, 4, 5, 6}));
  EXPECT_TEXT(Fails(Make("f.pgm", "P5\n3 2\n255\n\x01\x02\x03\x04\x05")), "declares data up to byte 17, but the file has 16");
  EXPECT_TEXT(Fails(Make("g.pgm", "P2\n3 2\n255\n1 2 3 4 5 256\n")), "line 4: value '256' is outside 0...255");
  EXPECT_TEXT(Fails(Make("h.pgm", "P2\n3 2\n255\n1 2 3 4 5\n   ")), "declares 6 values, the file has 5");
  EXPECT_TEXT(Fails(Make("i.pgm", "P5\n100000 100000\n255\n1")), "declares data");
  EXPECT_TEXT(Fails(Make("j.pgm", "P5\n3\n")), "ends before the image's height");
  EXPECT_TEXT(Fails(Make("k.pgm", "P5\n0 3 255\n")), "width is not");
  EXPECT_TEXT(Fails(Make("l.pgm", std::string("P5\n2 1\n100\n\x01\xff", 13))), "value 255 is above the maximum 100");
  EXPECT_TEXT(Fails(Make("m.pbm", "P4\n8 1\n1"), PETSC_ERR_SUP), "P4");
}

/* what a PETSc writes whose indices have so many bytes, whatever this one's have */
TEST(ReadPetsc, SparseAndDamage)
{
  for (const int w : {4, 8}) {
    const auto  B = [](int at) { return "byte " + std::to_string(at); };
    std::string s;
    for (unsigned long long v : {1211216ull, 3ull, 2ull, 3ull, 1ull, 0ull, 2ull, 1ull, 0ull, 1ull}) PutBig(s, v, w);
    for (double x : {5.0, 6.0, 7.0}) PutDouble(s, x);
    EXPECT_EQ(Load(Make("a.bin", s)), (V{0, 5, 0, 0, 6, 7}));
    EXPECT_EQ(Load(Make("a.bin.gz", s)), (V{0, 5, 0, 0, 6, 7}));
    EXPECT_TEXT(Fails(Make("b.bin", s.substr(0, s.size() - 1))), "declares data up to " + B(10 * w + 24) + ", but the file has " + std::to_string(10 * w + 23));
    std::string t = s;
    t[8 * w - 1]  = 9; /* a column index */
    EXPECT_TEXT(Fails(Make("c.bin", t)), B(7 * w) + ": column index 9 is outside 0...1");
    t            = s;
    t[5 * w - 1] = 2; /* a row length */
    EXPECT_TEXT(Fails(Make("d.bin", t)), "the rows have 4 entries together, the header declares 3");
    t        = s;
    t[4 * w] = static_cast<char>(0xff);
    EXPECT_TEXT(Fails(Make("e.bin", t)), B(4 * w) + ": row 0 has");
    t    = s;
    t[w] = static_cast<char>(0xff);
    EXPECT_TEXT(Fails(Make("f.bin", t)), "negative size");
    t    = s;
    t[w] = t[3 * w] = 0x7f;
    EXPECT_TEXT(Fails(Make("g.bin", t)), w == 4 ? "declares data" : "more than a file can hold");
    EXPECT_TEXT(Fails(Make("h.bin", s.substr(0, 3 * w))), "ends inside the PETSc header");
    std::string v;
    PutBig(v, 1211214, w);
    PutBig(v, 3, w);
    for (double x : {5.0, 6.0, 7.0}) PutDouble(v, x);
    Vec x;
    ASSERT_PETSC(SkeanVecLoadFile(PETSC_COMM_WORLD, Make("v.bin", v).c_str(), &x));
    EXPECT_EQ(All(x), (V{5, 6, 7}));
    VecDestroy(&x);
    std::string d; /* dense, by rows */
    for (long long k : {1211216ll, 2ll, 2ll, -1ll}) PutBig(d, static_cast<unsigned long long>(k), w);
    for (double y : {1.0, 2.0, 3.0, 4.0}) PutDouble(d, y);
    EXPECT_EQ(Load(Make("w.bin", d)), (V{1, 2, 3, 4}));
  }
}

TEST(ReadAny, MatrixIsNoVector)
{
  Vec         v = nullptr;
  std::string m;
  const auto  path = Make("nv.csv", "1,2\n3,4\n");
  EXPECT_EQ(skeantest::ErrorOf([&] { return SkeanVecLoadFile(PETSC_COMM_WORLD, path.c_str(), &v); }, &m), PETSC_ERR_FILE_UNEXPECTED);
  EXPECT_TEXT(m, "2 x 2 values, not a vector");
}

TEST(ReadReal, Files)
{
  const std::string well = skeantest::DataFile("ls/well1033.mtx.gz"), digits = skeantest::DataFile("stream/digits.csv.gz"),
                    heat = skeantest::DataFile("stream/pydmd_heat_90.npy"), camera = skeantest::DataFile("grids/camera_512.pgm"),
                    ratings = skeantest::DataFile("completion/ratings.csv.gz");
  SKIP_WITHOUT_DATA(well);
  SkeanFileInfo info;
  Mat           A;
  MatInfo       mi;
  PetscInt      M, N;
  PetscReal     norm;
  ASSERT_PETSC(SkeanFileGetInfo(PETSC_COMM_WORLD, well.c_str(), &info));
  EXPECT_EQ(info.format, SKEAN_FILE_MATRIXMARKET);
  EXPECT_TRUE(info.compressed && info.sparse);
  EXPECT_EQ(info.nnz, 4732);
  ASSERT_PETSC(SkeanMatLoadFile(PETSC_COMM_WORLD, well.c_str(), NULL, &A));
  MatGetSize(A, &M, &N);
  MatGetInfo(A, MAT_GLOBAL_SUM, &mi);
  EXPECT_EQ(M, 1033);
  EXPECT_EQ(N, 320);
  EXPECT_EQ(mi.nz_used, 4732);
  MatDestroy(&A);
  Vec b;
  ASSERT_PETSC(SkeanVecLoadFile(PETSC_COMM_WORLD, skeantest::DataFile("ls/well1033_rhs1.mtx.gz").c_str(), &b));
  VecGetSize(b, &M);
  EXPECT_EQ(M, 1033);
  VecDestroy(&b);
  ASSERT_PETSC(SkeanMatLoadFile(PETSC_COMM_WORLD, digits.c_str(), NULL, &A));
  MatGetSize(A, &M, &N);
  EXPECT_EQ(M, 1797);
  EXPECT_EQ(N, 65);
  MatDestroy(&A);
  ASSERT_PETSC(SkeanMatLoadFile(PETSC_COMM_WORLD, heat.c_str(), NULL, &A));
  MatGetSize(A, &M, &N);
  EXPECT_EQ(M, 441);
  EXPECT_EQ(N, 100);
  MatNorm(A, NORM_FROBENIUS, &norm);
  EXPECT_GT(norm, 0);
  MatDestroy(&A);
  ASSERT_PETSC(SkeanMatLoadFile(PETSC_COMM_WORLD, camera.c_str(), NULL, &A));
  MatGetSize(A, &M, &N);
  EXPECT_EQ(M, 512);
  EXPECT_EQ(N, 512);
  MatDestroy(&A);
  ASSERT_PETSC(SkeanMatLoadFile(PETSC_COMM_WORLD, ratings.c_str(), NULL, &A));
  MatGetInfo(A, MAT_GLOBAL_SUM, &mi);
  EXPECT_EQ(mi.nz_used, 100836);
  MatDestroy(&A);
}
