#include "ridgeskeleton.hpp"
#include <skean/private/lapack.hpp>
#include <algorithm>
#include <cfloat>
#include <cmath>

namespace skean {

PetscErrorCode RidgeSkeletonChoose(PetscInt rows, PetscInt q, const double *lambda, double *M, const double *size, PetscInt panel, RidgeSkeleton *skeleton)
{
  const double              u = DBL_EPSILON / 2, one = 1.0;
  const PetscBLASInt        m = rows, n = q, lwork = 35 * (q + 1);
  PetscBLASInt              info;
  std::vector<double>       tau, work, gap;
  std::vector<PetscBLASInt> pivot;
  std::vector<PetscInt>    &members = skeleton->members;

  PetscFunctionBegin;
  PetscCallCXX(tau.resize(q));
  PetscCallCXX(work.resize(lwork));
  PetscCallCXX(pivot.assign(q, 0));
  dgeqp3_(&m, &n, M, &m, pivot.data(), tau.data(), work.data(), &lwork, &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK dgeqp3: info %d", (int)info);
  for (PetscBLASInt &j : pivot) --j;
  PetscInt rank = 0;
  while (rank < std::min(rows, q) && std::fabs(M[rank + static_cast<size_t>(rank) * m]) > u) ++rank;

  PetscCallCXX(members.clear());
  PetscCallCXX(members.reserve(q));
  PetscCallCXX(gap.assign(q, PETSC_MAX_REAL)); /* to the nearest member, in log lambda */
  const auto choose = [&](PetscInt j) {
    members.push_back(j);
    for (PetscInt i = 0; i < q; ++i) gap[i] = i == j ? -1.0 : std::min(gap[i], std::fabs(std::log(lambda[i] / lambda[j])));
  };
  choose(0);
  for (PetscInt j = 0; j < rank; ++j)
    if (pivot[j]) choose(pivot[j]);
  /* the rank is named; what the pass has room for besides goes into the widest gaps, where coefficients would grow */
  const size_t room = std::min<size_t>(q, (members.size() + panel - 1) / panel * panel);
  while (members.size() < room) choose(static_cast<PetscInt>(std::max_element(gap.begin(), gap.end()) - gap.begin()));
  std::sort(members.begin(), members.end());

  /* with the triangle [R11 R12] of the pilots' rows, R11^{-1} R12 interpolates the other columns */
  const PetscBLASInt p = std::min(rank, panel), rest = n - p;
  if (p && rest) BLAStrsm_("L", "U", "N", "N", &p, &rest, &one, M, &m, M + static_cast<size_t>(p) * m, &m);
  PetscCallCXX(skeleton->pilots.assign(pivot.begin(), pivot.begin() + p));
  PetscCallCXX(skeleton->mix.assign(members.size() * p, 0.0));
  for (PetscInt c = 0; c < q; ++c) {
    const auto at = std::lower_bound(members.begin(), members.end(), static_cast<PetscInt>(pivot[c]));
    if (at == members.end() || *at != pivot[c]) continue;
    double *mix = skeleton->mix.data() + (at - members.begin()) * p;
    for (PetscInt a = 0; a < p; ++a) mix[a] = c < p ? (a == c ? 1.0 : 0.0) : M[a + static_cast<size_t>(c) * m] * size[pivot[c]] / size[pivot[a]];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

void RidgeCombination(PetscInt d, PetscInt k, const long double *c, const double *X, const double *G, const double *lambda, double own, double *x, double *g)
{
  std::vector<long double> xl(d, 0.0L), ar(d, 0.0L);
  PetscInt                 largest = 0;
  long double              rest    = 1.0L;
  for (PetscInt m = 0; m < k; ++m) {
    rest -= c[m];
    if (std::fabs(c[m]) > std::fabs(c[largest])) largest = m;
  }
  for (PetscInt m = 0; m < k; ++m) {
    const long double cm = m == largest ? c[m] + rest : c[m];
    const double     *xm = X + static_cast<size_t>(m) * d, *gm = G + static_cast<size_t>(m) * d;
    for (PetscInt i = 0; i < d; ++i) {
      xl[i] += cm * xm[i];
      ar[i] += cm * (gm[i] + static_cast<long double>(lambda[m]) * xm[i]);
    }
  }
  for (PetscInt i = 0; i < d; ++i) {
    x[i] = static_cast<double>(xl[i]);
    g[i] = static_cast<double>(ar[i] - static_cast<long double>(own) * x[i]);
  }
}

} // namespace skean
