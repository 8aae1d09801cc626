/* Products with even and odd parts; see evenodd.hpp */
#include <skean/private/evenodd.hpp>
#include <petscblaslapack.h>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace skean {

namespace {

/* Even part with the middle row and column times middle, and odd part of a centrosymmetric matrix, all times scale */
void Parts(PetscInt64 n, const double *A, double scale, double middle, std::vector<double> *E, std::vector<double> *O)
{
  const PetscInt64 h = n / 2, e = n - h;
  const auto       a = [&](PetscInt64 i, PetscInt64 j) { return 0.5 * (A[i + j * n] + A[(n - 1 - i) + (n - 1 - j) * n]); };

  E->resize(e * e);
  O->resize(h * h);
  for (PetscInt64 j = 0; j < h; ++j)
    for (PetscInt64 i = 0; i < h; ++i) {
      (*E)[i + j * e] = scale * (a(i, j) + a(i, n - 1 - j));
      (*O)[i + j * h] = scale * (a(i, j) - a(i, n - 1 - j));
    }
  if (e > h) {
    for (PetscInt64 i = 0; i < h; ++i) {
      (*E)[i + h * e] = middle * a(i, h);
      (*E)[h + i * e] = middle * a(h, i);
    }
    (*E)[h + h * e] = a(h, h);
  }
}

} // namespace

void SplitCentro(PetscInt64 n, const double *A, std::vector<double> *E, std::vector<double> *O)
{
  Parts(n, A, 1.0, std::sqrt(2.0), E, O);
}

std::shared_ptr<const EvenOdd> EvenOdd::Matrix(PetscInt64 n, const double *A)
{
  std::shared_ptr<EvenOdd> f(new EvenOdd());

  f->rows = f->cols = n;
  f->paired         = true;
  Parts(n, A, 0.5, 1.0, &f->E, &f->O);
  return f;
}

std::shared_ptr<const EvenOdd> EvenOdd::Join(PetscInt64 n, std::vector<double> E, std::vector<double> O)
{
  const PetscInt64         h = n / 2, e = n - h;
  std::shared_ptr<EvenOdd> f(new EvenOdd());

  for (PetscInt64 j = 0; j < e; ++j)
    for (PetscInt64 i = 0; i < e; ++i) E[i + j * e] *= i < h && j < h ? 0.5 : i < h || j < h ? std::sqrt(0.5) : 1.0;
  for (double &v : O) v *= 0.5;
  f->rows = f->cols = n;
  f->paired         = true;
  f->E              = std::move(E);
  f->O              = std::move(O);
  return f;
}

std::shared_ptr<const EvenOdd> EvenOdd::Columns(PetscInt64 n, std::vector<double> E, std::vector<double> O, std::vector<PetscInt> even,
                                                std::vector<PetscInt> odd)
{
  std::shared_ptr<EvenOdd> f(new EvenOdd());
  f->rows = n;
  f->cols = static_cast<PetscInt64>(even.size() + odd.size());
  f->E    = std::move(E);
  f->O    = std::move(O);
  f->even = std::move(even);
  f->odd  = std::move(odd);
  return f;
}

std::vector<double> EvenOdd::ToDense() const
{
  const PetscInt64    h = rows / 2, e = rows - h, ce = EvenCols(), co = OddCols();
  std::vector<double> F(static_cast<size_t>(rows * cols), 0.0);

  /* adds f v to column j, v continued to the other half of the rows with the sign given */
  const auto Add = [&](PetscInt64 j, const double *v, double sign, double f) {
    for (PetscInt64 i = 0; i < h; ++i) {
      F[i + j * rows] += f * v[i];
      F[rows - 1 - i + j * rows] += sign * f * v[i];
    }
    if (sign > 0 && e > h) F[h + j * rows] += f * v[h];
  };
  for (PetscInt64 k = 0; k < ce; ++k) {
    const double *v = E.data() + k * e;
    if (!paired)
      Add(even[k], v, 1.0, 1.0);
    else {
      Add(k, v, 1.0, 1.0);
      if (k != cols - 1 - k) Add(cols - 1 - k, v, 1.0, 1.0);
    }
  }
  for (PetscInt64 k = 0; k < co; ++k) {
    const double *v = O.data() + k * h;
    Add(paired ? k : odd[k], v, -1.0, 1.0);
    if (paired) Add(cols - 1 - k, v, -1.0, -1.0);
  }
  return F;
}

namespace {

/* C = op(F) B for columns, or C = B op(F)' for rows; F m x k as stored before op. No k: C is not touched */
void Part(bool rows, bool trans, PetscInt64 c, PetscInt64 fm, PetscInt64 fk, const double *F, const double *B, PetscInt64 ldb, double *C, PetscInt64 ldc)
{
  if (!fm || !fk || !c) return;
  const PetscBLASInt bc = static_cast<PetscBLASInt>(c), m = static_cast<PetscBLASInt>(trans ? fk : fm), k = static_cast<PetscBLASInt>(trans ? fm : fk),
                     lf = static_cast<PetscBLASInt>(fm), lb = static_cast<PetscBLASInt>(ldb), lc = static_cast<PetscBLASInt>(ldc);
  const double one = 1.0, zero = 0.0;
  if (rows)
    BLASgemm_("N", trans ? "N" : "T", &bc, &m, &k, &one, B, &lb, F, &lf, &zero, C, &lc);
  else
    BLASgemm_(trans ? "T" : "N", "N", &m, &bc, &k, &one, F, &lf, B, &lb, &zero, C, &lc);
}

} // namespace

void EvenOdd::ApplyToRows(bool trans, PetscInt64 c, const double *x, PetscInt64 ldx, double *y, PetscInt64 ldy, double *work) const
{
  const PetscInt64 ld = c + kPad, ei = trans ? EvenRows() : EvenCols(), oi = trans ? OddRows() : OddCols(), eo = trans ? EvenCols() : EvenRows(),
                   n = trans ? rows : cols, m = trans ? cols : rows;
  double *s = work, *d = s + ei * ld, *u = d + oi * ld, *v = u + eo * ld;

  if (trans || paired) {
    for (PetscInt64 i = 0; i < n / 2; ++i) {
      const double *a = x + i * ldx, *b = x + (n - 1 - i) * ldx;
      double       *p = s + i * ld, *q = d + i * ld;
      for (PetscInt64 r = 0; r < c; ++r) {
        p[r] = a[r] + b[r];
        q[r] = a[r] - b[r];
      }
    }
    if (n % 2) std::memcpy(s + (n / 2) * ld, x + (n / 2) * ldx, sizeof(double) * c);
  } else {
    for (PetscInt64 k = 0; k < ei; ++k) std::memcpy(s + k * ld, x + even[k] * ldx, sizeof(double) * c);
    for (PetscInt64 k = 0; k < oi; ++k) std::memcpy(d + k * ld, x + odd[k] * ldx, sizeof(double) * c);
  }
  Part(true, trans, c, EvenRows(), EvenCols(), E.data(), s, ld, u, ld);
  Part(true, trans, c, OddRows(), OddCols(), O.data(), d, ld, v, ld);
  if (!trans || paired) {
    const bool noodd = !oi; /* rows equal in pairs */
    for (PetscInt64 i = 0; i < m / 2; ++i) {
      const double *p = u + i * ld, *q = v + i * ld;
      double       *a = y + i * ldy, *b = y + (m - 1 - i) * ldy;
      if (noodd) {
        std::memcpy(a, p, sizeof(double) * c);
        std::memcpy(b, p, sizeof(double) * c);
      } else
        for (PetscInt64 r = 0; r < c; ++r) {
          a[r] = p[r] + q[r];
          b[r] = p[r] - q[r];
        }
    }
    if (m % 2) std::memcpy(y + (m / 2) * ldy, u + (m / 2) * ld, sizeof(double) * c);
  } else {
    for (size_t k = 0; k < even.size(); ++k) std::memcpy(y + even[k] * ldy, u + k * ld, sizeof(double) * c);
    for (size_t k = 0; k < odd.size(); ++k) std::memcpy(y + odd[k] * ldy, v + k * ld, sizeof(double) * c);
  }
}

void EvenOdd::ApplyToColumns(bool trans, PetscInt64 c, const double *x, PetscInt64 ldx, double *y, PetscInt64 ldy, double *work) const
{
  const PetscInt64 ei = trans ? EvenRows() : EvenCols(), oi = trans ? OddRows() : OddCols(), eo = trans ? EvenCols() : EvenRows(),
                   oo = trans ? OddCols() : OddRows(), n = trans ? rows : cols, m = trans ? cols : rows;
  double *s = work, *d = s + ei * c, *u = d + oi * c, *v = u + eo * c;

  for (PetscInt64 q = 0; q < c; ++q) {
    const double *a  = x + q * ldx;
    double       *sq = s + q * ei, *dq = d + q * oi;
    if (trans || paired) {
      for (PetscInt64 i = 0; i < n / 2; ++i) {
        sq[i] = a[i] + a[n - 1 - i];
        dq[i] = a[i] - a[n - 1 - i];
      }
      if (n % 2) sq[n / 2] = a[n / 2];
    } else {
      for (PetscInt64 k = 0; k < ei; ++k) sq[k] = a[even[k]];
      for (PetscInt64 k = 0; k < oi; ++k) dq[k] = a[odd[k]];
    }
  }
  Part(false, trans, c, EvenRows(), EvenCols(), E.data(), s, ei, u, eo);
  Part(false, trans, c, OddRows(), OddCols(), O.data(), d, oi, v, oo);
  for (PetscInt64 q = 0; q < c; ++q) {
    const double *uq = u + q * eo, *vq = v + q * oo;
    double       *b = y + q * ldy;
    if (!trans || paired) {
      if (!oi)
        for (PetscInt64 i = 0; i < m / 2; ++i) b[i] = b[m - 1 - i] = uq[i];
      else
        for (PetscInt64 i = 0; i < m / 2; ++i) {
          b[i]         = uq[i] + vq[i];
          b[m - 1 - i] = uq[i] - vq[i];
        }
      if (m % 2) b[m / 2] = uq[m / 2];
    } else {
      for (size_t k = 0; k < even.size(); ++k) b[even[k]] = uq[k];
      for (size_t k = 0; k < odd.size(); ++k) b[odd[k]] = vq[k];
    }
  }
}

double CentroDistance(PetscInt64 n, const double *A, double most)
{
  double norm = 0, off = 0;
  for (PetscInt64 i = 0; i < n * n; ++i) norm += A[i] * A[i];
  if (!std::isfinite(norm) || norm < 1e-240) return std::numeric_limits<double>::infinity(); /* squares of the differences must not underflow */
  const double limit = 4 * most * most * norm;
  for (PetscInt64 j = 0; j < n && off <= limit; ++j)
    for (PetscInt64 i = 0; i < n; ++i) {
      const double e = A[i + j * n] - A[(n - 1 - i) + (n - 1 - j) * n];
      off += e * e;
    }
  return off > 0 ? 0.5 * std::sqrt(off / norm) : 0.0;
}

} // namespace skean
