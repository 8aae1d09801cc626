/*
   Exact optimal transport, the obvious way: successive shortest paths with potentials (dense Dijkstra), one path after another, on one process.

   It proves itself: it returns the cost of a plan with the marginals asked for and the value of a feasible point of the dual, and a test asserts
   that both agree. Entries of the cost that are infinite are forbidden pairs.
*/
#pragma once

#include <cmath>
#include <limits>
#include <vector>

namespace reference {

struct ExactTransport {
  bool                             feasible = true;
  double                           primal = 0, dual = 0;
  std::vector<std::vector<double>> plan;
};

template <class Cost>
ExactTransport SolveExactTransport(const std::vector<double> &r, const std::vector<double> &c, const Cost &cost)
{
  const double        inf = std::numeric_limits<double>::infinity();
  const size_t        n = r.size(), m = c.size();
  ExactTransport      X;
  std::vector<double> left = r, want = c, f(n, 0.0), g(m, 0.0);
  auto               &P = X.plan;

  P.assign(n, std::vector<double>(m, 0.0));
  /* a feasible dual to begin with */
  for (size_t j = 0; j < m; ++j) {
    g[j] = inf;
    for (size_t i = 0; i < n; ++i) g[j] = std::fmin(g[j], cost(i, j));
    if (!(g[j] < inf)) g[j] = 0;
  }
  double total = 0;
  for (double x : r) total += x;
  const double tiny = 1e-15 * total;
  for (size_t s = 0; s < n; ++s)
    while (left[s] > tiny) {
      std::vector<double> di(n, inf), dj(m, inf);
      std::vector<char>   doneI(n, 0), doneJ(m, 0);
      std::vector<size_t> fromI(n, m), fromJ(m, n);
      size_t              t = m;

      di[s] = 0;
      for (;;) {
        double best = inf;
        size_t bi = n, bj = m;
        for (size_t i = 0; i < n; ++i)
          if (!doneI[i] && di[i] < best) best = di[bi = i];
        for (size_t j = 0; j < m; ++j)
          if (!doneJ[j] && dj[j] < best) best = dj[bj = j];
        if (!(best < inf)) break;
        if (bj < m) {
          doneJ[bj] = 1;
          if (want[bj] > tiny) {
            t = bj;
            break;
          }
          for (size_t i = 0; i < n; ++i)
            if (!doneI[i] && P[i][bj] > 0 && best < di[i]) {
              di[i]    = best;
              fromI[i] = bj;
            }
        } else {
          doneI[bi] = 1;
          for (size_t j = 0; j < m; ++j) {
            const double d = best + std::fmax(0.0, cost(bi, j) - f[bi] - g[j]);
            if (!doneJ[j] && d < dj[j]) {
              dj[j]    = d;
              fromJ[j] = bi;
            }
          }
        }
      }
      if (t == m) {
        X.feasible = false; /* or the last crumb of rounding has nowhere to go */
        if (left[s] < 1e-12 * total) X.feasible = true;
        break;
      }
      const double D = dj[t];
      for (size_t i = 0; i < n; ++i)
        if (doneI[i]) f[i] += D - di[i];
      for (size_t j = 0; j < m; ++j)
        if (doneJ[j]) g[j] -= D - dj[j];
      double step = std::fmin(left[s], want[t]);
      for (size_t j = t, i = fromJ[j]; i != s; j = fromI[i], i = fromJ[j]) step = std::fmin(step, P[i][fromI[i]]);
      left[s] -= step;
      want[t] -= step;
      for (size_t j = t;;) {
        const size_t i = fromJ[j];
        P[i][j] += step;
        if (i == s) break;
        j = fromI[i];
        P[i][j] -= step;
        if (P[i][j] < tiny) P[i][j] = 0;
      }
    }
  for (size_t i = 0; i < n; ++i) {
    X.dual += r[i] * f[i];
    for (size_t j = 0; j < m; ++j)
      if (P[i][j] > 0) X.primal += P[i][j] * cost(i, j);
  }
  for (size_t j = 0; j < m; ++j) X.dual += c[j] * g[j];
  return X;
}

/* W1 on a tree: node k > 0 hangs from parent[k] < k by an edge of the given length; |mass below the edge| times its length. O(n). */
inline double TreeW1(const std::vector<int> &parent, const std::vector<double> &length, std::vector<double> excess)
{
  double w = 0;
  for (size_t k = parent.size(); k-- > 1;) {
    w += std::fabs(excess[k]) * length[k];
    excess[parent[k]] += excess[k];
  }
  return w;
}

} // namespace reference
