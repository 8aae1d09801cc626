/* The inside of a SkeanGrid */
#pragma once

#include <skean/private/skeanimpl.h>
#include <skeanio.h>
#include <string>
#include <vector>

namespace skean {
namespace io {
struct GridData {
  std::vector<PetscInt> dims;
  struct Dim {
    std::string         name, units;
    std::vector<double> coordinates; /* empty: none; on every process */
  };
  std::vector<Dim> dim;
  std::string      units;
  Vec              values = nullptr;
  PetscInt         first = 0, local = 0; /* this process's slices of the first dimension */
};
} // namespace io
} // namespace skean

struct _SkeanGridOps {
  PetscErrorCode (*dummy)(SkeanGrid); /* PETSc wants a table of operations */
};
struct _p_SkeanGrid {
  PETSCHEADER(struct _SkeanGridOps);
  skean::io::GridData *data;
};
