/*
   Rows of K_ij = exp(u0_i + v0_j - inv c_ij) kept in memory, so that a pass at potentials near u0, v0 is two products with K and has no exponentials.

   A row is kept whole, or as its entries above a threshold where these are few. What is left out of a row or column must not count at any
   potentials within reach: with |u_i - u0_i| and |v_j - v0_j| at most `reach`, an entry below exp(-cut - 2 reach) r_i c_j is below exp(-cut) r_i c_j, so
   that no row and no column misses more than exp(-cut) of its mass.
*/
#pragma once

#include <petscsys.h>
#include <cstdint>
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace skean {
namespace transport {

/* K_j > t w_j: how many, and these with their numbers j0 + j and multiplied by f (room for n in both arrays); returns how many */
PetscInt CountAbove(PetscInt n, const double *K, double t, const double *w);
PetscInt Pack(PetscInt n, const double *K, double t, const double *w, double f, std::int32_t j0, std::int32_t *idx, double *val);
/* out_j = f K_j, zero where that is below 1e-250: products of what remains with potentials within reach are not subnormal */
void CopyScaled(PetscInt n, const double *K, double f, double *out);
/* sum_q val_q x[idx_q], and y[idx_q] += t val_q */
double SparseDot(size_t n, const std::int32_t *idx, const double *val, const double *x);
void   SparseAdd(size_t n, double t, const std::int32_t *idx, const double *val, double *y);
/* four rows at once, each read once from memory for both: s_r = x_r . y, and y += sum_r t_r x_r */
void DotRows(PetscInt n, const double *const *x, const double *y, double *s);
void AddRows(PetscInt n, const double *t, const double *const *x, double *y);
/* max_j |x_j - y_j|, x_j = exp(x_j - y_j), and x_j *= y_j */
double MaxDifference(PetscInt n, const double *x, const double *y);
void   ExpDifference(PetscInt n, const double *x, const double *y, double *out);
void   MultiplyBy(PetscInt n, const double *y, double *x);

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
  double              inv   = 0; /* of what is kept */
  bool                valid = false;
  double              reach = 0;            /* of potentials, see above */
  size_t              uses  = 0;            /* passes that used what is kept */
  std::vector<double> u0, v0;               /* by row, by column */
  double              wide = 0, narrow = 0; /* entries of rows with many and with few that count, however they are kept: the same for any number of processes */
  double              counted = 0;          /* entries that Add() was asked to count */
  double              share   = 0;          /* of the entries of a row above which it is kept whole */

  struct Row {
    size_t       at; /* of its values; idx follows the same order */
    size_t       index;
    std::int32_t count; /* entries; < 0: a whole row */
  };

  /* Starts anew for n rows of ncols columns with the given column thresholds */
  void Begin(PetscInt n, PetscInt ncols, double inverse, double r, const double *v);
  /* room for one more row of at most so many entries; false: all rows, if the others are like those so far by a factor of two, will not fit `limit` bytes */
  bool Reserve(PetscInt count, double limit);
  /* gives the memory back; nothing is kept */
  void       Free();
  const Row &At(PetscInt k) const { return rows[k]; }
  /* rows k to k + kRows, as far as there are any, are whole */
  static constexpr PetscInt kRows = 4;
  bool                      Whole(PetscInt k) const
  {
    if (k + kRows > static_cast<PetscInt>(rows.size())) return false;
    for (PetscInt r = k; r < k + kRows; ++r)
      if (rows[r].count >= 0) return false;
    return true;
  }
  const double       *Values(const Row &r) const { return val.data() + r.at; }
  const std::int32_t *Index(const Row &r) const { return idx.data() + r.index; }
  /* Row k, K in pieces that start at columns start[] and have length[] entries, times f. What is above t w_j counts, and what is above heavy w_j is counted */
  template <class Segs>
  void Add(PetscInt k, const Segs &segs, const double *K, double f, double u, double t, double heavy, const double *w)
  {
    PetscInt      above = 0;
    const double *x     = K;
    Row          &r     = rows[k];
    u0[k]               = u;
    ++added;
    for (const auto &g : segs) {
      above += CountAbove(g.nc, x, t, w + g.j);
      counted += static_cast<double>(CountAbove(g.nc, x, heavy, w + g.j));
      x += g.nc;
    }
    r.at            = nval;
    r.index         = nidx;
    x               = K;
    const bool many = above > m / 3;
    (many ? wide : narrow) += static_cast<double>(many ? m : above);
    if (above > share * m) {
      r.count       = -1;
      double  *to   = val.data() + nval;
      PetscInt done = 0;
      for (const auto &g : segs) {
        for (; done < g.j; ++done) to[done] = 0;
        CopyScaled(g.nc, x, f, to + g.j);
        done = g.j + g.nc;
        x += g.nc;
      }
      for (; done < m; ++done) to[done] = 0;
      nval += static_cast<size_t>(m);
    } else {
      r.count = static_cast<std::int32_t>(above);
      for (const auto &g : segs) {
        const PetscInt c = Pack(g.nc, x, t, w + g.j, f, static_cast<std::int32_t>(g.j), idx.data() + nidx, val.data() + nval);
        nidx += static_cast<size_t>(c);
        nval += static_cast<size_t>(c);
        x += g.nc;
      }
    }
  }

private:
  PetscInt             m = 0;
  std::vector<Row>     rows;
  Buffer<double>       val;
  Buffer<std::int32_t> idx;
  size_t               nval = 0, nidx = 0, added = 0;
};

} // namespace transport
} // namespace skean
