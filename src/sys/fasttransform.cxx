/* Orthogonal transforms by FFTW; see fasttransform.hpp */
#include <skean/private/fasttransform.hpp>
#include <skeanversion.h>
#include <algorithm>
#include <climits>
#include <cmath>
#include <limits>
#if defined(SKEAN_HAVE_FFTW)
  #include <fftw3.h>
#endif

namespace skean {

std::shared_ptr<const FastTransform> FastTransform::Create(Kind kind, PetscInt64 n)
{
#if defined(SKEAN_HAVE_FFTW)
  if (n < 1 || n > INT_MAX) return nullptr;
  const fftw_r2r_kind            inverse[] = {FFTW_DHT, FFTW_REDFT01, FFTW_RODFT01, FFTW_RODFT00, FFTW_REDFT11, FFTW_RODFT11};
  const fftw_r2r_kind            forward[] = {FFTW_DHT, FFTW_REDFT10, FFTW_RODFT10, FFTW_RODFT00, FFTW_REDFT11, FFTW_RODFT11};
  std::shared_ptr<FastTransform> t(new FastTransform());
  std::vector<double>            x(n);
  t->kind = kind;
  t->n    = n;
  /* estimated plans: the same on every process, hence the same bits; columns of panels are not aligned */
  t->plan[0] = fftw_plan_r2r_1d(static_cast<int>(n), x.data(), x.data(), inverse[kind], FFTW_ESTIMATE | FFTW_UNALIGNED);
  t->plan[1] = fftw_plan_r2r_1d(static_cast<int>(n), x.data(), x.data(), forward[kind], FFTW_ESTIMATE | FFTW_UNALIGNED);
  if (!t->plan[0] || !t->plan[1]) return nullptr;
  return t;
#else
  (void)kind;
  (void)n;
  return nullptr;
#endif
}

FastTransform::~FastTransform()
{
#if defined(SKEAN_HAVE_FFTW)
  for (void *p : plan)
    if (p) fftw_destroy_plan(static_cast<fftw_plan>(p));
#endif
}

void FastTransform::Apply(bool transpose, PetscInt64 c, double *x, PetscInt64 ld) const
{
#if defined(SKEAN_HAVE_FFTW)
  /* FFTW's transforms are not normalised, and the constant (DCT2) or alternating (DST2) column has another norm than the rest */
  const double     all = 1 / std::sqrt(static_cast<double>(kind == DHT ? n : kind == DST1 ? 2 * (n + 1) : 2 * n));
  const PetscInt64 odd = kind == DCT2 ? 0 : kind == DST2 ? n - 1 : -1;
  const double     one = transpose ? std::sqrt(0.5) : std::sqrt(2.0);
  for (PetscInt64 q = 0; q < c; ++q) {
    double *y = x + q * ld;
    if (!transpose && odd >= 0) y[odd] *= one;
    fftw_execute_r2r(static_cast<fftw_plan>(plan[transpose]), y, y);
    for (PetscInt64 i = 0; i < n; ++i) y[i] *= all;
    if (transpose && odd >= 0) y[odd] *= one;
  }
#else
  (void)transpose;
  (void)c;
  (void)x;
  (void)ld;
#endif
}

double FastTransform::Flops() const noexcept
{
  return 2.5 * static_cast<double>(n) * std::log2(std::max(2.0, static_cast<double>(n)));
}

const char *FastTransform::Name() const noexcept
{
  const char *const names[] = {"DHT", "DCT-II", "DST-II", "DST-I", "DCT-IV", "DST-IV"};
  return names[kind];
}

namespace {

/* Which transform the matrix may have: by its shifts if circulant, otherwise by the reflections at its ends; false: none */
bool Candidate(PetscInt64 n, const double *A, double tol, FastTransform::Kind *kind)
{
  const auto a    = [&](PetscInt64 i, PetscInt64 j) { return A[i + j * n]; };
  bool       circ = true, inside = true;
  /* the first columns settle it for most matrices */
  for (PetscInt64 j = 1; j < n && circ; ++j)
    for (PetscInt64 i = 0; i < n && circ; ++i) circ = std::abs(a(i, j) - a(i ? i - 1 : n - 1, j - 1)) <= tol;
  if (circ) {
    *kind = FastTransform::DHT;
    return true;
  }
  /* ends: A_{-1,j} = s A_{0,j} and A_{n,j} = t A_{n-1,j} continue a_{i-1,j} + a_{i+1,j} = a_{i,j-1} + a_{i,j+1} */
  int ends[2] = {-2, -2};
  for (int e = 0; e < 2; ++e) {
    const PetscInt64 i = e ? n - 1 : 0, in = e ? n - 2 : 1;
    for (int s : {1, -1, 0}) {
      bool good = true;
      for (PetscInt64 j = 1; j + 1 < n && good; ++j) good = std::abs(s * a(i, j) + a(in, j) - a(i, j - 1) - a(i, j + 1)) <= tol;
      if (good && ends[e] == -2) ends[e] = s;
    }
  }
  if (ends[0] == -2 || ends[1] == -2 || (ends[0] == 0) != (ends[1] == 0)) return false;
  for (PetscInt64 j = 1; j + 1 < n && inside; ++j)
    for (PetscInt64 i = 1; i + 1 < n && inside; ++i) inside = std::abs(a(i - 1, j) + a(i + 1, j) - a(i, j - 1) - a(i, j + 1)) <= tol;
  if (!inside) return false;
  *kind = ends[0] == 0  ? FastTransform::DST1
          : ends[0] > 0 ? (ends[1] > 0 ? FastTransform::DCT2 : FastTransform::DCT4)
                        : (ends[1] > 0 ? FastTransform::DST4 : FastTransform::DST2);
  return true;
}

} // namespace

std::shared_ptr<const FastTransform> DiagonalizeByTransform(PetscInt64 n, const double *A, std::vector<double> *lambda)
{
  const double        eps  = std::numeric_limits<double>::epsilon();
  double              most = 0, norm = 0, off = 0;
  FastTransform::Kind kind;

  if (n < 4) return nullptr; /* nothing to gain, and the ends would meet */
  for (PetscInt64 i = 0; i < n * n; ++i) {
    if (!std::isfinite(A[i])) return nullptr;
    most = std::max(most, std::abs(A[i]));
  }
  if (!Candidate(n, A, 64 * eps * most, &kind)) return nullptr;
  std::shared_ptr<const FastTransform> t = FastTransform::Create(kind, n);
  if (!t) return nullptr;
  /* C'AC, whose diagonal are the Rayleigh quotients */
  std::vector<double> T(A, A + n * n);
  for (int side = 0; side < 2; ++side) {
    t->Apply(true, n, T.data(), n);
    for (PetscInt64 j = 0; j < n; ++j)
      for (PetscInt64 i = 0; i < j; ++i) std::swap(T[i + j * n], T[j + i * n]);
  }
  lambda->resize(n);
  for (PetscInt64 j = 0; j < n; ++j)
    for (PetscInt64 i = 0; i < n; ++i) {
      const double v = T[i + j * n];
      norm += v * v;
      if (i == j)
        (*lambda)[i] = v;
      else
        off += v * v;
    }
  if (!(std::sqrt(off) <= 64 * eps * std::sqrt(norm))) return nullptr;
  return t;
}

} // namespace skean
