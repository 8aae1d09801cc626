/*
   Writes a real least-squares problem as Matrix Market files: the floor of the Mediterranean and the Black Sea as a smooth surface.

   Samples are the points of a grid of heights (ETOPO5, 5 minutes of arc; Debian: ferret-datasets) that lie below sea level between
   6 W and 42 E, 30 N and 47 N, each a row of the matrix; b holds their heights in metres. The surface is a sum of products of
   quintic B-splines in longitude and in latitude with knots `spacing` degrees apart, each a column: 36 nonzeros in a row. Coasts
   leave many of the splines with a few samples at the rim of their support, next to splines that see open water everywhere: the
   matrix is ill-conditioned in the way that fits of scattered data are. A spline that fewer than 36 samples see is left out.
   (A little land below sea level, such as the shores of the Dead Sea, is taken for sea.)

     ex_seafloor <prefix> [-grid /usr/share/ferret-vis/data/etopo5.cdf:ROSE] [-spacing 2]

   writes <prefix>.mtx and <prefix>_rhs.mtx; run it on one process.
*/
#include <skean.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DEGREE 5

/* The DEGREE + 1 B-splines on unit knots that do not vanish at the place t in [0,1] of a cell, by the recurrence of de Boor and Cox */
static void Splines(double t, double v[DEGREE + 1])
{
  v[0] = 1.0;
  for (int q = 1; q <= DEGREE; q++) {
    double left = 0.0; /* of the lower degree, the one before */
    for (int j = 0; j <= q; j++) {
      const double here = j < q ? v[j] : 0.0;
      v[j]              = ((t + q - j) * left + (j + 1 - t) * here) / q;
      left              = here;
    }
  }
}

/* The first of the splines at x, counted from the lower end of the region, and their values */
static PetscInt At(double x, double low, double spacing, PetscInt cells, double v[DEGREE + 1])
{
  const double   u = (x - low) / spacing;
  const PetscInt k = u < 0 ? 0 : u >= (double)cells ? cells - 1 : (PetscInt)u;

  Splines(u - (double)k, v);
  return k;
}

static FILE *Open(const char *prefix, const char *suffix)
{
  char  name[PETSC_MAX_PATH_LEN];
  FILE *f = snprintf(name, sizeof(name), "%s%s", prefix, suffix) < (int)sizeof(name) ? fopen(name, "w") : NULL;

  if (!f) perror(name);
  return f;
}

int main(int argc, char **argv)
{
  const double     west = -6, east = 42, south = 30, north = 47;
  char             file[PETSC_MAX_PATH_LEN] = "/usr/share/ferret-vis/data/etopo5.cdf:ROSE";
  PetscReal        spacing                  = 2.0;
  SkeanGrid        grid;
  Vec              heights;
  PetscInt         ndims, rows = 0, columns = 0, entries = 0, nx, ny, kx, ky, *samples, *column;
  double           vx[DEGREE + 1], vy[DEGREE + 1];
  const PetscInt  *dims;
  const PetscReal *lat, *lon;
  const double    *z;
  PetscMPIInt      size;
  FILE            *a, *b;
  int              bad;

  PetscCall(SkeanInitialize(&argc, &argv, NULL, NULL));
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCheck(size == 1, PETSC_COMM_WORLD, PETSC_ERR_WRONG_MPI_SIZE, "Run this on one process");
  PetscCheck(argc > 1 && argv[1][0] != '-', PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "usage: ex_seafloor <prefix> [-grid <file>] [-spacing <degrees>]");
  PetscCall(PetscOptionsGetString(NULL, NULL, "-grid", file, sizeof(file), NULL));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-spacing", &spacing, NULL));
  PetscCheck(spacing > 0.1, PETSC_COMM_WORLD, PETSC_ERR_USER_INPUT, "-spacing %g: more than 0.1 degrees", (double)spacing);
  PetscCall(SkeanGridLoadFile(PETSC_COMM_WORLD, file, &grid));
  PetscCall(SkeanGridGetDims(grid, &ndims, &dims));
  PetscCheck(ndims == 2, PETSC_COMM_WORLD, PETSC_ERR_ARG_SIZ, "%s has %" PetscInt_FMT " dimensions, latitude and longitude are needed", file, ndims);
  PetscCall(SkeanGridGetDim(grid, 0, NULL, NULL, &lat));
  PetscCall(SkeanGridGetDim(grid, 1, NULL, NULL, &lon));
  PetscCheck(lat && lon, PETSC_COMM_WORLD, PETSC_ERR_ARG_WRONG, "%s has no coordinates", file);
  PetscCall(SkeanGridGetValues(grid, &heights));
  PetscCall(VecGetArrayRead(heights, &z));

  nx = (PetscInt)ceil((east - west) / spacing) + DEGREE;
  ny = (PetscInt)ceil((north - south) / spacing) + DEGREE;
  PetscCall(PetscCalloc2(nx * ny, &samples, nx * ny, &column));
  a = Open(argv[1], ".mtx");
  b = Open(argv[1], "_rhs.mtx");
  if (!a || !b) return 2;
  /* three times over the samples: what the splines see; the number of entries, which comes first in the file; the entries */
  for (int sweep = 0; sweep < 3; sweep++) {
    if (sweep == 2) {
      fprintf(a, "%%%%MatrixMarket matrix coordinate real general\n%% sea floor of %s in quintic B-splines\n%d %d %d\n", file, (int)rows, (int)columns,
              (int)entries);
      fprintf(b, "%%%%MatrixMarket matrix array real general\n%% heights in metres\n%d 1\n", (int)rows);
    }
    rows = 0;
    for (PetscInt i = 0; i < dims[0]; i++) {
      if (lat[i] < south || lat[i] > north) continue;
      ky = At(lat[i], south, spacing, ny - DEGREE, vy);
      for (PetscInt j = 0; j < dims[1]; j++) {
        const double x = lon[j] > 180.0 ? lon[j] - 360.0 : lon[j], h = z[i * dims[1] + j];

        if (x < west || x > east || !(h < 0.0)) continue;
        kx = At(x, west, spacing, nx - DEGREE, vx);
        rows++;
        if (sweep == 2) fprintf(b, "%.9g\n", h);
        for (int q = 0; q <= DEGREE; q++)
          for (int p = 0; p <= DEGREE; p++) {
            const PetscInt k = (ky + q) * nx + kx + p;

            if (sweep == 0)
              samples[k]++;
            else if (column[k] && sweep == 1)
              entries++;
            else if (column[k])
              fprintf(a, "%d %d %.9g\n", (int)rows, (int)column[k], vy[q] * vx[p]);
          }
      }
    }
    for (PetscInt k = 0; k < nx * ny && sweep == 0; k++)
      if (samples[k] >= (DEGREE + 1) * (DEGREE + 1)) column[k] = ++columns;
  }
  bad = fclose(a) != 0;
  bad |= fclose(b) != 0;
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s.mtx: %d samples of the sea floor, %d splines\n", argv[1], (int)rows, (int)columns));
  PetscCall(PetscFree2(samples, column));
  PetscCall(VecRestoreArrayRead(heights, &z));
  PetscCall(SkeanGridDestroy(&grid));
  PetscCall(SkeanFinalize());
  return bad;
}
