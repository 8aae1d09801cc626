/*
   Tensor grids: d-dimensional arrays over the processes of a communicator, products along a mode, redistributions.

   Numbering. An entry (i_0,...,i_{d-1}) has the natural number ((i_0 n_1 + i_1) n_2 + i_2)...: the last dimension is the fastest,
   as in C, NetCDF and NumPy, and as vec() of A_0 (x) A_1 (x) ... (x) A_{d-1} wants it. A DMDA calls the same dimensions x (last), y, z.

   Distribution. A stage distributes some dimensions over a grid of processes and keeps the others whole ("local"); each process owns a
   box, stored in natural order. Ranges and process numbers are those of a DMDA with the same process grid, so that the array of stage 0
   ("home") is the array of that DMDA's global vectors; when only dimension 0 is distributed it is also the natural order.
     slabs    P <= n_0: home distributes dimension 0; the last stage distributes others, so that 0 is local: one redistribution
     pencils  P >  n_0: home distributes 0..k. One redistribution if the other dimensions can hold all processes, otherwise the
              distributed dimensions are exchanged one after another, each within the processes that share the rest.
   Every mode is local in some stage. Processes that a prime number or a small grid leaves over own nothing.

   A product along mode j is a local GEMM: one for the first and the last mode, a batch for those in between. Entries are counted in 64
   bits; GEMM and MPI get panels and chunks that fit their int arguments.
*/
#pragma once

#include <skean/private/evenodd.hpp>
#include <skean/private/fasttransform.hpp>
#include <skean/private/skeanimpl.h>
#include <array>
#include <climits>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace skean {

constexpr int kTensorMaxDim = 8;
using TensorSizes           = std::array<PetscInt64, kTensorMaxDim>;

/* Indices lo[k] <= i_k < hi[k] */
struct TensorBox {
  int         d = 0;
  TensorSizes lo{}, hi{};
  PetscInt64  Length(int k) const noexcept { return hi[k] - lo[k]; }
  PetscInt64  Volume() const noexcept
  {
    PetscInt64 v = 1;
    for (int k = 0; k < d; ++k) v *= hi[k] - lo[k];
    return v;
  }
};

/* What is done along one mode: out_i = sum_j F_ij in_j with F m x n. Does not own its arrays. */
struct ModeOp {
  enum Kind { IDENTITY, DENSE, DIAGONAL, SPARSE, LU, TRANSFORM, EVENODD };
  Kind                 kind  = IDENTITY;
  bool                 trans = false; /* F is the transpose of what is stored */
  PetscInt64           m = 0, n = 0;  /* sizes of F, after the transpose */
  const double        *a   = nullptr; /* DENSE: column major; DIAGONAL: n numbers; SPARSE: values; LU: factors by dgetrf, F is the inverse */
  PetscInt64           lda = 0;
  const PetscInt      *ia = nullptr, *ja = nullptr; /* SPARSE: rows of what is stored */
  const PetscBLASInt  *piv       = nullptr;         /* LU */
  const FastTransform *transform = nullptr;         /* TRANSFORM */
  const EvenOdd       *parts     = nullptr;         /* EVENODD */

  static ModeOp Identity(PetscInt64 n)
  {
    ModeOp o;
    o.m = o.n = n;
    return o;
  }
  /* rows x cols as stored */
  static ModeOp Dense(PetscInt64 rows, PetscInt64 cols, const double *a, PetscInt64 lda, bool trans = false)
  {
    ModeOp o;
    o.kind  = DENSE;
    o.trans = trans;
    o.m     = trans ? cols : rows;
    o.n     = trans ? rows : cols;
    o.a     = a;
    o.lda   = lda;
    return o;
  }
  static ModeOp Diagonal(PetscInt64 n, const double *a)
  {
    ModeOp o;
    o.kind = DIAGONAL;
    o.m = o.n = n;
    o.a       = a;
    return o;
  }
  static ModeOp Transform(const FastTransform *t, bool trans = false)
  {
    ModeOp o;
    o.kind  = TRANSFORM;
    o.trans = trans;
    o.m = o.n   = t->Size();
    o.transform = t;
    return o;
  }
  static ModeOp Parts(const EvenOdd *p, bool trans = false)
  {
    ModeOp o;
    o.kind  = EVENODD;
    o.trans = trans;
    o.m     = trans ? p->Cols() : p->Rows();
    o.n     = trans ? p->Rows() : p->Cols();
    o.parts = p;
    return o;
  }
  /* The same with F transposed */
  ModeOp Transposed() const
  {
    ModeOp o = *this;
    if (kind != IDENTITY && kind != DIAGONAL) o.trans = !trans;
    std::swap(o.m, o.n);
    return o;
  }
};

/*
   Kernel: one mode of arrays seen as L x n x w. Entry (l,i,r) of in is in[l*lsin + i*Rin + r], out likewise. in == out is allowed for a whole array
   (lsin = n Rin, lsout = m Rout, w = Rin = Rout) if m <= n, and for a part of it if m = n. Returns the flops done.
*/
double ModeProduct(const ModeOp &op, PetscInt64 L, PetscInt64 w, const double *in, PetscInt64 lsin, PetscInt64 Rin, double *out, PetscInt64 lsout,
                   PetscInt64 Rout, std::vector<double> &scratch);

/* The same for r in [r0,r1) of R */
inline double ModeProduct(const ModeOp &op, PetscInt64 L, PetscInt64 lsin, PetscInt64 lsout, PetscInt64 R, PetscInt64 r0, PetscInt64 r1, const double *in,
                          double *out, std::vector<double> &scratch)
{
  return ModeProduct(op, L, r1 - r0, in + r0, lsin, R, out + r0, lsout, R, scratch);
}
/* The same for a whole array over a box, in place */
double ModeProduct(const ModeOp &op, const TensorBox &box, int mode, double *a, std::vector<double> &scratch);
/* From an array over `all` to one over a slice of it that is whole along the mode; square op */
double ModeProduct(const ModeOp &op, const TensorBox &all, const double *in, const TensorBox &slice, int mode, double *out, std::vector<double> &scratch);
/* Kernel: copies the entries of `part` from an array over box `fb` to one over box `tb` */
void CopyPart(const TensorBox &part, const TensorBox &fb, const double *from, const TensorBox &tb, double *to);

/* Calls f(at, in, count) for each run of entries of `part` that are consecutive in it (from at) and in `box` (from in) */
template <class F>
void ForRuns(const TensorBox &part, const TensorBox &box, F f)
{
  const int  d = part.d;
  PetscInt64 idx[kTensorMaxDim], at = 0;
  if (part.Volume() <= 0) return;
  for (int k = 0; k < d; ++k) idx[k] = part.lo[k];
  for (;;) {
    PetscInt64 in = 0;
    for (int k = 0; k < d; ++k) in = in * box.Length(k) + idx[k] - box.lo[k];
    f(at, in, part.Length(d - 1));
    at += part.Length(d - 1);
    int k = d - 2;
    for (; k >= 0; --k) {
      if (++idx[k] < part.hi[k]) break;
      idx[k] = part.lo[k];
    }
    if (k < 0) return;
  }
}

/* Calls f(index, at) for all points of a box in natural order: their d indices, and their places in an array over it */
template <class F>
void ForPoints(const TensorBox &b, F f)
{
  PetscInt64 i[kTensorMaxDim], at = 0;

  if (b.Volume() <= 0) return;
  for (int k = 0; k < b.d; ++k) i[k] = b.lo[k];
  for (;;) {
    f(i, at++);
    int k = b.d - 1;
    for (; k >= 0; --k) {
      if (++i[k] < b.hi[k]) break;
      i[k] = b.lo[k];
    }
    if (k < 0) return;
  }
}

class TensorGrid {
public:
  TensorGrid() = default;
  ~TensorGrid();
  TensorGrid(const TensorGrid &)            = delete;
  TensorGrid &operator=(const TensorGrid &) = delete;

  /* Collective. Chooses the stages for sizes n. Errors: PETSC_ERR_ARG_OUTOFRANGE for d or a size below one or d above kTensorMaxDim */
  PetscErrorCode     Create(MPI_Comm comm, int d, const PetscInt64 n[]);
  int                Dim() const noexcept { return d; }
  MPI_Comm           Comm() const noexcept { return comm; }
  int                Stages() const noexcept { return static_cast<int>(stages.size()); }
  const TensorSizes &Sizes() const noexcept { return base; }
  /* First stage in which mode k is local */
  int StageOf(int k) const noexcept { return stageof[k]; }
  /* Processes along dimension k in a stage */
  int Processes(int stage, int k) const noexcept;
  /* The box of a process in a stage for arrays of the sizes given (those of Create(), or others after rectangular factors) */
  TensorBox Box(int stage, const TensorSizes &n, int rank) const noexcept;
  TensorBox Box(int stage, const TensorSizes &n) const noexcept { return Box(stage, n, rank); }
  TensorBox Home() const noexcept { return Box(0, base); }

  /* Collective. Moves an array of sizes n between stages: each process packs, exchanges with MPI_Ialltoallv in chunks and unpacks; chunk
     c is packed while c-1 is on its way. */
  PetscErrorCode Move(const TensorSizes &n, int from, int to, const double *src, double *dst);
  /* Collective. The same without one of the two arrays, which exists as one slice at a time instead, cut along a dimension that is not in `whole` (bit k:
     dimension k). produce fills a slice of the source's box, or consume is given one of the target's box, as an array in natural order. One of them
     may be empty: then src or dst is used. Where no dimension can be cut, the slice is the whole box. */
  using Slice = std::function<PetscErrorCode(const TensorBox &slice, double *a)>;
  PetscErrorCode Stream(const TensorSizes &n, int from, int to, unsigned whole, const double *src, const Slice &produce, double *dst, const Slice &consume);

  /* How a redistribution is cut: in chunks along a dimension; and the part of chunk c that process s sends to r (false: nothing) */
  struct Cut {
    int  dim = 0, chunks = 1;
    bool slices = false; /* a chunk is a slice of the source's (target's) own box, as was asked for */
  };
  Cut  Plan(const TensorSizes &n, int from, int to, unsigned whole, bool sourceslices, bool targetslices) const noexcept;
  bool Part(const TensorSizes &n, int from, int to, const Cut &cut, int s, int r, int c, TensorBox *part) const noexcept;

  /* Largest number of doubles in one chunk; 0: chosen from the size of the array. Small values are for tests. */
  void       SetChunk(PetscInt64 doubles) noexcept { chunk = doubles; }
  PetscInt64 Chunk() const noexcept { return chunk; }
  /* Largest number of doubles that a process sends or receives at once; tests make it smaller than MPI's */
  void   SetMessageLimit(PetscInt64 doubles) noexcept { most = doubles; }
  double Flops() const noexcept { return flops; }
  void   FreeWork() noexcept;

private:
  friend class TensorPipe;
  struct Stage {
    std::vector<int> p, dim; /* axis a of the process grid has p[a] processes and distributes dimension dim[a]; C order of ranks */
  };
  struct Group {
    MPI_Comm         comm = MPI_COMM_NULL;
    std::vector<int> ranks; /* ranks in the grid's communicator */
  };
  struct Job; /* what a redistribution reads, does and writes */
  PetscErrorCode Exchange(const TensorSizes &n, int from, int to, const Job &job);
  PetscErrorCode GroupOf(int from, int to, const Group **group);
  double        *Work(int which, PetscInt64 need);

  MPI_Comm                             comm = MPI_COMM_NULL;
  int                                  d = 0, rank = 0, size = 1;
  TensorSizes                          base{};
  std::vector<Stage>                   stages;
  std::array<int, kTensorMaxDim>       stageof{};
  std::map<std::pair<int, int>, Group> groups;
  std::vector<double>                  work[2], sendbuf[2], recvbuf[2], slicebuf, scratch;
  PetscInt64                           chunk = 0, most = INT_MAX;
  double                               flops = 0;
};

/*
   One pass over a tensor: modes and moves, with as few arrays as possible: the input (not written, unless it is the output), the output,
   and one work array of the grid from the second redistribution on (a second one only if a stage's box does not fit into the output). The modes before the first
   redistribution are done slice by slice on their way.
*/
class TensorPipe {
public:
  /* sizes: those of x, which is in stage s. y has room for ny doubles; Finish() leaves the result there. x == y is allowed. */
  TensorPipe(TensorGrid &g, const TensorSizes &sizes, int s, const double *x, double *y, PetscInt64 ny);
  /* Product along mode k, local in the present stage; done at the latest in the next Move() or Data() */
  PetscErrorCode Mode(int k, const ModeOp &op);
  /* Collective */
  PetscErrorCode Move(int to);
  /* The present array, writable, and its box */
  PetscErrorCode     Data(double **a);
  TensorBox          Box() const noexcept { return grid.Box(stage, n); }
  const TensorSizes &Sizes() const noexcept { return n; }
  PetscErrorCode     Finish();
  /* All modes that are not the identity, going to the last stage on which one of them is local (or to stage `to` if that is later) */
  PetscErrorCode Forward(const ModeOp op[], int to = 0);
  /* The modes in the opposite order, back to stage 0 */
  PetscErrorCode Backward(const ModeOp op[]);

private:
  PetscErrorCode Run();
  double        *Buffer(PetscInt64 need);

  TensorGrid                         &grid;
  TensorSizes                         n;   /* sizes after the queued modes */
  TensorSizes                         now; /* sizes of the data in cur */
  int                                 stage;
  const double                       *in;
  double                             *out, *cur;
  PetscInt64                          outsize;
  std::vector<std::pair<int, ModeOp>> queue;
};

/* Sum with a running error term (Neumaier 1974): the same to the last few bits for any distribution of the terms */
class StableSum {
public:
  void Add(double x) noexcept
  {
    const double t = sum + x;
    err += (sum >= 0 ? sum : -sum) >= (x >= 0 ? x : -x) ? (sum - t) + x : (x - t) + sum;
    sum = t;
  }
  double Value() const noexcept { return sum + err; }

private:
  double sum = 0, err = 0;
};

} // namespace skean
