/* The expression tree behind Kernel1D: leaves with closed-form derivatives, sums and products by Leibniz' rule */
#pragma once

#include <skean/private/gpkernels.hpp>
#include <array>

namespace skean {
namespace gp {

/* value and derivatives in z, orders 0 ... 4 */
using Jet = std::array<double, KERNEL_MAX_ORDER + 1>;

class KernelNode {
public:
  virtual ~KernelNode()                                           = default;
  virtual std::unique_ptr<KernelNode> Clone() const               = 0;
  virtual std::string                 Text() const                = 0;
  virtual int                         Smoothness() const noexcept = 0;
  virtual int                         MaxOrder() const noexcept { return KERNEL_MAX_ORDER; }
  virtual size_t                      NumParams() const noexcept     = 0;
  virtual std::string                 ParamName(size_t i) const      = 0;
  virtual bool                        ParamIsLog(size_t i) const     = 0;
  virtual void                        GetParams(double *theta) const = 0;
  virtual void                        SetParams(const double *theta) = 0;
  /* layouts as Kernel1D::EvalGrad(); g may be NULL */
  virtual PetscErrorCode Eval(size_t n, const double *z, int order, double *k, double *g, bool cross) const = 0;
};

/* A registered kernel; NULL if the name is unknown */
struct UserKernel {
  std::string         name;
  SkeanGPKernelFn     fn;
  std::vector<double> theta;
  int                 maxorder;
  void               *ctx;
};
const UserKernel *FindUserKernel(const std::string &name);

/* values: natural units, empty for the defaults. Returns NULL for an unknown name. */
std::unique_ptr<KernelNode> MakeLeaf(const std::string &name, bool hasQ, size_t Q, const std::vector<double> &values, std::string *problem);
std::unique_ptr<KernelNode> MakeMixture(int nu2, size_t Q, const double *w, const double *ell, const double *freq);
std::unique_ptr<KernelNode> MakeSum(std::vector<std::unique_ptr<KernelNode>> terms, const std::vector<double> &logw);
std::unique_ptr<KernelNode> MakeProduct(std::vector<std::unique_ptr<KernelNode>> factors);
bool                        IsMixtureName(const std::string &name);

} // namespace gp
} // namespace skean
