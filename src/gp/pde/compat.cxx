/*
   SKEANGPPDECOMPAT and SKEANGPPDEVARPRO: the objective of GP-HM (Fang et al., arXiv 2311.04465, and its code), minimised here, divided by N:

     F = 1/2 sum_j (N/N_j) log det K_j + 1/2 <U, U x_1 K_1^-1 ... x_d K_d^-1>                  (prior; K_j with the jitter)
       + lambda_b [ -N_b/2 log tau + tau/2 sum_b (u_b - g_b)^2 ]                              (boundary)
       + [ -N/2 log v + v/2 sum_i H_i^2 ],   H = sum_k U x_k D_k + c U + N(U) - f              (equation, at all points)

   with D_k = (a_k K_k'' + b_k K_k') (K_k + eps)^-1. Flat priors on log weights (Jeffreys), log length scales, frequencies, log tau, log v. Gradients by
   adjoints, S = K^-1, D = M S:
     dF/dU   = U x S + v sum_k q x_k D_k' + ... with q = H
     dF/dM_k = G S,  dF/dK_k = -D' G S with G = v H_(k) U_(k)';   prior: dF/dK_k += 1/2 (N/N_k) S - 1/2 P_(k) T_(k)', P = U x_j S_j, T = U x_k S_k
   and dM, dK by the closed forms of the kernels (KernelMatrixGrad()).

   VARPRO (one dimension, linear equations): for given hyper-parameters U is the solution of a least-squares problem in whitened unknowns
   U = L z, K + eps = L L', and tau = N_b/gap^2, v = N/|H|^2; repeated to a fixed point. The derivative with respect to the hyper-parameters is the partial one
   there.
*/
#include "state.hpp"
#include <skean/private/reduce.hpp>
#include <petsctao.h>
#include <algorithm>
#include <cmath>
#include <cstring>

using namespace skean;
using namespace skean::gp;

namespace {

/*
   The objective has no maximum: with u_b = g exactly the boundary likelihood grows with log tau without end (lambda_b N_b/2 log tau, while the
   equation keeps a finite residual). Where GP-HM ends is decided by its optimiser; its saved models have log tau near 16. Here both
   precisions are bounded.
*/
constexpr double PRECISION_MAX = 1e8;

struct Compat {
  SkeanGPPDE          pde    = nullptr;
  bool                varpro = false;
  TensorSizes         n{};
  double              N = 1, Nb = 0;
  std::vector<size_t> at; /* local numbers of boundary points; a corner is there once for each side it is on */
  std::vector<double> g, f, ones;
  Dense               K[3], L[3], Li[3], S[3], D[3], M1[3], M2[3]; /* K with the jitter = L L', Li = L^-1, S = K^-1 (gradient of the determinant only) */
  PointSet            grid;
  size_t              np = 0, offset[4] = {0, 0, 0, 0}; /* hyper-parameters */
  double              tau = 1, v = 1;                   /* VARPRO: where the last elimination ended */
  std::vector<double> U;                                /* VARPRO: its values */
  /* the iterate with the least EstimateError() */
  PetscInt            patience = 0, iterate = 0, waited = 0;
  double              least = PETSC_MAX_REAL, counted = PETSC_MAX_REAL;
  std::vector<double> leastHyper, leastU;
};

/* A = L L' and L^-1; false if A is not positive definite. Everything goes through these triangles: with a condition of 1e14, products with an explicit A^-1 are worthless. */
bool Factor(const Dense &A, Dense &L, Dense &Li, double *logdet)
{
  PetscBLASInt n = static_cast<PetscBLASInt>(A.m), info;
  L              = A;
  LAPACKpotrf_("L", &n, L.a.data(), &n, &info);
  if (info) return false;
  *logdet = 0;
  for (size_t j = 0; j < A.m; j++) {
    *logdet += 2 * std::log(L(j, j));
    for (size_t i = 0; i < j; i++) L(i, j) = 0;
  }
  Li = Dense(A.m, A.m);
  for (size_t i = 0; i < A.m; i++) Li(i, i) = 1;
  const double one = 1;
  if (n) BLAStrsm_("L", "L", "N", "N", &n, &n, &one, L.a.data(), &n, Li.a.data(), &n);
  return true;
}

/* M L^-T, and with both: M (L L')^-1 */
Dense TimesInverse(const Dense &M, const Dense &L, bool both = true)
{
  Dense              X = M;
  const PetscBLASInt m = static_cast<PetscBLASInt>(M.m), n = static_cast<PetscBLASInt>(M.n);
  const double       one = 1;
  if (m && n) BLAStrsm_("R", "L", "T", "N", &m, &n, &one, L.a.data(), &n, X.a.data(), &m);
  if (m && n && both) BLAStrsm_("R", "L", "N", "N", &m, &n, &one, L.a.data(), &n, X.a.data(), &m);
  return X;
}

/* G = A_(k) B_(k)' of two arrays in home boxes: dimension k is made local, products are summed over the processes */
PetscErrorCode Gram(Compat *c, int k, const std::vector<double> &A, const std::vector<double> &B, Dense *G)
{
  TensorGrid                &grid = c->pde->state->grid;
  std::vector<double>        a, b;
  double                    *pa = nullptr, *pb = nullptr;
  const std::vector<double> *in[2]  = {&A, &B};
  std::vector<double>       *out[2] = {&a, &b};
  double                   **p[2]   = {&pa, &pb};
  const TensorBox            box    = grid.Box(grid.StageOf(k), c->n);

  PetscFunctionBegin;
  std::unique_ptr<TensorPipe> pipe[2];
  for (int i = 0; i < 2; i++) {
    const PetscInt64 size = std::max(grid.Box(0, c->n).Volume(), box.Volume());
    PetscCallCXX(out[i]->assign(static_cast<size_t>(size), 0.0));
    TensorPipe t(grid, c->n, 0, in[i]->data(), out[i]->data(), size);
    PetscCall(t.Move(grid.StageOf(k)));
    PetscCall(t.Data(p[i]));
    /* keep a copy: the pipe may hold it in the work array of the grid */
    std::vector<double> keep;
    PetscCallCXX(keep.assign(*p[i], *p[i] + box.Volume()));
    out[i]->swap(keep);
  }
  size_t L = 1, R = 1;
  for (int j = 0; j < k; j++) L *= static_cast<size_t>(box.Length(j));
  for (int j = k + 1; j < c->pde->dim; j++) R *= static_cast<size_t>(box.Length(j));
  const size_t nk = static_cast<size_t>(c->n[k]);
  PetscCallCXX(*G = Dense(nk, nk));
  const PetscBLASInt n = static_cast<PetscBLASInt>(nk), r = static_cast<PetscBLASInt>(R), l = static_cast<PetscBLASInt>(L);
  const double       one = 1;
  if (box.Volume() && R == 1)
    BLASgemm_("N", "T", &n, &n, &l, &one, a.data(), &n, b.data(), &n, &one, G->a.data(), &n);
  else if (box.Volume())
    for (size_t i = 0; i < L; i++) BLASgemm_("T", "N", &n, &n, &r, &one, a.data() + i * nk * R, &r, b.data() + i * nk * R, &r, &one, G->a.data(), &n);
  PetscCall(AllreduceSum(grid.Comm(), G->a.data(), G->a.size()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* a_k M2 + b_k M1 */
Dense Combined(SkeanGPPDE pde, int k, const Dense &M1, const Dense &M2)
{
  Dense M = M2;
  for (size_t i = 0; i < M.a.size(); i++) M.a[i] = pde->a[k] * M.a[i] + pde->b[k] * M1.a[i];
  return M;
}

/* Matrices of all dimensions for hyper-parameters theta; ok = false: not positive definite */
PetscErrorCode Matrices(Compat *c, const double *theta, double *logdet, bool *ok)
{
  SkeanGPPDE               pde = c->pde;
  SkeanGPPDEState_Private *st  = pde->state;

  PetscFunctionBegin;
  *logdet = 0;
  *ok     = true;
  for (int k = 0; k < pde->dim && *ok; k++) {
    const size_t n  = static_cast<size_t>(pde->n[k]);
    double       ld = 0;
    st->kernel[k].SetParams(theta + c->offset[k]);
    PetscCallCXX({
      c->K[k]  = Dense(n, n);
      c->M1[k] = Dense(n, n);
      c->M2[k] = Dense(n, n);
    });
    double *const KK[3] = {c->K[k].a.data(), c->M1[k].a.data(), c->M2[k].a.data()};
    PetscCall(KernelMatrix(st->kernel[k], n, st->x[k].data(), 0, nullptr, 2, KK));
    for (size_t i = 0; i < n; i++) c->K[k](i, i) += pde->jitter;
    PetscCallCXX({
      *ok = Factor(c->K[k], c->L[k], c->Li[k], &ld);
      if (*ok) {
        c->S[k] = Multiply(c->Li[k], c->Li[k], true, false);
        c->D[k] = TimesInverse(Combined(pde, k, c->M1[k], c->M2[k]), c->L[k]);
      }
    });
    *logdet += c->N / static_cast<double>(n) * ld;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode One(Compat *c, int k, const Dense &A, bool trans, const std::vector<double> &in, std::vector<double> &out)
{
  const Dense *F[3] = {nullptr, nullptr, nullptr};
  PetscFunctionBegin;
  F[k] = &A;
  PetscCall(ApplyModes(c->pde->state->grid, c->n, F, trans, in.data(), out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* F and its derivatives; U and gU: home boxes. extra: log tau, log v and their derivatives. gap2, res2: the two sums of squares */
PetscErrorCode Objective(Compat *c, const double *theta, const double extra[2], const std::vector<double> &U, double *F, std::vector<double> *gU,
                         double *gtheta, double gextra[2], double *gap2, double *res2)
{
  SkeanGPPDE               pde = c->pde;
  SkeanGPPDEState_Private *st  = pde->state;
  const int                d   = static_cast<int>(pde->dim);
  double                   logdet;
  bool                     ok;
  std::vector<double>      P, T, t, Lu, H, ru;

  PetscFunctionBegin;
  PetscCall(Matrices(c, theta, &logdet, &ok));
  if (!ok) {
    *F = PETSC_INFINITY;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  const double tau = std::exp(extra[0]), v = std::exp(extra[1]);
  const Dense *Li[3] = {&c->Li[0], &c->Li[1], &c->Li[2]};
  PetscCall(ApplyModes(st->grid, c->n, Li, false, U.data(), t));
  PetscCall(ApplyModes(st->grid, c->n, Li, true, t.data(), P));
  PetscCallCXX(Lu.assign(U.size(), 0.0));
  for (int k = 0; k < d; k++) {
    if (pde->a[k] == 0 && pde->b[k] == 0) continue;
    PetscCall(One(c, k, c->D[k], false, U, t));
    for (size_t i = 0; i < t.size(); i++) Lu[i] += t[i];
  }
  PetscCall(Residual(pde, c->grid, U, Lu, {}, {}, H, &ru, nullptr, nullptr));
  FlaggedSum sum(3);
  for (size_t i = 0; i < U.size(); i++) {
    sum[0] += U[i] * P[i];
    sum[1] += H[i] * H[i];
  }
  for (size_t b = 0; b < c->at.size(); b++) sum[2] += (U[c->at[b]] - c->g[b]) * (U[c->at[b]] - c->g[b]);
  PetscCall(sum.Reduce(PetscObjectComm((PetscObject)pde), false, nullptr));
  *F = (0.5 * logdet + 0.5 * sum[0] + pde->lambdab * 0.5 * (tau * sum[2] - c->Nb * extra[0]) + 0.5 * (v * sum[1] - c->N * extra[1])) / c->N;
  if (gap2) *gap2 = sum[2];
  if (res2) *res2 = sum[1];
  if (gextra) {
    gextra[0] = pde->lambdab * 0.5 * (tau * sum[2] - c->Nb) / c->N;
    gextra[1] = 0.5 * (v * sum[1] - c->N) / c->N;
  }
  for (double &h : H) h *= v;
  if (gU) {
    PetscCallCXX(*gU = P);
    for (size_t i = 0; i < U.size(); i++) (*gU)[i] += (pde->c + ru[i]) * H[i];
    for (size_t b = 0; b < c->at.size(); b++) (*gU)[c->at[b]] += pde->lambdab * tau * (U[c->at[b]] - c->g[b]);
    for (int k = 0; k < d; k++) {
      if (pde->a[k] == 0 && pde->b[k] == 0) continue;
      PetscCall(One(c, k, c->D[k], true, H, t));
      for (size_t i = 0; i < t.size(); i++) (*gU)[i] += t[i];
    }
    for (double &x : *gU) x /= c->N;
  }
  if (gtheta) {
    std::fill(gtheta, gtheta + c->np, 0.0);
    for (int k = 0; k < d; k++) {
      Dense GK, GD, GS;
      PetscCall(One(c, k, c->Li[k], false, U, t));
      PetscCall(One(c, k, c->Li[k], true, t, T));
      PetscCall(Gram(c, k, P, T, &GK));
      const double w = c->N / static_cast<double>(pde->n[k]);
      for (size_t i = 0; i < GK.a.size(); i++) GK.a[i] = 0.5 * (w * c->S[k].a[i] - GK.a[i]) / c->N;
      const bool active = pde->a[k] != 0 || pde->b[k] != 0;
      if (active) {
        PetscCall(Gram(c, k, H, U, &GD));
        PetscCallCXX({
          GS            = TimesInverse(GD, c->L[k]);
          const Dense X = Multiply(c->D[k], GS, true);
          for (size_t i = 0; i < GK.a.size(); i++) GK.a[i] -= X.a[i] / c->N;
        });
      }
      Dense G1 = active ? GS : Dense(), G2 = G1;
      for (size_t i = 0; i < G1.a.size(); i++) {
        G1.a[i] *= pde->b[k] / c->N;
        G2.a[i] *= pde->a[k] / c->N;
      }
      const double *const GG[3] = {GK.a.data(), active && pde->b[k] != 0 ? G1.a.data() : nullptr, active && pde->a[k] != 0 ? G2.a.data() : nullptr};
      PetscCall(KernelMatrixGrad(st->kernel[k], static_cast<size_t>(pde->n[k]), st->x[k].data(), 2, GG, gtheta + c->offset[k]));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The answer: GP mean with the present hyper-parameters, k(x,X) L^-T (L^-1 U) */
PetscErrorCode Represent(Compat *c, const std::vector<double> &U)
{
  SkeanGPPDEState_Private *st = c->pde->state;

  PetscFunctionBegin;
  for (int k = 0; k < c->pde->dim; k++)
    PetscCallCXX({
      st->spec[k].kind   = SKEAN_GPPDE_BASIS_COVARIANCE;
      st->spec[k].x      = st->x[k];
      st->spec[k].kernel = &st->kernel[k];
      st->spec[k].ell    = 0;
      st->basis[k].coef  = Dense(c->Li[k].n, c->Li[k].m);
      for (size_t j = 0; j < c->Li[k].m; j++)
        for (size_t i = 0; i <= j; i++) st->basis[k].coef(i, j) = c->Li[k](j, i);
      st->r[k] = c->n[k];
    });
  const Dense *Li[3] = {&c->Li[0], &c->Li[1], &c->Li[2]};
  PetscCall(ApplyModes(st->grid, c->n, Li, false, U.data(), st->coef));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Values to start from: the equation solved with the boundary values imposed, derivatives by the D_k of the first kernels. Imposed on the GP mean k(x,X) (K + eps)^-1 U, not on U:
   the two differ by eps (K + eps)^-1 U, which the objective hardly sees as long as it is below sqrt(eps), and it is the mean that is the answer.
*/
PetscErrorCode Start(Compat *c, std::vector<double> *U)
{
  SkeanGPPDE               pde   = c->pde;
  SkeanGPPDEState_Private *st    = pde->state;
  bool                     first = true, ok;

  PetscFunctionBegin;
  for (int k = 0; k < pde->dim; k++) first = first && pde->a[k] == 0;
  for (int k = 0; k < pde->dim; k++)
    PetscCallCXX({
      Basis1D &b = st->basis[k];
      Dense    I(static_cast<size_t>(pde->n[k]), static_cast<size_t>(pde->n[k]));
      for (size_t i = 0; i < I.m; i++) I(i, i) = 1;
      b.W = c->K[k];
      for (size_t i = 0; i < I.m; i++) b.W(i, i) -= pde->jitter;
      b.W  = TimesInverse(b.W, c->L[k]);
      b.W1 = TimesInverse(c->M1[k], c->L[k]);
      b.W2 = TimesInverse(c->M2[k], c->L[k]);
      b.ok = true;
      b.Constrain(pde->bc[2 * k], pde->bc[2 * k + 1], first);
      /* the equation is that of the values */
      b.W = I;
      b.V = b.Z;
    });
  PetscCall(SolveWithBases(pde, &ok));
  if (ok)
    PetscCallCXX(*U = st->coef);
  else
    PetscCallCXX(U->assign(static_cast<size_t>(st->grid.Box(0, c->n).Volume()), 0.0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* VARPRO: values and precisions for given hyper-parameters (one dimension; every process does the same) */
PetscErrorCode Eliminate(Compat *c, const double *theta, bool *ok)
{
  SkeanGPPDE          pde = c->pde;
  const size_t        n   = static_cast<size_t>(pde->n[0]);
  Dense               AL;
  double              logdet;
  std::vector<size_t> ends;

  PetscFunctionBegin;
  PetscCall(Matrices(c, theta, &logdet, ok));
  if (!*ok) PetscFunctionReturn(PETSC_SUCCESS);
  const Dense &L = c->L[0];
  PetscCallCXX({
    AL = TimesInverse(Combined(pde, 0, c->M1[0], c->M2[0]), L, false);
    for (size_t i = 0; i < AL.a.size(); i++) AL.a[i] += pde->c * L.a[i];
  });
  for (int e = 0; e < 2; e++)
    if (pde->bc[e] == SKEAN_GPPDE_BC_DIRICHLET) ends.push_back(e ? n - 1 : 0);
  for (int it = 0; it < 30; it++) {
    /* min |z|^2 + lambda tau |B L z - g|^2 + v |A L z - f|^2 by QR */
    const size_t        m = 2 * n + ends.size();
    std::vector<double> work;
    PetscCallCXX({
      Dense        X(m, n), y(m, 1);
      const double sv = std::sqrt(c->v), st = std::sqrt(pde->lambdab * c->tau);
      for (size_t j = 0; j < n; j++) {
        X(j, j) = 1;
        for (size_t i = 0; i < n; i++) X(n + i, j) = sv * AL(i, j);
        for (size_t b = 0; b < ends.size(); b++) X(2 * n + b, j) = st * L(ends[b], j);
      }
      for (size_t i = 0; i < n; i++) y(n + i, 0) = sv * c->f[i];
      for (size_t b = 0; b < ends.size(); b++) y(2 * n + b, 0) = st * c->ones[b];
      PetscBLASInt        mm = static_cast<PetscBLASInt>(m), nn = static_cast<PetscBLASInt>(n), one = 1, lwork = static_cast<PetscBLASInt>(64 * (m + n)), info;
      std::vector<double> tau(n);
      work.resize(static_cast<size_t>(lwork));
      LAPACKgeqrf_(&mm, &nn, X.a.data(), &mm, tau.data(), work.data(), &lwork, &info);
      *ok = info == 0;
      LAPACKormqr_("L", "T", &mm, &one, &nn, X.a.data(), &mm, tau.data(), y.a.data(), &mm, work.data(), &lwork, &info);
      *ok = *ok && info == 0;
      LAPACKtrtrs_("U", "N", "N", &nn, &one, X.a.data(), &mm, y.a.data(), &mm, &info);
      *ok = *ok && info == 0;
      Dense z(n, 1);
      std::copy_n(y.a.begin(), n, z.a.begin());
      const Dense r = Multiply(AL, z), u = Multiply(L, z);
      double      res = 0, gap = 0;
      for (size_t i = 0; i < n; i++) res += (r(i, 0) - c->f[i]) * (r(i, 0) - c->f[i]);
      for (size_t b = 0; b < ends.size(); b++) gap += (u(ends[b], 0) - c->ones[b]) * (u(ends[b], 0) - c->ones[b]);
      c->U              = u.a;
      const double tau1 = std::min(static_cast<double>(ends.size()) / std::max(gap, 1e-30), PRECISION_MAX),
                   v1   = std::min(static_cast<double>(n) / std::max(res, 1e-30), PRECISION_MAX);
      if (!std::isfinite(gap) || !std::isfinite(res)) *ok = false;
      const bool done = !*ok || (std::fabs(std::log(tau1 / c->tau)) < 1e-6 && std::fabs(std::log(v1 / c->v)) < 1e-6);
      if (*ok) c->tau = tau1, c->v = v1;
      if (done) break;
    });
  }
  /* the same bits on every process */
  PetscCallMPI(MPI_Bcast(c->U.data(), static_cast<int>(n), MPI_DOUBLE, 0, PetscObjectComm((PetscObject)pde)));
  double both[2] = {c->tau, c->v};
  PetscCallMPI(MPI_Bcast(both, 2, MPI_DOUBLE, 0, PetscObjectComm((PetscObject)pde)));
  c->tau = both[0];
  c->v   = both[1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Own part of values that every process holds */
std::vector<double> Own(Compat *c, const std::vector<double> &all)
{
  const TensorBox box = c->pde->state->grid.Box(0, c->n);
  if (!box.Volume()) return {};
  return {all.begin() + static_cast<std::ptrdiff_t>(box.lo[0]), all.begin() + static_cast<std::ptrdiff_t>(box.hi[0])};
}

/* TAO's vector: own values of U (COMPAT), then, on the first process, theta, log tau, log v (COMPAT). hyper: np + 2 numbers on every process; VARPRO: the last two and U are not there */
PetscErrorCode Unpack(Compat *c, Vec X, std::vector<double> *hyper, std::vector<double> *U)
{
  MPI_Comm           comm = PetscObjectComm((PetscObject)c->pde);
  const size_t       size = c->varpro ? 0 : static_cast<size_t>(c->pde->state->grid.Box(0, c->n).Volume()), np = c->np;
  PetscMPIInt        rank;
  const PetscScalar *x;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallCXX(hyper->assign(np + 2, 0.0));
  PetscCall(VecGetArrayRead(X, &x));
  PetscCallCXX(U->assign(x, x + size));
  if (!rank) std::copy_n(x + size, c->varpro ? np : np + 2, hyper->begin());
  PetscCall(VecRestoreArrayRead(X, &x));
  PetscCallMPI(MPI_Bcast(hyper->data(), static_cast<int>(np + 2), MPI_DOUBLE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode FormFunctionGradient(Tao, Vec X, PetscReal *F, Vec G, void *ctx)
{
  Compat             *c    = static_cast<Compat *>(ctx);
  MPI_Comm            comm = PetscObjectComm((PetscObject)c->pde);
  const size_t        size = c->varpro ? 0 : static_cast<size_t>(c->pde->state->grid.Box(0, c->n).Volume()), np = c->np;
  PetscMPIInt         rank;
  PetscScalar        *g;
  std::vector<double> hyper, U, gU, gh(np);
  double              gextra[2];
  bool                ok;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(Unpack(c, X, &hyper, &U));
  if (c->varpro) {
    PetscCall(Eliminate(c, hyper.data(), &ok));
    if (!ok) {
      *F = PETSC_INFINITY;
      PetscCall(VecSet(G, 0.0));
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    hyper[np]     = std::log(c->tau);
    hyper[np + 1] = std::log(c->v);
    PetscCallCXX(U = Own(c, c->U));
  }
  PetscCall(Objective(c, hyper.data(), &hyper[np], U, F, c->varpro ? nullptr : &gU, gh.data(), gextra, nullptr, nullptr));
  PetscCall(VecSet(G, 0.0));
  if (PetscIsInfOrNanReal(*F)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecGetArrayWrite(G, &g));
  std::copy(gU.begin(), gU.end(), g);
  if (!rank) {
    std::copy(gh.begin(), gh.end(), g + size);
    if (!c->varpro) g[size + np] = gextra[0], g[size + np + 1] = gextra[1];
  }
  PetscCall(VecRestoreArrayWrite(G, &g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode MonitorTao(Tao tao, void *ctx)
{
  SkeanGPPDE pde = static_cast<SkeanGPPDE>(ctx);
  PetscInt   it;
  PetscReal  f, gnorm;

  PetscFunctionBegin;
  PetscCall(TaoGetSolutionStatus(tao, &it, &f, &gnorm, NULL, NULL, NULL));
  PetscCall(SkeanSolverMonitor_Private((PetscObject)pde, &pde->solver, it, gnorm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The kernels are mixtures of the paper's parametrisation, not a text of the user's */
bool Plain(SkeanGPPDE pde)
{
  return !pde->kernel || !std::strcmp(pde->kernel, "sm") || !std::strcmp(pde->kernel, "smt");
}

/* First mixtures. GP-HM: weights 1/Q, a = sqrt(5) or b = 1, frequencies from 0 to F. From the data: its frequencies, length times the side as length scale, and a variance that
   lifts the covariance above the jitter */
PetscErrorCode Mixtures(SkeanGPPDE pde, double length, double variance)
{
  SkeanGPPDEState_Private *st    = pde->state;
  const bool               gauss = pde->kernel && !std::strcmp(pde->kernel, "sm");

  PetscFunctionBegin;
  for (int k = 0; k < pde->dim; k++) {
    const size_t        Q = pde->datainit ? st->freq[k].size() : static_cast<size_t>(pde->Q);
    std::vector<double> w, ell, freq;
    PetscCallCXX({
      w.assign(Q, (pde->datainit ? variance : 1.0) / static_cast<double>(Q));
      ell.assign(Q, pde->datainit ? length * (pde->hi[k] - pde->lo[k]) : (gauss ? std::sqrt(0.5) : 1.0));
      for (size_t q = 0; q < Q; q++)
        freq.push_back(pde->datainit ? st->freq[k][q] : (Q > 1 ? pde->F * static_cast<double>(q) / static_cast<double>(Q - 1) : 0.0));
    });
    PetscCall(KernelMixture(PetscObjectComm((PetscObject)pde), gauss ? 0 : 5, Q, w.data(), ell.data(), freq.data(), &st->kernel[k]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanGPPDESetUp_Compat(SkeanGPPDE pde)
{
  MPI_Comm                 comm   = PetscObjectComm((PetscObject)pde);
  SkeanGPPDEState_Private *st     = pde->state;
  const bool               varpro = !std::strcmp(((PetscObject)pde)->type_name, SKEANGPPDEVARPRO);

  PetscFunctionBegin;
  PetscCheck(!pde->residual, comm, PETSC_ERR_SUP, "Type %s takes operator and reaction, not a general residual", ((PetscObject)pde)->type_name);
  PetscCheck(!varpro || (pde->dim == 1 && !pde->reaction), comm, PETSC_ERR_SUP, "Type varpro is for linear equations in one dimension");
  for (int s = 0; s < 2 * pde->dim; s++)
    PetscCheck(pde->bc[s] == SKEAN_GPPDE_BC_NONE || pde->bc[s] == SKEAN_GPPDE_BC_DIRICHLET, comm, PETSC_ERR_SUP, "Type %s takes given values on the sides only",
               ((PetscObject)pde)->type_name);
  if (Plain(pde)) {
    PetscErrorCode ierr = PETSC_SUCCESS;
    for (int k = 0; k < pde->dim && pde->datainit && !ierr; k++) ierr = FindFrequencies(pde, k, &st->freq[k]);
    PetscCall(AgreeCallback(pde, ierr, "source or boundary"));
    PetscCall(Mixtures(pde, pde->length > 0 ? pde->length : 1.0, pde->variance > 0 ? pde->variance : 1e4));
  } else {
    std::vector<Kernel1D> list;
    PetscCall(KernelParseList(comm, pde->kernel, static_cast<size_t>(pde->dim), &list));
    for (int k = 0; k < pde->dim; k++) PetscCallCXX(st->kernel[k] = list[static_cast<size_t>(k)]);
  }
  for (int k = 0; k < pde->dim; k++) PetscCheck(st->kernel[k].MaxOrder() >= 2, comm, PETSC_ERR_SUP, "The kernel of dimension %d gives no second derivative", k);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Points, boundary values, source */
PetscErrorCode Prepare(Compat *c)
{
  SkeanGPPDE               pde  = c->pde;
  SkeanGPPDEState_Private *st   = pde->state;
  const int                d    = static_cast<int>(pde->dim);
  PetscErrorCode           ierr = PETSC_SUCCESS;

  PetscFunctionBegin;
  c->N = 1;
  for (int k = 0; k < d; k++) {
    c->n[k]      = pde->n[k];
    c->grid.n[k] = pde->n[k];
    c->grid.x[k] = st->x[k];
    c->offset[k] = c->np;
    c->np += st->kernel[k].NumParams();
    c->N *= static_cast<double>(pde->n[k]);
  }
  const TensorBox box = st->grid.Box(0, c->n);
  PetscCall(ForPoints(st, d, c->grid, [&](size_t s, size_t count, const double *x) {
    for (size_t i = 0; i < count; i++) {
      size_t t = s + i;
      for (int k = d - 1; k >= 0; k--) {
        const PetscInt64 len = box.Length(k), j = box.lo[k] + static_cast<PetscInt64>(t) % len;
        t /= static_cast<size_t>(len);
        for (int e = 0; e < 2; e++) {
          const int side = 2 * k + e;
          if (pde->bc[side] != SKEAN_GPPDE_BC_DIRICHLET || j != (e ? c->n[k] - 1 : 0)) continue;
          PetscReal g = 0;
          if (!ierr && pde->bcfn[side]) ierr = pde->bcfn[side](1, d, x + i * static_cast<size_t>(d), side, &g, pde->bcctx[side]);
          c->at.push_back(s + i);
          c->g.push_back(g);
        }
      }
    }
    return PETSC_SUCCESS;
  }));
  PetscCall(AgreeCallback(pde, ierr, "boundary"));
  c->Nb = static_cast<double>(c->at.size());
  PetscCall(AllreduceSum(PetscObjectComm((PetscObject)pde), &c->Nb, 1));
  if (c->varpro) {
    /* the whole problem on every process */
    PetscCallCXX(c->f.assign(static_cast<size_t>(pde->n[0]), 0.0));
    if (pde->source) ierr = pde->source(pde->n[0], 1, st->x[0].data(), -1, c->f.data(), pde->sourcectx);
    for (int e = 0; e < 2; e++)
      if (pde->bc[e] == SKEAN_GPPDE_BC_DIRICHLET) {
        PetscReal g = 0;
        if (!ierr && pde->bcfn[e]) ierr = pde->bcfn[e](1, 1, e ? &pde->hi[0] : &pde->lo[0], e, &g, pde->bcctx[e]);
        c->ones.push_back(g);
      }
    PetscCall(AgreeCallback(pde, ierr, "source or boundary"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   Hyper-parameters and values to start from. With frequencies from the data: of three length scales and two variances (where they are not given) the start with the least
   EstimateError().

   The variance w of the kernels against the jitter eps. Along an eigenvector of K with eigenvalue l the operator K'' (K + eps)^-1 is that of the kernel times l/(l + eps): where
   l falls below eps its eigenvalues fall to zero, and meet the shift of a zero-order term on their way (ac1a: errors of 1e-5 and failing Newton steps with w = 1). So w must lift
   the spectrum over the jitter; but the largest eigenvalue, at most n w, brings its rounding errors with it, and from n w = eps/2.2e-16 on the jitter is below them and the
   factorisation fails. Smooth solutions on fine grids want w far below that limit, rough ones near it: a tenth and a thousandth of it are tried.
*/
PetscErrorCode FirstValues(Compat *c, std::vector<double> *hyper, std::vector<double> *U, bool *ok)
{
  SkeanGPPDE               pde = c->pde;
  SkeanGPPDEState_Private *st  = pde->state;
  std::vector<double>      lengths(1, pde->length), variances(1, pde->variance), theta, values;
  double                   logdet, estimate, least = 0;
  bool                     good;

  PetscFunctionBegin;
  if (Plain(pde) && pde->datainit) {
    const double limit = pde->jitter / (static_cast<double>(*std::max_element(pde->n, pde->n + pde->dim)) * PETSC_MACHINE_EPSILON);
    if (!(pde->length > 0)) PetscCallCXX(lengths = {1.0, 2.5, 0.4});
    if (!(pde->variance > 0)) PetscCallCXX(variances = {1e-1 * limit, 1e-3 * limit});
  }
  *ok = false;
  for (double variance : variances)
    for (double length : lengths) {
      if (variances.size() * lengths.size() > 1) PetscCall(Mixtures(pde, length, variance));
      PetscCallCXX(theta.clear());
      for (int k = 0; k < pde->dim; k++)
        for (double t : st->kernel[k].Params()) PetscCallCXX(theta.push_back(t));
      PetscCall(Matrices(c, theta.data(), &logdet, &good));
      if (!good) continue;
      PetscCall(Start(c, &values));
      PetscCall(Represent(c, values));
      PetscCall(EstimateError(pde, st->coef, &estimate));
      PetscCall(PetscInfo(pde, "Start with variance %g, length scale %g: error estimate %g\n", variance, length, estimate));
      if (*ok && !(estimate < least)) continue;
      *ok          = true;
      least        = estimate;
      st->variance = variance;
      PetscCallCXX(*hyper = theta);
      PetscCallCXX(*U = values);
    }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
   TAO's own test, and: the iterate with the least estimated error is kept, and when it has not fallen by a tenth for c->patience steps the run ends. The objective itself does not see
   errors of this size (see the manual page), so where its descent leads says nothing about them.
*/
PetscErrorCode Watch(Tao tao, void *ctx)
{
  Compat             *c = static_cast<Compat *>(ctx);
  Vec                 X;
  PetscInt            it;
  TaoConvergedReason  reason;
  std::vector<double> hyper, U;
  double              logdet, estimate;
  bool                ok;

  PetscFunctionBegin;
  PetscCall(TaoDefaultConvergenceTest(tao, NULL));
  if (!c->patience) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(TaoGetSolution(tao, &X));
  PetscCall(TaoGetIterationNumber(tao, &it));
  PetscCall(Unpack(c, X, &hyper, &U));
  if (c->varpro) {
    PetscCall(Eliminate(c, hyper.data(), &ok));
    PetscCallCXX(U = Own(c, c->U));
  } else
    PetscCall(Matrices(c, hyper.data(), &logdet, &ok));
  estimate = PETSC_MAX_REAL;
  if (ok) {
    PetscCall(Represent(c, U));
    PetscCall(EstimateError(c->pde, c->pde->state->coef, &estimate));
  }
  PetscCall(PetscInfo(c->pde, "Iterate %" PetscInt_FMT ": error estimate %g\n", it, estimate));
  if (estimate < c->least) {
    c->least   = estimate;
    c->iterate = it;
    PetscCallCXX(c->leastHyper = hyper);
    PetscCallCXX(c->leastU = U);
  }
  c->waited++;
  if (estimate < 0.9 * c->counted) {
    c->counted = estimate;
    c->waited  = 0;
  }
  PetscCall(TaoGetConvergedReason(tao, &reason));
  if (reason == TAO_CONTINUE_ITERATING && c->waited >= c->patience) PetscCall(TaoSetConvergedReason(tao, TAO_CONVERGED_USER));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanGPPDESolve_Compat(SkeanGPPDE pde)
{
  MPI_Comm                 comm = PetscObjectComm((PetscObject)pde);
  SkeanGPPDEState_Private *st   = pde->state;
  Compat                   c;
  PetscMPIInt              rank;
  Vec                      X;
  Tao                      tao;
  PetscScalar             *x;
  std::vector<double>      hyper, U;
  double                   logdet, gap2, res2, F;
  bool                     ok;
  char                     prefix[128];
  TaoConvergedReason       reason;

  PetscFunctionBegin;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  c.pde      = pde;
  c.varpro   = !std::strcmp(((PetscObject)pde)->type_name, SKEANGPPDEVARPRO);
  c.patience = pde->patience >= 0 ? pde->patience : (Plain(pde) && pde->datainit ? 5 : 0);
  PetscCall(SkeanGPPDESetUp_Compat(pde)); /* a second solve starts where the first did */
  PetscCall(Prepare(&c));
  PetscCall(FirstValues(&c, &hyper, &U, &ok));
  if (!ok) {
    pde->solver.reason = SKEAN_DIVERGED_BREAKDOWN;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  {
    /* precisions at their optimum for the first values */
    const double zero[2] = {0, 0};
    PetscCall(Objective(&c, hyper.data(), zero, U, &F, nullptr, nullptr, nullptr, &gap2, &res2));
    c.tau = std::min(c.Nb / std::max(gap2, 1e-300), PRECISION_MAX);
    c.v   = std::min(c.N / std::max(res2, 1e-300), PRECISION_MAX);
    PetscCallCXX(hyper.insert(hyper.end(), {std::log(c.tau), std::log(c.v)}));
  }
  const size_t size = c.varpro ? 0 : U.size(), own = size + (rank ? 0 : c.np + (c.varpro ? 0 : 2));
  PetscCall(VecCreateMPI(comm, static_cast<PetscInt>(own), PETSC_DETERMINE, &X));
  PetscCall(VecGetArrayWrite(X, &x));
  std::copy_n(U.begin(), size, x);
  if (!rank) std::copy_n(hyper.begin(), own - size, x + size);
  PetscCall(VecRestoreArrayWrite(X, &x));
  PetscCall(TaoCreate(comm, &tao));
  PetscCall(PetscSNPrintf(prefix, sizeof(prefix), "%sgppde_", ((PetscObject)pde)->prefix ? ((PetscObject)pde)->prefix : ""));
  PetscCall(TaoSetOptionsPrefix(tao, prefix));
  PetscCall(TaoSetType(tao, c.varpro ? TAOLMVM : TAOBLMVM));
  PetscCall(TaoSetSolution(tao, X));
  if (!c.varpro) {
    Vec lower, upper;
    PetscCall(VecDuplicate(X, &lower));
    PetscCall(VecDuplicate(X, &upper));
    PetscCall(VecSet(lower, PETSC_NINFINITY));
    PetscCall(VecSet(upper, PETSC_INFINITY));
    if (!rank) {
      PetscCall(VecGetArray(upper, &x));
      x[size + c.np] = x[size + c.np + 1] = std::log(PRECISION_MAX);
      PetscCall(VecRestoreArray(upper, &x));
    }
    PetscCall(TaoSetVariableBounds(tao, lower, upper));
    PetscCall(VecDestroy(&lower));
    PetscCall(VecDestroy(&upper));
  }
  PetscCall(TaoSetObjectiveAndGradient(tao, NULL, FormFunctionGradient, &c));
  PetscCall(TaoSetTolerances(tao, pde->solver.atol, 0.0, pde->solver.rtol));
  PetscCall(TaoSetMaximumIterations(tao, pde->solver.max_it));
  PetscCall(TaoSetMaximumFunctionEvaluations(tao, 4 * pde->solver.max_it + 100));
  PetscCall(SkeanTaoMonitorSet(tao, MonitorTao, pde, NULL));
  PetscCall(TaoSetConvergenceTest(tao, Watch, &c));
  PetscCall(TaoSetFromOptions(tao));
  PetscCall(TaoSolve(tao));
  PetscCall(TaoGetConvergedReason(tao, &reason));
  PetscCall(TaoGetIterationNumber(tao, &pde->solver.its));
  /* the answer: the last iterate, or the one with the least estimated error */
  PetscCall(Unpack(&c, X, &hyper, &U));
  st->iterate = pde->solver.its;
  if (c.patience && !c.leastHyper.empty()) {
    PetscCallCXX(hyper = c.leastHyper);
    PetscCallCXX(U = c.leastU);
    st->iterate = c.iterate;
  }
  if (c.varpro) {
    PetscCall(Eliminate(&c, hyper.data(), &ok));
    PetscCallCXX(U = Own(&c, c.U));
  } else
    PetscCall(Matrices(&c, hyper.data(), &logdet, &ok));
  PetscCall(Represent(&c, U));
  double bound, umax;
  PetscCall(CheckBound(pde, st->coef, &bound, &umax));
  PetscCall(EstimateError(pde, st->coef, &st->estimate));
  st->bound          = umax > 0 ? bound / umax : bound;
  st->solved         = ok && std::isfinite(st->bound);
  pde->solver.reason = reason == TAO_CONVERGED_USER || (reason > 0 && st->iterate < pde->solver.its) ? SKEAN_DIVERGED_STAGNATION
                       : reason > 0                                                                  ? SKEAN_CONVERGED_RTOL
                       : reason == TAO_DIVERGED_MAXITS || reason == TAO_DIVERGED_MAXFCN              ? SKEAN_DIVERGED_ITS
                       : reason == TAO_DIVERGED_NAN                                                  ? SKEAN_DIVERGED_NANORINF
                                                                                                     : SKEAN_DIVERGED_LINE_SEARCH;
  if (!st->solved) pde->solver.reason = SKEAN_DIVERGED_NANORINF;
  PetscCall(TaoDestroy(&tao));
  PetscCall(VecDestroy(&X));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace

/* For tests: the objective and its derivatives with respect to U (home boxes), theta (np numbers) and extra = (log tau, log v) */
PetscErrorCode skean::gp::CompatObjective(SkeanGPPDE pde, const std::vector<double> &theta, const double extra[2], const std::vector<double> &U, double *F,
                                          std::vector<double> *gU, std::vector<double> *gtheta, double gextra[2])
{
  Compat c;

  PetscFunctionBegin;
  c.pde = pde;
  PetscCall(Prepare(&c));
  PetscCheck(theta.size() == c.np, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "%d hyper-parameters, want %d", static_cast<int>(theta.size()), static_cast<int>(c.np));
  PetscCallCXX(gtheta->assign(c.np, 0.0));
  PetscCall(Objective(&c, theta.data(), extra, U, F, gU, gtheta->data(), gextra, nullptr, nullptr));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANGPPDECOMPAT - The objective of GP-HM over values, hyper-parameters and precisions, by a quasi-Newton method; for comparison

   Level: intermediate

   Options Database Keys:
+  -gppde_kernel (sm|smt|text) - Gaussian or Student-t mixture of -gppde_q components (smt), or kernels to start from
.  -gppde_init_data (true)     - first frequencies from the periodogram of source and boundary data; false: those of GP-HM, Q from 0 to F
.  -gppde_q (30)               - with them: components per dimension
.  -gppde_f (F)                - with them: the highest, cycles per unit length
.  -gppde_init_variance (w)    - variance of the first kernels from the data (default: the better of two)
.  -gppde_length (l)           - their length scale, relative to the side (default: the best of three)
.  -gppde_patience (n)         - stop after n steps without a smaller estimated error, take the iterate with the least (default: 5 with frequencies from the data); 0: TAO's own
                                 test, the last iterate (default with those of GP-HM)
.  -gppde_jitter (1e-6)        - added to the diagonal of each covariance matrix
-  -gppde_lambda (200)         - weight of the boundary likelihood

   Notes:
   The optimiser is TAOBLMVM (the precisions are bounded by 1e8); TAO's options apply to it with the prefix gppde_.

   1. the values start from a direct solve with the first kernels, its boundary values imposed on the mean of the process; the precisions from their optimum for these values
   2. quasi-Newton steps on all unknowns with analytic gradients
   3. the answer is the iterate with the least estimated error; nothing is chosen by the exact solution

   This is the objective of GP-HM but not its start, and that is what its accuracy comes from: the frequencies are read off the data, where GP-HM learns them, and the first values are a
   solution already. On the twelve problems of the paper the descent from it lowered the estimated error by 3 % once and not at all otherwise, see bench/README.md.

   The estimated error is the residual between and on the grid points, with the inverse of the operator applied by differences on the refined grid, and the gap on the boundary (for second-order
   equations without first derivatives on the uniform grid; otherwise the bound of `SkeanGPPDEGetErrorEstimate()`). It also chooses among the starts: length scales of 1, 2.5 and 0.4 sides, and variances
   of a tenth and a thousandth of eps/(n 2.2e-16), the limit from which on rounding errors of the largest eigenvalue of a covariance matrix of n points exceed the jitter eps.
   A variance far below that limit leaves eigenvalues below the jitter, along which the operator loses its size: spurious eigenvalues near zero, fatal next to a
   reaction term.

   The reason is `SKEAN_CONVERGED_RTOL` if TAO's test of the gradient is met by the answer, `SKEAN_DIVERGED_STAGNATION` if the estimated error fell no more: the answer is then as good
   as it gets, but no minimiser.

   Given values only; dense factors, O(sum n_k^3 + N sum n_k) per step. The objective is badly conditioned: the line search ends where the rounding of the jittered factors hides
   the descent, which is reported as `SKEAN_DIVERGED_LINE_SEARCH`. `SKEANGPPDEDIRECT` is faster by orders and more accurate.

   What the objective permits: it has no maximum (with the boundary values met exactly it grows with the boundary precision without end), so both
   precisions are bounded by 1e8 here and where a run ends is decided by the optimiser. And it does not see small errors: values and mean differ by eps (K
   + eps)^-1 U, which the prior charges with the square over 2 eps, so that errors of the answer far below sqrt(eps) cost nothing. Its minimiser over
   values and precisions (bounded by 1e16), for kernels with the right frequencies, had errors from 6e-7 to 5e-3 on "p1a" and "p1c" over length scales and
   variances; two kernels of "p1a" with objectives of -16441 and -16436 had 4e-5 and 2e-6. From the paper's start the optimiser does not find the frequencies.

   Source: Fang et al., arXiv 2311.04465.

.seealso: `SKEANGPPDEVARPRO`, `SKEANGPPDEDIRECT`
M*/
PetscErrorCode SkeanGPPDECreate_Compat(SkeanGPPDE pde)
{
  PetscFunctionBegin;
  pde->ops->setup = SkeanGPPDESetUp_Compat;
  pde->ops->solve = SkeanGPPDESolve_Compat;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   SKEANGPPDEVARPRO - The objective of GP-HM with values and precisions eliminated (variable projection); linear equations in one dimension

   Level: intermediate

   Options Database Keys:
+  -gppde_kernel (sm|smt|text) - as for `SKEANGPPDECOMPAT`, as are -gppde_init_data, -gppde_init_variance, -gppde_length and -gppde_patience
.  -gppde_q (30)               - components, without -gppde_init_data
.  -gppde_f (F)                - highest first frequency, without -gppde_init_data
-  -gppde_jitter (1e-6)        - added to the diagonal of the covariance matrix

   Notes:
   1. for given hyper-parameters: values by a QR decomposition in whitened unknowns, precisions in closed form, to a fixed point
   2. quasi-Newton steps on the 3 Q hyper-parameters; the gradient is the partial one at the fixed point

   A decomposition of a (2 n + 2) x n matrix per inner step, done by every process.

   Source: Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973); Fang et al., arXiv 2311.04465.

.seealso: `SKEANGPPDECOMPAT`
M*/
PetscErrorCode SkeanGPPDECreate_Varpro(SkeanGPPDE pde)
{
  PetscFunctionBegin;
  PetscCall(SkeanGPPDECreate_Compat(pde));
  PetscFunctionReturn(PETSC_SUCCESS);
}
