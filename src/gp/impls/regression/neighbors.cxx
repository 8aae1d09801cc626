/* Preconditioner of the missing block by its entries between neighbours: see gpneighbors.hpp */
#include <skean/private/gpneighbors.hpp>
#include <petscsf.h>
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

namespace skean {
namespace gp {

namespace {

constexpr double kLeast = 0.01;    /* smallest pivot wanted of a group scaled to a unit diagonal */
constexpr double kMost  = 1 << 20; /* points of the cube that is searched for neighbours */

PetscInt64 Linear(const TensorBox &b, const PetscInt64 *i)
{
  PetscInt64 at = 0;
  for (int k = 0; k < b.d; ++k) at = at * b.Length(k) + i[k] - b.lo[k];
  return at;
}

/* The offsets of a point's neighbours: of o and -o the one whose first component that is not zero is positive; and zero. In lexicographic order */
std::vector<std::vector<int>> HalfBall(int d, int reach)
{
  std::vector<std::vector<int>> all(1, std::vector<int>(d, 0));
  std::vector<int>              o(d, -reach);
  for (;;) {
    const auto lead   = std::find_if(o.begin(), o.end(), [](int c) { return c != 0; });
    const int  square = std::inner_product(o.begin(), o.end(), o.begin(), 0);
    if (lead != o.end() && *lead > 0 && square <= std::max(reach * reach + 1, d)) all.push_back(o);
    int k = d - 1;
    for (; k >= 0; --k) {
      if (++o[k] <= reach) break;
      o[k] = -reach;
    }
    if (k < 0) return all;
  }
}

/* The modes in the order in which products of offsets are taken, and the offsets sorted so that as many as possible of them have the first products in common */
struct Sequence {
  std::vector<int>    mode;
  std::vector<size_t> order;

  Sequence(const std::vector<std::vector<int>> &offsets, std::vector<int> modes) : mode(std::move(modes)), order(offsets.size())
  {
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      for (int k : mode)
        if (offsets[a][k] != offsets[b][k]) return offsets[a][k] < offsets[b][k];
      return false;
    });
  }
  /* How many products the offset in place i of the order has in common with the one before */
  int Common(const std::vector<std::vector<int>> &offsets, size_t i) const
  {
    int c = 0;
    if (i)
      while (c < static_cast<int>(mode.size()) - 1 && offsets[order[i]][mode[c]] == offsets[order[i - 1]][mode[c]]) ++c;
    return c;
  }
};

} // namespace

PetscInt GapNeighbors::Products(int d, int reach)
{
  const std::vector<std::vector<int>> offsets = HalfBall(d, reach);
  std::vector<int>                    modes(d);
  PetscInt                            all = 0;
  std::iota(modes.begin(), modes.end(), 0);
  const Sequence s(offsets, modes);
  for (size_t i = 0; i < offsets.size(); ++i) all += d - s.Common(offsets, i);
  return all;
}

void GapNeighbors::Reset() noexcept
{
  ready = false;
  (void)MatDestroy(&G);
  (void)VecDestroy(&x);
  (void)VecDestroy(&y);
}

/* w: for each of my missing points the entries of all offsets (what reaches out of the grid is not used) */
PetscErrorCode GapNeighbors::Entries(TensorGrid &grid, const std::vector<KronEigen> &eig, double s, const std::vector<std::vector<int>> &offsets,
                                     std::vector<double> *w)
{
  const int                                d    = grid.Dim();
  const int                                last = grid.Stages() - 1;
  const TensorBox                          far  = grid.Box(last, grid.Sizes());
  std::vector<double>                      inverse(std::max<PetscInt64>(0, far.Volume())), M;
  std::vector<std::vector<double>>         after(d); /* [c]: the first c + 1 products of the present offset, where the next one is taken */
  std::vector<std::vector<const double *>> lam(1, std::vector<const double *>(d));
  std::vector<int>                         modes;

  PetscFunctionBegin;
  for (int j = 0; j < d; ++j) lam[0][j] = eig[j].lambda.data();
  ForSpectrum(far, s, std::vector<double>(1, 1.0), lam, [&](PetscInt64 at, double v) { inverse[at] = 1 / v; });
  for (int stage = last; stage >= 0; --stage)
    for (int k = 0; k < d; ++k)
      if (grid.StageOf(k) == stage) modes.push_back(k);
  const Sequence seq(offsets, modes);
  const auto     Stage = [&](int c) { return c < d ? grid.StageOf(modes[c]) : 0; };
  PetscCallCXX({
    for (int c = 0; c < d; ++c) after[c].resize(std::max<PetscInt64>(0, grid.Box(Stage(c + 1), grid.Sizes()).Volume()));
    w->assign(offsets.size() * place.size(), 0.0);
  });
  for (size_t i = 0; i < offsets.size(); ++i) {
    const size_t o = seq.order[i];
    for (int c = seq.Common(offsets, i); c < d; ++c) {
      const int                  k = modes[c];
      const PetscInt64           n = eig[k].n, by = offsets[o][k];
      const std::vector<double> &V = eig[k].V;
      PetscCallCXX(M.assign(n * n, 0.0));
      for (PetscInt64 q = 0; q < n; ++q)
        for (PetscInt64 p = std::max<PetscInt64>(0, -by); p < std::min(n, n - by); ++p) M[q * n + p] = V[q * n + p] * V[q * n + p + by];
      TensorPipe pipe(grid, grid.Sizes(), c ? Stage(c) : last, c ? after[c - 1].data() : inverse.data(), after[c].data(),
                      static_cast<PetscInt64>(after[c].size()));
      PetscCall(pipe.Move(Stage(c)));
      PetscCall(pipe.Mode(k, ModeOp::Dense(n, n, M.data(), n)));
      PetscCall(pipe.Move(Stage(c + 1)));
      PetscCall(pipe.Finish());
    }
    for (size_t q = 0; q < place.size(); ++q) (*w)[q * offsets.size() + o] = after[d - 1][place[q]];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Numbers of the missing points in my box and `reach` steps around it, -1 where a point is observed: those of other processes by way of the natural order */
PetscErrorCode GapNeighbors::Numbers(TensorGrid &grid, int reach, TensorBox *ext, std::vector<PetscInt> *id)
{
  const TensorBox       home = grid.Home();
  const PetscInt64      m    = std::max<PetscInt64>(0, home.Volume());
  const TensorSizes    &n    = grid.Sizes();
  std::vector<PetscInt> mine, nat, ghost, where, layout, got;
  PetscLayout           map;
  PetscSF               sf;
  PetscInt              total = 1, local;

  PetscFunctionBegin;
  *ext = home;
  for (int k = 0; k < grid.Dim(); ++k) {
    total *= static_cast<PetscInt>(n[k]);
    if (!m) continue;
    ext->lo[k] = std::max<PetscInt64>(0, home.lo[k] - reach);
    ext->hi[k] = std::min<PetscInt64>(n[k], home.hi[k] + reach);
  }
  const auto Natural = [&](const PetscInt64 *i) {
    PetscInt64 g = 0;
    for (int k = 0; k < grid.Dim(); ++k) g = g * n[k] + i[k];
    return static_cast<PetscInt>(g);
  };
  PetscCallCXX({
    mine.assign(m, -1);
    for (size_t q = 0; q < place.size(); ++q) mine[place[q]] = first + static_cast<PetscInt>(q);
    id->assign(m ? ext->Volume() : 0, -1);
    nat.resize(m);
    ForPoints(home, [&](const PetscInt64 *i, PetscInt64 at) { nat[at] = Natural(i); });
    if (m)
      ForPoints(*ext, [&](const PetscInt64 *i, PetscInt64 at) {
        bool inside = true;
        for (int k = 0; k < grid.Dim(); ++k) inside = inside && i[k] >= home.lo[k] && i[k] < home.hi[k];
        if (inside)
          (*id)[at] = mine[Linear(home, i)];
        else {
          ghost.push_back(Natural(i));
          where.push_back(static_cast<PetscInt>(at));
        }
      });
    got.resize(ghost.size());
  });
  PetscCall(PetscLayoutCreateFromSizes(grid.Comm(), PETSC_DECIDE, total, 1, &map));
  PetscCall(PetscLayoutGetLocalSize(map, &local));
  PetscCallCXX(layout.assign(std::max<PetscInt>(local, 1), -1));
  PetscCall(PetscSFCreate(grid.Comm(), &sf));
  PetscCall(PetscSFSetGraphLayout(sf, map, static_cast<PetscInt>(m), NULL, PETSC_COPY_VALUES, nat.data()));
  PetscCall(PetscSFReduceBegin(sf, MPIU_INT, mine.data(), layout.data(), MPI_REPLACE));
  PetscCall(PetscSFReduceEnd(sf, MPIU_INT, mine.data(), layout.data(), MPI_REPLACE));
  PetscCall(PetscSFDestroy(&sf));
  PetscCall(PetscSFCreate(grid.Comm(), &sf));
  PetscCall(PetscSFSetGraphLayout(sf, map, static_cast<PetscInt>(ghost.size()), NULL, PETSC_COPY_VALUES, ghost.data()));
  PetscCall(PetscSFBcastBegin(sf, MPIU_INT, layout.data(), got.data(), MPI_REPLACE));
  PetscCall(PetscSFBcastEnd(sf, MPIU_INT, layout.data(), got.data(), MPI_REPLACE));
  PetscCall(PetscSFDestroy(&sf));
  PetscCall(PetscLayoutDestroy(&map));
  for (size_t g = 0; g < ghost.size(); ++g) (*id)[where[g]] = got[g];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   A row g of G for a group of missing points whose last is the row's own: with the group's entries B = L L', g = L^-T e_last, the last row of L^-1. So that
   (G T)(p, q) = 0 at all q of the group but p. B is scaled to a unit diagonal first. What was cut off may have made it indefinite: then a multiple of the unit
   matrix, which is returned, is added. B: k x k by rows, the lower half; overwritten.
*/
static double Row(int k, std::vector<double> &B, std::vector<double> &L, double *g)
{
  for (int i = 0; i < k; ++i) g[i] = 1 / std::sqrt(B[i * k + i]);
  for (int i = 0; i < k; ++i)
    for (int j = 0; j <= i; ++j) B[i * k + j] *= g[i] * g[j];
  double shift = 0;
  for (;; shift = shift > 0 ? 2 * shift : kLeast) {
    bool good = true;
    for (int i = 0; i < k && good; ++i)
      for (int j = 0; j <= i; ++j) {
        double v = B[i * k + j] + (i == j ? shift : 0.0);
        for (int q = 0; q < j; ++q) v -= L[i * k + q] * L[j * k + q];
        if (j < i)
          L[i * k + j] = v / L[j * k + j];
        else if (v > kLeast || shift > k) /* by then the diagonal dominates */
          L[i * k + i] = std::sqrt(v);
        else
          good = false;
      }
    if (good) break;
  }
  std::vector<double> &z = B;
  for (int i = k - 1; i >= 0; --i) {
    double v = i == k - 1 ? 1.0 : 0.0;
    for (int q = i + 1; q < k; ++q) v -= L[q * k + i] * z[q];
    z[i] = v / L[i * k + i];
  }
  for (int i = 0; i < k; ++i) g[i] *= z[i];
  return shift;
}

PetscErrorCode GapNeighbors::SetUp(TensorGrid &grid, const std::vector<KronEigen> &eig, const unsigned char *mask, double s, int reach)
{
  const TensorBox        home = grid.Home();
  const int              d    = grid.Dim();
  const PetscInt64       m    = std::max<PetscInt64>(0, home.Volume());
  TensorBox              ext;
  std::vector<PetscInt>  id, slot, ghost, here, there, cols;
  std::vector<double>    w, B, L, g;
  std::vector<ptrdiff_t> step;
  PetscLayout            map;
  PetscSF                sf;
  MPI_Datatype           numbers;

  PetscFunctionBegin;
  Reset();
  PetscCheck(std::pow(2.0 * reach + 1, d) <= kMost, grid.Comm(), PETSC_ERR_ARG_OUTOFRANGE, "Neighbours up to %d steps away in %d dimensions are too many",
             reach, d);
  PetscCallCXX({
    place.clear();
    for (PetscInt64 i = 0; i < m; ++i)
      if (!mask[i]) place.push_back(i);
  });
  const PetscInt mine = static_cast<PetscInt>(place.size());
  first               = 0;
  PetscCallMPI(MPI_Exscan(&mine, &first, 1, MPIU_INT, MPI_SUM, grid.Comm()));
  PetscCall(Numbers(grid, reach, &ext, &id));
  const std::vector<std::vector<int>> offsets = HalfBall(d, reach);
  const size_t                        no      = offsets.size();
  PetscCall(Entries(grid, eig, s, offsets, &w));
  /* slot[]: where the entries of a point of ext are, those of other processes' points after mine */
  PetscCallCXX({
    slot.assign(id.size(), -1);
    for (size_t at = 0; at < id.size(); ++at) {
      const PetscInt q = id[at];
      if (q >= first && q < first + mine)
        slot[at] = q - first;
      else if (q >= 0) {
        slot[at] = mine + static_cast<PetscInt>(ghost.size());
        ghost.push_back(q);
      }
    }
    w.resize((static_cast<size_t>(mine) + ghost.size()) * no);
  });
  PetscCall(PetscLayoutCreateFromSizes(grid.Comm(), mine, PETSC_DETERMINE, 1, &map));
  PetscCall(PetscSFCreate(grid.Comm(), &sf));
  PetscCall(PetscSFSetGraphLayout(sf, map, static_cast<PetscInt>(ghost.size()), NULL, PETSC_COPY_VALUES, ghost.data()));
  PetscCallMPI(MPI_Type_contiguous(static_cast<int>(no), MPI_DOUBLE, &numbers));
  PetscCallMPI(MPI_Type_commit(&numbers));
  PetscCall(PetscSFBcastBegin(sf, numbers, w.data(), w.data() + static_cast<size_t>(mine) * no, MPI_REPLACE));
  PetscCall(PetscSFBcastEnd(sf, numbers, w.data(), w.data() + static_cast<size_t>(mine) * no, MPI_REPLACE));
  PetscCallMPI(MPI_Type_free(&numbers));
  PetscCall(PetscSFDestroy(&sf));
  PetscCall(PetscLayoutDestroy(&map));
  /* between[a * no + b], a > b: the offset from p - offsets[a] to p - offsets[b], -1 where these are no neighbours */
  std::vector<int> between(no * no, -1);
  {
    std::map<std::vector<int>, int> index;
    std::vector<int>                by(d);
    for (size_t o = 0; o < no; ++o) index[offsets[o]] = static_cast<int>(o);
    for (size_t a = 0; a < no; ++a)
      for (size_t b = 0; b < a; ++b) {
        std::transform(offsets[a].begin(), offsets[a].end(), offsets[b].begin(), by.begin(), std::minus<int>());
        const auto found = index.find(by);
        if (found != index.end()) between[a * no + b] = found->second;
      }
  }
  for (const auto &o : offsets) {
    ptrdiff_t at = 0;
    for (int k = 0; k < d; ++k) at = at * (m ? ext.Length(k) : 1) + o[k];
    step.push_back(at);
  }
  /* a row's points are those before it in the natural order, which does not depend on the distribution: f(offset, place in ext), the point itself last */
  const auto ForGroups = [&](auto begin, auto f, auto end) {
    PetscInt p = 0;
    ForPoints(home, [&](const PetscInt64 *i, PetscInt64 at) {
      if (mask[at]) return;
      const PetscInt64 centre = Linear(ext, i);
      begin();
      for (size_t o = no; o-- > 0;) {
        bool inside = true;
        for (int k = 0; k < d; ++k) inside = inside && i[k] - offsets[o][k] >= 0 && i[k] - offsets[o][k] < grid.Sizes()[k];
        if (inside && id[centre - step[o]] >= 0) f(o, centre - step[o]);
      }
      end(p++);
    });
  };
  PetscCallCXX({
    PetscInt in = 0, out = 0;
    here.reserve(mine);
    there.reserve(mine);
    ForGroups([&] { in = out = 0; }, [&](size_t, PetscInt64 at) { ++(slot[at] < mine ? in : out); },
              [&](PetscInt) {
                here.push_back(in);
                there.push_back(out);
              });
    B.resize(no * no);
    L.resize(no * no);
    g.resize(no);
  });
  PetscCall(MatCreate(grid.Comm(), &G));
  PetscCall(MatSetSizes(G, mine, mine, PETSC_DETERMINE, PETSC_DETERMINE));
  PetscCall(MatSetType(G, MATAIJ));
  PetscCall(MatSeqAIJSetPreallocation(G, 0, here.data()));
  PetscCall(MatMPIAIJSetPreallocation(G, 0, here.data(), 0, there.data()));
  PetscCall(MatSetOption(G, MAT_NO_OFF_PROC_ENTRIES, PETSC_TRUE));
  std::vector<std::pair<size_t, PetscInt64>> group;
  PetscErrorCode                             ierr = PETSC_SUCCESS;
  PetscInt                                   more = 0;
  shift                                           = 0;
  ForGroups([&] { group.clear(); }, [&](size_t o, PetscInt64 at) { group.emplace_back(o, at); },
            [&](PetscInt p) {
              const int      k   = static_cast<int>(group.size());
              const PetscInt row = first + p;

              cols.clear();
              for (int a = 0; a < k; ++a) {
                cols.push_back(id[group[a].second]);
                for (int b = 0; b <= a; ++b) {
                  const int o  = a == b ? 0 : between[group[b].first * no + group[a].first];
                  B[a * k + b] = o < 0 ? 0.0 : w[static_cast<size_t>(slot[group[b].second]) * no + static_cast<size_t>(o)];
                }
              }
              const double added = Row(k, B, L, g.data());
              shift              = std::max(shift, added);
              more += added > 0;
              if (!ierr) ierr = MatSetValues(G, 1, &row, k, cols.data(), g.data(), INSERT_VALUES);
            });
  PetscCall(ierr);
  PetscCall(MatAssemblyBegin(G, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(G, MAT_FINAL_ASSEMBLY));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &shift, 1, MPI_DOUBLE, MPI_MAX, grid.Comm()));
  PetscCallMPI(MPI_Allreduce(&more, &shifted, 1, MPIU_INT, MPI_SUM, grid.Comm()));
  PetscCall(MatCreateVecs(G, &x, &y));
  ready = true;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode GapNeighbors::Apply(const double *in, double *out, PetscInt64 size)
{
  double *p;

  PetscFunctionBegin;
  PetscCall(VecGetArrayWrite(x, &p));
  for (size_t q = 0; q < place.size(); ++q) p[q] = in[place[q]];
  PetscCall(VecRestoreArrayWrite(x, &p));
  PetscCall(MatMult(G, x, y));
  PetscCall(MatMultTranspose(G, y, x));
  std::fill(out, out + size, 0.0);
  PetscCall(VecGetArrayRead(x, (const PetscScalar **)&p));
  for (size_t q = 0; q < place.size(); ++q) out[place[q]] = p[q];
  PetscCall(VecRestoreArrayRead(x, (const PetscScalar **)&p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace gp
} // namespace skean
