/* The engine of dense costs: stored rows, or computed from the coordinates of two clouds of points */
#pragma once

#include "engine.hpp"
#include "../kernels/storedrows.hpp"

namespace skean {
namespace transport {

/*
   Columns are visited in blocks. Small costs have one block of all columns, which every process holds, and a pass is one traversal with an
   Allgather of the potentials before and a Reduce_scatter of the column sums after it. Where the coordinates of all targets exceed `replicate` bytes,
   a block is the targets of one process, and blocks go around a ring of the processes: no process ever holds more than three. A fused pass is then
   two rounds, row sums and column sums, with two exponentials per entry instead of one, since a row's sum is known after the last block only.

   With one block of columns, rows of the plan are kept in memory (StoredRows) as far as `memory` reaches: Fused() then needs no exponentials as long as the
   potentials stay near those at which the rows were kept. Sums that are reported (Marginals()) are always taken from the costs.

   Within a block the columns lie in tiles of kTile points that are close together (where costs have bounds, see HasBounds()), as do the rows.
*/
class TileEngine : public RowEngine {
public:
  CostTiles           T;
  std::vector<double> targets;       /* coordinates of the targets of this process by point; taken by SetUp() */
  double              replicate = 0; /* bytes of coordinates up to which every process holds all targets */
  double              memory    = 0; /* bytes of rows of the plan that a process may keep */
  /* After T, targets, layout, cutoff, logr and logc are set. Collective */
  PetscErrorCode SetUp();
  PetscErrorCode Fused(double inv, double lam, const double *v, double *u, double *a, double *lb, Keep *keep) override;
  PetscErrorCode GetCells(PetscInt most, Cells *c) override;
  PetscErrorCode Marginals(double inv, const double *u, const double *v, double *a, double *b, double *cost) override;
  PetscErrorCode Products(double inv, const double *u, const double *v, const double *w, const double *a, const double *z, double *rowout,
                          double *colout) override;
  PetscErrorCode MinCols(const double *x, double *y) override;
  PetscErrorCode MinRows(const double *y, double *x) override;
  PetscErrorCode Bilinear(const double *x, const double *y, double *value) override;
  PetscErrorCode Entries(double inv, const double *u, const double *v, Keep *keep) override;
  PetscErrorCode Scale(double *cmax, double *cmedian) override;
  double         KeptError() const override { return kepterr; }
  void           KeepAnew() override
  {
    anew = true;
    ++renewed;
  }
  void Forget() override
  {
    kept.valid = anew = wasted = shortreach = false;
    abandoned = renewed = 0;
    refused = lastinv = kepterr = kept.inv = 0;
  }
  double HeavyEntries() const override { return kept.valid ? heavy : 0.0; }
  double PassCost() const override { return kept.valid && !exact ? passcost : 1.0; }
  double Skipped() const override { return Truncated() ? std::exp(-cutoff) : 0.0; }

private:
  /* Relative error of sums of rows that were computed in single precision (their exponents have errors of 2^-24 times as much as they are), and four times
     2^-24: see StoredRows, for rows and for columns, at two points */
  static constexpr double   kRough = 2e-6, kSingle = 2.4e-7;
  static constexpr double   kSpread   = 8;  /* e-folds between potentials, about */
  static constexpr PetscInt kFailures = 32; /* rows that may have more entries than expected, before that is not expected any more */
  static constexpr PetscInt kRenew    = 2;  /* so often rows are kept in single precision again when that was not exact enough */
  static constexpr double   kRange    = 84; /* e-folds of its normal numbers below 1 */
  /* e-folds below r_i c_j at which an entry is lost in the rounding of its row and column: fused passes may leave it out whatever the user's truncation is */
  static constexpr double kRounding = 37.0;

  static constexpr PetscInt kGroup = 16; /* rows done at once, at most */

  struct Seg {
    PetscInt j, nc;
  };
  typedef std::vector<Seg> Segs;
  /* A block in a buffer of doubles, so that one message carries it: coordinates, norms, tiles, v, w, numbers of the columns, in this order */
  struct Block {
    Columns       cols;
    TileSet       tiles;
    const double *v = nullptr, *w = nullptr, *id = nullptr;
    Segs          all; /* every column, in pieces for the first cache */
  };
  struct Offsets {
    size_t norm, q, r, z, g, v, w, id, end;
  };
  enum Fields { FIELDS_V, FIELDS_W, FIELDS_ID }; /* how far into the buffer a message goes */

  bool                      tiled = false, ring = false;
  PetscMPIInt               size = 1, rank = 0;
  PetscInt                  group  = 1;                     /* rows done at once */
  PetscInt                  widest = 0;                     /* columns of the largest block */
  std::vector<PetscInt>     rowperm, colperm;               /* place -> local row; place in this process's block -> column (ring: local); empty: the same */
  std::vector<double>       home;                           /* this process's block */
  std::vector<double>       travel[2];                      /* visiting blocks */
  std::vector<double>       logchome;                       /* logc in the order of the block */
  std::vector<double>       rowq, rowr, roww, rowf;         /* boxes and majorants of the tiles of rows, d (1) numbers each */
  std::vector<double>       K, full, permuted, acc, out[2]; /* scratch: rows of the plan; columns */
  std::vector<double>       bound, work, cand;              /* scratch: bounds of tiles; tiles near a tile of rows */
  std::vector<PetscInt>     near, idx;
  PetscInt                  cellsize = 0; /* places of a cell */
  std::vector<double>       cellmass;     /* scratch: of one row, by cell; the cells that have some */
  std::vector<PetscInt>     cellsof;
  StoredRows                kept;
  double                    kepterr    = 0;      /* of the last fused pass */
  PetscInt                  abandoned  = 0;      /* how often potentials have left what was kept, at this epsilon or larger ones of this solve */
  bool                      shortreach = false;  /* there is no memory for more than the usual reach */
  PetscInt                  renewed    = 0;      /* how often what was kept at this epsilon was not exact enough */
  bool                      anew       = false;  /* what is kept is not to be used by fused passes any more */
  double                    least      = 0;      /* logarithm of the smallest mass of a column */
  std::vector<float>        K32;                 /* scratch: rows of the plan */
  std::vector<double>       rowsum, shift, mass; /* scratch: of rows that are kept */
  std::vector<float>        weight32;            /* the masses once more */
  std::vector<std::int32_t> selected;            /* scratch: entries of a row, and what they are */
  std::vector<double>       exponents;
  std::vector<double>       acckept, keptsums;    /* scratch: column sums of what is kept */
  double                    passcost = 1;         /* of a pass over the rows kept, relative to one over the costs */
  double                    heavy    = 0;         /* entries of the rows kept, see HeavyEntries() */
  double                    refused  = 0;         /* rows at this inv, or a smaller one, took too much memory */
  bool                      wasted   = false;     /* what was kept last was not used */
  double                    largest  = 0;         /* cost */
  double                    lastinv  = 0;         /* of the last fused pass */
  std::vector<double>       last, weight, factor; /* v of the last fused pass; masses of the columns; scratch: exp(v - v0) */

  double         Reach(double inv) const;
  bool           WantsToKeep(double inv, const double *v);
  bool           IsNear(double inv, const double *v) const;
  PetscErrorCode Kept(bool full);
  /* Whether few entries of stored costs would be within so many e-folds of their row's and column's mass, if the costs were spread evenly */
  bool           IsThin(double inv, double deep) const { return T.kind == CostKind::STORED && deep + kSpread < 0.2 * inv * largest; }
  PetscErrorCode SparseRow(const Block &B, double inv, PetscInt k, double deep, double lam, double *u, double *a, double *sums, double bound, double heavy,
                           bool *done);
  /* Whether a pass that keeps rows does so in single precision, and computes in it */
  void           Precision(double inv, double lam, bool plain, double cut, double reach, bool *single, bool *rough) const;
  PetscErrorCode CorrectKept(const double *sums);
  /* V: precision of what is kept */
  template <class V>
  PetscErrorCode FusedKept(const Block &B, double lam, double *u, double *a, double *sums, Keep *keep, std::vector<char> &todo, bool *some, bool *stale);
  template <class V, class F>
  void ProductsKept(const double *u, const double *wf, bool sum, double *p, double *sums, std::vector<char> &todo, PetscInt *left, F weight);
  /* of fused passes; none if every pass is to evaluate everything */
  bool   Skips() const { return tiled && (cutoff > 0 || memory > 0); }
  double Cut() const { return cutoff > 0 ? cutoff : kRounding; }
  /* of rows that are kept: the marginal error that is asked for is not noticed, but columns of little mass are to keep some digits */
  double         KeepCut() const { return wanted > 0 ? PetscMin(Cut(), PetscMax(25.0, -std::log(1e-4 * wanted))) : Cut(); }
  double         LooseCut() const { return loose > 0 ? PetscMin(Cut(), -std::log(loose)) : Cut(); }
  bool           Truncated() const { return cutoff > 0 && tiled; }
  PetscInt       Row(PetscInt k) const { return rowperm.empty() ? k : rowperm[k]; }
  PetscInt       Count(int owner) const { return ring ? counts[owner] : m; }
  Offsets        Places(PetscInt count) const;
  Block          View(const double *buf, PetscInt count) const;
  PetscErrorCode LoadColumns(const double *loc, std::vector<double> &to, size_t at);
  PetscErrorCode StoreColumns(std::vector<double> &in, double *loc, MPI_Op op);
  void           FitColumns(double kappa, const double *shift);
  void           FitRows(double kappa, PetscInt b, const std::vector<double> &f);
  TileSet        Collect(const TileSet &S, const std::vector<PetscInt> &list);
  Segs           Pieces(PetscInt count) const;
  void           TilesToSegs(const Block &B, const std::vector<PetscInt> &list, Segs &segs) const;

  /* body(block) for the blocks of all processes */
  template <class F>
  PetscErrorCode Round(Fields upto, F body);
  /* body(block, sums) with sums over the columns of the block, starting from init; the results of all processes are combined with op in loc */
  template <class F>
  PetscErrorCode ColumnRound(Fields upto, double init, MPI_Op op, double *loc, F body);
  /* body(k0, nr, segments) for groups of rows of one block. f: bounds of the row potentials, so that tiles with f_i + g_j - inv c_ij < -cut are
     skipped (f NULL: nothing is). mask: only rows that have it set */
  template <class F>
  PetscErrorCode ForRows(const Block &B, double inv, double cut, const std::vector<double> *f, const std::vector<char> *mask, F body);
  /* M_k = max(M_k, max_j (v_j - inv c_kj)), tiles that cannot raise it skipped */
  PetscErrorCode RaiseMax(const Block &B, double inv, const std::vector<char> *mask, std::vector<double> &M);
  template <class V>
  PetscErrorCode Exp(const Block &B, PetscInt k0, PetscInt nr, const Segs &segs, double inv, const double *uk, V *const *to, double *s, double *cost);
  PetscErrorCode Exp(const Block &B, PetscInt k0, PetscInt nr, const Segs &segs, double inv, const double *uk, double *s, double *cost);
  /* V: float or double */
  template <class V>
  V *Scratch(PetscInt r)
  {
    if constexpr (sizeof(V) == sizeof(float))
      return K32.data() + static_cast<size_t>(r) * widest;
    else
      return K.data() + static_cast<size_t>(r) * widest;
  }
  PetscErrorCode RescueColumns(double inv, const double *u, const double *v, const std::vector<char> &bad, double *lb);
  template <class V>
  static void    AddRow(const Segs &segs, double t, const V *Krow, double *sums);
  PetscErrorCode RowBounds(const double *u, std::vector<double> &f) const;
  /* adds the row t K to the gram of the cells. Whole rows and rows of single entries come in the same way: pieces, or places */
  void AddCells(const Segs &segs, double t, double sum, const double *Krow);
  template <class V>
  void AddCells(size_t count, const std::int32_t *index, double t, double sum, const V *val);
  void CloseCells(double sum);
  void KeepRow(const Block &B, PetscInt row, const Segs &segs, const double *Krow, double t, Keep *keep);
};

} // namespace transport
} // namespace skean
