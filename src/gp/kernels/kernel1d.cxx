/* Kernel1D, its parser, registered kernels, and the factor matrices on grids */
#include "nodes.hpp"
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace skean {
namespace gp {

Kernel1D::Kernel1D() = default;
Kernel1D::Kernel1D(const Kernel1D &other) : root(other.root ? other.root->Clone() : nullptr)
{
}
Kernel1D::Kernel1D(Kernel1D &&other) noexcept = default;
Kernel1D &Kernel1D::operator=(const Kernel1D &other)
{
  if (this != &other) root = other.root ? other.root->Clone() : nullptr;
  return *this;
}
Kernel1D &Kernel1D::operator=(Kernel1D &&other) noexcept = default;
Kernel1D::~Kernel1D()                                    = default;

std::string Kernel1D::Text() const
{
  return root ? root->Text() : "";
}
int Kernel1D::Smoothness() const noexcept
{
  return root ? root->Smoothness() : 0;
}
int Kernel1D::MaxOrder() const noexcept
{
  return root ? root->MaxOrder() : 0;
}
size_t Kernel1D::NumParams() const noexcept
{
  return root ? root->NumParams() : 0;
}
std::string Kernel1D::ParamName(size_t i) const
{
  return root->ParamName(i);
}
bool Kernel1D::ParamIsLog(size_t i) const
{
  return root->ParamIsLog(i);
}
std::vector<double> Kernel1D::Params() const
{
  std::vector<double> t(NumParams());
  if (root) root->GetParams(t.data());
  return t;
}
void Kernel1D::SetParams(const double *theta)
{
  if (root) root->SetParams(theta);
}

PetscErrorCode Kernel1D::Eval(size_t n, const double *z, int order, double *k, bool cross) const
{
  PetscFunctionBegin;
  PetscCheck(root, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "The kernel is not set");
  PetscCheck(order >= 0 && order <= MaxOrder(), PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Derivative %d of a kernel that gives derivatives 0 to %d", order,
             MaxOrder());
  PetscCall(root->Eval(n, z, order, k, nullptr, cross));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode Kernel1D::EvalGrad(size_t n, const double *z, int order, double *k, double *g, bool cross) const
{
  PetscFunctionBegin;
  PetscCheck(root, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "The kernel is not set");
  PetscCheck(order >= 0 && order < KERNEL_MAX_ORDER && order <= MaxOrder(), PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "Gradient of derivative %d of a kernel: 0 to %d", order, std::min(KERNEL_MAX_ORDER - 1, MaxOrder()));
  PetscCall(root->Eval(n, z, order, k, g, cross));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- registered kernels ---- */

static std::map<std::string, UserKernel> &UserKernels()
{
  static std::map<std::string, UserKernel> list;
  return list;
}
const UserKernel *FindUserKernel(const std::string &name)
{
  auto it = UserKernels().find(name);
  return it == UserKernels().end() ? nullptr : &it->second;
}

/* ---- the parser: recursive descent, one method per rule of the grammar in gpkernels.hpp ---- */

namespace {
class Parser {
public:
  explicit Parser(const std::string &t) : text(t) {}
  std::unique_ptr<KernelNode> Run()
  {
    auto k = Expression();
    if (k && pos < text.size()) Fail(std::string("unexpected '") + text[pos] + "'");
    return problem.empty() ? std::move(k) : nullptr;
  }
  std::string problem;
  size_t      pos = 0;

private:
  void Fail(const std::string &what)
  {
    if (problem.empty()) problem = what;
  }
  char Peek()
  {
    while (pos < text.size() && std::isspace(static_cast<unsigned char>(text[pos]))) pos++;
    return pos < text.size() ? text[pos] : '\0';
  }
  bool Value(double *v)
  {
    Peek();
    const char *begin = text.c_str() + pos;
    char       *end;
    *v = std::strtod(begin, &end);
    if (end == begin) {
      Fail("a number is expected");
      return false;
    }
    pos += static_cast<size_t>(end - begin);
    return true;
  }
  /* weight: of the term, where the caller is a sum: a leading number and '*' */
  std::unique_ptr<KernelNode> Expression()
  {
    std::vector<std::unique_ptr<KernelNode>> terms;
    std::vector<double>                      logw;
    bool                                     weighted = false;
    do {
      double w = 1.0;
      if (!terms.empty()) pos++; /* the '+' */
      const char c = Peek();
      if (std::isdigit(static_cast<unsigned char>(c)) || c == '.') {
        if (!Value(&w)) return nullptr;
        if (!(w > 0) || Peek() != '*') {
          Fail("a weight must be positive and followed by '*'");
          return nullptr;
        }
        pos++;
        weighted = true;
      }
      auto t = Term();
      if (!t) return nullptr;
      terms.push_back(std::move(t));
      logw.push_back(std::log(w));
    } while (Peek() == '+');
    if (terms.size() == 1 && !weighted) return std::move(terms[0]);
    return MakeSum(std::move(terms), logw);
  }
  std::unique_ptr<KernelNode> Term()
  {
    std::vector<std::unique_ptr<KernelNode>> factors;
    do {
      if (!factors.empty()) pos++; /* the '*' */
      auto f = Factor();
      if (!f) return nullptr;
      factors.push_back(std::move(f));
    } while (Peek() == '*');
    if (factors.size() == 1) return std::move(factors[0]);
    return MakeProduct(std::move(factors));
  }
  std::unique_ptr<KernelNode> Factor()
  {
    std::string         name;
    std::vector<double> values;
    size_t              Q    = 0;
    bool                hasQ = false;
    if (Peek() == '(') {
      pos++;
      auto k = Expression();
      if (k && Peek() != ')') Fail("')' is missing");
      pos++;
      return problem.empty() ? std::move(k) : nullptr;
    }
    while (pos < text.size() && (std::isalnum(static_cast<unsigned char>(text[pos])) || text[pos] == '_')) name += text[pos++];
    if (name.empty()) {
      Fail("the name of a kernel is expected");
      return nullptr;
    }
    if (Peek() == ':') {
      double q;
      pos++;
      if (!Value(&q)) return nullptr;
      if (q < 1 || q > 10000 || q != std::floor(q)) {
        Fail("the number of components must be an integer from 1 to 10000");
        return nullptr;
      }
      Q    = static_cast<size_t>(q);
      hasQ = true;
    }
    if (Peek() == '(') {
      do {
        double v;
        pos++;
        if (!Value(&v)) return nullptr;
        values.push_back(v);
      } while (Peek() == ',');
      if (Peek() != ')') {
        Fail("')' is missing");
        return nullptr;
      }
      pos++;
    }
    std::string why;
    auto        leaf = MakeLeaf(name, hasQ, Q, values, &why);
    if (!why.empty()) Fail(why);
    return problem.empty() ? std::move(leaf) : nullptr;
  }
  std::string text;
};
} // namespace

PetscErrorCode KernelParse(MPI_Comm comm, const std::string &text, Kernel1D *kernel)
{
  PetscFunctionBegin;
  PetscCallCXX({
    Parser p(text);
    auto   tree = p.Run();
    PetscCheck(tree, comm, PETSC_ERR_USER_INPUT, "Kernel \"%s\": %s, at character %d", text.c_str(), p.problem.c_str(), static_cast<int>(p.pos) + 1);
    kernel->root = std::move(tree);
  });
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KernelParseList(MPI_Comm comm, const std::string &text, size_t d, std::vector<Kernel1D> *kernels)
{
  std::vector<std::string> part(1);
  int                      depth = 0;

  PetscFunctionBegin;
  for (char c : text) {
    depth += c == '(' ? 1 : (c == ')' ? -1 : 0);
    if (c == ',' && depth == 0)
      part.emplace_back();
    else
      part.back() += c;
  }
  PetscCheck(part.size() == d || part.size() == 1, comm, PETSC_ERR_USER_INPUT, "\"%s\" gives %d kernels for %d dimensions", text.c_str(),
             static_cast<int>(part.size()), static_cast<int>(d));
  PetscCallCXX(kernels->assign(d, Kernel1D()));
  for (size_t j = 0; j < d; j++) PetscCall(KernelParse(comm, part.size() == 1 ? part[0] : part[j], &(*kernels)[j]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KernelMixture(MPI_Comm comm, int nu2, size_t Q, const double *w, const double *ell, const double *freq, Kernel1D *kernel)
{
  std::string text;

  PetscFunctionBegin;
  PetscCheck(nu2 == 0 || nu2 == 1 || nu2 == 3 || nu2 == 5 || nu2 == 7, comm, PETSC_ERR_ARG_OUTOFRANGE, "2 nu must be 0, 1, 3, 5 or 7, is %d", nu2);
  PetscCallCXX({
    char s[96];
    text = (nu2 ? "smt" + std::to_string(nu2) + "2" : std::string("sm")) + ":" + std::to_string(Q);
    for (size_t q = 0; q < Q; q++) {
      std::snprintf(s, sizeof(s), "%s%.17g,%.17g,%.17g", q ? "," : "(", w[q], ell[q], freq[q]);
      text += s;
    }
    text += ")";
  });
  PetscCall(KernelParse(comm, text, kernel));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- matrices ---- */

/* Uniform to rounding: then k(x_i - x_j) depends on i - j alone, to the accuracy the differences have anyway */
static bool IsUniform(size_t n, const double *x)
{
  if (n < 3) return n > 0;
  const double h   = (x[n - 1] - x[0]) / static_cast<double>(n - 1),
               tol = 4e-16 * static_cast<double>(n) * std::fabs(h) + 8e-16 * std::max(std::fabs(x[0]), std::fabs(x[n - 1]));
  for (size_t i = 0; i < n; i++)
    if (std::fabs(x[0] + static_cast<double>(i) * h - x[i]) > tol) return false;
  return h != 0.0;
}

PetscErrorCode KernelMatrix(const Kernel1D &kernel, size_t n, const double *x, size_t ny, const double *y, int order, double *const K[])
{
  std::vector<double> z, k;
  const size_t        M = static_cast<size_t>(order) + 1;

  PetscFunctionBegin;
  if (!n || (y && !ny)) PetscFunctionReturn(PETSC_SUCCESS);
  if (y) {
    /* one column at a time: bounded memory */
    PetscCallCXX(z.resize(n));
    PetscCallCXX(k.resize(M * n));
    for (size_t j = 0; j < ny; j++) {
      for (size_t i = 0; i < n; i++) z[i] = x[i] - y[j];
      PetscCall(kernel.Eval(n, z.data(), order, k.data(), true));
      for (size_t m = 0; m < M; m++)
        if (K[m]) std::copy_n(&k[m * n], n, &K[m][j * n]);
    }
  } else if (IsUniform(n, x)) {
    const double h = n > 1 ? (x[n - 1] - x[0]) / static_cast<double>(n - 1) : 0.0;
    PetscCallCXX(z.resize(n));
    PetscCallCXX(k.resize(M * n));
    for (size_t i = 0; i < n; i++) z[i] = static_cast<double>(i) * h;
    PetscCall(kernel.Eval(n, z.data(), order, k.data(), false));
    for (size_t m = 0; m < M; m++) {
      if (!K[m]) continue;
      const double s = m % 2 ? -1.0 : 1.0;
      for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < j; i++) K[m][i + j * n] = s * k[m * n + (j - i)];
        for (size_t i = j; i < n; i++) K[m][i + j * n] = k[m * n + (i - j)];
      }
    }
  } else {
    PetscCallCXX(z.resize(n));
    PetscCallCXX(k.resize(M * n));
    for (size_t j = 0; j < n; j++) {
      const size_t c = n - j;
      for (size_t i = 0; i < c; i++) z[i] = x[j + i] - x[j];
      /* equal points of a grid are different points to white noise: only i = j is the same point */
      PetscCall(kernel.Eval(1, z.data(), order, k.data(), false));
      for (size_t m = 0; m < M; m++)
        if (K[m]) K[m][j + j * n] = k[m];
      PetscCall(kernel.Eval(c - 1, z.data() + 1, order, k.data(), true));
      for (size_t m = 0; m < M; m++) {
        if (!K[m]) continue;
        const double s = m % 2 ? -1.0 : 1.0;
        for (size_t i = 1; i < c; i++) {
          K[m][(j + i) + j * n] = k[m * (c - 1) + i - 1];
          K[m][j + (j + i) * n] = s * k[m * (c - 1) + i - 1];
        }
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KernelMatrixGrad(const Kernel1D &kernel, size_t n, const double *x, int order, const double *const G[], double *g)
{
  const size_t        M = static_cast<size_t>(order) + 1, np = kernel.NumParams();
  std::vector<double> z, k, d, s;

  PetscFunctionBegin;
  if (!n || !np) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallCXX(z.resize(n));
  PetscCallCXX(k.resize(M * n));
  PetscCallCXX(d.resize(np * M * n));
  PetscCallCXX(s.resize(M * n));
  const bool uniform = IsUniform(n, x);
  for (size_t j = 0; j < (uniform ? 1 : n); j++) {
    /* s[m][i]: total weight of k^(m)(z_i) in the objective; the entry above the diagonal is +- the one below */
    const size_t c = n - j;
    const double h = n > 1 ? (x[n - 1] - x[0]) / static_cast<double>(n - 1) : 0.0;
    std::fill(s.begin(), s.end(), 0.0);
    for (size_t i = 0; i < c; i++) z[i] = uniform ? static_cast<double>(i) * h : x[j + i] - x[j];
    for (size_t m = 0; m < M; m++) {
      if (!G[m]) continue;
      const double sign = m % 2 ? -1.0 : 1.0;
      if (uniform) {
        for (size_t b = 0; b < n; b++) {
          for (size_t a = 0; a < b; a++) s[m * c + (b - a)] += sign * G[m][a + b * n];
          for (size_t a = b; a < n; a++) s[m * c + (a - b)] += G[m][a + b * n];
        }
      } else {
        s[m * c] = G[m][j + j * n];
        for (size_t i = 1; i < c; i++) s[m * c + i] = G[m][(j + i) + j * n] + sign * G[m][j + (j + i) * n];
      }
    }
    PetscCall(kernel.EvalGrad(c, z.data(), order, k.data(), d.data(), false));
    for (size_t p = 0; p < np; p++) {
      double t = 0;
      for (size_t i = 0; i < M * c; i++) t += s[i] * d[p * M * c + i];
      g[p] += t;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace gp
} // namespace skean

/*@C
   SkeanGPKernelRegister - Makes a covariance function of the user's own known by a name, for use in kernel texts such as "mine+se*periodic"

   Not Collective

   Input Parameters:
+  name     - letters, digits and underscores; not one of the built-in names
.  fn       - evaluates k, its derivatives and their gradients, see `SkeanGPKernelFn`
.  np       - number of hyper-parameters
.  theta    - their initial values in the coordinates of the optimiser (array of length np), or NULL if np is 0
.  maxorder - highest derivative in z that fn gives, 0 to 4
-  ctx      - passed to fn, or NULL

   Level: advanced

   Notes:
   Must be called with the same arguments on every process. Registering a name again replaces it for kernels parsed afterwards;
   kernels already parsed keep the old function. fn must be even in z to give a covariance; derivatives of odd order at z = 0 should be 0.

   Errors: `PETSC_ERR_ARG_WRONG` for a name that is empty, built in or holds other characters, `PETSC_ERR_ARG_OUTOFRANGE` for np < 0 or maxorder outside 0 to 4.

.seealso: `SkeanGPKernelFn`, `SkeanGPPDESetKernel()`
@*/
PetscErrorCode SkeanGPKernelRegister(const char name[], SkeanGPKernelFn fn, PetscInt np, const PetscReal theta[], PetscInt maxorder, void *ctx)
{
  PetscFunctionBegin;
  PetscCheck(name && name[0] && fn && (theta || !np), PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "Name, function and initial hyper-parameters must be given");
  PetscCheck(np >= 0, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Number of hyper-parameters %" PetscInt_FMT " must be non-negative", np);
  PetscCheck(maxorder >= 0 && maxorder <= skean::gp::KERNEL_MAX_ORDER, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE,
             "Highest derivative %" PetscInt_FMT " must be 0 to %d", maxorder, skean::gp::KERNEL_MAX_ORDER);
  for (const char *c = name; *c; c++)
    PetscCheck(std::isalnum(static_cast<unsigned char>(*c)) || *c == '_', PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG,
               "Name of a kernel \"%s\": letters, digits and underscores only", name);
  PetscCallCXX({
    static const char *const builtin[] = {"se",        "matern12",  "matern32",  "matern52", "matern72", "periodic", "chordal12",
                                          "chordal32", "chordal52", "chordal72", "rq",       "const",    "white"};
    const bool               taken =
      skean::gp::IsMixtureName(name) || std::any_of(std::begin(builtin), std::end(builtin), [&](const char *b) { return !std::strcmp(b, name); });
    PetscCheck(!taken, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "\"%s\" is the name of a built-in kernel", name);
    skean::gp::UserKernels()[name] = {name, fn, std::vector<double>(theta, theta + np), static_cast<int>(maxorder), ctx};
  });
  PetscFunctionReturn(PETSC_SUCCESS);
}
