#include "driver.hpp"
#include <skean/private/progress.hpp>
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <set>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

namespace driver {

namespace {
const Program        *program = nullptr;
std::string           message; /* of the error that ended the program */
PetscBool             traceback = PETSC_FALSE;
MPI_Comm              failing   = MPI_COMM_NULL; /* for errors alone: the other processes may be in the midst of anything */
std::set<std::string> reported;                  /* options already warned of */

/* Whether one of the words of a text is this one */
bool HasWord(const std::string &text, const std::string &word)
{
  const auto inside = [&](std::size_t k) { return k < text.size() && (std::isalnum(static_cast<unsigned char>(text[k])) || text[k] == '_'); };
  for (std::size_t k = text.find(word); k != std::string::npos; k = text.find(word, k + 1))
    if (!(k > 0 && inside(k - 1)) && !inside(k + word.size())) return true;
  return false;
}

/*
   PETSc complains of the value of an option without the option's name ("Input string abc has no numeric value"). Returns the
   options, among those that have been read, that have this value, as "-name value: "; of types, only options that end so.
*/
std::string Blamed(const std::string &text, bool types)
{
  PetscInt              n;
  char                **names, **values, *all;
  std::set<std::string> unread;
  std::string           blamed, value;

  if (PetscOptionsLeftGet(NULL, &n, &names, &values)) return "";
  for (PetscInt i = 0; i < n; ++i) unread.insert(std::string("-") + names[i]);
  if (PetscOptionsLeftRestore(NULL, &n, &names, &values) || PetscOptionsGetAll(NULL, &all)) return "";
  std::istringstream words(all);
  std::string        word, name;
  while (words >> word) {
    if (word.size() > 1 && word[0] == '-' && std::isalpha(static_cast<unsigned char>(word[1]))) {
      name = word;
      continue;
    }
    if (unread.count(name) || (types && (name.size() < 5 || name.compare(name.size() - 5, 5, "_type")))) continue;
    std::istringstream items(word);
    for (std::string item; std::getline(items, item, ',');)
      if (!item.empty() && HasWord(text, item) && text.find(name) == std::string::npos) {
        blamed += (blamed.empty() ? "" : " or ") + name;
        value = word;
        break;
      }
  }
  (void)PetscFree(all);
  return blamed.empty() ? "" : blamed + " " + value + ": ";
}

/* Whether all processes come here within a second or two: then the error is one of all of them, whatever its communicator says */
bool EverybodyFailed(void)
{
  MPI_Request  request;
  int          all   = 0;
  const double start = MPI_Wtime();

  if (failing == MPI_COMM_NULL || MPI_Ibarrier(failing, &request)) return false;
  while (!MPI_Test(&request, &all, MPI_STATUS_IGNORE) && !all && MPI_Wtime() < start + 2.0) usleep(1000);
  return all;
}

/*
   Keeps the text of the error in place of PETSc's traceback of thirty lines; with -traceback one line for each function on the way,
   by the first process. An error that only some processes know of ends the program here, because the others would wait for ever.
*/
PetscErrorCode KeepMessage(MPI_Comm comm, int line, const char *function, const char *file, PetscErrorCode n, PetscErrorType p, const char *mess, void *)
{
  int rank = 0;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (p == PETSC_ERROR_INITIAL) {
    int         size = 1, world = 1;
    const char *text = NULL;
    (void)PetscErrorMessage(n, &text, NULL);
    message = mess && *mess ? mess : (text ? text : "unknown error");
    while (!message.empty() && std::isspace(static_cast<unsigned char>(message.back()))) message.pop_back();
    for (char &c : message)
      if (c == '\n') c = ' ';
    if (function && !std::strncmp(function, "PetscOptions", 12))
      message = Blamed(message, false) + message;
    else if (n == PETSC_ERR_ARG_UNKNOWN_TYPE)
      message = Blamed(message, true) + message;
    MPI_Comm_size(comm, &size);
    MPI_Comm_size(PETSC_COMM_WORLD, &world);
    if (size < world && !EverybodyFailed()) {
      usleep(20000u * static_cast<unsigned>(std::min(rank, 50))); /* the lowest of several speaks, and ends the others */
      std::fprintf(stderr, "%s: error on process %d: %s\n", program->name, rank, message.c_str());
      if (traceback) std::fprintf(stderr, "%s:   at %s() in %s:%d\n", program->name, function, file, line);
      MPI_Abort(PETSC_COMM_WORLD, Failed);
    }
  }
  if (traceback && !rank) std::fprintf(stderr, "%s:   at %s() in %s:%d\n", program->name, function, file, line);
  return n;
}

/* Levenshtein's distance: single letters added, lost, changed */
std::size_t Distance(const std::string &a, const std::string &b)
{
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0]               = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal                 = row[j];
      row[j]                   = std::min(change, std::min(row[j], row[j - 1]) + 1);
    }
  }
  return row.back();
}

/* The options that the help explains, at the beginning of a word, and those that the driver names besides */
std::set<std::string> Known(void)
{
  std::set<std::string> known(program->options.begin(), program->options.end());
  const auto            inword = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  for (const char *p = program->help; (p = std::strchr(p, '-')); ++p) {
    const char *end = p + 1;
    while (inword(*end)) ++end;
    const bool begins = p == program->help || std::strchr(" \n[", p[-1]);
    if (begins && std::isalpha(static_cast<unsigned char>(p[1])) && end[-1] != '_') known.insert(std::string(p, end));
  }
  return known;
}

std::string Nearest(const std::string &option, const std::set<std::string> &known)
{
  std::string best;
  std::size_t least = option.size() > 4 ? 3 : option.size() > 2 ? 2 : 1; /* first distance that is too far: one letter is near to none */
  for (const std::string &o : known) {
    const std::size_t k = Distance(option, o);
    if (k < least) {
      least = k;
      best  = o;
    }
  }
  return best;
}

/* Options that PETSc reads when it ends */
bool ReadLate(const std::string &o)
{
  for (const char *p : {"options_left", "malloc", "memory_view", "objects_dump", "log_", "x_virtual", "nox", "saws", "info", "check_pointer", "get_total_flops",
                        "viewer_", "citations", "on_error", "fp_trap", "traceback"})
    if (o.compare(0, std::strlen(p), p) == 0) return true;
  return false;
}

PetscErrorCode WarnLeft(bool misspeltonly)
{
  PetscInt n;
  char   **names, **values;

  PetscFunctionBegin;
  const std::set<std::string> known = Known();
  PetscCall(PetscOptionsLeftGet(NULL, &n, &names, &values));
  for (PetscInt i = 0; i < n; ++i) {
    const std::string o = names[i], near = Nearest("-" + o, known);
    const bool        misspelt = !near.empty() && near != "-" + o;
    if (ReadLate(o) || reported.count(o) || (misspeltonly && !misspelt)) continue;
    reported.insert(o);
    if (near == "-" + o) { /* nothing wrong with its name: what it belongs to was not asked for */
      PetscCall(PetscFPrintf(PETSC_COMM_WORLD, stderr, "%s: warning: option -%s had no use in this run; see -help\n", program->name, o.c_str()));
      continue;
    }
    PetscCall(PetscFPrintf(PETSC_COMM_WORLD, stderr, "%s: warning: option -%s%s%s is not known here and was ignored%s%s%s\n", program->name, o.c_str(),
                           values[i] ? " " : "", values[i] ? values[i] : "", near.empty() ? "; see -help" : "; did you mean ", near.c_str(),
                           near.empty() ? "" : "?"));
  }
  PetscCall(PetscOptionsLeftRestore(NULL, &n, &names, &values));
  PetscFunctionReturn(PETSC_SUCCESS);
}
} // namespace

int Main(int argc, char **argv, const Program &p)
{
  ExitCode            code = Failed;
  bool                help = false, intro = false;
  std::vector<char *> args;
  PetscErrorCode      ierr;

  /* -help is ours: PETSc would print some hundred lines about itself before the text that the user looks for */
  program = &p;
  for (int i = 0; i < argc; ++i) {
    if (i && (!std::strcmp(argv[i], "-help") || !std::strcmp(argv[i], "--help") || !std::strcmp(argv[i], "-h"))) {
      help  = true;
      intro = i + 1 < argc && !std::strcmp(argv[i + 1], "intro");
      i += intro;
    } else
      args.push_back(argv[i]);
  }
  int nargs = static_cast<int>(args.size());
  args.push_back(nullptr);
  char **pargs = args.data();
  if (SkeanInitialize(&nargs, &pargs, NULL, p.help)) return Failed;
  if (help) {
    ierr = PetscPrintf(PETSC_COMM_WORLD, "%s", p.help);
    if (!intro) {
      if (!ierr) ierr = PetscOptionsSetValue(NULL, "-help", NULL);
      if (!ierr) ierr = p.printoptions();
      if (!ierr) ierr = PetscOptionsClearValue(NULL, "-help");
    }
    code = ierr ? Failed : Converged;
  } else {
    ierr = PetscOptionsGetBool(NULL, NULL, "-traceback", &traceback, NULL);
    MPI_Comm_dup(PETSC_COMM_WORLD, &failing);
    (void)PetscPushErrorHandler(KeepMessage, NULL);
    if (!ierr) ierr = p.run(&code);
    (void)PetscPopErrorHandler();
    MPI_Comm_free(&failing);
    if (ierr) {
      code = Failed;
      (void)PetscFPrintf(PETSC_COMM_WORLD, stderr, "%s: error: %s\n", p.name, message.c_str());
    }
    /* a misspelt option may be the cause of the error, others may just not have been reached */
    (void)WarnLeft(ierr != 0);
  }
  if (PetscFinalize() && code == Converged) code = Failed;
  return code;
}

PetscErrorCode WarnMisspelt(void)
{
  PetscFunctionBegin;
  PetscCall(WarnLeft(true));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const std::vector<const char *> &DataEndings()
{
  static const std::vector<const char *> e = {".h5", ".hdf5", ".npy", ".mtx", ".mm", ".bin", ".petsc", ".dat", ".nc", ".cdf"};
  return e;
}
const std::vector<const char *> &PlotEndings()
{
  static const std::vector<const char *> e = {".png", ".svg", ".pdf"};
  return e;
}

PetscErrorCode CheckOutput(MPI_Comm comm, const char option[], const char file[], const std::vector<const char *> &endings)
{
  const std::string name = file;
  std::string       all;
  bool              known = endings.empty();
  int               why   = 0, rank;

  PetscFunctionBegin;
  if (name.empty()) PetscFunctionReturn(PETSC_SUCCESS);
  for (const char *e : endings) {
    const std::size_t n = std::strlen(e);
    known               = known || (name.size() > n && !name.compare(name.size() - n, n, e));
    all += std::string(all.empty() ? "" : " ") + e;
  }
  PetscCheck(known, comm, PETSC_ERR_ARG_WRONG, "%s %s: the ending must say the format, one of %s", option, file, all.c_str());
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!rank) {
    const std::size_t slash  = name.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : name.substr(0, slash);
    struct stat       s;
    if (stat(folder.c_str(), &s) || !S_ISDIR(s.st_mode))
      why = 1;
    else if (access(folder.c_str(), W_OK | X_OK))
      why = 2;
    else if (!stat(file, &s) && S_ISDIR(s.st_mode))
      why = 3;
    else if (!stat(file, &s) && access(file, W_OK))
      why = 4;
  }
  PetscCallMPI(MPI_Bcast(&why, 1, MPI_INT, 0, comm));
  const char *text[] = {"", "there is no such folder", "the folder cannot be written to", "this is a folder", "the file exists and cannot be overwritten"};
  PetscCheck(!why, comm, PETSC_ERR_FILE_OPEN, "%s %s: %s", option, file, text[why]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode ReadFitSettings(SkeanOptionItems PetscOptionsObject, FitSettings &s)
{
  PetscFunctionBegin;
  PetscCall(PetscOptionsReal("-bounds", "error bounds that hold but for this probability", NULL, s.delta, &s.delta, NULL));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-bounds", &s.bounds));
  PetscCall(PetscOptionsString("-o", "file for the solution", NULL, s.o, s.o, sizeof(s.o), NULL));
  PetscCall(PetscOptionsString("-plot", "file for the picture", NULL, s.plot, s.plot, sizeof(s.plot), NULL));
  PetscCall(PetscOptionsBool("-monitor", "progress", NULL, s.monitor, &s.monitor, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CheckFitSettings(MPI_Comm comm, const FitSettings &s)
{
  PetscFunctionBegin;
  PetscCheck(!s.bounds || (s.delta > 0.0 && s.delta < 1.0), comm, PETSC_ERR_USER_INPUT, "-bounds: %g is not a probability between 0 and 1", (double)s.delta);
  PetscCall(CheckOutput(comm, "-o", s.o, DataEndings()));
  PetscCall(CheckOutput(comm, "-plot", s.plot, PlotEndings()));
  if (s.monitor) skean::ReadMonitor() = PETSC_VIEWER_STDOUT_(comm);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CreateSolver(MPI_Comm comm, KSP *ksp)
{
  PC pc;

  PetscFunctionBegin;
  PetscCall(KSPCreate(comm, ksp));
  /* PETSc's default, incomplete LU, cannot work for rectangular matrices */
  PetscCall(KSPGetPC(*ksp, &pc));
  PetscCall(PCSetType(pc, PCNONE));
  PetscCall(KSPSetType(*ksp, KSPSKETCH));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode PrintSolverOptions(MPI_Comm comm)
{
  KSP ksp;

  PetscFunctionBegin;
  PetscCall(CreateSolver(comm, &ksp));
  PetscCall(KSPSetFromOptions(ksp));
  PetscCall(KSPDestroy(&ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}

std::string ReasonText(KSPConvergedReason reason)
{
  const char *text = "";
  switch (reason) {
  case KSP_CONVERGED_RTOL:
  case SKEAN_KSP_CONVERGED_RTOL_NORMAL:
    text = "the relative tolerance is reached";
    break;
  case KSP_CONVERGED_ATOL:
  case SKEAN_KSP_CONVERGED_ATOL_NORMAL:
    text = "the absolute tolerance is reached";
    break;
  case KSP_CONVERGED_ITS:
    text = "the work asked for is done";
    break;
  case KSP_DIVERGED_ITS:
    text = "the largest number of passes is reached (-ksp_max_it)";
    break;
  case KSP_DIVERGED_NANORINF:
    text = "NaN or Inf in the data or the arithmetic";
    break;
  case KSP_DIVERGED_BREAKDOWN:
    text = "no further progress, the tolerance is not reached";
    break;
  case KSP_DIVERGED_DTOL:
    text = "the residual grew";
    break;
  case KSP_DIVERGED_PC_FAILED:
    text = "the preconditioner could not be built";
    break;
  default:
    break;
  }
  std::string s = reason > 0 ? "converged" : "NOT converged";
  if (*text) s += std::string(": ") + text;
  return s + " (" + (KSPConvergedReasons[reason] ? KSPConvergedReasons[reason] : "unknown") + ")";
}

PetscErrorCode Slowest(MPI_Comm comm, PetscLogDouble *seconds)
{
  PetscFunctionBegin;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, seconds, 1, MPI_DOUBLE, MPI_MAX, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

std::string Number(double x, int digits)
{
  char text[64];
  std::snprintf(text, sizeof(text), "%.*g", digits, x);
  return text;
}

PetscErrorCode Table::Print(MPI_Comm comm) const
{
  std::size_t width = 0;

  PetscFunctionBegin;
  for (const auto &r : rows) width = std::max(width, r.first.size());
  PetscCall(PetscPrintf(comm, "%s\n", title.c_str()));
  for (const auto &r : rows) PetscCall(PetscPrintf(comm, "  %-*s  %s\n", static_cast<int>(width), r.first.c_str(), r.second.c_str()));
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace driver
