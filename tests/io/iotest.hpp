/* Small files made by the tests */
#pragma once

#include "harness/skeantest.hpp"
#include <skeanio.h>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <zlib.h>

namespace iotest {
/* Writes text to a file of the scratch folder on the first process; .gz compresses */
inline std::string Make(const std::string &name, const std::string &bytes)
{
  const std::string path = skeantest::ScratchDir() + "/" + name;
  if (skeantest::Rank() == 0) {
    if (name.size() > 3 && name.substr(name.size() - 3) == ".gz") {
      gzFile f = gzopen(path.c_str(), "wb");
      gzwrite(f, bytes.data(), static_cast<unsigned>(bytes.size()));
      gzclose(f);
    } else {
      std::ofstream f(path, std::ios::binary);
      f.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  return path;
}
/* The whole matrix, row-major, on every process */
inline std::vector<double> All(Mat A)
{
  PetscInt M, N, rs, re;
  MatGetSize(A, &M, &N);
  MatGetOwnershipRange(A, &rs, &re);
  std::vector<double> a(static_cast<std::size_t>(M) * static_cast<std::size_t>(N), 0.0);
  for (PetscInt i = rs; i < re; ++i) {
    PetscInt           n;
    const PetscInt    *c;
    const PetscScalar *v;
    MatGetRow(A, i, &n, &c, &v);
    for (PetscInt k = 0; k < n; ++k) a[static_cast<std::size_t>(i * N + c[k])] = v[k];
    MatRestoreRow(A, i, &n, &c, &v);
  }
  MPI_Allreduce(MPI_IN_PLACE, a.data(), static_cast<int>(a.size()), MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
  return a;
}
inline std::vector<double> All(Vec v)
{
  PetscInt           n, rs, m;
  const PetscScalar *p;
  VecGetSize(v, &n);
  VecGetLocalSize(v, &m);
  VecGetOwnershipRange(v, &rs, nullptr);
  std::vector<double> a(static_cast<std::size_t>(n), 0.0);
  VecGetArrayRead(v, &p);
  for (PetscInt k = 0; k < m; ++k) a[static_cast<std::size_t>(rs + k)] = p[k];
  VecRestoreArrayRead(v, &p);
  MPI_Allreduce(MPI_IN_PLACE, a.data(), static_cast<int>(a.size()), MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD);
  return a;
}
/* Loads, returns all values; the sizes too */
inline std::vector<double> Load(const std::string &path, MatType type = nullptr, PetscInt *M = nullptr, PetscInt *N = nullptr)
{
  Mat                 A;
  std::vector<double> a;
  PetscErrorCode      e = SkeanMatLoadFile(PETSC_COMM_WORLD, path.c_str(), type, &A);
  EXPECT_EQ(e, PETSC_SUCCESS) << path;
  if (e) return a;
  a = All(A);
  PetscInt m, n;
  MatGetSize(A, &m, &n);
  if (M) *M = m;
  if (N) *N = n;
  MatDestroy(&A);
  return a;
}
/* The message of a load that must fail; the same code on all processes */
inline std::string Fails(const std::string &path, PetscErrorCode code = PETSC_ERR_FILE_UNEXPECTED)
{
  Mat            A = nullptr;
  std::string    m;
  PetscErrorCode e = skeantest::ErrorOf([&] { return SkeanMatLoadFile(PETSC_COMM_WORLD, path.c_str(), nullptr, &A); }, &m);
  EXPECT_EQ(e, code) << path << ": " << m;
  int mine = e, lo, hi;
  MPI_Allreduce(&mine, &lo, 1, MPI_INT, MPI_MIN, PETSC_COMM_WORLD);
  MPI_Allreduce(&mine, &hi, 1, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);
  EXPECT_EQ(lo, hi) << path;
  return m;
}
inline void PutBig(std::string &s, unsigned long long v, int bytes)
{
  for (int b = bytes - 1; b >= 0; --b) s += static_cast<char>(v >> (8 * b));
}
inline void PutDouble(std::string &s, double x, bool big = true)
{
  unsigned long long u;
  std::memcpy(&u, &x, 8);
  if (big)
    PutBig(s, u, 8);
  else
    s.append(reinterpret_cast<const char *>(&x), 8);
}
} // namespace iotest
#define EXPECT_TEXT(message, part) EXPECT_NE((message).find(part), std::string::npos) << message
