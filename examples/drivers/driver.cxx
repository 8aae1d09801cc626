#include "driver.hpp"
#include <skean/private/progress.hpp>
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
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
  for (const char *p : {"options_left", "options_view", "malloc", "memory_view", "objects_dump", "log_", "x_virtual", "nox", "saws", "info", "check_pointer",
                        "get_total_flops", "viewer_", "citations", "on_error", "fp_trap", "traceback"})
    if (o.compare(0, std::strlen(p), p) == 0) return true;
  return false;
}

/* Every option of the run with its value, which may hold blanks; does not count as reading them */
PetscErrorCode AllOptions(std::vector<std::pair<std::string, std::string>> *options)
{
  char       *all;
  std::string word;

  PetscFunctionBegin;
  options->clear();
  PetscCall(PetscOptionsGetAll(NULL, &all));
  std::istringstream words(all);
  while (words >> word)
    if (word.size() > 1 && word[0] == '-' && std::isalpha(static_cast<unsigned char>(word[1])))
      options->emplace_back(word, "");
    else if (!options->empty())
      options->back().second += (options->back().second.empty() ? "" : " ") + word;
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What tells files apart whatever they are called; of one that does not exist, its folder and name. Empty: it cannot exist */
std::string Identity(const std::string &name)
{
  struct stat s;
  std::string base;

  if (name.empty()) return "";
  if (stat(name.c_str(), &s)) {
    const std::size_t slash = name.rfind('/');
    base                    = "/" + (slash == std::string::npos ? name : name.substr(slash + 1));
    if (stat(slash == std::string::npos ? "." : slash == 0 ? "/" : name.substr(0, slash).c_str(), &s)) return "";
  } else if (!S_ISREG(s.st_mode))
    return ""; /* /dev/null may be given as often as one likes */
  return std::to_string(s.st_dev) + ":" + std::to_string(s.st_ino) + base;
}

/* The option, with its value, that names the same file as this one does; by one process */
PetscErrorCode SameFile(const char option[], const std::string &file, std::string *other)
{
  std::vector<std::pair<std::string, std::string>> options;

  PetscFunctionBegin;
  other->clear();
  const std::string id = Identity(file);
  if (id.empty()) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(AllOptions(&options));
  for (const auto &o : options) {
    if (o.first == option) continue;
    /* the value, each of a list, and without a variable of the file */
    std::vector<std::string> names{o.second};
    std::istringstream       items(o.second);
    for (std::string item; std::getline(items, item, ',');) names.push_back(item);
    for (std::size_t k = names.size(); k-- > 0;)
      if (names[k].rfind(':') != std::string::npos) names.push_back(names[k].substr(0, names[k].rfind(':')));
    for (const std::string &n : names)
      if (Identity(n) == id) *other = o.first + " " + n;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
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

/* The first argument that belongs to no option, as PETSc, which skips it, sees them */
static std::string Stray(const std::vector<char *> &args)
{
  bool value = false; /* whether one may follow */
  for (std::size_t i = 1; i < args.size() && args[i]; ++i) {
    const char *a      = args[i] + (args[i][0] == '-' && args[i][1] == '-');
    const bool  option = a[0] == '-' && (std::isalpha(static_cast<unsigned char>(a[1])) || a[1] == '_');
    if (!option && !value) return args[i];
    value = option;
  }
  return "";
}

/*
   Whether the files given with -options_file can be read, before PETSc tries and ends with thirty lines on every process. Starts MPI,
   so that one process looks and all know, only if there is such an option; *started then says so.
*/
static bool OptionFilesReadable(const char *name, const std::vector<char *> &args, bool *started)
{
  int bad = -1, rank = 0, level;

  for (std::size_t i = 1; i + 1 < args.size(); ++i) {
    if (std::strcmp(args[i], "-options_file") || !args[i + 1]) continue;
    if (!*started) {
      MPI_Initialized(&level);
      if (level || MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level)) return true;
      *started = true;
    }
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (!rank && bad < 0 && access(args[i + 1], R_OK)) bad = static_cast<int>(i + 1);
  }
  if (!*started) return true;
  if (bad >= 0)
    std::fprintf(stderr, "%s: error: -options_file %s: cannot open the file: %s\n", name, args[static_cast<std::size_t>(bad)], std::strerror(errno));
  MPI_Bcast(&bad, 1, MPI_INT, 0, MPI_COMM_WORLD);
  return bad < 0;
}

int Main(int argc, char **argv, const Program &p)
{
  ExitCode            code = Failed;
  bool                help = false, intro = false, started = false;
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
  const std::string stray = help ? "" : Stray(args);
  char            **pargs = args.data();
  if (!OptionFilesReadable(p.name, args, &started)) {
    MPI_Finalize();
    return Failed;
  }
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
    if (!ierr && !stray.empty())
      ierr = PetscError(PETSC_COMM_WORLD, __LINE__, PETSC_FUNCTION_NAME, __FILE__, PETSC_ERR_USER_INPUT, PETSC_ERROR_INITIAL,
                        "The argument '%s' belongs to no option (see -help)", stray.c_str());
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
  if (started) MPI_Finalize();
  return code;
}

PetscErrorCode WarnMisspelt(void)
{
  PetscFunctionBegin;
  PetscCall(WarnLeft(true));
  PetscFunctionReturn(PETSC_SUCCESS);
}

std::string AxisLabel(const char name[], const char units[])
{
  std::string n = name ? name : "", u = units ? units : "";

  for (const char *east : {"degrees_east", "degree_east", "degrees_E"})
    if (u == east) return "longitude (degrees east)";
  for (const char *north : {"degrees_north", "degree_north", "degrees_N"})
    if (u == north) return "latitude (degrees north)";
  return n + (u.empty() ? "" : (n.empty() ? "" : " ") + ("(" + u + ")"));
}

bool AxesAlike(const char units1[], const char units2[])
{
  const std::string a = units1 ? units1 : "", b = units2 ? units2 : "";

  return !a.empty() && (a == b || (a.compare(0, 6, "degree") == 0 && b.compare(0, 6, "degree") == 0));
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
  std::string       all, other;
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
    else {
      PetscCall(SameFile(option, name, &other));
      if (!other.empty()) why = 5;
    }
  }
  PetscCallMPI(MPI_Bcast(&why, 1, MPI_INT, 0, comm));
  const char *text[] = {"", "there is no such folder", "the folder cannot be written to", "this is a folder", "the file exists and cannot be overwritten"};
  if (why == 5) {
    int n = static_cast<int>(other.size());
    PetscCallMPI(MPI_Bcast(&n, 1, MPI_INT, 0, comm));
    other.resize(static_cast<std::size_t>(n));
    PetscCallMPI(MPI_Bcast(&other[0], n, MPI_CHAR, 0, comm));
    SETERRQ(comm, PETSC_ERR_ARG_WRONG, "%s %s: the same file as %s, which would be overwritten", option, file, other.c_str());
  }
  PetscCheck(!why, comm, PETSC_ERR_FILE_OPEN, "%s %s: %s", option, file, text[why]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CheckOutputParts(MPI_Comm comm, const char option[], const char file[], const std::vector<const char *> &parts)
{
  const std::string name = file;
  const std::size_t dot  = name.rfind('.');

  PetscFunctionBegin;
  if (dot == std::string::npos || (name.substr(dot) != ".npy" && name.substr(dot) != ".mtx" && name.substr(dot) != ".mm")) PetscFunctionReturn(PETSC_SUCCESS);
  for (const char *p : parts) PetscCall(CheckOutput(comm, option, (name.substr(0, dot) + "." + p + name.substr(dot)).c_str(), {}));
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

PetscErrorCode CheckTolerances(KSP ksp)
{
  PetscReal rtol, abstol;
  MPI_Comm  comm = PetscObjectComm((PetscObject)ksp);

  PetscFunctionBegin;
  PetscCall(KSPGetTolerances(ksp, &rtol, &abstol, NULL, NULL));
  PetscCheck(rtol >= 0.0 && rtol < 1.0, comm, PETSC_ERR_USER_INPUT, "-ksp_rtol: %s is not a number from 0 to 1 (1 excluded)", Number(rtol).c_str());
  PetscCheck(abstol >= 0.0, comm, PETSC_ERR_USER_INPUT, "-ksp_atol: %s is not a non-negative number", Number(abstol).c_str());
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode CheckNonNegative(Vec v, const char option[], const char file[])
{
  const PetscScalar *a;
  PetscInt           lo, hi;
  const PetscInt64   none  = std::numeric_limits<PetscInt64>::max();
  PetscInt64         first = none; /* twice the index, and one more for what is no number */
  MPI_Comm           comm  = PetscObjectComm((PetscObject)v);

  PetscFunctionBegin;
  PetscCall(VecGetOwnershipRange(v, &lo, &hi));
  PetscCall(VecGetArrayRead(v, &a));
  for (PetscInt i = hi; i-- > lo;)
    if (!(a[i - lo] >= 0.0) || std::isinf(a[i - lo])) first = 2 * static_cast<PetscInt64>(i) + !(a[i - lo] < 0.0 && !std::isinf(a[i - lo]));
  PetscCall(VecRestoreArrayRead(v, &a));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPIU_INT64, MPI_MIN, comm));
  PetscCheck(first == none, comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %s: entry %" PetscInt64_FMT " (counted from 0) is %s", option, file, first / 2,
             first % 2 ? "NaN or infinite" : "negative");
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
