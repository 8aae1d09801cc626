/*
   Writes a levelling network as a least-squares problem in Matrix Market files: prefix.mtx (the matrix), prefix_rhs.mtx, and
   prefix_true.mtx (the heights that the observations were made from).

   Stations lie along a valley; surveyors measure height differences between neighbours, each with its own precision, so that
   observation (i,j) is the row (h_j - h_i)/sigma = (measured difference)/sigma. Station 0 is the datum, its height is 0. A chain of
   neighbours makes the problem ill-conditioned (the error of a height grows along the valley) and the mixture of instruments, from
   theodolites to aneroid barometers, makes it worse.

     ex_network <prefix> [stations 1500] [observations 20000] [decades of precision 4]
*/
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Uniform in (0,1), from the two indices alone (splitmix64) */
static double Uniform(uint64_t what, uint64_t k)
{
  uint64_t z = (k * 16 + what + 1) * UINT64_C(0x9E3779B97F4A7C15);

  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return ((double)((z ^ (z >> 31)) >> 11) + 0.5) / 9007199254740992.0;
}

static double Normal(uint64_t what, uint64_t k)
{
  return sqrt(-2.0 * log(Uniform(what, k))) * cos(6.283185307179586 * Uniform(what + 1, k));
}

static double Height(long i)
{
  return i ? 300.0 * (1.0 - cos(3.0e-3 * (double)i)) + 40.0 * sin(0.05 * (double)i) : 0.0;
}

static FILE *Open(const char *prefix, const char *suffix)
{
  char  name[4096];
  FILE *f;

  if (snprintf(name, sizeof(name), "%s%s", prefix, suffix) >= (int)sizeof(name)) exit(2);
  f = fopen(name, "w");
  if (!f) {
    perror(name);
    exit(2);
  }
  return f;
}

int main(int argc, char **argv)
{
  const long   stations = argc > 2 ? atol(argv[2]) : 1500, rows = argc > 3 ? atol(argv[3]) : 20000, d = stations - 1;
  const double decades = argc > 4 ? atof(argv[4]) : 4.0;
  FILE        *a, *b, *x;
  long         k, nnz = 0;
  int          bad;

  if (argc < 2 || stations < 10 || rows < stations || !(decades >= 0.0 && decades < 8.0)) {
    fprintf(stderr, "usage: %s <prefix> [stations >= 10] [observations >= stations] [decades of precision 0...8]\n", argv[0]);
    return 2;
  }
  a = Open(argv[1], ".mtx");
  b = Open(argv[1], "_rhs.mtx");
  x = Open(argv[1], "_true.mtx");
  fprintf(x, "%%%%MatrixMarket matrix array real general\n%ld 1\n", d);
  for (k = 1; k < stations; k++) fprintf(x, "%.17g\n", Height(k));
  fprintf(b, "%%%%MatrixMarket matrix array real general\n%ld 1\n", rows);
  /* the number of entries stands in the head of the file: the second round writes what the first counts */
  for (int round = 0; round < 2; round++) {
    if (round) fprintf(a, "%%%%MatrixMarket matrix coordinate real general\n%% a levelling network\n%ld %ld %ld\n", rows, d, nnz);
    for (k = 0; k < rows; k++) {
      /* first every station from the one before, then neighbours at random, up to 3 stations apart */
      const long   i     = k < d ? k : (long)(Uniform(0, (uint64_t)k) * (double)(stations - 4));
      const long   j     = k < d ? k + 1 : i + 1 + (long)(Uniform(1, (uint64_t)k) * 3.0);
      const double sigma = 1e-3 * pow(10.0, decades * Uniform(2, (uint64_t)k));

      if (!round) {
        nnz += i ? 2 : 1;
        continue;
      }
      if (i) fprintf(a, "%ld %ld %.17g\n", k + 1, i, -1.0 / sigma);
      fprintf(a, "%ld %ld %.17g\n", k + 1, j, 1.0 / sigma);
      fprintf(b, "%.17g\n", (Height(j) - Height(i)) / sigma + Normal(4, (uint64_t)k));
    }
  }
  bad = ferror(a) || ferror(b) || ferror(x);
  if (fclose(a) | fclose(b) | fclose(x) | bad) {
    fprintf(stderr, "%s: cannot write\n", argv[1]);
    return 2;
  }
  return 0;
}
