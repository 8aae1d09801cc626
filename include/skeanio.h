/* Reading and writing matrices, vectors and grids in the formats that users have */
#pragma once

#include <skeansys.h>

/*E
   SkeanFileFormat - Format of a file

   Values:
+  `SKEAN_FILE_MATRIXMARKET` - Matrix Market, coordinate or array
.  `SKEAN_FILE_PETSC`        - PETSc binary
.  `SKEAN_FILE_HDF5`         - HDF5
.  `SKEAN_FILE_NPY`          - NumPy array
.  `SKEAN_FILE_CSV`          - text table of numbers, or triplets row, column, value
.  `SKEAN_FILE_IDX`          - IDX, as of Fashion-MNIST
.  `SKEAN_FILE_PNM`          - PGM or PPM image
-  `SKEAN_FILE_NETCDF`       - NetCDF classic: written by PnetCDF, read by a parser of the library's own

   Level: beginner

   Notes:
   All but HDF5 are also read compressed with gzip: process 0 inflates the file and deals the bytes out to all, each of which parses its share. An HDF5 file
   compressed as a whole (.h5.gz) is refused. Nothing is written compressed.

.seealso: `SkeanFileGetInfo()`, `SkeanFileInfo`
E*/
typedef enum {
  SKEAN_FILE_UNKNOWN      = 0,
  SKEAN_FILE_MATRIXMARKET = 1,
  SKEAN_FILE_PETSC        = 2,
  SKEAN_FILE_HDF5         = 3,
  SKEAN_FILE_NPY          = 4,
  SKEAN_FILE_CSV          = 5,
  SKEAN_FILE_IDX          = 6,
  SKEAN_FILE_PNM          = 7,
  SKEAN_FILE_NETCDF       = 8
} SkeanFileFormat;

#define SKEAN_FILE_MAX_DIMS 32

/*S
   SkeanFileInfo - What a file holds

   Level: beginner

   Notes:
   format: the format; compressed: by gzip; sparse: entries with indices, not a full array; ndims, dims: dimensions, the slowest
   first (a matrix: rows, columns); nnz: entries in the file if sparse (a symmetric file stores one triangle), else values;
   type: of the numbers, such as "float64" or "uint8"; variable: the dataset that was looked at, where a file has several.

.seealso: `SkeanFileGetInfo()`
S*/
typedef struct {
  SkeanFileFormat format;
  PetscBool       compressed;
  PetscBool       sparse;
  PetscInt        ndims;
  PetscInt64      dims[SKEAN_FILE_MAX_DIMS];
  PetscInt64      nnz;
  char            type[32];
  char            variable[256];
} SkeanFileInfo;

/*S
   SkeanGrid - A function on a tensor grid: dimensions with names, units and coordinates, and values that may be missing

   Level: beginner

   Notes:
   The values are a `Vec`, the slowest dimension distributed over the processes; a missing value is NaN. Coordinates are known to
   every process.

.seealso: `SkeanGridLoadFile()`, `SkeanGridCreate()`, `SkeanGridWriteFile()`
S*/
typedef struct _p_SkeanGrid *SkeanGrid;

SKEAN_EXTERN PetscClassId SKEAN_GRID_CLASSID;

SKEAN_EXTERN PetscErrorCode SkeanFileGetInfo(MPI_Comm comm, const char name[], SkeanFileInfo *info);
SKEAN_EXTERN PetscErrorCode SkeanMatLoadFile(MPI_Comm comm, const char name[], MatType type, Mat *A);
SKEAN_EXTERN PetscErrorCode SkeanVecLoadFile(MPI_Comm comm, const char name[], Vec *v);
SKEAN_EXTERN PetscErrorCode SkeanMatWriteFile(Mat A, const char name[]);
SKEAN_EXTERN PetscErrorCode SkeanVecWriteFile(Vec v, const char name[]);
/* Several objects (Vec, Mat, SkeanGrid) under their names */
SKEAN_EXTERN PetscErrorCode SkeanWriteFile(MPI_Comm comm, const char name[], PetscInt n, PetscObject objects[]);
SKEAN_EXTERN PetscErrorCode SkeanFileSetAttribute(PetscObject obj, const char key[], const char value[]);
SKEAN_EXTERN PetscErrorCode SkeanFileGetAttribute(MPI_Comm comm, const char name[], const char key[], char value[], size_t len, PetscBool *found);

SKEAN_EXTERN PetscErrorCode SkeanGridCreate(MPI_Comm comm, PetscInt ndims, const PetscInt dims[], SkeanGrid *grid);
SKEAN_EXTERN PetscErrorCode SkeanGridDestroy(SkeanGrid *grid);
SKEAN_EXTERN PetscErrorCode SkeanGridLoadFile(MPI_Comm comm, const char name[], SkeanGrid *grid);
SKEAN_EXTERN PetscErrorCode SkeanGridWriteFile(SkeanGrid grid, const char name[]);
SKEAN_EXTERN PetscErrorCode SkeanGridGetDims(SkeanGrid grid, PetscInt *ndims, const PetscInt *dims[]);
SKEAN_EXTERN PetscErrorCode SkeanGridGetValues(SkeanGrid grid, Vec *values);
SKEAN_EXTERN PetscErrorCode SkeanGridGetMissing(SkeanGrid grid, PetscInt *nmissing);
SKEAN_EXTERN PetscErrorCode SkeanGridCreateMask(SkeanGrid grid, Vec *mask);
SKEAN_EXTERN PetscErrorCode SkeanGridSetDim(SkeanGrid grid, PetscInt dim, const char name[], const char units[], const PetscReal coordinates[]);
SKEAN_EXTERN PetscErrorCode SkeanGridGetDim(SkeanGrid grid, PetscInt dim, const char *name[], const char *units[], const PetscReal *coordinates[]);
SKEAN_EXTERN PetscErrorCode SkeanGridSetUnits(SkeanGrid grid, const char units[]);
SKEAN_EXTERN PetscErrorCode SkeanGridGetUnits(SkeanGrid grid, const char *units[]);
SKEAN_EXTERN PetscErrorCode SkeanGridView(SkeanGrid grid, PetscViewer viewer);
