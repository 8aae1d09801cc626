#include "nodes.hpp"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace skean {
namespace gp {

namespace {

constexpr double TWOPI = 6.283185307179586476925286766559;

/* With as few digits as give v back */
std::string Number(double v)
{
  char s[32];
  for (int digits = 1; digits <= 17; digits++) {
    std::snprintf(s, sizeof(s), "%.*g", digits, v);
    if (std::strtod(s, nullptr) == v) break;
  }
  return s;
}

/* exp(t) with as few digits as give t back to rounding: exp(log(3)) is not 3 */
std::string NumberOfLog(double t)
{
  char s[32];
  for (int digits = 1; digits <= 17; digits++) {
    std::snprintf(s, sizeof(s), "%.*g", digits, std::exp(t));
    if (std::fabs(std::log(std::strtod(s, nullptr)) - t) <= 2.3e-16 * (1 + std::fabs(t))) break;
  }
  return s;
}

/* h = F(u(z)) from the derivatives of F at u and those of u (Faa di Bruno to order 4) */
Jet Compose(const Jet &F, const Jet &u) noexcept
{
  return {F[0], F[1] * u[1], F[2] * u[1] * u[1] + F[1] * u[2], F[3] * u[1] * u[1] * u[1] + 3 * F[2] * u[1] * u[2] + F[1] * u[3],
          F[4] * u[1] * u[1] * u[1] * u[1] + 6 * F[3] * u[1] * u[1] * u[2] + F[2] * (3 * u[2] * u[2] + 4 * u[1] * u[3]) + F[1] * u[4]};
}

Jet Multiply(const Jet &a, const Jet &b) noexcept
{
  return {a[0] * b[0], a[1] * b[0] + a[0] * b[1], a[2] * b[0] + 2 * a[1] * b[1] + a[0] * b[2], a[3] * b[0] + 3 * (a[2] * b[1] + a[1] * b[2]) + a[0] * b[3],
          a[4] * b[0] + 4 * (a[3] * b[1] + a[1] * b[3]) + 6 * a[2] * b[2] + a[0] * b[4]};
}

/* k(z) = f(z/s): dk^(m)/dlog s = -(m k^(m) + z k^(m+1)), so a gradient of order 3 needs k^(4) */
void ScaleGradient(double z, const Jet &k, double *g) noexcept
{
  for (int m = 0; m < KERNEL_MAX_ORDER; m++) g[m] = -(m * k[m] + z * k[m + 1]);
}

Jet SquaredExponential(double z, double ell) noexcept
{
  const double i2 = 1.0 / (ell * ell), e = std::exp(-0.5 * z * z * i2);
  return Compose({e, e, e, e, e}, {0, -z * i2, -i2, 0, 0});
}

/*
   Matern nu = 1/2 ... 7/2: p(r) exp(-r), r = a|z|, a = sqrt(2 nu)/ell; a derivative replaces p by p' - p. The coefficients below are
   15 p, 15 (p' - p), ...: integers, so that the values at 0 carry no rounding.
*/
struct MaternTable {
  double c[4][KERNEL_MAX_ORDER + 1][4];
  MaternTable()
  {
    const double p0[4][4] = {{15, 0, 0, 0}, {15, 15, 0, 0}, {15, 15, 5, 0}, {15, 15, 6, 1}};
    for (int t = 0; t < 4; t++) {
      for (int i = 0; i < 4; i++) c[t][0][i] = p0[t][i];
      for (int m = 1; m <= KERNEL_MAX_ORDER; m++)
        for (int i = 0; i < 4; i++) c[t][m][i] = (i < 3 ? (i + 1) * c[t][m - 1][i + 1] : 0.0) - c[t][m - 1][i];
    }
  }
};

Jet Matern(double z, double ell, int nu2) noexcept
{
  static const MaternTable table;
  const int                t = (nu2 - 1) / 2;
  const double             a = std::sqrt(static_cast<double>(nu2)) / ell, r = a * std::fabs(z), sign = z > 0 ? 1.0 : (z < 0 ? -1.0 : 0.0);
  double                   s = std::exp(-r) / 15.0;
  Jet                      k;
  for (int m = 0; m <= KERNEL_MAX_ORDER; m++, s *= a) {
    const double *c = table.c[t][m];
    k[m]            = (m % 2 ? sign : 1.0) * s * (c[0] + r * (c[1] + r * (c[2] + r * c[3])));
  }
  return k;
}

Jet Envelope(double z, double ell, int nu2) noexcept
{
  return nu2 ? Matern(z, ell, nu2) : SquaredExponential(z, ell);
}

/* Kernels that are given point by point */
class Leaf : public KernelNode {
public:
  Leaf(const std::string &nm, const std::vector<std::string> &pn, const std::vector<double> &natural) : name(nm), names(pn)
  {
    for (double v : natural) theta.push_back(std::log(v));
  }
  std::string Text() const override
  {
    std::string s = name;
    for (size_t i = 0; i < NumParams(); i++) s += (i ? "," : "(") + (ParamIsLog(i) ? NumberOfLog(theta[i]) : Number(theta[i]));
    return NumParams() ? s + ")" : s;
  }
  size_t      NumParams() const noexcept override { return theta.size(); }
  std::string ParamName(size_t i) const override { return names[i]; }
  bool        ParamIsLog(size_t) const override { return true; }
  void        GetParams(double *t) const override { std::copy(theta.begin(), theta.end(), t); }
  void        SetParams(const double *t) override
  {
    std::copy(t, t + theta.size(), theta.begin());
    Refresh();
  }
  PetscErrorCode Eval(size_t n, const double *z, int order, double *k, double *g, bool cross) const override
  {
    const size_t        np = NumParams();
    std::vector<double> gp(np * KERNEL_MAX_ORDER);
    for (size_t i = 0; i < n; i++) {
      Jet j;
      Point(z[i], cross, j, g ? gp.data() : nullptr);
      for (int m = 0; m <= order; m++) k[m * n + i] = j[m];
      if (g)
        for (size_t p = 0; p < np; p++)
          for (int m = 0; m <= order; m++) g[(p * (order + 1) + m) * n + i] = gp[p * KERNEL_MAX_ORDER + m];
    }
    return PETSC_SUCCESS;
  }

protected:
  /* g[p*KERNEL_MAX_ORDER + m], or NULL */
  virtual void Point(double z, bool cross, Jet &k, double *g) const noexcept = 0;
  virtual void Refresh() {} /* after theta changed */

  std::string              name;
  std::vector<std::string> names;
  std::vector<double>      theta;
};

class SELeaf : public Leaf {
public:
  explicit SELeaf(double ell) : Leaf("se", {"ell"}, {ell}) {}
  std::unique_ptr<KernelNode> Clone() const override { return std::make_unique<SELeaf>(*this); }
  int                         Smoothness() const noexcept override { return 1000; }

private:
  void Point(double z, bool, Jet &k, double *g) const noexcept override
  {
    k = SquaredExponential(z, std::exp(theta[0]));
    if (g) ScaleGradient(z, k, g);
  }
};

class MaternLeaf : public Leaf {
public:
  MaternLeaf(int nu2v, double ell) : Leaf("matern" + std::to_string(nu2v) + "2", {"ell"}, {ell}), nu2(nu2v) {}
  std::unique_ptr<KernelNode> Clone() const override { return std::make_unique<MaternLeaf>(*this); }
  int                         Smoothness() const noexcept override { return nu2 - 1; }

private:
  void Point(double z, bool, Jet &k, double *g) const noexcept override
  {
    k = Matern(z, std::exp(theta[0]), nu2);
    if (g) ScaleGradient(z, k, g);
  }
  int nu2;
};

class PeriodicLeaf : public Leaf {
public:
  PeriodicLeaf(double ell, double period) : Leaf("periodic", {"ell", "period"}, {ell, period}) {}
  std::unique_ptr<KernelNode> Clone() const override { return std::make_unique<PeriodicLeaf>(*this); }
  int                         Smoothness() const noexcept override { return 1000; }

private:
  void Point(double z, bool, Jet &k, double *g) const noexcept override
  {
    /* exp(u), u = -2 sin^2(pi z/p)/ell^2 = (cos(2 pi z/p) - 1)/ell^2; the value through sin, without cancellation */
    const double i2 = std::exp(-2 * theta[0]), w = TWOPI * std::exp(-theta[1]), s = std::sin(0.5 * w * z), S = i2 * std::sin(w * z), C = i2 * std::cos(w * z);
    const double e = std::exp(-2 * i2 * s * s);
    const Jet    u = {-2 * i2 * s * s, -w * S, -w * w * C, w * w * w * S, w * w * w * w * C};
    k              = Compose({e, e, e, e, e}, u);
    if (g) {
      const Jet d = Multiply(k, {-2 * u[0], -2 * u[1], -2 * u[2], -2 * u[3], -2 * u[4]});
      for (int m = 0; m < KERNEL_MAX_ORDER; m++) g[m] = d[m];
      ScaleGradient(z, k, g + KERNEL_MAX_ORDER);
    }
  }
};

/* Matern of the chord s = sin(w z)/w, w = pi/period: positive definite on the circle because it is so in the plane */
class ChordalLeaf : public Leaf {
public:
  ChordalLeaf(int nu2v, double ell, double period) : Leaf("chordal" + std::to_string(nu2v) + "2", {"ell", "period"}, {ell, period}), nu2(nu2v) {}
  std::unique_ptr<KernelNode> Clone() const override { return std::make_unique<ChordalLeaf>(*this); }
  int                         Smoothness() const noexcept override { return nu2 - 1; }

private:
  void Point(double z, bool, Jet &k, double *g) const noexcept override
  {
    const double w = 0.5 * TWOPI * std::exp(-theta[1]), S = std::sin(w * z), C = std::cos(w * z);
    const Jet    s = {S / w, C, -w * S, -w * w * C, w * w * w * S}, M = Matern(s[0], std::exp(theta[0]), nu2);
    k = Compose(M, s);
    if (g) {
      Jet h = {};
      ScaleGradient(s[0], M, h.data());
      const Jet d = Compose(h, s);
      /* z, ell and period scaled together leave k as it is */
      ScaleGradient(z, k, g + KERNEL_MAX_ORDER);
      for (int m = 0; m < KERNEL_MAX_ORDER; m++) {
        g[m] = d[m];
        g[KERNEL_MAX_ORDER + m] -= d[m];
      }
    }
  }
  int nu2;
};

class RQLeaf : public Leaf {
public:
  RQLeaf(double ell, double alpha) : Leaf("rq", {"ell", "alpha"}, {ell, alpha}) {}
  std::unique_ptr<KernelNode> Clone() const override { return std::make_unique<RQLeaf>(*this); }
  int                         Smoothness() const noexcept override { return 1000; }

private:
  void Point(double z, bool, Jet &k, double *g) const noexcept override
  {
    const double al = std::exp(theta[1]), c = std::exp(-2 * theta[0]) / al;
    const Jet    u = {0.5 * c * z * z, c * z, c, 0, 0};
    const double b = 1.0 / (1.0 + u[0]), L = std::log1p(u[0]);
    Jet          F;
    F[0] = std::exp(-al * L);
    for (int m = 1; m <= KERNEL_MAX_ORDER; m++) F[m] = -(al + m - 1) * b * F[m - 1];
    k = Compose(F, u);
    if (g) {
      ScaleGradient(z, k, g);
      /* dk/dlog alpha = k alpha (u/(1+u) - log(1+u)); h(u) = 1 - 1/(1+u) - log(1+u) */
      const double h0 = u[0] < 1e-3 ? u[0] * u[0] * (-0.5 + u[0] * (2.0 / 3 - u[0] * (0.75 - 0.8 * u[0]))) : u[0] * b - L;
      const Jet    H  = Compose({al * h0, al * (b * b - b), al * (-2 * b * b * b + b * b), al * (6 * b * b * b * b - 2 * b * b * b),
                                 al * (-24 * b * b * b * b * b + 6 * b * b * b * b)},
                                u);
      const Jet    d  = Multiply(k, H);
      for (int m = 0; m < KERNEL_MAX_ORDER; m++) g[KERNEL_MAX_ORDER + m] = d[m];
    }
  }
};

class ConstLeaf : public Leaf {
public:
  explicit ConstLeaf(double c) : Leaf("const", {"c"}, {c}) {}
  std::unique_ptr<KernelNode> Clone() const override { return std::make_unique<ConstLeaf>(*this); }
  int                         Smoothness() const noexcept override { return 1000; }

private:
  void Point(double, bool, Jet &k, double *g) const noexcept override
  {
    k = {std::exp(theta[0]), 0, 0, 0, 0};
    if (g) std::copy_n(k.begin(), KERNEL_MAX_ORDER, g);
  }
};

class WhiteLeaf : public Leaf {
public:
  explicit WhiteLeaf(double c) : Leaf("white", {"c"}, {c}) {}
  std::unique_ptr<KernelNode> Clone() const override { return std::make_unique<WhiteLeaf>(*this); }
  /* the noise belongs to the observations, not to the function that is differentiated: its derivatives are 0 */
  int Smoothness() const noexcept override { return 1000; }

private:
  void Point(double z, bool cross, Jet &k, double *g) const noexcept override
  {
    k = {!cross && z == 0.0 ? std::exp(theta[0]) : 0.0, 0, 0, 0, 0};
    if (g) std::copy_n(k.begin(), KERNEL_MAX_ORDER, g);
  }
};

/* sum_q w_q G(z; ell_q) cos(2 pi freq_q z); theta = log w, log ell, freq of each component */
class MixtureLeaf : public Leaf {
public:
  MixtureLeaf(int nu2v, size_t Q, const double *w, const double *ell, const double *freq)
      : Leaf(nu2v == 0 ? "sm" : "smt" + std::to_string(nu2v) + "2", {}, {}), nu2(nu2v)
  {
    name += ":" + std::to_string(Q);
    for (size_t q = 0; q < Q; q++) {
      const std::string c = "q" + std::to_string(q + 1);
      for (const char *p : {".w", ".ell", ".freq"}) names.push_back(c + p);
      theta.insert(theta.end(), {std::log(w[q]), std::log(ell[q]), freq[q]});
    }
  }
  std::unique_ptr<KernelNode> Clone() const override { return std::make_unique<MixtureLeaf>(*this); }
  int                         Smoothness() const noexcept override { return nu2 ? nu2 - 1 : 1000; }
  bool                        ParamIsLog(size_t i) const override { return i % 3 != 2; }

private:
  void Point(double z, bool, Jet &k, double *g) const noexcept override
  {
    k = {0, 0, 0, 0, 0};
    for (size_t q = 0; 3 * q < theta.size(); q++) {
      const double w = std::exp(theta[3 * q]), f = TWOPI * theta[3 * q + 2], C = std::cos(f * z), S = std::sin(f * z);
      const Jet    G = Envelope(z, std::exp(theta[3 * q + 1]), nu2), T = {w * C, -f * w * S, -f * f * w * C, f * f * f * w * S, f * f * f * f * w * C};
      const Jet    c = Multiply(G, T);
      for (size_t m = 0; m < c.size(); m++) k[m] += c[m];
      if (!g) continue;
      double *gq = g + 3 * q * KERNEL_MAX_ORDER, ge[KERNEL_MAX_ORDER];
      ScaleGradient(z, G, ge);
      const Jet dG = Multiply({ge[0], ge[1], ge[2], ge[3], 0}, T);
      /* d/dfreq of w cos(f z) = -2 pi z w sin(f z), and its derivatives in z */
      const double A  = w * TWOPI;
      const Jet    dT = {-A * z * S, -A * (S + z * f * C), -A * (2 * f * C - z * f * f * S), A * (3 * f * f * S + z * f * f * f * C), 0};
      const Jet    dF = Multiply(G, dT);
      for (int m = 0; m < KERNEL_MAX_ORDER; m++) {
        gq[m]                        = c[m];
        gq[KERNEL_MAX_ORDER + m]     = dG[m];
        gq[2 * KERNEL_MAX_ORDER + m] = dF[m];
      }
    }
  }
  int nu2;
};

class UserLeaf : public KernelNode {
public:
  UserLeaf(const UserKernel *u, const std::vector<double> &t) : user(*u), theta(t) {}
  std::unique_ptr<KernelNode> Clone() const override { return std::make_unique<UserLeaf>(*this); }
  std::string                 Text() const override
  {
    std::string s = user.name;
    for (size_t i = 0; i < theta.size(); i++) s += (i ? "," : "(") + Number(theta[i]);
    return theta.empty() ? s : s + ")";
  }
  int            Smoothness() const noexcept override { return user.maxorder; }
  int            MaxOrder() const noexcept override { return user.maxorder; }
  size_t         NumParams() const noexcept override { return theta.size(); }
  std::string    ParamName(size_t i) const override { return "theta" + std::to_string(i + 1); }
  bool           ParamIsLog(size_t) const override { return false; }
  void           GetParams(double *t) const override { std::copy(theta.begin(), theta.end(), t); }
  void           SetParams(const double *t) override { std::copy(t, t + theta.size(), theta.begin()); }
  PetscErrorCode Eval(size_t n, const double *z, int order, double *k, double *g, bool) const override
  {
    PetscFunctionBegin;
    PetscCall(user.fn(static_cast<PetscInt>(n), z, order, static_cast<PetscInt>(theta.size()), theta.data(), k, g, user.ctx));
    PetscFunctionReturn(PETSC_SUCCESS);
  }

private:
  UserKernel          user;
  std::vector<double> theta;
};

/* Terms or factors, their parameters one after the other */
class Composite : public KernelNode {
public:
  explicit Composite(std::vector<std::unique_ptr<KernelNode>> p) : part(std::move(p)) {}
  Composite(const Composite &o) : KernelNode(o)
  {
    for (const auto &p : o.part) part.push_back(p->Clone());
  }
  int Smoothness() const noexcept override
  {
    int s = 1000;
    for (const auto &p : part) s = std::min(s, p->Smoothness());
    return s;
  }
  int MaxOrder() const noexcept override
  {
    int s = KERNEL_MAX_ORDER;
    for (const auto &p : part) s = std::min(s, p->MaxOrder());
    return s;
  }

protected:
  /* which part holds parameter i of the concatenation, and its number there */
  size_t Find(size_t &i, size_t extra) const
  {
    size_t p = 0;
    while (i >= part[p]->NumParams() + extra) i -= part[p++]->NumParams() + extra;
    return p;
  }
  std::vector<std::unique_ptr<KernelNode>> part;
};

class SumNode : public Composite {
public:
  SumNode(std::vector<std::unique_ptr<KernelNode>> p, const std::vector<double> &lw) : Composite(std::move(p)), logw(lw) {}
  std::unique_ptr<KernelNode> Clone() const override { return std::make_unique<SumNode>(*this); }
  std::string                 Text() const override
  {
    std::string s;
    for (size_t p = 0; p < part.size(); p++) s += (p ? "+" : "") + NumberOfLog(logw[p]) + "*" + part[p]->Text();
    return s;
  }
  size_t NumParams() const noexcept override
  {
    size_t n = part.size();
    for (const auto &p : part) n += p->NumParams();
    return n;
  }
  std::string ParamName(size_t i) const override
  {
    const size_t p = Find(i, 1);
    return std::to_string(p + 1) + "." + (i ? part[p]->ParamName(i - 1) : "w");
  }
  bool ParamIsLog(size_t i) const override
  {
    const size_t p = Find(i, 1);
    return i ? part[p]->ParamIsLog(i - 1) : true;
  }
  void GetParams(double *t) const override
  {
    for (size_t p = 0; p < part.size(); t += part[p++]->NumParams()) {
      *t++ = logw[p];
      part[p]->GetParams(t);
    }
  }
  void SetParams(const double *t) override
  {
    for (size_t p = 0; p < part.size(); t += part[p++]->NumParams()) {
      logw[p] = *t++;
      part[p]->SetParams(t);
    }
  }
  PetscErrorCode Eval(size_t n, const double *z, int order, double *k, double *g, bool cross) const override
  {
    const size_t        block = (order + 1) * n;
    std::vector<double> kp;

    PetscFunctionBegin;
    PetscCallCXX(kp.resize(block));
    std::fill(k, k + block, 0.0);
    for (size_t p = 0; p < part.size(); p++) {
      const double w = std::exp(logw[p]);
      PetscCall(part[p]->Eval(n, z, order, kp.data(), g ? g + block : nullptr, cross));
      for (size_t i = 0; i < block; i++) k[i] += w * kp[i];
      if (!g) continue;
      for (size_t i = 0; i < block; i++) g[i] = w * kp[i];
      for (size_t i = 0; i < block * part[p]->NumParams(); i++) g[block + i] *= w;
      g += block * (1 + part[p]->NumParams());
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }

private:
  std::vector<double> logw;
};

class ProductNode : public Composite {
public:
  explicit ProductNode(std::vector<std::unique_ptr<KernelNode>> p) : Composite(std::move(p)) {}
  std::unique_ptr<KernelNode> Clone() const override { return std::make_unique<ProductNode>(*this); }
  std::string                 Text() const override
  {
    std::string s;
    for (size_t p = 0; p < part.size(); p++) {
      const bool sum = dynamic_cast<const SumNode *>(part[p].get()) != nullptr;
      s += (p ? "*" : "") + std::string(sum ? "(" : "") + part[p]->Text() + (sum ? ")" : "");
    }
    return s;
  }
  size_t NumParams() const noexcept override
  {
    size_t n = 0;
    for (const auto &p : part) n += p->NumParams();
    return n;
  }
  std::string ParamName(size_t i) const override
  {
    const size_t p = Find(i, 0);
    return std::to_string(p + 1) + "." + part[p]->ParamName(i);
  }
  bool ParamIsLog(size_t i) const override
  {
    const size_t p = Find(i, 0);
    return part[p]->ParamIsLog(i);
  }
  void GetParams(double *t) const override
  {
    for (const auto &p : part) {
      p->GetParams(t);
      t += p->NumParams();
    }
  }
  void SetParams(const double *t) override
  {
    for (const auto &p : part) {
      p->SetParams(t);
      t += p->NumParams();
    }
  }
  PetscErrorCode Eval(size_t n, const double *z, int order, double *k, double *g, bool cross) const override
  {
    const size_t                     block = (order + 1) * n, P = part.size();
    std::vector<std::vector<double>> kp(P);
    std::vector<double>              other, gp;

    PetscFunctionBegin;
    for (size_t p = 0; p < P; p++) {
      PetscCallCXX(kp[p].resize(block));
      PetscCall(part[p]->Eval(n, z, order, kp[p].data(), nullptr, cross));
    }
    std::copy(kp[0].begin(), kp[0].end(), k);
    for (size_t p = 1; p < P; p++) Leibniz(n, order, k, kp[p].data());
    if (!g) PetscFunctionReturn(PETSC_SUCCESS);
    for (size_t p = 0; p < P; p++) {
      const size_t np = part[p]->NumParams();
      /* the product of the other factors, multiplied into each parameter's block */
      PetscCallCXX(other.assign(block, 0.0));
      std::fill(other.begin(), other.begin() + n, 1.0);
      for (size_t q = 0; q < P; q++)
        if (q != p) Leibniz(n, order, other.data(), kp[q].data());
      PetscCall(part[p]->Eval(n, z, order, kp[p].data(), g, cross));
      for (size_t j = 0; j < np; j++) Leibniz(n, order, g + j * block, other.data());
      g += np * block;
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }

private:
  /* a <- a b, derivatives 0 ... order */
  static void Leibniz(size_t n, int order, double *a, const double *b) noexcept
  {
    static const double binomial[5][5] = {{1, 0, 0, 0, 0}, {1, 1, 0, 0, 0}, {1, 2, 1, 0, 0}, {1, 3, 3, 1, 0}, {1, 4, 6, 4, 1}};
    for (size_t i = 0; i < n; i++)
      for (int m = order; m >= 0; m--) { /* from the top, so that a's lower orders are still its own */
        double s = 0;
        for (int l = 0; l <= m; l++) s += binomial[m][l] * a[l * n + i] * b[(m - l) * n + i];
        a[m * n + i] = s;
      }
  }
};

} // namespace

bool IsMixtureName(const std::string &name)
{
  return name == "sm" || name == "smt" ||
         (name.size() == 5 && name.compare(0, 3, "smt") == 0 && name[4] == '2' && std::string("1357").find(name[3]) != std::string::npos);
}

std::unique_ptr<KernelNode> MakeMixture(int nu2, size_t Q, const double *w, const double *ell, const double *freq)
{
  return std::make_unique<MixtureLeaf>(nu2, Q, w, ell, freq);
}

std::unique_ptr<KernelNode> MakeSum(std::vector<std::unique_ptr<KernelNode>> terms, const std::vector<double> &logw)
{
  return std::make_unique<SumNode>(std::move(terms), logw);
}

std::unique_ptr<KernelNode> MakeProduct(std::vector<std::unique_ptr<KernelNode>> factors)
{
  return std::make_unique<ProductNode>(std::move(factors));
}

std::unique_ptr<KernelNode> MakeLeaf(const std::string &name, bool hasQ, size_t Q, const std::vector<double> &values, std::string *problem)
{
  std::vector<double> v = values;
  /* counts and signs, said in the user's terms */
  auto need = [&](const std::vector<double> &defaults) {
    if (v.empty()) v = defaults;
    if (v.size() != defaults.size()) *problem = name + " takes " + std::to_string(defaults.size()) + " values, got " + std::to_string(v.size());
    for (double x : v)
      if (!(x > 0) || !std::isfinite(x)) *problem = name + ": values must be positive, got " + Number(x);
    return problem->empty();
  };

  if (IsMixtureName(name)) {
    const int nu2 = name == "sm" ? 0 : (name == "smt" ? 5 : name[3] - '0');
    if (!hasQ || Q < 1) {
      *problem = name + " needs its number of components, as in " + name + ":30";
      return nullptr;
    }
    std::vector<double> w(Q), ell(Q), freq(Q);
    if (v.empty()) {
      /* weights 1/Q, unit length scales, frequencies evenly from 0 to 20 (the initialisation of GP-HM) */
      for (size_t q = 0; q < Q; q++) w[q] = 1.0 / Q, ell[q] = 1.0, freq[q] = Q > 1 ? 20.0 * q / (Q - 1) : 0.0;
    } else if (v.size() != 3 * Q) {
      *problem =
        name + ":" + std::to_string(Q) + " takes " + std::to_string(3 * Q) + " values (w, ell, freq of each component), got " + std::to_string(v.size());
      return nullptr;
    } else {
      for (size_t q = 0; q < Q; q++) w[q] = v[3 * q], ell[q] = v[3 * q + 1], freq[q] = v[3 * q + 2];
    }
    for (size_t q = 0; q < Q; q++)
      if (!(w[q] > 0) || !(ell[q] > 0) || !std::isfinite(w[q]) || !std::isfinite(ell[q]) || !std::isfinite(freq[q])) {
        *problem = name + ": weights and length scales must be positive";
        return nullptr;
      }
    return MakeMixture(nu2, Q, w.data(), ell.data(), freq.data());
  }
  if (hasQ) {
    *problem = name + " has no number of components";
    return nullptr;
  }
  if (const UserKernel *u = FindUserKernel(name)) {
    if (v.empty()) v = u->theta;
    if (v.size() != u->theta.size()) {
      *problem = name + " takes " + std::to_string(u->theta.size()) + " values, got " + std::to_string(v.size());
      return nullptr;
    }
    return std::make_unique<UserLeaf>(u, v);
  }
  if (name == "se") return need({1}) ? std::make_unique<SELeaf>(v[0]) : nullptr;
  if (name == "periodic") return need({1, 1}) ? std::make_unique<PeriodicLeaf>(v[0], v[1]) : nullptr;
  if (name == "rq") return need({1, 1}) ? std::make_unique<RQLeaf>(v[0], v[1]) : nullptr;
  if (name == "const") return need({1}) ? std::make_unique<ConstLeaf>(v[0]) : nullptr;
  if (name == "white") return need({1}) ? std::make_unique<WhiteLeaf>(v[0]) : nullptr;
  for (int nu2 : {1, 3, 5, 7}) {
    if (name == "matern" + std::to_string(nu2) + "2") return need({1}) ? std::make_unique<MaternLeaf>(nu2, v[0]) : nullptr;
    if (name == "chordal" + std::to_string(nu2) + "2") return need({1, 1}) ? std::make_unique<ChordalLeaf>(nu2, v[0], v[1]) : nullptr;
  }
  *problem =
    "unknown kernel \"" + name + "\" (se matern12 matern32 matern52 matern72 periodic chordal12 chordal32 chordal52 chordal72 rq sm:Q smt:Q const white)";
  return nullptr;
}

} // namespace gp
} // namespace skean
