/* Kernels of the Newton systems that fit one process. Free functions on raw arrays. */
#pragma once

#include <petscsys.h>
#include <vector>

namespace skean {
namespace transport {

/*
   M = diag(dk) - S' diag(1/de) S for a sparse S of ne rows and nk columns (CSR: row e holds its entries ia[e] .. ia[e+1] in ascending columns).
   M: nk x nk by columns, of which the upper triangle is set; what is below is zero or not meaningful. Rows of S are added entry by entry,
   ne k^2/2 multiplications for k entries per row, or with dense set by dsyrk on blocks of rows.
*/
PetscErrorCode SchurComplement(PetscInt ne, PetscInt nk, const size_t *ia, const PetscInt *ja, const double *s, const double *de, const double *dk, bool dense,
                               double *M);
/* y = dk x - S'(1/de)(S x), the same matrix without forming it; work: ne numbers */
void SchurApply(PetscInt ne, PetscInt nk, const size_t *ia, const PetscInt *ja, const double *s, const double *de, const double *dk, const double *x,
                double *y);
/* Its diagonal */
void SchurDiagonal(PetscInt ne, PetscInt nk, const size_t *ia, const PetscInt *ja, const double *s, const double *de, const double *dk, double *d);

/* An entry of the plan: global active row and column */
struct Entry {
  PetscInt row, col;
  double   p;
};
/* Sorts by (row, column) with two counting sorts: rows lo <= row < lo + n, columns 0 <= col < m. ptr: where each row starts, n + 1 numbers */
void SortEntries(PetscInt lo, PetscInt n, PetscInt m, std::vector<Entry> &x, std::vector<size_t> &ptr);

} // namespace transport
} // namespace skean
