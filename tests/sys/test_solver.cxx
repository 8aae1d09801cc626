/* The solver base through the smallest class that can embed it */
#include "harness/skeantest.hpp"
#include <skean/private/skeansolver.h>
#include <fstream>
#include <sstream>

struct _ToyOps {
  PetscErrorCode (*solve)(PetscObject);
};
struct _p_Toy {
  PETSCHEADER(struct _ToyOps);
  SkeanSolverBase solver;
};
typedef struct _p_Toy *Toy;

static PetscErrorCode ToyDestroy(Toy *toy)
{
  PetscFunctionBegin;
  PetscCall(SkeanSolverDestroy_Private(&(*toy)->solver));
  PetscCall(PetscHeaderDestroy(toy));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode ToyView(Toy toy, PetscViewer v)
{
  return SkeanSolverView_Private(&toy->solver, v);
}

static PetscErrorCode ToyCreate(Toy *toy)
{
  static PetscClassId id = 0;

  PetscFunctionBegin;
  if (!id) PetscCall(PetscClassIdRegister("Toy", &id));
  PetscCall(PetscHeaderCreate(*toy, id, "Toy", "Toy", "Toy", PETSC_COMM_WORLD, ToyDestroy, ToyView));
  PetscCall(SkeanSolverInit_Private(&(*toy)->solver, "toy", 5, 1e-8, 0.0));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode ToySetFromOptions(Toy toy)
{
  PetscFunctionBegin;
  PetscObjectOptionsBegin((PetscObject)toy);
  PetscCall(SkeanSolverSetFromOptions_Private((PetscObject)toy, &toy->solver, NULL, PetscOptionsObject));
  PetscOptionsEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}
/* err = 2^-it */
static PetscErrorCode ToySolve(Toy toy)
{
  SkeanSolverBase *s = &toy->solver;

  PetscFunctionBegin;
  PetscCall(SkeanSolverBegin_Private((PetscObject)toy, s));
  PetscReal err = 1.0;
  for (PetscInt it = 0; it <= s->max_it; it++, err /= 2) {
    PetscCall(SkeanSolverMonitor_Private((PetscObject)toy, s, it, err));
    if (err <= s->rtol) {
      s->reason = SKEAN_CONVERGED_RTOL;
      break;
    }
  }
  if (!s->reason) s->reason = SKEAN_DIVERGED_ITS;
  PetscCall(SkeanSolverEnd_Private((PetscObject)toy, s));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static PetscErrorCode Count(PetscObject, PetscInt, PetscReal, void *ctx)
{
  ++*static_cast<int *>(ctx);
  return PETSC_SUCCESS;
}

TEST(SolverBase, ReasonHistoryMonitorOptions)
{
  Toy         toy;
  int         calls = 0;
  std::string out   = skeantest::ScratchDir() + "/toy.txt";
  ASSERT_PETSC(ToyCreate(&toy));
  ASSERT_PETSC(SkeanSolverSetHistory_Private(&toy->solver, NULL, 0, PETSC_TRUE));
  ASSERT_PETSC(SkeanSolverMonitorSet_Private((PetscObject)toy, &toy->solver, Count, &calls, NULL));
  ASSERT_PETSC(ToySolve(toy));
  EXPECT_EQ(toy->solver.reason, SKEAN_DIVERGED_ITS);
  EXPECT_STREQ(SkeanConvergedReasons[toy->solver.reason], "DIVERGED_ITS");
  EXPECT_EQ(toy->solver.nhist, 6);
  EXPECT_EQ(toy->solver.hist[5], 1.0 / 32);
  EXPECT_EQ(calls, 6);

  ASSERT_PETSC(PetscObjectSetOptionsPrefix((PetscObject)toy, "a_"));
  const std::string mon = ":" + out;
  ASSERT_PETSC(PetscOptionsSetValue(NULL, "-a_toy_max_it", "40"));
  ASSERT_PETSC(PetscOptionsSetValue(NULL, "-a_toy_rtol", "1e-3"));
  ASSERT_PETSC(PetscOptionsSetValue(NULL, "-a_toy_seed", "0x10000000000"));
  ASSERT_PETSC(PetscOptionsSetValue(NULL, "-a_toy_monitor", mon.c_str()));
  ASSERT_PETSC(ToySetFromOptions(toy));
  ASSERT_PETSC(ToySolve(toy));
  EXPECT_EQ(toy->solver.reason, SKEAN_CONVERGED_RTOL);
  EXPECT_STREQ(SkeanConvergedReasons[toy->solver.reason], "CONVERGED_RTOL");
  EXPECT_EQ(toy->solver.its, 10);
  EXPECT_EQ(toy->solver.seed, SkeanSeed(1) << 40);
  EXPECT_EQ(toy->solver.nhist, 11) << "the history starts anew";

  /* not converged is an error only where asked for */
  ASSERT_PETSC(SkeanSolverSetTolerances_Private((PetscObject)toy, &toy->solver, PETSC_DEFAULT, PETSC_DEFAULT, 3));
  toy->solver.errorifnotconverged = PETSC_TRUE;
  std::string message;
  EXPECT_EQ(skeantest::ErrorOf([&] { return ToySolve(toy); }, &message), PETSC_ERR_NOT_CONVERGED);
  EXPECT_NE(message.find("DIVERGED_ITS"), std::string::npos);
  EXPECT_NE(skeantest::ErrorOf([&] { return SkeanSolverSetTolerances_Private((PetscObject)toy, &toy->solver, -1.0, PETSC_DEFAULT, PETSC_DEFAULT); }),
            PETSC_SUCCESS);
  ASSERT_PETSC(ToyDestroy(&toy));
  if (!skeantest::Rank()) {
    std::ifstream     f(out);
    std::stringstream text;
    text << f.rdbuf();
    EXPECT_NE(text.str().find(" 10 error"), std::string::npos) << text.str();
  }
  for (const char *o : {"-a_toy_max_it", "-a_toy_rtol", "-a_toy_seed", "-a_toy_monitor"}) ASSERT_PETSC(PetscOptionsClearValue(NULL, o));
}
