! A Fortran program on PETSc: a sparse least-squares problem with known solution, solved by whatever -ksp_type says.
! Compiled with -DLINKED it registers Skean itself (one bind(C) call); otherwise Skean comes at run time with
!   -dll_append /prefix/lib/libskean.so
program lsq
#include <petsc/finclude/petscksp.h>
! PETSc 3.23 makes derived types of its enumerations
#if PETSC_VERSION_GE(3,23,0)
#define NUMBER(e) e%v
#else
#define NUMBER(e) e
#endif
  use petscksp
#if defined(LINKED)
  use, intrinsic :: iso_c_binding, only: c_int
#endif
  implicit none

#if defined(LINKED)
  interface
    integer(c_int) function SkeanInitializePackage() bind(C, name="SkeanInitializePackage")
      import :: c_int
    end function
  end interface
#endif
  Mat :: A, N
  Vec :: b, x, exact
  KSP :: ksp
  PC :: pc
  KSPConvergedReason :: reason
  PetscErrorCode :: ierr
  PetscInt :: rows, columns, first, last, row, column, half, k, its
  PetscReal :: error, size, rtol
  PetscScalar :: value
  PetscScalar, parameter :: minus = -1.0
  character(len=160) :: line
  logical :: main
  PetscMPIInt :: rank

  call PetscInitialize(PETSC_NULL_CHARACTER, ierr)
  if (ierr /= 0) stop 1
  call MPI_Comm_rank(PETSC_COMM_WORLD, rank, ierr)
  main = rank == 0
#if defined(LINKED)
  ierr = SkeanInitializePackage()
  if (ierr /= 0) stop 2
#endif
  rows = 1000
  columns = 30
  rtol = 1.0d-10

  ! Rows 2i and 2i+1 are equal: a residual of opposite signs on them is orthogonal to the range, the solution stays as chosen
  call MatCreate(PETSC_COMM_WORLD, A, ierr)
  call MatSetSizes(A, PETSC_DECIDE, PETSC_DECIDE, rows, columns, ierr)
  call MatSetType(A, MATAIJ, ierr)
  call MatSetUp(A, ierr)
  CHKERRA(ierr)
  call MatGetOwnershipRange(A, first, last, ierr)
  CHKERRA(ierr)
  do row = first, last - 1
    half = row/2
    do k = 0, 2
      column = mod(half + k*(1 + half/columns), columns)
      value = 1.5 + sin(real(1 + 7*half + 3*column, kind(rtol)))
      call MatSetValue(A, row, column, value, INSERT_VALUES, ierr)
      CHKERRA(ierr)
    end do
  end do
  call MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY, ierr)
  call MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY, ierr)
  CHKERRA(ierr)
  call MatCreateVecs(A, exact, b, ierr)
  CHKERRA(ierr)
  call VecDuplicate(exact, x, ierr)
  CHKERRA(ierr)
  call VecGetOwnershipRange(exact, first, last, ierr)
  do row = first, last - 1
    value = cos(real(row, kind(rtol)))
    call VecSetValue(exact, row, value, INSERT_VALUES, ierr)
  end do
  call VecAssemblyBegin(exact, ierr)
  call VecAssemblyEnd(exact, ierr)
  call MatMult(A, exact, b, ierr)
  CHKERRA(ierr)
  call VecGetOwnershipRange(b, first, last, ierr)
  do row = first, last - 1
    value = 0.01*sin(real(row/2, kind(rtol)))
    if (mod(row, 2) == 1) value = -value
    call VecSetValue(b, row, value, ADD_VALUES, ierr)
  end do
  call VecAssemblyBegin(b, ierr)
  call VecAssemblyEnd(b, ierr)

  call MatCreateNormal(A, N, ierr)
  CHKERRA(ierr)
  call KSPCreate(PETSC_COMM_WORLD, ksp, ierr)
  call KSPSetOperators(ksp, A, N, ierr)
  call KSPSetType(ksp, KSPLSQR, ierr)
  call KSPGetPC(ksp, pc, ierr)
  call PCSetType(pc, PCNONE, ierr)
  call KSPSetTolerances(ksp, rtol, PETSC_DEFAULT_REAL, PETSC_DEFAULT_REAL, PETSC_DEFAULT_INTEGER, ierr)
  call KSPSetFromOptions(ksp, ierr)
  CHKERRA(ierr)
  call KSPSolve(ksp, b, x, ierr)
  CHKERRA(ierr)
  call KSPGetConvergedReason(ksp, reason, ierr)
  call KSPGetIterationNumber(ksp, its, ierr)
  call VecNorm(exact, NORM_2, size, ierr)
  call VecAXPY(x, minus, exact, ierr)
  call VecNorm(x, NORM_2, error, ierr)
  CHKERRA(ierr)
  write (line, '(a,i0,a,i0,a,es10.3)') 'reason ', NUMBER(reason), ', iterations ', its, ', relative error ', error/size
  if (main) print '(a)', trim(line)

  call KSPDestroy(ksp, ierr)
  call MatDestroy(N, ierr)
  call MatDestroy(A, ierr)
  call VecDestroy(b, ierr)
  call VecDestroy(x, ierr)
  call VecDestroy(exact, ierr)
  call PetscFinalize(ierr)
  if (NUMBER(reason) <= 0 .or. .not. error <= 1.0d-6*size) stop 3
end program
