/* One-dimensional covariance functions of the user's own, for SkeanGP and SkeanGPPDE */
#pragma once

#include <skeansys.h>

/*S
   SkeanGPKernelFn - A stationary covariance function k(z), z = x - x', of the user's own

   Synopsis:
   PetscErrorCode fn(PetscInt n, const PetscReal z[], PetscInt order, PetscInt np, const PetscReal theta[], PetscReal k[], PetscReal g[], void *ctx)

   Input Parameters:
+  n     - number of points
.  z     - differences x - x'
.  order - highest derivative wanted, 0 to the `maxorder` the kernel was registered with
.  np    - number of hyper-parameters
.  theta - hyper-parameters in the coordinates of the optimiser (logarithms, if registered so)
-  ctx   - the context of the registration

   Output Parameters:
+  k - the m-th derivative of k at z[i] in k[m*n + i], m = 0 ... order
-  g - NULL, or the derivatives of k[m*n + i] with respect to theta[p] in g[(p*(order+1) + m)*n + i]

   Level: advanced

.seealso: `SkeanGPKernelRegister()`
S*/
typedef PetscErrorCode (*SkeanGPKernelFn)(PetscInt n, const PetscReal z[], PetscInt order, PetscInt np, const PetscReal theta[], PetscReal k[], PetscReal g[],
                                          void *ctx);

SKEAN_EXTERN PetscErrorCode SkeanGPKernelRegister(const char name[], SkeanGPKernelFn fn, PetscInt np, const PetscReal theta[], PetscInt maxorder, void *ctx);
