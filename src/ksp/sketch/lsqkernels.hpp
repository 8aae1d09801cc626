/*
   Passes over this process's rows of a least-squares matrix. Each reads every entry once; none communicates.
   Vectors of the small dimension d are replicated and column major (d x q, leading dimension d); vectors of the long dimension
   are this process's rows, column major.
*/
#pragma once

#include <skean/private/rowblock.hpp>
#include <vector>

namespace skean {

/* sums[j] += sum_i a_ij^2 */
void ColumnSquares(const RowView &A, double *sums);
/* largest |a_ij| of the block, and whether an entry is NaN or Inf */
double LargestEntry(const RowView &A, bool *finite);

/* G += A'(A P): the fused product of conjugate gradients on the normal equations; A is streamed once */
void GramApply(const RowView &A, const double *P, int q, double *G);
/* The most numbers that GramApply() and the sum over `processes` may add up one after the other in A' times a vector */
double LongestSum(const RowView &A, PetscMPIInt processes);
/* R = B - A X, G += A'R, rr[j] += |R(:,j)|^2, one pass. X may be NULL (zero). R (nrows x q) may be NULL. */
void ResidualPass(const RowView &A, const double *B, PetscInt ldb, const double *X, int q, double *R, double *G, double *rr);
/* U = A P - alpha_j U and G += A'U, uu[j] += |U(:,j)|^2, one pass: a Golub-Kahan step before normalisation */
void BidiagonalPass(const RowView &A, const double *P, const double *alpha, int q, double *U, double *G, double *uu);
/* Y = A X (nrows x q) */
void MultiplyPass(const RowView &A, const double *X, int q, double *Y);
/* W (d x d, column major, upper triangle) += A'A */
void GramMatrix(const RowView &A, double *W);
/* W (upper triangle) += (A T)'(A T) with T = diag(scale) R^{-1}, R upper triangular d x d: the Gram matrix of CQRRT */
void PreconditionedGram(const RowView &A, const double *scale, const double *R, double *W);
/* Fills panel (rows x d, column major, leading dimension ld) with rows first ... first+rows-1 as dense numbers */
void DensePanel(const RowView &A, PetscInt first, PetscInt rows, double *panel, PetscInt ld);

} // namespace skean
