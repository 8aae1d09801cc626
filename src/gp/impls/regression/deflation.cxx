/* Preconditioner of the missing block by the leading eigenvectors of the covariance: see gpdeflation.hpp */
#include <skean/private/gpdeflation.hpp>
#include <skean/private/lapack.hpp>
#include <skean/private/reduce.hpp>
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace skean {
namespace gp {

/* ---- the set of modes ------------------------------------------------------------------------------------------------------------- */

size_t ModeSet::CountAbove(double threshold, size_t limit) const
{
  size_t    count = 0;
  const int d     = static_cast<int>(lam.size());
  /* largest product of the dimensions after k */
  std::vector<double> rest(d + 1, 1.0);
  for (int k = d - 1; k >= 0; --k) rest[k] = rest[k + 1] * (lam[k].empty() ? 0.0 : lam[k][0]);
  std::function<void(int, double)> Walk = [&](int k, double p) {
    if (k == d) {
      ++count;
      return;
    }
    for (double l : lam[k]) {
      if (!(p * l * rest[k + 1] > threshold) || count > limit) return;
      Walk(k + 1, p * l);
    }
  };
  Walk(0, 1.0);
  return count;
}

void ModeSet::Build(double threshold)
{
  const int           d = static_cast<int>(lam.size());
  std::vector<double> before(d + 1, 1.0); /* largest product of the dimensions before k */
  for (int k = 0; k < d; ++k) before[k + 1] = before[k] * (lam[k].empty() ? 0.0 : lam[k][0]);
  level.assign(d + 1, Level());
  level[d].value = {1.0};
  level[d].order = {0};
  for (int k = d - 1; k >= 0; --k) {
    Level              &s = level[k];
    const Level        &t = level[k + 1];
    std::vector<double> v;
    s.first = {0};
    for (double l : lam[k]) {
      size_t m = 0;
      while (m < t.Count() && before[k] * l * t.value[m] > threshold) v.push_back(l * t.value[m++]);
      if (!m) break;
      s.take.push_back(m);
      s.first.push_back(v.size());
    }
    s.order.resize(v.size());
    std::iota(s.order.begin(), s.order.end(), 0);
    std::stable_sort(s.order.begin(), s.order.end(), [&](size_t a, size_t b) { return v[a] > v[b]; });
    for (size_t p : s.order) s.value.push_back(v[p]);
  }
}

void ModeSet::List(std::vector<size_t> *idx, std::vector<double> *value) const
{
  const int           d = static_cast<int>(lam.size());
  std::vector<size_t> at(d);
  /* entries of S_k in their order, below the prefix in at */
  std::function<void(int, size_t, double)> Entry = [&](int k, size_t e, double p) {
    if (k == d) {
      idx->insert(idx->end(), at.begin(), at.end());
      value->push_back(p);
      return;
    }
    const Level &s = level[k];
    const size_t a = static_cast<size_t>(std::upper_bound(s.first.begin(), s.first.end(), e) - s.first.begin()) - 1;
    at[k]          = a;
    Entry(k + 1, level[k + 1].order[e - s.first[a]], p * lam[k][a]);
  };
  for (size_t e = 0; e < Count(); ++e) Entry(0, e, 1.0);
}

/* ---- the Gram matrix ---------------------------------------------------------------------------------------------------------------- */

namespace {

class Summation {
public:
  Summation(const ModeSet &m, const TensorBox &b, const unsigned char *k, const std::vector<std::vector<double>> &q) : set(m), box(b), keep(k), Q(q), d(b.d)
  {
    inner.resize(d + 1);
    block.resize(d + 1);
    points.resize(d + 1, 1);
    for (int j = d - 1; j >= 0; --j) points[j] = points[j + 1] * box.Length(j);
  }
  /* Adds the points at .. at + points[k] to the lower triangle of g, in the order of the entries of S_k; false: there are none */
  bool Add(int k, PetscInt64 at, double *g)
  {
    const ModeSet::Level &s = set.level[k], &t = set.level[k + 1];
    const size_t          S = s.Count(), T = t.Count(), R = s.take.size();
    if (k == d - 1) { /* rows of Q at the missing points, then one product */
      std::vector<double> &w = inner[k];
      w.clear();
      for (PetscInt64 m = 0; m < box.Length(k); ++m)
        if (!keep[at + m]) w.insert(w.end(), &Q[k][(box.lo[k] + m) * R], &Q[k][(box.lo[k] + m) * R] + S);
      if (w.empty()) return false;
      const PetscBLASInt bs = static_cast<PetscBLASInt>(S), bm = static_cast<PetscBLASInt>(w.size() / S);
      const double       one = 1.0;
      dsyrk_("U", "N", &bs, &bm, &one, w.data(), &bs, &one, g, &bs); /* upper by columns: lower by rows */
      return true;
    }
    bool any = false;
    for (PetscInt64 m = 0; m < box.Length(k);) {
      /* up to kPanel indices that have missing points: their sums over the inner dimensions, symmetric, in descending order */
      const double *row[kPanel];
      size_t        np = 0;
      inner[k].resize(kPanel * T * T);
      for (; m < box.Length(k) && np < kPanel; ++m) {
        block[k].assign(T * T, 0.0);
        if (!Add(k + 1, at + m * points[k + 1], block[k].data())) continue;
        double *const h = inner[k].data() + np * T * T;
        for (size_t p = 0; p < T; ++p)
          for (size_t q = 0; q <= p; ++q) {
            const size_t i = t.order[p], j = t.order[q];
            h[p * T + q] = h[q * T + p] = i >= j ? block[k][i * T + j] : block[k][j * T + i];
          }
        row[np++] = &Q[k][(box.lo[k] + m) * R];
      }
      if (!np) continue;
      any = true;
      for (size_t a = 0; a < R; ++a)
        for (size_t b = 0; b <= a; ++b) {
          double w[kPanel];
          for (size_t q = 0; q < kPanel; ++q) w[q] = q < np ? row[q][a] * row[q][b] : 0.0;
          for (size_t i = 0; i < s.take[a]; ++i) {
            double *const       out = g + (s.first[a] + i) * S + s.first[b];
            const size_t        nj  = a == b ? i + 1 : s.take[b];
            const double *const h   = inner[k].data() + i * T;
            if (np == kPanel) {
              const double *const h1 = h + T * T, *const h2 = h1 + T * T, *const h3 = h2 + T * T;
              for (size_t j = 0; j < nj; ++j) out[j] += (w[0] * h[j] + w[1] * h1[j]) + (w[2] * h2[j] + w[3] * h3[j]);
            } else
              for (size_t q = 0; q < np; ++q)
                for (size_t j = 0; j < nj; ++j) out[j] += w[q] * h[q * T * T + j];
          }
        }
    }
    return any;
  }

private:
  static constexpr size_t                 kPanel = 4;
  const ModeSet                          &set;
  const TensorBox                        &box;
  const unsigned char                    *keep;
  const std::vector<std::vector<double>> &Q;
  const int                               d;
  std::vector<std::vector<double>>        inner, block;
  std::vector<PetscInt64>                 points;
};

} // namespace

void MaskedGram(const ModeSet &set, const TensorBox &box, const unsigned char *keep, const std::vector<std::vector<double>> &Q, double *G)
{
  if (box.Volume() <= 0 || !set.Count()) return;
  (void)Summation(set, box, keep, Q).Add(0, 0, G);
}

/* ---- the preconditioner --------------------------------------------------------------------------------------------------------------- */

PetscErrorCode GapDeflation::SetUp(TensorGrid &grid, const std::vector<KronEigen> &eig, const unsigned char *mask, double s, double wanted, size_t maxmodes)
{
  ModeSet                          set;
  std::vector<std::vector<size_t>> rank; /* rank[j][a]: the eigenvector of dimension j with the a-th largest eigenvalue */
  std::vector<std::vector<double>> Q;
  double                           largest = 1;

  PetscFunctionBegin;
  ready = false;
  ratio = s;
  d     = grid.Dim();
  PetscCallCXX({
    set.lam.resize(d);
    rank.resize(d);
    Q.resize(d);
    V.resize(d);
    for (int j = 0; j < d; ++j) {
      const std::vector<double> &l = eig[j].lambda;
      rank[j].resize(l.size());
      std::iota(rank[j].begin(), rank[j].end(), 0);
      std::stable_sort(rank[j].begin(), rank[j].end(), [&](size_t a, size_t b) { return l[a] > l[b]; });
      for (size_t a : rank[j])
        if (l[a] > 0) set.lam[j].push_back(l[a]);
      largest *= set.lam[j].empty() ? 0.0 : set.lam[j][0];
    }
  });
  /* the threshold: theta, or what leaves maxmodes modes */
  double lo = wanted * ratio, hi = largest;
  if (!(hi > lo) || !maxmodes) PetscFunctionReturn(PETSC_SUCCESS);
  if (set.CountAbove(lo, maxmodes) > maxmodes) {
    for (int step = 0; step < 60 && hi > lo * 1.001; ++step) {
      const double mid                                     = std::sqrt(lo * hi);
      (set.CountAbove(mid, maxmodes) > maxmodes ? lo : hi) = mid;
    }
    lo = hi;
  }
  PetscCallCXX(set.Build(lo));
  r     = set.Count();
  theta = lo / ratio;
  if (!r) PetscFunctionReturn(PETSC_SUCCESS);
  std::vector<size_t> idx;
  std::vector<double> lambda;
  PetscCallCXX({
    set.List(&idx, &lambda);
    for (int j = 0; j < d; ++j) {
      const size_t nj = eig[j].lambda.size(), rj = set.level[j].take.size();
      small[j] = static_cast<PetscInt64>(rj);
      V[j].resize(nj * rj);
      Q[j].resize(nj * rj);
      for (size_t a = 0; a < rj; ++a)
        for (size_t m = 0; m < nj; ++m) Q[j][m * rj + a] = V[j][a * nj + m] = eig[j].V[rank[j][a] * nj + m];
    }
    H.assign(r * r, 0.0);
  });
  PetscCallCXX(MaskedGram(set, grid.Home(), mask, Q, H.data()));
  /* the lower triangle, packed for the sum over the processes */
  for (size_t i = 0; i < r; ++i) std::copy(&H[i * r], &H[i * r] + i + 1, &H[i * (i + 1) / 2]);
  PetscCall(AllreduceSum(grid.Comm(), H.data(), r * (r + 1) / 2));
  for (size_t i = r; i-- > 0;) std::copy_backward(&H[i * (i + 1) / 2], &H[i * (i + 1) / 2] + i + 1, &H[i * r] + i + 1);
  for (size_t i = 0; i < r; ++i) {
    for (size_t j = 0; j < i; ++j) H[i * r + j] = -H[i * r + j];
    H[i * r + i] = 1 + ratio / lambda[i] - H[i * r + i];
  }
  const PetscBLASInt br = static_cast<PetscBLASInt>(r);
  PetscBLASInt       info;
  LAPACKpotrf_("U", &br, H.data(), &br, &info); /* upper by columns: lower by rows */
  bool failed = info != 0;
  PetscCall(AgreeAny(grid.Comm(), failed, &failed));
  if (failed) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallCXX({
    diag.resize(r);
    for (size_t i = 0; i < r; ++i) diag[i] = std::sqrt(1 + ratio / lambda[i]);
    c.resize(r);
    mode.clear();
    place.clear();
  });
  int last = 0;
  for (int j = 0; j < d; ++j) last = std::max(last, grid.StageOf(j));
  const TensorBox b = grid.Box(last, small);
  for (size_t i = 0; i < r; ++i) {
    PetscInt64 at   = 0;
    bool       mine = b.Volume() > 0;
    for (int j = 0; j < d && mine; ++j) {
      const PetscInt64 a = static_cast<PetscInt64>(idx[i * d + j]);
      mine               = a >= b.lo[j] && a < b.hi[j];
      at                 = at * b.Length(j) + a - b.lo[j];
    }
    if (!mine) continue;
    PetscCallCXX(mode.push_back(i));
    PetscCallCXX(place.push_back(static_cast<size_t>(at)));
  }
  ready = true;
  PetscFunctionReturn(PETSC_SUCCESS);
}

double GapDeflation::SlowestMode(int steps)
{
  /* inverse iteration for I - D^1/2 U_M'U_M D^1/2 = D^1/2 H D^1/2, D^-1 = 1 + ratio/lambda */
  const PetscBLASInt  br = static_cast<PetscBLASInt>(r), one = 1;
  PetscBLASInt        info;
  std::vector<double> x(r, 1 / std::sqrt(static_cast<double>(r)));
  double              norm = 1;
  if (!ready) return 1;
  for (int s = 0; s < steps; ++s) {
    for (size_t i = 0; i < r; ++i) x[i] *= diag[i];
    LAPACKpotrs_("U", &br, &one, H.data(), &br, x.data(), &br, &info);
    norm = 0;
    for (size_t i = 0; i < r; ++i) {
      x[i] *= diag[i];
      norm += x[i] * x[i];
    }
    norm = std::sqrt(norm);
    for (double &v : x) v /= norm;
  }
  return norm;
}

template <class F>
PetscErrorCode GapDeflation::Project(TensorGrid &grid, const double *in, F coefficients)
{
  std::vector<ModeOp> f(d), g(d);
  const PetscInt64    m = std::max<PetscInt64>(0, grid.Home().Volume());
  double             *p;

  PetscFunctionBegin;
  for (int j = 0; j < d; ++j) {
    const PetscInt64 nj = grid.Sizes()[j];
    f[j]                = ModeOp::Dense(nj, small[j], V[j].data(), nj, true);
    g[j]                = ModeOp::Dense(nj, small[j], V[j].data(), nj);
  }
  PetscCallCXX(work.resize(m));
  TensorPipe pipe(grid, grid.Sizes(), 0, in, work.data(), m);
  PetscCall(pipe.Forward(f.data()));
  PetscCall(pipe.Data(&p));
  std::fill(c.begin(), c.end(), 0.0);
  for (size_t i = 0; i < mode.size(); ++i) c[mode[i]] = p[place[i]];
  PetscCall(AllreduceSum(grid.Comm(), c.data(), r));
  coefficients(c.data());
  std::fill(p, p + std::max<PetscInt64>(0, pipe.Box().Volume()), 0.0);
  for (size_t i = 0; i < mode.size(); ++i) p[place[i]] = c[mode[i]];
  PetscCall(pipe.Backward(g.data()));
  PetscCall(pipe.Finish());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode GapDeflation::Apply(TensorGrid &grid, const unsigned char *mask, const double *in, double *out)
{
  const PetscInt64   m  = std::max<PetscInt64>(0, grid.Home().Volume());
  const PetscBLASInt br = static_cast<PetscBLASInt>(r), one = 1;

  PetscFunctionBegin;
  PetscCall(Project(grid, in, [&](double *x) {
    PetscBLASInt info;
    LAPACKpotrs_("U", &br, &one, H.data(), &br, x, &br, &info);
  }));
  for (PetscInt64 i = 0; i < m; ++i) out[i] = mask[i] ? 0.0 : ratio * (in[i] + work[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode GapDeflation::ApplySqrt(TensorGrid &grid, double *v)
{
  const PetscInt64 m = std::max<PetscInt64>(0, grid.Home().Volume());

  PetscFunctionBegin;
  /* on mode i: sqrt(1 - D), 1/D = diag^2; on the rest 1; both over sqrt(ratio) */
  PetscCall(Project(grid, v, [&](double *x) {
    for (size_t i = 0; i < r; ++i) x[i] *= std::sqrt(1 - 1 / (diag[i] * diag[i])) - 1;
  }));
  for (PetscInt64 i = 0; i < m; ++i) v[i] = (v[i] + work[i]) / std::sqrt(ratio);
  PetscFunctionReturn(PETSC_SUCCESS);
}

double GapDeflation::LogDet(PetscInt64 nm) const
{
  StableSum s;
  for (size_t i = 0; i < r; ++i) s.Add(2 * std::log(H[i * (r + 1)] / diag[i]));
  return s.Value() - static_cast<double>(nm) * std::log(ratio);
}

} // namespace gp
} // namespace skean
