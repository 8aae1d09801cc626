/*
   Solves a partial differential equation by collocation with a spectral-mixture Gaussian-process prior.

     skean-gp-pde -problem p2a                           a named problem: error estimates, and the error where the solution is known
     skean-gp-pde -problem all                           the table of all named problems
     skean-gp-pde -plugin ./mypde.so -gppde_n 200,200    an equation of your own: the plug-in defines
                                                           extern "C" PetscErrorCode SkeanGPPDEPlugin(SkeanGPPDE pde)
                                                         which calls SkeanGPPDESetDomain(), SkeanGPPDESetOperator(), SkeanGPPDESetBoundary(), ...
   All -gppde_ options of SkeanGPPDESetFromOptions() hold. -o file writes the solution at the collocation points, in the format that its ending names.
   -deviation file writes the posterior deviations there, in the same order (linear equations).
   -plot file draws it (PNG, SVG or PDF by the name): a curve, a map, or the mid-plane of a box.
*/
#include "driver.hpp"
#include <skean.h>
#include <skean/private/gppdeimpl.h>
#include <skean/private/plot.hpp>
#include <skeanio.h>
#include <petsctime.h>
#include <dlfcn.h>
#include <cstring>
#include <utility>
#include <vector>

static const char help[] = "Solves a partial differential equation by collocation with a spectral-mixture Gaussian-process prior.\n"
                           "  -problem <name|all>   a named test problem (-gppde_problem is the same), or the table of all\n"
                           "  -plugin <file.so>     an equation of your own, see the head of the source\n"
                           "  -o <file>             write the solution (.bin, .h5, .nc, .npy, .mtx)\n"
                           "  -deviation <file>     write the posterior deviation at the collocation points, of linear equations\n"
                           "  -plot <file>          draw the solution (PNG, SVG or PDF)\n"
                           "  -gppde_...            see SkeanGPPDESetFromOptions()\n"
                           "Exit code: 0 converged, 1 not converged, 2 error. -traceback: where an error arose.\n\n";

/* Solves and prints; the exit code becomes NotConverged if this did not converge */
static PetscErrorCode Report(SkeanGPPDE pde, const char name[], PetscBool table, PetscBool exact, driver::ExitCode *code)
{
  PetscLogDouble       t0, t1;
  SkeanConvergedReason reason;
  SkeanGPPDEType       type;
  PetscReal            bound, agreement, error = -1;
  PetscInt             n[3] = {1, 1, 1}, r[3] = {0, 0, 0}, dim, its;
  char                 grid[64] = "", ranks[64] = "";
  MPI_Comm             comm;

  PetscFunctionBegin;
  PetscCall(PetscObjectGetComm((PetscObject)pde, &comm));
  PetscCall(PetscTime(&t0));
  PetscCall(SkeanGPPDESolve(pde));
  PetscCall(PetscTime(&t1));
  PetscCall(SkeanGPPDEGetType(pde, &type));
  PetscCall(SkeanGPPDEGetConvergedReason(pde, &reason));
  if (reason <= 0) *code = driver::NotConverged;
  PetscCall(SkeanGPPDEGetIterationNumber(pde, &its));
  PetscCall(SkeanGPPDEGetDomain(pde, &dim, NULL, NULL));
  PetscCall(SkeanGPPDEGetGrid(pde, NULL, n));
  PetscCall(SkeanGPPDEGetErrorEstimate(pde, &bound, &agreement));
  PetscCall(SkeanGPPDEGetRanks(pde, r));
  if (exact) PetscCall(SkeanGPPDEComputeError(pde, 0, &error));
  for (PetscInt k = 0; k < dim; k++) {
    PetscCall(PetscSNPrintf(grid + strlen(grid), sizeof(grid) - strlen(grid), "%s%" PetscInt_FMT, k ? "x" : "", n[k]));
    PetscCall(PetscSNPrintf(ranks + strlen(ranks), sizeof(ranks) - strlen(ranks), "%s%" PetscInt_FMT, k ? "x" : "", r[k]));
  }
  if (table) {
    PetscCall(PetscPrintf(comm, "%-10s %-7s %-12s %-12s", name, type, grid, ranks));
    for (const PetscReal v : {bound, agreement, error}) { /* negative: there is none */
      if (v >= 0)
        PetscCall(PetscPrintf(comm, " %10.2e", (double)v));
      else
        PetscCall(PetscPrintf(comm, " %10s", "-"));
    }
    PetscCall(PetscPrintf(comm, " %8.2f s  %s (%" PetscInt_FMT ")\n", (double)(t1 - t0), SkeanConvergedReasons[reason], its));
  } else {
    PetscCall(PetscPrintf(comm, "%s: %s points, %s functions, %.2f s, %s\n", name, grid, ranks, (double)(t1 - t0), SkeanConvergedReasons[reason]));
    if (bound >= 0) PetscCall(PetscPrintf(comm, "  error bound from residual and boundary, relative to max |u|: %.2e\n", (double)bound));
    if (agreement >= 0) PetscCall(PetscPrintf(comm, "  difference of the two best length scales:                    %.2e\n", (double)agreement));
    if (exact) PetscCall(PetscPrintf(comm, "  error against the exact solution (the solver never saw it):  %.2e\n", (double)error));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* On a grid of its own, finer than the eye needs; the first process draws */
static PetscErrorCode Plot(SkeanGPPDE pde, const char title[], const char file[])
{
  PetscInt            dim, n[3] = {1, 1, 1};
  PetscReal           lo[3], hi[3];
  std::vector<double> x[3], values;
  const PetscReal    *px[3];
  Vec                 u;

  PetscFunctionBegin;
  PetscCall(SkeanGPPDEGetDomain(pde, &dim, lo, hi));
  for (PetscInt k = 0; k < dim; k++) {
    n[k] = dim == 1 ? 2000 : (k == 2 ? 1 : 400);
    for (PetscInt i = 0; i < n[k]; i++) x[k].push_back(n[k] == 1 ? 0.5 * (lo[k] + hi[k]) : lo[k] + (hi[k] - lo[k]) * (PetscReal)i / (PetscReal)(n[k] - 1));
    px[k] = x[k].data();
  }
  PetscCall(SkeanGPPDEEvaluate(pde, n, px, &u));
  PetscCall(skean::PlotGather(u, &values));
  skean::PlotFigure fig;
  if (dim == 1)
    fig.Add(skean::PlotPanel::Lines(title).Labels("x", "u").Add("", x[0], values));
  else if (!values.empty()) {
    /* the map wants the first coordinate to run along its rows */
    std::vector<double> map(values.size());
    for (PetscInt i = 0; i < n[0]; i++)
      for (PetscInt j = 0; j < n[1]; j++) map[(size_t)j * (size_t)n[0] + (size_t)i] = values[(size_t)i * (size_t)n[1] + (size_t)j];
    fig.Add(skean::PlotPanel::Heat(title, (int)n[0], (int)n[1], map).Extent(lo[0], hi[0], lo[1], hi[1]).Labels("x", "y").Diverging().Bar("u"));
  }
  PetscCall(skean::PlotWrite(PetscObjectComm((PetscObject)pde), fig, file));
  PetscCall(VecDestroy(&u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Write(Vec u, const char name[], const char file[])
{
  PetscFunctionBegin;
  PetscCall(PetscObjectSetName((PetscObject)u, name));
  PetscCall(SkeanVecWriteFile(u, file));
  PetscCall(VecDestroy(&u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintOptions(void)
{
  SkeanGPPDE pde;

  PetscFunctionBegin;
  PetscCall(SkeanGPPDECreate(PETSC_COMM_WORLD, &pde));
  PetscCall(SkeanGPPDESetFromOptions(pde));
  PetscCall(SkeanGPPDEDestroy(&pde));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Before the solve: what will not be known after it */
static PetscErrorCode CheckDeviation(SkeanGPPDE pde)
{
  PetscBool direct;
  MPI_Comm  comm;

  PetscFunctionBegin;
  PetscCall(PetscObjectGetComm((PetscObject)pde, &comm));
  PetscCall(PetscObjectTypeCompare((PetscObject)pde, SKEANGPPDEDIRECT, &direct));
  PetscCheck(!pde->reaction && !pde->residual, comm, PETSC_ERR_SUP, "-deviation: the deviation is known for linear equations only, and this one is not");
  PetscCheck(direct && pde->basis <= SKEAN_GPPDE_BASIS_COVARIANCE, comm, PETSC_ERR_SUP,
             "-deviation: the deviation is known for -gppde_type direct with the mixture or covariance basis only");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Run(driver::ExitCode *code)
{
  char problem[64] = "", other[64] = "", plugin[PETSC_MAX_PATH_LEN] = "", out[PETSC_MAX_PATH_LEN] = "", dev[PETSC_MAX_PATH_LEN] = "",
       plot[PETSC_MAX_PATH_LEN] = "";
  PetscBool          hasproblem, hasplugin, hasother, write, deviation, draw;
  SkeanGPPDE         pde;
  PetscInt           n;
  const char *const *names;

  PetscFunctionBegin;
  PetscCall(SkeanWarnSlowBLAS(PETSC_COMM_WORLD));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-problem", problem, sizeof(problem), &hasproblem));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-gppde_problem", other, sizeof(other), &hasother));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-plugin", plugin, sizeof(plugin), &hasplugin));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-o", out, sizeof(out), &write));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-deviation", dev, sizeof(dev), &deviation));
  PetscCall(PetscOptionsGetString(NULL, NULL, "-plot", plot, sizeof(plot), &draw));
  const char *equation = NULL; /* the option that names it */
  for (const auto &o : {std::make_pair(hasproblem, "-problem"), std::make_pair(hasother, "-gppde_problem"), std::make_pair(hasplugin, "-plugin")}) {
    PetscCheck(!o.first || !equation, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "%s and %s name an equation each: give one", equation, o.second);
    if (o.first) equation = o.second;
  }
  if (!equation) PetscCall(driver::WarnMisspelt());
  PetscCheck(equation, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT,
             "Give an equation with -problem name, all with -problem all, or one of your own with -plugin file.so; -help prints the options");
  if (hasother) PetscCall(PetscStrncpy(problem, other, sizeof(problem)));
  PetscCheck(strcmp(problem, "all") || !(write || deviation || draw), PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT,
             "-problem all prints a table; %s is for one problem", write ? "-o" : (deviation ? "-deviation" : "-plot"));
  PetscCall(driver::CheckOutput(PETSC_COMM_WORLD, "-o", out, driver::DataEndings()));
  PetscCall(driver::CheckOutput(PETSC_COMM_WORLD, "-deviation", dev, driver::DataEndings()));
  PetscCall(driver::CheckOutput(PETSC_COMM_WORLD, "-plot", plot, driver::PlotEndings()));
  *code = driver::Converged;
  if (!hasplugin && !strcmp(problem, "all")) {
    PetscCall(SkeanGPPDEGetProblems(&n, &names));
    PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%-10s %-7s %-12s %-12s %10s %10s %10s %10s  %s\n", "problem", "type", "grid", "functions", "bound", "agreement",
                          "error", "time", "reason"));
    for (PetscInt i = 0; i < n; i++) {
      PetscCall(SkeanGPPDECreate(PETSC_COMM_WORLD, &pde));
      PetscCall(SkeanGPPDESetProblem(pde, names[i]));
      PetscCall(SkeanGPPDESetFromOptions(pde));
      PetscCall(Report(pde, names[i], PETSC_TRUE, PETSC_TRUE, code));
      PetscCall(SkeanGPPDEDestroy(&pde));
    }
  } else {
    PetscCall(SkeanGPPDECreate(PETSC_COMM_WORLD, &pde));
    if (hasplugin) {
      void *lib = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
      PetscCheck(lib, PETSC_COMM_WORLD, PETSC_ERR_FILE_OPEN, "Cannot load %s: %s", plugin, dlerror());
      PetscErrorCode (*define)(SkeanGPPDE);
      *reinterpret_cast<void **>(&define) = dlsym(lib, "SkeanGPPDEPlugin");
      PetscCheck(define, PETSC_COMM_WORLD, PETSC_ERR_FILE_UNEXPECTED, "%s has no function SkeanGPPDEPlugin", plugin);
      PetscCall(define(pde));
    } else
      PetscCall(SkeanGPPDESetProblem(pde, problem));
    PetscCall(SkeanGPPDESetFromOptions(pde));
    PetscCall(driver::WarnMisspelt());
    if (deviation) PetscCall(CheckDeviation(pde));
    PetscCall(Report(pde, hasplugin ? plugin : problem, PETSC_FALSE, hasplugin ? PETSC_FALSE : PETSC_TRUE, code));
    if (write) {
      Vec u;
      PetscCall(SkeanGPPDEGetSolution(pde, &u));
      PetscCall(Write(u, "u", out));
    }
    if (deviation) {
      PetscInt         dim, nk[3];
      const PetscReal *x[3];
      Vec              v;
      PetscCall(SkeanGPPDEGetDomain(pde, &dim, NULL, NULL));
      for (PetscInt k = 0; k < dim; k++) PetscCall(SkeanGPPDEGetCoordinates(pde, k, &nk[k], &x[k]));
      PetscCall(SkeanGPPDEEvaluateDeviation(pde, nk, x, &v));
      PetscCall(Write(v, "deviation", dev));
    }
    if (draw) PetscCall(Plot(pde, hasplugin ? "solution" : problem, plot));
    PetscCall(SkeanGPPDEDestroy(&pde));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  driver::Program program;
  program.name         = "skean-gp-pde";
  program.help         = help;
  program.options      = {"-gppde_type", "-gppde_n", "-gppde_monitor", "-gppde_view", "-gppde_max_it"};
  program.printoptions = PrintOptions;
  program.run          = Run;
  return driver::Main(argc, argv, program);
}
