/* Engines over rows: what tiles (tiles.hpp) and sparse costs share, which is the layout and the communication of columns */
#pragma once

#include <skean/private/transportimpl.h>
#include "../kernels/transportkernels.hpp"

namespace skean {
namespace transport {

/* Column quantities are owned in blocks of mloc and needed whole: one Allgatherv in, one Reduce_scatter out */
class RowEngine : public Engine {
public:
  PetscErrorCode Layout(MPI_Comm c, PetscInt nrows, PetscInt ncols);

protected:
  std::vector<int> counts, displs;
  PetscErrorCode   Gather(const double *loc, std::vector<double> &full) const;
  PetscErrorCode   Scatter(std::vector<double> &full, double *loc, MPI_Op op) const;
  /* a user's callback may fail on one process only */
  PetscErrorCode Agree(PetscErrorCode ierr) const;
};

/* The median of values that are distributed over the processes */
PetscErrorCode MedianOf(MPI_Comm comm, const std::vector<double> &mine, double *median);

/* On a grid, with e its engine: LSE_j(v_j - inv c_ij) at all n points i of this process in the layout of the sources (or of the targets), from v over all
   points in the layout of the other side, kLogZero where there is none */
PetscErrorCode ExtendOnGrid(Engine *e, double inv, bool sources, const std::vector<double> &v, PetscInt n, double *lse);

constexpr double kTiny = 1e-280, kHuge = 1e280; /* sums of exponentials outside are taken again with their maximum */

class CsrEngine : public RowEngine {
public:
  std::vector<PetscInt> ia, ja; /* local active rows, active columns */
  std::vector<double>   ca;
  PetscErrorCode        Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *keep) override;
  PetscErrorCode        Marginals(double inv, const double *u, const double *v, double *a, double *b, double *cost) override;
  PetscErrorCode        Products(double inv, const double *u, const double *v, const double *w, const double *a, const double *z, double *rowout,
                                 double *colout) override;
  PetscErrorCode        MinCols(const double *x, double *y) override;
  PetscErrorCode        MinRows(const double *y, double *x) override;
  PetscErrorCode        Bilinear(const double *x, const double *y, double *value) override;
  PetscErrorCode        Entries(double inv, const double *u, const double *v, Keep *keep) override;
  PetscErrorCode        Scale(double *cmax, double *cmedian) override;
  PetscErrorCode        ProvesInfeasible(const double *v, bool *proof) override;
  bool                  Forbids() const override { return true; }

private:
  std::vector<double> K, full, full2, acc;
};

} // namespace transport
} // namespace skean
