/* SkeanGrid: functions on tensor grids, and how they are read */
#include "ioimpl.hpp"
#include "gridimpl.hpp"
#include <skean/private/gridload.hpp>
#include <skean/private/memory.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <sstream>

PetscClassId SKEAN_GRID_CLASSID = 0;

PetscErrorCode SkeanIOInitializePackage_Private(void)
{
  PetscFunctionBegin;
  PetscCall(PetscClassIdRegister("Skean Grid", &SKEAN_GRID_CLASSID));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Debian's PETSc is optimised: PetscValidHeaderSpecific() does nothing there */
#define SkeanGridCheck(g) \
  PetscCheck((g) && ((PetscObject)(g))->classid == SKEAN_GRID_CLASSID, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "Argument is not a SkeanGrid")

/*@
   SkeanGridCreate - Makes a grid with zero values

   Collective

   Input Parameters:
+  comm  - the communicator
.  ndims - number of dimensions, 1 to 32
-  dims  - points in each, the slowest first

   Output Parameter:
.  grid - the grid; the dimensions are called dim0, dim1, ... and have no coordinates

   Level: intermediate

   Notes:
   Memory: one number for each point, the slowest dimension distributed as `PETSC_DECIDE` does.

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` if a dimension is negative or the points need more than PETSc's indices.

.seealso: `SkeanGridLoadFile()`, `SkeanGridSetDim()`, `SkeanGridGetValues()`, `SkeanGridDestroy()`
@*/
PetscErrorCode SkeanGridCreate(MPI_Comm comm, PetscInt ndims, const PetscInt dims[], SkeanGrid *grid)
{
  SkeanGrid  g;
  PetscInt64 rest = 1, total;
  PetscInt   n0   = PETSC_DECIDE, N0;

  PetscFunctionBegin;
  PetscCheck(grid && dims, comm, PETSC_ERR_ARG_NULL, "Null pointer");
  PetscCheck(ndims >= 1 && ndims <= SKEAN_FILE_MAX_DIMS, comm, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " dimensions, must be 1 to %d", ndims,
             SKEAN_FILE_MAX_DIMS);
  PetscCall(SkeanInitializePackage());
  total = 1;
  for (PetscInt d = 0; d < ndims; ++d) {
    PetscCheck(dims[d] >= 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "Dimension %" PetscInt_FMT " has %" PetscInt_FMT " points", d, dims[d]);
    PetscCheck(skean::io::MulFits(total, dims[d], &total) && total <= PETSC_MAX_INT, comm, PETSC_ERR_ARG_OUTOFRANGE,
               "The grid has more points than PETSc's %d-bit indices can count", (int)(8 * sizeof(PetscInt)));
    if (d) rest *= dims[d];
  }
  PetscCall(PetscHeaderCreate(g, SKEAN_GRID_CLASSID, "SkeanGrid", "Function on a tensor grid", "Grid", comm, SkeanGridDestroy, SkeanGridView));
  PetscCallCXX(g->data = new skean::io::GridData());
  PetscCallCXX(g->data->dims.assign(dims, dims + ndims));
  PetscCallCXX(g->data->dim.resize((size_t)ndims));
  for (PetscInt d = 0; d < ndims; ++d) PetscCallCXX(g->data->dim[(size_t)d].name = "dim" + std::to_string(d));
  N0 = dims[0];
  PetscCall(PetscSplitOwnership(comm, &n0, &N0));
  PetscCall(VecCreateMPI(comm, n0 * (PetscInt)rest, (PetscInt)total, &g->data->values));
  PetscCall(PetscObjectSetName((PetscObject)g, "values"));
  PetscCallMPI(MPI_Exscan(&n0, &g->data->first, 1, MPIU_INT, MPI_SUM, comm));
  PetscMPIInt rank;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!rank) g->data->first = 0;
  g->data->local = n0;
  *grid          = g;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGridDestroy - Frees a grid when no one holds it any more

   Collective

   Input Parameter:
.  grid - the grid, set to NULL

   Level: beginner

.seealso: `SkeanGridCreate()`, `SkeanGridLoadFile()`
@*/
PetscErrorCode SkeanGridDestroy(SkeanGrid *grid)
{
  PetscFunctionBegin;
  if (!grid || !*grid) PetscFunctionReturn(PETSC_SUCCESS);
  SkeanGridCheck(*grid);
  if (--((PetscObject)*grid)->refct > 0) {
    *grid = NULL;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(VecDestroy(&(*grid)->data->values));
  delete (*grid)->data;
  PetscCall(PetscHeaderDestroy(grid));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGridGetDims - The number of points in each dimension

   Not Collective

   Input Parameter:
.  grid - the grid

   Output Parameters:
+  ndims - number of dimensions, or NULL
-  dims  - points in each, the slowest first, owned by the grid, or NULL

   Level: beginner

.seealso: `SkeanGridGetDim()`, `SkeanGridGetValues()`
@*/
PetscErrorCode SkeanGridGetDims(SkeanGrid grid, PetscInt *ndims, const PetscInt *dims[])
{
  PetscFunctionBegin;
  SkeanGridCheck(grid);
  if (ndims) *ndims = (PetscInt)grid->data->dims.size();
  if (dims) *dims = grid->data->dims.data();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGridGetValues - The values at the points

   Not Collective

   Input Parameter:
.  grid - the grid

   Output Parameter:
.  values - the vector of all values, the last dimension fastest, owned by the grid; a missing value is NaN

   Level: beginner

   Notes:
   Each process has whole slices of the first dimension, as many as `PETSC_DECIDE` gives of dims[0]. Writing to the vector changes
   the grid.

.seealso: `SkeanGridGetMissing()`, `SkeanGridCreateMask()`
@*/
PetscErrorCode SkeanGridGetValues(SkeanGrid grid, Vec *values)
{
  PetscFunctionBegin;
  SkeanGridCheck(grid);
  PetscCheck(values, PetscObjectComm((PetscObject)grid), PETSC_ERR_ARG_NULL, "Null pointer: values");
  *values = grid->data->values;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGridGetMissing - How many values are missing

   Collective

   Input Parameter:
.  grid - the grid

   Output Parameter:
.  nmissing - number of values that are NaN, counted now

   Level: beginner

   Notes: one reduction of one number.

.seealso: `SkeanGridCreateMask()`, `SkeanGridGetValues()`
@*/
PetscErrorCode SkeanGridGetMissing(SkeanGrid grid, PetscInt *nmissing)
{
  const PetscScalar *a;
  PetscInt           n, mine = 0;

  PetscFunctionBegin;
  SkeanGridCheck(grid);
  PetscCheck(nmissing, PetscObjectComm((PetscObject)grid), PETSC_ERR_ARG_NULL, "Null pointer: nmissing");
  PetscCall(VecGetLocalSize(grid->data->values, &n));
  PetscCall(VecGetArrayRead(grid->data->values, &a));
  for (PetscInt k = 0; k < n; ++k) mine += std::isnan(a[k]);
  PetscCall(VecRestoreArrayRead(grid->data->values, &a));
  PetscCallMPI(MPI_Allreduce(&mine, nmissing, 1, MPIU_INT, MPI_SUM, PetscObjectComm((PetscObject)grid)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGridCreateMask - A vector that is 1 where the grid has a value and 0 where it is missing

   Collective

   Input Parameter:
.  grid - the grid

   Output Parameter:
.  mask - the vector, distributed as the values; destroy it with `VecDestroy()`

   Level: beginner

.seealso: `SkeanGridGetMissing()`, `SkeanGridGetValues()`
@*/
PetscErrorCode SkeanGridCreateMask(SkeanGrid grid, Vec *mask)
{
  const PetscScalar *a;
  PetscScalar       *b;
  PetscInt           n;

  PetscFunctionBegin;
  SkeanGridCheck(grid);
  PetscCheck(mask, PetscObjectComm((PetscObject)grid), PETSC_ERR_ARG_NULL, "Null pointer: mask");
  PetscCall(VecDuplicate(grid->data->values, mask));
  PetscCall(VecGetLocalSize(*mask, &n));
  PetscCall(VecGetArrayRead(grid->data->values, &a));
  PetscCall(VecGetArrayWrite(*mask, &b));
  for (PetscInt k = 0; k < n; ++k) b[k] = std::isnan(a[k]) ? 0.0 : 1.0;
  PetscCall(VecRestoreArrayWrite(*mask, &b));
  PetscCall(VecRestoreArrayRead(grid->data->values, &a));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGridSetDim - Name, units and coordinates of a dimension

   Logically Collective

   Input Parameters:
+  grid        - the grid
.  dim         - which dimension, from 0
.  name        - its name, or NULL to leave it
.  units       - its units, or NULL to leave them
-  coordinates - the coordinate of each of its points, the same on all processes, copied; or NULL to leave them

   Level: intermediate

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` if there is no such dimension.

.seealso: `SkeanGridGetDim()`, `SkeanGridCreate()`
@*/
PetscErrorCode SkeanGridSetDim(SkeanGrid grid, PetscInt dim, const char name[], const char units[], const PetscReal coordinates[])
{
  PetscFunctionBegin;
  SkeanGridCheck(grid);
  skean::io::GridData *g = grid->data;
  PetscCheck(dim >= 0 && dim < (PetscInt)g->dims.size(), PetscObjectComm((PetscObject)grid), PETSC_ERR_ARG_OUTOFRANGE,
             "Dimension %" PetscInt_FMT " of a grid with %d dimensions", dim, (int)g->dims.size());
  auto &d = g->dim[(size_t)dim];
  if (name) PetscCallCXX(d.name = name);
  if (units) PetscCallCXX(d.units = units);
  if (coordinates) PetscCallCXX(d.coordinates.assign(coordinates, coordinates + g->dims[(size_t)dim]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGridGetDim - Name, units and coordinates of a dimension

   Not Collective

   Input Parameters:
+  grid - the grid
-  dim  - which dimension, from 0

   Output Parameters:
+  name        - its name, or NULL
.  units       - its units (empty if there are none), or NULL
-  coordinates - the coordinate of each of its points, NULL if there are none; or NULL. All are owned by the grid

   Level: intermediate

   Errors: `PETSC_ERR_ARG_OUTOFRANGE` if there is no such dimension.

.seealso: `SkeanGridSetDim()`, `SkeanGridGetDims()`
@*/
PetscErrorCode SkeanGridGetDim(SkeanGrid grid, PetscInt dim, const char *name[], const char *units[], const PetscReal *coordinates[])
{
  PetscFunctionBegin;
  SkeanGridCheck(grid);
  skean::io::GridData *g = grid->data;
  PetscCheck(dim >= 0 && dim < (PetscInt)g->dims.size(), PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Dimension %" PetscInt_FMT " of a grid with %d dimensions",
             dim, (int)g->dims.size());
  const auto &d = g->dim[(size_t)dim];
  if (name) *name = d.name.c_str();
  if (units) *units = d.units.c_str();
  if (coordinates) *coordinates = d.coordinates.empty() ? NULL : d.coordinates.data();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGridSetUnits - Units of the values

   Logically Collective

   Input Parameters:
+  grid  - the grid
-  units - their units, such as "K"

   Level: intermediate

.seealso: `SkeanGridGetUnits()`
@*/
PetscErrorCode SkeanGridSetUnits(SkeanGrid grid, const char units[])
{
  PetscFunctionBegin;
  SkeanGridCheck(grid);
  PetscCheck(units, PetscObjectComm((PetscObject)grid), PETSC_ERR_ARG_NULL, "Null pointer: units");
  PetscCallCXX(grid->data->units = units);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   SkeanGridGetUnits - Units of the values

   Not Collective

   Input Parameter:
.  grid - the grid

   Output Parameter:
.  units - their units, empty if there are none, owned by the grid

   Level: intermediate

.seealso: `SkeanGridSetUnits()`
@*/
PetscErrorCode SkeanGridGetUnits(SkeanGrid grid, const char *units[])
{
  PetscFunctionBegin;
  SkeanGridCheck(grid);
  PetscCheck(units, PetscObjectComm((PetscObject)grid), PETSC_ERR_ARG_NULL, "Null pointer: units");
  *units = grid->data->units.c_str();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   SkeanGridView - Prints a grid's name, dimensions and range

   Collective

   Input Parameters:
+  grid   - the grid
-  viewer - an ASCII viewer, or NULL for standard output

   Level: beginner

.seealso: `SkeanGridCreate()`
@*/
PetscErrorCode SkeanGridView(SkeanGrid grid, PetscViewer viewer)
{
  PetscBool          ascii;
  const PetscScalar *a;
  PetscInt           n, missing;
  double             range[2] = {-HUGE_VAL, -HUGE_VAL}, all[2];

  PetscFunctionBegin;
  SkeanGridCheck(grid);
  MPI_Comm comm = PetscObjectComm((PetscObject)grid);
  if (!viewer) PetscCall(PetscViewerASCIIGetStdout(comm, &viewer));
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  skean::io::GridData *g = grid->data;
  PetscCall(VecGetLocalSize(g->values, &n));
  PetscCall(VecGetArrayRead(g->values, &a));
  for (PetscInt k = 0; k < n; ++k)
    if (!std::isnan(a[k])) {
      range[0] = std::max(range[0], -a[k]);
      range[1] = std::max(range[1], a[k]);
    }
  PetscCall(VecRestoreArrayRead(g->values, &a));
  PetscCallMPI(MPI_Allreduce(range, all, 2, MPI_DOUBLE, MPI_MAX, comm));
  PetscCall(SkeanGridGetMissing(grid, &missing));
  PetscCall(PetscViewerASCIIPrintf(viewer, "Grid %s%s%s\n", ((PetscObject)grid)->name ? ((PetscObject)grid)->name : "", g->units.empty() ? "" : ", in ",
                                   g->units.c_str()));
  for (size_t d = 0; d < g->dims.size(); ++d) {
    const auto &x = g->dim[d];
    if (x.coordinates.empty())
      PetscCall(PetscViewerASCIIPrintf(viewer, "  %s: %" PetscInt_FMT " points\n", x.name.c_str(), g->dims[d]));
    else
      PetscCall(PetscViewerASCIIPrintf(viewer, "  %s: %" PetscInt_FMT " points from %g to %g %s\n", x.name.c_str(), g->dims[d], x.coordinates.front(),
                                       x.coordinates.back(), x.units.c_str()));
  }
  PetscCall(PetscViewerASCIIPrintf(viewer, "  values: from %g to %g, %" PetscInt_FMT " missing\n", -all[0], all[1], missing));
  PetscFunctionReturn(PETSC_SUCCESS);
}

namespace skean {
namespace io {

static std::string Shortest(double v)
{
  char text[32];
  std::snprintf(text, sizeof(text), "%g", v);
  return text;
}

/* The first NaN that was not declared a missing value, and what is declared instead */
struct Undeclared {
  std::int64_t first = -1;
  std::string  declared;
};

/* Missing values to NaN, then scale_factor and add_offset; NetCDF User's Guide, Attribute Conventions */
static void Unpack(const NcVar &v, double *a, std::int64_t n, Undeclared *undeclared)
{
  std::vector<double> miss;
  bool                nan   = false;
  double              scale = 1, add = 0;
  for (const char *name : {"_FillValue", "missing_value"})
    if (const NcAtt *att = v.Find(name)) miss.insert(miss.end(), att->values.begin(), att->values.end());
  /* the default fill values of floats, where nothing was written */
  if (!v.Find("_FillValue") && (v.type == 5 || v.type == 6)) miss.push_back(9.9692099683868690e+36);
  if (const NcAtt *att = v.Find("scale_factor"))
    if (!att->values.empty()) scale = att->values[0];
  if (const NcAtt *att = v.Find("add_offset"))
    if (!att->values.empty()) add = att->values[0];
  const bool          isfloat = v.type == 5;
  std::vector<double> single;
  if (isfloat)
    for (const double m : miss) single.push_back(std::fabs(m) < 3.4e38 ? static_cast<double>(static_cast<float>(m)) : m);
  for (const double m : miss) {
    nan                    = nan || std::isnan(m);
    const std::string text = Shortest(m);
    if (m == 9.9692099683868690e+36 || undeclared->declared == text) continue;
    undeclared->declared += (undeclared->declared.empty() ? "" : ", ") + text;
  }
  for (std::int64_t k = 0; k < n; ++k) {
    bool missing = std::isnan(a[k]);
    if (missing && !nan && undeclared->first < 0) undeclared->first = k;
    for (const double m : miss) missing = missing || a[k] == m;
    for (const double m : single) missing = missing || a[k] == m;
    a[k] = missing ? std::numeric_limits<double>::quiet_NaN() : a[k] * scale + add;
  }
}

static PetscErrorCode GridLoadFile(MPI_Comm comm, const char name[], const std::function<PetscErrorCode(PetscInt, const PetscInt[])> &fits, SkeanGrid *grid,
                                   std::string *undeclared)
{
  Undeclared            und;
  Opened                o;
  Dense                 dense;
  Sparse                sparse;
  bool                  issparse;
  Error                 err;
  std::vector<PetscInt> dims;
  SkeanGrid             g;

  PetscFunctionBegin;
  PetscCall(Open(comm, name, o));
  PetscCall(Contents(o, 2, true, false, dense, sparse, &issparse));
  if (issparse) err.Set(Why::Malformed, "holds a sparse matrix, not a grid; load it as a matrix");
  std::int64_t total = 1;
  for (const std::int64_t d : dense.dims) {
    if (err.Failed()) break;
    if (!MulFits(total, d, &total) || total > PETSC_MAX_INT)
      err.Set(Why::TooLarge, "the grid has more points than the " + std::to_string(8 * sizeof(PetscInt)) + "-bit indices of this PETSc can count");
    dims.push_back(static_cast<PetscInt>(d));
  }
  PetscCall(Raise(o, err));
  PetscCall(fits(static_cast<PetscInt>(dims.size()), dims.data()));
  PetscCall(SkeanGridCreate(comm, static_cast<PetscInt>(dims.size()), dims.data(), &g));
  GridData    *gd = g->data;
  Target       t;
  PetscScalar *a;
  t.rstart = gd->first;
  t.nrows  = gd->local;
  t.rest   = 1;
  for (std::size_t d = 1; d < dims.size(); ++d) t.rest *= dims[d];
  t.rs = t.rest;
  t.cs = 1;
  PetscCall(VecGetArrayWrite(gd->values, &a));
  t.a                 = a;
  PetscErrorCode ierr = ReadDense(o, dense, t);
  if (!ierr) {
    if (o.format == Format::Netcdf) Unpack(dense.ncvar, a, t.nrows * t.rest, &und);
    const bool other = dense.kind == Dense::Hdf5 && dense.h5.hasfill && !std::isnan(dense.h5.fill);
    if (other) und.declared = Shortest(dense.h5.fill);
    for (std::int64_t k = 0; k < t.nrows * t.rest; ++k) {
      if (other && std::isnan(a[k]) && und.first < 0) und.first = k;
      if (dense.kind == Dense::Hdf5 && dense.h5.hasfill && a[k] == dense.h5.fill) a[k] = std::numeric_limits<double>::quiet_NaN();
      if (std::isinf(a[k])) err.Set(Why::Malformed, "value " + std::to_string(t.rstart * t.rest + k) + " (from 0, last dimension fastest) is infinite");
    }
    ierr = Agree(comm, o.path, err);
  }
  PetscCall(VecRestoreArrayWrite(gd->values, &a));
  if (ierr) PetscCall(SkeanGridDestroy(&g));
  PetscCall(ierr);
  if (undeclared) {
    std::int64_t first = und.first < 0 ? std::numeric_limits<std::int64_t>::max() : t.rstart * t.rest + und.first, all;
    PetscCallMPI(MPI_Allreduce(&first, &all, 1, MPI_INT64_T, MPI_MIN, comm));
    undeclared->clear();
    if (all != std::numeric_limits<std::int64_t>::max())
      *undeclared =
        "value " + std::to_string(all) + " (from 0, last dimension fastest) is NaN, which " +
        (und.declared.empty() ? "the variable does not declare a missing value" : "is not the missing value that the variable declares, " + und.declared);
  }
  if (o.format == Format::Netcdf) {
    PetscCall(PetscObjectSetName((PetscObject)g, dense.ncvar.name.c_str()));
    if (const NcAtt *u = dense.ncvar.Find("units")) gd->units = u->text;
    for (std::size_t d = 0; d < dense.ncvar.dimids.size(); ++d) {
      auto &dim = gd->dim[d];
      dim.name  = dense.nc.dimnames[static_cast<std::size_t>(dense.ncvar.dimids[d])];
      /* coordinate variable: one dimension, of the same name */
      const NcVar *c = dense.nc.Find(dim.name);
      if (!c || c->type == 2 || c->dimids.size() != 1 || c->dimids[0] != dense.ncvar.dimids[d]) continue;
      Target ct;
      dim.coordinates.assign(static_cast<std::size_t>(dims[d]), 0.0);
      ct.nrows = dims[d];
      ct.rest = ct.rs = ct.cs = 1;
      ct.a                    = dim.coordinates.data();
      if (o.gz) {
        /* compressed files are dealt to owners of rows: the first process takes all and shares */
        PetscMPIInt rank;
        PetscCallMPI(MPI_Comm_rank(comm, &rank));
        ct.rstart = rank ? dims[d] : 0;
        ct.nrows  = rank ? 0 : dims[d];
      }
      ierr = ReadBinary(o, c->layout, ct);
      if (ierr) PetscCall(SkeanGridDestroy(&g));
      PetscCall(ierr);
      if (o.gz) PetscCallMPI(MPI_Bcast(dim.coordinates.data(), static_cast<int>(dims[d]), MPI_DOUBLE, 0, comm));
      Undeclared none;
      Unpack(*c, dim.coordinates.data(), dims[d], &none);
      if (const NcAtt *u = c->Find("units")) dim.units = u->text;
    }
  } else if (dense.kind == Dense::Hdf5) {
    PetscCall(PetscObjectSetName((PetscObject)g, dense.h5.path.c_str()));
    gd->units = dense.h5.units;
    std::istringstream names(dense.h5.dimnames);
    const std::size_t  slash = dense.h5.path.rfind('/');
    const std::string  dir   = slash == std::string::npos ? "" : dense.h5.path.substr(0, slash + 1);
    for (std::size_t d = 0; d < dims.size(); ++d) {
      std::string         dn, units;
      std::vector<double> c;
      bool                found;
      if (!(names >> dn)) break;
      gd->dim[d].name = dn;
      PetscCall(Hdf5ReadSmall(o, std::string(dir).append("coordinates/").append(dn), dims[d], c, &found, &units));
      if (found) {
        gd->dim[d].coordinates = c;
        gd->dim[d].units       = units;
      }
    }
  }
  *grid = g;
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace io

PetscErrorCode GridLoadFile(MPI_Comm comm, const char name[], const std::function<PetscErrorCode(PetscInt, const PetscInt[])> &fits, SkeanGrid *grid,
                            std::string *undeclared)
{
  PetscErrorCode ierr;

  PetscFunctionBegin;
  PetscCheck(grid, comm, PETSC_ERR_ARG_NULL, "Null pointer: grid");
  PetscCall(SkeanInitializePackage());
  PetscCallCXX(ierr = io::GridLoadFile(comm, name, fits, grid, undeclared));
  PetscCall(ierr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

} // namespace skean

/*@
   SkeanGridLoadFile - Reads a function on a grid from a file: an n-dimensional array, with coordinates and missing values

   Collective

   Input Parameters:
+  comm - the communicator of the grid
-  name - name of the file, for HDF5 and NetCDF file:variable

   Output Parameter:
.  grid - the grid

   Level: beginner

   Notes:
   NetCDF classic (record variables too): coordinate variables, units, scale_factor and add_offset are used; what equals _FillValue,
   missing_value or, without _FillValue, the default fill value of floats becomes NaN. Without :variable the only variable
   with the most dimensions is taken. NumPy, images, IDX, HDF5, dense CSV (an empty field or NA is missing) and Matrix Market arrays have no
   coordinates, except HDF5 files of `SkeanGridWriteFile()`. NaN in the file is a missing value too.

   Each process reads its slices of the first dimension; coordinates are known to all.

   Errors: as `SkeanMatLoadFile()`; infinite values are errors; `PETSC_ERR_MEM` for values that do not fit into the memory, with how much is needed and on how many
   processes they would.

   Source: Unidata, The NetCDF Classic Format Specification; NetCDF Users Guide, Attribute Conventions.

.seealso: `SkeanGrid`, `SkeanGridGetValues()`, `SkeanGridGetDim()`, `SkeanGridWriteFile()`, `SkeanFileGetInfo()`
@*/
PetscErrorCode SkeanGridLoadFile(MPI_Comm comm, const char name[], SkeanGrid *grid)
{
  const auto Fits = [&](PetscInt d, const PetscInt dims[]) -> PetscErrorCode {
    char   what[128];
    double points = 1;
    PetscFunctionBegin;
    for (PetscInt j = 0; j < d; ++j) points *= static_cast<double>(dims[j]);
    PetscCall(PetscSNPrintf(what, sizeof(what), "Reading the grid of %.0f points", points));
    PetscCall(skean::CheckMemory(comm, what, points * static_cast<double>(sizeof(PetscScalar)), 0.0));
    PetscFunctionReturn(PETSC_SUCCESS);
  };

  PetscFunctionBegin;
  PetscCall(skean::GridLoadFile(comm, name, Fits, grid, nullptr));
  PetscFunctionReturn(PETSC_SUCCESS);
}
