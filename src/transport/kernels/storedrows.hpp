/*
   Rows of x_ij = exp(base_i + v0_j - inv c_ij) kept in memory, so that a pass at potentials near u0, v0 is two products with them and has no exponentials.
   base_i = u0_i - log r_i: what a row sends to each target, relative to its mass.

   A row is kept whole, or as its entries above a threshold where these are few. What is left out of a row or column must not count at any
   potentials within reach: with |u_i - u0_i| and |v_j - v0_j| at most `reach`, an entry below exp(-cut - 2 reach) c_j is below exp(-cut) c_j, so
   that no row and no column misses more than exp(-cut) of its mass.

   Values may be kept in single precision, half the bytes. The sums of what is kept are then wrong by a part of 2^-24, which at potentials near u0, v0 is
   nearly the same part: every row is corrected by `right`, every column by `below`, the quotients of the sums as they should be and as they are at u0, v0. What
   remains is 2^-24 times the distance that the potentials have gone since.
*/
#pragma once

#include "transportkernels.hpp"
#include <petscsys.h>
#include <cstdint>
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace skean {
namespace transport {

/* out_j = f K_j, zero where products of it with potentials within reach might be subnormal. Adds to sums how many f K_j > t w_j, how many f K_j > heavy w_j, and
   sum_j out_j */
void Store(PetscInt n, const double *K, double f, double t, double heavy, const double *w, double *out, double sums[3]);
void Store(PetscInt n, const double *K, double f, double t, double heavy, const double *w, float *out, double sums[3]);
/* Adds to sums how many x_q > t w[idx_q], and how many x_q > heavy w[idx_q] */
void CountSelected(PetscInt n, const double *x, double t, double heavy, const double *w, const std::int32_t *idx, double sums[2]);
/* sum_q val_q x[idx_q], and y[idx_q] += t val_q */
double SparseDot(size_t n, const std::int32_t *idx, const double *val, const double *x);
double SparseDot(size_t n, const std::int32_t *idx, const float *val, const double *x);
void   SparseAdd(size_t n, double t, const std::int32_t *idx, const double *val, double *y);
void   SparseAdd(size_t n, double t, const std::int32_t *idx, const float *val, double *y);
/* Four rows at once (eight in single precision, avx512.hpp), each read once from memory for both: s_r = x_r . y, and y += sum_r t_r x_r */
void DotRows(PetscInt n, const double *const *x, const double *y, double *s);
void AddRows(PetscInt n, const double *t, const double *const *x, double *y);
/* as for double precision */
void   AddScaled(PetscInt n, double t, const float *K, double *b);
double Dot(PetscInt n, const float *x, const double *y);
/* max_j |x_j - y_j|, sum_j w_j min(1, |x_j - y_j|), out_j = exp(x_j - y_j), x_j *= y_j, z_j = x_j y_j */
double MaxDifference(PetscInt n, const double *x, const double *y);
double Drift(PetscInt n, const double *w, const double *x, const double *y);
void   ExpDifference(PetscInt n, const double *x, const double *y, double *out);
void   MultiplyBy(PetscInt n, const double *y, double *x);
void   ProductOf(PetscInt n, const float *x, const double *y, double *z);
void   ProductOf(PetscInt n, const double *x, const double *y, double *z);

/* Memory that grows and is not zeroed; by realloc(), which moves large blocks without copying them */
template <class T>
class Buffer {
public:
  void Grow(size_t room)
  {
    if (room <= size) return;
    const size_t more = room > size + size / 2 ? room : size + size / 2;
    void        *next = std::realloc(x.get(), more * sizeof(T));
    if (!next) throw std::bad_alloc();
    static_cast<void>(x.release());
    x.reset(static_cast<T *>(next));
    size = more;
  }
  void Free()
  {
    x.reset();
    size = 0;
  }
  T       *data() { return x.get(); }
  const T *data() const { return x.get(); }

private:
  struct Release {
    void operator()(T *p) const { std::free(p); }
  };
  std::unique_ptr<T, Release> x;
  size_t                      size = 0;
};

class StoredRows {
public:
  double              inv    = 0; /* of what is kept */
  bool                valid  = false;
  bool                single = false;       /* values in single precision */
  bool                rough  = false;       /* and computed in it */
  double              cut = 0, reach = 0;   /* see above */
  size_t              uses = 0;             /* passes that used what is kept */
  std::vector<double> u0, v0;               /* by row, by column */
  std::vector<double> base;                 /* by row: u0 without the row's mass, see above */
  std::vector<double> right, below;         /* by row, and by column of this process: see above; below may be empty */
  double              wide = 0, narrow = 0; /* entries of rows with many and with few that count, however they are kept: the same for any number of processes */
  double              counted = 0;          /* entries that Add() was asked to count */
  double              share   = 0;          /* of the entries of a row above which it is kept whole */

  struct Row {
    size_t       at; /* of its values; idx follows the same order */
    size_t       index;
    std::int32_t count; /* entries; < 0: a whole row */
  };

  /* Starts anew for n of the nglobal rows of ncols columns with the given column potentials */
  void Begin(PetscInt n, PetscInt nglobal, PetscInt ncols, double inverse, double skip, double r, bool shortened, bool approximate, const double *v);
  /* room for one more row of at most so many entries; false: all rows, if the others are like those so far by a factor of two, will not fit `limit` bytes */
  bool Reserve(PetscInt count, double limit);
  /* gives the memory back; nothing is kept */
  void       Free();
  size_t     Bytes() const { return single ? sizeof(float) : sizeof(double); }
  const Row &At(PetscInt k) const { return rows[k]; }
  /* so many whole rows of values V are used at once, as the first cache has room for; whether rows k to k + Together() are whole */
  static constexpr PetscInt kRows = 8; /* at most */
  template <class V>
  static constexpr PetscInt Together()
  {
    return sizeof(V) == sizeof(float) ? kRows : kRows / 2;
  }
  template <class V>
  bool Whole(PetscInt k) const
  {
    if (k + Together<V>() > static_cast<PetscInt>(rows.size())) return false;
    for (PetscInt r = k; r < k + Together<V>(); ++r)
      if (rows[r].count >= 0) return false;
    return true;
  }
  /* V: float if single, else double */
  template <class V>
  const V *Values(const Row &r) const
  {
    if constexpr (sizeof(V) == sizeof(float))
      return val32.data() + r.at;
    else
      return val64.data() + r.at;
  }
  const std::int32_t *Index(const Row &r) const { return idx.data() + r.index; }
  /* where the r-th of the next rows may be computed; V: float if single, else double */
  template <class V>
  V *Place(PetscInt r)
  {
    return Data<V>() + nval + static_cast<size_t>(r) * m;
  }
  /* Row k: K_j = exp(scale + v_j - inv c_j) in the pieces that start at columns start[] and have length[] entries, whose sum is `sum`; u: the row's potential.
     inplace: K is one of Place(), and the next of them. What is above bound w_j, relative to the row's mass, counts, and what is above heavy w_j is counted */
  template <class Segs, class S>
  void Add(PetscInt k, const Segs &segs, S *K, bool inplace, double sum, double scale, double u, double logmass, double bound, double heavy, const double *w,
           const float *w32)
  {
    u0[k] = u;
    ++added;
    if (single)
      Put(k, segs, K, inplace, sum, scale, u - logmass, bound, heavy, w, w32, val32);
    else if constexpr (sizeof(S) == sizeof(double))
      Put(k, segs, K, inplace, sum, scale, u - logmass, bound, heavy, w, w, val64);
  }
  /* Row k by its entries: x_q = exp(scale + v_j - inv c_j) with j = j_q, all that count, whose sum is `sum` */
  void AddSparse(PetscInt k, PetscInt count, const std::int32_t *j, const double *x, double sum, double scale, double u, double logmass, double bound,
                 double heavy, const double *w);
  /* sums_j += mass x_kj */
  void AddTo(PetscInt k, double mass, double *sums) const
  {
    const Row &r = rows[k];
    if (r.count < 0)
      AddScaled(m, mass, Values<float>(r), sums);
    else
      SparseAdd(static_cast<size_t>(r.count), mass, Index(r), Values<float>(r), sums);
  }

private:
  PetscInt             m = 0;
  std::vector<Row>     rows;
  Buffer<float>        val32;
  Buffer<double>       val64;
  Buffer<std::int32_t> idx;
  size_t               nval = 0, nidx = 0, added = 0;

  template <class V>
  V *Data()
  {
    if constexpr (sizeof(V) == sizeof(float))
      return val32.data();
    else
      return val64.data();
  }
  template <class Segs, class S, class V>
  void Put(PetscInt k, const Segs &segs, S *K, bool inplace, double sum, double scale, double relative, double bound, double heavy, const double *w,
           const V *wv, Buffer<V> &val)
  {
    Row &r = rows[k];
    /* of what is kept, relative to exp(relative + v_j - inv c_j) */
    const double norm = inplace ? std::exp(scale - relative) : 1.0, f = inplace ? 1.0 : std::exp(relative - scale);
    double       sums[3] = {0, 0, 0};
    V           *to      = val.data() + nval;

    base[k] = inplace ? scale : relative;
    if constexpr (sizeof(S) == sizeof(V))
      if (inplace) to = K;
    for (const auto &g : segs) {
      if (inplace)
        Count(g.nc, to + g.j, bound * norm, heavy * norm, wv + g.j, sums);
      else if constexpr (sizeof(S) == sizeof(double))
        Store(g.nc, K + g.j, f, bound, heavy, w + g.j, to + g.j, sums);
    }
    const PetscInt above = static_cast<PetscInt>(sums[0]);
    const bool     many  = above > m / 3;
    (many ? wide : narrow) += static_cast<double>(many ? m : above);
    counted += sums[1];
    if (single && !inplace && sums[2] > 0) right[k] = f * sum / sums[2];
    r.at    = nval;
    r.index = nidx;
    if (above > share * m) {
      PetscInt done = 0;
      for (const auto &g : segs) {
        std::fill(to + done, to + g.j, V(0));
        done = g.j + g.nc;
      }
      std::fill(to + done, to + m, V(0));
      r.count = -1;
      if (to != val.data() + nval) std::copy_n(to, m, val.data() + nval); /* to lower places */
      nval += static_cast<size_t>(m);
    } else { /* to lower places again. How many there are is what Pack() says: Count() rounds thresholds otherwise */
      PetscInt packed = 0;
      for (const auto &g : segs)
        packed += Pack(g.nc, to + g.j, bound * norm, w + g.j, static_cast<std::int32_t>(g.j), idx.data() + nidx + packed, val.data() + nval + packed);
      r.count = static_cast<std::int32_t>(packed);
      nidx += static_cast<size_t>(packed);
      nval += static_cast<size_t>(packed);
    }
  }
};

} // namespace transport
} // namespace skean
