static char help[] = "Optimal transport: moves one cloud of points to another that is its translate, where the answer is known.\n\
  -n <points>   in each cloud (500)\n\
Try: -transport_monitor -transport_view -transport_type sinkhorn -transport_epsilon 1e-2\n\n";

#include <skean.h>

/* Point i of a low-discrepancy sequence in the unit square */
static void Point(PetscInt i, PetscReal x[2])
{
  const PetscReal a = 0.7548776662466927 * (PetscReal)(i + 1), b = 0.5698402909980532 * (PetscReal)(i + 1);

  x[0] = a - PetscFloorReal(a);
  x[1] = b - PetscFloorReal(b);
}

int main(int argc, char **argv)
{
  const PetscReal      shift[2] = {0.5, -0.25}, exact = shift[0] * shift[0] + shift[1] * shift[1];
  PetscInt             n = 500, rstart, rend, passes;
  PetscReal            x[2], error, lower, upper;
  Mat                  X, Y;
  Vec                  r, c;
  SkeanTransport       transport;
  SkeanConvergedReason reason;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, help));
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-n", &n, NULL));
  PetscCall(MatCreateDense(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, n, 2, NULL, &X));
  PetscCall(MatCreateDense(PETSC_COMM_WORLD, PETSC_DECIDE, PETSC_DECIDE, n, 2, NULL, &Y));
  PetscCall(MatGetOwnershipRange(X, &rstart, &rend));
  for (PetscInt i = rstart; i < rend; i++) {
    Point(i, x);
    for (PetscInt k = 0; k < 2; k++) {
      PetscCall(MatSetValue(X, i, k, x[k], INSERT_VALUES));
      PetscCall(MatSetValue(Y, i, k, x[k] + shift[k], INSERT_VALUES));
    }
  }
  PetscCall(MatAssemblyBegin(X, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(X, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyBegin(Y, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(Y, MAT_FINAL_ASSEMBLY));
  PetscCall(MatCreateVecs(X, NULL, &r));
  PetscCall(MatCreateVecs(Y, NULL, &c));
  PetscCall(VecSet(r, 1.0 / (PetscReal)n));
  PetscCall(VecSet(c, 1.0 / (PetscReal)n));

  PetscCall(SkeanTransportCreate(PETSC_COMM_WORLD, &transport));
  PetscCall(SkeanTransportSetMarginals(transport, r, c));
  PetscCall(SkeanTransportSetPoints(transport, X, Y)); /* squared Euclidean distance is the default cost */
  PetscCall(SkeanTransportSetEpsilon(transport, 1e-4, SKEAN_TRANSPORT_EPS_MAX));
  PetscCall(SkeanTransportSetFromOptions(transport));
  PetscCall(SkeanTransportSolve(transport));

  PetscCall(SkeanTransportGetConvergedReason(transport, &reason));
  PetscCall(SkeanTransportGetMarginalError(transport, &error));
  PetscCall(SkeanTransportGetPasses(transport, &passes));
  PetscCall(SkeanTransportGetCertificate(transport, &lower, &upper));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s: marginal error %.0e; the cost lies in [%.6f, %.6f], exact %.6f\n", SkeanConvergedReasons[reason], (double)error,
                        (double)lower, (double)upper, (double)exact));
  PetscCheck(lower <= exact * (1.0 + 1e-12) && exact <= upper * (1.0 + 1e-12), PETSC_COMM_WORLD, PETSC_ERR_PLIB, "The certificate does not hold");

  PetscCall(SkeanTransportDestroy(&transport));
  PetscCall(MatDestroy(&X));
  PetscCall(MatDestroy(&Y));
  PetscCall(VecDestroy(&r));
  PetscCall(VecDestroy(&c));
  PetscCall(SkeanFinalize());
  return reason > 0 ? 0 : 1;
}
