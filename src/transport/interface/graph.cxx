/* Costs that are lengths of shortest paths in a graph */
#include "tiles.hpp"
#include "../kernels/shortestpath.hpp"
#include <skean/private/reduce.hpp>
#include <skean/private/rowblock.hpp>
#include <numeric>

using namespace skean;
using namespace skean::transport;

namespace {

/* the whole graph, on every process; every edge in both directions */
struct Graph {
  PetscInt              n = 0;
  std::vector<PetscInt> ia, ja;
  std::vector<double>   len;
};

} // namespace

static PetscErrorCode Replicate(SkeanTransport t, Graph *G)
{
  MPI_Comm              comm = PetscObjectComm((PetscObject)t);
  std::vector<PetscInt> ends;
  std::vector<double>   lengths;
  bool                  negative = false, notfinite = false, big = false;
  PetscMPIInt           size;
  RowBlock              block;

  PetscFunctionBegin;
  PetscCall(block.Open(t->G));
  const RowView &view  = block.View();
  const bool     dense = view.IsDense();
  G->n                 = view.nglobal;
  if (!dense)
    for (PetscInt i = 0; i < view.nrows; ++i)
      for (int p = 0; p < view.nparts; ++p)
        for (PetscInt k = view.part[p].i[i]; k < view.part[p].i[i + 1]; ++k) {
          const double x = view.part[p].a[k];
          notfinite      = notfinite || !std::isfinite(x);
          negative       = negative || x < 0;
          PetscCallCXX(ends.push_back(view.rstart + i));
          PetscCallCXX(ends.push_back(view.part[p].Column(k)));
          PetscCallCXX(lengths.push_back(x));
        }
  PetscCall(block.Restore());
  PetscCheck(!dense, comm, PETSC_ERR_SUP, "The lengths of a graph's edges must be a sparse matrix");
  PetscCall(AgreeAny(comm, notfinite, &notfinite));
  PetscCheck(!notfinite, comm, PETSC_ERR_FP, "An edge has a length that is NaN or infinite");
  PetscCall(AgreeAny(comm, negative, &negative));
  PetscCheck(!negative, comm, PETSC_ERR_ARG_OUTOFRANGE, "An edge has a negative length");
  PetscCallMPI(MPI_Comm_size(comm, &size));
  std::vector<int> cnt(size), dis(size + 1, 0);
  PetscInt64       total = static_cast<PetscInt64>(lengths.size());
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &total, 1, MPIU_INT64, MPI_SUM, comm));
  big = total > PETSC_MPI_INT_MAX / 2;
  PetscCheck(!big, comm, PETSC_ERR_SUP, "The graph has too many edges for MPI's counts: %" PetscInt64_FMT, total);
  int mine = static_cast<int>(lengths.size());
  PetscCallMPI(MPI_Allgather(&mine, 1, MPI_INT, cnt.data(), 1, MPI_INT, comm));
  for (int p = 0; p < size; ++p) dis[p + 1] = dis[p] + cnt[p];
  std::vector<PetscInt> allends(2 * static_cast<size_t>(total) + 1);
  std::vector<double>   alllengths(static_cast<size_t>(total) + 1);
  PetscCallMPI(MPI_Allgatherv(lengths.data(), mine, MPI_DOUBLE, alllengths.data(), cnt.data(), dis.data(), MPI_DOUBLE, comm));
  for (int p = 0; p < size; ++p) {
    cnt[p] *= 2;
    dis[p] *= 2;
  }
  PetscCallMPI(MPI_Allgatherv(ends.data(), 2 * mine, MPIU_INT, allends.data(), cnt.data(), dis.data(), MPIU_INT, comm));
  std::vector<PetscInt> at;
  PetscCallCXX(G->ia.assign(static_cast<size_t>(G->n) + 1, 0));
  PetscCallCXX(G->ja.resize(2 * static_cast<size_t>(total) + 1));
  PetscCallCXX(G->len.resize(2 * static_cast<size_t>(total) + 1));
  for (PetscInt64 k = 0; k < 2 * total; ++k) ++G->ia[allends[k] + 1];
  for (PetscInt i = 0; i < G->n; ++i) G->ia[i + 1] += G->ia[i];
  PetscCallCXX(at = G->ia);
  for (PetscInt64 k = 0; k < total; ++k)
    for (int way = 0; way < 2; ++way) {
      const PetscInt q = at[allends[2 * k + way]]++;
      G->ja[q]         = allends[2 * k + 1 - way];
      G->len[q]        = alllengths[k];
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* the number of every node's connected part, and how many there are */
static PetscInt Parts(const Graph &G, std::vector<PetscInt> &part)
{
  std::vector<PetscInt> stack;
  PetscInt              count = 0;

  part.assign(G.n, -1);
  for (PetscInt r = 0; r < G.n; ++r) {
    if (part[r] >= 0) continue;
    part[r] = count;
    stack.push_back(r);
    while (!stack.empty()) {
      const PetscInt i = stack.back();
      stack.pop_back();
      for (PetscInt k = G.ia[i]; k < G.ia[i + 1]; ++k)
        if (part[G.ja[k]] < 0) {
          part[G.ja[k]] = count;
          stack.push_back(G.ja[k]);
        }
    }
    ++count;
  }
  return count;
}

PetscErrorCode SkeanTransportBuildGraph_Private(SkeanTransport t)
{
  Work                 *w    = static_cast<Work *>(t->work);
  MPI_Comm              comm = PetscObjectComm((PetscObject)t);
  Graph                 G;
  PetscInt              N, N2, n, m, nl, ml, rl, rlo, clo;
  bool                  any;
  std::vector<PetscInt> part, pos;
  std::vector<double>   sums, dist;

  PetscFunctionBegin;
  PetscCall(MatGetSize(t->G, &N, &N2));
  PetscCall(VecGetSize(t->r, &n));
  PetscCall(VecGetSize(t->c, &m));
  PetscCheck(N == N2 && N == n && N == m, comm, PETSC_ERR_ARG_SIZ,
             "The graph is %" PetscInt_FMT " x %" PetscInt_FMT ", the marginals have %" PetscInt_FMT " and %" PetscInt_FMT " masses; all must be its nodes", N,
             N2, n, m);
  PetscCall(MatGetLocalSize(t->G, &rl, NULL));
  PetscCall(VecGetLocalSize(t->r, &nl));
  PetscCall(VecGetLocalSize(t->c, &ml));
  PetscCall(AgreeAny(comm, rl != nl || rl != ml, &any));
  PetscCheck(!any, comm, PETSC_ERR_ARG_INCOMP, "Rows of the graph and masses are distributed differently");
  PetscCall(VecGetOwnershipRange(t->r, &rlo, NULL));
  PetscCall(VecGetOwnershipRange(t->c, &clo, NULL));
  PetscCall(Replicate(t, &G));
  PetscInt parts = 0;
  PetscCallCXX(parts = Parts(G, part));
  /* what every part has and wants */
  PetscCallCXX(sums.assign(2 * static_cast<size_t>(parts) + 1, 0.0));
  for (size_t i = 0; i < w->rows.idx.size(); ++i) sums[2 * part[rlo + w->rows.idx[i]]] += w->r[i];
  for (size_t j = 0; j < w->cols.idx.size(); ++j) sums[2 * part[clo + w->cols.idx[j]] + 1] += w->c[j];
  PetscCall(AllreduceSum(comm, sums.data(), sums.size()));
  PetscInt used = 0;
  for (PetscInt p = 0; p < parts; ++p) used += sums[2 * p] > 0 || sums[2 * p + 1] > 0;
  const bool balanced = t->rhor == PETSC_INFINITY && t->rhoc == PETSC_INFINITY && !(t->partial > 0);
  for (PetscInt p = 0; p < parts && balanced; ++p)
    if (std::fabs(sums[2 * p] - sums[2 * p + 1]) > 1e-8) {
      PetscInt node = 0;
      while (part[node] != p) ++node;
      SETERRQ(comm, PETSC_ERR_ARG_INCOMP,
              "Infeasible: the part of the graph connected to node %" PetscInt_FMT
              " has %.10g of the mass of the sources and %.10g of the targets, and no edge leaves it",
              node, sums[2 * p], sums[2 * p + 1]);
    }
  TileEngine *tile = NULL;
  CsrEngine  *csr  = NULL;
  if (used <= 1)
    PetscCallCXX(w->eng.reset(tile = new TileEngine()));
  else
    PetscCallCXX(w->eng.reset(csr = new CsrEngine()));
  RowEngine *e = tile ? static_cast<RowEngine *>(tile) : csr;
  PetscCall(e->Layout(comm, static_cast<PetscInt>(w->rows.idx.size()), static_cast<PetscInt>(w->cols.idx.size())));
  PetscCall(SkeanTransportActiveColumns_Private(t, pos));
  if (tile) {
    tile->T.kind = CostKind::STORED;
    tile->T.n    = e->n;
    tile->T.ldc  = e->m;
    PetscCallCXX(tile->T.C.resize(static_cast<size_t>(e->n) * e->m));
  } else
    PetscCallCXX(csr->ia.push_back(0));
  PetscCallCXX(dist.resize(PetscMax(N, 1)));
  bool empty = false;
  for (PetscInt i = 0; i < e->n; ++i) {
    PetscCallCXX(ShortestPaths(N, G.ia.data(), G.ja.data(), G.len.data(), rlo + w->rows.idx[i], dist.data()));
    for (PetscInt j = 0; j < N; ++j) {
      if (pos[j] < 0) continue;
      if (tile)
        tile->T.C[static_cast<size_t>(i) * e->m + pos[j]] = dist[j];
      else if (std::isfinite(dist[j])) {
        PetscCallCXX(csr->ja.push_back(pos[j]));
        PetscCallCXX(csr->ca.push_back(dist[j]));
      }
    }
    if (csr) {
      PetscCallCXX(csr->ia.push_back(static_cast<PetscInt>(csr->ja.size())));
      empty = empty || csr->ia[i + 1] == csr->ia[i];
    }
  }
  PetscCall(AgreeAny(comm, empty, &empty));
  PetscCheck(!empty, comm, PETSC_ERR_ARG_INCOMP, "Infeasible: a source with mass is connected to no target with mass");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanTransportSetGraph - Sources and targets are the nodes of a graph; the cost is the length of the shortest path (W1 on a graph)

   Collective

   Input Parameters:
+  transport - the solver
-  G         - sparse N x N matrix of the lengths of the edges, not negative, rows distributed as both marginals

   Level: intermediate

   Notes:
   An edge joins i and j in both directions if G(i,j) or G(j,i) is stored; if both are, the shorter counts. At set-up the graph is replicated and every
   process runs Dijkstra's algorithm from its own nodes with mass: O((N + E) log N) for each, 8 bytes for every pair of a source and a target with mass over all
   processes, 24 bytes per stored entry of G on each. Nodes without mass cost nothing later.
   Parts of the graph that are not connected exchange nothing; each must have as much mass in sources as in targets.

   Errors: at set-up `PETSC_ERR_ARG_SIZ` for sizes that differ, `PETSC_ERR_ARG_INCOMP` for other distributions and for infeasible problems (with the
   connected part named), `PETSC_ERR_ARG_OUTOFRANGE` for negative lengths, `PETSC_ERR_FP` for NaN, `PETSC_ERR_SUP` for a dense matrix.

.seealso: `SkeanTransportSetCost()`, `SkeanTransportSetPoints()`
@*/
PetscErrorCode SkeanTransportSetGraph(SkeanTransport transport, Mat G)
{
  PetscFunctionBegin;
  PetscCheck(transport, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Null SkeanTransport");
  PetscCheck(G, PetscObjectComm((PetscObject)transport), PETSC_ERR_ARG_NULL, "Null graph");
  PetscCall(PetscObjectReference((PetscObject)G));
  PetscCall(MatDestroy(&transport->C));
  PetscCall(MatDestroy(&transport->X));
  PetscCall(MatDestroy(&transport->Y));
  PetscCall(MatDestroy(&transport->G));
  transport->G            = G;
  transport->griddim      = 0;
  transport->solver.state = SKEAN_STATE_INITIAL;
  PetscFunctionReturn(PETSC_SUCCESS);
}
