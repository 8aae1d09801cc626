/* Preconditioner of the missing block by its entries between neighbours: see gpneighbors.hpp */
#include <skean/private/gpneighbors.hpp>
#include <skean/private/random.hpp>
#include <skean/private/reduce.hpp>
#include <petscsf.h>
#include <algorithm>
#include <cmath>

namespace skean {
namespace gp {

namespace {

constexpr double   kLeast      = 0.01; /* smallest eigenvalue wanted of T scaled to a unit diagonal */
constexpr double   kRemainder  = 0.05; /* of the Chebyshev polynomial */
constexpr PetscInt kMostSteps  = 60;
constexpr PetscInt kEstimation = 60; /* steps of the Lanczos process that estimates the eigenvalues */

/* Calls f(index, linear) for all points of a box in natural order */
template <class F>
void ForPoints(const TensorBox &b, F f)
{
  PetscInt64 i[kTensorMaxDim], at = 0;

  if (b.Volume() <= 0) return;
  for (int k = 0; k < b.d; ++k) i[k] = b.lo[k];
  for (;;) {
    f(i, at++);
    int k = b.d - 1;
    for (; k >= 0; --k) {
      if (++i[k] < b.hi[k]) break;
      i[k] = b.lo[k];
    }
    if (k < 0) return;
  }
}

PetscInt64 Linear(const TensorBox &b, const PetscInt64 *i)
{
  PetscInt64 at = 0;
  for (int k = 0; k < b.d; ++k) at = at * b.Length(k) + i[k] - b.lo[k];
  return at;
}

/* All offsets whose first component that is not zero is positive, and zero, which comes first: of o and -o one */
std::vector<std::vector<int>> HalfBox(int d, int reach)
{
  std::vector<std::vector<int>> all(1, std::vector<int>(d, 0));
  std::vector<int>              o(d, -reach);
  for (;;) {
    const auto lead = std::find_if(o.begin(), o.end(), [](int c) { return c != 0; });
    if (lead != o.end() && *lead > 0) all.push_back(o);
    int k = d - 1;
    for (; k >= 0; --k) {
      if (++o[k] <= reach) break;
      o[k] = -reach;
    }
    if (k < 0) return all;
  }
}

} // namespace

PetscInt GapNeighbors::Offsets(int d, int reach)
{
  PetscInt all = 1;
  for (int k = 0; k < d; ++k) all *= 2 * reach + 1;
  return (all + 1) / 2;
}

void GapNeighbors::Reset() noexcept
{
  ready = false;
  (void)KSPDestroy(&ksp);
  (void)MatDestroy(&T);
  (void)VecDestroy(&x);
  (void)VecDestroy(&b);
}

/* w[o]: the entries of offset o at my missing points (what reaches out of the grid is not used) */
PetscErrorCode GapNeighbors::Entries(TensorGrid &grid, const std::vector<KronEigen> &eig, double s, const std::vector<std::vector<int>> &offsets,
                                     std::vector<std::vector<double>> *w)
{
  const int                                d    = grid.Dim();
  const PetscInt64                         m    = std::max<PetscInt64>(0, grid.Home().Volume());
  const int                                last = grid.Stages() - 1;
  const TensorBox                          far  = grid.Box(last, grid.Sizes());
  std::vector<double>                      inverse(std::max<PetscInt64>(0, far.Volume())), out(m);
  std::vector<std::vector<double>>         M(d);
  std::vector<std::vector<const double *>> lam(1, std::vector<const double *>(d));
  std::vector<ModeOp>                      op(d);

  PetscFunctionBegin;
  for (int j = 0; j < d; ++j) lam[0][j] = eig[j].lambda.data();
  ForSpectrum(far, s, std::vector<double>(1, 1.0), lam, [&](PetscInt64 at, double v) { inverse[at] = 1 / v; });
  PetscCallCXX(w->assign(offsets.size(), std::vector<double>(place.size())));
  for (size_t o = 0; o < offsets.size(); ++o) {
    for (int j = 0; j < d; ++j) {
      const PetscInt64           n = eig[j].n, by = offsets[o][j];
      const std::vector<double> &V = eig[j].V;
      PetscCallCXX(M[j].assign(n * n, 0.0));
      for (PetscInt64 k = 0; k < n; ++k)
        for (PetscInt64 i = std::max<PetscInt64>(0, -by); i < std::min(n, n - by); ++i) M[j][k * n + i] = V[k * n + i] * V[k * n + i + by];
      op[j] = ModeOp::Dense(n, n, M[j].data(), n);
    }
    TensorPipe pipe(grid, grid.Sizes(), last, inverse.data(), out.data(), m);
    PetscCall(pipe.Backward(op.data()));
    PetscCall(pipe.Finish());
    for (size_t q = 0; q < place.size(); ++q) (*w)[o][q] = out[place[q]];
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

PetscErrorCode GapNeighbors::SetUp(TensorGrid &grid, const std::vector<KronEigen> &eig, const unsigned char *mask, double s, int reach)
{
  const TensorBox                  home = grid.Home();
  const int                        d    = grid.Dim();
  const PetscInt64                 m    = std::max<PetscInt64>(0, home.Volume());
  TensorBox                        ext;
  std::vector<PetscInt>            id, here, there, cols;
  std::vector<double>              vals;
  std::vector<std::vector<double>> w;

  PetscFunctionBegin;
  Reset();
  PetscCallCXX({
    place.clear();
    for (PetscInt64 i = 0; i < m; ++i)
      if (!mask[i]) place.push_back(i);
  });
  const PetscInt mine = static_cast<PetscInt>(place.size());
  first               = 0;
  PetscCallMPI(MPI_Exscan(&mine, &first, 1, MPIU_INT, MPI_SUM, grid.Comm()));
  PetscCall(Numbers(grid, reach, &ext, &id));
  const std::vector<std::vector<int>> offsets = HalfBox(d, reach);
  PetscCall(Entries(grid, eig, s, offsets, &w));
  /* the neighbours of a point: f(offset, sign, number) */
  std::vector<PetscInt64> index(static_cast<size_t>(mine) * d);
  {
    size_t q = 0;
    ForPoints(home, [&](const PetscInt64 *i, PetscInt64 at) {
      if (!mask[at]) std::copy_n(i, d, &index[d * q++]);
    });
  }
  const auto ForNeighbours = [&](PetscInt p, auto f) {
    PetscInt64 i[kTensorMaxDim];
    for (size_t o = 0; o < offsets.size(); ++o)
      for (int sign : {1, -1}) {
        bool inside = true;
        if (!o && sign < 0) continue;
        for (int k = 0; k < d; ++k) {
          i[k]   = index[static_cast<size_t>(p) * d + k] + sign * offsets[o][k];
          inside = inside && i[k] >= 0 && i[k] < grid.Sizes()[k];
        }
        if (!inside) continue;
        const PetscInt q = id[Linear(ext, i)];
        if (q >= 0) f(o, sign, q);
      }
  };
  PetscCallCXX(here.assign(std::max<PetscInt>(mine, 1), 0));
  PetscCallCXX(there.assign(std::max<PetscInt>(mine, 1), 0));
  for (PetscInt p = 0; p < mine; ++p) ForNeighbours(p, [&](size_t, int, PetscInt q) { ++(q >= first && q < first + mine ? here : there)[p]; });
  PetscCall(MatCreate(grid.Comm(), &T));
  PetscCall(MatSetSizes(T, mine, mine, PETSC_DETERMINE, PETSC_DETERMINE));
  PetscCall(MatSetType(T, MATAIJ));
  PetscCall(MatSeqAIJSetPreallocation(T, 0, here.data()));
  PetscCall(MatMPIAIJSetPreallocation(T, 0, here.data(), 0, there.data()));
  for (PetscInt p = 0; p < mine; ++p) {
    const PetscInt row  = first + p;
    PetscErrorCode ierr = PETSC_SUCCESS;

    cols.clear();
    vals.clear();
    ForNeighbours(p, [&](size_t o, int sign, PetscInt q) {
      const bool local = q >= first && q < first + mine;
      if (sign < 0 && !local) return; /* its owner has the value, and sends it */
      const double v = sign > 0 ? w[o][p] : w[o][q - first];
      cols.push_back(q);
      vals.push_back(v);
      if (sign > 0 && !local && !ierr) ierr = MatSetValues(T, 1, &q, 1, &row, &v, INSERT_VALUES);
    });
    PetscCall(ierr);
    PetscCall(MatSetValues(T, 1, &row, static_cast<PetscInt>(cols.size()), cols.data(), vals.data(), INSERT_VALUES));
  }
  PetscCall(MatAssemblyBegin(T, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(T, MAT_FINAL_ASSEMBLY));
  PetscCall(MatSetOption(T, MAT_SPD, PETSC_TRUE));
  PetscCall(MatCreateVecs(T, &x, &b));
  PetscCall(MakeDefinite(grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A multiple of the diagonal that makes T definite, and the number of Chebyshev steps that its extreme eigenvalues ask for */
PetscErrorCode GapNeighbors::MakeDefinite(TensorGrid &grid)
{
  KSP                cg;
  PC                 pc;
  Vec                diagonal, shifted;
  PetscReal          most, least;
  KSPConvergedReason reason;
  double            *p;

  PetscFunctionBegin;
  PetscCall(VecDuplicate(b, &diagonal));
  PetscCall(VecDuplicate(b, &shifted));
  PetscCall(MatGetDiagonal(T, diagonal));
  /* a vector that does not depend on the distribution: by the points' natural numbers */
  const RandomStream stream(0, Purpose::Probe);
  PetscCall(VecGetArrayWrite(b, &p));
  {
    size_t q = 0;
    ForPoints(grid.Home(), [&](const PetscInt64 *i, PetscInt64 at) {
      if (q >= place.size() || place[q] != at) return;
      PetscInt64 g = 0;
      for (int k = 0; k < grid.Dim(); ++k) g = g * grid.Sizes()[k] + i[k];
      p[q++] = stream.Normal(static_cast<std::uint64_t>(g), 0);
    });
  }
  PetscCall(VecRestoreArrayWrite(b, &p));
  PetscCall(KSPCreate(grid.Comm(), &cg));
  PetscCall(KSPSetType(cg, KSPCG));
  PetscCall(KSPGetPC(cg, &pc));
  PetscCall(PCSetType(pc, PCJACOBI));
  PetscCall(KSPSetComputeSingularValues(cg, PETSC_TRUE));
  PetscCall(KSPSetTolerances(cg, 1e-8, 0.0, PETSC_DEFAULT, kEstimation));
  PetscCall(KSPSetOperators(cg, T, T));
  for (shift = 0; shift < 1 && !ready; shift = shift > 0 ? 2 * shift : 2 * kLeast) {
    if (shift > 0) {
      PetscCall(VecCopy(diagonal, shifted));
      PetscCall(VecScale(shifted, 1 + shift));
      PetscCall(MatDiagonalSet(T, shifted, INSERT_VALUES));
    }
    PetscCall(KSPSolve(cg, b, x));
    PetscCall(KSPGetConvergedReason(cg, &reason));
    PetscCall(KSPComputeExtremeSingularValues(cg, &most, &least));
    ready = (reason > 0 || reason == KSP_DIVERGED_ITS) && least > kLeast && std::isfinite(most);
    if (ready) break;
  }
  PetscCall(KSPDestroy(&cg));
  PetscCall(VecDestroy(&diagonal));
  PetscCall(VecDestroy(&shifted));
  if (!ready) PetscFunctionReturn(PETSC_SUCCESS);
  most *= 1.05; /* the process comes from inside */
  const double root = std::sqrt(most / least);
  steps = root > 1.01 ? std::min<PetscInt>(kMostSteps, static_cast<PetscInt>(std::ceil(std::log(2 / kRemainder) / std::log((root + 1) / (root - 1))))) : 1;
  PetscCall(KSPCreate(grid.Comm(), &ksp));
  PetscCall(KSPSetType(ksp, KSPCHEBYSHEV));
  PetscCall(KSPChebyshevSetEigenvalues(ksp, most, least));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, PCJACOBI));
  PetscCall(KSPSetNormType(ksp, KSP_NORM_NONE));
  PetscCall(KSPSetConvergenceTest(ksp, KSPConvergedSkip, NULL, NULL));
  PetscCall(KSPSetTolerances(ksp, PETSC_DEFAULT, PETSC_DEFAULT, PETSC_DEFAULT, steps));
  PetscCall(KSPSetOperators(ksp, T, T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode GapNeighbors::Apply(const double *in, double *out, PetscInt64 size)
{
  double *p;

  PetscFunctionBegin;
  PetscCall(VecGetArrayWrite(b, &p));
  for (size_t q = 0; q < place.size(); ++q) p[q] = in[place[q]];
  PetscCall(VecRestoreArrayWrite(b, &p));
  PetscCall(KSPSolve(ksp, b, x));
  std::fill(out, out + size, 0.0);
  PetscCall(VecGetArrayRead(x, (const PetscScalar **)&p));
  for (size_t q = 0; q < place.size(); ++q) out[place[q]] = p[q];
  PetscCall(VecRestoreArrayRead(x, (const PetscScalar **)&p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace gp
} // namespace skean
