/* Selections and the transposition of a panel, see avx512.cxx; the plain versions are there for tests */
#pragma once

#include <petscsys.h>
#include <cstdint>

namespace skean {
namespace transport {

constexpr int kLanes = 8;

/* K_j = exp(u + v_j - inv c_j), c and K may be the same; returns the sum of K */
double ExpSum(PetscInt n, double u, double inv, const double *v, const double *c, double *K);
/* The same, and adds sum_j K_j c_j to cost */
double ExpSumCost(PetscInt n, double u, double inv, const double *v, const double *c, double *K, double *cost);
/* The exponential in single precision, see RoughExp() */
double ExpSum(PetscInt n, double u, double inv, const double *v, const double *c, float *K);
/* Eight rows in single precision, sums in double: s_r = x_r . y, and y += sum_r t_r x_r */
void DotRows(PetscInt n, const float *const *x, const double *y, double *s);
void AddRows(PetscInt n, const double *t, const float *const *x, double *y);
/* Adds to sums how many x_j > t w_j, and how many x_j > heavy w_j */
void Count(PetscInt n, const double *x, double t, double heavy, const double *w, double sums[2]);
void Count(PetscInt n, const float *x, double t, double heavy, const float *w, double sums[2]);
/* x_j > t w_j: these with their numbers j0 + j (room for n in both arrays); returns how many. x and val may be the same */
PetscInt Pack(PetscInt n, const double *x, double t, const double *w, std::int32_t j0, std::int32_t *idx, double *val);
PetscInt Pack(PetscInt n, const float *x, double t, const double *w, std::int32_t j0, std::int32_t *idx, float *val);
/* Writes the j with K_j > thr (in ascending order) to idx (room for n) and returns how many */
PetscInt Select(PetscInt n, const double *K, double thr, PetscInt *idx);
/* e_j = u + v_j - inv c_j: those above t + w_j, with their numbers (room for n in both arrays); returns how many. A multiplication and addition may be one */
PetscInt SelectExponents(PetscInt n, double u, double inv, const double *v, const double *c, double t, const double *w, std::int32_t *idx, double *e);
/* So many rows of n columns that are ld apart, into rows that are ldto apart. stream: what is written is too large to be found in a cache later. To sum and most,
   arrays of kLanes, is added c - c of all entries (zero, or not a number), and the largest of them, in any way */
void CopyPanel(PetscInt rows, PetscInt n, const double *from, size_t ld, double *to, size_t ldto, bool stream, double *sum, double *most);

namespace plain {
double   ExpSum(PetscInt n, double u, double inv, const double *v, const double *c, double *K);
double   ExpSumCost(PetscInt n, double u, double inv, const double *v, const double *c, double *K, double *cost);
double   ExpSum(PetscInt n, double u, double inv, const double *v, const double *c, float *K);
void     DotRows(PetscInt n, const float *const *x, const double *y, double *s);
void     AddRows(PetscInt n, const double *t, const float *const *x, double *y);
void     Count(PetscInt n, const double *x, double t, double heavy, const double *w, double sums[2]);
void     Count(PetscInt n, const float *x, double t, double heavy, const float *w, double sums[2]);
PetscInt Pack(PetscInt n, const double *x, double t, const double *w, std::int32_t j0, std::int32_t *idx, double *val);
PetscInt Pack(PetscInt n, const float *x, double t, const double *w, std::int32_t j0, std::int32_t *idx, float *val);
PetscInt Select(PetscInt n, const double *K, double thr, PetscInt *idx);
PetscInt SelectExponents(PetscInt n, double u, double inv, const double *v, const double *c, double t, const double *w, std::int32_t *idx, double *e);
void     CopyPanel(PetscInt rows, PetscInt n, const double *from, size_t ld, double *to, size_t ldto, bool stream, double *sum, double *most);
} // namespace plain

} // namespace transport
} // namespace skean
