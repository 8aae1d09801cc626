/* Prototypes of the LAPACK and BLAS routines that petscblaslapack.h does not declare */
#pragma once

#include <petscsys.h>
#include <petscblaslapack.h>

extern "C" {
void dgeqrt_(const PetscBLASInt *m, const PetscBLASInt *n, const PetscBLASInt *nb, double *a, const PetscBLASInt *lda, double *t, const PetscBLASInt *ldt,
             double *work, PetscBLASInt *info);
void dgemqrt_(const char *side, const char *trans, const PetscBLASInt *m, const PetscBLASInt *n, const PetscBLASInt *k, const PetscBLASInt *nb, const double *v,
              const PetscBLASInt *ldv, const double *t, const PetscBLASInt *ldt, double *c, const PetscBLASInt *ldc, double *work, PetscBLASInt *info);
void dtpqrt_(const PetscBLASInt *m, const PetscBLASInt *n, const PetscBLASInt *l, const PetscBLASInt *nb, double *a, const PetscBLASInt *lda, double *b,
             const PetscBLASInt *ldb, double *t, const PetscBLASInt *ldt, double *work, PetscBLASInt *info);
void dtpmqrt_(const char *side, const char *trans, const PetscBLASInt *m, const PetscBLASInt *n, const PetscBLASInt *k, const PetscBLASInt *l,
              const PetscBLASInt *nb, const double *v, const PetscBLASInt *ldv, const double *t, const PetscBLASInt *ldt, double *a, const PetscBLASInt *lda,
              double *b, const PetscBLASInt *ldb, double *work, PetscBLASInt *info);
void dtrcon_(const char *norm, const char *uplo, const char *diag, const PetscBLASInt *n, const double *a, const PetscBLASInt *lda, double *rcond, double *work,
             PetscBLASInt *iwork, PetscBLASInt *info);
void dtrsv_(const char *uplo, const char *trans, const char *diag, const PetscBLASInt *n, const double *a, const PetscBLASInt *lda, double *x,
            const PetscBLASInt *incx);
void dtrmm_(const char *side, const char *uplo, const char *trans, const char *diag, const PetscBLASInt *m, const PetscBLASInt *n, const double *alpha,
            const double *a, const PetscBLASInt *lda, double *b, const PetscBLASInt *ldb);
void dsyrk_(const char *uplo, const char *trans, const PetscBLASInt *n, const PetscBLASInt *k, const double *alpha, const double *a, const PetscBLASInt *lda,
            const double *beta, double *c, const PetscBLASInt *ldc);
void dgesdd_(const char *jobz, const PetscBLASInt *m, const PetscBLASInt *n, double *a, const PetscBLASInt *lda, double *s, double *u, const PetscBLASInt *ldu,
             double *vt, const PetscBLASInt *ldvt, double *work, const PetscBLASInt *lwork, PetscBLASInt *iwork, PetscBLASInt *info);
void dgebrd_(const PetscBLASInt *m, const PetscBLASInt *n, double *a, const PetscBLASInt *lda, double *d, double *e, double *tauq, double *taup, double *work,
             const PetscBLASInt *lwork, PetscBLASInt *info);
void dormbr_(const char *vect, const char *side, const char *trans, const PetscBLASInt *m, const PetscBLASInt *n, const PetscBLASInt *k, const double *a,
             const PetscBLASInt *lda, const double *tau, double *c, const PetscBLASInt *ldc, double *work, const PetscBLASInt *lwork, PetscBLASInt *info);
void dsytrd_(const char *uplo, const PetscBLASInt *n, double *a, const PetscBLASInt *lda, double *d, double *e, double *tau, double *work,
             const PetscBLASInt *lwork, PetscBLASInt *info);
void dormtr_(const char *side, const char *uplo, const char *trans, const PetscBLASInt *m, const PetscBLASInt *n, const double *a, const PetscBLASInt *lda,
             const double *tau, double *c, const PetscBLASInt *ldc, double *work, const PetscBLASInt *lwork, PetscBLASInt *info);
void dgeqp3_(const PetscBLASInt *m, const PetscBLASInt *n, double *a, const PetscBLASInt *lda, PetscBLASInt *jpvt, double *tau, double *work,
             const PetscBLASInt *lwork, PetscBLASInt *info);
void dtrtri_(const char *uplo, const char *diag, const PetscBLASInt *n, double *a, const PetscBLASInt *lda, PetscBLASInt *info);
}
