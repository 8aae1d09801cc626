/* Engines over rows: what tiles (stored or computed costs) and sparse costs share, which is the communication */
#pragma once

#include <skean/private/transportimpl.h>
#include "../kernels/transportkernels.hpp"

namespace skean {
namespace transport {

/* Column quantities are owned in blocks of mloc and needed whole: one Allgatherv in, one Reduce_scatter out */
class RowEngine : public Engine {
public:
  PetscErrorCode Layout(MPI_Comm comm, PetscInt n, PetscInt mloc);

protected:
  std::vector<int> counts, displs;
  PetscErrorCode   Gather(const double *loc, std::vector<double> &full) const;
  PetscErrorCode   Scatter(std::vector<double> &full, double *loc, MPI_Op op) const;
  /* a user's callback may fail on one process only */
  PetscErrorCode Agree(PetscErrorCode ierr) const;
};

class TileEngine : public RowEngine {
public:
  CostTiles T;
  /* After T, layout, logr and logc are set: column order, tiles and their boxes */
  PetscErrorCode SetUp();
  PetscErrorCode Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *keep) override;
  PetscErrorCode Marginals(double inv, const double *u, const double *v, double *a, double *b, double *cost) override;
  PetscErrorCode Products(double inv, const double *u, const double *v, const double *w, const double *a, const double *z, double *rowout,
                          double *colout) override;
  PetscErrorCode MinCols(const double *x, double *y) override;
  PetscErrorCode MinRows(const double *y, double *x) override;
  PetscErrorCode Bilinear(const double *x, const double *y, double *value) override;
  PetscErrorCode Entries(double inv, const double *u, const double *v, Keep *keep) override;
  PetscErrorCode Scale(double *cmax, double *cmedian) override;

private:
  struct Seg {
    PetscInt j, nc;
  };
  struct Box {
    PetscInt lo, hi; /* points lo <= k < hi */
    double   fmax;   /* largest f/eps (rows) or g/eps (columns) in it */
  };
  PetscInt              group = 1; /* rows done at once */
  std::vector<PetscInt> rowperm;   /* tile order -> local row; empty: identity */
  std::vector<PetscInt> colperm;   /* tile order -> column */
  std::vector<Box>      rowbox, colbox;
  std::vector<double>   rowlo, rowhi, collo, colhi; /* d numbers per box; columns by coordinate */
  std::vector<Seg>      all;
  std::vector<double>   K, full, full2, acc, bound;
  std::vector<PetscInt> idx;

  bool           Truncated() const { return cutoff > 0 && !colbox.empty(); }
  PetscInt       Row(PetscInt k) const { return rowperm.empty() ? k : rowperm[k]; }
  PetscErrorCode GatherCols(const double *loc, std::vector<double> &out);
  PetscErrorCode ScatterCols(std::vector<double> &in, double *loc, MPI_Op op);
  /* calls body(k0, nr, segments) for groups of rows in tile order, tiles of no weight skipped when truncated */
  template <class F>
  PetscErrorCode ForRows(bool truncate, double inv, const double *u, F body);
  void           Segments(const Box &rb, PetscInt b, double inv, std::vector<Seg> &segs);
  PetscErrorCode Exp(PetscInt k0, PetscInt nr, const std::vector<Seg> &segs, double inv, const double *uk, const double *v, double *s, double *cost);
  PetscErrorCode RowMax(PetscInt k, const std::vector<Seg> &segs, double inv, const double *v, double *M);
  PetscErrorCode ColumnLSE(double inv, const double *u, const double *v, double *lb);
  void           KeepRow(PetscInt row, const std::vector<Seg> &segs, const double *Krow, double t, Keep *keep);
};

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
