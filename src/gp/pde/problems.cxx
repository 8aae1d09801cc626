/* The test problems by name. All have a manufactured exact solution; the solver never reads it (see SkeanGPPDEComputeError()). */
#include <skean/private/gppdeimpl.h>
#include <cmath>
#include <cstring>

namespace {

constexpr double TWOPI = 6.283185307179586476925286766559;

/* u and its derivatives along one dimension */
struct Jet2 {
  double v, d, dd;
};
Jet2 Sin(double w, double x)
{
  return {std::sin(w * x), w * std::cos(w * x), -w * w * std::sin(w * x)};
}
Jet2 Cos(double w, double x)
{
  return {std::cos(w * x), -w * std::sin(w * x), -w * w * std::cos(w * x)};
}
Jet2 operator*(Jet2 a, Jet2 b)
{
  return {a.v * b.v, a.d * b.v + a.v * b.d, a.dd * b.v + 2 * a.d * b.d + a.v * b.dd};
}
Jet2 operator+(Jet2 a, Jet2 b)
{
  return {a.v + b.v, a.d + b.d, a.dd + b.dd};
}
Jet2 operator*(double s, Jet2 a)
{
  return {s * a.v, s * a.d, s * a.dd};
}

/* value, gradient, second derivatives */
struct Point {
  double u, g[3], h[3];
};
Point From(Jet2 a)
{
  return {a.v, {a.d, 0, 0}, {a.dd, 0, 0}};
}
Point Product(Jet2 a, Jet2 b, Jet2 c = {1, 0, 0})
{
  return {a.v * b.v * c.v, {a.d * b.v * c.v, a.v * b.d * c.v, a.v * b.v * c.d}, {a.dd * b.v * c.v, a.v * b.dd * c.v, a.v * b.v * c.dd}};
}
Point Sum(Point a, Point b)
{
  Point s = a;
  s.u += b.u;
  for (int k = 0; k < 3; k++) s.g[k] += b.g[k], s.h[k] += b.h[k];
  return s;
}

Point SinHigh(const double *x)
{
  return From(Sin(100, x[0]));
}
Point MultiScale(const double *x)
{
  return From(Sin(1, x[0]) + 0.1 * Sin(20, x[0]) + 0.05 * Sin(100, x[0]));
}
Point SinCos(const double *x)
{
  return From(Sin(6, x[0]) * Cos(100, x[0]));
}
Point XSin(const double *x)
{
  return From(Jet2{x[0], 1, 0} * Sin(200, x[0]));
}
Point SinQuadratic(const double *x)
{
  const double t = x[0] - 0.5;
  return From(Sin(500, x[0]) + Jet2{-2 * t * t, -4 * t, -4});
}
Point SinSin(const double *x)
{
  return Product(Sin(100, x[0]), Sin(100, x[1]));
}
Point SinCosSum(const double *x)
{
  return Sum(Product(Sin(6, x[0]) * Cos(20, x[0]), {1, 0, 0}), Product({1, 0, 0}, Sin(6, x[1]) * Cos(20, x[1])));
}
Point SinCos2(const double *x)
{
  return Product(Sin(100, x[0]), Cos(100, x[1]));
}
Jet2 Q(double x)
{
  return Sin(1, x) + 0.1 * Sin(20, x) + Cos(100, x);
}
Point QQ(const double *x)
{
  return Product(Q(x[0]), Q(x[1]));
}
/* x[0] = x, x[1] = t */
Point Wave(const double *x)
{
  const double s = std::sin(x[0] - 200 * x[1]), c = std::cos(x[0] - 200 * x[1]);
  return {s, {c, -200 * c, 0}, {-s, -4e4 * s, 0}};
}
Point Box3(const double *x)
{
  const double e = std::exp(-x[0] * x[1] * x[2]), p = x[1] * x[2], q = x[0] * x[2], r = x[0] * x[1];
  return Sum(Product(Sin(60, x[0]), Cos(60, x[1]), Sin(20, x[2])), {e, {-p * e, -q * e, -r * e}, {p * p * e, q * q * e, r * r * e}});
}
Point Box3AC(const double *x)
{
  return Sum(Product(Sin(30, x[0]), Cos(30, x[1]), Sin(10, x[2])), Product({0.3, 0, 0}, Cos(4, x[1]), Sin(3, x[2])));
}
Point NeumannExact(const double *x)
{
  return Sum(Product(Cos(40, x[0]), Sin(30, x[1])), Product({x[0], 1, 0}, Sin(2, x[1])));
}
Point PeriodicExact(const double *x)
{
  return Product(Sin(TWOPI * 7, x[0]), Cos(35, x[1]));
}
/* Burgers-like steady equation u_xx - u u_x = f */
Point BurgersExact(const double *x)
{
  return From(Sin(40, x[0]) + Jet2{x[0], 1, 0});
}

struct Problem {
  const char  *name, *title;
  PetscInt     dim;
  double       L;
  PetscInt     n;
  double       F; /* initial frequencies reach to F in the compatibility mode */
  double       a[3], b[3], c;
  int          reaction; /* 1: u (u^2 - 1), 2: general residual u_xx - u u_x */
  SkeanGPPDEBC bc[6];
  Point (*exact)(const double *);
};

constexpr SkeanGPPDEBC D = SKEAN_GPPDE_BC_DIRICHLET, N = SKEAN_GPPDE_BC_NONE, M = SKEAN_GPPDE_BC_NEUMANN, P = SKEAN_GPPDE_BC_PERIODIC;

const Problem problems[] = {
  {"p1a", "Poisson, sin 100x", 1, TWOPI, 400, 20, {1, 0, 0}, {0, 0, 0}, 0, 0, {D, D, N, N, N, N}, SinHigh},
  {"p1b", "Poisson, sin x + 0.1 sin 20x + 0.05 sin 100x", 1, 1, 900, 30, {1, 0, 0}, {0, 0, 0}, 0, 0, {D, D, N, N, N, N}, MultiScale},
  {"p1c", "Poisson, sin 6x cos 100x", 1, TWOPI, 400, 20, {1, 0, 0}, {0, 0, 0}, 0, 0, {D, D, N, N, N, N}, SinCos},
  {"p1d", "Poisson, x sin 200x", 1, TWOPI, 900, 50, {1, 0, 0}, {0, 0, 0}, 0, 0, {D, D, N, N, N, N}, XSin},
  {"p1e", "Poisson, sin 500x - 2(x - 1/2)^2", 1, 1, 400, 100, {1, 0, 0}, {0, 0, 0}, 0, 0, {D, D, N, N, N, N}, SinQuadratic},
  {"ac1a", "Allen-Cahn, sin 100x", 1, TWOPI, 400, 20, {1, 0, 0}, {0, 0, 0}, 0, 1, {D, D, N, N, N, N}, SinHigh},
  {"ac1b", "Allen-Cahn, sin 6x cos 100x", 1, TWOPI, 400, 20, {1, 0, 0}, {0, 0, 0}, 0, 1, {D, D, N, N, N, N}, SinCos},
  {"p2a", "Poisson, sin 100x sin 100y", 2, TWOPI, 400, 20, {1, 1, 0}, {0, 0, 0}, 0, 0, {D, D, D, D, N, N}, SinSin},
  {"p2b", "Poisson, sin 6x cos 20x + sin 6y cos 20y", 2, TWOPI, 200, 20, {1, 1, 0}, {0, 0, 0}, 0, 0, {D, D, D, D, N, N}, SinCosSum},
  {"p2c", "Poisson, sin 100x cos 100y", 2, 1, 200, 30, {1, 1, 0}, {0, 0, 0}, 0, 0, {D, D, D, D, N, N}, SinCos2},
  {"ac2", "Allen-Cahn, q(x) q(y)", 2, 1, 200, 30, {1, 1, 0}, {0, 0, 0}, 0, 1, {D, D, D, D, N, N}, QQ},
  {"adv", "Advection, sin(x - 200 t), inflow and initial values", 2, 1, 200, 40, {0, 0, 0}, {200, 1, 0}, 0, 0, {D, N, D, N, N, N}, Wave},
  {"p3", "Poisson, sin 60x cos 60y sin 20z + exp(-xyz)", 3, 1, 120, 10, {1, 1, 1}, {0, 0, 0}, 0, 0, {D, D, D, D, D, D}, Box3},
  {"ac3", "Allen-Cahn, sin 30x cos 30y sin 10z + 0.3 cos 4y sin 3z", 3, 1, 64, 10, {1, 1, 1}, {0, 0, 0}, 0, 1, {D, D, D, D, D, D}, Box3AC},
  {"neumann2", "Poisson with Neumann sides in x, cos 40x sin 30y + x sin 2y", 2, 1, 120, 10, {1, 1, 0}, {0, 0, 0}, 0, 0, {M, M, D, D, N, N}, NeumannExact},
  {"periodic2", "Poisson periodic in x, sin 14 pi x cos 35y", 2, 1, 120, 10, {1, 1, 0}, {0, 0, 0}, 0, 0, {P, P, D, D, N, N}, PeriodicExact},
  {"burgers1", "u'' - u u' = f, sin 40x + x", 1, 1, 200, 10, {1, 0, 0}, {0, 0, 0}, 0, 2, {D, D, N, N, N, N}, BurgersExact},
};
constexpr PetscInt NPROBLEMS = sizeof(problems) / sizeof(problems[0]);

const Problem *Find(void *ctx)
{
  return static_cast<const Problem *>(ctx);
}

PetscErrorCode Exact(PetscInt n, PetscInt dim, const PetscReal x[], PetscInt, PetscReal f[], void *ctx)
{
  for (PetscInt i = 0; i < n; i++) f[i] = Find(ctx)->exact(x + i * dim).u;
  return PETSC_SUCCESS;
}

PetscErrorCode Boundary(PetscInt n, PetscInt dim, const PetscReal x[], PetscInt side, PetscReal f[], void *ctx)
{
  for (PetscInt i = 0; i < n; i++) {
    const Point p = Find(ctx)->exact(x + i * dim);
    f[i]          = Find(ctx)->bc[side] == SKEAN_GPPDE_BC_NEUMANN ? p.g[side / 2] : p.u;
  }
  return PETSC_SUCCESS;
}

PetscErrorCode Source(PetscInt n, PetscInt dim, const PetscReal x[], PetscInt, PetscReal f[], void *ctx)
{
  const Problem *pr = Find(ctx);
  for (PetscInt i = 0; i < n; i++) {
    const Point p = pr->exact(x + i * dim);
    if (pr->reaction == 2) {
      f[i] = p.h[0] - p.u * p.g[0];
      continue;
    }
    f[i] = pr->c * p.u + (pr->reaction == 1 ? p.u * (p.u * p.u - 1) : 0.0);
    for (PetscInt k = 0; k < dim; k++) f[i] += pr->a[k] * p.h[k] + pr->b[k] * p.g[k];
  }
  return PETSC_SUCCESS;
}

PetscErrorCode AllenCahn(PetscInt n, PetscInt, const PetscReal[], const PetscReal u[], const PetscReal[], const PetscReal[], PetscReal r[], PetscReal ru[],
                         PetscReal[], PetscReal[], void *)
{
  for (PetscInt i = 0; i < n; i++) {
    r[i] = u[i] * (u[i] * u[i] - 1);
    if (ru) ru[i] = 3 * u[i] * u[i] - 1;
  }
  return PETSC_SUCCESS;
}

PetscErrorCode Burgers(PetscInt n, PetscInt, const PetscReal[], const PetscReal u[], const PetscReal du[], const PetscReal d2u[], PetscReal r[], PetscReal ru[],
                       PetscReal rdu[], PetscReal rd2u[], void *)
{
  for (PetscInt i = 0; i < n; i++) {
    r[i] = d2u[i] - u[i] * du[i];
    if (ru) {
      ru[i]   = -du[i];
      rdu[i]  = -u[i];
      rd2u[i] = 1;
    }
  }
  return PETSC_SUCCESS;
}

} // namespace

/*@C
   SkeanGPPDEGetProblems - The names of the problems that `SkeanGPPDESetProblem()` knows

   Not Collective

   Output Parameters:
+  n     - number of problems
-  names - their names, owned by the library

   Level: intermediate

.seealso: `SkeanGPPDESetProblem()`
@*/
PetscErrorCode SkeanGPPDEGetProblems(PetscInt *n, const char *const *names[])
{
  static const char *list[NPROBLEMS];

  PetscFunctionBegin;
  for (PetscInt i = 0; i < NPROBLEMS; i++) list[i] = problems[i].name;
  if (n) *n = NPROBLEMS;
  if (names) *names = list;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGPPDESetProblem - Sets equation, box, boundary data, grid size and exact solution of a named test problem

   Logically Collective

   Input Parameters:
+  pde  - the solver
-  name - "p1a" ... "p1e" (Poisson in 1-D), "p2a" "p2b" "p2c" (2-D), "p3" (3-D), "ac1a" "ac1b" "ac2" "ac3" (steady Allen-Cahn), "adv" (advection with inflow and
          initial values only), "neumann2", "periodic2", "burgers1"

   Options Database Key:
.  -gppde_problem (name) - the problem

   Level: beginner

   Notes:
   All have a manufactured solution. It is used for the source, the boundary data and `SkeanGPPDEComputeError()`; no choice the solver makes depends on
   `SkeanGPPDEComputeError()`. The grid is that of the released configurations of GP-HM (its 2-D Allen-Cahn runs: 200 x 200); `SkeanGPPDESetGrid()` changes it.

   Errors: `PETSC_ERR_ARG_UNKNOWN_TYPE` for an unknown name.

   Source: Fang, Cooley, Long, Li, Kirby, Zhe, "Solving High Frequency and Multi-Scale PDEs with Gaussian Processes", arXiv 2311.04465, and its code.

.seealso: `SkeanGPPDEGetProblems()`, `SkeanGPPDEComputeError()`
@*/
PetscErrorCode SkeanGPPDESetProblem(SkeanGPPDE pde, const char name[])
{
  const Problem *p          = NULL;
  char           known[512] = "";

  PetscFunctionBegin;
  PetscValidHeaderSpecific(pde, SKEAN_GPPDE_CLASSID, 1);
  for (const Problem &q : problems) {
    PetscCall(PetscSNPrintf(known + std::strlen(known), sizeof(known) - std::strlen(known), "%s%s", &q == problems ? "" : " ", q.name));
    if (name && !std::strcmp(q.name, name)) p = &q;
  }
  PetscCheck(p, PetscObjectComm((PetscObject)pde), PETSC_ERR_ARG_UNKNOWN_TYPE, "Unknown problem \"%s\" (known: %s)", name ? name : "", known);
  PetscReal lo[3] = {0, 0, 0}, hi[3] = {p->L, p->L, p->L};
  PetscInt  n[3] = {p->n, p->n, p->n};
  void     *ctx  = const_cast<Problem *>(p);
  PetscCall(SkeanGPPDESetDomain(pde, p->dim, lo, hi));
  PetscCall(SkeanGPPDESetGrid(pde, pde->grid, n));
  PetscCall(SkeanGPPDESetOperator(pde, p->a, p->b, p->c));
  PetscCall(SkeanGPPDESetReaction(pde, p->reaction == 1 ? AllenCahn : NULL, NULL));
  PetscCall(SkeanGPPDESetResidual(pde, p->reaction == 2 ? Burgers : NULL, NULL));
  /* the advection problem has no source: nothing to be found in it */
  PetscCall(SkeanGPPDESetSource(pde, !std::strcmp(p->name, "adv") ? NULL : Source, ctx));
  for (PetscInt s = 0; s < 2 * p->dim; s++)
    PetscCall(SkeanGPPDESetBoundary(pde, s, p->bc[s], p->bc[s] == SKEAN_GPPDE_BC_NONE || p->bc[s] == SKEAN_GPPDE_BC_PERIODIC ? NULL : Boundary, ctx));
  PetscCall(SkeanGPPDESetExact(pde, Exact, ctx));
  pde->F       = p->F;
  pde->lambdab = p->reaction == 0 && p->b[0] != 0 ? 500 : 200;
  PetscCall(PetscFree(pde->problem));
  PetscCall(PetscStrallocpy(p->title, &pde->problem));
  PetscFunctionReturn(PETSC_SUCCESS);
}
