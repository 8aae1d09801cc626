/*
   What every driver does in the same way: start and end with an exit code that scripts can use, help, one clear line for an error,
   options that nobody read, output files that can be written, and tables.
*/
#pragma once

#include <skean.h>
#include <skean/private/petsccompat.h>
#include <petscksp.h>
#include <string>
#include <vector>

namespace driver {

/* Exit codes of every driver, stated in its help */
enum ExitCode { Converged = 0, NotConverged = 1, Failed = 2 };

struct Program {
  const char               *name;
  const char               *help;       /* ends with a new line */
  std::vector<const char *> options;    /* those a misspelt option is compared with, besides those in the help */
  PetscErrorCode (*printoptions)(void); /* with -help: runs the PetscOptionsBegin() blocks and KSPSetFromOptions() and the like */
  PetscErrorCode (*run)(ExitCode *);    /* the program */
};
int Main(int argc, char **argv, const Program &program);

/* Collective. Warns of options that nothing has read so far and that look like one of the driver's, before the long work begins */
PetscErrorCode WarnMisspelt(void);

/* Collective. PETSC_ERR_FILE_OPEN unless a file of this name can be made, PETSC_ERR_ARG_WRONG unless it has one of the endings
   (if there are any) or if another option names the same file (an input, also file:variable and lists, or another output);
   empty: nothing wanted */
PetscErrorCode CheckOutput(MPI_Comm comm, const char option[], const char file[], const std::vector<const char *> &endings);
/* Collective. The same for the files stem.part.ending that are written in place of one, where its format holds one object only */
PetscErrorCode CheckOutputParts(MPI_Comm comm, const char option[], const char file[], const std::vector<const char *> &parts);
/* Endings that SkeanWriteFile() and PlotWrite() know */
const std::vector<const char *> &DataEndings();
const std::vector<const char *> &PlotEndings();

/* For pictures: what is along a dimension of a grid, from its name and units (either may be NULL), and whether two are angles, or lengths, alike */
std::string AxisLabel(const char name[], const char units[]);
bool        AxesAlike(const char units1[], const char units2[]);

/* Options that drivers of least squares have alike */
struct FitSettings {
  char      o[PETSC_MAX_PATH_LEN] = "", plot[PETSC_MAX_PATH_LEN] = "";
  PetscBool monitor = PETSC_FALSE, bounds = PETSC_FALSE;
  PetscReal delta = 1e-3;
};
/* Reads -bounds, -o, -plot and -monitor; within PetscOptionsBegin() */
PetscErrorCode ReadFitSettings(SkeanOptionItems PetscOptionsObject, FitSettings &s);
/* Collective. Whether the probability is one and the files can be written */
PetscErrorCode CheckFitSettings(MPI_Comm comm, const FitSettings &s);
/* Collective. Whether the tolerances that options gave to a solver can be any: PETSc takes negative ones */
PetscErrorCode CheckTolerances(KSP ksp);
/* Collective. PETSC_ERR_ARG_OUTOFRANGE with option, file and the first index if an entry is negative, NaN or infinite */
PetscErrorCode CheckNonNegative(Vec v, const char option[], const char file[]);
/* A KSP of type sketch, before the options speak */
PetscErrorCode CreateSolver(MPI_Comm comm, KSP *ksp);
/* For -help: what such a solver's KSPSetFromOptions() prints */
PetscErrorCode PrintSolverOptions(MPI_Comm comm);

/* "converged: ..." or "NOT converged: ..." in words */
std::string ReasonText(KSPConvergedReason reason);
/* The slowest process's */
PetscErrorCode Slowest(MPI_Comm comm, PetscLogDouble *seconds);
std::string    Number(double x, int digits = 6);

/* Two columns, name and value, printed by the first process */
class Table {
public:
  explicit Table(const std::string &t) : title(t) {}
  void           Add(const std::string &name, const std::string &value) { rows.push_back({name, value}); }
  PetscErrorCode Print(MPI_Comm comm) const;

private:
  std::string                                      title;
  std::vector<std::pair<std::string, std::string>> rows;
};

} // namespace driver
