/* Registration of the class, its types and its events */
#include <skean/private/transportimpl.h>
#include <type_traits>

static_assert(std::is_standard_layout<_p_SkeanTransport>::value, "a PetscObject");

PetscClassId      SKEAN_TRANSPORT_CLASSID = 0;
PetscLogEvent     SKEAN_Transport_Solve, SKEAN_Transport_Pass, SKEAN_Transport_Newton, SKEAN_Transport_Certificate, SKEAN_Transport_Coarse;
PetscFunctionList SkeanTransportList              = NULL;
static PetscBool  SkeanTransportPackageRegistered = PETSC_FALSE;

/* name and creation function of every type */
#define SKEAN_TRANSPORT_TYPES(X)                           \
  X(SKEANTRANSPORTSINKHORN, SkeanTransportCreate_Sinkhorn) \
  X(SKEANTRANSPORTSNS, SkeanTransportCreate_SNS)           \
  X(SKEANTRANSPORTSSNS, SkeanTransportCreate_SSNS)
#define DECLARE(name, create) SKEAN_INTERN PetscErrorCode create(SkeanTransport);
SKEAN_TRANSPORT_TYPES(DECLARE)
#undef DECLARE

static PetscErrorCode SkeanTransportFinalizePackage_Private(void)
{
  PetscFunctionBegin;
  PetscCall(PetscFunctionListDestroy(&SkeanTransportList));
  SkeanTransportPackageRegistered = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode SkeanTransportInitializePackage_Private(void)
{
  PetscFunctionBegin;
  if (SkeanTransportPackageRegistered) PetscFunctionReturn(PETSC_SUCCESS);
  SkeanTransportPackageRegistered = PETSC_TRUE;
  PetscCall(PetscClassIdRegister("Skean Transport", &SKEAN_TRANSPORT_CLASSID));
  PetscCall(PetscLogEventRegister("SkeanOTSolve", SKEAN_TRANSPORT_CLASSID, &SKEAN_Transport_Solve));
  PetscCall(PetscLogEventRegister("SkeanOTPass", SKEAN_TRANSPORT_CLASSID, &SKEAN_Transport_Pass));
  PetscCall(PetscLogEventRegister("SkeanOTNewton", SKEAN_TRANSPORT_CLASSID, &SKEAN_Transport_Newton));
  PetscCall(PetscLogEventRegister("SkeanOTCoarse", SKEAN_TRANSPORT_CLASSID, &SKEAN_Transport_Coarse));
  PetscCall(PetscLogEventRegister("SkeanOTCertif", SKEAN_TRANSPORT_CLASSID, &SKEAN_Transport_Certificate));
#define ENTER(name, create) PetscCall(PetscFunctionListAdd(&SkeanTransportList, name, create));
  SKEAN_TRANSPORT_TYPES(ENTER)
#undef ENTER
  PetscCall(PetscRegisterFinalize(SkeanTransportFinalizePackage_Private));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanTransportRegister - Adds a type of `SkeanTransport`

   Not Collective

   Input Parameters:
+  name   - name of the type, for `SkeanTransportSetType()` and -transport_type
-  create - its creation function

   Level: developer

.seealso: `SkeanTransportSetType()`, `SkeanTransportType`
@*/
PetscErrorCode SkeanTransportRegister(const char name[], PetscErrorCode (*create)(SkeanTransport))
{
  PetscFunctionBegin;
  PetscCall(SkeanInitializePackage());
  PetscCall(PetscFunctionListAdd(&SkeanTransportList, name, create));
  PetscFunctionReturn(PETSC_SUCCESS);
}
