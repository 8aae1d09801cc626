#include "kronsum.hpp"
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <cmath>

namespace skean {
namespace gp {

PetscErrorCode ApplyModes(TensorGrid &grid, const TensorSizes &nin, const Dense *const F[], bool trans, const double *in, std::vector<double> &out)
{
  ModeOp      op[kTensorMaxDim];
  TensorSizes nout = nin;

  PetscFunctionBegin;
  for (int k = 0; k < grid.Dim(); k++) {
    op[k] = ModeOp::Identity(nin[k]);
    if (F[k])
      op[k] = ModeOp::Dense(static_cast<PetscInt64>(F[k]->m), static_cast<PetscInt64>(F[k]->n), F[k]->a.data(),
                            std::max<PetscInt64>(1, static_cast<PetscInt64>(F[k]->m)), trans);
    nout[k] = op[k].m;
  }
  const PetscInt64 size = grid.Box(0, nout).Volume();
  PetscCallCXX(out.assign(static_cast<size_t>(size), 0.0));
  TensorPipe pipe(grid, nin, 0, in, out.data(), size);
  PetscCall(pipe.Forward(op));
  PetscCall(pipe.Move(0));
  PetscCall(pipe.Finish());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KroneckerSum::Setup(TensorGrid *g, const Dense B[], double s, bool *ok)
{
  PetscFunctionBegin;
  grid = g;
  d    = g->Dim();
  for (int k = 0; k < d; k++) {
    A[k] = B[k];
    m[k] = static_cast<PetscInt64>(B[k].m);
  }
  *ok = true;
  if (d == 2) {
    for (int k = 0; k < 2; k++) PetscCallCXX(*ok = RealSchur(A[k], Q[k], T[k]) && *ok);
  } else if (d == 3) {
    PetscCallCXX({
      std::vector<Complex> l;
      CDense               X;
      CDense               Xinv;
      *ok = ComplexEig(A[0], l, X, Xinv, &condition);
      for (int k = 0; k < 2; k++) *ok = ComplexSchur(A[k + 1], CQ[k], CT[k]) && *ok;
      lambda.clear();
      std::vector<size_t> keep;
      for (size_t j = 0; j < l.size(); j++)
        if (l[j].imag() >= 0) keep.push_back(j), lambda.push_back(l[j]);
      const size_t n  = A[0].m;
      const size_t nc = keep.size();
      Xr = Dense(n, nc), Xi = Dense(n, nc), Yr = Dense(nc, n), Yi = Dense(nc, n);
      for (size_t c = 0; c < nc && *ok; c++) {
        /* a pair contributes x y + conj = 2 Re */
        const double two = l[keep[c]].imag() > 0 ? 2.0 : 1.0;
        for (size_t i = 0; i < n; i++) {
          Xr(i, c) = two * X(i, keep[c]).real();
          Xi(i, c) = -two * X(i, keep[c]).imag();
          Yr(c, i) = Xinv(keep[c], i).real();
          Yi(c, i) = Xinv(keep[c], i).imag();
        }
      }
    });
  }
  PetscCall(AgreeAny(grid->Comm(), !*ok, ok));
  *ok = !*ok;
  if (*ok) PetscCall(SetShift(s, ok));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KroneckerSum::SetShift(double s, bool *ok)
{
  PetscFunctionBegin;
  shift = s;
  *ok   = true;
  if (d == 1) {
    PetscCallCXX(T[0] = A[0]);
    for (size_t i = 0; i < A[0].m; i++) T[0](i, i) += shift;
    PetscCallCXX(*ok = LUFactor(T[0], piv));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KroneckerSum::Apply(const double *x, double sh, std::vector<double> &y)
{
  const PetscInt64    size = grid->Box(0, m).Volume();
  std::vector<double> t;

  PetscFunctionBegin;
  PetscCallCXX(y.assign(x, x + size));
  for (double &v : y) v *= sh;
  for (int k = 0; k < d; k++) {
    const Dense *F[3] = {nullptr, nullptr, nullptr};
    F[k]              = &A[k];
    PetscCall(ApplyModes(*grid, m, F, false, x, t));
    for (size_t i = 0; i < y.size(); i++) y[i] += t[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* d = 1: the whole vector on every process; offset and size of the own part */
static PetscErrorCode Collect(TensorGrid &grid, const TensorSizes &m, const double *b, std::vector<double> &all, size_t *offset, size_t *size)
{
  const TensorBox  box = grid.Box(0, m);
  PetscMPIInt      np;
  std::vector<int> count, displ;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_size(grid.Comm(), &np));
  PetscCallCXX(count.resize(static_cast<size_t>(np)));
  PetscCallCXX(displ.resize(static_cast<size_t>(np)));
  int filled = 0;
  for (int r = 0; r < np; r++) {
    count[static_cast<size_t>(r)] = static_cast<int>(grid.Box(0, m, r).Volume());
    displ[static_cast<size_t>(r)] = filled;
    filled += count[static_cast<size_t>(r)];
  }
  PetscCallCXX(all.resize(static_cast<size_t>(filled)));
  PetscCallMPI(MPI_Allgatherv(b, static_cast<int>(box.Volume()), MPI_DOUBLE, all.data(), count.data(), displ.data(), MPI_DOUBLE, grid.Comm()));
  *size   = static_cast<size_t>(box.Volume());
  *offset = *size ? static_cast<size_t>(box.lo[0]) : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   T_0 Y + Y (T_1 + shift)' = B with quasi-triangular T_0, T_1; Y and B by slabs of dimension 0, Y overwrites B. Backward substitution by blocks of rows:
   the last process that has rows solves its block and sends it to those before it, which take it out of theirs; then the next one. Where a
   2 x 2 block of T_0 lies on both sides of a border, the process behind the border borrows the row before it. Each process holds one other block at a time.
*/
PetscErrorCode KroneckerSum::Substitute(double *y, bool *ok)
{
  PetscMPIInt         rank, np;
  std::vector<size_t> lo, hi; /* rows solved by a process; own rows are box.lo[0] ... box.hi[0] */
  std::vector<double> block;
  const size_t        m1  = static_cast<size_t>(m[1]);
  const TensorBox     box = grid->Box(0, m);
  const size_t        own = static_cast<size_t>(box.lo[0]), end = static_cast<size_t>(box.hi[0]);

  PetscFunctionBegin;
  *ok = true;
  PetscCallMPI(MPI_Comm_rank(grid->Comm(), &rank));
  PetscCallMPI(MPI_Comm_size(grid->Comm(), &np));
  PetscCheck(m[0] * m[1] < PETSC_MPI_INT_MAX, grid->Comm(), PETSC_ERR_SUP, "%" PetscInt64_FMT " coefficients in two dimensions", m[0] * m[1]);
  for (int r = 0; r < np; r++) {
    const TensorBox b = grid->Box(0, m, r);
    PetscCallCXX(lo.push_back(static_cast<size_t>(b.lo[0])));
    PetscCallCXX(hi.push_back(b.Volume() ? static_cast<size_t>(b.hi[0]) : static_cast<size_t>(b.lo[0])));
    if (lo.back() < hi.back() && lo.back() > 0 && T[0](lo.back(), lo.back() - 1) != 0) lo.back()--;
  }
  /* what is borrowed is not solved by its owner: the process before, the only one next to it */
  for (size_t r = lo.size(), next = static_cast<size_t>(m[0]); r-- > 0;) {
    if (lo[r] == hi[r]) continue;
    hi[r] = next;
    next  = lo[r];
  }
  Dense S;
  PetscCallCXX({
    S = T[1];
    for (size_t i = 0; i < m1; i++) S(i, i) += shift;
  });
  for (int r = np - 1; r >= 0; r--) {
    const size_t a = lo[static_cast<size_t>(r)], e = hi[static_cast<size_t>(r)], rows = a < e ? e - a : 0;
    if (!rows) continue;
    const size_t border = static_cast<size_t>(grid->Box(0, m, r).lo[0]);
    PetscCallCXX(block.resize(rows * m1));
    if (a < border) {
      /* the owner of row a is the last process before r that has rows */
      int from = r - 1;
      while (grid->Box(0, m, from).Volume() == 0) from--;
      if (rank == from) PetscCallMPI(MPI_Send(y + (a - own) * m1, static_cast<int>(m1), MPI_DOUBLE, r, 0, grid->Comm()));
      if (rank == r) PetscCallMPI(MPI_Recv(block.data(), static_cast<int>(m1), MPI_DOUBLE, from, 0, grid->Comm(), MPI_STATUS_IGNORE));
    }
    if (rank == r)
      PetscCallCXX({
        /* natural order is column major of the transpose: S Y' + Y' T_0' */
        Dense Tb(rows, rows);
        Dense Y(m1, rows);
        for (size_t j = 0; j < rows; j++)
          for (size_t i = 0; i < rows; i++) Tb(i, j) = T[0](a + i, a + j);
        std::copy_n(y, (e - own) * m1, block.begin() + static_cast<std::ptrdiff_t>((border - a) * m1));
        Y.a.swap(block);
        *ok = Sylvester(S, Tb, Y);
        Y.a.swap(block);
      });
    PetscCallMPI(MPI_Bcast(block.data(), static_cast<int>(rows * m1), MPI_DOUBLE, r, grid->Comm()));
    if (box.Volume()) {
      for (size_t i = std::max(a, own); i < std::min(e, end); i++) std::copy_n(block.data() + (i - a) * m1, m1, y + (i - own) * m1);
      /* Y_q -= T_0(q, r) Y_r for the own rows before a */
      const size_t before = std::min(a, end) > own ? std::min(a, end) - own : 0;
      if (before) {
        const PetscBLASInt M = static_cast<PetscBLASInt>(m1), N = static_cast<PetscBLASInt>(before), K = static_cast<PetscBLASInt>(rows),
                           ld = static_cast<PetscBLASInt>(T[0].m);
        const double minus = -1, one = 1;
        BLASgemm_("N", "T", &M, &N, &K, &minus, block.data(), &M, T[0].Col(a) + own, &ld, &one, y, &M);
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KroneckerSum::Solve(const double *b, double *x, bool *ok)
{
  PetscFunctionBegin;
  *ok = true;
  if (d == 1) {
    std::vector<double> all;
    size_t              offset = 0, size = 0;
    PetscCall(Collect(*grid, m, b, all, &offset, &size));
    PetscCallCXX({
      Dense B(A[0].m, 1);
      B.a = all;
      LUSolve(T[0], piv, B);
      std::copy_n(B.a.begin() + static_cast<std::ptrdiff_t>(offset), size, x);
    });
  } else if (d == 2) {
    const Dense        *F[2] = {&Q[0], &Q[1]};
    std::vector<double> y, z;
    PetscCall(ApplyModes(*grid, m, F, true, b, y));
    PetscCall(Substitute(y.data(), ok));
    PetscCall(ApplyModes(*grid, m, F, false, y.data(), z));
    std::copy(z.begin(), z.end(), x);
  } else {
    std::vector<double> re, im;
    const Dense        *FR[3] = {&Yr, nullptr, nullptr}, *FI[3] = {&Yi, nullptr, nullptr};
    TensorSizes         mc = m;
    PetscCall(ApplyModes(*grid, m, FR, false, b, re));
    PetscCall(ApplyModes(*grid, m, FI, false, b, im));
    mc[0]              = static_cast<PetscInt64>(lambda.size());
    const TensorBox bx = grid->Box(0, mc);
    const size_t    m1 = A[1].m, m2 = A[2].m;
    PetscCallCXX({
      CDense B(m2, m1), Y, Z;
      for (PetscInt64 c = 0; c < bx.Length(0); c++) {
        double *r = re.data() + static_cast<size_t>(c) * m1 * m2, *i = im.data() + static_cast<size_t>(c) * m1 * m2;
        for (size_t t = 0; t < m1 * m2; t++) B.a[t] = Complex(r[t], i[t]);
        MultiplyComplex(true, CQ[1], false, B, Z);
        MultiplyComplex(false, Z, false, CQ[0], Y);
        *ok = SylvesterComplex(CT[1], lambda[static_cast<size_t>(bx.lo[0] + c)] + shift, CT[0], Y) && *ok;
        MultiplyComplex(false, CQ[1], false, Y, Z);
        MultiplyComplex(false, Z, true, CQ[0], Y);
        for (size_t t = 0; t < m1 * m2; t++) r[t] = Y.a[t].real(), i[t] = Y.a[t].imag();
      }
    });
    std::vector<double> xr, xi;
    FR[0] = &Xr;
    FI[0] = &Xi;
    PetscCall(ApplyModes(*grid, mc, FR, false, re.data(), xr));
    PetscCall(ApplyModes(*grid, mc, FI, false, im.data(), xi));
    for (size_t t = 0; t < xr.size(); t++) x[t] = xr[t] + xi[t];
  }
  PetscCall(AgreeAny(grid->Comm(), !*ok, ok));
  *ok = !*ok;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KroneckerSum::SolveRefined(const double *b, std::vector<double> &x, double *residual, bool *ok)
{
  const size_t        size = static_cast<size_t>(grid->Box(0, m).Volume());
  std::vector<double> r, y, best;
  FlaggedSum          sum(2);

  PetscFunctionBegin;
  PetscCallCXX(x.assign(size, 0.0));
  PetscCallCXX(r.assign(b, b + size));
  *residual = 1.0;
  for (int it = 0; it < 6; it++) {
    PetscCallCXX(y.assign(size, 0.0));
    PetscCall(Solve(r.data(), y.data(), ok));
    if (!*ok) break;
    PetscCallCXX(best = x);
    for (size_t i = 0; i < size; i++) x[i] += y[i];
    PetscCall(Apply(x.data(), shift, r));
    sum.Zero();
    for (size_t i = 0; i < size; i++) {
      r[i] = b[i] - r[i];
      sum[0] += r[i] * r[i];
      sum[1] += b[i] * b[i];
    }
    PetscCall(sum.Reduce(grid->Comm(), false, nullptr));
    if (sum[1] == 0) {
      *residual = 0;
      break;
    }
    const double now = std::sqrt(sum[0] / sum[1]);
    if (!(now < *residual)) {
      /* no better than before: keep the better one, unless there is none */
      if (it > 0)
        x = best;
      else
        *ok = false;
      break;
    }
    const bool stop = now > 0.3 * *residual || now < 1e-15;
    *residual       = now;
    if (stop) break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace gp
} // namespace skean
