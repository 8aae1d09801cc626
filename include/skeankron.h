/* Kronecker operators: sums of Kronecker products of small factors, distributed like a tensor grid, and their direct inverse */
#pragma once

#include <skeansys.h>
#include <petscpc.h>

/*MC
   MATSKEANKRON - "skeankron", a sum of Kronecker products A = sum_t c_t F_t0 (x) F_t1 (x) ... (x) F_t,d-1 + s I

   Options Database Keys:
+  -mat_skeankron_evenodd <true>   - products with centrosymmetric factors by even and odd parts, half of the flops; see also `PCSKEANKRON`
-  -mat_skeankron_scalapack <3000> - rows from which on the eigenproblem of a symmetric factor is distributed over all processes (ScaLAPACK); smaller ones are
   solved by LAPACK, one per process

   Level: beginner

   Notes:
   Only the factors are stored, on every process; an operation with a vector costs products along each mode (2 N sum_j n_j flops) and one
   redistribution there and back. Vectors are the arrays over the grid, the last factor's index fastest (the order of C, NetCDF and NumPy and of
   the definition of the product). With at most n_0 processes the first dimension is split and the order is the natural one;
   with more, the first dimensions are split over a process grid and each process owns a box, in the order of a DMDA's global vectors
   (`MatSkeanKronGetOwnershipBox()`).
   Dense factors of 48 rows or more with F = J F J exactly, J the reversal of the order (symmetric Toeplitz ones among them), are applied as two products of half
   the size, to even and odd parts (Andrew, SIAM Review 40, 1998); rounding errors are then relative to the norms, not to each entry.

   Operations: `MatMult()`, `MatMultTranspose()`, `MatMultAdd()`, `MatMultTransposeAdd()`, `MatGetDiagonal()`, `MatSolve()`, `MatSolveTranspose()`, `MatShift()`, `MatScale()`,
   `MatDuplicate()`, `MatConvert()` to `MATDENSE`, `MatMatMult()` and its transposed forms with another such matrix (factor by factor), `MatView()`.
   Not supported: complex scalars, changing entries, factors that are distributed.

.seealso: `MatCreateSkeanKron()`, `MatCreateSkeanKronSum()`, `MatCreateSkeanKronTwoTerm()`, `PCSKEANKRON`
M*/
#define MATSKEANKRON "skeankron"
/* Direct inverse by fast diagonalisation; page in src/pc/kron */
#define PCSKEANKRON "skeankron"

/* factors: d sequential matrices, the same on every process; A = factors[0] (x) ... (x) factors[d-1] */
SKEAN_EXTERN PetscErrorCode MatCreateSkeanKron(MPI_Comm comm, PetscInt d, Mat factors[], Mat *A);
/* factors[0] (x) I (x) I + I (x) factors[1] (x) I + ... */
SKEAN_EXTERN PetscErrorCode MatCreateSkeanKronSum(MPI_Comm comm, PetscInt d, Mat factors[], Mat *A);
/* K[0] (x) ... (x) K[d-1] + L[0] (x) ... (x) L[d-1] */
SKEAN_EXTERN PetscErrorCode MatCreateSkeanKronTwoTerm(MPI_Comm comm, PetscInt d, Mat K[], Mat L[], Mat *A);
SKEAN_EXTERN PetscErrorCode MatCreateSkeanToeplitz(PetscInt n, const PetscScalar column[], const PetscScalar row[], Mat *T);
SKEAN_EXTERN PetscErrorCode MatSkeanKronAddTerm(Mat A, PetscScalar coeff, PetscInt d, Mat factors[]);
SKEAN_EXTERN PetscErrorCode MatSkeanKronGetSizes(Mat A, PetscInt *d, PetscInt m[], PetscInt n[]);
SKEAN_EXTERN PetscErrorCode MatSkeanKronGetNumTerms(Mat A, PetscInt *nterms);
SKEAN_EXTERN PetscErrorCode MatSkeanKronGetFactor(Mat A, PetscInt term, PetscInt dim, PetscScalar *coeff, Mat *F);
SKEAN_EXTERN PetscErrorCode MatSkeanKronSetShift(Mat A, PetscScalar shift);
SKEAN_EXTERN PetscErrorCode MatSkeanKronGetShift(Mat A, PetscScalar *shift);
SKEAN_EXTERN PetscErrorCode MatSkeanKronSetMask(Mat A, Vec mask);
SKEAN_EXTERN PetscErrorCode MatSkeanKronGetOwnershipBox(Mat A, PetscInt lo[], PetscInt hi[]);
