#!/usr/bin/python3
"""A least-squares problem from Python. Skean is loaded by PETSc itself:

    mpirun -n 4 python3 lsq.py -dll_append /prefix/lib/libskean.so -ksp_type sketch -ksp_monitor
"""
import sys

import petsc4py

petsc4py.init(sys.argv)
import numpy as np
from petsc4py import PETSc


def main():
    options = PETSc.Options()
    rows, columns = options.getInt("m", 1000), options.getInt("n", 30)
    comm = PETSc.COMM_WORLD
    A = PETSc.Mat().createAIJ([rows, columns], nnz=3, comm=comm)
    first, last = A.getOwnershipRange()
    for row in range(first, last):
        half = row // 2  # rows 2i and 2i+1 are equal: a residual of opposite signs on them leaves the solution as chosen
        for k in range(3):
            column = (half + k * (1 + half // columns)) % columns
            A.setValue(row, column, 1.5 + np.sin(1 + 7 * half + 3 * column))
    A.assemble()
    exact, b = A.createVecs()
    first, last = exact.getOwnershipRange()
    exact.setArray(np.cos(np.arange(first, last)))
    A.mult(exact, b)
    first, last = b.getOwnershipRange()
    i = np.arange(first, last)
    b.setArray(b.getArray() + 0.01 * np.sin(i // 2) * np.where(i % 2, -1, 1))

    normal = PETSc.Mat().createNormal(A) if hasattr(PETSc.Mat, "createNormal") else A.transposeMatMult(A)
    ksp = PETSc.KSP().create(comm)
    ksp.setOperators(A, normal)
    ksp.setType("lsqr")
    ksp.getPC().setType("none")
    ksp.setTolerances(rtol=1e-10)
    ksp.setFromOptions()
    x = exact.duplicate()
    ksp.solve(b, x)
    x.axpy(-1, exact)
    error = x.norm() / exact.norm()
    PETSc.Sys.Print(f"{ksp.getType()}: reason {ksp.getConvergedReason()}, iterations {ksp.getIterationNumber()}, relative error {error:.3e}")
    return 0 if ksp.getConvergedReason() > 0 and error <= 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
